"""Ask a person before a CRM is written to: preview the update, wait for their word, apply just what they saw.

`preview` reads the record, says what would change, and sends nothing. `apply` carries the preview's hash: it writes
only where the record and the update are still as they were previewed; otherwise it fails, and nothing is sent. Where
nothing would change, nobody is asked.

To approve: from Airflow 3.1 on, the run waits under Required Actions, which shows the changes; Reject skips `apply`.
Before 3.1, look at the changes in the log or the XCom of `preview`, and copy the hash:
`airflow variables set truto_approved p1-…`. Without that within a day, `apply` is skipped. While the variable stays,
it approves the same change of the same record in later runs too.

Runs as it is against the emulator (`make ui`). To run it against Truto, change `UPDATE`.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from airflow.exceptions import AirflowException

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task
    from airflow.models.dag import DAG
    from airflow.models.param import Param
try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowException):  # before Airflow 3.1
    ApprovalOperator = None

from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

#: What preview and apply have in common. An apply that differs from its preview is refused.
UPDATE = {
    "integrated_account_id": "acae0000-0000-4000-8000-000000000001",
    "account_id": "23423523",
    "body": {"number_of_employees": "{{ params.employees }}", "custom_fields": {"tier": "{{ params.tier }}"}},
}
HASH = "{{ ti.xcom_pull(task_ids='preview', key='truto')['preview']['hash'] }}"
CHANGES = """\
{% for change in ti.xcom_pull(task_ids='preview', key='truto')['preview']['changes'] %}
- `{{ change.pointer }}`: `{{ change.before | default('hidden') }}` becomes `{{ change.after | default('hidden') }}`
{%- endfor %}
"""

with DAG(
    dag_id="truto_preview_approve_apply",
    description="Preview an update of a CRM, let a person approve it, apply just that",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={
        "employees": Param(140, type="integer", minimum=0),
        "tier": Param("silver", enum=["gold", "silver", "bronze"]),
    },
    tags=["truto"],
) as dag:
    preview = TrutoUpdateAccountOperator(task_id="preview", preview=True, **UPDATE)

    @task.short_circuit
    def is_any_change(previewed: dict[str, Any]) -> bool:
        """Skip the rest where the record is as it should be already."""
        return bool(previewed["preview"]["changes"])

    if ApprovalOperator is not None:
        approval = ApprovalOperator(
            task_id="approval", subject=f"Write this into account {UPDATE['account_id']}?", body=CHANGES
        )
    else:

        @task.sensor(mode="reschedule", poke_interval=60, timeout=24 * 60 * 60, soft_fail=True)
        def is_approved(approved: str, previewed: str) -> bool:
            """Wait until the Airflow variable holds the hash of this preview."""
            return approved == previewed

        approval = is_approved.override(task_id="approval")("{{ var.value.get('truto_approved', '') }}", HASH)

    apply = TrutoUpdateAccountOperator(task_id="apply", expect=HASH, **UPDATE)

    is_any_change(preview.output["truto"]) >> approval >> apply
