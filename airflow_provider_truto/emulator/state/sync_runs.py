"""A sync job run: what the API shows of it, and what it is going to be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_truto.emulator.http import timestamps

OVER = ("completed", "failed", "stopped")
_KEYS: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "polls": int,
    "seconds": (int, float),
    "resource_stats": dict,
    "vanishes": bool,
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One status of a run, and for how long it has it: for so many seconds, or until it was asked for so often.

    `resource_stats` are what the run shows from here on. A run that `vanishes` is not found from here on.
    """

    status: str = ""
    polls: int = 1
    seconds: float | None = None
    resource_stats: dict[str, Any] | None = None
    vanishes: bool = False


@dataclass
class SyncRun:
    """One run: what the API shows of it, the steps that are to come, and what is written into the log at its end.

    With `has_own_stats` the script says what the run shows as synced, and nothing is counted.
    """

    record: dict[str, Any]
    step: Step
    coming: list[Step] = field(default_factory=list)
    entries: list[dict[str, Any]] | None = None
    has_own_stats: bool = False
    is_stopped: bool = False
    polls: int = 0
    since: float = field(default_factory=time.monotonic)

    @property
    def is_there(self) -> bool:
        """Whether the API still knows it."""
        return not (self.is_stopped or self.step.vanishes)

    def stop(self) -> None:
        """End the run here and have it gone, as DELETE does."""
        self.is_stopped, self.coming = True, []

    def poll(self) -> list[Step]:
        """Count that it was asked for; return the steps that it has gone since the last time."""
        gone = self.pass_time()
        self.polls += 1
        if not gone and self.coming and self.step.seconds is None and self.polls >= self.step.polls:
            gone.append(self._enter_next_step(since=time.monotonic()))
        return gone

    def pass_time(self) -> list[Step]:
        """Go the steps whose time has passed; return them."""
        gone: list[Step] = []
        while self.coming and self.step.seconds is not None and time.monotonic() >= self.since + self.step.seconds:
            gone.append(self._enter_next_step(since=self.since + self.step.seconds))
        return gone

    def _enter_next_step(self, *, since: float) -> Step:
        self.step, self.polls, self.since = self.coming.pop(0), 0, since
        if self.step.vanishes:
            return self.step
        now, status = timestamps.now(), self.step.status
        self.record.update(status=status, updated_at=now)
        if status != "created":
            self.record["started_at"] = self.record["started_at"] or now
        if status in OVER:
            self.record["finished_at"] = now
        return self.step

    def to_entry(self) -> dict[str, Any]:
        """Return the run as the tests count it."""
        return {**self.record, "is_stopped": self.is_stopped}


def read_step(value: Any) -> Step:
    """Return a step from JSON: a status, or an object with the keys of `Step`. Raises ValueError."""
    if not isinstance(value, Mapping):
        return Step(status=str(value))
    for key, item in value.items():
        kind = _KEYS.get(key)
        if kind is None or not isinstance(item, kind) or isinstance(item, bool) is not (kind is bool):
            raise ValueError(f"a step of args.statuses cannot have {key} {item!r}")
    step = Step(**value)
    if not step.status and not step.vanishes:
        raise ValueError("a step of args.statuses needs a status, or vanishes")
    return step
