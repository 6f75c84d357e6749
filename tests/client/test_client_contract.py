"""Every call that Truto takes, through both drivers: what arrives, and what is made of the answer."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_truto.client.endpoints import own_account_request
from airflow_provider_truto.client.errors import (
    TrutoNotFoundError,
    TrutoPartialFailureError,
    TrutoSchemaError,
)
from airflow_provider_truto.client.request import escape_path
from airflow_provider_truto.emulator import ACME, GLOBEX, WAYNE

JOB = "10b00000-0000-4000-8000-000000000001"
HEAD = {"authorization": "Bearer valid", "accept": "application/json", "user-agent": "airflow-provider-truto"}
JSON_HEAD = {**HEAD, "content-type": "application/json"}


# -------------------------------------------------------------------------------------------- every call, as it goes

ACCOUNTS = ("crm", "accounts")
OF_ACME = f"integrated_account_id={ACME}"

#: name: (case, verb, target, JSON body or None, checks the value)
CALLS = {
    "unified list": (
        lambda api: api.unified(*ACCOUNTS).list(limit=2, updated_at={"gt": "2020-01-01T00:00:00Z"}),
        "GET",
        f"/unified/crm/accounts?{OF_ACME}&limit=2&updated_at%5Bgt%5D=2020-01-01T00%3A00%3A00Z",
        None,
        lambda value: len(value) == 3 and all("id" in record for record in value),
    ),
    "unified get": (
        lambda api: api.unified(*ACCOUNTS).get("23423523"),
        "GET",
        f"/unified/crm/accounts/23423523?{OF_ACME}",
        None,
        lambda value: value["id"] == "23423523",
    ),
    "unified get with options": (
        lambda api: api.unified(*ACCOUNTS).get(
            "23423523",
            query={
                "truto_ignore_remote_data": True,
                "truto_exclude_fields": ["tags", "urls"],
                "remote_query": {"foo": "b r"},
            },
        ),
        "GET",
        (
            f"/unified/crm/accounts/23423523?{OF_ACME}&truto_ignore_remote_data=true"
            "&truto_exclude_fields%5B%5D=tags&truto_exclude_fields%5B%5D=urls&remote_query%5Bfoo%5D=b+r"
        ),
        None,
        lambda value: not {"remote_data", "tags", "urls"} & value.keys(),
    ),
    "unified create": (
        lambda api: api.unified(*ACCOUNTS).create({"name": "Zoë & Søn"}),
        "POST",
        f"/unified/crm/accounts?{OF_ACME}",
        {"name": "Zoë & Søn"},
        lambda value: value["name"] == "Zoë & Søn" and value["id"],
    ),
    "unified update": (
        lambda api: api.unified(*ACCOUNTS).update("23423523", {"name": "Initrode"}),
        "PATCH",
        f"/unified/crm/accounts/23423523?{OF_ACME}",
        {"name": "Initrode"},
        lambda value: value["name"] == "Initrode",
    ),
    "unified delete": (
        lambda api: api.unified(*ACCOUNTS).delete("23423523"),
        "DELETE",
        f"/unified/crm/accounts/23423523?{OF_ACME}",
        None,
        lambda value: value == {"id": "23423523"},
    ),
    "unified custom method": (
        lambda api: api.unified(*ACCOUNTS).call("assign-owner", {"id": "23423523", "owner": {"id": "u-9"}}),
        "POST",
        f"/unified/crm/accounts/assign-owner?{OF_ACME}",
        {"id": "23423523", "owner": {"id": "u-9"}},
        lambda value: value["result"]["owner"] == {"id": "u-9"},
    ),
    "unified of another account": (
        lambda api: api.unified(*ACCOUNTS, integrated_account_id=GLOBEX).list(),
        "GET",
        f"/unified/crm/accounts?integrated_account_id={GLOBEX}",
        None,
        lambda value: len(value) == 3,
    ),
    "unified stream": (
        lambda api: api.unified(*ACCOUNTS).get("23423523", stream=True),
        "GET",
        f"/unified/crm/accounts/23423523?{OF_ACME}&truto_response_format=stream",
        None,
        lambda value: json.loads(value)["id"] == "23423523",
    ),
    "unified update, streamed": (
        lambda api: api.unified(*ACCOUNTS).update("23423523", {"name": "x"}, stream=True),
        "PATCH",
        f"/unified/crm/accounts/23423523?{OF_ACME}&truto_response_format=stream",
        {"name": "x"},
        lambda value: json.loads(value)["properties"]["name"] == "x",
    ),
    "proxy list": (
        lambda api: api.proxy("companies").list(limit=1),
        "GET",
        f"/proxy/companies?{OF_ACME}&limit=1",
        None,
        lambda value: len(value) == 3 and "properties" in value[0],
    ),
    "proxy get": (
        lambda api: api.proxy("companies").get("23423523"),
        "GET",
        f"/proxy/companies/23423523?{OF_ACME}",
        None,
        lambda value: value["id"] == "23423523" and "properties" in value,
    ),
    "proxy create": (
        lambda api: api.proxy("companies").create({"properties": {"name": "New"}}),
        "POST",
        f"/proxy/companies?{OF_ACME}",
        {"properties": {"name": "New"}},
        lambda value: value["properties"]["name"] == "New",
    ),
    "proxy update": (
        lambda api: api.proxy("companies").update("23423523", {"properties": {"employeeCount": 7}}),
        "PATCH",
        f"/proxy/companies/23423523?{OF_ACME}",
        {"properties": {"employeeCount": 7}},
        lambda value: value["properties"]["employeeCount"] == 7,
    ),
    "proxy delete": (
        lambda api: api.proxy("companies").delete("23423523"),
        "DELETE",
        f"/proxy/companies/23423523?{OF_ACME}",
        None,
        lambda value: value == {"id": "23423523", "deleted": True},
    ),
    "proxy custom method": (
        lambda api: api.proxy("companies").call("merge", {"into": "23423523", "from": "23423524"}),
        "POST",
        f"/proxy/companies/merge?{OF_ACME}",
        {"into": "23423523", "from": "23423524"},
        lambda value: value["id"] == "23423523",
    ),
    "batch": (
        lambda api: api.batch(
            [
                {"resource": "crm/accounts", "method": "list", "query": {"limit": 1}},
                {"resource": "companies", "method": "get", "id": "23423523", "persist": True},
            ]
        ),
        "POST",
        "/batch-request",
        {
            "integrated_account_id": ACME,
            "resources": [
                {"resource": "crm/accounts", "method": "list", "query": {"limit": 1}},
                {"resource": "companies", "method": "get", "id": "23423523", "persist": True},
            ],
        },
        lambda value: len(value["crm/accounts"]) == 3 and value["companies"][0]["id"] == "23423523",
    ),
    "batch with args": (
        lambda api: api.batch([{"resource": "crm/accounts", "method": "list"}], args={"a": [1, None]}),
        "POST",
        "/batch-request",
        {
            "integrated_account_id": ACME,
            "resources": [{"resource": "crm/accounts", "method": "list"}],
            "args": {"a": [1, None]},
        },
        lambda value: len(value["crm/accounts"]) == 3,
    ),
    "meta of an account": (
        lambda api: api.method_schema(*ACCOUNTS, "update"),
        "GET",
        f"/unified/crm/accounts/meta/update?{OF_ACME}",
        None,
        lambda value: value["method"] == "update" and "response_schema" not in value,
    ),
    "meta of an integration": (
        lambda api: api.method_schema(*ACCOUNTS, "update", integration="salesforce"),
        "GET",
        "/unified/crm/accounts/salesforce/meta/update",
        None,
        lambda value: value["method"] == "update" and "response_schema" in value,
    ),
    "model docs as json": (
        lambda api: api.model_docs("crm", "hubspot"),
        "GET",
        "/unified/meta/crm/hubspot?format=json",
        None,
        lambda value: value["model"] == "crm",
    ),
    "model docs as markdown": (
        lambda api: api.model_docs("crm", "hubspot", form="md"),
        "GET",
        "/unified/meta/crm/hubspot?format=md",
        None,
        lambda value: isinstance(value, str) and value.startswith("# crm for hubspot"),
    ),
    "model docs as a page": (
        lambda api: api.model_docs("crm", "hubspot", form="html"),
        "GET",
        "/unified/meta/crm/hubspot?format=html",
        None,
        lambda value: isinstance(value, str) and value.startswith("<!doctype html>"),
    ),
    "capabilities of an account": (
        lambda api: api.capabilities(),
        "GET",
        f"/integrated-account/{ACME}/capabilities",
        None,
        lambda value: value["account"]["is_blocked"] is False and value["proxy"] and value["unified"],
    ),
    "capabilities with every filter": (
        lambda api: api.capabilities(
            WAYNE, kind="proxy", methods=["list", "merge"], resource="companies", has_description=False
        ),
        "GET",
        (
            f"/integrated-account/{WAYNE}/capabilities?type=proxy&methods=list%2Cmerge&resource=companies"
            "&has_description=false"
        ),
        None,
        lambda value: value["unified"] == [] and [entry["resource"] for entry in value["proxy"]] == ["companies"],
    ),
    "capabilities of an integration": (
        lambda api: api.capabilities(integration="attio", kind="unified", has_description=True),
        "GET",
        "/integration/attio/capabilities?type=unified&has_description=true",
        None,
        lambda value: "account" not in value and value["proxy"] == [] and value["unified"],
    ),
    "tools": (
        lambda api: api.tools(methods=["list", "get"], tags=["crm"]),
        "GET",
        f"/integrated-account/{ACME}/tools?methods=list%2Cget&tags=crm",
        None,
        lambda value: {tool["method"] for tool in value["result"]} == {"list", "get"},
    ),
    "integrated accounts": (
        lambda api: api.integrated_accounts(),
        "GET",
        "/integrated-account",
        None,
        lambda value: len(value) >= 7,
    ),
    "integrated accounts with filters": (
        lambda api: api.integrated_accounts("acme", "hubspot", "active", is_sandbox=False, limit=3),
        "GET",
        "/integrated-account?tenant_id=acme&integration.name=hubspot&status=active&is_sandbox=false&limit=3",
        None,
        lambda value: [account["id"] for account in value] == [ACME],
    ),
    "integrated account": (
        lambda api: api.integrated_account(),
        "GET",
        f"/integrated-account/{ACME}",
        None,
        lambda value: value["id"] == ACME,
    ),
    "integrated account by id": (
        lambda api: api.integrated_account(GLOBEX),
        "GET",
        f"/integrated-account/{GLOBEX}",
        None,
        lambda value: value["id"] == GLOBEX,
    ),
    "id of a tenant": (
        lambda api: api.integrated_account_id_of("globex", "salesforce"),
        "GET",
        "/integrated-account?tenant_id=globex",
        None,
        lambda value: value == GLOBEX,
    ),
    "refresh": (
        lambda api: api.refresh_credentials(),
        "POST",
        "/integrated-account/refresh-credentials",
        {"id": ACME},
        lambda value: value == {"success": True},
    ),
    "start a run": (
        lambda api: api.start_sync_job_run(
            JOB, error_handling="fail_fast", args={"a": 1}, webhook_id="w", ignore_previous_run=True
        ),
        "POST",
        "/sync-job-run",
        {
            "sync_job_id": JOB,
            "integrated_account_id": ACME,
            "status": "created",
            "error_handling": "fail_fast",
            "args": {"a": 1},
            "webhook_id": "w",
            "ignore_previous_run": True,
        },
        lambda value: value["status"] == "created" and value["id"],
    ),
    "list runs": (
        lambda api: api.sync_job_runs(sync_job_id=JOB, status="created"),
        "GET",
        f"/sync-job-run?sync_job_id={JOB}&status=created",
        None,
        lambda value: value == [],
    ),
    "logs": (
        lambda api: api.logs(
            "rapid_bridge",
            created_at={"gt": "2026-01-01T00:00:00Z", "lt": "2026-01-20T00:00:00Z"},
            limit=100,
            log_type_filter={"sync_job_run_id": "r"},
        ),
        "GET",
        (
            "/log?log_type=rapid_bridge&created_at%5Bgt%5D=2026-01-01T00%3A00%3A00Z"
            "&created_at%5Blt%5D=2026-01-20T00%3A00%3A00Z&limit=100&log_type_filter%5Bsync_job_run_id%5D=r"
        ),
        None,
        lambda value: value == [],
    ),
    "ping": (lambda api: api.ping(), "GET", "/ping", None, lambda value: value == {}),
}
#: Writes of customers' data, which are repeated only under a key.
KEYED = {name for name in CALLS if name.startswith(("unified", "proxy", "batch")) and CALLS[name][1] != "GET"}
#: Calls whose answer may be something other than JSON.
ANY_CONTENT = {"unified stream", "unified update, streamed"} | {
    name for name in CALLS if name.startswith(("proxy", "model docs"))
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_arrives_as_documented_and_its_answer_is_given(name, both):
    case, verb, target, body, is_right = CALLS[name]
    result = both(case, integrated_account_id=ACME)
    assert result.error is None
    assert is_right(result.value), result.value
    first = result.requests[0]
    assert (first.method, first.target) == (verb, target)
    expected = dict(HEAD if body is None else JSON_HEAD)
    if name in ANY_CONTENT:
        expected["accept"] = "*/*"
    if name in KEYED:
        expected["idempotency-key"] = "key 1"
    if body is not None:
        expected["content-length"] = str(len(first.body))
    assert first.headers == expected
    assert (json.loads(first.body) if first.body else None) == body
    assert {request.token for request in result.requests} == {"api"}
    assert result.sleeps == []
    assert result.warned == []


@pytest.mark.parametrize("name", CALLS)
def test_a_call_needs_no_token_of_the_account_itself_unless_asked_to(name, both):
    case, *_ = CALLS[name]
    result = both(case, integrated_account_id=ACME, data_auth="account")
    assert result.error is None
    is_data = name.startswith(("unified", "proxy"))
    account = GLOBEX if name == "unified of another account" else ACME
    tokens = [request.token for request in result.requests]
    assert tokens == (["api"] + [f"account:{account}"] * (len(tokens) - 1) if is_data else ["api"] * len(tokens))
    assert result.minted == is_data


def id_in_body(emulator):
    """Let the CRM of ACME take ids in bodies."""
    account = emulator.state.accounts[ACME]
    account.integration = emulator.state.integrations["attio"]


def test_an_update_and_a_delete_go_to_the_collection_where_the_id_is_in_the_body(both):
    updated = both(
        lambda api: api.unified(*ACCOUNTS).update(
            None, {"id": "23423523", "name": "Initrode", "owner": {"id": "u-1"}}
        ),
        prepare=id_in_body,
        integrated_account_id=ACME,
    )
    assert updated.value["name"] == "Initrode"
    assert (updated.requests[0].method, updated.requests[0].target) == ("PATCH", f"/unified/crm/accounts?{OF_ACME}")
    deleted = both(
        lambda api: api.unified(*ACCOUNTS).delete(None, {"id": "23423523"}),
        prepare=id_in_body,
        integrated_account_id=ACME,
    )
    assert deleted.value == {"id": "23423523"}
    assert (deleted.requests[0].method, deleted.requests[0].target) == ("DELETE", f"/unified/crm/accounts?{OF_ACME}")
    assert deleted.requests[0].body == b'{"id":"23423523"}'


def test_an_account_token_asks_for_its_own_account(both):
    result = both(lambda client: client.run(own_account_request(ACME)), data_auth="account")
    assert result.error is None
    assert [(request.path, request.token) for request in result.requests] == [
        ("/integrated-account/token", "api"),
        ("/integrated-account/me", f"account:{ACME}"),
    ]


def test_a_run_is_asked_for_and_stopped(both, emulator):
    # Its id is made up by the server, so that the case asks for it itself.
    def prepared(emulator):
        from airflow_provider_truto.emulator.state.sync_runs import Step, SyncRun

        record = {"id": "r/1 x", "status": "created", "resource_stats": {}, "started_at": None, "finished_at": None}
        record |= {"integrated_account_id": ACME, "resources": []}
        emulator.state.sync_runs["r/1 x"] = SyncRun(record, Step(status="created"))

    asked = both(lambda api: api.sync_job_run("r/1 x"), prepare=prepared)
    assert asked.value["status"] == "created"
    stopped = both(lambda api: api.stop_sync_job_run("r/1 x"), prepare=prepared)
    assert stopped.value == {"id": "r/1 x"}
    assert [(request.method, request.target) for request in (asked.requests[0], stopped.requests[0])] == [
        ("GET", "/sync-job-run/r%2F1%20x"),
        ("DELETE", "/sync-job-run/r%2F1%20x"),
    ]
    listed = both(lambda api: api.sync_job_runs(), prepare=prepared)
    assert [run["id"] for run in listed.value] == ["r/1 x"], "this list comes under `results`"
    with pytest.raises(TrutoNotFoundError):
        raise both(lambda api: api.sync_job_run("gone")).error


@pytest.mark.parametrize("outcome", ["reset", "cut"])
def test_the_start_of_a_run_whose_answer_was_lost_is_not_repeated(outcome, both):
    def prepare(emulator):
        emulator.fault(
            path="sync-job-run", **({"reset": "after"} if outcome == "reset" else {"cut": 3, "apply": True})
        )

    result = both(
        lambda api: api.start_sync_job_run(JOB, error_handling="ignore", integrated_account_id=ACME), prepare=prepare
    )
    assert "unknown" in str(result.error)
    assert len(result.requests) == 1
    assert result.sleeps == []


def test_a_batch_that_failed_in_part_says_what_was_done(both):
    result = both(
        lambda api: api.batch(
            [
                {"resource": "crm/accounts", "method": "get", "id": "23423523"},
                {"resource": "crm/contacts", "method": "get", "id": "nobody"},
            ]
        ),
        integrated_account_id=ACME,
    )
    assert isinstance(result.error, TrutoPartialFailureError)
    assert result.error.status == 200
    assert [row["id"] for row in result.error.result["crm/accounts"]] == ["23423523"]
    assert result.error.errors["crm/contacts"][0]["statusCode"] == 404
    assert "1 error in it" in str(result.error)
    assert "stays done" in str(result.error)
    assert "Fix: " in str(result.error)
    assert result.error.transient is False
    assert len(result.requests) == 1


# ------------------------------------------------------------------------------------------------------------ custom

BYTES = bytes(range(256))

#: name: (arguments, body as it arrives, content type as it arrives)
BODIES = {
    "none": ({}, b"", None),
    "an object": ({"body": {"ä": [1, None]}}, '{"ä":[1,null]}'.encode(), "application/json"),
    "a list": ({"body": [1, "2"]}, b'[1,"2"]', "application/json"),
    "an empty object": ({"body": {}}, b"{}", "application/json"),
    "a number": ({"body": 0}, b"0", "application/json"),
    "false": ({"body": False}, b"false", "application/json"),
    "bytes": ({"body": BYTES}, BYTES, "application/octet-stream"),
    "bytes of a kind": ({"body": b"a: 1\n", "content_type": "application/yaml"}, b"a: 1\n", "application/yaml"),
    "text": ({"body": "grüße\n"}, "grüße\n".encode(), "text/plain"),
    "text of a kind": (
        {"body": "<a/>", "content_type": "text/xml; charset=utf-8"},
        b"<a/>",
        "text/xml; charset=utf-8",
    ),
}


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE", "GET", "post", "PURGE", "PROPFIND"])
@pytest.mark.parametrize("name", BODIES)
def test_a_custom_call_takes_any_verb_and_any_body(name, verb, both):
    given_, body, kind = BODIES[name]
    result = both(
        lambda api: api.custom(verb, "v2/things/1", query={"a": ["x", "y"], "b": {"c": True}}, **given_),
        integrated_account_id=ACME,
    )
    assert result.error is None
    [request] = result.requests
    assert request.method == verb.upper()
    assert request.target == f"/custom/v2/things/1?{OF_ACME}&a%5B%5D=x&a%5B%5D=y&b%5Bc%5D=true"
    assert request.body == body
    assert request.headers.get("content-type") == kind
    assert request.headers["accept"] == "*/*"
    assert ("idempotency-key" in request.headers) is (verb != "GET")
    assert result.value["result"]["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert result.value["result"]["query"] == {"a": ["x", "y"], "b": {"c": "true"}}


@pytest.mark.parametrize("verb", ["HEAD", "OPTIONS"])
def test_a_custom_call_of_an_idempotent_verb_has_no_key(verb, both):
    result = both(lambda api: api.custom(verb, "things"), integrated_account_id=ACME)
    assert result.error is None
    [request] = result.requests
    assert request.method == verb
    assert "idempotency-key" not in request.headers
    assert (result.value == {}) is (verb == "HEAD")


def test_extra_headers_go_along_and_win_over_the_clients_own_wish_for_content(both):
    headers = {"X-Trace": 'a, b; c="d"', "accept": "text/csv", "User-Agent": "mine/1"}
    result = both(lambda api: api.custom("POST", "things", body={}, headers=headers), integrated_account_id=ACME)
    [request] = result.requests
    assert request.headers["x-trace"] == 'a, b; c="d"'
    assert request.headers["accept"] == "text/csv"
    assert request.headers["user-agent"] == "mine/1"
    assert request.headers["authorization"] == "Bearer valid"
    assert headers == {"X-Trace": 'a, b; c="d"', "accept": "text/csv", "User-Agent": "mine/1"}


def test_a_custom_answer_that_is_not_json_is_given_as_bytes(both):
    result = both(lambda api: api.custom("GET", "export/1000"), integrated_account_id=ACME)
    assert result.value == (bytes(range(251)) * 4)[:1000]


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_a_custom_answer_is_streamed(size, both):
    result = both(lambda api: api.custom("GET", f"export/{size}", stream=True), integrated_account_id=ACME)
    assert result.value == (bytes(range(251)) * (size // 251 + 1))[:size]


def test_an_error_of_a_custom_call_is_one_like_any_other(both):
    result = both(
        lambda api: api.custom("GET", "things", stream=True),
        prepare=lambda emulator: emulator.fault(status=404, times=None),
        integrated_account_id=ACME,
    )
    assert isinstance(result.error, TrutoNotFoundError)


def test_a_key_of_the_caller_is_the_one_that_goes_out(both):
    for case in (
        lambda api: api.custom("POST", "x", body=1, idempotency_key="mine"),
        lambda api: api.unified(*ACCOUNTS).update("23423523", {"name": "x"}, idempotency_key="mine"),
        lambda api: api.unified(*ACCOUNTS).create({"name": "x"}, idempotency_key="mine"),
        lambda api: api.unified(*ACCOUNTS).delete("23423523", idempotency_key="mine"),
        lambda api: api.proxy("companies").call(
            "merge", {"into": "23423523", "from": "23423524"}, idempotency_key="mine"
        ),
        lambda api: api.batch([{"resource": "crm/accounts", "method": "list"}], idempotency_key="mine"),
    ):
        result = both(case, integrated_account_id=ACME)
        assert result.error is None
        assert [request.headers["idempotency-key"] for request in result.requests] == ["mine"]


# ------------------------------------------------------------------------------------------------------------- paths

KEPT_PATHS = [
    "v2/things",
    "things/",
    "a%2Fb/c",
    "a%2fb/%41%7e%c3%a9",
    "a%20b/%5Bx%5D/%7B%7D",
    "a+b/c:d@e/f;g=h/i,j/$k&l'(m)*!~",
    "...",
    "..a/.b/c..",
    "a/.../b",
    "caf%C3%A9",
]


@pytest.mark.parametrize("path", KEPT_PATHS)
def test_a_custom_path_arrives_with_its_escapes(path, both):
    result = both(lambda api: api.custom("GET", path), integrated_account_id=ACME)
    assert result.error is None
    assert same_escapes(result.requests[0].path) == same_escapes(f"/custom/{path}")


def same_escapes(path):
    """A path in the one form that RFC 3986 has for it; only escapes that make no difference are changed."""

    def normal(found):
        letter = unquote(found[0])
        return letter if re.fullmatch(r"[A-Za-z0-9._~-]", letter) else found[0].upper()

    return re.sub("%[0-9A-Fa-f]{2}", normal, path)


WRITTEN_PATHS = {
    "a b": "/custom/a%20b",
    "/a": "/custom/a",
    "é/ü": "/custom/%C3%A9/%C3%BC",
    "50%": "/custom/50%25",
    "%zz": "/custom/%25zz",
    'a|b^c`d"e<f>': "/custom/a%7Cb%5Ec%60d%22e%3Cf%3E",
    "a\\b": "/custom/a%5Cb",
    "a\nb\tc": "/custom/a%0Ab%09c",
    "[x]{y}": "/custom/%5Bx%5D%7By%7D",
    "%": "/custom/%25",
}


@pytest.mark.parametrize("path", WRITTEN_PATHS)
def test_what_a_url_cannot_hold_is_escaped_in_a_custom_path(path, both):
    result = both(lambda api: api.custom("GET", path), integrated_account_id=ACME)
    assert result.requests[0].path == WRITTEN_PATHS[path]


DOTS = [".", "%2e", "%2E", "%252e", "%25252E", "%%32e", "%2%65"]


@pytest.mark.parametrize("place", ["{}", "a/{}", "{}/a", "a/{}/b", "a%2F{}%2Fb", "a%252f{}/b", "a\\{}\\b", "a%5C{}"])
@pytest.mark.parametrize("one", DOTS)
@pytest.mark.parametrize("count", [1, 2])
def test_dot_segments_are_refused_in_every_encoding(count, one, place, both):
    result = both(lambda api: api.custom("GET", place.format(one * count)), integrated_account_id=ACME)
    assert isinstance(result.error, ValueError)
    assert result.requests == []


PIECES = st.sampled_from(
    [".", "..", "/", "%", "2", "e", "E", "%2e", "%2F", "%5c", "\\", "5", "a", "%25", ";", "+", " ", "é"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@example("%%32%65")
def test_whatever_is_decoded_on_the_way_a_custom_path_stays_below_custom(path):
    try:
        written = escape_path(path)
    except ValueError:
        return
    assert written.startswith("/")
    assert "//" not in written
    for _ in range(len(path) + 1):
        assert not {".", ".."} & set(written.replace("\\", "/").split("/"))
        assert "?" not in written.partition("%")[0]
        written = unquote(written)


@given(path=st.lists(PIECES, min_size=1, max_size=12).map("".join))
def test_a_custom_path_is_the_same_for_both_drivers(path, both):
    result = both(lambda api: api.custom("GET", path), integrated_account_id=ACME)
    assert isinstance(result.error, ValueError) is (result.requests == [])
    if result.requests:
        assert result.requests[0].path.startswith("/custom/")


IDS = ["a/b c?d#e", "../users", "a%2Fb", "é", "+", "x" * 3000, "a&b=c", "'\"<>", "\n", "~-_.", "%", "...", " a "]


@pytest.mark.parametrize("record_id", IDS)
def test_an_id_stays_one_segment(record_id, both):
    for case in (
        lambda api: api.unified(*ACCOUNTS).get(record_id),
        lambda api: api.proxy("companies").get(record_id),
    ):
        result = both(case, integrated_account_id=ACME)
        assert isinstance(result.error, TrutoNotFoundError)
        [request] = result.requests
        assert request.path.count("/") == case(_Segments())
        assert request.target.endswith(f"?{OF_ACME}")
    assert unquote(request.path.rpartition("/")[2]) == record_id


class _Segments:
    """Counts the slashes that a resource's path has."""

    def unified(self, *_):
        return type("R", (), {"get": lambda self, _id: 4})()

    def proxy(self, *_):
        return type("R", (), {"get": lambda self, _id: 3})()


