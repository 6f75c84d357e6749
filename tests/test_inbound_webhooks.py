"""``airflow-provider-inbound-webhooks`` takes what Truto signs, with the settings of docs/events.md.

`make test-services` runs it: the other environments do not have that provider, which needs Airflow 3.1.1.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import time
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from airflow_home import airflow_home, for_parts, run_airflow, running_part
from test_docs import EVENTS

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.webhooks import parse_event

sources = pytest.importorskip("airflow_inbound_webhooks.sources")
naming = pytest.importorskip("airflow_inbound_webhooks.naming")
datastructures = pytest.importorskip("starlette.datastructures")

SECRET = "6e17561c-a20c-44ce-b8b5-caff0bf786fe"
EVENT = "integrated_account:authentication_error"
DAG = "customer_must_reconnect"
BODY = json.dumps({"id": "evt_1", "event": EVENT, "payload": {"id": ACME, "tenant_id": "acme"}}).encode()


def headers(*, secret=SECRET, body=BODY):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Truto-Signature": f"format=sha256,v={digest}", "Content-Type": "application/json"}


@pytest.fixture
def connection():
    """The connection on the page, with the secret in it."""
    return {**json.loads(EVENTS.block("connection")), "password": SECRET}


@pytest.fixture
def source(connection):
    """What the receiver makes of its extra."""
    return sources.SOURCE_TYPES[connection["extra"]["source_type"]].from_extra(connection["extra"])


def test_a_signed_delivery_is_taken_named_and_read(source):
    given = datastructures.Headers(headers())
    source.verify(given, BODY, SECRET)
    event = source.parse(given, BODY)
    assert event.delivery_id == "evt_1"
    assert naming.build_candidate_names("truto", event) == [f"truto/{EVENT}"]
    assert f'Asset("truto/{EVENT}")' in EVENTS.dags[DAG].source
    assert parse_event(event.payload).tenant_id == "acme"


@pytest.mark.parametrize(
    "given",
    [
        headers(secret="another"),
        headers(body=BODY + b" "),
        {**headers(), "X-Truto-Signature": "v=0"},
        {"Content-Type": "application/json"},
    ],
)
def test_a_delivery_that_truto_has_not_signed_is_refused(source, given):
    with pytest.raises(sources.WebhookVerificationError):
        source.verify(datastructures.Headers(given), BODY, SECRET)


@pytest.mark.airflow
@pytest.mark.slow
def test_the_dag_of_the_page_runs_once_for_a_delivery_that_truto_repeats(connection, tmp_path):
    (tmp_path / "page.py").write_text(EVENTS.dags[DAG].source)
    with airflow_home(dags_folder=tmp_path) as env:
        env |= for_parts()
        env |= {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False", "AIRFLOW__CORE__PARALLELISM": "2"}
        name, _, value = "AIRFLOW__INBOUND_WEBHOOKS__WEBHOOK_NAMES=truto".partition("=")
        assert f"`{name}={value}`" in EVENTS.text
        env |= {name: value, "AIRFLOW_CONN_WEBHOOK_TRUTO": json.dumps(connection)}
        run_airflow(env, "db", "migrate")  # now with the table of deliveries
        run_airflow(env, "dags", "reserialize")
        with running_part(env, "api-server", "--workers", "1"), running_part(env, "scheduler"):
            assert until(lambda: post(env, {})) == 401
            assert [post(env, headers()), post(env, headers())] == [202, 200]
            database = Path(env["AIRFLOW_HOME"]) / "airflow.db"
            ((state, told),) = until(lambda: finished(database))
    assert (state, json.loads(told)) == ("success", ["acme"])


def post(env, given):
    """The status that Truto would be answered; ``None`` before the API server is up."""
    with suppress(OSError), closing(HTTPConnection("127.0.0.1", int(env["AIRFLOW__API__PORT"]), timeout=30)) as http:
        http.request("POST", "/webhooks/truto", body=BODY, headers={"Content-Type": "application/json", **given})
        return http.getresponse().status
    return None


def finished(database):
    """State and XCom of each run, once there is one and it is done."""
    select = "select state, value from dag_run left join xcom using (dag_id, run_id)"
    with closing(sqlite3.connect(database, timeout=60)) as connected:
        return connected.execute(f"{select} where state in ('success', 'failed')").fetchall()


def until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.5)
    return found
