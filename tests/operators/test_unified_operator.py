"""Any method of any resource on a real Airflow: what is sent, what comes of it, and what is refused."""

from __future__ import annotations

import json

import pytest

from airflow_provider_truto.emulator import ACME

pytestmark = pytest.mark.airflow

CONTACTS = "/unified/crm/contacts"
#: The task, the verb and path that arrive, the body that arrives, and what the answer is to hold.
METHODS = {
    "list": (
        "unified('t', 'list', resource='contacts')",
        ("GET", CONTACTS),
        None,
        lambda value: [record["id"] for record in value] == ["1001", "1002", "1003", "1004", "1005"],
    ),
    "get": (
        "unified('t', 'get', resource='contacts', record_id='1001')",
        ("GET", f"{CONTACTS}/1001"),
        None,
        lambda value: (value["id"], value["first_name"]) == ("1001", "Ana"),
    ),
    "create": (
        "unified('t', 'create', resource='contacts', body={'last_name': 'Noor', 'account': {'id': '{{ 23423 }}'}})",
        ("POST", CONTACTS),
        {"last_name": "Noor", "account": {"id": 23423}},
        lambda value: value["last_name"] == "Noor" and value["id"] not in {"1001", None},
    ),
    "update": (
        "unified('t', 'update', resource='contacts', record_id=1002, body={'title': 'CEO'})",
        ("PATCH", f"{CONTACTS}/1002"),
        {"title": "CEO"},
        lambda value: (value["id"], value["title"], value["last_name"]) == ("1002", "CEO", "Okafor"),
    ),
    "delete": (
        "unified('t', 'delete', resource='contacts', record_id='1003')",
        ("DELETE", f"{CONTACTS}/1003"),
        None,
        lambda value: value == {"id": "1003"},
    ),
    "a custom method": (
        "unified('t', 'assign-owner', body={'id': '23423524', 'owner': {'id': 'u-17'}})",
        ("POST", "/unified/crm/accounts/assign-owner"),
        {"id": "23423524", "owner": {"id": "u-17"}},
        lambda value: value["result"]["owner"] == {"id": "u-17"},
    ),
    "another model": (
        "unified('t', 'get', model='user-directory', resource='users', record_id='u-21')",
        ("GET", "/unified/user-directory/users/u-21"),
        None,
        lambda value: value["email"] == "noah@acme.example",
    ),
    "all of it templated": (
        """unified('t', '{{ params.method }}', model='{{ params.model }}', resource='{{ params.resource }}s',
                   record_id='{{ params.id }}', integrated_account_id='{{ params.customer }}',
                   body={'custom_fields': {'seats': '{{ params.id }}', 'as_text': 'n {{ params.id }}'}})""",
        ("PATCH", f"{CONTACTS}/1004"),
        {"custom_fields": {"seats": 1004, "as_text": "n 1004"}},
        lambda value: value["custom_fields"] == {"persona": "champion", "seats": 1004, "as_text": "n 1004"},
    ),
    "a query": (
        """unified('t', 'list', resource='opportunities',
                   query={'limit': '{{ params.limit }}', 'updated_at': {'gt': '{{ params.since }}'}})""",
        ("GET", "/unified/crm/opportunities"),
        None,
        lambda value: [record["id"] for record in value] == ["501", "502"],
    ),
    "a query as JSON text": (
        "unified('t', 'list', resource='contacts', query='{\"id\": \"1002\"}')",
        ("GET", CONTACTS),
        None,
        lambda value: [record["id"] for record in value] == ["1002"],
    ),
    "a body file": (
        "unified('t', 'create', resource='contacts', body_file='contact.json')",
        ("POST", CONTACTS),
        {"last_name": "File 1004"},
        lambda value: value["last_name"] == "File 1004",
    ),
    "the connection's default customer": (
        """TrutoUnifiedOperator(task_id='t', truto_conn_id='of_globex', model='crm', resource='accounts',
                                method='get', record_id='70010001')""",
        ("GET", "/unified/crm/accounts/70010001"),
        None,
        lambda value: value["name"] == "Fabrikam Robotics",
    ),
}
PARAMS = {
    "method": "update",
    "model": "crm",
    "resource": "contact",
    "id": 1004,
    "customer": ACME,
    "limit": 1,
    "since": "2024-05-15T00:00:00Z",
}


