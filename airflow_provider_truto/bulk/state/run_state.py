"""The state during one try of a bulk: claimed, compared with, and brought forward at the end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import islice
from logging import Logger
from typing import Any, Literal

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import StateError, TooManyRemovedError
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.ledger_files import list_ledger_files, locate_task_folder
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.report import is_within
from airflow_provider_truto.bulk.state.changes import ChangeFilter
from airflow_provider_truto.bulk.state.claims import Claim, Claims
from airflow_provider_truto.bulk.state.database import KnownRecord, StateDatabase
from airflow_provider_truto.bulk.state.fold import fold_ledger
from airflow_provider_truto.bulk.state.store import StateStore
from airflow_provider_truto.bulk.storage import refresh
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.plurals import count

OnRemoved = Literal["ignore", "report", "clear_fields", "delete"]
#: Records that a message names.
_MOST_NAMED = 5
#: How long a deferred run holds its claim beyond the wait: a worker has to be found for it.
_SLACK_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class StateOptions:
    """What a task wants of its state: where it is, and what it is used for; see the operators.

    ``max_removed`` is a number, a share below 1, or ``None`` for any. ``is_only_kept``: every record is sent, and a
    state is brought forward if there is one, so that a later run does not take for confirmed what was before this.
    """

    folder: Any
    is_only_kept: bool = False
    full_every: timedelta | None = None
    on_removed: OnRemoved = "ignore"
    max_removed: float | None = 0.01

    def at(self, server: str) -> StateOptions:
        """Return the options of the state that a server has."""
        return replace(self, folder=locate_task_folder(self.folder, server))


class RunState:
    """The state in one try.

    ``take`` → ``make_filter`` for what is read → ``begin`` → (send) → ``finish`` → ``leave``, in any case.
    Raises ``StateError`` where the state cannot be read or is not the one that this run began with, ``LiveTryError``
    where another run goes on from it, and ``LedgerError`` for a ledger that cannot be read.
    """

    def __init__(
        self, options: StateOptions, *, ledger: Ledger, run_id: str, log: Logger, now: datetime | None = None
    ) -> None:
        self._options = options
        self._ledger = ledger
        self._store = StateStore(options.folder)
        self._claims = Claims(options.folder, ledger=ledger.folder, run_id=run_id)
        self._log = log
        self._now = now or datetime.now(timezone.utc)
        self._base: Any = None
        self._base_copy: str | None = None
        self._database: StateDatabase | None = None
        self._files: list[str] = []
        self._filter: ChangeFilter | None = None
        self._is_full = False
        self._is_given_up = False
        self._has_told_removed = False

    @property
    def is_full(self) -> bool:
        """Whether every record is sent, whatever the state says."""
        return self._is_full

    def take(
        self, begun_with: Mapping[str, Any] | None, *, is_restarted: bool, expects_full: bool | None = None
    ) -> dict[str, Any]:
        """Claim the state, and return what the ledger's header says of it; ``begun_with`` is an earlier one.

        ``is_restarted``: every record is to be written again. ``expects_full``: an expected plan says whether it
        is, so that neither this nor ``full_every`` does. What killed runs have confirmed is added first.
        """
        is_known = True
        for claim in self._claims.take():
            is_known &= self._take_over(claim)
        if begun_with is not None and begun_with.get("state"):
            self._resume(begun_with["state"])
        else:
            self._base = self._store.find_latest()
            self._open()
            is_due = (is_restarted or self._is_full_due()) if expects_full is None else expects_full
            is_due |= self._options.is_only_kept
            self._is_full = self._database is None or not is_known or is_due
        return {"file": None if self._base is None else self._base.name, "full": self._is_full}

    def make_filter(
        self, find_account: Callable[[Record], str], *, plan: Plan, completed: CompletedRecords, sends: bool
    ) -> ChangeFilter:
        """Make what marks unchanged records, for one reading of the source; ``sends``: they are written then."""
        made = ChangeFilter(
            self._database,
            plan,
            is_full=self._is_full,
            completed=completed,
            find_account=find_account,
            write_pending=self._write_pending if sends else None,
            notes_seen=self._options.on_removed != "ignore",
            notes_fields=self._options.on_removed == "clear_fields",
        )
        self._filter = made
        return made

    def begin(self) -> None:
        """Note that records may be sent from now on."""
        self._claims.begin()
        known = 0 if self._database is None else len(self._database)
        self._log.info(
            "%s",
            f"The state in {self._options.folder} knows {count(known, 'record')}"
            + ("; this run sends every record" if self._is_full and known else ""),
        )

    def take_renewal(self) -> list[Callable[[], None]]:
        """Return what keeps the claim, to be called outside of the event loop."""
        return self._claims.take_renewal()

    def list_removed(self, *, first_ordinal: Callable[[], int]) -> Iterator[Record]:
        """Yield what is to be done about records that have left the source, after all of it was read.

        Nothing, where rows could not be read, or this is the first run. Raises ``TooManyRemovedError``.
        """
        database, on_removed = self._database, self._options.on_removed
        if database is None or on_removed == "ignore":
            return
        with_reported = on_removed != "report"  # each is reported once
        if not (count := database.count_unseen(with_reported=with_reported)):
            return
        if self._filter is not None and (unknown := self._filter.unknown_rows):
            self._log.warning(
                "%d records of the state are not in the source, and %d rows of it do not say which record they are:"
                " nothing is taken for removed (on_removed=%r)",
                count,
                unknown,
                on_removed,
            )
            return
        known = len(database)
        first = islice(database.list_unseen(with_reported=with_reported), _MOST_NAMED)
        named = ", ".join(f"{one.id} of {one.integrated_account_id}" for one in first)
        if not is_within(self._options.max_removed, count, known):
            raise TooManyRemovedError(
                f"{count} of {known} records that earlier runs have written are not in the source any more (first:"
                f" {named}), and max_removed={self._options.max_removed} allows fewer: is the source whole? None of"
                f" them was touched (on_removed={on_removed!r}). If they have left it, set max_removed higher, and"
                " clear the task"
            )
        if not self._has_told_removed:
            self._has_told_removed = True
            self._log.warning(
                "%d of %d records that earlier runs have written are not in the source any more (on_removed=%r); the"
                " first: %s",
                count,
                known,
                on_removed,
                named,
            )
        for ordinal, record in enumerate(database.list_unseen(with_reported=with_reported), first_ordinal()):
            yield _make_removed(record, ordinal, on_removed)

    def finish(self) -> None:
        """Write the next generation, with what this run's ledger says, and give up the claim."""
        self._fold(self._base, self._ledger.folder, is_full=self._is_full)
        self._claims.drop()
        self._is_given_up = True

    def leave(self, *, for_seconds: float = 0.0) -> None:
        """End; where the state was not brought forward, the next try or run does that.

        ``for_seconds`` no other run may go on, since this one is deferred.
        """
        if not self._is_given_up:
            self._claims.leave(for_seconds=for_seconds + _SLACK_SECONDS if for_seconds else 0.0)
        self._close()

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        for path in list(self._files):
            self._remove(path)

    def _resume(self, stored: Mapping[str, Any]) -> None:
        """Go on from the generation that this run began with. Raises ``StateError`` where another run came after."""
        self._is_full = stored["full"]
        latest = self._store.find_latest()
        if (None if latest is None else latest.name) != stored["file"]:
            with self._open_generation(latest) as database:
                is_own = database is not None and database.get_fact("ledger") == str(self._ledger.folder)
            if not is_own:
                raise StateError(
                    f"another run has written since this one began, from the state in {self._options.folder}: what is"
                    " left of this one is older, and would overwrite it. This try has sent nothing. Mark it as done;"
                    " or clear it with on_clear='restart': every record is then written again, in a new ledger"
                )
        self._base = None if stored["file"] is None else self._store.folder / stored["file"]
        self._open()

    def _take_over(self, claim: Claim) -> bool:
        """Add what a run has confirmed that does not live any more; false where that is not known."""
        ledger = type(self._ledger.folder)(claim.ledger)
        latest = self._store.find_latest()
        is_known = True
        if claim.is_begun:
            with self._open_generation(latest) as database:
                is_new = database is None or (
                    database.get_fact("ledger") == claim.ledger or not database.has_ledger(claim.ledger)
                )
            if is_new and not list_ledger_files(ledger, "header"):
                is_known = False
                self._log.warning(
                    "The run %r did not end, and its ledger %s is gone: what it has written is not known, so that"
                    " this run sends every record",
                    claim.run_id,
                    claim.ledger,
                )
            elif is_new:
                self._log.info(
                    "Adding what the run %r has written, which did not end: %s", claim.run_id, claim.ledger
                )
                self._fold(latest, ledger, is_full=False)
        self._claims.drop(claim)
        return is_known

    def _fold(self, base: Any, ledger: Any, *, is_full: bool) -> None:
        """Write the generation that follows ``base``, unless it would be the same."""
        path = self._fetch(base)
        database = StateDatabase.create(path) if base is None else StateDatabase.open(path, is_read_only=False)
        try:
            is_other = fold_ledger(database, ledger) or is_full
            if is_full:
                database.set_fact("full_at", self._now.isoformat())
        finally:
            database.close()
        if is_other:
            self._store.save(path, keep=base)
        self._remove(path)

    def _is_full_due(self) -> bool:
        """Whether this run sends every record, as one per ``full_every`` does."""
        if self._database is None:
            return True
        full_at, every = self._database.full_at, self._options.full_every
        return every is not None and (full_at is None or self._now - full_at >= every)

    def _open(self) -> None:
        if self._base is not None:
            self._base_copy = self._fetch(self._base)
            self._database = StateDatabase.open(self._base_copy, is_read_only=True)

    @contextmanager
    def _open_generation(self, generation: Any) -> Iterator[StateDatabase | None]:
        if generation is None:
            yield None
            return
        path = self._fetch(generation)
        database = StateDatabase.open(path, is_read_only=True)
        try:
            yield database
        finally:
            database.close()
            self._remove(path)

    async def _write_pending(self, records: Sequence[tuple[int, int]]) -> None:
        for write in self._ledger.add_pending(records):
            await asyncio.to_thread(write)

    def _fetch(self, generation: Any) -> str:
        """Copy a generation to a temporary file, which is empty for ``None``; the base comes from afar once."""
        descriptor, path = tempfile.mkstemp(prefix="truto-state-", suffix=".sqlite")
        os.close(descriptor)
        self._files.append(path)
        if generation is not None and generation == self._base and self._base_copy is not None:
            shutil.copyfile(self._base_copy, path)
        elif generation is not None:
            self._store.copy(generation, path)
        return path

    def _remove(self, path: str) -> None:
        self._files.remove(path)
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  (a temporary file)


