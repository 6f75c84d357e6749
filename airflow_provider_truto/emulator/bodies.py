"""Reading a body that must be a JSON object; what is wrong with it is a 400 of Truto."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_truto.emulator.call import Call
from airflow_provider_truto.emulator.errors import RefusedError, missing


def read_object(call: Call) -> dict[str, Any]:
    """The object that the body is."""
    try:
        body = call.json()
    except ValueError as error:
        raise RefusedError(400, f"The body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise RefusedError(400, "The body must be a JSON object")
    return body


def require(body: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a body that lacks one of these names."""
    absent = [name for name in names if name not in body]
    if absent:
        raise missing("body_fields", *absent)


def required_text(body: Mapping[str, Any], name: str) -> str:
    """The text under this name."""
    require(body, [name])
    value = body[name]
    if not isinstance(value, str) or not value:
        raise RefusedError(400, f"{name} must be a text")
    return value
