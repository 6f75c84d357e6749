"""The arguments of all operators: of what kind each is, how it is read after rendering, and what is refused.

An argument arrives as the DAG's author wrote it, as a template or another task's output made it, or out of a row of
a mapped task. Text that means a value of the argument's kind becomes that value (``"false"``, ``"32"``); anything
else is a problem under the argument's name. ``ARGUMENTS`` is the one table of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from pathlib import PurePath
from typing import Any, NamedTuple, get_args

from airflow_provider_truto.bulk.ledger_files import LOCAL
from airflow_provider_truto.bulk.shards import parse_shard
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.operators._task import codes_of_errors
from airflow_provider_truto.records.render import Missing
from airflow_provider_truto.records.request import RESPONSE_FORMATS, OnNone


class Required:
    """Stands where a required argument was left out; see ``defer_required_check``."""

    def __repr__(self) -> str:
        return "<required>"


REQUIRED: Any = Required()


class RefusedError(ValueError):
    """What is wrong with one argument; pointers lead into its value."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


class Kind(NamedTuple):
    """A kind of argument: ``read`` gives the typed value, or raises ``RefusedError``.

    ``is_fixed``: it is part of what the DAG file says, so that a literal which can never be right is told while the
    file is parsed. Ids, names and paths often come from the environment then; they are told when the task runs.
    """

    name: str
    read: Callable[[Any], Any]
    is_fixed: bool = False


class Argument(NamedTuple):
    """An argument: its kind, whether a ``None`` of the author's means something, and whether it is templated."""

    kind: Kind
    is_optional: bool = False
    is_templated: bool = True

    def read(self, value: Any, *, at: str) -> tuple[Any, list[Problem]]:
        """Type a value that was given; give it, or ``None`` and what is wrong with it, ``at`` the argument."""
        try:
            return self._typed(value), []
        except RefusedError as error:
            return None, [Problem(f"{at}{pointer}", message) for pointer, message in error.problems]

    def _typed(self, value: Any) -> Any:
        if isinstance(value, Missing):
            raise _refused(value.reason)
        if value is None and self.is_optional:
            return None
        if value is None and not self.kind.is_fixed:
            raise _refused("was given and is None: leave it out where nothing is meant")
        return self.kind.read(value)


def as_given(value: Any) -> Any:
    """Give a value as Airflow can render and store it: a path as text, a set in an order that stays.

    Airflow renders no ``Path``, and takes a set that it sees in another order for another version of the DAG. An
    ``ObjectStoragePath`` stays one: it may have a connection and options.
    """
    if isinstance(value, PurePath) and not hasattr(value, "protocol"):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return value


