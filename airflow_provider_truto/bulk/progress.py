"""How far a bulk is: counts, rate, and what is remarkable about the answers."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.problems import Problems
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.result_row import ResultRow, show_counts
from airflow_provider_truto.client.rate_limiter import MARGIN, TIER_SECONDS

#: Seconds over which the rate is measured.
RATE_SECONDS = 2 * TIER_SECONDS * MARGIN


@dataclass
class Progress:
    """What has been done so far: ``counts`` in all tries, ``resumed`` in earlier ones, and what this one cost.

    Both are by ``result_row.OUTCOMES``. ``known`` of them are as they were confirmed last, as every try finds anew.

    ``requests`` are all that were sent, each attempt and each read beside the writes. ``rate`` are the latest records
    per second, ``None`` before that can be said. ``others`` are the records whose answers in this try were about
    another one, ``first_other`` says which the first was; ``unconfirmed`` those whose answers do not confirm all
    fields, of which ``first_unconfirmed`` has the first. ``repeated`` were found by their keys after an earlier row
    was about the same record; ``first_repeated`` has the first.
    """

    total: int | None = None
    rate: float | None = None
    resumed: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    of_accounts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    known: int = 0
    transient_failures: int = 0
    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    paced: float = 0.0
    seconds: float = 0.0
    others: int = 0
    first_other: str = ""
    unconfirmed: int = 0
    first_unconfirmed: str = ""
    repeated: int = 0
    first_repeated: str = ""
    problems: Problems = field(default_factory=Problems)

    @classmethod
    def resume(cls, completed: CompletedRecords, *, total: int | None) -> Progress:
        """Begin where earlier tries ended."""
        return cls(
            total=total,
            resumed=Counter(completed.counts),
            counts=Counter(completed.counts),
            of_accounts=defaultdict(
                Counter, {account: Counter(counts) for account, counts in completed.of_accounts.items()}
            ),
            problems=completed.problems.copy(),
        )

    @property
    def done(self) -> int:
        """Records that are accounted for."""
        return sum(self.counts.values())

    @property
    def failures(self) -> int:
        """Records that failed, or were skipped although nobody said so."""
        return self.counts["failed"] + self.counts["skipped"]

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end, at the rate of late; ``None`` where that is not known."""
        if self.total is None or not (self.rate or self.done >= self.total):
            return None
        return max(0, self.total - self.done) / self.rate if self.rate else 0.0

    @property
    def has_advanced(self) -> bool:
        """Whether this try has brought any record to its end: one that a later try leaves alone."""
        return self.done - self.known - self.transient_failures > sum(self.resumed.values())

    def take_back(self, account_id: str, outcome: str) -> None:
        """Count a record of an earlier try no more: it is sent again."""
        for counts in (self.counts, self.resumed, self.of_accounts[account_id]):
            counts[outcome] -= 1

    def add_unchanged(self, account_id: str) -> None:
        """Count a record that is as it was confirmed last, of which the ledger says nothing."""
        self.known += 1
        self.counts["unchanged"] += 1
        self.of_accounts[account_id]["unchanged"] += 1

    def add(self, row: ResultRow, record: Record) -> None:
        """Count what became of a record."""
        self.counts[row.outcome] += 1
        self.of_accounts[row.integrated_account_id or ""][row.outcome] += 1
        self.retries += max(0, row.attempts - 1)
        if row.is_failure:
            self.transient_failures += row.transient
            self.problems.add(row)
        if record.note is not None and row.is_done:
            self.repeated += 1
            self.first_repeated = self.first_repeated or f"{record.label}: {record.note}"
        if "/id" in row.not_confirmed:
            self.others += 1
            self.first_other = self.first_other or record.label
        if row.not_confirmed and row.is_done:
            self.unconfirmed += 1
            fields = ", ".join(row.not_confirmed)
            self.first_unconfirmed = self.first_unconfirmed or f"{record.label}: {fields}"

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        return {
            "records": self.done,
            **show_counts(self.counts),
            "resumed": sum(self.resumed.values()),
            "transient_failures": self.transient_failures,
            "requests": self.requests,
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "waited_seconds": round(self.waited, 3),
            "paced_seconds": round(self.paced, 3),
            "first_problems": self.problems.describe(),
        }


class RateMeter:
    """Records per second over the last two windows of a limit.

    What a window holds goes out at once, and then nothing until the next one: over less, and over the time since the
    beginning, the rate would swing.
    """

    def __init__(self, now: float, done: int) -> None:
        self._samples = deque([(now, done)])

    def measure(self, now: float, done: int) -> float | None:
        """Note how many are done now; return the rate, ``None`` before two windows are over."""
        self._samples.append((now, done))
        while self._samples[1][0] <= now - RATE_SECONDS:
            self._samples.popleft()
        began, done_before = self._samples[0]
        return (done - done_before) / (now - began) if now - began >= RATE_SECONDS else None
