"""The check of the whole source before the first write: what it finds, and that a failed one binds nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bulk_jobs import folder_of
from bulk_operator import broken, run
from upath import UPath

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.bulk import dry_run
from airflow_provider_truto.bulk.report import merge_ledgers
from airflow_provider_truto.bulk.validation import MAX_FAULTS
from airflow_provider_truto.client.errors import TrutoTransportError

#: What a failed check says where nobody has sent anything yet, and where somebody has.
FIRST = "rows of the source are not valid; nothing was sent. Correct them where they come from and clear the task"
LATER = r"rows that are not done yet are not valid; this try has sent nothing\..*on_clear='restart'"


@pytest.fixture
def report(output):
    """A function that reads the report of the task's shards, of which it is one."""
    return lambda: merge_ledgers(UPath(Path(folder_of(output).path).parent))


@pytest.fixture
def files(output):
    """A function that lists what lies in the task's ledgers: ``<generation>/<kind>``."""
    folder = Path(folder_of(output).path)
    return lambda: sorted(
        f"{path.parent.name}/{path.name.partition('-')[0]}" for path in folder.glob("*/*") if path.is_file()
    )


@pytest.fixture
def warehouse(sqlite, one):
    """A function that fills a table with rows, of which some are broken, and returns the operator's arguments."""

    def filled(rows):
        values = ", ".join(
            f"('{row['id']}', '{row['integrated_account_id']}', {row['body']['description']!r})" for row in rows
        )
        sqlite(
            "drop table if exists t; create table t (id, integrated_account_id, description);"
            f"insert into t values {values}"
        )
        return {"sql": "select * from t order by rowid", "sql_conn_id": "warehouse"}

    return filled


def test_a_check_of_the_whole_source_lists_its_faults_and_nothing_is_sent(one, task, files, output):
    with pytest.raises(AirflowFailException, match=f"^2 {FIRST}") as failure:
        run(task(broken(one.rows(), 3, 39), validate_first=True, max_failures=None))
    assert "\nrecord r3 (row 3): " in str(failure.value)
    assert "\nrecord r9 (row 39): " in str(failure.value)
    assert one.emulator.requests == []
    assert files() == ["0/check"]
    [path] = output.rglob("check-1-*.json")
    assert [fault.partition(":")[0] for fault in json.loads(path.read_text())["faults"]] == [
        "record r3 (row 3)",
        "record r9 (row 39)",
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_check_that_finds_no_fault_sends_everything(one, task):
    assert run(task(one.rows(), validate_first=True))["updated"] == 40
    one.assert_applied(one.rows())


def test_of_very_many_faults_the_first_are_told_and_that_there_may_be_more(one, task):
    rows = [{"id": "r1"}] * (MAX_FAULTS + 50)
    with pytest.raises(AirflowFailException, match=f"^at least {MAX_FAULTS} {FIRST}"):
        run(task(rows, validate_first=True))


@pytest.mark.parametrize("generation", [0, 1], ids=["retried", "cleared"])
def test_a_source_that_was_corrected_after_a_failed_check_is_read(one, task, written, generation):
    source = written(broken(one.rows(), 3))
    with pytest.raises(AirflowFailException, match=f"^1 {FIRST}"):
        run(task(source, validate_first=True))
    written(one.rows())
    counts = run(task(source, validate_first=True), try_number=2, generation=generation)
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/0")) == (40, 0, True)


@pytest.mark.parametrize("generation", [0, 1], ids=["retried", "cleared"])
def test_a_warehouse_that_was_corrected_after_a_failed_check_is_asked_again(one, task, warehouse, files, generation):
    with pytest.raises(AirflowFailException, match=f"^1 {FIRST}"):
        run(task(**warehouse(broken(one.rows(), 3)), validate_first=True))
    assert files() == ["0/check"]
    counts = run(task(**warehouse(one.rows()), validate_first=True), try_number=2, generation=generation)
    assert (counts["updated"], counts["resumed"]) == (40, 0)
    one.assert_applied(one.rows())


def test_a_check_that_is_broken_off_leaves_no_rows_of_the_warehouse(one, task, warehouse, files, monkeypatch):
    async def check(records, *_):
        next(records)
        raise TrutoTransportError("the schema cannot be asked for")

    monkeypatch.setattr(dry_run, "find_faults", check)
    with pytest.raises(TrutoTransportError):
        run(task(**warehouse(broken(one.rows(), 3)), validate_first=True))
    assert files() == []


def test_what_earlier_tries_have_sent_from_is_kept_whatever_a_later_check_finds(one, task, warehouse, files):
    source = warehouse(broken(one.rows(), 39))
    one.emulator.fault(times=None, delay_before=0.1)
    with pytest.raises(AirflowException, match="max_runtime"):
        run(task(**source, max_runtime=0.3, concurrency=2))
    one.emulator.clear_faults()
    done = len(one.writes())
    assert 0 < done < 39
    before = [name for name in files() if name.startswith("0/snapshot")]
    with pytest.raises(AirflowFailException, match=f"(?s)^1 {LATER}.*\nrecord r9 \\(row 39\\): "):
        run(task(**source, validate_first=True), try_number=2)
    assert (len(one.writes()), [name for name in files() if name.startswith("0/snapshot")]) == (done, before)
    warehouse([{**row, "body": {"description": "of another day"}} for row in reversed(one.rows())])
    counts = run(task(**source, max_failures=1), try_number=3)
    assert (counts["updated"], counts["failed"], counts["resumed"]) == (39, 1, done)
    one.assert_applied(one.rows()[:39])
    assert set(one.writes().values()) == {1}


def test_what_is_final_need_not_be_valid_any_more(one, task):
    rows = broken(one.rows(), 3)
    one.emulator.fault(account=one.accounts[2], path="r4$", status=500)
    with pytest.raises(AirflowException, match="2 of 40 records failed"):
        run(task(rows))
    with pytest.raises(AirflowFailException, match=r"^1 of 40 records failed"):
        run(task(rows, validate_first=True), try_number=2)
    assert len(one.writes()) == 39
    # Clearing has what failed done again, and so it is checked.
    with pytest.raises(AirflowFailException, match=f"(?s)^1 {LATER}"):
        run(task(rows, validate_first=True), try_number=3, generation=2)


def test_a_check_that_failed_for_a_changed_source_leaves_the_first_one_to_go_on_with(one, task, report):
    one.emulator.fault(account=one.accounts[2], path="r4$", status=500)
    with pytest.raises(AirflowException, match="1 of 40 records failed"):
        run(task(one.rows()))
    restarting = {"validate_first": True, "on_source_change": "restart"}
    with pytest.raises(AirflowFailException, match=f"^1 {FIRST}"):
        run(task(broken(one.rows("other"), 3), **restarting), try_number=2)
    assert report().unfinished == [-1]
    counts = run(task(one.rows(), **restarting), try_number=3)
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/0")) == (40, 39, True)
    assert set(one.writes().values()) == {1}
    assert (report().unfinished, report().sums["updated"]) == ([], 40)


def test_a_report_tells_of_a_shard_whose_check_failed(one, task, report):
    with pytest.raises(AirflowFailException, match=FIRST):
        run(task(broken(one.rows(), 3), validate_first=True))
    assert (report().shards, report().unfinished) == (1, [-1])
    run(task(one.rows(), validate_first=True), try_number=2)
    assert (report().shards, report().unfinished) == (1, [])
    # Nor is one taken for finished that was, before it was cleared.
    with pytest.raises(AirflowFailException, match=FIRST):
        run(task(broken(one.rows(), 3), validate_first=True), try_number=3, generation=2)
    assert report().unfinished == [-1]
