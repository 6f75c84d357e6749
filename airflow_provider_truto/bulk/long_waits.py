"""Long waits: a call is told to come back much later, and the records of other customers are sent meanwhile.

A call that was put off gives its slot up, waits for its window, and is made again. Where all that are in flight wait
like that, the try may end instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from airflow_provider_truto.bulk.account import Account
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.slots import Slots
from airflow_provider_truto.client.errors import TrutoApiError

T = TypeVar("T")


class LongWaits:
    """Makes calls that may be put off. ``longest`` is how many seconds a try waits where all wait, ``None``: any."""

    def __init__(self, slots: Slots, progress: Progress, *, max_attempts: int, longest: float | None) -> None:
        self._slots = slots
        self._progress = progress
        self._max_attempts = max_attempts
        self._longest = longest

    async def call(self, account: Account, call: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Make a call, again after each long wait; return its result, and the attempts before the last wait.

        Raises what the call raises, with all attempts in the error.
        """
        attempts = 0
        while True:
            try:
                return await call(), attempts
            except TrutoApiError as error:
                error.attempts = attempts = attempts + error.attempts
                if not error.is_put_off or error.retry_after is None or attempts >= self._max_attempts:
                    raise
                seconds = error.retry_after
            await self._wait_for_window(account, seconds)

    def find_too_long(self) -> float | None:
        """Return the seconds until the first may go on, where all in flight wait and a try does not wait so long."""
        seconds = self._slots.find_wait()
        if self._longest is None or seconds is None:
            return None
        return seconds if seconds > self._longest else None

    async def _wait_for_window(self, account: Account, seconds: float) -> None:
        """Wait while other customers go on. Cancelled where all of them wait, and the try ends."""
        account.waits += 1
        try:
            await self._slots.wait_for_window(seconds)
        finally:
            account.waits -= 1
        self._progress.waited += seconds
