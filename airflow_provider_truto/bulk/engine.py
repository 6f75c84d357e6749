"""Keeping many updates in flight, for many customers at once, each on the way of one record."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.bulk.errors import UnfinishedError
from airflow_provider_truto.bulk.ledger import Ledger, Past
from airflow_provider_truto.bulk.problems import Problems
from airflow_provider_truto.bulk.records import Record
from airflow_provider_truto.bulk.rows import ResultRow, fed_back
from airflow_provider_truto.bulk.spool import Spool
from airflow_provider_truto.client.errors import (
    Problem,
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoAuthenticationError,
    TrutoError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
    TrutoSchemaError,
)
from airflow_provider_truto.client.pacing import MARGIN, TIER_SECONDS
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.pipeline import (
    CoercionOptions,
    RecordResult,
    Safeguards,
    prepare_request,
    write_record,
)
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.verify import verify

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient  # slow to import; DAG files must not pay for it

#: Rows read at a time, in a thread: a storage may be slow.
_CHUNK = 500
#: Rows read ahead of the one that was sent last.
READ_AHEAD = 500_000
#: Calls in flight for an account that has not answered well yet: one that must reconnect costs no more than these.
_PROBATION = 4
#: Records of one account that wait for an earlier one of the same id.
_MOST_HELD = 1_000
#: Records that wait before their next attempt without holding a slot.
_MOST_RESTING = 1_000
#: After so many failures in a row, none of which is a record's own, an account is given up for this try.
_STREAK = 5
#: Faults that a check of the whole source lists.
MOST_FAULTS = 100
#: Seconds that calls in flight have to come to their end where the try ends early. A supervisor kills after five.
_GRACE = 3.0
#: Errors that hold for every record of an account, and what they say of it.
_OF_ACCOUNT: dict[type[TrutoError], str] = {
    TrutoReauthorizationRequiredError: "must reconnect the CRM",
    TrutoAccountBlockedError: "is blocked by Truto",
    TrutoSandboxReadOnlyError: "has a sandbox, which takes no writes",
}
#: Seconds between two reports at first; after an hour a minute, since a bulk may take days.
_REPORT_SECONDS = 5.0
_LONGEST_REPORT_SECONDS = 60.0
#: Seconds over which the rate is told.
_RATE_SECONDS = 2 * TIER_SECONDS * MARGIN


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to do it. ``template`` is the request of every record but for its id, body and account.

    ``identity`` is the task's, for the keys, ``cleared_identity`` that for records which were refused before somebody
    cleared the task; ``max_runtime`` in seconds; ``is_stopped`` is asked before each record.
    """

    template: RecordRequest
    coercion: CoercionOptions
    safeguards: Safeguards = field(default_factory=Safeguards)
    identity: TaskIdentity | None = None
    cleared_identity: TaskIdentity | None = None
    concurrency: int = 32
    max_runtime: float | None = None
    is_stopped: Callable[[], bool] = lambda: False


@dataclass
class Progress:
    """What has been done so far: ``counts`` in all tries, ``resumed`` in earlier ones, and what this one cost.

    ``requests`` are all that were sent, each attempt and each read beside the writes. ``rate`` are the records a
    second of late, ``None`` before that can be said. ``others`` are the records whose answers in this try were about
    another one, ``first_other`` says which the first was.
    """

    total: int | None = None
    rate: float | None = None
    resumed: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    of_accounts: dict[str, Counter[str]] = field(default_factory=dict)
    transient_failures: int = 0
    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    paced: float = 0.0
    seconds: float = 0.0
    others: int = 0
    first_other: str = ""
    problems: Problems = field(default_factory=Problems)

    @property
    def done(self) -> int:
        """Records that are accounted for."""
        return sum(self.counts.values())

    @property
    def failures(self) -> int:
        """Records that failed or were skipped."""
        return self.counts["failed"] + self.counts["skipped"]

    def as_dict(self) -> dict[str, Any]:
        """Give the numbers as JSON."""
        return {
            "records": self.done,
            **{status: self.counts[status] for status in ("updated", "unchanged", "failed", "skipped")},
            "resumed": sum(self.resumed.values()),
            "transient_failures": self.transient_failures,
            "requests": self.requests,
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "waited_seconds": round(self.waited, 3),
            "paced_seconds": round(self.paced, 3),
            "first_problems": self.problems.told(),
        }


