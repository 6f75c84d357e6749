"""The way of one record, every step in its order.

    render → coerce → validate → build_request → (client) → parse_response → verify → XCom

What Truto has to be asked before (which account, which fields, the record as it is now) goes through the same client
as the write itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_truto.client.accounts import (
    check_account,
    check_ready,
    check_tenant,
    find_account,
    get_integration_name,
)
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import (
    CACHE_TTL,
    integrated_account_request,
    meta_request,
    unified_request,
)
from airflow_provider_truto.client.errors import Problem, TrutoNotFoundError, TrutoSchemaError
from airflow_provider_truto.client.pages import Pages, fetch_all
from airflow_provider_truto.client.request import encode_json
from airflow_provider_truto.client.retry import KeyVersionStore, Result
from airflow_provider_truto.records.build import build_read_request, build_request
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.diff import Change, hash_preview, list_changes, select_differing
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.parse import describe_other_record, find_other_record, parse_response
from airflow_provider_truto.records.request import LIVE, OnNone, RecordRequest
from airflow_provider_truto.records.validate import ValidRequest, load_body_schema, validate
from airflow_provider_truto.schemas.custom_fields import (
    build_custom_fields_schema,
    find_unlisted_fields,
    is_partial_for,
    replace_custom_fields,
)
from airflow_provider_truto.schemas.truto_schema import convert_schema

#: Nobody sets up a CRM with more fields than this.
_MOST_FIELDS = 20_000
#: What the resources of the CRM model are called among its fields.
_ENTITIES = {"accounts": "account", "contacts": "contact", "opportunities": "opportunity"}
#: Methods whose effect on one record can be shown beforehand.
_PREVIEWED = frozenset({"create", "update", "delete"})


@dataclass(frozen=True, kw_only=True)
class Safeguards:
    """What to make sure of before the write; each costs a call at most, see the operators for the meaning."""

    preflight: bool = False
    expected_tenant_id: str | None = None
    check_custom_fields: bool = False
    preview: bool = False
    expect: str | None = None
    skip_unchanged: bool = False

    @property
    def reads_record(self) -> bool:
        """Whether the record has to be read first."""
        return self.preview or self.skip_unchanged or self.expect is not None


@dataclass(frozen=True, kw_only=True)
class CoercionOptions:
    """That a body is to be typed by its schema, and what a template that gave nothing means."""

    on_none: OnNone = "error"
    hint: str = ""
    data_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a write would change in the record as it is now, and a hash of both; nothing was sent."""

    changes: tuple[Change, ...]
    hash: str

    def as_dict(self, *, hide_values: bool = False) -> dict[str, Any]:
        """Return the preview as JSON: pointers with values before and after, or under ``hide_values`` without."""
        shown = [{"pointer": change.pointer} if hide_values else dict(change._asdict()) for change in self.changes]
        return {"hash": self.hash, "changes": shown}


@dataclass(frozen=True, kw_only=True)
class RecordResult:
    """The end of the way.

    ``response`` is the JSON answer, ``None`` for a stream; where nothing was sent (``result`` is ``None``), the
    record as it is. ``request`` holds what was sent: typed, its account known.
    """

    request: RecordRequest
    response: Any
    result: Result | None = None
    preview: Preview | None = None
    unchanged: tuple[str, ...] = field(default=())


async def write_record(
    client: Client,
    request: RecordRequest,
    *,
    coercion: CoercionOptions | None = None,
    earlier: Sequence[Problem] = (),
    safeguards: Safeguards | None = None,
    task: TaskIdentity | None = None,
    key_versions: KeyVersionStore | None = None,
) -> RecordResult:
    """Bring one request to its end: make it typed, check it, send it, read the answer.

    Without ``coercion`` the body is taken as it is. ``earlier`` are problems that were found before; ``task`` makes
    the idempotency key, and ``key_versions`` keeps its version over a task's tries. Raises ``TrutoSchemaError`` with
    every problem, or the ``TrutoError`` of the call.
    """
    safeguards = safeguards or Safeguards()
    valid = await prepare_request(client, request, coercion=coercion, earlier=earlier, safeguards=safeguards)
    request = valid.request
    if safeguards.reads_record:
        try:
            record = await _read_record(client, request)
        except TrutoNotFoundError:
            if safeguards.preview or request.method != "delete":
                raise
            # Most likely an earlier try of ours has deleted it: under its key, Truto repeats the answer.
            return await send_record(client, valid, task=task, key_versions=key_versions)
        preview = _make_preview(valid, record)
        _check_expected(safeguards, preview, request)
        if safeguards.preview:
            return RecordResult(request=request, response=record, preview=preview)
        # Another hash, and nothing to change: what was previewed has been written, most likely by an earlier try.
        is_written = safeguards.expect not in (None, preview.hash)
        if (safeguards.skip_unchanged or is_written) and isinstance(request.body, dict):
            left = select_differing(request.body, record)
            unchanged = tuple(name for name in request.body if name not in left)
            if not left:
                return RecordResult(request=request, response=record, preview=preview, unchanged=unchanged)
            valid = _replace_body(valid, left)
            done = await send_record(client, valid, task=task, key_versions=key_versions)
            return replace(done, preview=preview, unchanged=unchanged)
    return await send_record(client, valid, task=task, key_versions=key_versions)


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
    """Everything before a request may be sent; what is wrong with it is listed at once.

    Asks Truto for what the request names indirectly: the customer by tenant, the schema of this integration.
    """
    settings = client.settings
    told = {problem.pointer for problem in earlier}
    problems = [*earlier, *_find_safeguard_problems(request, safeguards), *_find_target_problems(request, safeguards)]
    request, found = await _find_account(client, request, may_ask=not problems)
    problems = [*earlier, *(problem for problem in [*problems, *found] if problem.pointer not in told)]
    if not problems:  # what is wrong already would make Truto's answers wrong as well
        await _run_preflight(client, request, safeguards)
        request = await _load_schema(client, request, safeguards)
    elif request.schema == LIVE:
        request = request.replace(schema=None)
    is_typed = coercion is not None and request.body is not None
    if coercion is not None and is_typed:
        request, untyped = _coerce(request, coercion, hide_values=settings.hide_values)
        problems += untyped
    valid = validate(request, earlier=problems, is_typed=is_typed, hide_values=settings.hide_values)
    for warning in valid.warnings:
        client.warn(f"{request}: {warning}")
    if safeguards.check_custom_fields and isinstance(request.body, dict):
        schema = load_body_schema(request)
        listed = _find_custom_fields(schema.source if schema else {})
        for name in find_unlisted_fields(listed, request.body.get("custom_fields")):
            client.warn(f"{request}: /body/custom_fields/{name}: is not among the fields that this CRM lists in part")
    return valid


