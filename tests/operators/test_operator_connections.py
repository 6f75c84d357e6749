"""What a connection of a real Airflow decides: under which token calls go out, and how many a second."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from airflow_runs import PLANTED

from airflow_provider_truto.emulator import ACME, GLOBEX, STARK

pytestmark = pytest.mark.airflow

VALUES = ("a-planted-value", "another-planted-value")
#: All that a connection with `data_auth` `account` may be used for; the clear that follows makes it mint another.
TASKS = f"""
        default = {{"truto_conn_id": "minting"}}
        update("update", body={{"name": "{VALUES[0]}"}}, **default)
        update("retried", account_id="23423524", body={{"description": "{VALUES[1]}"}}, retries=1, **default)
        update("preview", body={{"name": "{VALUES[1]}"}}, preview=True, **default)
        update("careful", body={{"custom_fields": {{"nickname": "{VALUES[0]}"}}}}, schema="live", preflight=True,
               check_custom_fields=True, expected_tenant_id="acme", skip_unchanged=True, **default)
        unified("list", "list", **default)
        unified("file", "list", output_path="{{{{ params.to }}}}/list.jsonl", **default)
        unified("stream", "get", record_id=RECORD, response_format="stream",
                output_path="{{{{ params.to }}}}/one.json", **default)
        proxy("proxy", "get", record_id=RECORD, **default)
        unified("globex", "list", integrated_account_id=GLOBEX, **default)
        unified("stark", "list", tenant_id="stark", **default)
        for name in ("echo", "page", "absent", "lost"):
            unified(name, "get", record_id=name, retries=1, **default)
        unified("umbrella", "list", integrated_account_id=UMBRELLA, **default)

        @task
        def by_hook():
            with_hook = TrutoHook("minting", integrated_account_id=ACME)
            return [record["id"] for record in with_hook.unified("crm", "contacts").list(limit=2)]

        by_hook()
