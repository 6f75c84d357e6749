"""What a bulk does regularly beside sending: it writes full parts of the ledger, measures its rate, and reports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from airflow_provider_truto.bulk.progress import Progress, RateMeter

#: Seconds between two checks of the time, the order to stop, and the parts of the ledger.
_SECONDS = 0.5
#: Seconds between two reports; they grow to the second number within an hour, since a bulk may take days.
_REPORT_SECONDS = 5.0
_LONGEST_REPORT_SECONDS = 60.0


class Housekeeper:
    """Does it until ``end``. ``take_writes`` returns what is to be written, outside of the event loop.

    ``on_turn`` is called with each turn, ``report`` every few seconds; ``measure`` brings the progress up to date.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        take_writes: Callable[[], list[Callable[[], None]]],
        on_turn: Callable[[], None],
        measure: Callable[[], None],
        report: Callable[[Progress], None],
    ) -> None:
        self._progress = progress
        self._take_writes = take_writes
        self._on_turn = on_turn
        self._measure = measure
        self._report = report
        self._is_over = asyncio.Event()

    def end(self) -> None:
        """Have the loop end. It is not cancelled: it may have taken over rows that are written nowhere yet."""
        self._is_over.set()

    async def run(self) -> None:
        """Do it turn by turn. Raises what writing and reporting raise."""
        began = reported = time.monotonic()
        rate = RateMeter(began, self._progress.done)
        while not self._is_over.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), _SECONDS)
            self._on_turn()
            for write in self._take_writes():
                await asyncio.to_thread(write)
            now = time.monotonic()
            self._progress.rate = rate.measure(now, self._progress.done)
            if now - reported >= min(_LONGEST_REPORT_SECONDS, max(_REPORT_SECONDS, (now - began) / 60)):
                reported = now
                self._measure()
                self._report(self._progress)