def is_there(options: StateOptions) -> bool:
    """Whether earlier runs have left a state, or the claim of a ledger that is to be added to one."""
    folder = refresh(options.folder)
    return folder.exists() and any(path.name.startswith(("state-", "claim-")) for path in folder.iterdir())


def choose_filter(
    state: RunState | None, plan: Plan, completed: CompletedRecords, *, sends: bool
) -> Callable[[Callable[[Record], str]], ChangeFilter] | None:
    """Return what makes the filter of unchanged records, if the job has a state; see ``RunState.make_filter``."""
    return None if state is None else partial(state.make_filter, plan=plan, completed=completed, sends=sends)


def _make_removed(known: KnownRecord, ordinal: int, on_removed: OnRemoved) -> Record:
    """Make the record that says what is to be done about one that has left the source."""
    record = Record(
        ordinal=ordinal,
        id=known.id,
        integrated_account_id=known.integrated_account_id,
        on_removed=on_removed,
        key=known.key,
        place="not in the source any more",
    )
    if on_removed == "report":
        return record.replace(left_out="is not in the source any more; it stays as it is (on_removed='report')")
    if on_removed == "delete":
        return record
    if known.fields is None:
        message = (
            "is not in the source any more, and which fields it was given is not known: it was written before"
            " on_removed='clear_fields' was set. Clear them by hand"
        )
        return record.replace(problems=(Problem("/", message),))
    return record.replace(body=json.loads(known.fields), nulls_are_meant=True)
