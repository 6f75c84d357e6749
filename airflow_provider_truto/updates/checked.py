"""Checking an update before anything is sent: who it is for, what is in it. All problems at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, get_args
from uuid import UUID

from airflow_provider_truto.client.call import json_body, path_of, query_pairs
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.schemas.validator import Finding, Schema, packaged_schema, schema_from

OPERATION = "crm.accounts.update"
ResponseFormat = Literal["unified", "raw", "normalized", "stream"]
RESPONSE_FORMATS: tuple[str, ...] = get_args(ResponseFormat)
#: How a schema may be given: ``"packaged"`` is this package's, ``None`` checks no body.
SchemaSource = Mapping[str, Any] | str | PathLike[str] | None
PACKAGED = "packaged"
#: An idempotency key goes into a header: visible ASCII, and no longer than servers take.
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, kw_only=True)
class AccountUpdate:
    """One update of one CRM account, as the caller means it; see the operator for the fields' meaning.

    ``allow_null`` is true for null at every scalar, or the JSON pointers at which null is meant.
    """

    account_id: str
    body: Any
    integrated_account_id: str | None
    response_format: str = "unified"
    ignore_remote_data: bool = True
    exclude_fields: Sequence[str] | None = None
    remote_query: Mapping[str, Any] | None = None
    schema: SchemaSource = PACKAGED
    extra_fields: Sequence[str] | None = None
    allow_null: bool | Collection[str] = False
    allow_empty: bool = False
    idempotency_key: str | None = None


def body_schema(source: SchemaSource) -> Schema | None:
    """Compile the schema that a body is held against. Raises ``TrutoSchemaError`` where it is none."""
    if source is None:
        return None
    if source == PACKAGED:
        return packaged_schema(OPERATION, "request")
    try:
        return schema_from(source)
    except ValueError as error:
        raise _schema_error(error) from None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """An update that may be sent: its body as it goes on the wire, and warnings for the log."""

    update: AccountUpdate
    body: bytes
    warnings: tuple[str, ...] = ()


def checked(update: AccountUpdate, *, earlier: Sequence[Problem] = (), hide_values: bool = False) -> Checked:
    """Hold an update against its schemas; ``earlier`` are problems that typing found.

    Warnings are mismatches that the schema calls advisory (a phone number's type that is not documented).
    Raises ``TrutoSchemaError`` with every problem: pointers into the body are under ``/body``, arguments have
    their own names. ``hide_values`` keeps the body's values out of the messages.
    """
    schema = body_schema(update.schema)
    told = {problem.pointer for problem in earlier}
    problems = [*earlier, *(problem for problem in _argument_problems(update) if problem.pointer not in told)]
    warnings: list[str] = []
    body, unwritable = _written(update.body)
    problems += unwritable
    if schema is not None and not unwritable and "/body" not in told:
        for finding in _findings(schema, update.body, hide_values=hide_values):
            pointer = f"/body{finding.pointer}".rstrip("/")
            if pointer in told or _is_allowed(finding, update):
                continue
            if finding.is_advisory:
                warnings.append(f"{pointer}: {finding.message}")
            else:
                problems.append(Problem(pointer, finding.message))
        problems += [] if update.allow_empty else _emptiness(update.body)
    if schema is None and update.body in (None, {}) and "/body" not in told:
        problems.append(Problem("/body", "is empty: there is nothing in it to send"))
    if problems:
        raise TrutoSchemaError.of(f"the update of account {update.account_id!r} is not valid", problems)
    return Checked(update=update, body=body, warnings=tuple(warnings))


def _findings(schema: Schema, body: Any, *, hide_values: bool) -> list[Finding]:
    try:
        return schema.findings(body, hide_values=hide_values)
    except ValueError as error:
        raise _schema_error(error) from None


def _schema_error(error: ValueError) -> TrutoSchemaError:
    return TrutoSchemaError(f"{error}. Nothing was sent.", [Problem("/schema", str(error))])


def _argument_problems(update: AccountUpdate) -> list[Problem]:
    problems = [
        Problem("/account_id", finding.message)
        for finding in packaged_schema(OPERATION, "path").findings({"id": update.account_id})
    ]
    if not problems:
        problems += _refusals("/account_id", lambda: path_of(update.account_id))
    account = update.integrated_account_id
    if not account:
        problems.append(
            Problem(
                "/integrated_account_id",
                "is missing: name the customer's integrated account in the task, or a default in the connection",
            )
        )
    elif str(account).lower() == str(update.account_id).lower():
        problems.append(
            Problem(
                "/account_id",
                "is the integrated account itself: account_id is the record's id in the customer's CRM,"
                " integrated_account_id the customer's connection to it",
            )
        )
    elif not _is_uuid(account):
        problems.append(
            Problem("/integrated_account_id", f"{account!r} is no UUID (were it and account_id swapped?)")
        )
    if update.response_format not in RESPONSE_FORMATS:
        problems.append(
            Problem(
                "/response_format", f"expects one of {', '.join(RESPONSE_FORMATS)}, got {update.response_format!r}"
            )
        )
    for argument in ("exclude_fields", "extra_fields"):
        if not _are_names(getattr(update, argument)):
            problems.append(Problem(f"/{argument}", "expects a list of field names"))
    if update.remote_query is not None and not isinstance(update.remote_query, Mapping):
        problems.append(Problem("/remote_query", "expects an object: parameter names and values"))
    else:
        problems += _refusals("/remote_query", lambda: query_pairs(update.remote_query or {}))
    key = update.idempotency_key
    if key is not None and not (isinstance(key, str) and _KEY.fullmatch(key)):
        problems.append(Problem("/idempotency_key", "expects 1 to 255 visible ASCII characters without spaces"))
    return problems


def _are_names(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)


def _refusals(pointer: str, build: Callable[[], object]) -> list[Problem]:
    """What the client would refuse to put on the wire."""
    try:
        build()
    except (TypeError, ValueError) as error:
        return [Problem(pointer, str(error))]
    return []


def _is_allowed(finding: Finding, update: AccountUpdate) -> bool:
    if finding.is_null and finding.wants_scalar:
        allowed = update.allow_null
        return allowed if isinstance(allowed, bool) else finding.pointer in allowed
    if finding.keyword == "additionalProperties":
        extra = update.extra_fields if _are_names(update.extra_fields) else None
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


def _emptiness(body: Any) -> list[Problem]:
    return [
        Problem(
            f"/body/{key}",
            f"is {json.dumps(value)}: an empty list or object may wipe what the CRM holds;"
            " leave the field out, or set allow_empty=True where that is meant",
        )
        for key, value in (body.items() if isinstance(body, dict) else ())
        if value in ([], {})
    ]


def _written(body: Any) -> tuple[bytes, list[Problem]]:
    """Write a body as JSON, and say where it would arrive as something else than it is."""
    try:
        written = json_body(body)
    except (TypeError, ValueError) as error:
        return b"", [Problem("/body", f"cannot be written as JSON: {error}")]
    return written, []


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False
