"""Running a task without a database, the way a worker and a triggerer of Airflow would."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from importlib import import_module
from math import prod
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from airflow_provider_truto._compat import IS_AIRFLOW_2, NOTSET, ArgNotSet

if IS_AIRFLOW_2:
    from airflow import macros
    from airflow.exceptions import TaskDeferred
    from airflow.models.baseoperator import ExecutorSafeguard
    from airflow.models.param import process_params
    from airflow.models.taskinstance import set_current_context
    from airflow.models.xcom import BaseXCom
    from airflow.utils.context import ConnectionAccessor, OutletEventAccessors, VariableAccessor
else:
    from airflow.sdk.bases.operator import ExecutorSafeguard
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.definitions.param import process_params
    from airflow.sdk.execution_time.context import (
        ConnectionAccessor,
        MacrosAccessor,
        OutletEventAccessors,
        VariableAccessor,
        set_current_context,
    )

    try:
        from airflow.sdk.exceptions import TaskDeferred
    except ImportError:  # before Airflow 3.2
        from airflow.exceptions import TaskDeferred
    macros = MacrosAccessor()

RETURN_VALUE = "return_value"
RUN_ID = "manual__test"
_NOT_MAPPED = -1
#: Arguments of this package's triggers, and what they are instead, so that no test waits.
_HURRY = {"poll_interval": 0.02, "until": 0.0}


class XComs:
    """What the tasks of one DAG run have pushed, as Airflow gives it back: values go through its serialization."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, int], dict[str, Any]] = {}

    def push(self, task_id: str, key: str, map_index: int, value: Any) -> None:
        """Keep a value. Raises what Airflow raises for one that it cannot store."""
        stored = BaseXCom.serialize_value(value)
        if not isinstance(stored, bytes):  # JSON as bytes on Airflow 2
            stored = json.loads(json.dumps(stored))
        self._values.setdefault((task_id, map_index), {})[key] = stored

    def get(self, task_id: str, key: str, map_index: int, default: Any = None) -> Any:
        """Return what was pushed last, else the default."""
        values = self._values.get((task_id, map_index), {})
        return BaseXCom.deserialize_value(SimpleNamespace(value=values[key])) if key in values else default

    def list_indexes(self, task_id: str, key: str) -> list[int]:
        """Return the map indexes under which a task has pushed this key, in order."""
        return sorted(index for (name, index), values in self._values.items() if name == task_id and key in values)

    def clear(self, task_id: str, map_index: int) -> None:
        """Forget what a task has pushed, as Airflow does before each try."""
        self._values.pop((task_id, map_index), None)


class TaskInstance:
    """What Airflow shows a task of itself, as far as operators and templates use it."""

    hostname = "localhost"
    run_id = RUN_ID
    state = "running"

    def __init__(self, task: Any, *, map_index: int, rows: int, xcoms: XComs, dag_run: Any) -> None:
        self.task = task
        self.task_id: str = task.task_id
        self.dag_id: str = task.dag_id
        self.map_index = map_index
        self.try_number = 0
        self.max_tries = 0
        self.dag_run = dag_run
        self.logical_date = dag_run.logical_date
        self.start_date = dag_run.start_date
        self._rows = rows
        self._xcoms = xcoms

    def begin_try(self, *, is_retry: bool) -> None:
        """Count one more try; one that is not a retry comes after a clear, and begins another write."""
        if not is_retry:
            retries = getattr(self.task, "retries", None) or 0
            self.max_tries = self.try_number + retries
        self.try_number += 1
        self._xcoms.clear(self.task_id, self.map_index)

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        """Push a value."""
        self._xcoms.push(self.task_id, key, self.map_index, value)

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,  # noqa: ARG002 – there is one DAG run
        key: str = RETURN_VALUE,
        *_: Any,
        map_indexes: int | Iterable[int] | ArgNotSet | None = NOTSET,
        default: Any = None,
        **__: Any,
    ) -> Any:
        """Pull what tasks have pushed: of one that was not mapped its value, of a mapped one a list of all rows'."""
        if task_ids is None:
            task_ids = self.task_id
        is_single = isinstance(task_ids, str)
        names = [task_ids] if isinstance(task_ids, str) else list(task_ids)
        if isinstance(map_indexes, (int, Iterable)):
            wanted = [map_indexes] if isinstance(map_indexes, int) else list(map_indexes)
            found = [self._xcoms.get(name, key, index, default) for name in names for index in wanted]
            return found[0] if is_single and isinstance(map_indexes, int) else found
        indexes = {name: self._xcoms.list_indexes(name, key) for name in names}
        if is_single and indexes[names[0]] in ([], [_NOT_MAPPED]):
            return self._xcoms.get(names[0], key, _NOT_MAPPED, default)
        return [self._xcoms.get(name, key, index) for name in names for index in indexes[name] or [_NOT_MAPPED]]

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """Have references to other tasks be pulled whole."""

    def get_ti_count(self, *, states: Iterable[str] | None = None, **_: Any) -> int:
        """Count the rows of this task; none of them is in any other state."""
        return 0 if states else self._rows

    def get_first_reschedule_date(self, _: Any) -> datetime:
        """Return when a sensor began."""
        return self.start_date  # type: ignore[no-any-return]


