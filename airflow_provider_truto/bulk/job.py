"""One whole try of a bulk: chooses the ledger, checks the source, sends, reports, and judges the result.

    begin_try → prepare the source → choose the ledger → open both → (validate) → run → summary → judge

It knows nothing of Airflow; ``operators._bulk_job`` calls it. It raises the errors of ``bulk.errors``, ``TrutoError``
and ``OSError``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from logging import Logger, getLogger
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.dry_run import DryRun
from airflow_provider_truto.bulk.errors import BulkError, LedgerError, TooManyFailuresError, WaitingError
from airflow_provider_truto.bulk.garbage import collect_garbage_rarely
from airflow_provider_truto.bulk.gate import PlanGate
from airflow_provider_truto.bulk.generations import choose_ledger, forget_failed_checks
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.matching.index import MatchIndex
from airflow_provider_truto.bulk.messages import (
    describe_end,
    describe_failures,
    describe_progress,
    describe_start,
    list_doubts,
)
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.report import is_within
from airflow_provider_truto.bulk.result_row import count_failures, show_counts
from airflow_provider_truto.bulk.runner import BulkRunner
from airflow_provider_truto.bulk.sources.source import Source, SourcePlan
from airflow_provider_truto.bulk.state.run_state import RunState, StateOptions, choose_filter, is_there
from airflow_provider_truto.bulk.tries import begin_try
from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.client.plurals import choose_form, count
from airflow_provider_truto.records.keys import RunSeen, TaskIdentity

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient

_LOG = getLogger(__name__)
#: Methods that may be executed twice without harm; anything else may make a second record.
_REPEATABLE = frozenset({"update", "delete"})


@dataclass(frozen=True, kw_only=True)
class _OpenedTry:
    """What a try sends, from where, and where it writes that down. ``begun_with`` is the header of an earlier try."""

    plan: Plan
    source: Source
    ledger: Ledger
    begun_with: Mapping[str, Any] | None
    header: Mapping[str, Any]
    state: RunState | None
    index: MatchIndex


@dataclass(frozen=True, kw_only=True)
class BulkJob:
    """One try of one task's bulk.

    :param folder: the task's folder, in which its ledgers are.
    :param identity: the task; its ``generation`` stays the same over retries and is different after a clear.
    :param run: what the task knows of its DAG run, to tell one that was deleted and made again.
    :param try_number: from 1, counted on after a clear.
    :param is_resumed: an earlier part of this try ended with ``WaitingError``.
    :param find_server: reads the base URL that the client leads to. A ledger is never gone on with at another one,
        and each has a state and a past of its own.
    :param plan: how each record is sent; its identities are set here.
    :param prepare_source: describes the source before it is read. May raise ``ValueError``.
    :param new_client: makes the client that sends.
    :param max_failures: how many records may fail or be skipped: a number, a share below 1, or ``None`` for any.
    :param validate_first: check the whole source before the first write.
    :param on_source_change: ``"error"``, or ``"restart"`` in a new ledger.
    :param on_clear: ``"resume"``, or ``"restart"`` in a new ledger.
    :param state: send only what has changed since it was confirmed; ``None`` sends every record.
    :param gate: what the plan must be for its first write to be sent.
    :param previews: say what would be done, and send nothing.
    :param on_progress: called every few seconds and at the end.
    :param on_end: called with the last progress, when all is written down.
    """

    folder: Any
    identity: TaskIdentity
    run: RunSeen = field(default_factory=RunSeen)
    try_number: int = 1
    is_resumed: bool = False
    find_server: Callable[[], str]
    plan: Plan
    prepare_source: Callable[[], SourcePlan]
    new_client: Callable[[], AbstractAsyncContextManager[AsyncClient]]
    max_failures: float | None = None
    validate_first: bool = False
    on_source_change: Literal["error", "restart"] = "error"
    on_clear: Literal["resume", "restart"] = "resume"
    state: StateOptions | None = None
    gate: PlanGate = field(default_factory=PlanGate)
    previews: bool = False
    on_progress: Callable[[Progress], None] = lambda _progress: None
    on_end: Callable[[Progress], None] = lambda _progress: None
    log: Logger = _LOG

    def execute(self) -> dict[str, Any]:
        """Send what is not done yet, write down every record, and return the summary that is in the ledger.

        Raises ``TooManyFailuresError`` where more failed than ``max_failures``, ``StoppedError`` for ``stop_after``,
        ``UnfinishedError``, ``LiveTryError`` and ``WaitingError`` where the next try, or another part of this one,
        has to go on, ``LedgerError``, ``StateError``, ``TooManyRemovedError``, ``SourceError``, ``TrutoSchemaError``
        for a source or rows that are not valid, and ``TrutoAuthenticationError`` for a token that is refused.
        """
        try:
            self._begin()
            server = self.find_server()
            return self._at(server)._execute(server)
        except BulkError as error:
            error.tell_what_was_sent(has_begun=False)
            raise
        except (NotADirectoryError, FileExistsError) as error:
            raise LedgerError.of_no_folder(error) from error
        except ImportError as error:
            raise LedgerError.of_no_package(error) from error

    def _begin(self) -> None:
        """Leave the mark of this try, before anything that may fail is read."""
        try:
            _ = self.folder.fs
        except ValueError as error:  # nothing is registered for the scheme
            raise LedgerError.of_no_package(error) from error
        may_repeat = self.plan.template.method in _REPEATABLE or self.on_clear == "restart"
        warning = begin_try(
            self.folder, try_number=self.try_number, is_resumed=self.is_resumed, may_repeat=may_repeat
        )
        if warning:
            self.log.warning("%s", warning)

    def _at(self, server: str) -> BulkJob:
        """Return this job with the state and the past that it has at a server."""
        return replace(self, state=None if self.state is None else self.state.at(server), gate=self.gate.at(server))

    def _execute(self, server: str) -> dict[str, Any]:
        try:
            source_plan = self.prepare_source()
        except ValueError as error:
            raise _build_source_error(error) from error
        ledger, begun_with, chosen = choose_ledger(
            self.folder,
            task_generation=self.identity.generation,
            run=self.run,
            try_number=self.try_number,
            server=server,
            operation=self.plan.template.operation,
            fingerprint=source_plan.fingerprint,
            shard=source_plan.shard,
            restarts_on_source_change=self.on_source_change == "restart",
            restarts_on_clear=self.on_clear == "restart",
            log=self.log,
        )
        try:
            source = source_plan.open(ledger.folder)
        except ValueError as error:
            raise _build_source_error(error) from error
        with self._open_state(ledger, begun_with, chosen) as (state, header), closing(MatchIndex()) as index:
            opened = _OpenedTry(
                plan=self._add_keys(header),
                source=source,
                ledger=ledger,
                begun_with=begun_with,
                header=header,
                state=state,
                index=index,
            )
            dry_run = DryRun(
                plan=opened.plan,
                source=source,
                ledger=ledger,
                state=None if self.state is None or self.state.is_only_kept else state,
                gate=self.gate,
                new_client=self.new_client,
                log=self.log,
            )
            if self.previews:
                return dry_run.preview()
            opened, completed = self._begin_ledger(opened, dry_run)
            summary = self._send_all(opened, completed, earlier_requests=dry_run.requests)
        self.log.info("%s", describe_end(summary))
        self._judge(summary)
        self.gate.note_end(opened.header["plan"])
        return summary

    def _begin_ledger(self, opened: _OpenedTry, dry_run: DryRun) -> tuple[_OpenedTry, CompletedRecords]:
        """Check what is to be checked first, and open the ledger, whose header has the plan then.

        A ledger that was begun says what is done. A new one is begun only after the check, since its header fixes the
        source for all later tries.
        """
        ledger, source, begun_with = opened.ledger, opened.source, opened.begun_with
        open_ledger = partial(ledger.open, on_row=opened.index.remember)
        completed = None if begun_with is None else open_ledger({**opened.header, "snapshot": source.keep()})
        if self.validate_first:
            dry_run.validate(completed)
        plan: Mapping[str, Any] | None = None
        if begun_with is not None:
            self.gate.check_begun(begun_with, ledger.folder)
            plan = begun_with.get("plan")
        elif self.gate.needs_plan or (self.state is not None and self.state.on_removed != "ignore"):
            plan = dry_run.check_plan()
        header = {**opened.header, "plan": plan}
        if completed is None:
            completed = open_ledger({**header, "snapshot": source.keep()})
        return replace(opened, header=header), completed

    def _send_all(self, opened: _OpenedTry, completed: CompletedRecords, *, earlier_requests: int) -> dict[str, Any]:
        """Send what is not done, and return the summary; ``earlier_requests`` were sent by the check before."""
        forget_failed_checks(self.folder, after=opened.header["generation"])
        self._log_completed(opened.ledger, completed)
        if opened.state is not None:
            opened.state.begin()
        try:
            with collect_garbage_rarely():
                summary = asyncio.run(self._run(opened, completed, earlier_requests=earlier_requests))
            if opened.state is not None:
                opened.state.finish()
        except BulkError as error:
            error.tell_what_was_sent(has_begun=True)
            raise
        return summary

    @contextmanager
    def _open_state(
        self, ledger: Ledger, begun_with: Mapping[str, Any] | None, header: Mapping[str, Any]
    ) -> Iterator[tuple[RunState | None, Mapping[str, Any]]]:
        """Claim the state, if there is to be one; yield it, and the header that says which it is."""
        if self.state is None or (self.state.is_only_kept and (self.previews or not is_there(self.state))):
            yield None, header
            return
        state = RunState(self.state, ledger=ledger, run_id=self.identity.run_id, log=self.log)
        seconds = 0.0
        try:
            is_restarted = begun_with is None and header["generation"] > 0 and self.on_clear == "restart"
            taken = state.take(begun_with, is_restarted=is_restarted, expects_full=self.gate.expects_full)
            yield state, {**header, "state": taken}
        except WaitingError as error:
            seconds = error.seconds
            raise
        finally:
            state.leave(for_seconds=seconds)

    def _add_keys(self, header: Mapping[str, Any]) -> Plan:
        """Return the plan with the identities that the records' keys are made from; see ``Plan``."""
        cleared = f"{self.identity.generation}/{header['generation']}"
        return replace(
            self.plan,
            identity=replace(self.identity, generation=header["keys"]),
            cleared_identity=replace(self.identity, generation=cleared),
        )

    async def _run(self, opened: _OpenedTry, completed: CompletedRecords, *, earlier_requests: int) -> dict[str, Any]:
        """Send what is not done, and write the summary even if the try ends early."""
        plan, ledger, state = opened.plan, opened.ledger, opened.state
        rows = opened.source.count()
        async with self.new_client() as client:
            self.log.info(
                "%s",
                describe_start(
                    rows=rows,
                    done=sum(completed.counts.values()),
                    requests_per_second=client.settings.requests_per_second,
                ),
            )
            runner = BulkRunner(
                client,
                ledger,
                completed,
                plan,
                report=self._report,
                total=rows,
                index=opened.index,
                make_filter=choose_filter(state, plan, completed, sends=True),
                take_renewal=list if state is None else state.take_renewal,
            )
            removed = () if state is None else (state.list_removed(first_ordinal=lambda: runner.read_rows),)
            is_complete = False
            try:
                await runner.run(opened.source.records(), *removed)
                is_complete = True
            finally:
                progress = runner.progress
                progress.requests += earlier_requests
                self.on_progress(progress)
                for warning in list_doubts(progress, verify=self.plan.verify):
                    self.log.warning("%s", warning)
                is_tolerated = is_within(self.max_failures, progress.failures, progress.done)
                summary = ledger.close(
                    {
                        **progress.as_dict(),
                        "complete": is_complete,
                        "finished": is_complete and is_tolerated,
                        "task_generation": opened.header["task_generation"],
                        "generation": opened.header["generation"],
                        "problems": progress.problems.as_list(),
                        "accounts": {name: _list_counts(counts) for name, counts in progress.of_accounts.items()},
                    }
                )
                self.on_end(progress)
        return summary

    def _judge(self, summary: Mapping[str, Any]) -> None:
        """Raise ``TooManyFailuresError`` where more failed than ``max_failures`` allows."""
        failures = count_failures(summary)
        if not failures:
            return
        message = describe_failures(summary)
        if is_within(self.max_failures, failures, summary["records"]):
            self.log.warning("%s\n(max_failures=%s tolerates it.)", message, self.max_failures)
            return
        if transient := summary["transient_failures"]:
            message += f"\n{transient} of them may pass: a retry sends just those."
        raise TooManyFailuresError(message, transient=bool(transient), summary=summary)

    def _log_completed(self, ledger: Ledger, completed: CompletedRecords) -> None:
        if done := sum(completed.counts.values()):
            are = choose_form(done, "is", "are")
            self.log.info("Going on in %s: %s %s accounted for already", ledger.folder, count(done, "record"), are)
        else:
            self.log.info("The ledger is in %s", ledger.folder)
        if completed.lost_failures:
            self.log.warning(
                "%s failed in earlier tries, and no failures file has them any more: it was emptied or deleted. This"
                " try's lacks them too; the results files have their ids and rows",
                count(completed.lost_failures, "record"),
            )

    def _report(self, progress: Progress) -> None:
        self.on_progress(progress)
        self.log.info("%s", describe_progress(progress))


def _list_counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {outcome: number for outcome, number in show_counts(counts).items() if number}


def _build_source_error(error: ValueError) -> TrutoSchemaError:
    return TrutoSchemaError(f"the source cannot be read: {error}. This try has sent nothing.")
