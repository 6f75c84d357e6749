"""Reading an answer off a connection of requests so that nothing of it is left for the next request.

http.client takes an interim answer such as 103 for the final one, believes lengths that contradict each other, and
drops all headers after one that it cannot read. Each would leave an answer in the connection, where the next request
would take it for its own. So the head is read here; that also saves the parser of mails that http.client uses for it,
a twentieth of the CPU of a request. Chunks are read by urllib3.

Source: RFC 9112, sections 4, 5, 6 and 9.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.transports.base import LONGEST_LINE, MOST_HEADER_LINES
from airflow_provider_truto.client.transports.deadline import find_deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Interim answers before the final one; http.client knows 100 only, and takes any number of it.
_MOST_INTERIM = 100
_SWITCHING_PROTOCOLS = 101
#: Statuses that no body follows; of a HEAD, urllib3 reads none anyway.
_BODILESS = frozenset({204, 304})
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([0-9]{3})(?: ([^\0\r\n]*))?\r?\n")
_LENGTH = re.compile("[0-9]{1,40}")
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:([^\0\r\n]*)\r?\n")
#: A line that continues the value of the line before.
_FOLDED = re.compile(rb"[ \t]([^\0\r\n]*)\r?\n")


class ResponseReader(http.client.HTTPResponse):
    """One answer on a socket; what ``http.client`` and urllib3 call a response."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        # All that it wants of a socket is a file to read from.
        super().__init__(SimpleNamespace(makefile=lambda _mode: _Reader(sock)), *args, **kwargs)  # type: ignore[arg-type]
        self._is_last = not _is_python_s(sock)

    def begin(self) -> None:
        """Read the head. Raises ``HTTPException`` where what follows it cannot be told for certain."""
        self._read_final_status()
        self.headers = self.msg = headers = _read_headers(self.fp)
        encodings, lengths = (headers.get_all(name, []) for name in ("Transfer-Encoding", "Content-Length"))
        is_chunked = [one.lower() for one in encodings] == ["chunked"]
        is_sized = len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0]) is not None
        self.will_close = self._is_last or self._ends_connection()
        if not self.will_close:  # else nothing can follow it
            if encodings and not is_chunked:
                raise http.client.HTTPException("an answer in an unknown Transfer-Encoding")
            if lengths and not is_sized:
                raise http.client.HTTPException("an answer whose Content-Length is not one number")
        self.chunked, self.chunk_left, self.length = is_chunked, None, None
        if self.status in _BODILESS:
            del headers["Transfer-Encoding"]  # urllib3 would wait for chunks
            self.chunked, self.length = False, 0
        elif is_sized and not encodings:
            self.length = int(lengths[0])
        elif lengths or not is_chunked:
            # A length beside chunks may be smuggled: the chunks count, and nothing that follows them is read. With
            # neither, the body ends with the connection.
            self.will_close = True

    def _read_final_status(self) -> None:
        """Read the status line, after that of any interim answers."""
        for _ in range(_MOST_INTERIM):
            line = self.fp.readline(LONGEST_LINE + 1)
            if not line:
                raise http.client.RemoteDisconnected("Remote end closed connection without response")
            if (found := _STATUS_LINE.fullmatch(line)) is None:
                raise http.client.BadStatusLine(line.decode("latin-1"))
            self.version, self.status = (10 if found[1] == b"0" else 11), int(found[2])
            self.code, self.reason = self.status, (found[3] or b"").strip().decode("latin-1")
            if self.status >= 200:
                return
            if self.status < 100 or self.status == _SWITCHING_PROTOCOLS:
                raise http.client.HTTPException(f"HTTP {self.status}, which nobody asked for")
            _read_headers(self.fp)
        raise http.client.HTTPException(f"more than {_MOST_INTERIM} interim answers")

    def _ends_connection(self) -> bool:
        lines = self.headers.get_all("Connection", [])
        options = {option.strip().lower() for line in lines for option in line.split(",")}
        if self.version == 10:  # as http.client writes 1.0
            return "keep-alive" not in options or "Transfer-Encoding" in self.headers
        return "close" in options


def _is_python_s(sock: Any) -> bool:
    """Whether a socket is one of Python's; urllib3's, for TLS within TLS, does not tell what it has unpacked."""
    return isinstance(sock, socket.socket)


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
    for _ in range(MOST_HEADER_LINES + 1):
        line = file.readline(LONGEST_LINE + 1)
        if line in (b"\r\n", b"\n"):
            return
        if len(line) > LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        if not line.endswith(b"\n"):
            raise http.client.HTTPException("an answer that ends within its headers")
        yield line
    raise http.client.HTTPException(f"an answer with more than {MOST_HEADER_LINES} lines of headers")


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
        line = super().readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
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
        if _is_python_s(self._sock):  # else it is closed after each answer
            with contextlib.suppress(OSError):  # it may have ended already
                self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the file; the socket stays open as long as its connection."""
        self._file.close()
        super().close()
