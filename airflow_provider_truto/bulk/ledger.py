"""The files that account for every record and outlive the worker: results, failures, a header and a summary.

    <output_path>/<dag>/<run>/<task>/<map index>/<generation>/
        header.json                               what the bulk is, and the fingerprint of its source
        results-<try>-<uuid>-<n>.jsonl            a line a record: what became of it
        failures-<try>-<uuid>-<n>.jsonl           records that failed, with their bodies, to be fed back
        summary-<try>-<uuid>.json                 counts, at the end of a try

Every try writes files of its own names, so that two live tries of one task never touch each other's. Nothing is
overwritten; a record may stand in several files, and readers take one row an ordinal: a success before anything else.
On a local disk an open part ends in ``.part``, is flushed with each row and renamed when it is full. On other storage
a part is uploaded whole, every 5 seconds or 1,000 rows; what a kill loses is replayed under the same keys.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote
from uuid import uuid4

from airflow_provider_truto.bulk.rows import ResultRow, failure_line

LEDGER_VERSION = 1
#: A part is closed after so many rows; on remote storage also after so many seconds.
PART_ROWS = 1_000
LOCAL_PART_ROWS = 50_000
PART_SECONDS = 5.0
_LOCAL = frozenset({"", "file", "local"})


class LedgerError(RuntimeError):
    """The ledger that lies there does not fit this task; the message says what to do."""


class PathLike(Protocol):
    """What is used of ``pathlib``'s interface."""

    name: str

    def __truediv__(self, other: str) -> Any:
        """Join."""


def is_local(path: Any) -> bool:
    """Whether a path is on this machine's own disk."""
    return getattr(path, "protocol", "") in _LOCAL


def task_folder(output_path: Any, *names: Any) -> Any:
    """Give a task's folder below ``output_path``: one segment a name, whatever characters it holds."""
    folder = output_path
    for name in names:
        folder = folder / quote(str(name), safe="-_.")
    return folder


def generations(folder: Any) -> list[int]:
    """List the generations that a task has ledgers of, the latest last."""
    if not folder.exists():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def is_finished(folder: Any) -> set[int]:
    """Say for which of the task's own generations a ledger was finished; none where there is more to do."""
    summaries = [entry for entry in folder.iterdir() if entry.name.startswith("summary-")]
    found = [json.loads(entry.read_bytes()) for entry in summaries]
    return {summary["task_generation"] for summary in found if summary.get("finished")}


def generation_for(folder: Any, task_generation: int) -> int:
    """Choose the ledger that a try belongs to.

    A retry goes on in the ledger of its task; a cleared task goes on in the latest one that is not finished, with its
    keys, and begins anew where all are.
    """
    existing = generations(folder)
    if not existing:
        return task_generation
    latest = existing[-1]
    finished_for = is_finished(folder / str(latest))
    if not finished_for or task_generation in finished_for:
        return latest
    return max(task_generation, latest + 1)


class Past:
    """What earlier tries of a generation have accounted for."""

    def __init__(self) -> None:
        self._final: dict[int, bytearray] = {}
        self.counts: Counter[str] = Counter()
        self.of_accounts: dict[str, Counter[str]] = {}

    def is_final(self, ordinal: int) -> bool:
        """Whether this record needs nothing more."""
        block = self._final.get(ordinal >> 16)
        return block is not None and bool(block[ordinal & 0xFFFF])

    def add(self, row: ResultRow) -> None:
        """Take a row in; of several final ones of a record the first counts."""
        if not row.is_final or self.is_final(row.ordinal):
            return
        self._final.setdefault(row.ordinal >> 16, bytearray(0x10000))[row.ordinal & 0xFFFF] = 1
        self.counts[row.status] += 1
        self.of_accounts.setdefault(row.integrated_account_id or "", Counter())[row.status] += 1


