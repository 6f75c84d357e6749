"""Whole runs of DAGs on a real Airflow: what a test gives, and what it gets back."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_truto.emulator import Emulator
from airflow_provider_truto.emulator.state.accounts import IntegratedAccount

FOLDER = Path(__file__).parent

#: Whether Airflow renders to native objects. Both modes give the same, so that one of them is enough in a hurry.
MODES = [pytest.param(False, id="text mode"), pytest.param(True, id="native mode", marks=pytest.mark.slow)]

#: The token of all connections; it may be seen on the wire and nowhere else.
PLANTED = "planted-4d1f0c6a-never-to-be-seen"
PRELUDE = """
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

try:
    from airflow.sdk import DAG, Param, task
except ImportError:
    from airflow.decorators import task
    from airflow.models.dag import DAG
    from airflow.models.param import Param
try:
    from airflow.sdk import literal
except ImportError:
    try:
        from airflow.sdk.definitions.template import literal  # Airflow 3.0
    except ImportError:
        from airflow.utils.template import literal

from airflow_provider_truto.client import shared
from airflow_provider_truto.emulator import ACME, GLOBEX, HOOLI, INITECH, STARK, UMBRELLA, WAYNE
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator
from airflow_provider_truto.operators.proxy import TrutoProxyOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

RECORD = "23423523"
# The worker outlives the test, and the emulator's seed with it.
shared.RESPONSES.clear()
os.environ.pop("AIRFLOW__TRUTO__HIDE_VALUES", None)


def update(task_id="update", **arguments):
    defaults = {{"account_id": RECORD, "integrated_account_id": ACME, "retry_delay": timedelta(0)}}
    return TrutoUpdateAccountOperator(task_id=task_id, **{{**defaults, **arguments}})


def mapped(**arguments):
    return TrutoUpdateAccountOperator.partial(task_id="update", **{{"retry_delay": timedelta(0), **arguments}})


# Both call for ACME's accounts, where nothing else is said.
def unified(task_id, method, **arguments):
    customer = {{}} if arguments.keys() & {{"tenant_id", "integration"}} else {{"integrated_account_id": ACME}}
    defaults = {{"model": "crm", "resource": "accounts", **customer, "retry_delay": timedelta(0)}}
    return TrutoUnifiedOperator(task_id=task_id, method=method, **{{**defaults, **arguments}})


def proxy(task_id, method, **arguments):
    defaults = {{"resource": "companies", "integrated_account_id": ACME, "retry_delay": timedelta(0)}}
    return TrutoProxyOperator(task_id=task_id, method=method, **{{**defaults, **arguments}})


dag = DAG(
    dag_id="{dag_id}",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    catchup=False,
    params={params!r},
    render_template_as_native_obj={native},
)
with dag:
"""


@dataclass
class TaskRun:
    """One task instance as Airflow's database knows it. ``failures`` are the exceptions of its tries."""

    state: str
    tries: int
    xcom: dict[str, Any]
    rendered: dict[str, Any]
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failure(self) -> dict[str, Any]:
        """The exception of the only failed try."""
        (only,) = self.failures
        return only


def before(airflow: str) -> bool:
    """Whether the tests run on an Airflow before this one, ``"3.3"``."""
    numbers = [int(number) for number in re.findall(r"\d+", version("apache-airflow"))[:2]]
    return numbers < [int(number) for number in airflow.split(".")]


@dataclass
class Run:
    """A finished DAG run. ``log`` is everything that was logged and printed meanwhile."""

    state: str
    tasks: dict[str, TaskRun]
    log: str
    run_id: str
    airflow: Airflow
    dag_id: str

    def __getitem__(self, name: str) -> TaskRun:
        """Return a task by its id, a mapped one as ``update[0]``."""
        return self.tasks[name]

    @property
    def update(self) -> TaskRun:
        """The task of that name."""
        return self.tasks["update"]

    def again(self) -> Run:
        """Clear all tasks of the run and run them once more."""
        return self.airflow.ask(self.dag_id, run_id=self.run_id)


def connect_customer(emulator: Emulator, account_id: str, tenant_id: str, integration: str, **more: Any) -> None:
    """Have one more integrated account until the emulator is reset."""
    seed = {"id": account_id, "tenant_id": tenant_id, **more}
    known = emulator.state.integrations[integration]
    emulator.state.accounts[account_id] = IntegratedAccount.from_seed(seed, known)


