"""Integrated accounts and their capabilities."""

import uuid

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, HOOLI, INITECH, STARK, UMBRELLA, WAYNE

ALL = [ACME, GLOBEX, INITECH, UMBRELLA, HOOLI, WAYNE, STARK]
RECORD_KEYS = {
    *("id", "tenant_id", "environment_id", "environment_integration_id", "status", "is_sandbox"),
    *("authentication_method", "region", "context", "object_store_context_fields", "integration"),
    *("last_error", "last_action_result", "created_at", "updated_at"),
}


def ids(response):
    assert response.status_code == 200
    return [account["id"] for account in response.json()["result"]]


@pytest.mark.parametrize("account_id", ALL)
def test_the_seeded_ids_are_uuids_as_they_are_usually_written(account_id):
    assert str(uuid.UUID(account_id)) == account_id


def test_the_list_is_one_of_the_platform(truto):
    response = truto.get("/integrated-account")
    assert ids(response) == ALL
    assert set(response.json()) == {"result", "next_cursor", "limit"}
    assert response.json()["limit"] == 5000
    assert response.json()["next_cursor"] is None


def test_pages_follow_each_other_until_the_cursor_is_null(truto):
    seen, params = [], {"limit": 2}
    while True:
        response = truto.get("/integrated-account", params=params)
        seen.append(ids(response))
        cursor = response.json()["next_cursor"]
        if cursor is None:
            break
        params = {"limit": 2, "next_cursor": cursor}
    assert seen == [[ACME, GLOBEX], [INITECH, UMBRELLA], [HOOLI, WAYNE], [STARK]]


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": "x"}, {"limit": -1}, {"next_cursor": "eHh4"}, {"next_cursor": "é"}]
)
def test_nonsense_for_a_page_is_refused(truto, params):
    assert truto.get("/integrated-account", params=params).status_code == 400


def test_an_empty_cursor_asks_for_the_first_page(truto):
    assert ids(truto.get("/integrated-account", params={"next_cursor": "", "limit": 1})) == [ACME]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"tenant_id": "globex"}, [GLOBEX]),
        ({"is_sandbox": "true"}, [INITECH]),
        ({"is_sandbox": "false"}, [ACME, GLOBEX, UMBRELLA, HOOLI, WAYNE, STARK]),
        ({"integration.name": "close"}, [HOOLI]),
        ({"status": "needs_reauth"}, [UMBRELLA]),
        ({"status[in]": "needs_reauth,connecting"}, [UMBRELLA]),
        ({"id[in]": f"{ACME},{HOOLI}"}, [ACME, HOOLI]),
        ({"created_at[gt]": "2024-04-01T00:00:00Z"}, [UMBRELLA, HOOLI, WAYNE, STARK]),
        ({"created_at[gte]": "2024-05-30T13:00:00+02:00"}, [HOOLI, WAYNE, STARK]),
        ({"created_at[lt]": "2024-02-01T00:00:00.000Z"}, [ACME]),
        ({"created_at[gt]": "2024-02-01", "created_at[lte]": "2024-03-05T08:15:00.000Z"}, [GLOBEX, INITECH]),
        ({"tenant_id": "acme", "status": "needs_reauth"}, []),
        ({"tenant_id[like]": "x"}, ALL),
        ({"nothing": "x"}, ALL),
    ],
)
def test_filters_narrow_the_list_and_unsupported_ones_are_ignored(truto, params, expected):
    assert ids(truto.get("/integrated-account", params=params)) == expected


@pytest.mark.parametrize("account_id", ALL)
def test_an_account_is_shown_without_its_being_blocked(truto, account_id):
    record = truto.get(f"/integrated-account/{account_id}").json()
    assert set(record) == RECORD_KEYS
    assert set(record["integration"]) == {"id", "name", "category"}


def test_the_tenants_are_what_their_names_promise(truto):
    shown = {account["id"]: account for account in truto.get("/integrated-account").json()["result"]}
    assert [shown[account]["integration"]["name"] for account in ALL] == [
        "hubspot", "salesforce", "pipedrive", "zohocrm", "close", "hubspot", "hubspot"
    ]  # fmt: skip
    assert shown[INITECH]["is_sandbox"] is True
    assert shown[UMBRELLA]["status"] == "needs_reauth"
    assert shown[UMBRELLA]["last_error"]


@pytest.mark.parametrize("suffix", ["", "/capabilities"])
def test_an_unknown_account_is_a_404_of_truto(truto, suffix):
    response = truto.get(f"/integrated-account/{uuid.uuid4()}{suffix}")
    assert response.status_code == 404
    assert "truto_is_remote_error" not in response.json()


@pytest.mark.parametrize("path", ["", f"/{ACME}", f"/{ACME}/capabilities"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
def test_accounts_are_only_read(truto, method, path):
    assert truto.call(method, f"/integrated-account{path}").status_code == 405
