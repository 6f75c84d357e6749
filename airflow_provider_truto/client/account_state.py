"""Whether a customer's integrated account can be called now, and if not, what is in the way.

The status alone does not tell: whether an account is blocked stands in its capabilities only, and an account that is
not of OAuth stays ``active`` until a call finds out that its credentials are refused. Source: Truto's
docs/api-reference/admin/integrated-accounts and docs/guides/integrated-accounts/reauthorizing-connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.client.accounts import (
    ACTIVE,
    NEEDS_REAUTH,
    describe_inactive,
    get_integration_name,
    is_blocked,
    list_accounts,
    name_account,
    resolve_account,
)
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import (
    capabilities_request,
    integrated_account_request,
    proxy_request,
    unified_request,
)
from airflow_provider_truto.client.errors import (
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoMethodNotAllowedError,
    TrutoNotFoundError,
    TrutoPermissionError,
    TrutoReauthorizationRequiredError,
    TrutoSchemaError,
)
from airflow_provider_truto.client.names import find_naming_problems
from airflow_provider_truto.client.redaction import quote_line

BLOCKED = "blocked"
MISSING = "missing"
FORBIDDEN = "forbidden"
#: What may be in the way: Truto's statuses, those that only some of its pages name, and what no status says.
OBSTACLES = (
    *("connecting", "post_install_error", "validation_error", NEEDS_REAUTH),
    *("paused", "expired", "inactive"),
    *(BLOCKED, MISSING, FORBIDDEN),
)
#: Read by a probe where the account has it; else the first resource that can be listed.
_PROBED_FIRST = "crm/accounts"
_ERRORS: Mapping[str, type[TrutoApiError]] = {
    BLOCKED: TrutoAccountBlockedError,
    MISSING: TrutoNotFoundError,
    FORBIDDEN: TrutoPermissionError,
}


@dataclass(frozen=True, kw_only=True)
class AccountState:
    """What was seen of an account. ``obstacle`` is ``None`` where it can be called, ``explanation`` says why not.

    ``scope_gap`` is a sentence on what the customer has not granted, as Truto last saw it; the account is active all
    the same.
    """

    obstacle: str | None
    explanation: str = ""
    scope_gap: str = ""
    integrated_account_id: str | None = None
    tenant_id: str | None = None
    integration: str | None = None
    status: str | None = None

    @property
    def subject(self) -> dict[str, str | None]:
        """The account by names: its id, tenant, integration and status."""
        names = ("integrated_account_id", "tenant_id", "integration", "status")
        return {name: getattr(self, name) for name in names}

    def build_error(self, why: str) -> TrutoApiError:
        """Build the error of a caller that does not wait for what is in the way to go away."""
        error = _ERRORS.get(self.obstacle or "", TrutoReauthorizationRequiredError)
        return error(f"{self.explanation} {why}; retries cannot help.")


async def look_at_account(
    client: Client,
    *,
    integrated_account_id: str | None = None,
    tenant_id: str | None = None,
    integration: str | None = None,
    probe: bool | str = False,
) -> AccountState:
    """Look whether an account can be called; named by its id, or by tenant, or the connection's default.

    ``probe`` also lists one record of a resource: ``"crm/contacts"`` of the unified API, ``"companies"`` of the proxy
    API, ``True`` for one that the account has. Nothing is taken from the cache.

    Raises what a call raises, ``TrutoSchemaError`` where a tenant has several accounts or the account is named in two
    ways, and ``TrutoMethodNotAllowedError`` where nothing can be probed. A customer without an account is not an
    error.
    """
    given = {"integrated_account_id": integrated_account_id, "tenant_id": tenant_id, "integration": integration}
    if problems := list(find_naming_problems({name for name, value in given.items() if value is not None})):
        raise TrutoSchemaError.of("which customer is meant is not known", problems)
    if tenant_id is None:
        account_id = resolve_account(client.settings, integrated_account_id)
        record = await client.fetch_object(integrated_account_request(account_id), "status")
    else:
        accounts = await list_accounts(client, tenant_id, integration)
        if not accounts.fitting:
            what = f"{integration} account" if integration else "account"
            return AccountState(
                obstacle=MISSING,
                explanation=f"the customer must connect: tenant {tenant_id!r} has no integrated {what}.",
                tenant_id=tenant_id,
                integration=integration,
            )
        record = accounts.choose(client.settings)
        account_id = str(record["id"])
    obstacle, explanation = await _find_obstacle(client, record, account_id, probe)
    return AccountState(
        obstacle=obstacle,
        explanation=explanation,
        scope_gap=_describe_scope_gap(record.get("last_forbidden_error")),
        integrated_account_id=account_id,
        tenant_id=_read_text(record.get("tenant_id")),
        integration=get_integration_name(record),
        status=_read_text(record.get("status")),
    )


async def _find_obstacle(
    client: Client, record: Mapping[str, Any], account_id: str, probe: bool | str
) -> tuple[str | None, str]:
    if record.get("status") != ACTIVE:
        return str(record.get("status")), describe_inactive(record, account_id)
    subject = name_account(record, account_id)
    can_do = await client.fetch_object(
        capabilities_request(integrated_account_id=account_id, kind="unified", methods=["list"], cache_ttl=0)
    )
    if is_blocked(can_do):
        return BLOCKED, f"Truto has blocked {subject}: write to support@truto.one."
    if probe is False:
        return None, ""
    resource = probe if isinstance(probe, str) else _choose_resource(can_do, subject)
    try:
        await _list_one(client, account_id, resource)
    except (TrutoReauthorizationRequiredError, TrutoAccountBlockedError, TrutoPermissionError) as error:
        answer = f"a list of {resource} was answered {error.status}, {quote_line(error.message, most=300)!r}."
        if isinstance(error, TrutoReauthorizationRequiredError):
            return NEEDS_REAUTH, f"the customer must reconnect {subject}, although its status is active: {answer}"
        if isinstance(error, TrutoAccountBlockedError):
            return BLOCKED, f"Truto has blocked {subject}: {answer}"
        if error.is_remote:
            return FORBIDDEN, f"the customer must reconnect {subject} and grant the missing rights: {answer}"
        raise  # the API token's own fault, about which the customer can do nothing
    return None, ""


async def _list_one(client: Client, account_id: str, resource: str) -> None:
    model, _, name = resource.rpartition("/")
    if model:
        query = {"limit": 1, "truto_ignore_remote_data": True}
        request = unified_request(model, name, "list", integrated_account_id=account_id, query=query)
    else:
        request = proxy_request(name, "list", integrated_account_id=account_id, query={"limit": 1})
    await client.fetch(request)


def _choose_resource(can_do: Mapping[str, Any], subject: str) -> str:
    offers = can_do.get("unified")
    listed = [
        f"{offer.get('model')}/{offer.get('resource')}"
        for offer in (offers if isinstance(offers, list) else [])
        if isinstance(offer, dict) and "list" in (offer.get("methods") or ())
    ]
    if not listed:
        raise TrutoMethodNotAllowedError(
            f"{subject} has no unified resource that can be listed, so that nothing can be probed: name one of the"
            " CRM's own, probe='companies', or leave probe out"
        )
    return _PROBED_FIRST if _PROBED_FIRST in listed else listed[0]


def _describe_scope_gap(error: Any) -> str:
    """Return what ``last_forbidden_error`` says, whose shape no page of Truto's documents; ``""`` for nothing."""
    if not error:
        return ""
    known = error if isinstance(error, dict) else {}
    scopes = known.get("missing_scopes")
    told = [
        f"{known.get('method')} of {known.get('resource')} was refused" if known.get("resource") else error,
        f"at {known['occurred_at']}" if known.get("occurred_at") else "",
        f"missing scopes: {', '.join(map(str, scopes))}" if isinstance(scopes, list) and scopes else "",
    ]
    return ", ".join(quote_line(part, most=300) for part in told if part)


def _read_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
