"""What went wrong, described once per customer and error: a customer who must reconnect is one problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.bulk.record import describe_row
from airflow_provider_truto.bulk.result_row import ResultRow

#: Problems that are described in the log and in XCom, and those that a summary keeps for the report of all shards.
MAX_DESCRIBED = 5
_KEPT = 100
_LONGEST = 1_000


@dataclass
class _Group:
    """One customer and error: the first row that it was seen at, and of how many records."""

    ordinal: int
    id: str | None
    message: str
    place: str | None = None
    records: int = 0

    def describe(self, account: str) -> str:
        more = f" and {self.records - 1} more like it" if self.records > 1 else ""
        whose = f", of customer {account}" if account else ""
        which = describe_row(self.ordinal, self.place, self.id)
        text = f"{which}{more}{whose}: {self.message}"
        return f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text


class Problems:
    """The different problems of a bulk, in the order in which they were seen; beyond a hundred, no more are kept."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}

    def add(self, row: ResultRow) -> None:
        """Count a record that failed or was skipped."""
        self._count(
            (row.integrated_account_id or "", row.error or ""),
            _Group(
                ordinal=row.ordinal,
                id=_to_plain(row.id),
                message=_to_plain(row.message) or "",
                place=_to_plain(row.place),
            ),
            records=1,
        )

    def merge(self, stored: Iterable[Mapping[str, Any]]) -> None:
        """Add what ``as_list`` gave for another part of the same source; the order is then that of the rows."""
        for one in stored:
            key = one["integrated_account_id"], one["error"]
            group = _Group(ordinal=one["ordinal"], id=one["id"], message=one["message"], place=one.get("place"))
            known = self._groups.get(key)
            if known is not None and group.ordinal < known.ordinal:
                group.records = known.records
                self._groups[key] = group
            self._count(key, group, records=one["records"])
        self._groups = dict(sorted(self._groups.items(), key=lambda item: item[1].ordinal)[:_KEPT])

    def copy(self) -> Problems:
        """Return others that count on from here."""
        return deepcopy(self)

    def describe(self) -> list[str]:
        """Return the first few as sentences, each with the number of records like it."""
        return [group.describe(account) for (account, _), group in list(self._groups.items())[:MAX_DESCRIBED]]

    def as_list(self) -> list[dict[str, Any]]:
        """Return them as JSON."""
        return [
            {"integrated_account_id": account, "error": error, **vars(group)}
            for (account, error), group in self._groups.items()
        ]

    def _count(self, key: tuple[str, str], first: _Group, *, records: int) -> None:
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _KEPT:
                return
            group = self._groups[key] = first
        group.records += records


def _to_plain(text: str | None) -> str | None:
    """Make text that is safe in logs and XCom, whatever characters an id contains."""
    return None if text is None else text.encode(errors="replace").decode()
