"""Reading a list page by page: to XCom up to a limit, or as JSON Lines to a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.sync import Listing
from airflow_provider_truto.operators._files import write_answer
from airflow_provider_truto.operators._progress import ProgressXCom
from airflow_provider_truto.records.xcom import build_xcom_value, collect_list, encode_json

if TYPE_CHECKING:
    from airflow_provider_truto.operators._record import TrutoRecordOperator


def read_list(operator: TrutoRecordOperator, listing: Listing, context: Any) -> tuple[Any, dict[str, Any]]:
    """Read a list; return its XCom value, and its outcome for the key ``truto``."""
    lines = _iterate_lines(operator, listing, ProgressXCom(operator, context))
    stored: dict[str, Any] = {}
    value: Any
    if operator.output_path is not None:
        stored = write_answer(operator.output_path, lines)
        value = {"count": listing.count, "path": stored["path"], "cursor": listing.cursor}
    else:
        value = collect_list(lines)
    told = {
        "count": listing.count,
        "cursor": listing.cursor,
        "is_partial_response": listing.is_partial_response,
        "ended_early": listing.ended_early,
    }
    return value, {**told, **stored}


def _iterate_lines(operator: TrutoRecordOperator, listing: Listing, progress: ProgressXCom) -> Iterator[bytes]:
    began = time.monotonic()
    pages = 0
    try:
        for page in listing.pages():
            pages += 1
            for record in page.items:
                yield _encode_line(operator, record)
            if operator.max_records is not None and listing.count >= operator.max_records:
                return
            progress.show(_describe_progress(listing, pages=pages, seconds=time.monotonic() - began))
    finally:
        if progress.is_shown:  # what takes seconds shows its end as well
            progress.end(_describe_progress(listing, pages=pages, seconds=time.monotonic() - began))


def _encode_line(operator: TrutoRecordOperator, record: Any) -> bytes:
    shown = build_xcom_value(record, None, without_remote_data=True) if operator.ignore_remote_data else record
    return encode_json(shown) + b"\n"


def _describe_progress(listing: Listing, *, pages: int, seconds: float) -> dict[str, Any]:
    """Return what is shown of a list that is being read: how long it is, nobody knows before its end."""
    per_second = round(listing.count / seconds, 2) if seconds else None
    return {"pages": pages, "records": listing.count, "per_second": per_second, "seconds": round(seconds)}
