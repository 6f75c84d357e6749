"""What all clients of this process share: rate limits, cached responses, minted tokens."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from functools import lru_cache

from airflow_provider_truto.client.cache import ResponseCache
from airflow_provider_truto.client.rate_limiter import RateLimiter
from airflow_provider_truto.client.tokens import TokenCache

#: More rate limiters than this are not remembered.
_REMEMBERED = 128

RESPONSES = ResponseCache()
#: Minted tokens of the clients on requests.
SYNC_TOKENS = TokenCache()
#: Those of the clients on aiohttp, kept apart: a coroutine that blocks its loop while it waits for a token that is
#: minted in that same loop would never go on.
ASYNC_TOKENS = TokenCache()
_lock = threading.Lock()


def get_rate_limiter(*, origin: Hashable, token_digest: str, requests_per_second: float | None) -> RateLimiter:
    """Return the one rate limiter that all clients of this process share for a token at an origin.

    A limit is the token's, not a client's. Two connections that hold one token but ask for different
    ``requests_per_second`` have separate limiters, which know nothing of each other: what they send adds up. Other
    processes are not seen either. The limiters used last are kept. Raises ``ValueError`` as ``RateLimiter`` does.
    """
    with _lock:  # lru_cache alone may build two under threads, and hand each to one of them
        return _make_rate_limiter(origin, token_digest, requests_per_second)


@lru_cache(maxsize=_REMEMBERED)
def _make_rate_limiter(_origin: Hashable, _token_digest: str, requests_per_second: float | None) -> RateLimiter:
    return RateLimiter(requests_per_second=requests_per_second)


def reset() -> None:
    """Forget everything, as a new process does; for tests."""
    _make_rate_limiter.cache_clear()
    RESPONSES.clear()
    SYNC_TOKENS.clear()
    ASYNC_TOKENS.clear()
