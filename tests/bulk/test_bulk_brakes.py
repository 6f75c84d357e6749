"""What stops a bulk in the middle, or before it begins, and how it is let through."""

from __future__ import annotations

import pytest
from bulk_operator import broken, run
from bulk_world import read_ledger

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.bulk.brakes import FailureBrake, StopRule, Verdict

# ------------------------------------------------------------------------------------------------------- stop_after


@pytest.mark.parametrize(
    ("rule", "records", "verdict"),
    [
        (StopRule(3), "a+ a- b- b+ a-", Verdict(None)),
        (StopRule(3), "a+ a- b- b+", None),
        (StopRule(3), "a- a- a-", Verdict("a")),
        (StopRule(3), "a- a- a- a- b- b+ b-", None),  # those of a customer who was given up do not count
        (StopRule(3), "a- a- a- b- c- b-", Verdict(None)),
        (StopRule(3), "a- a- a- b- b- b-", Verdict("b")),
        (StopRule(10), "a- a- a- a- a- a- a- a- a- b-", Verdict("a")),  # whose failure was the last does not matter
        (StopRule(10), "a- a- a- a- a- a- a- a- b- b-", Verdict(None)),
        (StopRule(0.5, 4), "a- b- a-", None),
        (StopRule(0.5, 4), "a- b- a- b-", Verdict(None)),
        (StopRule(0.5, 4), "a- b- a+ b+", None),
        (StopRule(0.5, 4), "a- a- b+ a-", Verdict("a")),
        (StopRule(0.5, 4), "a- a- b+ a- b- b+", None),
    ],
)
def test_failures_of_several_customers_stop_and_those_of_one_give_it_up(rule, records, verdict):
    brake = FailureBrake(rule)
    given = [
        brake.count(record[0], has_failed=record[1] == "-", is_only_customer=False) for record in records.split()
    ]
    assert given[-1] == verdict


def test_the_only_customer_cannot_fail_alone():
    brake = FailureBrake(StopRule(2))
    assert [brake.count("a", has_failed=True, is_only_customer=True) for _ in range(2)] == [None, Verdict(None)]


def test_a_bulk_that_fails_everywhere_is_stopped_and_a_clear_goes_on_with_what_is_left(one, task, output):
    one.emulator.fault(method="PATCH", times=None, status=422)
    with pytest.raises(AirflowFailException) as failure:
        run(task(one.rows(), stop_after=6, max_failures=None, concurrency=1))
    text = str(failure.value)
    assert text.startswith("bulk stopped: 6 of the 6 records that this try has done have failed, of 4 customers")
    assert "(stop_after=6)" in text
    assert "Clear the task to go on" in text
    assert "\n  record r0 (row 0)" in text
    read = read_ledger(output)
    assert (len(read.rows), read.summaries[-1]["finished"], read.summaries[-1]["failed"]) == (6, False, 6)
    one.emulator.clear_faults()
    counts = run(task(one.rows(), stop_after=6), try_number=2, generation=1)
    assert (counts["updated"], counts["failed"], counts["ledger"].endswith("/0")) == (40, 0, True)
    one.assert_applied(one.rows())


def test_a_customer_who_fails_alone_is_given_up_and_the_others_go_on(one, task, output):
    one.emulator.fault(method="PATCH", account=one.accounts[1], times=None, status=422)
    with pytest.raises(AirflowException, match="10 of 40 records failed") as failure:
        run(task(one.rows(), stop_after=4, concurrency=4))
    assert not isinstance(failure.value, AirflowFailException), "a retry may send what was given up"
    read = read_ledger(output)
    assert read.statuses["updated"] == 30
    given_up = [row for row in read.rows.values() if row.get("error") == "given_up"]
    assert given_up
    assert {(row["status"], row["transient"]) for row in given_up} == {("skipped", True)}
    assert "its records alone have failed as often as stop_after allows" in given_up[0]["message"]
    assert read.statuses["failed"] < 10


def test_rows_that_are_not_valid_count_as_failures_of_a_share(make_truto, output, task, monkeypatch):
    truto = make_truto(accounts=1, records=40)
    with pytest.raises(Exception, match=r"bulk stopped: .*\(stop_after=\(0.1, 20\)\)"):
        truto.run(broken(truto.rows(), *range(0, 40, 2)), output, stop_after=StopRule(0.1, 20), concurrency=1)
    assert 19 <= len(read_ledger(output).rows) < 40


@pytest.mark.parametrize("stop_after", [0, -1, (2, 100), (0.1,), (0.1, 0), True, "many", 0.5])
def test_a_stop_after_that_means_nothing_is_refused_in_the_dag_file(task, stop_after):
    with pytest.raises(ValueError, match="stop_after"):
        task([], stop_after=stop_after)
