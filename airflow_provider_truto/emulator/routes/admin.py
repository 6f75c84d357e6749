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

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.http.bodies import read_object, read_text
from airflow_provider_truto.emulator.http.errors import ProviderError, RefusedError, allow_methods
from airflow_provider_truto.emulator.http.filters import filter_items
from airflow_provider_truto.emulator.http.pages import PLATFORM_LIMIT, Page
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.routes.access import find_account
from airflow_provider_truto.emulator.state.state import State

_FILTERS = ("id", "tenant_id", "is_sandbox", "integration.name", "status", "created_at", "updated_at")


def list_integrated_accounts(state: State, request: Request) -> Response:
    """`GET /integrated-account`."""
    allow_methods(request, "GET")
    records = (account.record for account in state.accounts.values())
    page = Page.from_request(request, default_limit=PLATFORM_LIMIT)
    result, next_cursor = page.slice_items(filter_items(records, request.query, names=_FILTERS, value_of=_read_value))
    return json_response(200, {"result": result, "next_cursor": next_cursor, "limit": page.limit})


def get_integrated_account(state: State, request: Request, *, account_id: str) -> Response:
    """`GET /integrated-account/{id}`."""
    allow_methods(request, "GET")
    return json_response(200, find_account(state, account_id).record)


def handle_me(state: State, request: Request) -> Response:
    """`GET` and `PATCH /integrated-account/me`."""
    allow_methods(request, "GET", "PATCH")
    if request.token is None or request.token.account_id is None:
        raise RefusedError(400, "An API token belongs to no integrated account")
    record = find_account(state, request.token.account_id).record
    if request.method == "PATCH":
        context = read_object(request).get("context", {})
        if not isinstance(context, dict):
            raise RefusedError(400, "context must be an object")
        record.update(context={**record["context"], **context}, updated_at=timestamps.now())
    return json_response(200, record)


def mint_token(state: State, request: Request) -> Response:
    """`POST /integrated-account/token`."""
    allow_methods(request, "POST")
    account_id = read_text(read_object(request), "integrated_account_id")
    find_account(state, account_id)
    assert request.token, "dispatch lets nobody through without"
    return json_response(200, {"integrated_account_token": state.mint(account_id, minted_with=request.token)})


def refresh_credentials(state: State, request: Request) -> Response:
    """`POST /integrated-account/refresh-credentials`."""
    allow_methods(request, "POST")
    account = find_account(state, read_text(read_object(request), "id"))
    if account.record["status"] == "needs_reauth":
        refused = ProviderError(401, "The refresh token was revoked", code="invalid_grant")
        return refused.to_response(insightful=False)
    return json_response(200, {"success": True})


def ping(request: Request) -> Response:
    """`GET /ping`: what it answers, and whether it wants a token, is undocumented; here it does, and says nothing."""
    allow_methods(request, "GET")
    return json_response(200, {})


def _read_value(record: dict[str, Any], name: str) -> Any:
    return record["integration"]["name"] if name == "integration.name" else record[name]
