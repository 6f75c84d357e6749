"""Integrated accounts: which one a call is for, whether the connection allows it, whether it can be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import (
    capabilities_request,
    integrated_account_request,
    integrated_accounts_request,
)
from airflow_provider_truto.client.errors import (
    Problem,
    TrutoAccountBlockedError,
    TrutoMethodNotAllowedError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
    TrutoSchemaError,
    TrutoTransportError,
)
from airflow_provider_truto.client.pages import Pages, fetch_all
from airflow_provider_truto.client.redaction import quote_line
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.settings import ClientSettings

#: The one status of an account that can be called, and the one after its credentials were refused.
ACTIVE = "active"
NEEDS_REAUTH = "needs_reauth"
_UNTOLD = "which customer is meant is not known"
#: Nothing says whose record it is.
NO_CUSTOMER = Problem(
    "/integrated_account_id",
    "is missing: name the customer's integrated account in the task (by its UUID, or by tenant_id), or a default in"
    " the connection",
)


def resolve_account(settings: ClientSettings, given: str | None) -> str:
    """Return the integrated account to call for: the given one, else the connection's default.

    Raises ``TrutoSchemaError`` where there is none, it cannot be one, or the connection does not allow it.
    """
    account, problems = check_account(given, settings)
    if problems:
        raise TrutoSchemaError.of("the call names no integrated account that it may use", problems)
    return account


def check_account(given: str | None, settings: ClientSettings) -> tuple[str, list[Problem]]:
    """Return the integrated account to call for, and what is wrong with it."""
    account = given if given is not None else settings.integrated_account_id
    if not account:
        return "", [NO_CUSTOMER]
    fault = find_account_fault(account)
    if fault is None and not settings.allows(account):
        fault = f"{account} is not among the connection's allowed_integrated_accounts"
    if fault is not None:
        return account, [Problem("/integrated_account_id", fault)]
    return normalize_account(account), []


def normalize_account(account: str) -> str:
    """Return the id of an account as Truto writes it: a UUID in lower case. Anything else stays as it is.

    Limits, tokens, order and caches are per account, and a warehouse may spell one id in two ways.
    """
    return account.lower() if _is_uuid(account) else account


def find_account_fault(account: Any) -> str | None:
    """Return why a value cannot be the id of an integrated account, which is a UUID; ``None`` where it can."""
    if not isinstance(account, str):
        return f"expects the UUID of an integrated account as text, got {type(account).__name__}"
    if not _is_uuid(account):
        return f"{account!r} is not the UUID of an integrated account: was it swapped with the record's id?"
    return None


@lru_cache(maxsize=4096)  # there are few customers, but many records of each
def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


class TenantAccounts(NamedTuple):
    """A customer's integrated accounts: those ``fitting`` the integration that is asked for, and all.

    ``near`` is the id of another customer that is spelt nearly so, where others are known.
    """

    tenant_id: str
    integration: str | None
    fitting: Sequence[dict[str, Any]]
    all: Sequence[dict[str, Any]]
    near: str | None = None

    def choose(self, settings: ClientSettings) -> dict[str, Any]:
        """Return the one account that fits.

        Raises ``TrutoSchemaError`` where none or several do, and lists what there is; also where the connection does
        not allow the one that fits.
        """
        filters = {"tenant_id": self.tenant_id, "integration.name": self.integration}
        asked = " and ".join(f"{name} {value!r}" for name, value in filters.items() if value)
        if len(self.fitting) == 1 and isinstance(self.fitting[0].get("id"), str):
            found_id = str(self.fitting[0]["id"])
            if not settings.allows(found_id):
                message = (
                    f"{found_id} is not among the connection's allowed_integrated_accounts; no other one has {asked}"
                )
                raise TrutoSchemaError.of("wrong customer", [Problem("/integrated_account_id", message)])
            return self.fitting[0]
        there = [account for account in self.fitting or self.all if settings.allows(account.get("id"))]
        listed_ones = "; ".join(f"{a.get('id')} ({get_integration_name(a)}, {a.get('status')})" for a in there[:20])
        found = f"{len(self.fitting)} integrated accounts have" if self.fitting else "no integrated account has"
        also = f" There {'is' if self.fitting else 'is only'}: {listed_ones}." if there else ""
        if there:
            advice = "Name one by integrated_account_id"
        else:
            near = f"; did you mean {self.near!r}" if self.near else ""
            advice = f"Is it the customer's id in Truto{near}? Or the customer has not connected yet"
        raise TrutoSchemaError.of(_UNTOLD, [Problem("/tenant_id", f"{found} {asked}.{also} {advice}")])


async def find_account(client: Client, tenant_id: str, integration: str | None) -> str:
    """Find the id of a customer's integrated account; see ``TenantAccounts.choose`` for what is raised."""
    accounts = await list_accounts(client, tenant_id, integration)
    return str(accounts.choose(client.settings)["id"])


