"""Long waits on a real scheduler and triggerer: the worker is free meanwhile, and what is written is written once."""

from __future__ import annotations

import json

import pytest
from airflow_runs import PLANTED, decode_xcom
from airflow_scheduled import CLEAR, name_dag, scheduled_airflow

from airflow_provider_truto.emulator import ACME, GLOBEX

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PRELUDE = """
from datetime import datetime, timedelta, timezone

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow.models.dag import DAG

from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator

DAYS = dict(start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, catchup=False)
COMMON = dict(task_id="update", truto_conn_id="patient", retries=1, retry_delay=timedelta(minutes=30))
SOURCE = [
    {{"id": record, "integrated_account_id": account, "body": {{"description": "new"}}}}
    for account, record in [(ACME, "23423523"), (ACME, "23423524"), (ACME, "23423525"), (GLOBEX, "70010001")]
]


def update():
    return TrutoUpdateAccountOperator(
        account_id="23423523", integrated_account_id=ACME, body={{"description": "new"}}, defer_wait_over=3, **COMMON
    )


def bulk():
    given = dict(source=SOURCE, output_path={ledgers!r}, max_failures=0, concurrency=1, defer_wait_over=3)
    return TrutoBulkUpdateAccountsOperator(**given, **COMMON)


with DAG("{dag_id}", is_paused_upon_creation=False, **DAYS):
    {body}
"""
WHICH = pytest.mark.parametrize(("body", "records"), [("update()", 1), ("bulk()", 4)])


@pytest.fixture(scope="module")
def scheduled(truto, tmp_path_factory):
    extra = {"max_attempts": 3, "requests_per_second": 0}
    conn = {"conn_type": "truto", "host": truto.url, "password": PLANTED, "extra": extra}
    env = {"AIRFLOW_CONN_PATIENT": json.dumps(conn)}
    with scheduled_airflow(truto, tmp_path_factory.mktemp("dags"), prelude=PRELUDE, **env) as airflow:
        airflow.start_triggerer()
        yield airflow


@pytest.fixture
def begin(scheduled, request):
    """A function that runs a DAG named after the test until its task is deferred, and returns its id."""

    def call(body):
        dag_id = name_dag(request)
        scheduled.write(dag_id, body)
        scheduled.trigger(dag_id)
        scheduled.until(dag_id, "deferred", 1)
        return dag_id

    return call


def ask_to_wait(emulator, records, *, seconds, times=1):
    """Have the customers ask to wait: of a bulk when it has written one record."""
    asked = {"method": "PATCH", "status": 429, "headers": {"retry-after": str(seconds)}, "times": times}
    emulator.fault(account=ACME, skip=int(records > 1), **asked)
    emulator.fault(account=GLOBEX, **asked)


def written(emulator):
    """How many writes were executed, each under a key of its own."""
    executed = [execution["idempotency_key"] for execution in emulator.executions]
    assert len(set(executed)) == len(executed)
    return len(executed)


def sent(emulator):
    return {request["headers"]["idempotency-key"] for request in emulator.requests if request["method"] == "PATCH"}


def shown(scheduled, dag_id):
    """How far a bulk says that it is, in XCom: done, and of how many."""
    asked = "select value from xcom where dag_id = ? and key = 'progress'"
    values = [decode_xcom(value) for (value,) in scheduled.query(asked, dag_id)]
    return [(value["done"], value["of"]) for value in values]


@WHICH
def test_the_task_is_deferred_and_a_worker_goes_on_in_the_same_try(scheduled, emulator, begin, body, records):
    ask_to_wait(emulator, records, seconds=12)
    dag_id = begin(body)
    (stored,) = scheduled.query("select kwargs from trigger")
    assert not any(word in str(stored) for word in ("planted", "23423523", "new"))
    assert shown(scheduled, dag_id) == ([(1, 4)] if records > 1 else []), "while it waits"
    scheduled.until(dag_id, "success", 1)
    assert shown(scheduled, dag_id) == ([(4, 4)] if records > 1 else [])
    assert written(emulator) == len(sent(emulator)) == records
    assert "the worker is given back until" in scheduled.log(dag_id)
    assert "planted" not in scheduled.log(dag_id)


@WHICH
def test_a_triggerer_that_is_killed_meanwhile_loses_nothing_and_repeats_nothing(
    scheduled, emulator, begin, body, records
):
    ask_to_wait(emulator, records, seconds=15)
    dag_id = begin(body)
    scheduled.kill_triggerer()
    scheduled.start_triggerer()
    scheduled.until(dag_id, "success", 1)
    assert written(emulator) == len(sent(emulator)) == records


@WHICH
def test_a_task_that_is_cleared_while_it_is_deferred_writes_once(scheduled, emulator, begin, body, records):
    ask_to_wait(emulator, records, seconds=3600, times=None)
    dag_id = begin(body)
    emulator.clear_faults()
    scheduled.on_run(CLEAR.format("update"), dag_id)
    scheduled.until(dag_id, "success", 2)
    assert written(emulator) == records