@pytest.fixture(scope="module")
def methods(one_airflow, truto):
    truto.reset()
    tasks = [task.replace("'t'", f"'t{number}'") for number, (task, *_) in enumerate(METHODS.values())]
    # One after the other, so that the requests can be told apart.
    chain = [f"t{number} = {task}" for number, task in enumerate(tasks)]
    chain.append(" >> ".join(f"t{number}" for number in range(len(tasks))))
    files = {"contact.json": '{"last_name": "File {{ params.id }}"}'}
    run = one_airflow.run("\n".join(chain), params=PARAMS, files=files)
    return run, truto.requests


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_every_resource_can_be_called(methods, name):
    run, _ = methods
    task = run[f"t{list(METHODS).index(name)}"]
    assert task.failures == []
    assert METHODS[name][3](task.xcom["return_value"]), task.xcom["return_value"]


@pytest.mark.parametrize("name", METHODS)
def test_what_arrives_is_what_the_task_says(methods, name):
    _, requests = methods
    _, (verb, path), body, _ = METHODS[name]
    found = [request for request in requests if (request["method"], "/" + "/".join(request["path"])) == (verb, path)]
    assert body in [request["body"] for request in found]


def test_a_query_arrives_with_its_types_and_its_nesting(methods):
    targets = [request["target"] for request in methods[1] if "updated_at" in request["target"]]
    assert len(targets) == 2  # a record a page
    assert all("&limit=1&updated_at%5Bgt%5D=2024-05-15T00%3A00%3A00Z" in target for target in targets)


def test_only_writes_carry_a_key_and_each_its_own(methods):
    keys = {request["method"]: [] for request in methods[1]}
    for request in methods[1]:
        keys[request["method"]].append(request["headers"].get("idempotency-key"))
    assert set(keys.pop("GET")) == {None}
    writes = [key for found in keys.values() for key in found]
    assert len(set(writes)) == len(writes) == 6
    assert all(key.startswith("v1-") for key in writes)


