"""Rows out of the bytes of one file, one by one; a row that cannot be read leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, Protocol

from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.record_parser import RecordParser

#: A longer line is not a row.
LONGEST_LINE = 16 * 1024 * 1024
TOO_LONG = f"is a line of more than {LONGEST_LINE} bytes"
CR_ADVICE = "carriage returns stand where lines should end: save the file with line feeds, as LF or CRLF"


class Row(NamedTuple):
    """A row of a file, or what is wrong with it, or why it asks for nothing.

    ``number`` is what its kind of file counts, from 1: the line where it begins, or the row.
    """

    number: int
    value: Any = None
    fault: str | None = None
    passed_over: str | None = None


class Rows(NamedTuple):
    """The rows of a file, which are read as they are asked for, and what makes a record of the value of one."""

    rows: Iterator[Row]
    parse: Callable[[Any, int], Record]


class Reader(Protocol):
    """Reads files of one kind."""

    def __call__(self, file: IO[bytes], parser: RecordParser, delimiter: str) -> Rows:
        """Read what stands before the rows, such as a header. Raises ``ValueError`` where it is wrong."""