"""


def minted(truto):
    """Every token that was minted, as text: the emulator alone knows them all."""
    return {text for text in truto.state.tokens._tokens if text.startswith("ia-")}


@pytest.fixture(scope="module")
def eventful(one_airflow, truto):
    truto.reset()
    truto.fault(method="PATCH", path="/23423524$", reset="after")
    truto.fault(path="/lost$", reset="before", times=None)
    run = one_airflow.run(TASKS, params={"to": str(one_airflow.home)})
    secrets = minted(truto)
    # What an answer may repeat of its call is known now: the tokens of the next run are those of this one.
    (echoed,) = (text for text in secrets if truto.state.tokens._tokens[text].account_id == ACME)
    truto.fault(path="/echo$", status=500, times=None, body={"message": f"bad token {echoed}", "error": echoed})
    truto.fault(path="/page$", times=None, text=f"<html><title>{echoed} {PLANTED}</title></html>")
    again = one_airflow.ask(run.dag_id)
    truto.clear_faults()
    truto.fault(path="/lost$", reset="before", times=None)
    truto.state.revoke_account_tokens()
    later = one_airflow.ask(run.dag_id)
    return [run, again, later], secrets | minted(truto), truto.requests


def test_the_runs_were_as_eventful_as_they_were_meant_to_be(eventful):
    runs, secrets, _ = eventful
    for run in runs:
        states = {name: task.state for name, task in run.tasks.items()}
        failed = {"echo", "page", "absent", "lost", "umbrella"}
        assert {name for name, state in states.items() if state == "failed"} == failed
        assert set(states.values()) == {"failed", "success"}
    assert runs[0]["retried"].tries == 2
    assert "bad token" in runs[1]["echo"].failures[0]["message"]
    assert len(secrets) == 8  # of four customers, and again after they were revoked


def test_data_goes_out_under_the_token_of_its_customer_alone_and_all_else_under_the_api_token(eventful):
    _, _, requests = eventful
    assert len({request["token"] for request in requests}) == 6  # of four customers, the API's, and those revoked
    for request in requests:
        account = dict(map(tuple, request["query"])).get("integrated_account_id")
        is_data = request["path"][0] in {"unified", "proxy"} and "meta" not in request["path"]
        assert request["token"] in ((f"account:{account}", None) if is_data else ("api",)), request["target"]


def test_a_token_is_minted_once_a_customer_and_again_when_it_is_refused(eventful, truto):
    accounts = [mint["integrated_account_id"] for mint in truto.mints]
    assert {account: accounts.count(account) for account in (ACME, GLOBEX, STARK)} == {ACME: 2, GLOBEX: 2, STARK: 2}


def forms(secret):
    return {secret, quote(secret), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()}


@pytest.fixture(scope="module")
def never_seen(eventful):
    return {form for secret in (*eventful[1], PLANTED) for form in forms(secret)}


def test_no_log_and_no_exception_shows_a_token(eventful, never_seen):
    told = [run.log for run in eventful[0]]
    told.append(
        json.dumps([failure for run in eventful[0] for task in run.tasks.values() for failure in task.failures])
    )
    assert "***" in told[-1]
    assert not [form for form in never_seen for text in told if form in text]


def test_no_xcom_and_no_rendered_field_shows_a_token(eventful, never_seen):
    kept = json.dumps([[task.xcom, task.rendered] for run in eventful[0] for task in run.tasks.values()])
    assert ACME in kept
    assert not [form for form in never_seen if form in kept]


def test_no_table_of_airflows_database_holds_a_token(never_seen, one_airflow):
    tables = [name for (name,) in one_airflow.query("select name from sqlite_master where type = 'table'")]
    assert {"xcom", "rendered_task_instance_fields", "task_instance"} <= set(tables)
    cells = {
        (table, str(cell))
        for table in tables
        for row in one_airflow.query(f'select * from "{table}"')
        for cell in row
    }
    assert not [(table, form) for table, cell in cells for form in never_seen if form in cell]


def test_no_file_of_airflows_home_holds_a_token(never_seen, one_airflow):
    """The worker's own log and that of every task lie there, the database with its journal, and what was written."""
    files = [path for path in one_airflow.home.rglob("*") if path.is_file()]
    assert {"airflow.db", "worker.log", "list.jsonl", "one.json"} <= {path.name for path in files}
    found = [
        str(path)
        for path in files
        for content in [path.read_bytes()]
        for form in never_seen
        if form.encode() in content
    ]
    assert found == []


def test_no_value_of_a_body_is_in_the_log(eventful):
    for run in eventful[0]:
        assert not [value for value in VALUES if value in run.log]


def test_each_call_is_one_line_of_the_log_and_a_minting_is_one_too(eventful):
    run = eventful[0][0]
    assert f"POST /integrated-account/token integrated_account={GLOBEX} status=200 attempts=1" in run.log
    assert f"GET /unified/crm/accounts integrated_account={GLOBEX} status=200 attempts=1" in run.log


def test_a_connection_paces_the_calls_of_a_process(airflow, emulator):
    """One a second is ten in ten seconds: the eleventh has to wait."""
    run = airflow.run(
        """
        class HasToWait(Exception):
            pass

        def wait(seconds):
            raise HasToWait(seconds)

        @task
        def paces():
            resource = TrutoHook("paced", integrated_account_id=ACME).unified("crm", "accounts")
            resource._api._client._transport._sleep = wait
            for _ in range(10):
                resource.get(RECORD)
            try:
                resource.get(RECORD)
            except HasToWait as error:
                return error.args[0]

        paces()
        unified("unpaced", "get", record_id=RECORD)
        """
    )
    assert 0 < run["paces"].xcom["return_value"] < 11
    assert run["unpaced"].xcom["truto"]["paced_seconds"] == 0
    assert len(emulator.requests) == 11


def test_the_tokens_of_a_wrong_connection_are_never_minted(airflow, emulator):
    run = airflow.run("unified('t', 'list', truto_conn_id='wrong_token', retries=2)")
    assert run["t"].failure["cause"] == "TrutoAuthenticationError"
    assert "reading connection wrong_token again" in run.log
    assert emulator.mints == []
