"""The client on aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.core import Client, Function, Observer, P, T
from airflow_provider_truto.client.shared import ASYNC_TOKENS
from airflow_provider_truto.client.tokens import TokenCache
from airflow_provider_truto.client.transports.aiohttp import AiohttpTransport

if TYPE_CHECKING:
    from typing_extensions import Self

    from airflow_provider_truto.client.keys import KeyVersionStore
    from airflow_provider_truto.client.pages import Page, Pages
    from airflow_provider_truto.client.request import Request
    from airflow_provider_truto.client.retry import Result
    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.client.tokens import ApiToken


class AsyncClient(TrutoApi):
    """Truto over aiohttp, in one event loop; any number of coroutines may share one. ``close`` it at the end.

    ``sleep`` takes seconds. Methods raise as those of ``SyncClient`` do.
    """

    def __init__(
        self,
        settings: ClientSettings,
        tokens: ApiToken,
        *,
        observer: Observer | None = None,
        token_cache: TokenCache = ASYNC_TOKENS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connections: int = 100,
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self._transport = AiohttpTransport(settings, tokens, sleep=sleep, connections=connections)
        self._client = Client(settings, tokens, self._transport, token_cache=token_cache, observer=observer)

    @property
    def requests(self) -> int:
        """Requests that were sent, each attempt and each question about it."""
        return self._transport.requests

    async def do(self, function: Function[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function on the client, and return its result."""
        return await function(self._client, *args, **kwargs)

    async def run(self, request: Request, *, key_versions: KeyVersionStore | None = None) -> Result:
        """Send a request with retries; see ``RetryLoop``."""
        return await self._client.run(request, key_versions=key_versions)

    def listing(
        self,
        function: Function[P, Pages],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncListing:
        """Return an async iterator over a list's records; its calls go out as they are asked for."""
        return AsyncListing(partial(self.do, function, *args, **kwargs))

    def with_backoff(self, on_backoff: Callable[[], AbstractContextManager[None]]) -> AsyncClient:
        """Return a client over the same connections whose waits between two attempts ``on_backoff`` surrounds.

        A caller that keeps many in flight starts another one meanwhile.
        """
        other = copy(self)
        other._client = self._client.with_backoff(on_backoff)
        return other

    def putting_off(self, *, over: float | None) -> AsyncClient:
        """Return a client over the same connections that puts off longer waits; see ``RetryPolicy.put_off_over``."""
        other = copy(self)
        other._client = self._client.putting_off(over=over)
        return other

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncListing:
    """The records of a list, whose pages are fetched as they are needed; iterate it once.

    Its attributes are those of ``sync.Listing``.
    """

    def __init__(self, open_pages: Callable[[], Awaitable[Pages]]) -> None:
        self._open_pages = open_pages
        self._pages: Pages | None = None
        self._records = self._iterate()
        self.cursor: str | None = None
        self.count = 0
        self.is_partial_response = False
        self.ended_early = False

    async def pages(self) -> AsyncIterator[Page]:
        """Iterate over pages instead of records."""
        self._pages = pages = self._pages or await self._open_pages()
        while (page := await pages.next()) is not None:
            self.cursor = page.cursor
            self.count += len(page.items)
            self.is_partial_response |= page.is_partial
            self.ended_early |= page.ended_early
            yield page

    async def _iterate(self) -> AsyncGenerator[Any, None]:
        async for page in self.pages():
            for record in page.items:
                yield record

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._records

    async def __anext__(self) -> Any:
        return await self._records.__anext__()
