"""Making a rendered value typed: JSON-plain, in the types that the schema asks for, without loss.

Text that the schema wants as a number, boolean, object or array becomes that where it parses to it; ids become
text; ``Missing``, and what numpy and pandas write for nothing, become a problem, an omission or a null. What fits
nowhere is a problem, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.numbers import (
    SAFE,
    describe_number_problem,
    parse_exact_json,
    to_plain_number,
    to_whole_number,
)
from airflow_provider_truto.client.request import format_utc
from airflow_provider_truto.records.render import Missing, Unknown, mark_missing
from airflow_provider_truto.records.request import OnNone
from airflow_provider_truto.records.scalars import NO_VALUE, is_nothing, to_number, to_plain_text
from airflow_provider_truto.schemas.messages import describe_value, name_types, suggest_meaning
from airflow_provider_truto.schemas.pointers import extend_pointer

#: What a value becomes that is to be left out of its object or list.
_OMITTED = object()


@dataclass(frozen=True, slots=True)
class Formless:
    """Stands for a value that was left behind since JSON has no form for its type: a problem wherever it is sent."""

    type_name: str


@dataclass(frozen=True, kw_only=True)
class CoercionOptions:
    """That a body is to be typed by its schema, and what a template that gave nothing means."""

    on_none: OnNone = "error"
    hint: str = ""
    data_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class Coerced:
    """A value as plain JSON, the pointers at which null is meant, and the problems of what could not be converted."""

    value: Any
    nulls: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()


def coerce(
    value: Any,
    schema: Mapping[str, Any],
    *,
    on_none: OnNone = "error",
    hint: str = "",
    data_of: str | None = None,
    hide_values: bool = False,
) -> Coerced:
    """Convert a rendered value to the types of a JSON Schema; where that says nothing, only to plain JSON.

    ``on_none`` decides on every ``Missing``, and on NaN, NaT and ``pandas.NA``: ``"error"`` makes it a problem that
    ends in ``hint``, ``"omit"`` leaves the field out, ``"null"`` sends null. ``Unknown`` is always a problem. A
    ``None`` of the author's own stays null; with ``data_of``, which says in messages what the value is data of, it is
    taken as ``Missing``. Raises nothing.
    """
    work = _Coercion(root=schema, on_none=on_none, hint=hint, data_of=data_of, hide_values=hide_values)
    try:
        result = work.convert(value, schema, "")
    except RecursionError:
        result, work.problems = None, [Problem("/", "holds itself, or is nested too deeply")]
    return Coerced(
        value=None if result is _OMITTED else result,
        nulls=frozenset(work.nulls),
        problems=tuple(work.problems),
    )


@dataclass(kw_only=True)
class _Coercion:
    root: Mapping[str, Any]
    on_none: OnNone
    hint: str
    data_of: str | None
    hide_values: bool
    nulls: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def convert(self, value: Any, schema: Mapping[str, Any], at: str) -> Any:
        schema = self._resolve(schema)
        if isinstance(value, Missing):
            return self._convert_missing(value, at)
        if value is None:
            if self.data_of is not None:
                return self._convert_missing(Missing(f"is None in {self.data_of}"), at)
            self.nulls.add(at)
            return None
        if isinstance(value, str):
            return self._convert_text(to_plain_text(value), schema, at)
        if isinstance(value, bool):
            return value
        if isinstance(value, (dict, Mapping)):  # the latter alone takes ten times as long to say yes
            return self._convert_object(value, schema, at)
        if isinstance(value, (list, Sequence)) and not isinstance(value, (bytes, bytearray)):
            return self._convert_array(value, schema, at)
        return self._convert_scalar(value, schema, at)

    def _convert_missing(self, missing: Missing, at: str) -> Any:
        if isinstance(missing, Unknown):
            return self._add_problem(at, missing.reason)
        if self.on_none == "omit":
            return _OMITTED
        if self.on_none == "null":
            self.nulls.add(at)
            return None
        return self._add_problem(at, f"{missing.reason}{self.hint}")

    def _convert_text(self, text: str, schema: Mapping[str, Any], at: str) -> Any:
        types = _read_types(schema)
        if not types or "string" in types:
            return text
        parsed = _parse(text)
        is_number = isinstance(parsed, (int, float, Decimal)) and not isinstance(parsed, bool)
        if is_number and "number" in types and to_plain_number(parsed) is None:
            return self._add_number_problem(parsed, at)
        if parsed is not None and (fitting := _fit(parsed, types)) is not None:
            if isinstance(fitting, (dict, list)):
                # Null inside JSON text is data like any other None that was not written in the DAG file.
                return self.convert(mark_missing(fitting, source="the JSON text"), schema, at)
            return fitting
        got = describe_value(text, hide_values=self.hide_values)
        return self._add_problem(at, f"expects {name_types(types)}, got {got}{suggest_meaning(text, schema)}")

    def _convert_object(self, value: Mapping[Any, Any], schema: Mapping[str, Any], at: str) -> Any:
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self._add_problem(at, f"has the key {key!r}: the keys of a JSON object are text")
                continue
            key = to_plain_text(key)
            typed_item = self.convert(item, _find_member(schema, key), extend_pointer(at, key))
            if typed_item is not _OMITTED:
                result[key] = typed_item
        # An object from which everything was omitted was not given; sent empty it might wipe something.
        return _OMITTED if value and not result and self.on_none == "omit" else result

    def _convert_array(self, value: Sequence[Any], schema: Mapping[str, Any], at: str) -> Any:
        items = schema.get("items")
        items = items if isinstance(items, dict) else {}
        result: list[Any] = []
        for item in value:
            # Pointers are into what is sent: an item that is omitted moves the later ones up.
            typed_item = self.convert(item, items, extend_pointer(at, len(result)))
            if typed_item is not _OMITTED:
                result.append(typed_item)
        return _OMITTED if value and not result and self.on_none == "omit" else result

    def _convert_scalar(self, value: Any, schema: Mapping[str, Any], at: str) -> Any:
        types = _read_types(schema)
        if is_nothing(value):
            return self._convert_missing(Missing(NO_VALUE), at)
        if isinstance(value, datetime):
            try:
                return format_utc(value, "the value")
            except ValueError:
                return self._add_problem(at, "is a datetime without a time zone, or out of range in UTC")
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, UUID):
            return str(value)
        if (number := to_number(value)) is not None:
            return self._convert_number(number, types, at)
        name = value.type_name if isinstance(value, Formless) else type(value).__name__
        return self._add_problem(at, f"is a {name}, which JSON has no form for")

    def _convert_number(self, given: float | Decimal, types: tuple[str, ...], at: str) -> Any:
        if isinstance(given, bool):
            return given
        if types == ("string",) and _is_id(at) and (whole := to_whole_number(given)) is not None:
            return str(whole)
        number = to_plain_number(given)
        return self._add_number_problem(given, at) if number is None else number

    def _add_number_problem(self, value: float | Decimal, at: str) -> Any:
        return self._add_problem(
            at, f"{describe_value(value, hide_values=self.hide_values)} {describe_number_problem(value)}"
        )

    def _add_problem(self, at: str, message: str) -> Any:
        self.problems.append(Problem(at or "/", message))
        return None  # holds the place, so that checking finds no consequences

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow a local ``$ref``; one that leads nowhere or elsewhere types nothing."""
        seen = 0
        while isinstance(ref := schema.get("$ref"), str) and seen < 16:
            seen += 1
            found: Any = self.root if ref.startswith("#") else {}
            for step in ref.lstrip("#").split("/")[1:]:
                found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
            schema = found if isinstance(found, Mapping) else {}
        return schema


