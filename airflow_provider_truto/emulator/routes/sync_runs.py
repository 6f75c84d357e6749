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
from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.http.bodies import read_object, read_text
from airflow_provider_truto.emulator.http.errors import RefusedError, allow_methods
from airflow_provider_truto.emulator.http.filters import filter_items
from airflow_provider_truto.emulator.http.pages import PLATFORM_LIMIT, Page
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.routes.access import find_account
from airflow_provider_truto.emulator.state.logs import build_account_entry
from airflow_provider_truto.emulator.state.state import State
from airflow_provider_truto.emulator.state.sync_runs import OVER, SyncRun

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


def handle_runs(state: State, request: Request) -> Response:
    """`POST` and `GET /sync-job-run`."""
    allow_methods(request, "GET", "POST")
    if request.method == "POST":
        return json_response(200, _start(state, read_object(request)).record)
    page = Page.from_request(request, default_limit=PLATFORM_LIMIT)
    records = (run.record for run in state.sync_runs.values())
    results, next_cursor = page.slice_items(filter_items(records, request.query, names=_FILTERS, value_of=dict.get))
    return json_response(200, {"results": results, "next_cursor": next_cursor, "limit": page.limit})


def handle_run(state: State, request: Request, *, run_id: str) -> Response:
    """`GET` and `DELETE /sync-job-run/{id}`."""
    allow_methods(request, "GET", "DELETE")
    run = state.sync_runs.get(run_id)
    if run is None:
        raise RefusedError(404, f"Sync job run {run_id} was not found")
    if request.method == "DELETE":
        del state.sync_runs[run_id]
        return json_response(200, {"id": run_id})
    if run.step() and run.record["status"] != "created":
        run.record["resource_stats"] = {
            key: {"num_records": len(records)} for key, records in _find_records(state, run.record).items()
        }
        if run.record["status"] in OVER:
            _log_run(state, run.record)
    return json_response(200, run.record)


def _start(state: State, body: dict[str, Any]) -> SyncRun:
    account_id = read_text(body, "integrated_account_id")
    job_id = read_text(body, "sync_job_id")
    find_account(state, account_id)
    if body.get("status", "created") != "created":
        raise RefusedError(400, "status must be created")
    if body.get("webhook_id") and body.get("daemon_group_key"):
        raise RefusedError(400, "webhook_id and daemon_group_key exclude each other")
    given = {name: body.get(name, default) for name, default in _OPTIONAL.items()}
    if not isinstance(given["resources"], list):
        raise RefusedError(400, "resources must be a list")
    now = timestamps.now()
    first, *coming = _read_statuses(given["args"])
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


def _read_statuses(args: Any) -> list[str]:
    if not isinstance(args, dict):
        raise RefusedError(400, "args must be an object")
    statuses = args.get("statuses", _STATUSES)
    if not isinstance(statuses, list | tuple) or not statuses:
        raise RefusedError(400, "args.statuses must be a list that is not empty")
    return [str(status) for status in statuses]


def _find_records(state: State, record: dict[str, Any]) -> dict[str, Any]:
    """The records of the run by resource."""
    by_resource = state.records.get(record["integrated_account_id"], {})
    return {key: by_resource.get(key, {}) for key in map(str, record["resources"] or by_resource)}


def _log_run(state: State, record: dict[str, Any]) -> None:
    has_failed = record["status"] == "failed"
    for resource, stats in record["resource_stats"].items():
        entry = {
            **build_account_entry(state.accounts[record["integrated_account_id"]]),
            "sync_job_id": record["sync_job_id"],
            "sync_job_run_id": record["id"],
            "resource": resource,
            "status": record["status"],
            "num_records": stats["num_records"],
            "logs": ["The run was told to fail"] if has_failed else [],
        }
        state.logs.append(("rapid_bridge", entry))
