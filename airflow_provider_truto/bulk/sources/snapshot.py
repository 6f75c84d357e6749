"""The rows of a query, written beside the ledger before the first is sent: a resume reads what the first try read.

    <generation>/snapshot-<uuid>.jsonl.gz     a line with the columns, then a line per row

A snapshot counts when a header of the ledger names it: after it is whole, and after its rows are checked where that
is asked for. A try that is killed before leaves one that nobody reads.

Two live tries must not send from two snapshots, since the same ordinal would mean two rows. Each try writes a header
of its own, then lists them all, and gives up, to be retried, where another one names another snapshot. Of two tries
that both went on, the one that listed last would have seen the other's header: so there are no two. This holds on all
storage whose lists show at once what was written.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from airflow_provider_truto.bulk.errors import SourceError
from airflow_provider_truto.bulk.ledger_files import read_headers
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.row_codec import decode_cells, encode_cells
from airflow_provider_truto.bulk.sources.source import Source
from airflow_provider_truto.bulk.storage import is_local, open_buffered, sync_file


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """What a query gave: the names of its columns, and its rows, which are fetched as they are read."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


#: Asks a query; the connection is open as long as the context is.
Ask = Callable[[], AbstractContextManager[QueryResult]]


def fingerprint_query(*parts: Any) -> str:
    """Name a query by its connection, text and parameters."""
    return f"sql-{hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]}"


class SnapshotSource(Source):
    """The rows of a query as the first try read them; asks the query where no try has read it to its end.

    ``folder`` is that of the ledger, ``fingerprint`` names the query. Raises what the query raises, ``ValueError``
    where its columns make no records, and ``LedgerError`` for a header that cannot be read.

    What was read is this try's own until a header names it, before the first record is sent; or else ``drop``.
    """

    def __init__(self, folder: Any, fingerprint: str, ask: Ask, parser: RecordParser) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._parser = parser
        begun_with = self._find_begun_with()
        self._is_own = begun_with is None
        self._snapshot: Mapping[str, Any] = self._take(ask) if begun_with is None else begun_with

    def records(self) -> Iterator[Record]:
        """Iterate over the records."""
        ordinal = 0
        name = self._snapshot["file"]
        try:
            with open_buffered(self._folder / name) as raw, gzip.GzipFile(fileobj=raw) as file:
                table = self._parser.open_table(decode_cells(file.readline()), has_nulls=True)
                for line in file:
                    yield table.parse(decode_cells(line), ordinal)
                    ordinal += 1
        except FileNotFoundError as error:
            raise self._describe_broken("is gone") from error
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise self._describe_broken(f"cannot be read beyond row {ordinal}: {error}") from error
        if ordinal != self._snapshot["rows"]:
            raise self._describe_broken(f"has {ordinal} rows, and {self._snapshot['rows']} were written")

    def _describe_broken(self, what: str) -> SourceError:
        return SourceError(
            f"{self._folder / self._snapshot['file']} {what}. It holds the rows of the query that this bulk was begun"
            " with. Put the file back as it was and clear the task; or clear it with on_clear='restart': the query is"
            " asked again, and every record is written again, in a new ledger"
        )

    def fingerprint(self) -> str:
        """Name the query, not what it gave: a resume does not ask it."""
        return self._fingerprint

    def count(self) -> int:
        """Count the rows."""
        rows: int = self._snapshot["rows"]
        return rows

    def keep(self) -> dict[str, Any]:
        """Return what is read, for the ledger's header.

        Where another live try has begun the ledger meanwhile, that is what this one reads from now on.
        """
        if self._is_own and (begun_with := self._find_begun_with()) is not None:
            self._is_own, self._snapshot = False, begun_with
        return dict(self._snapshot)

    def drop(self) -> None:
        """Make the next try run the query again; a snapshot that another try has begun the ledger with is kept."""
        if self._is_own:
            with suppress(FileNotFoundError):
                (self._folder / self._snapshot["file"]).unlink()

    def _find_begun_with(self) -> dict[str, Any] | None:
        """Find the snapshot that the ledger was begun with. Raises ``LedgerError``."""
        named = (header.get("snapshot") for header in read_headers(self._folder))
        return next((snapshot for snapshot in named if snapshot is not None), None)

    def _take(self, ask: Ask) -> dict[str, Any]:
        name = f"snapshot-{uuid4().hex}.jsonl.gz"
        with ask() as result:
            self._parser.open_table(list(result.columns), has_nulls=True)  # before all is read
            rows = self._write(name, result)
        return {"file": name, "rows": rows}

    def _write(self, name: str, result: QueryResult) -> int:
        count = 0
        path = self._folder / name
        if is_local(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # for its owner alone
        with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1) as file:
            file.write(encode_cells(result.columns))
            for row in result.rows:
                file.write(encode_cells(row))
                count += 1
        if is_local(path):
            sync_file(path.path)  # before a header names it
        return count
