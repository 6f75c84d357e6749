"""Chooses the next record: fair among customers, in order among records of one id. No I/O but the spool's."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from airflow_provider_truto.bulk.circuit import CircuitBreaker
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.spool import Spool
from airflow_provider_truto.client.errors import TrutoError, TrutoSchemaError

#: Records of one account that wait for an earlier one of the same id.
MAX_HELD = 1_000


class TrutoEarlierRecordError(TrutoError):
    """An earlier record of the same id is yet to be done; the next try sends both, in their order."""

    transient = True


@dataclass
class Account:
    """The records of one customer that are in flight, and those that wait for them.

    ``ids`` are those in flight, ``held`` the records that wait for one of the same id, in their order.
    ``waits`` are those in flight that were told to wait for long: no other is sent before they may go on.
    ``undone_ids`` are the ids of records that the next try sends again, with their ordinals.
    """

    id: str
    circuit: CircuitBreaker
    in_flight: int = 0
    waits: int = 0
    ids: set[str] = field(default_factory=set)
    held: dict[str, deque[Record]] = field(default_factory=dict)
    held_count: int = 0
    undone_ids: dict[str, int] = field(default_factory=dict)

    def is_full(self, share: int) -> bool:
        """Whether no record may start, where ``share`` are the calls that each account may have in flight."""
        most = self.circuit.max_concurrency
        is_busy = self.in_flight >= (share if most is None else min(share, most))
        return is_busy or self.waits > 0 or self.held_count >= MAX_HELD


@dataclass(frozen=True, slots=True)
class Turn:
    """A record whose turn it is. ``error`` says why it cannot be sent; ``skipped_since``: because of another one."""

    record: Record
    account: Account
    error: TrutoError | None = None
    skipped_since: str | None = None

    @property
    def is_sent(self) -> bool:
        """Whether the record is sent, and ``FairQueue.finish`` has to be called."""
        return self.error is None and self.record.is_sent


class FairQueue:
    """The records that were read and are not done, a queue per customer's account."""

    def __init__(self, *, concurrency: int) -> None:
        self._concurrency = concurrency
        self._accounts: dict[str, Account] = {}
        self._spool = Spool()

    def __len__(self) -> int:
        return len(self._spool)

    def put(self, account_id: str, record: Record) -> None:
        """Append a record to its account's queue."""
        self._spool.put(account_id, record)

    def take(self, *, running: int) -> Turn | None:
        """Return the next turn, that of the account which was served longest ago; ``None`` where none may start.

        ``running`` are the records in flight. One whose id is in flight is held until that one is done.
        """
        while (account := self._choose_account(running)) and (record := self._spool.take(account.id)):
            if record.id is None or record.id not in account.ids:
                return self._begin(record, account)
            account.held.setdefault(record.id, deque()).append(record)
            account.held_count += 1
        return None

    def finish(self, turn: Turn, error: TrutoError | None, *, is_tolerated: bool = False) -> None:
        """Note the outcome of a record that was sent; ``skip_on`` tolerates its error. Call ``release`` next."""
        record, account = turn.record, turn.account
        account.in_flight -= 1
        if error is None:
            account.circuit.on_success()
        else:
            account.circuit.on_failure(error, ordinal=record.ordinal, is_tolerated=is_tolerated)
        if record.id is not None:
            if error is not None and error.transient and not is_tolerated:
                account.undone_ids.setdefault(record.id, record.ordinal)
            account.ids.discard(record.id)

    def release(self, turn: Turn) -> Iterator[Turn]:
        """Yield the turns of what waited for a record that is finished, until one of them is sent."""
        account, record_id = turn.account, turn.record.id
        while record_id is not None and (waiting := account.held.get(record_id)):
            account.held_count -= 1
            record = waiting.popleft()
            if not waiting:
                del account.held[record_id]
            following = self._begin(record, account)
            yield following
            if following.is_sent:
                return

    def has_others_than(self, account_id: str) -> bool:
        """Whether records of another account were put here."""
        return any(known != account_id for known in (*self._accounts, *islice(self._spool, 2)))

    def close(self) -> None:
        """Close the spool, and drop what is in it."""
        self._spool.close()

    def _choose_account(self, running: int) -> Account | None:
        share = max(1, math.ceil(self._concurrency / max(1, self._spool.account_count)))
        for account_id in islice(self._spool, running + 1):  # those that are full have some of them
            account = self._accounts.get(account_id)
            if account is None:
                account = self._accounts[account_id] = Account(account_id, CircuitBreaker(account_id))
            if account.circuit.opened_by is not None or not account.is_full(share):
                return account
        return None

    def _begin(self, record: Record, account: Account) -> Turn:
        if record.problems:
            return Turn(record, account, TrutoSchemaError.of("the row is not a record", record.problems))
        if not record.is_sent:
            return Turn(record, account)
        if account.circuit.opened_by is not None:
            return Turn(record, account, account.circuit.opened_by, account.circuit.reason)
        if record.id in account.undone_ids:
            reason = f"row {account.undone_ids[record.id]} of the same id failed, and goes first in the next try"
            return Turn(record, account, TrutoEarlierRecordError(reason), reason)
        account.in_flight += 1
        if record.id is not None:
            account.ids.add(record.id)
        return Turn(record, account)
