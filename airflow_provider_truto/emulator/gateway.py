"""What every call to the API passes on its way: token, rate limits, `Idempotency-Key`, and then its route."""

from __future__ import annotations

from airflow_provider_truto.emulator import admin
from airflow_provider_truto.emulator.call import Answer, Call
from airflow_provider_truto.emulator.errors import RefusedError
from airflow_provider_truto.emulator.replays import idempotency_scope
from airflow_provider_truto.emulator.state import State
from airflow_provider_truto.emulator.unified import UnifiedCall


def answer(state: State, call: Call) -> Answer:
    """The API's answer to a call. It awaits nothing, so that no other call can come in between."""
    if call.token is None:
        return RefusedError(401, "Unauthorized: the API token is missing, wrong or expired").answer()
    scope = idempotency_scope(call)
    try:
        _spend_limits(state, call)
        kept = state.replays.kept(scope)
        if kept is not None:
            return kept
        answered = _route(state, call)
    except RefusedError as refused:
        answered = refused.answer()
    if answered.executed or state.cache_refusals:
        state.replays.keep(scope, answered)
    return answered


def _spend_limits(state: State, call: Call) -> None:
    limits = state.limits
    if not limits.enforced:
        return
    if not limits.token.spend(call.token):
        raise RefusedError(429, "Too many requests of this API token", retry_after=limits.token.retry_after)
    account_id = call.integrated_account_id
    if call.path[:1] == ("unified",) and account_id and not limits.account.spend(account_id):
        raise RefusedError(
            429, "Too many requests for this integrated account", retry_after=limits.account.retry_after
        )


def _route(state: State, call: Call) -> Answer:
    match call.path:
        case ("unified", model, name):
            return UnifiedCall(state, call, resource_key=f"{model}/{name}").execute()
        case ("unified", model, name, record_id) if record_id:
            return UnifiedCall(state, call, resource_key=f"{model}/{name}", record_id=record_id).execute()
        case ("integrated-account",):
            return admin.integrated_accounts(state, call)
        case ("integrated-account", account_id):
            return admin.integrated_account(state, call, account_id=account_id)
        case ("integrated-account", account_id, "capabilities"):
            return admin.capabilities(state, call, account_id=account_id)
    raise RefusedError(404, f"Cannot {call.method} /{'/'.join(call.path)}")
