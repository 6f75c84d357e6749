"""What a worker runs at a time, and how that ends; the same on every Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

#: The seconds that tests wait, where a task would wait for longer before it looks again.
PAUSE = 0.02
RUN_ID = "manual__test"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A try of a task instance, or the piece of it up to a deferral or a reschedule, or from there on."""

    task: Any
    map_index: int
    rows: int
    try_number: int
    max_tries: int
    conf: dict[str, Any]
    run_began: datetime
    began: datetime
    reschedules: int = 0
    next_method: str | None = None
    next_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The part was the last one; ``result`` is what the task has returned."""

    result: Any


@dataclass(frozen=True, kw_only=True)
class Rescheduled:
    """A sensor wants to look again, in a part of its own."""


@dataclass(frozen=True, kw_only=True)
class Deferred:
    """The task waits for a trigger, named by class and arguments as they came out of Airflow's serialization."""

    trigger: str
    trigger_kwargs: dict[str, Any]
    timeout: timedelta | None
    next_method: str
    next_kwargs: dict[str, Any]


Outcome = Finished | Rescheduled | Deferred


def hurry(task: Any) -> None:
    """Have a rendered task look again soon, where it would wait in its worker."""
    if hasattr(task, "poke_interval"):
        task.poke_interval = PAUSE
    if type(task).__module__.startswith("airflow_provider_truto.") and hasattr(task, "poll_interval"):
        task.poll_interval = PAUSE
