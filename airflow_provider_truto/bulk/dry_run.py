"""Reading the whole source before the first write, and sending no write: a check, a plan, or a preview."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from logging import Logger
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.garbage import collect_garbage_rarely
from airflow_provider_truto.bulk.gate import PlanGate
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.matching.index import MatchIndex
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.plan_pass import PlanPass
from airflow_provider_truto.bulk.preview import BulkPreview
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.sources.source import Source
from airflow_provider_truto.bulk.state.run_state import RunState, choose_filter
from airflow_provider_truto.bulk.validation import MAX_FAULTS, find_faults
from airflow_provider_truto.bulk.writer import RecordWriter
from airflow_provider_truto.client.errors import TrutoSchemaError

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient

#: What ``validate_first`` says after the number of invalid rows: before anything was sent, and in a later try.
_CHECKED_FIRST = (
    "rows of the source are not valid; nothing was sent. Correct them where they come from and clear the task, which"
    " then reads the source again; or leave out validate_first, so that the others are sent and these are failures."
)
_CHECKED_LATER = (
    "rows that are not done yet are not valid; this try has sent nothing. Earlier ones have sent from this source,"
    " and their ledger holds for its rows as they are. Leave out validate_first and clear the task, so that the"
    " others are sent and these are failures; or correct the rows and clear the task with on_clear='restart', so that"
    " every record is written again, in a new ledger."
)


@dataclass(kw_only=True)
class DryRun:
    """A bulk before its first write. Where it is refused, what was kept of the source is dropped for a later try.

    ``requests`` are all that it has sent so far.
    """

    plan: Plan
    source: Source
    ledger: Ledger
    state: RunState | None
    gate: PlanGate
    new_client: Callable[[], AbstractAsyncContextManager[AsyncClient]]
    log: Logger
    requests: int = 0

    def validate(self, completed: CompletedRecords | None) -> None:
        """Check every record that is not done; where one is invalid, the next try may read a corrected source.

        ``completed`` is ``None`` where no try has begun the ledger. Raises ``TrutoSchemaError`` with the faults.
        """
        is_valid = False
        try:
            faults = [
                f"{record.label}: {error}"
                for record, error in asyncio.run(self._find_faults(completed or CompletedRecords()))
            ]
            is_valid = not faults
        finally:
            if completed is None and not is_valid:
                self.source.drop()
            elif not is_valid:
                for write in self.ledger.take_full_parts(all_of_them=True):  # the failures that it has taken over
                    write()
        if faults:
            self.ledger.write_faults(faults)
            most = "at least " if len(faults) >= MAX_FAULTS else ""
            what = _CHECKED_FIRST if completed is None else _CHECKED_LATER
            raise TrutoSchemaError("\n".join([f"{most}{len(faults)} {what}", *faults]))

    def check_plan(self) -> dict[str, Any]:
        """Read the source, and return what the header says of its plan. Raises ``PlanRefusedError``."""
        is_let_through = False
        try:
            found = self._read_plan(reads=False)
            self.gate.check(found, log=self.log)
            is_let_through = True
        finally:
            if not is_let_through:
                self.source.drop()
        return {"hash": found.hash, "rows": found.rows, "changes": found.changes}

    def preview(self) -> dict[str, Any]:
        """Write beside the ledger what would be done, and return it with the paths; a later try reads it again."""
        try:
            found = self._read_plan(reads=True)
        finally:
            self.source.drop()
        counts = found.as_dict()
        paths = self.ledger.write_preview(counts, found.list_samples())
        self.log.info("Nothing was sent. Samples are in %s", paths["samples"])
        self.gate.check(found, log=self.log)
        return {**counts, "account_count": len(counts["accounts"]), **paths}

    async def _find_faults(self, done: CompletedRecords) -> list[tuple[Record, TrutoSchemaError]]:
        async with self._open_writer(done) as writer:
            return await find_faults(self.source.records(), writer, done)

    def _read_plan(self, *, reads: bool) -> BulkPreview:
        """Decide on every row without a write; ``reads``: records are read as they are now, to show what changes."""
        with collect_garbage_rarely(), closing(MatchIndex()) as index:
            return asyncio.run(self._decide(index, reads=reads))

    async def _decide(self, index: MatchIndex, *, reads: bool) -> BulkPreview:
        plan, state = self.plan, self.state
        async with self._open_writer(CompletedRecords()) as writer:
            planning = PlanPass(
                writer,
                reads=reads,
                reads_all=reads and plan.safeguards.skip_unchanged,
                concurrency=plan.concurrency,
                is_stopped=plan.is_stopped,
                matcher=None if plan.match is None else writer.make_matcher(plan.match, index),
            )
            removed = () if state is None else state.list_removed(first_ordinal=lambda: planning.read_rows)
            found = await planning.run(self.source.records(), removed=removed)
            found.is_full = state is not None and state.is_full
            return found

    @asynccontextmanager
    async def _open_writer(self, completed: CompletedRecords) -> AsyncIterator[RecordWriter]:
        make_filter = choose_filter(self.state, self.plan, completed, sends=False)
        async with self.new_client() as client:
            writer = RecordWriter(client, self.plan, make_filter=make_filter)
            try:
                yield writer
            finally:
                self.requests += writer.requests
