"""Sends the records of one try of a bulk, many at once, until all are done or the try must end.

    source → read_ahead → queue → (matcher) → (a slot) → writer → ledger, progress

A slot is the permission for one record to be sent; there are ``concurrency`` of them. A record that waits before its
next attempt does not hold one. A turn is what the queue says to do with a record: send it, write it down unsent, or
ask the customer's CRM first which record it means.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_truto.bulk.brakes import FailureBrake, TrutoGivenUpError
from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import StoppedError, UnfinishedError, WaitingError
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.matching.index import MatchIndex
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.progress import Progress, RateMeter
from airflow_provider_truto.bulk.queue import FairQueue, Turn
from airflow_provider_truto.bulk.read_ahead import ReadAhead
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.result_row import ResultRow, encode_failed_body
from airflow_provider_truto.bulk.writer import MakeFilter, RecordWriter
from airflow_provider_truto.client.errors import (
    TrutoApiError,
    TrutoAuthenticationError,
    TrutoError,
    TrutoNotFoundError,
)
from airflow_provider_truto.client.skip_on import is_skipped
from airflow_provider_truto.records.pipeline import RecordResult

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient  # slow to import; DAG files must not pay for it

T = TypeVar("T")
#: At most this many records wait before their next attempt without holding a slot; further ones keep theirs.
_MAX_IN_BACKOFF = 1_000
#: Seconds that calls in flight may still take when the try ends early. Airflow's supervisor kills after five.
GRACE_SECONDS = 3.0
#: Seconds between two checks of the time, the order to stop, and the parts of the ledger.
_HOUSEKEEPING_SECONDS = 0.5
#: Seconds between two reports; they grow to the second number within an hour, since a bulk may take days.
_REPORT_SECONDS = 5.0
_LONGEST_REPORT_SECONDS = 60.0


class BulkRunner:
    """Runs one try. ``report`` is called every few seconds; ``total`` is the number of records, where it is known.

    ``make_filter`` makes what marks unchanged records; ``take_renewal`` gives what else has to be written regularly.
    ``index`` is where rows without an id find their records, with what earlier tries have written.
    """

    def __init__(
        self,
        client: AsyncClient,
        ledger: Ledger,
        completed: CompletedRecords,
        plan: Plan,
        *,
        report: Callable[[Progress], None],
        total: int | None = None,
        index: MatchIndex | None = None,
        make_filter: MakeFilter | None = None,
        take_renewal: Callable[[], list[Callable[[], None]]] = list,
    ) -> None:
        self._ledger = ledger
        self._completed = completed
        self._plan = plan
        self._report = report
        self._index = index
        self._take_renewal = take_renewal
        self._began = time.monotonic()
        self._wake = asyncio.Event()
        self._writer = RecordWriter(client, plan, on_backoff=self._release_slot, make_filter=make_filter)
        self._matcher = None if plan.match is None or index is None else self._writer.make_matcher(plan.match, index)
        self._queue = FairQueue(concurrency=plan.concurrency, finder=self._matcher)
        self._reader = ReadAhead(
            resolve=self._writer.resolve,
            put=self._put,
            waiting=self._queue.__len__,
            on_chunk=self._wake.set,
            is_paced=client.settings.requests_per_second != 0,
        )
        self._brake = None if plan.stop_after is None else FailureBrake(plan.stop_after)
        self._running: set[asyncio.Task[None]] = set()
        self._in_backoff = 0
        #: When those of the running that were told to wait for long may go on.
        self._windows: dict[asyncio.Task[None], float] = {}
        self._is_over = asyncio.Event()
        self._fatal: BaseException | None = None
        #: One more than the highest place in the source of a row that was read.
        self.read_rows = 0
        self.progress = Progress.resume(completed, total=total)

    async def run(self, *parts: Iterator[Record]) -> Progress:
        """Send every record that is not done yet, part after part, and return the counts.

        Raises ``StoppedError`` where so many failed as ``stop_after`` says, ``UnfinishedError`` where it was stopped
        or ``max_runtime`` is over, ``WaitingError`` where all customers wait for long, ``TrutoAuthenticationError``
        for a refused token, and what reading the source or writing the ledger raises. The next try repeats what is
        not in the ledger, under the same keys.
        """
        self._began = time.monotonic()
        reader = asyncio.create_task(self._reader.read(*parts))
        housekeeper = asyncio.create_task(self._housekeeping_loop())
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
            self._queue.close()
            self._measure()
        if failure := self._fatal or self._reader.error:
            raise failure
        return self.progress

    def _put(self, record: Record) -> None:
        self.read_rows = max(self.read_rows, record.ordinal + 1)
        if record.is_unchanged:
            self.progress.add_unchanged(record.integrated_account_id or self._writer.find_account_id(record))
        elif not self._completed.is_final(record.ordinal):
            self._queue.put(self._writer.find_account_id(record), record)

    async def _dispatch(self) -> None:
        """Start records as long as there are any, a slot is free and nothing forbids it."""
        turns = 0
        while self._fatal is None:
            if reason := self._find_reason_to_end():
                self._fatal = UnfinishedError(f"bulk not finished: {reason}; the next try goes on from here")
                return
            if self._has_slot and self._start_next():
                turns += 1
                if turns % 64 == 0:  # else rows that are not sent would delay the handling of answers
                    await asyncio.sleep(0)
                continue
            if self._reader.is_done and not len(self._queue) and not self._running:
                return
            if (seconds := self._find_wait()) is not None:
                self._fatal = WaitingError(seconds, is_fruitless=not self.progress.has_advanced)
                return
            self._wake.clear()
            # Set when a slot is free or rows were read, and regularly to check the time and the order to stop.
            await self._wake.wait()

    def _fill_slot(self) -> None:
        """Start the next record at once in the slot of one that is done, without waiting for the dispatcher."""
        if self._fatal is None and self._has_slot and not self._find_reason_to_end():
            self._start_next()
        if self._has_slot:
            self._wake.set()

    def _start_next(self) -> bool:
        """Start the next record; false where none may start."""
        turn = self._queue.take(running=len(self._running))
        self._reader.on_taken()
        if turn is None:
            self._reader.on_starved()
            return False
        self._start(turn)
        return True

    @contextmanager
    def _release_slot(self) -> Iterator[None]:
        """Free the slot while a record waits before its next attempt: others may succeed meanwhile."""
        if self._in_backoff >= _MAX_IN_BACKOFF:
            yield
            return
        self._in_backoff += 1
        self._wake.set()
        try:
            yield
        finally:
            self._in_backoff -= 1

    @property
    def _has_slot(self) -> bool:
        return len(self._running) - self._in_backoff < self._plan.concurrency

    def _find_reason_to_end(self) -> str | None:
        plan = self._plan
        if plan.is_stopped():
            return "it was told to stop"
        if plan.max_runtime is not None and time.monotonic() - self._began >= plan.max_runtime:
            return f"max_runtime of {plan.max_runtime:g} s is over"
        return None

    async def _drain(self) -> None:
        """Wait for the calls in flight when the try ends early; cancel those that wait or take too long."""
        for task in self._windows:
            task.cancel()
        while self._running:
            _, left = await asyncio.wait(self._running, timeout=GRACE_SECONDS)
            for task in left:
                task.cancel()

    def _start(self, turn: Turn) -> None:
        if turn.is_sent or turn.question is not None:
            task = asyncio.create_task(self._process(turn) if turn.is_sent else self._ask(turn))
            self._running.add(task)
            task.add_done_callback(self._on_task_done)
        elif turn.error is not None:
            self._fail(turn, turn.error, skipped_since=turn.skipped_since)
        else:
            self._write_down(ResultRow.of_unsent(turn.record, account_id=turn.account.id), turn)

    async def _process(self, turn: Turn) -> None:
        """Send one record, and write down what became of it.

        An exception ends the try, and the record is not in the ledger then: a refused token, which every other record
        would meet as well, or a fault of the disk or of this package.
        """
        record, error, is_tolerated = turn.record, None, False
        try:
            done = await self._send(turn)
        except TrutoAuthenticationError:
            raise
        except TrutoError as failure:
            if isinstance(failure, TrutoNotFoundError) and record.is_remembered:
                self._queue.begin_anew(turn)
                self._leave_slot()
                return
            error = failure
            is_tolerated = self._fail(turn, error)
        else:
            if done.result is not None:
                self.progress.waited += done.result.waited
                self.progress.paced += done.result.paced
            fails_unconfirmed = self._plan.verify == "fail"
            row = ResultRow.of_result(done, record, account_id=turn.account.id, fails_unconfirmed=fails_unconfirmed)
            self._write_down(row, turn)
        self._queue.finish(turn, error, is_tolerated=is_tolerated)
        self._leave_slot()

    async def _ask(self, turn: Turn) -> None:
        """Ask the CRM which record a row means. A failure is that of all rows which need the same answer."""
        assert self._matcher is not None
        prepare = partial(
            self._matcher.prepare,
            turn.account.id,
            turn.record,
            count_rows=lambda: self._queue.count_nameless(turn.account) if self._reader.is_done else None,
        )
        error = None
        try:
            await self._call(turn, prepare)
        except TrutoAuthenticationError:
            raise
        except TrutoError as failure:
            error = failure
        if error is None or turn.question == "all":
            self._queue.finish_question(turn, error)
        else:
            self._queue.finish(turn, error, is_tolerated=self._fail(turn, error))
        self._leave_slot()

    def _leave_slot(self) -> None:
        if (task := asyncio.current_task()) is not None:
            self._running.discard(task)
        self._fill_slot()

    async def _send(self, turn: Turn) -> RecordResult:
        """Send a record, and again after each long wait that is asked for. Raises ``TrutoError``."""
        record = turn.record
        was_refused = self._completed.was_refused(record.ordinal)
        done, attempts = await self._call(turn, partial(self._writer.write, record, was_refused=was_refused))
        if done.result is None or not attempts:
            return done
        return replace(done, result=replace(done.result, attempts=attempts + done.result.attempts))

    async def _call(self, turn: Turn, call: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Make a call, again after each long wait; return what it gives, and the attempts before the last wait."""
        attempts = 0
        while True:
            try:
                return await call(), attempts
            except TrutoApiError as error:
                error.attempts = attempts = attempts + error.attempts
                if not error.is_put_off or error.retry_after is None or attempts >= self._writer.max_attempts:
                    raise
                seconds = error.retry_after
            await self._wait_for_window(turn, seconds)

    async def _wait_for_window(self, turn: Turn, seconds: float) -> None:
        """Wait while other customers go on. Cancelled where all of them wait, and the try ends."""
        task = asyncio.current_task()
        assert task is not None
        self._windows[task] = time.monotonic() + seconds
        turn.account.waits += 1
        self._wake.set()
        try:
            with self._release_slot():
                await asyncio.sleep(seconds + random.random())  # noqa: S311  (not a secret; many were told the same)
        finally:
            turn.account.waits -= 1
            del self._windows[task]
        self.progress.waited += seconds

    def _find_wait(self) -> float | None:
        """Return the seconds until the first customer may go on, where all that are left wait for long."""
        longest = self._plan.longest_wait
        all_wait = bool(self._windows) and len(self._windows) == len(self._running) and self._reader.is_idle
        if longest is None or not all_wait:
            return None
        seconds = min(self._windows.values()) - time.monotonic()
        return seconds if seconds > longest else None

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal = self._fatal or error
        if self._has_slot:
            self._wake.set()

    def _fail(self, turn: Turn, error: TrutoError, *, skipped_since: str | None = None) -> bool:
        """Write down a record that failed, or was skipped; return whether ``skip_on`` tolerates its error."""
        if skipped_since is None:
            self.progress.waited += error.waited
        row = ResultRow.of_error(
            error,
            turn.record,
            account_id=turn.account.id,
            skipped_since=skipped_since,
            is_tolerated=is_skipped(error, self._plan.skip_on),
        )
        self._write_down(row, turn)
        return row.tolerated

    def _write_down(self, row: ResultRow, turn: Turn) -> None:
        record = turn.record
        failed = encode_failed_body(record, on_none=self._plan.coercion.on_none) if row.is_failure else None
        self._ledger.add(row, failed=failed)
        self.progress.add(row, record)
        if self._index is not None:
            self._index.remember(row)
        if self._brake is not None and (row.status == "failed" or (row.is_done and row.attempts)):
            self._apply_brake(self._brake, turn.account.id, has_failed=row.is_failure)

    def _apply_brake(self, brake: FailureBrake, account_id: str, *, has_failed: bool) -> None:
        """Give a customer up, or end the try, where too many records have failed."""
        is_only = not self._queue.has_others_than(account_id)
        verdict = brake.count(account_id, has_failed=has_failed, is_only_customer=is_only)
        if verdict is None:
            return
        if verdict.given_up is not None:
            self._queue.give_up(verdict.given_up, TrutoGivenUpError.of(verdict.given_up))
            return
        self._fatal = self._fatal or StoppedError(brake.describe_stop(self.progress.problems.describe()))
        self._wake.set()

    async def _housekeeping_loop(self) -> None:
        """Regularly write full parts of the ledger, report, and wake the dispatcher to check the time."""
        reported = self._began
        rate = RateMeter(self._began, self.progress.done)
        try:
            while not self._is_over.is_set():
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._is_over.wait(), _HOUSEKEEPING_SECONDS)
                self._wake.set()
                for write in [*self._ledger.take_full_parts(), *self._take_renewal()]:
                    await asyncio.to_thread(write)
                now = time.monotonic()
                self.progress.rate = rate.measure(now, self.progress.done)
                if now - reported >= min(_LONGEST_REPORT_SECONDS, max(_REPORT_SECONDS, (now - self._began) / 60)):
                    reported = now
                    self._measure()
                    self._report(self.progress)
        except Exception as error:
            self._fatal = self._fatal or error
            self._wake.set()

    def _measure(self) -> None:
        self.progress.seconds = time.monotonic() - self._began
        self.progress.requests = self._writer.requests
