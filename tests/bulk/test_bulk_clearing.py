"""What clearing a bulk means: to go on, or with ``on_clear="restart"`` to write everything again."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from bulk_jobs import folder_of
from bulk_operator import run
from bulk_world import read_ledger

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

LONGEST = 60


def unfinished(one, task, **arguments):
    """A first try of which 39 of 40 records are done."""
    one.emulator.fault(account=one.accounts[2], path="r4$", status=500)
    with pytest.raises(AirflowException, match="1 of 40 records failed"):
        run(task(one.rows(), **arguments))


def test_a_cleared_bulk_that_was_not_finished_goes_on_unless_it_is_told_otherwise(one, task):
    unfinished(one, task)
    counts = run(task(one.rows()), try_number=2, generation=1)
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/0")) == (40, 39, True)
    assert len(one.writes()) == 40


def test_a_cleared_bulk_writes_every_record_again_under_new_keys_where_that_is_said(one, task, logged):
    unfinished(one, task)
    counts = run(task(one.rows(), on_clear="restart"), try_number=2, generation=1)
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/1")) == (40, 0, True)
    assert len(one.writes()) == 79
    assert set(one.writes().values()) == {1}
    assert "Starting over, in generation 1" in logged()


@pytest.mark.parametrize("arguments", [{}, {"changed_only": True}], ids=["all", "changed only"])
def test_records_of_one_id_keep_their_order_over_a_clear(one, task, arguments):
    account = one.accounts[0]
    rows = [{"id": "r1", "integrated_account_id": account, "body": {"description": text}} for text in "abc"]
    one.emulator.fault(path="r1$", status=422)
    with pytest.raises(AirflowFailException, match="1 of 3 records failed"):
        run(task(rows, **arguments))
    one.emulator.fault(path="r1$", status=500, skip=1)  # what follows the one that had failed is done in a later try
    with pytest.raises(AirflowException):
        run(task(rows, **arguments), try_number=2, generation=1)
    counts = run(task(rows, **arguments), try_number=3, generation=1)
    assert [execution["body"]["description"] for execution in one.emulator.executions] == [*"bc", *"abc"]
    assert (counts["records"], counts["updated"], counts["failed"], counts["skipped"]) == (3, 3, 0, 0)
    if arguments:
        assert run(task(rows[2:], **arguments), try_number=4, generation=2)["unchanged"] == 1


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        pytest.param({"status": 500}, {"failed": 1, "skipped": 1}, id="the one before it fails in passing"),
        pytest.param({"status": 422, "skip": 1}, {"updated": 1, "failed": 1}, id="it fails itself"),
    ],
)
def test_ledger_and_counts_agree_on_a_record_that_has_to_be_sent_again(one, task, output, fault, counts):
    rows = [{"id": "r1", "integrated_account_id": one.accounts[0], "body": {"description": text}} for text in "ab"]
    one.emulator.fault(path="r1$", status=422)
    with pytest.raises(AirflowFailException, match="1 of 2 records failed"):
        run(task(rows))
    one.emulator.fault(path="r1$", **fault)
    with pytest.raises(AirflowException):
        run(task(rows), try_number=2, generation=1)
    read = read_ledger(output)
    assert read.statuses == counts
    assert {name: read.summaries[-1][name] for name in counts} == counts
    assert run(task(rows), try_number=3, generation=2)["updated"] == 2
    assert read_ledger(output).statuses == {"updated": 2}
    assert one.text_of(one.accounts[0], "r1") == "b"


def test_a_retry_goes_on_whatever_clearing_means(one, task):
    unfinished(one, task, on_clear="restart")
    counts = run(task(one.rows(), on_clear="restart"), try_number=2)
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/0")) == (40, 39, True)
    assert set(one.writes().values()) == {1}


def test_every_retry_after_a_clearing_goes_on_in_the_ledger_that_was_begun_for_it(one, task):
    unfinished(one, task)
    one.emulator.fault(account=one.accounts[1], path="r1$", status=500, times=2)
    cleared = task(one.rows(), on_clear="restart")
    for try_number in (2, 3):
        with pytest.raises(AirflowException, match="1 of 40 records failed"):
            run(cleared, try_number=try_number, generation=1)
    before = len(one.emulator.requests)
    counts = run(cleared, try_number=4, generation=1)
    assert (counts["resumed"], counts["ledger"].endswith("/1"), len(one.emulator.requests)) == (39, True, before + 1)
    assert set(one.writes().values()) == {1}


def test_clearing_once_more_begins_once_more(one, task):
    unfinished(one, task)
    one.emulator.fault(account=one.accounts[1], path="r1$", status=500)
    cleared = task(one.rows(), on_clear="restart")
    with pytest.raises(AirflowException, match="1 of 40 records failed"):
        run(cleared, try_number=2, generation=1)
    counts = run(cleared, try_number=3, generation=2)
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/2")) == (40, 0, True)
    assert len(one.writes()) == 39 + 39 + 40


def test_a_changed_source_is_not_an_error_where_clearing_starts_over(one, task):
    unfinished(one, task)
    with pytest.raises(AirflowFailException, match=r"source has changed.*on_clear='restart'"):
        run(task(one.rows("other")), try_number=2, generation=1)
    counts = run(task(one.rows("other"), on_clear="restart"), try_number=3, generation=2)
    assert (counts["updated"], counts["resumed"]) == (40, 0)
    one.assert_applied(one.rows("other"))


def test_starting_over_asks_the_warehouse_again_and_going_on_does_not(one, task, sqlite):
    def fill(text):
        values = ", ".join(f"('{row['id']}', '{row['integrated_account_id']}', '{text}')" for row in one.rows())
        sqlite(
            "drop table if exists t; create table t (id, integrated_account_id, description);"
            f"insert into t values {values}"
        )

    query = {"sql": "select * from t", "sql_conn_id": "warehouse"}
    fill("of the first day")
    one.emulator.fault(account=one.accounts[2], path="r4$", status=500)
    with pytest.raises(AirflowException, match="1 of 40 records failed"):
        run(task(**query))
    fill("of the second day")
    assert run(task(**query), try_number=2, generation=1)["resumed"] == 39
    assert one.text_of(one.accounts[2], "r4") == "of the first day"
    run(task(**query, on_clear="restart"), try_number=3, generation=2)
    assert {one.text_of(account, record) for account in one.accounts for record in one.ids} == {"of the second day"}


def dag_run(hour, *, clears=0):
    """What Airflow 3 shows of a run that began at this hour."""
    day = datetime(2026, 3, 1, tzinfo=timezone.utc)
    return SimpleNamespace(run_after=day, start_date=day.replace(hour=hour), clear_number=clears)


def test_a_run_that_was_deleted_and_is_made_again_starts_over_and_its_retries_go_on_in_that(one, task, logged):
    run(task(one.rows()), dag_run=dag_run(10))
    one.emulator.fault(account=one.accounts[2], path="r4$", status=500)
    with pytest.raises(AirflowException, match="1 of 40 records failed"):
        run(task(one.rows()), dag_run=dag_run(11))
    assert "is of a DAG run of this id that was deleted" in logged()
    counts = run(task(one.rows()), try_number=2, dag_run=dag_run(11))
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/1")) == (40, 39, True)
    assert len(one.writes()) == 80


def test_a_cleared_run_begins_later_and_is_the_same(one, task, logged):
    one.emulator.fault(account=one.accounts[2], path="r4$", status=500)
    with pytest.raises(AirflowException, match="1 of 40 records failed"):
        run(task(one.rows()), dag_run=dag_run(10))
    counts = run(task(one.rows()), try_number=2, generation=1, dag_run=dag_run(11, clears=1))
    assert (counts["updated"], counts["resumed"], counts["ledger"].endswith("/0")) == (40, 39, True)
    assert "deleted" not in logged()
    assert len(one.writes()) == 40


def test_keys_of_a_run_that_is_made_again_differ_also_where_nothing_is_left_of_the_first_ledger(one, task, output):
    run(task(one.rows()), dag_run=dag_run(10))
    shutil.rmtree(Path(folder_of(output).path))
    run(task(one.rows()), dag_run=dag_run(11))
    assert len(one.writes()) == 80


@pytest.mark.parametrize("on_clear", ["", "error", None, True])
def test_an_on_clear_that_means_nothing_is_refused_in_the_dag_file(task, on_clear):
    with pytest.raises(ValueError, match="on_clear: expects one of resume, restart, got"):
        task([], on_clear=on_clear)


# ------------------------------------------------------------------------------------------------ workers are killed


def in_worker(conn, source, output, try_number, generation, on_clear):
    """What a worker does."""
    os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"] = conn
    operator = TrutoBulkUpdateAccountsOperator(
        task_id="bulk",
        source=source,
        output_path=output,
        max_failures=0,
        retries=3,
        concurrency=2,
        on_clear=on_clear,
    )
    run(operator, try_number=try_number, generation=generation)


@pytest.fixture
def source(one, written):
    """A file of the rows; written again, it would be another."""
    return written(one.rows())


@pytest.fixture
def killed(one, source, output, processes):
    """A function that runs a try in a process which is killed after so many more writes."""

    def after(writes, *, try_number, generation, on_clear):
        goal = len(one.emulator.executions) + writes
        arguments = (source, f"file://{output}", try_number, generation, on_clear)
        process = processes.Process(target=in_worker, args=(os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"], *arguments))
        one.emulator.fault(times=None, delay_before=0.1)
        process.start()
        until = time.monotonic() + LONGEST
        while len(one.emulator.executions) < goal:
            assert time.monotonic() < until
            assert process.exitcode is None
            time.sleep(0.005)
        process.kill()
        process.join(LONGEST)
        assert process.exitcode == -9
        one.emulator.clear_faults()

    return after


def lines(output, generation):
    folder = Path(folder_of(output).path) / str(generation)
    rows = [line for path in folder.glob("results-*") for line in path.read_bytes().splitlines(keepends=True)]
    return {json.loads(row)["ordinal"] for row in rows if row.endswith(b"\n")}


@pytest.mark.slow
def test_a_try_that_was_killed_after_a_clearing_is_continued_and_not_started_over(one, task, source, output, killed):
    killed(10, try_number=1, generation=0, on_clear="restart")
    killed(10, try_number=2, generation=1, on_clear="restart")
    done = lines(output, 1)
    assert 0 < len(done) < 40
    killed(5, try_number=3, generation=1, on_clear="restart")
    counts = run(task(source, on_clear="restart"), try_number=4, generation=1)
    assert (counts["updated"], counts["ledger"].endswith("/1")) == (40, True)
    assert counts["resumed"] >= len(done)
    assert set(one.writes().values()) == {1}
    # What was in flight when the first was killed was written as well.
    assert 10 <= len(one.writes()) - 40 <= 12
    assert sorted(path.name for path in Path(folder_of(output).path).iterdir() if path.is_dir()) == ["0", "1"]


@pytest.mark.slow
def test_a_retry_goes_on_although_the_dag_has_come_to_say_otherwise_since_the_clearing(one, task, source, killed):
    killed(10, try_number=1, generation=0, on_clear="resume")
    killed(10, try_number=2, generation=1, on_clear="resume")
    counts = run(task(source, on_clear="restart"), try_number=3, generation=1)
    assert (counts["updated"], counts["ledger"].endswith("/0")) == (40, True)
    assert set(one.writes().values()) == {1}
    assert len(one.writes()) == 40
