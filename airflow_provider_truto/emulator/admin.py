"""The routes about integrated accounts themselves."""

from __future__ import annotations

import operator
from typing import Any

from airflow_provider_truto.emulator import timestamps
from airflow_provider_truto.emulator.accounts import IntegratedAccount
from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.errors import RefusedError
from airflow_provider_truto.emulator.pages import Page
from airflow_provider_truto.emulator.resources import METHODS, RESOURCES
from airflow_provider_truto.emulator.state import State

_DEFAULT_LIMIT = 5000
_FILTERS = ("id", "tenant_id", "is_sandbox", "integration.name", "status", "created_at", "updated_at")
_COMPARISONS = {"eq": operator.eq, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def integrated_accounts(state: State, call: Call) -> Answer:
    """`GET /integrated-account`: one page of those that pass every filter."""
    _refuse_verbs_but_get(call)
    records = [account.record for account in state.accounts.values() if _passes(account.record, call.query)]
    page = Page.asked(call, default_limit=_DEFAULT_LIMIT)
    result, next_cursor = page.of(records)
    return json_answer(200, {"result": result, "next_cursor": next_cursor, "limit": page.limit})


def integrated_account(state: State, call: Call, *, account_id: str) -> Answer:
    """`GET /integrated-account/{id}`."""
    _refuse_verbs_but_get(call)
    return json_answer(200, find_account(state, account_id).record)


def capabilities(state: State, call: Call, *, account_id: str) -> Answer:
    """`GET /integrated-account/{id}/capabilities`: what can be called for this account.

    There is no proxy API here, so `proxy` is empty. The insides of `auth` and `ai_readiness` are undocumented
    and empty, too.
    """
    _refuse_verbs_but_get(call)
    account = find_account(state, account_id)
    kind = call.query.get("type", "all")
    if kind not in ("proxy", "unified", "all"):
        raise RefusedError(400, "type must be one of proxy, unified, all")
    record = account.record
    return json_answer(
        200,
        {
            "integration": record["integration"],
            "environment_id": record["environment_id"],
            "proxy": [],
            "unified": [] if kind == "proxy" else _unified_capabilities(call),
            "auth": {},
            "ai_readiness": {},
            "account": {
                "id": account_id,
                "status": record["status"],
                "authentication_method": record["authentication_method"],
                "is_blocked": account.is_blocked,
            },
        },
    )


def find_account(state: State, account_id: str) -> IntegratedAccount:
    """The account of this id, else a 404 of Truto."""
    try:
        return state.accounts[account_id]
    except KeyError:
        raise RefusedError(404, f"Integrated account {account_id} was not found") from None


def _unified_capabilities(call: Call) -> list[dict[str, Any]]:
    """Every resource that has one of the asked `methods`, with these.

    All of them carry a description, so both values of `has_description` let them pass.
    """
    methods = str(call.query.get("methods") or ",".join(METHODS)).split(",")
    name = call.query.get("resource")
    return [
        {
            "model": resource.model,
            "model_label": resource.model_label,
            "resource": resource.name,
            "description": resource.description,
            "docs_url": resource.docs_url,
            "methods": asked,
            "env_overridden": False,
        }
        for resource in RESOURCES.values()
        if name in (None, resource.name) and (asked := [method for method in METHODS if method in methods])
    ]


def _passes(record: dict[str, Any], query: dict[str, Any]) -> bool:
    """Whether a record passes the filters; operators and fields that are not supported are ignored."""
    for name in _FILTERS:
        value = record["integration"]["name"] if name == "integration.name" else record[name]
        wanted = query.get(name, {})
        for comparison, operand in wanted.items() if isinstance(wanted, dict) else [("eq", wanted)]:
            if comparison == "in" and _comparable(value) not in map(_comparable, str(operand).split(",")):
                return False
            compare = _COMPARISONS.get(comparison)
            if compare and not compare(_comparable(value), _comparable(operand)):
                return False
    return True


def _comparable(value: Any) -> str:
    """Times of any zone and precision in one form; `true` for True."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return timestamps.write(timestamps.read(text))
    except (ValueError, OverflowError):
        return text


def _refuse_verbs_but_get(call: Call) -> None:
    if call.method != "GET":
        raise RefusedError(405, f"{call.method} is not allowed here")
