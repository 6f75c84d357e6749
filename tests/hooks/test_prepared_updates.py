"""A hook that has sent an update does with any other one what a new hook does: only faster."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from functools import partial

import pytest

from airflow_provider_truto.client import shared
from airflow_provider_truto.client.errors import TrutoError, TrutoSchemaError
from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.hooks import _account_updates
from airflow_provider_truto.hooks.truto import TrutoAsyncHook, TrutoHook
from airflow_provider_truto.records.safeguards import Safeguards

RECORD = "23423523"
BODY = {"name": "Initech", "number_of_employees": 140}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@pytest.fixture
def connect(emulator, monkeypatch):
    def connect(hook=TrutoHook, **extra):
        extra = {"requests_per_second": 0, **extra}
        conn = {"conn_type": "truto", "host": emulator.url, "password": emulator.token, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", json.dumps(conn))
        return hook()

    return connect


def warm_up(hook):
    for account, record in ((ACME, RECORD), (GLOBEX, "70010001")):
        for ignored in (True, False):
            hook.update_account(record, BODY, integrated_account_id=account, ignore_remote_data=ignored)
    hook.update_account(RECORD, BODY, integrated_account_id=ACME, response_format="raw")


def outcome(hook, emulator, account_id, body, given):
    """Return the result or error of a call, and what it has sent."""
    emulator.reset()
    shared.reset()  # what was asked about an account is remembered
    try:
        answer = hook.update_account(account_id, body, **{"integrated_account_id": ACME, **given})
        result = _TIME.sub("now", json.dumps(answer))
    except (TrutoError, ValueError) as error:
        result = repr(error)
    names = ("method", "path", "query", "body")
    return result, [{name: sent[name] for name in names} for sent in emulator.requests]


@pytest.mark.parametrize(
    ("account_id", "body", "given"),
    [
        *((RECORD, body, {}) for body in (BODY, {"name": "é\n"}, {"custom_fields": {"tier": "gold"}})),
        *((RECORD, body, {}) for body in ({}, None, [], {"nmae": "x"}, {"name": 7}, {"name": None}, {"id": "24"})),
        *((RECORD, body, {}) for body in ({"tenant_id": "acme"}, {"phone_numbers": []}, {"name": float("nan")})),
        *((account_id, BODY, {}) for account_id in ("70010001", "a/b", "..", "", 23423523, None, [RECORD], ACME)),
        *((RECORD, BODY, {"integrated_account_id": id_}) for id_ in (GLOBEX, ACME.upper(), "x", None, 7, [ACME])),
        *(("70010001", BODY, {"integrated_account_id": id_, "tenant_id": "globex"}) for id_ in (GLOBEX, None)),
        *((RECORD, BODY, {name: "x", "integrated_account_id": None}) for name in ("tenant_id", "integration")),
        *((RECORD, BODY, {"ignore_remote_data": value}) for value in (False, 1, 0, None)),
        *((RECORD, BODY, {"response_format": value}) for value in ("raw", "normalized", "RAW", None, ["raw"])),
        *((RECORD, BODY, {"exclude_fields": value}) for value in (["name"], [], "name")),
        *((RECORD, BODY, {"remote_query": value}) for value in ({"a": 1}, {}, "a")),
        *((RECORD, BODY, {"schema": value}) for value in (None, "live", {"required": ["website"]}, {"type": 7})),
        *((RECORD, BODY, {"idempotency_key": value}) for value in ("mine", "", 7)),
        *((RECORD, BODY, {name: True}) for name in ("preflight", "skip_unchanged", "check_custom_fields")),
        *((RECORD, BODY, {name: "other"}) for name in ("expected_tenant_id", "expect", "extra_fields")),
        (RECORD, {"name": None}, {"allow_null": True}),
        (RECORD, {"phone_numbers": []}, {"allow_empty": True}),
        (RECORD, {"nmae": "x"}, {"extra_fields": ["nmae"]}),
    ],
    ids=repr,
)
def test_a_warm_hook_does_what_a_new_one_does(connect, emulator, account_id, body, given):
    warm = connect()
    warm_up(warm)
    expected = outcome(connect(), emulator, account_id, body, given)
    assert outcome(warm, emulator, account_id, body, given) == expected


def test_updates_that_differ_in_id_and_body_only_are_checked_in_full_once(connect, emulator, monkeypatch):
    checked = []
    write = _account_updates.write_record
    monkeypatch.setattr(
        _account_updates, "write_record", lambda *args, **kw: checked.append(args) or write(*args, **kw)
    )
    hook = connect()
    for number in range(3):
        hook.update_account(RECORD, {"name": f"name {number}"}, integrated_account_id=ACME)
    assert len(checked) == 1
    assert [sent["body"] for sent in emulator.executions] == [{"name": f"name {number}"} for number in range(3)]


def test_what_is_given_may_change_between_two_calls(connect, emulator):
    hook = connect()
    query, fields, body = {"a": "1"}, ["name"], {"name": "first"}
    call = partial(hook.update_account, RECORD, body, integrated_account_id=ACME)
    for value in ("1", "2"):
        query["a"], body["name"] = value, value
        call(remote_query=query)
        call(exclude_fields=fields)
        fields.append("website")
        call()
    queries = [sent["query"] for sent in emulator.requests]
    assert queries[0] != queries[3]
    assert queries[1] != queries[4]
    assert queries[2] == queries[5]
    assert [sent["body"]["name"] for sent in emulator.executions] == ["1"] * 3 + ["2"] * 3


def test_every_argument_is_one_that_updates_are_prepared_by_or_one_that_prepares_its_own():
    """One that were in neither would not be heard by the updates after the first."""
    arguments = inspect.signature(TrutoHook.update_account).parameters
    rare, guards = _account_updates._Rare(), Safeguards()
    prepared_for_itself = {
        **rare._asdict(),
        **{name: getattr(guards, name) for name in arguments if hasattr(guards, name)},
    }
    others = {"self", "account_id", "body", "context", *_account_updates._Usual._fields}
    assert {name: one.default for name, one in arguments.items() if name not in others} == prepared_for_itself


def test_an_async_hook_that_is_opened_again_checks_its_new_connection(connect, emulator):
    async def update_twice():
        hook = connect(TrutoAsyncHook)
        await hook.update_account(RECORD, BODY, integrated_account_id=ACME)
        await hook.close()
        connect(allowed_integrated_accounts=[GLOBEX])
        try:
            await hook.update_account(RECORD, BODY, integrated_account_id=ACME)
        finally:
            await hook.close()

    with pytest.raises(TrutoSchemaError, match="not among the connection's allowed_integrated_accounts"):
        asyncio.run(update_twice())
    assert len(emulator.executions) == 1
