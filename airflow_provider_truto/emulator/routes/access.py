"""What every call for a customer's data passes: Truto's check of the account, and then the CRM's door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_provider_truto.emulator.http.errors import ProviderError, RefusedError, build_missing_error
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response
from airflow_provider_truto.emulator.state.accounts import IntegratedAccount, Integration
from airflow_provider_truto.emulator.state.executions import Execution
from airflow_provider_truto.emulator.state.state import State


def find_account(state: State, account_id: str) -> IntegratedAccount:
    """Return the account of this id, else a 404 of Truto."""
    try:
        return state.accounts[account_id]
    except KeyError:
        raise RefusedError(404, f"Integrated account {account_id} was not found") from None


def find_integration(state: State, name_or_id: str) -> Integration:
    """Return the integration of this name or id, else a 404 of Truto."""
    for integration in state.integrations.values():
        if name_or_id in (integration.name, integration.id):
            return integration
    raise RefusedError(404, f"Integration {name_or_id} was not found")


def find_request_account(state: State, request: Request) -> IntegratedAccount:
    """Return the account that the call names, or else its token; without either it is refused with 400."""
    account_id = request.integrated_account_id or request.query.get("integrated_account_id")
    if not account_id:
        raise build_missing_error("query_parameters", "integrated_account_id")
    return find_account(state, str(account_id))


def check_usable(account: IntegratedAccount, *, reads: bool) -> None:
    """Refuse a blocked account, and a sandbox unless the call only reads."""
    if account.is_blocked:
        raise RefusedError(503, "This integrated account is blocked, contact support@truto.one")
    if account.record["is_sandbox"] and not reads:
        raise RefusedError(405, "This integrated account is a sandbox, which can only be read")


def call_crm(
    state: State,
    account: IntegratedAccount,
    execution: Execution,
    run: Callable[[], Response],
    *,
    insightful: bool = False,
) -> Response:
    """Return the CRM's answer, which `run` makes. An error is one as well: the call is logged as executed."""
    state.executions.append(execution)
    try:
        _check_quota_and_credentials(state, account)
        response = run()
    except ProviderError as error:
        response = error.to_response(insightful=insightful)
    return replace(response, headers=response.headers + state.limits.build_headers(account.record["id"]))


def _check_quota_and_credentials(state: State, account: IntegratedAccount) -> None:
    """Check what a CRM looks at before the call itself: its quota, and the credentials."""
    quota, account_id = state.limits.provider, account.record["id"]
    if state.limits.enforced and not quota.spend(account_id):
        _, reset = quota.count_left(account_id)
        raise ProviderError(429, "Too many requests", code="rate_limited", retry_after=reset)
    if account.record["status"] == "needs_reauth":
        raise ProviderError(401, "The credentials were revoked", code="invalid_credentials")
