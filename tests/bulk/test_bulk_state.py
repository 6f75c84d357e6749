"""``changed_only``: what is sent in later runs, what is remembered of them, and a state that cannot be used."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from pathlib import Path

import pytest
from bulk_jobs import TASK, TEMPLATE, end_or_kill, folder_of, is_done, start
from bulk_operator import run
from bulk_world import REMOTE, read_ledger
from upath import UPath

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import (
    LedgerError,
    LiveTryError,
    SourceError,
    StateError,
    TooManyRemovedError,
    UnfinishedError,
)
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.bulk.state.changes import ChangeFilter
from airflow_provider_truto.bulk.state.database import StateDatabase
from airflow_provider_truto.bulk.state.fold import fold_ledger
from airflow_provider_truto.bulk.state.run_state import RunState, StateOptions
from airflow_provider_truto.client.errors import TrutoAuthenticationError
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.safeguards import Safeguards

#: The folder of the only server.
AT_HOME = "the-truto"


class Runs:
    """Runs of one task, each in a DAG run of its own, with one state."""

    def __init__(self, truto, output):
        self.truto, self.output, self.folder, self.count = truto, output, UPath(output) / "state" / AT_HOME, 0

    def __call__(self, source, *, run=None, full_every=None, on_removed="ignore", max_removed=None, **options):
        """Run the task once; return the summary, and how many records were written."""
        self.count += run is None
        before = sum(self.truto.writes().values())
        state = StateOptions(
            folder=self.folder.parent, full_every=full_every, on_removed=on_removed, max_removed=max_removed
        )
        task = self.task_of(run or self.count)
        summary = self.truto.run(source, self.output, task=task, state=state, **options)
        return summary, sum(self.truto.writes().values()) - before

    def task_of(self, run):
        return replace(TASK, run_id=f"run-{run}")

    @property
    def generations(self):
        return sorted(path.name for path in Path(self.folder.path).glob("state-*"))

    @property
    def claims(self):
        return sorted(Path(self.folder.path).glob("claim-*"))


@pytest.fixture
def runs(truto, output):
    return Runs(truto, output)


def changed(rows, *ordinals, text="changed"):
    return [
        {**row, "body": {"description": f"{text} {number}"}} if number in ordinals else row
        for number, row in enumerate(rows)
    ]


def test_the_second_run_sends_nothing_and_the_third_what_has_changed(runs, truto):
    rows = truto.rows()
    assert runs(rows)[1] == 40
    summary, writes = runs(rows)
    assert (writes, summary["unchanged"], summary["records"]) == (0, 40, 40)
    assert summary["accounts"] == {account: {"unchanged": 10} for account in truto.accounts}
    later = changed(rows, 3, 17)
    summary, writes = runs(later)
    assert (writes, summary["updated"], summary["unchanged"]) == (2, 2, 38)
    truto.assert_applied(later)
    assert runs(later)[1] == 0
    assert not runs.claims
    assert len(runs.generations) == 2


def test_what_failed_or_was_not_confirmed_goes_again_and_a_refusal_keeps_what_was_confirmed(runs, truto):
    rows = truto.rows()
    runs(rows)
    wrong = [*rows[:-3], {**rows[-3], "body": {"description": 5}}, *changed(rows, 38, 39)[-2:]]
    truto.emulator.fault(account=truto.accounts[3], path="r8$", status=422)
    truto.emulator.fault(account=truto.accounts[3], path="r9$", status=500, apply=True)
    summary, _ = runs(wrong, client={"max_attempts": 1})
    assert (summary["failed"], summary["unchanged"]) == (3, 37)
    summary, writes = runs(rows)
    assert summary["unchanged"] == 39, "what was refused is as it was; of the 500 nobody knows"
    assert writes == 1
    truto.assert_applied(rows)


@pytest.mark.parametrize(
    ("status", "resent"), [(404, 0), (405, 0), (425, 0), (429, 0), (402, 1), (408, 1), (409, 1), (501, 1)]
)
def test_only_a_status_that_is_clear_leaves_a_row_that_goes_back_alone(runs, truto, status, resent):
    rows = truto.rows()[:3]
    runs(rows)
    fault = {"status": status, "body": {**REMOTE, "statusCode": status}, "apply": bool(resent)}
    truto.emulator.fault(path="r1$", **fault)
    assert runs(changed(rows, 1), client={"max_attempts": 1})[0]["failed"] == 1
    assert runs(rows)[1] == resent
    truto.assert_applied(rows)


def test_what_the_crm_did_not_confirm_is_sent_again(runs, truto):
    rows = truto.rows()[:3]
    truto.emulator.fault(account=truto.accounts[0], path="r1$", status=200, body={"id": "r1"})
    assert runs(rows)[0]["updated"] == 3
    assert runs(rows)[0]["unchanged"] == 2
    assert runs(rows)[0]["unchanged"] == 3


def test_rows_of_one_record_are_sent_in_order_also_where_the_last_is_as_it_was(runs, truto):
    row = truto.rows()[0]
    runs([row])
    between = {**row, "body": {"description": "between"}}
    assert runs([between, row])[1] == 2
    truto.assert_applied([row])
    assert runs([row])[1] == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"body": {"description": "other"}}, id="value"),
        pytest.param({"body": {"description": "new 0", "name": "x"}}, id="another field"),
        pytest.param({"id": "r9"}, id="record"),
    ],
)
def test_a_row_with_another_body_or_record_is_changed(runs, truto, change):
    row = truto.rows()[0]
    runs([row])
    assert runs([{**row, **change}])[1] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"mapping": lambda row: {**row, "body": {**row["body"], "name": "mapped"}}},
        {"schema": {"type": "object"}},
        {"on_none": "omit"},
        {"extra_fields": ["nickname"]},
        {"allow_empty": True},
        {"check_custom_fields": True},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_may_change_the_body_that_is_sent_sends_it_again(one, task, arguments):
    rows = one.rows()[:3]
    run(task(rows, changed_only=True))
    assert run(task(rows, changed_only=True, concurrency=4), generation=5)["unchanged"] == 3
    assert run(task(rows, changed_only=True, **arguments), generation=10)["updated"] == 3
    assert run(task(rows, changed_only=True, **arguments), generation=15)["unchanged"] == 3


def test_the_order_of_fields_is_not_a_change(runs, truto):
    row = {**truto.rows()[0], "body": {"description": "a", "name": "b"}}
    runs([row])
    assert runs([{**row, "body": {"name": "b", "description": "a"}}])[1] == 0


def test_everything_is_sent_again_once_in_a_while(runs, truto, monkeypatch):
    rows = truto.rows()[:5]
    week = timedelta(days=7)
    runs(rows, full_every=week)
    assert runs(rows, full_every=week)[1] == 0
    real, late = RunState.__init__, datetime.now(timezone.utc) + timedelta(days=8)
    monkeypatch.setattr(RunState, "__init__", lambda self, options, **kw: real(self, options, **{**kw, "now": late}))
    assert runs(rows, full_every=week)[1] == 5
    assert runs(rows, full_every=week)[1] == 0


def test_a_retry_goes_on_from_the_generation_that_its_run_began_with(runs, truto):
    rows = truto.rows()
    runs(rows)
    later = changed(rows, *range(20))
    stopping = iter([False] * 8)
    with pytest.raises(UnfinishedError):
        runs(later, run="stopped", is_stopped=lambda: next(stopping, True), concurrency=1)
    summary, _ = runs(later, run="stopped", try_number=2)
    assert (summary["updated"], summary["unchanged"], summary["records"]) == (20, 20, 40)
    truto.assert_applied(later)
    assert set(truto.writes().values()) == {1}
    assert runs(later)[1] == 0


def test_what_a_run_that_ended_early_has_confirmed_is_not_lost_and_its_retry_does_not_overwrite(runs, truto):
    rows = truto.rows()
    runs(rows)
    later = changed(rows, *range(20))
    stopping = iter([False] * 8)
    with pytest.raises(UnfinishedError):
        runs(later, run="stopped", is_stopped=lambda: next(stopping, True), concurrency=1)
    done = read_ledger(runs.output, task=runs.task_of("stopped")).statuses["updated"]
    assert 0 < done < 20
    assert runs(later)[1] == 20 - done
    newest = changed(later, 0, text="newest")
    runs(newest)
    with pytest.raises(StateError, match="another run has written since"):
        runs(later, run="stopped", try_number=2)
    truto.assert_applied(newest)
    assert runs(newest)[1] == 0


def test_of_a_run_that_has_left_no_result_nobody_knows_what_it_has_written(runs, truto):
    rows = truto.rows()[:3]
    runs(rows)
    truto.emulator.fault(path="r1$", status=401, apply=True, times=None)
    with pytest.raises(TrutoAuthenticationError):  # it ends the try, and leaves no line of the record
        runs(changed(rows, 1), run="ended", client={"max_attempts": 1})
    truto.emulator.clear_faults()
    assert truto.text_of(truto.accounts[0], "r1") == "changed 1"
    assert runs(rows)[1] == 1
    truto.assert_applied(rows)
    assert runs(rows)[1] == 0


def end_in_flight(runs, truto, rows, *, skip=0, path="r1$", **options):
    """A run that ends as one that is killed: a write was executed, and the ledger has no line of it."""
    truto.emulator.fault(path=path, status=401, apply=True, times=None, skip=skip)
    with pytest.raises(TrutoAuthenticationError):
        runs(rows, run="ended", client={"max_attempts": 1}, **options)
    truto.emulator.clear_faults()


@pytest.mark.parametrize("is_known", [True, False])
def test_that_an_earlier_row_was_confirmed_says_nothing_of_a_later_one_in_flight(runs, truto, is_known):
    before, first, second = (changed(truto.rows(), 1, text=text)[1:2] for text in ("before", "first", "second"))
    if is_known:
        runs(before)
    end_in_flight(runs, truto, [*first, *second], skip=1)
    truto.assert_applied(second)
    assert runs(first)[1] == 1
    truto.assert_applied(first)


def test_a_refusal_in_a_later_try_says_nothing_of_what_an_earlier_one_had_in_flight(runs, truto):
    rows = truto.rows()[:3]
    runs(rows)
    later = changed(rows, 1)
    end_in_flight(runs, truto, later)
    truto.emulator.fault(path="r1$", status=403)
    assert runs(later, run="ended", try_number=2)[0]["failed"] == 1
    truto.assert_applied(later)
    assert runs(rows)[1] == 1
    truto.assert_applied(rows)


def test_what_is_sent_again_after_a_clear_is_in_doubt_although_an_earlier_try_has_confirmed_it(runs, truto):
    first, second = (changed(truto.rows(), 1, text=text)[1:2] for text in ("first", "second"))
    truto.emulator.fault(path="r1$", status=422)
    assert runs([*first, *second], run="ended", max_failures=0)[0]["failed"] == 1
    truto.emulator.fault(path="r1$", status=401, skip=1)
    cleared = {"task": replace(runs.task_of("ended"), generation="1"), "try_number": 2, "max_failures": 0}
    with pytest.raises(TrutoAuthenticationError):
        truto.run([*first, *second], runs.output, state=StateOptions(folder=runs.folder.parent), **cleared)
    truto.assert_applied(first)
    assert runs(second)[1] == 1
    truto.assert_applied(second)


def test_a_record_that_was_just_found_is_in_doubt_while_it_is_written(runs, truto, by_website):
    by_id = {**by_website("first"), "id": "r1"}
    runs([by_id])
    end_in_flight(runs, truto, [by_website("second")], match=BY_WEBSITE)
    assert truto.text_of(truto.accounts[0], "r1") == "second"
    assert runs([by_id])[1] == 1
    truto.assert_applied([by_id])


def test_of_a_removal_in_flight_nobody_knows_whether_it_was_executed(runs, truto):
    rows = truto.rows()[:3]
    runs(rows, on_removed="clear_fields")
    end_in_flight(runs, truto, rows[:2], path="r2$", on_removed="clear_fields", max_removed=1)
    assert truto.text_of(truto.accounts[0], "r2") is None
    assert runs(rows)[1] == 1
    truto.assert_applied(rows)


BY_WEBSITE = {"match_on": "website"}


@pytest.fixture
def by_website(truto):
    """A function that makes a row which finds ``r1`` by its website."""
    truto.state.records[truto.accounts[0]]["crm/accounts"]["r1"]["properties"]["website"] = "r1.example"

    def make(text):
        return {
            "body": {"website": "r1.example", "description": text},
            "integrated_account_id": truto.accounts[0],
        }

    return make


def test_a_record_is_one_whether_its_row_has_an_id_or_finds_it(runs, truto, by_website):
    by_id = {**by_website("first"), "id": "r1"}
    runs([by_id])
    assert runs([by_website("second")], match=BY_WEBSITE)[1] == 1
    assert runs([by_id])[1] == 1
    truto.assert_applied([by_id])
    assert runs([by_website("first")], match=BY_WEBSITE)[1] == 0
    both = [{**by_id, "body": {**by_id["body"], "description": "third"}}, by_website("first")]
    assert runs(both, match=BY_WEBSITE)[1] == 2, "in their order, since the first of them has changed"
    truto.assert_applied([by_id])


def test_a_record_that_was_found_has_not_left_the_source_when_its_row_has_an_id(runs, truto, by_website):
    others, row = truto.rows()[2:], by_website("first")
    runs([*others, row], match=BY_WEBSITE)
    summary, writes = runs([*others, {**row, "id": "r1"}], on_removed="delete", max_removed=9)
    assert (summary["records"], writes) == (39, 0)


def test_what_a_plan_knows_to_be_unchanged_is_not_looked_for(runs, truto, by_website):
    runs([by_website("first")], match=BY_WEBSITE)
    before = len(truto.emulator.requests)
    runs([by_website("first")], match=BY_WEBSITE, on_removed="report")
    assert len(truto.emulator.requests) == before


def test_a_run_without_changed_only_brings_a_state_forward_that_is_there(one, task, output):
    first, second = one.rows("first"), one.rows("second")
    run(task(first))
    assert not list(output.rglob("state*"))
    run(task(first, changed_only=True), generation=1, try_number=2)
    counts = run(task(second, max_changes=40), generation=2, try_number=3)
    assert (counts["updated"], counts["unchanged"]) == (40, 0)
    assert run(task(second, changed_only=True), generation=3, try_number=4)["unchanged"] == 40
    assert run(task(first, changed_only=True), generation=4, try_number=5)["updated"] == 40
    one.assert_applied(first)


def test_of_two_runs_at_once_one_says_so_and_sends_nothing(runs, truto, make_truto):
    rows = truto.rows()
    runs(rows)
    later, seen = changed(rows, 1, 2), []

    def run_another():
        if not seen:
            with pytest.raises(LiveTryError, match="lives, and goes on from the same state") as caught:
                runs(changed(rows, 3, text="another's"))
            seen.append(caught.value)
        return False

    assert runs(later, is_stopped=run_another)[1] == 2
    assert seen[0].transient
    truto.assert_applied(later)
    assert runs(later)[1] == 0


def test_a_ledger_that_is_gone_makes_the_next_run_send_everything(runs, truto, caplog):
    rows = truto.rows()
    runs(rows)
    stopping = iter([False] * 8)
    with pytest.raises(UnfinishedError):
        runs(changed(rows, *range(20)), run="gone", is_stopped=lambda: next(stopping, True), concurrency=1)
    for path in sorted(Path(folder_of(runs.output, runs.task_of("gone")).path).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert runs(rows)[1] == 40
    assert "its ledger" in caplog.text
    assert "is gone" in caplog.text


def rewrite(path, statement):
    """Have another program write the file, whole."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    path.rename(path.with_name(f"{path.name[:16]}-{digest}.sqlite"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-100]), "is torn, or was changed", id="torn"),
        pytest.param(lambda path: path.write_bytes(b""), "is torn, or was changed", id="empty"),
        pytest.param(
            lambda path: path.rename(path.with_name("state-2.sqlite")), "none has such a name", id="foreign"
        ),
        pytest.param(lambda path: rewrite(path, "PRAGMA user_version = 0"), "is a state of version 0", id="older"),
        pytest.param(lambda path: rewrite(path, "PRAGMA application_id = 1"), "and not a state", id="another's"),
    ],
)
def test_a_state_that_cannot_be_used_is_an_error_with_a_way_out(runs, truto, damage, message):
    rows = truto.rows()[:3]
    runs(rows)
    path = Path(runs.folder.path) / runs.generations[-1]
    damage(path)
    with pytest.raises(StateError, match=message) as caught:
        runs(rows)
    assert str(runs.folder.path) in str(caught.value)
    for left in Path(runs.folder.path).glob("state-*"):
        left.unlink()
    assert runs(rows)[1] == 3


