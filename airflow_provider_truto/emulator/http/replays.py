"""What Truto remembers of an `Idempotency-Key`: the answer, and whose turn it is.

The scope is integrated account, path and key; query string, body and even the method are not part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response

IdempotencyScope = tuple[str, tuple[str, ...], str]

_WRITES = ("POST", "PATCH", "PUT", "DELETE")
_MAX_RESPONSES = 100_000  # the lifetime of a key is undocumented; a long benchmark must fit into memory


def find_idempotency_scope(request: Request) -> IdempotencyScope | None:
    """Return what a repeat is recognised by; None for a read, and for a call without a key or an account."""
    key = request.headers.get("idempotency-key")
    account_id = request.integrated_account_id
    if not key or not account_id or not request.is_for_data or request.method not in _WRITES:
        return None
    return account_id, request.path, key


class Replays:
    """The answers by their scope, and the scopes whose first call is under way."""

    def __init__(self) -> None:
        self._responses: dict[IdempotencyScope, Response] = {}
        self._running: dict[IdempotencyScope, asyncio.Event] = {}

    def get(self, scope: IdempotencyScope | None) -> Response | None:
        """Return the answer to repeat, if there is one."""
        return None if scope is None else self._responses.get(scope)

    def put(self, scope: IdempotencyScope | None, response: Response) -> None:
        """Remember the first answer of the scope; a later one never replaces it."""
        if scope is None:
            return
        self._responses.setdefault(scope, response)
        if len(self._responses) > _MAX_RESPONSES:
            del self._responses[next(iter(self._responses))]

    @asynccontextmanager
    async def take_turn(self, scope: IdempotencyScope | None) -> AsyncIterator[None]:
        """Admit one call of a scope at a time: a duplicate waits here until the first has its answer."""
        if scope is None:
            yield
            return
        while running := self._running.get(scope):
            await running.wait()
        self._running[scope] = asyncio.Event()
        try:
            yield
        finally:
            self._running.pop(scope).set()
