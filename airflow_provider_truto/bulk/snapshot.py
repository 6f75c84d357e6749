"""The rows of a query, written beside the ledger before the first is sent: a resume reads what the first try read.

    <generation>/snapshot-<uuid>.jsonl.gz     a line with the columns, then a line a row
    <generation>/snapshot-<query>.json        the claim: which of the former counts, and how many rows it has

A snapshot counts when it is claimed: after it is whole, and after its rows are checked where that is asked for. A
try that is killed before leaves one that nobody reads. What is claimed then goes into the ledger's header, and the
header, once it stands, decides alone.

Two live tries must not send from two snapshots, since the same ordinal would mean two rows. The first to claim wins,
and the other reads what that one read. A claim is created, never overwritten: by a hard link or ``O_EXCL`` on a local
disk, by a conditional write on other storage, which S3, Google's and Azure's have with their fsspec packages of now.

Where a storage has none, two tries that have both looked and found no claim may each go on with their own. Headers
stop them: a try writes one where there is none, then lists them, and gives up, to be retried, where one names another
snapshot. Of two tries, the one that lists last sees both. What is left open is storage that has neither conditional
writes nor lists which show at once what was written, and there the moment between two looks.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_provider_truto.bulk.cells import cells_line, cells_of
from airflow_provider_truto.bulk.errors import SourceError
from airflow_provider_truto.bulk.ledger_files import is_local, read_claim, sync_file, sync_folder
from airflow_provider_truto.bulk.records import Reading, Record
from airflow_provider_truto.bulk.sources import Source
from airflow_provider_truto.bulk.storage import anew, opened

#: How often a claim is looked at that has no text yet, and the seconds between two looks.
_LOOKS = 40
_LOOK_SECONDS = 0.05


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

    ``folder`` is the generation's, ``fingerprint`` names the query, ``begun_with`` is the claim in the header of a
    ledger that is begun. Raises what the query raises, and ``ValueError`` where its columns make no records; nothing
    of it counts then.

    What was read is this try's own until ``keep`` is called, before the first record is sent; or else ``drop``.
    """

    def __init__(
        self,
        folder: Any,
        fingerprint: str,
        ask: Ask,
        reading: Reading,
        *,
        begun_with: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._reading = reading
        claim = begun_with or self._stored_claim()
        self._is_claimed = claim is not None
        self._claim: Mapping[str, Any] = self._taken(ask) if claim is None else claim

    def records(self) -> Iterator[Record]:
        """Give the records."""
        ordinal = 0
        name = self._claim["file"]
        try:
            with opened(self._folder / name) as raw, gzip.GzipFile(fileobj=raw) as file:
                table = self._reading.table(cells_of(file.readline()), has_nulls=True)
                for line in file:
                    yield table.record(cells_of(line), ordinal)
                    ordinal += 1
        except FileNotFoundError as error:
            raise self._broken("is gone") from error
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
            raise self._broken(f"cannot be read beyond row {ordinal}: {error}") from error
        if ordinal != self._claim["rows"]:
            raise self._broken(f"has {ordinal} rows, and {self._claim['rows']} were written")

    def _broken(self, what: str) -> SourceError:
        return SourceError(
            f"{self._folder / self._claim['file']} {what}. It holds the rows of the query that this bulk was begun"
            " with. Put the file back as it was and clear the task; or clear it with on_clear='restart': the query is"
            " asked again, and every record is written again, in a new ledger"
        )

    def fingerprint(self) -> str:
        """Name the query, not what it gave: a resume does not ask it."""
        return self._fingerprint

    def count(self) -> int:
        """Count the rows."""
        rows: int = self._claim["rows"]
        return rows

    def keep(self) -> dict[str, Any]:
        """Claim what was read, for every try to come; give the claim, for the ledger's header.

        Where another live try has claimed what it read, that is what this one gives from now on.
        """
        if not self._is_claimed:
            self._put_claim(json.dumps(self._claim).encode())
            claim = self._stored_claim()  # ours, or that of a try that was faster
            if claim is None:
                raise OSError(f"{self._claim_path} was written and is not there")
            self._claim, self._is_claimed = claim, True
        return dict(self._claim)

    def drop(self) -> None:
        """Have the next try ask the query again. Only for a ledger that nobody has begun, so that no row was sent.

        What an earlier try has claimed stays where it is, unclaimed: should that try still live, it reads it.
        """
        path = self._claim_path if self._is_claimed else self._folder / self._claim["file"]
        with suppress(FileNotFoundError):
            path.unlink()

    def _taken(self, ask: Ask) -> dict[str, Any]:
        name = f"snapshot-{uuid4().hex}.jsonl.gz"
        with ask() as result:
            self._reading.table(list(result.columns), has_nulls=True)  # a wrong header is told before all is read
            rows = self._write(name, result)
        return {"file": name, "rows": rows}

    def _write(self, name: str, result: Result) -> int:
        count = 0
        path = self._folder / name
        if is_local(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            os.close(_created(path.path))
        with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1) as file:
            file.write(cells_line(result.columns))
            for row in result.rows:
                file.write(cells_line(row))
                count += 1
        if is_local(path):
            sync_file(path.path)  # before it is claimed
        return count

    @property
    def _claim_path(self) -> Any:
        return self._folder / f"snapshot-{self._fingerprint}.json"

    def _stored_claim(self) -> dict[str, Any] | None:
        """Read the claim; ``None`` where there is none. Raises ``LedgerError`` for one that is broken."""
        data = b""
        for _ in range(_LOOKS):
            if not anew(self._claim_path).exists():
                return None
            data = self._claim_path.read_bytes()
            if data.endswith(b"}"):
                break
            time.sleep(_LOOK_SECONDS)  # a disk without links: it is there before its text is
        return read_claim(self._claim_path, data=data)

    def _put_claim(self, data: bytes) -> None:
        """Create the claim, unless another live try was faster."""
        path = self._claim_path
        if not is_local(path):
            _create_remotely(path, data)
            return
        # Under its name it is whole at once, and the second to come finds it taken.
        part = f"{path.path}.{uuid4().hex}.part"
        with os.fdopen(_created(part), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path.path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            with suppress(FileExistsError), os.fdopen(_created(path.path), "wb") as file:
                file.write(data)
        finally:
            Path(part).unlink(missing_ok=True)
        sync_folder(str(Path(path.path).parent))


def _created(name: str) -> int:
    """Create a file on the local disk for its owner alone. Raises ``FileExistsError``."""
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)


def _create_remotely(path: Any, data: bytes) -> None:
    """Create a file where there is none, at once if the storage can, otherwise after a look."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except (NotImplementedError, ValueError, TypeError, OSError):
        # It is there already, or this storage, or its package of an older date, has no such mode.
        if not anew(path).exists():
            path.write_bytes(data)