#: The task and what its message is to say; nothing may be sent for any of them.
REFUSED = {
    "get of nothing": ("'get', record_id='{{ none }}'", "/record_id: {{ none }} is None"),
    "get of what is undefined": (
        "'get', record_id='{{ params.no_such }}'",
        "/record_id: {{ params.no_such }}: 'no_such' is unknown",
    ),
    "get of empty text": ("'get', record_id='{{ params.empty }}'", "/record_id: "),
    "get without an id": ("'get'", "/record_id: is missing: get needs the record's id"),
    "update of nothing": (
        "'update', record_id='{{ none }}', body={'id': '1', 'name': 'x'}, schema=None",
        "/record_id: ",
    ),
    "update of None": ("'update', record_id=None, body={'id': '1', 'name': 'x'}, schema=None", "/record_id: "),
    "delete of nothing": ("'delete', record_id='{{ none }}'", "/record_id: {{ none }} is None"),
    "delete of None": ("'delete', record_id=None", "/record_id: "),
    "delete of empty text": ("'delete', record_id=''", "/record_id: "),
    "delete of nothing at all": ("'delete'", "/record_id: is missing"),
    "list of a record": ("'list', record_id='1001'", "/record_id: list takes no record id"),
    "list of nothing": ("'list', record_id='{{ none }}'", "/record_id: {{ none }} is None"),
    "create of a record": ("'create', record_id='1001', body={'name': 'x'}", "/record_id: create takes no record id"),
    "a custom method of a record": (
        "'assign-owner', record_id='1', body={'x': 1}",
        "/record_id: assign-owner takes no",
    ),
    "a body for a list": ("'list', body={'x': 1}", "/body: list takes no body"),
    "a body for a get": ("'get', record_id='1001', body={'x': 1}", "/body: get takes no body"),
    "a create without a body": ("'create'", "/body: "),
    "a create of an empty body": ("'create', body={}", "/body: is empty"),
    "a body that comes to nothing": ("'create', body='{{ none }}'", "/body: {{ none }} is None"),
    "a body of the wrong kind": ("'create', body='x', resource='contacts'", "/body: expects an object or an array"),
    "no model": ("'list', model='{{ none }}'", "/model: {{ none }} is None"),
    "an empty resource": ("'list', resource='{{ params.empty }}'", "/resource: "),
    "no method": ("'{{ none }}'", "/method: {{ none }} is None"),
    "a resource that climbs": ("'list', resource='..'", "/resource: "),
    "a query that is not an object": ("'list', query='limit=1'", "/query: "),
    "a query of nothing": ("'list', query={'next_cursor': '{{ none }}'}", "/query/next_cursor: {{ none }} is None"),
    "a query that names the customer": (
        "'list', query={'integrated_account_id': '{{ params.customer }}'}",
        "/query/integrated_account_id: is set by the argument",
    ),
    "an unknown format": ("'list', response_format='{{ \"csv\" }}'", "/response_format: expects one of"),
    "a streamed list": ("'list', response_format='stream', output_path='/tmp/never'", "/response_format: "),
    "a preview of a list": ("'list', preview=True", "/preview: is for create, delete, update, not for list"),
    "skip_unchanged of a create": (
        "'create', body={'name': 'x'}, skip_unchanged=True",
        "/skip_unchanged: is for update",
    ),
    "a hash that is not one": (
        "'update', record_id='1', body={'name': 'x'}, expect='{{ params.customer }}'",
        "/expect: expects the hash of a preview",
    ),
    "no hash": ("'update', record_id='1', body={'name': 'x'}, expect='{{ none }}'", "/expect: {{ none }} is None"),
    "a hash of None": ("'update', record_id='1', body={'name': 'x'}, expect=None", "/expect: "),
    "a preview without a record": (
        "'update', body={'id': '1', 'name': 'x'}, schema=None, preview=True",
        "/record_id: ",
    ),
    "skip_unchanged without a record": (
        "'update', body={'id': '1', 'name': 'x'}, schema=None, skip_unchanged=True",
        "/record_id: ",
    ),
    "custom fields of tickets": (
        "'create', model='ticketing', resource='tickets', body={'name': 'x'}, check_custom_fields=True",
        "/check_custom_fields: is for crm accounts, contacts, opportunities",
    ),
}


@pytest.fixture(scope="module")
def refused(one_airflow, truto):
    truto.reset()
    tasks = [f"unified('t{number}', {given}, retries=2)" for number, (given, _) in enumerate(REFUSED.values())]
    run = one_airflow.run("\n".join(tasks), params={"empty": "", "customer": ACME})
    return run, truto.requests


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused_without_a_retry(refused, name):
    task = refused[0][f"t{list(REFUSED).index(name)}"]
    assert (task.state, task.tries) == ("failed", 1), task
    assert (task.failure["type"], task.failure["cause"]) == ("AirflowFailException", "TrutoSchemaError")
    assert f"  {REFUSED[name][1]}" in task.failure["message"]


def test_nothing_is_sent_for_what_is_refused(refused):
    assert refused[1] == []


def test_all_that_is_wrong_with_a_call_is_told_at_once(airflow, emulator):
    run = airflow.run(
        """
        unified("t", "get", model="{{ none }}", resource="{{ params.no }}", record_id="{{ '' }}",
                integrated_account_id="acme", query="x", body={"a": 1}, exclude_fields="name",
                idempotency_key="two words", output_path="{{ none }}")
        """
    )
    pointers = {line.strip().split(":")[0] for line in run["t"].failure["message"].splitlines()[1:]}
    assert pointers == {
        "/model",
        "/resource",
        "/record_id",
        "/integrated_account_id",
        "/query",
        "/body",
        "/exclude_fields",
        "/idempotency_key",
        "/output_path",
    }
    assert emulator.requests == []


