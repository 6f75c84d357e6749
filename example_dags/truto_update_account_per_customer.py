"""One mapped task per customer: each customer's failure is its own."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task
    from airflow.models.dag import DAG

from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

with DAG(
    dag_id="truto_update_account_per_customer",
    description="Write the health score of each customer's account into that customer's own CRM",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    tags=["truto"],
) as dag:

    @task
    def health_scores() -> list[dict[str, Any]]:
        """Stand in for a query of the warehouse: one row per customer."""
        return [
            {
                "integrated_account_id": "acae0000-0000-4000-8000-000000000001",
                "account_id": "23423523",
                "body": {"custom_fields": {"health_score": 87}},
            },
            {
                "integrated_account_id": "910be000-0000-4000-8000-000000000002",
                "account_id": "70010001",
                "body": {"custom_fields": {"health_score": 41}, "description": "At risk"},
            },
        ]

    TrutoUpdateAccountOperator.partial(
        task_id="update_account",
        # A customer who has disconnected the CRM is skipped; the others go on.
        skip_on=["reauthorization_required"],
        map_index_template="{{ task.integrated_account_id }}",
        # Truto takes 50 calls in 10 s per integrated account and 500 per token. Put all tasks that call it into one
        # Airflow pool, so that they share that: pool="truto".
        max_active_tis_per_dagrun=4,
    ).expand_kwargs(health_scores())
