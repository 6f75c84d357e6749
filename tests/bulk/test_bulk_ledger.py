"""The files that account for every record: on a local disk, on other storage, torn, raced for and full."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest
from bulk_world import PLANTED, read_ledger
from upath import UPath

from airflow_provider_truto.bulk import ledger as ledger_module
from airflow_provider_truto.bulk import ledger_files
from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import LedgerError, LiveTryError
from airflow_provider_truto.bulk.generations import (
    choose_generation,
    find_latest_begun,
    forget_failed_checks,
    is_of_another_run,
    list_generations,
)
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.result_row import FailedBody, ResultRow, encode_failure
from airflow_provider_truto.records.keys import RunSeen

HEADER = {"fingerprint": "f"}
#: A snapshot, as a header holds it.
ONE = {"file": "snapshot-1.jsonl.gz", "rows": 1}


def row(ordinal, status="updated", *, transient=False, account="a", attempts=1):
    return ResultRow(
        ordinal=ordinal,
        id=f"r{ordinal}",
        integrated_account_id=account,
        status=status,
        attempts=attempts,
        transient=transient,
        message="why" if status in {"failed", "skipped"} else None,
    )


@pytest.fixture(params=["local", "remote"])
def folder(request, tmp_path):
    """A generation's folder."""
    if request.param == "local":
        return UPath(tmp_path / "ledger" / "0")
    return UPath(f"memory://{tmp_path.name}/ledger/0")


def opened(folder, *, try_number=1, header=HEADER, **options):
    ledger = Ledger(folder, try_number=try_number, **options)
    return ledger, ledger.open(header)


def names(folder, prefix=""):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(prefix))


def lines(folder, prefix):
    return [
        json.loads(line)
        for path in sorted(folder.iterdir(), key=lambda path: path.name)
        if path.name.startswith(prefix)
        for line in path.read_bytes().splitlines()
    ]


def test_what_a_try_did_is_past_for_the_next(folder):
    first, past = opened(folder)
    assert past.counts == {}
    for number, status in enumerate(("updated", "created", "unchanged", "failed", "skipped")):
        first.add(row(number, status), failed=FailedBody(body={"name": "x"}))
    first.add(row(90_000, "failed", transient=True), failed=FailedBody(body={}))
    first.close({})
    _, past = opened(folder, try_number=2)
    assert [past.is_final(number) for number in (0, 1, 2, 3, 4, 5, 90_000)] == [True] * 5 + [False] * 2
    assert past.counts == dict.fromkeys(("updated", "created", "unchanged", "failed", "skipped"), 1)
    assert past.of_accounts == {"a": past.counts}


def test_a_success_counts_before_anything_else():
    for rows in ([row(1, "failed"), row(1)], [row(1), row(1, "failed")], [row(1, "skipped"), row(1), row(1)]):
        past = CompletedRecords()
        for one in rows:
            past.add(one)
        assert dict(+past.counts) == {"updated": 1}
        assert {account: dict(+counts) for account, counts in past.of_accounts.items()} == {"a": {"updated": 1}}


def test_local_files_are_for_their_owner_only(tmp_path):
    old = os.umask(0)
    try:
        ledger, _ = opened(UPath(tmp_path / "0"))
        ledger.add(row(1, "failed"), failed=FailedBody(body={"name": "x"}))
        while_open = [path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()]
        ledger.close({})
    finally:
        os.umask(old)
    assert while_open == [0o600] * 3
    assert [path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()] == [0o600] * 4


def test_every_row_is_on_the_local_disk_as_soon_as_it_is_added(tmp_path):
    ledger, _ = opened(UPath(tmp_path))
    for number in range(3):
        ledger.add(row(number, "failed"), failed=FailedBody(body={"name": "x"}))
        for prefix in ("results-", "failures-"):
            [path] = tmp_path.glob(f"{prefix}*.part")
            assert len(path.read_bytes().splitlines()) == number + 1


