"""Where records come from: a list, or JSON Lines and CSV files on any storage, gzipped or not; read as a stream.

A ``Path`` here is anything with ``pathlib``'s interface, such as Airflow's ``ObjectStoragePath``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from airflow_provider_truto.bulk.cells import cells_line, cells_of
from airflow_provider_truto.bulk.errors import SourceError
from airflow_provider_truto.bulk.lines import Row, csv_table, json_rows
from airflow_provider_truto.bulk.records import Reading, Record, left_out, unreadable
from airflow_provider_truto.bulk.shards import Shard
from airflow_provider_truto.bulk.storage import anew, opened
from airflow_provider_truto.client.errors import Problem

#: What storages call a file's version, the surest first.
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
_ROWS_AT_ONCE = 500
#: What the names begin with of files that a folder has beside those that are meant, such as ``_SUCCESS``.
_HIDDEN = (".", "_")
_GZIPPED = b"\x1f\x8b"
#: How files begin that people take for one of ours.
_FOREIGN = {
    b"\xff\xfe": "in UTF-16",
    b"\xfe\xff": "in UTF-16",
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"PAR1": "Parquet",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
}


class Source(ABC):
    """Where records come from. It can be read several times, and always gives them in the same order."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Give the records one by one; a row that is none is a record with problems.

        Raises ``OSError``, and ``SourceError`` where the rest cannot be read.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Name the source's content: with another one, a resume would not read what the first try read."""

    def count(self) -> int | None:
        """Say how many records there are, ``None`` where that is not known before they are read."""
        return None

    def keep(self) -> dict[str, Any] | None:
        """Have every try to come read what this one reads; return what the ledger's header says of that, if any."""
        return None

    def drop(self) -> None:  # noqa: B027  (most sources have nothing to drop)
        """Have the next try read the source anew; only where nobody has begun a ledger with it."""


class ListSource(Source):
    """Rows that are in memory, or a lazy sequence of another task's outputs; an output may be a list of rows itself.

    A lazy sequence is asked for its rows once, here, and keeps them in a temporary file: each may cost a call, and
    rows are read in another thread later, where Airflow may not be asked.
    """

    def __init__(self, rows: Sequence[Any], reading: Reading | None = None) -> None:
        self._reading = reading or Reading()
        self._rows = rows if isinstance(rows, (list, tuple)) else _KeptRows(rows)
        self._count = sum(1 for _ in self._flat())

    def records(self) -> Iterator[Record]:
        """Give the records."""
        for ordinal, row in enumerate(self._flat()):
            yield self._reading.record(row, ordinal)

    def fingerprint(self) -> str:
        """Hash the rows."""
        digest = hashlib.sha256()
        for row in self._flat():
            digest.update(_row_bytes(row) + b"\n")
        return f"list-{self._count}-{digest.hexdigest()[:32]}"

    def count(self) -> int:
        """Count the rows."""
        return self._count

    def _flat(self) -> Iterator[Any]:
        for row in self._rows:
            if isinstance(row, list):
                yield from row
            else:
                yield row


class _KeptRows:
    """The rows of a lazy sequence, in a file without a name."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._file = tempfile.TemporaryFile(prefix="truto-bulk-rows-")  # noqa: SIM115  (lives as long as this does)
        self._file.writelines(cells_line([row]) for row in rows)

    def __iter__(self) -> Iterator[Any]:
        place = 0
        while True:
            self._file.seek(place)  # several may read at once
            lines = list(islice(self._file, _ROWS_AT_ONCE))
            if not lines:
                return
            place += sum(map(len, lines))
            for line in lines:
                yield from cells_of(line)


class FileSource(Source):
    """Files of records: ``.jsonl``, ``.ndjson`` or ``.csv``, also with ``.gz``, in letters of any case.

    Each path is one of them, a folder or a glob. They are read in the order of the paths, those of one path in the
    order of their names. ``delimiter`` separates the cells of a CSV. Raises ``ValueError`` where there is no file, or
    one of another kind, or one whose header is wrong: all are looked into before anything is sent.
    """

    def __init__(self, *paths: Any, reading: Reading | None = None, delimiter: str = ",") -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ValueError(f"delimiter: expects one character that is no quote and ends no line, got {delimiter!r}")
        self._reading = reading or Reading()
        self._delimiter = delimiter
        self._paths = [file for path in paths for file in _found(path)]
        self._versions = [_version(path) for path in self._paths]
        for path in self._paths:
            self._check(path)

    def records(self) -> Iterator[Record]:
        """Give the records of all files, in the order of their names.

        Raises ``SourceError`` also where a file is another than it was when the source was made: before its first row
        is given, or after its last one, if it was changed meanwhile.
        """
        ordinal = 0
        for number, path in enumerate(self._paths):
            self._check_version(number)
            line = 0
            try:
                for row, record in self._of_file(path, ordinal):
                    line = row.line
                    yield record
                    ordinal += 1
            except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
                self._check_version(number)
                after = f"beyond line {line}" if line else "at all"
                raise SourceError(f"{path.name} cannot be read {after}: {error}") from error
            except OSError:
                self._check_version(number)  # some storages refuse to give the rest of a file that was changed
                raise
        for number in range(len(self._paths)):
            self._check_version(number)

    def fingerprint(self) -> str:
        """Name each file with its size and its time of change, or whatever the storage has instead."""
        facts = [*self._versions, *([] if self._delimiter == "," else [self._delimiter])]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return f"files-{len(self._versions)}-{digest[:32]}"

    def _of_file(self, path: Any, start: int) -> Iterator[tuple[Row, Record]]:
        read: Callable[[Any, int], Record] = self._reading.record
        with _content(path) as file:
            if _kind(path) == "csv":
                table = csv_table(file, delimiter=self._delimiter)
                if table is None:
                    return
                rows, read = table.rows, self._reading.table(table.names).record
            else:
                rows = json_rows(file)
            for ordinal, row in enumerate(rows, start):
                if row.fault is not None:
                    record = unreadable(ordinal, Problem("/", row.fault))
                elif row.passed_over is not None:
                    record = left_out(ordinal, f"line {row.line} of {path.name} {row.passed_over}")
                else:
                    record = read(row.value, ordinal)
                yield row, replace(record, place=f"line {row.line} of {path.name}")

    def _check(self, path: Any) -> None:
        try:
            is_csv = _kind(path) == "csv"
            with _content(path) as file:
                if not is_csv:
                    file.read(1)
                elif (table := csv_table(file, delimiter=self._delimiter)) is not None:
                    self._reading.table(table.names)
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise ValueError(f"{path.name}: {error}") from None

    def _check_version(self, number: int) -> None:
        """Raise ``SourceError`` where a file is not the one that the source was made with."""
        path = self._paths[number]
        try:
            is_same = _version(path) == self._versions[number]
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise SourceError(
                f"{path.name} was changed while this task was reading it: some of its rows may be lost, and others"
                " sent that were not final. Have its writer finish before the task begins: write it under another"
                " name, and rename it at the end. The ledger says what was sent; clear the task with"
                " on_clear='restart' to write the whole file"
            )


class ShardedSource(Source):
    """The records of a source that belong to a shard, with the places they have in the whole source."""

    def __init__(self, source: Source, shard: Shard) -> None:
        self._source = source
        self._shard = shard

    def records(self) -> Iterator[Record]:
        """Give them; the whole source is read."""
        return (record for record in self._source.records() if self._shard.has(record))

    def fingerprint(self) -> str:
        """Name the source's content and the shard: with another count, records would be in other ledgers."""
        return f"{self._source.fingerprint()}, {self._shard}"

    def keep(self) -> dict[str, Any] | None:
        """Keep what the whole source gave."""
        return self._source.keep()

    def drop(self) -> None:
        """Drop what the whole source gave."""
        self._source.drop()


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """A source that is not read yet: what it is called in the ledger, and how it is opened beside it.

    ``open`` takes the folder of the ledger, in which a query keeps its rows; it raises ``ValueError``. ``shard`` is
    which part of the whole it is.
    """

    fingerprint: str
    shard: Shard | None = None
    open: Callable[[Any], Source]


