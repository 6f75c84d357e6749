"""`POST /batch-request`: several calls in one."""

import pytest

from airflow_provider_truto.emulator import ACME, HOOLI, INITECH, UMBRELLA, default_seed

NORTHWIND = "23423523"


@pytest.fixture
def batch(truto):
    def send(*resources, account=ACME, key=None, **more):
        body = {"integrated_account_id": account, "resources": list(resources), **more}
        return truto.call("POST", "/batch-request", json=body, key=key)

    return send


def ids(items):
    return [item["id"] for item in items]


def test_results_and_errors_come_by_resource(batch):
    answer = batch(
        {"resource": "crm/accounts", "method": "list"},
        {"resource": "crm/contacts", "method": "get", "id": "1001"},
        {"resource": "crm/fields", "method": "get", "id": "nobody"},
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"result", "errors"}
    assert ids(body["result"]["crm/accounts"]) == [NORTHWIND, "23423524", "23423525"]
    assert ids(body["result"]["crm/contacts"]) == ["1001"]
    assert body["result"]["crm/fields"] == []
    assert (body["errors"]["crm/accounts"], body["errors"]["crm/contacts"]) == ([], [])
    (error,) = body["errors"]["crm/fields"]
    assert (error["statusCode"], error["truto_is_remote_error"]) == (404, True)


def test_a_list_is_read_to_its_end(batch, emulator):
    answer = batch(
        {"resource": "crm/contacts", "method": "list", "query": {"limit": 2, "updated_at": {"gt": "2024-03-01"}}}
    )
    assert ids(answer.json()["result"]["crm/contacts"]) == ["1002", "1003", "1004", "1005"]
    assert [execution["path"] for execution in emulator.executions] == [["unified", "crm", "contacts"]] * 2


@pytest.mark.parametrize(
    ("persist", "keys"), [({}, []), ({"persist": False}, []), ({"persist": True}, ["companies"])]
)
def test_proxy_results_are_told_only_where_asked_for(batch, emulator, persist, keys):
    body = batch({"resource": "companies", "method": "list", **persist}).json()
    assert list(body["result"]) == keys
    assert body["errors"] == {"companies": []}
    assert len(emulator.executions) == 1


def test_every_method_is_executed_as_if_it_had_come_alone(batch, truto, emulator):
    requests = [
        {"resource": "crm/accounts", "method": "create", "body": {"name": "New"}, "name": "created"},
        {"resource": "crm/accounts", "method": "update", "id": NORTHWIND, "body": {"name": "N"}, "name": "updated"},
        {"resource": "crm/accounts", "method": "delete", "id": "23423524", "name": "deleted"},
        {"resource": "crm/accounts", "method": "assign-owner", "body": {"id": NORTHWIND, "owner": {"id": "u-1"}}},
        {
            "resource": "companies",
            "method": "merge",
            "body": {"into": NORTHWIND, "from": "23423525"},
            "persist": True,
        },
    ]
    body = batch(*requests).json()
    assert [body["result"][name][0].get("name") for name in ("created", "updated")] == ["New", "N"]
    assert body["result"]["deleted"] == [{"id": "23423524"}]
    assert body["result"]["crm/accounts"][0]["result"]["owner"] == {"id": "u-1"}
    assert ids(body["result"]["companies"]) == [NORTHWIND]
    assert not any(body["errors"].values())
    assert [(entry["method"], entry["record_id"]) for entry in emulator.executions] == [
        ("POST", body["result"]["created"][0]["id"]),
        ("PATCH", NORTHWIND),
        ("DELETE", "23423524"),
        ("POST", NORTHWIND),
        ("POST", NORTHWIND),
    ]
    assert {entry["integrated_account_id"] for entry in emulator.executions} == {ACME}
    assert len(emulator.requests) == 1
    assert truto.get().json()["name"] == "N"


def test_several_calls_to_one_resource_share_its_lists(batch):
    one, two = ({"resource": "crm/contacts", "method": "get", "id": contact} for contact in ("1001", "1002"))
    lost = {"resource": "crm/contacts", "method": "get", "id": "nobody"}
    body = batch(one, lost, two, lost).json()
    assert ids(body["result"]["crm/contacts"]) == ["1001", "1002"]
    assert len(body["errors"]["crm/contacts"]) == 2


def test_a_call_may_depend_on_another_one_of_its_own_resource(batch, emulator):
    first = {"resource": "crm/accounts", "method": "list"}
    body = batch({**first, "name": "second", "depends_on": "crm/accounts"}, first).json()
    assert list(body["result"]) == ["crm/accounts", "second"]


@pytest.mark.parametrize("depends_on", ["first", ["first"], "crm/contacts"])
def test_a_call_waits_for_those_on_which_it_depends(batch, emulator, depends_on):
    batch(
        {"resource": "crm/accounts", "method": "list", "depends_on": depends_on},
        {"resource": "crm/contacts", "method": "list", "name": "first"},
    )
    assert [execution["path"][2] for execution in emulator.executions] == ["contacts", "accounts"]


def test_a_call_is_not_executed_after_one_that_failed(batch, emulator):
    body = batch(
        {"resource": "crm/contacts", "method": "get", "id": "nobody"},
        {"resource": "crm/accounts", "method": "list", "depends_on": "crm/contacts"},
    ).json()
    assert len(emulator.executions) == 1
    assert [error["statusCode"] for error in body["errors"]["crm/accounts"]] == [424]


