"""The driver on requests: carries out the steps of ``exchange`` with a pooled keep-alive session."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from airflow_provider_truto.client.answer import Answer
from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.errors import TrutoTransportError, where
from airflow_provider_truto.client.exchange import (
    CurrentToken,
    NewToken,
    NoAnswer,
    Outcome,
    Patience,
    SaveSuffix,
    Send,
    Sleep,
    Step,
    exchange,
)
from airflow_provider_truto.client.redaction import scrubbed
from airflow_provider_truto.client.settings import ClientSettings, Origin
from airflow_provider_truto.client.tokens import ApiToken, Token

#: Bytes read at a time. Older urllib3 unpacks such a piece whole, a thousandfold at worst: 16 MiB then.
_CHUNK = 16 * 1024


class SuffixStore(Protocol):
    """Where the number behind an idempotency key outlives the process, e.g. Airflow's task state store."""

    def load(self) -> int:
        """Give the stored number, 1 where there is none."""

    def save(self, suffix: int) -> None:
        """Store the number durably before returning."""


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
        adapter = HTTPAdapter(max_retries=0, pool_maxsize=32)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send a request; see ``requests.Session.request``."""
        if url.startswith("/"):
            url = self._settings.base_url.rstrip("/") + url
        return super().request(method, url, *args, **kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a prepared request, under the connection's TLS, proxy and timeouts also where they are not given."""
        if "verify" not in kwargs:
            kwargs |= self.merge_environment_settings(
                request.url, kwargs.get("proxies"), kwargs.get("stream"), None, kwargs.get("cert")
            )
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (self._settings.connect_timeout, self._settings.read_timeout)
        return super().send(request, **{**kwargs, "allow_redirects": False})

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Let the connection's TLS and proxy win over the environment's; requests lets them lose."""
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


class SyncClient:
    """Truto over requests. Not for use by several threads at once.

    ``sleep`` takes seconds. Every method raises ``TrutoError``s only.
    """

    def __init__(
        self, settings: ClientSettings, tokens: ApiToken, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self.session = TrutoSession(settings, tokens.current)
        self._sleep = sleep

    def run(self, call: Call, *, suffixes: SuffixStore | None = None) -> Outcome:
        """Bring a call to its end: see ``exchange``."""
        steps = exchange(
            call,
            patience=Patience(max_attempts=self.settings.max_attempts, max_wait=self.settings.max_wait),
            suffix=suffixes.load() if suffixes else 1,
            can_save_suffix=suffixes is not None,
            scrub=self._scrub,
        )
        reply: Any = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            reply = self._carry_out(step, suffixes)

    def close(self) -> None:
        """Close the pooled connections."""
        self.session.close()

    def _carry_out(self, step: Step, suffixes: SuffixStore | None) -> Any:
        match step:
            case Send():
                return self._send(step.call, step.token)
            case Sleep():
                return self._sleep(step.seconds)
            case CurrentToken():
                return self.tokens.current()
            case NewToken():
                return self.tokens.renewed(step.refused)
            case SaveSuffix() if suffixes is not None:
                return suffixes.save(step.suffix)
        raise AssertionError(f"unexpected step {step!r}")

    def _send(self, call: Call, token: Token) -> Answer | NoAnswer:
        try:
            response = self.session.request(
                call.method,
                call.target,
                data=call.body,
                headers=_headers(call),
                stream=True,
                auth=OriginAuth(lambda: token, self.settings.origin),
            )
            headers = {name.lower(): value for name, value in response.headers.items()}
            if call.streamed and response.ok:
                return Answer(status=response.status_code, headers=headers, stream=Chunks(response, call))
            body = _body(response, self.settings.response_limit)
        except requests.RequestException as error:
            return _no_answer(error, self.settings)
        if body is None:
            return NoAnswer(
                f"HTTP {response.status_code} with a body of more than {self.settings.response_limit} bytes",
                transient=False,
            )
        return Answer(status=response.status_code, headers=headers, body=body)

    def _scrub(self, call: Call, token: Token, text: str) -> str:
        return scrubbed(text, call=call, token=token, settings=self.settings)


class Chunks:
    """The bytes of a streamed answer, to be iterated once.

    Raises ``TrutoTransportError`` where the stream breaks: the call itself did succeed.
    """

    def __init__(self, response: requests.Response, call: Call) -> None:
        self._response = response
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_content(_CHUNK)
        except requests.RequestException as error:
            done = " The write itself was answered with success." if self._call.is_write else ""
            raise TrutoTransportError(
                f"{where(self._call)}: the answer broke off while it was streamed: {_sentence(_root(error))}.{done}"
            ) from None
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back; whatever was not read is lost."""
        self._response.close()


def _headers(call: Call) -> dict[str, str]:
    headers = {"Accept": "*/*"} if call.streamed else {}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.idempotency_key is not None:
        headers["Idempotency-Key"] = call.idempotency_key
    return headers


def _body(response: requests.Response, limit: int) -> bytes | None:
    """Read the whole body; ``None`` where it is longer than ``limit`` bytes."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_content(_CHUNK):
        size += len(chunk)
        if size > limit:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _no_answer(error: requests.RequestException, settings: ClientSettings) -> NoAnswer:
    host = settings.origin.host
    root = _root(error)
    match error:
        case requests.exceptions.ConnectTimeout():
            return NoAnswer(f"no connection to {host} within {settings.connect_timeout:g} s")
        case requests.exceptions.ReadTimeout():
            return NoAnswer(f"{host} did not answer within {settings.read_timeout:g} s (the connection's timeout)")
        case requests.exceptions.SSLError():
            # A peer that went away may be back; one that speaks otherwise, or that is not trusted, will not change.
            is_gone = isinstance(root, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(
                root, ssl.SSLError
            )
            hint = "" if is_gone else "; check the base URL and ca_bundle"
            return NoAnswer(f"TLS with {host} failed ({_sentence(root)}){hint}", transient=is_gone)
        case requests.exceptions.ProxyError():
            return NoAnswer(f"the proxy in front of {host} failed ({_sentence(root)})")
    return NoAnswer(f"the connection to {host} failed ({_sentence(root)})")


def _root(error: BaseException) -> BaseException:
    """Find the innermost cause: requests wraps urllib3, which wraps the socket's error."""
    while True:
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
