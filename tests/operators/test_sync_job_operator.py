"""``TrutoSyncJobRunOperator`` on a real Airflow: one run a task, waited for in the worker or in the triggerer."""

from __future__ import annotations

import pytest
from airflow_runs import before

from airflow_provider_truto._compat import NOTSET
from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator

pytestmark = pytest.mark.airflow

JOB = "11111111-0000-4000-8000-000000000001"
IMPORTS = """
from airflow_provider_truto.operators import _sync_run_start
from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator
_sync_run_start.LOOK_AFTER = (0, 0.1)
"""
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "in the triggerer"])
#: A retry, which only the scheduler of Airflow 3.0 tells from a task that goes on after its deferral.
IS_3_0 = before("3.1") and not before("3.0")
RETRIED_WAITS = pytest.mark.parametrize(
    "deferrable",
    [False, pytest.param(True, marks=pytest.mark.skipif(IS_3_0, reason="its dag.test() counts no tries"))],
)


@pytest.fixture
def run(airflow):
    """A function that runs one operator: ``run(statuses=[…], args={…}, retries=1, …)``."""

    def call(*, statuses=None, entries=None, conf=None, **given):
        args = dict(given.pop("args", {}))
        args |= {"statuses": statuses} if statuses else {}
        args |= {"entries": entries} if entries else {}
        defaults = {"sync_job_id": JOB, "integrated_account_id": ACME, "poll_interval": 0.05, "retry_delay": 0.0}
        arguments = {**defaults, **({"args": args} if args else {}), **given}
        arguments = {name: value for name, value in arguments.items() if value is not ...}
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        shown = shown.replace("retry_delay=0.0", "retry_delay=timedelta(0)")
        return airflow.run(f"{IMPORTS}\nTrutoSyncJobRunOperator(task_id='sync', {shown})", conf=conf)

    return call


def polls(emulator):
    return [request for request in emulator.requests if request["method"] == "GET" and len(request["path"]) == 2]


def only_run(emulator):
    (run,) = emulator.sync_runs
    return run


@WAITS
def test_it_starts_a_run_and_waits_for_its_end(run, emulator, deferrable):
    steps = [
        "created",
        "running",
        "rate_limited",
        {"status": "running", "resource_stats": {"crm/contacts": {"n": 5}}},
    ]
    done = run(statuses=[*steps, "completed"], deferrable=deferrable)
    assert done.state == "success", done.log
    started = only_run(emulator)
    assert done["sync"].xcom["return_value"]["id"] == done["sync"].xcom["sync_job_run_id"] == started["id"]
    told = done["sync"].xcom["truto"]
    assert (told["status"], told["counts"]) == ("completed", {"crm/contacts": {"n": 5}})
    assert "is rate_limited" in done.log


def test_every_field_is_sent_under_its_name_on_the_wire_and_what_is_left_out_is_not(run, emulator):
    given = {
        "args": {"since": "{{ params.since }}", "count": "{{ 1 + 1 }}"},
        "sync_resources": "['crm/contacts']",
        "error_handling": "ignore",
        "ignore_previous_run": "true",
        "force": True,
        "super_query": "apac",
        "webhook_id": "w-1",
        "datastore_id": "d-1",
        "mutex_key": "m",
        "state_key": "s",
        "events_to_send": ["sync_job_run:record"],
    }
    given["args"]["since"] = "{{ dag_run.conf.since }}"
    given["sync_resources"] = ["crm/contacts"]
    done = run(**given, conf={"since": "2024"}, wait="false")
    assert done.state == "success", done.log
    (sent,) = [request["body"] for request in emulator.requests if request["method"] == "POST"]
    assert sent == {
        "sync_job_id": JOB,
        "integrated_account_id": ACME,
        "status": "created",
        "args": {"since": "2024", "count": 2},
        "resources": ["crm/contacts"],
        "error_handling": "ignore",
        "ignore_previous_run": True,
        "force": True,
        "super_query": "apac",
        "webhook_id": "w-1",
        "datastore_id": "d-1",
        "mutex_key": "m",
        "state_key": "s",
        "events_to_send": ["sync_job_run:record"],
    }
    assert polls(emulator) == []


