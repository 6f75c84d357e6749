"""Reading an answer leniently: mappings are untyped, and the write has happened already."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.schemas.packaged import load_packaged_schema

#: Methods whose answer is about the record that was named.
_ABOUT_ONE = frozenset({"get", "update", "delete"})
_LONGEST_ID = 200


class ParsedResponse(NamedTuple):
    """The JSON answer, an integer ``id`` made text, and what is odd about it."""

    response: Any
    warnings: tuple[str, ...]


def parse_response(request: RecordRequest, value: Any) -> ParsedResponse:
    """Check a parsed answer: ``raw`` and the proxy API give anything, an empty answer is ``{}``. Raises nothing."""
    if request.model is None or request.response_format == "raw" or value == {}:
        return ParsedResponse(value, ())
    warnings = []
    if (other := find_other_record(request, value)) is not None:
        warnings.append(f"/id: {describe_other_record(request, other)}")
    if isinstance(value, dict) and isinstance(value.get("id"), int) and not isinstance(value["id"], bool):
        warnings.append(f"/id: came as the number {value['id']}, taken as text")
        value = {**value, "id": str(value["id"])}
    schema = load_packaged_schema(request.operation, "response")
    excluded = request.exclude_fields or ()
    warnings += [
        f"{finding.pointer}: {finding.message}"
        for finding in (schema.check(value, hide_values=True) if schema else ())
        if not (finding.keyword == "required" and finding.pointer.removeprefix("/") in excluded)
    ]
    return ParsedResponse(value, tuple(warnings))


def find_other_record(request: RecordRequest, value: Any) -> str | None:
    """Return the id of an answer that is not about the record that was asked for, ``None`` for a right one.

    Only the unified API says what an ``id`` is; an answer without one says nothing.
    """
    asked = request.record_id
    if request.model is None or request.response_format not in {"unified", "normalized"} or asked is None:
        return None
    found = value.get("id") if isinstance(value, dict) and request.method in _ABOUT_ONE else None
    if isinstance(found, bool) or not isinstance(found, (str, int)) or found == "" or _is_same_id(asked, str(found)):
        return None
    return str(found)


def _is_same_id(asked: str, found: str) -> bool:
    # Salesforce takes its ids in 15 characters, and answers them in 18.
    return asked.casefold() == found.casefold() or (len(asked) == 15 and len(found) == 18 and found.startswith(asked))


def describe_other_record(request: RecordRequest, found: str) -> str:
    """Return the sentence that an answer is about another record, and what that may mean."""
    return (
        f"the answer is about record {found[:_LONGEST_ID]!r}, {request.id_name} was {request.record_id!r}. A CRM that"
        " merged the two does this rightly; if it did not, the answer is another request's: look at both records"
    )
