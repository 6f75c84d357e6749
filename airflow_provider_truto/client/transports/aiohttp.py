"""Truto over aiohttp, in one event loop.

Much of this is what aiohttp has to be told so that it behaves as requests does here.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import certifi
from aiohttp.client_proto import ResponseHandler
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from yarl import URL

from airflow_provider_truto.client.redaction import Scrubber
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.client.transports.base import (
    CHUNK,
    LONGEST_LINE,
    MOST_HEADER_LINES,
    TransportFailure,
    build_request_headers,
)
from airflow_provider_truto.client.transports.failures import (
    build_connect_timeout,
    build_connection_failure,
    build_deadline_failure,
    build_interim_failure,
    build_proxy_failure,
    build_read_timeout,
    build_size_failure,
    build_stream_error,
    build_tls_failure,
    was_hung_up,
)

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout  # type: ignore[import-not-found,unused-ignore]  # aiohttp brings it

T = TypeVar("T")

#: Seconds that a request may need to get on its way; beyond, it had to wait for a connection, or for a busy loop.
_AT_ONCE = 0.05
#: What aiohttp raises where there is no usable answer.
_LOSSES = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class AiohttpTransport:
    """Sends over aiohttp. ``sleep`` takes seconds; ``connections`` are open at once at most."""

    def __init__(
        self,
        settings: ClientSettings,
        tokens: ApiToken,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connections: int = 100,
    ) -> None:
        self._settings = settings
        self._base = URL(settings.base_url, encoded=True)
        self._sleep = sleep
        self._scrubber = Scrubber(settings, tokens)
        self._connections = connections
        self._places = asyncio.Semaphore(connections)
        self._opened: aiohttp.ClientSession | None = None
        #: Requests that were sent, each attempt and each question about it.
        self.requests = 0

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        await self._sleep(seconds)

    async def wait_for(self, future: Future[T]) -> T:
        """Wait for a future that another coroutine, or a thread, completes; return its result."""
        return await asyncio.wrap_future(future)

    async def send(self, request: Request, token: Token) -> Response | TransportFailure:
        """Send a request, and read its answer."""
        proxy = self._proxy
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            return build_proxy_failure(
                self._settings, ValueError("aiohttp goes through http proxies only"), transient=False
            )
        sending = _Sending()
        try:
            session = self._session()
        except OSError as error:  # a CA bundle which cannot be read
            return build_tls_failure(self._settings, error, is_gone=False, maybe_sent=False)
        self.requests += 1
        # The wait for a place is not part of the attempt: nothing was sent yet.
        async with self._places:
            until = time.monotonic() + self._settings.deadline
            try:
                async with timeout(self._settings.deadline):
                    response = await session.request(
                        request.method,
                        self._build_url(request),
                        data=request.body,
                        headers={**build_request_headers(request), "Authorization": f"Bearer {token.reveal()}"},
                        # aiohttp would name a type for nothing. A list to skip costs each request a copy of headers.
                        skip_auto_headers=("Content-Type",) if request.body is None else None,
                        proxy=proxy,
                        allow_redirects=False,
                        trace_request_ctx=sending,
                    )
                    if response.status < 200:
                        response.close()
                        return build_interim_failure(response.status)
                    headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
                    stream = None
                    if request.streamed and response.ok:
                        stream = AsyncChunks(
                            response, request, self._settings, partial(self._scrubber.scrub, request, token)
                        )
                    body = await _read_body(response, self._settings) if stream is None else b""
            except _LOSSES as error:
                is_over = time.monotonic() >= until
                return build_deadline_failure(self._settings) if is_over else _translate_error(error, self._settings)
        if body is None:
            return build_size_failure(self._settings, response.status)
        return Response(
            status=response.status,
            headers=headers,
            body=body,
            stream=stream,
            seconds=sending.seconds,
            sent_after=sending.sent_after,
        )

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            settings = self._settings
            self._opened = aiohttp.ClientSession(
                connector=_Connector(limit=self._connections, ssl=_make_ssl_context(settings)),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
                ),
                headers={"User-Agent": settings.user_agent, "Accept": "application/json"},
                response_class=_Response,
                # It would read ~/.netrc as well; `_proxy` and `_ssl` read what is wanted of the environment.
                trust_env=False,
                # aiohttp's own 8190 bytes are less than some gateways' headers.
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
                trace_configs=[] if settings.requests_per_second == 0 else [_Sending.trace()],
            )
            # Without this, aiohttp repeats some verbs by itself on a connection that died while it was pooled.
            self._opened._retry_connection = False
        return self._opened

    def _build_url(self, request: Request) -> URL:
        """Return a request's URL; one that is made of text is taken apart again, which takes thrice as long."""
        base = self._base
        return URL.build(
            scheme=base.scheme,
            authority=base.raw_authority,
            path=base.raw_path.rstrip("/") + request.path,
            query_string=request.query_string,
            encoded=True,
        )

    @cached_property
    def _proxy(self) -> str | None:
        """The way to the one origin; found once, since reading the environment costs a third of a request's CPU."""
        if self._settings.proxy:
            return self._settings.proxy
        url = self._settings.base_url
        proxy = select_proxy(url, get_environ_proxies(url))
        # requests takes one without a scheme, too.
        return str(prepend_scheme_if_needed(proxy, "http")) if proxy else None  # type: ignore[no-untyped-call]


