"""An operator that is told to wait for long gives its worker back, and sends under the same key after that.

On a real Airflow, whose ``dag.test()`` runs the trigger itself; ``test_long_waits_on_airflow`` has a triggerer.
"""

from __future__ import annotations

import textwrap
from datetime import timedelta

import pytest
from airflow_runs import PLANTED, before

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

pytestmark = pytest.mark.airflow

#: Waits in the triggerer are over at once here.
PRELUDE = """
from types import SimpleNamespace
from airflow_provider_truto.triggers import waits
waits.time = SimpleNamespace(time=lambda: 1e12)
LONG = {"truto_conn_id": "three_attempts"}
"""
ASKED = {"status": 429, "headers": {"retry-after": "3600"}}
SHORT = {"status": 429, "headers": {"retry-after": "1"}}
GIVEN_BACK = "the worker is given back until"
WRITES = {"PATCH", "POST", "DELETE"}


@pytest.fixture
def run(airflow):
    """A function that runs tasks whose long waits take no time."""
    return lambda body: airflow.run(f"{PRELUDE}\n{textwrap.dedent(body)}")


def sent(emulator):
    writes = [request for request in emulator.requests if request["method"] in WRITES]
    return [request["headers"]["idempotency-key"] for request in writes]


def deferrals(task):
    """How often a task was deferred, for an hour each time."""
    return task.xcom["truto"].get("deferred_seconds", 0) / 3600


@pytest.mark.parametrize(
    "task",
    [
        "update('t', body={'name': 'x'}, **LONG)",
        "unified('t', 'get', record_id=RECORD, **LONG)",
        "unified('t', 'list', **LONG)",
        "unified('t', 'create', body={'name': 'x'}, **LONG)",
        "unified('t', 'delete', record_id=RECORD, **LONG)",
        "proxy('t', 'update', record_id=RECORD, body={'properties': {'name': 'x'}}, **LONG)",
    ],
)
def test_the_task_is_deferred_and_sends_after_it_what_it_was_to_send(run, emulator, task):
    emulator.fault(**ASKED)
    done = run(task)
    assert (done.state, done["t"].tries) == ("success", 1), done.log
    assert GIVEN_BACK in done.log
    first, second = emulator.requests
    assert (first["method"], first["path"], first["body"]) == (second["method"], second["path"], second["body"])
    assert first["headers"].get("idempotency-key") == second["headers"].get("idempotency-key")
    assert len(emulator.executions) == 1
    assert deferrals(done["t"]) == 1


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("tenant_id='acme'", {"path": "integrated-account"}),
        ("integrated_account_id=ACME, skip_unchanged=True", {"method": "GET"}),
        ("integrated_account_id=ACME, preflight=True", {"path": "capabilities"}),
    ],
)
def test_so_it_is_where_a_question_before_the_write_is_told_to_wait(run, emulator, given, fault):
    emulator.fault(**ASKED, **fault)
    task = f"TrutoUpdateAccountOperator(task_id='update', account_id=RECORD, body={{'name': 'x'}}, {given}, **LONG)"
    done = run(task)
    assert done.state == "success", done.log
    assert deferrals(done.update) == 1
    assert len(sent(emulator)) == len([one for one in emulator.executions if one["method"] == "PATCH"]) == 1


@pytest.mark.parametrize(
    ("arguments", "asked", "reason"),
    [
        ("", ASKED, "is not deferred for it: it has been 2 times already"),
        ("", {"status": 429, "headers": {"retry-after": "86401"}}, "would wait 86401 s, 300 s are left of max_wait"),
        ("execution_timeout=timedelta(minutes=30)", ASKED, "is not deferred for it: execution_timeout would be over"),
    ],
    ids=["too often", "too long", "execution_timeout"],
)
def test_it_is_not_deferred_without_end(run, emulator, arguments, asked, reason):
    emulator.fault(**asked, times=None)
    failed = run(f"update(body={{'name': 'x'}}, **LONG, {arguments})")
    assert failed.state == "failed"
    assert reason in failed.log
    assert failed.update.failure["type"] == "TrutoRateLimitError"
    assert len(sent(emulator)) == deferrals(failed.update) + 1 == (3 if "times" in reason else 1)
    assert failed.update.xcom["truto"]["error"] == "rate_limit"


