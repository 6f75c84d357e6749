"""What a source of records is, and the part of one that a shard takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.shards import Shard


class Source(ABC):
    """Where records come from. It can be read several times, always in the same order."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Iterate over the records; a row that is not one is a record with problems.

        Raises ``OSError``, and ``SourceError`` where the rest cannot be read.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Name the source's content: with another one, a resume would not read what the first try read."""

    def count(self) -> int | None:
        """Return how many records there are, ``None`` where that is not known before they are read."""
        return None

    def keep(self) -> dict[str, Any] | None:
        """Make every later try read the same rows; return what the ledger's header needs for that, if anything."""
        return None

    def drop(self) -> None:  # noqa: B027  (most sources have nothing to drop)
        """Make the next try read the source again; only while no ledger was begun with it."""


class ShardedSource(Source):
    """The records of a source that belong to a shard, with the places they have in the whole source."""

    def __init__(self, source: Source, shard: Shard) -> None:
        self._source = source
        self._shard = shard

    def records(self) -> Iterator[Record]:
        """Iterate over them; the whole source is read."""
        return (record for record in self._source.records() if self._shard.has(record))

    def fingerprint(self) -> str:
        """Name the source's content and the shard: with another count, records would be in other ledgers."""
        return f"{self._source.fingerprint()}, {self._shard}"

    def keep(self) -> dict[str, Any] | None:
        """Keep what the whole source gave."""
        return self._source.keep()

    def drop(self) -> None:
        """Drop what the whole source gave."""
        self._source.drop()


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """A source that is not read yet: what it is called in the ledger, and how it is opened beside it.

    ``open`` takes the folder of the ledger, in which a query keeps its rows; it raises ``ValueError``. ``shard`` is
    which part of the whole it is.
    """

    fingerprint: str
    shard: Shard | None = None
    open: Callable[[Any], Source]
