"""Truto's own schemas, as its meta endpoints answer them, converted to JSON Schemas of draft 2020-12.

The dialect has ``type, $ref, properties, items, enum, description, required, default, additionalProperties, format``;
``required`` may be a boolean of the property itself
(https://truto.one/docs/api-reference/admin/unified-model-docs). Truto uses its schemas as documentation only, so
they are read leniently: what cannot be read opens its node (unlisted keys pass) and is named in a warning. That goes
for every keyword that the dialect does not have, such as ``anyOf`` or ``pattern``.

- A boolean ``required`` goes into the list of the object around it. ``default`` is never kept.
- An object that lists ``properties`` and says nothing of others is closed, since Truto drops other keys without a
  word. An explicit ``additionalProperties`` stands; without ``properties`` an object is free.
- What stands beside a local ``$ref`` is merged with its target into one object, which knows the properties of both;
  one that both describe must meet both. Of any other keyword that is given twice the nearest counts: the node's own,
  then the target's. Draft 2020-12 applies each by itself, by which closed objects would refuse one another's
  properties.
- ``custom_fields`` and ``remote_data`` of the root are free objects.

Every schema comes from a server, so the work that it can ask for is bounded; the rest of it is left open.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import unquote

from airflow_provider_truto.schemas.messages import describe_value
from airflow_provider_truto.schemas.pointers import extend_pointer

#: A body's schema has some hundred nodes, five deep; beyond these limits lies a mistake. They keep the validator,
#: which recurses, from Python's limit and from taking seconds.
_MAX_DEPTH = 32
_MAX_NODES = 5_000
#: Schemas and members of schemas that are read, those that are read again because of a reference included.
_MAX_STEPS = 100_000
#: Names in a list of names, such as those that an object requires.
_MAX_NAMES = 1_000
#: Warnings that are returned, and characters of a name or reference in one.
_MAX_WARNINGS = 50
_MAX_NAME_LENGTH = 100
_MAX_REFERENCE_LENGTH = 1_000
_FREE_AT_THE_TOP = ("custom_fields", "remote_data")
_FREE_OBJECT = {"type": "object", "additionalProperties": True}
_DEFINITIONS = "#/$defs/"
_ABSENT = object()

#: The dialect's names of types and what they are in JSON Schema: a type and a format. ``None`` checks nothing.
_TYPES: dict[str, tuple[str, str | None] | None] = {
    **{name: (name, None) for name in ("string", "number", "integer", "boolean", "object", "array", "null")},
    **dict.fromkeys(("text", "rich-text", "time", "uuid", "uri", "url", "email"), ("string", None)),
    **dict.fromkeys(("date-time", "datetime"), ("string", "date-time")),
    "date": ("string", "date"),
    "int": ("integer", None),
    **dict.fromkeys(("float", "double", "decimal"), ("number", None)),
    "bool": ("boolean", None),
    **dict.fromkeys(("any", "unknown", "file", "json"), None),
}
#: Where definitions stand, and what says nothing about a value: neither read nor warned of.
_IGNORED = frozenset(
    {"$ref", "$defs", "definitions", "default", "title", "example", "examples"}
    | {"$schema", "$id", "$anchor", "$comment"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedSchema:
    """A JSON Schema of draft 2020-12, and a warning for everything of its source that it does not check."""

    schema: dict[str, Any]
    warnings: tuple[str, ...] = ()


def convert_schema(meta_schema: Mapping[str, Any]) -> ConvertedSchema:
    """Convert a schema of Truto's meta endpoints; see the module for the rules.

    References are followed within the schema only: one to anywhere else is never fetched, its node is left open.
    Warnings begin with a JSON pointer into the value that the schema is for (``*`` is any item or key). Raises
    ``ValueError`` where the schema is not an object, and nothing else.
    """
    if not isinstance(meta_schema, Mapping):
        raise ValueError(f"a meta schema is an object, not {describe_value(meta_schema)}")  # noqa: TRY004
    conversion = _Conversion(root=meta_schema)
    schema = conversion.convert_root()
    return ConvertedSchema(schema=schema, warnings=limit_warnings(conversion.warnings))


def limit_warnings(warnings: Collection[str]) -> tuple[str, ...]:
    """Return the first warnings, and how many more there are."""
    more = len(warnings) - _MAX_WARNINGS
    return (*islice(warnings, _MAX_WARNINGS), *([f"and {more} more like these"] if more > 0 else []))


@dataclass(kw_only=True)
class _Node:
    """The schemas that describe one value, merged: the nearest first, those of its members still unread."""

    parts: list[Mapping[str, Any]] = field(default_factory=list)
    keywords: dict[str, Any] = field(default_factory=dict)
    required: dict[str, None] = field(default_factory=dict)
    properties: dict[str, list[Any]] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    additional: bool | Mapping[str, Any] | None = None
    #: The last step of the first reference that was followed.
    reference_name: str | None = None
    #: Something could not be read that may have listed more properties.
    is_open: bool = False


@dataclass(kw_only=True)
class _Conversion:
    root: Mapping[str, Any]
    #: The texts, each once, in the order in which they were found.
    warnings: dict[str, None] = field(default_factory=dict)
    nodes: int = 0
    steps: int = 0
    names: dict[tuple[object, ...], str] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    #: Definitions that are referred to and not written yet: name, node, pointer.
    waiting: deque[tuple[str, _Node, str]] = field(default_factory=deque)

    def convert_root(self) -> dict[str, Any]:
        node = self.merge([self.root], "")
        if node.properties or node.additional is not None:
            for name in _FREE_AT_THE_TOP:
                if name in node.properties or name in node.required or isinstance(node.additional, Mapping):
                    node.properties[name] = [_FREE_OBJECT]
        root = self.write(node, "", depth=0)
        root.setdefault("type", "object")
        definitions: dict[str, dict[str, Any]] = {}
        # A reference costs no depth and no recursion: its target waits here.
        while self.waiting:
            name, node, at = self.waiting.popleft()
            definitions[name] = self.write(node, at, depth=0)
        return {**root, "$defs": definitions} if definitions else root

    def convert_node(self, schemas: Sequence[Any], at: str, depth: int) -> dict[str, Any]:
        """Convert a node that all of the given schemas describe."""
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            self.warn("", f"its schema has more than {_MAX_NODES:,} nodes")
            return {}
        if depth > _MAX_DEPTH:
            self.warn(at, f"its schema is nested more than {_MAX_DEPTH} deep")
            return {}
        node = self.merge(schemas, at)
        if node.reference_name is None:
            return self.write(node, at, depth)
        parts = [part for part in node.parts if _has_own_keywords(part)]
        if not parts:
            return {}
        own = schemas[0].get("description") if isinstance(schemas[0], Mapping) else None
        reference = {"$ref": _DEFINITIONS + self.define(node, parts, at)}
        return {**reference, "description": own} if isinstance(own, str) else reference

    def define(self, node: _Node, parts: Sequence[Mapping[str, Any]], at: str) -> str:
        """Return the name of a merged node's definition; each is converted once, so that circles close."""
        key = (*map(id, parts), node.is_open)
        if key not in self.names:
            name = re.sub("[^A-Za-z0-9_-]", "_", (node.reference_name or "root")[:60])
            self.uses[name] = uses = self.uses.get(name, 0) + 1
            # No name has a dot of its own, so that a numbered one differs from all of them.
            self.names[key] = name = name if uses == 1 else f"{name}.{uses}"
            self.waiting.append((name, node, at))
        return self.names[key]

    def write(self, node: _Node, at: str, depth: int) -> dict[str, Any]:
        """Write a merged node as a JSON Schema."""
        schema = {keyword: value for keyword, value in node.keywords.items() if value is not None}
        if "type" not in node.keywords and bool(node.properties) != bool(node.items):
            schema["type"] = "object" if node.properties else "array"
        properties = {
            name: self.convert_node(schemas, extend_pointer(at, str(name)[:_MAX_NAME_LENGTH]), depth + 1)
            for name, schemas in node.properties.items()
        }
        if node.items:
            schema["items"] = self.convert_node(node.items, extend_pointer(at, "*"), depth + 1)
        if node.additional is True:
            schema["additionalProperties"] = True
        elif isinstance(node.additional, Mapping):
            additional = self.convert_node([node.additional], extend_pointer(at, "*"), depth + 1)
            schema["additionalProperties"] = additional
        elif not node.is_open and (node.additional is False or properties):
            schema["additionalProperties"] = False
            for name in node.required:  # what is required is known
                properties.setdefault(name, {})
        if properties:
            schema["properties"] = properties
        if node.required:
            schema["required"] = list(node.required)
        return schema

    def merge(self, schemas: Sequence[Any], at: str) -> _Node:
        """Merge the schemas of one node with everything that their references lead to."""
        node = _Node()
        waiting = deque(schemas)
        seen: set[int] = set()
        is_circle = False
        while waiting:
            schema = waiting.popleft()
            if schema is True or id(schema) in seen:
                continue
            if not isinstance(schema, Mapping):
                self.open(node, at, f"its schema is {describe_value(schema)}")
                continue
            self.steps += _count_members(schema)
            if self.steps > _MAX_STEPS:
                self.open(node, "", f"its schema takes more than {_MAX_STEPS:,} steps to be read")
                continue
            seen.add(id(schema))
            node.parts.append(schema)
            self.read_keywords(schema, node, at)
            reference = schema.get("$ref")
            if reference is None:
                continue
            target = self.find_target(reference)
            if target is _ABSENT:
                self.open(node, at, f"its $ref, {describe_value(reference)}, leads out of the schema or nowhere")
                continue
            node.reference_name = node.reference_name or str(reference).rpartition("/")[2].lstrip("#") or "root"
            waiting.append(target)
            is_circle = is_circle or id(target) in seen
        if is_circle and not any(map(_has_own_keywords, node.parts)):
            self.warn(at, "its $ref leads back to itself")
        return node

    def read_keywords(self, schema: Mapping[str, Any], node: _Node, at: str) -> None:
        """Take over one schema's keywords, for which nothing nearer was given."""
        for keyword, read in _READERS.items():
            value = schema.get(keyword)
            if value is not None and not read(node, value):
                self.open(node, at, f"its `{keyword}` is {describe_value(value)}, which is not understood")
        for keyword in schema:
            if keyword not in _READERS and keyword not in _IGNORED:
                self.open(node, at, f"its `{keyword[:_MAX_NAME_LENGTH]}` is not a keyword that is read here")
        for name in _list_unknown_types(schema.get("type")):
            self.warn(at, f"its type, {describe_value(name)}, is not known")

    def open(self, node: _Node, at: str, why: str) -> None:
        self.warn(at, why)
        node.is_open = True

    def warn(self, at: str, why: str) -> None:
        self.warnings[f"{at or '/'} is not checked in full: {why}"] = None

    def find_target(self, reference: Any) -> Any:
        """Find what a reference leads to within the schema; ``_ABSENT`` where that is nothing."""
        if not isinstance(reference, str) or not reference.startswith("#") or len(reference) > _MAX_REFERENCE_LENGTH:
            return _ABSENT
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            return _ABSENT
        found: Any = self.root
        for step in fragment.split("/")[1:]:
            if isinstance(found, Mapping):
                found = found.get(step.replace("~1", "/").replace("~0", "~"), _ABSENT)
            elif isinstance(found, list) and re.fullmatch("[0-9]{1,6}", step) and int(step) < len(found):
                found = found[int(step)]
            else:
                return _ABSENT
        return found


