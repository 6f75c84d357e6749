"""Reading a list page by page: to XCom up to a limit, or as JSON Lines to a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.sync import Listing
from airflow_provider_truto.operators._files import write_answer
from airflow_provider_truto.records.xcom import build_xcom_value, collect_list, encode_json

if TYPE_CHECKING:
    from airflow_provider_truto.operators._record import TrutoRecordOperator


def read_list(operator: TrutoRecordOperator, listing: Listing) -> tuple[Any, dict[str, Any]]:
    """Read a list; return its XCom value, and its outcome for the key ``truto``."""
    lines = _iterate_lines(operator, listing)
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


def _iterate_lines(operator: TrutoRecordOperator, listing: Listing) -> Iterator[bytes]:
    for page in listing.pages():
        for record in page.items:
            shown = (
                build_xcom_value(record, None, without_remote_data=True) if operator.ignore_remote_data else record
            )
            yield encode_json(shown) + b"\n"
        if operator.max_records is not None and listing.count >= operator.max_records:
            return
