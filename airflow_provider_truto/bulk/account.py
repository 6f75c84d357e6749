"""One customer's account in a bulk: its records in flight, those that wait for them, and which may not be sent.

``FairQueue`` has one for each customer, and a ``Turn`` is what the queue says to do with one of its records.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from airflow_provider_truto.bulk.circuit import CircuitBreaker
from airflow_provider_truto.bulk.order import Lines
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.client.errors import TrutoError, TrutoSchemaError


class TrutoEarlierRecordError(TrutoError):
    """An earlier record of the same id or keys is yet to be done; the next try sends both, in their order."""

    transient = True


@dataclass
class Account:
    """The records of one customer that are in flight, and those that wait for them.

    ``lines`` are those of ids and keys; ``held`` the records that stand in them and are not the first, ``ready``
    those that have become it, or were asked for, ``sent`` those that are sent.
    ``waits`` are those in flight that were told to wait for long: no other is sent before they may go on.
    ``undone`` are the ids and keys of records that the next try sends again, with their ordinals.
    ``asked`` counts the questions about one record each; ``unsure`` are the unchanged records that wait for these.
    ``is_asked``: the CRM is being asked for all of its records; ``unknown_since`` is the error with which that ended.
    """

    id: str
    circuit: CircuitBreaker
    in_flight: int = 0
    waits: int = 0
    lines: Lines = field(default_factory=Lines)
    held: dict[int, Record] = field(default_factory=dict)
    ready: deque[Record] = field(default_factory=deque)
    sent: set[int] = field(default_factory=set)
    undone: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    unsure: list[int] = field(default_factory=list)
    is_asked: bool = False
    unknown_since: TrutoError | None = None

    def is_busy(self, share: int) -> bool:
        """Whether no record may start, where ``share`` are the calls that each account may have in flight."""
        most = self.circuit.max_concurrency
        return self.is_asked or self.waits > 0 or self.in_flight >= (share if most is None else min(share, most))

    def find_refusal(self, record: Record) -> Turn | None:
        """Return the turn of a record that is not sent, whatever it means; ``None`` where nothing forbids it."""
        if record.problems:
            return Turn(record, self, TrutoSchemaError.of("the row is not a record", record.problems))
        if not record.is_sent:
            return Turn(record, self)
        if self.circuit.opened_by is not None:
            return Turn(record, self, self.circuit.opened_by, self.circuit.reason)
        if not self.undone:
            return None
        undone = next((name for name in self.lines.list_names(record.ordinal) if name in self.undone), None)
        if undone is None:
            return None
        reason = f"row {self.undone[undone]} of the same {undone.split()[0]} failed, and goes first in the next try"
        return Turn(record, self, TrutoEarlierRecordError(reason), reason)

    def leave(self, record: Record, *, is_undone: bool = False) -> list[int]:
        """Take a record out of its lines; return the ordinals of those whose turn has come.

        ``is_undone``: the next try sends it again, and those after it are not sent before.
        """
        if is_undone:
            for name in self.lines.list_names(record.ordinal):
                self.undone.setdefault(name, record.ordinal)
        self.sent.discard(record.ordinal)
        return self.lines.leave(record.ordinal)

    def note_answered(self) -> list[int]:
        """Note that a question about one record is answered; after the last one, return who waited for it."""
        self.asked -= 1
        if self.asked:
            return []
        unsure, self.unsure = self.unsure, []
        return unsure


class Turn(NamedTuple):
    """A record whose turn it is. ``error`` says why it cannot be sent; ``skipped_since``: because of another one.

    ``question``: the CRM has to be asked before it can be looked up, for this ``"record"`` or for ``"all"``.
    """

    record: Record
    account: Account
    error: TrutoError | None = None
    skipped_since: str | None = None
    question: Literal["record", "all"] | None = None

    @property
    def is_sent(self) -> bool:
        """Whether the record is sent, and ``FairQueue.finish`` has to be called."""
        return self.error is None and self.record.is_sent and self.question is None
