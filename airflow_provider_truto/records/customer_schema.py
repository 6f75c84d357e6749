"""The schema that Truto and the CRM say this customer's bodies have to meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_truto.client.accounts import get_integration_name
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import (
    CACHE_TTL,
    integrated_account_request,
    meta_request,
    unified_request,
)
from airflow_provider_truto.client.pages import fetch_all
from airflow_provider_truto.records.request import LIVE, RecordRequest
from airflow_provider_truto.records.validate import load_body_schema
from airflow_provider_truto.schemas.custom_fields import (
    build_custom_fields_schema,
    is_partial_for,
    replace_custom_fields,
)
from airflow_provider_truto.schemas.truto_schema import convert_schema

#: Nobody sets up a CRM with more fields than this.
_MOST_FIELDS = 20_000
#: What the resources of the CRM model are called among its fields.
ENTITIES = {"accounts": "account", "contacts": "contact", "opportunities": "opportunity"}


async def load_customer_schema(client: Client, request: RecordRequest, *, check_custom_fields: bool) -> RecordRequest:
    """Replace the schema by what Truto and the CRM say of this customer, where that is asked for."""
    if request.body is None:
        return request.replace(schema=None) if request.schema == LIVE else request
    model, account = request.model or "", request.integrated_account_id or ""
    if request.schema == LIVE:
        meta = await client.fetch_object(
            meta_request(model, request.resource, request.method, integrated_account_id=account),
            "request_body_schema",
        )
        schema = meta["request_body_schema"]
        if isinstance(schema, Mapping):
            live = convert_schema(schema)
            for warning in live.warnings:
                client.warn(f"the live schema of {request}: {warning}")
            request = request.replace(schema=_add_remote_data(live.schema), is_schema_valid=True)
        else:
            client.warn(f"Truto has no schema for the {request}: its body is not checked")
            request = request.replace(schema=None)
    if check_custom_fields:
        custom = await _load_custom_fields(client, request, account)
        base = load_body_schema(request)
        whole = replace_custom_fields(base.source if base else {"type": "object"}, custom)
        request = request.replace(schema=whole, is_schema_valid=True)
    return request


def find_custom_fields(request: RecordRequest) -> Mapping[str, Any]:
    """Return what a request's schema says of ``custom_fields``; ``{}`` where that is nothing."""
    schema = load_body_schema(request)
    properties = schema.source.get("properties") if schema else None
    found = properties.get("custom_fields") if isinstance(properties, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def names_all_custom_fields(request: RecordRequest) -> bool:
    """Whether a request's schema names every custom field that its customer's CRM has."""
    return find_custom_fields(request).get("additionalProperties") is False


def _add_remote_data(schema: dict[str, Any]) -> dict[str, Any]:
    """Add ``remote_data``, which goes to the CRM as it is, so that Truto's schema need not name it."""
    if "properties" not in schema:
        return schema
    return {**schema, "properties": {"remote_data": {"type": "object"}, **schema["properties"]}}


async def _load_custom_fields(client: Client, request: RecordRequest, account: str) -> Mapping[str, Any]:
    """Read which fields this customer's CRM has for the resource (docs/api-reference/unified-crm-api/fields)."""
    record = await client.fetch_object(integrated_account_request(account, cache_ttl=CACHE_TTL))
    listing = unified_request(
        request.model or "",
        "fields",
        "list",
        integrated_account_id=account,
        query={"limit": 100},
        cache_ttl=CACHE_TTL,
    )
    fields, is_whole = await fetch_all(client, listing, at_most=_MOST_FIELDS)
    name = get_integration_name(record) or ""
    is_partial = is_partial_for(name) or not is_whole
    if is_partial:
        client.warn(f"{name} lists its fields only in part: custom fields that it does not list are not checked")
    known = build_custom_fields_schema(fields, is_partial=is_partial, entity_type=ENTITIES[request.resource])
    for warning in known.warnings:
        client.warn(f"the fields of {name} account {account}: {warning}")
    return known.schema