def test_a_body_stands_in_the_failures_only(folder):
    ledger, _ = opened(folder)
    ledger.add(row(1), failed=FailedBody(body={"name": "secret of a customer"}))
    ledger.add(row(2, "failed"), failed=FailedBody(body={"name": "needed to send it again"}))
    ledger.close({})
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert not any("secret of a customer" in text for text in texts.values())
    assert [name.partition("-")[0] for name, text in texts.items() if "needed to send" in text] == ["failures"]


def test_a_failure_can_be_a_source_as_it_is():
    line = json.loads(encode_failure(row(4, "failed"), FailedBody(body={"name": "x"})))
    assert {key: line[key] for key in ("id", "body", "integrated_account_id", "ordinal")} == {
        "id": "r4",
        "body": {"name": "x"},
        "integrated_account_id": "a",
        "ordinal": 4,
    }
    assert line["error"] == {"status": "failed", "error": None, "http_status": None, "message": "why"}


@pytest.mark.parametrize("torn", [1, 9])
def test_a_torn_last_line_is_dropped_and_its_record_done_again(tmp_path, torn):
    folder = UPath(tmp_path)
    first, _ = opened(folder)
    for number in range(3):
        first.add(row(number, "failed"), failed=FailedBody(body={}))
    for path in tmp_path.glob("*.part"):
        path.write_bytes(path.read_bytes()[:-torn])
    second, past = opened(folder, try_number=2)
    assert [past.is_final(number) for number in range(3)] == [True, True, False]
    second.close({})
    assert [one["ordinal"] for one in lines(folder, "results-2")] == [0, 1]
    assert [one["ordinal"] for one in lines(folder, "failures-2")] == [0, 1]


def test_garbage_within_a_part_is_an_error_that_names_the_line(tmp_path):
    folder = UPath(tmp_path)
    first, _ = opened(folder)
    first.add(row(0))
    [part] = tmp_path.glob("results-*.part")
    part.write_bytes(part.read_bytes() + b'{"ordinal":1,"id":"r{"ordinal":2}\n[]\n\xff\n' + row(3).line())
    with pytest.raises(LedgerError, match=rf"{part} has no result in line 2: .* take the line out"):
        opened(folder, try_number=2)
    part.write_bytes(b"".join(part.read_bytes().splitlines(keepends=True)[::4]))
    _, past = opened(folder, try_number=2)
    assert [past.is_final(number) for number in range(4)] == [True, False, False, True]


def test_a_resume_copies_what_stands_in_open_parts_only(tmp_path):
    folder = UPath(tmp_path)
    first, _ = opened(folder)
    first.add(row(0))
    for write in first.take_full_parts(all_of_them=True):
        write()
    first.add(row(1))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    second, _ = opened(folder, try_number=2)
    second.add(row(2))
    second.close({})
    assert [one["ordinal"] for one in lines(folder, "results-2")] == [1, 2]
    assert {path: path.read_bytes() for path in before} == before


def test_the_failures_of_a_try_are_all_that_there_are(folder):
    first, _ = opened(folder)
    first.add(row(0, "failed"), failed=FailedBody(body={"name": "for good"}))
    first.add(row(1, "failed", transient=True), failed=FailedBody(body={"name": "in passing"}))
    first.add(row(2, "failed", transient=True), failed=FailedBody(body={"name": "still"}))
    first.close({})
    second, past = opened(folder, try_number=2)
    assert past.problems.describe() == ["record r0 (row 0), of customer a: why"]
    second.add(row(1))
    second.add(row(2, "skipped", transient=True), failed=FailedBody(body={"name": "still"}))
    whole = second.close({})
    own = [json.loads(line) for path in whole["failures"] for line in UPath(path).read_bytes().splitlines()]
    assert sorted((one["ordinal"], one["body"]["name"]) for one in own) == [(0, "for good"), (2, "still")]


def test_no_record_stands_in_the_results_as_failed_before_its_failure_is_written(folder, monkeypatch):
    ledger, _ = opened(folder)
    writes = []
    ledger.add(row(1, "failed"), failed=FailedBody(body={}))
    for write in ledger.take_full_parts(all_of_them=True):
        write()
        writes.append([name.partition("-")[0] for name in names(folder) if name.endswith("0.jsonl")])
    assert writes == [["failures"], ["failures", "results"]]