@pytest.mark.parametrize(
    ("form", "keys"),
    [("raw", {"id", "properties"}), ("unified", {"id", "remote_data"}), (None, {"id", "remote_data"})],
)
def test_results_have_the_form_that_is_asked_for(batch, form, keys):
    (record,) = batch({"resource": "crm/contacts", "method": "get", "id": "1001", "response_format": form}).json()[
        "result"
    ]["crm/contacts"]
    assert keys <= record.keys()


def test_a_list_keyed_by_a_field_is_a_list_all_the_same(batch):
    listed = {"resource": "crm/contacts", "method": "list", "query": {"truto_key_by": "id", "limit": 3}}
    assert ids(batch(listed).json()["result"]["crm/contacts"]) == ["1001", "1002", "1003", "1004", "1005"]


def test_a_query_is_read_as_if_it_had_been_on_the_wire(batch, emulator):
    query = {
        "truto_ignore_remote_data": True,
        "truto_exclude_fields": ["title"],
        "limit": 1,
        "remote_query": {"a": 1, "b": None},
        "x": None,
    }
    (record, *_) = batch({"resource": "crm/contacts", "method": "list", "query": query}).json()["result"][
        "crm/contacts"
    ]
    assert not {"remote_data", "title"} & record.keys()
    assert emulator.executions[0]["remote_query"] == {"a": "1"}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"resource": "crm/leads", "method": "list"}, 404),
        ({"resource": "Companies", "method": "list"}, 404),
        ({"resource": "crm/accounts", "method": "get"}, 400),
        ({"resource": "crm/accounts", "method": "update", "body": {}}, 405),
        ({"resource": "crm/accounts", "method": "search"}, 404),
        ({"resource": "crm/accounts", "method": "create", "body": {}}, 400),
        ({"resource": "crm/accounts", "method": "create", "body": "text"}, 400),
        ({"resource": "crm/fields", "method": "create", "body": {}}, 405),
        ({"resource": "crm/accounts", "method": "list", "query": {"limit": 0}}, 400),
    ],
)
def test_a_refusal_of_one_call_is_an_error_in_a_200(batch, emulator, request_, status):
    answer = batch(request_, {"resource": "crm/contacts", "method": "list"})
    assert answer.status_code == 200
    (error,) = answer.json()["errors"][request_["resource"]]
    assert (error["statusCode"], "truto_is_remote_error" in error) == (status, False)
    assert len(answer.json()["result"]["crm/contacts"]) == 5


LIST = {"resource": "crm/accounts", "method": "list"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"integrated_account_id": ACME},
        {"resources": [LIST]},
        {"integrated_account_id": ACME, "resources": []},
        {"integrated_account_id": ACME, "resources": LIST},
        *(
            {"integrated_account_id": ACME, "resources": [LIST, broken]}
            for broken in (
                "crm/accounts",
                {"resource": "crm/accounts"},
                {"method": "list"},
                {**LIST, "query": []},
                {**LIST, "depends_on": 7},
                {**LIST, "depends_on": "nobody"},
                {**LIST, "name": "self", "depends_on": "self"},
                {**LIST, "response_format": "stream"},
                {**LIST, "loop_on": "crm/accounts"},
                {**LIST, "recurse": {"if": "x"}},
            )
        ),
    ],
)  # fmt: skip
def test_a_batch_that_makes_no_sense_is_refused_as_a_whole(truto, emulator, body):
    response = truto.call("POST", "/batch-request", json=body)
    assert (response.status_code, response.json()["error"]) == (400, "Bad Request")
    assert emulator.executions == []


@pytest.mark.parametrize(("account", "status"), [("x", 404), (HOOLI, 503)])
def test_the_account_of_a_batch_must_be_usable(batch, account, status):
    assert batch(LIST, account=account).status_code == status


@pytest.mark.parametrize(("account", "status"), [(INITECH, 405), (UMBRELLA, 401)])
def test_an_account_refuses_single_calls(batch, account, status):
    body = batch({"resource": "crm/accounts", "method": "create", "body": {"name": "N"}}, account=account).json()
    assert [error["statusCode"] for error in body["errors"]["crm/accounts"]] == [status]


def test_only_post_is_allowed(truto):
    assert truto.get("/batch-request").status_code == 405


def test_an_integration_may_take_the_id_in_the_body(another):
    seed = default_seed()
    seed["integrations"]["hubspot"]["id_in_body"] = True
    truto = another(seed)
    update = {"resource": "crm/accounts", "method": "update", "body": {"id": NORTHWIND, "name": "N"}}
    answer = truto.call("POST", "/batch-request", json={"integrated_account_id": ACME, "resources": [update]})
    assert answer.json()["result"]["crm/accounts"][0]["name"] == "N"


def test_a_long_batch_waits_for_all_its_pages(another):
    seed = default_seed()
    seed["records"][ACME]["crm/contacts"] = [{"id": str(place), "last_name": "N"} for place in range(3000)]
    body = {"integrated_account_id": ACME, "resources": [{"resource": "crm/contacts", "method": "list"}]}
    answer = another(seed).call("POST", "/batch-request", json=body)
    assert len(answer.json()["result"]["crm/contacts"]) == 3000
