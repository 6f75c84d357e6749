"""One field of a unified resource as data: its JSON type, what is inside it, and how CRMs treat it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_truto.emulator.http import timestamps

NUMBER = (int, float)
_JSON_TYPES: dict[Any, str] = {
    str: "string",
    int: "integer",
    NUMBER: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
}


@dataclass(frozen=True)
class Field:
    """One field of a resource.

    `kind` is the JSON type the CRM insists on, and `inside` what a schema says beside it, in Truto's dialect: the
    `properties` of an object, the `items` of a list, the `format` of a text. A `merged` object takes new keys and
    keeps its others. `normal` is the form that a normalising CRM gives to a value.
    """

    name: str
    native: str
    kind: type | tuple[type, ...]
    required: bool = False
    read_only: bool = False
    merged: bool = False
    normal: Callable[[Any], Any] | None = None
    inside: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    @property
    def json_type(self) -> str:
        """`kind` in the words of a JSON schema."""
        return _JSON_TYPES[self.kind]

    @property
    def children(self) -> Mapping[str, Any]:
        """The schemas of the keys of the object, or of the list's objects; empty where there are none."""
        properties: Mapping[str, Any] = (self.inside.get("items") or self.inside).get("properties", {})
        return properties

    def accepts(self, value: Any) -> bool:
        """Whether the CRM takes this value. To Python a boolean is a number, to a CRM it is not."""
        return value is None or (isinstance(value, self.kind) and isinstance(value, bool) is (self.kind is bool))


def describe_texts(*names: str) -> dict[str, Any]:
    """Return the schemas of keys that hold text."""
    return {name: {"type": "string"} for name in names}


def describe_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is inside an object with these keys."""
    return {"properties": dict(properties)}


def describe_list(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is inside a list of objects with these keys."""
    return {"items": {"type": "object", **describe_object(properties)}}


def normalize_phones(phones: list[Any]) -> list[Any]:
    """`+1 555 0100` becomes `+15550100`."""

    def normal(phone: Any) -> Any:
        numerals = "".join(filter(str.isdigit, str(phone.get("number")))) if isinstance(phone, dict) else ""
        return {**phone, "number": f"+{numerals}"} if numerals else phone

    return [normal(phone) for phone in phones]


def add_ids(items: list[Any]) -> list[Any]:
    """Add to every item without an id its place as one, counted from 1."""
    return [{"id": str(place), **item} if isinstance(item, dict) else item for place, item in enumerate(items, 1)]


def normalize_time(text: str) -> str:
    """`2021-08-10T10:00:00+00:00` becomes `2021-08-10T10:00:00.000Z`; text that is not a time stays."""
    try:
        return timestamps.write(timestamps.read(text))
    except (ValueError, OverflowError):
        return text


ADDRESSES = describe_list(
    describe_texts("id", "street_1", "street_2", "city", "state", "postal_code", "country", "type")
)
PHONE_NUMBERS = describe_list(
    {**describe_texts("id", "number", "extension"), "type": {"type": "string", "enum": ["work", "mobile", "fax"]}}
)
TAGS = describe_list(describe_texts("id", "name"))
URLS = describe_list(describe_texts("url", "type"))
EMAILS = describe_list({"email": {"type": "string", "required": True}, "type": {"type": "string"}})
REFERENCE = describe_object(describe_texts("id"))
DATE_TIME = {"format": "date-time"}
