"""The rows of a query, written beside the ledger before the first is sent: a resume reads what the first try read.

    <generation>/snapshot-<uuid>.jsonl.gz     a line with the columns, then a line a row
    <generation>/snapshot-<query>.json        says which of the former counts, and how many rows it has

A snapshot counts when the second file stands, which is written after the first is whole; a try that is killed before
leaves one that nobody reads. Of two live tries the first to finish wins, and the other reads what that one read.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_provider_truto.bulk.cells import cells_line, cells_of
from airflow_provider_truto.bulk.ledger import is_local
from airflow_provider_truto.bulk.records import Reading, Record
from airflow_provider_truto.bulk.sources import Source, SourceError


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a query gave: the names of its columns, and its rows, which are fetched as they are read."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


#: Asks a query; the connection is open as long as the context is.
Ask = Callable[[], AbstractContextManager[Result]]


def query_fingerprint(*parts: Any) -> str:
    """Name a query by its connection, text and parameters."""
    return f"sql-{hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]}"


class SnapshotSource(Source):
    """The rows of a query as the first try read them; asks the query where no try has read it to its end.

    ``folder`` is the generation's, ``fingerprint`` names the query. Raises what the query raises, and ``ValueError``
    where its columns make no records; nothing is kept of it then.
    """

    def __init__(self, folder: Any, fingerprint: str, ask: Ask, reading: Reading) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._reading = reading
        self._claim = self._stored_claim() or self._taken(ask)

    def records(self) -> Iterator[Record]:
        """Give the records."""
        ordinal = 0
        name = self._claim["file"]
        try:
            with (self._folder / name).open("rb") as raw, gzip.GzipFile(fileobj=raw) as file:
                table = self._reading.table(cells_of(file.readline()), has_nulls=True)
                for line in file:
                    yield table.record(cells_of(line), ordinal)
                    ordinal += 1
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise SourceError(f"{name} cannot be read beyond row {ordinal}: {error}") from error
        if ordinal != self._claim["rows"]:
            raise SourceError(f"{name} has {ordinal} rows, {self._claim['rows']} were written")

    def fingerprint(self) -> str:
        """Name the query, not what it gave: a resume does not ask it."""
        return self._fingerprint

    def count(self) -> int:
        """Count the rows."""
        rows: int = self._claim["rows"]
        return rows

    def _taken(self, ask: Ask) -> dict[str, Any]:
        name = f"snapshot-{uuid4().hex}.jsonl.gz"
        with ask() as result:
            self._reading.table(list(result.columns), has_nulls=True)  # a wrong header is told before all is read
            rows = self._write(name, result)
        self._put_claim({"file": name, "rows": rows})
        claim = self._stored_claim()
        if claim is None:
            raise OSError(f"{self._claim_path} was written and is not there")
        return claim

    def _write(self, name: str, result: Result) -> int:
        count = 0
        path = self._folder / name
        if is_local(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1) as file:
            file.write(cells_line(result.columns))
            for row in result.rows:
                file.write(cells_line(row))
                count += 1
        return count

    @property
    def _claim_path(self) -> Any:
        return self._folder / f"snapshot-{self._fingerprint}.json"

    def _stored_claim(self) -> dict[str, Any] | None:
        if not self._claim_path.exists():
            return None
        claim: dict[str, Any] = json.loads(self._claim_path.read_bytes())
        return claim

    def _put_claim(self, claim: dict[str, Any]) -> None:
        """Say which snapshot counts, unless another live try was faster."""
        data = json.dumps(claim).encode()
        if not is_local(self._folder):
            if not self._claim_path.exists():
                self._claim_path.write_bytes(data)
            return
        # Under its name it is whole at once, and the second to come finds it taken.
        part = f"{self._claim_path.path}.{uuid4().hex}.part"
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
        try:
            os.link(part, self._claim_path.path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not self._claim_path.exists():
                os.rename(part, self._claim_path.path)  # noqa: PTH104
        finally:
            Path(part).unlink(missing_ok=True)
