"""Ledgers as tables: each line once, however often they are stored, and whatever breaks off in between."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from bulk_operator import broken, context_of, run
from bulk_world import account_number
from pyarrow import parquet
from upath import UPath

from airflow_provider_truto._compat import AirflowFailException, BaseHook
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from airflow_provider_truto.bulk.ledger_tables import CHANGES, RUNS, read_ledgers
from airflow_provider_truto.bulk.result_row import ResultRow
from airflow_provider_truto.operators.ledgers import TrutoLedgerToParquetOperator, TrutoLedgerToSqlOperator
from airflow_provider_truto.records.keys import RunSeen

TASK = {"dag_id": "dag", "run_id": "run", "task_id": "bulk"}


def dag_run(hour):
    started = datetime(2026, 1, 31, hour, 30, tzinfo=timezone(timedelta(hours=2)))
    return SimpleNamespace(start_date=started, run_after=started, logical_date=started, clear_number=0)


@pytest.fixture
def warehouse(sqlite, tmp_path):
    """A function that asks the database."""
    sqlite("")

    def ask(query):
        with contextlib.closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]

    return ask


def test_a_ledger_is_a_line_of_runs_and_a_line_per_record_and_try(one, task, warehouse, store):
    rows = broken(one.rows(), 3)
    one.emulator.fault(method="PATCH", account=account_number(0), path="r5$", status=503)
    with pytest.raises(Exception, match="failed"):
        run(task(rows, max_failures=0), dag_run=dag_run(9))
    run(task(rows, max_failures=1), try_number=2, dag_run=dag_run(9))
    assert store() == {"ledgers": 1, "changes": 41}
    (ledger,) = warehouse("select * from truto_runs")
    assert (ledger["dag_id"], ledger["run_id"], ledger["task_id"], ledger["map_index"]) == ("dag", "run", "bulk", -1)
    assert (ledger["records"], ledger["updated"], ledger["failed"], ledger["last_try"]) == (40, 39, 1, 2)
    assert (ledger["is_complete"], ledger["run_started_at"]) == (1, "2026-01-31T07:30:00.000000+00:00")
    lines = warehouse("select * from truto_changes")
    assert Counter((line["try_number"], line["status"]) for line in lines)[1, "failed"] == 2
    tries = [(line["try_number"], line["status"], line["http_status"]) for line in lines if line["ordinal"] == 5]
    assert sorted(tries) == [(1, "failed", 503), (2, "updated", 200)]
    latest = warehouse("select * from truto_latest")
    assert Counter(line["status"] for line in latest) == {"updated": 39, "failed": 1}
    assert {line["body"] for line in lines} == {None}


def test_however_often_it_is_stored_each_line_is_there_once(one, task, warehouse, store):
    run(task(one.rows()))
    first, before = store(), warehouse("select * from truto_changes order by line_id")
    assert store() == first
    assert warehouse("select * from truto_changes order by line_id") == before
    assert len(warehouse("select * from truto_runs")) == 1


def test_bodies_of_what_failed_are_stored_where_that_is_asked_for(one, task, warehouse, store):
    run(task(broken(one.rows(), 3, 30), max_failures=2))
    store(with_bodies=True)
    lines = warehouse("select ordinal, body from truto_changes where body is not null order by ordinal")
    assert [(line["ordinal"], json.loads(line["body"])) for line in lines] == [
        (3, {"description": 5}),
        (30, {"description": 5}),
    ]


def test_the_latest_line_of_a_record_is_that_of_the_run_that_began_last(one, task, warehouse, store):
    run(task(one.rows("old")), dag_run=dag_run(9))
    store()
    run(task(broken(one.rows("new"), 0), max_failures=1), generation=5, try_number=5, dag_run=dag_run(12))
    assert store()["ledgers"] == 2
    latest = warehouse("select * from truto_latest where record_id = 'r0'")
    assert Counter((line["generation"], line["status"]) for line in latest) == {(1, "updated"): 3, (1, "failed"): 1}
    assert len(warehouse("select * from truto_latest")) == 40


def store_and_be_killed(output, connection):
    """Store the ledgers in a process that is killed between the tables."""
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    class Cursor(sqlite3.Cursor):
        def execute(self, statement, *parameters):
            if statement.startswith("INSERT INTO truto_runs"):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().execute(statement, *parameters)

    class Connection(sqlite3.Connection):
        def cursor(self, factory=Cursor):
            return super().cursor(factory)

    os.environ["AIRFLOW_CONN_WAREHOUSE"] = connection  # the server of processes has that of an earlier test
    path = BaseHook.get_connection("warehouse").host
    SqliteHook.get_conn = lambda _self: sqlite3.connect(path, factory=Connection)
    task = TrutoLedgerToSqlOperator(
        task_id="store", bulk_task_id="bulk", output_path=f"file://{output}", sql_conn_id="warehouse"
    )
    task.execute(context_of(task))


@pytest.mark.slow
@pytest.mark.parametrize("is_stored", [False, True])
def test_a_kill_between_the_tables_leaves_them_as_they_were(
    one, task, warehouse, store, output, processes, is_stored
):
    run(task(one.rows()))
    if is_stored:
        store()
        before = warehouse("select * from truto_changes")
    killed = processes.Process(target=store_and_be_killed, args=(output, os.environ["AIRFLOW_CONN_WAREHOUSE"]))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert warehouse("select * from truto_changes") == (before if is_stored else [])
    store()
    lines = warehouse("select * from truto_changes")
    assert len({(line["try_number"], line["ordinal"]) for line in lines}) == len(lines) == 40
    assert len(warehouse("select * from truto_runs")) == 1


def test_the_query_of_the_page_is_the_view(one, task, warehouse, store):
    run(task(broken(one.rows(), 0), max_failures=1), dag_run=dag_run(9))
    run(task(one.rows("new")), generation=5, try_number=5, dag_run=dag_run(12))
    store()
    page = (Path(__file__).parents[2] / "docs" / "ledger_tables.md").read_text()
    (query,) = re.findall(r"```sql of the latest\n(.*?)```", page, re.DOTALL)
    latest = [{name: line[name] for name in CHANGES.columns} for line in warehouse(query)]
    view = warehouse("select * from truto_latest")
    assert sorted(latest, key=lambda line: line["ordinal"]) == sorted(view, key=lambda line: line["ordinal"])
    (failures,) = re.findall(r"```sql of the failures\n(.*?)```", page, re.DOTALL)
    assert warehouse(failures) == []


def row(ordinal, **facts):
    return ResultRow(ordinal=ordinal, id=f"r{ordinal}", integrated_account_id="a", **facts)


def changes_of(folder, task=TASK):
    (tables,) = read_ledgers(folder, **task, run=RunSeen(), with_bodies=False)
    names = list(CHANGES.columns)
    return [dict(zip(names, line, strict=True)) for line in tables.read_changes()]


def test_what_a_try_copied_of_a_killed_one_is_a_line_of_the_killed_one_alone(tmp_path):
    ledger_folder = UPath(tmp_path) / "-1" / "0"
    header = {"fingerprint": "f", "task_generation": "g"}
    killed = Ledger(ledger_folder, try_number=1)
    killed.open(header)
    killed.add(row(0, status="updated"))
    killed.add(row(1, status="failed", message="no"))
    killed.add(row(2, status="failed", message="busy", transient=True))
    second = Ledger(ledger_folder, try_number=2)
    second.open(header)
    third = Ledger(ledger_folder, try_number=3)
    third.open(header)
    third.add(row(2, status="failed", message="busy", transient=True))
    third.take_full_parts(all_of_them=True)
    lines = [(line["try_number"], line["ordinal"]) for line in changes_of(UPath(tmp_path))]
    assert sorted(lines) == [(1, 0), (1, 1), (1, 2), (3, 2)]


def test_what_fails_once_more_after_a_clear_is_a_line_of_its_own(tmp_path):
    ledger_folder = UPath(tmp_path) / "-1" / "0"
    for number in (1, 2):
        cleared = Ledger(ledger_folder, try_number=number)
        cleared.open({"fingerprint": "f", "task_generation": f"g{number}"})
        cleared.add(row(1, status="failed", message="no"))
    assert sorted((line["try_number"], line["ordinal"]) for line in changes_of(UPath(tmp_path))) == [(1, 1), (2, 1)]


def test_as_parquet_each_table_is_a_folder_with_a_file_per_ledger(one, task, output, tmp_path):
    run(task(broken(one.rows(), 3), max_failures=1), dag_run=dag_run(9))
    copy = TrutoLedgerToParquetOperator(
        task_id="store",
        bulk_task_id="bulk",
        output_path=f"file://{output}",
        tables_path=f"file://{tmp_path}/tables",
        with_bodies=True,
    )
    for _ in range(2):
        assert copy.execute(context_of(copy)) == {"ledgers": 1, "changes": 40}
    (runs,) = (tmp_path / "tables" / "truto_runs").iterdir()
    (changes,) = (tmp_path / "tables" / "truto_changes").iterdir()
    assert parquet.read_schema(runs).names == list(RUNS.columns)
    (ledger,) = parquet.read_table(runs).to_pylist()
    assert (ledger["updated"], ledger["is_complete"], ledger["ledger_id"]) == (39, True, changes.stem)
    lines = parquet.read_table(changes).to_pylist()
    assert Counter(line["status"] for line in lines) == {"updated": 39, "failed": 1}
    assert [json.loads(line["body"]) for line in lines if line["body"]] == [{"description": 5}]


@pytest.mark.usefixtures("warehouse")
def test_where_there_is_no_ledger_that_is_said(store):
    with pytest.raises(AirflowFailException, match=r"0 ledgers with 0 lines.*: there is none\. Did their tasks run"):
        store()


def test_a_shard_without_a_ledger_fails_the_task_after_the_others_are_stored(one, task, warehouse, store):
    run(task(one.rows(), shard={"index": 1, "count": 3}))
    with pytest.raises(AirflowFailException, match=r"shards 0, 2 are missing.*do all workers share it\?"):
        store()
    assert len(warehouse("select * from truto_runs")) == 1


def test_a_connection_without_sql_is_refused(store, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "truto", "host": "h", "password": "t"}))
    with pytest.raises(AirflowFailException, match="runs no SQL"):
        store()


def test_a_line_that_is_not_a_result_is_named(one, task, output, warehouse, store):
    run(task(one.rows()))
    folder = locate_task_folder(UPath(output), "dag", "run", "bulk", "-1", "0")
    (results,) = [path for path in folder.iterdir() if path.name.startswith("results-")]
    results.write_bytes(b"[]\n" + results.read_bytes())
    with pytest.raises(AirflowFailException, match=r"results-.* has no result in line 1"):
        store()
    assert warehouse("select * from truto_runs") == []