def test_error_handling_is_always_said(run, emulator):
    assert run(wait=False).state == "success"
    (sent,) = [request["body"] for request in emulator.requests if request["method"] == "POST"]
    assert sent == {
        "sync_job_id": JOB,
        "integrated_account_id": ACME,
        "status": "created",
        "error_handling": "fail_fast",
        "ignore_previous_run": False,
    }


def test_a_customer_may_be_named_by_tenant(run, emulator):
    assert run(integrated_account_id=..., tenant_id="globex").state == "success"
    assert only_run(emulator)["integrated_account_id"] == GLOBEX


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"integrated_account_id": "{{ none }}"}, "/integrated_account_id: "),
        ({"args": {"since": "{{ none }}"}}, "/args/since: "),
        ({"timeout": "{{ 'soon' }}"}, "/timeout: expects seconds or a timedelta"),
    ],
)
def test_what_is_wrong_with_its_arguments_is_said_and_nothing_is_started(run, emulator, given, said):
    failed = run(**given, retries=2)
    assert (failed.state, failed["sync"].tries) == ("failed", 1)
    assert said in failed["sync"].failure["message"]
    assert emulator.sync_runs == []


@RETRIED_WAITS
def test_a_failed_run_fails_the_task_with_the_reason_of_the_log_and_a_retry_starts_another(run, emulator, deferrable):
    entries = [
        {"resource": "crm/contacts", "logs": ["The CRM refused the token"]},
        {"resource": "crm/leads", "logs": []},
    ]
    failed = run(statuses=["created", "failed"], entries=entries, deferrable=deferrable, retries=1)
    assert failed.state == "failed"
    assert [failure["type"] for failure in failed["sync"].failures] == ["TrutoSyncJobRunError"] * 2
    assert "failed: crm/contacts: The CRM refused the token" in failed["sync"].failures[0]["message"]
    assert failed["sync"].xcom["truto"]["status"] == "failed"
    assert len(emulator.sync_runs) == 2


def test_a_run_that_somebody_has_stopped_fails_the_task_for_good(run, emulator):
    failed = run(statuses=["created", "stopped"], retries=2)
    assert "was stopped, and not by this task" in failed["sync"].failure["message"]
    assert len(emulator.sync_runs) == 1


@WAITS
def test_a_run_that_vanishes_fails_the_task_for_good(run, emulator, deferrable):
    failed = run(statuses=["created", "running", {"vanishes": True}], retries=2, deferrable=deferrable)
    assert "404" in failed["sync"].failure["message"]
    assert (failed["sync"].tries, len(emulator.sync_runs)) == (1, 1)


@WAITS
def test_an_unknown_status_is_waited_for_with_a_warning(run, emulator, deferrable):
    done = run(statuses=["created", "paused", "completed"], deferrable=deferrable)
    assert done.state == "success"
    assert "has the unknown status paused" in done.log, done.log


@WAITS
def test_polls_that_fail_are_counted_and_neither_fail_the_task_nor_start_a_second_run(run, emulator, deferrable):
    emulator.fault(method="GET", path="sync-job-run/", status=500, times=3)
    done = run(statuses=["created", "running", "completed"], deferrable=deferrable, retries=2)
    assert (done.state, done["sync"].tries) == ("success", 1), done.log
    assert "number 3 in a row of 10" in done.log
    assert len(emulator.sync_runs) == 1


@RETRIED_WAITS
def test_so_many_in_a_row_fail_the_try_and_the_next_one_goes_on_with_the_run(run, emulator, deferrable):
    emulator.fault(method="GET", path="sync-job-run/", status=500, times=4)
    statuses = ["created", "running", "running", "completed"]
    done = run(statuses=statuses, deferrable=deferrable, retries=3, max_failed_polls=2)
    assert done.state == "success", done.log
    assert done["sync"].tries > 1
    assert len(emulator.sync_runs) == 1


