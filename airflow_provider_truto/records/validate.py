"""Checking a request before anything is sent: who it is for, what is in it. All problems at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from airflow_provider_truto.client.accounts import NO_CUSTOMER, find_account_fault
from airflow_provider_truto.client.endpoints import names_record
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.client.names import find_customer_name, find_other_account, find_other_customer
from airflow_provider_truto.client.request import Request, build_path, encode_json, encode_query
from airflow_provider_truto.records.plain import is_record_name, write_valid_body
from airflow_provider_truto.records.request import (
    LIVE,
    PACKAGED,
    RESPONSE_FORMATS,
    RecordRequest,
    explain_method_slip,
    find_untyped_flags,
)
from airflow_provider_truto.schemas.packaged import load_packaged_schema
from airflow_provider_truto.schemas.validator import Finding, Schema, load_schema

#: Whose schema of path parameters counts for operations that have none: every record's id is like an account's.
_PATH_PARAMETERS = "crm.accounts.update"
#: Query parameters that arguments of their own set.
_SET_BY = {
    "integrated_account_id": "integrated_account_id",
    "truto_response_format": "response_format",
    "truto_ignore_remote_data": "ignore_remote_data",
    "truto_exclude_fields": "exclude_fields",
    "remote_query": "remote_query",
}
#: An idempotency key goes into a header: visible ASCII, and no longer than servers take.
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def load_body_schema(request: RecordRequest) -> Schema | None:
    """Compile the schema that a body is checked with; ``None`` where there is none.

    ``"live"`` must have been replaced by what Truto answered. Raises ``TrutoSchemaError`` where it is not a schema.
    """
    source = request.schema
    if source is None:
        return None
    if source == PACKAGED:
        return load_packaged_schema(request.operation, "request")
    try:
        return load_schema(source, is_valid=request.is_schema_valid)
    except ValueError as error:
        raise _make_schema_error(error) from None


class ValidRequest(NamedTuple):
    """A request that may be sent: its body as it goes on the wire, and warnings for the log.

    ``similar`` is one that was built before, from which this one differs in path, body and key only; the id, where it
    has one, needs no quoting then.
    """

    request: RecordRequest
    body: bytes | None
    warnings: tuple[str, ...] = ()
    similar: Request | None = None


def validate(
    request: RecordRequest, *, earlier: Sequence[Problem] = (), is_typed: bool = False, hide_values: bool = False
) -> ValidRequest:
    """Check a request with its schemas; ``earlier`` are problems that were found before, as by coercion.

    ``is_typed``: the body came out of ``coerce``, so that it is plain JSON.

    Warnings are mismatches that the schema calls advisory (a phone number's type that is not documented).
    Raises ``TrutoSchemaError`` with every problem: pointers into the body are under ``/body``, arguments have
    their own names. ``hide_values`` keeps the body's values out of the messages.
    """
    schema = load_body_schema(request)
    told = {problem.pointer for problem in earlier}
    problems = [*earlier, *(problem for problem in _find_argument_problems(request) if problem.pointer not in told)]
    warnings: list[str] = []
    body = write_valid_body(request.body, schema) if request.needs_body else None
    if body is None and (request.body is not None or request.needs_body):
        body, unwritable = _write(request.body, is_plain=is_typed)
        problems += unwritable
        if not unwritable and "/body" not in told:
            found, warnings = _find_body_problems(request, schema, hide_values=hide_values)
            problems += [problem for problem in found if problem.pointer not in told]
    if problems:
        raise TrutoSchemaError.of(f"the {request} is not valid", problems)
    return ValidRequest(request=request, body=body, warnings=tuple(warnings))


def _find_body_problems(
    request: RecordRequest, schema: Schema | None, *, hide_values: bool
) -> tuple[list[Problem], list[str]]:
    """Return the problems of a body that is JSON, and its warnings: what the schema calls advisory."""
    if request.is_read:
        return [Problem("/body", f"{request.method} takes no body: leave it out")], []
    problems: list[Problem] = []
    warnings: list[str] = []
    for finding in _find_in_schema(schema, request.body, hide_values=hide_values) if schema else ():
        pointer = f"/body{finding.pointer}".rstrip("/")
        if _is_allowed(finding, request):
            continue
        if finding.is_advisory:
            warnings.append(f"{pointer}: {finding.message}")
        else:
            problems.append(Problem(pointer, _describe(finding, request)))
    told = {problem.pointer for problem in problems}
    problems += [problem for problem in _find_name_problems(request, schema) if problem.pointer not in told]
    if request.body in (None, {}) and request.needs_body and not problems:
        problems.append(Problem("/body", "is empty: there is nothing in it to send"))
    if request.schema is not None and request.method == "update" and not request.allow_empty:
        problems += _find_empty_values(request.body)
    return problems, warnings


def explain_unknown_field(request: RecordRequest, path: Sequence[str | int]) -> str | None:
    """Return why no body of these requests can have a field; ``None`` where it may, or only a live schema tells.

    ``path`` has names and places in lists. Raises ``TrutoSchemaError`` where the schema is not one.
    """
    if request.schema == LIVE or (schema := load_body_schema(request)) is None:
        return None
    unknown = schema.explain_unknown(path)
    if unknown is None or any(_opens(name, unknown[0]) for name in request.extra_fields or ()):
        return None
    return unknown[1]


def _find_name_problems(request: RecordRequest, schema: Schema | None) -> list[Problem]:
    """Return the problems of names in a body that look like a choice of customer or record: Truto drops them.

    A field of this name is not a problem where the caller's schema or ``extra_fields`` has it.
    """
    body = request.body if isinstance(request.body, dict) else {}
    properties = schema.source.get("properties") if schema else None
    known = properties if isinstance(properties, Mapping) else {}
    extra = request.extra_fields if _are_names(request.extra_fields) else None

    def is_field(name: str) -> bool:
        pointer = f"/{name.replace('~', '~0').replace('/', '~1')}"
        return name in known or any(_opens(one, pointer) for one in extra or ())

    problems = [
        Problem(
            f"/body/{name}",
            f"chooses no customer in a body: this one would go to {request.integrated_account_id}. Did you mean the"
            f" argument {meant}? Where the CRM has such a field, name it in extra_fields",
        )
        for name in body
        if isinstance(name, str) and (meant := find_customer_name(name)) and not is_field(name)
    ]
    if request.record_id is not None:
        message = f"is another record's id than {request.id_name}: the request is for one of them"
        problems += [
            Problem(f"/body/{name}", message)
            for name, other in body.items()
            if isinstance(name, str)
            and is_record_name(name)
            and other is not None
            and str(other) != request.record_id
            and not is_field(name)
        ]
    return problems


def _describe(finding: Finding, request: RecordRequest) -> str:
    return f"{finding.message} ({request.text_advice})" if finding.wants_text else finding.message


def _find_in_schema(schema: Schema, body: Any, *, hide_values: bool) -> list[Finding]:
    try:
        return schema.check(body, hide_values=hide_values)
    except ValueError as error:
        raise _make_schema_error(error) from None


def _make_schema_error(error: ValueError) -> TrutoSchemaError:
    return TrutoSchemaError(f"{error}. Nothing was sent.", [Problem("/schema", str(error))])


def _find_argument_problems(request: RecordRequest) -> list[Problem]:
    problems = [
        problem
        for name in ("model", "resource", "method")
        if (value := getattr(request, name)) is not None
        for problem in _try_building(f"/{name}", build_path, value)
    ]
    if (slip := explain_method_slip(request.method)) is not None:
        problems.append(Problem("/method", slip))
    problems += _find_id_problems(request)
    problems += _find_account_problems(request)
    if request.response_format not in RESPONSE_FORMATS:
        expected = ", ".join(RESPONSE_FORMATS)
        problems.append(Problem("/response_format", f"expects one of {expected}, got {request.response_format!r}"))
    problems += find_untyped_flags(request, "ignore_remote_data", "allow_empty")
    if isinstance(request.allow_null, str) or not isinstance(request.allow_null, (bool, Collection)):
        problems.append(Problem("/allow_null", "expects true, false, or the JSON pointers at which null is meant"))
    for argument in ("exclude_fields", "extra_fields"):
        if not _are_names(getattr(request, argument)):
            problems.append(Problem(f"/{argument}", "expects a list of field names"))
    problems += _find_query_problems(request)
    key = request.idempotency_key
    if key is not None and not (isinstance(key, str) and _KEY.fullmatch(key)):
        problems.append(Problem("/idempotency_key", "expects 1 to 255 visible ASCII characters without spaces"))
    return problems


def _find_query_problems(request: RecordRequest) -> list[Problem]:
    problems: list[Problem] = []
    for argument in ("query", "remote_query"):
        value = getattr(request, argument)
        if value is None:
            continue
        if not isinstance(value, Mapping):
            problems.append(Problem(f"/{argument}", "expects an object: parameter names and values"))
        else:
            problems += _try_building(f"/{argument}", encode_query, value)
    for name in request.query if isinstance(request.query, Mapping) else ():
        if name in _SET_BY:
            problems.append(Problem(f"/query/{name}", f"is set by the argument {_SET_BY[name]}, not in the query"))
        elif find_other_account([name]) or (request.model is not None and find_other_customer([name])):
            message = (
                f"chooses no customer in a query: this request is for {request.integrated_account_id}. Name the"
                " customer by integrated_account_id or tenant_id, as arguments of their own"
            )
            problems.append(Problem(f"/query/{name}", message))
    return problems


def _find_id_problems(request: RecordRequest) -> list[Problem]:
    at = f"/{request.id_name}"
    if request.record_id is None and request.method in {"update", "delete"} and not request.needs_id:
        if names_record(request.body):
            return []
        return [Problem(at, "is missing: give the record's id, or a body with the id of the record")]
    if request.record_id is None and not request.needs_id:
        return [Problem(at, "is missing: get needs the record's id")] if request.method == "get" else []
    if request.method not in {"get", "update", "delete"}:
        return [
            Problem(
                at, f"{request.method} takes no record id: leave it out, or for a custom method put it into the body"
            )
        ]
    schema = load_packaged_schema(request.operation, "path") or load_packaged_schema(_PATH_PARAMETERS, "path")
    findings = schema.check({"id": request.record_id}) if schema else ()
    problems = [Problem(at, _describe(finding, request)) for finding in findings]
    return problems or _try_building(at, build_path, request.record_id or "")


def _find_account_problems(request: RecordRequest) -> list[Problem]:
    account = request.integrated_account_id
    if account is None and request.tenant_id is not None:
        return []  # it was not looked up, for another reason that is told
    if not account:
        return [NO_CUSTOMER]
    if (fault := find_account_fault(account)) is not None:
        return [Problem("/integrated_account_id", fault)]
    if account.lower() == str(request.record_id).lower():
        message = (
            f"is the integrated account itself: {request.id_name} is the record's id in the customer's CRM,"
            " integrated_account_id the customer's connection to it"
        )
        return [Problem(f"/{request.id_name}", message)]
    return []


def _are_names(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)


def _try_building(pointer: str, build: Callable[[Any], object], value: Any) -> list[Problem]:
    """Return what the client would refuse to put on the wire."""
    try:
        build(value)
    except (TypeError, ValueError) as error:
        return [Problem(pointer, str(error))]
    return []


def _is_allowed(finding: Finding, request: RecordRequest) -> bool:
    if finding.is_null and finding.wants_scalar:
        allowed = request.allow_null
        return allowed if isinstance(allowed, bool) else finding.pointer in allowed
    if finding.keyword in {"additionalProperties", "x-read-only"}:
        extra = request.extra_fields if _are_names(request.extra_fields) else None
        return any(_opens(name, finding.pointer) for name in extra or ())
    return False


def _opens(extra: str, pointer: str) -> bool:
    """Whether an entry of ``extra_fields`` names this key: a top-level name, or a pointer (``*``: any item)."""
    if not extra.startswith("/"):
        return pointer == f"/{extra.replace('~', '~0').replace('/', '~1')}"
    wanted, found = extra.split("/"), pointer.split("/")
    return len(wanted) == len(found) and all(
        step in {"*", actual} for step, actual in zip(wanted, found, strict=True)
    )


def _find_empty_values(body: Any) -> list[Problem]:
    return [
        Problem(
            f"/body/{key}",
            f"is {json.dumps(value)}: an empty list or object may wipe what the CRM holds;"
            " leave the field out, or set allow_empty=True where that is meant",
        )
        for key, value in (body.items() if isinstance(body, dict) else ())
        if value in ([], {})
    ]


def _write(body: Any, *, is_plain: bool) -> tuple[bytes, list[Problem]]:
    """Write a body as JSON, and say where it would arrive as something else than it is."""
    try:
        written = encode_json(body, is_plain=is_plain)
    except (TypeError, ValueError) as error:
        return b"", [Problem("/body", f"cannot be written as JSON: {error}")]
    return written, []
