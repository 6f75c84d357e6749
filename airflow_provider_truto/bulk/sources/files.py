"""Records in files on any storage, gzipped or not.

A ``Path`` here is anything with ``pathlib``'s interface, such as Airflow's ``ObjectStoragePath``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_truto.bulk.errors import SourceError
from airflow_provider_truto.bulk.readers import FORMATS, Format
from airflow_provider_truto.bulk.record import Record, make_left_out, make_unreadable
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.source import Source
from airflow_provider_truto.bulk.storage import open_buffered, refresh
from airflow_provider_truto.client.errors import Problem

#: What storages call a file's version, the surest first.
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
#: What the names begin with of files that a folder has beside those that are meant, such as ``_SUCCESS``.
_HIDDEN = (".", "_")
_GZIPPED = b"\x1f\x8b"
_EXPORT = "export it as CSV or JSON Lines in UTF-8"
#: How files begin that people take for text, and what to do with them.
_FOREIGN = {
    b"\xff\xfe": f"in UTF-16: {_EXPORT}",
    b"\xfe\xff": f"in UTF-16: {_EXPORT}",
    b"PK\x03\x04": f"an Excel workbook or a ZIP archive: {_EXPORT}",
    b"\x28\xb5\x2f\xfd": f"compressed by zstd: {_EXPORT}",
    **{kind.mark: f"{kind.name}: give its name the ending {ending}" for ending, kind in FORMATS.items() if kind.mark},
}


class FileSource(Source):
    """Files of records: ``.jsonl``, ``.ndjson``, ``.csv`` or ``.parquet``, also with ``.gz``, in any case.

    Each path is one of them, a folder or a glob. They are read in the order of the paths, those of one path in the
    order of their names. ``delimiter`` separates the cells of a CSV. Raises ``ValueError`` where there is no file, or
    one of a different kind, or one whose header is wrong: all are looked into before anything is sent.
    """

    def __init__(self, *paths: Any, parser: RecordParser | None = None, delimiter: str = ",") -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ValueError(
                f"delimiter: expects one character that is not a quote and does not end a line, got {delimiter!r}"
            )
        self._parser = parser or RecordParser()
        self._delimiter = delimiter
        self._paths = [file for path in paths for file in list_files(path)]
        self._versions = [_read_version(path) for path in self._paths]
        for path in self._paths:
            self._check(path)

    def records(self) -> Iterator[Record]:
        """Iterate over the records of all files, in the order of their names.

        Raises ``SourceError`` also where a file has changed since the source was made: before its first row is
        returned, or after its last one, if it was changed meanwhile.
        """
        ordinal = 0
        for number, path in enumerate(self._paths):
            self._check_version(number)
            last = None
            try:
                for place, record in self._read_file(path, ordinal):
                    last = place
                    yield record
                    ordinal += 1
            except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
                self._check_version(number)
                after = f"beyond {last}" if last else "at all"
                raise SourceError(f"{path.name} cannot be read {after}: {error}") from error
            except OSError:
                self._check_version(number)  # some storages refuse to read on in a file that was changed
                raise
        for number in range(len(self._paths)):
            self._check_version(number)

    def fingerprint(self) -> str:
        """Name each file with its size and its time of change, or whatever the storage has instead."""
        facts = [*self._versions, *([] if self._delimiter == "," else [self._delimiter])]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return f"files-{len(self._versions)}-{digest[:32]}"

    def _read_file(self, path: Any, start: int) -> Iterator[tuple[str, Record]]:
        """Read a file's records, each with its place within the file."""
        kind, name = _find_format(path), path.name  # an ObjectStoragePath takes itself apart to say its name
        with _open_content(path, kind) as file:
            rows, parse = kind.open(file, self._parser, self._delimiter)
            for ordinal, row in enumerate(rows, start):
                place = f"{kind.unit} {row.number}"
                if row.fault is not None:
                    record = make_unreadable(ordinal, Problem("/", row.fault))
                elif row.passed_over is not None:
                    record = make_left_out(ordinal, f"{place} of {name} {row.passed_over}")
                else:
                    record = parse(row.value, ordinal)
                yield place, record.replace(place=f"{place} of {name}")

    def _check(self, path: Any) -> None:
        try:
            kind = _find_format(path)
            with _open_content(path, kind) as file:
                kind.open(file, self._parser, self._delimiter)
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise ValueError(f"{path.name}: {error}") from None

    def _check_version(self, number: int) -> None:
        """Raise ``SourceError`` where a file is not the one that the source was made with."""
        path = self._paths[number]
        try:
            is_same = _read_version(path) == self._versions[number]
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise SourceError(
                f"{path.name} was changed while this task was reading it: some of its rows may be lost, and others"
                " sent that were not final. Have its writer finish before the task begins: write it under another"
                " name, and rename it at the end. The ledger says what was sent; clear the task with"
                " on_clear='restart' to write the whole file"
            )


