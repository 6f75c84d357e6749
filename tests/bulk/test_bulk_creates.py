"""What a bulk creates is counted and told as created, under the id that the CRM gave it."""

from __future__ import annotations

from collections import Counter

from bulk_operator import run
from bulk_world import account_number, read_ledger

from airflow_provider_truto.operators import _bulk_job
from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator


def test_creates_are_created_in_ledger_counts_and_metrics(one, output, monkeypatch):
    counted = Counter()
    monkeypatch.setattr(_bulk_job, "count_metric", lambda name, count: counted.update({name: count}))
    account = account_number(1)
    task = TrutoBulkUnifiedOperator(
        task_id="bulk",
        model="crm",
        resource="accounts",
        method="create",
        source=[{"body": {"name": f"New {number}"}, "integrated_account_id": account} for number in range(3)],
        output_path=f"file://{output}",
        max_failures=0,
    )
    counts = run(task)
    assert (counts["records"], counts["created"], counts["updated"]) == (3, 3, 0)
    assert +counted == {"truto.bulk.created": 3}
    stored = one.state.records[account]["crm/accounts"]
    rows = read_ledger(output).rows.values()
    assert {row["status"] for row in rows} == {"created"}
    assert {stored[row["id"]]["properties"]["name"] for row in rows} == {"New 0", "New 1", "New 2"}
    assert run(task, try_number=2)["resumed"] == 3
    assert len(stored) == 13
