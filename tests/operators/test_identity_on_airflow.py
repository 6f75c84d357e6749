"""What a write is to Truto over retries, edits, clears and deleted runs, on a real scheduler.

A retry repeats the key of the try before it, whatever the author edits and whoever else clears tasks meanwhile; a
cleared task writes again, and so does a run that was deleted and made again under its id.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from pathlib import Path

import pytest
from airflow_runs import PLANTED, before

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))

from airflow_home import airflow_home, end_part, for_parts, running_part

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

LONGEST = 300
PRELUDE = """
from datetime import datetime, timedelta, timezone
from pathlib import Path

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models.dag import DAG

from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator

DAYS = dict(start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, catchup=False)
SOURCE = [
    {{"id": "23423523", "integrated_account_id": ACME, "body": {{"description": "new"}}}},
    {{"id": "70010001", "integrated_account_id": GLOBEX, "body": {{"description": "new"}}}},
]


def update(retries):
    return TrutoUpdateAccountOperator(
        task_id="update",
        account_id="23423523",
        integrated_account_id=ACME,
        body={{"description": "new"}},
        retries=retries,
        retry_delay=timedelta(minutes=30),
    )


def bulk(**more):
    return TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=SOURCE, output_path={ledgers!r}, **{{"max_failures": 0, **more}}
    )


@task
def other():
    pass


@task
def waiting(path):
    import time

    while not Path(path).exists():
        time.sleep(0.2)


with DAG("{dag_id}", is_paused_upon_creation=False, **DAYS):
    {body}
"""
#: What Airflow does behind its buttons. (`airflow tasks clear` passes over runs without a logical date.)
CLEAR = "clear_task_instances([ti for ti in run.task_instances if ti.task_id == {!r}], session)"
DELETE = "session.delete(run)"
QUEUE = "run.state = DagRunState.QUEUED"
#: Runs commands of ``airflow`` and statements on a run in one process: importing Airflow takes seconds.
CONSOLE = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever Airflow prints goes to the log
from airflow import settings
from airflow.cli.cli_parser import get_parser
from airflow.models import DagRun
from airflow.models.taskinstance import clear_task_instances
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState

settings.initialize()
for request in map(json.loads, sys.stdin):
    if "command" in request:
        arguments = get_parser().parse_args(request["command"])
        arguments.func(arguments)
    else:
        with create_session() as session:
            run = session.query(DagRun).filter_by(dag_id=request["dag_id"], run_id=request["run_id"]).one()
            exec(request["statement"])
    print("done", file=answers, flush=True)
"""


class Scheduled:
    """An Airflow whose scheduler may be ended and started again."""

    def __init__(self, env, stack):
        self.env = env
        self.home = Path(env["AIRFLOW_HOME"])
        self._stack = stack
        if not before("3.0"):
            stack.enter_context(running_part(env, "api-server", "--workers", "1"))
        log = stack.enter_context((self.home / "console.log").open("wb"))
        command = [sys.executable, "-c", CONSOLE]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        self._console = stack.enter_context(subprocess.Popen(command, env=env, text=True, **pipes))
        stack.callback(self._console.stdin.close)
        if not before("3.0"):
            self._wait("the API server", self._is_up)
        self.start()

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
        """Write a DAG's file, or edit it, and have Airflow's database know of it."""
        path = Path(self.env["AIRFLOW__CORE__DAGS_FOLDER"]) / f"{dag_id}.py"
        path.write_text(PRELUDE.format(dag_id=dag_id, body=body, ledgers=str(self.home / "ledgers")))
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

    def until_run(self, dag_id, state, *, run_id="run"):
        statement = "select state from dag_run where dag_id = ? and run_id = ?"

        def is_so():
            with closing(self._database()) as database:
                (found,) = database.execute(statement, (dag_id, run_id)).fetchone()
            if found in {"success", "failed"} and found != state:
                pytest.fail(f"the run of {dag_id} is {found}:\n{self.log(dag_id)[-8000:]}")
            return found == state

        self._wait(f"{state} of the run", is_so)

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


@pytest.fixture(scope="module")
def scheduled(truto, tmp_path_factory):
    extra = {"max_attempts": 1, "requests_per_second": 0}
    conn = {"conn_type": "truto", "host": truto.url, "password": PLANTED, "extra": extra}
    with airflow_home(conn=conn, dags_folder=tmp_path_factory.mktemp("dags")) as env, ExitStack() as stack:
        if before("3.0"):
            env |= {"AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True"}  # which nobody starts
        else:
            env |= for_parts()
        env |= {"AIRFLOW__CORE__PARALLELISM": "4", "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1"}
        # On a busy machine, a task that is given up before it began has a try that no test means.
        env |= {"AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60", "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300"}
        yield Scheduled(env, stack)


@pytest.fixture
def emulator(truto):
    truto.reset()
    return truto


def sent(emulator):
    return [request["headers"]["idempotency-key"] for request in emulator.requests if request["method"] == "PATCH"]


def lose_answer(emulator):
    """Have the next write executed and its answer lost: the try fails, and nobody knows whether it happened."""
    emulator.fault(method="PATCH", reset="after")


