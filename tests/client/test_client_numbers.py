"""Numbers are sent as they are or not at all: what a double does not hold, a reader of JSON would round."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_truto.client.numbers import (
    Inexact,
    describe_number_problem,
    find_unheld,
    parse_exact_json,
    to_plain_number,
)

SAFE = 2**53


@pytest.mark.parametrize("number", [0, -5, SAFE, -SAFE, 2**60, SAFE + 2, 10**15, 1.5, 1e300, -0.0])
def test_a_number_that_a_double_holds_is_sent_as_it_is(number):
    sent = to_plain_number(number)
    assert (type(sent), sent) == (type(number), number)


@pytest.mark.parametrize("number", [
    SAFE + 1, -SAFE - 1, 123456789012345678, 10**30, 10**400, Decimal(SAFE + 1), Decimal("1E+23"), Decimal("1e-400"),
    Decimal("1234567890123456.78"), Decimal("0.12345678901234567"), Decimal("1e400"),
])  # fmt: skip
def test_a_number_that_no_double_holds_is_to_be_sent_as_text(number):
    assert to_plain_number(number) is None
    assert describe_number_problem(number).endswith("send it as text")


@pytest.mark.parametrize("number", [math.nan, math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")])
def test_what_is_not_a_number_has_no_form(number):
    assert to_plain_number(number) is None
    assert describe_number_problem(number) == "has no form in JSON"


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.integers())
@example(Decimal("-0"))
@example(Decimal(SAFE * 2 + 2))
def test_what_is_sent_is_read_by_a_reader_of_doubles_as_what_it_was(number):
    sent = to_plain_number(number)
    if sent is not None:
        read = json.loads(json.dumps(sent), parse_int=float)
        assert Decimal(repr(read)) == number or Decimal(read) == number


READ = [
    ("0.1", 0.1),
    ("12.50", 12.5),
    ("6.02e23", 6.02e23),
    ("1152921504606846976.0", float(2**60)),
    ("0.10000000000000001", 0.1),  # as C, PHP and old Javas write this double
    ("1234567890123456.78", Inexact("1234567890123456.78")),
    ("0.1234567890123456789", Inexact("0.1234567890123456789")),
    ("0.12345678901234567", Inexact("0.12345678901234567")),
    ("1e-400", Inexact("1e-400")),
    ("1e400", Inexact("1e400")),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_json_is_read_without_rounding(text, value):
    (read,) = parse_exact_json(f"[{text}]")
    assert (type(read), read) == (type(value), value)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
def test_a_double_comes_back_from_json_however_it_is_written(number):
    for text in (repr(number), f"{number:.17g}", f"{number:e}" if number == float(f"{number:e}") else "0.5"):
        read = parse_exact_json(text)
        assert float(read) == float(text)
        assert not isinstance(read, Inexact)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "a": 1}}]', "NaN", "[-Infinity]",
                                  "1e9999999999999999999", "{", ""])  # fmt: skip
def test_json_that_would_lose_something_or_is_not_json_is_refused(text):
    with pytest.raises(ValueError):
        parse_exact_json(text)


def test_where_the_first_unheld_number_stands_is_said():
    assert find_unheld({"a": [1, {"b": SAFE + 1}]}) == "/a/1/b"
    assert find_unheld({"a": [1, SAFE, True, 0.5, "9007199254740993", None]}) is None