class Worker:
    """Runs the tasks of one DAG run, one after another."""

    def __init__(self) -> None:
        self.xcoms = XComs()
        self._began = datetime.now(timezone.utc)
        self._tries: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._failed: set[tuple[str, str, int]] = set()

    def run(self, operator: Any, *, conf: Mapping[str, Any]) -> Any:
        """Run a task to its end and return its return value; those of all rows of a mapped one, in order.

        Raises what the task raises. It is a retry where the same task has failed before, else as after a clear.
        """
        dates = ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date")
        dag_run = SimpleNamespace(
            dag_id=operator.dag_id,
            run_id=RUN_ID,
            run_type="manual",
            conf=dict(conf),
            **dict.fromkeys(dates, self._began),
        )
        with _keep_params(operator):
            if not hasattr(operator, "_get_specified_expand_input"):
                return self._run_one(operator, dag_run, map_index=_NOT_MAPPED, rows=1)
            lengths = self._find_lengths(operator, dag_run)
            rows = lengths if isinstance(lengths, int) else prod(lengths.values())
            with _tell_lengths(operator, lengths):
                return [self._run_one(operator, dag_run, map_index=index, rows=rows) for index in range(rows)]

    def _run_one(self, operator: Any, dag_run: Any, *, map_index: int, rows: int) -> Any:
        name = (operator.dag_id, operator.task_id, map_index)
        ti = TaskInstance(operator, map_index=map_index, rows=rows, xcoms=self.xcoms, dag_run=dag_run)
        ti.try_number, ti.max_tries = self._tries.get(name, (0, 0))
        ti.begin_try(is_retry=name in self._failed)
        self._tries[name] = (ti.try_number, ti.max_tries)
        self._failed.add(name)
        result = _run_parts(operator, ti)
        self._failed.discard(name)
        return result

    def _find_lengths(self, operator: Any, dag_run: Any) -> int | dict[str, int]:
        """Return how many values each argument is mapped over; for `expand_kwargs`, how many rows there are."""
        ti = TaskInstance(operator, map_index=0, rows=0, xcoms=self.xcoms, dag_run=dag_run)
        context = _make_context(operator, ti)

        def count(value: Any) -> int:
            return len(value if isinstance(value, Sized) else value.resolve(context))

        given = operator._get_specified_expand_input().value
        return {name: count(value) for name, value in given.items()} if isinstance(given, Mapping) else count(given)


def _run_parts(operator: Any, ti: TaskInstance) -> Any:
    """Run one try, over as many deferrals as there are; each part is rendered again, as in a worker of its own."""
    next_method: str | None = None
    next_kwargs: dict[str, Any] = {}
    while True:
        ti.task = operator.prepare_for_execution()
        context = _make_context(ti.task, ti)
        with ExitStack() as stack:
            stack.enter_context(set_current_context(context))
            # It warns where `execute` is not called by Airflow.
            stack.enter_context(patch.object(ExecutorSafeguard, "test_mode", True))
            if IS_AIRFLOW_2:
                stack.enter_context(_open_session_of_airflow_2())
            if not hasattr(ti.task, "_get_specified_expand_input"):
                ti.task.resolve_template_files()
            ti.task.render_template_fields(context)  # of a mapped task, this puts that of the row in its place
            task = ti.task
            try:
                if next_method is None:
                    result = task.execute(context)
                else:
                    result = task.resume_execution(next_method, next_kwargs, context)
            except TaskDeferred as deferral:
                next_method, next_kwargs = _wait_for(deferral)
                continue
        _push_result(task, ti, result)
        return result


