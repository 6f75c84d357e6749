"""What a transport does: it sends one request, sleeps, and waits for another caller; nothing else.

Above it there is one control flow, written as coroutines. The transport on aiohttp suspends them while it waits; the
one on requests blocks inside its methods, so that a coroutine runs to its end without ever being suspended.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.tokens import Token

T = TypeVar("T")

#: Bytes read at a time. Older urllib3 unpacks such a piece whole, a thousandfold at worst: 16 MiB then.
CHUNK = 16 * 1024
#: Bytes of a line, and lines, that the head of an answer may have. http.client takes 100 lines, older aiohttp any
#: number, in a time that grows with its square.
LONGEST_LINE = 65536
MOST_HEADER_LINES = 1_000


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """The connection failed or the answer could not be read to its end. ``reason`` is one short line."""

    reason: str
    #: Whether repeating it may help; a certificate that does not fit stays so.
    transient: bool = True
    #: Whether the request can have gone out; false only where it is known that no connection came about.
    maybe_sent: bool = True


class Transport(Protocol):
    """How requests reach Truto."""

    async def send(self, request: Request, token: Token) -> Response | TransportFailure:
        """Send a request under a token, once, and read its answer; unless streamed, to its end."""

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""

    async def wait_for(self, future: Future[T]) -> T:
        """Wait for a future that another thread or coroutine completes, and return its result."""


def build_request_headers(request: Request) -> dict[str, str]:
    """Return a request's own headers, beside those that go with every request."""
    headers = dict(request.headers)
    if (request.streamed or request.any_content) and "accept" not in map(str.lower, headers):
        headers["Accept"] = "*/*"
    if request.body is not None:
        headers["Content-Type"] = request.content_type
    if request.idempotency_key is not None:
        headers["Idempotency-Key"] = request.idempotency_key
    return headers


async def maybe_await(value: T | Awaitable[T]) -> T:
    """Return the value of a callback, which on aiohttp may have to be awaited."""
    return await value if inspect.isawaitable(value) else value
