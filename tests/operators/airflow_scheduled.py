"""A real Airflow by its parts: a scheduler, a triggerer and an API server that may be ended and started again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from pathlib import Path

import pytest
from airflow_runs import PLANTED, before

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))

from airflow_home import airflow_home, end_part, for_parts, free_port, running_part

LONGEST = 300
#: What Airflow does behind its buttons. (`airflow tasks clear` passes over runs without a logical date.)
CLEAR = "clear_task_instances([ti for ti in run.task_instances if ti.task_id == {!r}], session)"
DELETE = "session.delete(run)"
QUEUE = "run.state = DagRunState.QUEUED"
#: Runs commands of ``airflow`` and statements on a run in one process: importing Airflow takes seconds.
CONSOLE = """
import json, os, sys, time
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever Airflow prints goes to the log
from airflow import settings
from airflow.cli.cli_parser import get_parser
from airflow.models import DagRun
from airflow.models.taskinstance import clear_task_instances
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy.exc import OperationalError

settings.initialize()
for request in map(json.loads, sys.stdin):
    if "command" in request:
        arguments = get_parser().parse_args(request["command"])
        for is_last in [False] * 5 + [True]:
            try:
                arguments.func(arguments)
                break
            except OperationalError:  # a DAG processor of Airflow 2 locks the database
                if is_last:
                    raise
                time.sleep(1)
    else:
        with create_session() as session:
            run = session.query(DagRun).filter_by(dag_id=request["dag_id"], run_id=request["run_id"]).one()
            exec(request["statement"])
    print("done", file=answers, flush=True)
