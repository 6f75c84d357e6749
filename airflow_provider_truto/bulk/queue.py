"""Chooses the next record: fair among customers, in order among records of one thing. No I/O but on temporary files.

    spool → (in line behind earlier records of its id or its keys) → looked up, where it has no id → a turn

A record that cannot be looked up yet gives a turn of another kind: the customer's CRM has to be asked first. Where
that is for all records of the customer, none of them goes on before it is done.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Literal, NamedTuple, Protocol

from airflow_provider_truto.bulk.circuit import CircuitBreaker
from airflow_provider_truto.bulk.order import Lines
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.spool import Spool
from airflow_provider_truto.client.errors import TrutoError, TrutoSchemaError

#: Records of one account that wait for an earlier one of the same id or keys.
MAX_HELD = 1_000


class TrutoEarlierRecordError(TrutoError):
    """An earlier record of the same id or keys is yet to be done; the next try sends both, in their order."""

    transient = True


class Finder(Protocol):
    """What finds the records of rows without an id; see ``matching.matcher``."""

    def look_up(self, account_id: str, record: Record) -> Record | TrutoError | None:
        """Return what the record means, why it cannot be sent, or ``None`` where the CRM is to be asked first."""

    def asks_for_each(self, account_id: str, record: Record) -> bool:
        """Whether asking is for this record alone."""

    def has_written(self, account_id: str, record: Record) -> bool:
        """Whether another row has found this record, and has written it."""


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


class FairQueue:
    """The records that were read and are not done, a queue per customer's account.

    ``finder`` is for records that have keys and no id.
    """

    def __init__(self, *, concurrency: int, finder: Finder | None = None) -> None:
        self._concurrency = concurrency
        self._finder = finder
        self._accounts: dict[str, Account] = {}
        self._spool = Spool()
        self._ready: OrderedDict[str, Account] = OrderedDict()
        #: Records in the spool that have no id.
        self._nameless: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._spool) + sum(len(account.ready) for account in self._ready.values())

    def put(self, account_id: str, record: Record) -> None:
        """Append a record to its account's queue."""
        self._nameless[account_id] += record.is_nameless
        self._spool.put(account_id, record)

    def count_nameless(self, account: Account) -> int:
        """Count the records of an account that wait and have no id, with the one for which the CRM is being asked."""
        waiting = [*account.held.values(), *account.ready]
        return 1 + self._nameless[account.id] + sum(record.is_nameless for record in waiting)

    def take(self, *, running: int) -> Turn | None:
        """Return the next turn, that of the account which was served longest ago; ``None`` where none may start.

        ``running`` are the records in flight. One whose id or key is in flight is held until that one is done.
        """
        while (account := self._choose_account(running)) and (record := self._take_record(account)):
            if record.is_unchanged and account.asked:
                account.unsure.append(record.ordinal)
                account.held[record.ordinal] = record
                continue
            is_known = record.ordinal in account.lines
            if not (account.lines.is_first(record.ordinal) if is_known else self._join_lines(record, account)):
                account.held[record.ordinal] = record
            elif (turn := self._begin(record, account)) is not None:
                return turn
        return None

    def finish(self, turn: Turn, error: TrutoError | None, *, is_tolerated: bool = False) -> None:
        """Note the outcome of a record that was sent; ``skip_on`` tolerates its error."""
        record, account = turn.record, turn.account
        account.in_flight -= 1
        if turn.question is not None:
            self._note_answered(account)
        if error is None:
            account.circuit.on_success()
        else:
            account.circuit.on_failure(error, ordinal=record.ordinal, is_tolerated=is_tolerated)
        self._leave(record, account, is_undone=error is not None and error.transient and not is_tolerated)

    def finish_question(self, turn: Turn, error: TrutoError | None) -> None:
        """Note that the CRM was asked, so that the record can be looked up, or how that has failed for all."""
        account = turn.account
        account.in_flight -= 1
        if turn.question == "all":
            account.is_asked, account.unknown_since = False, error
        else:
            self._note_answered(account)
        if error is not None:
            account.circuit.on_failure(error, ordinal=turn.record.ordinal)
        self._set_ready(turn.record, account, is_first=True)

    def _note_answered(self, account: Account) -> None:
        account.asked -= 1
        if not account.asked:
            unsure, account.unsure = account.unsure, []
            self._free(account, unsure)

    def look_up_again(self, turn: Turn) -> None:
        """Look a record up again whose remembered id does not exist any more."""
        record, account = turn.record, turn.account
        account.in_flight -= 1
        account.sent.discard(record.ordinal)
        self._free(account, account.lines.leave(record.ordinal, only=_name_id(record.id or "")))
        self._set_ready(record.replace(id=None, is_remembered=False), account, is_first=True)

    def give_up(self, account_id: str, error: TrutoError) -> None:
        """Send no more records of an account of which some were sent."""
        self._accounts[account_id].circuit.give_up(error)

    def has_others_than(self, account_id: str) -> bool:
        """Whether records of another account were put here."""
        return any(known != account_id for known in chain(self._accounts, islice(self._spool, 2)))

    def count_held(self) -> int:
        """Count the records that wait for others to be done."""
        return sum(len(account.held) for account in self._accounts.values())

    def close(self) -> None:
        """Close the spool, and drop what is in it."""
        self._spool.close()

    def _choose_account(self, running: int) -> Account | None:
        share = math.ceil(self._concurrency / (self._spool.account_count or 1))
        for account in self._ready.values():
            if account.circuit.opened_by is not None or not account.is_busy(share):
                return account
        for account_id in islice(self._spool, running + 1):  # those that are full have some of them
            known = self._accounts.get(account_id)
            if known is None:
                known = self._accounts[account_id] = Account(account_id, CircuitBreaker(account_id))
            if known.circuit.opened_by is not None or not (known.is_busy(share) or len(known.held) >= MAX_HELD):
                return known
        return None

    def _take_record(self, account: Account) -> Record | None:
        if not account.ready:
            record = self._spool.take(account.id)
            if record is not None:
                self._nameless[account.id] -= record.is_nameless
            return record
        record = account.ready.popleft()
        if not account.ready:
            del self._ready[account.id]
        return record

    def _set_ready(self, record: Record, account: Account, *, is_first: bool = False) -> None:
        (account.ready.appendleft if is_first else account.ready.append)(record)
        self._ready[account.id] = account

    def _join_lines(self, record: Record, account: Account) -> bool:
        """Put a record into its lines; also into that of the id which it finds as far as is known by now."""
        names = [f"key {key}" for keys in record.match_keys for key in keys]
        record_id = record.id
        if record.is_nameless and self._finder is not None:
            found = self._finder.look_up(account.id, record)
            record_id = found.id if isinstance(found, Record) else None
        if record_id is not None:
            names.append(_name_id(record_id))
        return account.lines.join(record.ordinal, names)

    def _begin(self, record: Record, account: Account) -> Turn | None:
        """Begin a record that is the first in its lines; ``None`` where it has to wait for another one of its id."""
        if record.is_unchanged and self._finder is not None and self._finder.has_written(account.id, record):
            record = record.replace(is_unchanged=False)
        turn = self._find_refusal(record, account)
        if turn is None and record.is_nameless and self._finder is not None:
            found = self._finder.look_up(account.id, record)
            if found is None and (error := account.unknown_since) is not None:
                reason = f"the records of customer {account.id or 'without a name'} could not be read: {error}"
                turn = Turn(record, account, error, reason)
            elif found is None:
                is_for_all = not self._finder.asks_for_each(account.id, record)
                account.in_flight += 1
                account.asked += not is_for_all
                account.is_asked = account.is_asked or is_for_all
                return Turn(record, account, question="all" if is_for_all else "record")
            elif isinstance(found, TrutoError):
                turn = Turn(record, account, found)
            elif not found.is_sent:
                turn = Turn(found, account)
            elif found.id is not None:
                if not account.lines.join(record.ordinal, [_name_id(found.id)], served=account.sent):
                    account.held[record.ordinal] = found
                    return None
                record, turn = found, self._find_refusal(found, account)
        if turn is not None:
            self._leave(record, account)
            return turn
        account.in_flight += 1
        account.sent.add(record.ordinal)
        return Turn(record, account)

    def _find_refusal(self, record: Record, account: Account) -> Turn | None:
        """Return the turn of a record that is not sent, whatever it means."""
        if record.problems:
            return Turn(record, account, TrutoSchemaError.of("the row is not a record", record.problems))
        if not record.is_sent:
            return Turn(record, account)
        if account.circuit.opened_by is not None:
            return Turn(record, account, account.circuit.opened_by, account.circuit.reason)
        if not account.undone:
            return None
        undone = next((name for name in account.lines.list_names(record.ordinal) if name in account.undone), None)
        if undone is not None:
            reason = (
                f"row {account.undone[undone]} of the same {undone.split()[0]} failed, and goes first in the next try"
            )
            return Turn(record, account, TrutoEarlierRecordError(reason), reason)
        return None

    def _leave(self, record: Record, account: Account, *, is_undone: bool = False) -> None:
        if is_undone:
            for name in account.lines.list_names(record.ordinal):
                account.undone.setdefault(name, record.ordinal)
        account.sent.discard(record.ordinal)
        self._free(account, account.lines.leave(record.ordinal))

    def _free(self, account: Account, ordinals: list[int]) -> None:
        """Make those ready whose turn has come."""
        for ordinal in ordinals:
            if (record := account.held.pop(ordinal, None)) is not None:
                self._set_ready(record, account)


def _name_id(record_id: str) -> str:
    return f"id {record_id}"