class _Handler(ResponseHandler):
    """Ends a connection over which a head of too many lines comes, and has one timer for its silence.

    Before 3.14, aiohttp counts no headers, and takes a minute for a megabyte of those of one name. It also makes a
    timer for each request and one more for each piece of an answer, which nearly never run; this one looks, when it
    is due, whether something came meanwhile.
    """

    _lines = 0
    #: When it has been silent for too long; infinity where nothing is expected.
    _silent_until = math.inf

    def data_received(self, data: bytes) -> None:
        if self._payload is None or self._payload.is_eof():
            self._lines += data.partition(b"\r\n\r\n")[0].count(b"\n")
            if self._lines > MOST_HEADER_LINES and self.transport is not None:
                self.set_exception(aiohttp.ClientPayloadError("a head of too many lines"))
                self.transport.abort()
                return
        super().data_received(data)
        if self._buffer:
            self._lines = 0

    def _reschedule_timeout(self) -> None:
        if self._read_timeout:
            self._silent_until = self._loop.time() + self._read_timeout
            if self._read_timeout_handle is None:
                self._read_timeout_handle = self._loop.call_at(self._silent_until, self._look_for_silence)

    def _drop_timeout(self) -> None:
        self._silent_until = math.inf

    # Not its own `_on_read_timeout`: an aiohttp that does not call the two above keeps all of its own timers.
    def _look_for_silence(self) -> None:
        self._read_timeout_handle = None
        if self._loop.time() >= self._silent_until:
            self._on_read_timeout()
        elif self._silent_until < math.inf:
            self._read_timeout_handle = self._loop.call_at(self._silent_until, self._look_for_silence)


class _Connector(aiohttp.TCPConnector):
    """Takes no connection out of the pool over which something came while it was unused.

    aiohttp would give it to the next request as the answer to that one.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Handler, loop=self._loop)  # type: ignore[assignment]

    async def _get(self, *args: Any) -> Any:
        while (connection := await super()._get(*args)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class _Response(aiohttp.ClientResponse):
    """Ends the connection of a 101, which aiohttp takes for a final answer and would use again."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        await super().start(connection)
        if self.status < 200 and protocol is not None:
            protocol.close()
        return self


class _Sending:
    """How long a request takes, and how long it had to wait for a connection."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._sent = 0.0

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return time.monotonic() - self._began

    @property
    def sent_after(self) -> float:
        """Seconds before it went out; 0 where that was at once, or nobody has looked."""
        seconds = self._sent - self._began
        return seconds if seconds > _AT_ONCE else 0.0

    @staticmethod
    def trace() -> aiohttp.TraceConfig:
        """Make aiohttp note in each request's ``trace_request_ctx`` when its headers are sent."""
        config = aiohttp.TraceConfig()
        config.on_request_headers_sent.append(_note_sending)
        return config


async def _note_sending(_session: aiohttp.ClientSession, context: Any, _: Any) -> None:
    context.trace_request_ctx._sent = time.monotonic()


class AsyncChunks:
    """The bytes of a streamed answer, to be iterated once.

    Raises ``TrutoTransportError`` where the stream breaks: the request itself did succeed.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        request: Request,
        settings: ClientSettings,
        scrub: Callable[[str], str],
    ) -> None:
        self._response = response
        self._request = request
        self._settings = settings
        self._scrub = scrub

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await _read_chunk(self._response, self._settings):
                yield chunk
        except _LOSSES as error:
            raise build_stream_error(self._request, error, self._scrub) from None
        finally:
            self.close()

    def close(self) -> None:
        """Return the connection to its pool; what was not read is lost."""
        self._response.close()


async def _read_chunk(response: aiohttp.ClientResponse, settings: ClientSettings) -> bytes:
    """Read what comes next; ``b""`` at the end.

    aiohttp forgets its own timeout with the connection: where a body is not HTTP, it would wait without end.
    """
    if ready := response.content.read_nowait(CHUNK):  # it came with what was read before; a timeout costs CPU
        return ready
    async with timeout(settings.read_timeout):
        return await response.content.read(CHUNK)


async def _read_body(response: aiohttp.ClientResponse, settings: ClientSettings) -> bytes | None:
    """Read the whole body; ``None`` where it is longer than the settings allow."""
    chunks: list[bytes] = []
    size = 0
    try:
        while not response.content.at_eof() and (chunk := await _read_chunk(response, settings)):
            size += len(chunk)
            if size > settings.response_limit:
                return None
            chunks.append(chunk)
    finally:
        response.release()  # to the pool where it was read to its end; else the connection is closed
    return b"".join(chunks)


def _make_ssl_context(settings: ClientSettings) -> ssl.SSLContext | bool:
    if settings.origin.scheme == "http":
        return True  # never asked for; certificates take a tenth of a second to load
    if not settings.verify_tls:
        return False
    bundle = settings.ca_bundle or _find_ca_bundle() or certifi.where()
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def _find_ca_bundle() -> str | None:
    """Look where requests looks."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


def _translate_error(error: BaseException, settings: ClientSettings) -> TransportFailure:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return build_connect_timeout(settings)
        case asyncio.TimeoutError():
            return build_read_timeout(settings)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            root = _find_root_cause(error)
            return build_tls_failure(settings, root, is_gone=was_hung_up(root), maybe_sent=False)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return build_proxy_failure(settings, _find_root_cause(error))
    # A connector's error is one of connecting, a handshake that was broken off included.
    return build_connection_failure(
        settings, _find_root_cause(error), maybe_sent=not isinstance(error, aiohttp.ClientConnectorError)
    )


def _find_root_cause(error: BaseException) -> BaseException:
    """Find the innermost cause: aiohttp wraps the socket's error."""
    while isinstance(inner := getattr(error, "os_error", None) or error.__cause__, BaseException):
        error = inner
    return error