"""


class Scheduled:
    """An Airflow whose scheduler may be ended and started again."""

    def __init__(self, env, stack, prelude):
        self._prelude = prelude
        self.env = env
        self.home = Path(env["AIRFLOW_HOME"])
        self._stack = stack
        if not before("3.0"):
            self.start_api()
        log = stack.enter_context((self.home / "console.log").open("wb"))
        command = [sys.executable, "-c", CONSOLE]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        self._console = stack.enter_context(subprocess.Popen(command, env=env, text=True, **pipes))
        stack.callback(self._console.stdin.close)
        self.start()

    def start_api(self):
        self._api = self._stack.enter_context(running_part(self.env, "api-server", "--workers", "1"))
        self._wait("the API server", self._is_up)

    def kill_api(self):
        end_part(self._api, at_once=True)

    def start_triggerer(self):
        self._triggerer = self._stack.enter_context(running_part(self.env, "triggerer"))

    def kill_triggerer(self):
        end_part(self._triggerer, at_once=True)

    def _is_up(self):
        port = int(self.env["AIRFLOW__API__PORT"])
        with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/api/v2/version")
            return connection.getresponse().status == 200
        return False

    def start(self):
        self._scheduler = self._stack.enter_context(running_part(self.env, "scheduler"))

    def stop(self):
        end_part(self._scheduler)

    def _ask(self, **request):
        self._console.stdin.write(json.dumps(request) + "\n")
        self._console.stdin.flush()
        answer = self._console.stdout.readline()
        assert answer == "done\n", (self.home / "console.log").read_text()[-4000:]

    def write(self, dag_id, body):
        """Write a DAG's file after the prelude, or edit it."""
        self.write_file(dag_id, self._prelude.format(dag_id=dag_id, body=body, ledgers=str(self.home / "ledgers")))

    def write_file(self, dag_id, text):
        """Write a DAG's file, and have Airflow's database know of it."""
        path = Path(self.env["AIRFLOW__CORE__DAGS_FOLDER"]) / f"{dag_id}.py"
        path.write_text(text)
        self._ask(command=["dags", "reserialize"])

    def trigger(self, dag_id, *more, run_id="run"):
        self._ask(command=["dags", "trigger", "--run-id", run_id, *more, dag_id])

    def clear(self, dag_id, task_id):
        self.on_run(CLEAR.format(task_id), dag_id)

    def on_run(self, statement, dag_id, run_id="run"):
        self._ask(statement=statement, dag_id=dag_id, run_id=run_id)

    def let_an_hour_pass(self, dag_id):
        """Have the retry of a waiting task be due, as its end lies an hour back."""
        past = str(datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(hours=1))
        statement = "update task_instance set end_date = ? where dag_id = ? and state = 'up_for_retry'"
        with closing(self._database()) as database, database:
            assert database.execute(statement, (past, dag_id)).rowcount == 1

    def _database(self):
        return sqlite3.connect(self.home / "airflow.db", timeout=60)

    def query(self, statement, *values):
        """Ask Airflow's own database."""
        with closing(self._database()) as database:
            return database.execute(statement, values).fetchall()

    def task(self, dag_id, task_id="update", run_id="run"):
        """A task's state and how many tries it has had."""
        statement = "select state, try_number from task_instance where dag_id = ? and run_id = ? and task_id = ?"
        with closing(self._database()) as database:
            return database.execute(statement, (dag_id, run_id, task_id)).fetchone() or (None, 0)

    def until(self, dag_id, state, tries, *, task_id="update"):
        def is_so():
            found = self.task(dag_id, task_id)
            if found[0] == "failed" and found != (state, tries):
                pytest.fail(f"{dag_id}.{task_id} has failed:\n{self.log(dag_id)[-8000:]}")
            return found == (state, tries)

        self._wait(f"{state} in try {tries} of {task_id}", is_so)
        if state == "deferred":
            self._wait("the scheduler's notice of it", lambda: self._has_noticed(dag_id, tries, task_id))

    def _has_noticed(self, dag_id, tries, task_id):
        """Whether the scheduler has seen that the worker is done.

        A task that is resumed before that is taken for one whose worker has failed, and tried again.
        """
        key = f"TaskInstanceKey(dag_id={dag_id!r}, task_id={task_id!r}, run_id='run', try_number={tries}"
        lines = (self.home / "scheduler.log").read_text(errors="replace").splitlines()
        return any("Received executor event" in line and key in line for line in lines)

    def until_run(self, dag_id, state, *, run_id="run"):
        statement = "select state from dag_run where dag_id = ? and run_id = ?"

        def is_so():
            with closing(self._database()) as database:
                (found,) = database.execute(statement, (dag_id, run_id)).fetchone()
            if found in {"success", "failed"} and found != state:
                pytest.fail(f"the run of {dag_id} is {found}:\n{self.log(dag_id)[-8000:]}")
            return found == state

        self._wait(f"{state} of the run", is_so)

    def until_any_run(self, dag_id, state):
        """Wait for a run of a DAG that Airflow triggers."""
        statement = "select count(*) from dag_run where dag_id = ? and state = ?"
        self._wait(f"a run of {dag_id}", lambda: self.query(statement, dag_id, state) != [(0,)])

    def _wait(self, what, condition):
        deadline = time.monotonic() + LONGEST
        while not condition():
            if time.monotonic() > deadline:
                log = (self.home / "scheduler.log").read_text(errors="replace")
                pytest.fail(f"{what} did not come in {LONGEST} s. The end of the scheduler's log:\n{log[-8000:]}")
            time.sleep(0.2)

    def log(self, dag_id):
        logs = self.home / "logs" / f"dag_id={dag_id}" / "run_id=run"
        return "".join(path.read_text() for path in sorted(logs.rglob("*.log")))


def name_dag(request):
    """Return the id of the DAG of a test: its name."""
    return "".join(letter if letter.isalnum() else "_" for letter in request.node.name.removeprefix("test_"))


@contextmanager
def scheduled_airflow(truto, dags_folder, *, prelude, **more_env):
    """Run an Airflow whose connection leads to an emulator; ``prelude`` is what its DAG files begin with."""
    extra = {"max_attempts": 1, "requests_per_second": 0}
    conn = {"conn_type": "truto", "host": truto.url, "password": PLANTED, "extra": extra}
    with airflow_home(conn=conn, dags_folder=dags_folder) as env, ExitStack() as stack:
        if before("3.0"):
            env |= {"AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True"}  # which nobody starts
        else:
            env |= for_parts()
        env |= {"AIRFLOW__CORE__PARALLELISM": "4", "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1"}
        # On a busy machine, a task that is given up before it began has a try that no test means.
        env |= {"AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60", "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300"}
        # Whoever takes over from a triggerer that was killed waits for so long.
        env |= {
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }
        yield Scheduled(env | more_env, stack, prelude)
