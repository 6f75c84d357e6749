"""What all operators share: how they take their arguments, and read them after rendering."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_truto._compat import AirflowFailException, ArgNotSet, BaseOperator
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.client.names import find_naming_problems
from airflow_provider_truto.links import LinkingMixin
from airflow_provider_truto.operators._argument import (
    REQUIRED,
    Argument,
    find_missing,
    is_known_at_parse,
    is_own,
    remove_markers,
    to_renderable,
)
from airflow_provider_truto.operators._arguments import ARGUMENTS
from airflow_provider_truto.operators._rendering import TypedRenderingMixin
from airflow_provider_truto.operators._signature import SignatureMixin, collect_parameters, list_airflow_parameters
from airflow_provider_truto.records.render import Unknown

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

#: The key under which everything but the response goes to XCom.
XCOM_KEY = "truto"
#: What a deferred task keeps beside its method: the try that was deferred.
_DEFERRED_TRY = "deferred_try"


class TrutoOperator(TypedRenderingMixin, SignatureMixin, LinkingMixin, BaseOperator):
    """An operator whose arguments are those of one table.

    What can never be right is a ``ValueError`` while the DAG file is parsed. A row of a mapped task is different: its
    arguments come while the task runs, so that what is wrong with them waits for ``execute``, which fails once, with
    all of it.

    Attributes are what was given, templates among them, until ``execute`` has read them.
    """

    arguments: ClassVar[Mapping[str, Argument]] = ARGUMENTS
    #: Required arguments that may come while the task runs, see ``_take_when_run``; none is missing before.
    made_when_run: ClassVar[frozenset[str]] = frozenset()
    ui_color = "#e3f2ee"
    body: Any = None
    body_file: Any = None
    template_fields: Sequence[str]

    def __init__(self, **kwargs: Any) -> None:
        self._refuse_unknown(kwargs)
        super().__init__(**kwargs)

    def _take(self, given: Mapping[str, Any]) -> None:
        """Take a constructor's arguments as they are given; ``given`` are its ``locals()``.

        ``NOTSET`` means what leaving the argument out means. Raises ``TypeError`` and ``ValueError``, for a row of a
        mapped task nothing.
        """
        missing = []
        own = self.__dict__["_own_arguments"] = set()
        default_args = given["kwargs"].get("default_args") or {}
        for name, parameter in self._parameters.items():
            if name in given and name in self.arguments:
                value = given[name]
                if isinstance(value, ArgNotSet):
                    value = default_args.get(name, parameter.default)
                self._taken[name] = value is not REQUIRED and not isinstance(value, ArgNotSet)
                setattr(self, name, to_renderable(value) if self._taken[name] else None)
                if is_own(value, parameter.default, default_args.get(name, parameter.default)):
                    own.add(name)
                if value is REQUIRED and name not in self.made_when_run:
                    missing.append(name)
        if missing and not self._is_row:
            raise TypeError(f"missing keyword arguments: {', '.join(missing)}")
        self._refuse(Problem(f"/{name}", "is missing") for name in missing)
        if not self._is_row:
            fixed = [name for name in self._taken if self.arguments[name].kind.is_fixed]
            literals, problems = self._read(name for name in fixed if self._is_known_at_parse(name))
            self._refuse(problems)
            self._refuse(self._find_contradictions(literals, self._list_present()))

    def _is_known_at_parse(self, name: str) -> bool:
        return not self.arguments[name].is_templated or is_known_at_parse(getattr(self, name))

    def _refuse(self, problems: Iterable[Problem]) -> None:
        problems = list(problems)
        if self._is_row:
            self._refused.extend(problems)
        elif problems:
            raise ValueError("\n".join(f"{pointer.lstrip('/')}: {message}" for pointer, message in problems))

    # In the next two, what all copies of an operator share stays as it is: a retry may run another copy of it.

    def _take_when_run(self, name: str, value: Any) -> None:
        """Take an argument as data, after all others were rendered."""
        self.__dict__["_taken_arguments"] = {**self._taken, name: True}
        setattr(self, name, value)

    def _refuse_when_run(self, name: str, message: str) -> None:
        """Have ``_read_arguments`` return this problem of an argument instead of reading it."""
        self.__dict__["_taken_arguments"] = {**self._taken, name: False}
        self.__dict__["_refused_arguments"] = [*self._refused, Problem(f"/{name}", message)]
        setattr(self, name, None)

    def check_arguments(self) -> None:
        """Replace each attribute by its parsed value. Raises ``TrutoSchemaError`` with all problems."""
        if problems := self._read_arguments():
            raise TrutoSchemaError.of(f"the arguments of task {self.task_id!r} are not valid", problems)

    def _read_arguments(self) -> list[Problem]:
        """Replace each attribute by its parsed value, or by ``None`` where it is wrong; return all problems."""
        present = self._list_present()
        typed, problems = self._read([name for name, is_given in self._taken.items() if is_given])
        for name, value in typed.items():
            setattr(self, name, value)
        return [*self._refused, *problems, *self._find_contradictions(typed, present)]

    def _read(self, names: Iterable[str]) -> tuple[dict[str, Any], list[Problem]]:
        typed: dict[str, Any] = {}
        problems: list[Problem] = []
        for name in names:
            typed[name], found = self.arguments[name].read(getattr(self, name), at=f"/{name}")
            problems += found
        return typed, problems

    def _list_present(self) -> set[str]:
        return {name for name in self._taken if getattr(self, name) is not None}

    def _find_contradictions(
        self,
        given: Mapping[str, Any],  # noqa: ARG002
        present: Collection[str],
    ) -> Iterable[Problem]:
        """Return the problems of arguments that contradict each other.

        ``given`` are the arguments whose values are known, ``present`` the names of all that are not ``None``.
        """
        return find_naming_problems(present)

    def _find_meaningless(self, names: Iterable[str], message: str) -> Iterable[Problem]:
        """Return a problem for each of these that was given to this task: ``default_args`` are for others as well."""
        own = self.__dict__["_own_arguments"]
        return [Problem(f"/{name}", message) for name in names if name in own and getattr(self, name) is not None]

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        """Refuse arguments of a row that do not exist; Airflow would raise an error for them that is retried."""
        if not self._is_row:
            return
        for name in sorted(kwargs.keys() - list_airflow_parameters()):
            del kwargs[name]
            near = get_close_matches(name, self._parameters, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            self._refuse([Problem(f"/{name}", f"is not an argument of {type(self).__name__}{hint}")])

    @property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return collect_parameters(type(self))  # type: ignore[arg-type]  # mypy asks instances, not the class, for a hash

    @property
    def _is_row(self) -> bool:
        """Whether Airflow makes this operator in the worker, from a row of a mapped task."""
        return bool(getattr(self, "_BaseOperator__from_mapped", False))

    def is_given(self, name: str) -> bool:
        """Whether an argument was given, even if as ``None``."""
        return self._taken[name]

    # Both are needed before Airflow's constructor, which makes attributes possible, has run.
    @property
    def _taken(self) -> dict[str, bool]:
        """The names of the arguments, and whether they were given."""
        taken: dict[str, bool] = self.__dict__.setdefault("_taken_arguments", {})
        return taken

    @property
    def _refused(self) -> list[Problem]:
        """The problems of this row that were found before it was rendered."""
        refused: list[Problem] = self.__dict__.setdefault("_refused_arguments", [])
        return refused

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: Any
    ) -> None:
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if parent is self:
            self._finish_own_fields([name for name in template_fields if name not in self._taken])

    def _finish_own_fields(self, own_fields: Iterable[str]) -> None:
        """Leave a subclass its own fields as Airflow would; a name that does not exist fails the task."""
        unknown = [
            Problem(f"/{name}{at}", marker.reason)
            for name in own_fields
            for at, marker in find_missing(getattr(self, name))
            if isinstance(marker, Unknown)
        ]
        if unknown:
            what = f"the template fields of task {self.task_id!r} are not valid"
            raise AirflowFailException(str(TrutoSchemaError.of(what, unknown)))
        for name in own_fields:
            setattr(self, name, remove_markers(getattr(self, name)))

    def defer_until_event(
        self, context: Mapping[str, Any], trigger: BaseTrigger, *, method_name: str = "execute_complete"
    ) -> Any:
        """Free the worker until a trigger fires; a method takes the context and the event then."""
        this_try = {_DEFERRED_TRY: _read_try_number(context)}
        return self.defer(trigger=trigger, method_name=method_name, kwargs=this_try)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after a deferral, or start over where this is another try.

        Airflow 3.0 goes on with the event of an earlier try, which has failed of it already; all others start over.
        """
        kwargs = dict(next_kwargs or {})
        is_other_try = is_of_other_try(kwargs, context)
        kwargs.pop(_DEFERRED_TRY, None)
        if is_other_try:
            return self.execute(context)
        return super().resume_execution(next_method, kwargs, context)

    def push_outcome(self, context: Mapping[str, Any], value: dict[str, Any]) -> None:
        """Push the outcome of a task to XCom under the key ``truto``, beside its return value."""
        if self.do_xcom_push and (ti := context.get("ti")):
            ti.xcom_push(key=XCOM_KEY, value=value)


def is_of_other_try(next_kwargs: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    """Whether what a deferral has kept is not of the try that runs."""
    this_try = _read_try_number(context)
    return bool(next_kwargs.get(_DEFERRED_TRY, this_try) != this_try)


def _read_try_number(context: Mapping[str, Any]) -> Any:
    return getattr(context.get("ti"), "try_number", None)
