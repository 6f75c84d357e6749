"""One compiled validator a schema, and its findings as pointers and sentences."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, cached_property, lru_cache
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from airflow_provider_truto.schemas.quick import quick_check

_FOLDER = Path(__file__).parent
_LONGEST_VALUE = 60
#: Names or choices that one sentence lists; a CRM has lists of hundreds.
_MOST_LISTED = 30
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
#: Keywords that may be applied for each value of a body, and to a small body in all. Choices that lead back to
#: choices would multiply with every level of it; schemas as people write them take some dozen.
_STEPS_PER_VALUE = 1_000
_LEAST_STEPS = 100_000
#: Names that an unknown one is compared with, and characters of a name in a message.
_MOST_COMPARED = 500
_LONGEST_NAME = 100
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: RFC 3339: the zone is not optional there.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


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


_steps = threading.local()


class _TooManyStepsError(Exception):
    """A schema asks for more work than a body of this size is worth."""


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    """Have a keyword's check count, so that it ends where there is no end to it."""

    def counted(*arguments: Any) -> Any:
        _steps.left -= 1
        if _steps.left < 0:
            raise _TooManyStepsError
        return check(*arguments)

    return counted


_Validator = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _counted(check) for name, check in Draft202012Validator.VALIDATORS.items()}
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
                f" {pointer_of(error.absolute_path)}: {error.message}"
            ) from None
        self.source = source
        self.name = name

    @cached_property
    def _validator(self) -> Any:
        # With a registry of its own, a reference to somewhere else is an error and no download.
        return _Validator(self.source, registry=REGISTRY, format_checker=_format_checker())

    @cached_property
    def _is_surely_met(self) -> Callable[[Any], bool]:
        return quick_check(self.source, _format_checker())

    def findings(self, value: Any, *, hide_values: bool = False) -> list[Finding]:
        """List every mismatch of a JSON-plain value, in the order of their pointers.

        ``hide_values`` keeps the value's content out of the messages. Raises ``ValueError`` where the schema
        has a reference that cannot be followed, or asks for work beyond reason.
        """
        told: set[tuple[Any, ...]] = set()
        try:
            if self._is_surely_met(value):
                return []
            _steps.left = max(_LEAST_STEPS, _STEPS_PER_VALUE * _count(value))
            found = [
                finding
                for error in self._validator.iter_errors(value)
                for finding in self._findings_of(error, told, hide_values=hide_values)
            ]
        except _TooManyStepsError:
            raise ValueError(
                f"{self.name} takes too many steps to be checked: its choices lead on to more and more choices"
            ) from None
        except Unresolvable as error:
            raise ValueError(f"{self.name} has a reference that leads nowhere: {error}") from None
        except RecursionError:
            raise ValueError(f"{self.name} does not come to an end for this value: it leads back to itself") from None
        return sorted(found, key=lambda finding: finding.pointer)

    def _findings_of(
        self, error: ValidationError, told: set[tuple[Any, ...]], *, hide_values: bool
    ) -> Iterator[Finding]:
        at = pointer_of(error.absolute_path)
        keyword = str(error.validator)
        instance, wanted = cast("Any", error.instance), cast("Any", error.validator_value)
        schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
        if keyword == "additionalProperties" and wanted is False:
            spoken = _spoken_names(schema)
            for key in sorted(set(instance) - set(schema.get("properties", ()))):
                if not any(re.search(pattern, key) for pattern in schema.get("patternProperties", ())):
                    yield _finding(child_pointer(at, key), _unknown_key(key, schema, spoken), error)
        elif keyword == "required":
            # One error a name, which does not say which: all names are told with the first.
            place = (at, *error.absolute_schema_path)
            for key in wanted if place not in told else ():
                if key not in instance:
                    yield _finding(child_pointer(at, key), "is required", error)
            told.add(place)
        elif keyword == "enum" and not self._is_of_type(instance, schema.get("type")):
            pass  # that it is of another type was found as well, and says more
        else:
            yield _finding(at or "/", _sentence(error, hide_values=hide_values), error)

    def _is_of_type(self, value: Any, types: str | list[str] | None) -> bool:
        names = [types] if isinstance(types, str) else types
        return names is None or any(self._validator.is_type(value, name) for name in names)


