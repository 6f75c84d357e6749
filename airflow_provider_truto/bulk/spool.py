"""Records that were read ahead, a queue per account: in memory while they are few, on the worker's disk beyond."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import IO

from airflow_provider_truto.bulk.record import Record

#: Records kept in memory; the others wait in temporary files, of which 40 bytes each are remembered.
_IN_MEMORY = 5_000
_LENGTH_BITS = 28
#: Bytes after which another temporary file is begun; one from which all was taken is deleted.
_FILE_BYTES = 64 * 1024 * 1024


class Spool:
    """Queues of records by integrated account. Nothing of it outlives the process.

    A source that is sorted by customer can be read far ahead, so that every customer's rate is used.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Record | int]] = OrderedDict()
        self._files: dict[int, _File] = {}
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
            item = self._write(record)
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
        """Iterate over the accounts that have records waiting; the one that was served longest ago comes first."""
        return iter(self._queues)

    def close(self) -> None:
        """Throw everything away."""
        self._queues.clear()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, record: Record) -> int:
        """Write a record where the last one ended; return its offset and length."""
        data = pickle.dumps(record, protocol=5)
        if len(data) >= 1 << _LENGTH_BITS:
            raise ValueError(f"row {record.ordinal} is too large")
        number, offset = divmod(self._end, _FILE_BYTES)
        if number not in self._files:
            self._files[number] = _File()
        self._files[number].write(data, offset)
        place = self._end << _LENGTH_BITS | len(data)
        # A record may end beyond its file's share; the next one then begins a file.
        self._end = min(self._end + len(data), (number + 1) * _FILE_BYTES)
        return place

    def _read(self, place: int) -> Record:
        number, offset = divmod(place >> _LENGTH_BITS, _FILE_BYTES)
        file = self._files[number]
        record: Record = pickle.loads(file.read(place & ((1 << _LENGTH_BITS) - 1), offset))  # noqa: S301  (our own)
        if not file.waiting:
            file.close()
            del self._files[number]
            self._end = max(self._end, (number + 1) * _FILE_BYTES)
        return record


class _File:
    """A temporary file, and how many records in it wait to be read."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="truto-bulk-", buffering=0)  # noqa: SIM115  (`close`)
        self.waiting = 0

    def write(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._file.fileno(), data, offset) != len(data):
            raise OSError("the disk for temporary files is full")
        self.waiting += 1

    def read(self, length: int, offset: int) -> bytes:
        self.waiting -= 1
        return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        self._file.close()
