"""The formats that are checked: dates and date-times, in the same way on every version of Python and jsonschema."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache

from jsonschema import FormatChecker

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: RFC 3339: the zone is not optional there.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@cache
def build_format_checker() -> FormatChecker:
    """Return jsonschema's checker with our ``date-time`` and ``date`` in it."""
    checker = FormatChecker()

    # jsonschema checks date-time only where an optional package is installed.
    @checker.checks("date-time")
    def is_date_time(value: object) -> bool:
        return not isinstance(value, str) or parse_date_time(value) is not None

    # And what it takes for a date differs between its versions and Python's: 20260131, 2026-W05-6.
    @checker.checks("date")
    def is_date(value: object) -> bool:
        return not isinstance(value, str) or _is_date(value)

    return checker


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def parse_date_time(text: str) -> datetime | None:
    """Read an RFC 3339 date-time, always aware; ``None`` where the text is not one."""
    if not _DATE_TIME.fullmatch(text):
        return None
    # Python 3.10 reads neither "Z" nor a fraction of any length.
    seconds, fraction, zone = re.fullmatch(r"(.{19})(\.\d+)?(.*)", text).groups()  # type: ignore[union-attr]
    micro = f"{fraction or '.0':0<7}"[:7]
    try:
        return datetime.fromisoformat(f"{seconds}{micro}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        return None