def test_a_torn_claim_is_an_error_with_a_way_out(runs, truto):
    Path(runs.folder.path).mkdir(parents=True)
    (Path(runs.folder.path) / "claim-1.json").write_text("{")
    with pytest.raises(StateError, match=r"is torn, or not JSON.*Delete it"):
        runs(truto.rows())
    assert not truto.writes()


def test_a_file_that_cannot_be_read_at_the_end_is_told_with_what_was_sent_before(runs, truto, monkeypatch):
    rows = truto.rows()[:3]
    runs(rows)
    real = RunState.finish

    def finish(self):
        [results] = self._ledger.folder.glob("results-*")
        results.write_text(results.read_text() + "x\n")
        real(self)

    monkeypatch.setattr(RunState, "finish", finish)
    with pytest.raises(LedgerError, match=r"has no result in line 4.*What this try has sent is in its ledger\.$"):
        runs(changed(rows, 0, 1, 2), run="torn")
    assert sum(truto.writes().values()) == 6
    monkeypatch.undo()
    with pytest.raises(LedgerError, match=r"has no result in line 4.*This try has sent nothing\.$"):
        runs(changed(rows, 0, 1, 2), run="torn", try_number=2)


def test_records_that_left_the_source_are_deleted_once(runs, truto):
    rows = truto.rows()
    runs(rows, on_removed="delete")
    summary, _ = runs(rows[:38], on_removed="delete")
    assert (summary["updated"], summary["unchanged"], summary["records"]) == (2, 38, 40)
    left = {account: set(truto.state.records[account]["crm/accounts"]) for account in truto.accounts}
    assert left[truto.accounts[3]] == {f"r{number}" for number in range(8)}
    read = read_ledger(runs.output, task=runs.task_of(2))
    assert {(row["id"], row["place"]) for row in read.rows.values()} == {
        ("r8", "not in the source any more"),
        ("r9", "not in the source any more"),
    }
    summary, _ = runs(rows[:38], on_removed="delete")
    assert summary["records"] == 38


