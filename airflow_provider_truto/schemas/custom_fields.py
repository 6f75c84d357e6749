"""What one customer's CRM takes in ``custom_fields``: a schema built from the list of its fields.

The list is that of ``GET /unified/crm/fields``; the key of a custom field is the ``name`` of its object
(https://truto.one/docs/api-reference/unified-crm-api/fields).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_truto.schemas.messages import describe_value
from airflow_provider_truto.schemas.truto_schema import ConvertedSchema, limit_warnings

#: Their list is partial: "you will need to fetch the individual resource using the get endpoint"
#: (https://truto.one/docs/api-reference/unified-crm-api/fields/list).
PARTIAL_INTEGRATIONS = ("Attio", "Microsoft Dynamics 365 Sales", "Salesforce")
#: What their names have in common with their slugs, of which there are several spellings.
_PARTIAL_WORDS = ("attio", "dynamics", "salesforce")

#: What a value is, by the field's type; any other type (``file``, ``address``) takes anything.
_VALUES: dict[str, dict[str, Any]] = {
    **{kind: {"type": "string"} for kind in ("string", "text", "rich_text", "time")},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "array": {"type": "array"},
}
_NOT_EDITABLE = {"not": {}, "x-read-only": "is not editable in this CRM"}


def is_partial_for(integration_name: str) -> bool:
    """Whether the list of fields of an integration is partial; takes its name or its slug.

    Every product of these vendors counts as one of them: checking less is the safer mistake.
    """
    folded = re.sub(r"[\W_]", "", integration_name).lower()
    return any(word in folded for word in _PARTIAL_WORDS)


def build_custom_fields_schema(
    fields: Iterable[Mapping[str, Any]], *, is_partial: bool, entity_type: str = "account"
) -> ConvertedSchema:
    """Build the schema of the value of ``custom_fields`` from a CRM's list of fields.

    Fields of a different ``entity_type`` are left out, those without one are kept. By a complete list a key that it
    does not hold is a problem; a partial one lets it pass, see ``find_unlisted_fields``. A field whose
    ``is_editable`` is false is a problem by either. An object that is not a field is ignored with a warning. Raises
    nothing.
    """
    properties: dict[str, Any] = {}
    warnings: list[str] = []
    for place, field in enumerate(fields):
        name = _read_name(field)
        if name is None:
            warnings.append(f"field {place} of the CRM's list has no name and is ignored: {describe_value(field)}")
        elif field.get("entity_type") not in (None, "", entity_type):
            continue
        elif name in properties:
            warnings.append(f"custom field {name!r} is in the CRM's list twice: the first one counts")
        else:
            properties[name] = _build_value_schema(name, field, warnings)
    schema = {"type": "object", "properties": properties, "additionalProperties": is_partial}
    return ConvertedSchema(schema=schema, warnings=limit_warnings(warnings))


def find_unlisted_fields(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Name the custom fields in a value of ``custom_fields`` that a partial list does not hold.

    By a complete list there are none: they are problems there.
    """
    if not isinstance(value, Mapping) or schema.get("additionalProperties") is False:
        return []
    return [name for name in value if name not in schema.get("properties", ())]


def replace_custom_fields(body_schema: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the schema of a body with a different schema for its ``custom_fields``, which it need not have had."""
    properties = body_schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    return {**body_schema, "properties": {**properties, "custom_fields": dict(custom)}}


def _read_name(field: Any) -> str | None:
    name = field.get("name") if isinstance(field, Mapping) else None
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)  # some CRMs name fields by a number; a key in JSON is text
    return name if isinstance(name, str) and name else None


def _build_value_schema(name: str, field: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    label = field.get("label")
    title = {"title": label} if isinstance(label, str) and label else {}
    if field.get("is_editable") is False:
        return {**title, **_NOT_EDITABLE}
    kind = str(field.get("type")).lower()
    if kind in {"enum", "array"} and field.get("options"):
        choices = _build_choices(field["options"])
        if choices is None:
            warnings.append(f"the options of custom field {name!r} are not understood and not checked")
        elif kind == "enum":
            return {**title, **choices}
        else:
            return {**title, "type": "array", "items": choices}
    return {**title, **_VALUES.get(kind, {})}


def _build_choices(options: Any) -> dict[str, Any] | None:
    """Make an enum of the options' values, with their types, by which text is made a number or boolean.

    Hidden options stay: records hold them. ``None`` where an option has no value that can be compared.
    """
    if not isinstance(options, list):
        return None
    values = [option.get("value") if isinstance(option, Mapping) else None for option in options]
    types = list(dict.fromkeys(_name_type(value) for value in values))
    if None in types:
        return None
    return {"type": types[0] if len(types) == 1 else types, "enum": values}


def _name_type(value: Any) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else None
