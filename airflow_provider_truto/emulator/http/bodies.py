"""Reading a body that must be a JSON object; what is wrong with it is a 400 of Truto."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_truto.emulator.http.errors import RefusedError, build_missing_error
from airflow_provider_truto.emulator.http.request import Request


def read_object(request: Request) -> dict[str, Any]:
    """Return the object that the body is."""
    try:
        body = request.json()
    except ValueError as error:
        raise RefusedError(400, f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise RefusedError(400, "The body must be a JSON object")
    return body


def require_names(body: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a body that lacks one of these names."""
    absent = [name for name in names if name not in body]
    if absent:
        raise build_missing_error("body_fields", *absent)


def read_text(body: Mapping[str, Any], name: str) -> str:
    """Return the text under this name."""
    require_names(body, [name])
    value = body[name]
    if not isinstance(value, str) or not value:
        raise RefusedError(400, f"{name} must be a text")
    return value
