"""What takes more than one call, without a server: accounts by tenant, accounts that are ready, batches, pages."""

from __future__ import annotations

import pytest
from answering import answering_client

from airflow_provider_truto.client.accounts import (
    check_account,
    check_ready,
    check_tenant,
    find_account,
    resolve_account,
)
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.errors import (
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoMethodNotAllowedError,
    TrutoPartialFailureError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
    TrutoSchemaError,
    TrutoTransportError,
)
from airflow_provider_truto.client.keys import RandomKeys
from airflow_provider_truto.client.operations import fetch_batch
from airflow_provider_truto.client.pages import Page, Pages, fetch_all, parse_page
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.sync import run_to_end

ID = "acae0000-0000-4000-8000-000000000001"
OTHER = "3a12e000-0000-4000-8000-000000000006"
SETTINGS = ClientSettings(integrated_account_id=ID, requests_per_second=0)
CALL = Request(method="GET", path="/x", integrated_account_id=ID)


def run(function, *args, answers, called=None, **kwargs):
    """The result of a coroutine function, and the targets it called. ``answers``: what begins a target, its value."""
    called = [] if called is None else called

    def answer(call):
        called.append(call.target)
        found = [value for start, value in answers.items() if call.target.startswith(start)]
        assert found, call.target
        return found[-1](call) if callable(found[-1]) else found[-1]

    return run_to_end(function(answering_client(answer, SETTINGS), *args, **kwargs)), called


def account(account_id=ID, tenant="acme", integration="hubspot", **more):
    return {
        "id": account_id,
        "tenant_id": tenant,
        "integration": {"id": "i", "name": integration, "category": "crm"},
        "status": "active",
        "is_sandbox": False,
        **more,
    }


# ---------------------------------------------------------------------------------------------- accounts by tenant


def found(accounts, tenant="acme", integration=None):
    return run(find_account, tenant, integration, answers={"/integrated-account?": {"result": accounts}})


def test_the_only_account_of_a_tenant_is_found():
    assert found([account()]) == (ID, ["/integrated-account?tenant_id=acme"])
    assert found([account(OTHER, integration="attio"), account()], integration="hubspot")[0] == ID


def test_accounts_of_others_do_not_count_though_the_filter_was_ignored():
    assert found([account(OTHER, tenant="wayne"), account(), "x", None, {}])[0] == ID


NOT_ONE = {
    "none": ([], None, "no integrated account has tenant_id 'acme'"),
    "of another tenant only": ([account(tenant="wayne")], None, "no integrated account has tenant_id 'acme'"),
    "of another integration only": (
        [account(integration="attio", status="needs_reauth")],
        "hubspot",
        f"There is only: {ID} (attio, needs_reauth)",
    ),
    "several": ([account(), account(OTHER)], None, "2 integrated accounts have tenant_id 'acme'"),
    "several of the integration": ([account(), account(OTHER)], "hubspot", "integration.name 'hubspot'"),
    "without an integration": ([account() | {"integration": None}], "hubspot", "(None, active)"),
    "without an id": ([account(None)], None, "1 integrated accounts have"),
}


@pytest.mark.parametrize("name", NOT_ONE)
def test_none_or_several_are_a_problem_that_lists_what_there_is(name):
    accounts, integration, words = NOT_ONE[name]
    with pytest.raises(TrutoSchemaError) as caught:
        found(accounts, integration=integration)
    assert [problem.pointer for problem in caught.value.problems] == ["/tenant_id"]
    assert words in str(caught.value)
    advice = "Name one by integrated_account_id" if "There " in str(caught.value) else "has not connected yet"
    assert advice in str(caught.value)
    assert "nothing was sent" in str(caught.value)


def test_a_long_list_is_cut_in_the_message():
    with pytest.raises(TrutoSchemaError) as caught:
        found([account(f"id-{number}") for number in range(500)])
    assert "500 integrated accounts have" in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_tenant_of_several_pages_is_read_whole():
    def by_page(call):
        return {"result": [account()]} if "next_cursor=a" in call.target else {"result": [], "next_cursor": "a"}

    result, called = run(find_account, "acme", None, answers={"/integrated-account": by_page})
    assert result == ID
    assert len(called) == 2


def test_a_tenant_of_too_many_accounts_is_refused():
    with pytest.raises(TrutoTransportError, match="more than 1000"):
        found([account()] * 1001)


