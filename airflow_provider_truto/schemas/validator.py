"""One compiled validator per schema, and its findings as pointers and sentences."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from airflow_provider_truto.schemas.fast_path import compile_fast_check
from airflow_provider_truto.schemas.formats import build_format_checker
from airflow_provider_truto.schemas.messages import (
    describe_value,
    explain_error,
    explain_unknown_key,
    index_field_names,
    is_number,
    read_only_message,
)
from airflow_provider_truto.schemas.pointers import build_pointer, extend_pointer

#: Keywords that may be applied for each value of a body, and to a small body in all. Choices that lead back to
#: choices would multiply with every level of it; schemas as people write them take some dozen.
_STEPS_PER_VALUE = 1_000
_MIN_STEPS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One mismatch. ``pointer`` is a JSON pointer to the value, for an unknown key to the key itself.

    ``keyword`` is the schema's keyword that is not met, ``x-read-only`` for a property that cannot be written;
    ``wants_scalar`` says that only the type is wrong and that it should be a scalar, ``wants_text`` that a number
    stands where text is wanted; ``is_advisory`` that the schema calls this a warning.
    """

    pointer: str
    message: str
    keyword: str
    is_null: bool
    wants_scalar: bool
    wants_text: bool
    is_advisory: bool


#: Keywords that may allow names which `properties` does not have.
_DEPENDING = frozenset(
    {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "prefixItems", "dependentSchemas"}
)
_steps = threading.local()


class _TooManyStepsError(Exception):
    """A schema asks for more work than a body of this size is worth."""


def _count_steps(check: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a keyword's check so that it counts its calls, and stops a validation that would never end."""

    def counted(*arguments: Any) -> Any:
        _steps.left -= 1
        if _steps.left < 0:
            raise _TooManyStepsError
        return check(*arguments)

    return counted


_Validator = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _count_steps(check) for name, check in Draft202012Validator.VALIDATORS.items()}
)


class Schema:
    """A JSON Schema of draft 2020-12, compiled once.

    Two keywords of its own shape the findings. ``x-advisory`` lists the keywords of a node that are warnings.
    ``x-read-only`` is, beside ``properties``, a list of names that a closed object refuses in words of their own;
    beside ``"not": {}`` it is the sentence with which a property is refused in any object, closed or not.
    Raises ``ValueError`` where the schema itself is not valid; one that ``is_valid``, since this package has made it,
    is not looked at: that takes a second for some thousand properties, and a server may name any number of them.
    """

    def __init__(self, source: Mapping[str, Any], *, name: str, is_valid: bool = False) -> None:
        try:
            if not is_valid:
                Draft202012Validator.check_schema(source)
        except SchemaError as error:
            raise ValueError(
                f"{name} is not a valid JSON Schema (draft 2020-12):"
                f" {build_pointer(error.absolute_path)}: {error.message}"
            ) from None
        self.source = source
        self.name = name

    @cached_property
    def _validator(self) -> Any:
        # With a registry of its own, a reference to somewhere else is an error and not a download.
        return _Validator(self.source, registry=REGISTRY, format_checker=build_format_checker())

    @cached_property
    def is_surely_met(self) -> Callable[[Any], bool]:
        """Check quickly whether a value meets the schema; False where only a full check can tell."""
        return compile_fast_check(self.source, build_format_checker())

    def check(self, value: Any, *, hide_values: bool = False) -> list[Finding]:
        """Return every mismatch of a JSON-plain value, in the order of their pointers.

        ``hide_values`` keeps the value's content out of the messages. Raises ``ValueError`` where the schema
        has a reference that cannot be followed, or asks for too much work.
        """
        told: set[tuple[Any, ...]] = set()
        try:
            if self.is_surely_met(value):
                return []
            _steps.left = max(_MIN_STEPS, _STEPS_PER_VALUE * _count_values(value))
            findings = [
                finding
                for error in self._validator.iter_errors(value)
                for finding in self._read_error(error, told, hide_values=hide_values)
            ]
        except _TooManyStepsError:
            raise ValueError(
                f"{self.name} takes too many steps to be checked: its choices lead on to more and more choices"
            ) from None
        except Unresolvable as error:
            raise ValueError(f"{self.name} has a reference that leads nowhere: {error}") from None
        except RecursionError:
            raise ValueError(f"{self.name} does not come to an end for this value: it leads back to itself") from None
        return sorted(findings, key=lambda finding: finding.pointer)

    def explain_unknown(self, path: Sequence[str | int]) -> tuple[str, str] | None:
        """Return the pointer of the first name on the way to a value that no body can have, and what is wrong.

        ``path`` has names and places in lists. ``None`` where every name is known, or where that depends on more than
        the names, as below a choice or a reference.
        """
        node: Any = self.source
        at = ""
        for step in path:
            if not isinstance(node, Mapping) or not _DEPENDING.isdisjoint(node):
                return None
            at = extend_pointer(at, step)
            if isinstance(step, int):
                node = node.get("items")
            elif step in (properties := node.get("properties", {})):
                node = properties[step]
            elif node.get("additionalProperties") is False:
                return at, explain_unknown_key(step, node, index_field_names(node))
            else:
                return None
        return None

    def _read_error(
        self, error: ValidationError, told: set[tuple[Any, ...]], *, hide_values: bool
    ) -> Iterator[Finding]:
        at = build_pointer(error.absolute_path)
        keyword = str(error.validator)
        instance, wanted = cast("Any", error.instance), cast("Any", error.validator_value)
        schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
        if keyword == "additionalProperties" and wanted is False:
            known = index_field_names(schema)
            for key in sorted(set(instance) - set(schema.get("properties", ()))):
                if not any(re.search(pattern, key) for pattern in schema.get("patternProperties", ())):
                    yield _build_finding(extend_pointer(at, key), explain_unknown_key(key, schema, known), error)
        elif keyword == "required":
            # One error per name, which does not say which: all names are told with the first.
            place = (at, *error.absolute_schema_path)
            for key in wanted if place not in told else ():
                if key not in instance:
                    yield _build_finding(extend_pointer(at, key), "is required", error)
            told.add(place)
        elif keyword == "enum" and not self._is_of_type(instance, schema.get("type")):
            pass  # that it is of a different type was found as well, and says more
        else:
            yield _build_finding(at or "/", explain_error(error, hide_values=hide_values), error)

    def _is_of_type(self, value: Any, types: str | list[str] | None) -> bool:
        names = [types] if isinstance(types, str) else types
        return names is None or any(self._validator.is_type(value, name) for name in names)


