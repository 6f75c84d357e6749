"""On a real Airflow: a retried task does not write again, a cleared one does."""

from __future__ import annotations

import pytest
from airflow_runs import before

pytestmark = pytest.mark.airflow

TASK = "update(body={'name': 'x', 'description': '{{ params.note }}'}, retries=2)"


def keys_of(entries):
    return [entry["idempotency_key"] for entry in entries]


def sent(emulator):
    return [request["headers"]["idempotency-key"] for request in emulator.requests if request["method"] == "PATCH"]


def test_a_retried_task_does_not_write_again(airflow, emulator):
    emulator.fault(method="PATCH", status=502, apply=True, times=2)
    run = airflow.run(TASK, params={"note": "a"})
    assert (run.update.state, run.update.tries) == ("success", 3)
    assert len(emulator.executions) == 1
    assert len(sent(emulator)) == 3
    assert set(sent(emulator)) == {run.update.xcom["truto"]["idempotency_key"]}


def test_a_cleared_task_writes_again_and_each_time_it_is_cleared(airflow, emulator):
    run = airflow.run(TASK, params={"note": "a"})
    for times in (2, 3):
        run = run.again()
        assert run.update.state == "success"
        assert len(emulator.executions) == times
    assert len(set(keys_of(emulator.executions))) == 3


def test_a_cleared_task_that_is_retried_writes_once_more_and_no_more(airflow, emulator):
    emulator.fault(method="PATCH", reset="after")
    run = airflow.run(TASK, params={"note": "a"})
    assert (run.update.tries, len(emulator.executions)) == (2, 1)
    emulator.fault(method="PATCH", reset="after")
    run = run.again()
    assert (run.update.state, run.update.tries) == ("success", 4)
    assert len(emulator.executions) == 2
    first, again, second, second_again = sent(emulator)
    assert first == again
    assert second == second_again != first


def test_a_task_that_failed_for_good_and_is_cleared_writes_under_a_new_key(airflow, emulator):
    """A refusal that Truto remembers under the old key must not come back."""
    emulator.state.cache_refusals = True
    emulator.fault(method="PATCH", status=400)
    run = airflow.run(TASK, params={"note": "a"})
    assert (run.update.state, run.update.tries) == ("failed", 1)
    run = run.again()
    assert run.update.state == "success"
    assert len(emulator.executions) == 1
    assert len(set(sent(emulator))) == 2


def test_another_run_of_the_same_task_writes_again(airflow, emulator):
    first = airflow.run(TASK, params={"note": "a"})
    second = airflow.ask(first.dag_id)
    assert second.run_id != first.run_id
    assert len(emulator.executions) == 2
    assert len(set(keys_of(emulator.executions))) == 2


def test_two_tasks_of_one_run_with_the_same_body_both_write(airflow, emulator):
    airflow.run("update('one', body={'name': 'x'}) >> update('two', body={'name': 'x'})")
    assert len(emulator.executions) == 2


def test_a_key_of_the_authors_own_is_executed_once_also_after_a_clear(airflow, emulator):
    run = airflow.run("update(body={'name': 'x'}, idempotency_key='order-{{ params.n }}')", params={"n": 17})
    assert run.again().update.state == "success"
    assert sent(emulator) == ["order-17", "order-17"]
    assert keys_of(emulator.executions) == ["order-17"]


def test_a_retry_with_another_body_is_another_write(airflow, emulator):
    """What is rendered again may differ from try to try: the key must not hide the newer value."""
    emulator.fault(method="PATCH", status=502, apply=True)
    run = airflow.run("update(body={'description': 'try {{ ti.try_number }}'}, retries=1)")
    assert run.update.state == "success"
    assert [execution["body"]["description"] for execution in emulator.executions] == ["try 1", "try 2"]
    assert run.update.xcom["return_value"]["description"] == "try 2"


@pytest.mark.parametrize("retries", [0, 3])
def test_a_change_of_the_number_of_retries_leaves_the_first_generation_alone(airflow, emulator, retries):
    run = airflow.run(f"update(body={{'name': 'x'}}, retries={retries})")
    assert run.update.xcom["truto"]["idempotency_key"] == sent(emulator)[0]
    assert "-2" not in sent(emulator)[0][10:]


BUSY = {"method": "PATCH", "status": 429, "headers": {"retry-after": "1"}}


@pytest.mark.skipif(before("3.3"), reason="the task state store came with Airflow 3.3")
def test_a_key_that_was_refused_twice_advances_and_stays_so_in_the_next_try(airflow, emulator):
    """Truto may remember a refusal under its key: repeating it would never write."""
    emulator.state.cache_refusals = True
    emulator.fault(**BUSY, times=2)
    emulator.fault(method="PATCH", reset="before")
    run = airflow.run("update(body={'name': 'x'}, truto_conn_id='three_attempts', retries=1)")
    assert (run.update.state, run.update.tries) == ("success", 2)
    key, again, advanced, next_try = sent(emulator)
    assert key == again
    assert advanced == next_try == f"{key}-2"
    assert len(emulator.executions) == 1
    assert run.update.xcom["truto"]["idempotency_key"] == f"{key}-2"

    run = run.again()
    assert run.update.state == "success"
    assert sent(emulator)[4] not in {key, f"{key}-2"}
    assert not sent(emulator)[4].endswith("-2")
    assert len(emulator.executions) == 2


@pytest.mark.skipif(not before("3.3"), reason="later ones have a task state store")
def test_without_a_store_that_outlives_a_try_a_key_never_advances(airflow, emulator):
    emulator.fault(**BUSY, times=2)
    run = airflow.run("update(body={'name': 'x'}, truto_conn_id='three_attempts', retries=1)")
    assert run.update.state == "success"
    assert len(set(sent(emulator))) == 1
    assert len(emulator.executions) == 1
