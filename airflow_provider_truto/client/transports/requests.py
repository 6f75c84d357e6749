"""Truto over requests, with a pooled keep-alive session; threads may share one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import cached_property, partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
from requests.auth import AuthBase
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ReadTimeoutError

from airflow_provider_truto.client.redaction import Scrubber
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import ClientSettings, Origin
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.client.transports.base import CHUNK, TransportFailure, build_request_headers
from airflow_provider_truto.client.transports.connections import TimelyAdapter, was_connecting
from airflow_provider_truto.client.transports.deadline import Deadline
from airflow_provider_truto.client.transports.failures import (
    build_connect_timeout,
    build_connection_failure,
    build_deadline_failure,
    build_proxy_failure,
    build_read_timeout,
    build_size_failure,
    build_stream_error,
    build_tls_failure,
    was_hung_up,
)

T = TypeVar("T")

#: Seconds for which servers keep an idle connection open, at the least that is common.
_KEPT_OPEN = 5.0


class OriginAuth(AuthBase):
    """Bearer authentication that goes to one origin and to no other."""

    def __init__(self, token: Callable[[], Token], origin: Origin) -> None:
        self._token = token
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header where the request stays on the origin."""
        if Origin.of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Bearer {self._token().reveal()}"
        return request


class _NoCookies(RequestsCookieJar):
    """Takes none: Truto sets none, and a jar that is written to would be shared between threads."""

    def extract_cookies(self, *_: Any) -> None:
        """Take nothing out of an answer."""


