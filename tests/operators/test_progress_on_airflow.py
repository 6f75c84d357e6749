"""How far a task is, read from Airflow while the task runs, on a real scheduler.

Through the REST API, as a browser does; of Airflow 2, whose API server is not started here, from its database.
"""

from __future__ import annotations

import json
import time
import urllib.request
from urllib.error import HTTPError

import pytest
from airflow_runs import PLANTED, before, decode_xcom
from airflow_scheduled import name_dag, scheduled_airflow

from airflow_provider_truto.emulator import ACME, GLOBEX

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PRELUDE = """
from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow.models.dag import DAG

from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.operators import _progress
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

_progress.SECONDS = 1.0
DAYS = dict(start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, catchup=False)


def rows(account):
    return [{{"id": f"n-{{n}}", "integrated_account_id": account, "body": {{"name": "after"}}}} for n in range(1, 61)]


def bulk(**more):
    shared = {{"output_path": "file://" + {ledgers!r}, "max_failures": 0, "concurrency": 1}}
    return TrutoBulkUpdateAccountsOperator.partial(task_id="bulk", **{{**shared, **more}})


with DAG("{dag_id}", is_paused_upon_creation=False, **DAYS):
    {body}
"""
LONGEST = 240
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def scheduled(truto, tmp_path_factory):
    admins = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}
    with scheduled_airflow(truto, tmp_path_factory.mktemp("dags"), prelude=PRELUDE, **admins) as airflow:
        yield airflow


@pytest.fixture
def slow(emulator):
    """A Truto with sixty records a customer, each call to which takes a while."""
    for account in (ACME, GLOBEX):
        records = emulator.state.records[account]["crm/accounts"] = {}
        for number in range(1, 61):
            records[f"n-{number}"] = {"id": f"n-{number}", "properties": {"name": "before"}}
    emulator.fault(times=None, delay_before=0.25)


def get(scheduled, path, token=None):
    request = urllib.request.Request(f"http://127.0.0.1:{scheduled.env['AIRFLOW__API__PORT']}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with DIRECT.open(request, timeout=30) as response:
        return json.load(response)


def look(scheduled, dag_id, task_id, map_index=-1):
    """Return a task's state and its progress, both as they were at one time that the task was in that state."""
    if before("3.0"):
        of_task = "where dag_id = ? and task_id = ? and map_index = ?"
        names = (dag_id, task_id, map_index)
        [(value,)] = scheduled.query(f"select value from xcom {of_task} and key = 'progress'", *names) or [(None,)]
        [(state,)] = scheduled.query(f"select state from task_instance {of_task}", *names) or [(None,)]
        return state, None if value is None else decode_xcom(value)
    token = get(scheduled, "/auth/token")["access_token"]
    base = f"/api/v2/dags/{dag_id}/dagRuns/run/taskInstances/{task_id}"
    try:
        entry = get(scheduled, f"{base}/xcomEntries/progress?map_index={map_index}", token)
        value = entry["value"] if isinstance(entry["value"], dict) else json.loads(entry["value"])
    except HTTPError as error:
        if error.code != 404:
            raise
        value = None
    one = f"{base}/{map_index}" if map_index >= 0 else base
    return get(scheduled, one, token)["state"], value


def watch(scheduled, dag_id, task_id, map_index=-1):
    """Return what a task has shown while it ran, one after the other, and what it shows at its end."""
    seen, deadline = [], time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        try:
            state, value = look(scheduled, dag_id, task_id, map_index)
        except TimeoutError:  # a busy machine
            continue
        if state in {"success", "failed"}:
            return seen, look(scheduled, dag_id, task_id, map_index)
        if state == "running" and value is not None and value not in seen:
            seen.append(value)
        time.sleep(0.2)
    pytest.fail(f"{dag_id} came to no end:\n{scheduled.log(dag_id)[-8000:]}")


@pytest.mark.usefixtures("slow")
def test_a_mapped_bulk_shows_how_far_each_of_its_instances_is(scheduled, request):
    dag_id = name_dag(request)
    scheduled.write(dag_id, "bulk().expand(source=[rows(ACME), rows(GLOBEX)])")
    scheduled.trigger(dag_id)
    seen, (state, last) = watch(scheduled, dag_id, "bulk", map_index=1)
    assert state == "success", scheduled.log(dag_id)[-8000:]
    assert len(seen) >= 2
    assert all(0 < value["done"] <= 60 == value["of"] for value in seen)
    assert seen[0]["done"] < seen[-1]["done"]
    assert seen[0]["done"] < 60, "it was read while there was something left to do"
    assert (last["done"], last["of"], last["failed"], last["seconds_left"]) == (60, 60, 0, 0)
    assert PLANTED not in json.dumps([seen, last])
    assert "could not be pushed" not in scheduled.log(dag_id)


@pytest.mark.usefixtures("slow")
def test_a_bulk_that_fails_keeps_where_it_ended(scheduled, request):
    dag_id = name_dag(request)
    wrong = '{"id": "n-1", "integrated_account_id": ACME, "body": {"name": 5}}'
    scheduled.write(dag_id, f"bulk().expand(source=[[*rows(ACME), {wrong}]])")
    scheduled.trigger(dag_id)
    seen, (state, last) = watch(scheduled, dag_id, "bulk", map_index=0)
    assert state == "failed"
    assert seen
    assert (last["done"], last["failed"]) == (61, 1)


@pytest.mark.usefixtures("slow")
def test_a_long_list_shows_its_pages_and_records(scheduled, request):
    dag_id = name_dag(request)
    scheduled.write(
        dag_id,
        'TrutoUnifiedOperator(task_id="list", model="crm", resource="accounts", method="list",'
        ' integrated_account_id=ACME, query={"limit": 1})',
    )
    scheduled.trigger(dag_id)
    seen, (state, last) = watch(scheduled, dag_id, "list")
    assert state == "success", scheduled.log(dag_id)[-8000:]
    assert len(seen) >= 2
    assert all(0 < value["records"] == value["pages"] <= 60 for value in seen)
    assert seen[0]["records"] < seen[-1]["records"]
    assert (last["pages"], last["records"], last["seconds"] >= 10) == (60, 60, True)