@pytest.mark.parametrize("arguments", ["", "defer_wait_over=1", "defer_wait_over=None"])
def test_a_wait_that_is_not_too_long_is_waited_in_the_worker(run, emulator, arguments):
    emulator.fault(**SHORT)
    done = run(f"update(body={{'name': 'x'}}, **LONG, {arguments})")
    assert done.state == "success"
    assert GIVEN_BACK not in done.log
    assert 1 <= done.update.xcom["truto"]["waited_seconds"] <= 2


@pytest.mark.parametrize(
    ("faults", "versions"),
    [
        ([ASKED, ASKED], ["", "", "-2"]),
        ([{"reset": "after"}, ASKED], ["", "", ""]),
    ],
    ids=["refused twice", "a lost answer before"],
)
def test_a_deferral_changes_nothing_of_what_a_key_has_seen(run, emulator, faults, versions):
    for fault in faults:
        emulator.fault(method="PATCH", **fault)
    done = run("update(body={'name': 'x'}, **LONG)")
    assert done.state == "success", done.log
    key = sent(emulator)[0]
    assert sent(emulator) == [key + (version if not before("3.3") else "") for version in versions]
    assert len(emulator.executions) == 1


@pytest.mark.skipif(before("3.0"), reason="dag.test() of Airflow 2 renders a deferred task once, its scheduler again")
def test_templates_are_rendered_again_and_another_body_is_another_key(run, emulator):
    emulator.fault(**ASKED)
    done = run("update(body={'description': 'at {{ macros.time.time() }}'}, **LONG)")
    assert done.state == "success"
    assert len(set(sent(emulator))) == 2
    assert len(emulator.executions) == 1


def test_a_mapped_task_is_deferred_by_itself(run, emulator):
    emulator.fault(**ASKED, path="23423524")
    done = run(
        "mapped(integrated_account_id=ACME, body={'name': 'x'}, **LONG).expand(account_id=[RECORD, '23423524'])"
    )
    assert done.state == "success", done.log
    assert [deferrals(done[f"update[{index}]"]) for index in (0, 1)] == [0, 1]
    assert len(emulator.executions) == 2


def test_skip_on_skips_when_it_is_not_deferred_any_more(run, emulator):
    emulator.fault(**ASKED, times=None)
    done = run("update(body={'name': 'x'}, skip_on=('rate_limit',), **LONG)")
    assert done.update.state == "skipped"
    assert deferrals(done.update) == 2


def test_a_task_of_a_subclass_that_has_its_own_execute_runs_it_again(run, emulator):
    emulator.fault(**ASKED)
    done = run(
        """
        class Own(TrutoUpdateAccountOperator):
            def execute(self, context):
                self.body = {"name": f"of {context['ti'].task_id}"}
                return super().execute(context)

        Own(task_id="update", account_id=RECORD, integrated_account_id=ACME, body={}, **LONG)
        """
    )
    assert done.state == "success", done.log
    assert [execution["body"] for execution in emulator.executions] == [{"name": "of update"}]


def test_so_does_a_function_that_returns_the_body(run, emulator):
    emulator.fault(**ASKED)
    done = run(
        """
        @task.truto_update_account(account_id=RECORD, integrated_account_id=ACME, **LONG)
        def update():
            print("the function is called")
            return {"name": "of a function"}

        update()
        """
    )
    assert done.state == "success", done.log
    assert done.log.count("the function is called") >= 2
    assert deferrals(done.update) == 1
    assert [execution["body"] for execution in emulator.executions] == [{"name": "of a function"}]
    assert len(set(sent(emulator))) == 1


def test_outside_of_a_task_nothing_is_deferred(emulator, connection):
    connection(emulator.url, PLANTED)
    emulator.fault(**SHORT)
    given = {"account_id": "23423523", "integrated_account_id": ACME, "body": {"name": "x"}, "defer_wait_over": 0.5}
    assert TrutoUpdateAccountOperator(task_id="update", **given).execute({})["name"] == "x"


@pytest.mark.parametrize(
    ("value", "is_right"), [(timedelta(minutes=2), True), ("90", True), (0, False), ("x", False)]
)
def test_it_takes_more_than_no_seconds(value, is_right):
    def make():
        return TrutoUpdateAccountOperator(task_id="t", account_id="1", body={}, defer_wait_over=value)

    if is_right:
        assert make().defer_wait_over == value
    else:
        with pytest.raises(ValueError, match="defer_wait_over"):
            make()
