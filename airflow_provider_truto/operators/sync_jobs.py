"""The operator that runs a sync job of Truto's, and waits for it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_truto._compat import NOTSET, ArgNotSet, conf
from airflow_provider_truto.airflow_errors import translate_errors
from airflow_provider_truto.airflow_task import read_running_task
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.sync_job_runs import is_over
from airflow_provider_truto.client.sync_jobs_api import ErrorHandling
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.links import (
    TrutoIntegratedAccountsLink,
    TrutoSyncJobRunLink,
    TrutoSyncJobRunReferenceLink,
    push_link,
)
from airflow_provider_truto.operators._arguments import SYNC_JOB_ARGUMENTS
from airflow_provider_truto.operators._operator import TrutoOperator
from airflow_provider_truto.operators._record import Verify
from airflow_provider_truto.operators._signature import defer_required_check
from airflow_provider_truto.operators._sync_run_end import (
    describe_failure,
    describe_outcome,
    fail_wait,
    give_up,
    judge_run,
    stop_run,
    stop_run_aside,
)
from airflow_provider_truto.operators._sync_run_start import StartedRuns, read_start, start_once

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook

#: The XCom that holds the id of the run, while the task waits for it.
RUN_ID_KEY = "sync_job_run_id"


class TrutoSyncJobRunOperator(TrutoOperator):
    """Start a run of a sync job for one customer, and wait until it is over: ``POST /sync-job-run``.

    One run is started, however often the task is tried: a retry, a killed worker and a lost triggerer go on with the
    run that is there. A cleared task starts another. With ``deferrable`` no worker is held while it waits.

    Target: which job, and for whom.

    :param sync_job_id: the sync job's id (a UUID). (templated)
    :param integrated_account_id: the customer's integrated account (a UUID); left out, the connection's default. One
        that is given and renders to nothing is an error. (templated)
    :param tenant_id: names the customer instead, by your own id for them; looked up before the call. (templated)
    :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``. (templated)
    :param truto_conn_id: the Airflow connection. (templated)

    Payload: what the run is told. What is left out is not sent.

    :param args: the arguments of the job, by its own ``args_schema``. (templated)
    :param sync_resources: only these resources, Truto's ``resources``. (templated)
    :param error_handling: what an error of one resource does to the run: ``fail_fast``, ``ignore`` or ``batch`` (of
        runs of version 2). Always sent: Truto's own pages differ about the default. (templated)
    :param ignore_previous_run: sync everything again instead of what has changed, which takes long. (templated)
    :param force: start although a holder of the mutex runs. (templated)
    :param super_query: the region of the super query: ``apac`` or ``wnam``. (templated)
    :param webhook_id: the webhook that gets the records; not with ``daemon_group_key``. (templated)
    :param daemon_group_key: the group of daemons that gets the records. (templated)
    :param datastore_id: the datastore that gets the records. (templated)
    :param mutex_key: runs of the same key wait for each other. (templated)
    :param state_key: the key of the job's state cells. (templated)
    :param events_to_send: the events that the webhook gets. (templated)

    Safeguards: how and how long it waits, and what becomes of a run that nobody waits for any more.

    :param wait: wait until the run is over; else the task succeeds once it is started. (templated)
    :param deferrable: wait in the triggerer. The default is ``[operators] default_deferrable``.
    :param poll_interval: seconds, or a timedelta, between two looks at the run. (templated)
    :param timeout: seconds, or a timedelta, after which the task stops waiting for the run. (templated)
    :param max_failed_polls: how many looks in a row may fail, as in an outage, before the task does. (templated)
    :param stop_on_kill: stop the run on the timeout, when the task is killed, and when a user ends it while it is
        deferred. (templated)
    :param verify: what to do where a completed run failed to deliver to its webhook or datastore, as Truto's log
        says: ``"warn"``, ``"fail"`` (which needs ``wait``), or ``None``, which does not read the log. (templated)

    Flags, numbers and choices may also be text, as templates render it: ``"false"``, ``"32"``.

    XCom: ``sync_job_run_id`` before it waits; ``return_value`` is the run; status, ``counts`` of its resource stats
    and what was not delivered are under ``truto``.
    """

    arguments = SYNC_JOB_ARGUMENTS
    operator_extra_links = (TrutoIntegratedAccountsLink(), TrutoSyncJobRunLink(), TrutoSyncJobRunReferenceLink())

    @defer_required_check
    def __init__(
        self,
        *,
        sync_job_id: str,
        integrated_account_id: str | ArgNotSet = NOTSET,
        tenant_id: str | ArgNotSet = NOTSET,
        integration: str | ArgNotSet = NOTSET,
        truto_conn_id: str = DEFAULT_CONN_ID,
        args: Mapping[str, Any] | str | None = None,
        sync_resources: Sequence[str] | str | None = None,
        error_handling: ErrorHandling | str = "fail_fast",
        ignore_previous_run: bool | str = False,
        force: bool | str | None = None,
        super_query: str | None = None,
        webhook_id: str | ArgNotSet = NOTSET,
        daemon_group_key: str | ArgNotSet = NOTSET,
        datastore_id: str | ArgNotSet = NOTSET,
        mutex_key: str | ArgNotSet = NOTSET,
        state_key: str | ArgNotSet = NOTSET,
        events_to_send: Sequence[str] | str | None = None,
        wait: bool | str = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta | str = 30.0,
        timeout: float | timedelta | str = timedelta(hours=24),
        max_failed_polls: int | str = 10,
        stop_on_kill: bool | str = True,
        verify: Verify | str = "warn",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(locals())
        #: The hook and the run while the task waits in its worker, for ``on_kill``.
        self._watched: tuple[TrutoHook, str] | None = None
        self._is_killed = False

    template_fields_renderers: ClassVar[dict[str, str]] = {"args": "json"}

    def _find_contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._find_contradictions(given, present)
        if "webhook_id" in present and "daemon_group_key" in present:
            yield Problem("/webhook_id", "give either webhook_id or daemon_group_key")
        if given.get("wait") is False and given.get("verify") == "fail":
            message = "'fail' needs wait=True, or TrutoSyncJobRunSensor: what was delivered is known in the end"
            yield from self._find_meaningless(["verify"], message)

    def execute(self, context: Any) -> Any:
        """Start the run, or find that of an earlier try, push its id, and wait for it."""
        self._is_killed, self._watched = False, None
        with self._translate_errors(context):
            hook = self._open_hook()
            run = start_once(
                hook, read_start(self, hook), StartedRuns(context, read_running_task(context)), log=self.log
            )
            if self.do_xcom_push and (ti := context.get("ti")):
                ti.xcom_push(key=RUN_ID_KEY, value=run["id"])
            self.sync_job_run_id = run["id"]  # its link leads there
            push_link(TrutoSyncJobRunLink(), self, context)
            if not self.wait:
                return self._finish(context, run)
            self._watched = (hook, run["id"])
            return self._finish_or_wait(context, hook, run, time.time() + self.timeout)

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Any:
        """Look at the run after the triggerer has; finish, or go on waiting."""
        with self._translate_errors(context):
            hook = self._open_hook()
            run = hook.sync_job_run(event[RUN_ID_KEY])  # the triggerer's look may be old
            if event["reason"] == "error" and not is_over(run):
                fail_wait(run, event["message"])
            return self._finish_or_wait(context, hook, run, event["deadline"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Look once more where Airflow gives a deferred task up: for its ``execution_timeout``, or a lost trigger."""
        if next_method == "__fail__" and (run_id := self._read_pushed_run_id(context)):
            with self._translate_errors(context):
                hook = self._open_hook()
                run = hook.sync_job_run(run_id)
                if is_over(run):
                    return self._end(context, hook, run)
                if "timeout" in str((next_kwargs or {}).get("error")).lower() and self.stop_on_kill:
                    stop_run(hook, run_id, why="the execution_timeout is over", log=self.log)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop the run that this task waits for."""
        self._is_killed = True
        if self._watched and self.stop_on_kill:
            stop_run_aside(*self._watched, why="this task is killed", log=self.log)

    def _translate_errors(self, context: Any) -> AbstractContextManager[None]:
        return translate_errors(self, on_failure=lambda error, _: self._push_failure(context, error))

    def _open_hook(self) -> TrutoHook:
        from airflow_provider_truto.hooks.truto import TrutoHook

        self.check_arguments()
        return TrutoHook(self.truto_conn_id)

    def _finish_or_wait(self, context: Any, hook: TrutoHook, run: Mapping[str, Any], deadline: float) -> Any:
        if not is_over(run) and not self.deferrable:
            run = self._wait_here(run, deadline)
        if is_over(run):
            return self._end(context, hook, run)
        if time.time() >= deadline:
            give_up(hook, run, timeout=self.timeout, stops=self.stop_on_kill, log=self.log)
        from airflow_provider_truto.triggers.sync_jobs import TrutoSyncJobRunTrigger

        trigger = TrutoSyncJobRunTrigger(
            sync_job_run_id=run["id"],
            stop_on_kill=self.stop_on_kill,
            truto_conn_id=self.truto_conn_id,
            poll_interval=self.poll_interval,
            deadline=deadline,
            max_failed_polls=self.max_failed_polls,
        )
        return self.defer_until_event(context, trigger)

    def _wait_here(self, run: Mapping[str, Any], deadline: float) -> Mapping[str, Any]:
        from airflow_provider_truto.hooks.truto import TrutoHook
        from airflow_provider_truto.operators._sync_run_wait import wait_in_worker

        hook = TrutoHook(self.truto_conn_id, max_attempts=1)  # the next look is the repeat
        return wait_in_worker(
            hook,
            run,
            deadline=deadline,
            poll_interval=self.poll_interval,
            max_failed_polls=self.max_failed_polls,
            is_killed=lambda: self._is_killed,
            log=self.log,
        )

    def _end(self, context: Any, hook: TrutoHook, run: Mapping[str, Any]) -> Any:
        self._watched = None
        return self._finish(context, run, undelivered=judge_run(hook, run, verify=self.verify, log=self.log))

    def _finish(self, context: Any, run: Mapping[str, Any], *, undelivered: str | None = None) -> Any:
        self.push_outcome(context, {**describe_outcome(run), **({"undelivered": undelivered} if undelivered else {})})
        if task := read_running_task(context):
            task.mark_done()
        return dict(run)

    def _push_failure(self, context: Any, error: Exception) -> None:
        try:
            self.push_outcome(context, describe_failure(error))
        except Exception:  # the task fails for a reason of its own, which must not be hidden
            self.log.warning("Why this task fails could not be pushed to XCom", exc_info=True)

    def _read_pushed_run_id(self, context: Any) -> str | None:
        ti = context["ti"]
        found = ti.xcom_pull(task_ids=self.task_id, key=RUN_ID_KEY, map_indexes=ti.map_index)
        return found if isinstance(found, str) else None
