"""Sync job runs, which here move on each time they are asked for, or with time.

    POST   /sync-job-run       {"sync_job_id", "integrated_account_id", "status": "created", …} → the run
    GET    /sync-job-run       {"results": […], "next_cursor", "limit"}, oldest first; no poll of any run
    GET    /sync-job-run/{id}  the run, one step further
    DELETE /sync-job-run/{id}  {"id": "…"}, and then it is gone

The steps are `created`, `running` and `completed`. Other ones are asked for by the run's own `args`, where the last
one stays, and the first is that of the answer to POST:

    {"args": {"statuses": ["created", "rate_limited", "running", "failed"]}}

Such a script is this emulator's own, and so is that a run's `args` hold it. A step may be an object: with `polls` it
lasts until the run was asked for that many times, with `seconds` for that long, no matter who asks. `resource_stats`
replaces what the run shows, and with `vanishes` the run is gone as if somebody had deleted it:

    {"status": "running", "seconds": 2.5, "resource_stats": {"crm/contacts": {"num_records": 40}}}

There are no jobs: any `sync_job_id` will do. `status` may be missing, as it does in one of Truto's own pages; with
both `webhook_id` and `daemon_group_key` a run is refused. A run syncs its `resources`, or else all records of the
account, and counts them in `resource_stats`, whose insides are undocumented and this emulator's own. With its end it
writes an entry of `rapid_bridge` into the log for each resource; `logs[]` has the reason of a failure. `args.entries`
is a list of entries to write instead, merged into what every entry has, as of a run whose delivery failed:

    {"args": {"entries": [{"resource": "crm/contacts", "webhook_successful": false, "logs": ["It said 500"]}]}}
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
from airflow_provider_truto.emulator.state.sync_runs import OVER, Step, SyncRun, read_step

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
    for run in state.sync_runs.values():
        _show(state, run, run.pass_time())
    records = (run.record for run in state.sync_runs.values() if run.is_there)
    results, next_cursor = page.slice_items(filter_items(records, request.query, names=_FILTERS, value_of=dict.get))
    return json_response(200, {"results": results, "next_cursor": next_cursor, "limit": page.limit})


def handle_run(state: State, request: Request, *, run_id: str) -> Response:
    """`GET` and `DELETE /sync-job-run/{id}`."""
    allow_methods(request, "GET", "DELETE")
    run = state.sync_runs.get(run_id)
    if run is None or not run.is_there:
        raise build_missing_run_error(run_id)
    if request.method == "DELETE":
        run.stop()
        return json_response(200, {"id": run_id})
    _show(state, run, run.poll())
    if not run.is_there:
        raise build_missing_run_error(run_id)
    return json_response(200, run.record)


def build_missing_run_error(run_id: str) -> RefusedError:
    """Return the answer for a run that is not there, or is no longer."""
    return RefusedError(404, f"Sync job run {run_id} was not found")


def _show(state: State, run: SyncRun, gone: list[Step]) -> None:
    """Show what a run has synced on the steps that it has gone, and write its end into the log."""
    for step in gone:
        if step.resource_stats is not None:
            run.record["resource_stats"] = step.resource_stats
        elif step.status not in ("", "created") and not run.has_own_stats:
            run.record["resource_stats"] = {
                key: {"num_records": len(records)} for key, records in _find_records(state, run.record).items()
            }
        if step.status in OVER:
            _log_run(state, run)


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
    first, *coming = steps = _read_steps(given["args"])
    run = SyncRun(
        {
            "id": str(uuid.uuid4()),
            "sync_job_id": job_id,
            "integrated_account_id": account_id,
            "status": first.status,
            **given,
            "resource_stats": first.resource_stats or {},
            "created_at": now,
            "updated_at": now,
            "started_at": None,
            "finished_at": None,
        },
        step=first,
        coming=coming,
        entries=_read_entries(given["args"]),
        has_own_stats=any(step.resource_stats is not None for step in steps),
    )
    state.sync_runs[run.record["id"]] = run
    _show(state, run, [first] if first.status in OVER else [])
    return run


def _read_steps(args: Any) -> list[Step]:
    if not isinstance(args, dict):
        raise RefusedError(400, "args must be an object")
    statuses = args.get("statuses", _STATUSES)
    if not isinstance(statuses, list | tuple) or not statuses:
        raise RefusedError(400, "args.statuses must be a list that is not empty")
    try:
        return [read_step(status) for status in statuses]
    except ValueError as error:
        raise RefusedError(400, str(error)) from error


def _read_entries(args: dict[str, Any]) -> list[dict[str, Any]] | None:
    entries = args.get("entries")
    if entries is not None and not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
        raise RefusedError(400, "args.entries must be a list of objects")
    return entries


def _find_records(state: State, record: dict[str, Any]) -> dict[str, Any]:
    """Return the records of the run by resource."""
    by_resource = state.records.get(record["integrated_account_id"], {})
    return {key: by_resource.get(key, {}) for key in map(str, record["resources"] or by_resource)}


def _log_run(state: State, run: SyncRun) -> None:
    record = run.record
    entries = run.entries
    if entries is None:
        reasons = ["The run was told to fail"] if record["status"] == "failed" else []
        entries = [
            {"resource": resource, "num_records": stats.get("num_records"), "logs": reasons}
            for resource, stats in record["resource_stats"].items()
        ]
    for entry in entries:
        common = {
            **build_account_entry(state.accounts[record["integrated_account_id"]]),
            "sync_job_id": record["sync_job_id"],
            "sync_job_run_id": record["id"],
            "status": record["status"],
        }
        state.logs.append(("rapid_bridge", {**common, **entry}))
