"""The driver on aiohttp: carries out the steps of ``exchange`` with a pooled keep-alive session.

It differs from ``sync`` in ``await``, and in what aiohttp has to be told so that it behaves as requests does there.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import ssl
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import certifi
from aiohttp.client_proto import ResponseHandler
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from yarl import URL

from airflow_provider_truto.client.answer import Answer
from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.driver import (
    CHUNK,
    Driver,
    Observer,
    SuffixStore,
    broken_stream,
    connect_timeout,
    connection_failure,
    deadline_passed,
    interim_answer,
    proxy_failure,
    read_timeout,
    request_headers,
    tls_failure,
    too_large,
)
from airflow_provider_truto.client.endpoints import mint_call
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.exchange import (
    CurrentToken,
    NewToken,
    NoAnswer,
    Outcome,
    SaveSuffix,
    Send,
    Sleep,
    Step,
)
from airflow_provider_truto.client.pages import Page
from airflow_provider_truto.client.programs import Program, ProgramStep, ReadSettings, Warn
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import AccountTokens, ApiToken, Mint, Token, made

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout  # type: ignore[import-not-found,unused-ignore]  # aiohttp brings it

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

#: Minted tokens, shared by all clients on aiohttp of this process. Apart from those of the clients on requests: a
#: coroutine that blocks its loop while it waits for a minting of that same loop would wait for ever.
_ACCOUNT_TOKENS = AccountTokens()
#: Bytes of a line in the head of an answer.
_LONGEST_LINE = 65536
#: Lines in the head of an answer.
_MOST_LINES = 1_000
#: Seconds that a request may need to get on its way; beyond, it had to wait for a connection, or for a busy loop.
_AT_ONCE = 0.05
#: What aiohttp raises where there is no usable answer.
_LOSSES = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class AsyncClient(Driver, TrutoApi):
    """Truto over aiohttp, in one event loop; any number of coroutines may share one. ``close`` it at the end.

    ``sleep`` takes seconds. Methods raise as those of ``SyncClient`` do.
    """

    def __init__(
        self,
        settings: ClientSettings,
        tokens: ApiToken,
        *,
        observer: Observer | None = None,
        minted: AccountTokens = _ACCOUNT_TOKENS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connections: int = 100,
    ) -> None:
        super().__init__(settings, tokens, minted, observer=observer)
        self._sleep = sleep
        self._connections = connections
        self._places = asyncio.Semaphore(connections)
        self._opened: aiohttp.ClientSession | None = None
        #: Requests that were sent, each attempt and each question about it.
        self.requests = 0
        #: Entered around each wait between two attempts; who keeps many calls in flight lends the place meanwhile.
        self.around_waits: Callable[[], AbstractContextManager[None]] = nullcontext

    async def run(self, call: Call, *, suffixes: SuffixStore | None = None) -> Outcome:
        """Bring a call to its end: see ``exchange``."""
        exchange = self._exchange(call, suffixes)
        outcome: Outcome = await _driven(exchange, lambda step: self._carry_out(step, suffixes))
        self.observer.called(outcome)
        return outcome

    async def do(self, program: Program[T], *, suffixes: SuffixStore | None = None) -> T:
        """Bring a program to its end and give its result."""
        result: T = await _driven(program, lambda step: self.reply(step, suffixes))
        return result

    def listing(self, program: Program[None]) -> AsyncListing:
        """Bring a list's program on its way; its calls go out as its records are asked for."""
        return AsyncListing(program, self.reply)

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def reply(self, step: ProgramStep, suffixes: SuffixStore | None = None) -> Any:
        """Carry out one step of a program."""
        match step:
            case Call():
                return self._recalled(step) or self._remembered(step, await self.run(step, suffixes=suffixes))
            case ReadSettings():
                return self.settings
            case Warn():
                self._warn(step.text)
            case Page():
                for note in step.notes:
                    self._warn(note)
        return None

    async def _carry_out(self, step: Step, suffixes: SuffixStore | None) -> Any:
        match step:
            case Send():
                return await self._send(step.call, step.token)
            case Sleep():
                if step.reason:
                    self.observer.waits(step.reason)
                with self.around_waits() if step.reason else nullcontext():
                    return await self._sleep(step.seconds)
            case CurrentToken():
                return await self._token(step.call)
            case NewToken():
                return await self._token(step.call, refused=step.refused)
            case SaveSuffix() if suffixes is not None:
                return suffixes.save(step.suffix)
        raise AssertionError(f"unexpected step {step!r}")

    async def _token(self, call: Call, *, refused: Token | None = None) -> Token | None:
        """Give the token to send under, another than the refused one; ``None`` where there is no other."""
        while (owner := self._owner(call)) is not None:
            claimed = self._minted.claim(owner, refused=refused)
            if isinstance(claimed, Mint):
                with claimed as mint:
                    token = self._minted_token(await self.run(mint_call(owner.integrated_account_id)))
                    await _awaited(self.observer.minted(token.reveal()))
                    return mint.done(token, life=self.settings.account_token_life)
            if isinstance(claimed, Token):
                return claimed
            if other := made(await asyncio.wrap_future(claimed)):
                return other
        if refused is None:
            return self.tokens.current()
        if self.tokens.unless(refused) is None:
            self.tokens.replace(await _awaited(self.tokens.reread()))
        return self.tokens.unless(refused)

    async def _send(self, call: Call, token: Token) -> Answer | NoAnswer:
        url = self.settings.base_url.rstrip("/") + call.target
        proxy = self._proxy
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            return proxy_failure(self.settings, ValueError("aiohttp goes through http proxies only"), transient=False)
        sending = _Sending()
        try:
            session = self._session()
        except OSError as error:  # a CA bundle which cannot be read
            return tls_failure(self.settings, error, is_gone=False, maybe_sent=False)
        self.requests += 1
        # The wait for a place is no part of the attempt: nothing was sent yet.
        async with self._places:
            until = time.monotonic() + self.settings.deadline
            try:
                async with timeout(self.settings.deadline):
                    response = await session.request(
                        call.method,
                        URL(url, encoded=True),
                        data=call.body,
                        headers={**request_headers(call), "Authorization": f"Bearer {token.reveal()}"},
                        proxy=proxy,
                        allow_redirects=False,
                        trace_request_ctx=sending,
                    )
                    if response.status < 200:
                        response.close()
                        return interim_answer(response.status)
                    headers = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
                    stream = None
                    if call.streamed and response.ok:
                        stream = AsyncChunks(response, call, self.settings, partial(self._scrubbed, call, token))
                    body = await _body(response, self.settings) if stream is None else b""
            except _LOSSES as error:
                is_over = time.monotonic() >= until
                return deadline_passed(self.settings) if is_over else _no_answer(error, self.settings)
        if body is None:
            return too_large(self.settings, response.status)
        return Answer(
            status=response.status,
            headers=headers,
            body=body,
            stream=stream,
            seconds=sending.seconds,
            sent_after=sending.sent_after,
        )

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            settings = self.settings
            self._opened = aiohttp.ClientSession(
                connector=_Connector(limit=self._connections, ssl=_ssl(settings)),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
                ),
                headers={"User-Agent": settings.user_agent, "Accept": "application/json"},
                response_class=_Response,
                skip_auto_headers=("Content-Type",),
                # It would read ~/.netrc as well; `_proxy` and `_ssl` read what is wanted of the environment.
                trust_env=False,
                # As much as http.client takes: aiohttp's own 8190 bytes are less than some gateways' headers.
                max_line_size=_LONGEST_LINE,
                max_field_size=_LONGEST_LINE,
                trace_configs=[] if settings.requests_per_second == 0 else [_Sending.trace()],
            )
            # Without this, aiohttp repeats some verbs by itself on a connection that died while it was pooled.
            self._opened._retry_connection = False
        return self._opened

    @cached_property
    def _proxy(self) -> str | None:
        """The way to the one origin; found once, since reading the environment costs a third of a call's CPU."""
        if self.settings.proxy:
            return self.settings.proxy
        url = self.settings.base_url
        proxy = select_proxy(url, get_environ_proxies(url))
        # requests takes one without a scheme, too.
        return str(prepend_scheme_if_needed(proxy, "http")) if proxy else None  # type: ignore[no-untyped-call]


