"""Connections of requests that keep to an attempt's deadline, and never give one call's bytes to the next.

A socket's timeout is for one silence: a server that sends a byte a second outlasts it. Here every wait on a socket
(connecting, a proxy's CONNECT, TLS, sending, each piece of an answer) is given what is left of the attempt at most.

http.client takes an interim answer such as 103 for the final one, and believes lengths that contradict each other.
Either would leave an answer in the connection, where the next call would take it for its own.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import socket
import threading
import time
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import ConnectionPool, HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

#: Bytes of a line: a header's, or the length of a chunk, for which urllib3 itself has no limit.
_LONGEST_LINE = 65536
#: Who connects, sends or reads in this thread finds its deadline here: urllib3 has no way to hand it down.
_here = threading.local()


class Deadline:
    """When an attempt has to be over; a context manager, in which connections of this thread keep to it.

    ``seconds`` from now. Raises ``TimeoutError`` where something would begin to wait after it.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._at

    def get_remaining(self) -> float:
        """Return the seconds that are left."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the attempt's deadline has passed")
        return left

    def remove(self) -> None:
        """Remove the deadline: what is read from now on may take longer."""
        self._at = math.inf

    def limit_timeout(self, sock: socket.socket, silence: float | None) -> None:
        """Set the timeout of the next wait on a socket: ``silence``, but no more than is left of the deadline."""
        left = self.get_remaining()
        if silence is None or left < silence:
            silence = left if math.isfinite(left) else None
        if sock.gettimeout() != silence:  # setting it asks the kernel
            sock.settimeout(silence)

    def __enter__(self) -> Self:
        _here.deadline = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _here.deadline = _NONE


_NONE = Deadline(math.inf)


def _find_deadline() -> Deadline:
    return cast("Deadline", getattr(_here, "deadline", _NONE))


class TimelyAdapter(HTTPAdapter):
    """Sends over connections that keep to the deadline of their thread, through a proxy as well."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools; see ``HTTPAdapter``."""
        super().init_poolmanager(*args, **kwargs)
        # Weakly: a pool's connections are closed when its manager lets go of it.
        self._pools: WeakValueDictionary[str, ConnectionPool] = WeakValueDictionary()
        self.poolmanager.pool_classes_by_scheme = _make_timely(self.poolmanager.pool_classes_by_scheme)

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> ConnectionPool:
        """Return the pool of a request's origin; requests takes the URL apart twice each time to find it."""
        origin = request.url.split("/", 3)[:3]
        key = f"{origin} {verify} {cert} {proxies}"
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = super().get_connection_with_tls_context(request, verify, proxies, cert)
        return pool

    def request_url(self, request: Any, proxies: Any) -> str:
        """Return the target of a request; requests takes the URL apart twice more to see that no proxy is given."""
        target = str(request.path_url)
        return str(super().request_url(request, proxies)) if proxies or target.startswith("//") else target

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the pools of a proxy; see ``HTTPAdapter``."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            manager.pool_classes_by_scheme = _make_timely(manager.pool_classes_by_scheme)
        return manager


def _make_timely(pools: Mapping[str, type[HTTPConnectionPool]]) -> dict[str, type[HTTPConnectionPool]]:
    return {scheme: _make_timely_pool(pool) for scheme, pool in pools.items()}  # type: ignore[arg-type]


@cache
def _make_timely_pool(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Derive a pool whose connections are ``_TimelyConnection``s: plain ones, of TLS, or through SOCKS."""
    connection = type(pool.ConnectionCls.__name__, (_TimelyConnection, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def was_connecting(error: BaseException) -> bool:
    """Whether it was raised before there was a connection that a request could have gone out on."""
    return getattr(error, "_truto_was_connecting", False)


class _TimelyConnection(HTTPConnection):
    response_class = None  # type: ignore[assignment]  # set below: it is a class of this module
    #: The head of a request, which waits for the first piece of the body: empty until it is there, ``None`` where
    #: nothing waits.
    _head: bytes | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; its head goes out with the first piece of its body, in one packet instead of two."""
        self._head = b""
        try:
            super().request(*args, **kwargs)
            if self._head:  # it has no body
                self.send(b"")
        finally:
            self._head = None

    def connect(self) -> None:
        """Connect, a proxy's CONNECT and TLS included. What fails is marked: the same may happen to a request."""
        try:
            super().connect()
        except Exception as error:
            error._truto_was_connecting = True  # type: ignore[attr-defined]
            raise

    def _new_conn(self) -> socket.socket:
        """Connect. All addresses of a host share the time that urllib3 would give to each."""
        until = time.monotonic() + _find_deadline().get_remaining()
        if isinstance(self.timeout, (int, float)):
            until = min(until, time.monotonic() + self.timeout)
        given = self._dns_host, self.timeout
        try:
            addresses = [] if hasattr(self, "_socks_options") else _find_addresses(self._dns_host, self.port)
            for address in addresses[:-1]:
                self._dns_host, self.timeout = address, _keep_above_zero(until - time.monotonic())
                try:
                    return super()._new_conn()
                except (NewConnectionError, ConnectTimeoutError):
                    continue
            self._dns_host = addresses[-1] if addresses else given[0]
            self.timeout = _keep_above_zero(until - time.monotonic())
            return super()._new_conn()
        finally:
            self._dns_host, self.timeout = given

    def _tunnel(self) -> None:
        super()._tunnel()
        if self.sock is not None:
            _find_deadline().limit_timeout(self.sock, self.sock.gettimeout())  # TLS comes next

    def send(self, data: Any) -> None:
        """Send a part of a request; connect first where that is still to be done."""
        if self._head == b"":
            self._head = data
            return
        if self._head is not None:  # before connecting: a proxy's CONNECT is sent from there
            data, self._head = self._head + data, None
        if self.sock is None:
            self.connect()
        _find_deadline().limit_timeout(self.sock, self.sock.gettimeout())
        super().send(data)


def _find_addresses(host: str, port: int | None) -> list[str]:
    """Return a host's addresses; none where urllib3 is to find out itself why there are none."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _keep_above_zero(seconds: float) -> float:
    return max(seconds, 0.001)  # 0 would mean not to wait at all


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        # All that it wants of a socket is a file to read from.
        super().__init__(SimpleNamespace(makefile=lambda _mode: _Reader(sock)), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head. Raises ``HTTPException`` where what follows it cannot be told for certain."""
        super().begin()
        if self.status < 200:
            raise http.client.HTTPException(f"an interim answer, {self.status}, that is followed by nothing known")
        if self.will_close:
            return  # nothing can follow it
        encodings, lengths = (self.headers.get_all(name, []) for name in ("Transfer-Encoding", "Content-Length"))
        if encodings and [one.strip().lower() for one in encodings] != ["chunked"]:
            raise http.client.HTTPException("an answer in an unknown Transfer-Encoding")
        if len({one.strip() for one in lengths}) > 1 or not all(map(_is_length, lengths)):
            raise http.client.HTTPException("an answer without one right Content-Length")
        if encodings and lengths:
            self.will_close = True  # chunks count, but who says both is not to be believed twice


def _is_length(text: str) -> bool:
    return text.strip().isascii() and text.strip().isdigit()


_TimelyConnection.response_class = _Response  # type: ignore[assignment]


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
        self._deadline = _find_deadline()
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
