"""Sync job runs, which here move on one step each time they are asked for.

    POST   /sync-job-run       {"sync_job_id", "integrated_account_id", "status": "created", …} → the run
    GET    /sync-job-run       {"results": […], "next_cursor", "limit"}, oldest first; moves nothing
    GET    /sync-job-run/{id}  the run, one step further
    DELETE /sync-job-run/{id}  {"id": "…"}, and then it is gone

The steps are `created`, `running` and `completed`. Other ones are asked for by the run's own `args`, where the last
one stays for ever, and the first is that of the answer to POST:

    {"args": {"statuses": ["created", "rate_limited", "running", "failed"]}}

There are no jobs: any `sync_job_id` will do. `status` may be missing, as it does in one of Truto's own pages; with
both `webhook_id` and `daemon_group_key` a run is refused. A run syncs its `resources`, or else all records of the
account, and counts them in `resource_stats`, whose insides are undocumented and this emulator's own. With its end it
writes an entry of `rapid_bridge` into the log for each resource; `logs[]` has the reason of a failure.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_truto.emulator import timestamps
from airflow_provider_truto.emulator.bodies import read_object, required_text
from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.crossing import find_account
from airflow_provider_truto.emulator.errors import RefusedError, allow
from airflow_provider_truto.emulator.filters import filtered
from airflow_provider_truto.emulator.logs import account_entry
from airflow_provider_truto.emulator.pages import PLATFORM_LIMIT, Page
from airflow_provider_truto.emulator.state import State

_STATUSES = ("created", "running", "completed")
_FILTERS = ("id", "sync_job_id", "integrated_account_id", "status", "created_at", "updated_at")
_OPTIONAL: dict[str, Any] = {
    "args": {},
    "resources": [],
    "webhook_id": None,
    "daemon_id": None,
    "daemon_group_key": None,
    "error_handling": "ignore",
    "ignore_previous_run": False,
    "version": 1,
}
_OVER = ("completed", "failed", "stopped")


@dataclass
class SyncRun:
    """One run: what the API shows of it, and the statuses that are to come."""

    record: dict[str, Any]
    coming: list[str] = field(default_factory=list)

    def step(self) -> bool:
        """Go on to the next status; False where there is none."""
        if not self.coming:
            return False
        now, status = timestamps.now(), self.coming.pop(0)
        self.record.update(status=status, updated_at=now)
        if status != "created":
            self.record["started_at"] = self.record["started_at"] or now
        if status in _OVER:
            self.record["finished_at"] = now
        return True


def sync_job_runs(state: State, call: Call) -> Answer:
    """`POST` and `GET /sync-job-run`."""
    allow(call, "GET", "POST")
    if call.method == "POST":
        return json_answer(200, _started(state, read_object(call)).record)
    page = Page.asked(call, default_limit=PLATFORM_LIMIT)
    records = (run.record for run in state.sync_runs.values())
    results, next_cursor = page.of(filtered(records, call.query, names=_FILTERS, value_of=dict.get))
    return json_answer(200, {"results": results, "next_cursor": next_cursor, "limit": page.limit})


def sync_job_run(state: State, call: Call, *, run_id: str) -> Answer:
    """`GET` and `DELETE /sync-job-run/{id}`."""
    allow(call, "GET", "DELETE")
    run = state.sync_runs.get(run_id)
    if run is None:
        raise RefusedError(404, f"Sync job run {run_id} was not found")
    if call.method == "DELETE":
        del state.sync_runs[run_id]
        return json_answer(200, {"id": run_id})
    if run.step() and run.record["status"] != "created":
        run.record["resource_stats"] = {
            key: {"num_records": len(records)} for key, records in _synced(state, run.record).items()
        }
        if run.record["status"] in _OVER:
            _log(state, run.record)
    return json_answer(200, run.record)


def _started(state: State, body: dict[str, Any]) -> SyncRun:
    account_id = required_text(body, "integrated_account_id")
    job_id = required_text(body, "sync_job_id")
    find_account(state, account_id)
    if body.get("status", "created") != "created":
        raise RefusedError(400, "status must be created")
    if body.get("webhook_id") and body.get("daemon_group_key"):
        raise RefusedError(400, "webhook_id and daemon_group_key exclude each other")
    given = {name: body.get(name, default) for name, default in _OPTIONAL.items()}
    if not isinstance(given["resources"], list):
        raise RefusedError(400, "resources must be a list")
    now = timestamps.now()
    first, *coming = _statuses(given["args"])
    run = SyncRun(
        {
            "id": str(uuid.uuid4()),
            "sync_job_id": job_id,
            "integrated_account_id": account_id,
            "status": first,
            **given,
            "resource_stats": {},
            "created_at": now,
            "updated_at": now,
            "started_at": None,
            "finished_at": None,
        },
        coming,
    )
    state.sync_runs[run.record["id"]] = run
    return run


def _statuses(args: Any) -> list[str]:
    if not isinstance(args, dict):
        raise RefusedError(400, "args must be an object")
    statuses = args.get("statuses", _STATUSES)
    if not isinstance(statuses, list | tuple) or not statuses:
        raise RefusedError(400, "args.statuses must be a list that is not empty")
    return [str(status) for status in statuses]


def _synced(state: State, record: dict[str, Any]) -> dict[str, Any]:
    """The records of the run by resource."""
    by_resource = state.records.get(record["integrated_account_id"], {})
    return {key: by_resource.get(key, {}) for key in map(str, record["resources"] or by_resource)}


def _log(state: State, record: dict[str, Any]) -> None:
    has_failed = record["status"] == "failed"
    for resource, stats in record["resource_stats"].items():
        entry = {
            **account_entry(state.accounts[record["integrated_account_id"]]),
            "sync_job_id": record["sync_job_id"],
            "sync_job_run_id": record["id"],
            "resource": resource,
            "status": record["status"],
            "num_records": stats["num_records"],
            "logs": ["The run was told to fail"] if has_failed else [],
        }
        state.logs.append(("rapid_bridge", entry))
