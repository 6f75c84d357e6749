"""Does what a turn says: sends its record, asks the customer's CRM which one it means, or only writes it down.

The runner starts turns; here is what happens in one of them until the queue knows how it ended:

    send: (was told to wait) → writer → the ledger's row → the brake → the queue
    ask:  (was told to wait) → matcher → the queue, which looks the record up again
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from airflow_provider_truto.bulk.account import Turn
from airflow_provider_truto.bulk.bookkeeping import Bookkeeper
from airflow_provider_truto.bulk.brakes import FailureBrake, TrutoGivenUpError
from airflow_provider_truto.bulk.errors import StoppedError
from airflow_provider_truto.bulk.long_waits import LongWaits
from airflow_provider_truto.bulk.matching.matcher import Matcher
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.queue import FairQueue
from airflow_provider_truto.bulk.result_row import ResultRow
from airflow_provider_truto.bulk.writer import RecordWriter
from airflow_provider_truto.client.errors import TrutoAuthenticationError, TrutoError, TrutoNotFoundError
from airflow_provider_truto.records.pipeline import RecordResult


class TurnHandler:
    """Carries turns out; each that takes a slot calls ``on_done`` when it has ended.

    An exception of ``send`` or ``ask`` ends the try instead, and the record is not in the ledger then: a refused
    token, which every other record would meet as well, or a fault of the disk or of this package. ``on_stopped`` is
    called with the error that ends the try where too many records have failed. ``was_refused`` says of an ordinal
    whether Truto refused that record before somebody cleared the task, ``is_read`` whether the source is read to its
    end.
    """

    def __init__(
        self,
        queue: FairQueue,
        writer: RecordWriter,
        books: Bookkeeper,
        progress: Progress,
        *,
        matcher: Matcher | None,
        long_waits: LongWaits,
        brake: FailureBrake | None,
        was_refused: Callable[[int], bool],
        is_read: Callable[[], bool],
        on_done: Callable[[], None],
        on_stopped: Callable[[StoppedError], None],
    ) -> None:
        self._queue = queue
        self._writer = writer
        self._books = books
        self._progress = progress
        self._matcher = matcher
        self._long_waits = long_waits
        self._brake = brake
        self._was_refused = was_refused
        self._is_read = is_read
        self._on_done = on_done
        self._on_stopped = on_stopped

    def note_unsent(self, turn: Turn) -> None:
        """Write down a record that needs no call, or that cannot be sent."""
        if turn.error is not None:
            self._fail(turn, turn.error)
        elif turn.record.is_unchanged:
            self._progress.add_unchanged(turn.account.id)
        else:
            self._books.add_unsent(turn)

    async def send(self, turn: Turn) -> None:
        """Send one record, and write down what became of it."""
        record, error, is_tolerated = turn.record, None, False
        try:
            done = await self._write(turn)
        except TrutoAuthenticationError:
            raise
        except TrutoError as failure:
            if isinstance(failure, TrutoNotFoundError) and record.is_remembered:
                self._queue.look_up_again(turn)
                self._on_done()
                return
            error = failure
            is_tolerated = self._fail(turn, error)
        else:
            self._apply_brake(turn, self._books.add_result(turn, done))
        self._queue.finish(turn, error, is_tolerated=is_tolerated)
        self._on_done()

    async def ask(self, turn: Turn) -> None:
        """Ask the CRM which record a row means. A failure is that of all rows which need the same answer."""
        assert self._matcher is not None
        prepare = partial(
            self._matcher.prepare,
            turn.account.id,
            turn.record,
            count_rows=lambda: self._queue.count_nameless(turn.account) if self._is_read() else None,
        )
        error = None
        try:
            await self._long_waits.call(turn.account, prepare)
        except TrutoAuthenticationError:
            raise
        except TrutoError as failure:
            error = failure
        if error is None or turn.question == "all":
            self._queue.finish_question(turn, error)
        else:
            self._queue.finish(turn, error, is_tolerated=self._fail(turn, error))
        self._on_done()

    async def _write(self, turn: Turn) -> RecordResult:
        """Send a record, and again after each long wait that is asked for. Raises ``TrutoError``."""
        record = turn.record
        write = partial(self._writer.write, record, was_refused=self._was_refused(record.ordinal))
        done, attempts = await self._long_waits.call(turn.account, write)
        if done.result is None or not attempts:
            return done
        return done._replace(result=done.result._replace(attempts=attempts + done.result.attempts))

    def _fail(self, turn: Turn, error: TrutoError) -> bool:
        """Write down a record that failed; return whether ``skip_on`` tolerates its error."""
        row = self._books.add_error(turn, error)
        self._apply_brake(turn, row)
        return row.tolerated

    def _apply_brake(self, turn: Turn, row: ResultRow) -> None:
        """Give the customer up, or stop the bulk, where too many records have failed with this one."""
        if self._brake is None or not (row.status == "failed" or (row.is_done and row.attempts)):
            return
        account_id = turn.account.id
        is_only = not self._queue.has_others_than(account_id)
        verdict = self._brake.count(account_id, has_failed=row.is_failure, is_only_customer=is_only)
        if verdict is None:
            return
        if verdict.given_up is not None:
            self._queue.give_up(verdict.given_up, TrutoGivenUpError.of(verdict.given_up))
            return
        self._on_stopped(StoppedError(self._brake.describe_stop(self._progress.problems.describe())))
