"""Rate limits: Truto's two tiers and the CRM's own.

500 requests per 10 s and API token, 50 per 10 s and integrated account; both answer 429 with a
`Retry-After` and no remote flag. The CRM's quota is what the `ratelimit-*` headers tell.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Mapping
from time import monotonic
from typing import Any

DEFAULT_LIMITS = {
    "token": {"requests": 500, "seconds": 10},
    "account": {"requests": 50, "seconds": 10},
    "provider": {"requests": 110, "seconds": 10},
}


class Window:
    """At most `requests` in any span of `seconds`, for each key by itself. Refused requests do not count."""

    def __init__(self, *, requests: int, seconds: float) -> None:
        self.requests = requests
        self.seconds = seconds
        self._spent: dict[Hashable, deque[float]] = {}

    @property
    def retry_after(self) -> int:
        """Whole seconds after which the window is surely open again: 10 for Truto's own."""
        return math.ceil(self.seconds)

    def spend(self, key: Hashable) -> bool:
        """Take one request from the quota; False where none is left."""
        now = monotonic()
        spent = self._drop_expired(key, now)
        if len(spent) >= self.requests:
            return False
        spent.append(now)
        return True

    def count_left(self, key: Hashable) -> tuple[int, int]:
        """Return the requests left, and whole seconds until the oldest one spent comes back."""
        now = monotonic()
        spent = self._drop_expired(key, now)
        if not spent:
            return self.requests, self.retry_after
        return self.requests - len(spent), max(1, math.ceil(spent[0] + self.seconds - now))

    def _drop_expired(self, key: Hashable, now: float) -> deque[float]:
        spent = self._spent.setdefault(key, deque())
        while spent and spent[0] <= now - self.seconds:
            spent.popleft()
        return spent


class Limits:
    """The three windows. Where they are not `enforced`, no quota is ever used up."""

    def __init__(self, limits: Mapping[str, Mapping[str, Any]], *, enforced: bool) -> None:
        self.enforced = enforced
        self.token = Window(**limits["token"])
        self.account = Window(**limits["account"])
        self.provider = Window(**limits["provider"])

    def build_headers(self, integrated_account_id: str) -> tuple[tuple[str, str], ...]:
        """Return the CRM's quota; as in the API's own example, one request of it is used where nobody counts."""
        quota = self.provider
        left, reset = (
            quota.count_left(integrated_account_id) if self.enforced else (quota.requests - 1, quota.retry_after)
        )
        return (
            ("ratelimit-limit", f"{quota.requests};w={quota.seconds:g}"),
            ("ratelimit-remaining", str(left)),
            ("ratelimit-reset", str(reset)),
        )