def test_the_fields_of_records_that_left_the_source_are_cleared(runs, truto):
    rows = truto.rows()
    runs(rows, on_removed="clear_fields")
    assert runs(rows[:39], on_removed="clear_fields")[1] == 1
    assert truto.text_of(rows[39]["integrated_account_id"], rows[39]["id"]) is None
    assert runs(rows, on_removed="clear_fields")[1] == 1
    truto.assert_applied(rows)


def test_records_that_left_the_source_are_reported_once_and_stay(runs, truto, caplog):
    rows = truto.rows()
    runs(rows)
    summary, writes = runs(rows[:39], on_removed="report", max_removed=1)
    assert (writes, summary["unchanged"], summary["records"]) == (0, 40, 40)
    assert "is not in the source any more" in read_ledger(runs.output, task=runs.task_of(2)).rows[39]["message"]
    assert "r9 of acc00000" in caplog.text
    assert runs(rows[:39], on_removed="report", max_removed=1)[0]["records"] == 39, "it is told once"
    assert runs(rows[:38], on_removed="report", max_removed=1)[0]["records"] == 39
    assert runs(rows, on_removed="report", max_removed=1)[1] == 2, "what comes back is sent"
    runs(rows[:39], on_removed="delete", max_removed=1)
    assert "r9" not in truto.state.records[truto.accounts[3]]["crm/accounts"]


