"""How many requests this process may begin, and when: no request is sent only to be told 429.

Sources: Truto's texts on errors (429 above 500 requests in 10 seconds for an API token, and above 50 in 10 seconds
for an integrated account) and docs/api-reference/overview/rate-limits (``ratelimit-*``, the provider's own limit,
on every unified and proxy answer).

Nothing here waits and nothing here does I/O. A client asks for ``acquire_delay`` before it sends, waits as long as
it is told, and asks again; the same object serves threads and an event loop at once.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_truto.client.rate_limit_headers import (
    DEFAULT_WAIT,
    RATE_LIMITED,
    Quota,
    parse_quota,
    parse_wait,
)
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import FASTEST

#: Requests per second that Truto grants a token, and an integrated account of it; counted over ``TIER_SECONDS``.
TOKEN_RATE = 50.0
ACCOUNT_RATE = 5.0
TIER_SECONDS = 10.0
#: Truto counts requests when they arrive, a ``RateLimiter`` when they leave. One that travelled slowly and one that
#: travelled fast arrive closer together than they left: our windows are longer by this much (0.2 seconds of 10),
#: which costs 2 % of the rate. What a request waits for its connection is counted, see ``Response.sent_after``.
MARGIN = 1.02
#: No header stops an account for more seconds than this; a request that comes too early gets another 429.
LONGEST_PAUSE = 60.0
#: Below this share of its limit, or below this many where it names none, a provider's requests are spread out.
FEW_SHARE = 0.2
FEW = 5.0
#: Seconds after which to ask again where the answers on their way decide.
_ASK_AGAIN = 1.0
#: The shortest wait: a clock that is read just before the moment would have callers ask in a circle.
_SHORTEST = 0.001


class RateLimiter:
    """What one token may send.

    ``requests_per_second``: ``None`` for Truto's tiers; a number for the token's requests, of which an account gets
    at most 5; ``0`` switches everything off, the provider's headers and the pauses after a 429 too. A number is
    counted like the tiers, as whole requests in 10 seconds (one request in more seconds below 0.1), and rounded down.
    ``clock`` is in seconds from anywhere and never goes back; ``now`` is in seconds since the epoch, for a
    ``Retry-After`` that is a date. Raises ``ValueError`` for what is not a rate.

    A request belongs to its integrated account; one for ``None`` counts for the token only, and what its answer
    says about limits holds for all requests of the token. Every ``acquire_delay`` that returned ``0.0`` must be
    followed by one ``on_response`` or ``on_failure``.
    """

    def __init__(
        self,
        *,
        requests_per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        rate = TOKEN_RATE if requests_per_second is None else requests_per_second
        if not 0 <= rate <= FASTEST:
            raise ValueError(f"requests_per_second: must be from 0 (no pacing) to {FASTEST:.0f}")
        self._is_off = rate == 0
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        if not self._is_off:
            self._token = _Limit(_make_window(rate), self._clock())
            self._accounts: OrderedDict[str, _Limit] = OrderedDict()

    def acquire_delay(self, account: str | None) -> float:
        """Ask to send a request: ``0.0`` means that it was counted and is to be sent now.

        Anything else are the seconds after which asking again makes sense; nothing was counted then.
        """
        if self._is_off:
            return 0.0
        with self._lock:
            # Under the lock, so that moments enter the windows in order.
            now = self._clock()
            wait = self._token.wait(now)
            limit = None if account is None else self._get_account_limit(account, now)
            if limit is not None:
                wait = max(wait, limit.wait(now))
            if wait > _SHORTEST:
                wait = self._token.turn(now, wait)
                return wait if limit is None else limit.turn(now, wait)
            if wait > 0:  # woken a little early: not to be sent to the end of the queue
                return _SHORTEST
            self._token.begin(now)
            if limit is not None:
                limit.begin(now)
            return 0.0

    def on_response(self, account: str | None, *, response: Response, is_remote: bool) -> None:
        """Learn from the answer to a request. ``is_remote``: the provider failed."""
        if self._is_off:
            return
        headers, status = response.headers, response.status
        # Truto's own 429 names no tier. Where an account is known, it is the one that is most likely full.
        pause = None
        if status == RATE_LIMITED:
            pause = min(parse_wait(headers, now=self._now(), status=status) or DEFAULT_WAIT, LONGEST_PAUSE)
        self._end(
            account,
            said=parse_quota(headers),
            pause=pause,
            has_reached_provider=status != RATE_LIMITED or is_remote,
            late=(response.seconds, response.sent_after) if response.sent_after else None,
        )

    def on_failure(self, account: str | None) -> None:
        """Learn that a request ended without an answer; it may have been counted all the same."""
        if not self._is_off:
            self._end(account, said=None, pause=None, has_reached_provider=True)

    def _end(
        self,
        account: str | None,
        *,
        said: Quota | None,
        pause: float | None,
        has_reached_provider: bool,
        late: tuple[float, float] | None = None,
    ) -> None:
        with self._lock:
            now = self._clock()
            limit = self._token if account is None else self._get_account_limit(account, now)
            if late is not None:
                seconds, sent_after = late
                for counting in {self._token, limit}:
                    counting.on_late_start(now - seconds, sent_after)
            if limit is not self._token:
                self._token.end(now, None, has_reached_provider=has_reached_provider)
            limit.end(now, said, has_reached_provider=has_reached_provider)
            if pause is not None:
                limit.pause(now + pause, by_provider=has_reached_provider)

    def _get_account_limit(self, account: str, now: float) -> _Limit:
        """Find or make the account's state, and drop the state of an account whose requests nothing delays any more.

        Accounts are in the order of their last use; dropping one at a time is enough, and cheap.
        """
        accounts = self._accounts
        limit = accounts.get(account)
        if limit is None:
            limit = accounts[account] = _Limit(_make_window(ACCOUNT_RATE), now)
        limit.used_at = now
        accounts.move_to_end(account)
        oldest, idle = next(iter(accounts.items()))
        if idle.is_forgettable(now):
            del accounts[oldest]
        return limit


class _Limit:
    """What counts against one limit: the requests of a token, or those of one account."""

    __slots__ = ("_in_flight", "_last", "_paused_until", "_quota", "_window", "used_at")

    def __init__(self, window: Window, now: float) -> None:
        self.used_at = now
        self._window = window
        self._in_flight = 0
        self._last = now
        self._paused_until = now
        self._quota: _ProviderQuota | None = None

    def wait(self, now: float) -> float:
        """Seconds until a request may begin; 0 or less: now."""
        wait = max(self._window.wait(now), self._paused_until - now)
        return wait if self._quota is None else max(wait, self._wait_for_quota(self._quota, now))

    def turn(self, now: float, wait: float) -> float:
        """Return the seconds that a caller must wait, which are at least ``wait``."""
        return self._window.turn(now) if wait == self._window.wait(now) else wait

    def begin(self, now: float) -> None:
        """Count a request in."""
        self._window.add(now)
        self._in_flight += 1
        self._last = now

    def on_late_start(self, begun: float, seconds: float) -> None:
        """Note that a request which was counted at that moment was sent ``seconds`` later."""
        self._window.postpone(begun, seconds)

    def end(self, now: float, said: Quota | None, *, has_reached_provider: bool) -> None:
        """Count a request out, with what its answer says that is left."""
        # Not below 0: the request may have begun before this account was forgotten.
        self._in_flight = max(0, self._in_flight - 1)
        quota = self._quota
        if quota is not None:
            quota.older -= 1
        if said is None or said.reset > LONGEST_PAUSE:
            if quota is not None and has_reached_provider:
                quota.remaining -= 1
        elif quota is None or not quota.hides(said, now):
            few = FEW if said.limit is None else said.limit * FEW_SHARE
            self._quota = _ProviderQuota(said.remaining, few, now + said.reset, older=self._in_flight)

    def pause(self, until: float, *, by_provider: bool) -> None:
        """Begin nothing before that moment."""
        self._paused_until = max(self._paused_until, until)
        if by_provider:
            # A refusal is newer than the quota of an earlier answer.
            self._quota = None

    def is_forgettable(self, now: float) -> bool:
        """Whether the state is too old to delay any request."""
        return now - self.used_at > LONGEST_PAUSE

    def _wait_for_quota(self, quota: _ProviderQuota, now: float) -> float:
        """Return the seconds to wait by the provider's last quota; 0 or less after its reset."""
        # The quota of an answer does not count the requests that were sent after it.
        left = quota.remaining - self._in_flight
        if left >= quota.few:
            return 0.0
        if left >= 1:
            return self._last + (quota.reset_at - self._last) / (left + 1) - now
        until_reset = quota.reset_at - now
        return until_reset if quota.remaining < 1 else min(until_reset, _ASK_AGAIN)


