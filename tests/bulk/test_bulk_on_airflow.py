"""A bulk on a real Airflow of which parts are killed while it runs: its worker, and the API server."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from airflow_home import airflow_home, end_part, for_parts, run_airflow, running_part
from bulk_world import PLANTED, account_number

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        version("apache-airflow").startswith("2."), reason="Airflow 2 has no API server that tasks talk to"
    ),
]

DAG = """
from datetime import timedelta
from airflow.sdk import DAG
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

with DAG("killed", schedule=None, is_paused_upon_creation=False):
    TrutoBulkUpdateAccountsOperator(
        task_id="bulk",
        source={source!r},
        output_path={output!r},
        changed_only=True,
        max_failures=0,
        concurrency=2,
        requests_per_second=0,
        retries=30,  # while there is no API server, Airflow uses up some
        retry_delay=timedelta(seconds=1),
    )
"""
LONGEST = 120
#: So that an Airflow that has lost its API server gives up in seconds; by itself it takes minutes.
IMPATIENT = {
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "2",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "1",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__CORE__PARALLELISM": "1",
}


class Running:
    """An Airflow with one DAG, whose API server may be killed and started again."""

    def __init__(self, env, stack):
        self.env = env
        self._stack = stack
        self.api_server = None
        self.start_api_server()
        stack.enter_context(running_part(env, "scheduler"))

    def start_api_server(self):
        self.api_server = self._stack.enter_context(running_part(self.env, "api-server", "--workers", "1"))
        until("the API server", self._is_up)  # Airflow is so impatient here that tasks would fail before

    def _is_up(self):
        with suppress(OSError):
            port = int(self.env["AIRFLOW__API__PORT"])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return True
        return False

    def tries(self):
        """The state of the task, and how many tries it has had."""
        path = Path(self.env["AIRFLOW_HOME"]) / "airflow.db"
        with closing(sqlite3.connect(path, timeout=30)) as database:
            return database.execute("select state, try_number from task_instance order by rowid desc").fetchone()

    def workers(self):
        """The processes that run the task: the only ones that have opened the ledger."""
        return [process for process in psutil.process_iter() if self._has_ledger(process)]

    def _has_ledger(self, process):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            return any(file.path.startswith(f"{self.env['LEDGERS']}/") for file in process.open_files())
        return False


def until(what, condition):
    deadline = time.monotonic() + LONGEST
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come in {LONGEST} s")
        time.sleep(0.2)
    return found


@pytest.fixture
def truto(make_truto):
    truto = make_truto(accounts=4, records=50)  # ten seconds of work
    truto.emulator.fault(times=None, delay_before=0.1)
    return truto


@pytest.fixture
def airflow(truto, output, tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in truto.rows()))
    (dags / "killed.py").write_text(DAG.format(source=str(source), output=str(output)))
    conn = {"conn_type": "truto", "host": truto.url, "password": PLANTED}
    with airflow_home(conn=conn, dags_folder=dags) as env, ExitStack() as stack:
        env |= for_parts() | IMPATIENT | {"LEDGERS": str(output)}
        run_airflow(env, "dags", "reserialize")
        run_airflow(env, "dags", "trigger", "killed")
        yield Running(env, stack)


def executed(truto):
    return [execution for execution in truto.emulator.executions if execution["method"] == "PATCH"]


def assert_all_is_well(truto, output):
    truto.assert_applied(truto.rows())
    assert set(truto.writes().values()) == {1}
    assert len(truto.writes()) == 200
    rows = {}
    for path in output.rglob("results-*"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[row["ordinal"]] = row
    assert Counter(row["status"] for row in rows.values()) == {"updated": 200}
    assert {row["integrated_account_id"] for row in rows.values()} == {account_number(n) for n in range(4)}
    assert sorted(rows) == list(range(200))


def test_a_worker_and_an_api_server_that_are_killed_cost_nothing(airflow, truto, output):
    until("the first writes", lambda: len(executed(truto)) > 20)
    [worker] = airflow.workers()
    worker.kill()
    until("the next try", lambda: airflow.workers() and len(executed(truto)) > 60)
    end_part(airflow.api_server, at_once=True)
    until("the end of the task, which has lost the API server", lambda: not airflow.workers())
    assert len(executed(truto)) < 200, "it came to its end before Airflow gave it up: nothing was tested"
    airflow.start_api_server()
    until("the success", lambda: airflow.tries()[0] in {"success", "failed"})
    state, tries = airflow.tries()
    assert (state, tries >= 3) == ("success", True)
    assert_all_is_well(truto, output)
    run_airflow(airflow.env, "dags", "trigger", "killed")
    until("the second run", lambda: airflow.tries() == ("success", 1))
    assert len(executed(truto)) == 200, "the state that the first one left has all of it"
