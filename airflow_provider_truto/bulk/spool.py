"""Records that were read ahead, a queue an account: in memory while they are few, on the worker's disk beyond."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import IO

from airflow_provider_truto.bulk.records import Record

#: Records kept in memory; the others wait in a temporary file, of which 40 bytes each are remembered.
_IN_MEMORY = 5_000
_LENGTH_BITS = 28


class Spool:
    """Queues of records by integrated account. Nothing of it outlives the process.

    A source that is sorted by customer can be read far ahead, so that every customer's rate is used.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Record | int]] = OrderedDict()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._in_memory = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def account_count(self) -> int:
        """How many accounts have records waiting."""
        return len(self._queues)

    def put(self, account: str, record: Record) -> None:
        """Append a record to its account's queue."""
        item: Record | int = record
        if self._in_memory >= _IN_MEMORY:
            item = self._written(record)
        else:
            self._in_memory += 1
        self._queues.setdefault(account, deque()).append(item)
        self._size += 1

    def take(self, account: str) -> Record | None:
        """Take the first record of an account's queue; the account goes to the end of the line."""
        queue = self._queues.get(account)
        if queue is None:
            return None
        item = queue.popleft()
        self._size -= 1
        if queue:
            self._queues.move_to_end(account)
        else:
            del self._queues[account]
        if isinstance(item, Record):
            self._in_memory -= 1
            return item
        return self._read(item)

    def __iter__(self) -> Iterator[str]:
        """Give the accounts that have records waiting; the one that was served longest ago comes first."""
        return iter(self._queues)

    def close(self) -> None:
        """Throw everything away."""
        self._queues.clear()
        if self._file is not None:
            self._file.close()

    def _written(self, record: Record) -> int:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="truto-bulk-")  # noqa: SIM115  (until `close`)
        data = pickle.dumps(record, protocol=5)
        if len(data) >= 1 << _LENGTH_BITS:
            raise ValueError(f"row {record.ordinal} is too large")
        self._file.seek(self._end)
        self._file.write(data)
        self._file.flush()
        place = self._end << _LENGTH_BITS | len(data)
        self._end += len(data)
        return place

    def _read(self, place: int) -> Record:
        assert self._file is not None
        data = os.pread(self._file.fileno(), place & ((1 << _LENGTH_BITS) - 1), place >> _LENGTH_BITS)
        record: Record = pickle.loads(data)  # noqa: S301  (written above, into a file that has no name)
        return record
