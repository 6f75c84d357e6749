"""What a bulk would do, counted before its first write: per customer, with samples, and a hash of every decision.

That is its plan: ``preview`` shows it, ``expect`` names one by its hash, and ``max_changes`` limits it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.plurals import count
from airflow_provider_truto.records.diff import Change

_VERSION = "p2"
#: At the end of the hash of a plan that sends every record, whatever the state says. Who expects it does that, too.
_FULL = "-full"
#: Samples of each customer and kind.
SAMPLES = 10
_LONGEST_MESSAGE = 1_000

#: What becomes of a row. ``repeated``: it is as it was confirmed last, and is sent since this run sends everything.
#: ``unclear``: its customer could not be asked, which may pass.
Kind = Literal[
    "created", "changed", "repeated", "removed", "reported", "unchanged", "skipped", "ambiguous", "missing", "wrong",
    "unclear",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Kinds of what changes something in a CRM.
_CHANGES = ("created", "changed", "removed")
#: Kinds of which rows are shown.
_SHOWN = frozenset({"created", "changed", "removed", "ambiguous", "missing", "wrong", "unclear"})
#: Errors that say that a row has found no record, or several.
_KINDS_OF_ERRORS: Mapping[str, Kind] = {"no_match": "missing", "not_found": "missing", "ambiguous_match": "ambiguous"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of one row: its customer, what is sent for it (``body`` as JSON), or why nothing is.

    ``code`` and ``message`` are those of an error, or of what the row is passed over for. ``changes`` are the fields
    that differ from the record as it is now, ``None`` where it was not read.
    """

    record: Record
    account_id: str
    kind: Kind
    method: str | None = None
    body: bytes | None = None
    code: str | None = None
    message: str | None = None
    changes: tuple[Change, ...] | None = None

    def describe(self, *, hide_values: bool) -> dict[str, Any]:
        """Return a sample as JSON: pointers with values before and after, or under ``hide_values`` without."""
        record = self.record
        shown: dict[str, Any] = {
            "kind": self.kind,
            "ordinal": record.ordinal,
            "place": record.place,
            "integrated_account_id": self.account_id,
            "id": record.id,
            "error": self.code,
            "message": self.message if self.message is None else self.message[:_LONGEST_MESSAGE],
        }
        if self.changes is not None:
            shown["changes"] = [{"pointer": one.pointer} if hide_values else one._asdict() for one in self.changes]
        elif self.body is not None and not hide_values:
            shown["body"] = json.loads(self.body)
        return {name: value for name, value in shown.items() if value is not None}


def decide_error(record: Record, account_id: str, error: TrutoError) -> Decision:
    """Decide on a row that cannot be sent."""
    kind: Kind = "unclear" if error.transient else _KINDS_OF_ERRORS.get(error.code, "wrong")
    return Decision(record=record, account_id=account_id, kind=kind, code=error.code, message=str(error))


def is_full_plan(plan_hash: str) -> bool:
    """Whether a plan of this hash sends every record, whatever the state says."""
    return plan_hash.endswith(_FULL)


@dataclass
class BulkPreview:
    """The decisions on all rows of a source, counted in their order. ``hides_values``: samples show only names.

    ``is_full``: every record is sent, whatever the state says.
    """

    hides_values: bool = False
    is_full: bool = False
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    of_accounts: dict[str, Counter[str]] = field(default_factory=dict)
    samples: list[Decision] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _sampled: Counter[tuple[str, str]] = field(default_factory=Counter)
    _hash: Any = field(default_factory=hashlib.sha256)

    @property
    def changes(self) -> int:
        """How many records would be created, changed or removed."""
        return sum(self.counts[kind] for kind in _CHANGES)

    @property
    def has_decided(self) -> bool:
        """Whether any row is clear."""
        return sum(self.counts.values()) > self.counts["unclear"]

    @property
    def hash(self) -> str:
        """Name the plan; the name differs where any decision does, or their order."""
        return f"{_VERSION}-{self._hash.hexdigest()}{_FULL if self.is_full else ''}"

    def wants_sample(self, account_id: str, kind: Kind) -> bool:
        """Whether one more row of this kind and customer is to be shown; counted then."""
        if kind not in _SHOWN or self._sampled[account_id, kind] >= SAMPLES:
            return False
        self._sampled[account_id, kind] += 1
        return True

    def note(self, decision: Decision) -> None:
        """Take a decision into the hash, as it is before any record is read. Call it in the order of the rows."""
        what = decision.method or f"{decision.kind} {decision.code or ''}"
        head = json.dumps([decision.account_id, decision.record.id, what])
        self._hash.update(f"{head}\n".encode(errors="surrogatepass") + (decision.body or b"") + b"\n")

    def count(self, decision: Decision, *, is_sample: bool) -> None:
        """Count a decision."""
        self.rows += not decision.record.is_removed
        self.counts[decision.kind] += 1
        self.of_accounts.setdefault(decision.account_id, Counter())[decision.kind] += 1
        if is_sample:
            self.samples.append(decision)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and the hash as JSON; the customers with the most changes come first."""
        accounts = sorted(self.of_accounts.items(), key=lambda item: (-_count_changes(item[1]), item[0]))
        return {
            "hash": self.hash,
            "rows": self.rows,
            "changes": self.changes,
            **{kind: self.counts[kind] for kind in KINDS},
            "warnings": self.warnings,
            "accounts": {name: {kind: counts[kind] for kind in KINDS if counts[kind]} for name, counts in accounts},
        }

    def list_samples(self) -> Iterator[dict[str, Any]]:
        """Iterate over the samples as JSON, those of one customer together."""
        for decision in sorted(self.samples, key=lambda one: (one.account_id, one.kind, one.record.ordinal)):
            yield decision.describe(hide_values=self.hides_values)

    def describe(self) -> str:
        """Return the counts in words."""
        told = ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS if self.counts[kind]) or "nothing to do"
        return f"{count(self.rows, 'row')} of {count(len(self.of_accounts), 'customer')}: {told}"


def _count_changes(counts: Mapping[str, int]) -> int:
    return sum(counts[kind] for kind in _CHANGES)
