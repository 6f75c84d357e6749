"""Files on any storage, through what every storage has.

What fsspec gives for a file is not all that Python's own files are: the ``readline`` of its ``AbstractBufferedFile``,
from which the files of S3, Google's and Azure's storage derive, takes no size and reads a whole block for each line,
and those of Airflow 2.11's paths cannot be iterated. Its file systems remember what they have listed, so that a
process never sees what another one writes into a folder that it has looked at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Read at a time; a storage reads ahead by itself.
_BLOCK = 256 * 1024


@contextmanager
def open_buffered(path: Any) -> Iterator[io.BufferedReader]:
    """Open a file for reading, as one of Python's own."""
    with path.open("rb") as file:
        yield to_buffered(file)


def to_buffered(file: Any) -> io.BufferedReader:
    """Return an open file as one of Python's own."""
    return io.BufferedReader(_Blocks(file), _BLOCK)


def refresh(path: Any) -> Any:
    """Return the path after its storage has forgotten what it remembers of it: another process may have written."""
    if hasattr(path, "fs"):
        path.fs.invalidate_cache(path.path)
    return path


class _Blocks(io.RawIOBase):
    """A file of which only ``read`` and ``seek`` are used."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer).cast("B") as view:
            data: bytes = self._file.read(len(view))
            view[: len(data)] = data
            return len(data)
