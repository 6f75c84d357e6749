"""Bearer tokens: kept where no ``repr``, log line or exception can show them.

``ApiToken`` is a connection's own. ``TokenCache`` keeps those that are minted for one integrated account each
(docs/api-reference/admin/integrated-accounts/create-token): they live 15 minutes.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.settings import Origin, Unpicklable

if TYPE_CHECKING:
    from typing_extensions import Self

#: Outdated tokens are thrown away when so many are kept: a process may see many customers.
_SWEEP_AT = 1024


class Token(Unpicklable):
    """A secret that prints as ``***``; ``reveal()`` is called where the header is written, nowhere else.

    Raises ``ValueError`` for text that no header can carry.
    """

    __slots__ = ("_value", "digest")

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("the token is empty")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError(
                "the API token holds spaces, line breaks or non-ASCII characters:"
                " copy it again from Truto's dashboard, without surrounding white space"
            )
        self._value = value
        #: Tells tokens apart without revealing them.
        self.digest = hashlib.sha256(value.encode()).hexdigest()

    def reveal(self) -> str:
        """Return the token's text."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Token(***)"


class ApiToken:
    """The API token of a connection, read again when Truto refuses it.

    ``reread`` returns the token that the connection holds now: tokens get rotated while a task runs. On
    aiohttp it returns an awaitable of that.
    """

    def __init__(self, token: Token, *, reread: Callable[[], object]) -> None:
        self._token = token
        self.reread = reread

    def current(self) -> Token:
        """Return the token that was read last."""
        return self._token

    def get_unless(self, refused: Token) -> Token | None:
        """Return the token where it differs from the one that was refused."""
        return self._token if self._token != refused else None

    def replace(self, token: object) -> None:
        """Use the token that ``reread`` returned."""
        if not isinstance(token, Token):
            raise TypeError(f"expects a Token, not {type(token).__name__}")
        self._token = token

    def __repr__(self) -> str:
        return "ApiToken(***)"


class Owner(NamedTuple):
    """Whose minted token it is: never mixed up between servers, API tokens or customers."""

    origin: Origin
    api_token: Token
    integrated_account_id: str


@dataclass(frozen=True)
class _Entry:
    token: Token
    expires_at: float


class TokenCache:
    """Minted tokens, one per owner, and the refreshes that are under way.

    Safe between threads and event loops: of the callers that ask at the same time one gets a ``TokenRefresh``, which
    is the lock to mint under; the others get a future of its result. ``clock`` is in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Owner, _Entry] = {}
        self._refreshes: dict[Owner, Future[Token | TrutoError | None]] = {}

    def acquire(
        self, owner: Owner, *, refused: Token | None = None
    ) -> Token | Future[Token | TrutoError | None] | TokenRefresh:
        """Return a valid token other than the refused one, the lock to mint one, or the future of another caller's.

        ``unwrap_refresh`` reads the future's result.
        """
        with self._lock:
            entry = self._entries.get(owner)
            if entry is not None and entry.token != refused and self._clock() < entry.expires_at:
                return entry.token
            if future := self._refreshes.get(owner):
                return future
            future = self._refreshes[owner] = Future()
            # Running, so that a coroutine that is cancelled while it waits cancels nobody else's future.
            future.set_running_or_notify_cancel()
            return TokenRefresh(self, owner, future, began=self._clock())

    def end_refresh(self, owner: Owner, token: Token | None, *, expires_at: float) -> None:
        """End a refresh; ``token`` is ``None`` where it failed."""
        with self._lock:
            self._refreshes.pop(owner, None)
            if token is not None:
                if len(self._entries) >= _SWEEP_AT:
                    now = self._clock()
                    self._entries = {key: entry for key, entry in self._entries.items() if now < entry.expires_at}
                self._entries[owner] = _Entry(token, expires_at)

    def clear(self) -> None:
        """Forget every token; refreshes that are under way continue."""
        with self._lock:
            self._entries.clear()

    def __repr__(self) -> str:
        return "TokenCache(***)"


def unwrap_refresh(outcome: Token | TrutoError | None) -> Token | None:
    """Return the token of another caller's refresh; ``None`` where that caller gave up: ask again.

    Raises a copy of the ``TrutoError`` with which minting failed: each waiting request writes its own key and
    attempts into the error.
    """
    if isinstance(outcome, TrutoError):
        raise copy(outcome)
    return outcome


class TokenRefresh:
    """The lock to mint a token. A context manager: leaving it wakes every waiting caller, also after an exception."""

    def __init__(
        self, tokens: TokenCache, owner: Owner, future: Future[Token | TrutoError | None], *, began: float
    ) -> None:
        self._tokens = tokens
        self._owner = owner
        self._future = future
        self._began = began
        self._token: Token | None = None
        self._life = 0.0

    def store(self, token: Token, *, life: float) -> Token:
        """Keep the token for ``life`` seconds, counted from before it was asked for."""
        self._token, self._life = token, life
        return token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tokens.end_refresh(self._owner, self._token, expires_at=self._began + self._life)
        self._future.set_result(copy(error) if isinstance(error, TrutoError) else self._token)