@dataclass
class _Account:
    """How one customer's account fares.

    ``broken_by`` is what every later record of it would meet, ``given_up`` says so in words. ``undone_ids`` are those
    of records that the next try sends again, with their ordinals.
    """

    in_flight: int = 0
    has_succeeded: bool = False
    streak: int = 0
    broken_by: TrutoError | None = None
    given_up: str = ""
    ids: set[str] = field(default_factory=set)
    undone_ids: dict[str, int] = field(default_factory=dict)
    held: dict[str, deque[Record]] = field(default_factory=dict)
    held_count: int = 0


class _Rate:
    """Records a second over the last two windows of a limit.

    What a window holds goes out at once, and then nothing until the next one: over less, and over the time since the
    beginning, the rate would swing.
    """

    def __init__(self, now: float, done: int) -> None:
        self._seen = deque([(now, done)])

    def at(self, now: float, done: int) -> float | None:
        """Take in how many are done now; give the rate, ``None`` before two windows are over."""
        self._seen.append((now, done))
        while self._seen[1][0] <= now - _RATE_SECONDS:
            self._seen.popleft()
        began, done_before = self._seen[0]
        return (done - done_before) / (now - began) if now - began >= _RATE_SECONDS else None


class TrutoEarlierRecordError(TrutoError):
    """An earlier record of the same id is yet to be done; the next try sends both, in their order."""

    transient = True


