"""``TrutoSyncJobRunSensor`` against the emulator; ``operators/test_sync_jobs_on_airflow.py`` also reschedules it."""

from __future__ import annotations

import time

import pytest

from airflow_provider_truto._compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_provider_truto.airflow_errors import TrutoSyncJobRunError
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.sensors.sync_jobs import TrutoSyncJobRunSensor

try:
    from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowSensorTimeout, TaskDeferred

JOB = "11111111-0000-4000-8000-000000000001"
FOREVER = ["created", "running"]


@pytest.fixture
def start(emulator, connection):
    """A function that starts a run and returns its id."""
    connection(emulator.url, emulator.token, requests_per_second=0, max_attempts=1)

    def call(statuses=("created", "running", "completed"), **args):
        given = {"statuses": list(statuses), **args}
        started = TrutoHook().start_sync_job_run(JOB, error_handling="ignore", integrated_account_id=ACME, args=given)
        return started["id"]

    return call


def sensor(run_id, **more):
    return TrutoSyncJobRunSensor(task_id="wait", sync_job_run_id=run_id, **{"poke_interval": 0.05, **more})


def event_of(deferred):
    """What the trigger of a deferred sensor fires, with what it is resumed."""
    _, arguments = deferred.trigger.serialize()
    return {"reason": "over", "message": "", **arguments}


def test_it_waits_and_returns_the_run(start):
    run_id = start(["created", "running", "rate_limited", "completed"])
    assert sensor(run_id).execute({})["id"] == run_id


def test_deferred_it_looks_once_before_and_once_after(start, emulator):
    run_id = start(["created", "running", "completed"])
    waiting = sensor(run_id, deferrable=True, poke_interval=7, timeout=100)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute({})
    event = event_of(deferred.value)
    assert (event["poll_interval"], event["stop_on_kill"]) == (7, False)
    assert event["deadline"] == pytest.approx(time.time() + 100, abs=20)
    assert sensor(run_id, deferrable=True).execute_complete({}, event)["status"] == "completed"


def test_deferred_it_returns_at_once_what_is_over(start):
    assert sensor(start(["completed"]), deferrable=True).execute({})["status"] == "completed"


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_it_fails_for_good_where_the_run_has(start, status):
    run_id = start(["created", status], entries=[{"resource": "crm/contacts", "logs": ["No rights"]}])
    with pytest.raises(AirflowFailException, match="No rights" if status == "failed" else "was stopped") as failed:
        sensor(run_id).execute({})
    assert isinstance(failed.value.__cause__, TrutoSyncJobRunError)


def test_it_fails_for_good_where_the_run_is_gone(start):
    with pytest.raises(AirflowFailException, match="404"):
        sensor(start(["created", {"vanishes": True}])).execute({})


def test_polls_that_fail_are_counted(start, emulator):
    run_id = start(["created", "running", "completed"])
    emulator.fault(method="GET", path="sync-job-run", status=502, times=3)
    assert sensor(run_id, max_failed_polls=4).execute({})["status"] == "completed"
    emulator.fault(method="GET", path="sync-job-run", status=502, times=3)
    with pytest.raises(Exception, match="502"):
        sensor(run_id, max_failed_polls=3).execute({})


@pytest.mark.parametrize("deferrable", [False, True])
def test_it_times_out(start, deferrable):
    waiting = sensor(start(FOREVER), timeout=0.2, deferrable=deferrable)
    with pytest.raises(AirflowSensorTimeout):
        deferred_or_not(waiting)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("statuses", [FOREVER, ["created", "failed"], ["created", "running", {"vanishes": True}]])
def test_soft_fail_skips(start, statuses, deferrable):
    waiting = sensor(start(statuses), timeout=0.2, soft_fail=True, deferrable=deferrable)
    with pytest.raises(AirflowSkipException):
        deferred_or_not(waiting)


def deferred_or_not(waiting):
    """Run a sensor; if it defers, resume it once its deadline is over."""
    try:
        return waiting.execute({})
    except TaskDeferred as deferred:
        event = {**event_of(deferred), "reason": "deadline"}
        time.sleep(0.3)
        return waiting.resume_execution("execute_complete", {"event": event}, {})


def test_a_run_that_was_not_delivered_fails_it_under_verify_fail(start):
    entries = [{"resource": "crm/contacts", "datastore_successful": False}]
    with pytest.raises(AirflowFailException, match="crm/contacts to the datastore"):
        sensor(start(entries=entries), verify="fail").execute({})
    assert sensor(start(entries=entries)).execute({})["status"] == "completed"


def test_a_triggerer_that_could_not_wait_fails_the_try(start):
    waiting = sensor(start(FOREVER), deferrable=True)
    event = {"reason": "error", "message": "no such connection", "deadline": time.time() + 60}
    with pytest.raises(AirflowException, match="no such connection"):
        waiting.execute_complete({}, event)


def test_a_run_that_nobody_names_is_refused(start):
    waiting = sensor("{{ none }}")
    waiting.sync_job_run_id = None
    with pytest.raises(AirflowFailException, match="/sync_job_run_id"):
        waiting.execute({})
