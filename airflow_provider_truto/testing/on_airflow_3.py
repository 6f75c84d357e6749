"""Running a part of a task on Airflow 3: by a worker's own task runner, with this process as its supervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch
from uuid import NAMESPACE_URL, uuid5

import structlog
from airflow.sdk.api.datamodels._generated import DagRun, TaskInstance, TIRunContext
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms, task_runner

from airflow_provider_truto.testing.parts import (
    RUN_ID,
    Deferred,
    Finished,
    Outcome,
    Part,
    Rescheduled,
    hurry,
)
from airflow_provider_truto.testing.xcoms import NOT_MAPPED, XComs

try:
    from airflow.sdk.serde import deserialize, serialize
except ImportError:  # before Airflow 3.2
    from airflow.serialization.serialized_objects import BaseSerialization

    serialize, deserialize = BaseSerialization.serialize, BaseSerialization.deserialize


class Supervisor:
    """Answers what task runners ask about one DAG run, where Airflow's supervisor would ask the API server."""

    def __init__(self, xcoms: XComs) -> None:
        self._xcoms = xcoms
        self._task_states: dict[tuple[Any, str], Any] = {}
        self._rows: dict[str, int] = {}
        self._part: Part | None = None
        self._answers: dict[str, Callable[[Any], Any]] = {
            "DeleteTaskStateStore": lambda ask: self._task_states.pop((ask.ti_id, ask.key), None),
            "DeleteXCom": lambda ask: self._xcoms.delete(ask.task_id, ask.key, _index(ask)),
            "GetConnection": lambda _: comms.ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND),
            "GetPrevSuccessfulDagRun": lambda _: comms.PrevSuccessfulDagRunResult(),
            "GetTICount": self._count_instances,
            "GetTaskRescheduleStartDate": lambda _: comms.TaskRescheduleStartDate(start_date=self._current.began),
            "GetTaskStateStore": self._get_task_state,
            "GetVariable": lambda _: comms.ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND),
            "GetXCom": lambda ask: comms.XComResult(
                key=ask.key, value=self._xcoms.get_serialized(ask.task_id, ask.key, _index(ask))
            ),
            "GetXComCount": lambda ask: comms.XComCountResponse(
                len=len(self._xcoms.list_indexes(ask.task_id, ask.key))
            ),
            "GetXComSequenceItem": self._get_xcom_of_row,
            "GetXComSequenceSlice": lambda ask: comms.XComSequenceSliceResult(
                root=self._xcoms.list_serialized(ask.task_id, ask.key)[ask.start : ask.stop : ask.step]
            ),
            "SetTaskStateStore": lambda ask: self._task_states.update({(ask.ti_id, ask.key): ask.value}),
            "SetXCom": lambda ask: self._xcoms.store(ask.task_id, ask.key, _index(ask), ask.value),
            "ValidateInletsAndOutlets": lambda _: comms.InactiveAssetsResult(inactive_assets=[]),
        }
        for told in ("DeferTask", "MaskSecret", "RescheduleTask", "RetryTask", "SetRenderedFields", "TaskState"):
            self._answers[told] = lambda _: None
        for told in ("SetRenderedMapIndex", "SkipDownstreamTasks", "SucceedTask"):
            self._answers[told] = lambda _: None

    @property
    def _current(self) -> Part:
        assert self._part is not None, "no task runner asks between two parts"
        return self._part

    def send(self, msg: Any) -> Any:
        """Answer a message of the task runner. Raises ``AirflowRuntimeError`` for one that only an API server can."""
        name = type(msg).__name__
        if name in self._answers:
            return self._answers[name](msg)
        message = f"truto.run has no API server, which this task asks for {name}: test it with dag.test()"
        detail = {"message": message}
        raise AirflowRuntimeError(comms.ErrorResponse(error=ErrorType.GENERIC_ERROR, detail=detail))

    async def asend(self, msg: Any) -> Any:
        """Answer a message that is sent from a coroutine."""
        return self.send(msg)

    def run_part(self, part: Part) -> Outcome:
        """Run a part as the task runner does, callbacks and listeners included. Raises what the task raises."""
        self._part = part
        self._rows[part.task.task_id] = part.rows
        executing = _Executing()
        ti = _make_instance(part)
        log = structlog.wrap_logger(logging.getLogger("airflow.task"), processors=[_render_log])
        with self.listening(), patch.object(task_runner, "_execute_task", executing):
            context: Any = ti.get_template_context()
            state, message, error = task_runner.run(ti, context, log)
            context["exception"] = error
            task_runner.finalize(ti, state, context, log, error)
        if error is not None:
            raise error
        if state == "skipped":
            raise executing.error or task_runner.AirflowSkipException()
        if state == "up_for_reschedule":
            return Rescheduled()
        return _read_deferral(message) if state == "deferred" else Finished(result=executing.result)

    def listening(self) -> Any:
        """Return a context in which this process is the supervisor."""
        return patch.object(task_runner, "SUPERVISOR_COMMS", self, create=True)

    def make_context(self, part: Part) -> Mapping[str, Any]:
        """Return the context that references to other tasks are resolved in."""
        context: Mapping[str, Any] = _make_instance(part).get_template_context()
        return context

    def _count_instances(self, ask: Any) -> Any:
        counted = 0 if ask.states else sum(self._rows.get(name, 0) for name in ask.task_ids or ())
        return comms.TICount(count=counted)

    def _get_xcom_of_row(self, ask: Any) -> Any:
        pushed = self._xcoms.list_serialized(ask.task_id, ask.key)
        if not -len(pushed) <= ask.offset < len(pushed):
            return comms.ErrorResponse(error=ErrorType.XCOM_NOT_FOUND)
        return comms.XComSequenceIndexResult(root=pushed[ask.offset])

    def _get_task_state(self, ask: Any) -> Any:
        if (ask.ti_id, ask.key) not in self._task_states:
            return comms.ErrorResponse(error=ErrorType.TASK_STORE_NOT_FOUND)
        return comms.TaskStateStoreResult(value=self._task_states[ask.ti_id, ask.key])