@cache
def has_packaged_schema(operation: str) -> bool:
    """Whether this package has schemas for an operation such as ``"crm.accounts.update"``."""
    return operation in {folder.name for folder in _FOLDER.iterdir() if folder.is_dir()}


@cache
def packaged_schema(operation: str, part: str) -> Schema:
    """Load a schema of this package, ``packaged_schema("crm.accounts.update", "request")``."""
    source = json.loads((_FOLDER / operation / f"{part}.json").read_text("utf-8"))
    return Schema(source, name=f"{operation}/{part}")


def schema_from(source: Mapping[str, Any] | str | PathLike[str], *, is_valid: bool = False) -> Schema:
    """Compile a DAG author's schema: a mapping, or the path of a JSON file; or one that ``is_valid``, see ``Schema``.

    Raises ``ValueError`` where there is no such file, it is not JSON, or not a schema.
    """
    if isinstance(source, Mapping):
        try:
            text = json.dumps(source, sort_keys=True, default=_as_dict)
        except TypeError as error:
            raise ValueError(f"the schema that was given is not JSON: {error}") from None
        return _compiled(text, "the schema that was given", is_valid)
    if not isinstance(source, (str, PathLike)):
        raise ValueError(f"a schema is a mapping or the path of one, not {described(source)}")  # noqa: TRY004
    path = Path(source)
    try:
        return _compiled(path.read_text("utf-8"), f"the schema {path.name}", is_valid)
    except OSError as error:
        raise ValueError(f"the schema {str(path)!r} cannot be read: {error.strerror or error}") from None


