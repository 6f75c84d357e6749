"""What a run's ledger says of its records, added to a state: how the next generation is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from airflow_provider_truto.bulk.ledger_files import list_ledger_files, parse_lines, parse_try_number
from airflow_provider_truto.bulk.result_row import ResultRow, parse_pending
from airflow_provider_truto.bulk.state.database import Rank, RowResult, StateDatabase
from airflow_provider_truto.bulk.state.record_keys import RecordKeys, to_number
from airflow_provider_truto.client.statuses import is_refused

_WAY_OUT = "Put the file back as it was, or take the line out, and clear the task"
_T = TypeVar("_T")


def fold_ledger(database: StateDatabase, ledger: Any) -> bool:
    """Add what the ledger in a folder says; return whether it says anything of any record.

    That a record was about to be written is something: without its outcome, nobody knows what the CRM has. A ledger
    may be added again, as by a later try of its run. Raises ``LedgerError`` for a line that cannot be read.
    """
    parts: dict[str, int] = {}
    database.add_results(_read_pending(ledger, parts))
    database.add_results(_read_results(ledger, parts))
    added = database.apply_results()
    database.note_ledger(str(ledger))
    return added > 0


def _read_pending(ledger: Any, parts: dict[str, int]) -> Iterator[RowResult]:
    for (number, part), records in _read(ledger, "pending", "keys", parse_pending, parts):
        for key, ordinal in records:
            yield RowResult(ordinal, number, part, Rank.PENDING, key, key)


def _read_results(ledger: Any, parts: dict[str, int]) -> Iterator[RowResult]:
    keys = RecordKeys()
    for (number, part), row in _read(ledger, "results", "result", ResultRow.read, parts):
        if row.key is None:
            continue
        account_id = row.integrated_account_id or ""
        yield RowResult(
            ordinal=row.ordinal,
            number=number,
            part=part,
            rank=_choose_rank(row),
            key=keys.make(account_id, "id", row.id) if row.id else row.key,
            sent_as=row.key,
            write=_hash_write(row.idempotency_key),
            match=keys.make(account_id, "match", row.match[0]) if row.match and row.id else None,
            integrated_account_id=account_id,
            id=row.id,
            content=None if row.not_confirmed else row.content,
            fields=row.fields,
        )


def _choose_rank(row: ResultRow) -> Rank:
    if row.is_done:
        if row.on_removed is None:
            return Rank.WRITTEN
        return Rank.REPORTED if row.on_removed == "report" else Rank.REMOVED
    # Of several attempts, an earlier one may have been executed although the last one was refused.
    is_unwritten = not row.attempts or (row.attempts == 1 and is_refused(row.http_status))
    return Rank.NOT_WRITTEN if is_unwritten else Rank.UNKNOWN


def _read(
    ledger: Any, files: str, kind: str, parse: Callable[[bytes], _T], parts: dict[str, int]
) -> Iterator[tuple[tuple[int, int], _T]]:
    """Read the lines of the files of a kind, each with its try, and which part of it; ``parts`` numbers those."""
    for path in list_ledger_files(ledger, files):
        name = "-".join(path.name.split("-")[1:3])
        origin = parse_try_number(path.name), parts.setdefault(name, len(parts))
        for _, _, parsed in parse_lines(path, parse, kind=kind, way_out=_WAY_OUT):
            yield origin, parsed


def _hash_write(idempotency_key: str | None) -> int | None:
    return None if idempotency_key is None else to_number(hashlib.blake2b(idempotency_key.encode(), digest_size=8))
