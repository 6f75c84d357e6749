"""Records that are passed over on purpose: they do not count as failures, anywhere."""

from __future__ import annotations

import json

import pytest
from bulk_jobs import source_plan
from bulk_operator import run
from bulk_world import REMOTE, read_ledger

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.bulk.record import Record, Skip
from airflow_provider_truto.bulk.sources.source import Source

GONE = {"status": 404, "body": {**REMOTE, "statusCode": 404, "message": "No such company"}}


class Given(Source):
    """Records as they are."""

    def __init__(self, *records):
        self.given = records

    def records(self):
        return iter(self.given)

    def fingerprint(self):
        return "given"


def shown(row, *names):
    return tuple(row.get(name) for name in names)


def test_a_record_whose_error_is_named_in_skip_on_is_skipped_and_is_not_a_failure(one, task, output):
    one.emulator.fault(path="r3$", account=one.accounts[0], **GONE)
    counts = run(task(one.rows(), skip_on=["not_found"], max_failures=0))
    assert shown(counts, "updated", "skipped", "tolerated", "failed", "failures") == (39, 1, 1, 0, [])
    row = read_ledger(output).rows[3]
    assert shown(row, "status", "tolerated", "error", "http_status", "attempts", "transient") == (
        "skipped", True, "not_found", 404, 1, None,
    )  # fmt: skip
    assert "No such company" in row["message"]


@pytest.mark.parametrize(
    ("fault", "skip_on"),
    [(GONE, ["conflict"]), ({"status": 404}, ["not_found"])],
    ids=["another error", "a mistake of the task"],
)
def test_an_error_that_may_not_be_passed_over_is_a_failure(one, task, fault, skip_on):
    one.emulator.fault(path="r3$", account=one.accounts[0], **fault)
    with pytest.raises(AirflowFailException, match=r"^1 of 40 records failed"):
        run(task(one.rows(), skip_on=skip_on))


def test_a_customer_whose_every_record_is_passed_over_costs_a_handful_of_calls(one, task):
    lapsed = one.accounts[1]
    one.state.accounts[lapsed].require_reauth("The customer changed the password")
    counts = run(task(one.rows(), skip_on=["reauthorization_required"], concurrency=1))
    assert shown(counts, "updated", "skipped", "tolerated") == (30, 10, 10)
    assert len([call for call in one.emulator.executions if call["integrated_account_id"] == lapsed]) == 1


def test_errors_that_are_passed_over_do_not_give_up_their_customer(make_truto, output):
    truto = make_truto(accounts=1, records=20)
    truto.emulator.fault(path="r[0-9]$", times=None, status=500)
    summary = truto.run(truto.rows(), output, client={"max_attempts": 1}, concurrency=1, skip_on=["server"])
    assert shown(summary, "updated", "skipped", "tolerated", "transient_failures") == (10, 10, 10, 0)


def test_a_later_record_of_the_same_id_does_not_wait_for_one_that_is_passed_over(make_truto, output):
    truto = make_truto(accounts=1, records=1)
    truto.emulator.fault(times=1, status=500)
    rows = [{"id": "r0", "body": {"description": text}, "integrated_account_id": truto.accounts[0]} for text in "ab"]
    summary = truto.run(rows, output, client={"max_attempts": 1}, skip_on=["server"])
    assert shown(summary, "updated", "tolerated", "failed") == (1, 1, 0)


def test_a_retry_leaves_alone_what_was_passed_over_and_a_clear_decides_again(one, task, output):
    one.emulator.fault(path="r3$", account=one.accounts[0], **GONE)
    one.emulator.fault(path="r4$", account=one.accounts[0], status=500)
    with pytest.raises(AirflowException, match=r"^1 of 40 .*1 was passed over on purpose"):
        run(task(one.rows(), skip_on=["not_found"]))
    one.emulator.fault(path="r4$", account=one.accounts[0], status=422)
    with pytest.raises(AirflowFailException):
        run(task(one.rows(), skip_on=["not_found"]), try_number=2)
    summary = read_ledger(output).summaries[-1]
    assert shown(summary, "updated", "resumed", "tolerated") == (38, 39, 1)
    assert [problem.partition(",")[0] for problem in summary["first_problems"]] == ["record r4 (row 4)"]
    counts = run(task(one.rows()), try_number=3, generation=2)
    assert shown(counts, "updated", "skipped", "tolerated") == (40, 0, 0)


def test_a_record_that_is_passed_over_before_it_is_sent_costs_no_call(one, output):
    records = [
        Record(ordinal=0, id="r1", body={"name": "x"}, integrated_account_id=one.accounts[0]),
        Record(
            ordinal=1,
            body={"name": "y"},
            integrated_account_id=one.accounts[0],
            skip=Skip("no_match", "no record has this website"),
        ),
    ]
    summary = one.run(source_plan(Given(*records)).open(None), output)
    assert shown(summary, "updated", "skipped", "tolerated", "requests", "failures") == (1, 1, 1, 1, [])
    assert summary["accounts"][one.accounts[0]] == {"updated": 1, "skipped": 1, "tolerated": 1}
    assert shown(read_ledger(output).rows[1], "error", "message", "tolerated", "attempts") == (
        "no_match", "no record has this website", True, 0,
    )  # fmt: skip


def test_the_tables_tell_what_was_passed_over_from_what_failed(one, task, sqlite, store, tmp_path):
    import sqlite3

    sqlite("")
    one.emulator.fault(path="r3$", account=one.accounts[0], **GONE)
    run(task(one.rows(), skip_on=["not_found"]))
    store(with_bodies=True)
    with sqlite3.connect(tmp_path / "warehouse.db") as database:
        assert database.execute("select skipped, tolerated, failed from truto_runs").fetchall() == [(1, 1, 0)]
        lines = database.execute(
            "select ordinal, status, body from truto_changes where is_tolerated or status = 'failed'"
        )
        assert lines.fetchall() == [(3, "skipped", None)]


def test_names_of_errors_that_do_not_exist_are_refused_in_the_dag_file(task):
    with pytest.raises(ValueError, match="skip_on: expects a list out of"):
        task([], skip_on=["no_such_error"])
    assert json.dumps(task([], skip_on={"not_found"}).skip_on) == '["not_found"]'
