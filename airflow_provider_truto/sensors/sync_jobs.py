"""Waiting for a run of a sync job that something else has started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import conf
from airflow_provider_truto.client.sync_job_runs import is_over
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.links import TrutoIntegratedAccountsLink, TrutoSyncJobRunLink
from airflow_provider_truto.operators._record import Verify
from airflow_provider_truto.operators._signature import defer_required_check
from airflow_provider_truto.operators._sync_run_end import judge_run
from airflow_provider_truto.sensors._sensor import TrutoSensor
from airflow_provider_truto.triggers.sync_jobs import TrutoSyncJobRunTrigger, log_status

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook


class TrutoSyncJobRunSensor(TrutoSensor):
    """Wait until a run of a sync job is completed; fail where it failed, was stopped, or is gone.

    It never stops the run: something else has started it.

    Target: which run.

    :param sync_job_run_id: the run, as ``TrutoSyncJobRunOperator`` with ``wait=False`` pushes it to XCom. (templated)
    :param truto_conn_id: the Airflow connection. (templated)

    Safeguards: how it waits, and what it looks at in the end.

    :param deferrable: wait in the triggerer. The default is ``[operators] default_deferrable``.
    :param max_failed_polls: how many looks in a row may fail, as in an outage, before the task does. (templated)
    :param verify: what to do where a completed run failed to deliver to its webhook or datastore, as Truto's log
        says: ``"warn"``, ``"fail"``, or ``None``, which does not read the log. (templated)

    ``poke_interval``, ``timeout`` (seconds or a timedelta), ``mode`` and ``soft_fail`` are Airflow's own.

    XCom: ``return_value`` is the run.
    """

    operator_extra_links = (TrutoIntegratedAccountsLink(), TrutoSyncJobRunLink())

    @defer_required_check
    def __init__(
        self,
        *,
        sync_job_run_id: str,
        truto_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_failed_polls: int | str = 10,
        verify: Verify | str = "warn",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(locals())

    def look(self, hook: TrutoHook) -> Any:
        """Look at the run once. Raises ``TrutoSyncJobRunError`` where it ended otherwise than completed."""
        run = hook.sync_job_run(self.sync_job_run_id)
        log_status(self.log, run)
        if not is_over(run):
            return None
        judge_run(hook, run, verify=self.verify, log=self.log, is_own=False)
        return dict(run)

    def make_trigger(self, **waiting: Any) -> TrutoSyncJobRunTrigger:
        """Make the trigger that waits for the run."""
        return TrutoSyncJobRunTrigger(sync_job_run_id=self.sync_job_run_id, **waiting)
