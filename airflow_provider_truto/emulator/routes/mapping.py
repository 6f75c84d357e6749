"""Truto's half of a unified call: between the unified object and the CRM's own record.

A mapping picks the keys that it knows by name. A key that it does not know is not an error: it disappears.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_truto.emulator.http.errors import RefusedError
from airflow_provider_truto.emulator.state.accounts import Integration
from airflow_provider_truto.emulator.state.resource import Resource


def to_provider(body: dict[str, Any], *, resource: Resource, integration: Integration) -> dict[str, Any]:
    """Return what Truto sends to the CRM for a unified body; the keys of `remote_data` go along as they are."""
    properties = {field.native: body[field.name] for field in integration.mapped(resource) if field.name in body}
    remote_data = body.get("remote_data") or {}
    if not isinstance(remote_data, dict):
        raise RefusedError(400, "remote_data must be an object")
    own = remote_data.get("properties", {})
    return {**remote_data, "properties": {**properties, **own} if isinstance(own, dict) else own}


def to_unified(native: dict[str, Any], *, resource: Resource, integration: Integration) -> dict[str, Any]:
    """Return the unified object of a CRM's record; what the record does not have is absent."""
    properties = native["properties"]
    fields = {
        field.name: properties[field.native] for field in integration.mapped(resource) if field.native in properties
    }
    return {"id": native["id"], **fields}
