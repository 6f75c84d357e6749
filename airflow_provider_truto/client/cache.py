"""Answers that are used again for a while within the process: what accounts can do, which schemas they have."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from airflow_provider_truto.client.response import Response

#: Answers kept; the oldest go first. A schema takes some kilobytes.
_MOST = 512
#: Bytes of an answer that is too large to be kept.
_LARGEST = 1024 * 1024


@dataclass(frozen=True)
class _Entry:
    response: Response
    expires_at: float


class ResponseCache:
    """Answers under a key that names server, token, account and request. Safe between threads. ``clock`` in seconds.

    Answers are kept as bytes, so that nobody can change what another one gets.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(self, key: Hashable) -> Response | None:
        """Return the answer, ``None`` where no fresh one is kept."""
        with self._lock:
            entry = self._entries.get(key)
            return entry.response if entry is not None and self._clock() < entry.expires_at else None

    def put(self, key: Hashable, response: Response, *, cache_ttl: float) -> None:
        """Keep an answer for so many seconds, unless it is very large."""
        if len(response.body) > _LARGEST:
            return
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = _Entry(response, self._clock() + cache_ttl)
            if len(self._entries) > _MOST:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def __repr__(self) -> str:
        return f"ResponseCache({len(self._entries)} answers)"