def _read_types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    types = schema.get("type", ())
    return (types,) if isinstance(types, str) else tuple(types)


def _find_member(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    properties = schema.get("properties")
    found = properties.get(key) if isinstance(properties, dict) else None
    found = schema.get("additionalProperties") if found is None else found
    return found if isinstance(found, dict) else {}


def _is_id(pointer: str) -> bool:
    name = pointer.rpartition("/")[2]
    return name == "id" or name.endswith("_id")


def _parse(text: str) -> Any:
    """Parse JSON, and Python's spelling of the booleans, which is what Jinja writes; ``None`` for anything else."""
    if text.strip() in {"True", "False"}:
        return text.strip() == "True"
    try:
        return parse_exact_json(text)
    except (ValueError, RecursionError):
        return None


def _fit(parsed: Any, types: tuple[str, ...]) -> Any:
    """Return the parsed value where it is of one of the types, ``None`` where it is not."""
    if isinstance(parsed, bool):
        return parsed if "boolean" in types else None
    if isinstance(parsed, (int, float, Decimal)):
        number = to_plain_number(parsed)
        if isinstance(number, float) and number.is_integer() and abs(number) <= SAFE:
            number = int(number)  # text such as 140.0 may be meant for a whole number
        wanted = {"integer", "number"} if isinstance(number, int) else {"number"}
        return number if wanted & set(types) else None
    if isinstance(parsed, dict):
        return parsed if "object" in types else None
    if isinstance(parsed, list):
        return parsed if "array" in types else None
    return None
