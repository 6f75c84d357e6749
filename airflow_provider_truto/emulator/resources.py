"""The unified resources as data: which fields they have, and what the emulated CRMs call them.

A unified `number_of_employees` is stored as the property `employeeCount` of a CRM's record:
`{"id": "23423523", "properties": {"employeeCount": 120, …}}`. Field names and types are the API's, those
of the CRM are this emulator's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone
from typing import Any

from airflow_provider_truto.emulator import timestamps


@dataclass(frozen=True)
class Field:
    """One field of a resource.

    `kind` is the JSON type the CRM insists on. A `merged` object takes new keys and keeps its others.
    `normal` is the form that a normalising CRM gives to a value.
    """

    name: str
    native: str
    kind: type
    required: bool = False
    read_only: bool = False
    merged: bool = False
    normal: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Resource:
    """A unified resource, with what the capabilities say of it."""

    model: str
    model_label: str
    name: str
    description: str
    docs_url: str
    fields: tuple[Field, ...]

    @property
    def key(self) -> str:
        """`crm/accounts`, as in a path."""
        return f"{self.model}/{self.name}"


METHODS = ("list", "get", "create", "update", "delete")


def _digits(phones: list[Any]) -> list[Any]:
    """`+1 555 0100` becomes `+15550100`."""

    def normal(phone: Any) -> Any:
        digits = "".join(filter(str.isdigit, str(phone.get("number")))) if isinstance(phone, dict) else ""
        return {**phone, "number": f"+{digits}"} if digits else phone

    return [normal(phone) for phone in phones]


def _with_ids(items: list[Any]) -> list[Any]:
    """An item without an id gets its place, counted from 1."""
    return [{"id": str(place), **item} if isinstance(item, dict) else item for place, item in enumerate(items, 1)]


def _milliseconds_in_utc(text: str) -> str:
    """`2021-08-10T10:00:00+00:00` becomes `2021-08-10T10:00:00.000Z`; what is no time stays."""
    try:
        return timestamps.write(timestamps.read(text).astimezone(timezone.utc))
    except (ValueError, OverflowError):
        return text


CRM_ACCOUNTS = Resource(
    model="crm",
    model_label="CRM",
    name="accounts",
    description="The companies that the customer sells to.",
    docs_url="https://truto.one/docs/api-reference/unified-crm-api/accounts",
    fields=(
        Field("name", "name", str, required=True),
        Field("website", "website", str),
        Field("description", "about", str),
        Field("industry", "sector", str),
        Field("number_of_employees", "employeeCount", int),
        Field("owner", "owner", dict),
        Field("addresses", "addresses", list, normal=_with_ids),
        Field("phone_numbers", "phones", list, normal=_digits),
        Field("urls", "links", list),
        Field("tags", "labels", list, normal=_with_ids),
        Field("custom_fields", "customProperties", dict, merged=True),
        Field("created_at", "createdAt", str, normal=_milliseconds_in_utc),
        Field("updated_at", "updatedAt", str, read_only=True),
        Field("last_activity_at", "lastActivityAt", str, read_only=True),
    ),
)

RESOURCES = {CRM_ACCOUNTS.key: CRM_ACCOUNTS}
