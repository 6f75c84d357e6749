"""`/sync-job-run`: runs that move on with each poll."""

import time

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX

JOB = "11111111-0000-4000-8000-000000000001"
RUNS = "/sync-job-run"


@pytest.fixture
def start(truto):
    def call(**body):
        given = {"sync_job_id": JOB, "integrated_account_id": ACME, "status": "created", **body}
        response = truto.call("POST", RUNS, json={key: value for key, value in given.items() if value is not None})
        assert response.status_code == 200
        return response.json()

    return call


def polled(truto, run, times):
    return [truto.get(f"{RUNS}/{run['id']}").json()["status"] for _ in range(times)]


def test_a_run_has_the_documented_keys(truto, start):
    run = start(args={"since": "2024"}, error_handling="fail_fast", webhook_id="w-1")
    assert run.keys() == {
        *(
            "id",
            "args",
            "resources",
            "sync_job_id",
            "integrated_account_id",
            "status",
            "daemon_id",
            "daemon_group_key",
        ),
        *("webhook_id", "error_handling", "ignore_previous_run", "version", "resource_stats", "created_at"),
        *("updated_at", "started_at", "finished_at"),
    }
    assert (run["args"], run["error_handling"], run["webhook_id"]) == ({"since": "2024"}, "fail_fast", "w-1")
    assert (run["sync_job_id"], run["integrated_account_id"], run["started_at"]) == (JOB, ACME, None)


def test_a_run_is_created_then_running_then_completed_and_stays_so(truto, start):
    run = start()
    assert run["status"] == "created"
    assert polled(truto, run, 4) == ["running", "completed", "completed", "completed"]


def test_two_runs_move_on_by_themselves(truto, start):
    first, second = start(), start()
    assert polled(truto, first, 2) == ["running", "completed"]
    assert polled(truto, second, 1) == ["running"]


@pytest.mark.parametrize("last", ["failed", "stopped", "completed", "something_new"])
def test_its_statuses_may_be_asked_for(truto, start, last):
    run = start(args={"statuses": ["created", "created", "rate_limited", "running", last]})
    assert polled(truto, run, 5) == ["created", "rate_limited", "running", last, last]


def test_it_shows_when_it_was_started_and_finished_and_what_it_has_synced(truto, start):
    run = start()
    running, completed = (truto.get(f"{RUNS}/{run['id']}").json() for _ in range(2))
    assert (bool(running["started_at"]), running["finished_at"]) == (True, None)
    assert completed["started_at"] == running["started_at"] <= completed["finished_at"]
    assert completed["resource_stats"]["crm/contacts"] == {"num_records": 5}
    assert start(resources=["crm/contacts"])["resource_stats"] == {}


def test_only_its_resources_are_synced(truto, start):
    run = start(resources=["crm/contacts", "crm/leads"])
    polled(truto, run, 1)
    stats = truto.get(f"{RUNS}/{run['id']}").json()["resource_stats"]
    assert stats == {"crm/contacts": {"num_records": 5}, "crm/leads": {"num_records": 0}}


def test_the_reason_of_a_failure_is_in_the_log(truto, start):
    run = start(args={"statuses": ["created", "failed"]}, resources=["crm/contacts"])
    other = start()
    polled(truto, run, 3)
    polled(truto, other, 2)
    params = {"log_type": "rapid_bridge", "log_type_filter[sync_job_run_id]": run["id"]}
    (entry,) = truto.get("/log", params=params).json()["result"]
    assert (entry["status"], entry["resource"], entry["num_records"]) == ("failed", "crm/contacts", 5)
    assert (entry["sync_job_id"], len(entry["logs"])) == (JOB, 1)
    params["log_type_filter[sync_job_run_id]"] = other["id"]
    assert {entry["status"] for entry in truto.get("/log", params=params).json()["result"]} == {"completed"}


def test_runs_are_listed_under_results_and_do_not_move(truto, start):
    runs = [start(), start(integrated_account_id=GLOBEX), start()]
    listed = truto.get(RUNS, params={"limit": 2}).json()
    assert listed.keys() == {"results", "next_cursor", "limit"}
    assert [run["id"] for run in listed["results"]] == [run["id"] for run in runs[:2]]
    rest = truto.get(RUNS, params={"limit": 2, "next_cursor": listed["next_cursor"]}).json()
    assert ([run["id"] for run in rest["results"]], rest["next_cursor"]) == ([runs[2]["id"]], None)
    params = {"integrated_account_id": ACME, "status": "created"}
    assert len(truto.get(RUNS, params=params).json()["results"]) == 2
    assert polled(truto, runs[0], 1) == ["running"]


