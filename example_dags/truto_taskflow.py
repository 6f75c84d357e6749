"""Write from functions: one that returns what an operator writes, and one that calls the hook.

Both are written once however often they are retried, see docs/taskflow.md. Runs as it is against the emulator
(`make ui`). To run it against Truto, query your warehouse in place of `ROWS`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task
    from airflow.models.dag import DAG

from airflow_provider_truto.hooks.truto import TrutoHook

#: Stands in for a query of your warehouse: a customer, an account in their CRM, and what is known of it.
ROWS = [
    {"customer": "acae0000-0000-4000-8000-000000000001", "id": "23423523", "seats": 140, "buyer": "Okafor"},
    {"customer": "910be000-0000-4000-8000-000000000002", "id": "70010001", "seats": None, "buyer": "Rao"},
]

with DAG(
    dag_id="truto_taskflow",
    description="Update accounts with what a function returns, and create contacts through the hook",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["truto"],
) as dag:

    @task
    def read_rows() -> list[dict[str, Any]]:
        """Return the rows, one for each account."""
        return ROWS

    @task.truto_update_account(
        integrated_account_id="{{ task.op_kwargs.row.customer }}",
        # What the warehouse does not know stays as it is in the CRM.
        on_none="omit",
    )
    def update_account(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the account's id and the fields to change: the operator checks, sends and verifies them."""
        tier = "gold" if (row["seats"] or 0) > 100 else "silver"
        return row["id"], {"number_of_employees": row["seats"], "custom_fields": {"tier": tier}}

    @task
    def create_contacts(rows: list[dict[str, Any]]) -> list[str]:
        """Create a contact for each row; a retry repeats those that are there already, and creates the others."""
        hook = TrutoHook()
        created = []
        for row in rows:
            contacts = hook.unified("crm", "contacts", integrated_account_id=row["customer"])
            created.append(contacts.create({"last_name": row["buyer"]})["id"])
        return created

    rows = read_rows()
    update_account.expand(row=rows) >> create_contacts(rows)