@dataclass(slots=True)
class _ProviderQuota:
    """The last quota of a provider: ``remaining`` requests until ``reset_at``; fewer than ``few`` are spread out.

    ``older`` is the number of outstanding answers to requests that were in flight when the quota came.
    """

    remaining: float
    few: float
    reset_at: float
    older: int

    def hides(self, said: Quota, now: float) -> bool:
        """Whether the quota of a later answer is older than this one, and must be ignored.

        Its request was in flight when this lower number came, so it may not count the requests that made it lower.
        """
        return now < self.reset_at and self.older >= 0 and said.remaining > self.remaining


class Window:
    """At most ``requests`` moments within any span of ``seconds``.

    It remembers the moments themselves. A bucket of tokens with the same rate and the same burst would let
    twice as many through in its first span: the burst, and what drips in meanwhile.
    """

    __slots__ = ("_moments", "_promised", "_requests", "seconds")

    def __init__(self, *, requests: int, seconds: float) -> None:
        self.seconds = seconds
        self._requests = requests
        self._moments: deque[float] = deque(maxlen=requests)
        self._promised = 0

    def wait(self, now: float) -> float:
        """Return the seconds until a place is free; 0 or less where one is."""
        if len(self._moments) < self._requests:
            return 0.0
        return self._moments[0] + self.seconds - now

    def turn(self, now: float) -> float:
        """Return the seconds until the next place that no other caller was told of; for when none is free now.

        Otherwise a hundred waiting callers would all wake for every single place. It is not a reservation: a caller
        that asks while a place is free gets it, so that one that never returns costs nothing. After the last place
        it starts again with the first, so that no caller is told more than ``seconds``.
        """
        place = self._promised if self._promised < self._requests else 0
        self._promised = place + 1
        return self._moments[place] + self.seconds - now

    def add(self, now: float) -> None:
        """Take a place that ``wait`` has shown to be free; the oldest moment drops out."""
        if self._promised and len(self._moments) == self._requests:
            self._promised -= 1
        self._moments.append(now)

    def postpone(self, moment: float, seconds: float) -> None:
        """Count the moment that was added at that time, or last before it, so many seconds later."""
        place = bisect_right(self._moments, moment + _SHORTEST) - 1  # a sum of floats may be a little less
        if place >= 0:
            del self._moments[place]
            insort(self._moments, moment + seconds)


def _make_window(rate: float) -> Window:
    """Turn requests per second into whole ones in ten seconds, rounded down, so that a limit per minute holds too."""
    requests = max(1, math.floor(rate * TIER_SECONDS))
    return Window(requests=requests, seconds=max(TIER_SECONDS, 1 / rate) * MARGIN)
