"""Sends the records of one try of a bulk, many at once, until all are done or the try must end.

    source → read_ahead → queue → (a slot) → turns: matcher or writer → ledger, progress

A turn is what the queue says to do with a record: send it, write it down unsent, or ask the customer's CRM first
which record it means. The runner starts the turns, which ``turns`` carries out, and decides when the try ends. Beside
that runs the housekeeping: parts of the ledger, reports.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_truto.bulk.account import Turn
from airflow_provider_truto.bulk.bookkeeping import Bookkeeper
from airflow_provider_truto.bulk.brakes import FailureBrake
from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import UnfinishedError, WaitingError
from airflow_provider_truto.bulk.housekeeping import Housekeeper
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.long_waits import LongWaits
from airflow_provider_truto.bulk.matching.index import MatchIndex
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.queue import FairQueue
from airflow_provider_truto.bulk.read_ahead import ReadAhead
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.slots import Slots
from airflow_provider_truto.bulk.turns import TurnHandler
from airflow_provider_truto.bulk.writer import MakeFilter, RecordWriter

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient  # slow to import; DAG files must not pay for it


class BulkRunner:
    """Runs one try. ``report`` is called every few seconds; ``total`` is the number of records, where it is known.

    ``make_filter`` makes what marks unchanged records; ``take_renewal`` returns what else is written regularly.
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
        self._completed = completed
        self._plan = plan
        self._began = time.monotonic()
        self._wake = asyncio.Event()
        self._slots = Slots(plan.concurrency, on_free=self._wake.set, on_error=self._end_with)
        self._writer = RecordWriter(
            client,
            plan,
            on_backoff=self._slots.release,
            make_filter=make_filter,
            on_named=self._reopen if completed.has_reopened else None,
        )
        matcher = None if plan.match is None or index is None else self._writer.make_matcher(plan.match, index)
        self._queue = FairQueue(concurrency=plan.concurrency, finder=matcher)
        self._reader = ReadAhead(
            resolve=self._writer.resolve,
            put=self._put,
            waiting=self._queue.__len__,
            on_chunk=self._wake.set,
            is_paced=client.settings.requests_per_second != 0,
        )
        self._fatal: BaseException | None = None
        #: One more than the highest place in the source of a row that was read.
        self.read_rows = 0
        self.progress = Progress.resume(completed, total=total)
        self._long_waits = LongWaits(
            self._slots, self.progress, max_attempts=self._writer.max_attempts, longest=plan.longest_wait
        )
        self._turns = TurnHandler(
            self._queue,
            self._writer,
            Bookkeeper(ledger, completed, self.progress, plan, index=index),
            self.progress,
            matcher=matcher,
            long_waits=self._long_waits,
            brake=None if plan.stop_after is None else FailureBrake(plan.stop_after),
            was_refused=completed.was_refused,
            is_read=lambda: self._reader.is_done,
            on_done=self._leave_slot,
            on_stopped=self._end_with,
        )
        self._housekeeper = Housekeeper(
            self.progress,
            take_writes=lambda: [*ledger.take_full_parts(), *take_renewal()],
            on_turn=self._wake.set,
            measure=self._measure,
            report=report,
        )

    async def run(self, *parts: Iterator[Record]) -> Progress:
        """Send every record that is not done yet, part after part, and return the counts.

        Raises ``StoppedError`` where so many failed as ``stop_after`` says, ``UnfinishedError`` where it was stopped
        or ``max_runtime`` is over, ``WaitingError`` where all customers wait for long, ``TrutoAuthenticationError``
        for a refused token, and what reading the source or writing the ledger raises. The next try repeats what is
        not in the ledger, under the same keys.
        """
        self._began = time.monotonic()
        reader = asyncio.create_task(self._reader.read(*parts))
        housekeeper = asyncio.create_task(self._run_housekeeping())
        try:
            await self._dispatch()
        except BaseException as error:
            self._fatal = error
            raise
        finally:
            reader.cancel()
            await self._slots.drain()
            self._housekeeper.end()
            await asyncio.gather(reader, housekeeper, return_exceptions=True)
            self._queue.close()
            self._measure()
        if failure := self._fatal or self._reader.error:
            raise failure
        return self.progress

    def _reopen(self, record: Record) -> None:
        """Have a record sent again that was done, where an earlier row about the same one is."""
        account_id = self._writer.find_account_id(record)
        if (outcome := self._completed.reopen(account_id, record)) is not None:
            self.progress.take_back(account_id, outcome)

    def _put(self, record: Record) -> None:
        self.read_rows = max(self.read_rows, record.ordinal + 1)
        if record.is_unchanged and record.key is None:
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
            if self._slots.is_free and self._start_next():
                turns += 1
                if turns % 64 == 0:  # else rows that are not sent would delay the handling of answers
                    await asyncio.sleep(0)
                continue
            if self._reader.is_done and not len(self._queue) and not len(self._slots):
                if held := self._queue.count_held():
                    raise RuntimeError(f"{held} records wait for each other: a fault of this package")
                return
            if self._reader.is_idle and (seconds := self._long_waits.find_too_long()) is not None:
                self._fatal = WaitingError(seconds, is_fruitless=not self.progress.has_advanced)
                return
            self._wake.clear()
            # Set when a slot is free or rows were read, and regularly to check the time and the order to stop.
            await self._wake.wait()

    def _fill_slot(self) -> None:
        """Start the next record at once in the slot of one that is done, without waiting for the dispatcher."""
        if self._fatal is None and self._slots.is_free and not self._find_reason_to_end():
            self._start_next()
        if self._slots.is_free:
            self._wake.set()

    def _start_next(self) -> bool:
        """Start the next record; false where none may start."""
        turn = self._queue.take(running=len(self._slots))
        self._reader.on_taken()
        if turn is None:
            self._reader.on_starved()
            return False
        self._start(turn)
        return True

    def _find_reason_to_end(self) -> str | None:
        plan = self._plan
        if plan.is_stopped():
            return "it was told to stop"
        if plan.max_runtime is not None and time.monotonic() - self._began >= plan.max_runtime:
            return f"max_runtime of {plan.max_runtime:g} s is over"
        return None

    def _start(self, turn: Turn) -> None:
        if turn.is_sent:
            self._slots.start(self._turns.send(turn))
        elif turn.question is not None:
            self._slots.start(self._turns.ask(turn))
        else:
            self._turns.note_unsent(turn)

    def _leave_slot(self) -> None:
        self._slots.leave()
        self._fill_slot()

    async def _run_housekeeping(self) -> None:
        try:
            await self._housekeeper.run()
        except Exception as error:
            self._end_with(error)

    def _end_with(self, error: BaseException) -> None:
        """End the try with an error, unless another one has ended it already."""
        self._fatal = self._fatal or error
        self._wake.set()

    def _measure(self) -> None:
        self.progress.seconds = time.monotonic() - self._began
        self.progress.requests = self._writer.requests
