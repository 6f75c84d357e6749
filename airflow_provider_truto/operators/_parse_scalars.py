"""Parsers of arguments that are one value: what a flag, a number, a name may be written as, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_truto.operators._argument import Kind, RefusedError


def describe_value(value: Any) -> str:
    from airflow_provider_truto.schemas.messages import describe_value

    return describe_value(value)


def coerce_to(value: Any, schema: Mapping[str, Any], *, name: str = "") -> Any:
    """Type a value as bodies are typed, under a name that says what it is: ids become text."""
    # Slow to import, and every DAG file imports this module.
    from airflow_provider_truto.records.coerce import coerce

    made = coerce({name: value}, {"properties": {name: schema}})
    if made.problems:
        raise RefusedError(*(problem._replace(pointer=problem.pointer[len(name) + 1 :]) for problem in made.problems))
    return made.value[name]


def parse_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    made = coerce_to(value, {"type": "boolean"})
    if not isinstance(made, bool):
        raise RefusedError.of(f"expects true or false, got {describe_value(made)}")
    return made


def parse_number(value: Any, expected: str) -> int | float:
    """Read a number; text keeps its spelling, so that ``"1.0"`` is not a count."""
    made: Any = value
    if isinstance(value, str):
        try:
            made = json.loads(value)
        except ValueError:
            made = None
    elif not isinstance(value, (int, float)):
        made = coerce_to(value, {"type": "number"})
    is_number = isinstance(made, (int, float)) and not isinstance(made, bool)
    if not is_number or (isinstance(made, float) and not math.isfinite(made)):
        raise RefusedError.of(f"expects {expected}, got {describe_value(value)}")
    return made  # type: ignore[no-any-return]


def parse_count(value: Any) -> int:
    return parse_whole(value, at_least=1)


def parse_whole(value: Any, *, at_least: int) -> int:
    number = parse_number(value, "a whole number")
    if number != int(number):
        raise RefusedError.of(f"expects a whole number, got {number}")
    if number < at_least:
        raise RefusedError.of(f"must be {at_least} or more, got {number}")
    return int(number)


def parse_rate(value: Any) -> float:
    number = parse_number(value, "a number")
    if number < 0:
        raise RefusedError.of(f"must be 0 or more, got {number}")
    return number


def parse_failures(value: Any) -> float:
    number = parse_number(value, "a number, a share below 1 or None")
    if number < 0:
        raise RefusedError.of(f"expects a number, a share below 1 or None, got {number}")
    if isinstance(number, float) and number >= 1:
        raise RefusedError.of(f"a share is below 1, got {number}; write a count as a whole number")
    return number


def parse_seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        seconds: float = value.total_seconds()
    else:
        seconds = parse_number(value, "seconds or a timedelta")
    if seconds <= 0:
        raise RefusedError.of(f"must be more than 0 seconds, got {seconds:g}")
    return seconds


def parse_text(value: Any) -> str:
    made = coerce_to(value, {"type": "string"})
    if not isinstance(made, str):
        raise RefusedError.of(f"expects text, got {describe_value(made)}")
    return made


def parse_name(value: Any) -> str:
    return require_text(parse_text(value))


def parse_plan_hash(value: Any) -> str:
    made = parse_name(value)
    if not made.startswith("p2-"):
        raise RefusedError.of(f"expects the hash of a bulk's preview, p2-…, got {describe_value(made)}")
    return made


def parse_delimiter(value: Any) -> str:
    made = parse_text(value)
    if len(made) != 1 or made in '"\r\n':
        raise RefusedError.of(f"expects one character, neither a quote nor a line end, got {describe_value(made)}")
    return made


def parse_id(value: Any) -> str:
    made = coerce_to(value, {"type": "string"}, name="id")
    if not isinstance(made, str):
        raise RefusedError.of(f"expects text, got {describe_value(made)}")
    return require_text(made)


def require_text(text: str) -> str:
    if not text.strip():
        raise RefusedError.of("is empty")
    return text


def choose_from(*values: str | None) -> Kind:
    """Return the kind of an argument that is one of these."""
    expected = ", ".join(value for value in values if value is not None) + (" or None" if None in values else "")

    def read(value: Any) -> Any:
        made = coerce_to(value, {"type": "string"}) if isinstance(value, str) else value
        if not isinstance(made, str) or made not in values:
            raise RefusedError.of(f"expects one of {expected}, got {value!r}")
        return made

    return Kind("choice", read, is_fixed=True)


def parse_probe(value: Any) -> bool | str:
    """Read a flag, or the resource that is to be read."""
    if not isinstance(value, str) or value.strip().lower() in {"true", "false"}:
        return parse_flag(value)
    name = parse_name(value)
    if not all(name.split("/")) or name.count("/") > 1:
        raise RefusedError.of(f"expects true, false or a resource such as 'crm/contacts', got {describe_value(name)}")
    return name


def parse_expression(value: Any) -> str:
    from airflow_provider_truto.records.condition import compile_expression  # Jinja's, which few DAG files need

    text = parse_name(value)
    try:
        compile_expression(text)
    except ValueError as error:
        raise RefusedError.of(str(error).removeprefix("condition: ")) from None
    return text


def parse_function(value: Any) -> str:
    """Read a function, or its dotted name, as the latter, which can be stored. Nothing is imported."""
    text = value
    if callable(value):
        text = f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', '<object>')}"
        if "<" in text or not getattr(value, "__module__", None) or "." in value.__qualname__:
            raise RefusedError.of(f"{text} has no name by which it can be imported: define it at the top of a module")
    if not isinstance(text, str) or len(text.split(".")) < 2 or not all(map(str.isidentifier, text.split("."))):
        raise RefusedError.of(f"expects a function, or a name such as 'my_package.my_module.is_ready', got {value!r}")
    return text