# -------------------------------------------------------------------------------------------------- ready accounts

CAPABLE = {
    "unified": [
        {"model": "crm", "resource": "accounts", "methods": ["list", "update"]},
        {"model": "crm", "resource": "contacts", "methods": []},
        {"model": "ticketing", "resource": "tickets", "methods": ["list"]},
    ],
    "proxy": [{"resource": "Deals", "methods": [{"method": "list"}, {"method": "merge"}]}],
    "account": {"id": ID, "status": "active", "is_blocked": False},
}


def ready(
    record, capabilities=CAPABLE, *, tenant=None, model="crm", resource="accounts", method="update", called=None
):
    return run(
        check_ready,
        ID,
        expected_tenant_id=tenant,
        model=model,
        resource=resource,
        method=method,
        answers={
            f"/integrated-account/{ID}": record,
            f"/integrated-account/{ID}/capabilities": capabilities,
        },
        called=called,
    )


READY = {
    "as it should be": (account(), CAPABLE, {}),
    "its tenant": (account(), CAPABLE, {"tenant": "acme"}),
    "a sandbox that is read": (account(is_sandbox=True), CAPABLE, {"method": "list"}),
    "proxy": (account(), CAPABLE, {"model": None, "resource": "Deals", "method": "merge"}),
    "a resource that tells no methods": (account(), CAPABLE, {"resource": "contacts", "method": "anything"}),
    "capabilities that say nothing": (account(), {}, {}),
    "capabilities of another kind": (account(), {"unified": "x", "account": None}, {}),
    "a block that nobody knows of": (account(), {"account": {"is_blocked": None}}, {}),
}


@pytest.mark.parametrize("name", READY)
def test_an_account_that_can_be_called_is_given(name):
    record, capabilities, given = READY[name]
    result, called = ready(record, capabilities, **given)
    assert result == record
    assert called == [f"/integrated-account/{ID}", f"/integrated-account/{ID}/capabilities"]


BLOCKED = {"account": {"is_blocked": True}}
#: name: (record, capabilities, arguments, error, words, calls)
UNREADY = {
    "another tenant's": (account(), CAPABLE, {"tenant": "wayne"}, TrutoSchemaError, "belongs to tenant 'acme'", 1),
    "no tenant": (account(tenant=None), CAPABLE, {"tenant": "wayne"}, TrutoSchemaError, "tenant None", 1),
    "to be reconnected": (
        account(status="needs_reauth", last_error="invalid\n grant"),
        CAPABLE,
        {},
        TrutoReauthorizationRequiredError,
        "the customer must reconnect hubspot account",
        1,
    ),
    "its reason": (
        account(status="needs_reauth", last_error="invalid\n grant"),
        CAPABLE,
        {},
        TrutoReauthorizationRequiredError,
        "Truto's reason: invalid grant.",
        1,
    ),
    "connecting": (
        account(status="connecting"),
        CAPABLE,
        {},
        TrutoReauthorizationRequiredError,
        "must connect or reconnect",
        1,
    ),
    "of an unknown status": (
        account(status="paused"),
        CAPABLE,
        {},
        TrutoReauthorizationRequiredError,
        "its status is paused",
        1,
    ),
    "blocked": (account(), BLOCKED, {}, TrutoAccountBlockedError, "support@truto.one", 2),
    "a sandbox": (account(is_sandbox=True), CAPABLE, {}, TrutoSandboxReadOnlyError, "is a sandbox", 2),
    "a sandbox and a custom method": (
        account(is_sandbox=True),
        CAPABLE,
        {"method": "merge"},
        TrutoSandboxReadOnlyError,
        "is a sandbox",
        2,
    ),
    "without the resource": (
        account(),
        CAPABLE,
        {"resource": "leads"},
        TrutoMethodNotAllowedError,
        "does not expose crm/leads",
        3,
    ),
    "with the resource of another model": (
        account(),
        CAPABLE,
        {"resource": "tickets"},
        TrutoMethodNotAllowedError,
        "does not expose crm/tickets",
        3,
    ),
    "without the method": (
        account(),
        CAPABLE,
        {"method": "delete"},
        TrutoMethodNotAllowedError,
        "exposes crm/accounts, but not delete: it has list, update",
        3,
    ),
    "without the proxy's method": (
        account(),
        CAPABLE,
        {"model": None, "resource": "Deals", "method": "update"},
        TrutoMethodNotAllowedError,
        "it has list, merge",
        3,
    ),
    "with the proxy's name in another case": (
        account(),
        CAPABLE,
        {"model": None, "resource": "deals", "method": "list"},
        TrutoMethodNotAllowedError,
        "does not expose deals",
        3,
    ),
}