def test_no_more_records_are_removed_than_may_be(runs, truto):
    rows = truto.rows()
    runs(rows)
    with pytest.raises(TooManyRemovedError, match=r"20 of 40 records .* max_removed=0.01 allows fewer"):
        runs(changed(rows, 0)[:20], run="half", on_removed="delete", max_removed=0.01)
    truto.assert_applied(rows)
    assert {len(truto.state.records[account]["crm/accounts"]) for account in truto.accounts} == {10}
    runs(changed(rows, 0)[:20], run="half", on_removed="delete", max_removed=20, try_number=2)
    assert sum(len(truto.state.records[account]["crm/accounts"]) for account in truto.accounts) == 20


def test_what_is_to_be_written_is_noted_also_after_the_source_was_read_once_before(runs, truto):
    rows = [row for row in truto.rows() for _ in range(30)]  # more than is read at a time
    runs(rows[::30])
    runs(changed(rows, *range(len(rows))), on_removed="report")
    folder = Path(folder_of(runs.output, runs.task_of(2)).path) / "0"
    lines = [json.loads(line) for path in folder.glob("pending-*") for line in path.read_text().splitlines()]
    assert {key for line in lines for key in line["keys"]} == hashes_of(rows).keys()
    assert sorted(ordinal for line in lines for ordinal in line["ordinals"]) == list(range(len(rows)))


