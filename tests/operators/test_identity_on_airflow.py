"""What a write is to Truto over retries, edits, clears and deleted runs, on a real scheduler.

A retry repeats the key of the try before it, whatever the author edits and whoever else clears tasks meanwhile; a
cleared task writes again, and so does a run that was deleted and made again under its id.
"""

from __future__ import annotations

import pytest
from airflow_runs import before
from airflow_scheduled import DELETE, QUEUE, scheduled_airflow

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PRELUDE = """
from datetime import datetime, timedelta, timezone
from pathlib import Path

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models.dag import DAG

from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator

DAYS = dict(start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, catchup=False)
SOURCE = [
    {{"id": "23423523", "integrated_account_id": ACME, "body": {{"description": "new"}}}},
    {{"id": "70010001", "integrated_account_id": GLOBEX, "body": {{"description": "new"}}}},
]


def update(retries):
    return TrutoUpdateAccountOperator(
        task_id="update",
        account_id="23423523",
        integrated_account_id=ACME,
        body={{"description": "new"}},
        retries=retries,
        retry_delay=timedelta(minutes=30),
    )


def bulk(**more):
    return TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=SOURCE, output_path={ledgers!r}, **{{"max_failures": 0, **more}}
    )


@task(retries=1, retry_delay=timedelta(minutes=30))
def hooked(ti=None):
    hook = TrutoHook(integrated_account_id=ACME)
    hook.update_account("23423523", {{"description": "new"}})
    for _ in range(2):
        hook.unified("crm", "contacts").create({{"last_name": "Okafor"}})
    if ti.try_number == 1:
        raise RuntimeError("when all is written")


@task.truto_update_account(integrated_account_id=ACME, retries=1, retry_delay=timedelta(minutes=30))
def decorated():
    return "23423523", {{"description": "new"}}


@task
def other():
    pass


@task
def waiting(path):
    import time

    while not Path(path).exists():
        time.sleep(0.2)


with DAG("{dag_id}", is_paused_upon_creation=False, **DAYS):
    {body}
"""


@pytest.fixture(scope="module")
def scheduled(truto, tmp_path_factory):
    with scheduled_airflow(truto, tmp_path_factory.mktemp("dags"), prelude=PRELUDE) as airflow:
        yield airflow


@pytest.fixture
def emulator(truto):
    truto.reset()
    return truto


def sent(emulator):
    return [request["headers"]["idempotency-key"] for request in emulator.requests if request["method"] == "PATCH"]


def lose_answer(emulator):
    """Have the next write executed and its answer lost: the try fails, and nobody knows whether it happened."""
    emulator.fault(method="PATCH", reset="after")


@pytest.mark.parametrize(("first", "then"), [(1, 5), (3, 1)], ids=["raised", "lowered"])
def test_retries_that_are_edited_while_the_task_waits_do_not_write_twice(scheduled, emulator, first, then):
    dag_id = f"edited_{first}_{then}"
    lose_answer(emulator)
    scheduled.write(dag_id, f"update(retries={first})")
    scheduled.trigger(dag_id)
    scheduled.until(dag_id, "up_for_retry", 1)
    scheduled.write(dag_id, f"update(retries={then})")
    scheduled.let_an_hour_pass(dag_id)
    scheduled.until(dag_id, "success", 2)
    assert len(sent(emulator)) == 2
    assert len(set(sent(emulator))) == 1
    assert len(emulator.executions) == 1


def test_neither_another_task_s_clear_nor_another_scheduler_changes_the_key_of_a_waiting_task(scheduled, emulator):
    lose_answer(emulator)
    scheduled.write("beside", "update(retries=1); other()")
    scheduled.trigger("beside")
    scheduled.until("beside", "up_for_retry", 1)
    scheduled.until("beside", "success", 1, task_id="other")
    scheduled.clear("beside", "other")
    scheduled.until("beside", "success", 2, task_id="other")
    scheduled.stop()
    scheduled.let_an_hour_pass("beside")
    scheduled.start()
    scheduled.until("beside", "success", 2)
    assert len(set(sent(emulator))) == 1
    assert len(emulator.executions) == 1


@pytest.mark.skipif(
    not before("3.0") and before("3.3"), reason="nothing but the start of its run tells this Airflow's task of it"
)
def test_a_run_that_is_queued_by_hand_while_the_task_waits_is_the_same_run(scheduled, emulator):
    lose_answer(emulator)
    scheduled.write("queued", "update(retries=1)")
    scheduled.trigger("queued")
    scheduled.until("queued", "up_for_retry", 1)
    scheduled.on_run(QUEUE, "queued")
    scheduled.until_run("queued", "running")
    scheduled.let_an_hour_pass("queued")
    scheduled.until("queued", "success", 2)
    assert len(set(sent(emulator))) == 1
    assert len(emulator.executions) == 1


