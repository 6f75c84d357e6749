"""Running a task to its end without a database, over retries of a look, deferrals and the rows of a mapped one."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from importlib import import_module
from math import prod
from typing import Any
from unittest.mock import patch

from airflow_provider_truto._compat import IS_AIRFLOW_2, AirflowSkipException
from airflow_provider_truto.testing.parts import PAUSE, Deferred, Finished, Part, Rescheduled
from airflow_provider_truto.testing.xcoms import NOT_MAPPED, XComs

if IS_AIRFLOW_2:
    from airflow.models.dag import DAG

    from airflow_provider_truto.testing.on_airflow_2 import Supervisor
else:
    from airflow.sdk import DAG

    from airflow_provider_truto.testing.on_airflow_3 import Supervisor  # type: ignore[assignment]

#: Arguments of this package's triggers, and what they are instead, so that no test waits.
_HURRY = {"poll_interval": PAUSE, "until": 0.0}


class Worker:
    """Runs the tasks of one DAG run, one after another."""

    def __init__(self) -> None:
        self.xcoms = XComs()
        self._supervisor = Supervisor(self.xcoms)
        self._began = datetime.now(timezone.utc)
        self._tries: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._failed: set[tuple[str, str, int]] = set()

    def run(self, operator: Any, *, conf: Mapping[str, Any]) -> Any:
        """Run a task to its end and return its return value; those of all rows of a mapped one, in order.

        Raises what the task raises. It is a retry where the same task has failed before, else as after a clear.
        Raises ``NotImplementedError`` for a task of a mapped group.
        """
        task = _place_in_dag(operator)
        if next(task.iter_mapped_task_groups(), None) is not None:
            raise NotImplementedError(
                f"truto.run does not know the rows of a mapped task group, which {task.task_id} is in:"
                " test it with dag.test()"
            )
        part = Part(
            task=task,
            map_index=NOT_MAPPED,
            rows=1,
            try_number=1,
            max_tries=0,
            conf=dict(conf),
            run_began=self._began,
            began=self._began,
        )
        with _keep_params(task), patch.dict(os.environ), _keep_signal_handler():
            if not hasattr(task, "_get_specified_expand_input"):
                task.resolve_template_files()
                return self._run_try(part)
            lengths = self._find_lengths(part)
            rows = lengths if isinstance(lengths, int) else prod(lengths.values())
            with _tell_lengths(task, lengths):
                return [self._run_try(replace(part, map_index=index, rows=rows)) for index in range(rows)]

    def _run_try(self, part: Part) -> Any:
        """Run one try of a task instance to its end."""
        name = (part.task.dag_id, part.task.task_id, part.map_index)
        try_number, max_tries = self._tries.get(name, (0, 0))
        if name not in self._failed:
            max_tries = try_number + (part.task.retries or 0)
        self._tries[name] = (try_number + 1, max_tries)
        self.xcoms.clear(part.task.task_id, part.map_index)
        self._failed.add(name)
        began = datetime.now(timezone.utc)
        try:
            result = self._run_parts(replace(part, try_number=try_number + 1, max_tries=max_tries, began=began))
        except AirflowSkipException:
            self._failed.discard(name)
            raise
        self._failed.discard(name)
        return result

    def _run_parts(self, part: Part) -> Any:
        failure: Exception | None = None
        while True:
            try:
                outcome = self._supervisor.run_part(part)
            except Exception as error:
                if failure is not None:  # Airflow says only that the trigger has failed
                    raise error from failure
                raise
            if isinstance(outcome, Finished):
                return outcome.result
            if isinstance(outcome, Rescheduled):
                time.sleep(PAUSE)
                part = replace(part, reschedules=part.reschedules + 1, next_method=None)
                continue
            try:
                payload = self._wait_for(outcome)
            except Exception as error:
                failure = error
                part = replace(part, next_method="__fail__", next_kwargs=_tell_failure(error))
            else:
                kwargs = {**outcome.next_kwargs, "event": payload}
                part = replace(part, next_method=outcome.next_method, next_kwargs=kwargs)

    def _wait_for(self, deferral: Deferred) -> Any:
        """Run a trigger until its first event, and return that event's payload. Raises what the trigger raises."""
        module, _, name = deferral.trigger.rpartition(".")
        kwargs = dict(deferral.trigger_kwargs)
        if module.startswith("airflow_provider_truto."):
            kwargs |= {argument: value for argument, value in _HURRY.items() if argument in kwargs}
        trigger = getattr(import_module(module), name)(**kwargs)
        timeout = None if deferral.timeout is None else deferral.timeout.total_seconds()
        with self._supervisor.listening():
            return asyncio.run(asyncio.wait_for(_run_trigger(trigger), timeout))

    def _find_lengths(self, part: Part) -> int | dict[str, int]:
        """Return how many values each argument is mapped over; for `expand_kwargs`, how many rows there are."""
        with self._supervisor.listening():
            context = self._supervisor.make_context(replace(part, map_index=0, rows=0))

            def count(value: Any) -> int:
                return len(value if isinstance(value, Sized) else value.resolve(context))

            given = part.task._get_specified_expand_input().value
            return (
                {name: count(value) for name, value in given.items()} if isinstance(given, Mapping) else count(given)
            )


def _place_in_dag(operator: Any) -> Any:
    """Return the operator where it is in a DAG; else a copy that is in one, since every task that runs is."""
    if operator.get_dag() is not None:
        return operator
    placed = copy.copy(operator)
    placed.dag = DAG(dag_id=operator.dag_id, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None)
    return placed


def _tell_failure(error: Exception) -> dict[str, Any]:
    """Return what Airflow tells a task whose trigger has failed."""
    if isinstance(error, asyncio.TimeoutError):
        return {"error": "Trigger timeout"}
    return {"error": "Trigger failure", "traceback": traceback.format_exception(error)}


async def _run_trigger(trigger: Any) -> Any:
    events = trigger.run()
    try:
        return (await anext(events)).payload
    except StopAsyncIteration:
        raise RuntimeError("Trigger exited without sending an event") from None
    finally:
        await events.aclose()


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
def _keep_signal_handler() -> Iterator[None]:
    """Undo what Airflow does to the process that runs a task: a SIGTERM would only call ``on_kill``."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _tell_lengths(operator: Any, lengths: int | dict[str, int]) -> Iterator[None]:
    """Tell Airflow 2, which would ask its database, what was counted already."""
    if not IS_AIRFLOW_2 or isinstance(lengths, int):
        yield
        return
    kind = type(operator._get_specified_expand_input())
    with patch.object(kind, "_get_map_lengths", lambda *_, **__: lengths):
        yield
