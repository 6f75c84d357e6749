"""What headers say about waiting and about what is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.client.rate_limit_headers import Quota, parse_quota, parse_wait

NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit-reset": "30"}, 30),
        ({"ratelimit-reset": "0.2"}, 1),
        ({"ratelimit-reset": "1000000"}, 1_000_000),
        ({"ratelimit-reset": "1000001"}, None),
        ({"ratelimit-reset": str(NOW)}, None),
        ({"ratelimit-reset": str(NOW * 1000)}, None),
        ({"ratelimit-reset": "0"}, None),
        ({"ratelimit-reset": "-1"}, None),
        ({"retry-after": "7", "ratelimit-reset": str(NOW)}, 7),
        ({"retry-after": "soon", "ratelimit-reset": str(NOW)}, None),
        ({"retry-after": "0", "ratelimit-reset": "30"}, 30),
        ({"retry-after": "2000000"}, 2_000_000),
        ({}, None),
    ],
    ids=repr,
)
def test_a_moment_since_the_epoch_is_not_a_wait(headers, seconds):
    assert parse_wait(headers, now=NOW) == seconds


def headers_of(limit="110;w=10", remaining="109", reset="60"):
    given_headers = {"ratelimit-limit": limit, "ratelimit-remaining": remaining, "ratelimit-reset": reset}
    return {name: value for name, value in given_headers.items() if value is not None}


@pytest.mark.parametrize(
    ("limit", "read"),
    [("110;w=10", 110), ("110", 110), (" 110 ; w=10", 110), (None, None), ("", None), (";w=10", None), ("0", None)],
)
def test_the_limit_is_read_without_its_window(limit, read):
    assert parse_quota(headers_of(limit)) == Quota(limit=read, remaining=109, reset=60)


@pytest.mark.parametrize("nonsense", [None, "", "soon", "-1", "nan", "inf", "1" * 400, "1;w=3"])
def test_a_quota_that_is_not_whole_does_not_count(nonsense):
    assert parse_quota(headers_of(remaining=nonsense)) is None
    assert parse_quota(headers_of(reset=nonsense)) is None


@pytest.mark.parametrize(("reset", "is_read"), [("0", True), ("1000000", True), (str(NOW), False)])
def test_a_reset_in_seconds_is_told_from_a_moment_since_the_epoch(reset, is_read):
    assert (parse_quota(headers_of(reset=reset)) is not None) is is_read


@given(*[st.none() | st.text() | st.floats().map(str) | st.integers().map(str)] * 3)
def test_no_headers_make_reading_fail(limit, remaining, reset):
    found = parse_quota(headers_of(limit, remaining, reset))
    assert found is None or (0 <= found.remaining < float("inf") and 0 <= found.reset <= 1e6)
    assert found is None or found.limit is None or 0 < found.limit < float("inf")