def _version(path: Any) -> list[str]:
    """Name a file with its size and its time of change, or whatever the storage has instead."""
    if hasattr(path, "fs"):
        info = anew(path).fs.info(path.path)
        version = next((info[name] for name in _VERSIONS if info.get(name)), None)
        return [path.name, info.get("size"), str(version)]
    stat = path.stat()
    return [path.name, stat.st_size, str(stat.st_mtime_ns)]


@contextmanager
def _content(path: Any) -> Iterator[Any]:
    """Open a file for reading what it holds, which tells by itself whether it is gzipped.

    Raises ``ValueError`` for what is no text in UTF-8, and ``gzip.BadGzipFile``.
    """
    with opened(path) as raw:
        if path.name.lower().endswith(".gz") or raw.peek(2).startswith(_GZIPPED):
            with gzip.GzipFile(fileobj=raw) as file:
                _check_start(file.peek(4))
                yield file
        else:
            _check_start(raw.peek(4))
            yield raw


def _check_start(start: bytes) -> None:
    for mark, told in _FOREIGN.items():
        if start.startswith(mark):
            raise ValueError(f"it is {told}: export it as CSV or JSON Lines in UTF-8")


def _found(path: Any) -> list[Any]:
    """List the files of a path, a folder, or a glob in the last part, which may match folders as well; by name."""
    anew(path)
    if path.is_dir():
        files = _files_of(path)
    elif path.exists():
        files = [path]
    elif any(mark in path.name for mark in "*?[") and anew(path.parent).is_dir():
        # A hidden file is meant where the pattern itself begins like one.
        matching = [
            entry
            for entry in path.parent.iterdir()
            if fnmatchcase(entry.name, path.name) and (path.name[0] in _HIDDEN or not entry.name.startswith(_HIDDEN))
        ]
        files = [
            file
            for entry in sorted(matching, key=_name)
            for file in (_files_of(entry) if entry.is_dir() else [entry])
        ]
    else:
        files = []
    if not files:
        raise ValueError(f"there is no file {path}")
    return files


def _files_of(folder: Any) -> list[Any]:
    found = [file for file in folder.iterdir() if not file.name.startswith(_HIDDEN) and file.is_file()]
    if not found:
        raise ValueError(f"there is no file in {folder}, but for hidden ones and those of folders within")
    return sorted(found, key=_name)


def _name(path: Any) -> str:
    return str(path.name)


def _kind(path: Any) -> str:
    name = path.name.lower().removesuffix(".gz")
    for ending, kind in ((".jsonl", "jsonl"), (".ndjson", "jsonl"), (".csv", "csv")):
        if name.endswith(ending):
            return kind
    raise ValueError("expects a name that ends in .jsonl, .ndjson or .csv, maybe with .gz")


def _row_bytes(row: Any) -> bytes:
    """Write a row so that equal ones are alike; keys that are not text are that record's problem, told later."""
    try:
        return json.dumps(row, sort_keys=True, default=str).encode()
    except TypeError:
        return repr(row).encode()


def rows_of(value: Any) -> Sequence[Any] | None:
    """Give the rows of a list or a lazy sequence of another task's outputs; ``None`` for anything else."""
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        return None
    return value if isinstance(value, Sequence) else list(value)
