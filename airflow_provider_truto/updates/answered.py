"""Reading an answer leniently: mappings are untyped, and the write has happened already."""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_truto.schemas.validator import has_packaged_schema, packaged_schema
from airflow_provider_truto.updates.request import RecordRequest


class Answered(NamedTuple):
    """The JSON answer, an integer ``id`` made text, and what is odd about it."""

    response: Any
    warnings: tuple[str, ...]


def answered(request: RecordRequest, value: Any) -> Answered:
    """Check a parsed answer: ``raw`` and the proxy API give anything, an empty answer is ``{}``. Raises nothing."""
    if request.model is None or request.response_format == "raw" or value == {}:
        return Answered(value, ())
    warnings = []
    if isinstance(value, dict) and isinstance(value.get("id"), int) and not isinstance(value["id"], bool):
        warnings.append(f"/id: came as the number {value['id']}, taken as text")
        value = {**value, "id": str(value["id"])}
    if not has_packaged_schema(request.operation):
        return Answered(value, tuple(warnings))
    excluded = set(request.exclude_fields or ())
    warnings += [
        f"{finding.pointer}: {finding.message}"
        for finding in packaged_schema(request.operation, "response").findings(value, hide_values=True)
        if not (finding.keyword == "required" and finding.pointer.removeprefix("/") in excluded)
    ]
    return Answered(value, tuple(warnings))
