"""What Truto remembers of an `Idempotency-Key`: the answer, and whose turn it is.

The scope is integrated account, path and key; query string, body and even the method are no part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow_provider_truto.emulator.call import Answer, Call

IdempotencyScope = tuple[str, tuple[str, ...], str]

_WRITES = ("POST", "PATCH", "PUT", "DELETE")
_KEPT_ANSWERS = 100_000  # the lifetime of a key is undocumented; a long benchmark must fit into memory


def idempotency_scope(call: Call) -> IdempotencyScope | None:
    """What a repeat is recognised by; None for a read, and for a call without a key or an account."""
    key = call.headers.get("idempotency-key")
    account_id = call.integrated_account_id
    if not key or not account_id or not call.is_for_data or call.method not in _WRITES:
        return None
    return account_id, call.path, key


class Replays:
    """The answers by their scope, and the scopes whose first call is under way."""

    def __init__(self) -> None:
        self._answers: dict[IdempotencyScope, Answer] = {}
        self._running: dict[IdempotencyScope, asyncio.Event] = {}

    def kept(self, scope: IdempotencyScope | None) -> Answer | None:
        """The answer to repeat, if there is one."""
        return None if scope is None else self._answers.get(scope)

    def keep(self, scope: IdempotencyScope | None, answer: Answer) -> None:
        """Remember the first answer of the scope; a later one never replaces it."""
        if scope is None:
            return
        self._answers.setdefault(scope, answer)
        if len(self._answers) > _KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]

    @asynccontextmanager
    async def turn(self, scope: IdempotencyScope | None) -> AsyncIterator[None]:
        """One call of a scope at a time: a duplicate waits here until the first has its answer."""
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
