"""A sync job run survives what happens to workers, triggerers and API servers: one is started, on a real scheduler.

That it is one is counted at the server.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from airflow_runs import before
from airflow_scheduled import CLEAR, name_dag, scheduled_airflow

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PRELUDE = """
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow.models.dag import DAG

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator
from airflow_provider_truto.sensors.sync_jobs import TrutoSyncJobRunSensor

DAYS = dict(start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, catchup=False)
JOB = "11111111-0000-4000-8000-000000000001"
# Until the test ends it.
LONG = ["created", {{"status": "running", "polls": 1000000}}, "completed"]


def say_who(context):
    Path({ledgers!r} + "-" + context["ti"].dag_id).write_text(str(os.getpid()))


def sync(**more):
    defaults = {{"args": {{"statuses": LONG}}, "poll_interval": 1, "retries": 2, "retry_delay": timedelta(0)}}
    return TrutoSyncJobRunOperator(
        task_id="sync", sync_job_id=JOB, integrated_account_id=ACME, pre_execute=say_who, **{{**defaults, **more}}
    )


with DAG("{dag_id}", is_paused_upon_creation=False, **DAYS):
    {body}
"""
EXAMPLE = Path(__file__).parent.parent.parent / "example_dags" / "truto_sync_job.py"
#: What lets a test kill the worker of the example.
SAY_WHO = """
import os
from pathlib import Path

