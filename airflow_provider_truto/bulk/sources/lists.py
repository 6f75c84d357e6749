"""Records that are in memory, or the outputs of another task."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.row_codec import decode_cells, encode_cells
from airflow_provider_truto.bulk.sources.source import Source

_ROWS_AT_ONCE = 500


class ListSource(Source):
    """Rows that are in memory, or a lazy sequence of another task's outputs; an output may be a list of rows itself.

    A lazy sequence is asked for its rows once, here, and keeps them in a temporary file: each may cost a call, and
    rows are read in another thread later, where Airflow may not be asked.
    """

    def __init__(self, rows: Sequence[Any], parser: RecordParser | None = None) -> None:
        self._parse = (parser or RecordParser()).open_objects()
        self._rows = rows if isinstance(rows, (list, tuple)) else _KeptRows(rows)
        self._count = sum(1 for _ in self._iterate())

    def records(self) -> Iterator[Record]:
        """Iterate over the records."""
        for ordinal, row in enumerate(self._iterate()):
            yield self._parse(row, ordinal)

    def fingerprint(self) -> str:
        """Hash the rows."""
        digest = hashlib.sha256()
        for row in self._iterate():
            digest.update(_encode_row(row) + b"\n")
        return f"list-{self._count}-{digest.hexdigest()[:32]}"

    def count(self) -> int:
        """Count the rows."""
        return self._count

    def _iterate(self) -> Iterator[Any]:
        for row in self._rows:
            if isinstance(row, list):
                yield from row
            else:
                yield row


class _KeptRows:
    """The rows of a lazy sequence, in a file without a name."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._file = tempfile.TemporaryFile(prefix="truto-bulk-rows-")  # noqa: SIM115  (lives as long as this does)
        self._file.writelines(encode_cells([row]) for row in rows)

    def __iter__(self) -> Iterator[Any]:
        place = 0
        while True:
            self._file.seek(place)  # several may read at once
            lines = list(islice(self._file, _ROWS_AT_ONCE))
            if not lines:
                return
            place += sum(map(len, lines))
            for line in lines:
                yield from decode_cells(line)


def _encode_row(row: Any) -> bytes:
    """Write a row so that equal ones are alike; keys that are not text are that record's problem, described later."""
    try:
        return json.dumps(row, sort_keys=True, default=str).encode()
    except TypeError:
        return repr(row).encode()


def list_rows(value: Any) -> Sequence[Any] | None:
    """Return the rows of a list or a lazy sequence of another task's outputs; ``None`` for anything else."""
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        return None
    return value if isinstance(value, Sequence) else list(value)
