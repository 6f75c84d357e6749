"""Integrations and integrated accounts: which CRM a customer has connected, and whether it still works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.emulator.state.fields import Field
from airflow_provider_truto.emulator.state.resource import Resource
from airflow_provider_truto.emulator.state.resources import RESOURCES

ACCOUNT_DEFAULTS: Mapping[str, Any] = {
    "id": None,
    "tenant_id": None,
    "environment_id": None,
    "environment_integration_id": None,
    "status": "active",
    "is_sandbox": False,
    "authentication_method": "oauth2",
    "region": "wnam",
    "context": {},
    "object_store_context_fields": [],
    "last_error": None,
    "last_action_result": None,
    "created_at": "2024-01-15T09:00:00.000Z",
    "updated_at": "2024-01-15T09:00:00.000Z",
}
"""The keys of the API's record, beside `integration`, and what a seed need not say."""


@dataclass(frozen=True)
class Integration:
    """One CRM as Truto connects to it, and how this emulator lets it behave.

    `resources` are the unified resources that it has; any other is a 404. `unmapped` names unified fields that its
    mapping does not know, neither written nor read. `required` names those without which Truto refuses an update;
    one inside of another, such as `phone_numbers.number`, is only told as such by the meta routes. `id_in_body`
    lets PATCH and DELETE go to the collection, with the `id` in the body. With `shared_definitions` its meta
    schemas refer to the insides of their fields by `$ref`. All these names hold for every resource that has them.

    A CRM that `normalizes` rewrites phone numbers and times and gives ids. `unique` names the unified fields in
    which two records of one account must differ. `ignores_filters` names those by which lists are not filtered,
    without a word; its meta schemas do not have them as parameters.
    """

    name: str
    id: str
    category: str = "crm"
    resources: tuple[str, ...] = tuple(RESOURCES)
    unmapped: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    id_in_body: bool = False
    shared_definitions: bool = False
    normalizes: bool = False
    unique: tuple[str, ...] = ()
    ignores_filters: tuple[str, ...] = ()

    @property
    def summary(self) -> dict[str, str]:
        """What the record of an account tells of it."""
        return {"id": self.id, "name": self.name, "category": self.category}

    def mapped(self, resource: Resource) -> list[Field]:
        """Return the fields of a resource that the mapping of this integration knows."""
        return [field for field in resource.fields if field.name not in self.unmapped]

    def filterable(self, resource: Resource) -> list[Field]:
        """Return the fields of a resource by which this CRM filters its lists."""
        return [field for field in self.mapped(resource) if field.name not in self.ignores_filters]

    def list_required_for(self, method: str, resource: Resource) -> list[str]:
        """Return the fields of a resource without which Truto refuses this method."""
        asked = self.required if method == "update" else ()
        return [
            field.name
            for field in self.mapped(resource)
            if field.name in asked or (method == "create" and field.required)
        ]


@dataclass
class IntegratedAccount:
    """One customer's connection. `record` is what the API shows; being blocked is not part of that."""

    record: dict[str, Any]
    integration: Integration
    is_blocked: bool

    @classmethod
    def from_seed(cls, seed: Mapping[str, Any], integration: Integration) -> IntegratedAccount:
        """Return the account that a seed describes."""
        record = {**ACCOUNT_DEFAULTS, **seed, "integration": integration.summary}
        return cls(record=record, integration=integration, is_blocked=record.pop("is_blocked", False))

    def require_reauth(self, reason: str) -> None:
        """Do what Truto does with an account whose provider answered 401."""
        self.record.update(status="needs_reauth", last_error=reason)
