"""How much of what Truto allows the shards of a bulk use: ``python -m benchmarks.shards`` prints the guide's table.

Computed, not measured: the package's own pacing and its own split of the source run under a clock that jumps, each
call is answered at once, and each customer has as many records. So it shows what the split alone costs.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Callable, Sequence
from uuid import UUID

from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.shards import Shard
from airflow_provider_truto.client.rate_limiter import ACCOUNT_RATE, TIER_SECONDS, TOKEN_RATE, RateLimiter
from airflow_provider_truto.client.response import Response

CUSTOMERS = (5, 10, 20, 40, 100, 400)
SHARDS = (1, 2, 4, 8)
#: For each cell, with other ids of customers each time, by whose hashes they are spread.
_DRAWS = 9
#: Records of a bulk, and at least so many of each customer.
_RECORDS, _OF_CUSTOMER = 6_000, 60
_ANSWER = Response(status=200, headers={}, body=b"")


def share(customers: int, shards: int, *, draws: int = _DRAWS) -> float:
    """Return the share of the allowed rate that so many customers in so many shards use, as the median of draws."""
    each = max(_OF_CUSTOMER, _RECORDS // customers)
    rate = min(TOKEN_RATE, ACCOUNT_RATE * customers)
    # What the first window holds may go out at once.
    shortest = customers * each / rate - TIER_SECONDS
    return statistics.median(
        min(
            1.0,
            shortest / max(_seconds(part, each, TOKEN_RATE / shards) for part in _spread(customers, shards, draw)),
        )
        for draw in range(draws)
    )


def _spread(customers: int, shards: int, draw: int) -> list[list[str]]:
    """Return the customers of each shard."""
    chance = random.Random(f"{customers} {draw}")
    accounts = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(customers)]
    parts = [Shard(index=index, count=shards) for index in range(shards)]
    return [[account for account in accounts if part.has(_record(account))] for part in parts]


def _record(account: str) -> Record:
    return Record(ordinal=0, id="1", body={}, integrated_account_id=account)


def _seconds(accounts: Sequence[str], each: int, rate: float) -> float:
    """Return the time that a task takes for so many records of each account, at so many calls per second in all."""
    now = 0.0
    clock: Callable[[], float] = lambda: now  # noqa: E731
    limiter = RateLimiter(requests_per_second=rate, clock=clock)
    left = dict.fromkeys(accounts, each)
    waiting = [(0.0, place, account) for place, account in enumerate(accounts)]
    turn = len(waiting)
    while waiting:
        now, _, account = heapq.heappop(waiting)
        if wait := limiter.acquire_delay(account):
            heapq.heappush(waiting, (now + wait, turn, account))
        else:
            limiter.on_response(account, response=_ANSWER, is_remote=False)
            left[account] -= 1
            if left[account]:
                heapq.heappush(waiting, (now, turn, account))
        turn += 1
    return max(now, 0.001)


def row(customers: int) -> str:
    """Write a line of the table."""
    cells = (f"{share(customers, shards):.0%}" for shards in SHARDS)
    return f"| {customers} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    print("| customers |", " | ".join(f"{n} shards" if n > 1 else "one task" for n in SHARDS), "|")
    print("| --- " * (len(SHARDS) + 1) + "|")
    for customers in CUSTOMERS:
        print(row(customers), flush=True)


if __name__ == "__main__":
    main()
