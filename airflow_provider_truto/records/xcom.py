"""The shape in which an answer goes to XCom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from airflow_provider_truto.client.errors import Problem, TrutoSchemaError

#: Bytes of JSON above which an answer does not go into the metadata database.
XCOM_LIMIT = 256 * 1024
#: A lone surrogate (half of a character): JSON and Python's text may hold one, UTF-8, and so a database, cannot.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def build_xcom_value(response: Any, record_id: str | None, *, without_remote_data: bool) -> dict[str, Any]:
    """Return the answer as an object with the record's ``id`` where it is known; no object goes under ``result``.

    ``without_remote_data`` drops the CRM's own record where it came although it was not asked for. Bytes, which the
    proxy API may answer, become text; raises ``ValueError`` where they are not text.
    """
    if isinstance(response, bytes):
        response = response.decode()
    of_record = {} if record_id is None else {"id": record_id}
    if not isinstance(response, dict):
        return {**of_record, "result": response}
    value = response if response.get("id") is not None else {**response, **of_record}
    return {name: item for name, item in value.items() if not (without_remote_data and name == "remote_data")}


def is_text(content: bytes) -> bool:
    """Whether bytes are text in UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def encode_json(value: Any) -> bytes:
    """Write a value as JSON; a lone surrogate stays what it is, as an escape."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def measure_json(value: Any) -> int:
    """Count the bytes of a value as JSON."""
    return len(encode_json(value))


def make_storable(value: Any) -> Any:
    """Return a value that a database takes: a lone surrogate becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(_LONE_SURROGATE.sub("\ufffd", text)) if _LONE_SURROGATE.search(text) else value


def collect_list(lines: Iterable[bytes]) -> list[Any]:
    """Gather a list for XCom. Raises ``TrutoSchemaError`` as soon as it is too large; no more is read then."""
    records: list[Any] = []
    size = 0
    for line in lines:
        size += len(line)
        if size > XCOM_LIMIT:
            message = (
                f"is needed: the list has more than the {XCOM_LIMIT} bytes that go to XCom (after {len(records)}"
                " records). With it, the records are written there as JSON Lines; or set max_records, or"
                " filter in query"
            )
            raise TrutoSchemaError(
                f"the list does not fit into XCom.\n  /output_path: {message}", [Problem("/output_path", message)]
            )
        record = json.loads(line)
        records.append(make_storable(record) if b"\\ud" in line else record)
    return records


def summarize(value: dict[str, Any], *, size: int) -> dict[str, Any]:
    """Stand in for an answer that is too large: its id, its keys and its size in bytes."""
    return {"id": value.get("id"), "truncated": True, "bytes": size, "keys": sorted(value)}
