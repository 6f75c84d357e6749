"""``@task.truto_update_account``: a function that returns the body of an account update, which the operator makes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.operators._rendering import is_from_expansion
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.records.render import mark_missing

try:  # here and not in _compat: operators need none, and it takes time to import
    from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory
except ImportError:  # Airflow 2.11
    from airflow.decorators.base import DecoratedOperator, task_decorator_factory
try:
    from airflow.sdk.bases.decorator import determine_kwargs
    from airflow.sdk.definitions.context import context_merge
except ImportError:  # before Airflow 3.1
    from airflow.utils.context import context_merge
    from airflow.utils.operator_helpers import determine_kwargs

_SOURCE = "what the function returned"
#: What Airflow shows as the body before the function has returned one; Airflow 2 also after that.
_TO_COME = "<what the function returns>"


class _TrutoUpdateAccountDecoratedOperator(DecoratedOperator, TrutoUpdateAccountOperator):
    """Update an account with what a function returns: the body, or ``(account_id, body)``.

    The other arguments are those of ``TrutoUpdateAccountOperator``, all but ``body`` and ``body_file``. What the
    function returns is data: it is never rendered, and ``on_none`` says what a ``None`` in it means.

    :param python_callable: the function.
    :param op_args: its positional arguments. (templated)
    :param op_kwargs: its keyword arguments. (templated)
    """

    op_args: Collection[Any]
    op_kwargs: Mapping[str, Any]
    custom_operator_name = "@task.truto_update_account"
    made_when_run: ClassVar[frozenset[str]] = frozenset({"account_id"})
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in TrutoUpdateAccountOperator.template_fields if name != "body_file"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **TrutoUpdateAccountOperator.template_fields_renderers,
    }

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        returned = [name for name in ("body", "body_file") if kwargs.pop(name, None) is not None]
        given: dict[str, Any] = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        super().__init__(**given, body=_TO_COME, **kwargs)
        self._refuse(Problem(f"/{name}", "is not an argument here: the function returns it") for name in returned)

    def execute(self, context: Any) -> Any:
        """Call the function, and write what it returns."""
        self._take_result(self._call_function(context))
        answer = super().execute(context)
        # Have Airflow show the body among the rendered fields; of a try that failed, it may know no fields any more.
        self.overwrite_rtif_after_execution = True
        return answer

    def _call_function(self, context: Any) -> Any:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        result = self.python_callable(*self.op_args, **kwargs)
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    def _take_result(self, result: Any) -> None:
        names_account = isinstance(result, tuple) and len(result) == 2
        account_id, body = result if names_account else (None, result)
        if names_account and self.is_given("account_id"):
            message = "is given to the decorator, and the function returned one as well: name it once"
            self._refuse_when_run("account_id", message)
        elif names_account:
            self._take_when_run("account_id", mark_missing(account_id, source=_SOURCE))
        elif not self.is_given("account_id"):
            message = "is missing: give it to the decorator, or have the function return (account_id, body)"
            self._refuse_when_run("account_id", message)
        if body is None:  # most likely a forgotten return: on_none is about values in a body
            message = "the function returned None; where nothing is to be written, raise AirflowSkipException"
            self._refuse_when_run("body", message)
        else:
            self._take_when_run("body", mark_missing(body, source=_SOURCE))

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: Any
    ) -> None:
        render = super()._do_render_template_fields
        if parent is not self:
            render(parent, template_fields, context, jinja_env, seen_oids)
            return
        # What is mapped over are arguments of the function, within one of the operator.
        data = self._find_mapped_data(context)
        self.op_kwargs = {name: value for name, value in self.op_kwargs.items() if name not in data}
        of_function = [name for name in template_fields if name in DecoratedOperator.template_fields]
        render(self, of_function, context, jinja_env, seen_oids)
        self.op_kwargs = {**self.op_kwargs, **data}
        # The other arguments may refer to these: "{{ task.op_kwargs.row.customer }}". Airflow 3.0 has another copy of
        # the task in the context.
        context_merge(context, {"task": self})
        others = [name for name in template_fields if name not in of_function]
        render(self, others, context, jinja_env, seen_oids)

    def _find_mapped_data(self, context: Any) -> dict[str, Any]:
        """Return the function's arguments that came out of another task's rows; they are not rendered."""
        task: Any = self.dag.task_dict.get(self.task_id) if self.has_dag() else None
        if not hasattr(task, "op_kwargs_expand_input"):
            return {}
        shared = task.partial_kwargs["op_kwargs"]
        return {
            name: value
            for name, value in self.op_kwargs.items()
            if not (name in shared and shared[name] is value)
            and is_from_expansion(task.op_kwargs_expand_input, name, context["ti"].map_index)
        }


def truto_update_account_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = False, **kwargs: Any
) -> Any:
    """Make a task of a function that returns the body of an account update, or ``(account_id, body)``.

    Airflow has it as ``@task.truto_update_account``. It takes the arguments of ``TrutoUpdateAccountOperator``, all
    but ``body`` and ``body_file``, and those of any operator.

    :param multiple_outputs: push each key of Truto's answer to XCom as well. Unlike those of ``@task``, an annotation
        of the function does not switch it on: it says what the body is.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=_TrutoUpdateAccountDecoratedOperator,
        **kwargs,
    )
