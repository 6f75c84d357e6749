"""What an argument of an operator is: its kind, how its value is read, and what a value is before it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import PurePath
from typing import Any, NamedTuple

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.records.render import Missing, Unknown


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

    @classmethod
    def of(cls, message: str) -> RefusedError:
        """Refuse the whole value."""
        return cls(Problem("", message))


class Kind(NamedTuple):
    """A kind of argument: ``read`` returns the typed value, or raises ``RefusedError``.

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
        """Return a value that was given with its type, or ``None`` and what is wrong with it, ``at`` the argument."""
        try:
            return self._read_given(value), []
        except RefusedError as error:
            return None, [Problem(f"{at}{pointer}", message) for pointer, message in error.problems]

    def _read_given(self, value: Any) -> Any:
        if isinstance(value, Missing):
            raise RefusedError.of(value.reason)
        if value is None and self.is_optional:
            return None
        if value is None and not self.kind.is_fixed:
            raise RefusedError.of("was given and is None: leave it out where nothing is meant")
        return self.kind.read(value)


def to_renderable(value: Any) -> Any:
    """Return a value as Airflow can render and store it: a path as text, a set in an order that stays.

    Airflow renders no ``Path``, and takes a set that it sees in a different order for a different version of the DAG.
    An ``ObjectStoragePath`` stays one: it may have a connection and options.
    """
    if isinstance(value, PurePath) and not hasattr(value, "protocol"):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return value


def is_own(value: Any, *others: Any) -> bool:
    """Whether a value was given to a task itself: it is neither the argument's default nor that of ``default_args``.

    Airflow hands on the very objects of ``default_args``. An equal one, given once more, is taken for them.
    """
    return not any(value is other or (type(value) is type(other) and value == other) for other in others)


def is_known_at_parse(value: Any) -> bool:
    """Whether a value is there while the DAG file is parsed: no template, and no other task's output."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(map(is_known_at_parse, value.values()))
    if isinstance(value, Sequence):
        return all(map(is_known_at_parse, value))
    return not hasattr(value, "resolve")


def is_path(value: Any) -> bool:
    """Whether a value is a path by its type; newer ``ObjectStoragePath``s are not ``PathLike``."""
    return isinstance(value, PathLike) or (hasattr(value, "protocol") and hasattr(value, "parts"))


def find_missing(value: Any, at: str = "") -> Iterator[tuple[str, Missing]]:
    """Find where templates within a value rendered to nothing, with pointers."""
    if isinstance(value, Missing):
        yield at, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from find_missing(item, f"{at}/{name}")
    elif isinstance(value, (Sequence, set)) and not isinstance(value, (str, bytes)):
        for number, item in enumerate(value):
            yield from find_missing(item, f"{at}/{number}")


def remove_markers(value: Any) -> Any:
    """Return a rendered value with ``None`` where templates gave nothing. Raises Jinja's ``UndefinedError``."""
    if isinstance(value, Unknown):
        from jinja2 import UndefinedError

        raise UndefinedError(value.reason)
    if isinstance(value, Missing):
        return None
    if isinstance(value, dict):
        return {key: remove_markers(item) for key, item in value.items()}
    if type(value) in {list, tuple, set}:
        return type(value)(remove_markers(item) for item in value)
    return value
