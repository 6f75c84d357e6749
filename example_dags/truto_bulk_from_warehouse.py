"""Write what your warehouse knows into the CRMs of all your customers: one query, one task, one ledger.

The task keeps many calls in flight, for all customers at once, and uses all that Truto allows a token. It accounts
for each row in a ledger. A retry, or a cleared task, goes on where it was left, reads what the first try read, and
writes nothing twice. A customer who has to reconnect their CRM costs a few calls; the others go on. The task fails
where too much failed.

To run it, make a connection `warehouse` of any type that Airflow asks in SQL, with a table such as

    create table account_scores (
        truto_account_id text,   -- the customer: an integrated account of Truto
        crm_account_id text,     -- the account in that customer's CRM
        health text,             -- null where it is not known
        employees numeric
    );

and an Airflow variable `truto_ledgers` with a path that all workers share, such as `s3://aws_default@bucket/truto`.
A path on a worker's own disk will do where there is one worker only: a retry on another would not find the ledger.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2.11
    from airflow.models.dag import DAG

from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

with DAG(
    dag_id="truto_bulk_from_warehouse",
    description="A query of the warehouse, written into the CRMs of all customers",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    max_active_runs=1,  # each run takes all that Truto allows
    tags=["truto"],
) as dag:
    TrutoBulkUpdateAccountsOperator(
        task_id="update_accounts",
        sql_conn_id="warehouse",
        sql="select truto_account_id, crm_account_id, health, employees from account_scores",
        mapping={
            "id": "{{ row.crm_account_id }}",
            "integrated_account_id": "{{ row.truto_account_id }}",
            # A lone expression keeps its type: the employees are sent as a number.
            "body": {
                "number_of_employees": "{{ row.employees }}",
                "custom_fields": {"health": "{{ row.health }}", "scored_by": "warehouse"},
            },
        },
        on_none="omit",  # what the warehouse does not know is left as it is
        output_path="{{ var.value.truto_ledgers }}",
        max_failures=0.1,  # one record in ten may fail
        retries=2,
        retry_delay=timedelta(minutes=1),
    )
