"""How far the changes of one customer's records were followed. Nothing here makes a call.

A look asks for what changed since the last look *started*, minus an overlap: a CRM's clock may be behind ours, and
its lists may show a change late. What was seen within the overlap is remembered, so that it is not told twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_truto.client.times import read_time

#: Changes that a cursor remembers: as JSON below the 64 KiB that Airflow's state stores take without a warning.
MOST_SEEN = 4_000
#: Ids in one event. Airflow keeps events in its database and shows them in its UI.
MOST_IDS = 500


@dataclass(frozen=True, kw_only=True)
class Change:
    """A record at one point in time. ``digest`` stands for both."""

    record_id: str
    updated_at: datetime
    digest: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a customer's list showed at one point in time.

    ``changes`` are those at ``since`` or later. ``undated`` counts records without an id or an ``updated_at`` that
    can be read: whether they changed cannot be known. ``older`` counts those from before ``since``: the CRM ignores
    the filter.
    """

    since: datetime
    started: datetime
    changes: tuple[Change, ...]
    undated: int = 0
    older: int = 0


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where the next look goes on: ``watermark`` is when the last one started."""

    watermark: datetime
    seen: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """Return what Airflow's asset state store keeps."""
        return {"watermark": self.watermark.isoformat(), "seen": sorted(self.seen)}

    @classmethod
    def from_json(cls, value: Any) -> Cursor:
        """Read what the store has kept. Raises ``ValueError``; a person may have edited it."""
        given = value if isinstance(value, Mapping) else {}
        watermark, seen = read_time(given.get("watermark")), given.get("seen", [])
        if watermark is None or not isinstance(seen, list) or not all(isinstance(one, str) for one in seen):
            raise ValueError('it is not of the form {"watermark": "2026-01-01T00:00:00+00:00", "seen": []}')
        return cls(watermark=watermark, seen=frozenset(seen))


def read_clock() -> datetime:
    """Return the present moment, in milliseconds as times are on the wire."""
    now = datetime.now(timezone.utc)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def read_change(record: Any) -> Change | None:
    """Return what a record says of its last change; ``None`` where it says nothing that can be read."""
    if not isinstance(record, Mapping):
        return None
    record_id, moment = record.get("id"), record.get("updated_at")
    updated_at = read_time(moment)
    if updated_at is None or not isinstance(record_id, str | int) or record_id == "":
        return None
    whole = f"{record_id}\n{moment}".encode(errors="surrogatepass")
    return Change(
        record_id=str(record_id),
        updated_at=updated_at,
        digest=hashlib.blake2b(whole, digest_size=6).hexdigest(),
    )


def find_changed(look: Look, cursor: Cursor, *, overlap: timedelta) -> tuple[list[str], Cursor]:
    """Return the ids of records that changed since the cursor, oldest change first, and the next cursor."""
    if look.started < cursor.watermark:  # our clock was set back: it will come there again
        return [], cursor
    since, next_since = cursor.watermark - overlap, look.started - overlap
    in_window = sorted((one for one in look.changes if one.updated_at >= since), key=lambda one: one.updated_at)
    ids = dict.fromkeys(one.record_id for one in in_window if one.digest not in cursor.seen)
    # Oldest first: where there are too many, those are kept that the next look is most likely to show again.
    seen = [one.digest for one in in_window if one.updated_at >= next_since]
    return list(ids), Cursor(watermark=look.started, seen=frozenset(seen[-MOST_SEEN:]))
