"""What is wrong with a value, as sentences for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from typing import Any

from jsonschema.exceptions import ValidationError

_MAX_VALUE_LENGTH = 60
_MAX_MESSAGE_LENGTH = 300
#: Names or choices that one sentence lists; a CRM has lists of hundreds.
_MAX_LISTED = 30
#: Names that an unknown one is compared with, and characters of a name in a message.
_MAX_COMPARED = 500
_MAX_NAME_LENGTH = 100
#: JSON Schema's names of types, as a sentence calls them.
_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def describe_value(value: Any, *, hide_values: bool = False) -> str:
    """Name a value for a message: its kind, and for a scalar its shortened content."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean" if hide_values else json.dumps(value)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    kind = "the text" if isinstance(value, str) else "the number" if is_number(value) else "the value"
    if hide_values:
        return kind.replace("the ", "a ")
    try:
        text = str(value) if is_number(value) else repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = "of too many digits"
    return f"{kind} {_shorten(text, _MAX_VALUE_LENGTH)}"


def name_types(types: str | Iterable[str]) -> str:
    """Name JSON Schema types for a message: ``text or null``."""
    names = [types] if isinstance(types, str) else list(types)
    return " or ".join(_TYPE_NAMES.get(name, name) for name in names)


def explain_error(error: ValidationError, *, hide_values: bool) -> str:
    """Return in a sentence what jsonschema found."""
    got = describe_value(error.instance, hide_values=hide_values)
    wanted: Any = error.validator_value
    read_only = read_only_message(error.schema)
    if read_only:
        return read_only
    match error.validator:
        case "type":
            return f"expects {name_types(wanted)}, got {got}{suggest_meaning(error.instance, error.schema)}"
        case "format" if wanted == "date-time":
            return f"expects a date-time with its zone such as 2026-01-31T12:00:00Z, got {got}"
        case "format" if wanted == "date":
            return f"expects a date such as 2026-01-31, got {got}"
        case "format":
            return f"expects the format {wanted}, got {got}"
        case "enum":
            return f"expects one of {_list_choices(wanted)}, got {got}"
        case "minLength" if wanted == 1:
            return "must not be empty"
        case "minProperties" if wanted == 1:
            return "is empty: there is nothing in it to send"
        case "minimum":
            return f"must be {wanted} or more, got {got}"
        case "maximum":
            return f"must be {wanted} or less, got {got}"
    if hide_values:
        return f"does not meet the schema's {error.validator}"
    return _shorten(error.message, _MAX_MESSAGE_LENGTH)


def explain_unknown_key(key: str, schema: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """Return what is wrong with a key that an object does not take; ``known`` as from ``index_field_names``."""
    if key in schema.get("x-read-only", ()):
        return "is read-only: Truto sets it, leave it out"
    folded = _fold(key)
    close = [folded] if folded in known else get_close_matches(folded, islice(known, _MAX_COMPARED), n=1)
    if close:
        return f"is not a known field: did you mean `{known[close[0]][:_MAX_NAME_LENGTH]}`?"
    names = _list_names(sorted(set(known.values())))
    return f"is not a known field (known: {names}); name it in extra_fields if it is right"


def index_field_names(schema: Mapping[str, Any]) -> dict[str, str]:
    """Index the names of an object's fields by their folded form, and by that of their titles."""
    fields = {name: field for name, field in schema.get("properties", {}).items() if not read_only_message(field)}
    # People know a field by its title where its name is a code of the CRM; a name goes before a title.
    titles = {_fold(str(field["title"])): name for name, field in fields.items() if _has_title(field)}
    return {**titles, **{_fold(name): name for name in fields}}


def read_only_message(schema: Any) -> str | None:
    """Return the sentence with which a schema refuses everything."""
    sentence = schema.get("x-read-only") if isinstance(schema, Mapping) and schema.get("not") == {} else None
    return sentence if isinstance(sentence, str) else None


def suggest_meaning(value: Any, schema: Any) -> str:
    """Return what is most likely meant by text where the schema wants an object; ``""`` where nothing is."""
    if not isinstance(value, str) or not isinstance(schema, Mapping) or "object" not in str(schema.get("type")):
        return ""
    if schema.get("required") == ["id"]:
        return '; did you mean {"id": …}?'
    text = value.strip()
    if text.startswith("{") and "'" in text:
        return " (JSON has double quotes)"
    return "; did you mean body_file?" if text.endswith(".json") else ""


def is_number(value: Any) -> bool:
    """Whether a value is a number; a boolean is not."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _has_title(schema: Any) -> bool:
    return isinstance(schema, Mapping) and "title" in schema


def _list_names(items: Sequence[str]) -> str:
    more = len(items) - _MAX_LISTED
    shown = [item[:_MAX_NAME_LENGTH] for item in items[:_MAX_LISTED]]
    return ", ".join(shown + ([f"and {more} more"] if more > 0 else [])) or "none"


def _list_choices(choices: Sequence[Any]) -> str:
    more = [""] * (len(choices) - _MAX_LISTED)
    return _list_names([json.dumps(choice) for choice in choices[:_MAX_LISTED]] + more)


def _fold(name: str) -> str:
    """Make `WebSite`, `web_site` and `web-site` alike."""
    return re.sub(r"[\W_]", "", name[:_MAX_NAME_LENGTH]).lower()
