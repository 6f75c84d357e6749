"""Run when accounts change in a customer's CRM, and read those that have changed.

Needs Airflow 3. The triggerer looks for changes while this DAG is not paused; each look that finds some makes a run.
Runs as it is against the emulator (`make ui`). To run it against Truto, change `CUSTOMERS`. A run by hand reads what
changed since its parameter `since`.

It only reads. A DAG that writes to the accounts that it watches is run again by its own changes: write elsewhere, or
compare first (`skip_unchanged=True`).
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.triggers.changes import TrutoChangesTrigger

#: Integrated accounts: UUIDs from Truto's dashboard.
CUSTOMERS = ["acae0000-0000-4000-8000-000000000001"]

changed_accounts = Asset(
    name="truto_changed_accounts",
    watchers=[
        AssetWatcher(
            name="truto",
            trigger=TrutoChangesTrigger(
                asset_name="truto_changed_accounts",
                model="crm",
                resource="accounts",
                integrated_account_ids=CUSTOMERS,
                poll_interval=60,
            ),
        )
    ],
)

with DAG(
    dag_id="truto_changed_accounts",
    description="Read the accounts that have changed in customers' CRMs, when they have",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=[changed_accounts],
    catchup=False,
    params={
        "since": Param(
            "2024-06-02T00:00:00Z",
            type="string",
            format="date-time",
            description="For a run by hand: read what changed after this",
        )
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["truto"],
) as dag:

    @task
    def read_accounts(
        params: dict[str, Any] | None = None, triggering_asset_events: Any = None
    ) -> list[dict[str, Any]]:
        """Read each changed account once, however many events name it; several events may come in one run."""
        events = [event for events in triggering_asset_events.values() for event in events]
        told = [event.extra["payload"] for event in events]
        if not told:  # by hand
            told = [{"integrated_account_id": one, "ids": [], "watermark_from": params["since"]} for one in CUSTOMERS]
        hook = TrutoHook()
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for one in told:
            customer = one["integrated_account_id"]
            accounts = hook.unified("crm", "accounts", integrated_account_id=customer)
            if len(one["ids"]) == one.get("count"):
                records = [accounts.get(record_id) for record_id in one["ids"]]
            else:  # more than an event names
                records = accounts.list(updated_at={"gt": one["watermark_from"]}, limit=100)
            for record in records:
                found[customer, record["id"]] = {"customer": customer, "id": record["id"], "name": record.get("name")}
        return list(found.values())

    read_accounts()
