"""Update one account in one customer's CRM.

Runs as it is against the emulator (`make demo`, `make ui`). To run it against Truto, set the parameters to an
integrated account and an account id of yours.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2.11
    from airflow.models.dag import DAG
    from airflow.models.param import Param

from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

with DAG(
    dag_id="truto_update_account",
    description="Update one account in one customer's CRM",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={
        "integrated_account_id": Param(
            "acae0000-0000-4000-8000-000000000001",
            type="string",
            description="The customer: a UUID from Truto's dashboard, Integrated accounts",
        ),
        "account_id": Param("23423523", type="string", description="The account's id in that customer's CRM"),
        "employees": Param(140, type="integer", minimum=0, description="What to write into that account"),
    },
    tags=["truto"],
) as dag:
    TrutoUpdateAccountOperator(
        task_id="update_account",
        integrated_account_id="{{ params.integrated_account_id }}",
        account_id="{{ params.account_id }}",
        body={
            "name": "Northwind Traders",
            # A lone expression keeps its type: this arrives as the number 140, not as text.
            "number_of_employees": "{{ params.employees }}",
            "phone_numbers": [{"number": "+1 206 555 0199", "type": "work"}],
            "custom_fields": {"tier": "gold", "last_synced": "{{ dag_run.start_date | ds }}"},
        },
        retries=2,
        retry_delay=timedelta(minutes=1),
    )
