"""What stops a bulk: too many failures while it runs (``stop_after``), too many changes before it begins.

A customer who fails alone is given up, and the others go on: only failures of several customers stop the bulk, or
those of the only one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from airflow_provider_truto.client.errors import TrutoError

#: Share of the failures that count from which on they are one customer's own.
_ALONE = 0.9

Verdict = Literal["go on", "give up", "stop"]


class TrutoGivenUpError(TrutoError):
    """So many records of a customer have failed that its others are left to the next try."""

    transient = True


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


class FailureBrake:
    """Counts what becomes of the records of one try, without those of customers that were given up."""

    def __init__(self, rule: StopRule) -> None:
        self._rule = rule
        self._failures: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._given_up: set[str] = set()

    def describe_stop(self, problems: Sequence[str]) -> str:
        """Return why the bulk stops, what is left, and how to go on; ``problems`` are the first that were met."""
        customers = len(+self._failures)
        what = (
            f"bulk stopped: {self.failures} of the {sum(self._done.values())} records that this try has sent have"
            f" failed, of {customers} customer{'' if customers == 1 else 's'} (stop_after={self._rule}). What was not"
            " sent is not done. Clear the task to go on: it sends what has failed and what is left. To let more fail"
            " first, raise stop_after, or leave it out"
        )
        return "\n  ".join([what, *problems])

    @property
    def failures(self) -> int:
        """Failures that count."""
        return sum(self._failures.values())

    def count(self, account_id: str, *, has_failed: bool, is_only_customer: bool) -> Verdict:
        """Count a record; say whether its customer is to be given up, or the bulk to be stopped."""
        if account_id in self._given_up:
            return "go on"
        self._done[account_id] += 1
        if not has_failed:
            return "go on"
        self._failures[account_id] += 1
        if not self._rule.is_met(failures=self.failures, done=sum(self._done.values())):
            return "go on"
        if is_only_customer or self._failures[account_id] < _ALONE * self.failures:
            return "stop"
        self._given_up.add(account_id)
        del self._failures[account_id], self._done[account_id]
        return "give up"
