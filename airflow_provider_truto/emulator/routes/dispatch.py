"""What every call to the API passes on its way: token, rate limits, `Idempotency-Key`, and then its route.

The token of an integrated account opens `/unified` without `/unified/meta`, `/proxy`, `/custom` and its own
`/integrated-account/me`, and needs no `integrated_account_id`; one of another account is a 403.
"""

from __future__ import annotations

from airflow_provider_truto.emulator.http.errors import RefusedError
from airflow_provider_truto.emulator.http.replays import find_idempotency_scope
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response
from airflow_provider_truto.emulator.routes import admin, capabilities, logs, meta, sync_runs
from airflow_provider_truto.emulator.routes.batch import handle_batch
from airflow_provider_truto.emulator.routes.custom import handle_custom
from airflow_provider_truto.emulator.routes.proxy import handle_proxy
from airflow_provider_truto.emulator.routes.unified import handle_unified
from airflow_provider_truto.emulator.state.state import State


def handle(state: State, request: Request) -> Response:
    """Return the API's answer to a call. It awaits nothing, so that no other call can come in between."""
    if request.token is None:
        return RefusedError(401, "Unauthorized: the token is missing, wrong or expired").to_response()
    scope = find_idempotency_scope(request)
    try:
        _check_scope(request, account_id=request.token.account_id)
        _spend_limits(state, request, token_number=request.token.number)
        repeated = state.replays.get(scope)
        if repeated is not None:
            return repeated
        response = (
            _handle_data(state, request) or _handle_accounts(state, request) or _handle_platform(state, request)
        )
    except RefusedError as refused:
        response = refused.to_response()
    if response.executed or state.cache_refusals:
        state.replays.put(scope, response)
    return response


def _check_scope(request: Request, *, account_id: str | None) -> None:
    """Refuse the token of an integrated account where it may not be used; any API token may."""
    if account_id is None:
        return
    match request.path:
        case ("unified", "meta", *_):
            is_open = False
        case ("unified" | "proxy" | "custom", *_):
            is_open = request.query.get("integrated_account_id") in (None, "", account_id)
        case ("integrated-account", "me"):
            is_open = True
        case _:
            is_open = False
    if not is_open:
        raise RefusedError(403, "The token of this integrated account is not good for this call")


def _spend_limits(state: State, request: Request, *, token_number: int) -> None:
    limits = state.limits
    if not limits.enforced:
        return
    if not limits.token.spend(token_number):
        raise RefusedError(429, "Too many requests of this API token", retry_after=limits.token.retry_after)
    account_id = request.integrated_account_id
    if request.is_for_data and account_id and not limits.account.spend(account_id):
        raise RefusedError(
            429, "Too many requests for this integrated account", retry_after=limits.account.retry_after
        )


def _handle_data(state: State, request: Request) -> Response | None:
    """Return the answer of a route to customers' data, or about it; None for a different path."""
    match request.path:
        case ("unified", "meta", model, name):
            return meta.describe_model(state, request, model=model, integration_name=name)
        case ("unified", model, name):
            return handle_unified(state, request, model=model, name=name)
        case ("unified", model, name, segment) if segment:
            return handle_unified(state, request, model=model, name=name, segment=segment)
        case ("unified", model, name, "meta", method):
            return meta.describe_method(state, request, model=model, name=name, method=method)
        case ("unified", model, name, integration, "meta", method):
            return meta.describe_method(
                state, request, model=model, name=name, method=method, integration_name=integration
            )
        case ("proxy", name):
            return handle_proxy(state, request, name=name)
        case ("proxy", name, segment) if segment:
            return handle_proxy(state, request, name=name, segment=segment)
        case ("custom", first, *rest) if first or rest:
            return handle_custom(state, request, path=(first, *rest))
        case ("batch-request",):
            return handle_batch(state, request)
    return None


def _handle_accounts(state: State, request: Request) -> Response | None:
    """Return the answer of a route about integrated accounts and integrations; None for a different path."""
    match request.path:
        case ("integrated-account",):
            return admin.list_integrated_accounts(state, request)
        case ("integrated-account", "me"):
            return admin.handle_me(state, request)
        case ("integrated-account", "token"):
            return admin.mint_token(state, request)
        case ("integrated-account", "refresh-credentials"):
            return admin.refresh_credentials(state, request)
        case ("integrated-account", account_id):
            return admin.get_integrated_account(state, request, account_id=account_id)
        case ("integrated-account", account_id, "capabilities"):
            return capabilities.describe_account(state, request, account_id=account_id)
        case ("integrated-account", account_id, "tools"):
            return capabilities.list_tools(state, request, account_id=account_id)
        case ("integration", name_or_id, "capabilities"):
            return capabilities.describe_integration(state, request, name_or_id=name_or_id)
    return None


def _handle_platform(state: State, request: Request) -> Response:
    """Return the answer of a route to what Truto has beside that; 404 where there is none."""
    match request.path:
        case ("sync-job-run",):
            return sync_runs.handle_runs(state, request)
        case ("sync-job-run", run_id):
            return sync_runs.handle_run(state, request, run_id=run_id)
        case ("log",):
            return logs.list_entries(state.logs, request)
        case ("ping",):
            return admin.ping(request)
    raise RefusedError(404, f"Cannot {request.method} /{'/'.join(request.path)}")
