"""The unified resources beside crm/accounts, filters of lists, and methods beside the usual ones."""

import time

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, STARK, WAYNE, default_seed

CONTACTS = "/unified/crm/contacts"
ACCOUNTS = "/unified/crm/accounts"
FIELD_KEYS = {
    *("id", "name", "label", "description", "type", "is_hidden", "is_unique", "is_required", "is_editable"),
    *("options", "is_user_defined", "entity_type", "reference_entity", "field_groups", "remote_data"),
}
WRITABLE = {
    "crm/accounts": {"name": "New"},
    "crm/contacts": {"last_name": "New", "email_addresses": [{"email": "new@x.example"}]},
    "crm/opportunities": {"name": "New", "amount": 12.5, "status": "OPEN"},
    "ticketing/tickets": {"name": "New", "priority": "high"},
    "user-directory/users": {"name": "New", "email": "new@x.example", "is_active": True},
}


def ids(response):
    assert response.status_code == 200
    return [record["id"] for record in response.json()["result"]]


@pytest.mark.parametrize(("key", "body"), WRITABLE.items())
def test_a_record_lives_from_its_create_to_its_delete(truto, key, body):
    path = f"/unified/{key}"
    created = truto.call("POST", path, json=body).json()
    assert {name: created[name] for name in body} == body
    one = f"{path}/{created['id']}"
    assert truto.get(one).json() == created
    assert created in truto.get(path).json()["result"]
    name = next(iter(body))
    assert truto.patch(one, json={name: "Other"}).json()[name] == "Other"
    assert truto.call("DELETE", one).json() == {"id": created["id"]}
    assert truto.get(one).status_code == 404


@pytest.mark.parametrize("key", [key for key in WRITABLE if key != "crm/accounts"])
def test_what_a_record_must_have_is_asked_for_by_truto(truto, emulator, key):
    response = truto.call("POST", f"/unified/{key}", json={})
    assert response.json()["truto_error_insight"]["missing_required_body_fields"]["value"]
    assert (response.status_code, emulator.executions) == (400, [])


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("crm/opportunities", {"amount": "12"}),
        ("crm/opportunities", {"amount": True}),
        ("user-directory/users", {"is_active": 1}),
        ("user-directory/users", {"is_active": "true"}),
        ("crm/contacts", {"email_addresses": "a@b.example"}),
    ],
)
def test_values_have_types_in_every_resource(truto, key, body):
    record_id = truto.get(f"/unified/{key}").json()["result"][0]["id"]
    assert truto.patch(f"/unified/{key}/{record_id}", json=body).status_code == 422


def test_a_field_has_all_that_is_documented_of_it(truto):
    fields = truto.get("/unified/crm/fields").json()["result"]
    assert [set(field) for field in fields] == [FIELD_KEYS] * len(fields)
    by_name = {field["name"]: field for field in fields}
    assert {field["type"] for field in fields} >= {"number", "boolean", "date", "datetime", "enum", "string"}
    assert by_name["health_score"]["is_editable"] is False
    assert by_name["persona"]["entity_type"] == "contact"
    assert [option["value"] for option in by_name["tier"]["options"]] == ["gold", "silver", "bronze"]
    assert {frozenset(option) for option in by_name["tier"]["options"]} == {
        frozenset({"label", "value", "description", "is_hidden"})
    }
    assert truto.get("/unified/crm/fields/f-1").json()["name"] == "tier"
    assert ids(truto.get("/unified/crm/fields", account=GLOBEX)) == ["00N-1", "00N-2", "00N-3"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", ""), ("PATCH", "/f-1"), ("DELETE", "/f-1"), ("PATCH", ""), ("DELETE", "")]
)
def test_fields_are_only_read(truto, method, path):
    assert truto.call(method, f"/unified/crm/fields{path}", json={}).status_code == 405