def test_nothing_is_removed_where_a_row_does_not_say_which_record_it_is(runs, truto, caplog):
    rows = truto.rows()
    runs(rows)
    summary, _ = runs([*rows[:38], {"id": "", "body": {}}], on_removed="delete")
    assert (summary["failed"], summary["records"]) == (1, 39)
    assert "nothing is taken for removed" in caplog.text


def test_nothing_is_removed_where_the_source_ends_early(runs, truto, output):
    rows = truto.rows()
    runs(rows)
    path = output.parent / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:39]))
    source = FileSource(UPath(path))
    source.records = lambda: broken_off(rows[:38])
    with pytest.raises(SourceError, match="broken off"):
        runs(source, on_removed="delete")
    assert {len(truto.state.records[account]["crm/accounts"]) for account in truto.accounts} == {10}


def broken_off(rows):
    yield from (Record(ordinal=number, **row) for number, row in enumerate(rows))
    raise SourceError("broken off")


def test_a_record_that_is_gone_already_counts_as_removed(runs, truto):
    rows = truto.rows()
    runs(rows)
    del truto.state.records[truto.accounts[3]]["crm/accounts"]["r9"]
    summary, _ = runs(rows[:39], on_removed="delete")
    assert (summary["failed"], summary["unchanged"]) == (0, 40)
    assert runs(rows[:39], on_removed="delete")[0]["records"] == 39