@pytest.mark.parametrize("way", ["expand(record_id=[RECORD, None])", "expand_kwargs(rows())"])
@pytest.mark.parametrize("method", ["update", "delete"])
def test_a_row_without_its_id_fails_and_never_falls_to_the_collection(airflow, emulator, method, way):
    body = "body={'id': RECORD, 'name': 'x'}, schema=None," if method == "update" else ""
    run = airflow.run(
        f"""
        @task
        def rows():
            return [{{"record_id": RECORD}}, {{"record_id": None}}]

        TrutoUnifiedOperator.partial(
            task_id="t", model="crm", resource="accounts", method="{method}", {body} integrated_account_id=ACME
        ).{way}
        """
    )
    assert [run["t[0]"].state, run["t[1]"].state] == ["success", "failed"]
    assert "/record_id: " in run["t[1]"].failure["message"]
    (request,) = emulator.requests
    assert request["path"][-1] == "23423523"


def test_a_record_may_be_named_in_the_body_where_the_author_leaves_the_id_out(airflow, emulator):
    """Some integrations take it there; this one does not, and Truto says so."""
    run = airflow.run("unified('t', 'update', body={'id': '23423524', 'name': 'x'}, schema=None)")
    assert run["t"].failure["cause"] == "TrutoMethodNotAllowedError"
    writes = [request["path"] for request in emulator.requests if request["method"] == "PATCH"]
    assert writes == [["unified", "crm", "accounts"]]


LOST = {"a lost answer": {"reset": "after"}, "a 502 after it": {"status": 502, "apply": True}}


@pytest.mark.parametrize("name", LOST)
def test_what_is_written_on_a_retry_is_executed_once(airflow, emulator, name):
    for method in ("POST", "DELETE"):
        emulator.fault(method=method, **LOST[name])
    run = airflow.run(
        """
        unified("create", "create", body={"name": "Once"}, retries=1)
        unified("delete", "delete", record_id=RECORD, retries=1)
        """
    )
    assert [(task.state, task.tries) for task in run.tasks.values()] == [("success", 2)] * 2
    created = [record for record in emulator.state.records[ACME]["crm/accounts"].values() if "Once" in str(record)]
    assert [record["id"] for record in created] == [run["create"].xcom["return_value"]["id"]]
    assert sorted(execution["method"] for execution in emulator.executions) == ["DELETE", "POST"]
    for method in ("POST", "DELETE"):
        keys = [r["headers"]["idempotency-key"] for r in emulator.requests if r["method"] == method]
        assert len(keys) == 2
        assert len(set(keys)) == 1


def test_a_custom_method_on_a_retry_is_executed_once(airflow, emulator):
    emulator.fault(method="POST", reset="after")
    run = airflow.run("unified('t', 'assign-owner', body={'id': RECORD, 'owner': {'id': 'u-9'}}, retries=1)")
    assert (run["t"].state, run["t"].tries) == ("success", 2)
    assert len(emulator.executions) == 1


def test_a_create_is_compared_with_its_answer(airflow):
    run = airflow.run(
        "unified('t', 'create', integrated_account_id=GLOBEX, verify='fail', retries=2,"
        " body={'name': 'New', 'phone_numbers': [{'number': '+1 206 555 0199'}], 'urls': [{'url': 'https://a.test'}]})"
    )
    assert (run["t"].state, run["t"].tries) == ("failed", 1)
    told = run["t"].xcom["truto"]
    assert told["verification"]["taken"] == ["/name"]
    assert told["verification"]["changed"] == ["/phone_numbers"]
    assert told["verification"]["not_confirmed"] == ["/urls"]
    assert "The write HAS happened" in run["t"].failure["message"]


