"""Waiting for a run of a sync job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.errors import TrutoNotFoundError
from airflow_provider_truto.client.sync_job_runs import LIVE, is_over
from airflow_provider_truto.triggers.base import PollingTrigger

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoAsyncHook


class TrutoSyncJobRunTrigger(PollingTrigger):
    """Waits until a run of a sync job is over.

    :param sync_job_run_id: the run.
    :param stop_on_kill: stop the run where a user marks the deferred task failed or succeeded, or clears it.
    :param truto_conn_id: the Airflow connection, which the triggerer reads.
    :param poll_interval: seconds between two polls.
    :param deadline: when to give up, in seconds since 1970 (UTC); there is one more look then.
    :param max_failed_polls: how many polls in a row may fail before the task is told.
    """

    def __init__(
        self,
        *,
        sync_job_run_id: str,
        stop_on_kill: bool = False,
        truto_conn_id: str,
        poll_interval: float,
        deadline: float,
        max_failed_polls: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            truto_conn_id=truto_conn_id,
            poll_interval=poll_interval,
            deadline=deadline,
            max_failed_polls=max_failed_polls,
            **kwargs,
        )
        self.sync_job_run_id = sync_job_run_id
        self.stop_on_kill = stop_on_kill
        self._status: Any = None

    @property
    def subject(self) -> Mapping[str, Any]:
        """The run, and what becomes of it."""
        return {"sync_job_run_id": self.sync_job_run_id, "stop_on_kill": self.stop_on_kill}

    async def poll(self, hook: TrutoAsyncHook) -> bool:
        """Look at the run once."""
        run = await hook.sync_job_run(self.sync_job_run_id)
        if (status := run.get("status")) != self._status:
            self._status = status
            log_status(self.log, run)
        return is_over(run)

    async def on_kill(self) -> None:
        """Stop the run: it is not wanted any more by the user who ended the task."""
        if not self.stop_on_kill:
            return
        from airflow_provider_truto.hooks.truto import TrutoAsyncHook

        self.log.warning("Stopping sync job run %s, since a user has ended this task", self.sync_job_run_id)
        try:
            async with TrutoAsyncHook(self.truto_conn_id, max_attempts=3, max_wait=15) as hook:
                await hook.stop_sync_job_run(self.sync_job_run_id)
        except TrutoNotFoundError:
            self.log.info("Sync job run %s was gone already", self.sync_job_run_id)
        except Exception:
            self.log.exception("Sync job run %s could not be stopped: it may go on", self.sync_job_run_id)
        else:
            self.log.info("Sync job run %s is stopped", self.sync_job_run_id)


def log_status(log: Any, run: Mapping[str, Any]) -> None:
    """Log the status of a run, as a warning where nobody knows it."""
    status = run.get("status")
    if is_over(run) or status in LIVE:
        log.info("Sync job run %s is %s", run.get("id"), status)
    else:
        log.warning("Sync job run %s has the unknown status %s: waiting goes on", run.get("id"), status)
