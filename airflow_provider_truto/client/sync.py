"""The client on requests: it runs the same coroutines as the one on aiohttp, which never suspend here."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.core import Client, Function, Observer, P, T
from airflow_provider_truto.client.shared import SYNC_TOKENS
from airflow_provider_truto.client.tokens import TokenCache
from airflow_provider_truto.client.transports.requests import RequestsTransport

if TYPE_CHECKING:
    import requests

    from airflow_provider_truto.client.keys import KeyVersionStore
    from airflow_provider_truto.client.pages import Page, Pages
    from airflow_provider_truto.client.request import Request
    from airflow_provider_truto.client.retry import Result
    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.client.tokens import ApiToken


class SyncClient(TrutoApi):
    """Truto over requests; threads may share one.

    ``sleep`` takes seconds. Every method raises ``TrutoError``s only, and ``ValueError`` or ``TypeError`` for
    arguments that can never be right.
    """

    def __init__(
        self,
        settings: ClientSettings,
        tokens: ApiToken,
        *,
        observer: Observer | None = None,
        token_cache: TokenCache = SYNC_TOKENS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self._transport = RequestsTransport(settings, tokens, sleep=sleep)
        self._client = Client(settings, tokens, self._transport, token_cache=token_cache, observer=observer)

    @property
    def session(self) -> requests.Session:
        """The pooled session; its token goes to the connection's origin only."""
        return self._transport.session

    def do(self, function: Function[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function on the client, and return its result."""
        return run_to_end(function(self._client, *args, **kwargs))

    def run(self, request: Request, *, key_versions: KeyVersionStore | None = None) -> Result:
        """Send a request with retries; see ``RetryLoop``."""
        return self.do(Client.run, request, key_versions=key_versions)

    def listing(
        self,
        function: Function[P, Pages],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Listing:
        """Return an iterator over a list's records; its calls go out as they are asked for."""
        return Listing(partial(self.do, function, *args, **kwargs))

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result. Raises ``RuntimeError`` where it does suspend."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(
        "a coroutine was suspended on the synchronous client: it awaits something else than the client's own methods"
    )


class Listing:
    """The records of a list, whose pages are fetched as they are needed; iterate it once.

    ``cursor`` gets the page after the one that is being read (``None`` at the end): a list can be resumed there.
    ``count`` counts the records of the pages so far; ``is_partial_response`` is true once Truto has said so,
    ``ended_early`` where a repeated cursor ended the list before Truto did.
    """

    def __init__(self, open_pages: Callable[[], Pages]) -> None:
        self._open_pages = open_pages
        self._pages: Pages | None = None
        self._records = (record for page in self.pages() for record in page.items)
        self.cursor: str | None = None
        self.count = 0
        self.is_partial_response = False
        self.ended_early = False

    def pages(self) -> Iterator[Page]:
        """Iterate over pages instead of records."""
        self._pages = pages = self._pages or self._open_pages()
        while (page := run_to_end(pages.next())) is not None:
            self.cursor = page.cursor
            self.count += len(page.items)
            self.is_partial_response |= page.is_partial
            self.ended_early |= page.ended_early
            yield page

    def __iter__(self) -> Iterator[Any]:
        return self._records

    def __next__(self) -> Any:
        return next(self._records)
