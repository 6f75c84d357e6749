"""Ledgers as the rows of two tables: a line per ledger, and a line per record and try.

A ledger is known by its task, its map index and its generation, whatever its folder is called; a line by its ledger
and by its place in it. Both stay what they are however often a ledger is read, so that what was stored of it before
can be replaced.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from airflow_provider_truto.bulk.errors import LedgerError
from airflow_provider_truto.bulk.generations import is_of_another_run, list_generations
from airflow_provider_truto.bulk.ledger_files import (
    is_open,
    list_ledger_files,
    parse_try_number,
    read_headers,
    read_lines,
)
from airflow_provider_truto.bulk.report import find_last_summary
from airflow_provider_truto.bulk.result_row import ResultRow, parse_failure_ordinal
from airflow_provider_truto.bulk.storage import open_buffered, refresh
from airflow_provider_truto.records.keys import RunSeen

#: ``key`` is a short text by which lines are found.
ColumnType = Literal["key", "text", "whole", "number", "flag"]


class Table(NamedTuple):
    """A table: the columns that tell its lines apart, and all columns with their types, in order."""

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, ColumnType]


_OF_THE_LEDGER: dict[str, ColumnType] = {
    "dag_id": "text",
    "run_id": "text",
    "task_id": "text",
    "map_index": "whole",
    "generation": "whole",
    "run_started_at": "text",
    "operation": "text",
}
_COUNTED = ("records", "updated", "created", "unchanged", "failed", "skipped", "tolerated", "requests", "retries")
RUNS = Table(
    "truto_runs",
    ("ledger_id",),
    {
        "ledger_id": "key",
        **_OF_THE_LEDGER,
        "package_version": "text",
        "source": "text",
        "last_try": "whole",
        "is_complete": "flag",
        **dict.fromkeys(_COUNTED, "whole"),
        "seconds": "number",
        "ledger": "text",
    },
)
CHANGES = Table(
    "truto_changes",
    ("ledger_id", "line_id"),
    {
        "ledger_id": "key",
        "line_id": "key",
        **_OF_THE_LEDGER,
        "try_number": "whole",
        "ordinal": "whole",
        "integrated_account_id": "text",
        "record_id": "text",
        "status": "text",
        "http_status": "whole",
        "attempts": "whole",
        "idempotency_key": "text",
        "error": "text",
        "message": "text",
        "is_transient": "flag",
        "is_tolerated": "flag",
        "not_confirmed": "text",
        "place": "text",
        "body": "text",
    },
)


@dataclass(frozen=True, kw_only=True)
class LedgerTables:
    """What one ledger is in the tables: its line of ``RUNS``, and what reads its lines of ``CHANGES``."""

    ledger_id: str
    run: tuple[Any, ...]
    read_changes: Callable[[], Iterator[tuple[Any, ...]]]


def read_ledgers(
    folder: Any, *, dag_id: str, run_id: str, task_id: str, run: RunSeen, with_bodies: bool
) -> Iterator[LedgerTables]:
    """Read the ledgers below a task's folder: all generations of all map indexes.

    Those of a DAG run of the same id that was deleted do not count: ``run`` is the one that asks. ``with_bodies``
    includes the bodies of what failed or was skipped; a ledger has no others. Raises ``LedgerError`` for a file that
    cannot be read, also while lines are read.
    """
    if not refresh(folder).exists():
        return
    try:
        indexes = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.removeprefix("-").isdecimal())
        for index in indexes:
            for generation in list_generations(folder / str(index)):
                ledger = folder / str(index) / str(generation)
                headers = read_headers(ledger)
                if headers and not is_of_another_run(ledger, run, None, try_number=None):
                    task = (dag_id, run_id, task_id, index, generation)
                    yield _read_ledger(ledger, headers, task, with_bodies=with_bodies)
    except (NotADirectoryError, FileExistsError) as error:
        raise LedgerError.of_no_folder(error) from error


def _read_ledger(
    ledger: Any, headers: Sequence[Mapping[str, Any]], task: tuple[Any, ...], *, with_bodies: bool
) -> LedgerTables:
    header = headers[-1]
    ledger_id = hashlib.sha256(json.dumps(task).encode()).hexdigest()[:32]
    facts = (*task, _format_start(RunSeen.read(header.get("run"))), header.get("operation"))
    summary = find_last_summary(ledger) or {}
    task_generations = {header["try"]: header.get("task_generation") for header in headers}
    return LedgerTables(
        ledger_id=ledger_id,
        run=(
            ledger_id,
            *facts,
            header.get("package_version"),
            header["fingerprint"],
            header["try"],
            bool(summary.get("complete")),
            *(summary.get(name) for name in (*_COUNTED, "seconds")),
            str(ledger),
        ),
        read_changes=lambda: _read_changes(
            ledger, (ledger_id, facts), task_generations=task_generations, with_bodies=with_bodies
        ),
    )


def _format_start(run: RunSeen) -> str | None:
    """Write when a run began, so that text sorts as time does."""
    started = run.started or run.after
    if started is None:
        return None
    return datetime.fromisoformat(started).astimezone(timezone.utc).isoformat(timespec="microseconds")


def _read_changes(
    ledger: Any, known: tuple[str, tuple[Any, ...]], *, task_generations: Mapping[int, Any], with_bodies: bool
) -> Iterator[tuple[Any, ...]]:
    ledger_id, facts = known
    # Lines that a killed try left in an open file, which the next one has copied into its own: not what it did.
    left_open: set[tuple[bytes, Any]] = set()
    with closing(_Bodies(ledger)) if with_bodies else nullcontext() as bodies:
        for listed in sorted(list_ledger_files(ledger, "results"), key=lambda path: not is_open(path)):
            try_number, name = parse_try_number(listed.name), listed.name.removesuffix(".part")
            for path, number, line in read_lines(listed):
                try:
                    row = ResultRow.read(line)
                except ValueError as error:
                    raise _describe_wrong_line(path, f"has no result in line {number}: {error}") from None
                # After a clear, only what is done is copied; what failed may fail once more, in the same words.
                of_tries = None if row.is_done else task_generations.get(try_number)
                mark = (hashlib.sha256(line).digest(), of_tries)
                if mark in left_open:
                    continue
                if is_open(listed) and row.is_final:
                    left_open.add(mark)
                body = bodies.find(row.ordinal) if bodies is not None and row.is_failure else None
                yield (ledger_id, f"{name}:{number}", *facts, try_number, *_read_row(row), body)


def _read_row(row: ResultRow) -> tuple[Any, ...]:
    return (
        row.ordinal,
        row.integrated_account_id,
        row.id,
        row.status,
        row.http_status,
        row.attempts,
        row.idempotency_key,
        row.error,
        row.message,
        row.transient,
        row.tolerated,
        json.dumps(row.not_confirmed) if row.not_confirmed else None,
        row.place,
    )


class _Bodies:
    """The bodies of what failed, which stay in their files: only their places are in memory."""

    def __init__(self, ledger: Any) -> None:
        self._places: dict[int, tuple[Any, int]] = {}
        for listed in list_ledger_files(ledger, "failures"):
            offset = 0
            for path, number, line in read_lines(listed):
                try:
                    self._places[parse_failure_ordinal(line)] = (path, offset)
                except ValueError as error:
                    raise _describe_wrong_line(path, f"has no failure in line {number}: {error}") from None
                offset += len(line)
        self._opened = ExitStack()
        self._path: Any = None
        self._file: Any = None

    def close(self) -> None:
        self._opened.close()

    def find(self, ordinal: int) -> str | None:
        """Return a record's body as JSON; ``None`` where no file has it."""
        if ordinal not in self._places:
            return None
        path, offset = self._places[ordinal]
        if path != self._path:  # a file has the failures of a try one after the other
            self._opened.close()
            self._path, self._file = path, self._opened.enter_context(open_buffered(path))
        self._file.seek(offset)
        return json.dumps(json.loads(self._file.readline()).get("body"), ensure_ascii=False)


def _describe_wrong_line(path: Any, what: str) -> LedgerError:
    return LedgerError.of_file(path, what, "Put the file back as it was, or take the line out")