#: The task's arguments and what is to be in its XCom.
FORMATS = {
    "unified": ("", lambda value: value["number_of_employees"] == 120 and "remote_data" not in value),
    "raw": ("response_format='{{ params.format }}'", lambda value: value["properties"]["employeeCount"] == 120),
    "normalized": (
        "response_format='normalized'",
        lambda value: value["phone_numbers"][0]["number"] == "+12065550100",
    ),
    "with remote data": ("ignore_remote_data=False", lambda value: "properties" in value["remote_data"]),
    "without fields": (
        "exclude_fields=['id', '{{ params.out }}']",
        lambda value: (value["id"], "tags" in value) == ("23423523", False),
    ),
}


@pytest.fixture(scope="module")
def formats(one_airflow, truto):
    truto.reset()
    tasks = [
        line
        for number, (given, _) in enumerate(FORMATS.values())
        for line in (
            f"unified('get{number}', 'get', record_id=RECORD, {given})",
            f"unified('list{number}', 'list', query={{'limit': 2}}, max_records=1, {given})",
        )
    ]
    return one_airflow.run("\n".join(tasks), params={"format": "raw", "out": "tags"})


@pytest.mark.parametrize("name", FORMATS)
def test_a_record_is_read_in_every_format(formats, name):
    task = formats[f"get{list(FORMATS).index(name)}"]
    assert task.failures == []
    assert FORMATS[name][1](task.xcom["return_value"]), task.xcom["return_value"]
    assert "verification" not in task.xcom["truto"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_is_read_in_every_format(formats, name):
    task = formats[f"list{list(FORMATS).index(name)}"]
    assert task.failures == []
    first, second = task.xcom["return_value"]
    assert second is not None
    if name == "without fields":
        assert "id" not in first
        assert "tags" not in first
    else:
        assert FORMATS[name][1](first), first


def test_a_record_is_streamed_to_its_file(airflow, emulator, tmp_path):
    run = airflow.run(
        """
        unified("get", "get", record_id=RECORD, response_format="stream", output_path="{{ params.to }}/get.json")
        unified("create", "create", body={"name": "New"}, response_format="stream",
                output_path="{{ params.to }}/create.json")
        """,
        params={"to": str(tmp_path)},
    )
    assert run["get"].xcom["return_value"] == {"id": "23423523", "path": f"{tmp_path}/get.json"}
    assert json.loads((tmp_path / "get.json").read_bytes())["properties"]["name"] == "Northwind Traders"
    assert run["create"].xcom["return_value"] == {"path": f"{tmp_path}/create.json"}
    assert json.loads((tmp_path / "create.json").read_bytes())["properties"]["name"] == "New"
    assert run["create"].xcom["truto"]["bytes"] == (tmp_path / "create.json").stat().st_size
    assert len(list(tmp_path.iterdir())) == 2


def test_remote_query_goes_to_the_crm_as_it_is(airflow, emulator):
    airflow.run(
        "unified('t', 'get', record_id=RECORD, remote_query={'fields': ['{{ params.a }}', 'b'], 'n': '{{ 1 }}'})",
        params={"a": "x&y"},
    )
    (execution,) = emulator.executions
    assert execution["remote_query"] == {"fields": ["x&y", "b"], "n": "1"}


SURROGATE = {"id": "23423523", "name": "half \ud83d of it"}


def test_text_that_is_not_unicode_reaches_xcom_and_files(airflow, emulator, tmp_path):
    """JavaScript cuts an emoji in two, and JSON has a form for the half."""
    emulator.fault(method="PATCH", apply=True, body=SURROGATE)
    emulator.fault(method="GET", body={"result": [SURROGATE], "next_cursor": None}, times=2)
    run = airflow.run(
        """
        update(body={"description": "x"})
        unified("xcom", "list")
        unified("file", "list", output_path="{{ params.path }}")
        """,
        params={"path": str(tmp_path / "list.jsonl")},
    )
    storable = {**SURROGATE, "name": "half \N{REPLACEMENT CHARACTER} of it"}
    assert run.update.xcom["return_value"] == storable
    assert run["xcom"].xcom["return_value"] == [storable]
    assert json.loads((tmp_path / "list.jsonl").read_text("utf-8")) == SURROGATE