async def _find_account(
    client: Client, request: RecordRequest, *, may_ask: bool
) -> tuple[RecordRequest, list[Problem]]:
    """Find the customer: named by account or by tenant, else the connection's default."""
    account = request.integrated_account_id
    if request.tenant_id is not None or request.integration is not None:
        if account is not None:
            message = "is given beside tenant_id or integration: name the customer in one way"
            return request, [Problem("/integrated_account_id", message)]
        if not request.tenant_id:
            return request, [Problem("/tenant_id", "is missing or empty: integration alone names no customer")]
        if request.integration == "":
            return request, [Problem("/integration", "is empty: leave it out where the tenant has one account")]
        if not may_ask:
            return request.replace(integrated_account_id=client.settings.integrated_account_id), []
        account = await find_account(client, request.tenant_id, request.integration)
    account, problems = check_account(account, client.settings)
    if account == request.integrated_account_id:
        return request, problems
    return request.replace(integrated_account_id=account), problems


def _find_safeguard_problems(request: RecordRequest, safeguards: Safeguards) -> list[Problem]:
    problems = [
        Problem(f"/{name}", f"is for {', '.join(sorted(_PREVIEWED))}, not for {request.method}")
        for name in ("preview", "expect")
        if getattr(safeguards, name) and request.method not in _PREVIEWED
    ]
    if safeguards.expect is not None and not (
        isinstance(safeguards.expect, str) and safeguards.expect.startswith("p1-")
    ):
        problems.append(Problem("/expect", f"expects the hash of a preview, p1-…, got {safeguards.expect!r}"))
    if safeguards.skip_unchanged and request.method != "update":
        problems.append(Problem("/skip_unchanged", f"is for update, not for {request.method}"))
    if safeguards.check_custom_fields and (request.model != "crm" or request.resource not in _ENTITIES):
        problems.append(
            Problem("/check_custom_fields", f"is for crm {', '.join(_ENTITIES)}: Truto lists their fields")
        )
    if request.schema == LIVE and request.model is None:
        problems.append(Problem("/schema", "'live' is for the unified API; the proxy API has no schemas"))
    return problems


def _find_target_problems(request: RecordRequest, safeguards: Safeguards) -> list[Problem]:
    """What is wrong with a call that names no record, or names it where none is meant."""
    if request.method == "list" and request.response_format == "stream":
        message = "'stream' is for one record; a list goes to a file page by page, in any other format"
        return [Problem("/response_format", message)]
    if request.record_id is not None or request.method not in {"update", "delete"}:
        return []
    at = f"/{request.id_name}"
    if safeguards.reads_record:
        return [Problem(at, "is missing: the record has to be read first, to be compared with what is to be sent")]
    return []


async def _run_preflight(client: Client, request: RecordRequest, safeguards: Safeguards) -> None:
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


async def _load_schema(client: Client, request: RecordRequest, safeguards: Safeguards) -> RecordRequest:
    """Replace the schema by what Truto and the CRM say of this customer, where that is asked for."""
    if request.body is None:
        return request.replace(schema=None) if request.schema == LIVE else request
    model, account = request.model or "", request.integrated_account_id or ""
    if request.schema == LIVE:
        meta = await client.fetch_object(
            meta_request(model, request.resource, request.method, integrated_account_id=account),
            "request_body_schema",
        )
        schema = meta["request_body_schema"]
        if isinstance(schema, Mapping):
            live = convert_schema(schema)
            for warning in live.warnings:
                client.warn(f"the live schema of {request}: {warning}")
            request = request.replace(schema=_with_remote_data(live.schema), is_schema_valid=True)
        else:
            client.warn(f"Truto has no schema for the {request}: its body is not checked")
            request = request.replace(schema=None)
    if safeguards.check_custom_fields:
        custom = await _load_custom_fields(client, request, account)
        base = load_body_schema(request)
        whole = replace_custom_fields(base.source if base else {"type": "object"}, custom)
        request = request.replace(schema=whole, is_schema_valid=True)
    return request