def is_known_early(value: Any) -> bool:
    """Whether a value is there while the DAG file is parsed: no template, and no other task's output."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(map(is_known_early, value.values()))
    if isinstance(value, Sequence):
        return all(map(is_known_early, value))
    return not hasattr(value, "resolve")


def is_path(value: Any) -> bool:
    """Whether a value is a path by its type; newer ``ObjectStoragePath``s are no ``PathLike``."""
    return isinstance(value, PathLike) or (hasattr(value, "protocol") and hasattr(value, "parts"))


# ---------------------------------------------------------------------------------------------------------- kinds


def _refused(message: str) -> RefusedError:
    return RefusedError(Problem("", message))


def _described(value: Any) -> str:
    from airflow_provider_truto.schemas.messages import describe_value

    return describe_value(value)


def _typed(value: Any, schema: Mapping[str, Any], *, name: str = "") -> Any:
    """Type a value as bodies are typed, under a name that says what it is: ids become text."""
    # Slow to import, and every DAG file imports this module.
    from airflow_provider_truto.records.coerce import coerce

    made = coerce({name: value}, {"properties": {name: schema}})
    if made.problems:
        raise RefusedError(*(problem._replace(pointer=problem.pointer[len(name) + 1 :]) for problem in made.problems))
    return made.value[name]


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    made = _typed(value, {"type": "boolean"})
    if not isinstance(made, bool):
        raise _refused(f"expects true or false, got {_described(made)}")
    return made


def _number(value: Any, expected: str) -> int | float:
    """Read a number; text keeps its spelling, so that ``"1.0"`` is no count."""
    made: Any = value
    if isinstance(value, str):
        try:
            made = json.loads(value)
        except ValueError:
            made = None
    elif not isinstance(value, (int, float)):
        made = _typed(value, {"type": "number"})
    is_number = isinstance(made, (int, float)) and not isinstance(made, bool)
    if not is_number or (isinstance(made, float) and not math.isfinite(made)):
        raise _refused(f"expects {expected}, got {_described(value)}")
    return made  # type: ignore[no-any-return]


def _count(value: Any) -> int:
    return _whole(value, at_least=1)


def _whole(value: Any, *, at_least: int) -> int:
    number = _number(value, "a whole number")
    if number != int(number):
        raise _refused(f"expects a whole number, got {number}")
    if number < at_least:
        raise _refused(f"must be {at_least} or more, got {number}")
    return int(number)


def _rate(value: Any) -> float:
    number = _number(value, "a number")
    if number < 0:
        raise _refused(f"must be 0 or more, got {number}")
    return number


def _failures(value: Any) -> float:
    number = _number(value, "a number, a share below 1 or None")
    if number < 0:
        raise _refused(f"expects a number, a share below 1 or None, got {number}")
    if isinstance(number, float) and number >= 1:
        raise _refused(f"a share is below 1, got {number}; give a count as a whole number")
    return number


def _seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        seconds: float = value.total_seconds()
    else:
        seconds = _number(value, "seconds or a timedelta")
    if seconds <= 0:
        raise _refused(f"must be more than 0 seconds, got {seconds:g}")
    return seconds


def _text(value: Any) -> str:
    made = _typed(value, {"type": "string"})
    if not isinstance(made, str):
        raise _refused(f"expects text, got {_described(made)}")
    return made


def _filled(value: Any) -> str:
    return _not_blank(_text(value))


def _delimiter(value: Any) -> str:
    made = _text(value)
    if len(made) != 1 or made in '"\r\n':
        raise _refused(f"expects one character that is no quote and ends no line, got {_described(made)}")
    return made


def _id(value: Any) -> str:
    made = _typed(value, {"type": "string"}, name="id")
    if not isinstance(made, str):
        raise _refused(f"expects text, got {_described(made)}")
    return _not_blank(made)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _refused("is empty")
    return text


def _path(value: Any) -> Any:
    """Read a path: text, or an ``ObjectStoragePath`` as it is."""
    if is_path(value):
        return as_given(value)
    if not isinstance(value, str):
        raise _refused(f"expects a path, got {_described(value)}")
    return _not_blank(str(value))


def _output(value: Any) -> Any:
    """Read a path to write to. A relative one means another folder on each worker, and another on Airflow 2.11."""
    path = _path(value)
    protocol, _, rest = str(path).rpartition("://")
    if protocol in LOCAL and not rest.startswith("/"):
        raise _refused(
            f"{_described(str(path))} is relative, and would be another folder on each worker: write an absolute path"
            " on a disk that all workers share, or a URL such as 's3://aws_default@bucket/truto'"
        )
    return path


def _source(value: Any) -> Any:
    """Read a path or a list of paths; rows are data, and stay as they come."""
    if isinstance(value, str) or is_path(value):
        return _path(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, Missing)) or is_path(item) for item in value):
        return _paths(value)
    return value


def _paths(values: Sequence[Any]) -> list[Any]:
    read = [Argument(PATH).read(value, at=f"/{number}") for number, value in enumerate(values)]
    if problems := [problem for _, found in read for problem in found]:
        raise RefusedError(*problems)
    return [path for path, _ in read]


def _names(value: Any) -> list[str]:
    made = _typed(value, {"type": "array", "items": {"type": "string"}})
    if not isinstance(made, list) or not all(isinstance(name, str) and name for name in made):
        raise _refused("expects a list of field names")
    return made


def _codes(value: Any) -> list[str]:
    known = codes_of_errors()
    try:
        made = _typed(sorted(value) if isinstance(value, (set, frozenset)) else value, {"type": "array"})
    except RefusedError:
        made = value
    unknown = [made] if not isinstance(made, list) else [code for code in made if code not in known]
    if unknown:
        named = ", ".join(sorted(map(str, unknown)))
        raise _refused(f"expects a list out of {', '.join(sorted(known))}, got {named}")
    return list(made)


def _object(value: Any) -> dict[str, Any]:
    made = _typed(value, {"type": "object"})
    if not isinstance(made, dict):
        raise _refused("expects an object: parameter names and values")
    return made


def _json_object(value: Any) -> dict[str, Any]:
    made = _object(value)
    if missing := [Problem(at, marker.reason) for at, marker in missing_in(made)]:
        raise RefusedError(*missing)
    return made


def _parameters(value: Any) -> Any:
    """Read what a database's driver gets: values of any type, as they are."""
    if isinstance(value, str):
        value = _typed(value, {"type": ["object", "array"]})
    if not isinstance(value, (Mapping, Sequence)):
        raise _refused(f"expects an object or a list, got {_described(value)}")
    if missing := [Problem(at, marker.reason) for at, marker in missing_in(value)]:
        raise RefusedError(*missing)
    return value


