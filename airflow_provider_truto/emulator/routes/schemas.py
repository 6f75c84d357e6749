"""Schemas of resources in Truto's own dialect, which is not JSON Schema.

    {"type": "object", "description": "…", "required": true, "additionalProperties": false,
     "properties": {"name": {"type": "string", "required": true}, …}}

`required` is a boolean inside the property itself, at every level. An integration with `shared_definitions` keeps the
inside of a field at `$defs` of the same schema, and refers to it by `{"$ref": "#/$defs/phone_numbers"}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_truto.emulator.state.accounts import Integration
from airflow_provider_truto.emulator.state.fields import Field, describe_texts
from airflow_provider_truto.emulator.state.methods import CustomMethod
from airflow_provider_truto.emulator.state.resource import Resource

Schema = dict[str, Any]

_ID: Schema = {"type": "string", "description": "The id of the record.", "required": True}
_REMOTE_DATA: Schema = {"type": "object", "description": "Keys of the CRM's own.", "additionalProperties": True}
_FORMAT: Schema = {
    "type": "string",
    "enum": ["unified", "raw", "normalized", "stream"],
    "default": "unified",
}
_OPTIONS: Schema = {
    "truto_response_format": _FORMAT,
    "truto_ignore_remote_data": {"type": "boolean", "default": False},
    "truto_exclude_fields": {"type": "array", "items": {"type": "string"}},
    "remote_query": {"type": "object", "additionalProperties": True},
}
_PAGING: Schema = {"limit": {"type": "integer", "default": 25}, **describe_texts("next_cursor", "truto_key_by")}


def build_resource_schema(resource: Resource) -> Schema:
    """Return everything that the resource has in the unified model, for any integration."""
    return build_object_schema(
        {"id": _ID, **{field.name: _build_property(field) for field in resource.fields}, "remote_data": _REMOTE_DATA},
        description=resource.description,
    )


def build_response_schema(resource: Resource, integration: Integration) -> Schema:
    """Return what the mapping of the integration fills of it."""
    fields, definitions = _build_properties(integration.mapped(resource), integration)
    return build_object_schema(
        {"id": _ID, **fields, "remote_data": _REMOTE_DATA}, description=resource.description, **definitions
    )


def build_body_schema(method: str, resource: Resource, integration: Integration) -> Schema:
    """Return what the mapping of the integration takes in a `create` or an `update`."""
    writable = [field for field in integration.mapped(resource) if not field.read_only]
    properties, definitions = _build_properties(writable, integration)
    needed = integration.list_required_for(method, resource)
    for name, described in properties.items():
        described["required"] = name in needed
    own_id = {"id": _ID} if method == "update" and integration.id_in_body else {}
    return build_object_schema(
        {**own_id, **properties, "remote_data": _REMOTE_DATA},
        description=f"The body of {method}.",
        required=True,
        **definitions,
    )


def build_custom_body_schema(method: CustomMethod) -> Schema:
    """Return the body of a method of `methods`."""
    return build_object_schema(
        {name: {**inner, "required": True} for name, inner in method.properties.items()},
        description=f"The body of {method.name}.",
        required=True,
    )


def build_native_body_schema(resource: Resource) -> Schema:
    """Return the body of a proxy call."""
    properties = {
        field.native: {**_build_property(field), "required": field.required}
        for field in resource.fields
        if not field.read_only
    }
    inside = build_object_schema(properties, description=f"The properties of a {resource.singular}.", required=True)
    return build_object_schema({"properties": inside}, description=f"A {resource.singular}.", required=True)


def build_query_schema(method: str, resource: Resource, integration: Integration) -> Schema:
    """Return the query parameters of a unified call, of which only the account is required."""
    filters = {field.name: {"type": field.json_type} for field in integration.filterable(resource)}
    account = {"integrated_account_id": {"type": "string", "format": "uuid", "required": True}}
    own = {**_PAGING, **filters} if method == "list" else {}
    return build_object_schema(
        {**account, **_OPTIONS, **own}, description="The query parameters.", additionalProperties=True
    )


def build_native_query_schema(method: str) -> Schema:
    """Return the query parameters of a proxy call, without the account; other ones go to the CRM."""
    return build_object_schema(
        _PAGING if method == "list" else {}, description="The query parameters.", additionalProperties=True
    )


def list_required(schema: Schema) -> list[str]:
    """Return the required properties at the top of a schema."""
    return [name for name, inner in schema["properties"].items() if inner.get("required")]


def build_object_schema(properties: Mapping[str, Any], *, description: str, **keys: Any) -> Schema:
    """Return an object of these properties and, unless the keys say otherwise, of no other."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "additionalProperties": False,
        **keys,
    }


def _build_properties(fields: Iterable[Field], integration: Integration) -> tuple[Schema, Schema]:
    """Return the properties for these fields, and `$defs` where the integration shares definitions."""
    properties, definitions = {}, {}
    for field in fields:
        described = _build_property(field, required=integration.required)
        if integration.shared_definitions and field.children:
            inside = {"type": "object", "properties": described.pop("properties", None)}
            definitions[field.name] = described.pop("items", inside)
            reference = {"$ref": f"#/$defs/{field.name}"}
            described.pop("type")
            described |= {"type": "array", "items": reference} if field.kind is list else reference
        properties[field.name] = described
    return properties, {"$defs": definitions} if definitions else {}


def _build_property(field: Field, *, required: Iterable[str] = ()) -> Schema:
    described: Schema = {"type": field.json_type, **field.inside}
    if field.description:
        described["description"] = field.description
    if field.children:
        children = {
            name: {**inner, "required": True} if f"{field.name}.{name}" in required else inner
            for name, inner in field.children.items()
        }
        if field.kind is list:
            described["items"] = {**field.inside["items"], "properties": children}
        else:
            described["properties"] = children
    return described
