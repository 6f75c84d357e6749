"""The slots of a bulk: the calls that are in flight, and those of them that wait.

A slot is the permission for one record to be sent; there are ``concurrency`` of them. A record that waits before its
next attempt does not hold one. One that was told to wait for long waits for its *window*.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

#: At most this many records wait before their next attempt without holding a slot; further ones keep theirs.
_MAX_IN_BACKOFF = 1_000
#: Seconds that calls in flight may still take when the try ends early. Airflow's supervisor kills after five.
GRACE_SECONDS = 3.0


class Slots:
    """Runs the calls. ``on_free`` is called where a slot has become free, ``on_error`` with what ends the try."""

    def __init__(
        self, concurrency: int, *, on_free: Callable[[], None], on_error: Callable[[BaseException], None]
    ) -> None:
        self._concurrency = concurrency
        self._on_free = on_free
        self._on_error = on_error
        self._running: set[asyncio.Task[None]] = set()
        self._in_backoff = 0
        #: When those of the running that were told to wait for long may go on.
        self._windows: dict[asyncio.Task[None], float] = {}

    def __len__(self) -> int:
        """Return how many calls are in flight, those that wait as well."""
        return len(self._running)

    @property
    def is_free(self) -> bool:
        """Whether another record may start."""
        return len(self._running) - self._in_backoff < self._concurrency

    def start(self, call: Coroutine[None, None, None]) -> None:
        """Begin a call in a slot of its own."""
        task = asyncio.create_task(call)
        self._running.add(task)
        task.add_done_callback(self._on_done)

    def leave(self) -> None:
        """Give up the slot of the current call, which has nothing more to wait for."""
        if (task := asyncio.current_task()) is not None:
            self._running.discard(task)

    @contextmanager
    def release(self) -> Iterator[None]:
        """Free the slot while a record waits before its next attempt: others may succeed meanwhile."""
        if self._in_backoff >= _MAX_IN_BACKOFF:
            yield
            return
        self._in_backoff += 1
        self._on_free()
        try:
            yield
        finally:
            self._in_backoff -= 1

    async def wait_for_window(self, seconds: float) -> None:
        """Have the current call wait for long, without a slot. Cancelled where the try ends before."""
        task = asyncio.current_task()
        assert task is not None
        self._windows[task] = time.monotonic() + seconds
        self._on_free()
        try:
            with self.release():
                await asyncio.sleep(seconds + random.random())  # noqa: S311  (not a secret; many were told the same)
        finally:
            del self._windows[task]

    def find_wait(self) -> float | None:
        """Return the seconds until the first may go on, where all that are in flight wait for long."""
        if not self._windows or len(self._windows) < len(self._running):
            return None
        return min(self._windows.values()) - time.monotonic()

    async def drain(self) -> None:
        """Wait for the calls in flight when the try ends early; cancel those that wait or take too long."""
        for task in self._windows:
            task.cancel()
        while self._running:
            _, left = await asyncio.wait(self._running, timeout=GRACE_SECONDS)
            for task in left:
                task.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)
        if self.is_free:
            self._on_free()
