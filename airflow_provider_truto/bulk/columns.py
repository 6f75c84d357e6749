"""The header of a table, and the records of the rows below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_truto.bulk.record import (
    MEANINGS,
    Record,
    describe_not_text,
    make_unreadable,
    normalize_id,
    read_customer,
)
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.names import CUSTOMER_ARGUMENTS, CUSTOMER_NAMES, find_nearest
from airflow_provider_truto.client.numbers import parse_exact_json
from airflow_provider_truto.client.plurals import count
from airflow_provider_truto.records.render import mark_missing

_IDS = frozenset({"id", "integrated_account_id"})
#: Those that choose a customer also as the first step of a path, where ``account.id`` is a field of a contact.
_MEANINGS_AS_OBJECT = (*CUSTOMER_NAMES, "tenant", "integration")
#: One step of a column's path: a name, or a place in a list.
_STEP = re.compile(r"([^.\[\]]+)|\[(\d{1,3})\]")
#: The column that holds the whole body, and where it is kept meanwhile: no name of a column.
_BODY = "body"
_WHOLE = ""
#: Places in a list beyond this are a mistake in a header.
_MOST_PLACES = 100


#: Says why no body has the field at a path; ``None`` where it may.
ExplainUnknown = Callable[[Sequence[str | int]], str | None]


class Columns:
    """The header of a table: ``id``, what names the customer, and paths into the body.

    ``owner.id`` and ``custom_fields.tier`` are nested names, ``addresses[0].city`` is in a list, and ``body`` is all
    of it, as JSON. Raises ``ValueError`` for a header that names no id, for one that may name a customer or a record
    by another name, for a field that no body has, and for two columns where one would lie inside the other.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        null_marker: str | None,
        sends_nulls: bool = False,
        needs_id: bool = True,
        extra_fields: Sequence[str] = (),
        explain_unknown: ExplainUnknown = lambda _path: None,
    ) -> None:
        fields = {field.removeprefix("/") for field in extra_fields}
        self._ids = _IDS.union(CUSTOMER_ARGUMENTS).difference(fields - _IDS)
        self._names = names
        self._null_marker = null_marker
        self._sends_nulls = sends_nulls
        _check_names(names, self._ids, fields)
        if needs_id and "id" not in names:
            raise ValueError(
                f"the header has no column `id`: it has {', '.join(names) or 'nothing'}. Name the column of the"
                " record's id so (in SQL: … AS id), or give a mapping; match_on finds records without one"
            )
        self._needs_id = needs_id
        self._paths = {name: _parse_path(name) for name in names if name not in self._ids}
        _check_paths(self._paths)
        _check_fields(self._paths, explain_unknown)

    def parse(self, cells: Sequence[Any], ordinal: int) -> Record:
        """Read one row: a cell that is ``None`` is not given, ``null_marker`` is a null that is meant."""
        if len(cells) != len(self._names):
            return make_unreadable(
                ordinal, Problem("/", f"has {count(len(cells), 'cell')}, the header has {len(self._names)}")
            )
        body: dict[Any, Any] = {}
        ids: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, cell in zip(self._names, cells, strict=True):
            is_null = cell is None or (self._null_marker is not None and cell == self._null_marker)
            if name in self._ids:
                ids[name] = None if is_null else normalize_id(cell)
            elif not is_null:
                try:
                    _put(body, self._paths[name], _parse_cell(name, cell))
                except ValueError as error:
                    problems.append(Problem("/body", str(error)))
            elif cell is not None or self._sends_nulls:
                _put(body, self._paths[name], None)
        record_id = ids.pop("id", None)
        customer, of_customer = read_customer(ids)
        return Record(
            ordinal=ordinal,
            id=record_id if isinstance(record_id, str) and record_id else None,
            body=_close_gaps(body.get(_WHOLE, body)),
            **customer._asdict(),
            nulls_are_meant=True,
            problems=(*self._find_id_problems(record_id), *of_customer, *problems),
        )

    def _find_id_problems(self, record_id: Any) -> list[Problem]:
        if record_id in (None, ""):
            return [Problem("/id", "is missing or empty")] if self._needs_id else []
        return [] if isinstance(record_id, str) else [Problem("/id", describe_not_text(record_id))]


def _parse_cell(name: str, cell: Any) -> Any:
    """Return a cell's value. Raises ``ValueError`` where the whole body is not an object."""
    if name == _BODY:
        value = parse_exact_json(cell) if isinstance(cell, str) else cell
        if not isinstance(value, Mapping):
            raise ValueError(f"expects a JSON object, got {type(value).__name__}")
        cell = value
    # Null inside a JSON column came as data; NULL of the column itself was looked at before.
    return cell if isinstance(cell, str) else mark_missing(cell, source=f"the column {name}")