class Ledger:
    """The ledger of one try in one generation's folder.

    ``try_number`` counts the task's tries; ``clock`` is in seconds. Files on a local disk get mode 0600: failures
    hold customers' data.
    """

    def __init__(self, folder: Any, *, try_number: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self._name = f"{try_number}-{uuid4().hex}"
        self._is_local = is_local(folder)
        self._clock = clock
        self._results = _Parts(folder, f"results-{self._name}", local=self._is_local, clock=clock)
        self._failures = _Parts(folder, f"failures-{self._name}", local=self._is_local, clock=clock)
        if self._is_local:
            folder.mkdir(parents=True, exist_ok=True)

    def open(self, header: Mapping[str, Any]) -> Past:
        """Read what earlier tries did, after making sure that they did it from the same source.

        Raises ``LedgerError`` where the source has changed, or the ledger is of another version.
        """
        stored = self._stored_header() or self._begun({"ledger_version": LEDGER_VERSION, **header})
        if stored.get("ledger_version") != LEDGER_VERSION:
            raise LedgerError(
                f"the ledger in {self.folder} is of version {stored.get('ledger_version')}, this package writes"
                f" {LEDGER_VERSION}: finish it with the version that began it, or set another output_path"
            )
        if stored.get("fingerprint") != header.get("fingerprint"):
            raise LedgerError(
                f"the source has changed since the first try, whose ledger is in {self.folder}: its rows would be"
                " taken for others. Put the first source back to go on, or begin anew with on_source_change='restart'"
            )
        past = Past()
        for name, line in self._complete_lines("results-"):
            row = ResultRow.read(line)
            past.add(row)
            if name.endswith(".part"):
                self._results.add(line)
        for name, line in self._complete_lines("failures-"):
            if name.endswith(".part"):
                self._failures.add(line)
        return past

    def stored_fingerprint(self) -> str | None:
        """Give the fingerprint of the source that this generation was begun with."""
        header = self._stored_header()
        return None if header is None else header.get("fingerprint")

    def add(self, row: ResultRow, *, body: Any = None) -> None:
        """Write what became of a record; a failed or skipped one goes to the failures as well, with its body."""
        self._results.add(row.line())
        if row.status in {"failed", "skipped"}:
            self._failures.add(failure_line(row, body))

    def full_parts(self, *, all_of_them: bool = False) -> list[Callable[[], None]]:
        """Give what has to be written now, each to be called outside of the event loop."""
        return [*self._results.due(all_of_them), *self._failures.due(all_of_them)]

    def close(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Close every part and write the summary; gives it with the paths."""
        for write in self.full_parts(all_of_them=True):
            write()
        paths = {"ledger": str(self.folder), "failures": self._failures.paths}
        whole = {**summary, **paths}
        self._write(f"summary-{self._name}.json", whole)
        return whole

    def _stored_header(self) -> dict[str, Any] | None:
        path = self.folder / "header.json"
        if not path.exists():
            return None
        header: dict[str, Any] = json.loads(path.read_bytes())
        return header

    def _begun(self, header: dict[str, Any]) -> dict[str, Any]:
        try:
            self._write("header.json", header)
        except FileExistsError:  # another live try was faster
            return self._stored_header() or header
        return header

    def _complete_lines(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Read the lines of other tries, also of parts that are still open, of which a torn last line is dropped."""
        for path in sorted(self.folder.iterdir(), key=lambda entry: str(entry.name)):
            if not path.name.startswith(prefix) or self._name in path.name:
                continue
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield path.name, line

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        data = json.dumps(value, ensure_ascii=False, indent=2).encode()
        _write_file(self.folder / name, data, local=self._is_local)


class _Parts:
    """One kind of lines, in numbered parts."""

    def __init__(self, folder: Any, name: str, *, local: bool, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._prefix = name
        self._local = local
        self._clock = clock
        self._number = 0
        self._lines: list[bytes] = []
        self._count = 0
        self._began = clock()
        self._file: Any = None
        self.paths: list[str] = []

    def add(self, line: bytes) -> None:
        if self._local:
            if self._file is None:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
                self._file = os.fdopen(os.open(f"{self._path().path}.part", flags, 0o600), "wb", buffering=0)
            self._file.write(line)  # unbuffered: what was written outlives a kill of the process
        else:
            self._lines.append(line)
        self._count += 1

    def due(self, all_of_them: bool) -> list[Callable[[], None]]:
        if not self._count:
            self._began = self._clock()
            return []
        is_full = self._count >= (LOCAL_PART_ROWS if self._local else PART_ROWS)
        is_old = not self._local and self._clock() - self._began >= PART_SECONDS
        if not (all_of_them or is_full or is_old):
            return []
        path, self._number = self._path(), self._number + 1
        lines, self._lines, self._count, self._began = self._lines, [], 0, self._clock()
        file, self._file = self._file, None
        self.paths.append(str(path))
        if self._local:
            return [lambda: _closed(file, path)]
        return [lambda: _write_file(path, b"".join(lines), local=False)]

    def _path(self) -> Any:
        return self._folder / f"{self._prefix}-{self._number}.jsonl"


def _closed(file: Any, path: Any) -> None:
    file.close()
    os.rename(f"{path.path}.part", path.path)  # noqa: PTH104  (a path of any pathlib-like class)


def _write_file(path: Any, data: bytes, *, local: bool) -> None:
    if not local:
        path.write_bytes(data)
        return
    with os.fdopen(os.open(path.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)