class TrutoSession(requests.Session):
    """A session bound to a connection.

    A URL that begins with ``/`` is taken below the base URL; timeouts are set; TLS and proxy are the
    connection's; redirects are never followed (they could carry a write elsewhere); ``~/.netrc`` is never
    read, while proxy and CA variables of the environment hold where the connection is silent.
    """

    def __init__(self, settings: ClientSettings, token: Callable[[], Token]) -> None:
        super().__init__()
        self._settings = settings
        self.auth = OriginAuth(token, settings.origin)
        self.headers.update({"User-Agent": settings.user_agent, "Accept": "application/json"})
        self.cookies = _NoCookies(policy=DefaultCookiePolicy(allowed_domains=[]))
        adapter = TimelyAdapter(max_retries=0, pool_maxsize=32)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send a request; see ``requests.Session.request``."""
        if url.startswith("/"):
            url = self._settings.base_url.rstrip("/") + url
        return super().request(method, url, *args, **kwargs)

    def send(
        self, request: requests.PreparedRequest, *, deadline: Deadline | None = None, **kwargs: Any
    ) -> requests.Response:
        """Send a prepared request, under the connection's TLS, proxy and times also where they are not given."""
        if "verify" not in kwargs:
            kwargs |= self.merge_environment_settings(
                request.url, kwargs.get("proxies"), kwargs.get("stream"), None, kwargs.get("cert")
            )
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (self._settings.connect_timeout, self._settings.read_timeout)
        with deadline or Deadline(self._settings.deadline) as until:
            response = super().send(request, **kwargs)
        if deadline is None:
            until.remove()  # a body that was not read by now is a stream
        return response

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        """Follow none, also where it is asked for."""
        return iter(())

    def send_request(self, request: Request, token: Token, deadline: Deadline) -> requests.Response:
        """Send a request to Truto under a token; the body of the answer is still to be read.

        The request is complete and its target escaped. ``Session.request`` would take it apart, put it together again
        and search the environment for proxies each time, which costs more than sending it.
        """
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = self._base_url + request.target
        prepared.body = request.body
        prepared.hooks = self.hooks
        headers: dict[str, Any] = {**self.headers, **build_request_headers(request)}
        headers["Authorization"] = f"Bearer {token.reveal()}"
        prepared.headers = CaseInsensitiveDict(headers)
        prepared.prepare_content_length(request.body)
        return self.send(prepared, deadline=deadline, stream=True, cert=self.cert, **self._tls_and_proxies)

    @cached_property
    def _base_url(self) -> str:
        """The base URL in requests' own spelling, without a slash at its end."""
        return str(requests.Request("GET", self._settings.base_url).prepare().url).rstrip("/")

    @cached_property
    def _tls_and_proxies(self) -> dict[str, Any]:
        """What the connection and, where it is silent, the environment say, as it was at the first request."""
        merged = self.merge_environment_settings(self._base_url, {}, None, None, None)
        return {name: merged[name] for name in ("verify", "proxies")}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Prefer the connection's TLS settings and proxy to the environment's; requests does the opposite."""
        settings = self._settings
        if verify is None and not settings.verify_tls:
            verify = False
        elif verify is None and settings.ca_bundle:
            verify = settings.ca_bundle
        if not proxies and settings.proxy:
            proxies = {"http": settings.proxy, "https": settings.proxy}
        merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if proxies:
            # requests adds the environment's proxies to explicit ones; NO_PROXY must not undo ours either.
            merged["proxies"] = proxies
        return merged


class RequestsTransport:
    """Sends over requests. Its coroutines block instead of being suspended. ``sleep`` takes seconds."""

    def __init__(
        self, settings: ClientSettings, tokens: ApiToken, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._scrubber = Scrubber(settings, tokens)
        self._answered_at: float | None = None
        self.session = TrutoSession(settings, tokens.current)

    def close(self) -> None:
        """Close the pooled connections."""
        self.session.close()

    async def sleep(self, seconds: float) -> None:
        """Block for so many seconds."""
        self._sleep(seconds)

    async def wait_for(self, future: Future[T]) -> T:
        """Block until another thread has completed the future, and return its result."""
        return future.result()

    async def send(self, request: Request, token: Token) -> Response | TransportFailure:
        """Send a request, and block until its answer has been read."""
        # urllib3 does not tell whether it has to open a connection, nor how long that took. Where it may have to, the
        # request is taken to have gone out when its answer came.
        began = time.monotonic()
        is_warm = self._answered_at is not None and began - self._answered_at < _KEPT_OPEN
        deadline = Deadline(self._settings.deadline)
        try:
            response = self.session.send_request(request, token, deadline)
            self._answered_at = time.monotonic()
            sent_after = 0.0 if is_warm else self._answered_at - began
            headers = dict(response.headers.lower_items())
            stream = None
            if request.streamed and response.ok:
                deadline.remove()
                stream = Chunks(response, request, partial(self._scrubber.scrub, request, token))
            body = _read_body(response, self._settings.response_limit) if stream is None else b""
        except OSError as error:  # requests' own, and that of a CA bundle which cannot be read
            return (
                build_deadline_failure(self._settings)
                if deadline.is_over
                else _translate_error(error, self._settings)
            )
        if body is None:
            return build_size_failure(self._settings, response.status_code)
        return Response(
            status=response.status_code,
            headers=headers,
            body=body,
            stream=stream,
            seconds=time.monotonic() - began,
            sent_after=sent_after,
        )


class Chunks:
    """The bytes of a streamed answer, to be iterated once.

    Raises ``TrutoTransportError`` where the stream breaks: the request itself did succeed.
    """

    def __init__(self, response: requests.Response, request: Request, scrub: Callable[[str], str]) -> None:
        self._response = response
        self._request = request
        self._scrub = scrub

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_content(CHUNK)
        except requests.RequestException as error:
            raise build_stream_error(self._request, _find_root_cause(error), self._scrub) from None
        finally:
            self.close()

    def close(self) -> None:
        """Return the connection to its pool; what was not read is lost."""
        self._response.close()


def _read_body(response: requests.Response, limit: int) -> bytes | None:
    """Read the whole body; ``None`` where it is longer than ``limit`` bytes."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_content(CHUNK):
        size += len(chunk)
        if size > limit:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _translate_error(error: OSError, settings: ClientSettings) -> TransportFailure:
    root = _find_root_cause(error)
    if not isinstance(error, requests.RequestException):
        return build_tls_failure(settings, root, is_gone=False, maybe_sent=False)
    maybe_sent = not any(map(was_connecting, _iterate_causes(error)))
    match error:
        case requests.exceptions.ConnectTimeout():
            return build_connect_timeout(settings)
        case requests.exceptions.ReadTimeout() if not maybe_sent:  # within the TLS handshake
            return build_connect_timeout(settings)
        case requests.exceptions.ReadTimeout():
            return build_read_timeout(settings)
        case requests.exceptions.SSLError():
            return build_tls_failure(settings, root, is_gone=was_hung_up(root), maybe_sent=maybe_sent)
        case requests.exceptions.ProxyError() if not maybe_sent:  # else the request had gone through the proxy
            return build_proxy_failure(settings, root)
        case requests.exceptions.InvalidSchema():  # a SOCKS proxy, without PySocks
            return build_proxy_failure(settings, root, transient=False)
        case requests.exceptions.ConnectionError() if isinstance(root, ReadTimeoutError):  # within the body
            return build_read_timeout(settings)
    return build_connection_failure(settings, root, maybe_sent=maybe_sent)


def _find_root_cause(error: BaseException) -> BaseException:
    """Find the innermost cause that has words of its own."""
    *_, root = _iterate_causes(error, also_implied=False)
    return root


def _iterate_causes(error: BaseException | None, *, also_implied: bool = True) -> Iterator[BaseException]:
    """Return an error and what it wraps: requests wraps urllib3, which wraps the socket's error."""
    while error is not None:
        yield error
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = error.__cause__ if also_implied else None
        error = inner