def test_a_part_is_renamed_when_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "LOCAL_PART_ROWS", 10)
    ledger, _ = opened(UPath(tmp_path))
    for number in range(25):
        ledger.add(row(number))
        for write in ledger.take_full_parts():
            write()
    assert [len(path.read_bytes().splitlines()) for path in sorted(tmp_path.glob("results-*.jsonl"))] == [10, 10]
    assert [len(path.read_bytes().splitlines()) for path in tmp_path.glob("results-*.part")] == [5]


def test_a_part_that_is_renamed_while_it_is_looked_for_is_read_all_the_same(tmp_path, monkeypatch):
    folder = UPath(tmp_path)
    zombie, _ = opened(folder)
    zombie.add(row(0))
    listed = ledger_module.list_ledger_files

    def files(*arguments):
        found = listed(*arguments)
        if arguments[1] == "results":
            for write in zombie.take_full_parts(all_of_them=True):
                write()
        return found

    monkeypatch.setattr(ledger_module, "list_ledger_files", files)
    _, past = opened(folder, try_number=2)
    assert past.is_final(0)


# --------------------------------------------------------------------------------------------------- other storage


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def remote(tmp_path):
    """A folder on storage that is not a disk."""
    return UPath(f"memory://{tmp_path.name}/remote/0")


def test_a_remote_part_is_uploaded_after_five_seconds_or_a_thousand_rows(remote):
    clock = Clock()
    ledger, _ = opened(remote, clock=clock)
    clock.now += 1_000
    assert ledger.take_full_parts() == []  # there was nothing: the seconds count from the first row
    ledger.add(row(0))
    clock.now += 4.9
    assert ledger.take_full_parts() == []
    clock.now += 0.2
    [upload] = ledger.take_full_parts()
    assert names(remote, "results-") == []
    upload()
    assert len(names(remote, "results-")) == 1
    for number in range(999):
        ledger.add(row(number))
    assert ledger.take_full_parts() == []
    ledger.add(row(999))
    [upload] = ledger.take_full_parts()
    upload()
    assert len(lines(remote, "results-")) == 1_001


def test_what_a_kill_loses_of_remote_parts_is_replayed_under_the_same_keys(make_truto, tmp_path, monkeypatch):
    truto = make_truto(accounts=4, records=60)
    rows, output = truto.rows(), f"memory://{tmp_path.name}"
    uploads = []

    def upload(path, content):
        uploads.append(path.name)
        if len(uploads) > 2:
            raise OSError("the worker is gone")
        path.write_bytes(b"".join(content))

    monkeypatch.setattr(ledger_module, "PART_ROWS", 50)
    monkeypatch.setattr(ledger_module, "_upload", upload)
    truto.emulator.fault(times=None, delay_before=0.02)
    with pytest.raises(OSError, match="the worker is gone"):
        truto.run(rows, output, concurrency=4)
    monkeypatch.undo()
    truto.emulator.clear_faults()
    folder = locate_task_folder(UPath(output), "dag", "run", "bulk", -1) / "0"
    uploaded = len(lines(folder, "results-"))
    done = len(truto.writes())
    assert 0 < uploaded < done
    summary = truto.run(rows, output, try_number=2)
    assert (summary["updated"], summary["resumed"]) == (240, uploaded)
    truto.assert_applied(rows)
    assert set(truto.writes().values()) == {1}
    assert {one["ordinal"] for one in lines(folder, "results-")} == set(range(240))
    assert {one["idempotency_key"] for one in lines(folder, "results-")} == set(truto.writes())


def test_a_part_that_cannot_be_uploaded_ends_the_try_although_calls_succeed(make_truto, tmp_path, monkeypatch):
    truto = make_truto(accounts=2, records=100)
    monkeypatch.setattr(ledger_module, "PART_ROWS", 10)

    def upload(*_):
        raise PermissionError("the bucket is closed")

    monkeypatch.setattr(ledger_module, "_upload", upload)
    truto.emulator.fault(times=None, delay_before=0.05)
    with pytest.raises(PermissionError, match="the bucket is closed"):
        truto.run(truto.rows(), f"memory://{tmp_path.name}", concurrency=4)
    assert len(truto.emulator.executions) < 100