def _push_result(task: Any, ti: TaskInstance, result: Any) -> None:
    if task.do_xcom_push and result is not None:
        if getattr(task, "multiple_outputs", False):
            for key, value in result.items():
                ti.xcom_push(key, value)
        ti.xcom_push(RETURN_VALUE, result)


def _wait_for(deferral: TaskDeferred) -> tuple[str, dict[str, Any]]:
    """Run a trigger until its first event; return what the task goes on with."""
    path, kwargs = deferral.trigger.serialize()
    module, _, name = path.rpartition(".")
    kwargs = json.loads(json.dumps(kwargs, default=_fail_on_object(path)))
    if module.startswith("airflow_provider_truto."):
        kwargs |= {argument: value for argument, value in _HURRY.items() if argument in kwargs}
    trigger = getattr(import_module(module), name)(**kwargs)
    timeout = deferral.timeout.total_seconds() if isinstance(deferral.timeout, timedelta) else deferral.timeout
    try:
        event = asyncio.run(asyncio.wait_for(_run_trigger(trigger), timeout))
    except asyncio.TimeoutError:
        return "__fail__", {"error": "Trigger timeout"}
    return deferral.method_name, {**(deferral.kwargs or {}), "event": event.payload}


def _fail_on_object(path: str) -> Any:
    def fail(value: Any) -> Any:
        raise TypeError(f"the trigger {path} has an argument that is not JSON: {type(value).__name__}")

    return fail


async def _run_trigger(trigger: Any) -> Any:
    events = trigger.run()
    try:
        return await anext(events)
    finally:
        await events.aclose()


def _make_context(task: Any, ti: TaskInstance) -> dict[str, Any]:
    """Return what Airflow makes of a run for templates and `execute`."""
    run = ti.dag_run
    params = process_params(task.get_dag(), task, run if IS_AIRFLOW_2 else run.conf, suppress_exception=False)
    return {
        "conn": ConnectionAccessor(),
        "dag": task.get_dag(),
        "dag_run": run,
        "data_interval_end": run.data_interval_end,
        "data_interval_start": run.data_interval_start,
        "ds": f"{run.logical_date:%Y-%m-%d}",
        "ds_nodash": f"{run.logical_date:%Y%m%d}",
        "expanded_ti_count": ti.get_ti_count(),
        "inlets": task.inlets,
        "logical_date": run.logical_date,
        "macros": macros,
        "outlet_events": OutletEventAccessors(),
        "outlets": task.outlets,
        "params": params,
        "run_id": run.run_id,
        "task": task,
        "task_instance": ti,
        "task_instance_key_str": f"{ti.dag_id}__{ti.task_id}__{run.logical_date:%Y%m%d}",
        "task_reschedule_count": 0,
        "ti": ti,
        "ts": run.logical_date.isoformat(),
        "ts_nodash": f"{run.logical_date:%Y%m%dT%H%M%S}",
        "ts_nodash_with_tz": run.logical_date.isoformat().replace("-", "").replace(":", ""),
        "var": {
            "json": VariableAccessor(deserialize_json=True),
            "value": VariableAccessor(deserialize_json=False),
        },
    }


@contextmanager
def _keep_params(operator: Any) -> Iterator[None]:
    """Undo what Airflow does to the params of a DAG object in which it runs a task: they take the run's values."""
    holders = [operator.params, getattr(operator.get_dag(), "params", None)]
    params = [one for holder in holders for _, one in (holder or {}).items() if hasattr(one, "value")]
    values = [copy.copy(one.value) for one in params]
    try:
        yield
    finally:
        for one, value in zip(params, values, strict=True):
            one.value = value


@contextmanager
def _open_session_of_airflow_2() -> Iterator[None]:
    """Have a session where Airflow 2 looks for one; nothing is asked of it."""
    from airflow.utils.session import create_session
    from airflow.utils.task_instance_session import set_current_task_instance_session

    with create_session() as session, set_current_task_instance_session(session):
        yield


@contextmanager
def _tell_lengths(operator: Any, lengths: int | dict[str, int]) -> Iterator[None]:
    """Tell Airflow 2, which would ask its database, what was counted already."""
    if not IS_AIRFLOW_2 or isinstance(lengths, int):
        yield
        return
    kind = type(operator._get_specified_expand_input())
    with patch.object(kind, "_get_map_lengths", lambda *_, **__: lengths):
        yield
