"""A quick look at a body: whether it is surely valid as it is.

Most bodies are. Those of which this is not sure take the steps of ``validate``, which say what is wrong with them: a
check here may be too strict, but never too lenient.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from airflow_provider_truto.client.names import find_customer_name, fold
from airflow_provider_truto.client.numbers import SAFE
from airflow_provider_truto.client.request import encode_json
from airflow_provider_truto.schemas.validator import Schema

_RECORD_NAMES = frozenset({"id", "recordid"})
_TEXT = frozenset({str})


def write_valid_body(body: Any, schema: Schema | None) -> bytes | None:
    """Return the body of a create or update as it goes on the wire; ``None`` where that takes a closer look."""
    if type(body) is not dict or not body:
        return None
    try:
        if schema is not None and not schema.is_surely_met(body):
            return None
        return encode_json(body, is_plain=True) if _is_plain_body(body) else None
    except (ValueError, RecursionError):
        return None


def is_record_name(name: str) -> bool:
    """Whether a name in a body says which record it is of, whatever its spelling."""
    return fold(name) in _RECORD_NAMES


def _is_plain_body(body: dict[Any, Any]) -> bool:
    """Whether no top-level field names a customer or record or is an empty list or object, and all are plain."""
    values = body.values()
    is_named = _has_text_keys(body) and all(map(_is_plain_name, body))
    return is_named and [] not in values and {} not in values and _are_plain(values)


@lru_cache(maxsize=4096)
def _is_plain_name(name: str) -> bool:
    return find_customer_name(name) is None and not is_record_name(name)


def _are_plain(values: Iterable[Any]) -> bool:
    """Whether values are JSON already, without nulls (they may be an accident) and without inexact numbers."""
    # A loop, and no call for each value: most are text.
    for value in values:
        kind = type(value)
        if kind is str or kind is bool or kind is float:  # encode_json refuses NaN
            continue
        if kind is int:
            is_plain = -SAFE <= value <= SAFE
        elif kind is dict:
            is_plain = _has_text_keys(value) and _are_plain(value.values())
        else:
            is_plain = kind is list and _are_plain(value)
        if not is_plain:
            return False
    return True


def _has_text_keys(value: dict[Any, Any]) -> bool:
    return _TEXT.issuperset(map(type, value))