class _Handler(ResponseHandler):
    """Ends a connection over which a head of too many lines comes.

    Before 3.14, aiohttp counts no headers, and takes a minute for a megabyte of those of one name.
    """

    _lines = 0

    def data_received(self, data: bytes) -> None:
        if self._payload is None or self._payload.is_eof():
            self._lines += data.partition(b"\r\n\r\n")[0].count(b"\n")
            if self._lines > _MOST_LINES and self.transport is not None:
                self.set_exception(aiohttp.ClientPayloadError("a head of too many lines"))
                self.transport.abort()
                return
        super().data_received(data)
        if self._buffer:
            self._lines = 0


class _Connector(aiohttp.TCPConnector):
    """Takes no connection out of the pool over which something came while it lay there.

    aiohttp would give it to the next call as the answer to that one.
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
        """Have aiohttp look, for the ``trace_request_ctx`` of each request."""
        config = aiohttp.TraceConfig()
        config.on_request_headers_sent.append(_note_sending)
        return config


async def _note_sending(_session: aiohttp.ClientSession, context: Any, _: Any) -> None:
    context.trace_request_ctx._sent = time.monotonic()


class AsyncListing:
    """The records of a list, whose pages are fetched as they are needed; iterate it once.

    Its attributes are those of ``sync.Listing``.
    """

    def __init__(self, program: Program[None], reply: Callable[[ProgramStep], Awaitable[Any]]) -> None:
        self._program = program
        self._reply = reply
        self._records = self._iterated()
        self.cursor: str | None = None
        self.count = 0
        self.is_partial_response = False
        self.ended_early = False

    async def pages(self) -> AsyncIterator[Page]:
        """Iterate over pages instead of records."""
        try:
            while isinstance(page := await _driven(self._program, self._reply, as_far_as=Page), Page):
                self.cursor = page.cursor
                self.count += len(page.items)
                self.is_partial_response |= page.is_partial
                self.ended_early |= page.ended_early
                yield page
        finally:
            self._program.close()

    async def _iterated(self) -> AsyncGenerator[Any, None]:
        async for page in self.pages():
            for record in page.items:
                yield record

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._records

    async def __anext__(self) -> Any:
        return await self._records.__anext__()


async def _awaited(value: Any) -> Any:
    """Give what a callback gives, at once or later."""
    return await value if inspect.isawaitable(value) else value


async def _driven(
    generator: Generator[Any, Any, Any],
    carry_out: Callable[[Any], Awaitable[Any]],
    *,
    as_far_as: type | tuple[()] = (),
) -> Any:
    """Carry out a generator's steps; a failure is thrown into the generator.

    Gives its result, or the first step of the kind ``as_far_as``, which was carried out; it can be advanced further.
    """
    reply: Any = None
    failure: TrutoError | None = None
    try:
        while True:
            try:
                step = generator.send(reply) if failure is None else generator.throw(failure)
            except StopIteration as end:
                return end.value
            reply = failure = None
            try:
                reply = await carry_out(step)
            except TrutoError as error:
                failure = error
            else:
                if isinstance(step, as_far_as):
                    return step
    except BaseException:
        generator.close()
        raise


class AsyncChunks:
    """The bytes of a streamed answer, to be iterated once.

    Raises ``TrutoTransportError`` where the stream breaks: the call itself did succeed.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, call: Call, settings: ClientSettings, scrub: Callable[[str], str]
    ) -> None:
        self._response = response
        self._call = call
        self._settings = settings
        self._scrub = scrub

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await _chunk(self._response, self._settings):
                yield chunk
        except _LOSSES as error:
            raise broken_stream(self._call, error, self._scrub) from None
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back; whatever was not read is lost."""
        self._response.close()


async def _chunk(response: aiohttp.ClientResponse, settings: ClientSettings) -> bytes:
    """Read what comes next; ``b""`` at the end.

    aiohttp forgets its own timeout with the connection: where a body turns out to be no HTTP, it would wait for ever.
    """
    if ready := response.content.read_nowait(CHUNK):  # it came with what was read before; a timeout costs CPU
        return ready
    async with timeout(settings.read_timeout):
        return await response.content.read(CHUNK)


async def _body(response: aiohttp.ClientResponse, settings: ClientSettings) -> bytes | None:
    """Read the whole body; ``None`` where it is longer than the settings allow."""
    chunks: list[bytes] = []
    size = 0
    try:
        while not response.content.at_eof() and (chunk := await _chunk(response, settings)):
            size += len(chunk)
            if size > settings.response_limit:
                return None
            chunks.append(chunk)
    finally:
        response.release()  # to the pool where it was read to its end; else the connection is closed
    return b"".join(chunks)


def _ssl(settings: ClientSettings) -> ssl.SSLContext | bool:
    if settings.origin.scheme == "http":
        return True  # never asked for; certificates take a tenth of a second to load
    if not settings.verify_tls:
        return False
    bundle = settings.ca_bundle or _environment_ca_bundle() or certifi.where()
    if Path(bundle).is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


def _environment_ca_bundle() -> str | None:
    """Look where requests looks."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")


def _no_answer(error: BaseException, settings: ClientSettings) -> NoAnswer:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return connect_timeout(settings)
        case asyncio.TimeoutError():
            return read_timeout(settings)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            root = _root(error)
            is_gone = isinstance(root, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(
                root, ssl.SSLError
            )
            return tls_failure(settings, root, is_gone=is_gone, maybe_sent=False)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return proxy_failure(settings, _root(error))
    # A connector's error is one of connecting, a handshake that was broken off included.
    return connection_failure(settings, _root(error), maybe_sent=not isinstance(error, aiohttp.ClientConnectorError))


def _root(error: BaseException) -> BaseException:
    """Find the innermost cause: aiohttp wraps the socket's error."""
    while isinstance(inner := getattr(error, "os_error", None) or error.__cause__, BaseException):
        error = inner
    return error
