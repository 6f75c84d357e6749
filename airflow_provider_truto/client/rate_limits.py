"""What an answer's headers say about waiting.

Sources: Truto's docs/api-reference/overview/rate-limits (``ratelimit-*``; ``ratelimit-reset`` is in seconds
from now) and its texts on errors (Truto's own tiers answer 429 with ``Retry-After: 10``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

#: Seconds to wait after a 429 that names none: the length of Truto's own windows.
DEFAULT_WAIT = 10.0
#: Anything shorter is rounded up to this many seconds.
SHORTEST_WAIT = 1.0


def asked_wait(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the server asks to wait: ``Retry-After``, else ``ratelimit-reset``, else ``None``.

    ``now`` is seconds since the epoch, for a ``Retry-After`` that is an HTTP date. Zero, a moment in the
    past and what cannot be read count as not given.
    """
    for seconds in (_retry_after(headers, now), _seconds(headers.get("ratelimit-reset", ""))):
        if seconds is not None and seconds > 0:
            return max(seconds, SHORTEST_WAIT)
    return None


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    value = headers.get("retry-after", "")
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:  # RFC 9110: an HTTP date is always in GMT
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() - datetime.fromtimestamp(now, timezone.utc).timestamp()


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
