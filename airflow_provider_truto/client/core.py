"""The client, written once for every transport: tokens, rate limits, retries and cached answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from airflow_provider_truto.client import shared
from airflow_provider_truto.client.endpoints import mint_request
from airflow_provider_truto.client.errors import TrutoTransportError
from airflow_provider_truto.client.keys import KeyVersionStore
from airflow_provider_truto.client.redaction import Scrubber, escape_controls
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.retry import Result, RetryLoop, RetryPolicy, parse_value
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import ApiToken, Owner, Token, TokenCache, TokenRefresh, unwrap_refresh
from airflow_provider_truto.client.transports.base import Transport, maybe_await

#: Characters of a warning: it may contain text of a server, of any length.
_LONGEST_WARNING = 4_000

P = ParamSpec("P")
T = TypeVar("T")


def _ignore(_value: object) -> None:
    """Do nothing: the default of every callback."""


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Callbacks that are told what the client does.

    ``on_response`` gets the result of each request, ``on_warning`` a sentence, ``on_wait`` a sentence before each
    wait between two attempts, ``on_token`` the text of a token that was minted, before anything goes out under it, so
    that it can be masked; on aiohttp it may return an awaitable.
    """

    on_response: Callable[[Result], None] = _ignore
    on_warning: Callable[[str], None] = _ignore
    on_wait: Callable[[str], None] = _ignore
    on_token: Callable[[str], object] = _ignore


class Client:
    """Truto under one connection, over any transport. Methods raise ``TrutoError``s."""

    def __init__(
        self,
        settings: ClientSettings,
        tokens: ApiToken,
        transport: Transport,
        *,
        token_cache: TokenCache,
        observer: Observer | None = None,
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self.observer = observer or Observer()
        self.transport = transport
        self.token_cache = token_cache
        self._on_backoff: Callable[[], AbstractContextManager[None]] = nullcontext
        self._policy = RetryPolicy(max_attempts=settings.max_attempts, max_wait=settings.max_wait)
        self._scrubber = Scrubber(settings, tokens)

    def with_backoff(self, on_backoff: Callable[[], AbstractContextManager[None]]) -> Client:
        """Return a client over the same transport whose waits between two attempts ``on_backoff`` surrounds."""
        other = copy(self)
        other._on_backoff = on_backoff
        return other

    def putting_off(self, *, over: float | None) -> Client:
        """Return a client over the same transport that puts off longer waits; see ``RetryPolicy.put_off_over``."""
        other = copy(self)
        other._policy = replace(self._policy, put_off_over=over)
        return other

    async def run(self, request: Request, *, key_versions: KeyVersionStore | None = None) -> Result:
        """Send a request with retries; see ``RetryLoop``."""
        loop = RetryLoop(
            request,
            transport=self.transport,
            tokens=self,
            limiter=shared.get_rate_limiter(
                origin=self.settings.origin,
                token_digest=self.tokens.current().digest,
                requests_per_second=self.settings.requests_per_second,
            ),
            policy=self._policy,
            key_versions=key_versions,
            connection=self.settings.name,
            server=self.settings.base_url,
            scrub=self._scrubber.scrub,
            on_wait=self.observer.on_wait,
            on_backoff=self._on_backoff,
        )
        result = await loop.run()
        self.observer.on_response(result)
        return result

    async def fetch(self, request: Request, *, key_versions: KeyVersionStore | None = None) -> Result:
        """Send a request with retries, or return its cached answer where ``cache_ttl`` allows that."""
        if not request.cache_ttl:
            return await self.run(request, key_versions=key_versions)
        key = self._make_cache_key(request)
        if (response := shared.RESPONSES.get(key)) is not None:
            # Its JSON is parsed again, so that no two callers share one object.
            return Result(
                response=response, value=parse_value(request, response), request=request, attempts=0, waited=0.0
            )
        result = await self.run(request, key_versions=key_versions)
        if isinstance(result.value, (dict, bytes)):  # anything else is a wrong answer
            shared.RESPONSES.put(key, result.response, cache_ttl=request.cache_ttl)
        return result

    async def fetch_value(self, request: Request, key_versions: KeyVersionStore | None = None) -> Any:
        """Return the JSON of the answer, bytes where any content is taken, or the chunks of a streamed one."""
        result = await self.fetch(request, key_versions=key_versions)
        return result.response.stream if request.streamed else result.value

    async def fetch_object(self, request: Request, *needed: str) -> dict[str, Any]:
        """Return the JSON object of the answer. Raises ``TrutoTransportError`` where a ``needed`` key is missing."""
        value = (await self.fetch(request)).value
        if not isinstance(value, dict) or not value.keys() >= set(needed):
            keys = f" with {', '.join(needed)}" if needed else ""
            raise TrutoTransportError(
                f"{request.describe()}: expects a JSON object{keys}, got something else: check the connection's host"
            )
        return value

    def warn(self, text: str) -> None:
        """Report a warning, shortened and with control characters escaped: it may contain text of a server."""
        self.observer.on_warning(escape_controls(text[:_LONGEST_WARNING]))

    async def get_token(self, request: Request) -> Token:
        """Return the token to send a request under."""
        account_id = self._find_token_account(request)
        return self.tokens.current() if account_id is None else await self._get_account_token(account_id)

    async def renew_token(self, request: Request, refused: Token) -> Token | None:
        """Return a token other than the one that Truto refused; ``None`` where there is none."""
        if (account_id := self._find_token_account(request)) is not None:
            return await self._get_account_token(account_id, refused=refused)
        if self.tokens.get_unless(refused) is None:
            self.tokens.replace(await maybe_await(self.tokens.reread()))
        return self.tokens.get_unless(refused)

    def _find_token_account(self, request: Request) -> str | None:
        """Return the account whose minted token the request goes out under; ``None`` for the API token."""
        is_own = self.settings.data_auth == "account" and request.is_data
        return request.integrated_account_id if is_own else None

    async def _get_account_token(self, account_id: str, *, refused: Token | None = None) -> Token:
        """Return the account's token: the one that is kept, one that another caller mints now, or a new one."""
        while True:
            owner = Owner(self.settings.origin, self.tokens.current(), account_id)
            acquired = self.token_cache.acquire(owner, refused=refused)
            if isinstance(acquired, Token):
                return acquired
            if isinstance(acquired, TokenRefresh):
                with acquired as refresh:
                    token = _parse_minted_token(await self.run(mint_request(account_id)))
                    await maybe_await(self.observer.on_token(token.reveal()))
                    return refresh.store(token, life=self.settings.account_token_life)
            if other := unwrap_refresh(await self.transport.wait_for(acquired)):
                return other

    def _make_cache_key(self, request: Request) -> Hashable:
        return self.settings.base_url, self.tokens.current(), request.integrated_account_id, request.target


#: A coroutine function of a client: what synchronous and asynchronous clients and hooks run.
Function = Callable[Concatenate[Client, P], Coroutine[Any, Any, T]]


def putting_off(function: Function[P, T], *, over: float | None) -> Function[P, T]:
    """Return the same function, of which a call that is told to wait longer than ``over`` seconds is put off."""

    async def run(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await function(client.putting_off(over=over), *args, **kwargs)

    return run


def _parse_minted_token(result: Result) -> Token:
    value = result.value
    text = value.get("integrated_account_token") if isinstance(value, dict) else None
    try:
        return Token(text if isinstance(text, str) else "")
    except ValueError:
        raise TrutoTransportError(
            f"{result.request.describe()}: the answer holds no usable integrated_account_token"
        ) from None
