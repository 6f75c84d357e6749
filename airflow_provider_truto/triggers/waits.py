"""Waiting for a moment. Meanwhile nothing is asked and nothing is sent: only a worker sends a write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

#: Seconds between two looks at the clock, which may be set meanwhile.
_LONGEST_SLEEP = 60.0


class TrutoWaitTrigger(BaseTrigger):
    """Waits until a moment, and hands its event to the task.

    :param until: the moment, in seconds since 1970 (UTC), so that a triggerer that takes over waits no longer.
    :param event: what the resumed task has to know; JSON.
    """

    def __init__(self, *, until: float, event: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.until = until
        self.event = dict(event)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again: its class, and its arguments, which are JSON."""
        cls = type(self)
        return f"{cls.__module__}.{cls.__qualname__}", {"until": self.until, "event": self.event}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; yield the event."""
        while (left := self.until - time.time()) > 0:
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
        yield TriggerEvent(self.event)