async def list_accounts(client: Client, tenant_id: str, integration: str | None) -> TenantAccounts:
    """List a customer's integrated accounts. Raises ``TrutoSchemaError`` where the tenant cannot be one."""
    if not (isinstance(tenant_id, str) and tenant_id.strip()):
        message = f"expects your own id of the customer as text, got {tenant_id!r}"
        raise TrutoSchemaError.of(_UNTOLD, [Problem("/tenant_id", message)])
    # Filters that Truto does not know are ignored, so that what came is looked at again.
    request = integrated_accounts_request({"tenant_id": tenant_id})
    accounts, is_whole = await fetch_all(client, request, at_most=1000)
    if not is_whole:
        raise _build_partial_error(request)
    of_tenant = [account for account in accounts if _is_object(account) and account.get("tenant_id") == tenant_id]
    return _select_accounts(of_tenant, tenant_id, integration)


async def list_tenants(client: Client) -> dict[str, list[dict[str, Any]]]:
    """List all integrated accounts by their tenants, each with its id, integration and status.

    For callers that look up many: one list instead of one per tenant.
    """
    request = integrated_accounts_request({})
    pages = Pages(client, request)
    tenants: dict[str, list[dict[str, Any]]] = {}
    while (page := await pages.next()) is not None:
        if page.is_partial or page.ended_early:
            raise _build_partial_error(request)
        for account in filter(_is_object, page.items):
            if isinstance(tenant_id := account.get("tenant_id"), str):
                kept = {name: account.get(name) for name in ("id", "integration", "status")}
                tenants.setdefault(tenant_id, []).append(kept)
    return tenants


def choose_account(
    tenants: Mapping[str, Sequence[dict[str, Any]]], tenant_id: str, integration: str | None, settings: ClientSettings
) -> str:
    """Choose a tenant's account out of ``list_tenants``; see ``TenantAccounts.choose`` for what is raised."""
    accounts = _select_accounts(tenants.get(tenant_id, ()), tenant_id, integration)
    if not accounts.all:
        accounts = accounts._replace(near=next(iter(get_close_matches(tenant_id, tenants, n=1, cutoff=0.75)), None))
    return str(accounts.choose(settings)["id"])


def _select_accounts(of_tenant: Sequence[dict[str, Any]], tenant_id: str, integration: str | None) -> TenantAccounts:
    fitting = [account for account in of_tenant if integration in (None, get_integration_name(account))]
    return TenantAccounts(tenant_id, integration, fitting, of_tenant)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _build_partial_error(request: Request) -> TrutoTransportError:
    return TrutoTransportError(f"{request.describe()}: the list is not whole, so that nothing can be told from it")


def get_integration_name(account: Mapping[str, Any]) -> str | None:
    """Return the name of an account's integration, ``"hubspot"``."""
    integration = account.get("integration")
    name = integration.get("name") if isinstance(integration, dict) else None
    return name if isinstance(name, str) else None


