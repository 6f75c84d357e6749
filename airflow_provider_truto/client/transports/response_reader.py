"""Reading an answer off a connection of requests so that nothing of it is left for the next call.

http.client takes an interim answer such as 103 for the final one, believes lengths that contradict each other, and
drops all headers after one that it cannot read. Each would leave an answer in the connection, where the next call
would take it for its own. So the head is read here, strictly; that also saves the parser of mails that http.client
uses for it, a twentieth of the CPU of a call.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.transports.deadline import find_deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of a line: a header's, or the length of a chunk, for which urllib3 itself has no limit.
_LONGEST_LINE = 65536
_MOST_HEADER_LINES = 100
#: Statuses that no body follows; of a HEAD, urllib3 reads none anyway.
_BODILESS = frozenset({204, 304})
_LENGTH = re.compile("[0-9]{1,40}")
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:([^\0\r\n]*)\r?\n")
#: A line that continues the value of the line before.
_FOLDED = re.compile(rb"[ \t]([^\0\r\n]*)\r?\n")


class ResponseReader(http.client.HTTPResponse):
    """One answer on a socket; what ``http.client`` and urllib3 call a response."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        # All that it wants of a socket is a file to read from.
        super().__init__(SimpleNamespace(makefile=lambda _mode: _Reader(sock)), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head. Raises ``HTTPException`` where what follows it cannot be told for certain.

        Source: RFC 9112, sections 5 and 6.3.
        """
        self._read_status_line()
        self.headers = self.msg = headers = _read_headers(self.fp)
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        encodings, lengths = (headers.get_all(name, []) for name in ("Transfer-Encoding", "Content-Length"))
        is_chunked = [one.lower() for one in encodings] == ["chunked"]
        is_sized = len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0]) is not None
        if not self.will_close:  # else nothing can follow it
            if encodings and not is_chunked:
                raise http.client.HTTPException("an answer in an unknown Transfer-Encoding")
            if lengths and not is_sized:
                raise http.client.HTTPException("an answer without one right Content-Length")
        self.chunked, self.chunk_left, self.length = is_chunked, None, None
        if self.status in _BODILESS:
            self.length = 0
        elif is_sized and not encodings:
            self.length = int(lengths[0])
        elif lengths or not is_chunked:  # who says both is not to be believed twice; who says neither hangs up
            self.will_close = True

    def _read_status_line(self) -> None:
        version, self.status, reason = self._read_status()  # type: ignore[attr-defined]
        while self.status == http.client.CONTINUE:
            _read_headers(self.fp)
            version, self.status, reason = self._read_status()  # type: ignore[attr-defined]
        if self.status < 200:
            raise http.client.HTTPException(f"an interim answer, {self.status}, that is followed by nothing known")
        if not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.version = 10 if version == "HTTP/1.0" else 11
        self.code, self.reason = self.status, reason.strip()


def _read_headers(file: Any) -> http.client.HTTPMessage:
    """Read the headers and the empty line after them. Raises ``HTTPException`` for what is not a header."""
    read: list[tuple[bytes, bytes]] = []
    for line in _read_header_lines(file):
        if (header := _HEADER.fullmatch(line)) is not None:
            read.append((header[1], header[2].strip(b" \t")))
        elif read and (folded := _FOLDED.fullmatch(line)) is not None:
            name, value = read[-1]
            read[-1] = name, value + b" " + folded[1].strip(b" \t")
        else:
            raise http.client.HTTPException("an answer with a header that cannot be read")
    headers = http.client.HTTPMessage()
    for name, value in read:
        headers[name.decode("ascii")] = value.decode("latin-1")
    return headers


def _read_header_lines(file: Any) -> Iterator[bytes]:
    for _ in range(_MOST_HEADER_LINES + 1):
        line = file.readline(_LONGEST_LINE + 1)
        if line in (b"\r\n", b"\n"):
            return
        if len(line) > _LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        if not line.endswith(b"\n"):
            raise http.client.HTTPException("an answer that ends within its headers")
        yield line
    raise http.client.HTTPException(f"an answer with more than {_MOST_HEADER_LINES} lines of headers")


class _Reader(io.BufferedReader):
    """What http.client reads an answer from. A socket that holds more than the answer is of no further use."""

    def __init__(self, sock: socket.socket) -> None:
        self._source = _Source(sock)
        super().__init__(self._source)

    def read(self, *size: int | None) -> bytes:
        """Read so many bytes, or to the end of the connection where no size is given."""
        if size and size[0] is not None and size[0] < 0:  # urllib3 reads "-1" for the length of a chunk
            raise http.client.HTTPException("a chunk of negative length")
        return super().read(*size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line, of a length that a line may have."""
        if size is not None and size >= 0:
            return super().readline(size)
        line = super().readline(_LONGEST_LINE + 1)
        if len(line) > _LONGEST_LINE:
            raise http.client.LineTooLong("chunk")
        return line

    def close(self) -> None:
        """Close the file, and for good the socket in which another answer lies already."""
        if not self.closed:
            self._source.is_at_end = True
            if self.peek(1) or self._source.has_more:
                self._source.hang_up()
        super().close()


class _Source(io.RawIOBase):
    """A socket's own file, read in time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._silence = sock.gettimeout()
        self._deadline = find_deadline()
        self.is_at_end = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Read what comes next; 0 at the end."""
        if self.is_at_end:
            return 0
        self._deadline.limit_timeout(self._sock, self._silence)
        return self._file.readinto(buffer)

    @property
    def has_more(self) -> bool:
        """Whether TLS has unpacked more than was read; the socket itself would not show it."""
        pending = getattr(self._sock, "pending", None)
        return pending is not None and self._sock.fileno() != -1 and pending() > 0

    def hang_up(self) -> None:
        """End the connection, by which its pool sees that it is not to be used again."""
        with contextlib.suppress(OSError):  # it may have ended already
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the file; the socket stays open as long as its connection."""
        self._file.close()
        super().close()