class _Executing:
    """Stands around the task runner's step that executes, to see what the runner keeps to itself."""

    def __init__(self) -> None:
        self._execute = task_runner._execute_task
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self, context: Any, ti: Any, log: Any) -> Any:
        hurry(ti.task)
        try:
            self.result = self._execute(context=context, ti=ti, log=log)
        except BaseException as error:
            self.error = error
            raise
        return self.result


def _make_instance(part: Part) -> Any:
    """Make the task instance of a part, with what the API server would tell of it."""
    named = {"dag_id": part.task.dag_id, "run_id": RUN_ID}
    dates = ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date")
    run = {
        **named,
        **dict.fromkeys(dates, part.run_began),
        "end_date": None,
        "run_type": "manual",
        "state": "running",
        "conf": part.conf,
        "consumed_asset_events": [],
        "partition_key": None,
    }
    told = {
        "dag_run": _select(DagRun, run),
        "max_tries": part.max_tries,
        "should_retry": part.try_number <= part.max_tries,
        "task_reschedule_count": part.reschedules,
        "next_method": part.next_method,
        "next_kwargs": serialize(part.next_kwargs),
    }
    place = f"{part.task.dag_id}/{part.task.task_id}/{part.map_index}"
    instance = TaskInstance.model_construct(
        id=uuid5(NAMESPACE_URL, place),
        task_id=part.task.task_id,
        try_number=part.try_number,
        map_index=part.map_index,
        **named,
    )
    return task_runner.RuntimeTaskInstance.model_construct(
        **instance.model_dump(exclude_unset=True),
        task=part.task,
        _ti_context_from_server=TIRunContext.model_validate(told),
        max_tries=part.max_tries,
        start_date=part.began,
        state="running",
    )


def _select(model: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the model of this Airflow does not know yet."""
    return {name: value for name, value in values.items() if name in model.model_fields}


def _read_deferral(message: Any) -> Deferred:
    sent = message.model_dump(mode="json")
    return Deferred(
        trigger=sent["classpath"],
        trigger_kwargs=deserialize(sent["trigger_kwargs"]),
        timeout=message.trigger_timeout,
        next_method=sent["next_method"],
        next_kwargs=deserialize(sent["next_kwargs"]),
    )


def _index(ask: Any) -> int:
    return NOT_MAPPED if ask.map_index is None else ask.map_index


def _render_log(_: Any, __: str, event: Any) -> Any:
    """Make of what the task runner logs the arguments of Python's logging."""
    exc_info = event.pop("exc_info", None)
    words = [str(event.pop("event")), *(f"{name}={value}" for name, value in event.items())]
    return (" ".join(words).replace("%", "%%"),), {"exc_info": exc_info}
