"""Sends one record: calls the steps of this package in their order.

    render → coerce → validate → build_request → (client) → parse_response → verify → XCom

Each step is a module beside this one; change a step there, and here only the order, or what connects two steps.
Questions that precede the write (which account, which fields, the record as it is now) use the same client.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from airflow_provider_truto.client.accounts import (
    check_account,
    check_ready,
    check_tenant,
    find_account,
)
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import CACHE_TTL, integrated_account_request
from airflow_provider_truto.client.errors import Problem, TrutoNotFoundError, TrutoSchemaError
from airflow_provider_truto.client.keys import FindKeys, KeyVersionStore, RandomKeys
from airflow_provider_truto.client.names import CUSTOMER_ARGUMENTS, find_naming_problems
from airflow_provider_truto.client.operations import assign_key
from airflow_provider_truto.client.pages import Pages
from airflow_provider_truto.client.request import encode_json
from airflow_provider_truto.client.retry import Result
from airflow_provider_truto.records.build import build_read_request, build_request
from airflow_provider_truto.records.coerce import CoercionOptions, coerce
from airflow_provider_truto.records.customer_schema import find_custom_fields, load_customer_schema
from airflow_provider_truto.records.diff import select_differing
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.parse import describe_other_record, find_other_record, parse_response
from airflow_provider_truto.records.preview import Preview, check_expected, make_preview
from airflow_provider_truto.records.request import LIVE, RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards, find_safeguard_problems
from airflow_provider_truto.records.validate import ValidRequest, load_body_schema, validate
from airflow_provider_truto.schemas.custom_fields import find_unlisted_fields


class RecordResult(NamedTuple):
    """What was sent, and what came back.

    ``response`` is the JSON answer, or ``None`` for a streamed one. Where nothing was sent, ``result`` is ``None``
    and ``response`` is the record as it is in the CRM. ``request`` is the request as it was sent: its body coerced,
    its account known. ``unchanged`` are the fields that were left out because the CRM has these values already.
    """

    request: RecordRequest
    response: Any
    result: Result | None = None
    preview: Preview | None = None
    unchanged: tuple[str, ...] = ()


async def write_record(
    client: Client,
    request: RecordRequest,
    *,
    coercion: CoercionOptions | None = None,
    earlier: Sequence[Problem] = (),
    safeguards: Safeguards | None = None,
    task: TaskIdentity | None = None,
    key_versions: KeyVersionStore | None = None,
    find_keys: FindKeys = RandomKeys,
) -> RecordResult:
    """Write one record: coerce and check the request, send it, and read the answer.

    Without ``coercion`` the body is sent as it is. ``earlier`` are problems that the caller has found already.
    ``task`` determines the idempotency key, and ``key_versions`` keeps its version over a task's tries; without a
    ``task``, ``find_keys`` does both. Raises ``TrutoSchemaError`` with every problem, or the ``TrutoError`` of the
    request.
    """
    safeguards = safeguards or Safeguards()
    send = partial(send_record, client, task=task, key_versions=key_versions, find_keys=find_keys)
    valid = await prepare_request(client, request, coercion=coercion, earlier=earlier, safeguards=safeguards)
    request = valid.request
    if safeguards.reads_record:
        try:
            record = await _read_record(client, request)
        except TrutoNotFoundError:
            if safeguards.preview or request.method != "delete":
                raise
            # Most likely an earlier try of this task has deleted it: for the same key, Truto repeats the answer.
            return await send(valid)
        preview = make_preview(valid, record)
        check_expected(safeguards, preview, request)
        if safeguards.preview:
            return RecordResult(request=request, response=record, preview=preview)
        # The hash differs. If no field does, what was previewed has been written, most likely by an earlier try.
        is_written = safeguards.expect not in (None, preview.hash)
        if (safeguards.skip_unchanged or is_written) and isinstance(request.body, dict):
            differing = select_differing(request.body, record)
            unchanged = tuple(name for name in request.body if name not in differing)
            if not differing:
                return RecordResult(request=request, response=record, preview=preview, unchanged=unchanged)
            valid = _reduce_body(valid, differing)
            done = await send(valid)
            return done._replace(preview=preview, unchanged=unchanged)
    return await send(valid)


async def open_pages(
    client: Client, request: RecordRequest, *, earlier: Sequence[Problem] = (), safeguards: Safeguards | None = None
) -> Pages:
    """Check the request of a list, and return its pages, none of which is fetched yet."""
    valid = await prepare_request(client, request, earlier=earlier, safeguards=safeguards or Safeguards())
    return Pages(client, build_request(valid))


async def prepare_request(
    client: Client,
    request: RecordRequest,
    *,
    coercion: CoercionOptions | None = None,
    earlier: Sequence[Problem] = (),
    safeguards: Safeguards,
) -> ValidRequest:
    """Do everything that precedes sending. Raises ``TrutoSchemaError`` with every problem at once.

    Asks Truto for what the request names only indirectly: the account of a tenant, the schema of an integration.
    """
    settings = client.settings
    reported = {problem.pointer for problem in earlier}
    problems = [*earlier, *find_safeguard_problems(request, safeguards), *_find_target_problems(request, safeguards)]
    request, found = await _find_account(client, request, may_ask=not problems)
    problems = [*earlier, *(problem for problem in [*problems, *found] if problem.pointer not in reported)]
    if not problems:  # else the questions to Truto would be wrong as well
        await check_customer(client, request, safeguards=safeguards)
        request = await load_customer_schema(client, request, check_custom_fields=safeguards.check_custom_fields)
    elif request.schema == LIVE:
        request = request.replace(schema=None)
    is_typed = coercion is not None and request.body is not None
    if coercion is not None and is_typed:
        request, untyped = coerce_body(request, coercion, hide_values=settings.hide_values)
        problems += untyped
    valid = validate(request, earlier=problems, is_typed=is_typed, hide_values=settings.hide_values)
    for warning in valid.warnings:
        client.warn(f"{request}: {warning}")
    if safeguards.check_custom_fields and isinstance(request.body, dict):
        for name in find_unlisted_fields(find_custom_fields(request), request.body.get("custom_fields")):
            client.warn(f"{request}: /body/custom_fields/{name}: is not among the fields that this CRM lists in part")
    return valid


async def _find_account(
    client: Client, request: RecordRequest, *, may_ask: bool
) -> tuple[RecordRequest, list[Problem]]:
    """Find the integrated account: named by id or by tenant, else the connection's default."""
    account = request.integrated_account_id
    named = {name for name in CUSTOMER_ARGUMENTS if getattr(request, name) is not None}
    if problems := list(find_naming_problems(named)):
        return request, problems
    if request.tenant_id is not None:
        if not request.tenant_id:
            return request, [Problem("/tenant_id", "is empty: it names no customer")]
        if request.integration == "":
            return request, [Problem("/integration", "is empty: leave it out where the tenant has one account")]
        if not may_ask:
            return request.replace(integrated_account_id=client.settings.integrated_account_id), []
        account = await find_account(client, request.tenant_id, request.integration)
    account, problems = check_account(account, client.settings)
    if account == request.integrated_account_id:
        return request, problems
    return request.replace(integrated_account_id=account), problems


