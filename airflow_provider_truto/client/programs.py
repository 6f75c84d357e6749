"""What takes more than one call, or a look at the connection, as generators without I/O.

A program yields steps (a ``Call`` to make, ``ReadSettings``, ``Warn``, a ``Page`` to hand out), receives what came
of each, and returns its result. Both drivers run the same programs, so that sync and async cannot differ.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.endpoints import (
    admin_call,
    batch_call,
    capabilities_call,
    integrated_account_call,
    integrated_accounts_call,
)
from airflow_provider_truto.client.errors import (
    Problem,
    TrutoAccountBlockedError,
    TrutoMethodNotAllowedError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
    TrutoSchemaError,
    TrutoTransportError,
    partial_failure,
    where,
)
from airflow_provider_truto.client.exchange import Outcome
from airflow_provider_truto.client.pages import Page, pages
from airflow_provider_truto.client.redaction import one_line
from airflow_provider_truto.client.settings import ClientSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """The reply is the ``ClientSettings`` that the program runs under."""


@dataclass(frozen=True, slots=True)
class Warn:
    """Say this to whoever runs the program; no reply."""

    text: str


ProgramStep = Call | ReadSettings | Warn | Page
Program = Generator[ProgramStep, Any, T]


def answer_of(call: Call) -> Program[Any]:
    """Make one call and give its JSON (or bytes where it takes any content), or its chunks where it is streamed."""
    outcome: Outcome = yield call
    return outcome.answer.stream if call.streamed else outcome.value


def object_of(call: Call, *needed: str) -> Program[dict[str, Any]]:
    """Make one call and give its JSON object, which must have the ``needed`` keys."""
    outcome: Outcome = yield call
    value = outcome.value
    if not isinstance(value, dict) or not value.keys() >= set(needed):
        keys = f" with {', '.join(needed)}" if needed else ""
        raise TrutoTransportError(f"{where(call)}: expects a JSON object{keys}, got something else")
    return value


def gathered(call: Call, *, at_most: int) -> Program[tuple[list[Any], bool]]:
    """Read a short list, and say whether that is all of it.

    Raises ``TrutoTransportError`` where it has more than ``at_most`` items.
    """
    items: list[Any] = []
    is_whole = True
    for_pages = pages(call)
    reply: Any = None
    while True:
        try:
            step = for_pages.send(reply)
        except StopIteration:
            return items, is_whole
        reply = None
        if isinstance(step, Page):
            items += step.items
            is_whole = is_whole and not step.is_partial and not step.ended_early
            if len(items) > at_most:
                raise TrutoTransportError(f"{where(call)}: the list has more than {at_most} items, which is too many")
        else:
            reply = yield step


def account_of(given: str | None) -> Program[str]:
    """Give the integrated account to call for: the given one, else the connection's default.

    Raises ``TrutoSchemaError`` where there is none, it cannot be one, or the connection does not allow it.
    """
    settings: ClientSettings = yield ReadSettings()
    account, problems = admitted_account(given, settings)
    if problems:
        raise TrutoSchemaError.of("the call names no integrated account that it may use", problems)
    return account


def admitted_account(given: str | None, settings: ClientSettings) -> tuple[str, list[Problem]]:
    """Give the integrated account to call for, and what is wrong with it."""
    account = given if given is not None else settings.integrated_account_id
    if not account:
        message = "is missing: name the customer's integrated account in the task, or a default in the connection"
        return "", [Problem("/integrated_account_id", message)]
    fault = account_fault(account)
    if fault is None and not settings.allows(account):
        fault = f"{account} is not among the connection's allowed_integrated_accounts"
    return account, [] if fault is None else [Problem("/integrated_account_id", fault)]


def account_fault(account: Any) -> str | None:
    """Say why a value cannot be the id of an integrated account, which is a UUID; ``None`` where it can."""
    if not isinstance(account, str):
        return f"expects the UUID of an integrated account as text, got {type(account).__name__}"
    if not _is_uuid(account):
        return f"{account!r} is not the UUID of an integrated account: was it swapped with the record's id?"
    return None


@lru_cache(maxsize=4096)  # of customers there are few, of their records many
def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def check_allowed(about: str, account: Any, settings: ClientSettings) -> None:
    """Raise ``TrutoSchemaError`` where an answer is about an account that the connection does not allow."""
    if not settings.allows(account):
        message = f"{about} is of an account that is not among the connection's allowed_integrated_accounts"
        raise TrutoSchemaError.of("wrong customer", [Problem("/integrated_account_id", message)])


def allowed_pages(call: Call, *, account_key: str) -> Program[None]:
    """Hand out the pages of a list of many customers, without what is of accounts that the connection does not allow.

    ``account_key`` is the name under which an item holds the id of its integrated account.
    """
    settings: ClientSettings = yield ReadSettings()
    if not settings.allowed_integrated_accounts:
        return (yield from pages(call))
    steps = pages(call)
    reply: Any = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration:
            return None
        if isinstance(step, Page):
            items = [one for one in step.items if isinstance(one, dict) and settings.allows(one.get(account_key))]
            step = replace(step, items=items)
        reply = yield step


def run_of(run_id: str) -> Program[dict[str, Any]]:
    """Give a run of a sync job. Raises ``TrutoSchemaError`` where its account is one that the connection forbids."""
    settings: ClientSettings = yield ReadSettings()
    run = yield from object_of(admin_call("GET", "sync-job-run", run_id))
    check_allowed(f"the sync job run {run_id}", run.get("integrated_account_id"), settings)
    return run


def stopped_run(run_id: str) -> Program[Any]:
    """Stop a run of a sync job, which is looked at before where the connection does not allow every account."""
    settings: ClientSettings = yield ReadSettings()
    if settings.allowed_integrated_accounts:
        yield from run_of(run_id)
    return (yield from answer_of(admin_call("DELETE", "sync-job-run", run_id)))


def account_named(tenant_id: str, integration: str | None) -> Program[str]:
    """Find a customer's integrated account by tenant and integration.

    Raises ``TrutoSchemaError`` where none or several fit, and lists what there is; also where the connection does not
    allow the one that fits.
    """
    settings: ClientSettings = yield ReadSettings()
    if not (isinstance(tenant_id, str) and tenant_id.strip()):
        message = f"expects your own id of the customer as text, got {tenant_id!r}"
        raise TrutoSchemaError.of("the customer cannot be told", [Problem("/tenant_id", message)])
    filters = {"tenant_id": tenant_id, **({"integration.name": integration} if integration else {})}
    # Filters that Truto does not know are ignored, so that what came is looked at again.
    call = integrated_accounts_call({"tenant_id": tenant_id})
    accounts, is_whole = yield from gathered(call, at_most=1000)
    if not is_whole:
        raise TrutoTransportError(f"{where(call)}: the list is not whole, so that nothing can be told from it")
    of_tenant = [
        account for account in accounts if isinstance(account, dict) and account.get("tenant_id") == tenant_id
    ]
    fitting = [account for account in of_tenant if integration in (None, integration_name(account))]
    asked = " and ".join(f"{name} {value!r}" for name, value in filters.items())
    if len(fitting) == 1 and isinstance(fitting[0].get("id"), str):
        found_id = str(fitting[0]["id"])
        if not settings.allows(found_id):
            message = (
                f"{found_id} is not among the connection's allowed_integrated_accounts; no other one has {asked}"
            )
            raise TrutoSchemaError.of("wrong customer", [Problem("/integrated_account_id", message)])
        return found_id
    there = [account for account in fitting or of_tenant if settings.allows(account.get("id"))]
    listed_ones = "; ".join(f"{a.get('id')} ({integration_name(a)}, {a.get('status')})" for a in there[:20])
    found = f"{len(fitting)} integrated accounts have" if fitting else "no integrated account has"
    also = f" There {'is' if fitting else 'is only'}: {listed_ones}." if there else ""
    raise TrutoSchemaError.of(
        "the customer cannot be told",
        [Problem("/tenant_id", f"{found} {asked}.{also} Name one by integrated_account_id")],
    )


def integration_name(account: Mapping[str, Any]) -> str | None:
    """Give the name of an account's integration, ``"hubspot"``."""
    integration = account.get("integration")
    name = integration.get("name") if isinstance(integration, dict) else None
    return name if isinstance(name, str) else None