class Airflow:
    """Runs DAGs in a worker process."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.home = Path(env["AIRFLOW_HOME"])
        self.dags = Path(env["AIRFLOW__CORE__DAGS_FOLDER"])
        self._count = 0
        self._log = self.home / "worker.log"
        ours, theirs = socket.socketpair()
        with theirs, self._log.open("wb") as log:
            command = [sys.executable, str(FOLDER / "airflow_worker.py"), str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, pass_fds=[theirs.fileno()], cwd=self.home
            )
        ours.settimeout(120)  # a task that waits for a retry waits for minutes
        self._socket = ours
        self._line = ours.makefile("rw")

    def close(self) -> None:
        self._line.close()
        self._socket.close()
        self._process.wait(30)

    def run(
        self,
        body: str,
        *,
        native: bool = False,
        conf: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        files: dict[str, str] | None = None,
        is_dated: bool = True,
    ) -> Run:
        """Run the DAG whose tasks ``body`` makes, see ``PRELUDE`` for the names it has; ``files`` lie beside it.

        Airflow 3 has runs without a logical date: ``is_dated=False``.
        """
        # dag.test() of Airflow 3 reads the whole folder each time.
        shutil.rmtree(self.dags)
        self.dags.mkdir()
        self._count += 1
        dag_id = f"dag_{self._count}"
        prelude = PRELUDE.format(dag_id=dag_id, native=native, params=params or {})
        (self.dags / f"{dag_id}.py").write_text(prelude + textwrap.indent(textwrap.dedent(body), "    "))
        for name, text in (files or {}).items():
            path = self.dags / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.ask(dag_id, conf=conf, is_dated=is_dated)

    def ask(self, dag_id: str, **request: Any) -> Run:
        start = self._log.stat().st_size
        request = {"file": str(self.dags / f"{dag_id}.py"), "dag_id": dag_id, **request}
        self._line.write(json.dumps(request) + "\n")
        self._line.flush()
        answer = self._line.readline()
        with self._log.open("rb") as log:
            log.seek(start)
            text = re.sub(r"\x1b\[[0-9;]*m", "", log.read().decode(errors="replace"))
        reply = json.loads(answer) if answer else {"error": "the worker is gone"}
        if "error" in reply:
            pytest.fail(f"{reply['error']}\n{text[-8000:]}")
        tasks = self._tasks(dag_id, reply["run_id"])
        for failure in reply["failures"]:
            tasks[_name(failure["task_id"], failure["map_index"])].failures.append(failure)
        return Run(state=reply["state"], tasks=tasks, log=text, run_id=reply["run_id"], airflow=self, dag_id=dag_id)

    def query(self, statement: str, *values: Any) -> list[tuple]:
        """Ask Airflow's own database."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            return database.execute(statement, values).fetchall()

    def _tasks(self, dag_id: str, run_id: str) -> dict[str, TaskRun]:
        of_run = "where dag_id = ? and run_id = ?"
        tasks = {
            _name(task_id, index): TaskRun(state=state, tries=tries, xcom={}, rendered={})
            for task_id, index, state, tries in self.query(
                f"select task_id, map_index, state, try_number from task_instance {of_run}", dag_id, run_id
            )
        }
        for task_id, index, key, value in self.query(
            f"select task_id, map_index, key, value from xcom {of_run}", dag_id, run_id
        ):
            if not key.startswith("_link_"):  # Airflow's own, see test_links_on_airflow.py
                tasks[_name(task_id, index)].xcom[key] = decode_xcom(value)
        for task_id, index, fields in self.query(
            f"select task_id, map_index, rendered_fields from rendered_task_instance_fields {of_run}", dag_id, run_id
        ):
            tasks[_name(task_id, index)].rendered = json.loads(fields)
        return tasks


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def decode_xcom(value: Any) -> Any:
    """Read a stored XCom: JSON, since Airflow 3 as text within JSON; SQLite itself reads JSON that is a number."""
    if not isinstance(value, (str, bytes)):
        return value
    parsed = json.loads(value)
    try:
        return json.loads(parsed) if isinstance(parsed, str) else parsed
    except ValueError:
        return parsed