@pytest.mark.parametrize("name", UNREADY)
def test_an_account_that_cannot_be_called_is_refused_with_the_one_thing_that_is_in_the_way(name):
    record, capabilities, given, cls, words, calls = UNREADY[name]
    called = []
    with pytest.raises(cls) as caught:
        ready(record, capabilities, **given, called=called)
    assert type(caught.value) is cls
    assert len(called) == calls, "nothing is asked for that cannot matter any more"
    assert words in str(caught.value)
    assert ID in str(caught.value)
    assert "othing was sent" in str(caught.value)
    if isinstance(caught.value, TrutoApiError):
        assert caught.value.transient is False
        assert "acme" in str(caught.value)


def test_a_long_reason_is_cut():
    with pytest.raises(TrutoReauthorizationRequiredError) as caught:
        ready(account(status="needs_reauth", last_error="x" * 5000))
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("record", [None, [], "x", {}, {"id": ID}])
def test_what_is_not_an_account_is_not_an_answer(record):
    with pytest.raises(TrutoTransportError, match="status"):
        ready(record)


def test_a_tenant_is_compared_only_where_one_is_expected():
    check_tenant({}, ID, None)
    check_tenant({"tenant_id": "acme"}, ID, "acme")
    with pytest.raises(TrutoSchemaError):
        check_tenant({}, ID, "acme")


# ---------------------------------------------------------------------------------------------------------- batches


def batched(value):
    return run(
        fetch_batch,
        [{"resource": "a/b", "method": "list"}],
        integrated_account_id=ID,
        args=None,
        idempotency_key="k",
        find_keys=RandomKeys,
        answers={"/batch-request": value},
    )[0]


@pytest.mark.parametrize("errors", ["absent", None, {}, [], {"a/b": []}, {"a/b": None, "c": []}])
def test_a_batch_without_errors_gives_its_results(errors):
    value = {"result": {"a/b": [1]}} | ({} if errors == "absent" else {"errors": errors})
    assert batched(value) == {"a/b": [1]}


@pytest.mark.parametrize(
    ("errors", "count"),
    [
        ({"a/b": [{"statusCode": 404}]}, "1 error "),
        ({"a/b": [{}, {}], "c": [{}], "d": []}, "3 errors "),
        ({"a/b": {"message": "x"}}, "1 error "),
        ({"a/b": "x"}, "1 error "),
        (["x"], "1 error "),
        ("x", "1 error "),
    ],
)
def test_a_batch_with_errors_is_a_partial_failure(errors, count):
    with pytest.raises(TrutoPartialFailureError) as caught:
        batched({"result": {"a/b": [1, 2], "c": {}}, "errors": errors})
    assert caught.value.errors == errors
    assert caught.value.result == {"a/b": [1, 2], "c": {}}
    assert count in str(caught.value)
    assert "a/b: 2, c: 1" in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "x", {"result": []}, {"result": None}, {"result": "x"}, {}])
def test_what_is_not_a_batchs_answer_is_not_a_success(value):
    with pytest.raises(TrutoTransportError):
        batched(value)


def test_a_partial_failure_without_any_result_says_so():
    with pytest.raises(TrutoPartialFailureError, match=r"What succeeded \(nothing\)"):
        batched({"errors": {"a/b": ["x"]}})


# --------------------------------------------------------------------------------------------------- small ones


def test_an_answer_is_its_value_or_its_stream():
    assert run(Client.fetch_value, CALL, answers={"/x": [1]})[0] == [1]
    chunks = object()
    streamed = Request(method="GET", path="/x", streamed=True)
    client = answering_client(None, SETTINGS)

    async def send(_call, _token):
        return Response(status=200, stream=chunks)

    client.transport.send = send
    assert run_to_end(client.fetch_value(streamed)) is chunks