def test_a_deleted_run_is_gone(truto, start):
    run = start()
    assert truto.call("DELETE", f"{RUNS}/{run['id']}").json() == {"id": run["id"]}
    assert truto.get(f"{RUNS}/{run['id']}").status_code == 404
    assert truto.call("DELETE", f"{RUNS}/{run['id']}").status_code == 404


def test_the_status_may_be_missing(start):
    assert start(status=None)["status"] == "created"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"sync_job_id": None}, 400),
        ({"sync_job_id": ""}, 400),
        ({"integrated_account_id": None}, 400),
        ({"integrated_account_id": "x"}, 404),
        ({"status": "running"}, 400),
        ({"webhook_id": "w", "daemon_group_key": "d"}, 400),
        ({"args": []}, 400),
        ({"args": {"statuses": []}}, 400),
        ({"args": {"statuses": "failed"}}, 400),
        ({"resources": "crm/contacts"}, 400),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(truto, body, status):
    given = {"sync_job_id": JOB, "integrated_account_id": ACME, "status": "created", **body}
    assert truto.call("POST", RUNS, json=given).status_code == status
    assert truto.get(RUNS).json()["results"] == []


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", RUNS), ("DELETE", RUNS), ("PATCH", f"{RUNS}/x"), ("POST", f"{RUNS}/x")]
)
def test_other_verbs_are_refused(truto, method, path):
    assert truto.call(method, path, json={}).status_code == 405


def test_a_reset_forgets_every_run(truto, start, emulator):
    start()
    emulator.reset()
    assert truto.get(RUNS).json()["results"] == []


def test_a_step_may_last_for_some_polls_or_seconds(truto, start):
    run = start(args={"statuses": ["created", {"status": "running", "polls": 3}, "completed"]})
    assert polled(truto, run, 5) == ["running", "running", "running", "completed", "completed"]
    run = start(args={"statuses": ["created", {"status": "running", "seconds": 0.3}, "completed"]})
    assert polled(truto, run, 3) == ["running", "running", "running"]
    time.sleep(0.4)
    (_, listed) = truto.get(RUNS).json()["results"]
    assert listed["status"] == "completed"


def test_what_it_has_synced_may_grow(truto, start):
    steps = [{"status": "running", "resource_stats": {"crm/contacts": {"num_records": count}}} for count in (1, 40)]
    run = start(args={"statuses": ["created", *steps, "completed"]})
    seen = [truto.get(f"{RUNS}/{run['id']}").json()["resource_stats"] for _ in range(3)]
    assert [stats["crm/contacts"]["num_records"] for stats in seen] == [1, 40, 40]


def test_a_run_may_vanish(truto, start):
    run = start(args={"statuses": ["created", "running", {"vanishes": True}]})
    assert polled(truto, run, 1) == ["running"]
    assert truto.get(f"{RUNS}/{run['id']}").status_code == 404
    assert truto.get(RUNS).json()["results"] == []


def test_a_run_may_complete_and_fail_to_deliver(truto, start):
    entries = [{"resource": "crm/contacts", "webhook_successful": False, "logs": ["The webhook said 500"]}]
    run = start(args={"entries": entries})
    polled(truto, run, 2)
    params = {"log_type": "rapid_bridge", "log_type_filter[sync_job_run_id]": run["id"]}
    (entry,) = truto.get("/log", params=params).json()["result"]
    assert (entry["status"], entry["webhook_successful"], entry["logs"]) == ("completed", False, entries[0]["logs"])


def test_every_run_that_was_started_is_counted(truto, start, emulator):
    first, second = start(), start()
    truto.call("DELETE", f"{RUNS}/{first['id']}")
    assert [run["id"] for run in emulator.sync_runs] == [first["id"], second["id"]]
    assert [run["is_stopped"] for run in emulator.sync_runs] == [True, False]


@pytest.mark.parametrize("step", [{}, {"status": 1}, {"status": "running", "polls": True}, {"status": "x", "y": 1}])
def test_a_step_that_makes_no_sense_is_refused(truto, step):
    body = {"sync_job_id": JOB, "integrated_account_id": ACME, "args": {"statuses": ["created", step]}}
    assert truto.call("POST", RUNS, json=body).status_code == 400
