"""Reading records as a stream: from a list, or from JSON Lines and CSV files on any storage, gzipped or not.

A ``Path`` here is anything with ``pathlib``'s interface, such as Airflow's ``ObjectStoragePath``.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from typing import Any

from airflow_provider_truto.bulk.records import Columns, Record, record_of, unreadable

#: A longer line is no record.
_LONGEST_LINE = 16 * 1024 * 1024


class Source(ABC):
    """Where records come from. It can be read several times, and always gives them in the same order."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Give the records one by one; a row that is none is a record with problems. Raises ``OSError``."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Name the source's content: with another one, a resume would not read what the first try read."""

    def count(self) -> int | None:
        """Say how many records there are, ``None`` where that is not known before they are read."""
        return None


class ListSource(Source):
    """Records that are in memory: a list, or the output of another task."""

    def __init__(self, rows: Sequence[Any], **needs: bool) -> None:
        self._rows = rows
        self._needs = needs

    def records(self) -> Iterator[Record]:
        """Give the records."""
        for ordinal, row in enumerate(self._rows):
            yield record_of(row, ordinal, **self._needs)

    def fingerprint(self) -> str:
        """Hash the rows."""
        digest = hashlib.sha256()
        for row in self._rows:
            digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
        return f"list-{len(self._rows)}-{digest.hexdigest()[:32]}"

    def count(self) -> int:
        """Count the rows."""
        return len(self._rows)


class FileSource(Source):
    """Files of records: one, a folder of them, or a glob; ``.jsonl``, ``.ndjson`` or ``.csv``, also with ``.gz``.

    Raises ``ValueError`` where there is none, or one of another kind.
    """

    def __init__(
        self, path: Any, *, null_marker: str | None = None, needs_id: bool = True, needs_body: bool = True
    ) -> None:
        self._null_marker = null_marker
        self._needs_id = needs_id
        self._needs_body = needs_body
        self._paths = _found(path)
        for file in self._paths:
            _kind(file)

    def records(self) -> Iterator[Record]:
        """Give the records of all files, in the order of their names."""
        ordinal = 0
        for path in self._paths:
            with path.open("rb") as raw:
                file = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
                rows = self._csv(file, ordinal, path) if _kind(path) == "csv" else self._jsonl(file, ordinal)
                for record in rows:
                    yield record
                    ordinal += 1

    def fingerprint(self) -> str:
        """Name each file with its size and its time of change, or whatever the storage has instead."""
        facts = []
        for path in self._paths:
            info = path.fs.info(path.path) if hasattr(path, "fs") else {"size": path.stat().st_size}
            version = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("mtime")
            facts.append([path.name, info.get("size"), str(version)])
        return f"files-{len(facts)}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}"

    def _jsonl(self, file: Any, ordinal: int) -> Iterator[Record]:
        while line := file.readline(_LONGEST_LINE + 1):
            if len(line) > _LONGEST_LINE:
                raise ValueError(f"row {ordinal}: a line of more than {_LONGEST_LINE} bytes: is this JSON Lines?")
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield unreadable(ordinal, f"is not JSON: {error}")
            else:
                yield record_of(row, ordinal, needs_id=self._needs_id, needs_body=self._needs_body)
            ordinal += 1

    def _csv(self, file: Any, ordinal: int, path: Any) -> Iterator[Record]:
        # Excel writes a byte order mark; newlines inside quotes belong to the cell.
        lines = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
        header = next(lines, None)
        if header is None:
            return
        try:
            columns = Columns(header, null_marker=self._null_marker, needs_id=self._needs_id)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
        for cells in lines:
            if cells:
                yield columns.record(cells, ordinal)
                ordinal += 1


def _found(path: Any) -> list[Any]:
    """List the files of a path, a folder or a glob in the last part, by name."""
    if any(mark in path.name for mark in "*?["):
        found = [file for file in path.parent.iterdir() if fnmatch(file.name, path.name)]
    elif path.is_dir():
        found = [file for file in path.iterdir() if not file.name.startswith((".", "_"))]
    else:
        found = [path] if path.exists() else []
    files = sorted((file for file in found if file.is_file()), key=lambda file: file.name)
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
