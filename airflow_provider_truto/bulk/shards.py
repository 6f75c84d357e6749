"""A source split into parts for several workers: each record belongs to exactly one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from airflow_provider_truto.bulk.record import Record  # slow to import, and DAG files import this module

ShardBy = Literal["account", "id"]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``index`` of ``count``, from 0. Raises ``ValueError`` for one that cannot exist.

    ``by="account"`` keeps a customer's records together, so that one process keeps that customer's limit; ``"id"``
    spreads those of a single customer, and still keeps the records of one id together, and their order.
    """

    index: int
    count: int
    by: ShardBy = "account"

    def __post_init__(self) -> None:
        is_whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (self.index, self.count))
        if not is_whole or not 0 <= self.index < self.count:
            raise ValueError(f"shard: expects an index from 0 below the count, got {self.index} of {self.count}")
        if self.by not in get_args(ShardBy):
            raise ValueError(f"shard: is by {' or '.join(get_args(ShardBy))}, got {self.by!r}")

    def has(self, record: Record) -> bool:
        """Return whether a record belongs here. It depends on the record alone, not on its place in the source."""
        return self.count == 1 or _hash_to_number(self._choose_key(record)) % self.count == self.index

    def __str__(self) -> str:
        return f"shard {self.index} of {self.count} by {self.by}"

    def _choose_key(self, record: Record) -> str:
        key = record.id if self.by == "id" else record.tenant_id or record.integrated_account_id
        if key is None and self.by == "account" and not record.problems and record.left_out is None:
            return ""  # all of the default customer
        # What names neither is spread by all that is known of it.
        return key.lower() if key is not None else json.dumps([record.body, str(record.problems)], default=str)


def shards(count: int, *, by: ShardBy = "account") -> list[dict[str, Any]]:
    """Return the arguments for a task per shard: ``.expand(shard=shards(8))``. Raises ``ValueError``."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"shards: expects a number from 1, got {count!r}")
    return [vars(Shard(index=index, count=count, by=by)) for index in range(count)]


def parse_shard(value: Any) -> Shard:
    """Read an argument: one of ``shards(n)``, or ``(index, count)``. Raises ``ValueError``."""
    if isinstance(value, Mapping) and {"index", "count"} <= set(value) <= {"index", "count", "by"}:
        return Shard(**value)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return Shard(index=value[0], count=value[1])
    raise ValueError(f"shard: expects an item of shards(n), or (index, count), got {value!r}")


def _hash_to_number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode(errors="replace")).digest()[:8], "big")