def test_parts_that_are_being_uploaded_when_the_last_record_ends_are_not_lost(make_truto, tmp_path, monkeypatch):
    truto = make_truto(accounts=1, records=2)
    truto.emulator.fault(path="r1", delay_before=0.7)
    rows = [{"id": "r0"}, *truto.rows()]
    real = ledger_module._upload

    def slow(path, content):
        time.sleep(0.5)
        real(path, content)

    monkeypatch.setattr(ledger_module, "_upload", slow)
    monkeypatch.setattr(ledger_module, "PART_ROWS", 1)
    output = f"memory://{tmp_path.name}"
    truto.run(rows, output)
    folder = locate_task_folder(UPath(output), "dag", "run", "bulk", -1) / "0"
    assert sorted(one["ordinal"] for one in lines(folder, "results-")) == [0, 1, 2]
    assert [one["ordinal"] for one in lines(folder, "failures-")] == [0]


# ------------------------------------------------------------------------------------------------------- full disks


class Full:
    """A file on a disk that takes no more than so many bytes."""

    def __init__(self, file, room):
        self._file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = data[: self.room]
        self.room -= len(taken)
        return self._file.write(taken)

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("kind", ["results-", "failures-"])
@pytest.mark.parametrize("room", [0, 1_000, 1_234, 2_000])
def test_a_full_disk_ends_the_try_loudly_and_nothing_is_falsely_accounted_for(
    make_truto, output, monkeypatch, kind, room
):
    truto = make_truto(accounts=2, records=40)
    rows = truto.rows()
    bad = [{**one, "body": {"description": 5}} for one in rows]
    source = rows if kind == "results-" else [*bad[:30], *rows[30:]]
    real = ledger_files.os.fdopen

    def fdopen(descriptor, *arguments, **options):
        file = real(descriptor, *arguments, **options)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        return Full(file, room) if name.startswith(kind) else file

    monkeypatch.setattr(ledger_files.os, "fdopen", fdopen)
    with pytest.raises(OSError, match="No space left") as failure:
        truto.run(source, output, concurrency=4)
    monkeypatch.undo()
    assert failure.value.errno == errno.ENOSPC
    read = read_ledger(output, parts=True)
    assert len(read.rows) < len(source)
    written = {one["idempotency_key"] for one in read.rows.values() if one["status"] == "updated"}
    assert written <= set(truto.writes())
    summary = truto.run(source, output, try_number=2)
    assert summary["records"] == len(source)
    truto.assert_applied([one for one in source if one["body"]["description"] != 5])
    assert set(truto.writes().values()) == {1}
    failed = sorted(one["ordinal"] for one in read_ledger(output).failed_lines)
    assert failed == [number for number, one in enumerate(source) if one["body"]["description"] == 5]


# --------------------------------------------------------------------------------------------- headers, generations


def test_another_source_is_refused(folder):
    opened(folder)
    with pytest.raises(LedgerError, match=r"source has changed.*on_source_change='restart'"):
        opened(folder, try_number=2, header={"fingerprint": "other"})


def test_a_ledger_of_another_version_is_refused(folder, monkeypatch):
    for module in (ledger_module, ledger_files):
        monkeypatch.setattr(module, "LEDGER_VERSION", 99)
    opened(folder)
    monkeypatch.undo()
    with pytest.raises(
        LedgerError, match=r"version 99, this package writes 2: finish it with .* a different output_path"
    ):
        opened(folder, try_number=2)


