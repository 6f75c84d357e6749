"""The API token is seen on the wire and nowhere that Airflow keeps: logs, XCom, rendered fields, its database."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from airflow_runs import PLANTED

pytestmark = pytest.mark.airflow

FORMS = {PLANTED, quote(PLANTED), json.dumps(PLANTED)[1:-1], base64.b64encode(PLANTED.encode()).decode()}


@pytest.fixture(scope="module")
def eventful(one_airflow, truto):
    """A run in which nearly everything happens: successes, refusals, an echo of the token, losses, a stream."""
    truto.reset()
    truto.fault(path="/echo$", status=500, times=None, body={"message": f"bad token {PLANTED}", "error": PLANTED})
    truto.fault(path="/page$", times=None, text=f"<html><title>{PLANTED}</title></html>")
    truto.fault(path="/header$", status=400, headers={"x-echo": PLANTED}, body={"message": f"Bearer {PLANTED}"})
    truto.fault(
        path="/remote$",
        status=422,
        body={"truto_is_remote_error": True, "message": "", "raw_response": {"authorization": f"Bearer {PLANTED}"}},
    )
    truto.fault(path="/reset$", reset="before", times=None)
    return one_airflow.run(
        """
        update("right", body={"name": "x"})
        for record in ("echo", "page", "header", "remote", "reset", "absent"):
            update(record, account_id=record, body={"name": "x"}, retries=1)
        update("wrong_token", truto_conn_id="wrong_token", body={"name": "x"})
        update("wrong_body", body={"nme": "x"})
        update("streamed", body={"name": "x"}, response_format="stream", output_path="{{ params.path }}")
        """,
        params={"path": str(one_airflow.home / "streamed.json")},
    )


def test_the_run_was_as_eventful_as_it_was_meant_to_be(eventful, truto):
    states = {name: task.state for name, task in eventful.tasks.items()}
    assert states.pop("right") == states.pop("streamed") == "success"
    assert set(states.values()) == {"failed"}
    assert any(request["headers"].get("authorization") == "Bearer valid" for request in truto.requests)


def test_no_log_shows_the_token(eventful):
    assert not [form for form in FORMS if form in eventful.log]


def test_no_exception_shows_the_token(eventful):
    failures = json.dumps([failure for task in eventful.tasks.values() for failure in task.failures])
    assert "***" in failures
    assert not [form for form in FORMS if form in failures]


def test_no_xcom_and_no_rendered_field_shows_the_token(eventful):
    kept = json.dumps([[task.xcom, task.rendered] for task in eventful.tasks.values()])
    assert not [form for form in FORMS if form in kept]


def test_no_table_of_airflows_database_holds_the_token(eventful, one_airflow):
    tables = [name for (name,) in one_airflow.query("select name from sqlite_master where type = 'table'")]
    assert {"xcom", "rendered_task_instance_fields", "task_instance", "log"} <= set(tables)
    found = [
        table
        for table in tables
        for row in one_airflow.query(f'select * from "{table}"')
        for cell in row
        if any(form in str(cell) for form in FORMS)
    ]
    assert found == []


def test_no_file_of_airflows_home_holds_the_token(eventful, one_airflow):
    """The worker's own log and that of every task lie there, and the database with its journal."""
    files = [path for path in one_airflow.home.rglob("*") if path.is_file()]
    assert one_airflow.home / "airflow.db" in files
    assert one_airflow.home / "worker.log" in files
    found = [str(path) for path in files for form in FORMS if form.encode() in path.read_bytes()]
    assert found == []
