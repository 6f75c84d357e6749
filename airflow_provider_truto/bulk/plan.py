"""How a bulk sends its records."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_truto.bulk.brakes import StopRule
from airflow_provider_truto.bulk.matching.plan import MatchPlan
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to send the records. ``template`` is the request of every record, without its id, body and account.

    The keys of the records are made from ``identity``, or from ``cleared_identity`` for records that Truto refused
    before somebody cleared the task. ``concurrency`` is the number of calls in flight at most; ``max_runtime`` is in
    seconds; ``is_stopped`` is called before each record. Where all customers are told to wait longer than
    ``longest_wait`` seconds, the try ends; ``None``: it waits as long as the connection says. ``skip_on`` names the
    errors of records that are passed over for them, see ``client.skip_on``. ``verify`` says what becomes of a record
    whose answer does not confirm all of it: ``"fail"`` makes it a failure, ``"warn"`` is told of at the end.
    ``stop_after`` is how many failures end the try. ``match`` says how rows without an id find their records.
    """

    template: RecordRequest
    coercion: CoercionOptions
    safeguards: Safeguards = field(default_factory=Safeguards)
    identity: TaskIdentity | None = None
    cleared_identity: TaskIdentity | None = None
    verify: Literal["warn", "fail"] | None = "warn"
    stop_after: StopRule | None = None
    skip_on: Collection[str] = ()
    match: MatchPlan | None = None
    concurrency: int = 32
    max_runtime: float | None = None
    longest_wait: float | None = None
    is_stopped: Callable[[], bool] = lambda: False