def test_two_tries_that_begin_at_once_both_find_a_header(folder):
    barrier, errors = threading.Barrier(8), []

    def begin(number):
        barrier.wait()
        try:
            opened(folder, try_number=number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Ledger(folder, try_number=9).read_first_header()["fingerprint"] == "f"


def test_of_two_tries_that_begin_at_once_with_different_sources_not_both_go_on(folder, monkeypatch):
    one, other = Ledger(folder, try_number=1), Ledger(folder, try_number=2)
    real = one._read_headers
    looks = []

    def headers():
        found = real()
        if not looks:
            looks.append(1)
            other.open({"fingerprint": "other"})
        return found

    monkeypatch.setattr(one, "_read_headers", headers)
    with pytest.raises(LedgerError):
        one.open(HEADER)


def test_what_neither_of_two_tries_has_sent_binds_none_to_come(folder, monkeypatch):
    one, other = Ledger(folder, try_number=1), Ledger(folder, try_number=2)
    real = other._read_headers
    looks = []

    def headers():
        looks.append(1)
        if len(looks) == 1:
            return []  # it has looked before the one wrote its header
        return real()

    one.open(HEADER)
    monkeypatch.setattr(other, "_read_headers", headers)
    with pytest.raises(LedgerError):
        other.open({"fingerprint": "other"})
    assert len(names(folder, "header-")) == 1
    _, past = opened(folder, try_number=3)
    assert past.counts == {}


@pytest.mark.parametrize(
    ("stored", "given", "fits"),
    [
        (None, None, True),
        (None, ONE, True),
        (ONE, ONE, True),
        (ONE, {**ONE, "file": "snapshot-2.jsonl.gz"}, False),
        (ONE, None, False),
    ],
)
def test_a_ledger_goes_with_the_rows_that_it_was_begun_with(folder, stored, given, fits):
    opened(folder, header={**HEADER, "snapshot": stored})
    if fits:
        opened(folder, try_number=2, header={**HEADER, "snapshot": given})
        return
    with pytest.raises(LiveTryError, match=r"sent nothing\. A retry goes on"):
        opened(folder, try_number=2, header={**HEADER, "snapshot": given})
    assert len(names(folder, "header-")) == 1


@pytest.mark.parametrize("name", ["header-1-x.json.part", "summary-1-x.json.part"])
def test_a_worker_that_dies_while_it_writes_a_header_or_a_summary_holds_up_nobody(tmp_path, name):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / name).write_text('{"ledger_ver')
    assert find_latest_begun(UPath(tmp_path)) is None
    opened(UPath(tmp_path / "0"))


def test_a_header_is_not_there_before_it_is_whole(tmp_path, monkeypatch):
    def write(_self, _data):
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger_module.Part, "write", write)
    with pytest.raises(KeyboardInterrupt):
        opened(UPath(tmp_path))
    assert list(tmp_path.glob("*.json")) == []


def ends(ledger, *, finished):
    """Close a ledger as a try does that came to its end."""
    of_end = {"complete": True, "finished": finished, "task_generation": "of the try"}
    ledger.close({**Progress().as_dict(), "accounts": {}, "problems": [], **of_end})


def begun(folder, *tasks, try_number=1, run=None):
    """A ledger that a try of each of these generations of the task has opened, one after the other."""
    for number, task in enumerate(tasks):
        header = {**HEADER, "task_generation": task, "run": run}
        ledger, _ = opened(folder, try_number=try_number + number, header=header)
    return ledger


def test_the_first_ledger_is_the_first_whatever_the_task_has_been_through(folder):
    assert [choose_generation(folder, task) for task in ("a", "b")] == [0, 0]


