"""Running a part of a task on Airflow 2: by Airflow's own steps, with an object instead of a row of its database."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from airflow import macros
from airflow.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.models import taskinstance
from airflow.models.param import process_params
from airflow.serialization.serialized_objects import BaseSerialization
from airflow.utils.context import ConnectionAccessor, OutletEventAccessors, VariableAccessor
from airflow.utils.session import create_session
from airflow.utils.task_instance_session import set_current_task_instance_session

from airflow_provider_truto._compat import NOTSET, ArgNotSet
from airflow_provider_truto.testing.parts import (
    RUN_ID,
    Deferred,
    Finished,
    Outcome,
    Part,
    Rescheduled,
    hurry,
)
from airflow_provider_truto.testing.xcoms import NOT_MAPPED, RETURN_VALUE, XComs

_DATES = ("logical_date", "execution_date", "data_interval_start", "data_interval_end", "run_after", "start_date")


class TaskInstance:
    """What Airflow shows a task of itself, and what its own steps need to run one."""

    hostname = "localhost"
    run_id = RUN_ID
    state = "running"
    test_mode = False
    log = logging.getLogger("airflow.task")
    rendered_map_index: str | None = None

    render_templates = taskinstance.TaskInstance.render_templates
    run_with_callbacks = taskinstance.TaskInstance._execute_task_with_callbacks
    _run_execute_callback = taskinstance.TaskInstance._run_execute_callback

    def __init__(self, part: Part, xcoms: XComs) -> None:
        self.task = part.task
        self.task_id: str = part.task.task_id
        self.dag_id: str = part.task.dag_id
        self.map_index = part.map_index
        self.try_number = part.try_number
        self.max_tries = part.max_tries
        self.dag_run = SimpleNamespace(
            dag_id=self.dag_id,
            run_id=RUN_ID,
            run_type="manual",
            state="running",
            conf=part.conf,
            external_trigger=True,
            **dict.fromkeys(_DATES, part.run_began),
        )
        self.logical_date = self.execution_date = part.run_began
        self.start_date = part.began
        self.next_method = part.next_method
        self.next_kwargs = part.next_kwargs
        self.stats_tags = {"dag_id": self.dag_id, "task_id": self.task_id}
        self.result: Any = None
        self._rows = part.rows
        self._xcoms = xcoms

    def _execute_task(self, context: Any, task_orig: Any) -> Any:
        hurry(self.task)
        self.result = taskinstance._execute_task(self, context, task_orig)
        return self.result

    def clear_xcom_data(self) -> None:
        """Do nothing: a new try has cleared it."""

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
        if is_single and indexes[names[0]] in ([], [NOT_MAPPED]):
            return self._xcoms.get(names[0], key, NOT_MAPPED, default)
        return [self._xcoms.get(name, key, index) for name in names for index in indexes[name] or [NOT_MAPPED]]

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """Have references to other tasks be pulled whole."""

    def is_eligible_to_retry(self) -> bool:
        """Whether Airflow would try the task again."""
        return bool(taskinstance._is_eligible_to_retry(task_instance=self))

    def make_context(self) -> dict[str, Any]:
        """Return what Airflow makes of a run for templates and `execute`."""
        run, task = self.dag_run, self.task
        date = run.logical_date
        return {
            "conn": ConnectionAccessor(),
            "dag": task.get_dag(),
            "dag_run": run,
            "data_interval_end": run.data_interval_end,
            "data_interval_start": run.data_interval_start,
            "ds": f"{date:%Y-%m-%d}",
            "ds_nodash": f"{date:%Y%m%d}",
            "expanded_ti_count": self._rows,
            "inlets": task.inlets,
            "logical_date": date,
            "macros": macros,
            "map_index_template": task.map_index_template,
            "outlet_events": OutletEventAccessors(),
            "outlets": task.outlets,
            "params": process_params(task.get_dag(), task, run, suppress_exception=False),
            "run_id": run.run_id,
            "task": task,
            "task_instance": self,
            "task_instance_key_str": f"{self.dag_id}__{self.task_id}__{date:%Y%m%d}",
            "test_mode": False,
            "ti": self,
            "ts": date.isoformat(),
            "ts_nodash": f"{date:%Y%m%dT%H%M%S}",
            "ts_nodash_with_tz": date.isoformat().replace("-", "").replace(":", ""),
            "var": {
                "json": VariableAccessor(deserialize_json=True),
                "value": VariableAccessor(deserialize_json=False),
            },
        }


class Supervisor:
    """Runs the parts of one DAG run's tasks. Nothing is asked of a database."""

    def __init__(self, xcoms: XComs) -> None:
        self._xcoms = xcoms

    def run_part(self, part: Part) -> Outcome:
        """Run a part as Airflow does, callbacks and listeners included. Raises what the task raises."""
        ti = TaskInstance(part, self._xcoms)
        ti.task = part.task.prepare_for_execution()
        first = part.began if part.reschedules else None
        with self.listening(), _airflow_without_rows(first) as session:
            context = ti.make_context()
            try:
                ti.run_with_callbacks(context=context, test_mode=True, session=session)  # keeps no rendered fields
            except TaskDeferred as deferral:
                return _read_deferral(deferral)
            except AirflowRescheduleException:
                return Rescheduled()
            except AirflowSkipException:
                _call(ti.task.on_skipped_callback, context)
                _call(ti.task.on_success_callback, context)  # as Airflow 2 does
                raise
            except BaseException as error:
                context["exception"] = error
                is_last = isinstance(error, (AirflowFailException, AirflowSensorTimeout))
                is_last = is_last or not ti.is_eligible_to_retry()
                _call(ti.task.on_failure_callback if is_last else ti.task.on_retry_callback, context)
                raise
            _call(ti.task.on_success_callback, context)
        return Finished(result=ti.result)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have a session where Airflow looks for one; nothing is asked of it."""
        with create_session() as session, set_current_task_instance_session(session):
            yield

    def make_context(self, part: Part) -> Mapping[str, Any]:
        """Return the context that references to other tasks are resolved in."""
        return TaskInstance(part, self._xcoms).make_context()


@contextmanager
def _airflow_without_rows(first_reschedule: datetime | None) -> Iterator[Any]:
    """Have Airflow not look for rows of its database: what they would tell it is known."""
    record = taskinstance._record_task_map_for_downstreams
    nowhere = SimpleNamespace(merge=lambda _: None)
    with ExitStack() as stack:
        stack.enter_context(
            patch.object(
                taskinstance,
                "_record_task_map_for_downstreams",
                lambda **given: record(**{**given, "session": nowhere}),
            )
        )
        stack.enter_context(patch("airflow.sensors.base._orig_start_date", lambda **_: first_reschedule))
        yield nowhere


def _call(callbacks: Any, context: Any) -> None:
    taskinstance._run_finished_callback(callbacks=callbacks, context=context)


def _read_deferral(deferral: TaskDeferred) -> Deferred:
    path, kwargs = deferral.trigger.serialize()
    return Deferred(
        trigger=path,
        trigger_kwargs=_pass_through_json(kwargs),
        timeout=deferral.timeout,
        next_method=deferral.method_name,
        next_kwargs=_pass_through_json(deferral.kwargs or {}),
    )


def _pass_through_json(value: Any) -> Any:
    return BaseSerialization.deserialize(BaseSerialization.serialize(value))
