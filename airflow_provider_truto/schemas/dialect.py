"""Truto's own schemas, as its meta endpoints answer them, made JSON Schemas of draft 2020-12.

The dialect: ``{type: "object", $ref, properties, description, required, default, additionalProperties}``, where
each property is such a schema again and ``required`` is a boolean of the property itself
(https://truto.one/docs/api-reference/admin/unified-model-docs). Truto uses its schemas as documentation only, so
they are read leniently: what cannot be read checks nothing and is named in a warning.

- A boolean ``required`` goes into the list of the object around it. ``default`` is never kept.
- An object that lists ``properties`` and says nothing of others is closed, since Truto drops other keys without a
  word. An explicit ``additionalProperties`` stands; without ``properties`` an object is free.
- What stands beside a local ``$ref``, and the schemas of an ``allOf``, are merged into one object: it knows the
  properties of all of them, and one that several describe must meet them all. Of any other keyword that is given
  twice the nearest counts: the node's own, then the reference's. Draft 2020-12 applies each by itself, by which
  closed objects would refuse one another's properties.
- Where an object with properties has an ``anyOf`` beside them, the object is closed and knows the properties of
  every branch, the branches are open. ``oneOf`` is read as ``anyOf``: branches that are checked less than they say
  may well hold together.
- ``custom_fields`` and ``remote_data`` of the root are free objects.
- A ``pattern`` is not part of the dialect, and is not compiled: one that a server makes up could take any time.
  Every other work that a schema can ask for has an end as well, where the rest of it is left open.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from urllib.parse import unquote

from airflow_provider_truto.schemas.validator import child_pointer, described

#: A body's schema has some hundred nodes, five deep; beyond these limits lies a mistake. They keep the validator,
#: which recurses, from Python's limit and from taking seconds.
_DEEPEST = 32
_MOST_NODES = 5_000
#: Schemas and members of schemas that are read, those that are read again because of a reference included.
_MOST_STEPS = 100_000
#: Definitions that a choice may apply to one value; choices of choices double with each level.
_MOST_BRANCHES = 256
#: Names in a list of names, such as those that an object requires.
_MOST_NAMES = 1_000
#: Warnings that are given, and characters of a name or reference in one.
_MOST_WARNINGS = 50
_LONGEST_NAME = 100
_LONGEST_REFERENCE = 1_000
_FREE_AT_THE_TOP = frozenset({"custom_fields", "remote_data"})
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


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool)) or _is_number(value)


def _are_scalars(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(map(_is_scalar, value))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_NAMES and all(map(_is_text, value))


#: Keywords that are kept as they are, where their value is one that draft 2020-12 takes.
_KEPT: dict[str, Callable[[Any], bool]] = {
    "title": _is_text,
    "description": _is_text,
    "format": _is_text,
    "enum": _are_scalars,
    "const": _is_scalar,
    "uniqueItems": lambda value: isinstance(value, bool),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _is_count),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(("x-read-only", "x-advisory"), _are_names),
}
_ANNOTATIONS = frozenset({"title", "description"})
#: Keywords of JSON Schema that the dialect does not have; the first ones may bring keys of their own.
_UNREAD_WITH_KEYS = frozenset(
    {
        *("patternProperties", "if", "then", "else", "dependentSchemas", "dependencies"),
        *("unevaluatedProperties", "$dynamicRef", "$recursiveRef"),
    }
)
_UNREAD = _UNREAD_WITH_KEYS | {
    *("not", "pattern", "multipleOf", "prefixItems", "additionalItems", "contains", "unevaluatedItems"),
    *("propertyNames", "dependentRequired"),
}
#: What makes a node more than a reference with a description, beside a list of what is required.
_SAYING = frozenset(
    {
        *(_KEPT.keys() - _ANNOTATIONS),
        *_UNREAD,
        *("type", "properties", "items", "additionalProperties", "anyOf", "oneOf"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A JSON Schema of draft 2020-12, and a warning for everything of its source that it does not check."""

    schema: dict[str, Any]
    warnings: tuple[str, ...] = ()


def converted(meta_schema: Mapping[str, Any]) -> Converted:
    """Convert a schema of Truto's meta endpoints; see the module for the rules.

    References are followed within the schema only: one to anywhere else is never fetched, its node is left open.
    Warnings begin with a JSON pointer into the value that the schema is for (``*`` is any item or key). Raises
    ``ValueError`` where the schema is no object, and nothing else.
    """
    if not isinstance(meta_schema, Mapping):
        raise ValueError(f"a meta schema is an object, not {described(meta_schema)}")  # noqa: TRY004
    work = _Work(root=meta_schema)
    schema = work.whole()
    return Converted(schema=schema, warnings=fewer(work.warnings))


