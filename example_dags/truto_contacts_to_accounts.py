"""Carry news from one CRM into another: contacts that changed in the first update their companies in the second.

Three tasks: read the contacts that changed since a time, make one update of each company, and write these, each in a
task of its own. What is as it should be already is not written again. Names and other data that come from the CRM
are data: a `{{ … }}` in them is written as it stands.

Runs as it is against the emulator (`make ui`). To run it against Truto, change the ids, and look up in your warehouse
what `COMPANIES` says. To run it by itself, set `schedule=CronDataIntervalTimetable("@daily", timezone="UTC")` and
the parameter `since` to `None`: each run then reads what changed since its data interval began. (In Airflow 3 the
interval of a plain "@daily" has no length: it would read nothing. A run by hand or by an asset has no interval, and
fails without `since`.)
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task
    from airflow.models.dag import DAG
    from airflow.models.param import Param

from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

#: Both are integrated accounts: UUIDs from Truto's dashboard.
SOURCE = "acae0000-0000-4000-8000-000000000001"
TARGET = "910be000-0000-4000-8000-000000000002"
#: The ids of the same companies in the two CRMs.
COMPANIES = {"23423523": "70010001", "23423524": "70010002", "23423525": "70010003"}

with DAG(
    dag_id="truto_contacts_to_accounts",
    description="Update the accounts of one CRM from the contacts that changed in another",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={
        "since": Param(
            "2024-04-01T00:00:00Z",
            type=["null", "string"],
            format="date-time",
            description="Read the contacts that changed after this; empty: since the run's data interval began",
        )
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["truto"],
) as dag:
    contacts = TrutoUnifiedOperator(
        task_id="read_contacts",
        integrated_account_id=SOURCE,
        model="crm",
        resource="contacts",
        method="list",
        query={"updated_at": {"gt": "{{ params.since or data_interval_start | ts }}"}, "limit": 100},
        # The list goes to XCom, up to 256 KiB. For more, set output_path and read that file in the next task.
    )

    @task
    def account_updates(contacts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make one update of each company, however many of its people changed; the latest one is named in it."""
        latest: dict[str, dict[str, str]] = {}
        for contact in sorted(contacts, key=lambda contact: contact["updated_at"]):
            record_id = COMPANIES.get((contact.get("account") or {}).get("id"))
            if record_id is not None:
                latest[record_id] = {
                    "last_contact": f"{contact['first_name']} {contact['last_name']}",
                    "last_contact_title": contact.get("title") or "unknown",
                }
        return [{"account_id": record_id, "body": {"custom_fields": fields}} for record_id, fields in latest.items()]

    TrutoUpdateAccountOperator.partial(
        task_id="update_account",
        integrated_account_id=TARGET,
        skip_unchanged=True,
        map_index_template="{{ task.account_id }}",
        max_active_tis_per_dagrun=4,
    ).expand_kwargs(account_updates(contacts.output))
