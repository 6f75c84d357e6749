"""The example with a warehouse, on a real Airflow: 400 customers in one task."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from airflow_home import airflow_home
from bulk_world import PLANTED, account_number, seed_of

from airflow_provider_truto.emulator import Emulator

pytest.importorskip("airflow.providers.sqlite.hooks.sqlite", reason="the warehouse is an SQLite database")

ROOT = Path(__file__).parent.parent.parent

DAG = "truto_bulk_from_warehouse"
CUSTOMERS = 400
#: So many of them have to reconnect their CRM.
LAPSED = 20
RECORDS = 3


def in_a_hurry(source):
    for old, new in {
        "max_failures=0.1,": "max_failures=0.1, requests_per_second=0,",
        "retry_delay=timedelta(minutes=1)": "retry_delay=timedelta(0)",
    }.items():
        assert source.count(old) == 1
        source = source.replace(old, new)
    return source


@pytest.fixture(scope="module")
def emulator():
    accounts = [account_number(number) for number in range(CUSTOMERS)]
    seed = seed_of(accounts, [f"r{number}" for number in range(RECORDS)])
    for account in seed["integrated_accounts"][:LAPSED]:
        account["status"] = "needs_reauth"
    wide = {"requests": 1_000_000, "seconds": 10}
    with Emulator({**seed, "limits": {"token": wide, "account": wide, "provider": wide}}) as running:
        yield running


@pytest.fixture(scope="module")
def home(emulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dags")
    (folder / f"{DAG}.py").write_text(in_a_hurry((ROOT / "example_dags" / f"{DAG}.py").read_text()))
    conn = {"conn_type": "truto", "host": emulator.url, "password": PLANTED, "extra": {"max_attempts": 2}}
    with airflow_home(conn=conn, dags_folder=folder) as env:
        env["AIRFLOW_CONN_WAREHOUSE"] = json.dumps({"conn_type": "sqlite", "host": str(folder / "warehouse.db")})
        env["AIRFLOW_VAR_TRUTO_LEDGERS"] = str(folder / "ledgers")
        yield env, folder


@pytest.fixture
def warehouse(home):
    path = home[1] / "warehouse.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table account_scores (truto_account_id, crm_account_id, health, employees)")
        database.executemany(
            "insert into account_scores values (?, ?, ?, ?)",
            [
                (account_number(customer), f"r{record}", None if record == 2 else "good", customer * 10 + record)
                for customer in range(CUSTOMERS)
                for record in range(RECORDS)
            ],
        )
        database.commit()
    return path


@pytest.fixture(scope="module")
def run(home, tmp_path_factory):
    """A function that runs the DAG and returns its run id, its state, and its log."""
    env, folder = home
    log = tmp_path_factory.mktemp("log") / "airflow.log"
    ours, theirs = socket.socketpair()
    ours.settimeout(300)
    with log.open("w") as output, ours, theirs:
        command = [sys.executable, str(ROOT / "tests" / "example_worker.py"), str(theirs.fileno()), str(folder)]
        worker = subprocess.Popen(command, env=env, stdout=output, stderr=output, pass_fds=[theirs.fileno()])
        theirs.close()

        def run():
            line.write(json.dumps({"dag_id": DAG, "conf": {}}) + "\n")
            line.flush()
            reply = json.loads(line.readline())
            assert "error" not in reply, f"{reply.get('error')}\n{log.read_text()[-8_000:]}"
            return reply["run_id"], reply["state"], log

        try:
            with ours.makefile("rw") as line:
                yield run
        finally:
            worker.kill()
            worker.wait()


def asked(home, statement, *values):
    with closing(sqlite3.connect(Path(home[0]["AIRFLOW_HOME"]) / "airflow.db")) as database:
        return database.execute(statement, values).fetchall()


def counts_of(home, run_id):
    ((value,),) = asked(
        home,
        "select value from xcom where run_id = ? and task_id = 'update_accounts' and key = 'return_value'",
        run_id,
    )
    parsed = json.loads(value)
    return json.loads(parsed) if isinstance(parsed, str) else parsed


def states(home, run_id):
    return dict(asked(home, "select task_id, state from task_instance where run_id = ?", run_id))


@pytest.mark.slow
@pytest.mark.airflow
def test_every_row_of_the_warehouse_is_written_once_and_accounted_for(home, warehouse, run, emulator):
    run_id, state, log = run()
    assert state == "success", log.read_text()[-8_000:]
    assert states(home, run_id) == {"update_accounts": "success"}
    counts = counts_of(home, run_id)
    assert (counts["records"], counts["updated"]) == (CUSTOMERS * RECORDS, (CUSTOMERS - LAPSED) * RECORDS)
    assert counts["failed"] + counts["skipped"] == LAPSED * RECORDS
    failed = [
        json.loads(line)
        for path in counts["failures"]
        for line in Path(path.removeprefix("file://")).read_text().splitlines()
    ]
    assert len(failed) == LAPSED * RECORDS

    lapsed = {account_number(number) for number in range(LAPSED)}
    calls = [execution for execution in emulator.executions if execution["method"] == "PATCH"]
    writes = [call for call in calls if call["integrated_account_id"] not in lapsed]
    assert len(calls) - len(writes) <= LAPSED * 2, "one who has to reconnect costs a few calls"
    counts = Counter((write["integrated_account_id"], write["record_id"]) for write in writes)
    assert set(counts.values()) == {1}
    assert len(counts) == (CUSTOMERS - LAPSED) * RECORDS
    by_record = {(write["integrated_account_id"], write["record_id"]): write["body"] for write in writes}
    assert by_record[account_number(30), "r1"] == {
        "number_of_employees": 301,
        "custom_fields": {"health": "good", "scored_by": "warehouse"},
    }
    assert by_record[account_number(30), "r2"] == {
        "number_of_employees": 302,
        "custom_fields": {"scored_by": "warehouse"},
    }, "what the warehouse does not know is left as it is"
    assert PLANTED not in "".join(line for line in log.open() if "MaskSecret(" not in line)


@pytest.mark.slow
@pytest.mark.airflow
def test_a_warehouse_that_cannot_be_asked_fails_the_task(home, warehouse, run, emulator):
    before = len(emulator.executions)
    with closing(sqlite3.connect(warehouse)) as database:
        database.execute("alter table account_scores rename column health to score")
    run_id, state, log = run()
    assert state == "failed"
    assert set(states(home, run_id).values()) == {"failed"}
    assert "no such column: health" in log.read_text()
    assert len(emulator.executions) == before
