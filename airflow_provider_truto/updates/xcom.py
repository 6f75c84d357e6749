"""The shape in which an answer goes to XCom."""

from __future__ import annotations

import json
from typing import Any

#: Bytes of JSON above which an answer does not go into the metadata database.
XCOM_LIMIT = 256 * 1024


def xcom_value(response: Any, account_id: str, *, without_remote_data: bool) -> dict[str, Any]:
    """Give the answer as an object that always has ``id``; anything but an object goes under ``result``.

    ``without_remote_data`` drops the CRM's own record where it came although it was not asked for.
    """
    if not isinstance(response, dict):
        return {"id": account_id, "result": response}
    value = response if response.get("id") is not None else {**response, "id": account_id}
    return {name: item for name, item in value.items() if not (without_remote_data and name == "remote_data")}


def json_size(value: Any) -> int:
    """Count the bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def summary(value: dict[str, Any], *, size: int) -> dict[str, Any]:
    """Stand in for an answer that is too large: its id, its keys and its size in bytes."""
    return {"id": value["id"], "truncated": True, "bytes": size, "keys": sorted(value)}
