"""The methods of resources beside the usual ones, as data: what is asked for, and what the CRM does.

    POST /unified/crm/accounts/assign-owner  {"id": "23423523", "owner": {"id": "u-9"}}
    POST /proxy/companies/merge              {"into": "23423523", "from": "23423524"}

`merge` gives to the first record the properties that only the second one has, and forgets the second. Both methods
are this emulator's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.emulator.http.errors import ProviderError
from airflow_provider_truto.emulator.state.fields import describe_texts
from airflow_provider_truto.emulator.state.records import Crm, Native
from airflow_provider_truto.emulator.state.resource import Resource


@dataclass(frozen=True)
class CustomMethod:
    """One such method: the schemas of its body's keys, all of them required, and what the CRM does.

    Without a `description` the capabilities tell of it only where they are asked to.
    """

    name: str
    description: str | None
    properties: Mapping[str, Any]
    run: Callable[[Crm, Mapping[str, Any]], Native]


def find_unified_methods(resource: Resource) -> Mapping[str, CustomMethod]:
    """Return the methods of the unified resource, by name."""
    return _UNIFIED.get(resource.key, {})


def find_native_methods(resource: Resource) -> Mapping[str, CustomMethod]:
    """Return the methods of the CRM's resource, by name."""
    return _NATIVE.get(resource.native, {})


def _assign_owner(crm: Crm, body: Mapping[str, Any]) -> Native:
    return crm.update(_require_text(body, "id"), {"properties": {"owner": body["owner"]}})


def _merge(crm: Crm, body: Mapping[str, Any]) -> Native:
    into, other = crm.get(_require_text(body, "into")), crm.get(_require_text(body, "from"))
    if into is other:
        raise ProviderError(422, "A record cannot be merged into itself", code="invalid", field="from")
    crm.delete(other["id"])
    return crm.update(into["id"], {"properties": {**other["properties"], **into["properties"]}})


def _require_text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderError(422, f"{name} is invalid", code="invalid", field=name)
    return value


_UNIFIED = {
    "crm/accounts": {
        "assign-owner": CustomMethod(
            name="assign-owner",
            description="Gives an account to another user.",
            properties={**describe_texts("id"), "owner": {"type": "object", "properties": describe_texts("id")}},
            run=_assign_owner,
        )
    }
}
_NATIVE = {
    "companies": {
        "merge": CustomMethod(name="merge", description=None, properties=describe_texts("into", "from"), run=_merge)
    }
}