def _read_properties(node: _Node, value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    for name, child in value.items():
        node.properties.setdefault(name, []).append(child)
        if isinstance(child, Mapping) and child.get("required") is True:
            node.required[name] = None
    return True


def _read_required(node: _Node, value: Any) -> bool:
    if _are_names(value):
        node.required |= dict.fromkeys(value)
        return True
    return isinstance(value, bool)  # is read with the properties of the object around it


def _read_items(node: _Node, value: Any) -> bool:
    node.items.append(value)
    return True


def _read_additional(node: _Node, value: Any) -> bool:
    if node.additional is None and isinstance(value, (bool, Mapping)):
        node.additional = value
    return isinstance(value, (bool, Mapping))


def _read_description(node: _Node, value: Any) -> bool:
    if isinstance(value, str):
        node.keywords.setdefault("description", value)
    return True


def _read_format(node: _Node, value: Any) -> bool:
    if isinstance(value, str):
        node.keywords.setdefault("format", value)
    return isinstance(value, str)


def _read_enum(node: _Node, value: Any) -> bool:
    is_right = isinstance(value, list) and value != [] and all(map(_is_scalar, value))
    if is_right:
        node.keywords.setdefault("enum", value)
    return is_right


def _read_type(node: _Node, value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    if not _are_names(names) or not names:
        return False
    found = [_TYPES.get(_fold(name)) for name in names]
    types = list(dict.fromkeys(kind[0] for kind in found if kind is not None))
    if None in found:
        # A list of types that holds one of which nothing is known takes anything.
        node.keywords.setdefault("type", None)
    elif "type" not in node.keywords:
        node.keywords["type"] = types[0] if len(types) == 1 else types
        formats = {kind[1] for kind in found if kind is not None and kind[0] == "string"}
        if len(formats) == 1 and None not in formats:
            node.keywords["format"] = formats.pop()
    return True


#: How each keyword of the dialect is read into a node; false where its value is not understood. ``type`` comes after
#: ``format``, which it may replace.
_READERS: dict[str, Callable[[_Node, Any], bool]] = {
    "description": _read_description,
    "format": _read_format,
    "enum": _read_enum,
    "type": _read_type,
    "properties": _read_properties,
    "required": _read_required,
    "items": _read_items,
    "additionalProperties": _read_additional,
}


def _has_own_keywords(part: Mapping[str, Any]) -> bool:
    """Whether a schema is more than a reference with a description."""
    keywords = part.keys() - _IGNORED - {"description"}
    return bool(keywords - {"required"}) or isinstance(part.get("required"), list)


def _list_unknown_types(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    return [folded for name in names if (folded := _fold(name)) not in _TYPES] if _are_names(names) else []


def _fold(type_name: str) -> str:
    return type_name.strip().lower().replace("_", "-")


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_NAMES and all(isinstance(name, str) for name in value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _count_members(schema: Mapping[str, Any]) -> int:
    """Count what is looked at when a schema is read."""
    return len(schema) + sum(len(value) for value in schema.values() if isinstance(value, (list, Mapping)))
