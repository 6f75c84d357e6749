"""Airflow's rendering with types kept: the one place where the operators reach into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import AirflowFailException, is_literal
from airflow_provider_truto.client.numbers import parse_exact_json
from airflow_provider_truto.operators._argument import is_path
from airflow_provider_truto.records.render import Missing, mark_missing, render
from airflow_provider_truto.records.scalars import to_plain_text

if TYPE_CHECKING:
    import jinja2

#: What Airflow itself adds to the arguments of a task that it makes of a mapped one.
_OF_AIRFLOW = frozenset({"task_id", "dag", "task_group", "start_date", "end_date", "params", "_airflow_from_mapped"})


class TypedRenderingMixin:
    """Renders ``{{ expression }}`` to its value and other strings to text, whatever the DAG's rendering mode.

    What the DAG's author wrote is rendered wherever it stands: in arguments, defaults, ``default_args``, what a
    subclass sets, lists that are mapped over. What came from upstream is data and never rendered. Of a mapped task
    that is what its own row holds; a subclass that puts such a value into a longer text of its own makes it the
    author's.

    An operator that has ``body`` and ``body_file`` gets the file's JSON, or JSON text of the author's, parsed
    first and its strings rendered then: data never breaks the JSON.
    """

    body: Any
    body_file: Any
    template_fields: Sequence[str]
    template_ext: Sequence[str]

    def __new__(cls, *_args: Any, **kwargs: Any) -> Any:
        """Keep the arguments by which Airflow makes this task of a mapped one, as they were handed over."""
        operator = super().__new__(cls)
        if kwargs.get("_airflow_from_mapped"):
            # Not by setattr, which Airflow has taken over and which needs an operator that is made.
            arguments = {name: value for name, value in kwargs.items() if name not in _OF_AIRFLOW}
            operator.__dict__["_arguments_when_mapped"] = arguments
        return operator

    def render_template(
        self,
        content: Any,
        context: Any,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render one value; collections come back here for each string in them."""
        if content is None:
            return None  # there is but one None, and Airflow may have marked it
        if seen_oids is not None and id(content) in seen_oids:
            return mark_missing(content, source="the mapped value")
        env = jinja_env or self.get_template_env()  # type: ignore[attr-defined]
        if isinstance(content, str):
            return render(content, context, env)
        if is_literal(content):
            return content.resolve(context)  # as the author wrote it: a None in it clears a field
        if is_reference(content):
            value = content.resolve(context)
            if is_from_upstream(content, context):
                return mark_missing(value, source="the upstream task's XCom")
            return self.render_template(value, context, env)
        return super().render_template(content, context, env, seen_oids)  # type: ignore[misc]

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: jinja2.Environment, seen_oids: Any
    ) -> None:
        # Airflow calls this on the operator itself, mapped or not, so that operators can render fields their way.
        render = super()._do_render_template_fields  # type: ignore[misc]
        if parent is not self:
            render(parent, template_fields, context, jinja_env, seen_oids)
            return
        # Airflow's own marks are ids of objects, which data and the author's text may share, and of the rows of
        # `expand_kwargs` it marks nothing: `seen_oids` is of no use here.
        partial, row = self._find_mapped(context)
        of_row = frozenset(_iterate_ids(row.values()))
        written = [name for name in template_fields if not self._take_from(row, name)]
        self._parse_body(context, jinja_env, of_row, is_named_upstream="body_file" not in written)
        for name in written:
            if name == "body_file":
                continue  # rendered already: its outcome is not a template
            value = getattr(self, name, None)
            if isinstance(value, str) and value.endswith(tuple(self.template_ext)):
                setattr(self, name, _read_file(name, value, jinja_env))
            # Only what a subclass has put together may hold a part of the row.
            marks = frozenset() if value is partial.get(name) else of_row
            render(self, [name], context, jinja_env, set(marks))

    def _find_mapped(self, context: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the arguments that all tasks of a mapped one share, and those in this one's row that are data.

        Both are empty for a task that is not mapped, the latter also where the rows stand in the DAG file.
        """
        arguments = self.__dict__.get("_arguments_when_mapped")
        task: Any = self.dag.task_dict.get(self.task_id) if arguments and self.has_dag() else None  # type: ignore[attr-defined]
        if arguments is None or not hasattr(task, "expand_input"):
            return {}, {}
        partial = task.partial_kwargs
        row = {
            name: value
            for name, value in arguments.items()
            # With `strict=False` a row may hold what is shared, too; then its value is a different object.
            if not (name in partial and partial[name] is value)
            and is_from_expansion(task.expand_input, name, context["ti"].map_index)
        }
        return partial, row

    def _take_from(self, row: Mapping[str, Any], name: str) -> bool:
        """Take a field as it came in the row; say whether it did: a subclass may have made something else of it."""
        if name not in row or getattr(self, name, None) is not row[name]:
            return False
        if row[name] is not None:  # that is an argument which the row leaves out
            setattr(self, name, self._mark_as_data(name, row[name]))
        return True

    def _mark_as_data(self, name: str, value: Any) -> Any:
        return mark_missing(value, source=f"the mapped value of {name}")

    def _parse_body(
        self, context: Any, env: jinja2.Environment, of_row: frozenset[int], *, is_named_upstream: bool
    ) -> None:
        """Make an object of JSON text that the author wrote, or of a file, before it is rendered."""
        if self.body_file is not None:
            if not is_named_upstream:
                self.body_file = self.render_template(self.body_file, context, env, set(of_row))
            self.body = _parse_file(self.body_file, env)
        elif isinstance(self.body, str) and id(self.body) not in of_row:
            self.body = _parse_if_object(self.body)
        elif is_literal(self.body) and isinstance(self.body.value, str):
            self.body = replace(self.body, value=_parse_if_object(self.body.value))


def is_reference(value: Any) -> bool:
    """Whether Airflow resolves a value when the task runs: the output of a task, or a literal of the author's."""
    return hasattr(value, "resolve") and not is_path(value)  # which has such a method, too


def is_from_upstream(reference: Any, context: Any) -> bool:
    """Whether what a reference resolves to was made by another task, and not written in the DAG file."""
    if is_literal(reference):
        return False
    expand_input = getattr(reference, "_input", None)  # of a task group that is mapped
    return expand_input is None or is_from_expansion(expand_input, reference._key, context["ti"].map_index)


def is_from_expansion(expand_input: Any, name: str, map_index: int) -> bool:
    """Whether an argument of one row of a mapped task, or of a mapped task group, was made by another task."""
    given = expand_input.value
    if isinstance(given, Mapping):  # of `expand`
        return name in given and is_reference(given[name])
    if isinstance(given, Sequence):  # of `expand_kwargs`, a list in the DAG file, of which an item may be a reference
        return not isinstance(given[map_index], Mapping)
    return True


def _iterate_ids(values: Iterable[Any]) -> Iterator[int]:
    """Find the objects in data that a template could stand in, or that hold such."""
    for value in values:
        if isinstance(value, str):
            yield id(value)
        elif isinstance(value, Mapping):
            yield id(value)
            yield from _iterate_ids(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            yield id(value)
            yield from _iterate_ids(value)


def _parse_if_object(text: str) -> Any:
    """Parse JSON text that is an object as it stands; with bare expressions in it, it stays a template."""
    try:
        parsed = parse_exact_json(to_plain_text(text))
    except ValueError:
        return text
    return parsed if isinstance(parsed, dict) else text


def _parse_file(name: Any, env: jinja2.Environment) -> Any:
    """Find a file as Airflow finds templates (the DAG's folder, template_searchpath), and parse it."""
    if isinstance(name, Missing):
        raise AirflowFailException(f"body_file names no file: {name.reason}")
    if not isinstance(name, str):
        raise AirflowFailException(f"body_file: expects the name of a JSON file, got {type(name).__name__}")
    text = _find_text(name, env)
    if text is None:
        raise AirflowFailException(f"body_file {name!r} was not found in {_list_folders(env)}")
    try:
        return parse_exact_json(text)
    except ValueError as error:
        raise AirflowFailException(
            f'body_file {name!r} is not JSON ({error}); put templates inside strings, "{{{{ params.x }}}}":'
            " a lone expression keeps its type"
        ) from None


def _read_file(argument: str, value: str, env: jinja2.Environment) -> str:
    """Read the file that an argument names, which Airflow does beforehand for tasks that are not mapped only."""
    text = _find_text(value, env)
    if text is not None:
        return text
    if len(value.split()) > 1:  # text that ends like the name of a file, such as a query with a comment
        return value
    raise AirflowFailException(f"{argument} {value!r} was not found in {_list_folders(env)}")


def _find_text(name: str, env: jinja2.Environment) -> str | None:
    from jinja2 import BaseLoader, TemplateNotFound

    try:
        return (env.loader or BaseLoader()).get_source(env, name)[0]
    except TemplateNotFound:
        return None


def _list_folders(env: jinja2.Environment) -> str:
    return ", ".join(getattr(env.loader, "searchpath", [])) or "any folder"
