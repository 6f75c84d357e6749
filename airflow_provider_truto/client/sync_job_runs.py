"""What a run of a sync job says of itself, and what the log says of it. Nothing here makes a call.

Sources: Truto's docs/api-reference/admin/sync-job-runs and its own reference texts on debugging sync jobs. The
insides of ``resource_stats`` are documented nowhere: numbers are taken out of it wherever they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_truto.client.redaction import quote_line
from airflow_provider_truto.client.times import read_time

COMPLETED = "completed"
FAILED = "failed"
STOPPED = "stopped"
OVER = frozenset({COMPLETED, FAILED, STOPPED})
#: ``rate_limited`` is progress: the run backs off, and goes on by itself.
LIVE = frozenset({"created", "running", "rate_limited"})
#: The log that has the reason of a failure, and whether what was synced was delivered.
LOG_TYPE = "rapid_bridge"
#: The clocks of Truto and of a worker may differ by this much.
_CLOCK_SKEW = timedelta(seconds=60)
_DELIVERIES = ("webhook_successful", "datastore_successful")
_LONGEST_REASON = 500
_MOST_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What a run is started with. ``options`` are Truto's own, by their names on the wire."""

    sync_job_id: str
    integrated_account_id: str
    error_handling: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"sync job {self.sync_job_id} for integrated account {self.integrated_account_id}"


def is_over(run: Mapping[str, Any]) -> bool:
    """Whether a run has come to its end. A status that nobody knows is not one."""
    return run.get("status") in OVER


def find_candidates(
    runs: Iterable[Any], start: RunStart, *, since: datetime, with_completed: bool
) -> list[dict[str, Any]]:
    """Return the runs that may be the one which this start made, at ``since`` or later.

    A run that failed or was stopped is not one: the try that saw it starts another. Where the time of its creation
    cannot be read, a run is one while it is not over.
    """
    wanted = LIVE | {COMPLETED} if with_completed else LIVE
    found = []
    for run in runs:
        if not isinstance(run, dict) or not run.get("id") or not _is_of(run, start):
            continue
        status, created = run.get("status"), read_time(run.get("created_at"))
        is_new = not is_over(run) if created is None else created >= since - _CLOCK_SKEW
        if is_new and (status in wanted or status not in OVER):
            found.append(run)
    return found


def _is_of(run: Mapping[str, Any], start: RunStart) -> bool:
    """Whether a run is of this job and customer, and nothing it was started with says otherwise."""
    same_job = run.get("sync_job_id") == start.sync_job_id
    account = run.get("integrated_account_id")
    same_account = isinstance(account, str) and account.lower() == start.integrated_account_id.lower()
    return (
        same_job and same_account and not any(_contradicts(run.get(key), start.options[key]) for key in start.options)
    )


def _contradicts(shown: Any, given: Any) -> bool:
    """Whether a run shows a different value than it would have been given; what it does not show says nothing."""
    if isinstance(shown, Mapping) and isinstance(given, Mapping):
        return any(key in shown and shown[key] != given[key] for key in given)
    return shown is not None and shown != given


def count_synced(resource_stats: Any) -> dict[str, Any]:
    """Return the numbers of ``resource_stats`` by resource: ``{"crm/contacts": {"num_records": 5}}``."""
    if not isinstance(resource_stats, Mapping):
        return {}
    counts: dict[str, Any] = {}
    for resource, stats in resource_stats.items():
        if isinstance(stats, Mapping):
            counts[str(resource)] = {str(name): value for name, value in stats.items() if _is_number(value)}
        elif _is_number(stats):
            counts[str(resource)] = stats
    return counts


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def select_entries(entries: Iterable[Any], run_id: str) -> Iterator[dict[str, Any]]:
    """Pick the log entries of one run: a filter that Truto does not know is ignored."""
    return (entry for entry in entries if isinstance(entry, dict) and entry.get("sync_job_run_id") == run_id)


def explain_failure(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return in a few words what the log gives as the reason; ``""`` where it gives none."""
    return _describe_entries(entries, of=lambda entry: entry.get("status") not in {COMPLETED, "created", "running"})


def explain_undelivered(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return which resources of a run were not delivered, and why; ``""`` where the log knows of none."""
    failed = [entry for entry in entries if any(entry.get(name) is False for name in _DELIVERIES)]
    return _describe_entries(failed, of=lambda _: True, always=True)


def _describe_entries(entries: Iterable[Mapping[str, Any]], *, of: Any, always: bool = False) -> str:
    reasons: dict[str, None] = {}  # in order, each once
    for entry in entries:
        logs = entry.get("logs")
        said = logs if isinstance(logs, list) else [logs] if logs else []
        text = "; ".join(quote_line(item, most=_LONGEST_REASON) for item in said if item) if of(entry) else ""
        if not text and not always:
            continue
        where = ", ".join(name.removesuffix("_successful") for name in _DELIVERIES if entry.get(name) is False)
        label = " to the ".join(filter(None, [str(entry.get("resource") or ""), where]))
        reasons[": ".join(filter(None, [label, text]))] = None
    shown = list(reasons)[:_MOST_REASONS]
    more = len(reasons) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more > 0 else [])])
