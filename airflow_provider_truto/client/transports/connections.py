"""Connections of requests that keep to the deadline of their thread, plain, over TLS, or through a proxy."""

from __future__ import annotations

import contextlib
import socket
import time
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import ConnectionPool, HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from airflow_provider_truto.client.transports.deadline import find_deadline
from airflow_provider_truto.client.transports.response_reader import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    response_class = ResponseReader
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
        """Connect. The addresses of a host share the time that urllib3 would give to each: one may be dead."""
        seconds = find_deadline().get_remaining()
        if isinstance(self.timeout, (int, float)):
            seconds = min(seconds, self.timeout)
        until = time.monotonic() + seconds
        given = self._dns_host, self.timeout
        addresses = [] if hasattr(self, "_socks_options") else _find_addresses(self._dns_host, self.port)
        try:
            for left in range(len(addresses), 1, -1):
                self._dns_host, self.timeout = addresses[-left], _keep_above_zero((until - time.monotonic()) / left)
                with contextlib.suppress(NewConnectionError, ConnectTimeoutError):
                    return self._connect_to(seconds)
            self._dns_host = addresses[-1] if addresses else given[0]
            self.timeout = _keep_above_zero(until - time.monotonic())
            return self._connect_to(seconds)
        finally:
            self._dns_host, self.timeout = given

    def _connect_to(self, seconds: float) -> socket.socket:
        """Connect to the one address; what comes next on the socket, such as TLS, has so many seconds again."""
        sock = super()._new_conn()
        sock.settimeout(seconds)
        return sock

    def _tunnel(self) -> None:
        super()._tunnel()
        if self.sock is not None:
            find_deadline().limit_timeout(self.sock, self.sock.gettimeout())  # TLS comes next

    def send(self, data: Any) -> None:
        """Send a part of a request; connect first where that is still to be done."""
        if self._head == b"":
            self._head = data
            return
        if self._head is not None:  # before connecting: a proxy's CONNECT is sent from there
            data, self._head = self._head + data, None
        if self.sock is None:
            self.connect()
        find_deadline().limit_timeout(self.sock, self.sock.gettimeout())
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
