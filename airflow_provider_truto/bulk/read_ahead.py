"""Reading a source ahead of what is sent, in chunks and in a thread: a storage may be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

from airflow_provider_truto.bulk.record import Record

#: Rows read at a time.
_CHUNK = 500
#: Rows read ahead of the one that was sent last.
READ_AHEAD = 500_000


class ReadAhead:
    """Puts a source's records into a queue, no more than ``READ_AHEAD`` at once.

    ``put`` takes a record, ``waiting`` says how many wait in the queue, ``on_chunk`` is called where there are more.
    ``error`` is what broke the source off: what was read before is done first.
    """

    def __init__(
        self, *, put: Callable[[Record], None], waiting: Callable[[], int], on_chunk: Callable[[], None]
    ) -> None:
        self._put = put
        self._waiting = waiting
        self._on_chunk = on_chunk
        self._has_room = asyncio.Event()
        self.is_done = False
        self.error: Exception | None = None

    async def read(self, records: Iterator[Record]) -> None:
        """Read the source to its end. Raises nothing."""
        try:
            while self.error is None:
                chunk, self.error = await asyncio.to_thread(read_chunk, records)
                if not chunk:
                    break
                for record in chunk:
                    self._put(record)
                self._on_chunk()
                while self._waiting() >= READ_AHEAD:
                    self._has_room.clear()
                    await self._has_room.wait()
        except Exception as error:
            self.error = error
        finally:
            self.is_done = True
            self._on_chunk()

    def on_taken(self) -> None:
        """Go on reading where there is room: records may have been taken out of the queue."""
        if self._waiting() < READ_AHEAD:
            self._has_room.set()


def read_chunk(records: Iterator[Record]) -> tuple[list[Record], Exception | None]:
    """Read some rows; where the source breaks off, return the error beside those that came before it."""
    rows: list[Record] = []
    try:
        for record in islice(records, _CHUNK):
            rows.append(record)  # noqa: PERF402  (what came before an error must be kept)
    except Exception as error:
        return rows, error
    return rows, None
