"""How the rows of a source become records: by their own keys and columns, or by a mapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_truto.bulk.columns import Columns, ExplainUnknown
from airflow_provider_truto.bulk.record import Record, make_unreadable, parse_record
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.plurals import count


class RowMapping(Protocol):
    """Turns rows of any shape into records."""

    def parse(self, row: Any, ordinal: int) -> Record:
        """Make the record of a row. Raises nothing: what goes wrong becomes its problems."""

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise ``ValueError`` where the mapping names a column that no row has."""


class Table(Protocol):
    """Reads rows that have a header."""

    def parse(self, cells: Sequence[Any], ordinal: int) -> Record:
        """Read one row."""


@dataclass(frozen=True, kw_only=True)
class RecordParser:
    """How rows become records: by their own keys and columns, or by a ``mapping``.

    ``null_marker`` is the text that stands for a null that is meant; ``sends_nulls`` says that NULL in a table of SQL
    means the same, where it is else not given. ``extra_fields`` name columns that are fields of the CRM although they
    look like the name of a customer or a record. ``explain_unknown`` says why no body has a field, given its path;
    ``None`` where it may.
    """

    needs_id: bool = True
    needs_body: bool = True
    null_marker: str | None = None
    sends_nulls: bool = False
    mapping: RowMapping | None = None
    extra_fields: Sequence[str] = ()
    explain_unknown: ExplainUnknown = lambda _path: None

    def parse(self, row: Any, ordinal: int) -> Record:
        """Read a row that is an object. Raises nothing."""
        if self.mapping is not None:
            return self.mapping.parse(row, ordinal)
        return parse_record(row, ordinal, needs_id=self.needs_id, needs_body=self.needs_body)

    def open_objects(self) -> Callable[[Any, int], Record]:
        """Return what reads rows that are objects. Raises ``ValueError`` where text in them is to mean null."""
        if self.null_marker is not None:
            raise ValueError(
                "null_marker is for the cells of a CSV, a Parquet file or a query; rows of JSON have null itself"
            )
        return self.parse

    def open_table(self, names: Sequence[str], *, has_nulls: bool = False) -> Table:
        """Read a header. Raises ``ValueError`` where it is wrong; ``has_nulls`` tells SQL from text."""
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
            explain_unknown=self.explain_unknown,
        )


class _MappedColumns:
    """The header of a table whose rows go through a mapping."""

    def __init__(self, names: Sequence[str], mapping: RowMapping) -> None:
        self._names = names
        self._mapping = mapping

    def parse(self, cells: Sequence[Any], ordinal: int) -> Record:
        if len(cells) != len(self._names):
            return make_unreadable(
                ordinal, Problem("/", f"has {count(len(cells), 'cell')}, the header has {len(self._names)}")
            )
        return self._mapping.parse(dict(zip(self._names, cells, strict=True)), ordinal)