def _as_dict(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


@lru_cache(maxsize=64)
def _compiled(text: str, name: str, is_valid: bool) -> Schema:
    try:
        source = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not isinstance(source, dict):
        raise ValueError(f"{name} is not a JSON object")  # noqa: TRY004  (a file's content, not an argument's type)
    return Schema(source, name=name, is_valid=is_valid)


def pointer_of(path: Iterable[str | int]) -> str:
    """Write a path as a JSON pointer (RFC 6901); the whole document is ``""``."""
    pointer = ""
    for step in path:
        pointer = child_pointer(pointer, step)
    return pointer


def child_pointer(parent: str, key: str | int) -> str:
    """Append one step to a JSON pointer."""
    step = str(key)
    if "~" in step or "/" in step:
        step = step.replace("~", "~0").replace("/", "~1")
    return f"{parent}/{step}"


def described(value: Any, *, hide_values: bool = False) -> str:
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
    return f"{kind} {text if len(text) <= _LONGEST_VALUE else f'{text[:_LONGEST_VALUE]}…'}"


def type_names(types: str | Iterable[str]) -> str:
    """Name JSON Schema types for a message: ``text or null``."""
    names = [types] if isinstance(types, str) else list(types)
    return " or ".join(_TYPE_NAMES.get(name, name) for name in names)


def _finding(pointer: str, message: str, error: ValidationError) -> Finding:
    types: Any = error.validator_value if error.validator == "type" else ()
    wanted = {types} if isinstance(types, str) else set(types)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    return Finding(
        pointer=pointer,
        message=message,
        keyword="x-read-only" if _read_only(error.schema) else str(error.validator),
        is_null=error.instance is None,
        wants_scalar=bool(wanted) and wanted.isdisjoint({"object", "array"}),
        wants_text="string" in wanted and is_number(error.instance),
        is_advisory=error.validator in schema.get("x-advisory", ()),
    )


def _spoken_names(schema: Mapping[str, Any]) -> dict[str, str]:
    """Give the names of an object's fields by how they are spoken: folded, and by their titles."""
    known = {name: field for name, field in schema.get("properties", {}).items() if not _read_only(field)}
    # People know a field by its title where its name is a code of the CRM; a name goes before a title.
    titles = {_folded(str(field["title"])): name for name, field in known.items() if _has_title(field)}
    return {**titles, **{_folded(name): name for name in known}}


def _unknown_key(key: str, schema: Mapping[str, Any], spoken: Mapping[str, str]) -> str:
    if key in schema.get("x-read-only", ()):
        return "is read-only: Truto sets it, leave it out"
    folded = _folded(key)
    close = [folded] if folded in spoken else get_close_matches(folded, islice(spoken, _MOST_COMPARED), n=1)
    if close:
        return f"is not a known field: did you mean `{spoken[close[0]][:_LONGEST_NAME]}`?"
    known = _listed(sorted(set(spoken.values())))
    return f"is not a known field (known: {known}); name it in extra_fields if it is right"


def _count(value: Any) -> int:
    """Count a JSON-plain value and all that is in it."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, items))


def _read_only(schema: Any) -> str | None:
    """Give the sentence with which a schema refuses everything."""
    sentence = schema.get("x-read-only") if isinstance(schema, Mapping) and schema.get("not") == {} else None
    return sentence if isinstance(sentence, str) else None


def _has_title(schema: Any) -> bool:
    return isinstance(schema, Mapping) and "title" in schema


def _listed(items: list[str]) -> str:
    more = len(items) - _MOST_LISTED
    shown = [item[:_LONGEST_NAME] for item in items[:_MOST_LISTED]]
    return ", ".join(shown + ([f"and {more} more"] if more > 0 else [])) or "none"


def _listed_choices(choices: Sequence[Any]) -> str:
    more = [""] * (len(choices) - _MOST_LISTED)
    return _listed([json.dumps(choice) for choice in choices[:_MOST_LISTED]] + more)


def _folded(name: str) -> str:
    """Make `WebSite`, `web_site` and `web-site` alike."""
    return re.sub(r"[\W_]", "", name[:_LONGEST_NAME]).lower()


def _sentence(error: ValidationError, *, hide_values: bool) -> str:
    got = described(error.instance, hide_values=hide_values)
    wanted: Any = error.validator_value
    read_only = _read_only(error.schema)
    if read_only:
        return read_only
    match error.validator:
        case "type":
            return f"expects {type_names(wanted)}, got {got}{meant_by(error.instance, error.schema)}"
        case "format" if wanted == "date-time":
            return f"expects a date-time with its zone such as 2026-01-31T12:00:00Z, got {got}"
        case "format" if wanted == "date":
            return f"expects a date such as 2026-01-31, got {got}"
        case "format":
            return f"expects the format {wanted}, got {got}"
        case "enum":
            return f"expects one of {_listed_choices(wanted)}, got {got}"
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
    return error.message if len(error.message) <= 300 else f"{error.message[:300]}…"


def is_number(value: Any) -> bool:
    """Whether a value is a number; a boolean is not."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def meant_by(value: Any, schema: Any) -> str:
    """Say what is most likely meant by text where the schema wants an object; ``""`` where nothing is."""
    if not isinstance(value, str) or not isinstance(schema, Mapping) or "object" not in str(schema.get("type")):
        return ""
    if schema.get("required") == ["id"]:
        return '; did you mean {"id": …}?'
    text = value.strip()
    if text.startswith("{") and "'" in text:
        return " (JSON has double quotes)"
    return "; did you mean body_file?" if text.endswith(".json") else ""


@lru_cache(maxsize=1)
def _format_checker() -> FormatChecker:
    checker = FormatChecker()

    # jsonschema checks date-time only where an optional package is installed.
    @checker.checks("date-time")
    def is_date_time(value: object) -> bool:
        return not isinstance(value, str) or parsed_date_time(value) is not None

    # And what it takes for a date differs between its versions and Python's: 20260131, 2026-W05-6.
    @checker.checks("date")
    def is_date(value: object) -> bool:
        return not isinstance(value, str) or _is_date(value)

    return checker


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def parsed_date_time(text: str) -> datetime | None:
    """Read an RFC 3339 date-time; ``None`` where it is none. Always aware."""
    if not _DATE_TIME.fullmatch(text):
        return None
    # Python 3.10 reads neither "Z" nor a fraction of any length.
    seconds, fraction, zone = re.fullmatch(r"(.{19})(\.\d+)?(.*)", text).groups()  # type: ignore[union-attr]
    micro = f"{fraction or '.0':0<7}"[:7]
    try:
        return datetime.fromisoformat(f"{seconds}{micro}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        return None
