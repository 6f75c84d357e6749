"""Ask a person before many CRMs are written to: preview the bulk, wait for their word, apply just what they saw.

`preview` walks every record's way without a write. Per customer it counts what would be created, changed, is
unchanged, missing or wrong; samples of the fields that would change go into a file beside its ledger. `apply` carries
the preview's hash: where the rows, their customers, or this file have changed since, it fails before the first write.
Where nothing would change, nobody is asked.

To approve: from Airflow 3.1 on, the run waits under Required Actions, which shows the counts; Reject skips `apply`.
Before 3.1, look at the counts in the log or the XCom of `preview`, and copy the hash:
`airflow variables set truto_approved p2-…`. Without that within a day, `apply` is skipped.

To run it, make an Airflow variable `truto_ledgers` with a path that all workers share, such as
`s3://aws_default@bucket/truto`. Runs as it is against the emulator. To run it against Truto, change `UPDATE`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.exceptions import AirflowException

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task
    from airflow.models.dag import DAG
try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowException):  # before Airflow 3.1
    ApprovalOperator = None

from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

#: What preview and apply have in common. An apply that differs from its preview is refused.
UPDATE: dict[str, Any] = {
    "source": [
        {"tenant_id": "acme", "id": "23423523", "body": {"custom_fields": {"tier": "silver"}}},
        {"tenant_id": "globex", "id": "70010001", "body": {"custom_fields": {"tier": "bronze"}}},
    ],
    "skip_unchanged": True,
    "output_path": "{{ var.value.truto_ledgers }}",
    "max_failures": 0,
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
}
HASH = "{{ ti.xcom_pull(task_ids='preview')['hash'] }}"
COUNTS = """\
{% set shown = ti.xcom_pull(task_ids='preview') -%}
{{ shown.changes }} of {{ shown.rows }} rows would change something. Samples: `{{ shown.samples }}`
{% for account, counts in shown.accounts.items() %}
- {{ account }}: {% for kind, number in counts.items() %}{{ number }} {{ kind }} {% endfor %}
{%- endfor %}
"""

with DAG(
    dag_id="truto_bulk_preview_approve_apply",
    description="Preview a bulk for many customers, let a person approve it, apply just that",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["truto"],
) as dag:
    preview = TrutoBulkUpdateAccountsOperator(task_id="preview", preview=True, **UPDATE)

    @task.short_circuit
    def is_any_change(previewed: dict[str, Any]) -> bool:
        """Skip the rest where every record is as it should be already."""
        return bool(previewed["changes"])

    if ApprovalOperator is not None:
        approval = ApprovalOperator(task_id="approval", subject="Write this into the CRMs?", body=COUNTS)
    else:

        @task.sensor(mode="reschedule", poke_interval=60, timeout=24 * 60 * 60, soft_fail=True)
        def is_approved(approved: str, previewed: str) -> bool:
            """Wait until the Airflow variable holds the hash of this preview."""
            return approved == previewed

        approval = is_approved.override(task_id="approval")("{{ var.value.get('truto_approved', '') }}", HASH)

    apply = TrutoBulkUpdateAccountsOperator(task_id="apply", expect=HASH, **UPDATE)

    is_any_change(preview.output) >> approval >> apply