def fewer(warnings: Collection[str]) -> tuple[str, ...]:
    """Give the first warnings, and say how many more there are."""
    more = len(warnings) - _MOST_WARNINGS
    return (*islice(warnings, _MOST_WARNINGS), *([f"and {more} more like these"] if more > 0 else []))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where in the value a node stands, and whether it may refuse keys that it does not list."""

    at: str
    is_closable: bool = True
    is_top: bool = False


@dataclass(kw_only=True)
class _Flat:
    """A node merged with what it refers to and with its ``allOf``; nearest first, the schemas still unread."""

    parts: list[Mapping[str, Any]] = field(default_factory=list)
    keywords: dict[str, Any] = field(default_factory=dict)
    required: dict[str, None] = field(default_factory=dict)
    properties: dict[str, list[Any]] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    additional: Any = None
    choices: list[list[Any]] = field(default_factory=list)
    #: The last step of the first reference that was followed.
    followed: str | None = None
    #: Something could not be read that may have listed more properties.
    is_open: bool = False


@dataclass(kw_only=True)
class _Work:
    root: Mapping[str, Any]
    #: The texts, each once, in the order of their finding.
    warnings: dict[str, None] = field(default_factory=dict)
    nodes: int = 0
    steps: int = 0
    names: dict[tuple[object, ...], str] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    waiting: deque[tuple[str, _Flat, _Place]] = field(default_factory=deque)

    def whole(self) -> dict[str, Any]:
        top = _Place(at="", is_top=True)
        root = self.object_or_value(self.flattened([self.root], ""), top, depth=0)
        root.setdefault("type", "object")
        definitions: dict[str, dict[str, Any]] = {}
        # A reference costs no depth and no recursion: its target waits here.
        while self.waiting:
            name, flat, place = self.waiting.popleft()
            definitions[name] = self.object_or_value(flat, place, depth=0)
        for name in _cut_circles(definitions):
            self.warn("", f"its definition {name} refers to itself, or on and on, or to too much at once")
        return {**root, "$defs": definitions} if definitions else root

    def warn(self, at: str, what: str) -> None:
        self.warnings[f"{at or '/'} is not checked in full: {what}"] = None

    def node(self, schemas: Sequence[Any], place: _Place, depth: int) -> dict[str, Any]:
        """Convert a node that all of the given schemas describe."""
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            self.warn("", f"its schema has more than {_MOST_NODES:,} nodes")
            return {}
        if depth > _DEEPEST:
            self.warn(place.at, f"its schema is nested more than {_DEEPEST} deep")
            return {}
        flat = self.flattened(schemas, place.at)
        if flat.followed is None:
            return self.object_or_value(flat, place, depth)
        saying = [part for part in flat.parts if _says_something(part)]
        if not saying:
            return {}
        own = schemas[0].get("description") if isinstance(schemas[0], Mapping) else None
        reference = {"$ref": _DEFINITIONS + self.definition(flat, saying, place)}
        return {**reference, "description": own} if isinstance(own, str) else reference

    def definition(self, flat: _Flat, saying: Sequence[Mapping[str, Any]], place: _Place) -> str:
        """Name the definition of a merged node; each is converted once, so that circles close."""
        key = (*map(id, saying), flat.is_open, place.is_closable, place.is_top)
        if key not in self.names:
            name = re.sub("[^A-Za-z0-9_-]", "_", (flat.followed or "root")[:60])
            self.uses[name] = uses = self.uses.get(name, 0) + 1
            # No name has a dot of its own, so that a numbered one is another than all of them.
            self.names[key] = name = name if uses == 1 else f"{name}.{uses}"
            self.waiting.append((name, flat, place))
        return self.names[key]

    def object_or_value(self, flat: _Flat, place: _Place, depth: int) -> dict[str, Any]:
        # Branches beside properties, or beside other branches, must let pass what those know.
        is_shared = bool(flat.properties) or len(flat.choices) > 1 or flat.additional is not None
        branch_place = replace(place, is_closable=place.is_closable and not is_shared)
        schema = {keyword: value for keyword, value in flat.keywords.items() if value is not None}
        if "type" not in flat.keywords and bool(flat.properties) != bool(flat.items):
            schema["type"] = "object" if flat.properties else "array"
        properties: dict[str, Any] = {
            name: dict(_FREE_OBJECT)
            if place.is_top and name in _FREE_AT_THE_TOP
            else self.node(schemas, _Place(at=_below(place.at, name)), depth + 1)
            for name, schemas in flat.properties.items()
        }
        if flat.items:
            schema["items"] = self.node(flat.items, _Place(at=child_pointer(place.at, "*")), depth + 1)
        self.add_choices(schema, flat, branch_place, depth)
        self.add_openness(schema, properties, flat, place, depth, is_shared=is_shared)
        if properties:
            schema["properties"] = properties
        if flat.required:
            schema["required"] = list(flat.required)
        return schema

    def add_choices(self, schema: dict[str, Any], flat: _Flat, place: _Place, depth: int) -> None:
        choices = [[self.node([branch], place, depth + 1) for branch in choice] for choice in flat.choices]
        if len(choices) == 1:
            schema["anyOf"] = choices[0]
        elif choices:
            schema["allOf"] = [{"anyOf": choice} for choice in choices]

    def add_openness(
        self,
        schema: dict[str, Any],
        properties: dict[str, Any],
        flat: _Flat,
        place: _Place,
        depth: int,
        *,
        is_shared: bool,
    ) -> None:
        known: dict[str, None] = {}
        if flat.additional is True:
            schema["additionalProperties"] = True
        elif isinstance(flat.additional, Mapping):
            any_key = _Place(at=child_pointer(place.at, "*"))
            schema["additionalProperties"] = self.node([flat.additional], any_key, depth + 1)
            known = dict.fromkeys(sorted(_FREE_AT_THE_TOP)) if place.is_top else {}
        elif not flat.is_open:
            names, is_open = self.keys_of_branches(flat.choices, place.at) if is_shared else ({}, False)
            if flat.additional is False or (place.is_closable and not is_open and (properties or names)):
                schema["additionalProperties"] = False
                # What is required, or known to a branch, is known.
                known = {**names, **flat.required}
        for name in known:
            properties.setdefault(name, dict(_FREE_OBJECT) if place.is_top and name in _FREE_AT_THE_TOP else {})

    def keys_of_branches(self, choices: Sequence[Sequence[Any]], at: str) -> tuple[dict[str, None], bool]:
        """Collect the properties that branches list or require, and whether one takes any."""
        names: dict[str, None] = {}
        required: dict[str, None] = {}
        is_open = False
        seen: set[int] = set()
        waiting = deque(branch for choice in choices for branch in choice)
        while waiting:
            branch = waiting.popleft()
            if id(branch) in seen:
                continue
            seen.add(id(branch))
            flat = self.flattened([branch], at)
            names |= dict.fromkeys(flat.properties)
            required |= flat.required
            is_open = is_open or flat.is_open or flat.additional not in (None, False)
            waiting.extend(branch for choice in flat.choices for branch in choice)
        return {**names, **required} if names else {}, is_open

    def flattened(self, schemas: Sequence[Any], at: str) -> _Flat:
        """Merge schemas of one node with everything that their references and ``allOf`` lead to."""
        flat = _Flat()
        waiting = deque(schemas)
        seen: set[int] = set()
        is_circle = False
        while waiting:
            schema = waiting.popleft()
            if schema is True or id(schema) in seen:
                continue
            if not isinstance(schema, Mapping):
                self.warn(at, f"its schema is {described(schema)}")
                flat.is_open = True
                continue
            self.steps += _size(schema)
            if self.steps > _MOST_STEPS:
                self.warn("", f"its schema takes more than {_MOST_STEPS:,} steps to be read")
                flat.is_open = True
                continue
            seen.add(id(schema))
            flat.parts.append(schema)
            self.read(schema, flat, at)
            reference = schema.get("$ref")
            if reference is not None:
                target = self.target(reference)
                if target is _ABSENT:
                    self.warn(at, f"its $ref, {described(reference)}, leads out of the schema or nowhere")
                    flat.is_open = True
                else:
                    flat.followed = flat.followed or str(reference).rpartition("/")[2].lstrip("#") or "root"
                    waiting.append(target)
                    is_circle = is_circle or id(target) in seen
            waiting.extend(self.listed(schema, "allOf", flat, at))
        if is_circle and not any(map(_says_something, flat.parts)):
            self.warn(at, "its $ref leads back to itself")
        return flat

    def read(self, schema: Mapping[str, Any], flat: _Flat, at: str) -> None:
        """Take over one schema's keywords, for which nothing nearer was given."""
        for keyword, is_right in _KEPT.items():
            value = schema.get(keyword)
            if value is not None and is_right(value):
                flat.keywords.setdefault(keyword, value)
            elif value is not None and keyword not in _ANNOTATIONS:
                self.malformed(keyword, value, flat, at)
        for keyword in sorted(_UNREAD.intersection(schema)):
            self.warn(at, f"its `{keyword}` is no keyword that is read here")
            flat.is_open = flat.is_open or keyword in _UNREAD_WITH_KEYS
        self.read_type(schema, flat, at)
        self.read_members(schema, flat, at)
        flat.choices += [c for keyword in ("anyOf", "oneOf") if (c := self.listed(schema, keyword, flat, at))]

    def read_type(self, schema: Mapping[str, Any], flat: _Flat, at: str) -> None:
        given = schema.get("type")
        if given is None:
            return
        names = [given] if isinstance(given, str) else given
        if not _are_names(names) or not names:
            self.malformed("type", given, flat, at)
            return
        folded = [name.strip().lower().replace("_", "-") for name in names]
        for name in folded:
            if name not in _TYPES:
                self.warn(at, f"its type, {described(name)}, is not known")
        found = [_TYPES.get(name) for name in folded]
        types = list(dict.fromkeys(kind[0] for kind in found if kind is not None))
        if None in found:
            # A list of types that holds one of which nothing is known takes anything.
            flat.keywords.setdefault("type", None)
            return
        if "type" not in flat.keywords:
            flat.keywords["type"] = types[0] if len(types) == 1 else types
            formats = {kind[1] for kind in found if kind is not None and kind[0] == "string"}
            if len(formats) == 1 and None not in formats:
                flat.keywords["format"] = formats.pop()

    def read_members(self, schema: Mapping[str, Any], flat: _Flat, at: str) -> None:
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            for name, child in properties.items():
                flat.properties.setdefault(name, []).append(child)
                if isinstance(child, Mapping) and child.get("required") is True:
                    flat.required[name] = None
        elif properties is not None:
            self.malformed("properties", properties, flat, at)
        required = schema.get("required")
        if _are_names(required):
            flat.required |= dict.fromkeys(required or ())
        elif required is not None and not isinstance(required, bool):
            self.malformed("required", required, flat, at)
        if schema.get("items") is not None:
            flat.items.append(schema["items"])
        additional = schema.get("additionalProperties")
        if not isinstance(additional, (bool, Mapping, type(None))):
            self.malformed("additionalProperties", additional, flat, at)
        elif flat.additional is None:
            flat.additional = additional

    def listed(self, schema: Mapping[str, Any], keyword: str, flat: _Flat, at: str) -> list[Any]:
        """Give a keyword's list of schemas."""
        value = schema.get(keyword)
        if isinstance(value, list) and value:
            return value
        if value is not None:
            self.malformed(keyword, value, flat, at)
        return []

    def malformed(self, keyword: str, value: Any, flat: _Flat, at: str) -> None:
        self.warn(at, f"its `{keyword}` is {described(value)}, which is not understood")
        flat.is_open = True

    def target(self, reference: Any) -> Any:
        """Find what a reference leads to within the schema; ``_ABSENT`` where that is nothing."""
        if not isinstance(reference, str) or not reference.startswith("#") or len(reference) > _LONGEST_REFERENCE:
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