@pytest.mark.parametrize(("first", "then"), [(1, 5), (3, 1)], ids=["raised", "lowered"])
def test_retries_that_are_edited_while_the_task_waits_do_not_write_twice(scheduled, emulator, first, then):
    dag_id = f"edited_{first}_{then}"
    lose_answer(emulator)
    scheduled.write(dag_id, f"update(retries={first})")
    scheduled.trigger(dag_id)
    scheduled.until(dag_id, "up_for_retry", 1)
    scheduled.write(dag_id, f"update(retries={then})")
    scheduled.let_an_hour_pass(dag_id)
    scheduled.until(dag_id, "success", 2)
    assert len(sent(emulator)) == 2
    assert len(set(sent(emulator))) == 1
    assert len(emulator.executions) == 1


def test_neither_another_task_s_clear_nor_another_scheduler_changes_the_key_of_a_waiting_task(scheduled, emulator):
    lose_answer(emulator)
    scheduled.write("beside", "update(retries=1); other()")
    scheduled.trigger("beside")
    scheduled.until("beside", "up_for_retry", 1)
    scheduled.until("beside", "success", 1, task_id="other")
    scheduled.clear("beside", "other")
    scheduled.until("beside", "success", 2, task_id="other")
    scheduled.stop()
    scheduled.let_an_hour_pass("beside")
    scheduled.start()
    scheduled.until("beside", "success", 2)
    assert len(set(sent(emulator))) == 1
    assert len(emulator.executions) == 1


@pytest.mark.skipif(
    not before("3.0") and before("3.3"), reason="nothing but the start of its run tells this Airflow's task of it"
)
def test_a_run_that_is_queued_by_hand_while_the_task_waits_is_the_same_run(scheduled, emulator):
    lose_answer(emulator)
    scheduled.write("queued", "update(retries=1)")
    scheduled.trigger("queued")
    scheduled.until("queued", "up_for_retry", 1)
    scheduled.on_run(QUEUE, "queued")
    scheduled.until_run("queued", "running")
    scheduled.let_an_hour_pass("queued")
    scheduled.until("queued", "success", 2)
    assert len(set(sent(emulator))) == 1
    assert len(emulator.executions) == 1


@pytest.mark.parametrize("then", [1, 0], ids=["same", "lowered"])
def test_a_cleared_task_writes_again_also_where_its_retries_were_lowered_before(scheduled, emulator, then):
    """Airflow sets max_tries to the tries that there were and the retries of today: 1 + 0 is what it was before."""
    dag_id = f"cleared_{then}"
    scheduled.write(dag_id, "update(retries=1)")
    scheduled.trigger(dag_id)
    scheduled.until_run(dag_id, "success")
    scheduled.write(dag_id, f"update(retries={then})")
    scheduled.clear(dag_id, "update")
    scheduled.until(dag_id, "success", 2)
    assert len(emulator.executions) == 2
    assert len(set(sent(emulator))) == 2


@pytest.mark.skipif(before("3.3"), reason="before the task state store, nothing tells this clear from a retry")
def test_it_does_so_in_a_run_that_still_runs_and_its_retries_repeat_that_write(scheduled, emulator):
    body = "update(retries={}); waiting({!r})"
    gate = scheduled.home / "gate"
    scheduled.write("running", body.format(2, str(gate)))
    scheduled.trigger("running")
    scheduled.until("running", "success", 1)
    lose_answer(emulator)
    scheduled.write("running", body.format(1, str(gate)))
    scheduled.clear("running", "update")
    scheduled.until("running", "up_for_retry", 2)
    scheduled.let_an_hour_pass("running")
    scheduled.until("running", "success", 3)
    gate.touch()
    first, second, third = sent(emulator)
    assert first != second == third
    assert len(emulator.executions) == 2


@pytest.mark.parametrize("has_date", [False, True], ids=["without a date", "with the same date"])
def test_a_run_that_was_deleted_and_is_made_again_under_its_id_writes_again(scheduled, emulator, has_date):
    dag_id = f"remade_{has_date}".lower()
    option = "--exec-date" if before("3.0") else "--logical-date"
    dated = (option, "2026-03-01T00:00:00+00:00") if has_date else ()
    scheduled.write(dag_id, "update(retries=1) >> bulk()")
    scheduled.trigger(dag_id, *dated)
    scheduled.until_run(dag_id, "success")
    assert len(emulator.executions) == 3
    # SQLite would give the number of the last run again, and a scheduler that has not yet heard of the end of a task
    # would take it for that of the new one.
    scheduled.trigger(dag_id, run_id="later")
    scheduled.until_run(dag_id, "success", run_id="later")
    assert len(emulator.executions) == 6
    scheduled.on_run(DELETE, dag_id)
    scheduled.trigger(dag_id, *dated)
    scheduled.until_run(dag_id, "success")
    assert len(emulator.executions) == len(set(sent(emulator))) == 9
    assert "of a DAG run of this id that was deleted" in scheduled.log(dag_id)


def test_a_cleared_bulk_finds_the_ledger_of_its_run_again_and_sends_the_rest(scheduled, emulator):
    emulator.fault(method="PATCH", path="70010001$", status=500)
    scheduled.write("resumed", "bulk()")
    scheduled.trigger("resumed")
    scheduled.until_run("resumed", "failed")
    scheduled.clear("resumed", "bulk")
    scheduled.until_run("resumed", "success")
    assert sorted(execution["path"][-1] for execution in emulator.executions) == ["23423523", "70010001"]
    assert "1 records are accounted for already" in scheduled.log("resumed")
