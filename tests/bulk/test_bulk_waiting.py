"""A bulk whose customers are all told to wait for long is deferred between two parts; nothing is lost or repeated."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
from bulk_operator import connect, context_of, run
from bulk_world import read_ledger

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.airflow_errors import TrutoBulkError
from airflow_provider_truto.bulk.report import merge_ledgers
from airflow_provider_truto.client import rate_limiter
from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import TaskDeferred

HOUR = {"method": "PATCH", "status": 429, "headers": {"retry-after": "3600"}}


@pytest.fixture(autouse=True)
def _attempts(one):
    connect(one, max_attempts=3)


def defer(operator, event=None, **which):
    """Run a part of a task that ends with a deferral; returns its trigger."""
    with pytest.raises(TaskDeferred) as deferred:
        resume(operator, event, **which) if event else run(operator, **which)
    assert deferred.value.method_name == "execute"
    return deferred.value.trigger


def resume(operator, event, **which):
    """Run the next part, as Airflow does with what the trigger has said."""
    return operator.resume_execution("execute", {"event": event}, context_of(operator, **which))


def statuses(output):
    return read_ledger(output, task=_Task).statuses


class _Task:
    dag_id, run_id, task_id, map_index = "dag", "run", "bulk", -1


def assert_all_is_written_once(truto):
    truto.assert_applied(truto.rows())
    assert set(truto.writes().values()) == {1}
    assert len(truto.writes()) == 40


@pytest.mark.parametrize("concurrency", [1, 4, 32])
@pytest.mark.parametrize("waiting", [slice(0, 1), slice(1, 3), slice(0, 4)], ids=["one", "two", "all"])
def test_where_all_that_are_left_wait_the_task_is_deferred_and_goes_on_after_it(
    one, task, output, waiting, concurrency
):
    for account in one.accounts[waiting]:
        one.emulator.fault(**HOUR, account=account, skip=2, times=None)
    began = time.time()
    trigger = defer(task(one.rows(), concurrency=concurrency))
    assert 3590 <= trigger.until - began <= 3700
    written = 40 - 8 * len(one.accounts[waiting])
    assert statuses(output) == {"updated": written}, "what waits is not a failure"
    if concurrency <= 4:
        assert len(one.emulator.requests) == written + len(one.accounts[waiting]), "who waits is left alone"
    one.emulator.clear_faults()
    counts = resume(task(one.rows()), trigger.event)
    assert (counts["updated"], counts["resumed"], counts["failed"]) == (40, written, 0)
    assert counts["deferred_seconds"] == pytest.approx(3600, abs=60)
    assert_all_is_written_once(one)


def test_a_deferred_bulk_keeps_other_runs_away_from_its_state(one, task, output):
    for account in one.accounts:
        one.emulator.fault(**HOUR, account=account, skip=2, times=None)
    trigger = defer(task(one.rows(), changed_only=True))
    one.emulator.clear_faults()
    (claim,) = (output / "dag" / "bulk" / "state").glob("*/claim-*")
    assert json.loads(claim.read_text())["held_until"] > trigger.until + 600
    other = task(one.rows("other"), changed_only=True)
    context = context_of(other)
    context["ti"].run_id = "another"
    with pytest.raises(TrutoBulkError, match="the run 'run' of this task lives"):
        other.execute(context)
    assert resume(task(one.rows(), changed_only=True), trigger.event)["updated"] == 40
    assert_all_is_written_once(one)
    counts = run(task(one.rows(), changed_only=True), generation=5)
    assert (counts["unchanged"], counts["requests"]) == (40, 0)


def test_another_try_begins_without_the_deferrals_of_the_one_before(one, task):
    for account in one.accounts:
        one.emulator.fault(**HOUR, account=account, times=None)
    operator = task(one.rows())
    with pytest.raises(TaskDeferred) as deferred:
        run(operator)
    # Airflow 3.0 resumes a retry with this.
    kept = {**deferred.value.kwargs, "event": {**deferred.value.trigger.event, "count": 2}}
    with pytest.raises(TrutoBulkError):  # two of max_attempts 3 are all
        operator.resume_execution("execute", kept, context_of(operator))
    with pytest.raises(TaskDeferred) as again:
        operator.resume_execution("execute", kept, context_of(operator, try_number=2))
    assert again.value.trigger.event["count"] == 1


def test_a_customer_that_may_go_on_before_the_others_are_done_goes_on_in_the_same_part(one, task):
    one.emulator.fault(**HOUR | {"headers": {"retry-after": "1"}}, account=one.accounts[0], skip=2)
    one.emulator.fault(account=one.accounts[3], times=None, delay_before=0.3)
    counts = run(task(one.rows(), concurrency=4, defer_wait_over=0.5))
    assert (counts["updated"], counts["deferred_seconds"], counts["requests"]) == (40, 0, 41)
    assert counts["waited_seconds"] >= 1
    assert_all_is_written_once(one)


def test_the_task_waits_for_the_customer_that_may_go_on_first(one, task):
    for account, seconds in zip(one.accounts, ("4000", "3500", "3000", "2500"), strict=True):
        one.emulator.fault(**HOUR | {"headers": {"retry-after": seconds}}, account=account, times=None)
    trigger = defer(task(one.rows()))
    assert trigger.until - time.time() == pytest.approx(2500, abs=60)


def test_customers_that_are_yet_to_be_read_are_served_before_it_is_deferred(one, task, output):
    waits, goes = one.accounts[:2]
    rows = [{"id": f"x{n}", "integrated_account_id": waits, "body": {"name": "x"}} for n in range(1_200)]
    one.emulator.fault(**HOUR, account=waits, times=None)
    defer(task([*rows, *(row for row in one.rows() if row["integrated_account_id"] == goes)]))
    assert statuses(output) == {"updated": 10}


def test_what_is_left_of_a_wait_when_the_others_are_done_may_be_too_short_to_defer(one, task):
    first, second = one.rows()[0], one.rows()[10]
    one.emulator.fault(**HOUR | {"headers": {"retry-after": "2"}}, account=one.accounts[0])
    one.emulator.fault(account=one.accounts[1], delay_before=1)
    assert run(task([first, second], defer_wait_over=1.5))["updated"] == 2


@pytest.mark.parametrize(
    ("over", "asked"), [(None, "1"), (2, "1"), (60, None)], ids=["never", "a longer one", "none was asked for"]
)
def test_other_waits_are_waited_in_the_worker(one, task, over, asked):
    headers = {"headers": {"retry-after": asked}} if asked else {"status": 500, "headers": {}}
    one.emulator.fault(**HOUR | headers, skip=5)
    assert run(task(one.rows(), defer_wait_over=over))["updated"] == 40
    assert_all_is_written_once(one)


def test_a_call_that_waits_for_its_place_within_the_limits_never_defers(one, task, monkeypatch):
    monkeypatch.setattr(rate_limiter, "TIER_SECONDS", 0.3)
    connect(one, requests_per_second=20)
    counts = run(task(one.rows(), defer_wait_over=0.001))
    assert (counts["updated"], counts["paced_seconds"] > 1) == (40, True)


def test_parts_that_bring_nothing_are_counted_and_others_are_not(one, task):
    """With three attempts, two deferrals in a row may bring nothing; a part that writes starts the count over."""
    one.emulator.fault(**HOUR, skip=5, times=None)
    trigger = defer(task(one.rows()))
    assert trigger.event["count"] == 1
    trigger = defer(task(one.rows()), trigger.event)
    assert trigger.event["count"] == 2
    one.emulator.clear_faults()
    one.emulator.fault(**HOUR, skip=1, times=None)
    trigger = defer(task(one.rows()), trigger.event)
    assert trigger.event["count"] == 1
    trigger = defer(task(one.rows()), trigger.event)
    with pytest.raises(AirflowException, match="all customers that are left were told to wait") as failure:
        resume(task(one.rows()), trigger.event)
    assert not isinstance(failure.value, AirflowFailException), "a retry goes on"
    one.emulator.clear_faults()
    assert run(task(one.rows()), try_number=2)["resumed"] == 6
    assert_all_is_written_once(one)


def test_a_record_that_fails_in_passing_does_not_make_a_part_fruitful(one, task):
    one.emulator.fault(method="PATCH", account=one.accounts[1], status=500, times=None)
    one.emulator.fault(**HOUR, times=None)
    connect(one, max_attempts=2, max_wait=0)
    trigger = defer(task(one.rows()))
    with pytest.raises(AirflowException, match="were told to wait"):
        resume(task(one.rows()), trigger.event)


def test_records_that_are_as_they_were_do_not_make_a_part_fruitful(one, task):
    run(task(one.rows(), changed_only=True))
    later = task([*one.rows("later")[:1], *one.rows()[1:]], changed_only=True)
    one.emulator.fault(**HOUR, times=None)
    trigger = defer(later, generation=5)
    trigger = defer(later, trigger.event, generation=5)
    with pytest.raises(AirflowException, match="were told to wait"):
        resume(later, trigger.event, generation=5)


@pytest.mark.parametrize(
    "next_try",
    [{"try_number": 2}, {"try_number": 2, "generation": 1}],
    ids=["lost, and retried", "cleared while it is deferred"],
)
def test_another_try_goes_on_as_the_resumed_one_would(one, task, next_try):
    one.emulator.fault(**HOUR, skip=13, times=None)
    defer(task(one.rows()))
    one.emulator.clear_faults()
    counts = run(task(one.rows()), **next_try)
    assert (counts["updated"], counts["resumed"]) == (40, 13)
    assert_all_is_written_once(one)


def test_records_of_one_id_keep_their_order_over_a_deferral(one, task):
    account = one.accounts[0]
    rows = [{"id": "r1", "integrated_account_id": account, "body": {"description": text}} for text in "abc"]
    one.emulator.fault(**HOUR, skip=1, times=None)
    trigger = defer(task(rows))
    one.emulator.clear_faults()
    assert resume(task(rows), trigger.event)["updated"] == 3
    assert [execution["body"]["description"] for execution in one.emulator.executions] == ["a", "b", "c"]


def test_a_resumed_part_that_does_not_see_the_ledger_creates_nothing_twice(one, output, tmp_path):
    def create(folder):
        rows = [{"integrated_account_id": account, "body": {"name": "New"}} for account in one.accounts]
        given = {"source": rows, "max_failures": 0, "model": "crm", "resource": "accounts", "method": "create"}
        return TrutoBulkUnifiedOperator(task_id="bulk", output_path=f"file://{folder}", **given)

    one.emulator.fault(**HOUR | {"method": "POST"}, skip=2, times=None)
    trigger = defer(create(output))
    with pytest.raises(AirflowFailException, match="This is try 1 after a wait, and no earlier part left a ledger"):
        resume(create(tmp_path / "elsewhere"), trigger.event)
    one.emulator.clear_faults()
    assert resume(create(output), trigger.event)["created"] == 4
    assert len(one.emulator.executions) == 4


def test_a_list_that_is_told_to_wait_waits_as_a_write_does(one, task, output):
    for account in one.accounts:
        for record, stored in one.state.records[account]["crm/accounts"].items():
            stored["properties"]["website"] = f"{record}.example"
    rows = [{**row, "body": {**row["body"], "website": f"{row['id']}.example"}, "id": None} for row in one.rows()]
    one.emulator.fault(**HOUR | {"method": "GET"}, account=one.accounts[1], times=None)
    trigger = defer(task(rows, match_on="website"))
    assert statuses(output) == {"updated": 30}
    one.emulator.clear_faults()
    assert resume(task(rows, match_on="website"), trigger.event)["updated"] == 40
    one_listing_each = [call for call in one.emulator.requests if call["method"] == "GET"]
    assert len(one_listing_each) == 5  # and the one that was told to wait


def test_a_report_counts_the_last_part_of_a_try(one, task, output):
    one.emulator.fault(**HOUR, skip=13, times=None)
    trigger = defer(task(one.rows()))
    folder = output / "dag" / "run" / "bulk"
    report = merge_ledgers(folder)
    assert (report.sums["records"], report.unfinished) == (13, [-1])
    one.emulator.clear_faults()
    resume(task(one.rows()), trigger.event)
    report = merge_ledgers(folder)
    assert (report.sums["updated"], report.unfinished) == (40, [])
    summaries = [json.loads(path.read_text()) for path in output.rglob("summary-*")]
    assert sorted(summary["records"] for summary in summaries) == [13, 40]


def test_execution_timeout_is_not_waited_beyond(one, task):
    one.emulator.fault(**HOUR, times=None)
    with pytest.raises(AirflowException, match="were told to wait"):
        run(task(one.rows(), execution_timeout=timedelta(minutes=30)))


def test_outside_of_a_task_nothing_is_deferred(one, task):
    one.emulator.fault(**HOUR, account=one.accounts[0], times=None)
    with pytest.raises(AirflowException, match="10 of 40 records failed"):
        task(one.rows()).execute({})
