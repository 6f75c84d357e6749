"""What a task that did not succeed leaves for a later one: its outcome in XCom, on every Airflow."""

from __future__ import annotations

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, UMBRELLA

pytestmark = pytest.mark.airflow

#: The task's arguments, its state, and what its outcome is to hold beside a message.
OUTCOMES = {
    "a record that is gone": (
        "account_id='no-such', body={'name': 'x'}",
        "failed",
        {"error": "not_found", "status": 404, "integrated_account_id": ACME, "record_id": "no-such", "attempts": 1},
    ),
    "a customer who must reconnect, skipped": (
        "account_id='9001', integrated_account_id=UMBRELLA, body={'name': 'x'}, skip_on=['reauthorization_required']",
        "skipped",
        {"error": "reauthorization_required", "status": 401, "integrated_account_id": UMBRELLA, "record_id": "9001"},
    ),
    "a wrong body": (
        "body={'nme': 'x'}, verify='{{ none }}'",
        "failed",
        {"error": "schema", "status": None, "integrated_account_id": ACME, "record_id": "23423523", "attempts": 0},
    ),
    "the default customer": (
        "account_id='no-such', truto_conn_id='of_globex', body={'name': 'x'}",
        "failed",
        {"error": "not_found", "integrated_account_id": GLOBEX},
    ),
    "a customer of a tenant": (
        "account_id='no-such', tenant_id='globex', body={'name': 'x'}",
        "failed",
        {"error": "not_found", "status": 404, "integrated_account_id": GLOBEX, "tenant_id": "globex"},
    ),
    "no token": (
        "truto_conn_id='wrong_token', body={'name': 'x'}",
        "failed",
        {"error": "authentication", "status": 401, "record_id": "23423523"},
    ),
    "what the answer does not confirm": (
        "account_id='70010001', integrated_account_id=GLOBEX, verify='fail', body={'urls': [{'url': 'x'}]}",
        "failed",
        {"error": "not_confirmed", "status": 200, "integrated_account_id": GLOBEX, "record_id": "70010001"},
    ),
    "an answer that cannot be written": (
        "body={'name': 'x'}, response_format='stream', output_path='/dev/null/no/folder'",
        "failed",
        {"error": "NotADirectoryError", "status": 200, "integrated_account_id": ACME, "record_id": "23423523"},
    ),
    "a template that breaks": (
        "body={'name': '{{ 1 // 0 }}'}",
        "failed",
        {"error": "ZeroDivisionError", "status": None},
    ),
    "a body file that is not there": ("body_file='nowhere.json'", "failed", {"status": None}),
}


def call(number, arguments):
    customer = "" if "tenant_id" in arguments or "of_globex" in arguments else "'integrated_account_id': ACME, "
    return (
        f"TrutoUpdateAccountOperator(task_id='t{number}', **{{'account_id': RECORD, {customer}**dict({arguments})}})"
    )


@pytest.fixture(scope="module")
def outcomes(one_airflow, truto):
    truto.reset()
    return one_airflow.run("\n".join(call(number, given) for number, (given, *_) in enumerate(OUTCOMES.values())))


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_task_that_fails_or_is_skipped_tells_why_and_of_whom(outcomes, name):
    _, state, expected = OUTCOMES[name]
    task = outcomes[f"t{list(OUTCOMES).index(name)}"]
    assert task.state == state
    told = task.xcom["truto"]
    assert {key: told.get(key) for key in expected} == expected
    assert told["skipped"] == (state == "skipped")
    if state == "failed":
        assert task.failure["message"].startswith(told["message"][:100])
    assert told["message"]
    assert "return_value" not in task.xcom


def test_the_outcome_of_a_try_that_failed_is_gone_when_the_next_one_succeeds(airflow, emulator):
    emulator.fault(method="PATCH", status=502)
    run = airflow.run("update(body={'name': 'x'}, retries=1)")
    assert (run.update.state, run.update.tries) == ("success", 2)
    assert run.update.xcom["truto"]["status"] == 200
    assert not {"error", "message", "skipped"} & set(run.update.xcom["truto"])


def test_values_of_a_body_are_not_in_an_outcome_where_they_are_to_be_hidden(airflow, monkeypatch):
    run = airflow.run(
        """
        os.environ["AIRFLOW__TRUTO__HIDE_VALUES"] = "True"
        update(body={"name": "x", "number_of_employees": "HIDDEN"})
        """
    )
    assert "/body/number_of_employees" in run.update.xcom["truto"]["message"]
    assert "HIDDEN" not in run.update.xcom["truto"]["message"]


PUSHES_NOTHING = """
from airflow_provider_truto.operators.bulk import TrutoBulkSummaryOperator

silent = {"do_xcom_push": False}
update("good", body={"name": "x"}, **silent)
update("bad", body={"nme": "x"}, **silent)
update("unconfirmed", body={"name": "x", "urls": []}, allow_empty=True, verify="fail", **silent)
unified("list", "list", **silent)
unified("get", "get", record_id=RECORD, **silent)
update("preview", body={"name": "y"}, preview=True, **silent)
TrutoBulkSummaryOperator(task_id="sum", bulk_task_id="no", output_path="/tmp/no", max_failures=None, **silent)
"""


def test_a_task_that_pushes_no_xcom_pushes_none(airflow):
    run = airflow.run(PUSHES_NOTHING)
    assert {name: task.xcom for name, task in run.tasks.items()} == {name: {} for name in run.tasks}
    assert run["bad"].state == "failed"
    assert run["good"].state == run["list"].state == run["get"].state == run["preview"].state == "success"


def test_what_only_reads_has_nothing_to_verify(airflow):
    run = airflow.run(
        """
        unified("get", "get", record_id=RECORD)
        unified("list", "list")
        update(body={"name": "x"})
        """
    )
    assert "verification" not in run["get"].xcom["truto"]
    assert "verification" not in run["list"].xcom["truto"]
    assert run.update.xcom["truto"]["verification"]["taken"] == ["/name"]
