"""Workers that are killed, retries, live tries beside each other: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from bulk_jobs import LONGEST, TASK, end_or_kill, folder_of, is_done, start
from bulk_world import read_ledger

from airflow_provider_truto.bulk.errors import LedgerError, UnfinishedError


def files_of(output):
    return {path: path.read_bytes() for path in Path(str(output)).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_worker_that_is_killed_over_and_over_loses_nothing_and_does_nothing_twice(
    make_truto, written, output, tmp_path, processes
):
    truto = make_truto(accounts=8, records=40)
    chance, kills, bulks = random.Random(4), 0, 0
    while kills < 60:
        truto.emulator.reset()
        bulks += 1
        failed = truto.break_off(0.3, seed=bulks)
        good = truto.rows(f"bulk {bulks}")
        unknown = [{"id": "no-such", "body": {"name": "x"}, "integrated_account_id": truto.accounts[0]}] * 3
        rows = [*good, {"id": "", "body": 1}, *unknown, "no JSON"]
        chance.shuffle(rows)
        source, task = written(rows, f"source-{bulks}.jsonl"), replace(TASK, run_id=f"run-{bulks}")
        for try_number in range(1, 1000):
            result = tmp_path / f"result-{bulks}-{try_number}"
            process = start(
                processes, truto, result, source, output, try_number=try_number, task=task, client={"max_wait": 8}
            )
            # Many kills before and while the first rows are written, some late.
            after = chance.choice([0.05, 0.15, 0.3, 0.8]) * chance.random() + 0.03
            kills += end_or_kill(process, after=after, may_kill=try_number < 100)
            if is_done(process, result):
                break
        truto.repair()
        assert failed
        truto.assert_applied(good)
        assert set(truto.writes().values()) == {1}
        executed = Counter((e["integrated_account_id"], e["record_id"]) for e in truto.emulator.executions)
        assert executed == Counter((row["integrated_account_id"], row["id"]) for row in [*good, *unknown])
        folder = folder_of(output, task).path
        read = read_ledger(output, task=task)
        assert sorted(read.rows) == list(range(len(rows))), folder
        assert read.statuses == {"updated": len(good), "failed": 5}
        assert Counter(row["ordinal"] for row in read.failed_lines) == Counter(
            ordinal for ordinal, row in enumerate(rows) if row not in good
        )
        keys = {row["idempotency_key"] for row in read.rows.values() if row["status"] == "updated"}
        assert len(keys) == len(good)
        assert keys < set(truto.writes())
        summary = read.summaries[-1]
        assert (summary["updated"], summary["failed"]) == (len(good), 5)
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_killed_try_leaves_a_ledger_that_does_not_grow_with_each_kill(make_truto, written, output, processes):
    truto = make_truto(accounts=4, records=50)
    rows = truto.rows()
    source = written(rows)
    folder = Path(folder_of(output).path) / "0"
    truto.emulator.fault(times=None, delay_before=0.02)
    for try_number in range(1, 13):
        goal = len(truto.emulator.executions) + 5
        process = start(
            processes, truto, output.parent / "result", source, output, try_number=try_number, concurrency=2
        )
        wait_for(lambda goal=goal: len(truto.emulator.executions) >= goal)
        process.kill()
        process.join(LONGEST)
    written = Counter(json.loads(line)["ordinal"] for line in lines_of(folder, "results-"))
    assert len(written) > 50
    assert max(written.values()) == 2  # once where it was done, once where it was copied to


def wait_for(is_so, longest=LONGEST):
    """Wait until something is so; fail where it never is."""
    until = time.monotonic() + longest
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


# ------------------------------------------------------------------------------------------------- retried, cleared


def test_a_retry_sends_only_what_failed_in_passing(truto, output):
    rows = truto.rows()
    truto.emulator.fault(account=truto.accounts[0], path="r3$", times=None, status=500)
    truto.emulator.fault(account=truto.accounts[1], path="r4$", times=1, status=422)
    first = truto.run(rows, output, client={"max_attempts": 2}, max_failures=0)
    assert (first["updated"], first["failed"], first["transient_failures"]) == (38, 2, 1)
    [unsent] = set(truto_requests(truto, "r3", 0))
    truto.emulator.clear_faults()
    before = len(truto.emulator.requests)
    second = truto.run(rows, output, try_number=2, max_failures=0)
    assert [request["path"][-1] for request in truto.emulator.requests[before:]] == ["r3"]
    assert truto_requests(truto, "r3", 0)[-1] == unsent  # under the same key
    assert (second["records"], second["updated"], second["failed"], second["resumed"]) == (40, 39, 1, 39)
    assert "record r4 (row 14)" in second["first_problems"][0]
    # The failures of the last try are all that there are, and can be a source as they are.
    [line] = read_ledger(output).failed_lines
    assert (line["ordinal"], line["body"]) == (14, rows[14]["body"])
    truto.run(second["failures"][0], output / "again")
    truto.assert_applied(rows)


def truto_requests(truto, record, account):
    return [
        request["headers"]["idempotency-key"]
        for request in truto.emulator.requests
        if request["path"][-1] == record
        and ["integrated_account_id", truto.accounts[account]] in [list(pair) for pair in request["query"]]
    ]


def test_a_retry_after_everything_was_done_does_nothing(truto, output):
    rows = truto.rows()
    first = truto.run(rows, output)
    truto.state.requests.clear()
    second = truto.run(rows, output, try_number=2)  # the task crashed after the last line, before its success
    assert truto.emulator.requests == []
    assert (second["updated"], second["resumed"], first["resumed"]) == (40, 40, 0)


def test_clearing_a_bulk_that_succeeded_writes_all_of_it_again_under_new_keys(truto, output):
    rows = truto.rows()
    truto.run(rows, output)
    cleared = truto.run(rows, output, try_number=2, task=replace(TASK, generation="1"))
    assert (cleared["updated"], cleared["resumed"]) == (40, 0)
    assert len(truto.writes()) == 80
    # and a retry of it goes on in it
    truto.state.requests.clear()
    truto.run(rows, output, try_number=3, task=replace(TASK, generation="1"))
    assert truto.emulator.requests == []


def test_clearing_a_bulk_that_was_broken_off_goes_on_with_its_keys(make_truto, output):
    truto = make_truto(accounts=2, records=60)
    rows = truto.rows()
    with pytest.raises(UnfinishedError):
        truto.run(rows, output, is_stopped=lambda: len(truto.emulator.executions) > 50, concurrency=4)
    done = len(truto.emulator.executions)
    # What was in flight when a worker died was executed and is in no ledger.
    lost = cut_last_rows(output, 3)
    summary = truto.run(rows, output, try_number=4, task=replace(TASK, generation="3"))
    assert (summary["updated"], summary["resumed"]) == (120, done - lost)
    assert set(truto.writes().values()) == {1}
    assert len(truto.writes()) == 120


def cut_last_rows(output, count):
    [path] = Path(str(output)).rglob("results-*")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-count]))
    return count


def test_clearing_a_bulk_that_failed_sends_what_failed_again_and_nothing_else(truto, output):
    rows = truto.rows()
    lost = truto.state.accounts[truto.accounts[2]]
    lost.require_reauth("The customer changed the password")
    first = truto.run(rows, output, max_failures=0)
    assert (first["updated"], first["failed"] + first["skipped"], first["finished"]) == (30, 10, False)
    # A retry leaves them alone; the customer reconnects, and somebody clears the task.
    before = len(truto.emulator.requests)
    truto.run(rows, output, try_number=2, max_failures=0)
    assert len(truto.emulator.requests) == before
    lost.record.update(status="active")
    cleared = truto.run(rows, output, try_number=3, max_failures=0, task=replace(TASK, generation="2"))
    assert len(truto.emulator.requests) == before + 10
    assert (cleared["updated"], cleared["resumed"], cleared["failed"]) == (40, 30, 0)
    truto.assert_applied(rows)
    assert read_ledger(output).statuses == {"updated": 40}
    assert cleared["failures"] == []


# ---------------------------------------------------------------------------------------------- two tries that live


def test_a_zombie_beside_its_successor_loses_nothing_does_nothing_twice_and_touches_nobody_elses_files(
    make_truto, output
):
    truto = make_truto(accounts=4, records=50)
    rows = truto.rows()
    truto.break_off(0.2, seed=5)
    truto.emulator.fault(times=None, delay_before=0.01)
    errors, summaries = [], {}

    def one(number):
        try:
            client = {"max_attempts": 30}
            summaries[number] = truto.run(rows, output, try_number=number, concurrency=6, client=client)
        except Exception as error:
            errors.append(error)

    zombie = threading.Thread(target=one, args=(1,))
    zombie.start()
    folder = Path(folder_of(output).path) / "0"
    wait_for(lambda: any(path.stat().st_size > 2_000 for path in folder.glob("results-1-*")))
    one(2)
    zombie.join(LONGEST)
    assert errors == []
    truto.repair()
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}
    assert len(truto.writes()) == 200
    for number in (1, 2):
        own = [json.loads(line) for line in lines_of(folder, f"results-{number}-")]
        assert sorted({row["ordinal"] for row in own}) == list(range(200))
        assert summaries[number]["updated"] == 200
    assert not list(folder.glob("*.part"))
    assert read_ledger(output).statuses == {"updated": 200}


def lines_of(folder, prefix):
    lines = [line for path in folder.glob(f"{prefix}*") for line in path.read_bytes().splitlines(keepends=True)]
    return [line for line in lines if line.endswith(b"\n")]


@pytest.mark.slow
def test_a_successor_leaves_the_files_of_a_try_that_may_still_live_as_they_are(
    make_truto, written, output, processes
):
    truto = make_truto(accounts=4, records=50)
    rows = truto.rows()
    truto.emulator.fault(times=None, delay_before=0.01)
    folder = Path(folder_of(output).path) / "0"
    source = written([*rows, "bad"])
    process = start(processes, truto, output.parent / "result", source, output, concurrency=4)
    wait_for(lambda: any(path.stat().st_size > 2_000 for path in folder.glob("results-1-*.part")))
    os.kill(process.pid, signal.SIGSTOP)  # it hangs
    before = files_of(output)
    truto.run(source, output, try_number=2)
    after = files_of(output)
    assert {path: after[path] for path in before} == before
    os.kill(process.pid, signal.SIGCONT)  # and lives on
    process.join(LONGEST)
    assert process.exitcode == 0
    assert set(truto.writes().values()) == {1}
    truto.assert_applied(rows)


# -------------------------------------------------------------------------------------------------- changed sources


def test_a_changed_source_is_an_error_that_names_the_way_out(truto, written, output):
    source = written(truto.rows())
    truto.run(source, output)
    written(truto.rows("other"))
    truto.state.requests.clear()
    with pytest.raises(LedgerError, match="on_source_change='restart'"):
        truto.run(source, output, try_number=2)
    assert truto.emulator.requests == []