class Bulk:
    """One try of a bulk."""

    def __init__(
        self,
        client: AsyncClient,
        ledger: Ledger,
        past: Past,
        plan: Plan,
        *,
        report: Callable[[Progress], None],
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client.with_backoff(self._slot_lent)
        self._ledger = ledger
        self._past = past
        self._plan = plan
        self._coercion_of_data = replace(plan.coercion, data_of="the record")
        self._report = report
        self._requests_before = client.requests
        self._clock = clock
        self._began = clock()
        self._accounts: dict[str, _Account] = {}
        self._spool = Spool()
        self._running: set[asyncio.Task[None]] = set()
        self._resting = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._is_read = False
        self._is_over = asyncio.Event()
        self._fatal: BaseException | None = None
        self._source_error: Exception | None = None
        self.progress = Progress(
            total=total,
            resumed=Counter(past.counts),
            counts=Counter(past.counts),
            of_accounts={account: Counter(counts) for account, counts in past.of_accounts.items()},
            problems=past.problems.copy(),
        )

    async def run(self, records: Iterator[Record]) -> Progress:
        """Do every record that is not done yet, and give the numbers.

        Raises ``UnfinishedError`` where it was stopped or ``max_runtime`` is over, ``TrutoAuthenticationError`` where
        Truto refuses the token, and what reading the source or writing the ledger raises. The ledger never says of a
        record what did not happen; what it does not say is done again by the next try, under the same keys.
        """
        self._began = self._clock()
        reader = asyncio.create_task(self._read(records))
        housekeeper = asyncio.create_task(self._keep_house())
        try:
            await self._dispatch()
        except BaseException as error:
            self._fatal = error
            raise
        finally:
            reader.cancel()
            await self._drain()
            self._is_over.set()  # not cancelled: it may have taken over rows that are written nowhere yet
            await asyncio.gather(reader, housekeeper, return_exceptions=True)
            self._spool.close()
            self._count_up()
        if failure := self._fatal or self._source_error:
            raise failure
        return self.progress

    async def check(self, records: Iterator[Record]) -> list[tuple[Record, TrutoSchemaError]]:
        """Check every record that is not done yet, without sending a write; give the first ``MOST_FAULTS`` faults.

        Of the ledger it needs nothing, which may be yet to be opened.
        """
        faults: list[tuple[Record, TrutoSchemaError]] = []
        while chunk := await asyncio.to_thread(lambda: list(islice(records, _CHUNK))):
            for record in chunk:
                fault = None if self._past.is_final(record.ordinal) else await self._fault(record)
                if fault is not None:
                    faults.append((record, fault))
                    if len(faults) >= MOST_FAULTS:
                        return faults
        return faults

    async def _fault(self, record: Record) -> TrutoSchemaError | None:
        if record.problems:
            return _schema_error(record)
        if record.left_out is not None:
            return None
        request = self._request(record)
        try:
            await self._client.do(
                prepare_request, request, coercion=self._coercion(record), safeguards=self._plan.safeguards
            )
        except TrutoSchemaError as error:
            return error
        return None

    async def _read(self, records: Iterator[Record]) -> None:
        """Read ahead into the queues, in chunks."""
        try:
            error: Exception | None = None
            while error is None:
                chunk, error = await asyncio.to_thread(_chunk, records)
                if not chunk:
                    break
                for record in chunk:
                    if not self._past.is_final(record.ordinal):
                        self._spool.put(self._account_id(record), record)
                self._wake.set()
                while len(self._spool) >= READ_AHEAD:
                    self._room.clear()
                    await self._room.wait()
            self._source_error = error  # told when what was read before is done
        except Exception as error:
            self._source_error = error
        finally:
            self._is_read = True
            self._wake.set()

    async def _dispatch(self) -> None:
        """Start records as long as there are any, a slot is free and nothing forbids it."""
        turns = 0
        while self._fatal is None:
            if why := self._why_to_end():
                self._fatal = UnfinishedError(f"bulk not finished: {why}; the next try goes on from here")
                return
            if self._has_slot and self._start_one():
                turns += 1
                if turns % 64 == 0:  # rows that are not sent would keep the answers waiting
                    await asyncio.sleep(0)
                continue
            if self._is_read and not len(self._spool) and not self._running:
                return
            self._wake.clear()
            # Woken where a slot is free or rows were read; now and then to look at the time and the order to stop.
            await self._wake.wait()

    @property
    def _has_slot(self) -> bool:
        return len(self._running) - self._resting < self._plan.concurrency

    def _why_to_end(self) -> str | None:
        plan = self._plan
        if plan.is_stopped():
            return "it was told to stop"
        if plan.max_runtime is not None and self._clock() - self._began >= plan.max_runtime:
            return f"max_runtime of {plan.max_runtime:g} s is over"
        return None

    def _go_on(self) -> None:
        """Give the slot of a record that is done to the next one at once, before the dispatcher has its turn."""
        if self._fatal is None and self._has_slot and not self._why_to_end():
            self._start_one()
        if self._has_slot:
            self._wake.set()

    def _start_one(self) -> bool:
        """Start the next record of the account that was served longest ago; false where none may start."""
        share = max(1, math.ceil(self._plan.concurrency / max(1, self._spool.account_count)))
        for account_id in islice(self._spool, len(self._running) + 1):  # those that are full have some of them
            account = self._accounts.setdefault(account_id, _Account())
            limit = share if account.has_succeeded else min(share, _PROBATION)
            is_full = account.in_flight >= limit or account.held_count >= _MOST_HELD
            if is_full and account.broken_by is None:
                continue
            record = self._spool.take(account_id)
            if record is None:
                continue
            if len(self._spool) < READ_AHEAD:
                self._room.set()
            if record.id is not None and record.id in account.ids:
                account.held.setdefault(record.id, deque()).append(record)
                account.held_count += 1
            else:
                self._begin(record, account_id, account)
            return True
        return False

    def _begin(self, record: Record, account_id: str, account: _Account) -> bool:
        """Send a record, or account for one that cannot be sent; false where that was its end."""
        if record.problems:
            self._finish_failed(record, account_id, _schema_error(record))
        elif record.left_out is not None:
            self._write(_row_left_out(record, account_id), record)
        elif account.broken_by is not None:
            self._finish_failed(record, account_id, account.broken_by, skipped_since=account.given_up)
        elif record.id in account.undone_ids:
            earlier = TrutoEarlierRecordError(
                f"row {account.undone_ids[record.id]} of the same id failed, and goes first in the next try"
            )
            self._finish_failed(record, account_id, earlier, skipped_since=str(earlier))
        else:
            account.in_flight += 1
            if record.id is not None:
                account.ids.add(record.id)
            task = asyncio.create_task(self._one(record, account_id, account))
            self._running.add(task)
            task.add_done_callback(self._ended)
            return True
        return False

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal = self._fatal or error
        if self._has_slot:
            self._wake.set()

    @contextmanager
    def _slot_lent(self) -> Iterator[None]:
        """Let others go while a record waits before its next attempt: their accounts may fare better."""
        if self._resting >= _MOST_RESTING:
            yield
            return
        self._resting += 1
        self._wake.set()
        try:
            yield
        finally:
            self._resting -= 1

    async def _one(self, record: Record, account_id: str, account: _Account) -> None:
        """Bring one record to its end.

        What is raised here ends the try: a token that is refused, which no other record would fare better with, or a
        fault of the disk or of this package. The record is not accounted for then.
        """
        error: TrutoError | None = None
        try:
            done = await self._client.do(
                write_record,
                self._request(record),
                coercion=self._coercion(record),
                safeguards=self._plan.safeguards,
                task=self._identity(record),
            )
        except TrutoAuthenticationError:
            raise
        except TrutoError as failure:
            error = failure
            self._finish_failed(record, account_id, failure)
        else:
            self._finish(record, account_id, done)
        account.in_flight -= 1
        self._judge_account(record, account_id, account, error)
        if record.id is not None:
            if error is not None and error.transient:
                account.undone_ids.setdefault(record.id, record.ordinal)
            account.ids.discard(record.id)
            self._release(record.id, account_id, account)
        if (task := asyncio.current_task()) is not None:
            self._running.discard(task)
        self._go_on()

    def _release(self, record_id: str, account_id: str, account: _Account) -> None:
        """Let the next record of this id go, which waited so that they keep their order."""
        waiting = account.held.get(record_id)
        is_sent = False
        while waiting and not is_sent and self._fatal is None:
            account.held_count -= 1
            is_sent = self._begin(waiting.popleft(), account_id, account)
        if not waiting:
            account.held.pop(record_id, None)

    def _finish(self, record: Record, account_id: str, done: RecordResult) -> None:
        if done.result is not None:
            self.progress.waited += done.result.waited
            self.progress.paced += done.result.paced
        row = _row_of(record, account_id, done)
        if "/id" in row.not_confirmed:
            self.progress.others += 1
            self.progress.first_other = self.progress.first_other or f"{record.told}, {record.id}"
        self._write(row, record)

    def _finish_failed(
        self, record: Record, account_id: str, error: TrutoError, *, skipped_since: str | None = None
    ) -> None:
        if skipped_since is None:
            self.progress.waited += error.waited
        row = ResultRow.of_error(
            error,
            ordinal=record.ordinal,
            record_id=record.id,
            account=_account_told(record, account_id),
            skipped_since=skipped_since,
            place=record.place,
        )
        self._write(row, record)

    def _write(self, row: ResultRow, record: Record) -> None:
        is_failed = row.status in {"failed", "skipped"}
        self._ledger.add(row, failed=fed_back(record, on_none=self._plan.coercion.on_none) if is_failed else None)
        progress = self.progress
        progress.counts[row.status] += 1
        progress.of_accounts.setdefault(row.integrated_account_id or "", Counter())[row.status] += 1
        progress.retries += max(0, row.attempts - 1)
        if is_failed:
            progress.transient_failures += row.transient
            progress.problems.add(row)

    def _count_up(self) -> None:
        self.progress.seconds = self._clock() - self._began
        self.progress.requests = self._client.requests - self._requests_before

    def _judge_account(self, record: Record, account_id: str, account: _Account, error: TrutoError | None) -> None:
        """Give an account up where every later record of it would meet the same."""
        if error is None:
            account.has_succeeded, account.streak = True, 0
            return
        why = next((words for of_account, words in _OF_ACCOUNT.items() if isinstance(error, of_account)), None)
        if why is None and _is_of_no_record(error):
            account.streak += 1
            if account.streak >= _STREAK:
                why = f"was given up for this try after {_STREAK} failures in a row, the last one {error.code!r}"
        elif why is None:
            account.streak = 0
        if why is not None and not isinstance(account.broken_by, tuple(_OF_ACCOUNT)):
            account.broken_by = error
            account.given_up = f"customer {account_id or 'without a name'} {why} (seen at row {record.ordinal})"

    async def _keep_house(self) -> None:
        """Close parts that are due, report, and have the time looked at."""
        reported = self._began
        pace = _Rate(self._began, self.progress.done)
        try:
            while not self._is_over.is_set():
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._is_over.wait(), 0.5)
                self._wake.set()
                for write in self._ledger.full_parts():
                    await asyncio.to_thread(write)
                now = self._clock()
                self.progress.rate = pace.at(now, self.progress.done)
                if now - reported >= min(_LONGEST_REPORT_SECONDS, max(_REPORT_SECONDS, (now - self._began) / 60)):
                    reported = now
                    self._count_up()
                    self._report(self.progress)
        except Exception as error:
            self._fatal = self._fatal or error
            self._wake.set()

    async def _drain(self) -> None:
        """Wait for the calls that are in flight where the try ends early; those that take long are given up."""
        while self._running:
            _, left = await asyncio.wait(self._running, timeout=_GRACE)
            for task in left:
                task.cancel()

    def _request(self, record: Record) -> RecordRequest:
        return self._plan.template.replace(
            record_id=record.id,
            body=record.body,
            integrated_account_id=self._named_account(record),
        )

    def _coercion(self, record: Record) -> CoercionOptions:
        """A null that a record brings along may be an accident; ``on_none`` says what it means."""
        return self._plan.coercion if record.nulls_are_meant else self._coercion_of_data

    def _identity(self, record: Record) -> TaskIdentity | None:
        plan = self._plan
        identity = plan.cleared_identity if self._past.was_refused(record.ordinal) else plan.identity
        return None if identity is None else identity.of(record.ordinal)

    def _named_account(self, record: Record) -> str | None:
        """Give the customer that is named; an empty name is one, so that no default steps in."""
        given = record.integrated_account_id
        return self._plan.template.integrated_account_id if given is None else given

    def _account_id(self, record: Record) -> str:
        named = self._named_account(record)
        return (self._client.settings.integrated_account_id or "") if named is None else named


