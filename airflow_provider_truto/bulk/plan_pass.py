"""Reads a source once before the first write, and decides on each row as the run would: no write is sent.

source → resolve → (match) → prepare → BulkPreview
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from airflow_provider_truto.bulk.errors import TooManyRemovedError, UnfinishedError
from airflow_provider_truto.bulk.matching.matcher import Matcher
from airflow_provider_truto.bulk.preview import BulkPreview, Decision, Kind, decide_error
from airflow_provider_truto.bulk.read_ahead import read_chunk
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.writer import RecordWriter
from airflow_provider_truto.client.errors import (
    TrutoAuthenticationError,
    TrutoError,
    TrutoNotFoundError,
    TrutoSchemaError,
)


class PlanPass:
    """Decides on every row of a source.

    ``reads``: records are read as they are now, those of the samples and with ``reads_all`` every one, so many at a
    time as ``concurrency`` says. A customer who cannot be asked is not asked again: its rows are ``unclear`` where
    that may pass, and the others go on. ``is_stopped`` is called before each chunk. ``matcher`` finds
    those of rows without an id as they are before any write: what an earlier row would create is created again.
    """

    def __init__(
        self,
        writer: RecordWriter,
        *,
        reads: bool,
        reads_all: bool,
        concurrency: int,
        is_stopped: Callable[[], bool],
        matcher: Matcher | None = None,
    ) -> None:
        self._writer = writer
        self._matcher = matcher
        self._reads = reads
        self._reads_all = reads_all
        self._slots = asyncio.Semaphore(concurrency)
        self._is_stopped = is_stopped
        self._unreadable: set[str] = set()
        #: What was in the way of customers, which holds for all their rows.
        self._errors: dict[str, TrutoError] = {}
        #: Records that rows without an id were found to mean, by customer.
        self._found: set[tuple[str, str | None]] = set()
        self._preview = BulkPreview(hides_values=writer.hides_values)
        #: One more than the highest place in the source of a row that was read.
        self.read_rows = 0

    async def run(self, records: Iterator[Record], *, removed: Iterable[Record] = ()) -> BulkPreview:
        """Return what would be done. ``removed`` is read after all others.

        Raises what reading the source raises, ``UnfinishedError`` where it was stopped, and ``TrutoError`` where no
        customer at all can be asked.
        """
        await self._read(records)
        try:
            await self._read(iter(removed))
        except TooManyRemovedError as error:
            if not self._reads:
                raise  # it precedes a run; a preview shows the rest as well
            self._preview.warnings.append(str(error))
        passing = [error for error in self._errors.values() if error.transient]
        if passing and not self._preview.has_decided:
            raise passing[0]
        self._preview.warnings += [f"a customer could not be asked, which may pass: {error}" for error in passing]
        return self._preview

    async def _read(self, records: Iterator[Record]) -> None:
        while True:
            if self._is_stopped():
                raise UnfinishedError("the plan is not made: the task was told to stop; nothing was sent")
            chunk, error = await asyncio.to_thread(read_chunk, records)
            if error is not None:
                raise error
            if not chunk:
                return
            await self._take(await self._writer.resolve(chunk))

    async def _take(self, records: Sequence[Record]) -> None:
        decided = []
        for record in records:
            self.read_rows = max(self.read_rows, record.ordinal + 1)
            decision = await self._decide(record)
            self._preview.note(decision)
            decided.append((decision, self._preview.wants_sample(decision.account_id, decision.kind)))
        if self._reads:
            read = await asyncio.gather(*(self._look(decision, is_sample) for decision, is_sample in decided))
            decided = list(zip(read, (is_sample for _, is_sample in decided), strict=True))
        for decision, is_sample in decided:
            self._preview.count(decision, is_sample=is_sample)

    async def _decide(self, record: Record) -> Decision:
        account_id = self._writer.find_account_id(record)
        if record.is_sent and (known := self._errors.get(account_id)) is not None:
            return decide_error(record, account_id, known)
        try:
            return await self._decide_on(record, account_id)
        except TrutoAuthenticationError:
            raise
        except TrutoSchemaError as error:
            return decide_error(record, account_id, error)
        except TrutoError as error:
            self._errors[account_id] = error  # what is asked before a write is about the customer
            return decide_error(record, account_id, error)

    async def _decide_on(self, record: Record, account_id: str) -> Decision:
        """Decide on a row as the run would. Raises ``TrutoError`` for what is in its way."""
        if self._matcher is not None and record.is_nameless:
            found = await self._matcher.find(account_id, record)
            if isinstance(found, TrutoError):
                return decide_error(record, account_id, found)
            record = found
            self._found.add((account_id, record.id))
        elif record.is_unchanged and record.key is not None and (account_id, record.id) in self._found:
            record = record.replace(is_unchanged=False)
        if record.skip is not None:
            return Decision(record=record, account_id=account_id, kind="skipped", code=record.skip.code)
        if record.problems:
            raise TrutoSchemaError.of("the row is not a record", record.problems)
        if not record.is_sent:
            kind: Kind = "reported" if record.is_removed else "unchanged"
            return Decision(record=record, account_id=account_id, kind=kind)
        valid = await self._writer.prepare(record, is_looked_up=True)
        method = valid.request.method
        decision = Decision(record=record, account_id=account_id, kind="changed", method=method, body=valid.body)
        if record.is_removed:
            return replace(decision, kind="removed")
        if record.is_repeated:
            return replace(decision, kind="repeated")
        return replace(decision, kind="created") if method == "create" else decision

    async def _look(self, decision: Decision, is_sample: bool) -> Decision:
        """Read the record that a decision would change, where it is to be shown or compared."""
        is_compared = self._reads_all and decision.kind in {"changed", "repeated"}
        if decision.method is None or not (is_sample or is_compared) or decision.account_id in self._unreadable:
            return decision
        async with self._slots:
            if decision.account_id in self._unreadable:
                return decision
            try:
                changes = await self._writer.list_changes(decision.record)
            except TrutoAuthenticationError:
                raise
            except TrutoNotFoundError as error:
                return replace(decide_error(decision.record, decision.account_id, error), method=decision.method)
            except TrutoError as error:
                self._unreadable.add(decision.account_id)
                return replace(decision, message=f"the record could not be read: {error}")
        if is_compared and not changes:
            return replace(decision, kind="unchanged", changes=())
        return replace(decision, changes=changes)
