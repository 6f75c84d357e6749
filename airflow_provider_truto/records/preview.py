"""What a write would change in the record as it is now, shown before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.records.build import build_request
from airflow_provider_truto.records.diff import Change, hash_preview, list_changes
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards
from airflow_provider_truto.records.validate import ValidRequest


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a write would change in the record as it is now, and a hash of both; nothing was sent."""

    changes: tuple[Change, ...]
    hash: str

    def as_dict(self, *, hide_values: bool = False) -> dict[str, Any]:
        """Return the preview as JSON: pointers with values before and after, or under ``hide_values`` without."""
        shown = [{"pointer": change.pointer} if hide_values else dict(change._asdict()) for change in self.changes]
        return {"hash": self.hash, "changes": shown}


def make_preview(valid: ValidRequest, record: Mapping[str, Any]) -> Preview:
    """Return what a valid request would change in the record as it is now, and its hash."""
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


def check_expected(safeguards: Safeguards, preview: Preview, request: RecordRequest) -> None:
    """Raise ``TrutoSchemaError`` where the hash is not ``expect`` and the write would change something."""
    if safeguards.expect is None or safeguards.expect == preview.hash or not preview.changes:
        return
    names = ", ".join(change.pointer or "/" for change in preview.changes)
    message = (
        "is not the hash of what would be changed now: the record, or what is to be sent, is not as it was previewed."
        f" It would change {names}. Preview again, and decide on that. (Where an earlier try of this task lost its"
        " answer, the CRM may have taken the write in its own form already: look at the record)"
    )
    raise TrutoSchemaError.of(f"the {request} was not previewed like this", [Problem("/expect", message)])
