"""Wait until people at the customer have set a field of a record, and then go on with what they set.

Runs as it is against the emulator (`make ui`), where the account is of the tier already. To see it wait, set the
parameter `tier` to another one, and change the account with `truto_update_account`. To run it against Truto, set the
parameters to an account of yours.

The triggerer must run: `deferrable=True` waits there and holds no worker. Without one, `mode="reschedule"` gives the
worker back between two looks.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2.11
    from airflow.models.dag import DAG
    from airflow.models.param import Param

from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.sensors.records import TrutoRecordSensor

with DAG(
    dag_id="truto_wait_for_record",
    description="Wait until a record in a customer's CRM meets a condition, then update it",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={
        "integrated_account_id": Param(
            "acae0000-0000-4000-8000-000000000001",
            type="string",
            description="The customer: a UUID from Truto's dashboard, Integrated accounts",
        ),
        "account_id": Param("23423523", type="string", description="The account, by its id in the customer's CRM"),
        "tier": Param("gold", type="string", description="The tier to wait for"),
    },
    tags=["truto"],
) as dag:
    wait = TrutoRecordSensor(
        task_id="wait_for_tier",
        model="crm",
        resource="accounts",
        record_id="{{ params.account_id }}",
        integrated_account_id="{{ params.integrated_account_id }}",
        fields={"custom_fields": {"tier": "{{ params.tier }}"}},
        # All of what is given must hold. This is code, and never rendered: what changes goes into `values`.
        condition="record.number_of_employees >= values.employees",
        values={"employees": 100},
        deferrable=True,
        poke_interval=60,
        timeout=timedelta(days=3),
    )

    update = TrutoUpdateAccountOperator(
        task_id="update_account",
        account_id="{{ params.account_id }}",
        integrated_account_id="{{ params.integrated_account_id }}",
        body={"description": "{{ ti.xcom_pull('wait_for_tier')['name'] }} is {{ params.tier }}"},
    )

    wait >> update