def is_blocked(capabilities: Mapping[str, Any]) -> bool:
    """Whether Truto has blocked the account of these capabilities; no other answer of Truto's says so."""
    state = capabilities.get("account")
    return isinstance(state, dict) and state.get("is_blocked") is True


def name_account(record: Mapping[str, Any], account_id: str) -> str:
    """Name an account and its customer for a message."""
    return f"{get_integration_name(record) or 'the'} account {account_id} (tenant {record.get('tenant_id')})"


def describe_inactive(record: Mapping[str, Any], account_id: str) -> str:
    """Return a sentence or two: what the customer of an account that is not active must do, and Truto's reason."""
    status = record.get("status")
    reason = f" Truto's reason: {quote_line(record['last_error'], most=300)}." if record.get("last_error") else ""
    must = "reconnect" if status == NEEDS_REAUTH else "connect or reconnect"
    return f"the customer must {must} {name_account(record, account_id)}: its status is {status}.{reason}"


async def check_ready(
    client: Client,
    account_id: str,
    *,
    expected_tenant_id: str | None,
    model: str | None,
    resource: str,
    method: str,
) -> dict[str, Any]:
    """Make sure that an integrated account can be called with this method, and return its record.

    ``model`` is ``None`` for the proxy API. Raises the ``TrutoError`` that the call itself would end in, with the one
    thing that is in the way and who can fix it; ``TrutoSchemaError`` where the account is another tenant's.
    """
    record = await client.fetch_object(integrated_account_request(account_id), "status")
    check_tenant(record, account_id, expected_tenant_id)
    subject = name_account(record, account_id)
    if record["status"] != ACTIVE:
        raise TrutoReauthorizationRequiredError(
            f"{describe_inactive(record, account_id)} Nothing was sent; retries cannot help."
        )
    can_do = await client.fetch_object(capabilities_request(integrated_account_id=account_id))
    if is_blocked(can_do):
        raise TrutoAccountBlockedError(f"Truto has blocked {subject}: write to support@truto.one. Nothing was sent.")
    if record.get("is_sandbox") is True and method not in {"list", "get"}:
        raise TrutoSandboxReadOnlyError(f"{subject} is a sandbox, which Truto never writes to. Nothing was sent.")
    if _describe_lack(can_do, model, resource, method):
        # What `has_description` leaves out is not documented; it may be what nobody has described.
        can_do = await client.fetch_object(
            capabilities_request(integrated_account_id=account_id, has_description=False)
        )
    if lack := _describe_lack(can_do, model, resource, method):
        raise TrutoMethodNotAllowedError(f"{subject} {lack} Nothing was sent.")
    return record


def check_tenant(record: Mapping[str, Any], account_id: str, expected_tenant_id: str | None) -> None:
    """Raise ``TrutoSchemaError`` where an integrated account belongs to another tenant than it should."""
    found = record.get("tenant_id")
    if expected_tenant_id is not None and found != expected_tenant_id:
        message = (
            f"{account_id} belongs to tenant {found!r}, not to {expected_tenant_id!r}: name the right customer's"
        )
        raise TrutoSchemaError.of("wrong customer", [Problem("/integrated_account_id", message)])


def _describe_lack(can_do: Mapping[str, Any], model: str | None, resource: str, method: str) -> str:
    """Return what the capabilities lack; ``""`` where they have the method, or say nothing of its API at all."""
    offers = can_do.get("unified" if model else "proxy")
    entries = [entry for entry in offers if isinstance(entry, dict)] if isinstance(offers, list) else []
    if not entries:
        return ""
    named = f"{model}/{resource}" if model else resource
    own = [entry for entry in entries if entry.get("resource") == resource and entry.get("model") == model]
    if not own:
        return f"does not expose {named}."
    # The unified API's methods are names, the proxy API's may be objects that describe them.
    found = [item for entry in own for item in entry.get("methods") or ()]
    methods = [str(item.get("method") if isinstance(item, dict) else item) for item in found]
    return (
        f"exposes {named}, but not {method}: it has {', '.join(methods)}."
        if methods and method not in methods
        else ""
    )