sync._pre_execute_hook = lambda context: Path({who!r}).write_text(str(os.getpid()))
"""
MARK_FAILED = "[ti] = run.task_instances; ti.set_state('failed', session=session)"
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "in the triggerer"])


@pytest.fixture(scope="module")
def scheduled(truto, tmp_path_factory):
    # How soon it is noticed that a worker is gone.
    quick = {
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
        "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
        # Of Airflow 2, where the DAG processor fails tasks whose worker is gone.
        "AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "False",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
    }
    with scheduled_airflow(truto, tmp_path_factory.mktemp("dags"), prelude=PRELUDE, **quick) as airflow:
        airflow.start_triggerer()
        yield airflow


@pytest.fixture
def begin(scheduled, emulator, request):
    """A function that runs a DAG named after the test, and returns its id once the task `sync` is in a state."""

    def call(body, state, tries=1):
        dag_id = name_dag(request)
        scheduled.write(dag_id, body)
        scheduled.trigger(dag_id)
        if state:
            scheduled.until(dag_id, state, tries, task_id="sync")
        return dag_id

    return call


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def polled(emulator, *, more=2):
    """Wait until the newest run was looked at some times more."""

    def count():
        return len([one for one in emulator.requests if one["method"] == "GET" and one["path"][0] == "sync-job-run"])

    start = count()
    until(lambda: count() >= start + more)


def complete(emulator):
    """Let the newest run come to its end with the next look."""
    *_, run = emulator.state.sync_runs.values()
    run.coming, run.polls = run.coming[-1:], 1_000_000


def who_file(scheduled, dag_id):
    """Where a task says in which process it runs."""
    return scheduled.home / f"ledgers-{dag_id}"


def kill_worker(scheduled, dag_id):
    who = who_file(scheduled, dag_id)
    until(who.exists)
    os.kill(int(who.read_text()), signal.SIGKILL)
    who.unlink()


def only_run(emulator):
    (run,) = emulator.sync_runs
    return run


def test_it_defers_and_resumes(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True)", "deferred")
    polled(emulator)
    complete(emulator)
    scheduled.until(dag_id, "success", 1, task_id="sync")
    assert only_run(emulator)["status"] == "completed"


def test_a_triggerer_that_is_killed_while_it_waits_loses_nothing(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True)", "deferred")
    polled(emulator)
    scheduled.kill_triggerer()
    scheduled.start_triggerer()
    polled(emulator)
    complete(emulator)
    scheduled.until(dag_id, "success", 1, task_id="sync")
    assert not only_run(emulator)["is_stopped"]


@WAITS
def test_a_worker_that_is_killed_between_the_start_and_its_answer_starts_no_second_run(
    scheduled, emulator, begin, deferrable
):
    emulator.fault(method="POST", path="sync-job-run", delay_after=15)
    dag_id = begin(f"sync(deferrable={deferrable})", None)
    until(lambda: emulator.sync_runs, 120)
    kill_worker(scheduled, dag_id)
    scheduled.until(dag_id, "deferred" if deferrable else "running", 2, task_id="sync")
    polled(emulator)
    complete(emulator)
    scheduled.until(dag_id, "success", 2, task_id="sync")
    assert only_run(emulator)["status"] == "completed"
    assert "which was started before" in scheduled.log(dag_id)


def test_a_worker_that_is_killed_while_it_waits_starts_no_second_run(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=False)", "running")
    polled(emulator)
    kill_worker(scheduled, dag_id)
    scheduled.until(dag_id, "running", 2, task_id="sync")
    polled(emulator)
    complete(emulator)
    scheduled.until(dag_id, "success", 2, task_id="sync")
    assert only_run(emulator)["status"] == "completed"


def test_a_run_that_is_completed_while_its_task_waits_for_its_retry_is_found(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=False, retry_delay=timedelta(minutes=30))", "running")
    polled(emulator)
    kill_worker(scheduled, dag_id)
    scheduled.until(dag_id, "up_for_retry", 1, task_id="sync")
    complete(emulator)
    emulator.state.sync_runs[only_run(emulator)["id"]].poll()
    scheduled.let_an_hour_pass(dag_id)
    scheduled.until(dag_id, "success", 2, task_id="sync")
    assert only_run(emulator)["status"] == "completed"


def test_a_retry_of_a_deferred_task_whose_run_failed_starts_another(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True, args={'statuses': ['created', 'running', 'failed']})", "deferred")
    scheduled.until(dag_id, "failed", 3, task_id="sync")
    assert [run["status"] for run in emulator.sync_runs] == ["failed"] * 3


def test_the_example_dag_survives_kills_of_its_worker_and_of_its_triggerer(scheduled, emulator):
    dag_id = "truto_sync_job"
    say_who = SAY_WHO.format(who=str(who_file(scheduled, dag_id)))
    scheduled.write_file(dag_id, EXAMPLE.read_text() + say_who)
    emulator.fault(method="POST", path="sync-job-run", delay_after=15)
    scheduled.trigger(dag_id)
    until(lambda: emulator.sync_runs, 120)
    kill_worker(scheduled, dag_id)
    scheduled.until(dag_id, "up_for_retry", 1, task_id="sync_contacts")
    scheduled.let_an_hour_pass(dag_id)
    scheduled.until(dag_id, "deferred", 2, task_id="sync_contacts")
    scheduled.kill_triggerer()
    scheduled.start_triggerer()
    scheduled.until(dag_id, "success", 2, task_id="sync_contacts")
    scheduled.until(dag_id, "success", 1, task_id="count")
    assert only_run(emulator)["status"] == "completed"


@pytest.mark.skipif(before("3.0"), reason="Airflow 2 has no API server between its parts")
def test_an_api_server_that_is_gone_for_a_minute_loses_nothing(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True)", "deferred")
    polled(emulator)
    scheduled.kill_api()
    time.sleep(60)
    scheduled.start_api()
    polled(emulator)
    complete(emulator)
    scheduled.until(dag_id, "success", 1, task_id="sync")
    assert only_run(emulator)["status"] == "completed"


@pytest.mark.parametrize("stops", [True, False])
def test_a_deferred_task_that_a_user_marks_failed_stops_its_run(scheduled, emulator, begin, stops):
    dag_id = begin(f"sync(deferrable=True, stop_on_kill={stops})", "deferred")
    polled(emulator)
    scheduled.on_run(MARK_FAILED, dag_id)
    if stops:
        until(lambda: only_run(emulator)["is_stopped"])
        until(lambda: "since a user has ended this task" in scheduled.log(dag_id))
    else:
        time.sleep(5)
        assert not only_run(emulator)["is_stopped"]
    assert scheduled.task(dag_id, "sync")[0] == "failed"


def test_a_running_task_that_a_user_marks_failed_stops_its_run(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=False)", "running")
    polled(emulator)
    scheduled.on_run(MARK_FAILED, dag_id)
    until(lambda: only_run(emulator)["is_stopped"])
    until(lambda: "this task is killed" in scheduled.log(dag_id))
    assert len(emulator.sync_runs) == 1


def test_after_the_deadline_the_run_is_stopped(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True, timeout=6, poll_interval=60, retries=0)", "deferred")
    scheduled.until(dag_id, "failed", 1, task_id="sync")
    assert only_run(emulator)["is_stopped"]
    assert "the timeout: it was stopped" in scheduled.log(dag_id)


@pytest.mark.skipif(not before("3.0"), reason="since Airflow 3, execution_timeout counts in the worker only")
def test_after_the_execution_timeout_the_run_is_stopped(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True, execution_timeout=timedelta(seconds=8), retries=0)", "deferred")
    scheduled.until(dag_id, "failed", 1, task_id="sync")
    until(lambda: only_run(emulator)["is_stopped"])


@pytest.mark.skipif(before("3.0") or not before("3.3"), reason="it tells a clear from a retry")
def test_a_cleared_task_goes_on_with_a_run_that_lives_where_airflow_tells_no_clear(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True)", "deferred")
    polled(emulator)
    scheduled.on_run(CLEAR.format("sync"), dag_id)
    scheduled.until(dag_id, "deferred", 2, task_id="sync")
    polled(emulator)
    complete(emulator)
    scheduled.until(dag_id, "success", 2, task_id="sync")
    assert not only_run(emulator)["is_stopped"]


@pytest.mark.skipif(before("3.3") and not before("3.0"), reason="Airflow 3.0 to 3.2 do not tell a clear from a retry")
def test_a_cleared_task_starts_over_and_what_it_waited_for_is_stopped(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True)", "deferred")
    polled(emulator)
    scheduled.on_run(CLEAR.format("sync"), dag_id)
    scheduled.until(dag_id, "deferred", 2, task_id="sync")
    until(lambda: emulator.sync_runs[0]["is_stopped"])
    complete(emulator)
    scheduled.until(dag_id, "success", 2, task_id="sync")
    assert [run["is_stopped"] for run in emulator.sync_runs] == [True, False]


def test_nothing_secret_is_stored_of_a_deferred_task(scheduled, emulator, begin):
    dag_id = begin("sync(deferrable=True)", "deferred")
    (stored,) = scheduled.query("select kwargs from trigger")
    assert "planted" not in str(stored)
    complete(emulator)
    scheduled.until(dag_id, "success", 1, task_id="sync")
    assert "planted" not in scheduled.log(dag_id)


# A scheduler that is busy takes a task which is rescheduled at once for one that its executor has lost.
@pytest.mark.parametrize(
    "how", ["poke_interval=2", "mode='reschedule', poke_interval=10", "deferrable=True, poke_interval=2"]
)
def test_a_sensor_waits_for_what_the_operator_has_started(scheduled, emulator, begin, how):
    of_run = "sync_job_run_id=sync(wait=False).output['sync_job_run_id']"
    dag_id = begin(f"TrutoSyncJobRunSensor(task_id='wait', {of_run}, {how})", "success")
    if "deferrable" in how:  # and the scheduler has noticed it
        scheduled.until(dag_id, "deferred", 1, task_id="wait")
    polled(emulator)
    complete(emulator)
    scheduled.until(dag_id, "success", 1, task_id="wait")
    assert only_run(emulator)["status"] == "completed"


def test_two_hundred_of_them_are_deferred_at_once_and_each_starts_one_run(scheduled, emulator, begin):
    dag_id = begin(
        "TrutoSyncJobRunOperator.partial(task_id='many', sync_job_id=JOB, integrated_account_id=ACME,"
        " deferrable=True, poll_interval=5).expand(args=[{'statuses': LONG, 'number': n} for n in range(200)])",
        None,
    )
    deferred = f"select count(*) from task_instance where dag_id = {dag_id!r} and state = 'deferred'"
    until(lambda: scheduled.query(deferred) == [(200,)], 1200)
    assert sorted(run["args"]["number"] for run in emulator.sync_runs) == list(range(200))
    for run in emulator.state.sync_runs.values():
        run.coming, run.polls = run.coming[-1:], 1_000_000
    scheduled.until_run(dag_id, "success")
    assert {run["status"] for run in emulator.sync_runs} == {"completed"}