@WAITS
def test_a_token_that_is_refused_fails_the_task_for_good(run, emulator, deferrable):
    emulator.fault(method="GET", path="sync-job-run/", status=401, times=None)
    failed = run(statuses=["created", "running"], deferrable=deferrable, retries=2)
    assert (failed.state, failed["sync"].tries) == ("failed", 1)
    assert "401" in failed["sync"].failure["message"]
    assert len(emulator.sync_runs) == 1


@WAITS
def test_a_job_shorter_than_the_poll_interval_is_not_missed(run, deferrable):
    assert run(statuses=["completed"], poll_interval=3600, deferrable=deferrable).state == "success"


@WAITS
def test_there_is_one_more_look_at_the_deadline(run, emulator, deferrable):
    statuses = ["created", {"status": "running", "seconds": 0.6}, "completed"]
    done = run(statuses=statuses, poll_interval=3600, timeout=1.5, deferrable=deferrable)
    assert done.state == "success", done.log


@WAITS
@pytest.mark.parametrize("stops", [True, False])
def test_after_the_timeout_the_run_is_stopped_and_the_log_says_so(run, emulator, deferrable, stops):
    failed = run(statuses=["created", "running"], timeout=0.4, deferrable=deferrable, stop_on_kill=stops)
    assert failed.state == "failed"
    told = "it was stopped" if stops else "it may go on"
    assert f"after 0.4 seconds, the timeout: {told}" in failed["sync"].failure["message"]
    assert only_run(emulator)["is_stopped"] is stops
    assert ("Stopping sync job run" in failed.log) is stops


UNDELIVERED = [
    {"resource": "crm/contacts", "webhook_successful": False, "logs": ["The webhook said 500"]},
    {"resource": "crm/leads", "datastore_successful": True},
]


def test_a_completed_run_that_was_not_delivered_warns(run):
    done = run(entries=UNDELIVERED)
    assert done.state == "success"
    said = "not all of it was delivered: crm/contacts to the webhook: The webhook said 500"
    assert said in done.log
    assert done["sync"].xcom["truto"]["undelivered"] in said


def test_it_fails_under_verify_fail_and_no_retry_starts_another(run, emulator):
    failed = run(entries=UNDELIVERED, verify="fail", retries=2)
    assert (failed.state, failed["sync"].tries) == ("failed", 1)
    assert "verify='fail'" in failed["sync"].failure["message"]
    assert len(emulator.sync_runs) == 1


def test_verify_none_does_not_read_the_log(run, emulator):
    assert run(entries=UNDELIVERED, verify=None).state == "success"
    assert [request for request in emulator.requests if request["path"] == ["log"]] == []


@pytest.mark.skipif(before("3.3"), reason="dag.test() keeps no history of tries, and there is no task state store")
def test_a_log_that_cannot_be_read_fails_only_under_verify_fail_whose_retry_goes_on_with_the_run(run, emulator):
    emulator.fault(path="^/log", status=500, times=1)
    done = run(verify="warn")
    assert done.state == "success"
    assert "could not be read" in done.log
    emulator.reset()
    emulator.fault(path="^/log", status=500, times=1)
    done = run(verify="fail", retries=1)
    assert (done.state, done["sync"].tries) == ("success", 2), done.log
    assert len(emulator.sync_runs) == 1


@WAITS
def test_a_start_whose_answer_is_lost_is_looked_for_and_not_sent_again(run, emulator, deferrable):
    emulator.fault(method="POST", path="sync-job-run", reset="after")
    done = run(deferrable=deferrable)
    assert (done.state, done["sync"].tries) == ("success", 1), done.log
    assert len(emulator.sync_runs) == 1


def test_a_start_that_never_arrived_is_sent_again_by_the_next_try_which_looks_before(run, emulator):
    emulator.fault(method="POST", path="sync-job-run", reset="before")
    done = run(retries=1)
    assert (done.state, done["sync"].tries) == ("success", 2), done.log
    assert len(emulator.sync_runs) == 1
    assert "No such run is seen" in done.log