def _find_target_problems(request: RecordRequest, safeguards: Safeguards) -> list[Problem]:
    """Return the problems of a list that is to be streamed, and of a write that lacks the id of its record."""
    if request.method == "list" and request.response_format == "stream":
        message = "'stream' is for one record; a list goes to a file page by page, in any other format"
        return [Problem("/response_format", message)]
    if request.record_id is not None or request.method not in {"update", "delete"}:
        return []
    at = f"/{request.id_name}"
    if safeguards.reads_record:
        return [
            Problem(
                at, "is missing: give the record's id, since preview, expect and skip_unchanged read the record first"
            )
        ]
    return []


async def check_customer(client: Client, request: RecordRequest, *, safeguards: Safeguards) -> None:
    """Make sure of a request's customer, whose account is known. Raises the ``TrutoError`` that is in the way."""
    account = request.integrated_account_id or ""
    if safeguards.preflight:
        await check_ready(
            client,
            account,
            expected_tenant_id=safeguards.expected_tenant_id,
            model=request.model,
            resource=request.resource,
            method=request.method,
        )
    elif safeguards.expected_tenant_id is not None:
        record = await client.fetch_object(integrated_account_request(account, cache_ttl=CACHE_TTL))
        check_tenant(record, account, safeguards.expected_tenant_id)


def coerce_body(
    request: RecordRequest, coercion: CoercionOptions, *, hide_values: bool
) -> tuple[RecordRequest, list[Problem]]:
    """Type a body by its schema; return the request with it, and the problems of what could not be converted."""
    schema = load_body_schema(request)
    body = coerce(
        request.body,
        schema.source if schema else {"type": ["object", "array"]},
        on_none=coercion.on_none,
        hint=coercion.hint,
        data_of=coercion.data_of,
        hide_values=hide_values,
    )
    problems = [Problem(f"/body{pointer}".rstrip("/"), message) for pointer, message in body.problems]
    return request.replace(body=body.value, allow_null=body.nulls), problems


async def _read_record(client: Client, request: RecordRequest) -> dict[str, Any]:
    """Read the record as it is now; ``{}`` for a create."""
    if request.record_id is None:
        return {}
    value = (await client.fetch(build_read_request(request))).value
    if not isinstance(value, dict):
        problem = Problem(
            "/preview",
            "the record as it is now is not an object, so that nothing can be compared with it: leave preview, expect"
            " and skip_unchanged out",
        )
        raise TrutoSchemaError.of(f"the {request} cannot be previewed", [problem])
    if (other := find_other_record(request.replace(response_format="unified"), value)) is not None:
        client.warn(f"{request}, read before it is changed: {describe_other_record(request, other)}")
    return value


def _reduce_body(valid: ValidRequest, differing: dict[str, Any]) -> ValidRequest:
    """Reduce a checked body to the fields in ``differing`` and those that this integration requires."""
    request = valid.request
    schema = load_body_schema(request)
    required = set(schema.source.get("required", ())) if schema else set()
    body = {name: value for name, value in request.body.items() if name in differing or name in required}
    return valid._replace(request=request.replace(body=body), body=encode_json(body))


async def send_record(
    client: Client,
    valid: ValidRequest,
    *,
    task: TaskIdentity | None = None,
    key_versions: KeyVersionStore | None = None,
    find_keys: FindKeys = RandomKeys,
) -> RecordResult:
    """Send a checked request, and read the answer; see ``write_record``. Raises the ``TrutoError`` of the request."""
    request = valid.request
    http_request, versions_of_request = await assign_key(build_request(valid, task=task), find_keys)
    result = await client.fetch(http_request, key_versions=key_versions or versions_of_request)
    if result.response.stream is not None:
        return RecordResult(request=request, response=None, result=result)
    response, warnings = parse_response(request, result.value)
    if warnings:
        client.warn(f"the answer of {request}: {'; '.join(warnings)}")
    return RecordResult(request=request, response=response, result=result)
