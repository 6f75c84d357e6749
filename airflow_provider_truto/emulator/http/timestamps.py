"""Points in time as the API writes them: UTC, milliseconds and a `Z`, as in `2021-08-10T10:00:00.000Z`."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> str:
    """Return the present moment."""
    return write(datetime.now(timezone.utc))


def write(moment: datetime) -> str:
    """Write a point in time as text; it must have a zone."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(text: str) -> datetime:
    """Read the point in time of an ISO 8601 text; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not read the `Z`
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