@pytest.mark.parametrize(
    ("key", "params", "expected"),
    [
        ("crm/contacts", {"updated_at[gt]": "2024-05-01T07:15:00Z"}, ["1004", "1005"]),
        ("crm/contacts", {"updated_at[gte]": "2024-05-01T09:15:00+02:00"}, ["1003", "1004", "1005"]),
        ("crm/contacts", {"updated_at[lt]": "2024-03-01"}, ["1001"]),
        ("crm/contacts", {"updated_at[gt]": "2024-03-01", "updated_at[lte]": "2024-06-01T12:00:00.000Z"},
         ["1002", "1003", "1004"]),
        ("crm/contacts", {"title": "CTO"}, ["1003"]),
        ("crm/contacts", {"title[eq]": "CTO"}, ["1003"]),
        ("crm/contacts", {"title[in]": "CTO,Buyer"}, ["1001", "1003"]),
        ("crm/contacts", {"id[in]": "1005,1002"}, ["1002", "1005"]),
        ("crm/contacts", {"title[like]": "C"}, ["1001", "1002", "1003", "1004", "1005"]),
        ("crm/contacts", {"account[id]": "23423524"}, ["1001", "1002", "1003", "1004", "1005"]),
        ("crm/contacts", {"title": "cto"}, []),
        ("crm/contacts", {"title[gt]": "B"}, ["1001", "1002", "1003"]),
        ("crm/accounts", {"number_of_employees[gt]": "20"}, ["23423523", "23423524"]),
        ("crm/accounts", {"number_of_employees": "14"}, ["23423525"]),
        ("crm/accounts", {"number_of_employees[in]": "14,120"}, ["23423523", "23423525"]),
        ("crm/accounts", {"number_of_employees[lt]": "many"}, []),
        ("crm/fields", {"entity_type": "contact"}, ["f-8"]),
        ("crm/fields", {"is_editable": "false"}, ["f-7"]),
        ("user-directory/users", {"is_active": "true"}, ["u-17"]),
    ],
)  # fmt: skip
def test_lists_are_filtered_by_what_is_supported(truto, key, params, expected):
    assert ids(truto.get(f"/unified/{key}", params=params)) == expected


def test_a_field_that_is_not_mapped_is_not_a_filter(another):
    seed = default_seed()
    seed["integrations"]["hubspot"]["unmapped"] = ["title"]
    assert len(ids(another(seed).get(CONTACTS, params={"title": "CTO"}))) == 5


def test_pages_are_those_of_the_filtered_list(truto):
    params = {"updated_at[gt]": "2024-03-01", "limit": 3}
    first = truto.get(CONTACTS, params=params)
    assert ids(first) == ["1002", "1003", "1004"]
    second = truto.get(CONTACTS, params={**params, "next_cursor": first.json()["next_cursor"]})
    assert ids(second) == ["1005"]
    assert second.json()["next_cursor"] is None


@pytest.mark.parametrize("account", [WAYNE, STARK])
def test_there_are_more_customers_of_hubspot(truto, account):
    assert truto.get(f"/integrated-account/{account}").json()["integration"]["name"] == "hubspot"
    assert len(ids(truto.get(ACCOUNTS, account=account))) == 2
    assert ids(truto.get(CONTACTS, account=account)) == []


def test_an_owner_is_assigned_by_a_method_of_its_own(truto, emulator):
    response = truto.call("POST", f"{ACCOUNTS}/assign-owner", json={"id": "23423523", "owner": {"id": "u-99"}})
    assert response.json() == {"result": truto.get().json()}
    assert truto.get().json()["owner"] == {"id": "u-99"}
    assert (emulator.executions[0]["method"], emulator.executions[0]["record_id"]) == ("POST", "23423523")