def test_more_than_one_run_that_it_may_be_fails_the_task_and_names_them(run, emulator, airflow):
    emulator.fault(method="POST", path="sync-job-run", reset="before")
    body = f"""
    {IMPORTS.strip().replace(chr(10), chr(10) + "    ")}

    def two_others(context):
        for _ in range(2):
            TrutoHook().start_sync_job_run("{JOB}", error_handling="ignore", integrated_account_id=ACME)

    TrutoSyncJobRunOperator(
        task_id="sync",
        sync_job_id="{JOB}",
        integrated_account_id=ACME,
        error_handling="ignore",
        retries=2,
        retry_delay=timedelta(0),
        on_retry_callback=two_others,
    )
    """
    failed = airflow.run(body)
    assert failed.state == "failed"
    message = failed["sync"].failures[-1]["message"]
    assert "cannot be told: 2 were created since" in message
    assert all(run["id"] in message for run in emulator.sync_runs)
    assert len(emulator.sync_runs) == 2


def test_a_run_of_another_job_customer_or_with_other_arguments_is_not_taken_for_its_own(run, emulator, airflow):
    emulator.fault(method="POST", path="sync-job-run", reset="before")
    body = f"""
    {IMPORTS.strip().replace(chr(10), chr(10) + "    ")}

    def others(context):
        start = lambda job, account, **more: TrutoHook().start_sync_job_run(
            job, error_handling="fail_fast", integrated_account_id=account, **more)
        start("{JOB[:-1]}2", ACME)
        start("{JOB}", GLOBEX)
        start("{JOB}", ACME, args={{"since": "2023"}})

    TrutoSyncJobRunOperator(
        task_id="sync",
        sync_job_id="{JOB}",
        integrated_account_id=ACME,
        args={{"since": "2024"}},
        retries=1,
        retry_delay=timedelta(0),
        poll_interval=0.05,
        on_retry_callback=others,
    )
    """
    done = airflow.run(body)
    assert done.state == "success", done.log
    assert done["sync"].xcom["return_value"]["id"] == emulator.sync_runs[-1]["id"]
    assert len(emulator.sync_runs) == 4


def test_a_cleared_task_starts_another_run(run, emulator):
    done = run()
    again = done.again()
    assert again.state == "success", again.log
    assert len(emulator.sync_runs) == 2


@pytest.mark.skipif(before("3.3"), reason="without a task state store, only when a run was created tells")
def test_a_cleared_task_whose_start_is_lost_does_not_take_the_run_from_before_the_clear_for_its_own(run, emulator):
    done = run()
    emulator.fault(method="POST", path="sync-job-run", reset="before")
    failed = done.again()
    assert (failed.state, len(emulator.sync_runs)) == ("failed", 1)


@pytest.mark.parametrize(
    "given",
    [
        {"webhook_id": "w", "daemon_group_key": "d"},
        {"tenant_id": "acme"},
        {"integrated_account_id": NOTSET, "integration": "hubspot", "tenant_id": NOTSET},
        {"error_handling": "always"},
        {"poll_interval": 0},
        {"verify": "perhaps"},
        {"sync_job_id": None, "deferrable": "sometimes"},
    ],
)
def test_what_can_never_be_right_is_said_while_the_file_is_parsed(given):
    with pytest.raises(ValueError, match=f"^{next(iter(reversed(given)), '')}|^webhook_id"):
        TrutoSyncJobRunOperator(
            task_id="sync", **{"sync_job_id": JOB, "integrated_account_id": ACME, "error_handling": "ignore"} | given
        )


@pytest.mark.parametrize("name", ["resources", "events_to_send"])
def test_none_of_the_resources_is_not_all_of_them(name, emulator, connection):
    connection(emulator.url, emulator.token)
    with pytest.raises(ValueError, match=f"{name} is empty"):
        TrutoHook().start_sync_job_run(JOB, error_handling="ignore", integrated_account_id=ACME, **{name: []})
    assert emulator.requests == []