@pytest.mark.parametrize(("value", "fits"), [({"a": 1, "b": 2}, True), ({"a": None}, True), ({}, False), ([], False)])
def test_an_object_must_have_what_is_needed(value, fits):
    if fits:
        assert run(Client.fetch_object, CALL, "a", answers={"/x": value})[0] == value
    else:
        with pytest.raises(TrutoTransportError, match="with a"):
            run(Client.fetch_object, CALL, "a", answers={"/x": value})


ADMITTED = {
    "the given one": (OTHER, {"integrated_account_id": ID}, OTHER),
    "the connection's": (None, {"integrated_account_id": ID}, ID),
    "none": (None, {}, None),
    "an empty one": ("", {"integrated_account_id": ID}, None),
    "a blank one": (" ", {"integrated_account_id": ID}, None),
    "one with a space": (f"{OTHER} ", {"integrated_account_id": ID}, None),
    "a record's id": ("23423523", {"integrated_account_id": ID}, None),
    "a number": (5, {"integrated_account_id": ID}, None),
    "a list": ([OTHER], {"integrated_account_id": ID}, None),
    "an empty list": ([], {"integrated_account_id": ID}, None),
    "the connection's, which is not an id": (None, {"integrated_account_id": "acme"}, None),
    "an allowed one": (OTHER.upper(), {"allowed_integrated_accounts": frozenset({OTHER})}, OTHER),
    "one in capitals": (OTHER.upper(), {}, OTHER),
    "the connection's, in capitals": (None, {"integrated_account_id": OTHER.upper()}, OTHER),
    "one that is not allowed": (ID, {"allowed_integrated_accounts": frozenset({OTHER})}, None),
    "the connection's, which is not allowed": (
        None,
        {"integrated_account_id": ID, "allowed_integrated_accounts": frozenset({OTHER})},
        None,
    ),
}


@pytest.mark.parametrize("name", ADMITTED)
def test_which_account_is_called_for(name):
    given, options, expected = ADMITTED[name]
    settings = ClientSettings(**options)
    chosen, problems = check_account(given, settings)
    if expected is None:
        assert [problem.pointer for problem in problems] == ["/integrated_account_id"]
        with pytest.raises(TrutoSchemaError):
            resolve_account(settings, given)
    else:
        assert (chosen, problems) == (expected, [])
        assert resolve_account(settings, given) == expected


def test_a_short_list_is_gathered_and_a_long_one_refused():
    assert run(fetch_all, CALL, at_most=2, answers={"/x": {"result": [1, 2]}})[0] == ([1, 2], True)
    with pytest.raises(TrutoTransportError, match="more than 2 items"):
        run(fetch_all, CALL, at_most=2, answers={"/x": {"result": [1, 2, 3]}})


@pytest.mark.parametrize(
    "answer", [{"result": [1], "is_partial_response": True}, {"result": [1], "next_cursor": "again"}], ids=str
)
def test_a_list_that_is_not_all_of_it_is_told_from_a_whole_one(answer):
    assert run(fetch_all, CALL, at_most=9, answers={"/x": answer})[0][1] is False


# ------------------------------------------------------------------------------------------------------------ pages


@pytest.mark.parametrize(
    ("value", "items", "cursor", "is_partial"),
    [
        ({"result": [1]}, [1], None, False),
        ({"results": [1], "next_cursor": ""}, [1], None, False),
        ({"result": {"a": 1}, "next_cursor": 5, "is_partial_response": True}, [1], "5", True),
        ({"result": [], "next_cursor": "x", "is_partial_response": "true"}, [], "x", False),
        ({"result": {}, "next_cursor": None}, [], None, False),
        ({"result": [], "next_cursor": 0}, [], "0", False),
    ],
)
def test_a_page_is_read(value, items, cursor, is_partial):
    assert parse_page(CALL, value) == Page(items=items, cursor=cursor, is_partial=is_partial)


def test_the_pages_call_is_the_first_one_but_for_its_cursor():
    first = Request(method="GET", path="/x", query=(("a", "1"), ("next_cursor", "s"), ("b", "2")), cache_ttl=5)
    client = answering_client(lambda call: {"result": [], "next_cursor": "t"}, SETTINGS)
    pages = Pages(client, first)
    run_to_end(pages.next())
    run_to_end(pages.next())
    [called, second] = client.transport.called
    assert called == first
    assert second.query == (("a", "1"), ("b", "2"), ("next_cursor", "t"))
    assert second.cache_ttl == 5
    assert first.query == (("a", "1"), ("next_cursor", "s"), ("b", "2"))