@pytest.mark.parametrize(("task", "writes"), [("hooked", 3), ("decorated", 1)])
def test_a_taskflow_task_whose_first_try_wrote_writes_once_and_again_when_it_is_cleared(
    scheduled, emulator, task, writes
):
    if task == "decorated":
        lose_answer(emulator)
    scheduled.write(task, f"{task}()")
    scheduled.trigger(task)
    scheduled.until(task, "up_for_retry", 1, task_id=task)
    assert len(emulator.executions) == writes
    scheduled.let_an_hour_pass(task)
    scheduled.until_run(task, "success")
    assert len(emulator.executions) == writes
    scheduled.clear(task, task)
    scheduled.until_run(task, "success")
    assert scheduled.task(task, task) == ("success", 3)
    assert len(emulator.executions) == 2 * writes


@pytest.mark.parametrize("then", [1, 0], ids=["same", "lowered"])
def test_a_cleared_task_writes_again_also_where_its_retries_were_lowered_before(scheduled, emulator, then):
    """Airflow sets max_tries to the tries that there were and the retries of today: 1 + 0 is what it was before."""
    dag_id = f"cleared_{then}"
    scheduled.write(dag_id, "update(retries=1)")
    scheduled.trigger(dag_id)
    scheduled.until_run(dag_id, "success")
    scheduled.write(dag_id, f"update(retries={then})")
    scheduled.clear(dag_id, "update")
    scheduled.until(dag_id, "success", 2)
    assert len(emulator.executions) == 2
    assert len(set(sent(emulator))) == 2


@pytest.mark.skipif(before("3.3"), reason="before the task state store, nothing tells this clear from a retry")
def test_it_does_so_in_a_run_that_still_runs_and_its_retries_repeat_that_write(scheduled, emulator):
    body = "update(retries={}); waiting({!r})"
    gate = scheduled.home / "gate"
    scheduled.write("running", body.format(2, str(gate)))
    scheduled.trigger("running")
    scheduled.until("running", "success", 1)
    lose_answer(emulator)
    scheduled.write("running", body.format(1, str(gate)))
    scheduled.clear("running", "update")
    scheduled.until("running", "up_for_retry", 2)
    scheduled.let_an_hour_pass("running")
    scheduled.until("running", "success", 3)
    gate.touch()
    first, second, third = sent(emulator)
    assert first != second == third
    assert len(emulator.executions) == 2


@pytest.mark.parametrize("has_date", [False, True], ids=["without a date", "with the same date"])
def test_a_run_that_was_deleted_and_is_made_again_under_its_id_writes_again(scheduled, emulator, has_date):
    dag_id = f"remade_{has_date}".lower()
    option = "--exec-date" if before("3.0") else "--logical-date"
    dated = (option, "2026-03-01T00:00:00+00:00") if has_date else ()
    scheduled.write(dag_id, "update(retries=1) >> bulk()")
    scheduled.trigger(dag_id, *dated)
    scheduled.until_run(dag_id, "success")
    assert len(emulator.executions) == 3
    # SQLite would give the number of the last run again, and a scheduler that has not yet heard of the end of a task
    # would take it for that of the new one.
    scheduled.trigger(dag_id, run_id="later")
    scheduled.until_run(dag_id, "success", run_id="later")
    assert len(emulator.executions) == 6
    scheduled.on_run(DELETE, dag_id)
    scheduled.trigger(dag_id, *dated)
    scheduled.until_run(dag_id, "success")
    assert len(emulator.executions) == len(set(sent(emulator))) == 9
    assert "of a DAG run of this id that was deleted" in scheduled.log(dag_id)


def test_a_cleared_bulk_finds_the_ledger_of_its_run_again_and_sends_the_rest(scheduled, emulator):
    emulator.fault(method="PATCH", path="70010001$", status=500)
    scheduled.write("resumed", "bulk()")
    scheduled.trigger("resumed")
    scheduled.until_run("resumed", "failed")
    scheduled.clear("resumed", "bulk")
    scheduled.until_run("resumed", "success")
    assert sorted(execution["path"][-1] for execution in emulator.executions) == ["23423523", "70010001"]
    assert "1 record is accounted for already" in scheduled.log("resumed")