# ------------------------------------------------------------------------------------------------- impossible calls

IMPOSSIBLE = {
    "an empty id": lambda api: api.unified(*ACCOUNTS).get(""),
    "a dot as id": lambda api: api.unified(*ACCOUNTS).get(".."),
    "no id": lambda api: api.unified(*ACCOUNTS).get(None),
    "a number as id": lambda api: api.unified(*ACCOUNTS).get(5),
    "a number as id of a write": lambda api: api.unified(*ACCOUNTS).update(5, {"name": "x"}),
    "an empty model": lambda api: api.unified("", "accounts").list(),
    "an empty resource": lambda api: api.proxy("").get("1"),
    "a surrogate": lambda api: api.unified(*ACCOUNTS).get("\ud800"),
    "NaN": lambda api: api.unified(*ACCOUNTS).create({"number_of_employees": float("nan")}),
    "a set": lambda api: api.unified(*ACCOUNTS).create({"tags": {1}}),
    "a tuple": lambda api: api.unified(*ACCOUNTS).create({"tags": (1,)}),
    "numbers as keys": lambda api: api.unified(*ACCOUNTS).update("1", {1: 2}),
    "a naive datetime": lambda api: api.unified(*ACCOUNTS).list(created_at={"gt": datetime(2026, 1, 1)}),
    "a set in a query": lambda api: api.unified(*ACCOUNTS).get("1", query={"a": {1}}),
    "brackets in a query's name": lambda api: api.unified(*ACCOUNTS).get("1", query={"a[b]": 1}),
    "several objects in a query's list": lambda api: api.proxy("companies").list(a=[{"b": 1}, {"c": 2}]),
    "a verb with a space": lambda api: api.custom("GE T", "x"),
    "no verb": lambda api: api.custom("", "x"),
    "a verb with a line break": lambda api: api.custom("GET\r\nX", "x"),
    "a query in a custom path": lambda api: api.custom("GET", "x?a=1"),
    "a fragment in a custom path": lambda api: api.custom("GET", "x#a"),
    "no custom path": lambda api: api.custom("GET", ""),
    "an empty segment": lambda api: api.custom("GET", "a//b"),
    "another host": lambda api: api.custom("GET", "//evil.example/x"),
    "a content type for JSON": lambda api: api.custom("POST", "x", body={}, content_type="text/plain"),
    "a content type with a line break": lambda api: api.custom("POST", "x", body="a", content_type="text/a\r\nX: y"),
    "a content type with a letter beyond ASCII": lambda api: api.custom("POST", "x", body="a", content_type="é"),
    "an own Authorization": lambda api: api.custom("GET", "x", headers={"authorization": "Bearer x"}),
    "an own Host": lambda api: api.custom("GET", "x", headers={"Host": "x"}),
    "an own key": lambda api: api.custom("POST", "x", headers={"Idempotency-Key": "x"}),
    "an own length": lambda api: api.custom("POST", "x", headers={"Content-Length": "5"}),
    "a header's line break": lambda api: api.custom("GET", "x", headers={"X-A": "a\r\nX-B: b"}),
    "a header beyond ASCII": lambda api: api.custom("GET", "x", headers={"X-A": "é"}),
    "a header that begins with a space": lambda api: api.custom("GET", "x", headers={"X-A": " a"}),
    "a header that ends with a space": lambda api: api.custom("GET", "x", headers={"X-A": "a "}),
    "a header that is a number": lambda api: api.custom("GET", "x", headers={"X-A": 1}),
    "a header without a name": lambda api: api.custom("GET", "x", headers={"": "x"}),
    "a header with a colon": lambda api: api.custom("GET", "x", headers={"X:A": "x"}),
    "one header twice": lambda api: api.custom("GET", "x", headers={"X-A": "1", "x-a": "2"}),
    "a handshake": lambda api: api.custom("POST", "x", body={}, headers={"Expect": "100-continue"}),
    "an upgrade": lambda api: api.custom("GET", "x", headers={"Upgrade": "websocket"}),
    "a tunnel": lambda api: api.custom("CONNECT", "x"),
    "an echo of the token": lambda api: api.custom("TRACE", "x"),
    "a key with a line break": lambda api: api.custom("POST", "x", idempotency_key="a\r\nX: y"),
    "a key beyond ASCII": lambda api: api.unified(*ACCOUNTS).update("1", {"name": "x"}, idempotency_key="ключ"),
    "a key that is a number": lambda api: api.unified(*ACCOUNTS).create({"name": "x"}, idempotency_key=5),
    "a batch's key with a line break": lambda api: api.batch(
        [{"resource": "a/b", "method": "list"}], idempotency_key="a\nb"
    ),
    "a batch that is not JSON": lambda api: api.batch([{"resource": "a", "body": {1, 2}}]),
    "a start whose arguments are not JSON": lambda api: api.start_sync_job_run(
        JOB, error_handling="ignore", args={"a": {1}}
    ),
    "methods as one text": lambda api: api.capabilities(methods="list"),
    "tags as one text": lambda api: api.tools(tags="crm"),
    "the account in a list's query": lambda api: api.unified(*ACCOUNTS).list(integrated_account_id=GLOBEX),
    "the account in a get's query": lambda api: api.proxy("companies").get(
        "1", query={"integrated_account_id": GLOBEX}
    ),
    "the account in a write's query": lambda api: api.unified(*ACCOUNTS).update(
        "1", {"name": "x"}, query={"integrated_account_id": GLOBEX}
    ),
    "the account in a custom query": lambda api: api.custom("GET", "x", query={"integrated_account_id": GLOBEX}),
    "an empty run": lambda api: api.sync_job_run(""),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_can_never_be_right_is_refused_before_anything_is_sent(name, both):
    result = both(IMPOSSIBLE[name], integrated_account_id=ACME)
    assert isinstance(result.error, (ValueError, TypeError)), result
    assert result.requests == []
    assert result.sleeps == []


NO_ACCOUNT = {
    "list": lambda api: api.unified(*ACCOUNTS).list(),
    "get": lambda api: api.unified(*ACCOUNTS).get("1"),
    "update": lambda api: api.proxy("companies").update("1", {}),
    "custom": lambda api: api.custom("GET", "x"),
    "batch": lambda api: api.batch([]),
    "capabilities": lambda api: api.capabilities(),
    "tools": lambda api: api.tools(),
    "method schema": lambda api: api.method_schema(*ACCOUNTS, "update"),
    "refresh": lambda api: api.refresh_credentials(),
    "account": lambda api: api.integrated_account(),
    "start": lambda api: api.start_sync_job_run(JOB, error_handling="ignore"),
}


@pytest.mark.parametrize("name", NO_ACCOUNT)
def test_without_an_account_nothing_is_sent(name, both):
    result = both(NO_ACCOUNT[name])
    assert isinstance(result.error, TrutoSchemaError)
    assert [problem.pointer for problem in result.error.problems] == ["/integrated_account_id"]
    assert result.requests == []


@pytest.mark.parametrize("name", NO_ACCOUNT)
def test_an_account_that_the_connection_does_not_allow_is_refused(name, both):
    result = both(
        NO_ACCOUNT[name], integrated_account_id=GLOBEX, allowed_integrated_accounts=frozenset({ACME, WAYNE})
    )
    assert isinstance(result.error, TrutoSchemaError)
    assert "allowed_integrated_accounts" in str(result.error)
    assert result.requests == []


def test_an_empty_account_never_falls_back_to_the_connections(both):
    result = both(
        lambda api: api.unified(*ACCOUNTS, integrated_account_id="").update("23423523", {"name": "x"}),
        integrated_account_id=ACME,
    )
    assert isinstance(result.error, TrutoSchemaError)
    assert result.requests == []


def test_what_is_known_already_is_not_asked_for_again(both):
    def case(api):
        first = api.capabilities()
        return first if isinstance(first, dict) else twice(api, first)

    async def twice(api, first):
        await first
        return await api.capabilities()

    result = both(lambda api: case(api), integrated_account_id=ACME)
    assert len(result.requests) == 1
