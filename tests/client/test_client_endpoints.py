"""Calls as values: which verb, which path, what goes where, and what kind of call it is."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.client.endpoints import (
    CACHE_TTL,
    VERBS,
    admin_request,
    batch_request,
    capabilities_request,
    custom_request,
    integrated_account_request,
    integrated_accounts_request,
    logs_request,
    meta_request,
    mint_request,
    model_docs_request,
    own_account_request,
    proxy_request,
    refresh_request,
    tools_request,
    unified_request,
)
from airflow_provider_truto.client.request import Request

A = "acae0000-0000-4000-8000-000000000001"
Q = f"?integrated_account_id={A}"
FOR = {"integrated_account_id": A}
KEY = {"idempotency_key": "k"}

#: name: (call, "VERB target", JSON body or None)
SHAPES = {
    "unified list": (unified_request("crm", "accounts", "list", **FOR), f"GET /unified/crm/accounts{Q}", None),
    "unified get": (
        unified_request("crm", "accounts", "get", record_id="1/2", **FOR),
        f"GET /unified/crm/accounts/1%2F2{Q}",
        None,
    ),
    "unified create": (
        unified_request("crm", "accounts", "create", body={"a": 1}, **FOR),
        f"POST /unified/crm/accounts{Q}",
        {"a": 1},
    ),
    "unified update": (
        unified_request("crm", "accounts", "update", record_id="1", body={"a": 1}, **FOR),
        f"PATCH /unified/crm/accounts/1{Q}",
        {"a": 1},
    ),
    "unified update without id": (
        unified_request("crm", "accounts", "update", body={"id": 1}, **FOR),
        f"PATCH /unified/crm/accounts{Q}",
        {"id": 1},
    ),
    "unified delete": (
        unified_request("crm", "accounts", "delete", record_id="1", **FOR),
        f"DELETE /unified/crm/accounts/1{Q}",
        None,
    ),
    "unified delete without id": (
        unified_request("crm", "accounts", "delete", body={"id": 1}, **FOR),
        f"DELETE /unified/crm/accounts{Q}",
        {"id": 1},
    ),
    "unified custom": (
        unified_request("user-directory", "users", "de/activate", body=[1], **FOR),
        f"POST /unified/user-directory/users/de%2Factivate{Q}",
        [1],
    ),
    "proxy list": (proxy_request("Deals", "list", query={"a": 1}, **FOR), f"GET /proxy/Deals{Q}&a=1", None),
    "proxy custom": (proxy_request("Deals", "merge", **FOR), f"POST /proxy/Deals/merge{Q}", None),
    "custom": (custom_request("put", "a/b", body=None, **FOR), f"PUT /custom/a/b{Q}", None),
    "batch": (
        batch_request([{"resource": "a/b", "method": "list"}], **FOR),
        "POST /batch-request",
        {"integrated_account_id": A, "resources": [{"resource": "a/b", "method": "list"}]},
    ),
    "meta": (meta_request("crm", "accounts", "update", **FOR), f"GET /unified/crm/accounts/meta/update{Q}", None),
    "meta of an integration": (
        meta_request("crm", "accounts", "update", integration="zoho crm", **FOR),
        "GET /unified/crm/accounts/zoho%20crm/meta/update",
        None,
    ),
    "model docs": (model_docs_request("crm", "close", form="md"), "GET /unified/meta/crm/close?format=md", None),
    "capabilities": (capabilities_request(**FOR), f"GET /integrated-account/{A}/capabilities", None),
    "capabilities, no methods": (
        capabilities_request(methods=[], has_description=True, **FOR),
        f"GET /integrated-account/{A}/capabilities?has_description=true",
        None,
    ),
    "tools": (tools_request(A, methods=("list",)), f"GET /integrated-account/{A}/tools?methods=list", None),
    "account": (integrated_account_request(A), f"GET /integrated-account/{A}", None),
    "own account": (own_account_request(A), "GET /integrated-account/me", None),
    "accounts": (
        integrated_accounts_request({"id": {"in": f"{A},b"}, "status": None}),
        f"GET /integrated-account?id%5Bin%5D={A}%2Cb",
        None,
    ),
    "mint": (mint_request(A), "POST /integrated-account/token", {"integrated_account_id": A}),
    "refresh": (refresh_request(A), "POST /integrated-account/refresh-credentials", {"id": A}),
    "logs": (
        logs_request("mcp", {"created_at": {"gt": datetime(2026, 1, 2, tzinfo=timezone.utc)}}),
        "GET /log?log_type=mcp&created_at%5Bgt%5D=2026-01-02T00%3A00%3A00.000Z",
        None,
    ),
    "run": (admin_request("DELETE", "sync-job-run", "r"), "DELETE /sync-job-run/r", None),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_call_has_its_verb_its_target_and_its_body(name):
    call, line, body = SHAPES[name]
    assert f"{call.method} {call.target}" == line
    assert (None if call.body is None else json.loads(call.body)) == body


#: What kind of call each is: (is it data, does it write, may it be answered by anything, for how long it is kept).
KINDS = {
    "unified list": (True, False, False, 0),
    "unified get": (True, False, False, 0),
    "unified create": (True, True, False, 0),
    "unified update": (True, True, False, 0),
    "unified delete": (True, True, False, 0),
    "unified custom": (True, True, False, 0),
    "proxy list": (True, False, True, 0),
    "proxy custom": (True, True, True, 0),
    "custom": (True, True, True, 0),
    "batch": (False, True, False, 0),
    "meta": (False, False, False, CACHE_TTL),
    "meta of an integration": (False, False, False, CACHE_TTL),
    "model docs": (False, False, True, CACHE_TTL),
    "capabilities": (False, False, False, CACHE_TTL),
    "tools": (False, False, False, CACHE_TTL),
    "account": (False, False, False, 0),
    "own account": (True, False, False, 0),
    "accounts": (False, False, False, 0),
    "mint": (False, False, False, 0),
    "refresh": (False, False, False, 0),
    "logs": (False, False, False, 0),
    "run": (False, True, False, 0),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_call_knows_what_kind_it_is(name):
    call = SHAPES[name][0]
    assert (call.is_data, call.is_write, call.any_content, call.cache_ttl) == KINDS[name]


@pytest.mark.parametrize("build", [unified_request, proxy_request])
def test_keys_go_with_writes_alone(build):
    of = ("crm", "accounts") if build is unified_request else ("accounts",)
    for method, verb in {**VERBS, "merge": "POST"}.items():
        record = {"record_id": "1"} if method in {"get", "update", "delete"} else {}
        call = build(*of, method, **record, **FOR, **KEY)
        assert call.idempotency_key == (None if verb == "GET" else "k")


WRONG = {
    "get without id": lambda: unified_request("crm", "accounts", "get", **FOR),
    "list with an id": lambda: unified_request("crm", "accounts", "list", record_id="1", **FOR),
    "create with an id": lambda: proxy_request("x", "create", record_id="1", **FOR),
    "a method with an id": lambda: proxy_request("x", "merge", record_id="1", **FOR),
    "list with a body": lambda: unified_request("crm", "accounts", "list", body={}, **FOR),
    "get with a body": lambda: unified_request("crm", "accounts", "get", record_id="1", body={}, **FOR),
    "a method that is a dot": lambda: proxy_request("x", "..", **FOR),
    "an empty method": lambda: proxy_request("x", "", **FOR),
    "another account in the query": lambda: proxy_request("x", "list", query={"integrated_account_id": "b"}, **FOR),
    "the same account in the query": lambda: proxy_request("x", "list", query={"integrated_account_id": A}, **FOR),
    "a list of accounts": lambda: proxy_request("x", "list", query={"integrated_account_id": ["b"]}, **FOR),
    "an account as a pair": lambda: proxy_request("x", "list", query=(("integrated_account_id", "b"),), **FOR),
    "an account in a custom query": lambda: custom_request(
        "GET", "x", query={"integrated_account_id": {"a": 1}}, **FOR
    ),
    "no account": lambda: capabilities_request(),
    "no integration": lambda: capabilities_request(integration=""),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_has_no_call_is_refused(name):
    with pytest.raises(ValueError):
        WRONG[name]()


def test_json_that_is_written_already_goes_as_it_is():
    assert unified_request("crm", "accounts", "create", body=b'{"a": 1}', **FOR).body == b'{"a": 1}'


def test_pairs_go_as_they_are():
    pairs = (("limit", "5"), ("a[]", "b"))
    assert unified_request("crm", "accounts", "list", query=pairs, **FOR).query[1:] == pairs


HEADERS = st.dictionaries(st.text(max_size=6), st.one_of(st.text(max_size=6), st.integers()), max_size=3)


@given(HEADERS)
def test_headers_are_taken_whole_or_refused(headers):
    try:
        call = custom_request("GET", "x", headers=headers, **FOR)
    except (ValueError, TypeError):
        return
    assert dict(call.headers) == headers
    for name, value in headers.items():
        assert f"{name}: {value}".isascii()
        assert f"{name}: {value}".isprintable()
        assert value == value.strip() != ""


@given(st.one_of(st.none(), st.text(max_size=8), st.integers(), st.binary(max_size=3)))
def test_a_key_is_visible_text_or_refused(key):
    try:
        call = Request(method="POST", path="/x", idempotency_key=key)
    except (ValueError, TypeError):
        assert not (isinstance(key, str) and key.isascii() and key.isprintable() and key == key.strip() != "")
        return
    assert call.idempotency_key == key
