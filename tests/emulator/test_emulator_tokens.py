"""Tokens of single integrated accounts: what they open, and for how long."""

import json
import time

import pytest
import requests

from airflow_provider_truto.emulator import ACME, GLOBEX, TOKEN, UMBRELLA

NORTHWIND = "/unified/crm/accounts/23423523"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def own(truto):
    """Call as ACME's own token does, without an account id in the query."""
    headers = bearer(truto.mint())

    def call(method, path, *, account=None, **options):
        return truto.call(method, path, account=account, headers=headers, **options)

    return call


def test_a_mint_is_told_without_the_token(truto, emulator):
    token = truto.mint(GLOBEX)
    assert isinstance(token, str)
    assert token not in (TOKEN, truto.mint(GLOBEX))
    first, second = emulator.mints
    assert first.keys() == {"integrated_account_id", "time"}
    assert (first["integrated_account_id"], second["integrated_account_id"]) == (GLOBEX, GLOBEX)
    assert 0 < first["time"] <= second["time"]


@pytest.mark.parametrize(
    ("body", "status"), [({}, 400), ({"integrated_account_id": ""}, 400), ({"integrated_account_id": "x"}, 404)]
)
def test_a_token_is_minted_for_one_account_that_exists(truto, emulator, body, status):
    assert truto.call("POST", "/integrated-account/token", json=body).status_code == status
    assert truto.call("GET", "/integrated-account/token").status_code == 405
    assert emulator.mints == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", NORTHWIND, None),
        ("GET", "/unified/crm/contacts", None),
        ("PATCH", NORTHWIND, {"name": "N"}),
        ("POST", "/unified/crm/accounts/assign-owner", {"id": "23423523", "owner": {"id": "u-9"}}),
        ("GET", "/unified/crm/accounts/meta/update", None),
        ("GET", "/unified/crm/accounts/salesforce/meta/update", None),
        ("GET", "/proxy/companies/23423523", None),
        ("DELETE", "/proxy/companies/23423523", None),
        ("PUT", "/custom/v1/anything", {"a": 1}),
        ("GET", "/integrated-account/me", None),
        ("PATCH", "/integrated-account/me", {"context": {"a": 1}}),
    ],
)
def test_it_opens_the_data_of_its_account_without_naming_it(own, method, path, body):
    assert own(method, path, json=body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/integrated-account"),
        ("GET", f"/integrated-account/{ACME}"),
        ("GET", f"/integrated-account/{ACME}/capabilities"),
        ("GET", f"/integrated-account/{ACME}/tools"),
        ("POST", "/integrated-account/token"),
        ("POST", "/integrated-account/refresh-credentials"),
        ("GET", "/integration/hubspot/capabilities"),
        ("GET", "/unified/meta/crm/hubspot"),
        ("POST", "/batch-request"),
        ("GET", "/log"),
        ("GET", "/sync-job-run"),
        ("GET", "/ping"),
        ("GET", "/nowhere"),
    ],
)
def test_everything_else_is_closed_to_it(own, emulator, method, path):
    response = own(method, path, json={"integrated_account_id": ACME})
    assert (response.status_code, response.json()["error"]) == (403, "Forbidden")
    assert "truto_is_remote_error" not in response.json()
    assert emulator.executions == []


def test_another_account_than_its_own_is_closed_to_it(own):
    assert own("GET", NORTHWIND, account=ACME).status_code == 200
    assert own("GET", NORTHWIND, account=GLOBEX).status_code == 403
    assert own("GET", "/proxy/companies", account=GLOBEX).status_code == 403
    assert own("GET", NORTHWIND, account=ACME, params={"integrated_account_id": GLOBEX}).status_code == 403


def test_its_own_account_is_shown_and_its_context_changed(truto, own):
    assert own("GET", "/integrated-account/me").json() == truto.get(f"/integrated-account/{ACME}").json()
    own("PATCH", "/integrated-account/me", json={"context": {"a": 1}})
    own("PATCH", "/integrated-account/me", json={"context": {"b": 2}, "tenant_id": "other"})
    record = truto.get(f"/integrated-account/{ACME}").json()
    assert (record["context"], record["tenant_id"]) == ({"a": 1, "b": 2}, "acme")
    assert own("PATCH", "/integrated-account/me", json={"context": "x"}).status_code == 400
    assert own("DELETE", "/integrated-account/me").status_code == 405


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_an_api_token_is_not_an_account(truto, method):
    assert truto.call(method, "/integrated-account/me", json={}).status_code == 400


