"""Keeping many updates in flight: each record once, in its customer's CRM, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections import Counter

import pytest
from bulk_jobs import TEMPLATE, new_client, run_job
from bulk_world import PASSING, account_number, read_ledger

from airflow_provider_truto.bulk import housekeeping, progress, queue, read_ahead, slots
from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import UnfinishedError
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.record import parse_record
from airflow_provider_truto.bulk.sources.lists import ListSource
from airflow_provider_truto.bulk.sources.source import Source
from airflow_provider_truto.bulk.validation import find_faults
from airflow_provider_truto.bulk.writer import RecordWriter
from airflow_provider_truto.client.errors import TrutoAuthenticationError
from airflow_provider_truto.client.tokens import Token
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.safeguards import Safeguards


def update(record, text, account=0):
    return {"id": record, "body": {"description": text}, "integrated_account_id": account_number(account)}


def order(truto):
    """The customers in the order in which their CRMs were called."""
    return [execution["integrated_account_id"] for execution in truto.emulator.executions]


# ------------------------------------------------------------------------------------------------ each record once


def test_every_record_is_written_once_and_accounted_for(truto, output):
    rows = truto.rows()
    summary = truto.run(rows, output)
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}
    assert summary["updated"] == len(rows) == len(truto.writes())
    read = read_ledger(output)
    assert sorted(read.rows) == list(range(len(rows)))
    assert read.statuses == {"updated": len(rows)}


def test_a_row_tells_customer_record_status_attempts_and_key(truto, output):
    truto.emulator.fault(status=500)
    truto.run([update("r3", "x", 1)], output)
    [execution] = truto.emulator.executions
    assert read_ledger(output).lines == [
        {
            "ordinal": 0,
            "id": "r3",
            "integrated_account_id": account_number(1),
            "status": "updated",
            "http_status": 200,
            "attempts": 2,
            "idempotency_key": execution["idempotency_key"],
        }
    ]


def test_a_field_that_the_answer_does_not_confirm_is_named(truto, output):
    truto.emulator.fault(body={"id": "r1", "description": "old"}, status=200, apply=True)
    truto.run([update("r1", "new")], output)
    assert read_ledger(output).rows[0]["not_confirmed"] == ["/description"]


@pytest.mark.parametrize("kind", PASSING, ids=str)
def test_a_fault_that_passes_costs_an_attempt_and_nothing_else(make_truto, output, kind):
    truto = make_truto(accounts=3, records=8)
    failed = truto.break_off(0.3, seed=1, kinds=[kind])
    rows = truto.rows()
    summary = truto.run(rows, output, client={"max_attempts": 30, "max_wait": 900})
    assert failed
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}
    assert (summary["updated"], summary["retries"]) == (len(rows), sum(failed.values()))
    assert summary["requests"] == len(truto.emulator.requests)


@pytest.mark.slow
def test_connections_that_break_are_closed_and_not_left_to_the_garbage(make_truto, output, caplog):
    truto = make_truto(accounts=2, records=20)
    truto.break_off(0.5, seed=1, kinds=[{"cut": 25}])
    find_fault = truto.state.find_fault
    truto.state.find_fault = lambda call: (gc.collect(), find_fault(call))[1]
    truto.run(truto.rows(), output, client={"max_attempts": 30, "max_wait": 900})
    assert "Unclosed" not in caplog.text


def test_a_third_of_all_calls_failing_in_every_way_leaves_the_exact_state(make_truto, output):
    truto = make_truto(accounts=10, records=30)
    failed = truto.break_off(0.3, seed=2)
    rows = truto.rows()
    for try_number in itertools.count(1):
        if not truto.run(rows, output, try_number=try_number, client={"max_attempts": 3})["transient_failures"]:
            break
        assert try_number < 20
    assert len(failed) == len(PASSING)
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}
    assert read_ledger(output).statuses == {"updated": len(rows)}


def test_an_empty_source_is_done_at_once(truto, output):
    summary = truto.run([], output)
    assert (summary["records"], summary["finished"], summary["failures"]) == (0, True, [])
    assert truto.emulator.requests == []


def test_bad_rows_in_every_position_fail_alone(truto, output):
    bad = [None, 7, "text", {}, {"id": "r1"}, {"body": {"name": "x"}}, {"id": "", "body": {"name": "x"}}]
    bad += [{**update("r1", "x"), "more": 1}, update("r1", 5.5), {**update("r1", "x"), "body": {"nmae": "x"}}]
    bad += [{**update("r1", "x"), "integrated_account_id": "no-uuid"}, {**update("r1", "x"), "body": []}]
    good = truto.rows()
    for position in (0, 1, len(good) // 2, len(good)):
        truto.emulator.reset()
        rows = [*good[:position], *bad, *good[position:]]
        place = output / str(position)
        summary = truto.run(rows, place)
        truto.assert_applied(good)
        assert (summary["updated"], summary["failed"]) == (len(good), len(bad))
        failed = {ordinal for ordinal, row in read_ledger(place).rows.items() if row["status"] == "failed"}
        assert failed == set(range(position, position + len(bad)))
        assert len(truto.writes()) == len(good)


def test_a_source_of_nothing_but_bad_rows_keeps_answers_and_reports_coming(make_truto, output):
    truto = make_truto(accounts=1, records=1)
    rows = [update("r0", "x"), *([{"id": "r0"}] * 5_000)]
    truto.emulator.fault(delay_before=0.05)
    summary = truto.run(rows, output)
    assert (summary["updated"], summary["failed"]) == (1, 5_000)


def test_an_empty_name_of_a_customer_never_becomes_the_default_one(truto, output):
    default = {"integrated_account_id": truto.accounts[0]}
    named = {"id": "r1", "body": {"description": "x"}, "integrated_account_id": ""}
    summary = truto.run([named], output, client=default)
    assert (summary["failed"], truto.emulator.executions) == (1, [])
    assert "integrated_account_id" in summary["first_problems"][0]


def test_a_record_that_names_no_customer_goes_to_the_default_one(truto, output):
    default = {"integrated_account_id": truto.accounts[2]}
    truto.run([{"id": "r1", "body": {"description": "x"}}], output, client=default)
    assert order(truto) == [truto.accounts[2]]
    assert read_ledger(output).rows[0]["integrated_account_id"] == truto.accounts[2]


# ------------------------------------------------------------------------------------------------------ their order


def test_updates_of_one_record_keep_their_order(truto, output):
    rows = [update("r1", text) for text in "ABA"] + [update("r2", "other")]
    for delay in (0.1, 0.05, 0):  # the first ones are the slowest
        truto.emulator.fault(path="r1", delay_before=delay)
    truto.run(rows, output)
    sent = [e["body"]["description"] for e in truto.emulator.executions if e["record_id"] == "r1"]
    assert sent == list("ABA")


def test_updates_of_one_record_keep_their_order_under_faults_and_retries(make_truto, output):
    truto = make_truto(accounts=3, records=3)
    texts = [f"{number}" for number in range(20)]
    rows = [
        update(record, text, account)
        for text in texts
        for record in truto.ids
        for account in range(len(truto.accounts))
    ]
    truto.break_off(0.3, seed=3)
    for try_number in itertools.count(1):
        if not truto.run(rows, output, try_number=try_number, client={"max_attempts": 2})["transient_failures"]:
            break
        assert try_number < 60
    assert try_number > 1
    sent = {}
    for execution in truto.emulator.executions:
        key = execution["integrated_account_id"], execution["record_id"]
        sent.setdefault(key, []).append(execution["body"]["description"])
    assert sent == {(account, record): texts for account in truto.accounts for record in truto.ids}


def test_a_record_is_not_overtaken_by_a_later_one_when_it_has_to_wait_for_the_next_try(truto, output):
    rows = [update("r1", "A"), update("r1", "B"), update("r2", "C"), update("r1", "D")]
    truto.emulator.fault(path="r1", status=500)
    summary = truto.run(rows, output, client={"max_attempts": 1})
    assert (summary["updated"], summary["failed"], summary["skipped"]) == (1, 1, 2)
    assert read_ledger(output).rows[1]["error"] == "earlier_record"
    truto.run(rows, output, try_number=2)
    sent = [e["body"]["description"] for e in truto.emulator.executions if e["record_id"] == "r1"]
    assert sent == ["A", "B", "D"]
    assert read_ledger(output).statuses == {"updated": 4}


def test_a_record_that_fails_for_good_lets_the_next_of_its_id_go(truto, output):
    truto.emulator.fault(path="r1", status=422)
    summary = truto.run([update("r1", "A"), update("r1", "B")], output)
    assert (summary["updated"], summary["failed"]) == (1, 1)


def test_many_updates_of_one_record_wait_for_each_other_and_hold_up_nobody(make_truto, output, monkeypatch):
    monkeypatch.setattr(queue, "MAX_HELD", 50)
    truto = make_truto(accounts=2, records=1)
    rows = [update("r0", str(number)) for number in range(300)] + [update("r0", "the other customer's", 1)]
    truto.run(rows, output)
    assert [e["body"]["description"] for e in truto.emulator.executions][-1] == "299"
    assert order(truto).index(truto.accounts[1]) < 100


def test_thousands_that_wait_for_one_record_are_skipped_with_its_customer(make_truto, output):
    truto = make_truto(accounts=1, records=1)
    truto.state.accounts[truto.accounts[0]].require_reauth("gone")
    summary = truto.run([update("r0", str(number)) for number in range(3_000)], output)
    assert (summary["failed"], summary["skipped"]) == (1, 2_999)


# -------------------------------------------------------------------------------------------------------- customers


@pytest.mark.slow
def test_customers_who_must_reconnect_cost_a_handful_of_calls_and_the_others_go_on(make_truto, output):
    truto = make_truto(accounts=400, records=6)
    lost = truto.accounts[::20]
    for account in lost:
        truto.state.accounts[account].require_reauth("The customer changed the password")
    rows = truto.rows()
    summary = truto.run(rows, output)
    read = read_ledger(output)
    calls = Counter(order(truto))
    assert len(lost) == 20
    assert all(1 <= calls[account] <= 4 for account in lost)
    truto.assert_applied([row for row in rows if row["integrated_account_id"] not in lost])
    assert summary["updated"] == 380 * 6
    assert summary["failed"] + summary["skipped"] == 20 * 6
    assert summary["failed"] == sum(calls[account] for account in lost)
    assert {row["error"] for row in read.rows.values() if row["status"] == "skipped"} == {"reauthorization_required"}
    assert summary["transient_failures"] == 0
    assert summary["accounts"][lost[0]].keys() <= {"failed", "skipped"}


@pytest.mark.parametrize("account", [0, 1])
def test_one_customer_alone_who_must_reconnect_costs_four_calls(make_truto, output, account):
    truto = make_truto(accounts=2, records=100)
    truto.state.accounts[truto.accounts[account]].require_reauth("gone")
    rows = [row for row in truto.rows() if row["integrated_account_id"] == truto.accounts[account]]
    truto.run(rows, output)
    assert len(truto.emulator.executions) == 4


@pytest.mark.parametrize("said", [{"status": 429, "headers": {"retry-after": "150"}}, {"status": 500}])
def test_customers_who_have_to_wait_do_not_hold_up_the_others(said, make_truto, output):
    truto = make_truto(accounts=12, records=5)
    busy, free = truto.accounts[:9], truto.accounts[9:]
    for account in busy:
        truto.emulator.fault(account=account, times=1, **said)
    summary = truto.run(truto.rows(), output, concurrency=4, client={"hurry": 300.0 if "headers" in said else 2.0})
    assert summary["updated"] == 60
    order = [execution["integrated_account_id"] for execution in truto.emulator.executions]
    assert set(order[: 3 * 5]) == set(free)
    assert max(Counter(order[:15]).values()) == 5


def test_an_account_that_fails_all_the_time_is_left_to_the_next_try(make_truto, output):
    truto = make_truto(accounts=2, records=50)
    truto.emulator.fault(account=truto.accounts[0], times=None, status=500)
    summary = truto.run(truto.rows(), output, client={"max_attempts": 1})
    assert (summary["updated"], summary["skipped"] > 30) == (50, True)
    assert summary["transient_failures"] == 50
    truto.emulator.clear_faults()
    truto.run(truto.rows(), output, try_number=2)
    assert read_ledger(output).statuses == {"updated": 100}
    assert set(truto.writes().values()) == {1}


def test_a_file_sorted_by_customer_still_uses_every_customer_from_the_start(make_truto, output):
    truto = make_truto(accounts=10, records=60)
    truto.run(truto.rows(), output, concurrency=10)
    calls = order(truto)
    for place in range(0, len(calls), 100):
        counts = Counter(calls[place : place + 100])
        assert len(counts) == 10
        assert max(counts.values()) <= 20


def test_a_single_customer_gets_all_calls_in_flight_once_one_has_succeeded(make_truto, output):
    truto = make_truto(accounts=1, records=60)
    at_once = []
    truto.emulator.fault(times=None, delay_before=0.02)

    async def watch():
        one = asyncio.create_task(asyncio.to_thread(truto.run, truto.rows(), output, concurrency=12))
        while not one.done():
            await asyncio.sleep(0.005)
            at_once.append(len(truto.state.requests) - len(truto.state.executions))

    asyncio.run(watch())
    assert 8 < max(at_once) <= 12


# ---------------------------------------------------------------------------------------------------------- reading


class Counted(Source):
    """Rows that tell how many of them were read; reading stops at a gate."""

    def __init__(self, rows, *, breaks_after=None):
        self.rows, self.read, self.breaks_after = rows, 0, breaks_after

    def records(self):
        for ordinal, row in enumerate(self.rows):
            if ordinal == self.breaks_after:
                raise OSError("the storage is gone")
            self.read += 1
            yield parse_record(row, ordinal)

    def fingerprint(self):
        return "counted"


def test_the_first_call_goes_out_before_the_source_is_read_to_its_end(make_truto, output):
    truto = make_truto(accounts=1, records=1)
    read_at_first_call = []

    class Endless(Counted):
        def records(self):
            for record in super().records():
                if truto.emulator.requests and not read_at_first_call:
                    read_at_first_call.append(self.read)
                if read_at_first_call and self.read > read_at_first_call[0] + 1_000:
                    return
                yield record

    source = Endless(itertools.cycle([update("r0", "x"), {"id": "bad"}]))
    truto.run(source, output)
    assert read_at_first_call


def test_reading_ahead_is_bounded(make_truto, output, monkeypatch):
    monkeypatch.setattr(read_ahead, "READ_AHEAD", 100)
    monkeypatch.setattr(read_ahead, "MAX_READ_AHEAD", 600)
    monkeypatch.setattr(queue, "MAX_HELD", 50)
    truto = make_truto(accounts=1, records=1)
    truto.emulator.fault(delay_before=0.4)
    source = Counted([update("r0", str(number)) for number in range(1_500)])
    ahead = []

    async def watch():
        one = asyncio.create_task(asyncio.to_thread(truto.run, source, output))
        while not one.done():
            await asyncio.sleep(0.01)
            ahead.append(source.read - len(truto.state.executions))
        return one.result()

    summary = asyncio.run(watch())
    assert summary["updated"] == 1_500
    # What waits, what is held back because of its id, and one chunk.
    assert 600 <= max(ahead) <= 600 + 50 + 500 + 40


def test_a_source_that_breaks_off_midway_loses_nothing_that_was_read(truto, output):
    rows = truto.rows()
    with pytest.raises(OSError, match="the storage is gone"):
        truto.run(Counted(rows, breaks_after=25), output)
    assert len(truto.writes()) == 25
    assert sorted(read_ledger(output).rows) == list(range(25))
    assert not read_ledger(output).summaries[-1]["finished"]
    truto.run(Counted(rows), output, try_number=2)
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}


# --------------------------------------------------------------------------------------------------- ending the try


def test_a_token_that_is_refused_ends_the_try_at_once_and_nothing_is_accounted_for(make_truto, output):
    truto = make_truto(accounts=10, records=100)
    with pytest.raises(TrutoAuthenticationError):
        truto_run_with_token(truto, "wrong", output)
    assert len(truto.emulator.requests) <= 32 * 2
    assert read_ledger(output).lines == []
    summary = truto.run(truto.rows(), output, try_number=2)
    assert summary["updated"] == 1_000


def test_a_token_that_is_revoked_midway_ends_the_try_with_what_was_done_before(make_truto, output):
    truto = make_truto(accounts=4, records=50)
    truto.state.find_fault = revoke_after(truto, 60)
    with pytest.raises(TrutoAuthenticationError):
        truto.run(truto.rows(), output)
    truto.repair()
    read = read_ledger(output)
    assert read.statuses == {"updated": len(truto.emulator.executions)}
    truto.state.add_token(truto.token)
    truto.run(truto.rows(), output, try_number=2)
    truto.assert_applied(truto.rows())
    assert set(truto.writes().values()) == {1}


def test_a_token_that_is_rotated_midway_is_read_again_and_the_bulk_goes_on(make_truto, output):
    truto = make_truto(accounts=4, records=50)
    truto.state.add_token("the-new-one")
    truto.state.find_fault = revoke_after(truto, 60)
    rereads = []

    async def reread():
        rereads.append(1)
        return Token("the-new-one")

    summary = truto.run(truto.rows(), output, client={"reread": reread})
    assert summary["updated"] == 200
    assert 1 <= len(rereads) <= 32
    assert set(truto.writes().values()) == {1}


def revoke_after(truto, calls):
    def find_fault(_call):
        if len(truto.state.requests) == calls:
            truto.state.revoke_token(truto.token)

    return find_fault


def truto_run_with_token(truto, token, output, **options):
    return run_job(truto.url, token, ListSource(truto.rows()), output, **options)


def test_max_runtime_ends_the_try_and_the_next_goes_on(make_truto, output):
    truto = make_truto(accounts=2, records=100)
    truto.emulator.fault(times=None, delay_before=0.02)
    ended = 0
    for try_number in itertools.count(1):
        try:
            truto.run(truto.rows(), output, try_number=try_number, concurrency=4, max_runtime=0.3)
        except UnfinishedError:
            ended += 1
        else:
            break
        assert not list(output.rglob("*.part"))
        assert try_number < 100
    assert ended
    truto.assert_applied(truto.rows())
    assert set(truto.writes().values()) == {1}
    assert read_ledger(output).statuses == {"updated": 200}


def test_a_try_that_is_told_to_stop_starts_nothing_more_and_keeps_what_still_comes(make_truto, output):
    truto = make_truto(accounts=4, records=50)
    truto.emulator.fault(times=None, delay_before=0.02)
    with pytest.raises(UnfinishedError, match="told to stop"):
        truto.run(truto.rows(), output, concurrency=8, is_stopped=lambda: len(truto.emulator.executions) > 40)
    assert read_ledger(output).statuses == {"updated": len(truto.emulator.executions)}
    assert len(truto.emulator.executions) < 100


def test_a_try_that_is_told_to_stop_does_not_wait_for_a_call_that_waits_for_minutes(make_truto, output, monkeypatch):
    monkeypatch.setattr(slots, "GRACE_SECONDS", 0.2)
    truto = make_truto(accounts=2, records=5)
    truto.emulator.fault(path="r0", account=truto.accounts[0], status=429, headers={"retry-after": "200"})
    began = len(truto.emulator.requests)
    with pytest.raises(UnfinishedError):
        truto.run(
            truto.rows(),
            output,
            client={"hurry": 1},
            is_stopped=lambda: len(truto.emulator.requests) - began >= 10,
        )
    assert read_ledger(output).statuses == {"updated": 9}
    truto.run(truto.rows(), output, try_number=2)
    truto.assert_applied(truto.rows())
    assert set(truto.writes().values()) == {1}


def test_what_goes_wrong_within_this_package_ends_the_try_loudly(make_truto, output, monkeypatch):
    truto = make_truto(accounts=4, records=50)
    real, seen = RecordWriter.write, []

    async def write(self, record, **options):
        seen.append(record)
        if len(seen) == 30:
            raise ZeroDivisionError("a bug")
        return await real(self, record, **options)

    monkeypatch.setattr(RecordWriter, "write", write)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        truto.run(truto.rows(), output)
    read = read_ledger(output)
    assert read.statuses == {"updated": len(truto.emulator.executions)}
    assert len(read.rows) < 100
    truto.run(truto.rows(), output, try_number=2)
    truto.assert_applied(truto.rows())
    assert set(truto.writes().values()) == {1}


# ------------------------------------------------------------------------------------------------------- safeguards


def test_a_record_that_is_as_it_should_be_is_read_and_not_written(truto, output):
    rows = truto.rows()
    truto.run(rows[:20], output / "first")
    truto.emulator.state.executions.clear()
    summary = truto.run(rows, output / "second", safeguards=Safeguards(skip_unchanged=True))
    assert (summary["unchanged"], summary["updated"], summary["requests"]) == (20, len(rows) - 20, 60)
    assert Counter(e["method"] for e in truto.emulator.executions) == {"GET": 40, "PATCH": 20}


def test_a_check_of_the_whole_source_finds_its_faults_and_writes_nothing(truto, output):
    rows = [*truto.rows(), {"id": "r1"}, update("r1", 7), update("r2", "fine"), None]

    async def check():
        async with new_client(truto.url, truto.token) as client:
            plan = Plan(template=TEMPLATE, coercion=CoercionOptions())
            return await find_faults(ListSource(rows).records(), RecordWriter(client, plan), CompletedRecords())

    faults = asyncio.run(check())
    assert [record.ordinal for record, _ in faults] == [40, 41, 43]
    assert "/body/description" in str(faults[1][1])
    assert truto.emulator.requests == []


def test_progress_is_reported_with_what_was_done(make_truto, output, monkeypatch):
    monkeypatch.setattr(housekeeping, "_REPORT_SECONDS", 0.0)
    truto = make_truto(accounts=2, records=100)
    truto.emulator.fault(times=None, delay_before=0.02)
    seen = []
    truto.run(truto.rows(), output, concurrency=4, on_progress=lambda progress: seen.append(progress.as_dict()))
    assert seen
    assert all(0 < progress["updated"] <= 200 and progress["seconds"] > 0 for progress in seen)
    assert [progress["updated"] for progress in seen] == sorted(progress["updated"] for progress in seen)


def test_the_rate_does_not_swing_with_the_bursts_that_a_limit_lets_through():
    """500 calls at once, then none for ten seconds: 49 per second all the time."""
    now, told = 0.0, []
    rate = progress.RateMeter(now, 0)
    while now < 300:
        now += 0.5
        bursts = int(now / 10.2) + 1
        told.append((now, rate.measure(now, 500 * bursts)))
    assert [seen for now, seen in told if now < 20.4] == [None] * 40
    seen = sorted(rate for _, rate in told if rate is not None)
    assert 47 < seen[len(seen) // 20] <= seen[-len(seen) // 20 - 1] < 51, "but for the moment of a burst itself"
    assert max(seen) < 75


def test_the_rate_is_that_of_late_also_where_it_is_seldom_asked_for():
    rate = progress.RateMeter(100.0, 1_000)
    assert rate.measure(110.0, 1_500) is None
    assert rate.measure(121.0, 1_525) == pytest.approx(25.0)
    assert rate.measure(181.0, 1_525) == 0.0, "nothing since"


def test_the_seconds_that_were_waited_are_counted(truto, output):
    truto.emulator.fault(status=429, headers={"retry-after": "7"})
    assert 7 <= truto.run(truto.rows(), output)["waited_seconds"] <= 8


def test_the_seconds_that_calls_were_held_back_are_counted(truto, output, monkeypatch):
    class Slow:
        waits = iter([3.0, 4.0])

        def acquire_delay(self, _account):
            return next(self.waits, 0.0)

        def on_response(self, *_, **__):
            pass

    monkeypatch.setattr("airflow_provider_truto.client.shared.get_rate_limiter", lambda **_: Slow())
    assert truto.run(truto.rows(), output)["paced_seconds"] == 7.0