def _hook_params(value: Any) -> Any:
    made = _parameters(value)
    if not isinstance(made, Mapping):
        raise _refused(f"expects an object: names and values of the hook's arguments, got {_described(made)}")
    return made


def missing_in(value: Any, at: str = "") -> Iterator[tuple[str, Missing]]:
    """Find where templates within a value gave nothing, with pointers."""
    if isinstance(value, Missing):
        yield at, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from missing_in(item, f"{at}/{name}")
    elif isinstance(value, (Sequence, set)) and not isinstance(value, (str, bytes)):
        for number, item in enumerate(value):
            yield from missing_in(item, f"{at}/{number}")


def _shard(value: Any) -> Any:
    made = _typed(value, {"type": ["object", "array"]})
    try:
        if isinstance(made, dict) and {"index", "count"} <= set(made):
            made = {**made, **{name: _whole(made[name], at_least=0) for name in ("index", "count")}}
        elif isinstance(made, list):
            made = [_whole(number, at_least=0) for number in made]
        return vars(parse_shard(made))
    except RefusedError as error:
        raise _refused(f"expects an item of shards(n), or (index, count), got {_described(made)}: {error}") from None
    except ValueError as error:
        raise _refused(str(error).removeprefix("shard: ")) from None


def choice(*values: str | None) -> Kind:
    """Give the kind of an argument that is one of these."""
    expected = ", ".join(value for value in values if value is not None) + (" or None" if None in values else "")

    def read(value: Any) -> Any:
        made = _typed(value, {"type": "string"}) if isinstance(value, str) else value
        if not isinstance(made, str) or made not in values:
            raise _refused(f"expects one of {expected}, got {value!r}")
        return made

    return Kind("choice", read, is_fixed=True)


FLAG = Kind("flag", _flag, is_fixed=True)
COUNT = Kind("count", _count, is_fixed=True)
RATE = Kind("rate", _rate, is_fixed=True)
FAILURES = Kind("failures", _failures, is_fixed=True)
SECONDS = Kind("seconds", _seconds, is_fixed=True)
CODES = Kind("codes", _codes, is_fixed=True)
SHARD = Kind("shard", _shard, is_fixed=True)
DELIMITER = Kind("delimiter", _delimiter, is_fixed=True)
TEXT = Kind("text", _text)
NAME = Kind("name", _filled)
ID = Kind("id", _id)
PATH = Kind("path", _path)
OUTPUT = Kind("output", _output)
SOURCE = Kind("source", _source)
NAMES = Kind("names", _names)
OBJECT = Kind("object", _object)
JSON_OBJECT = Kind("JSON object", _json_object)
PARAMETERS = Kind("parameters", _parameters)
HOOK_PARAMS = Kind("hook params", _hook_params)
#: Read by what it is for: a body by its schema, a mapping by its rows.
AS_IS = Kind("as it is", lambda value: value)

# ---------------------------------------------------------------------------------------------------------- the table

