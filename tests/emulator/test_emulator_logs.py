"""`GET /log`: entries of calls and of the seed."""

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, UMBRELLA, default_seed

API = {"log_type": "unified_proxy_api"}


def entries(truto, params):
    response = truto.get("/log", params=params)
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"result", "next_cursor"}
    return response.json()["result"]


def test_calls_that_reached_a_crm_are_written_down(truto):
    truto.patch(json={"name": "N"}, params={"remote_query[x]": "y"})
    truto.get("/proxy/companies")
    truto.get("/proxy/companies/nobody")
    truto.get(account=UMBRELLA)
    truto.get(account="x")
    first, second, third, fourth = entries(truto, API)
    assert first.pop("timestamp") <= second["timestamp"]
    assert isinstance(first.pop("duration"), int)
    assert first == {
        "service": "truto-api",
        "environment_id": "e0000000-0000-4000-8000-000000000001",
        "integrated_account_id": ACME,
        "tenant_id": "acme",
        "integration": "hubspot",
        "request_type": "unified",
        "resource": "crm/accounts",
        "method": "update",
        "http_method": "PATCH",
        "http_url": "/unified/crm/accounts/23423523",
        "http_status_code": 200,
        "http_status_category": "2xx",
    }
    assert (second["request_type"], second["resource"], second["method"]) == ("proxy", "companies", "list")
    assert (third["http_status_code"], fourth["http_status_category"]) == (404, "4xx")


def test_entries_are_filtered_by_any_key(truto):
    truto.get()
    truto.get("/unified/crm/contacts")
    truto.get("/unified/crm/contacts", account=GLOBEX)
    filters = {"log_type_filter[integrated_account_id]": ACME, "log_type_filter[resource]": "crm/contacts"}
    (entry,) = entries(truto, {**API, **filters})
    assert (entry["resource"], entry["tenant_id"]) == ("crm/contacts", "acme")
    assert entries(truto, {**API, "log_type_filter[nothing]": "x"}) == []
    assert len(entries(truto, {**API, "log_type_filter[http_status_code]": "200"})) == 3


@pytest.fixture
def seeded(another):
    seed = default_seed()
    seed["logs"] = [
        {"log_type": "webhook", "timestamp": f"2024-0{month}-10T12:00:00.000Z", "event": f"e{month}"}
        for month in range(1, 7)
    ]
    seed["logs"].append({"log_type": "mcp", "timestamp": "2024-03-10T12:00:00.000Z", "tool_name": "t"})
    return another(seed)


@pytest.mark.parametrize(
    ("params", "events"),
    [
        ({}, ["e1", "e2", "e3", "e4", "e5", "e6"]),
        ({"created_at[gt]": "2024-03-01", "created_at[lt]": "2024-03-31"}, ["e3"]),
        ({"created_at[gt]": "2024-03-10T12:00:00Z", "created_at[lt]": "2024-04-10T12:00:00Z"}, []),
        ({"created_at[gt]": "2024-03-10T12:59:59+01:00", "created_at[lt]": "2024-04-09T12:00:00Z"}, ["e3"]),
        ({"created_at[lt]": "2024-03-01T00:00:00Z"}, ["e1", "e2"]),
        ({"log_type_filter[event]": "e5"}, ["e5"]),
        ({"created_at": "2024"}, ["e1", "e2", "e3", "e4", "e5", "e6"]),
    ],
)
def test_entries_are_of_one_type_and_in_a_range_of_time(seeded, params, events):
    assert [entry["event"] for entry in entries(seeded, {"log_type": "webhook", **params})] == events


def test_an_entry_does_not_repeat_its_type(seeded):
    (entry,) = entries(seeded, {"log_type": "mcp"})
    assert entry == {"timestamp": "2024-03-10T12:00:00.000Z", "tool_name": "t"}


def test_entries_are_paged(seeded):
    params, seen = {"log_type": "webhook", "limit": 4}, []
    first = seeded.get("/log", params=params).json()
    second = seeded.get("/log", params={**params, "next_cursor": first["next_cursor"]}).json()
    seen = [entry["event"] for page in (first, second) for entry in page["result"]]
    assert seen == ["e1", "e2", "e3", "e4", "e5", "e6"]
    assert second["next_cursor"] is None


def test_a_page_has_a_hundred_entries_where_nothing_is_said(truto):
    for _ in range(101):
        truto.get()
    first = truto.get("/log", params=API).json()
    assert len(first["result"]) == 100
    assert first["next_cursor"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"log_type": "x"},
        {**API, "limit": 101},
        {**API, "limit": 0},
        {**API, "created_at[gt]": "2024-01-01"},
        {**API, "created_at[gt]": "2024-01-01", "created_at[lt]": "2024-02-02"},
        {**API, "created_at[gt]": "soon", "created_at[lt]": "2024-02-02"},
        {**API, "created_at[gt][x]": "2024-01-01", "created_at[lt]": "2024-01-02"},
    ],
)
def test_nonsense_is_refused(truto, params):
    assert truto.get("/log", params=params).status_code == 400


def test_it_is_only_read(truto):
    assert truto.call("DELETE", "/log", params=API).status_code == 405


def test_a_reset_goes_back_to_the_entries_of_the_seed(truto, emulator):
    truto.get()
    emulator.reset()
    assert entries(truto, API) == []
