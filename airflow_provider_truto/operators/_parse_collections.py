"""Parsers of arguments that are paths, lists or objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow_provider_truto.bulk.brakes import ChangeRule, StopRule
from airflow_provider_truto.bulk.shards import parse_shard
from airflow_provider_truto.bulk.storage import LOCAL
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.skip_on import map_error_codes
from airflow_provider_truto.operators._argument import (
    Argument,
    Kind,
    RefusedError,
    find_missing,
    is_path,
    to_renderable,
)
from airflow_provider_truto.operators._parse_scalars import (
    coerce_to,
    describe_value,
    parse_count,
    parse_failures,
    parse_number,
    parse_whole,
    require_text,
)
from airflow_provider_truto.records.render import Missing


def parse_path(value: Any) -> Any:
    """Read a path: text, or an ``ObjectStoragePath`` as it is."""
    if is_path(value):
        return to_renderable(value)
    if not isinstance(value, str):
        raise RefusedError.of(f"expects a path, got {describe_value(value)}")
    return require_text(str(value))


def parse_output(value: Any) -> Any:
    """Read a path to write. A relative one means a different folder on each worker, and another on Airflow 2.11."""
    path = parse_path(value)
    protocol, _, rest = str(path).rpartition("://")
    if protocol in LOCAL and not rest.startswith("/"):
        raise RefusedError.of(
            f"{describe_value(str(path))} is relative, and would be a different folder on each worker: write an"
            " absolute path on a disk that all workers share, or a URL such as 's3://aws_default@bucket/truto'"
        )
    return path


def parse_source(value: Any) -> Any:
    """Read a path or a list of paths; rows are data, and stay as they come."""
    if isinstance(value, str) or is_path(value):
        return parse_path(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, Missing)) or is_path(item) for item in value):
        return _parse_paths(value)
    return value


def _parse_paths(values: Sequence[Any]) -> list[Any]:
    read = [Argument(Kind("path", parse_path)).read(value, at=f"/{number}") for number, value in enumerate(values)]
    if problems := [problem for _, found in read for problem in found]:
        raise RefusedError(*problems)
    return [path for path, _ in read]


def parse_stop(value: Any) -> StopRule:
    """Read a number of failures, or a share of the records and from how many on it counts: ``(0.05, 200)``."""
    if isinstance(value, StopRule):  # it was read before
        return value
    pair = _parse_pair(value)
    if pair is None:
        return StopRule(parse_count(value))
    share, after = parse_failures(pair[0]), parse_count(pair[1])
    if not isinstance(share, float) or not share:
        raise RefusedError.of(f"expects a share below 1 first, as in (0.05, 200), got {describe_value(pair[0])}")
    return StopRule(share, after)


def parse_changes(value: Any) -> ChangeRule:
    """Read a number, a share of the rows, or a factor and how many earlier runs it is of: ``(1.5, 7)``."""
    if isinstance(value, ChangeRule):  # it was read before
        return value
    pair = _parse_pair(value)
    if pair is None:
        return ChangeRule(most=parse_failures(value))
    factor, runs = parse_number(pair[0], "a factor above 1"), parse_count(pair[1])
    if factor <= 1:
        raise RefusedError.of(f"expects a factor above 1 first, as in (1.5, 7), got {describe_value(pair[0])}")
    return ChangeRule(factor=float(factor), runs=runs)


def _parse_pair(value: Any) -> Sequence[Any] | None:
    """Return two values that stand in a list, or in its JSON; ``None`` for one value."""
    is_json = isinstance(value, str) and value.lstrip().startswith("[")
    made = coerce_to(value, {"type": "array"}) if is_json else value
    if not isinstance(made, (list, tuple)):
        return None
    if len(made) != 2:
        raise RefusedError.of(f"expects a number or a pair, got {describe_value(value)}")
    return made


def parse_names(value: Any) -> list[str]:
    made = coerce_to(value, {"type": "array", "items": {"type": "string"}})
    if not isinstance(made, list) or not all(isinstance(name, str) and name for name in made):
        raise RefusedError.of("expects a list of field names")
    return made


def parse_some_names(value: Any) -> list[str]:
    """Read names, of which none would be taken for all of them."""
    made = parse_names(value)
    if not made:
        raise RefusedError.of("is empty: leave it out where all are meant")
    return made


def parse_match(value: Any) -> tuple[Any, ...]:
    """Read what to find records by: names of fields, functions and their names. Nothing is imported."""
    given = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    problems = []
    for number, one in enumerate(given):
        path = one.replace("/", ".").replace(":", ".").strip(".") if isinstance(one, str) else ""
        if not callable(one) and not all(map(str.strip, path.split("."))):
            message = f"expects the name of a field, or a function, got {describe_value(one)}"
            problems.append(Problem(f"/{number}" if given is not value and len(given) > 1 else "", message))
    if not given:
        problems.append(Problem("", "names nothing to find records by"))
    if problems:
        raise RefusedError(*problems)
    return given


def parse_codes(value: Any) -> list[str]:
    return _parse_choices(value, map_error_codes())


def parse_obstacles(value: Any) -> list[str]:
    from airflow_provider_truto.client.account_state import OBSTACLES  # with the client, which no DAG file needs

    return _parse_choices(value, OBSTACLES)


def _parse_choices(value: Any, known: Collection[str]) -> list[str]:
    try:
        made = coerce_to(sorted(value) if isinstance(value, (set, frozenset)) else value, {"type": "array"})
    except RefusedError:
        made = value
    unknown = [made] if not isinstance(made, list) else [code for code in made if code not in known]
    if unknown:
        named = ", ".join(sorted(map(str, unknown)))
        raise RefusedError.of(f"expects a list out of {', '.join(sorted(known))}, got {named}")
    return list(made)


def parse_object(value: Any) -> dict[str, Any]:
    made = coerce_to(value, {"type": "object"})
    if not isinstance(made, dict):
        raise RefusedError.of("expects an object: parameter names and values")
    return made


def parse_json_object(value: Any) -> dict[str, Any]:
    made = parse_object(value)
    if missing := [Problem(at, marker.reason) for at, marker in find_missing(made)]:
        raise RefusedError(*missing)
    return made


def parse_fields(value: Any) -> dict[str, Any]:
    """Read values by the names of top-level fields, or by JSON pointers."""
    made = parse_json_object(value)
    if not made:
        raise RefusedError.of("is empty: name a field, or leave it out")
    if wrong := [name for name in made if not name or (not name.startswith("/") and set(".[") & {*name})]:
        raise RefusedError.of(
            f"{describe_value(wrong[0])} is not a field: nest objects as in the record, or write a JSON pointer,"
            " '/owner/id'"
        )
    return made


def parse_parameters(value: Any) -> Any:
    """Read what a database's driver gets: values of any type, as they are."""
    if isinstance(value, str):
        value = coerce_to(value, {"type": ["object", "array"]})
    if not isinstance(value, (Mapping, Sequence)):
        raise RefusedError.of(f"expects an object or a list, got {describe_value(value)}")
    if missing := [Problem(at, marker.reason) for at, marker in find_missing(value)]:
        raise RefusedError(*missing)
    return value


def parse_hook_params(value: Any) -> Any:
    made = parse_parameters(value)
    if not isinstance(made, Mapping):
        expected = "an object: names and values of the hook's arguments"
        raise RefusedError.of(f"expects {expected}, got {describe_value(made)}")
    return made


def parse_shard_argument(value: Any) -> Any:
    made = coerce_to(value, {"type": ["object", "array"]})
    try:
        if isinstance(made, dict) and {"index", "count"} <= set(made):
            made = {**made, **{name: parse_whole(made[name], at_least=0) for name in ("index", "count")}}
        elif isinstance(made, list):
            made = [parse_whole(number, at_least=0) for number in made]
        return vars(parse_shard(made))
    except RefusedError as error:
        raise RefusedError.of(
            f"expects an item of shards(n), or (index, count), got {describe_value(made)}: {error}"
        ) from None
    except ValueError as error:
        raise RefusedError.of(str(error).removeprefix("shard: ")) from None