def _with_remote_data(schema: dict[str, Any]) -> dict[str, Any]:
    """Let ``remote_data`` through, which goes to the CRM as it is and which no mapping has to name."""
    if "properties" not in schema:
        return schema
    return {**schema, "properties": {"remote_data": {"type": "object"}, **schema["properties"]}}


async def _load_custom_fields(client: Client, request: RecordRequest, account: str) -> Mapping[str, Any]:
    """Read which fields this customer's CRM has for the resource (docs/api-reference/unified-crm-api/fields)."""
    record = await client.fetch_object(integrated_account_request(account, cache_ttl=CACHE_TTL))
    listing = unified_request(
        request.model or "",
        "fields",
        "list",
        integrated_account_id=account,
        query={"limit": 100},
        cache_ttl=CACHE_TTL,
    )
    fields, is_whole = await fetch_all(client, listing, at_most=_MOST_FIELDS)
    name = get_integration_name(record) or ""
    is_partial = is_partial_for(name) or not is_whole
    if is_partial:
        client.warn(f"{name} lists its fields only in part: custom fields that it does not list are not checked")
    known = build_custom_fields_schema(fields, is_partial=is_partial, entity_type=_ENTITIES[request.resource])
    for warning in known.warnings:
        client.warn(f"the fields of {name} account {account}: {warning}")
    return known.schema


def _coerce(
    request: RecordRequest, coercion: CoercionOptions, *, hide_values: bool
) -> tuple[RecordRequest, list[Problem]]:
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
    """Read the record as it is now; a create has none."""
    if request.record_id is None:
        return {}
    value = (await client.fetch(build_read_request(request))).value
    if not isinstance(value, dict):
        problem = Problem("/preview", "the record as it is now came in a form that cannot be compared with the body")
        raise TrutoSchemaError.of(f"the {request} cannot be previewed", [problem])
    if (other := find_other_record(request.replace(response_format="unified"), value)) is not None:
        client.warn(f"{request}, read before it is changed: {describe_other_record(request, other)}")
    return value


def _make_preview(valid: ValidRequest, record: Mapping[str, Any]) -> Preview:
    request = valid.request
    write = build_request(valid)
    if request.method == "delete":
        differences: tuple[Change, ...] = (Change("", dict(record), None),)
        body: Mapping[str, Any] = record  # what would be lost is all of it
    else:
        body = request.body if isinstance(request.body, dict) else {}
        differences = list_changes(body, record)
    hashed = hash_preview(
        path=f"{write.method} {write.target}",
        integrated_account_id=request.integrated_account_id or "",
        body=body,
        record=record,
    )
    return Preview(changes=differences, hash=hashed)


def _check_expected(safeguards: Safeguards, preview: Preview, request: RecordRequest) -> None:
    """Refuse a write that was not previewed as it is now; one that would change nothing is not sent anyway."""
    if safeguards.expect is None or safeguards.expect == preview.hash or not preview.changes:
        return
    names = ", ".join(change.pointer or "/" for change in preview.changes)
    message = (
        "is not the hash of what would be changed now: the record, or what is to be sent, is not as it was previewed."
        f" It would change {names}. Preview again, and decide on that. (Where an earlier try of this task lost its"
        " answer, the CRM may have taken the write in its own form already: look at the record)"
    )
    raise TrutoSchemaError.of(f"the {request} was not previewed like this", [Problem("/expect", message)])


def _replace_body(valid: ValidRequest, left: dict[str, Any]) -> ValidRequest:
    """Send less of a checked body; what this integration requires goes along although it does not differ."""
    request = valid.request
    schema = load_body_schema(request)
    required = set(schema.source.get("required", ())) if schema else set()
    body = {name: value for name, value in request.body.items() if name in left or name in required}
    return replace(valid, request=request.replace(body=body), body=encode_json(body))


async def send_record(
    client: Client,
    valid: ValidRequest,
    *,
    task: TaskIdentity | None = None,
    key_versions: KeyVersionStore | None = None,
) -> RecordResult:
    """Send a valid request, and read the answer. Raises the ``TrutoError`` of the call."""
    request = valid.request
    result = await client.fetch(build_request(valid, task=task), key_versions=key_versions)
    if result.response.stream is not None:
        return RecordResult(request=request, response=None, result=result)
    response, warnings = parse_response(request, result.value)
    if warnings:
        client.warn(f"the answer of {request}: {'; '.join(warnings)}")
    return RecordResult(request=request, response=response, result=result)


def _find_custom_fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = schema.get("properties")
    found = properties.get("custom_fields") if isinstance(properties, Mapping) else None
    return found if isinstance(found, Mapping) else {}