def _build_finding(pointer: str, message: str, error: ValidationError) -> Finding:
    types: Any = error.validator_value if error.validator == "type" else ()
    wanted = {types} if isinstance(types, str) else set(types)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    return Finding(
        pointer=pointer,
        message=message,
        keyword="x-read-only" if read_only_message(error.schema) else str(error.validator),
        is_null=error.instance is None,
        wants_scalar=bool(wanted) and wanted.isdisjoint({"object", "array"}),
        wants_text="string" in wanted and is_number(error.instance),
        is_advisory=error.validator in schema.get("x-advisory", ()),
    )


def _count_values(value: Any) -> int:
    """Count a JSON-plain value and all that is in it."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count_values, items))


def load_schema(source: Mapping[str, Any] | str | PathLike[str], *, is_valid: bool = False) -> Schema:
    """Compile a DAG author's schema: a mapping, or the path of a JSON file; or one that ``is_valid``, see ``Schema``.

    Raises ``ValueError`` where there is no such file, it is not JSON, or not a schema.
    """
    if isinstance(source, Mapping):
        try:
            text = json.dumps(source, sort_keys=True, default=_convert_mapping)
        except TypeError as error:
            raise ValueError(f"the schema that was given is not JSON: {error}") from None
        return _compile_schema(text, "the schema that was given", is_valid)
    if not isinstance(source, (str, PathLike)):
        raise ValueError(  # noqa: TRY004
            f"a schema is a mapping or the path of one, not {describe_value(source)}"
        )
    path = Path(source)
    try:
        return _compile_schema(path.read_text("utf-8"), f"the schema {path.name}", is_valid)
    except OSError as error:
        raise ValueError(f"the schema {str(path)!r} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"the schema {path.name} is not UTF-8: {error.reason} at byte {error.start}") from None


def _convert_mapping(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


@lru_cache(maxsize=64)
def _compile_schema(text: str, name: str, is_valid: bool) -> Schema:
    try:
        source = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not isinstance(source, dict):
        raise ValueError(f"{name} is not a JSON object")  # noqa: TRY004  (a file's content, not an argument's type)
    return Schema(source, name=name, is_valid=is_valid)
