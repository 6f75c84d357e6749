"""Times in the forms that Truto's pages show, and CRMs write."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_truto.client.times import read_time

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-11-26T12:00:00.000Z", NOON),
        ("2026-11-26 12:00:00", NOON),
        ("2026-11-26T13:00:00+01:00", NOON),
        ("2026-11-26T13:00:00.000+0100", NOON),
        ("2026-11-26T12:00:00.250Z", NOON + timedelta(milliseconds=250)),
        ("2026-11-26T12:00:00.25Z", NOON + timedelta(milliseconds=250)),
        ("2026-11-26T12:00:00.2500000000Z", NOON + timedelta(milliseconds=250)),
        ("2026-11-26", None),
        ("2026-13-26T12:00:00Z", None),
        ("soon", None),
        (1764158400, None),
        (None, None),
    ],
)
def test_a_time_is_read_on_every_python(text, read):
    assert read_time(text) == read
