"""One record of a bulk: what is to be done, in which customer's CRM, and where it stood in the source."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.names import CUSTOMER_NAMES, nearest
from airflow_provider_truto.client.numbers import exact_json, whole_number
from airflow_provider_truto.records.render import Missing, mark_missing
from airflow_provider_truto.records.scalars import is_nothing, to_number, to_plain_text

#: What a failures file has beside the record itself, so that it can be a source as it is.
_OF_FAILURES = frozenset({"ordinal", "place", "error", "unwritable"})
#: What a record has.
RECORD_KEYS = ("id", "body", "integrated_account_id")
_IDS = frozenset({"id", "integrated_account_id"})
#: What people call the customer and the record, and what a record calls them.
_MEANT = {
    **dict.fromkeys((*CUSTOMER_NAMES, "tenant", "integration"), "integrated_account_id"),
    **dict.fromkeys(("id", "record_id", "account_id"), "id"),
    "account": "integrated_account_id, or id",
    "body": "body",
}
#: Those that choose a customer also as the beginning of a path, where ``account.id`` is a field of a contact.
_MEANT_AS_OBJECT = (*CUSTOMER_NAMES, "tenant", "integration")
_NO_ACCOUNT = "is empty: a row that names a customer must not go to the default one"
#: One step of a column's path: a name, or a place in a list.
_STEP = re.compile(r"([^.\[\]]+)|\[(\d{1,3})\]")
#: The column that holds the whole body, and where it is kept meanwhile: no name of a column.
_BODY = "body"
_WHOLE = ""
#: Places in a list beyond this are a mistake in a header.
_MOST_PLACES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """``ordinal`` counts the source's rows from 0. ``problems`` say why a row is no record; it is never sent.

    ``integrated_account_id``: ``None`` where the row names none, so that the default one steps in; ``""`` where it
    names one that is none, or is no record, so that none does.
    ``nulls_are_meant``: a ``None`` in the body clears a field; else it came as data and may be an accident.
    ``left_out`` says why a row asks for nothing. ``place`` says where an editor finds it, as ``line 7 of a.csv``.
    """

    ordinal: int
    id: str | None = None
    body: Any = None
    integrated_account_id: str | None = None
    nulls_are_meant: bool = False
    problems: tuple[Problem, ...] = ()
    left_out: str | None = None
    place: str | None = None

    @property
    def told(self) -> str:
        """Say in messages which row it is."""
        return row_told(self.ordinal, self.place)


def row_told(ordinal: int, place: str | None) -> str:
    """Name a row for messages: by its number in the ledger, and by where an editor finds it."""
    return f"row {ordinal}" if place is None else f"row {ordinal} ({place})"


class RowMapping(Protocol):
    """Turns rows of any shape into records."""

    def record(self, row: Any, ordinal: int) -> Record:
        """Make the record of a row. Raises nothing: what goes wrong becomes its problems."""

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise ``ValueError`` where the mapping names a column that no row has."""


class Table(Protocol):
    """Reads rows that have a header."""

    def record(self, cells: Sequence[Any], ordinal: int) -> Record:
        """Read one row."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How rows become records: by their own keys and columns, or by a ``mapping``.

    ``null_marker`` is the text that stands for a null that is meant; ``sends_nulls`` says that NULL in a table of SQL
    means the same, where it is else not given. ``extra_fields`` name columns that are fields of the CRM although they
    look like the name of a customer or a record.
    """

    needs_id: bool = True
    needs_body: bool = True
    null_marker: str | None = None
    sends_nulls: bool = False
    mapping: RowMapping | None = None
    extra_fields: Sequence[str] = ()

    def record(self, row: Any, ordinal: int) -> Record:
        """Read a row that is an object. Raises nothing."""
        if self.mapping is not None:
            return self.mapping.record(row, ordinal)
        return record_of(row, ordinal, needs_id=self.needs_id, needs_body=self.needs_body)

    def table(self, names: Sequence[str], *, has_nulls: bool = False) -> Table:
        """Read a header. Raises ``ValueError`` where it is none; ``has_nulls`` tells SQL from text."""
        names = [name.strip() for name in names]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ValueError(f"the header names {', '.join(sorted(doubled))} more than once")
        if self.mapping is not None:
            self.mapping.check_columns(names)
            return _MappedColumns(names, self.mapping)
        return Columns(
            names,
            null_marker=self.null_marker,
            sends_nulls=self.sends_nulls and has_nulls,
            needs_id=self.needs_id,
            extra_fields=self.extra_fields,
        )