#: Every argument of every operator.
ARGUMENTS: Mapping[str, Argument] = {
    # The connection, and the customer.
    "truto_conn_id": Argument(NAME),
    "integrated_account_id": Argument(ID),
    "tenant_id": Argument(ID),
    "integration": Argument(NAME),
    "expected_tenant_id": Argument(ID),
    # What is called.
    "model": Argument(NAME),
    "resource": Argument(NAME),
    "method": Argument(NAME),
    "record_id": Argument(ID),
    "account_id": Argument(ID),
    "body": Argument(AS_IS, is_optional=True),
    "body_file": Argument(PATH, is_optional=True),
    "query": Argument(OBJECT, is_optional=True),
    "remote_query": Argument(OBJECT, is_optional=True),
    "response_format": Argument(choice(*RESPONSE_FORMATS)),
    "ignore_remote_data": Argument(FLAG),
    "exclude_fields": Argument(NAMES, is_optional=True),
    "idempotency_key": Argument(TEXT, is_optional=True),
    # How it is checked.
    "schema": Argument(AS_IS, is_optional=True, is_templated=False),
    "extra_fields": Argument(NAMES, is_optional=True),
    "on_none": Argument(choice(*get_args(OnNone))),
    "allow_empty": Argument(FLAG),
    "check_custom_fields": Argument(FLAG),
    "preflight": Argument(FLAG),
    "preview": Argument(FLAG),
    "expect": Argument(TEXT),
    "skip_unchanged": Argument(FLAG),
    "verify": Argument(choice("warn", "fail", None), is_optional=True),
    "skip_on": Argument(CODES),
    # Where the answer goes.
    "output_path": Argument(OUTPUT, is_optional=True),
    "max_records": Argument(COUNT, is_optional=True),
}
#: Those of the bulk operators: what they have beside the others, and what means something else there.
BULK_ARGUMENTS: Mapping[str, Argument] = {
    **ARGUMENTS,
    "source": Argument(SOURCE, is_optional=True),
    "sql": Argument(NAME, is_optional=True),
    "query": Argument(NAME, is_optional=True),  # the deprecated name of the former
    "sql_conn_id": Argument(NAME, is_optional=True),
    "query_parameters": Argument(PARAMETERS, is_optional=True),
    "hook_params": Argument(HOOK_PARAMS, is_optional=True),
    "mapping": Argument(AS_IS, is_optional=True, is_templated=False),
    "shard": Argument(SHARD, is_optional=True),
    "output_path": Argument(OUTPUT),
    "max_failures": Argument(FAILURES, is_optional=True),
    "concurrency": Argument(COUNT),
    "requests_per_second": Argument(RATE, is_optional=True),
    "null_marker": Argument(TEXT, is_optional=True),
    "delimiter": Argument(DELIMITER),
    "validate_first": Argument(FLAG),
    "max_runtime": Argument(SECONDS, is_optional=True),
    "on_source_change": Argument(choice("error", "restart")),
    "on_clear": Argument(choice("resume", "restart")),
    "bulk_task_id": Argument(NAME),
    "expected_shards": Argument(COUNT, is_optional=True),
}
#: Those of what runs sync jobs, or waits for one.
SYNC_JOB_ARGUMENTS: Mapping[str, Argument] = {
    **ARGUMENTS,
    "sync_job_id": Argument(ID),
    "sync_job_run_id": Argument(ID),
    "args": Argument(JSON_OBJECT, is_optional=True),
    "sync_resources": Argument(NAMES, is_optional=True),
    "error_handling": Argument(choice("fail_fast", "ignore", "batch")),
    "ignore_previous_run": Argument(FLAG),
    "force": Argument(FLAG, is_optional=True),
    "super_query": Argument(choice("apac", "wnam", None), is_optional=True),
    "webhook_id": Argument(ID),
    "daemon_group_key": Argument(NAME),
    "datastore_id": Argument(ID),
    "mutex_key": Argument(NAME),
    "state_key": Argument(NAME),
    "events_to_send": Argument(NAMES, is_optional=True),
    "wait": Argument(FLAG),
    "deferrable": Argument(FLAG, is_templated=False),
    "poll_interval": Argument(SECONDS),
    "timeout": Argument(SECONDS),
    "max_failed_polls": Argument(COUNT),
    "stop_on_kill": Argument(FLAG),
}
