"""A quick look at a body: whether it is surely valid as it is.

Most bodies are. Those of which this is not sure take the steps of ``validate``, which say what is wrong with them: a
check here may be too strict, but never too lenient.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from airflow_provider_truto.client.names import find_customer_name, fold
from airflow_provider_truto.client.numbers import SAFE
from airflow_provider_truto.client.request import encode_json
from airflow_provider_truto.schemas.validator import Schema

_RECORD_NAMES = frozenset({"id", "recordid"})


def write_valid_body(body: Any, schema: Schema | None) -> bytes | None:
    """Return the body of a create or update as it goes on the wire; ``None`` where that takes a closer look."""
    if type(body) is not dict or not body:
        return None
    try:
        if schema is not None and not schema.is_surely_met(body):
            return None
        return encode_json(body, is_plain=True) if all(map(_is_plain_field, body, body.values())) else None
    except (ValueError, RecursionError):
        return None


def is_record_name(name: str) -> bool:
    """Whether a name in a body says which record it is of, whatever its spelling."""
    return fold(name) in _RECORD_NAMES


def _is_plain_field(name: Any, value: Any) -> bool:
    """Whether a top-level field is plain: not a name of a customer or record, and no empty list or object."""
    return type(name) is str and _is_plain_name(name) and _is_plain(value) and value != [] and value != {}


@lru_cache(maxsize=4096)
def _is_plain_name(name: str) -> bool:
    return find_customer_name(name) is None and not is_record_name(name)


def _is_plain(value: Any) -> bool:
    """Whether a value is JSON already, without nulls (they may be an accident) and without inexact numbers."""
    kind = type(value)
    if kind is str or kind is bool or kind is float:  # encode_json refuses NaN
        return True
    if kind is int:
        return -SAFE <= value <= SAFE  # type: ignore[no-any-return]
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    return False
