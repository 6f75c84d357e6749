"""The files that account for every record and outlive the worker: results, failures, a header and a summary.

    <output_path>/<dag>/<run>/<task>/<map index>/<generation>/      and beside it, what ``tries`` leaves
        header-<try>-<uuid>.json                  what the bulk is, and what its source is; binds the tries to come
        results-<try>-<uuid>-<n>.jsonl            a line per record: what became of it
        pending-<try>-<uuid>-<n>.jsonl            with changed_only: which records are about to be written
        failures-<try>-<uuid>-<n>.jsonl           records that failed, with their bodies, to be fed back
        summary-<try>-<uuid>.json                 counts, at the end of a try
        check-<try>-<uuid>.json                   faults that a check before the first write has found; binds nobody
        preview-<try>-<uuid>.json                 what would be done, counted; binds nobody
        samples-<try>-<uuid>.jsonl                some rows of each kind and customer, with what would change

Every try writes files of its own names, so that two live tries of one task never touch each other's. Nothing is
overwritten; a record may stand in several files, and readers take one row an ordinal: of those with the highest
``again`` a success before anything else.
The failures of a try that came to its end are all that there are, those of earlier tries among them.
On a local disk an open part ends in ``.part``, is flushed with each row and renamed when it is full. On other storage
a part is uploaded whole, every 5 seconds or 1,000 rows; what a kill loses is replayed under the same keys.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import LedgerError, LiveTryError
from airflow_provider_truto.bulk.ledger_files import (
    LEDGER_VERSION,
    Part,
    is_open,
    list_ledger_files,
    parse_lines,
    parse_try_number,
    read_headers,
    read_summaries,
    write_file,
)
from airflow_provider_truto.bulk.result_row import (
    FailedBody,
    ResultRow,
    encode_failure,
    encode_pending,
    parse_failure_ordinal,
)
from airflow_provider_truto.bulk.storage import is_local, write_whole

#: A part is closed after so many rows; on remote storage also after so many seconds.
PART_ROWS = 1_000
LOCAL_PART_ROWS = 50_000
PART_SECONDS = 5.0
_WAY_OUT_OF_RESULTS = (
    "Put the file back as it was, or take the line out, and clear the task: its record then counts as not done and is"
    " sent again, under the same key"
)
_WAY_OUT_OF_FAILURES = (
    "Put the file back as it was, or take the line out, and clear the task: everything that failed is then sent again"
)

_Parsed = TypeVar("_Parsed")


class Ledger:
    """The ledger of one try in one generation's folder.

    ``try_number`` counts the task's tries, those before a clear among them. ``clock`` is in seconds. Files on a local
    disk get mode 0600: failures hold customers' data.
    """

    def __init__(
        self,
        folder: Any,
        *,
        try_number: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._name = f"{try_number}-{uuid4().hex}"
        self._try_number = try_number
        self._is_local = is_local(folder)
        self._clock = clock
        self._began = clock()
        self._results = _Parts(folder, f"results-{self._name}")
        self._failures = _Parts(folder, f"failures-{self._name}")
        self._pending = _Parts(folder, f"pending-{self._name}")

    def read_first_header(self) -> dict[str, Any] | None:
        """Return the header that this generation was begun with; ``None`` where no try has begun it.

        Raises ``LedgerError`` for one that cannot be read, or is of a different version.
        """
        return next(iter(self._read_headers()), None)

    def open(
        self, header: Mapping[str, Any], *, on_row: Callable[[ResultRow], None] = lambda _row: None
    ) -> CompletedRecords:
        """Read what earlier tries did, after making sure that they did it from the same source.

        ``header`` has the ``fingerprint`` of the source, as ``snapshot`` which of its readings is sent, if there
        are any, and the ``task_generation`` of the try. What failed in tries of earlier generations is to be done
        again, since somebody has cleared the task. ``on_row`` is called with each row that counts. Raises
        ``LedgerError`` where the source has changed, or a file cannot be read, and ``LiveTryError`` where another try
        has begun it with a different reading in the meantime.
        """
        for stored in self._read_headers():
            self._check(stored, header)
        signed = {"ledger_version": LEDGER_VERSION, "try": self._try_number, **header}
        own = self._write(f"header-{self._name}.json", signed)
        try:
            for stored in self._read_headers():  # a live try may have written one at the same time
                self._check(stored, header)
        except (LedgerError, LiveTryError):
            own.unlink()  # nothing was sent under it, and beside the other one it would hold up every retry
            raise
        completed = CompletedRecords(try_number=self._try_number)
        cleared_before = self._find_first_try(header.get("task_generation"))
        for path, line, row in self._parse_lines("result", ResultRow.read, way_out=_WAY_OUT_OF_RESULTS):
            is_new = completed.add(row, is_cleared=parse_try_number(path.name) < cleared_before)
            if is_new:
                on_row(row)
            if is_new and is_open(path):
                self._results.add(line)
        # The next try then finds these parts closed, and need not copy them again.
        for write in self._results.take_part():
            write()
        self._keep_failures(completed)
        return completed

    def write_faults(self, faults: Sequence[str]) -> None:
        """Write the faults that a check has found, for reports. It does not begin the ledger."""
        self._write(f"check-{self._name}.json", {"faults": list(faults)})

    def write_preview(self, counts: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """Write what a bulk would do, and return the paths. It does not begin the ledger."""
        lines = (json.dumps(sample, ensure_ascii=False).encode(errors="replace") + b"\n" for sample in samples)
        path = self.folder / f"samples-{self._name}.jsonl"
        write_whole(path, lines)
        return {"preview": str(self._write(f"preview-{self._name}.json", counts)), "samples": str(path)}

    def add(self, row: ResultRow, *, failed: FailedBody | None = None) -> None:
        """Write what became of a record; a failure goes to the failures as well, with its body.

        Raises ``OSError`` where it is not written; it is not accounted for then.
        """
        if row.is_failure:
            # First: a row without its failure could not be fed back.
            self._failures.add(encode_failure(row, failed or FailedBody(body=None)))
        self._results.add(row.line())

    def add_pending(self, records: Sequence[tuple[int, int]]) -> list[Callable[[], None]]:
        """Write which records are about to be written: their keys in the state, and their ordinals.

        Returns what has to be called before they are, outside of the event loop.
        """
        self._pending.add(encode_pending(records))
        return [] if self._is_local else self._pending.take_part()

    def take_full_parts(self, *, all_of_them: bool = False) -> list[Callable[[], None]]:
        """Return what has to be written now, each to be called outside of the event loop, in this order."""
        rows = max(self._results.count, self._failures.count)
        if not rows:
            self._began = self._clock()
            return []
        is_full = rows >= (LOCAL_PART_ROWS if self._is_local else PART_ROWS)
        is_old = not self._is_local and self._clock() - self._began >= PART_SECONDS
        if not (all_of_them or is_full or is_old):
            return []
        self._began = self._clock()
        return [*self._failures.take_part(), *self._results.take_part()]

    def close(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Close every part and write the summary; return it with the paths."""
        for write in [*self._pending.take_part(), *self.take_full_parts(all_of_them=True)]:
            write()
        whole = {**summary, "ledger": str(self.folder), "failures": self._failures.paths}
        self._write(f"summary-{self._name}.json", whole)
        return whole

    def _check(self, stored: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        if stored.get("fingerprint") != header.get("fingerprint"):
            raise LedgerError(self._describe_changed_source())
        if stored.get("snapshot") not in (None, header.get("snapshot")):
            raise LiveTryError(
                f"bulk not finished: another live try has begun the ledger in {self.folder} with the rows that the"
                " query gave to it; this one has asked for itself, and sent nothing. A retry goes on with the rows of"
                " the other; where that fails again and again, clear the task with on_clear='restart'"
            )

    def _describe_changed_source(self) -> str:
        """Return what to do with a source that was corrected, most likely since some of its records had failed."""
        text = (
            f"the source has changed since the first try, whose ledger is in {self.folder}: its rows would be taken"
            " for others. This try has sent nothing. "
        )
        put_back = "the first source back and clear the task: it goes on"
        if failures := next(
            (one["failures"] for one in reversed(read_summaries(self.folder)) if one["failures"]), None
        ):
            text += (
                f"What had failed is in {', '.join(failures)}: correct it there, and send these files as the source"
                f" of a task of their own; what was written stays as it is. Or put {put_back}"
            )
        else:
            text += f"Put {put_back}"
        return (
            f"{text}. Or have every record written again, in a new ledger: with on_source_change='restart', or by"
            " clearing the task with on_clear='restart'"
        )

    def _read_headers(self) -> list[dict[str, Any]]:
        return read_headers(self.folder)

    def _find_first_try(self, task_generation: Any) -> int:
        own = [header for header in self._read_headers() if header.get("task_generation") == task_generation]
        return min([self._try_number, *(int(header["try"]) for header in own)])

    def _keep_failures(self, completed: CompletedRecords) -> None:
        """Copy the records that earlier tries failed for good: this try's failures are then all there are."""
        if not completed.counts["failed"] and not completed.counts["skipped"]:
            return
        kept = set()
        for _, line, ordinal in self._parse_lines("failure", parse_failure_ordinal, way_out=_WAY_OUT_OF_FAILURES):
            if ordinal not in kept and completed.has_failed(ordinal):
                kept.add(ordinal)
                self._failures.add(line)
        completed.lost_failures = completed.counts["failed"] + completed.counts["skipped"] - len(kept)

    def _parse_lines(
        self, kind: str, parse: Callable[[bytes], _Parsed], *, way_out: str
    ) -> Iterator[tuple[Any, bytes, _Parsed]]:
        """Read the lines of other tries, those of open parts last, with their files and what they say.

        What a torn one said is done again, under the same key.
        """
        paths = [path for path in list_ledger_files(self.folder, f"{kind}s") if self._name not in path.name]
        for path in sorted(paths, key=is_open):
            yield from parse_lines(path, parse, kind=kind, way_out=way_out)

    def _write(self, name: str, value: Mapping[str, Any]) -> Any:
        data = json.dumps(value, ensure_ascii=False, indent=2).encode(errors="replace")  # ids may hold anything
        path = self.folder / name
        write_file(path, data)
        return path


class _Parts:
    """One kind of lines, in numbered parts; ``count`` are the lines of the one that is open."""

    def __init__(self, folder: Any, name: str) -> None:
        self._folder = folder
        self._prefix = name
        self._is_local = is_local(folder)
        self._number = 0
        self._lines: list[bytes] = []
        self._part: Part | None = None
        self.count = 0
        self.paths: list[str] = []

    def add(self, line: bytes) -> None:
        if self._is_local:
            if self._part is None:
                self._part = Part(self._make_path())
            self._part.write(line)
        else:
            self._lines.append(line)
        self.count += 1

    def take_part(self) -> list[Callable[[], None]]:
        """Begin a new part; return what writes the old one."""
        if not self.count:
            return []
        path, part, lines = self._make_path(), self._part, self._lines
        self._number, self._part, self._lines, self.count = self._number + 1, None, [], 0
        self.paths.append(str(path))
        return [partial(_upload, path, lines) if part is None else part.close]

    def _make_path(self) -> Any:
        return self._folder / f"{self._prefix}-{self._number}.jsonl"


def _upload(path: Any, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines))
