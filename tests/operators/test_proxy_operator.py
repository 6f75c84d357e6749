"""The CRM's own API on a real Airflow: any method of any resource, and whatever it answers."""

from __future__ import annotations

import json
import stat

import pytest

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.records.xcom import XCOM_LIMIT

pytestmark = pytest.mark.airflow

#: The task, the verb and path that arrive, the body that arrives, and what the answer is to hold.
METHODS = {
    "list": (
        "proxy('t', 'list', query={'limit': 2})",
        ("GET", "/proxy/companies"),
        None,
        lambda value: (
            [record["properties"]["name"] for record in value] == ["Northwind Traders", "Contoso", "Café Fourrière"]
        ),
    ),
    "get": (
        "proxy('t', 'get', record_id='{{ params.id }}')",
        ("GET", "/proxy/companies/23423523"),
        None,
        lambda value: value["properties"]["employeeCount"] == 120,
    ),
    "create": (
        """proxy('t', 'create', resource='{{ params.resource }}',
                 body={'properties': {'lastName': '{{ params.id }} x'}})""",
        ("POST", "/proxy/contacts"),
        {"properties": {"lastName": "23423523 x"}},
        lambda value: value["id"] and value["properties"]["lastName"] == "23423523 x",
    ),
    "update": (
        "proxy('t', '{{ params.method }}', record_id=RECORD, body={'properties': {'employeeCount': '{{ 7 }}'}})",
        ("PATCH", "/proxy/companies/23423523"),
        {"properties": {"employeeCount": 7}},
        lambda value: value["properties"]["employeeCount"] == 7,
    ),
    "delete": (
        "proxy('t', 'delete', resource='contacts', record_id='1001')",
        ("DELETE", "/proxy/contacts/1001"),
        None,
        lambda value: value == {"id": "1001", "deleted": True},
    ),
    "a custom method": (
        "proxy('t', 'merge', body={'into': '23423524', 'from': '23423525'})",
        ("POST", "/proxy/companies/merge"),
        {"into": "23423524", "from": "23423525"},
        lambda value: value["id"] == "23423524",
    ),
    "a filter of the crm's own": (
        "proxy('t', 'list', resource='contacts', query={'jobTitle': 'CTO'})",
        ("GET", "/proxy/contacts"),
        None,
        lambda value: [record["id"] for record in value] == ["1003"],
    ),
}


@pytest.fixture(scope="module")
def methods(one_airflow, truto):
    truto.reset()
    chain = [f"t{n} = {task}".replace("'t'", f"'t{n}'", 1) for n, (task, *_) in enumerate(METHODS.values())]
    chain.append(" >> ".join(f"t{number}" for number in range(len(METHODS))))
    params = {"id": "23423523", "resource": "contacts", "method": "update"}
    return one_airflow.run("\n".join(chain), params=params), truto.requests


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_every_resource_can_be_called(methods, name):
    run, requests = methods
    task = run[f"t{list(METHODS).index(name)}"]
    _, (verb, path), body, fits = METHODS[name]
    assert task.failures == []
    assert fits(task.xcom["return_value"]), task.xcom["return_value"]
    found = [request for request in requests if (request["method"], "/" + "/".join(request["path"])) == (verb, path)]
    assert body in [request["body"] for request in found]


def test_what_was_written_cannot_be_verified_and_the_log_says_so(methods):
    run, _ = methods
    told = run[f"t{list(METHODS).index('update')}"].xcom["truto"]
    assert told["verification"]["unverifiable"] == ["/properties"]
    assert "update of companies of the CRM '23423523': the answer cannot confirm: /properties" in run.log


#: The task's arguments and what its message is to say.
REFUSED = {
    "an id that came to nothing": (
        "'delete', record_id='{{ none }}'",
        "TrutoSchemaError",
        "/record_id: {{ none }} is None",
    ),
    "an id of None": ("'update', record_id=None, body={'properties': {}}", "TrutoSchemaError", "/record_id: "),
    "delete of nothing": ("'delete'", "TrutoSchemaError", "/record_id: "),
    "an update without a body": ("'update', record_id=RECORD", "TrutoSchemaError", "/body: "),
    "a body for a list": ("'list', body={'a': 1}", "TrutoSchemaError", "/body: list takes no body"),
    "a name in the wrong case": (
        "'list', resource='Companies'",
        "TrutoNotFoundError",
        "There is no proxy resource Companies",
    ),
    "no resource": ("'list', resource='{{ none }}'", "TrutoSchemaError", "/resource: {{ none }} is None"),
    "an error of the crm's own": (
        "'update', record_id=RECORD, body={'properties': {'name': ''}}",
        "TrutoUnprocessableError",
        "name must not be empty",
    ),
}


@pytest.fixture(scope="module")
def refused(one_airflow, truto):
    truto.reset()
    tasks = [f"proxy('t{number}', {given}, retries=2)" for number, (given, *_) in enumerate(REFUSED.values())]
    return one_airflow.run("\n".join(tasks))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_fails_without_a_retry(refused, name):
    task = refused[f"t{list(REFUSED).index(name)}"]
    assert (task.state, task.tries) == ("failed", 1)
    assert (task.failure["type"], task.failure["cause"]) == ("AirflowFailException", REFUSED[name][1])
    assert REFUSED[name][2] in task.failure["message"]


def test_what_only_the_unified_api_has_is_not_an_argument():
    from airflow_provider_truto.operators.proxy import TrutoProxyOperator

    for name in ("schema", "response_format", "check_custom_fields", "remote_query", "model"):
        with pytest.raises(Exception, match=name):
            TrutoProxyOperator(task_id="t", resource="companies", method="list", **{name: None})


