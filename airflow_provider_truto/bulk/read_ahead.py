"""Reading a source ahead of what is sent, in chunks and in a thread: a storage may be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice

from airflow_provider_truto.bulk.record import Record

#: Rows read at a time.
_CHUNK = 500
#: Rows read ahead of the one that was sent last, as long as every slot finds one that may be sent.
READ_AHEAD = 2_000
#: Rows read ahead where a slot finds none among them, since all are of customers who have enough calls in flight, and
#: where calls are paced: the more customers are known, the more of Truto's rate can be used.
MAX_READ_AHEAD = 500_000


class ReadAhead:
    """Puts a source's records into a queue, no more than are needed: what is read far ahead goes through the disk.

    ``resolve`` names the accounts of records, ``put`` takes one, ``waiting`` says how many wait in the queue,
    ``on_chunk`` is called where there are more. ``error`` is what broke the source off: what was read before is done
    first.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[Sequence[Record]], Awaitable[Sequence[Record]]],
        put: Callable[[Record], None],
        waiting: Callable[[], int],
        on_chunk: Callable[[], None],
        is_paced: bool,
    ) -> None:
        self._resolve = resolve
        self._put = put
        self._waiting = waiting
        self._on_chunk = on_chunk
        self._limit = MAX_READ_AHEAD if is_paced else READ_AHEAD
        self._may_go_on = asyncio.Event()
        self.is_done = False
        self.error: Exception | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no more records come before some are taken out of the queue."""
        return self.is_done or self._waiting() >= MAX_READ_AHEAD

    async def read(self, *parts: Iterator[Record]) -> None:
        """Read the source, and then its further parts, each when those before are resolved. Raises nothing."""
        try:
            for records in parts:
                while self.error is None:
                    chunk, self.error = await asyncio.to_thread(read_chunk, records)
                    if not chunk:
                        break
                    for record in await self._resolve(chunk):
                        self._put(record)
                    self._on_chunk()
                    if self._waiting() >= self._limit:
                        self._may_go_on.clear()
                        await self._may_go_on.wait()
                if self.error is not None:
                    break
        except Exception as error:
            self.error = error
        finally:
            self.is_done = True
            self._on_chunk()

    def on_taken(self) -> None:
        """Go on reading where there is room: records may have been taken out of the queue."""
        if self._waiting() < self._limit:
            self._may_go_on.set()

    def on_starved(self) -> None:
        """Read another chunk, since a slot found no record that may be sent."""
        if self._waiting() < MAX_READ_AHEAD:
            self._may_go_on.set()


def read_chunk(records: Iterator[Record]) -> tuple[list[Record], Exception | None]:
    """Read some rows; where the source breaks off, return the error beside those that came before it."""
    rows: list[Record] = []
    try:
        for record in islice(records, _CHUNK):
            rows.append(record)  # noqa: PERF402  (what came before an error must be kept)
    except Exception as error:
        return rows, error
    return rows, None
