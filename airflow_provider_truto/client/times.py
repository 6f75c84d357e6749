"""Points in time as Truto and the CRMs behind it write them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

#: Python 3.10 reads three or six digits of a second and a zone with a colon, and nothing else.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:Z|([+-]\d\d):?(\d\d))?", re.IGNORECASE)


def read_time(value: Any) -> datetime | None:
    """Read ``2021-08-10T10:00:00.000Z``, ``2024-09-01 10:00:00`` (UTC) or ``2024-09-01T10:00:00+0000``.

    ``None`` where it is nothing of that kind, such as a date without a time.
    """
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    date, time, fraction, hours, minutes = found.groups()
    try:
        return datetime.fromisoformat(f"{date}T{time}.{(fraction or '')[:6]:0<6}{hours or '+00'}:{minutes or '00'}")
    except ValueError:  # a thirteenth month
        return None