def test_a_create_on_a_retry_is_executed_once(airflow, emulator):
    emulator.fault(method="POST", reset="after")
    run = airflow.run("proxy('t', 'create', body={'properties': {'name': 'Once'}}, retries=1)")
    assert (run["t"].state, run["t"].tries) == ("success", 2)
    assert len(emulator.executions) == 1


#: What the CRM answers, and what goes to XCom.
ANSWERS = {
    "text": ({"text": "done, thanks"}, {"id": "23423523", "result": "done, thanks"}),
    "text beyond ascii": ({"text": "Fourrière ✓"}, {"id": "23423523", "result": "Fourrière ✓"}),
    "json that is text": ({"body": "done"}, {"id": "23423523", "result": "done"}),
    "json that is a number": ({"body": 7}, {"id": "23423523", "result": 7}),
    "json that is a list": ({"body": [1, None]}, {"id": "23423523", "result": [1, None]}),
    "an object without an id": ({"body": {"a": 1}}, {"id": "23423523", "a": 1}),
    "an id that is a number": ({"body": {"id": 7}}, {"id": 7}),
    "nothing": ({"status": 204}, {"id": "23423523"}),
}


@pytest.fixture(scope="module")
def answers(one_airflow, truto):
    truto.reset()
    tasks = []
    for number, (fault, _) in enumerate(ANSWERS.values()):
        for method, verb in (("get", "GET"), ("update", "PATCH")):
            truto.fault(method=verb, path=f"/of-{number}/23423523$", **fault)
            body = "body={'properties': {}}, " if method == "update" else ""
            tasks.append(f"proxy('{method}{number}', {method!r}, resource='of-{number}', {body}record_id=RECORD)")
    return one_airflow.run("\n".join(tasks))


@pytest.mark.parametrize("method", ["get", "update"])
@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_the_crm_answers_becomes_an_object_with_id(answers, name, method):
    task = answers[f"{method}{list(ANSWERS).index(name)}"]
    assert task.failures == []
    assert task.xcom["return_value"] == ANSWERS[name][1]


#: Half of a character in UTF-8, as the start of any file that is not text.
BINARY = {"text": "é", "truncate": 1}


def test_bytes_that_are_not_text_go_to_the_output_path_as_they_are(airflow, emulator, tmp_path):
    emulator.fault(path="/logo$", **BINARY)
    path = tmp_path / "logo"
    run = airflow.run(f"proxy('t', 'get', resource='files', record_id='logo', output_path={str(path)!r})")
    assert run["t"].failures == []
    assert path.read_bytes() == b"\xc3"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run["t"].xcom["return_value"] == {"id": "logo", "path": str(path)}
    assert (run["t"].xcom["truto"]["path"], run["t"].xcom["truto"]["bytes"]) == (str(path), 1)


def test_bytes_that_are_not_text_are_summed_up_where_there_is_no_path(airflow, emulator):
    """A write has happened by then: a failure would have it repeated by hand."""
    emulator.fault(method="PATCH", apply=True, **BINARY)
    run = airflow.run("proxy('t', 'update', record_id=RECORD, body={'properties': {'name': 'x'}}, retries=2)")
    assert (run["t"].state, run["t"].tries) == ("success", 1)
    assert run["t"].xcom["return_value"] == {"id": "23423523", "truncated": True, "bytes": 1, "keys": ["id"]}
    assert "The answer is 1 bytes that XCom does not take: only a summary goes there. Set output_path." in run.log


def test_text_too_large_for_xcom_goes_to_the_output_path_as_it_is(airflow, emulator, tmp_path):
    text = "a,b\n" * XCOM_LIMIT
    emulator.fault(path="/export$", text=text)
    path = tmp_path / "export.csv"
    run = airflow.run(f"proxy('t', 'get', resource='files', record_id='export', output_path={str(path)!r})")
    assert run["t"].xcom["return_value"] == {"id": "export", "path": str(path)}
    assert path.read_text() == text


def test_an_answer_too_large_for_xcom_goes_to_the_output_path(airflow, emulator, tmp_path):
    large = {"id": "7", "x": "y" * XCOM_LIMIT}
    emulator.fault(path="/large$", body=large, times=2)
    run = airflow.run(
        """
        proxy("path", "get", record_id="large", output_path="{{ params.path }}")
        proxy("none", "get", record_id="large")
        """,
        params={"path": str(tmp_path / "large.json")},
    )
    assert json.loads((tmp_path / "large.json").read_text()) == large
    assert run["path"].xcom["return_value"] == {"id": "7", "path": str(tmp_path / "large.json")}
    assert run["none"].xcom["return_value"]["truncated"] is True


def test_records_of_a_proxy_list_come_in_the_crms_own_shape(airflow, emulator, tmp_path):
    """``remote_data`` is a word of the unified API: what the CRM itself calls so is its own."""
    emulator.state.records[ACME]["crm/accounts"]["23423523"]["remote_data"] = {"mine": True}
    run = airflow.run(
        f"proxy('t', 'list', output_path={str(tmp_path / 'list')!r})\nproxy('u', 'get', record_id=RECORD)"
    )
    assert run["t"].xcom["return_value"]["count"] == 3
    first = json.loads((tmp_path / "list").read_text("utf-8").splitlines()[0])
    assert first["remote_data"] == {"mine": True}
    assert first == run["u"].xcom["return_value"]
