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
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from airflow_provider_truto.bulk.cells import cells_line, cells_of
from airflow_provider_truto.bulk.lines import csv_header, csv_rows, json_rows
from airflow_provider_truto.bulk.records import Reading, Record, unreadable
from airflow_provider_truto.bulk.shards import Shard
from airflow_provider_truto.client.errors import Problem

#: What storages call a file's version, the surest first.
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
_ROWS_AT_ONCE = 500


class SourceError(ValueError):
    """The source breaks off: what came before is done, what comes after cannot be read. No retry mends it."""


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
            digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
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
    """Files of records: ``.jsonl``, ``.ndjson`` or ``.csv``, also with ``.gz``.

    Each path is one of them, a folder or a glob. They are read in the order of the paths, those of one path in the
    order of their names. Raises ``ValueError`` where there is none, or one of another kind, or one whose header is
    wrong: all headers are read before anything is sent.
    """

    def __init__(self, *paths: Any, reading: Reading | None = None) -> None:
        self._reading = reading or Reading()
        self._paths = [file for path in paths for file in _found(path)]
        for file in self._paths:
            if _kind(file) == "csv" or file.name.endswith(".gz"):
                self._check(file)

    def records(self) -> Iterator[Record]:
        """Give the records of all files, in the order of their names."""
        ordinal, name = 0, ""
        try:
            for path in self._paths:
                name = path.name
                for record in self._of_file(path, ordinal):
                    yield record
                    ordinal += 1
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise SourceError(f"{name} cannot be read beyond row {ordinal} of the source: {error}") from error

    def fingerprint(self) -> str:
        """Name each file with its size and its time of change, or whatever the storage has instead."""
        facts = []
        for path in self._paths:
            if hasattr(path, "fs"):
                info = path.fs.info(path.path)
                version = next((info[name] for name in _VERSIONS if info.get(name)), None)
                facts.append([path.name, info.get("size"), str(version)])
            else:
                stat = path.stat()
                facts.append([path.name, stat.st_size, str(stat.st_mtime_ns)])
        return f"files-{len(facts)}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}"

    def _of_file(self, path: Any, start: int) -> Iterator[Record]:
        read: Callable[[Any, int], Record] = self._reading.record
        with _opened(path) as file:
            rows = csv_rows(file) if _kind(path) == "csv" else json_rows(file)
            if _kind(path) == "csv":
                header = csv_header(file)
                if header is None:
                    return
                read = self._reading.table(header).record
            for ordinal, (row, fault) in enumerate(rows, start):
                yield read(row, ordinal) if fault is None else unreadable(ordinal, Problem("/", fault))

    def _check(self, path: Any) -> None:
        try:
            with _opened(path) as file:
                if _kind(path) != "csv":
                    file.read(1)
                elif (header := csv_header(file)) is not None:
                    self._reading.table(header)
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise ValueError(f"{path.name}: {error}") from None


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


@contextmanager
def _opened(path: Any) -> Iterator[Any]:
    with path.open("rb") as raw:
        if path.name.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as file:
                yield file
        else:
            yield raw


def _found(path: Any) -> list[Any]:
    """List the files of a path, a folder or a glob in the last part, by name."""
    if path.is_dir():
        found = [file for file in path.iterdir() if not file.name.startswith((".", "_"))]
    elif path.exists():
        found = [path]
    elif any(mark in path.name for mark in "*?[") and path.parent.is_dir():
        found = [file for file in path.parent.iterdir() if fnmatchcase(file.name, path.name)]
    else:
        found = []
    files = sorted((file for file in found if file.is_file()), key=lambda file: str(file.name))
    if not files:
        raise ValueError(f"there is no file {path}")
    return files


def _kind(path: Any) -> str:
    name = path.name.removesuffix(".gz")
    for ending, kind in ((".jsonl", "jsonl"), (".ndjson", "jsonl"), (".csv", "csv")):
        if name.endswith(ending):
            return kind
    raise ValueError(f"{path.name}: expects a name that ends in .jsonl, .ndjson or .csv, maybe with .gz")


def rows_of(value: Any) -> Sequence[Any] | None:
    """Give the rows of a list or a lazy sequence of another task's outputs; ``None`` for anything else."""
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        return None
    return value if isinstance(value, Sequence) else list(value)
