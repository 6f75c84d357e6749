"""That a run goes on from the latest state, as a file beside it: of two runs at once, one wins.

    <state_path>/claim-<hash of the ledger's folder>.json

Its run renews it while it lives, and removes it when its ledger is folded into the state. What a run leaves that was
killed, or that waits for its retry, tells the next one which ledger to fold first.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.bulk.errors import LiveTryError, StateError
from airflow_provider_truto.bulk.ledger_files import is_flag, is_text, parse_checked
from airflow_provider_truto.bulk.storage import refresh, write_whole

#: Seconds for which a claim holds that is not renewed, and between two renewals.
HELD_SECONDS = 300.0
RENEWED_SECONDS = 30.0
#: How often a run asks again where two have begun in the same moment.
_ATTEMPTS = 4
_SHAPE = {
    "ledger": (True, is_text),
    "run_id": (True, is_text),
    "is_begun": (True, is_flag),
    "held_until": (True, lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
}
_WAY_OUT = (
    "Delete it, and clear the task with on_clear='restart', so that every record is sent once more: what the run that"
    " wrote it has sent is not known"
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a run has left: its ledger, whether it may have sent anything, and until when nobody else may go on."""

    path: Any
    ledger: str
    run_id: str
    is_begun: bool
    held_until: float


class Claims:
    """The claims in a state's folder, as a run sees them whose ledger is in another folder."""

    def __init__(
        self,
        folder: Any,
        *,
        ledger: Any,
        run_id: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._ledger = str(ledger)
        self._run_id = run_id
        self._clock = clock
        self._sleep = sleep
        self._path = folder / f"claim-{hashlib.sha256(self._ledger.encode()).hexdigest()[:32]}.json"
        self._is_begun = False
        self._renewed = 0.0

    def take(self) -> list[Claim]:
        """Claim the state for this run; return what other runs have left that do not live any more.

        Raises ``LiveTryError`` where one does, and ``StateError`` for a file that is not a claim.
        """
        own = self._read_own()
        self._is_begun = own is not None and own.is_begun
        attempts = 0
        while True:
            self._write(HELD_SECONDS)
            others = self._list_others()  # of two that have both written theirs, each sees the other's
            living = next((claim for claim in others if claim.held_until > self._clock()), None)
            if living is None:
                return others
            self._withdraw()
            attempts += 1
            if living.is_begun or attempts == _ATTEMPTS:
                break
            self._sleep(random.random())  # noqa: S311  (not a secret)
        raise LiveTryError(
            f"bulk not finished: the run {living.run_id!r} of this task lives, and goes on from the same state in"
            f" {self._folder}; this one has sent nothing. A retry goes on when that one has ended, or"
            f" {HELD_SECONDS:.0f} s after its worker was lost. With max_active_runs=1, or max_active_tis_per_dag=1"
            " for this task, runs wait for each other"
        )

    def begin(self) -> None:
        """Note that from now on records may be sent."""
        self._is_begun = True
        self._write(HELD_SECONDS)

    def take_renewal(self) -> list[Callable[[], None]]:
        """Return what is to be written now, if anything, to be called outside of the event loop."""
        return [self._renew] if self._clock() - self._renewed >= RENEWED_SECONDS else []

    def leave(self, *, for_seconds: float) -> None:
        """Note that this run has ended without folding its ledger; ``for_seconds`` nobody else may go on."""
        if self._is_begun:
            self._write(for_seconds)
        else:
            self._withdraw()

    def drop(self, claim: Claim | None = None) -> None:
        """Remove a claim whose ledger is in the state, this run's own if none is named."""
        with suppress(FileNotFoundError):
            (self._path if claim is None else claim.path).unlink()

    def _renew(self) -> None:
        """Renew the claim. Raises ``LiveTryError`` where another run has taken over meanwhile."""
        if self._read_own() is None:
            raise LiveTryError(
                f"bulk not finished: another run has gone on from the state in {self._folder}, since this one had not"
                f" renewed its claim for more than {HELD_SECONDS:.0f} s: was its worker frozen? It stops here"
            )
        self._write(HELD_SECONDS)

    def _write(self, for_seconds: float) -> None:
        self._renewed = self._clock()
        content = {
            "ledger": self._ledger,
            "run_id": self._run_id,
            "is_begun": self._is_begun,
            "held_until": self._renewed + for_seconds,
        }
        write_whole(self._path, [json.dumps(content).encode()])

    def _withdraw(self) -> None:
        """Take back a claim that was not granted; that of an earlier try, which has sent something, stays."""
        if self._is_begun:
            self._write(0.0)
        else:
            self.drop()

    def _list_others(self) -> list[Claim]:
        paths = [path for path in refresh(self._folder).iterdir() if path.name.startswith("claim-")]
        found = [_read(path) for path in sorted(paths, key=lambda path: path.name) if path.name != self._path.name]
        return [claim for claim in found if claim is not None]

    def _read_own(self) -> Claim | None:
        return _read(self._path)


def _read(path: Any) -> Claim | None:
    """Read a claim, ``None`` where it is gone. Raises ``StateError``."""
    if path.name.endswith(".part"):
        return None  # half of one, left by a worker that was killed
    try:
        data = refresh(path).read_bytes()
    except FileNotFoundError:
        return None
    content = parse_checked(
        path, data, _SHAPE, otherwise="is not the claim of a run", way_out=_WAY_OUT, raises=StateError
    )
    return Claim(path=path, **{name: content[name] for name in _SHAPE})
