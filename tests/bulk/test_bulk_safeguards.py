"""The safeguards of a single update mean the same in a bulk, and cost their calls once per customer."""

from __future__ import annotations

from collections import Counter

import pytest
from bulk_operator import run
from bulk_world import account_number, read_ledger

from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator
from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator
from airflow_provider_truto.records.prepared import PreparedWrites


def reads(truto):
    """How often each customer was asked for anything but a write."""
    calls = [call for call in truto.emulator.requests if call["method"] == "GET"]
    named = [(account, f"{call['path']} {call['query']}") for call in calls for account in truto.accounts]
    return Counter(account for account, text in named if account in text)


@pytest.fixture
def ignoring(one):
    """Every customer's CRM passes over the description, and keeps its own."""
    one.emulator.fault(
        method="PATCH", times=None, apply=True, status=200, body={"id": "r1", "description": "its own"}
    )
    return one


@pytest.fixture
def admitted(monkeypatch):
    """The records that took the fast path."""
    found = []
    admit = PreparedWrites.admit
    monkeypatch.setattr(
        PreparedWrites, "admit", lambda *args: (valid := admit(*args)) and (found.append(valid) or valid)
    )
    return found


# --------------------------------------------------------------------------------------------- about the customer


@pytest.mark.parametrize(
    ("safeguards", "calls"),
    [
        ({"preflight": True}, 2),
        ({"preflight": True, "expected_tenant_id": "tenant-0"}, 2),
        ({"expected_tenant_id": "tenant-0"}, 1),
    ],
    ids=["preflight", "both", "the tenant"],
)
def test_a_customer_is_asked_for_once_and_its_records_keep_the_fast_path(one, task, safeguards, calls, admitted):
    rows = [row for row in one.rows() if row["integrated_account_id"] == one.accounts[0]] * 10
    assert run(task(rows, **safeguards))["updated"] == 100
    assert reads(one) == {one.accounts[0]: calls}
    assert len(admitted) > 80


@pytest.mark.parametrize(("integration", "is_fast"), [("hubspot", True), ("salesforce", False)])
def test_records_keep_the_fast_path_where_the_crm_lists_all_custom_fields(one, task, integration, is_fast, admitted):
    one.state.accounts[one.accounts[0]].record["integration"]["name"] = integration
    rows = [row for row in one.rows() if row["integrated_account_id"] == one.accounts[0]] * 10
    assert run(task(rows, check_custom_fields=True))["updated"] == 100
    assert (len(admitted) > 80) == is_fast


def test_what_is_in_the_way_of_one_customer_is_found_before_a_write_and_the_others_go_on(one, task, output):
    lapsed, sandbox = one.accounts[1], one.accounts[2]
    one.state.accounts[lapsed].require_reauth("The customer changed the password")
    one.state.accounts[sandbox].record["is_sandbox"] = True
    counts = run(task(one.rows(), preflight=True, max_failures=20))
    assert (counts["updated"], counts["failed"] + counts["skipped"]) == (20, 20)
    assert {call["integrated_account_id"] for call in one.emulator.executions} == {one.accounts[0], one.accounts[3]}
    assert {row["error"] for row in read_ledger(output).rows.values() if "error" in row} == {
        "reauthorization_required",
        "sandbox_read_only",
    }


def test_records_of_another_tenant_are_refused_without_a_call_each(one, task, output):
    counts = run(task(one.rows(), expected_tenant_id="tenant-2", max_failures=30))
    assert (counts["updated"], counts["failed"]) == (10, 30)
    one.assert_applied(one.rows()[20:30])
    assert set(reads(one).values()) == {1}
    rows = read_ledger(output).rows
    assert "belongs to tenant 'tenant-0', not to 'tenant-2'" in rows[7]["message"]
    assert (rows[7]["error"], rows[7].get("attempts")) == ("schema", 0)


def test_a_check_of_the_whole_source_finds_another_tenant_and_leaves_a_lapsed_customer_alone(one, task):
    with pytest.raises(AirflowFailException, match=r"(?s)^30 rows of the source are not valid.*belongs to tenant"):
        run(task(one.rows(), expected_tenant_id="tenant-2", validate_first=True))
    assert one.emulator.executions == []
    one.state.accounts[one.accounts[1]].require_reauth("The customer changed the password")
    counts = run(task(one.rows(), preflight=True, validate_first=True, max_failures=10), try_number=2)
    assert (counts["updated"], counts["failed"] + counts["skipped"]) == (30, 10)


def test_a_question_that_fails_in_passing_is_asked_again(one, task):
    one.emulator.fault(method="GET", path="integrated-account", times=1, status=500)
    assert run(task(one.rows(), preflight=True, max_failures=4, concurrency=1))["failed"] == 1


def test_an_expected_tenant_that_renders_to_nothing_is_refused(one, task):
    operator = task(one.rows(), expected_tenant_id="x")
    operator.expected_tenant_id = None
    with pytest.raises(AirflowFailException, match="expected_tenant_id"):
        run(operator)
    assert one.emulator.requests == []


