"""What earlier tries of a bulk have accounted for, in a byte per record."""

from __future__ import annotations

from collections import Counter

from airflow_provider_truto.bulk.problems import Problems
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.result_row import DONE, OUTCOMES, ResultRow

#: What is remembered of a record, in a byte: its place in this list.
_MARKS: tuple[str, ...] = ("", *OUTCOMES, "refused", "again")
#: Marks of what is to be sent: never seen; refused before a clear; failed or skipped before it, and not refused.
_OPEN = frozenset({"", "refused", "again"})
#: Outcomes of records that are not as they should be, and that a retry leaves alone.
_UNDONE = frozenset(OUTCOMES) - DONE


class CompletedRecords:
    """What earlier tries of a generation have accounted for; ``try_number`` is that of the try which goes on."""

    def __init__(self, *, try_number: int = 1) -> None:
        self._try_number = try_number
        self._marks: dict[int, bytearray] = {}
        #: Rows that were done again after a clear, and what the rows are about that are, or were, to be done again.
        self._redone: set[int] = set()
        self._reopened: set[tuple[str, str]] = set()
        #: Of rows that were done and are sent again, since which try: what earlier ones say of them does not count.
        self.again: dict[int, int] = {}
        #: Whether anything is done again since somebody has cleared the task.
        self.has_reopened = False
        self.counts: Counter[str] = Counter()
        self.of_accounts: dict[str, Counter[str]] = {}
        self.problems = Problems()
        #: Records that failed, and stand in no failures file: it was emptied or deleted since.
        self.lost_failures = 0

    def is_final(self, ordinal: int) -> bool:
        """Whether this record needs nothing more."""
        return self._mark(ordinal) not in _OPEN

    def has_failed(self, ordinal: int) -> bool:
        """Whether this record failed for good, or was skipped although nobody said so."""
        return self._mark(ordinal) in {"failed", "skipped"}

    def was_refused(self, ordinal: int) -> bool:
        """Whether a record that is to be sent again was refused before: under the same key it would be again."""
        return self._mark(ordinal) == "refused"

    def add(self, row: ResultRow, *, is_cleared: bool = False) -> bool:
        """Take a row in; false where it says nothing new. A success counts before anything else, see ``ResultRow``.

        ``is_cleared``: somebody has cleared the task since, so that what failed is to be done again.
        """
        if not self._take_up(row):
            return False
        is_done = row.is_done
        old = self._mark(row.ordinal)
        if old in DONE or not row.is_final or (old in _UNDONE and not is_done):
            return False
        if is_cleared and not is_done:
            # What was written is asked for again under its key: Truto repeats the answer, and executes nothing.
            if not row.is_written:
                self.has_reopened = True
                self._set(row.ordinal, "refused" if row.attempts else "again")
            return False
        if old in _UNDONE:
            self._count(row.integrated_account_id or "", old, -1)
        elif old:
            self._redone.add(row.ordinal)
        self._set(row.ordinal, row.outcome)
        self._count(row.integrated_account_id or "", row.outcome, 1)
        if row.is_failure:
            self.problems.add(row)
        return True

    def reopen(self, account_id: str, record: Record) -> str | None:
        """Have a record sent that is done, if an earlier row about the same one is sent after it; return its outcome.

        That is so where somebody has cleared the task in between. Where ``has_reopened``, call it for each record, in
        the order of the rows.
        """
        names = [record.id or "", *(key for keys in record.match_keys for key in keys)]
        about = {(account_id, name) for name in names if name}
        mark = self._mark(record.ordinal)
        if mark in DONE and not self._reopened.isdisjoint(about):
            self._count(account_id, mark, -1)
            self._set(record.ordinal, "refused")
            self.again[record.ordinal] = self._try_number
            return mark
        if mark in {"refused", "again"} or record.ordinal in self._redone:
            self._reopened |= about
        return None

    def _take_up(self, row: ResultRow) -> bool:
        """Forget what is known of a row that was sent again; false where that is later than what this line says."""
        again, known = row.again or 0, self.again.get(row.ordinal, 0)
        if again > known:
            self.again[row.ordinal] = again
            if (old := self._mark(row.ordinal)) in OUTCOMES:
                self._count(row.integrated_account_id or "", old, -1)
            self._set(row.ordinal, "refused")
        return again >= known

    def _mark(self, ordinal: int) -> str:
        block = self._marks.get(ordinal >> 16) if self._marks else None
        return "" if block is None else _MARKS[block[ordinal & 0xFFFF]]

    def _set(self, ordinal: int, mark: str) -> None:
        self._marks.setdefault(ordinal >> 16, bytearray(0x10000))[ordinal & 0xFFFF] = _MARKS.index(mark)

    def _count(self, account_id: str, outcome: str, number: int) -> None:
        self.counts[outcome] += number
        self.of_accounts.setdefault(account_id, Counter())[outcome] += number
