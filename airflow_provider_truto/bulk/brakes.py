"""What stops a bulk: too many failures while it runs (``stop_after``), too many changes before it begins.

A customer who fails alone is given up, and the others go on: only failures of several customers stop the bulk, or
those of the only one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.plurals import count

#: Share of the failures that count from which on they are one customer's own.
_ALONE = 0.9

#: So few changes are never too many compared with earlier runs: a quiet night must not stop the next one.
_FEW = 10


class TrutoGivenUpError(TrutoError):
    """So many records of a customer have failed that its others are left to the next try."""

    transient = True

    @classmethod
    def of(cls, account_id: str) -> TrutoGivenUpError:
        """Build the error of a customer's other records."""
        return cls(
            f"customer {account_id or 'without a name'} was given up for this try: its records alone have failed as"
            " often as stop_after allows"
        )


class StopRule(NamedTuple):
    """How many failures stop a bulk: a number, or a share below 1 once ``after`` records are done."""

    failures: float
    after: int = 0

    def is_met(self, *, failures: int, done: int) -> bool:
        """Whether so many failures of so many records are too many."""
        if isinstance(self.failures, float):
            return done >= self.after and failures > self.failures * done
        return failures >= self.failures

    def __str__(self) -> str:
        return f"({self.failures}, {self.after})" if isinstance(self.failures, float) else str(self.failures)


class Verdict(NamedTuple):
    """What too many failures mean: this customer is given up, or the bulk stopped (``None``)."""

    given_up: str | None


class FailureBrake:
    """Counts what becomes of the records of one try, without those of customers that were given up."""

    def __init__(self, rule: StopRule) -> None:
        self._rule = rule
        self._failures: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._all_failures = 0
        self._all_done = 0
        self._given_up: set[str] = set()

    def describe_stop(self, problems: Sequence[str]) -> str:
        """Return why the bulk stops, what is left, and how to go on; ``problems`` are the first that were met."""
        customers = len(self._failures)
        what = (
            f"bulk stopped: {self._all_failures} of the {self._all_done} records that this try has done have failed,"
            f" of {count(customers, 'customer')} (stop_after={self._rule}). What was not sent is"
            " not done. Clear the task to go on: it sends what has failed and what is left. To let more fail first,"
            " raise stop_after, or leave it out"
        )
        return "\n  ".join([what, *problems])

    def count(self, account_id: str, *, has_failed: bool, is_only_customer: bool) -> Verdict | None:
        """Count a record; return what it means that so many have failed, ``None`` where they are not too many."""
        if account_id in self._given_up:
            return None
        self._done[account_id] += 1
        self._all_done += 1
        if not has_failed:
            return None
        self._failures[account_id] += 1
        self._all_failures += 1
        if not self._rule.is_met(failures=self._all_failures, done=self._all_done):
            return None
        ((worst, failures),) = self._failures.most_common(1)
        if is_only_customer or failures < _ALONE * self._all_failures:
            return Verdict(None)
        self._given_up.add(worst)
        self._all_failures -= self._failures.pop(worst)
        self._all_done -= self._done.pop(worst)
        return Verdict(worst)


class PastRun(NamedTuple):
    """What a run had: rows of its source, and how many of them changed something."""

    rows: int
    changes: int


@dataclass(frozen=True, kw_only=True)
class ChangeRule:
    """How many changes a run may make: ``most`` (a number, or a share of the rows below 1), or beside its past.

    Beside its past: at most ``factor`` times as many rows and changes as the last ``runs`` had, and no fewer rows
    than that part of theirs. What is compared with is the run of these that is nearest.
    """

    most: float | None = None
    factor: float = 1.0
    runs: int = 0

    def __str__(self) -> str:
        return f"({self.factor:g}, {self.runs})" if self.most is None else str(self.most)

    def explain_refusal(self, *, rows: int, changes: int, past: Sequence[PastRun]) -> str:
        """Return what is too much, or too little, in words; ``""`` where nothing is."""
        if self.most is not None:
            most = self.most * rows if isinstance(self.most, float) else self.most
            return f"{changes} of {rows} rows would change something" if changes > most else ""
        if not past:
            return ""
        least_rows, most_rows = min(run.rows for run in past), max(run.rows for run in past)
        most_changes = max(_FEW, *(run.changes for run in past))
        told = f"the last {count(len(past), 'run')}"
        if rows * self.factor <= least_rows and rows < least_rows:
            return f"the source has {count(rows, 'row')}, and {told} had {least_rows} at least"
        if rows >= most_rows * self.factor and rows > max(_FEW, most_rows):
            return f"the source has {count(rows, 'row')}, and {told} had {most_rows} at most"
        if changes > most_changes * self.factor:
            return f"{changes} of {rows} rows would change something, and in {told} it were {most_changes} at most"
        return ""