def _check_names(names: Sequence[str], ids: Collection[str], fields: Collection[str]) -> None:
    """Raise ``ValueError`` for columns that may be meant to name the customer or the record.

    As fields of a body they would be dropped without a word, and every row would go to the default customer.
    """
    if "integration" in ids and "integration" in names and "tenant_id" not in names:
        raise ValueError(
            "the header has `integration` without `tenant_id`: it alone names no customer. Where it is a field of the"
            " CRM's record, name it in extra_fields"
        )
    wrong = [
        f"{name!r} (did you mean {meant}?)"
        for name in names
        if name not in {*ids, _BODY} and (meant := _find_meaning(name, fields)) is not None
    ]
    if wrong:
        raise ValueError(
            f"the header has {', '.join(wrong)}. A row names its record by `id` and its customer by"
            " `integrated_account_id`, or by `tenant_id`, spelled like this: rename the column (in SQL by AS, such as"
            ' `… AS "integrated_account_id"`; without the quotes some databases write it in capitals), or leave it'
            " out. Where it is a field of the CRM's record, name it in extra_fields, or give a mapping"
        )


def _find_meaning(column: str, fields: Collection[str]) -> str | None:
    """Return what a column may be meant to name; ``None`` for a field of the body."""
    first, *rest = re.split(r"[.\[]", column)
    if rest and find_nearest(first, [_BODY]):
        first, *rest = rest
    if first in fields:
        return None
    near = find_nearest(first, _MEANINGS_AS_OBJECT if rest else MEANINGS)
    return None if near is None else MEANINGS[near]


def _parse_path(name: str) -> tuple[str | int, ...]:
    """Read the path of a column. Raises ``ValueError``."""
    if name == _BODY:
        return (_WHOLE,)
    path = tuple(_parse_steps(name))
    if not path or isinstance(path[0], int):
        raise ValueError(f"the column {name!r} is not a path such as owner.id or addresses[0].city")
    return path


def _check_fields(paths: Mapping[str, tuple[str | int, ...]], explain_unknown: ExplainUnknown) -> None:
    """Raise ``ValueError`` for fields that no body has: every row would fail that has something in the column."""
    found = {name: explain_unknown(path) for name, path in paths.items() if path != (_WHOLE,)}
    wrong = [f"the column {name!r} {why}" for name, why in found.items() if why is not None]
    if wrong:
        raise ValueError(
            f"{'; '.join(wrong)}. Rename the column, leave it out, or give a mapping; where the CRM has such a field,"
            " name it in extra_fields"
        )


def _check_paths(paths: Mapping[str, tuple[str | int, ...]]) -> None:
    """Raise ``ValueError`` where two columns cannot stand in one body."""
    if _BODY in paths and len(paths) > 1:
        other = next(name for name in paths if name != _BODY)
        raise ValueError(f"the column {other!r} would lie inside the column 'body'")
    kinds: dict[tuple[str | int, ...], tuple[str, type]] = {}
    ends: dict[tuple[str | int, ...], str] = {}
    for name, path in paths.items():
        if path in ends:
            raise ValueError(f"the columns {ends[path]!r} and {name!r} mean the same field")
        ends[path] = name
    for name, path in paths.items():
        for length in range(1, len(path)):
            head = path[:length]
            if head in ends:
                raise ValueError(f"the column {name!r} would lie inside the column {ends[head]!r}")
            other, kind = kinds.setdefault(head, (name, type(path[length])))
            if kind is not type(path[length]):
                raise ValueError(f"the columns {other!r} and {name!r} make a list and an object of one field")


def _parse_steps(name: str) -> Iterator[str | int]:
    place = 0
    path = name.removeprefix("body.")
    while place < len(path):
        if place and path[place] == ".":
            place += 1
        elif place and path[place] != "[":
            raise ValueError(f"the column {name!r} is not a path such as owner.id or addresses[0].city")
        found = _STEP.match(path, place)
        if found is None:
            raise ValueError(f"the column {name!r} is not a path such as owner.id or addresses[0].city")
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


def _close_gaps(node: Any) -> Any:
    """Make lists of dicts with numbers as keys; an item of which nothing was given is left out."""
    if not isinstance(node, dict):
        return node
    if node and all(isinstance(key, int) for key in node):
        return [_close_gaps(node[key]) for key in sorted(node)]
    return {str(key): _close_gaps(value) for key, value in node.items()}
