"""The one way in which all triggers wait: poll, look whether it is over, look at the deadline, sleep.

A trigger's arguments are JSON and the id of a connection, so that nothing secret is stored, and that a triggerer that
takes over goes on where another one was left: the deadline is a point in time and not a number of seconds.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_truto._compat import is_killed_before_on_kill
from airflow_provider_truto.client.errors import TrutoError

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoAsyncHook

#: What an event says that ended the wait.
OVER = "over"
DEADLINE = "deadline"
ERROR = "error"


class FailedPolls:
    """Counts polls that failed in a row. A single one costs one interval, and does not fail the task."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._count = 0

    def reset(self) -> None:
        """Start counting again after a poll that was answered."""
        self._count = 0

    def count(self, error: Exception) -> str:
        """Count one more, and return what to log. Raises the error where it is the last, or a repeat cannot help."""
        self._count += 1
        if (isinstance(error, TrutoError) and not error.transient) or self._count >= self._at_most:
            raise error
        return f"poll failed, number {self._count} in a row of {self._at_most} that are taken: {error}"


class PollingTrigger(BaseTrigger):
    """A trigger that asks Truto again and again, under one session.

    :param truto_conn_id: the Airflow connection, which the triggerer reads.
    :param poll_interval: seconds between two polls.
    :param deadline: when to give up, in seconds since 1970 (UTC); there is one more look then.
    :param max_failed_polls: how many polls in a row may fail before the task is told.

    The event is ``{"reason": "over" | "deadline" | "error", "message", "deadline", …}`` with what ``subject`` names;
    the task looks again itself, so that nothing large and nothing stale is stored.
    """

    def __init__(
        self, *, truto_conn_id: str, poll_interval: float, deadline: float, max_failed_polls: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.truto_conn_id = truto_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.max_failed_polls = max_failed_polls

    @property
    @abstractmethod
    def subject(self) -> Mapping[str, Any]:
        """What is waited for, by the names of the trigger's own arguments; JSON."""

    @abstractmethod
    async def poll(self, hook: TrutoAsyncHook) -> bool:
        """Ask once; whether it is over. Raises what a call raises."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again: its class, and its arguments, which are JSON."""
        cls = type(self)
        own = {
            "truto_conn_id": self.truto_conn_id,
            "poll_interval": self.poll_interval,
            "deadline": self.deadline,
            "max_failed_polls": self.max_failed_polls,
        }
        return f"{cls.__module__}.{cls.__qualname__}", {**own, **self.subject}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; yield one event."""
        from airflow_provider_truto.hooks.truto import TrutoAsyncHook

        try:
            # One attempt per poll: the next poll is the repeat.
            async with TrutoAsyncHook(self.truto_conn_id, max_attempts=1) as hook:
                reason, message = await self._wait(hook)
            yield TriggerEvent({"reason": reason, "message": message, "deadline": self.deadline, **self.subject})
        except asyncio.CancelledError:
            # Since Airflow 3.3 the triggerer itself says when a user has acted on the task.
            if await is_killed_before_on_kill(self.task_instance):
                await asyncio.shield(self.on_kill())
            raise

    async def _wait(self, hook: TrutoAsyncHook) -> tuple[str, str]:
        failed = FailedPolls(self.max_failed_polls)
        while True:
            is_last = time.time() >= self.deadline
            try:
                if await self.poll(hook):
                    return OVER, ""
                failed.reset()
            except Exception as error:  # also one of Airflow's, of a connection that cannot be read just now
                try:
                    self.log.warning("%s", failed.count(error))
                except Exception:
                    self.log.exception("the task is told, since this is not a blip")
                    return ERROR, str(error)
            if is_last:
                return DEADLINE, ""
            await asyncio.sleep(max(0.0, min(self.poll_interval, self.deadline - time.time())))

    async def on_kill(self) -> None:
        """End what is waited for, where a user has ended the task; nothing here."""