def batch(
    resources: Iterable[Mapping[str, Any]],
    *,
    integrated_account_id: str | None,
    args: Mapping[str, Any] | None,
    idempotency_key: str,
) -> Program[dict[str, Any]]:
    """Make a batch request and give its results by resource.

    Raises ``TrutoPartialFailureError`` where the answer holds errors, although its status is 2xx.
    """
    account = yield from account_of(integrated_account_id)
    call = batch_call(list(resources), integrated_account_id=account, args=args, idempotency_key=idempotency_key)
    outcome: Outcome = yield call
    value = outcome.value if isinstance(outcome.value, dict) else {}
    result = value.get("result", {} if "errors" in value else None)
    if not isinstance(result, dict):
        raise TrutoTransportError(f"{where(call)}: expects an object of results by resource, got something else")
    errors = value.get("errors")
    if errors and not (isinstance(errors, dict) and not any(errors.values())):
        raise partial_failure(call, outcome.answer, errors=errors, result=result, scrub=outcome.scrub)
    return result


def ready_account(
    account_id: str,
    *,
    expected_tenant_id: str | None,
    model: str | None,
    resource: str,
    method: str,
) -> Program[dict[str, Any]]:
    """Make sure that an integrated account can be called with this method, and give its record.

    ``model`` is ``None`` for the proxy API. Raises the ``TrutoError`` that the call itself would end in, with the one
    thing that is in the way and who can mend it; ``TrutoSchemaError`` where the account is another tenant's.
    """
    record = yield from object_of(integrated_account_call(account_id), "status")
    check_tenant(record, account_id, expected_tenant_id)
    subject = f"{integration_name(record) or 'the'} account {account_id} (tenant {record.get('tenant_id')})"
    status = record["status"]
    if status != "active":
        reason = f" Truto's reason: {one_line(record['last_error'], most=300)}." if record.get("last_error") else ""
        must = "reconnect" if status == "needs_reauth" else "connect or reconnect"
        raise TrutoReauthorizationRequiredError(
            f"the customer must {must} {subject}: its status is {status}.{reason}"
            " Nothing was sent; retries cannot help."
        )
    can_do = yield from object_of(capabilities_call(integrated_account_id=account_id))
    state = can_do.get("account")
    if isinstance(state, dict) and state.get("is_blocked") is True:
        raise TrutoAccountBlockedError(f"Truto has blocked {subject}: write to support@truto.one. Nothing was sent.")
    if record.get("is_sandbox") is True and method not in {"list", "get"}:
        raise TrutoSandboxReadOnlyError(f"{subject} is a sandbox, which Truto never writes to. Nothing was sent.")
    if _lack(can_do, model, resource, method):
        # What `has_description` leaves out is not documented; it may be what nobody has described.
        can_do = yield from object_of(capabilities_call(integrated_account_id=account_id, has_description=False))
    if lack := _lack(can_do, model, resource, method):
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


def _lack(can_do: Mapping[str, Any], model: str | None, resource: str, method: str) -> str:
    """Say what the capabilities lack; ``""`` where they have the method, or say nothing of its API at all."""
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