def _says_something(part: Mapping[str, Any]) -> bool:
    return not _SAYING.isdisjoint(part) or isinstance(part.get("required"), list)


def _size(schema: Mapping[str, Any]) -> int:
    """Count what is looked at when a schema is read."""
    return len(schema) + sum(len(value) for value in schema.values() if isinstance(value, (list, Mapping)))


def _below(at: str, name: Any) -> str:
    """Give the pointer of a property for a warning, to whose length nobody else has a say."""
    return child_pointer(at, str(name)[:_LONGEST_NAME])


def _cut_circles(definitions: Mapping[str, dict[str, Any]]) -> list[str]:
    """Open the branches by which a definition would be applied to the same value again, endlessly or too often.

    A circle that goes through a property or an item ends with the value; one through ``anyOf`` alone does not, and
    two branches that lead on to two each double the work with each step. Gives the names of the definitions that were
    cut.
    """
    heights: dict[str, int] = {}
    weights: dict[str, int] = {}
    cut: dict[str, None] = {}

    def weigh(name: str, path: tuple[str, ...]) -> None:
        heights[name], weights[name] = 1, 1
        for branch in _referring_branches(definitions[name]):
            target = branch["$ref"].removeprefix(_DEFINITIONS)
            is_endless = target in path or len(path) == _DEEPEST
            if not is_endless and target not in weights:
                weigh(target, (*path, target))
            if (
                is_endless
                or len(path) + heights[target] > _DEEPEST
                or weights[name] + weights[target] > _MOST_BRANCHES
            ):
                branch.clear()
                cut[name] = None
            else:
                heights[name] = max(heights[name], heights[target] + 1)
                weights[name] += weights[target]

    for name in definitions:
        if name not in weights:
            weigh(name, (name,))
    return list(cut)


def _referring_branches(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in (schema, *schema.get("allOf", ())):
        for branch in choice.get("anyOf", ()):
            if "$ref" in branch:
                yield branch
            else:
                yield from _referring_branches(branch)