def test_what_is_read_before_it_is_written_is_remembered_too(runs, truto):
    rows = truto.rows()[:4]
    truto.run(rows, runs.output)
    assert runs(rows, safeguards=Safeguards(skip_unchanged=True))[0]["unchanged"] == 4
    assert runs(rows, safeguards=Safeguards(skip_unchanged=True))[0]["requests"] == 0


def test_the_state_holds_no_values(runs, truto):
    runs(truto.rows("planted-value"), on_removed="clear_fields")
    content = (Path(runs.folder.path) / runs.generations[-1]).read_bytes()
    assert b"planted-value" not in content
    assert json.dumps(truto.ids[0]).encode().strip(b'"') in content


# -------------------------------------------------------------------------------------------------------- under kills


def make_filter():
    plan = Plan(template=TEMPLATE, coercion=CoercionOptions())
    account_of = attrgetter("integrated_account_id")
    return ChangeFilter(None, plan, is_full=True, completed=CompletedRecords(), find_account=account_of)


def hashes_of(rows):
    """What the state says of each of the rows where it is confirmed."""
    records = [Record(ordinal=number, **row) for number, row in enumerate(rows)]
    return {record.key: record.content for record in asyncio.run(make_filter().resolve(records))}


def assert_never_ahead(runs, truto, tmp_path):
    """Whatever the next run takes for confirmed, the CRM has."""
    held = [
        {"id": record, "integrated_account_id": account, "body": {"description": truto.text_of(account, record)}}
        for account in truto.accounts
        for record in truto.ids
    ]
    hashes, copy = hashes_of(held), tmp_path / "copy.sqlite"
    copy.unlink(missing_ok=True)
    if runs.generations:
        shutil.copyfile(f"{runs.folder.path}/{runs.generations[-1]}", copy)
    with closing(
        StateDatabase.open(str(copy), is_read_only=False) if runs.generations else StateDatabase.create(str(copy))
    ) as state:
        for claim in map(json.loads, (path.read_text() for path in runs.claims)):
            if claim["is_begun"]:
                fold_ledger(state, UPath(claim["ledger"]))
        known = state.find_hashes(list(hashes))
    assert {key: known[key] for key in known if known[key] not in {None, hashes[key]}} == {}


