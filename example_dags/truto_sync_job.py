"""Run a sync job of Truto's for one customer, and hold no worker while it runs.

Runs as it is against the emulator (`make ui`), which takes any job. To run it against Truto, set the parameters to a
sync job and an integrated account of yours.

The triggerer must run: `deferrable=True` waits there. Whatever happens to workers and triggerers meanwhile, one run
is started; a retry goes on with it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task
    from airflow.models.dag import DAG
    from airflow.models.param import Param

from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator

with DAG(
    dag_id="truto_sync_job",
    description="Run a sync job for one customer, and wait for it in the triggerer",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={
        "sync_job_id": Param(
            "5ab00000-0000-4000-8000-000000000001",
            type="string",
            description="The sync job: a UUID from Truto's dashboard, Sync jobs",
        ),
        "integrated_account_id": Param(
            "acae0000-0000-4000-8000-000000000001",
            type="string",
            description="The customer: a UUID from Truto's dashboard, Integrated accounts",
        ),
    },
    tags=["truto"],
) as dag:
    sync = TrutoSyncJobRunOperator(
        task_id="sync_contacts",
        sync_job_id="{{ params.sync_job_id }}",
        integrated_account_id="{{ params.integrated_account_id }}",
        sync_resources=["crm/contacts"],
        error_handling="fail_fast",
        deferrable=True,
        poll_interval=10,
        timeout=timedelta(hours=6),
        # A run that completed may not have delivered all of it: here that is a failure.
        verify="fail",
        retries=2,
        retry_delay=timedelta(minutes=1),
    )

    @task
    def count(run: dict) -> int:
        """Count what was synced; what `resource_stats` holds beside that is Truto's own business."""
        return sum(stats.get("num_records", 0) for stats in run["resource_stats"].values())

    count(sync.output)