def _read_version(path: Any) -> list[str]:
    """Name a file with its size and its time of change, or whatever the storage has instead."""
    if hasattr(path, "fs"):
        info = refresh(path).fs.info(path.path)
        version = next((info[name] for name in _VERSIONS if info.get(name)), None)
        return [path.name, info.get("size"), str(version)]
    stat = path.stat()
    return [path.name, stat.st_size, str(stat.st_mtime_ns)]


@contextmanager
def _open_content(path: Any, kind: Format) -> Iterator[Any]:
    """Open a file for reading what it holds, which tells by itself whether it is gzipped.

    Raises ``ValueError`` for what begins like a file of a different kind, and ``gzip.BadGzipFile``.
    """
    with open_buffered(path) as raw:
        if path.name.lower().endswith(".gz") or raw.peek(2).startswith(_GZIPPED):
            with gzip.GzipFile(fileobj=raw) as file:
                _check_start(file.peek(4), kind)
                yield file
        else:
            _check_start(raw.peek(4), kind)
            yield raw


def _check_start(start: bytes, kind: Format) -> None:
    if kind.mark:
        if not start.startswith(kind.mark):
            raise ValueError(
                f"it is not {kind.name}, which begins with {kind.mark.decode()}: have its writer finish, or give its"
                " name the ending of what it is"
            )
        return
    for mark, foreign in _FOREIGN.items():
        if start.startswith(mark):
            raise ValueError(f"it is {foreign}")


def list_files(path: Any) -> list[Any]:
    """List the files of a path, a folder, or a glob in the last part, which may match folders as well; by name.

    Raises ``ValueError`` where no file is found.
    """
    refresh(path)
    if path.is_dir():
        files = _list_folder(path)
    elif path.exists():
        files = [path]
    elif any(mark in path.name for mark in "*?[") and refresh(path.parent).is_dir():
        # A hidden file is meant where the pattern itself begins like one.
        matching = [
            entry
            for entry in path.parent.iterdir()
            if fnmatchcase(entry.name, path.name) and (path.name[0] in _HIDDEN or not entry.name.startswith(_HIDDEN))
        ]
        files = [
            file
            for entry in sorted(matching, key=_get_name)
            for file in (_list_folder(entry) if entry.is_dir() else [entry])
        ]
    else:
        files = []
    if not files:
        raise ValueError(f"there is no file {path}")
    return files


def _list_folder(folder: Any) -> list[Any]:
    found = [file for file in folder.iterdir() if not file.name.startswith(_HIDDEN) and file.is_file()]
    if not found:
        raise ValueError(f"there is no file in {folder}, but for hidden ones and those of folders within")
    return sorted(found, key=_get_name)


def _get_name(path: Any) -> str:
    return str(path.name)


def _find_format(path: Any) -> Format:
    """Return the kind of file by the ending of its name. Raises ``ValueError`` where there is none."""
    name = path.name.lower().removesuffix(".gz")
    for ending, kind in FORMATS.items():
        if name.endswith(ending):
            return kind
    *others, last = FORMATS
    raise ValueError(f"expects a name that ends in {', '.join(others)} or {last}, maybe with .gz")
