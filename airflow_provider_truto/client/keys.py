"""Whose idempotency key a write carries that its caller gave none: see ``WriteKeys``.

This package's client makes a random one for each call. Hooks know the task that calls, and take its key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from airflow_provider_truto.client.request import Request, make_random_key


class CurrentTask:
    """Stands for the task that runs; see ``CURRENT_TASK``."""

    def __repr__(self) -> str:
        return "<the running task>"


#: What a method's ``context`` is where it is left out: that of the task that runs, if one does.
CURRENT_TASK: Any = CurrentTask()


class KeyVersionStore(Protocol):
    """Keeps the version of one idempotency key beyond this process, e.g. in Airflow's task state store.

    The version is a number that is appended to the key (``…-2``) after refusals that executed nothing, since Truto
    would repeat its stored refusal under the same key.
    """

    @property
    def may_advance(self) -> bool:
        """Whether no earlier request with this key can have been executed."""

    @property
    def refusals(self) -> int:
        """How often the stored version was refused before this call, which goes on where another was put off."""

    def load(self) -> int:
        """Return the stored version, 1 where there is none."""

    def save(self, version: int) -> object:
        """Store the version durably before returning; what is returned is awaited where it can be."""

    def put_off(self, *, refusals: int, may_have_executed: bool) -> object:
        """Store durably what the call that goes on later has to know of this one; awaited as ``save`` is."""


class WriteKeys(Protocol):
    """Makes the idempotency keys of one caller's writes; each call of ``make_key`` is another write."""

    def make_key(self, request: Request) -> str:
        """Return the key of a request that is about to be sent, and that has none yet."""

    def find_versions(self, key: str) -> KeyVersionStore | None:
        """Return what keeps the version of one of these keys; ``None`` where nothing does."""


#: Reads, when the first write is about to be sent, who makes its key; on aiohttp it may have to be awaited.
FindKeys = Callable[[], WriteKeys | Awaitable[WriteKeys]]


class RandomKeys:
    """Makes a key that no other call uses: two calls are two writes."""

    def make_key(self, request: Request) -> str:  # noqa: ARG002
        """Return a random key."""
        return make_random_key()

    def find_versions(self, key: str) -> None:
        """Return ``None``: no later call repeats the key."""
