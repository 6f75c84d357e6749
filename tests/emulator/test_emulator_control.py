"""The control routes, and the log that they show."""

import json
import time

import pytest
import requests

from airflow_provider_truto.emulator import ACME

NORTHWIND = "/unified/crm/accounts/23423523"


@pytest.fixture
def control(emulator):
    def call(method, path, **options):
        return requests.request(method, f"{emulator.url}/_emulator{path}", timeout=10, **options)

    return call


def test_faults_come_and_go(control, truto):
    assert control("POST", "/faults", json={"status": 500, "times": None}).json() == {}
    assert truto.get().status_code == 500
    assert control("DELETE", "/faults").status_code == 200
    assert truto.get().status_code == 200


def test_the_log_is_that_of_the_emulator_object(control, truto, emulator):
    truto.patch(json={"name": "N"}, key="k")
    log = control("GET", "/log").json()
    assert log == {"requests": emulator.requests, "executions": emulator.executions, "mints": []}
    assert [len(entries) for entries in log.values()] == [1, 1, 0]


def test_a_reset_goes_back_to_the_seed(control, truto, emulator):
    before = truto.get().json()
    truto.patch(json={"name": "N", "custom_fields": {"tier": "changed"}})
    truto.call("DELETE", "/unified/crm/accounts/23423524")
    truto.mint()
    emulator.state.account_token_life = 0
    emulator.fault(status=500)
    emulator.state.accounts[ACME].require_reauth("x")
    assert control("POST", "/reset").json() == {}
    assert control("GET", "/log").json() == {"requests": [], "executions": [], "mints": []}
    assert emulator.state.account_token_life == 900
    assert truto.get().json() == before
    assert truto.get("/unified/crm/accounts/23423524").status_code == 200
    assert truto.get(f"/integrated-account/{ACME}").json()["status"] == "active"


def test_tokens_come_and_go(control, truto):
    def status(token):
        return truto.get(headers={"Authorization": f"Bearer {token}"}).status_code

    assert control("POST", "/tokens", json={"token": "a/b"}).json() == {}
    assert control("POST", "/tokens", json={"token": "old", "expires_at": "2020-01-01T00:00:00Z"}).status_code == 200
    assert (status("a/b"), status("old")) == (200, 401)
    assert control("DELETE", "/tokens/a%2Fb").status_code == 200
    assert status("a/b") == 401
    assert control("DELETE", "/tokens/a%2Fb").status_code == 404


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"token": ""}', '{"token": 1}', '{"token": "x", "expires_at": "soon"}',
             '{"token": "x", "expires_at": 7}', '{"token": "x", "expires": null}']
)  # fmt: skip
def test_a_token_that_makes_no_sense_is_refused(control, body):
    assert control("POST", "/tokens", data=body).status_code == 400


def test_the_state_shows_accounts_and_records(control, truto):
    truto.patch(json={"name": "N"})
    state = control("GET", "/state").json()
    assert [account["tenant_id"] for account in state["integrated_accounts"]][:2] == ["acme", "globex"]
    assert state["records"][ACME]["crm/accounts"][0]["properties"]["name"] == "N"
    assert "truto-emulator-token" not in json.dumps(state)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/faults", 405), ("PUT", "/reset", 405), ("GET", "/x/y", 404)],
)
def test_other_control_routes_do_not_exist(control, method, path, status):
    assert control(method, path, allow_redirects=False).status_code == status


def test_control_calls_are_neither_logged_nor_hit_by_faults(control, emulator):
    emulator.fault(status=500, times=None)
    assert control("GET", "/state").status_code == 200
    assert emulator.requests == []


def test_a_request_is_logged_as_it_was_on_the_wire(truto, emulator):
    target = f"/unified/crm/accounts/a%2fb?integrated_account_id={ACME}&remote_query%5Bq%5D=x+y&flag"
    truto.raw("PATCH", target, body='{"name": "é"}'.encode(), headers={"X-Mixed-Case": "Kept"})
    (entry,) = emulator.requests
    assert entry.pop("time") > 0
    assert entry.pop("connection") > 0
    headers = entry.pop("headers")
    assert entry == {
        "method": "PATCH",
        "target": target,
        "path": ["unified", "crm", "accounts", "a/b"],
        "query": [["integrated_account_id", ACME], ["remote_query[q]", "x y"], ["flag", ""]],
        "body": {"name": "é"},
        "body_bytes": 14,
        "token": "api",
    }
    assert headers["x-mixed-case"] == "Kept"
    assert headers["authorization"] == "Bearer valid"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_a_body_that_is_not_json_is_logged_as_null(truto, emulator, body):
    truto.patch(data=body)
    assert (emulator.requests[0]["body"], emulator.requests[0]["body_bytes"]) == (None, len(body))


@pytest.mark.parametrize(
    ("authorization", "logged"),
    [
        ("Bearer truto-emulator-token", "Bearer valid"),
        ("Bearer s3cret", "Bearer unknown"),
        ("Basic czNjcmV0", "Bearer unknown"),
        ("s3cret", "Bearer unknown"),
        (None, None),
    ],
)
def test_the_log_never_holds_a_token(control, truto, emulator, authorization, logged):
    truto.get(headers={"Authorization": authorization})
    assert emulator.requests[0]["headers"].get("authorization") == logged
    log = control("GET", "/log").text
    assert not any(secret in log for secret in ("truto-emulator-token", "s3cret", "czNjcmV0"))


def test_calls_on_one_connection_share_its_number(truto, emulator):
    truto.get()
    truto.get()
    requests.get(f"{emulator.url}/integrated-account", timeout=10)
    first, second, third = (entry["connection"] for entry in emulator.requests)
    assert first == second != third


def test_answers_on_a_kept_connection_come_without_delay(truto):
    """A head and a body that wait for each other's acknowledgement would take 40 ms."""
    taken = []
    for _ in range(15):
        started = time.monotonic()  # the response's own `elapsed` ends with the head
        truto.patch(json={"name": "N"})
        taken.append(time.monotonic() - started)
    assert min(taken) < 0.03  # each would take longer; a busy machine may delay some


def test_an_answer_has_the_documented_headers_and_those_of_http(truto):
    assert {name.lower() for name in truto.patch(json={"name": "N"}, key="k").headers} == {
        *("date", "content-type", "content-length", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
    }


def test_changing_the_log_does_not_change_the_emulator(truto, emulator):
    truto.patch(json={"custom_fields": {"list": [1]}})
    emulator.requests[0]["body"]["custom_fields"]["list"].append(2)
    emulator.executions[0]["body"]["custom_fields"]["list"].append(3)
    assert truto.get().json()["custom_fields"]["list"] == [1]
    assert emulator.requests[0]["body"] == emulator.executions[0]["body"]
