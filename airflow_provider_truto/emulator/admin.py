"""The routes about integrated accounts themselves, and the tokens for single ones.

    GET   /integrated-account                      one page of those that pass every filter
    GET   /integrated-account/{id}
    GET   /integrated-account/me                   the account of the token; with an API token it is a 400
    PATCH /integrated-account/me                   keys of `context` are merged into the account's
    POST  /integrated-account/token                {"integrated_account_id"} → {"integrated_account_token"}
    POST  /integrated-account/refresh-credentials  {"id"} → {"success": true}
    GET   /ping                                    {}

What PATCH takes beside `context` is undocumented and ignored here. Where an account `needs_reauth`, a refresh is a
401 of the provider, and changes nothing: it waits for its user.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_truto.emulator import timestamps
from airflow_provider_truto.emulator.bodies import read_object, required_text
from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.crossing import find_account
from airflow_provider_truto.emulator.errors import ProviderError, RefusedError, allow
from airflow_provider_truto.emulator.filters import filtered
from airflow_provider_truto.emulator.pages import PLATFORM_LIMIT, Page
from airflow_provider_truto.emulator.state import State

_FILTERS = ("id", "tenant_id", "is_sandbox", "integration.name", "status", "created_at", "updated_at")


def integrated_accounts(state: State, call: Call) -> Answer:
    """`GET /integrated-account`."""
    allow(call, "GET")
    records = (account.record for account in state.accounts.values())
    page = Page.asked(call, default_limit=PLATFORM_LIMIT)
    result, next_cursor = page.of(filtered(records, call.query, names=_FILTERS, value_of=_value))
    return json_answer(200, {"result": result, "next_cursor": next_cursor, "limit": page.limit})


def integrated_account(state: State, call: Call, *, account_id: str) -> Answer:
    """`GET /integrated-account/{id}`."""
    allow(call, "GET")
    return json_answer(200, find_account(state, account_id).record)


def me(state: State, call: Call) -> Answer:
    """`GET` and `PATCH /integrated-account/me`."""
    allow(call, "GET", "PATCH")
    if call.token is None or call.token.account_id is None:
        raise RefusedError(400, "An API token belongs to no integrated account")
    record = find_account(state, call.token.account_id).record
    if call.method == "PATCH":
        context = read_object(call).get("context", {})
        if not isinstance(context, dict):
            raise RefusedError(400, "context must be an object")
        record.update(context={**record["context"], **context}, updated_at=timestamps.now())
    return json_answer(200, record)


def mint(state: State, call: Call) -> Answer:
    """`POST /integrated-account/token`."""
    allow(call, "POST")
    account_id = required_text(read_object(call), "integrated_account_id")
    find_account(state, account_id)
    assert call.token, "the gateway lets nobody through without"
    return json_answer(200, {"integrated_account_token": state.mint(account_id, minted_with=call.token)})


def refresh_credentials(state: State, call: Call) -> Answer:
    """`POST /integrated-account/refresh-credentials`."""
    allow(call, "POST")
    account = find_account(state, required_text(read_object(call), "id"))
    if account.record["status"] == "needs_reauth":
        refused = ProviderError(401, "The refresh token was revoked", code="invalid_grant")
        return refused.answer(insightful=False)
    return json_answer(200, {"success": True})


def ping(call: Call) -> Answer:
    """`GET /ping`: what it answers, and whether it wants a token, is undocumented; here it does, and says nothing."""
    allow(call, "GET")
    return json_answer(200, {})


def _value(record: dict[str, Any], name: str) -> Any:
    return record["integration"]["name"] if name == "integration.name" else record[name]