def record_of(row: Any, ordinal: int, *, needs_id: bool = True, needs_body: bool = True) -> Record:
    """Read a row ``{"id", "body", "integrated_account_id"?}``. What is wrong with it becomes its problems.

    Ids that are whole numbers become text. Raises nothing.
    """
    if not isinstance(row, Mapping):
        return _bad(ordinal, "/", f"is {type(row).__name__}, not an object with id and body")
    problems = [
        Problem(f"/{key}", f"means nothing here: a record has {', '.join(RECORD_KEYS)}{_hint(key)}")
        for key in row
        if key not in RECORD_KEYS and key not in _OF_FAILURES
    ]
    record_id, account = (_as_id(row.get(key)) for key in ("id", "integrated_account_id"))
    if needs_id and record_id in (None, ""):
        problems.append(Problem("/id", "is missing or empty"))
    if account == "" or (account is None and "integrated_account_id" in row):
        problems.append(Problem("/integrated_account_id", _NO_ACCOUNT))
    for key, value in (("id", record_id), ("integrated_account_id", account)):
        if value is not None and not isinstance(value, str):
            problems.append(Problem(f"/{key}", _not_text(value)))
    if needs_body and row.get("body") is None:
        problems.append(Problem("/body", "is missing"))
    problems += _unwritable_problems(row.get("unwritable"))
    return Record(
        ordinal=ordinal,
        id=record_id if isinstance(record_id, str) else None,
        body=row.get("body"),
        integrated_account_id=_account(account, is_named="integrated_account_id" in row),
        problems=tuple(problems),
    )


def _hint(key: Any) -> str:
    near = nearest(key, _MEANT) if isinstance(key, str) else None
    return f"; did you mean {_MEANT[near]}?" if near else ""


def _unwritable_problems(pointers: Any) -> list[Problem]:
    """Refuse a line of a failures file that is not what was to be sent; see ``rows.fed_back``."""
    if pointers is None:
        return []
    if not isinstance(pointers, list) or not all(isinstance(pointer, str) for pointer in pointers):
        return [Problem("/unwritable", "expects a list of JSON pointers into the body")]
    message = (
        "could not be written into a failures file as it was: put the value there that is to be sent, and take the"
        " pointer out of `unwritable`"
    )
    return [Problem(f"/body{pointer}".rstrip("/"), message) for pointer in pointers]


def _account(given: Any, *, is_named: bool) -> str | None:
    if isinstance(given, str):
        return given
    return "" if is_named else None


def mapped_record(made: Mapping[str, Any], ordinal: int, *, needs_id: bool, needs_body: bool) -> Record:
    """Make the record of rendered templates: what is ``None`` in the body was written in the DAG file.

    Raises nothing; an id that is ``Missing`` becomes a problem.
    """
    missing = [Problem(f"/{key}", made[key].reason) for key in RECORD_KEYS if isinstance(made.get(key), Missing)]
    record = record_of(
        {key: value for key, value in made.items() if not isinstance(value, Missing)},
        ordinal,
        needs_id=needs_id and not isinstance(made.get("id"), Missing),
        needs_body=needs_body and not isinstance(made.get("body"), Missing),
    )
    if isinstance(made.get("integrated_account_id"), Missing):
        record = replace(record, integrated_account_id="")
    return replace(record, nulls_are_meant=True, problems=(*missing, *record.problems))


def unreadable(ordinal: int, *problems: Problem) -> Record:
    """Make the record of a row that could not be read: whose it is, nobody knows."""
    return Record(ordinal=ordinal, integrated_account_id="", problems=problems)


def left_out(ordinal: int, reason: str) -> Record:
    """Make the record of a row that asks for nothing."""
    return Record(ordinal=ordinal, integrated_account_id="", left_out=reason)