@pytest.mark.parametrize("finished", [None, False, True], ids=["killed", "ended", "finished"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_retry_stays_in_the_ledger_of_its_task(folder, finished, restarts):
    ledger = begun(folder / "0", "a")
    if finished is not None:
        ends(ledger, finished=finished)
    assert choose_generation(folder, "a", restarts=restarts) == 0


def test_a_cleared_task_goes_on_where_there_is_more_to_do_and_starts_over_where_not(folder):
    ends(begun(folder / "0", "a"), finished=False)
    assert choose_generation(folder, "b") == 0
    ends(begun(folder / "0", "b", try_number=2), finished=True)
    assert [choose_generation(folder, task) for task in ("b", "c")] == [0, 1]
    ends(begun(folder / "1", "c", try_number=3), finished=False)
    assert [choose_generation(folder, task) for task in ("c", "d")] == [1, 1]


def test_a_cleared_task_starts_over_where_that_is_said_and_its_retries_go_on(folder):
    ends(begun(folder / "0", "a"), finished=False)
    assert [choose_generation(folder, task, restarts=True) for task in ("a", "b")] == [0, 1]
    begun(folder / "1", "b", try_number=2)  # and is killed
    assert [choose_generation(folder, task, restarts=True) for task in ("b", "c")] == [1, 2]
    assert choose_generation(folder, "c") == 1


def test_a_retry_goes_on_where_a_killed_one_of_its_clearing_has_gone_on(folder):
    ends(begun(folder / "0", "a"), finished=False)
    begun(folder / "0", "b", try_number=2)  # as it was before the DAG said so
    assert choose_generation(folder, "b", restarts=True) == 0


def test_what_failed_before_a_clear_is_done_again_also_by_the_retry_of_a_killed_try(folder):
    ledger = begun(folder / "0", "a")
    ledger.add(row(1, "failed", attempts=1), failed=FailedBody(body=None))
    ends(ledger, finished=False)
    begun(folder / "0", "b", try_number=2)  # and is killed
    _, past = opened(folder / "0", try_number=3, header={**HEADER, "task_generation": "b"})
    assert (past.is_final(1), past.was_refused(1)) == (False, True)
    _, past = opened(folder / "0", try_number=4, header={**HEADER, "task_generation": "a"})
    assert (past.is_final(1), past.was_refused(1)) == (True, False)


RUN = {"number": None, "after": "2026-01-01", "started": "10:00", "clears": 0}


@pytest.mark.parametrize(
    ("seen", "try_number", "expected"),
    [
        ({}, 2, False),
        ({"started": "11:00", "clears": 1}, 2, False),  # cleared when it was finished
        ({"started": "11:00"}, 2, True),  # nobody has cleared it
        ({"started": "11:00", "clears": 1}, 1, True),  # tries of one run count on
        ({"after": "2026-01-02", "clears": 5}, 7, True),
        ({"started": None, "after": None, "clears": None}, 2, False),
    ],
)
def test_a_ledger_of_a_run_that_was_deleted_is_told_by_what_airflow_shows_of_this_one(
    folder, seen, try_number, expected
):
    begun(folder / "0", "a", run=RUN)
    now = RunSeen.read({**RUN, **seen})
    assert is_of_another_run(folder / "0", now, "b", try_number=try_number) is expected
    assert is_of_another_run(folder / "0", now, "a", try_number=try_number) is False


@pytest.mark.parametrize(("number", "expected"), [(7, False), (8, True)])
def test_the_number_of_a_run_that_airflow_2_shows_says_it_all(folder, number, expected):
    begun(folder / "0", "a", run={**RUN, "number": 7})
    now = RunSeen.read({**RUN, "number": number, "started": "11:00"})
    assert is_of_another_run(folder / "0", now, "b", try_number=2) is expected


def test_a_run_is_compared_with_what_the_last_try_saw_of_it(folder):
    begun(folder / "0", "a", run=RUN)
    begun(folder / "0", "b", try_number=2, run={**RUN, "started": "11:00", "clears": 1})
    again = RunSeen.read({**RUN, "started": "12:00", "clears": 1})
    assert is_of_another_run(folder / "0", again, "c", try_number=3) is True


def test_a_folder_that_nobody_has_begun_is_not_a_ledger(folder):
    ends(begun(folder / "0", "a"), finished=False)
    Ledger(folder / "3", try_number=2).write_faults(["row 1: why"])
    assert names(folder / "3")
    assert (choose_generation(folder, "b"), find_latest_begun(folder)) == (0, 0)
    assert Ledger(folder / "3", try_number=4).read_first_header() is None


def test_failed_checks_of_later_generations_are_forgotten_and_nothing_else(folder):
    ends(begun(folder / "0", "a"), finished=False)
    for number in (0, 3, 4):
        Ledger(folder / str(number), try_number=2).write_faults(["row 1: why"])
    (folder / "4" / "snapshot-0.jsonl.gz").write_bytes(b"x")
    forget_failed_checks(folder, after=0)
    assert [name.partition("-")[0] for name in names(folder / "0")] == ["check", "header", "summary"]
    assert list_generations(folder) == [0, 4]
    assert names(folder / "4") == ["snapshot-0.jsonl.gz"]


def test_generations_are_ordered_as_numbers(folder):
    for generation in (0, 9, 10):
        ends(begun(folder / str(generation), str(generation)), finished=generation != 10)
    assert choose_generation(folder, "11") == 10


def test_a_name_of_a_task_is_one_segment_whatever_it_holds():
    folder = locate_task_folder(UPath("/ledgers"), "a/b", "manual__2026-01-01T00:00:00+00:00", "group.task", 3)
    assert Path(folder.path).relative_to("/ledgers").parts == (
        "a%2Fb",
        "manual__2026-01-01T00%3A00%3A00%2B00%3A00",
        "group.task",
        "3",
    )


def test_a_name_that_no_disk_takes_is_cut_and_stays_another_than_all_others(tmp_path):
    """250 letters are allowed, which are more than 255 bytes where they are not ASCII."""
    long = ["й" * 250, "й" * 249 + "ж", "表" * 250, "a:" * 125]
    folders = [locate_task_folder(UPath(tmp_path), "dag", name, "task", -1) for name in (*long, *long)]
    for folder in folders:
        opened(folder / "0", try_number=1)
    names = [folder.parent.parent.name for folder in folders]
    assert names[:4] == names[4:], "it is the same each time"
    assert len(set(names)) == 4
    assert all(len(name) <= 255 for name in names)
    assert names[0].startswith("%D0%B9%D0%B9")
    assert locate_task_folder(UPath("/x"), "a" * 255).name == "a" * 255, "and what fits is not touched"
    assert locate_task_folder(UPath("/x"), names[0]).name != names[0]


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_leads_elsewhere_stays_below(name):
    folder = locate_task_folder(UPath("/ledgers"), name, "run")
    assert Path(folder.path).resolve() != Path("/ledgers/run").resolve()
    assert Path(folder.path).resolve().is_relative_to("/ledgers/")


# ------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("status", ["updated", "created", "unchanged", "failed", "skipped"])
def test_a_row_is_read_as_it_was_written(status):
    written = ResultRow(
        ordinal=3,
        id="r\u2028\ud800é\n",
        integrated_account_id=None,
        status=status,
        http_status=422,
        attempts=2,
        idempotency_key="v1-k",
        error="conflict",
        message='a "quoted"\nmessage',
        transient=True,
        not_confirmed=("/name", "/a~1b"),
        match=("a1", "b2"),
    )
    line = written.line()
    assert line.count(b"\n") == 1
    read = ResultRow.read(line)
    assert (read.id, read.message) == ("r\u2028?é\n", written.message)
    assert (read.status, read.not_confirmed, read.match) == (status, written.not_confirmed, written.match)
    assert read.is_final is written.is_final


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]\n",
        b"null\n",
        b"{}\n",
        b'{"ordinal":1}\n',
        b'{"x":1}\n',
        b"\xff\n",
        b'{"ordinal":1,"status":"updated","match":["x"]}\n',
    ],
)
def test_a_torn_row_does_not_count(line):
    with pytest.raises(ValueError):
        ResultRow.read(line)


def test_the_token_is_nowhere_in_the_ledger(make_truto, output, caplog):
    truto = make_truto(accounts=2, records=20)
    truto.emulator.fault(status=422, text=f"Bearer {PLANTED} {PLANTED}", times=5)
    truto.emulator.fault(status=500, body={"error": PLANTED, "message": f"token {PLANTED}"}, times=3)
    with caplog.at_level("DEBUG"):
        truto.run(truto.rows(), output, client={"max_attempts": 1})
    text = b"".join(path.read_bytes() for path in Path(output).rglob("*") if path.is_file())
    assert b"failed" in text
    assert PLANTED.encode() not in text
    assert PLANTED not in caplog.text
