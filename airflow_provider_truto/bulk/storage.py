"""Files on any storage, through what every storage has.

A file of fsspec cannot do all that Python's own files can: the ``readline`` of its ``AbstractBufferedFile``,
from which the files of S3, Google's and Azure's storage derive, takes no size and reads a whole block for each line,
and those of Airflow 2.11's paths cannot be iterated. Its file systems remember what they have listed, so that a
process never sees what another one writes into a folder that it has looked at.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Protocols of this machine's own disk.
LOCAL = frozenset({"", "file", "local"})
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


def is_local(path: Any) -> bool:
    """Whether a path is on this machine's own disk."""
    return getattr(path, "protocol", "") in LOCAL


def write_whole(target: Any, chunks: Iterable[bytes]) -> int:
    """Write the chunks beside a path and move them there at the end; return the number of bytes.

    What is there already is replaced. A local file gets mode 0600: it holds customers' data. What breaks off leaves
    no file behind.
    """
    is_on_disk = is_local(target)
    part = target.parent / f"{uuid4().hex}.part"  # beside a name that may be as long as a disk takes
    size = 0
    if is_on_disk:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if is_on_disk:
            os.close(os.open(part.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with part.open("wb") as file:
            for chunk in chunks:
                size += file.write(chunk)
        if is_on_disk:
            sync_file(part.path)
            Path(part.path).replace(target.path)
            sync_folder(target.parent.path)
        else:
            part.fs.mv(part.path, target.path)
    except BaseException:
        if refresh(part).exists():
            part.unlink()
        raise
    return size


def sync_file(name: str) -> None:
    """Flush a local file to the disk, so that it survives a loss of power. Raises ``OSError``."""
    descriptor = os.open(name, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(name: str) -> None:
    """Flush the names in a local folder to the disk, so that they survive a loss of power."""
    with suppress(OSError):  # some file systems of other machines cannot, and keep names by themselves
        sync_file(name)


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