class Columns:
    """The header of a table: ``id``, ``integrated_account_id``, and paths into the body.

    ``owner.id`` and ``custom_fields.tier`` are nested names, ``addresses[0].city`` is in a list, and ``body`` is all
    of it, as JSON. Raises ``ValueError`` for a header that names no id, for one that may name a customer or a record
    by another name, and for two columns where one would lie inside the other.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        null_marker: str | None,
        sends_nulls: bool = False,
        needs_id: bool = True,
        extra_fields: Sequence[str] = (),
    ) -> None:
        self._names = names
        self._null_marker = null_marker
        self._sends_nulls = sends_nulls
        _check_names(names, extra_fields)
        if needs_id and "id" not in names:
            raise ValueError(f"the header has no column `id`: it has {', '.join(names) or 'nothing'}")
        self._needs_id = needs_id
        self._paths = {name: _path(name) for name in names if name not in _IDS}
        _check_paths(self._paths)

    def record(self, cells: Sequence[Any], ordinal: int) -> Record:
        """Read one row: a cell that is ``None`` is not given, ``null_marker`` is a null that is meant."""
        if len(cells) != len(self._names):
            return _bad(ordinal, "/", f"has {len(cells)} cells, the header has {len(self._names)}")
        body: dict[Any, Any] = {}
        ids: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, cell in zip(self._names, cells, strict=True):
            is_null = cell is None or (self._null_marker is not None and cell == self._null_marker)
            if name in _IDS:
                ids[name] = None if is_null else _as_id(cell)
            elif not is_null:
                try:
                    _put(body, self._paths[name], _cell(name, cell))
                except ValueError as error:
                    problems.append(Problem("/body", str(error)))
            elif cell is not None or self._sends_nulls:
                _put(body, self._paths[name], None)
        return Record(
            ordinal=ordinal,
            id=_text_or_none(ids.get("id")),
            body=_without_gaps(body.get(_WHOLE, body)),
            integrated_account_id=_account(
                ids.get("integrated_account_id"), is_named="integrated_account_id" in self._names
            ),
            nulls_are_meant=True,
            problems=(*_id_problems(ids, needs_id=self._needs_id), *problems),
        )


class _MappedColumns:
    """The header of a table whose rows go through a mapping."""

    def __init__(self, names: Sequence[str], mapping: RowMapping) -> None:
        self._names = names
        self._mapping = mapping

    def record(self, cells: Sequence[Any], ordinal: int) -> Record:
        if len(cells) != len(self._names):
            return _bad(ordinal, "/", f"has {len(cells)} cells, the header has {len(self._names)}")
        return self._mapping.record(dict(zip(self._names, cells, strict=True)), ordinal)


def _id_problems(ids: Mapping[str, Any], *, needs_id: bool) -> list[Problem]:
    problems = []
    for name, value in ids.items():
        if value in (None, ""):
            if name == "integrated_account_id":
                problems.append(Problem("/integrated_account_id", _NO_ACCOUNT))
            elif needs_id:
                problems.append(Problem("/id", "is missing or empty"))
        elif not isinstance(value, str):
            problems.append(Problem(f"/{name}", _not_text(value)))
    return problems


def _not_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"expects text, got {value}: had its column a NULL on its way through pandas? Make it whole, or text"
    return f"expects text, got {type(value).__name__}"


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _cell(name: str, cell: Any) -> Any:
    """Give a cell's value. Raises ``ValueError`` where the whole body is no object."""
    if name == _BODY:
        value = exact_json(cell) if isinstance(cell, str) else cell
        if not isinstance(value, Mapping):
            raise ValueError(f"expects a JSON object, got {type(value).__name__}")
        cell = value
    # Null inside a JSON column came as data; NULL of the column itself was looked at before.
    return cell if isinstance(cell, str) else mark_missing(cell, source=f"the column {name}")


def _check_names(names: Sequence[str], extra_fields: Sequence[str]) -> None:
    """Raise ``ValueError`` for columns that may be meant to name the customer or the record.

    As fields of a body they would be dropped without a word, and every row would go to the default customer.
    """
    fields = {field.removeprefix("/") for field in extra_fields}
    wrong = [
        f"{name!r} (did you mean {meant}?)"
        for name in names
        if name not in {*_IDS, _BODY} and (meant := _meant(name, fields)) is not None
    ]
    if wrong:
        raise ValueError(
            f"the header has {', '.join(wrong)}. A row names its record by `id` and its customer by"
            " `integrated_account_id`, spelled like this: rename the column (in SQL by AS, such as"
            ' `… AS "integrated_account_id"`; without the quotes some databases write it in capitals), or leave it'
            " out. Where it is a field of the CRM's record, name it in extra_fields, or give a mapping"
        )


def _meant(column: str, fields: Collection[str]) -> str | None:
    """Say what a column may be meant to name; ``None`` for a field of the body."""
    first, *rest = re.split(r"[.\[]", column)
    if rest and nearest(first, [_BODY]):
        first, *rest = rest
    if first in fields:
        return None
    near = nearest(first, _MEANT_AS_OBJECT if rest else _MEANT)
    return None if near is None else _MEANT[near]


def _path(name: str) -> tuple[str | int, ...]:
    """Read the path of a column. Raises ``ValueError``."""
    if name == _BODY:
        return (_WHOLE,)
    path = tuple(_steps(name))
    if not path or isinstance(path[0], int):
        raise ValueError(f"the column {name!r} is no path such as owner.id or addresses[0].city")
    return path


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


def _steps(name: str) -> Iterator[str | int]:
    place = 0
    path = name.removeprefix("body.")
    while place < len(path):
        if place and path[place] == ".":
            place += 1
        elif place and path[place] != "[":
            raise ValueError(f"the column {name!r} is no path such as owner.id or addresses[0].city")
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
    """Write whole numbers and UUIDs as text, whatever library they are of; a warehouse gives them as Decimal, too."""
    if isinstance(value, str):
        return to_plain_text(value)
    if isinstance(value, UUID):
        return str(value)
    if is_nothing(value):
        return None
    number = to_number(value)
    whole = None if number is None or isinstance(number, bool) else whole_number(number)
    return value if whole is None else str(whole)


def _bad(ordinal: int, pointer: str, message: str) -> Record:
    return unreadable(ordinal, Problem(pointer, message))