@pytest.mark.slow
def test_under_kills_and_faults_the_state_is_never_ahead_of_the_crm(make_truto, output, tmp_path, processes):
    truto = make_truto(accounts=4, records=30)
    runs, chance = Runs(truto, output), random.Random(7)
    rows, kills, night = truto.rows("first"), 0, 0
    while kills < 50:
        night += 1
        # Some come back to what they were: a hash that holds wrongly would be found.
        texts = [f"text {chance.randrange(3)}" for _ in rows]
        rows = [
            {**row, "body": {"description": text}} if chance.random() < 0.4 else row
            for row, text in zip(rows, texts, strict=True)
        ]
        truto.break_off(0.3, seed=night)
        is_abandoned, is_over = chance.random() < 0.4, False
        for try_number in range(1, 100):
            result = tmp_path / f"result-{night}-{try_number}"
            options = {
                "task": runs.task_of(night),
                "state": StateOptions(folder=runs.folder.parent),
                "try_number": try_number,
                "client": {"max_wait": 8},
            }
            process = start(processes, truto, result, rows, output, **options)
            kills += end_or_kill(process, after=0.1 + chance.random() * 0.4, may_kill=try_number < 6)
            for claim in runs.claims:  # five minutes pass
                claim.write_text(json.dumps({**json.loads(claim.read_text()), "held_until": 0}))
            assert_never_ahead(runs, truto, tmp_path)
            is_over = is_done(process, result)
            if is_over or (is_abandoned and kills):
                break
        truto.repair()
        if is_over:
            truto.assert_applied(rows)
            assert not runs.claims
    runs.count = night
    runs(rows)
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}
    assert runs(rows)[1] == 0
    assert_never_ahead(runs, truto, tmp_path)