def test_it_expires_and_says_so_as_truto(another):
    truto = another(account_token_life=0.4)
    headers = bearer(truto.mint())
    assert truto.get(headers=headers).status_code == 200
    time.sleep(0.45)
    response = truto.get(headers=headers)
    assert response.status_code == 401
    assert "truto_is_remote_error" not in response.json()
    assert truto.get().status_code == 200, "the token that minted it lives on"


def test_its_life_can_be_changed_while_the_emulator_runs(truto, emulator):
    emulator.state.account_token_life = 0
    assert truto.get(headers=bearer(truto.mint())).status_code == 401
    emulator.state.account_token_life = 60
    assert truto.get(headers=bearer(truto.mint())).status_code == 200


def test_all_minted_ones_can_be_revoked_and_the_api_token_stays(truto, emulator):
    first, second = bearer(truto.mint()), bearer(truto.mint(GLOBEX))
    emulator.state.revoke_account_tokens()
    assert [truto.get(headers=headers).status_code for headers in (first, second, {})] == [401, 401, 200]
    third = bearer(truto.mint())
    assert requests.delete(f"{emulator.url}/_emulator/account-tokens", timeout=10).status_code == 200
    assert truto.get(headers=third).status_code == 401


def test_a_reset_forgets_it(truto, emulator):
    headers = bearer(truto.mint())
    emulator.reset()
    assert truto.get(headers=headers).status_code == 401
    assert emulator.mints == []


def test_the_log_tells_the_kind_of_token(truto, own, emulator):
    own("GET", NORTHWIND)
    truto.get()
    truto.get(headers=bearer("wrong"))
    assert [entry["token"] for entry in emulator.requests] == ["api", f"account:{ACME}", "api", None]
    assert emulator.executions[0]["integrated_account_id"] == ACME


def test_no_log_ever_holds_a_token(truto, emulator):
    token = truto.mint()
    truto.call("PATCH", NORTHWIND, account=None, json={"name": "N"}, headers=bearer(token), key="k")
    truto.call("GET", "/proxy/companies", account=None, headers=bearer(token))
    echoed = truto.call("GET", "/custom/x", account=None, headers=bearer(token)).text
    shown = [requests.get(f"{emulator.url}/_emulator/{name}", timeout=10).text for name in ("log", "state")] + [
        json.dumps([emulator.requests, emulator.executions, emulator.mints]),
        echoed,
    ]
    shown.append(truto.get("/log", params={"log_type": "unified_proxy_api"}).text)
    assert not any(token in text or TOKEN in text for text in shown)


def test_the_limits_of_both_tiers_hold_for_it(another):
    truto = another(rate_limits={"account": {"requests": 2, "seconds": 10}, "token": {"requests": 5, "seconds": 10}})
    headers = bearer(truto.mint())  # 1 of the API token
    assert truto.get(headers=headers, account=None).status_code == 200
    assert truto.get().status_code == 200
    refused = truto.get(headers=headers, account=None)
    assert (refused.status_code, "account" in refused.json()["message"]) == (429, True)
    assert truto.get("/integrated-account").status_code == 200
    refused = truto.get(headers=headers, account=None)
    assert (refused.status_code, "API token" in refused.json()["message"]) == (429, True)


def test_a_fault_of_its_account_hits_it(own, emulator):
    emulator.fault(status=500, account=GLOBEX)
    emulator.fault(status=502, account=ACME)
    assert own("GET", NORTHWIND).status_code == 502


def test_repeats_are_recognised_under_it(own, truto, emulator):
    first = own("PATCH", NORTHWIND, json={"name": "N"}, key="k")
    second = truto.patch(json={"name": "M"}, key="k")
    assert first.content == second.content
    assert len(emulator.executions) == 1


def test_a_refresh_succeeds_unless_the_user_must_reconnect(truto):
    def refresh(body):
        return truto.call("POST", "/integrated-account/refresh-credentials", json=body)

    assert refresh({"id": ACME}).json() == {"success": True}
    refused = refresh({"id": UMBRELLA})
    assert (refused.status_code, refused.json()["truto_is_remote_error"]) == (401, True)
    assert truto.get(f"/integrated-account/{UMBRELLA}").json()["status"] == "needs_reauth"
    assert [refresh(body).status_code for body in ({"id": "x"}, {}, {"id": 7}, [])] == [404, 400, 400, 400]


def test_a_ping_is_answered(truto):
    assert truto.get("/ping").json() == {}
    assert truto.get("/ping", headers=bearer("x")).status_code == 401
