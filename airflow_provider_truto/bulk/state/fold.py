"""What a run's ledger says of its records, added to a state: how the next generation is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from airflow_provider_truto.bulk.ledger_files import list_ledger_files, parse_lines
from airflow_provider_truto.bulk.result_row import ResultRow, parse_pending_keys
from airflow_provider_truto.bulk.state.database import Rank, RowResult, StateDatabase

#: Answers that say of a write that was sent once that it was not executed, but for these.
_REFUSALS = frozenset(range(400, 500)) - {408, 409, 425}
_WAY_OUT = "Put the file back as it was, or take the line out, and clear the task"
_T = TypeVar("_T")


def fold_ledger(database: StateDatabase, ledger: Any) -> bool:
    """Add what the ledger in a folder says; return whether it says anything of any record.

    That a record was about to be written is something: without its outcome, nobody knows what the CRM has. A ledger
    may be added again, as by a later try of its run. Raises ``LedgerError`` for a line that cannot be read.
    """
    has_doubts = False
    for keys in _read(ledger, "pending", "keys", parse_pending_keys):
        database.doubt(keys)
        has_doubts = True
    database.add_results(_read_results(ledger))
    added = database.apply_results()
    database.note_ledger(str(ledger))
    return has_doubts or added > 0


def _read_results(ledger: Any) -> Iterator[RowResult]:
    for row in _read(ledger, "results", "result", ResultRow.read):
        if row.key is None:
            continue
        yield RowResult(
            ordinal=row.ordinal,
            rank=_choose_rank(row),
            key=row.key,
            integrated_account_id=row.integrated_account_id or "",
            id=row.id,
            content=None if row.not_confirmed else row.content,
            fields=row.fields,
        )


def _choose_rank(row: ResultRow) -> Rank:
    if row.is_done:
        if row.on_removed is None:
            return Rank.WRITTEN
        return Rank.REPORTED if row.on_removed == "report" else Rank.REMOVED
    is_refused = row.attempts == 1 and row.http_status in _REFUSALS
    return Rank.NOT_WRITTEN if is_refused or not row.attempts else Rank.UNKNOWN


def _read(ledger: Any, files: str, kind: str, parse: Callable[[bytes], _T]) -> Iterator[_T]:
    for path in list_ledger_files(ledger, files):
        for _, _, parsed in parse_lines(path, parse, kind=kind, way_out=_WAY_OUT):
            yield parsed
