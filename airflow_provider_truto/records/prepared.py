"""What the writes of one customer have in common, kept from the first that went well.

Most records of a bulk differ from it in their id and body only. One whose body is surely right as it is takes the
short way: nothing is coerced, and only what differs is looked at. Whatever is not surely right takes the long way of
``pipeline``, which says what is wrong with it.
"""

from __future__ import annotations

import math
import re
import time
from functools import lru_cache
from typing import Any

from airflow_provider_truto.client.endpoints import CACHE_TTL
from airflow_provider_truto.client.names import find_customer_name
from airflow_provider_truto.client.numbers import SAFE
from airflow_provider_truto.client.request import encode_json
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.validate import ValidRequest, is_record_name, load_body_schema

#: Ids of which no part means anything in a path.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


class PreparedWrites:
    """Updates or creates of one customer, as the one that ``request`` was.

    ``request`` was valid: its account is known, its schema is what its body was held against. A schema from Truto
    is good for as long as any answer that is remembered.
    """

    def __init__(self, request: RecordRequest) -> None:
        self._request = request
        self._schema = load_body_schema(request)
        self._account = (request.integrated_account_id or "").lower()
        self._until = time.monotonic() + CACHE_TTL if request.is_schema_valid else math.inf

    def admit(self, record_id: str | None, body: Any) -> ValidRequest | None:
        """Return the write of another record, or ``None`` where it takes the long way to say what it is."""
        if not self._is_plain_target(record_id) or type(body) is not dict or not body:
            return None
        if time.monotonic() > self._until:
            return None
        if self._schema is not None and not self._schema.is_surely_met(body):
            return None
        if not all(map(_is_plain_field, body, body.values())):
            return None
        try:
            written = encode_json(body, is_plain=True)
        except ValueError:
            return None
        return ValidRequest(request=self._request.replace(record_id=record_id, body=body), body=written)

    def _is_plain_target(self, record_id: str | None) -> bool:
        if record_id is None or self._request.record_id is None:
            return record_id is None and self._request.method == "create"
        return _PLAIN_ID.fullmatch(record_id) is not None and record_id.lower() != self._account


def _is_plain_field(name: Any, value: Any) -> bool:
    """Whether a top-level field names nothing but itself, and is not empty, which might wipe what is there."""
    return type(name) is str and _is_plain_name(name) and _is_plain(value) and value != [] and value != {}


@lru_cache(maxsize=4096)
def _is_plain_name(name: str) -> bool:
    return find_customer_name(name) is None and not is_record_name(name)


def _is_plain(value: Any) -> bool:
    """Whether a value is JSON already, without a null, which may be an accident, and without a doubtful number."""
    kind = type(value)
    if kind is str or kind is bool or kind is float:  # NaN is not written
        return True
    if kind is int:
        return -SAFE <= value <= SAFE  # type: ignore[no-any-return]
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    return False
