"""How a bulk sends its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to do it. ``template`` is the request of every record but for its id, body and account.

    ``identity`` is the task's, for the keys, ``cleared_identity`` that for records which were refused before somebody
    cleared the task; ``concurrency`` is how many calls are in flight at most; ``max_runtime`` in seconds;
    ``is_stopped`` is asked before each record.
    """

    template: RecordRequest
    coercion: CoercionOptions
    safeguards: Safeguards = field(default_factory=Safeguards)
    identity: TaskIdentity | None = None
    cleared_identity: TaskIdentity | None = None
    concurrency: int = 32
    max_runtime: float | None = None
    is_stopped: Callable[[], bool] = lambda: False
