"""Chooses the next record: fair among customers, in order among records of one thing. No I/O but on temporary files.

    spool → (in line behind earlier records of its id or its keys) → looked up, where it has no id → a turn

A record that cannot be looked up yet has a turn of a different kind: the customer's CRM has to be asked first. Where
that is for all records of the customer, none of them goes on before it is done.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from itertools import chain, islice
from typing import Protocol

from airflow_provider_truto.bulk.account import Account, Turn
from airflow_provider_truto.bulk.circuit import CircuitBreaker
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.spool import Spool
from airflow_provider_truto.client.errors import TrutoError

#: Records of one account that wait for an earlier one of the same id or keys.
MAX_HELD = 1_000


class Finder(Protocol):
    """What finds the records of rows without an id; see ``matching.matcher``."""

    def look_up(self, account_id: str, record: Record) -> Record | TrutoError | None:
        """Return what the record means, why it cannot be sent, or ``None`` where the CRM is to be asked first."""

    def asks_for_each(self, account_id: str, record: Record) -> bool:
        """Whether asking is for this record alone."""

    def has_written(self, account_id: str, record: Record) -> bool:
        """Whether another row has found this record, and has written it."""


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
            self._free(account, account.note_answered())
        if error is None:
            account.circuit.on_success()
        else:
            account.circuit.on_failure(error, ordinal=record.ordinal, is_tolerated=is_tolerated)
        is_undone = error is not None and error.transient and not is_tolerated
        self._free(account, account.leave(record, is_undone=is_undone))

    def finish_question(self, turn: Turn, error: TrutoError | None) -> None:
        """Note that the CRM was asked, so that the record can be looked up, or how that has failed for all."""
        account = turn.account
        account.in_flight -= 1
        if turn.question == "all":
            account.is_asked, account.unknown_since = False, error
        else:
            self._free(account, account.note_answered())
        if error is not None:
            account.circuit.on_failure(error, ordinal=turn.record.ordinal)
        self._set_ready(turn.record, account, is_first=True)

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
        turn = account.find_refusal(record)
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
                record, turn = found, account.find_refusal(found)
        if turn is not None:
            self._free(account, account.leave(record))
            return turn
        account.in_flight += 1
        account.sent.add(record.ordinal)
        return Turn(record, account)

    def _free(self, account: Account, ordinals: list[int]) -> None:
        """Make those ready whose turn has come."""
        for ordinal in ordinals:
            if (record := account.held.pop(ordinal, None)) is not None:
                self._set_ready(record, account)


def _name_id(record_id: str) -> str:
    return f"id {record_id}"
