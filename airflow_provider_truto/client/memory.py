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
class _Kept:
    response: Response
    fresh_until: float


class Memory:
    """Answers under a key that names server, token, account and call. Safe between threads. ``clock`` in seconds.

    Answers are kept as bytes, so that nobody can change what another one gets.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def recall(self, key: Hashable) -> Response | None:
        """Give the answer, ``None`` where there is none that is fresh."""
        with self._lock:
            kept = self._kept.get(key)
            return kept.response if kept is not None and self._clock() < kept.fresh_until else None

    def keep(self, key: Hashable, response: Response, *, fresh_for: float) -> None:
        """Keep an answer for so many seconds, unless it is very large."""
        if len(response.body) > _LARGEST:
            return
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = _Kept(response, self._clock() + fresh_for)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def forget(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def __repr__(self) -> str:
        return f"Memory({len(self._kept)} answers)"
