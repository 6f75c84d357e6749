"""Writes down what became of each record: in the ledger, in the counts, and where later rows find it."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_truto.bulk.account import Turn
from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.matching.index import MatchIndex
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.result_row import ResultRow, encode_failed_body
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.skip_on import is_skipped
from airflow_provider_truto.records.pipeline import RecordResult


class Bookkeeper:
    """Takes each outcome once, and returns the row that the ledger has of it."""

    def __init__(
        self,
        ledger: Ledger,
        completed: CompletedRecords,
        progress: Progress,
        plan: Plan,
        *,
        index: MatchIndex | None,
    ) -> None:
        self._ledger = ledger
        self._again = completed.again
        self._progress = progress
        self._plan = plan
        self._index = index

    def add_unsent(self, turn: Turn) -> ResultRow:
        """Write down a record for which nothing is to be sent."""
        return self._add(ResultRow.of_unsent(turn.record, account_id=turn.account.id), turn)

    def add_result(self, turn: Turn, done: RecordResult) -> ResultRow:
        """Write down a record that was sent and answered."""
        if done.result is not None:
            self._progress.waited += done.result.waited
            self._progress.paced += done.result.paced
        fails_unconfirmed = self._plan.verify == "fail"
        row = ResultRow.of_result(done, turn.record, account_id=turn.account.id, fails_unconfirmed=fails_unconfirmed)
        return self._add(row, turn)

    def add_error(self, turn: Turn, error: TrutoError) -> ResultRow:
        """Write down a record that failed, or was skipped; ``tolerated``: ``skip_on`` names its error."""
        if turn.skipped_since is None:
            self._progress.waited += error.waited
        row = ResultRow.of_error(
            error,
            turn.record,
            account_id=turn.account.id,
            skipped_since=turn.skipped_since,
            is_tolerated=is_skipped(error, self._plan.skip_on),
        )
        return self._add(row, turn)

    def _add(self, row: ResultRow, turn: Turn) -> ResultRow:
        if (again := self._again.get(row.ordinal)) is not None:
            row = replace(row, again=again)
        on_none = self._plan.coercion.on_none
        self._ledger.add(row, failed=encode_failed_body(turn.record, on_none=on_none) if row.is_failure else None)
        self._progress.add(row, turn.record)
        if self._index is not None:
            self._index.remember(row)
        return row
