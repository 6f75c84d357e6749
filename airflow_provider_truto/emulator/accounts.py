"""Integrations and integrated accounts: which CRM a customer has connected, and whether it still works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

    `unmapped` names unified fields that its mapping does not know, neither written nor read. A CRM that
    `normalizes` rewrites phone numbers and times and gives ids. `unique` names the unified fields in which
    two records of one account must differ.
    """

    name: str
    id: str
    category: str = "crm"
    unmapped: tuple[str, ...] = ()
    normalizes: bool = False
    unique: tuple[str, ...] = ()


@dataclass
class IntegratedAccount:
    """One customer's connection. `record` is what the API shows; being blocked is no part of that."""

    record: dict[str, Any]
    integration: Integration
    is_blocked: bool

    @classmethod
    def seeded(cls, seed: Mapping[str, Any], integration: Integration) -> IntegratedAccount:
        """The account that a seed describes."""
        shown = {"id": integration.id, "name": integration.name, "category": integration.category}
        record = {**ACCOUNT_DEFAULTS, **seed, "integration": shown}
        return cls(record=record, integration=integration, is_blocked=record.pop("is_blocked", False))

    def require_reauth(self, reason: str) -> None:
        """What Truto does with an account whose provider answered 401."""
        self.record.update(status="needs_reauth", last_error=reason)
