"""Update one account of one customer from a form: trigger the DAG, and fill in what is to be changed.

The form is drawn from the schema that the update is checked against. What stays empty stays as it is in the CRM. It
begins with an account of the emulator (`make ui`). To run it against Truto, name an integrated account and an account
of yours.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2.11
    from airflow.models.dag import DAG
    from airflow.models.param import Param

from airflow_provider_truto import schemas
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

FORM = schemas.params("crm.accounts.update")

with DAG(
    dag_id="truto_account_form",
    description="Update one account of one customer from a form",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={
        "integrated_account_id": Param(
            "acae0000-0000-4000-8000-000000000001",
            type="string",
            title="Integrated account",
            description="The customer: a UUID from Truto's dashboard, Integrated accounts",
        ),
        "account_id": Param(
            "23423523",
            type="string",
            title="Account",
            description="The account's id in that customer's CRM",
        ),
        **FORM,
    },
    tags=["truto"],
) as dag:
    TrutoUpdateAccountOperator(
        task_id="update_account",
        integrated_account_id="{{ params.integrated_account_id }}",
        account_id="{{ params.account_id }}",
        body=schemas.body_from_params(FORM),
        retries=2,
        retry_delay=timedelta(minutes=1),
    )
