"""What an answer's headers say about waiting.

Sources: Truto's docs/api-reference/overview/rate-limits (``ratelimit-*``; ``ratelimit-reset`` is in seconds
from now) and its texts on errors (Truto's own tiers answer 429 with ``Retry-After: 10``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

#: The only status that tells of a limit.
RATE_LIMITED = 429
#: Seconds to wait after a 429 that names none: the length of Truto's own windows.
DEFAULT_WAIT = 10.0
#: Anything shorter is rounded up to this many seconds.
SHORTEST_WAIT = 1.0
#: A ``ratelimit-reset`` of more seconds is not a wait: one of Truto's backends sends epoch milliseconds.
_LONGEST_RESET = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """What the provider still grants: ``remaining`` of ``limit`` requests for the next ``reset`` seconds.

    None is negative. ``limit`` is ``None`` where the provider does not tell.
    """

    limit: float | None
    remaining: float
    reset: float


def parse_quota(headers: Mapping[str, str]) -> Quota | None:
    """Read ``ratelimit-limit`` (such as ``110;w=10``), ``-remaining`` and ``-reset``.

    ``None`` where one of the latter two is missing or nonsense. The window behind ``w=`` is not read: Truto's
    own example has a window of 10 seconds and a reset in 60.
    """
    remaining = _parse_number(headers.get("ratelimit-remaining", ""))
    reset = _parse_reset(headers)
    if remaining is None or remaining < 0 or reset is None:
        return None
    limit = _parse_number(headers.get("ratelimit-limit", "").split(";", 1)[0])
    return Quota(limit=limit if limit is not None and limit > 0 else None, remaining=remaining, reset=reset)


def parse_wait(headers: Mapping[str, str], *, now: float, status: int = RATE_LIMITED) -> float | None:
    """Seconds that the server asks to wait: ``Retry-After``, else for a 429 ``ratelimit-reset``, else ``None``.

    Every answer has ``ratelimit-reset``; only where the limit is used up does it say when to come again.

    ``now`` is seconds since the epoch, for a ``Retry-After`` that is an HTTP date. Zero, a moment in the
    past and what cannot be read count as not given, and so does a reset that can only be a moment since the epoch.
    """
    for seconds in (_parse_retry_after(headers, now), _parse_reset(headers) if status == RATE_LIMITED else None):
        if seconds is not None and seconds > 0:
            return max(seconds, SHORTEST_WAIT)
    return None


def _parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    value = headers.get("retry-after", "")
    seconds = _parse_number(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:  # RFC 9110: an HTTP date is always in GMT
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() - datetime.fromtimestamp(now, timezone.utc).timestamp()


def _parse_reset(headers: Mapping[str, str]) -> float | None:
    seconds = _parse_number(headers.get("ratelimit-reset", ""))
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST_RESET else None


def _parse_number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