# ------------------------------------------------------------------------------------------------ about the answer


@pytest.mark.parametrize(("verify", "warns"), [("warn", True), (None, False)])
def test_fields_that_are_not_confirmed_are_told_once_or_not_at_all(ignoring, task, output, logged, verify, warns):
    assert run(task(ignoring.rows()[1:2], verify=verify))["updated"] == 1
    assert read_ledger(output).rows[0]["not_confirmed"] == ["/description"]
    assert ("1 of this try's writes was answered with success, but" in logged()) == warns


def test_under_verify_fail_a_record_fails_although_it_was_written_and_no_retry_sends_it_again(ignoring, task, output):
    rows = ignoring.rows()[1:2]
    with pytest.raises(AirflowFailException, match=r"(?s)1 of 1 record failed.*The write HAS happened"):
        run(task(rows, verify="fail"))
    row = read_ledger(output).rows[0]
    assert (row["status"], row["error"], row["http_status"], row["not_confirmed"]) == (
        "failed", "not_confirmed", 200, ["/description"],
    )  # fmt: skip
    before = len(ignoring.emulator.requests)
    with pytest.raises(AirflowFailException):
        run(task(rows, verify="fail"), try_number=2)
    assert len(ignoring.emulator.requests) == before
    ignoring.emulator.clear_faults()
    # After a clear it is asked for under its own key, so that Truto repeats the answer.
    assert run(task(rows), try_number=3, generation=2)["updated"] == 1
    assert set(ignoring.writes().values()) == {1}


def test_fed_back_as_a_source_what_was_written_is_refused_until_its_line_says_otherwise(ignoring, task, output):
    with pytest.raises(AirflowFailException):
        run(task(ignoring.rows()[1:2], verify="fail"))
    (line,) = read_ledger(output).failed_lines
    assert line["written"] is True
    again = {"output_path": f"file://{output}", "max_failures": 0}
    with pytest.raises(AirflowFailException, match="/written: says that this was written already"):
        run(TrutoBulkUpdateAccountsOperator(task_id="again", source=[line], **again))
    assert len(ignoring.emulator.executions) == 1
    meant = {name: value for name, value in line.items() if name != "written"}
    assert run(TrutoBulkUpdateAccountsOperator(task_id="meant", source=[meant], **again))["updated"] == 1


def test_a_create_that_is_not_confirmed_is_not_made_twice_by_a_clear(one, output):
    def creating(**arguments):
        return TrutoBulkUnifiedOperator(
            task_id="bulk", model="crm", resource="accounts", method="create", output_path=f"file://{output}",
            integrated_account_id=account_number(0), source=[{"body": {"name": "Acme"}}], schema=None,
            max_failures=0, **arguments,
        )  # fmt: skip

    one.emulator.fault(method="POST", apply=True, status=200, body={"id": "new", "name": "other"})
    with pytest.raises(AirflowFailException, match="HAS happened"):
        run(creating(verify="fail"))
    with pytest.raises(AirflowFailException, match="HAS happened"):
        run(creating(verify="fail"), try_number=2)
    assert read_ledger(output).rows[0]["id"] == "new"
    assert run(creating(verify="fail"), try_number=3, generation=2)["created"] == 1
    keys = [call["idempotency_key"] for call in one.emulator.executions if call["method"] == "POST"]
    assert len(keys) == len(set(keys)) == 1


# ----------------------------------------------------------------------------------- what means nothing to any record


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "create", "skip_unchanged": True}, "/skip_unchanged: is for update, not for create"),
        ({"method": "delete", "skip_unchanged": True}, "/skip_unchanged: is for update, not for delete"),
        ({"resource": "tickets", "check_custom_fields": True}, "/check_custom_fields: is for crm accounts"),
    ],
)
def test_a_safeguard_that_is_for_other_methods_fails_the_task_and_not_each_record(one, output, arguments, message):
    rows = [{"id": "r1", "body": {"name": "x"}, "integrated_account_id": one.accounts[0]}] * 3
    given = {"model": "crm", "resource": "accounts", "source": rows, "output_path": f"file://{output}", **arguments}
    with pytest.raises(AirflowFailException, match=message):
        run(TrutoBulkUnifiedOperator(task_id="bulk", max_failures=None, **given))
    assert one.emulator.requests == []
    assert not list(output.rglob("header-*"))


def test_what_is_for_updates_does_not_hinder_the_delete_of_what_has_left_the_source(one, task):
    given = {"changed_only": True, "on_removed": "delete", "max_removed": 1, "skip_unchanged": True}
    run(task(one.rows(), **given))
    counts = run(task(one.rows()[1:], **given), generation=1, try_number=2)
    assert (counts["failed"], counts["updated"]) == (0, 1)
    assert "r0" not in one.state.records[one.accounts[0]]["crm/accounts"]