@pytest.mark.parametrize(
    ("body", "status", "is_remote"),
    [
        ({"id": "23423523"}, 400, False),
        ({}, 400, False),
        ([], 400, False),
        ({"id": "nobody", "owner": {"id": "u-9"}}, 404, True),
        ({"id": 7, "owner": {"id": "u-9"}}, 422, True),
        ({"id": "23423523", "owner": "u-9"}, 422, True),
    ],
)
def test_a_method_of_its_own_is_checked_in_both_halves(truto, body, status, is_remote):
    response = truto.call("POST", f"{ACCOUNTS}/assign-owner", json=body)
    assert (response.status_code, "truto_is_remote_error" in response.json()) == (status, is_remote)


def test_a_method_belongs_to_its_resource(truto):
    assert truto.call("POST", f"{CONTACTS}/assign-owner", json={}).status_code == 404


@pytest.fixture
def id_in_body(another):
    seed = default_seed()
    seed["integrations"]["hubspot"]["id_in_body"] = True
    return another(seed)


def test_an_integration_may_take_the_id_in_the_body(id_in_body):
    truto = id_in_body
    assert truto.patch(ACCOUNTS, json={"id": "23423523", "name": "N"}).json()["name"] == "N"
    assert truto.get().json()["name"] == "N"
    assert truto.patch(json={"name": "by path"}).json()["name"] == "by path"
    assert truto.patch("/proxy/companies", json={"id": "23423523", "properties": {"name": "P"}}).status_code == 200
    assert truto.emulator.executions[0]["record_id"] == "23423523"
    assert truto.call("DELETE", ACCOUNTS, json={"id": "23423523"}).json() == {"id": "23423523"}
    assert truto.get().status_code == 404


@pytest.mark.parametrize("body", [{"name": "N"}, {"id": "", "name": "N"}, {"id": 7}, []])
def test_where_the_id_belongs_into_the_body_it_must_be_there(id_in_body, body):
    assert id_in_body.patch(ACCOUNTS, json=body).status_code == 400
    assert id_in_body.call("DELETE", ACCOUNTS, json=body).status_code == 400
    assert id_in_body.emulator.executions == []


def test_an_integration_may_require_fields_in_an_update(another):
    seed = default_seed()
    seed["integrations"]["hubspot"]["required"] = ["name", "phone_numbers.number"]
    truto = another(seed)
    response = truto.patch(json={"website": "https://x.example"})
    assert response.status_code == 400
    assert response.json()["truto_error_insight"]["missing_required_body_fields"]["value"] == ["name"]
    assert truto.emulator.executions == []
    assert truto.patch(json={"name": "N", "website": "https://x.example"}).status_code == 200
    assert truto.patch(f"{CONTACTS}/1001", json={"title": "CEO"}).status_code == 200, "it has no such field"


def test_what_is_required_is_not_asked_for_where_it_is_not_mapped(another):
    seed = default_seed()
    seed["integrations"]["hubspot"].update(required=["industry"], unmapped=["industry"])
    assert another(seed).patch(json={"name": "N"}).status_code == 200


def test_an_integration_may_have_only_some_resources(another):
    seed = default_seed()
    seed["integrations"]["hubspot"]["resources"] = ["crm/contacts"]
    truto = another(seed)
    assert truto.get(CONTACTS).status_code == 200
    response = truto.get(ACCOUNTS)
    assert (response.status_code, "truto_is_remote_error" in response.json()) == (404, False)
    assert truto.get("/proxy/companies").status_code == 404


def test_a_long_list_is_cheap_to_read_page_by_page(another):
    seed = default_seed()
    seed["records"][ACME]["crm/contacts"] = [{"id": str(place), "last_name": "N"} for place in range(20_000)]
    truto = another(seed)
    started, seen, params = time.monotonic(), 0, {"limit": 100}
    while True:
        page = truto.get(CONTACTS, params=params).json()
        seen += len(page["result"])
        if page["next_cursor"] is None:
            break
        params = {"limit": 100, "next_cursor": page["next_cursor"]}
    assert seen == 20_000
    assert time.monotonic() - started < 6  # takes about 1 s; to map all records for each page would take 20
