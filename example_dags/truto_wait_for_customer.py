"""Wait until a customer has connected their CRM, or has reconnected it, and only then write.

Runs as it is against the emulator (`make ui`), where this customer is connected already. To see it wait, set the
parameter `tenant_id` to `umbrella`, who must reconnect. To run it against Truto, set the parameters to a customer and
an account of yours.

The triggerer must run: `deferrable=True` waits there, for days if need be, and holds no worker.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2.11
    from airflow.models.dag import DAG
    from airflow.models.param import Param

from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.sensors.integrated_accounts import TrutoIntegratedAccountSensor

with DAG(
    dag_id="truto_wait_for_customer",
    description="Wait until a customer's account can be called, then update a record",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={
        "tenant_id": Param("acme", type="string", description="The customer, by your own id"),
        "account_id": Param("23423523", type="string", description="The account to update, by its id in their CRM"),
    },
    tags=["truto"],
) as dag:
    connected = TrutoIntegratedAccountSensor(
        task_id="wait_for_customer",
        tenant_id="{{ params.tenant_id }}",
        # An account that is not of OAuth reads active until a call is refused: this makes one.
        probe=True,
        # The customer can do nothing about that, so that waiting for them makes no sense.
        fail_on=["blocked"],
        deferrable=True,
        poke_interval=60,
        timeout=timedelta(days=3),
    )

    TrutoUpdateAccountOperator(
        task_id="update_account",
        account_id="{{ params.account_id }}",
        integrated_account_id=connected.output["integrated_account_id"],
        body={"custom_fields": {"onboarded": True}},
    )
