"""Write to all customers of one CRM: a task for each of them, and a report at the end.

Who they are is asked when the DAG runs: a customer who connects their CRM tomorrow takes part from then on. One
customer's failure leaves the others alone; the run is red in the end, and its last task says whose.

Runs as it is against the emulator (`make ui`). To run it against Truto, set the parameter to a CRM of your customers
and query your warehouse in place of `HEALTH`.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task
    from airflow.models.dag import DAG
    from airflow.models.param import Param

from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

#: Stands in for a query of your warehouse: by your own id of the customer, the account in their CRM and its health.
#: Where a customer may have connected two CRMs of one kind, key it by the integrated account instead.
HEALTH = {"acme": ("23423523", "good"), "wayne": ("31000001", "at risk"), "stark": ("57000001", "good")}


def states_by_map_index(task_id: str, context: Any) -> dict[int, str]:
    """Look up how the mapped tasks ended."""
    ti = context["ti"]
    if not hasattr(ti, "get_task_states"):  # Airflow 2.11
        others = context["dag_run"].get_task_instances()
        return {other.map_index: other.state for other in others if other.task_id == task_id}
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])[ti.run_id]
    return {int(name.removeprefix(f"{task_id}_")): state for name, state in states.items() if name != task_id}


with DAG(
    dag_id="truto_fan_out_accounts",
    description="Write to all customers of one CRM, a task for each, and report how it went",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={"integration": Param("hubspot", type="string", description="The CRM, by Truto's name for it")},
    tags=["truto"],
) as dag:

    @task(retries=2, retry_delay=timedelta(minutes=1))
    def updates(integration: str) -> list[dict[str, Any]]:
        """Return the arguments of one task per customer: those with an active connection whom the warehouse knows."""
        customers = TrutoHook().integrated_accounts(integration=integration, status="active")
        return [
            {
                "integrated_account_id": customer["id"],
                # Also a guard: an account that belongs to anybody else is refused.
                "expected_tenant_id": customer["tenant_id"],
                "account_id": HEALTH[customer["tenant_id"]][0],
                "body": {"custom_fields": {"health": HEALTH[customer["tenant_id"]][1]}},
            }
            for customer in customers
            # Truto ignores a filter that it does not know: what is written to is looked at once more.
            if customer["integration"]["name"] == integration and not customer["is_sandbox"]
            if customer["tenant_id"] in HEALTH
        ]

    @task(trigger_rule="all_done")
    def report(rows: list[dict[str, Any]] | None, **context: Any) -> None:
        """Count how the customers' tasks ended, and fail where one failed: a run is what its last task is."""
        if rows is None:
            raise RuntimeError("the customers could not be listed")
        states = states_by_map_index("update_account", context)
        counts = dict(Counter(states.values()))
        context["ti"].xcom_push(key="counts", value=counts)
        failed = sorted(index for index, state in states.items() if state not in {"success", "skipped"})
        if failed:
            names = ", ".join(rows[index]["expected_tenant_id"] for index in failed)
            raise RuntimeError(f"{len(failed)} of {len(rows)} customers failed: {names}")

    rows = updates("{{ params.integration }}")
    updated = TrutoUpdateAccountOperator.partial(
        task_id="update_account",
        # The customer has deleted the account: skipped. One who has to reconnect their CRM fails.
        skip_on=["not_found"],
        map_index_template="{{ task.expected_tenant_id }}",
        retries=2,
        retry_delay=timedelta(minutes=1),
        # Truto takes 500 calls in 10 s a token, from all your DAGs together. Have them share a pool: create it
        # (`airflow pools set truto 50 "Calls of Truto"`) and add pool="truto" here.
        max_active_tis_per_dagrun=10,
    ).expand_kwargs(rows)
    updated >> report(rows)
