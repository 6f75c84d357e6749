"""What a run of a sync job that is over means for its task."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_truto.airflow_errors import TrutoSyncJobRunError
from airflow_provider_truto.client.errors import TrutoError, TrutoNotFoundError
from airflow_provider_truto.client.sync_job_runs import (
    COMPLETED,
    FAILED,
    LOG_TYPE,
    count_synced,
    explain_failure,
    explain_undelivered,
    select_entries,
)

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook

#: Log entries of one run that are read; more than that explain nothing.
_MOST_ENTRIES = 1000
#: Characters of a message in XCom.
_LONGEST_MESSAGE = 10_000
#: Seconds that a killed task has before Airflow ends it for good.
_KILL_GRACE = 4.0


def describe_outcome(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes to XCom of a run, as far as it is known."""
    names = ("sync_job_id", "integrated_account_id", "status", "resource_stats")
    known = {"sync_job_run_id": run.get("id"), **{name: run.get(name) for name in names}}
    return {**known, "counts": count_synced(run.get("resource_stats"))}


def describe_failure(error: Exception) -> dict[str, Any]:
    """Return what goes to XCom of a task that fails: its run, as far as it is known, and why."""
    code = getattr(error, "code", type(error).__name__)
    return {**describe_outcome(getattr(error, "run", {})), "error": code, "message": str(error)[:_LONGEST_MESSAGE]}


def judge_run(
    hook: TrutoHook, run: Mapping[str, Any], *, verify: str | None, log: Any, is_own: bool = True
) -> str | None:
    """Return what was not delivered of a run that is over, ``None`` where nothing is known to be.

    ``is_own``: a retry of the task starts another run, so that it may end well.

    Raises ``TrutoSyncJobRunError`` where it did not complete, and under ``verify="fail"`` where it completed and was
    not delivered.
    """
    run_id, status = run["id"], run.get("status")
    if status == FAILED:
        reason = explain_failure(_read_entries(hook, run_id, log=log) or ()) or "the log gives no reason"
        raise TrutoSyncJobRunError(f"Sync job run {run_id} failed: {reason}", transient=is_own, run=run)
    if status != COMPLETED:
        raise TrutoSyncJobRunError(
            f"Sync job run {run_id} was stopped, and not by this task. Fix: start another run.",
            run=run,
        )
    if verify is None:
        return None
    entries = _read_entries(hook, run_id, log=log, is_needed=verify == "fail")
    undelivered = explain_undelivered(entries or ())
    if not undelivered:
        return None
    message = f"Sync job run {run_id} is completed, but not all of it was delivered: {undelivered}"
    if verify == "fail":
        raise TrutoSyncJobRunError(f"{message}. verify='fail' fails the task for it.", run=run)
    log.warning("%s", message)
    return undelivered


def _read_entries(hook: TrutoHook, run_id: str, *, log: Any, is_needed: bool = False) -> list[dict[str, Any]] | None:
    """Return what the log says of a run, ``None`` where it cannot be read. Raises why where it ``is_needed``."""
    entries: list[dict[str, Any]] = []
    try:
        for number, entry in enumerate(hook.logs(LOG_TYPE, log_type_filter={"sync_job_run_id": run_id})):
            entries += select_entries([entry], run_id)
            if number >= _MOST_ENTRIES:
                break
    except TrutoError as error:
        if is_needed:
            raise
        log.warning("What the log says of sync job run %s could not be read: %s", run_id, error)
        return None
    return entries


def give_up(hook: TrutoHook, run: Mapping[str, Any], *, timeout: float, stops: bool, log: Any) -> NoReturn:
    """Stop a run that was not over in time, where that is wanted. Raises ``TrutoSyncJobRunError``."""
    told = "it may go on"
    if stops:
        told = stop_run(hook, run["id"], why=f"it was not over within {timeout:g} seconds", log=log)
    raise TrutoSyncJobRunError(
        f"Sync job run {run['id']} was {run.get('status')} after {timeout:g} seconds, the timeout: {told}.",
        transient=True,
        run=run,
    )


def fail_wait(run: Mapping[str, Any], message: str) -> NoReturn:
    """Fail a task whose triggerer could not look at a run that is not over. Raises ``TrutoSyncJobRunError``."""
    raise TrutoSyncJobRunError(
        f"The triggerer could not wait for sync job run {run['id']}, which may go on: {message}",
        transient=True,
        run=run,
    )


def stop_run(hook: TrutoHook, run_id: str, *, why: str, log: Any) -> str:
    """Stop a run; say in words what became of that. Raises nothing of Truto's."""
    log.warning("Stopping sync job run %s: %s", run_id, why)
    try:
        hook.stop_sync_job_run(run_id)
    except TrutoNotFoundError:
        told = "it was gone already"
    except TrutoError as error:
        log.warning("Sync job run %s could not be stopped: %s", run_id, error)
        return "it could not be stopped, and may go on"
    else:
        told = "it was stopped"
    log.info("Sync job run %s: %s", run_id, told)
    return told


def stop_run_aside(hook: TrutoHook, run_id: str, *, why: str, log: Any) -> None:
    """Stop a run from within ``on_kill``: in a thread of its own, since the task may be in the middle of a call."""
    thread = threading.Thread(target=stop_run, args=(hook, run_id), kwargs={"why": why, "log": log}, daemon=True)
    thread.start()
    thread.join(_KILL_GRACE)