def _chunk(records: Iterator[Record]) -> tuple[list[Record], Exception | None]:
    """Read some rows; where the source breaks off, give the error beside those that came before it."""
    rows: list[Record] = []
    try:
        for record in islice(records, _CHUNK):
            rows.append(record)  # noqa: PERF402  (what came before an error must be kept)
    except Exception as error:
        return rows, error
    return rows, None


def _account_told(record: Record, account_id: str) -> str | None:
    """Give the customer for the ledger; an empty name stays one, so that what is fed back stays refused."""
    return account_id or record.integrated_account_id


def _row_left_out(record: Record, account_id: str) -> ResultRow:
    """Account for a row that asks for nothing."""
    return ResultRow(
        ordinal=record.ordinal,
        id=record.id,
        integrated_account_id=_account_told(record, account_id),
        status="unchanged",
        message=record.left_out,
        place=record.place,
    )


def _row_of(record: Record, account_id: str, done: RecordResult) -> ResultRow:
    outcome = done.result
    return ResultRow(
        ordinal=record.ordinal,
        id=record.id if record.id is not None else _id_of(done.response),
        integrated_account_id=_account_told(record, account_id),
        status="updated" if outcome else "unchanged",
        http_status=outcome.response.status if outcome else None,
        attempts=outcome.attempts if outcome else 0,
        idempotency_key=outcome.request.idempotency_key if outcome else None,
        not_confirmed=verify(done.request, done.response).not_confirmed if outcome else (),
        place=record.place,
    )


def _id_of(response: Any) -> str | None:
    found = response.get("id") if isinstance(response, dict) else None
    return found if isinstance(found, str) else None


def _is_of_no_record(error: TrutoError) -> bool:
    """Whether a failure tells nothing of the record itself."""
    is_truto_s = isinstance(error, TrutoApiError) and not error.is_remote and error.status in {403, 404}
    return error.transient or is_truto_s


def _schema_error(record: Record) -> TrutoSchemaError:
    problems: tuple[Problem, ...] = record.problems
    return TrutoSchemaError.of("the row is no record", problems)
