"""The methods of the API for sync jobs: their runs are started, read, listed and stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from airflow_provider_truto.client.api_base import ApiBase
from airflow_provider_truto.client.endpoints import admin_request
from airflow_provider_truto.client.operations import (
    fetch_account_object,
    fetch_run,
    open_platform_pages,
    stop_run,
)
from airflow_provider_truto.client.request import Request

ErrorHandling = Literal["fail_fast", "ignore", "batch"]


class SyncJobsApi(ApiBase):
    """Runs of sync jobs."""

    def sync_job_runs(self, **query: Any) -> Any:
        """List runs of sync jobs.

        Truto documents no filters of this list, and ignores what it does not know: compare what comes.

        :param query: query parameters, sent as they are; ``limit`` is the size of a page, not of the list.
        """
        request = admin_request("GET", "sync-job-run", query=query)
        return self.listing(open_platform_pages, request, account_key="integrated_account_id")

    def sync_job_run(self, run_id: str) -> Any:
        """Return one run of a sync job.

        :param run_id: the run's id.
        """
        admin_request("GET", "sync-job-run", run_id)  # what is wrong is said here, not while it runs
        return self.do(fetch_run, run_id)

    def start_sync_job_run(
        self,
        sync_job_id: str,
        *,
        integrated_account_id: str | None = None,
        error_handling: ErrorHandling,
        args: Mapping[str, Any] | None = None,
        resources: Sequence[str] | None = None,
        ignore_previous_run: bool | None = None,
        force: bool | None = None,
        super_query: str | None = None,
        webhook_id: str | None = None,
        daemon_group_key: str | None = None,
        datastore_id: str | None = None,
        events_to_send: Sequence[str] | None = None,
        mutex_key: str | None = None,
        state_key: str | None = None,
    ) -> Any:
        """Start a run of a sync job, and return it. A lost answer is not repeated: that could start two.

        What is ``None`` is not sent.

        Target: which job, and for whom.

        :param sync_job_id: the sync job's id.
        :param integrated_account_id: the customer's integrated account; left out, the connection's default.

        Payload: what the run is told.

        :param error_handling: what an error of one resource does to the run: ``"fail_fast"``, ``"ignore"`` or
            ``"batch"`` (of runs of version 2). Not optional: Truto's own pages differ about its default.
        :param args: the arguments of the job, by its own ``args_schema``.
        :param resources: only these resources; an empty list is refused.
        :param ignore_previous_run: sync everything again instead of what has changed, which takes long.
        :param force: start although a holder of the mutex runs.
        :param super_query: the region of the super query: ``"apac"`` or ``"wnam"``.
        :param webhook_id: the webhook that gets the records; not with ``daemon_group_key``.
        :param daemon_group_key: the group of daemons that gets the records.
        :param datastore_id: the datastore that gets the records.
        :param events_to_send: the events that the webhook gets; an empty list is refused.
        :param mutex_key: runs of the same key wait for each other.
        :param state_key: the key of the job's state cells.

        Source: Truto's docs/api-reference/admin/sync-job-runs/create.
        """
        options = {
            "args": args,
            "resources": resources,
            "ignore_previous_run": ignore_previous_run,
            "force": force,
            "super_query": super_query,
            "webhook_id": webhook_id,
            "daemon_group_key": daemon_group_key,
            "datastore_id": datastore_id,
            "events_to_send": events_to_send,
            "mutex_key": mutex_key,
            "state_key": state_key,
        }
        for name in ("resources", "events_to_send"):
            if options[name] is not None and not options[name]:
                raise ValueError(f"{name} is empty: leave it out where all are meant")

        def build(account: str) -> Request:
            body = {
                "sync_job_id": sync_job_id,
                "integrated_account_id": account,
                "status": "created",
                "error_handling": error_handling,
                **{name: value for name, value in options.items() if value is not None},
            }
            return admin_request("POST", "sync-job-run", body=body)

        return self.do(fetch_account_object, integrated_account_id, build, "id")

    def stop_sync_job_run(self, run_id: str) -> Any:
        """Stop a run; it may be gone after that.

        :param run_id: the run's id.
        """
        admin_request("DELETE", "sync-job-run", run_id)
        return self.do(stop_run, run_id)
