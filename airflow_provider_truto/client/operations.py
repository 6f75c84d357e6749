"""What several methods of the API do: calls for an account, batches, and runs of sync jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_provider_truto.client.accounts import resolve_account
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import admin_request, batch_request
from airflow_provider_truto.client.error_parsing import build_partial_failure
from airflow_provider_truto.client.errors import (
    Problem,
    TrutoSchemaError,
    TrutoTransportError,
)
from airflow_provider_truto.client.keys import FindKeys, KeyVersionStore
from airflow_provider_truto.client.pages import Pages
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.transports.base import maybe_await


async def fetch_account_value(
    client: Client, account: str | None, build: Callable[[str], Request], find_keys: FindKeys
) -> Any:
    """Return the value of a request that is built for an account; ``None`` means the connection's default.

    A write that has no key takes one of ``find_keys``.
    """
    request = build(resolve_account(client.settings, account))
    return await client.fetch_value(*await assign_key(request, find_keys))


async def assign_key(request: Request, find_keys: FindKeys) -> tuple[Request, KeyVersionStore | None]:
    """Return a write that has no key of its caller's with the key that it takes, and what keeps its version."""
    if not request.is_write or request.idempotency_key is not None:
        return request, None
    keys = await maybe_await(find_keys())
    key = keys.make_key(request)
    return request.replace(idempotency_key=key), keys.find_versions(key)


async def fetch_account_object(
    client: Client, account: str | None, build: Callable[[str], Request], *needed: str
) -> dict[str, Any]:
    """Return the JSON object of such a request, which has the ``needed`` keys."""
    return await client.fetch_object(build(resolve_account(client.settings, account)), *needed)


async def open_account_pages(client: Client, account: str | None, build: Callable[[str], Request]) -> Pages:
    """Return the pages of a list of an account, none of which is fetched yet."""
    return Pages(client, build(resolve_account(client.settings, account)))


async def open_platform_pages(client: Client, request: Request, *, account_key: str) -> Pages:
    """Return the pages of a list of many customers, whose items name their account under ``account_key``."""
    return Pages(client, request, account_key=account_key)


async def fetch_batch(
    client: Client,
    resources: Iterable[Mapping[str, Any]],
    *,
    integrated_account_id: str | None,
    args: Mapping[str, Any] | None,
    idempotency_key: str | None,
    find_keys: FindKeys,
) -> dict[str, Any]:
    """Make a batch request and return its results by resource.

    Raises ``TrutoPartialFailureError`` where the answer holds errors, although its status is 2xx.
    """
    account = resolve_account(client.settings, integrated_account_id)
    request = batch_request(
        list(resources), integrated_account_id=account, args=args, idempotency_key=idempotency_key
    )
    request, key_versions = await assign_key(request, find_keys)
    result = await client.fetch(request, key_versions=key_versions)
    value = result.value if isinstance(result.value, dict) else {}
    results = value.get("result", {} if "errors" in value else None)
    if not isinstance(results, dict):
        raise TrutoTransportError(
            f"{request.describe()}: expects an object of results by resource, got something else"
        )
    errors = value.get("errors")
    if errors and not (isinstance(errors, dict) and not any(errors.values())):
        raise build_partial_failure(request, result.response, errors=errors, result=results, scrub=result.scrub)
    return results


async def fetch_run(client: Client, run_id: str) -> dict[str, Any]:
    """Return a run of a sync job. Raises ``TrutoSchemaError`` where the connection does not allow its account."""
    run = await client.fetch_object(admin_request("GET", "sync-job-run", run_id))
    if not client.settings.allows(run.get("integrated_account_id")):
        message = (
            f"the sync job run {run_id} is of an account that is not among the connection's"
            " allowed_integrated_accounts"
        )
        raise TrutoSchemaError.of("wrong customer", [Problem("/integrated_account_id", message)])
    return run


async def stop_run(client: Client, run_id: str) -> Any:
    """Stop a run of a sync job, which is looked at before where the connection does not allow every account."""
    if client.settings.allowed_integrated_accounts:
        await fetch_run(client, run_id)
    return await client.fetch_value(admin_request("DELETE", "sync-job-run", run_id))
