"""One record of a bulk: what is to be done, in which customer's CRM, and where it stood in the source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.client.errors import Problem

#: What a failures file has beside the record itself, so that it can be a source as it is.
_OF_FAILURES = frozenset({"ordinal", "error"})
_KEYS = ("id", "body", "integrated_account_id")
#: One step of a column's path: a name, or a place in a list.
_STEP = re.compile(r"([^.\[\]]+)|\[(\d{1,3})\]")
#: Places in a list beyond this are a mistake in a header.
_MOST_PLACES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """``ordinal`` counts the source's rows from 0. ``problems`` say why a row is no record; it is never sent.

    ``nulls_are_meant``: a ``None`` in the body clears a field; else it came as data and may be an accident.
    """

    ordinal: int
    id: str | None = None
    body: Any = None
    integrated_account_id: str | None = None
    nulls_are_meant: bool = False
    problems: tuple[Problem, ...] = ()


def record_of(row: Any, ordinal: int, *, needs_id: bool = True, needs_body: bool = True) -> Record:
    """Read a row ``{"id", "body", "integrated_account_id"?}``. What is wrong with it becomes its problems.

    Ids that are whole numbers become text. Raises nothing.
    """
    if not isinstance(row, Mapping):
        return _bad(ordinal, "/", f"is {type(row).__name__}, not an object with id and body")
    problems = [
        Problem(f"/{key}", f"means nothing here: a record has {', '.join(_KEYS)}")
        for key in row
        if key not in _KEYS and key not in _OF_FAILURES
    ]
    record_id, account = (_as_id(row.get(key)) for key in ("id", "integrated_account_id"))
    if needs_id and record_id in (None, ""):
        problems.append(Problem("/id", "is missing or empty"))
    for key, value in (("id", record_id), ("integrated_account_id", account)):
        if value is not None and not isinstance(value, str):
            problems.append(Problem(f"/{key}", f"expects text, got {type(value).__name__}"))
    if needs_body and row.get("body") is None:
        problems.append(Problem("/body", "is missing"))
    return Record(
        ordinal=ordinal,
        id=record_id if isinstance(record_id, str) else None,
        body=row.get("body"),
        integrated_account_id=account if isinstance(account, str) else None,
        problems=tuple(problems),
    )


def unreadable(ordinal: int, reason: str) -> Record:
    """Make the record of a row that could not even be read."""
    return _bad(ordinal, "/", reason)


class Columns:
    """The header of a CSV file: ``id``, ``integrated_account_id``, and paths into the body.

    ``owner.id`` and ``custom_fields.tier`` are nested names, ``addresses[0].city`` is in a list. Raises
    ``ValueError`` for a header that names no id, a column twice, or two columns where one would lie inside the other.
    """

    def __init__(self, names: list[str], *, null_marker: str | None, needs_id: bool = True) -> None:
        self._names = [name.strip() for name in names]
        self._null_marker = null_marker
        doubled = {name for name in self._names if self._names.count(name) > 1}
        if doubled:
            raise ValueError(f"the header names {', '.join(sorted(doubled))} more than once")
        if needs_id and "id" not in self._names:
            raise ValueError(f"the header has no column `id`: it has {', '.join(self._names) or 'nothing'}")
        self._paths = {
            name: tuple(_steps(name)) for name in self._names if name not in {"id", "integrated_account_id"}
        }
        paths = list(self._paths.items())
        for name, path in paths:
            for other, longer in paths:
                if len(longer) > len(path) and longer[: len(path)] == path:
                    raise ValueError(f"the column {other!r} would lie inside the column {name!r}")

    def record(self, cells: list[str], ordinal: int) -> Record:
        """Read one line: an empty cell is not given, ``null_marker`` is a null that is meant."""
        if len(cells) != len(self._names):
            return _bad(ordinal, "/", f"has {len(cells)} cells, the header has {len(self._names)}")
        body: dict[str, Any] = {}
        ids: dict[str, str] = {}
        for name, cell in zip(self._names, cells, strict=True):
            if cell == "":
                continue
            if name not in self._paths:
                ids[name] = cell
            else:
                _put(body, self._paths[name], None if cell == self._null_marker else cell)
        problems = () if ids.get("id") or "id" not in self._names else (Problem("/id", "is missing or empty"),)
        return Record(
            ordinal=ordinal,
            id=ids.get("id"),
            body=_without_gaps(body),
            integrated_account_id=ids.get("integrated_account_id"),
            nulls_are_meant=True,
            problems=problems,
        )


def _steps(name: str) -> Iterator[str | int]:
    place = 0
    path = name.removeprefix("body.")
    while place < len(path):
        if place and path[place] == ".":
            place += 1
        found = _STEP.match(path, place)
        if found is None:
            raise ValueError(f"the column {name!r} is no path such as owner.id or addresses[0].city")
        place = found.end()
        if found[1] is not None:
            yield found[1]
        elif int(found[2]) < _MOST_PLACES:
            yield int(found[2])
        else:
            raise ValueError(f"the column {name!r} names a place beyond {_MOST_PLACES}")


def _put(target: dict[Any, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Put a value into a tree in which lists are dicts with whole numbers as keys."""
    for step in path[:-1]:
        target = target.setdefault(step, {})
    target[path[-1]] = value


def _without_gaps(node: Any) -> Any:
    """Make lists of dicts with numbers as keys; an item of which nothing was given is none."""
    if not isinstance(node, dict):
        return node
    if node and all(isinstance(key, int) for key in node):
        return [_without_gaps(node[key]) for key in sorted(node)]
    return {str(key): _without_gaps(value) for key, value in node.items()}


def _as_id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _bad(ordinal: int, pointer: str, message: str) -> Record:
    return Record(ordinal=ordinal, problems=(Problem(pointer, message),))
