"""Bulks against an emulator."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_truto.emulator import Emulator

sys.path.insert(0, str(Path(__file__).parent))

from bulk_operator import connect, context_of
from bulk_world import Truto, account_number, seed_of


@pytest.fixture
def make_truto():
    """A function that starts a Truto: ``make_truto(accounts=8, records=50)``."""
    with contextlib.ExitStack() as stack:

        def make(*, accounts: int = 4, records: int = 10, **options: Any) -> Truto:
            names = [account_number(number) for number in range(accounts)]
            ids = [f"r{number}" for number in range(records)]
            emulator = stack.enter_context(Emulator(seed_of(names, ids), **options))
            return Truto(emulator, names, ids)

        yield make


@pytest.fixture
def truto(make_truto):
    """A Truto with four customers of ten records each."""
    return make_truto()


@pytest.fixture
def one(truto, monkeypatch):
    """Four customers of ten records each, behind Airflow's connection."""
    monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", "")
    connect(truto)
    return truto


@pytest.fixture
def task(output):
    """A function that makes the operator; ``max_failures`` is 0 unless it is given."""
    from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

    def make(source=None, **arguments):
        given = {"output_path": f"file://{output}", "max_failures": 0, "retries": 3, **arguments}
        return TrutoBulkUpdateAccountsOperator(task_id="bulk", source=source, **given)

    return make


@pytest.fixture
def store(output):
    """A function that stores the ledgers of the task ``bulk`` in the database."""

    from airflow_provider_truto.operators.ledgers import TrutoLedgerToSqlOperator

    def execute(**arguments):
        given = {"bulk_task_id": "bulk", "output_path": f"file://{output}", "sql_conn_id": "warehouse", **arguments}
        task = TrutoLedgerToSqlOperator(task_id="store", **given)
        return task.execute(context_of(task))

    return execute


@pytest.fixture
def sqlite(tmp_path, monkeypatch):
    """A function that makes an SQLite database with an Airflow connection ``warehouse``: ``sqlite(script)``."""
    pytest.importorskip("airflow.providers.sqlite.hooks.sqlite")
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def make(script):
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(script)

    return make


@pytest.fixture
def logged(caplog, capsys):
    """A function that returns what was logged since it was called last: Airflow 3 writes to stdout."""
    caplog.set_level("DEBUG")

    def text():
        return caplog.text + capsys.readouterr().out

    return text


@pytest.fixture
def output(tmp_path):
    """Where ledgers go."""
    return tmp_path / "ledgers"


@pytest.fixture
def written(tmp_path):
    """A function that writes rows as a JSON Lines file; text stands for itself."""

    def write(rows: Any, name: str = "source.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture(scope="session")
def processes():
    """Processes that start in no time: what they import is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bulk_jobs", "airflow_provider_truto.operators.accounts"])
    return context
