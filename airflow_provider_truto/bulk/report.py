"""One report of the ledgers of many shards: what each has written at its end, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_truto.bulk.errors import LedgerError
from airflow_provider_truto.bulk.generations import is_of_another_run, list_generations
from airflow_provider_truto.bulk.ledger_files import list_ledger_files, parse_try_number, read_headers, read_summary
from airflow_provider_truto.bulk.problems import Problems
from airflow_provider_truto.bulk.result_row import OUTCOMES, count_failures
from airflow_provider_truto.bulk.storage import refresh
from airflow_provider_truto.records.keys import RunSeen

_SUMS = ("records", *OUTCOMES, "transient_failures", "requests", "retries", "waited_seconds", "paced_seconds")


@dataclass
class Report:
    """The numbers of all shards.

    ``unfinished`` are the map indexes of those that have not come to the end of their source, with what is known of
    them; ``accounts`` has the counts of each integrated account. ``parts`` has, by the number of shards that a source
    was split into, the places of those that are here.
    """

    shards: int = 0
    map_indexes: set[int] = field(default_factory=set)
    parts: dict[int, set[int]] = field(default_factory=dict)
    unfinished: list[int] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    accounts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)

    @property
    def failed_records(self) -> int:
        """Records that failed, or were skipped although nobody said so."""
        return count_failures(self.sums)

    def is_within(self, max_failures: float | None) -> bool:
        """Whether no more records of all shards failed or were skipped than ``max_failures``."""
        return is_within(max_failures, self.failed_records, self.sums["records"])

    def missing(self, expected: int | None = None) -> list[int]:
        """List the shards that have left nothing here: of so many as there must be, and as the others say there are.

        By their places in the source where the ledgers say them, else by their map indexes.
        """
        absent = {place for count, places in self.parts.items() for place in set(range(count)) - places}
        if expected is not None and self.shards < expected:
            absent |= set(range(expected)) - self.map_indexes
        return sorted(absent)

    def add(
        self, map_index: int, summary: Mapping[str, Any] | None, *, shard: Mapping[str, Any] | None = None
    ) -> None:
        """Add a shard; ``None`` where it has written nothing at its end, as one that was killed."""
        self.shards += 1
        self.map_indexes.add(map_index)
        if shard is not None:
            self.parts.setdefault(shard["count"], set()).add(shard["index"])
        if summary is None or not summary["complete"]:
            self.unfinished.append(map_index)
        if summary is None:
            return
        for name in _SUMS:
            self.sums[name] += summary.get(name, 0)
        self.seconds = max(self.seconds, summary["seconds"])
        self.failures += summary["failures"]
        self.problems.merge(summary["problems"])
        for account, counts in summary["accounts"].items():
            self.accounts.setdefault(account, Counter()).update(counts)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON; accounts with the most failures come first."""
        accounts = sorted(self.accounts.items(), key=lambda item: (-count_failures(item[1]), item[0]))
        return {
            **{name: round(self.sums[name], 3) for name in _SUMS},
            "seconds": self.seconds,
            "shards": self.shards,
            "unfinished": self.unfinished,
            "failures": self.failures,
            "first_problems": self.problems.describe(),
            "accounts": {name: {outcome: counts[outcome] for outcome in OUTCOMES} for name, counts in accounts},
        }


def merge_ledgers(folder: Any, *, run: RunSeen | None = None) -> Report:
    """Read the ledgers below a task's folder, the latest generation of each map index.

    Those of a DAG run of the same id that was deleted do not count: ``run`` is the one that asks. Raises
    ``LedgerError`` for a header or a summary that cannot be read.
    """
    report = Report()
    try:
        for map_index, ledger in _find_ledgers(folder):
            if ledger is None:
                report.add(map_index, None)
            elif not is_of_another_run(ledger, run or RunSeen(), None, try_number=None):
                header = next(iter(read_headers(ledger)), {})
                report.add(map_index, find_last_summary(ledger), shard=header.get("shard"))
    except (NotADirectoryError, FileExistsError) as error:
        raise LedgerError.of_no_folder(error) from error
    return report


def _find_ledgers(folder: Any) -> Iterator[tuple[int, Any]]:
    """Yield the ledger of each map index; ``None`` where a try has begun and left none."""
    if not refresh(folder).exists():
        return
    indexes = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.removeprefix("-").isdecimal())
    for index in indexes:
        existing = list_generations(folder / str(index))
        yield index, folder / str(index) / str(existing[-1]) if existing else None


def find_last_summary(ledger: Any) -> dict[str, Any] | None:
    """Return the summary of the last try; ``None`` where a later one has left none.

    A try that was deferred has left several: of these, the last one has the most records.
    """
    paths = list_ledger_files(ledger, "results", "summary")
    of_last = [
        found
        for path in paths
        if path.name.startswith("summary-") and parse_try_number(path.name) == parse_try_number(paths[-1].name)
        if (found := read_summary(path)) is not None
    ]
    return max(of_last, key=lambda summary: (summary["complete"], summary["records"]), default=None)


def is_within(max_failures: float | None, failures: int, records: int) -> bool:
    """Whether so many failures are allowed: ``max_failures`` is a number, a share below 1, or ``None`` for any."""
    if max_failures is None or not failures:
        return True
    return failures <= (max_failures * records if isinstance(max_failures, float) else max_failures)
