"""What every call to the API passes on its way: token, rate limits, `Idempotency-Key`, and then its route.

The token of an integrated account opens `/unified` without `/unified/meta`, `/proxy`, `/custom` and its own
`/integrated-account/me`, and needs no `integrated_account_id`; one of another account is a 403.
"""

from __future__ import annotations

from airflow_provider_truto.emulator import admin, capabilities, meta, sync_runs
from airflow_provider_truto.emulator.batch import batch_request
from airflow_provider_truto.emulator.call import Answer, Call
from airflow_provider_truto.emulator.custom import custom
from airflow_provider_truto.emulator.errors import RefusedError
from airflow_provider_truto.emulator.logs import log
from airflow_provider_truto.emulator.proxy import proxy
from airflow_provider_truto.emulator.replays import idempotency_scope
from airflow_provider_truto.emulator.state import State
from airflow_provider_truto.emulator.unified import unified


def answer(state: State, call: Call) -> Answer:
    """The API's answer to a call. It awaits nothing, so that no other call can come in between."""
    if call.token is None:
        return RefusedError(401, "Unauthorized: the token is missing, wrong or expired").answer()
    scope = idempotency_scope(call)
    try:
        _check_scope(call, account_id=call.token.account_id)
        _spend_limits(state, call, token_number=call.token.number)
        kept = state.replays.kept(scope)
        if kept is not None:
            return kept
        answered = _data(state, call) or _accounts(state, call) or _platform(state, call)
    except RefusedError as refused:
        answered = refused.answer()
    if answered.executed or state.cache_refusals:
        state.replays.keep(scope, answered)
    return answered


def _check_scope(call: Call, *, account_id: str | None) -> None:
    """Whether the token of an integrated account may be used here; any API token may."""
    if account_id is None:
        return
    match call.path:
        case ("unified", "meta", *_):
            is_open = False
        case ("unified" | "proxy" | "custom", *_):
            is_open = call.query.get("integrated_account_id") in (None, "", account_id)
        case ("integrated-account", "me"):
            is_open = True
        case _:
            is_open = False
    if not is_open:
        raise RefusedError(403, "The token of this integrated account is not good for this call")


def _spend_limits(state: State, call: Call, *, token_number: int) -> None:
    limits = state.limits
    if not limits.enforced:
        return
    if not limits.token.spend(token_number):
        raise RefusedError(429, "Too many requests of this API token", retry_after=limits.token.retry_after)
    account_id = call.integrated_account_id
    if call.is_for_data and account_id and not limits.account.spend(account_id):
        raise RefusedError(
            429, "Too many requests for this integrated account", retry_after=limits.account.retry_after
        )


def _data(state: State, call: Call) -> Answer | None:
    """The answer of a route to customers' data, or about it; None where the path is no such route."""
    match call.path:
        case ("unified", "meta", model, name):
            return meta.model_docs(state, call, model=model, integration_name=name)
        case ("unified", model, name):
            return unified(state, call, model=model, name=name)
        case ("unified", model, name, segment) if segment:
            return unified(state, call, model=model, name=name, segment=segment)
        case ("unified", model, name, "meta", method):
            return meta.method_meta(state, call, model=model, name=name, method=method)
        case ("unified", model, name, integration, "meta", method):
            return meta.method_meta(state, call, model=model, name=name, method=method, integration_name=integration)
        case ("proxy", name):
            return proxy(state, call, name=name)
        case ("proxy", name, segment) if segment:
            return proxy(state, call, name=name, segment=segment)
        case ("custom", first, *rest) if first or rest:
            return custom(state, call, path=(first, *rest))
        case ("batch-request",):
            return batch_request(state, call)
    return None


def _accounts(state: State, call: Call) -> Answer | None:
    """The answer of a route about integrated accounts and integrations; None where the path is no such route."""
    match call.path:
        case ("integrated-account",):
            return admin.integrated_accounts(state, call)
        case ("integrated-account", "me"):
            return admin.me(state, call)
        case ("integrated-account", "token"):
            return admin.mint(state, call)
        case ("integrated-account", "refresh-credentials"):
            return admin.refresh_credentials(state, call)
        case ("integrated-account", account_id):
            return admin.integrated_account(state, call, account_id=account_id)
        case ("integrated-account", account_id, "capabilities"):
            return capabilities.account_capabilities(state, call, account_id=account_id)
        case ("integrated-account", account_id, "tools"):
            return capabilities.tools(state, call, account_id=account_id)
        case ("integration", name_or_id, "capabilities"):
            return capabilities.integration_capabilities(state, call, name_or_id=name_or_id)
    return None


def _platform(state: State, call: Call) -> Answer:
    """The answer of a route to what Truto has beside that; 404 where there is none."""
    match call.path:
        case ("sync-job-run",):
            return sync_runs.sync_job_runs(state, call)
        case ("sync-job-run", run_id):
            return sync_runs.sync_job_run(state, call, run_id=run_id)
        case ("log",):
            return log(state.logs, call)
        case ("ping",):
            return admin.ping(call)
    raise RefusedError(404, f"Cannot {call.method} /{'/'.join(call.path)}")
