"""`/proxy/{resource}`: the same records in the words of their CRM."""

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, HOOLI, INITECH, UMBRELLA

COMPANIES = "/proxy/companies"
NORTHWIND = f"{COMPANIES}/23423523"


def raw(truto, unified="/unified/crm/accounts/23423523"):
    return truto.get(unified, params={"truto_response_format": "raw"}).json()


@pytest.mark.parametrize(
    ("native", "unified"),
    [
        ("companies", "crm/accounts"),
        ("contacts", "crm/contacts"),
        ("deals", "crm/opportunities"),
        ("properties", "crm/fields"),
        ("tickets", "ticketing/tickets"),
        ("users", "user-directory/users"),
    ],
)
def test_every_resource_has_a_native_name(truto, native, unified):
    listed = truto.get(f"/proxy/{native}").json()
    assert listed["result"]
    assert listed["result"] == raw(truto, f"/unified/{unified}")["result"]
    assert truto.get(f"/proxy/{native}/{listed['result'][0]['id']}").json() == listed["result"][0]


@pytest.mark.parametrize("name", ["Companies", "COMPANIES", "accounts", "crm"])
def test_a_name_that_the_crm_does_not_have_is_a_404_of_truto(truto, name):
    response = truto.get(f"/proxy/{name}")
    assert (response.status_code, "truto_is_remote_error" in response.json()) == (404, False)


def test_a_list_has_the_envelope_and_pages(truto):
    first = truto.get(COMPANIES, params={"limit": 2}).json()
    assert first.keys() == {"result", "next_cursor", "prev_cursor", "result_count", "is_partial_response"}
    assert first["result_count"] == 2
    second = truto.get(COMPANIES, params={"limit": 2, "next_cursor": first["next_cursor"]}).json()
    assert [record["id"] for record in second["result"]] == ["23423525"]
    assert second["next_cursor"] is None


def test_the_crm_filters_by_its_own_names(truto):
    params = {"employeeCount[gt]": 100, "sector": "Software", "number_of_employees": "0"}
    assert [record["id"] for record in truto.get(COMPANIES, params=params).json()["result"]] == ["23423524"]


def test_single_calls_answer_with_the_body_of_the_crm(truto):
    created = truto.call("POST", COMPANIES, json={"properties": {"name": "New"}, "lifecycle": "lead"}).json()
    assert (created["properties"]["name"], created["lifecycle"]) == ("New", "lead")
    one = f"{COMPANIES}/{created['id']}"
    updated = truto.patch(one, json={"properties": {"about": "x"}}).json()
    assert updated["properties"].items() >= {"name": "New", "about": "x"}.items()
    assert truto.get(one).json() == updated
    assert truto.call("DELETE", one).json() == {"id": created["id"], "deleted": True}
    assert truto.get(one).status_code == 404


def test_the_query_goes_to_the_crm_but_for_what_truto_keeps(truto, emulator):
    params = {
        "limit": 5,
        "next_cursor": "",
        "archived": "true",
        "q[a]": "b",
        "truto_ignore_limit": "true",
        "remote_query[x]": "y",
    }
    truto.get(COMPANIES, params=params)
    (execution,) = emulator.executions
    assert execution["remote_query"] == {"archived": "true", "q": {"a": "b"}, "remote_query": {"x": "y"}}
    assert execution["integrated_account_id"] == ACME
    assert execution["path"] == ["proxy", "companies"]


@pytest.mark.parametrize(
    ("method", "path", "account", "body", "status"),
    [
        ("GET", f"{COMPANIES}/nobody", ACME, None, 404),
        ("PATCH", NORTHWIND, ACME, {"properties": {"name": ""}}, 422),
        ("PATCH", NORTHWIND, ACME, {"properties": {"employeeCount": "many"}}, 422),
        ("PATCH", NORTHWIND, ACME, {"properties": []}, 422),
        ("POST", COMPANIES, ACME, {"properties": {"about": "nameless"}}, 422),
        ("POST", COMPANIES, ACME, {}, 422),
        ("GET", COMPANIES, UMBRELLA, None, 401),
    ],
)
def test_errors_of_the_crm_are_remote_and_without_insight(truto, method, path, account, body, status):
    response = truto.call(method, path, account=account, json=body)
    assert response.status_code == status
    assert response.json().keys() == {"statusCode", "error", "message", "truto_is_remote_error", "raw_response"}
    assert "ratelimit-limit" in response.headers


@pytest.mark.parametrize(
    ("method", "path", "account", "status"),
    [
        ("GET", COMPANIES, None, 400),
        ("GET", COMPANIES, "x", 404),
        ("PUT", NORTHWIND, ACME, 405),
        ("PATCH", COMPANIES, ACME, 405),
        ("DELETE", COMPANIES, ACME, 405),
        ("POST", "/proxy/properties", ACME, 405),
        ("POST", f"{COMPANIES}/search", ACME, 404),
        ("PATCH", f"{COMPANIES}/501", INITECH, 405),
        ("POST", f"{COMPANIES}/merge", INITECH, 405),
        ("GET", COMPANIES, HOOLI, 503),
    ],
)
def test_refusals_of_truto_are_those_of_unified_calls(truto, emulator, method, path, account, status):
    response = truto.call(method, path, account=account, json={})
    assert (response.status_code, "truto_is_remote_error" in response.json()) == (status, False)
    assert emulator.executions == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
def test_a_body_that_is_not_an_object_is_refused(truto, body):
    assert truto.patch(NORTHWIND, data=body).status_code == 400


def test_two_companies_are_merged(truto):
    answer = truto.call("POST", f"{COMPANIES}/merge", json={"into": "23423525", "from": "23423524"})
    assert answer.json() == truto.get(f"{COMPANIES}/23423525").json()
    assert answer.json()["properties"].items() >= {"employeeCount": 14, "sector": "Software"}.items()
    assert truto.get(f"{COMPANIES}/23423524").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"into": "23423523"}, 422),
        ({"into": "23423523", "from": "23423523"}, 422),
        ({"into": "23423523", "from": "nobody"}, 404),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused_by_the_crm(truto, body, status):
    response = truto.call("POST", f"{COMPANIES}/merge", json=body)
    assert (response.status_code, response.json()["truto_is_remote_error"]) == (status, True)
    assert truto.get(NORTHWIND).status_code == 200


def test_a_normalising_crm_does_so_here_too(truto):
    body = {"properties": {"phones": [{"number": "+1 (555) 0100"}]}}
    answer = truto.patch(f"{COMPANIES}/70010001", account=GLOBEX, json=body).json()
    assert answer["properties"]["phones"] == [{"number": "+15550100"}]


def test_a_sandbox_can_be_read(truto):
    assert truto.get(f"{COMPANIES}/501", account=INITECH).json()["properties"]["name"] == "Initrode"
