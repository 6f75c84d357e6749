"""The idempotency keys of a hook's writes: those of the task that calls it, so that a retry writes nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from airflow_provider_truto._compat import ArgNotSet, find_current_context
from airflow_provider_truto.airflow_task import read_running_task
from airflow_provider_truto.client.keys import CURRENT_TASK, FindKeys, KeyVersionStore, RandomKeys, WriteKeys

T = TypeVar("T")


def find_task_keys(context: Any) -> FindKeys:
    """Return what makes the keys of writes under a ``context``; nothing is read yet.

    Raises ``ValueError`` for a context that is not a task's.
    """
    context = _choose_context(context)
    return RandomKeys if context is None else partial(_read_task, context)


def find_task_keys_async(context: Any) -> FindKeys:
    """Return the same for an event loop: what speaks to Airflow's supervisor is done in a thread."""
    context = _choose_context(context)
    return RandomKeys if context is None else partial(_read_task_in_thread, context)


def _choose_context(context: Any) -> Any:
    if context is CURRENT_TASK or isinstance(context, ArgNotSet):
        return _find_own_context()
    is_task_s = isinstance(context, Mapping) and context.get("ti") is not None and "dag_run" in context
    if context is None or is_task_s:
        return context
    raise ValueError(
        "context takes the context of a task, as get_current_context() returns it, with ti and dag_run; leave it out"
        " for the task that runs, or pass None for a random key"
    )


def _find_own_context() -> Any:
    """Return the context of the running task; ``None`` outside of one, and in a sensor.

    A sensor calls again and again, in ``mode="reschedule"`` from processes that know nothing of each other: under the
    keys of its task, Truto would repeat the answer that it gave to the first one.
    """
    context = find_current_context()
    is_sensor = context is not None and hasattr(getattr(context.get("ti"), "task", None), "poke")
    return None if is_sensor else context


def _read_task(context: Mapping[str, Any]) -> WriteKeys:
    return read_running_task(context) or RandomKeys()


async def _read_task_in_thread(context: Mapping[str, Any]) -> WriteKeys:
    return _KeysKeptInThread(await _run_in_thread(_read_task, context))


class _KeysKeptInThread:
    """The keys of a task, whose versions are kept without blocking an event loop."""

    def __init__(self, keys: WriteKeys) -> None:
        self.make_key = keys.make_key
        self._keys = keys

    def find_versions(self, key: str) -> KeyVersionStore | None:
        versions = self._keys.find_versions(key)
        return None if versions is None else _VersionsKeptInThread(versions)


class _VersionsKeptInThread:
    def __init__(self, versions: KeyVersionStore) -> None:
        self.may_advance = versions.may_advance
        self.refusals = versions.refusals
        self.load = versions.load
        self._versions = versions

    def save(self, version: int) -> Awaitable[object]:
        return _run_in_thread(self._versions.save, version)

    def put_off(self, *, refusals: int, may_have_executed: bool) -> Awaitable[object]:
        return _run_in_thread(partial(self._versions.put_off, refusals=refusals, may_have_executed=may_have_executed))


async def _run_in_thread(function: Callable[..., T], *args: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)
