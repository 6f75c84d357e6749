"""Waiting for a run of a sync job in the worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.airflow_errors import TrutoSyncJobRunError
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.sync_job_runs import is_over
from airflow_provider_truto.triggers.base import FailedPolls
from airflow_provider_truto.triggers.sync_jobs import log_status

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook


def wait_in_worker(
    hook: TrutoHook,
    run: Mapping[str, Any],
    *,
    deadline: float,
    poll_interval: float,
    max_failed_polls: int,
    is_killed: Callable[[], bool],
    log: Any,
) -> Mapping[str, Any]:
    """Wait until a run is over, or the deadline; return what was last seen of it.

    Raises the error of a look that a repeat cannot fix, or of the last of ``max_failed_polls`` in a row.
    """
    failed = FailedPolls(max_failed_polls)
    told = None
    while True:
        is_last = time.time() >= deadline
        try:
            run = hook.sync_job_run(run["id"])
        except TrutoError as error:
            log.warning("Sync job run %s: %s", run["id"], failed.count(error))
        else:
            failed.reset()
            if run.get("status") != told:
                told = run.get("status")
                log_status(log, run)
        if is_last or is_over(run):
            return run
        _pause(min(poll_interval, max(0.0, deadline - time.time())), is_killed)


def _pause(seconds: float, is_killed: Callable[[], bool]) -> None:
    """Sleep. Since Airflow 3.3 a killed task goes on after ``on_kill``, until it is ended for good."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if is_killed():
            raise TrutoSyncJobRunError("The task was killed while it waited for its sync job run", transient=True)
        time.sleep(min(1.0, left))
