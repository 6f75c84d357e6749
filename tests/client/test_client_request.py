"""What is put on the wire is what was given: ids, query parameters and bodies, seen from the other end."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_truto.client.errors import TrutoApiError, TrutoSchemaError
from airflow_provider_truto.client.request import Request, build_path, encode_json, encode_query, format_utc
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.hooks.truto import TrutoHook

UNICODE = st.characters(exclude_categories=())  # lone surrogates included
NASTY = st.sampled_from("./%\\?#&=+;:@ \x00\x7f\r\n\t~*2eEfF'\"<>[]{}|^`é\u0301🦊\ud800\u202e")
ANY_TEXT = st.text(UNICODE, max_size=40) | st.text(NASTY, max_size=12)


def is_writable(text):
    """Whether text has a UTF-8 form, which a lone surrogate has not."""
    with contextlib.suppress(UnicodeEncodeError):
        return text.encode() is not None
    return False


def pointers_refused(update):
    """Where a schema error of this update points, nothing where it was sent."""
    try:
        update()
    except TrutoSchemaError as error:
        return {problem.pointer for problem in error.problems}
    except TrutoApiError:
        pass
    return set()


# ------------------------------------------------------------------------------------------------------------ paths

ESCAPED = {
    "a plain number": ("23423523", "23423523"),
    "slash, question mark, hash": ("a/b?c#d", "a%2Fb%3Fc%23d"),
    "a way up": ("../users", "..%2Fusers"),
    "a way up in the middle": ("a/../../users", "a%2F..%2F..%2Fusers"),
    "an escaped slash": ("%2F", "%252F"),
    "an escaped way up": ("%2e%2e", "%252e%252e"),
    "a bare percent sign": ("100%", "100%25"),
    "a space": ("a b", "a%20b"),
    "a space alone": (" ", "%20"),
    "a plus": ("a+b", "a%2Bb"),
    "a semicolon": ("a;b=c", "a%3Bb%3Dc"),
    "an ampersand": ("a&b", "a%26b"),
    "a backslash": ("a\\..\\b", "a%5C..%5Cb"),
    "an accent": ("é", "%C3%A9"),
    "an accent of its own": ("e\u0301", "e%CC%81"),
    "an emoji": ("🦊", "%F0%9F%A6%8A"),
    "line breaks": ("a\r\nX-Evil: 1", "a%0D%0AX-Evil%3A%201"),
    "a NUL": ("\x00", "%00"),
    "three dots": ("...", "..."),
    "a hidden file": (".env", ".env"),
    "unreserved signs": ("a-b_c.d~e", "a-b_c.d~e"),
    "a thousand letters": ("x" * 1000, "x" * 1000),
    "a thousand foxes": ("🦊" * 1000, "%F0%9F%A6%8A" * 1000),
}


@pytest.mark.parametrize(("record", "escaped"), ESCAPED.values(), ids=ESCAPED)
def test_an_id_arrives_as_it_was_given(record, escaped, emulator, client, read):
    with contextlib.suppress(TrutoApiError):
        client.run(read(record=record))
    [arrived] = emulator.requests
    assert arrived["path"] == ["unified", "crm", "accounts", record]
    assert arrived["target"].partition("?")[0] == f"/unified/crm/accounts/{escaped}"
    assert ["integrated_account_id", ACME] in arrived["query"]


def test_every_segment_is_escaped_and_not_only_the_id():
    assert build_path("uni/fied", "c?rm", "acc#ounts", "%") == "/uni%2Ffied/c%3Frm/acc%23ounts/%25"


@pytest.mark.parametrize("segment", ["", ".", "..", "\ud800", "a\udfffb"])
def test_an_id_that_would_not_arrive_is_refused(segment):
    with pytest.raises(ValueError, match=r"cannot be an id|not valid Unicode"):
        build_path("unified", "crm", "accounts", segment)


@pytest.mark.parametrize("segment", [None, 23423523, b"23423523", True, ["a"]])
def test_an_id_that_is_not_text_is_refused(segment):
    with pytest.raises(TypeError, match="is text"):
        build_path("unified", "crm", "accounts", segment)


@given(record=ANY_TEXT)
@example(record="..")
@example(record="\udcff")
def test_any_id_is_refused_before_sending_or_arrives_exactly(record, emulator, client, read):
    try:
        call = read(record=record)
    except ValueError:
        assert record in {"", ".", ".."} or not is_writable(record)
        return
    with contextlib.suppress(TrutoApiError):
        client.run(call)
    assert emulator.requests[-1]["path"] == ["unified", "crm", "accounts", record]
    assert emulator.requests[-1]["query"] == [["integrated_account_id", ACME]]


@given(record=ANY_TEXT)
def test_any_id_given_to_the_hook_is_a_schema_error_or_arrives_exactly(record, emulator, hook):
    emulator.reset()
    refused = pointers_refused(lambda: hook.update_account(record, {"name": "x"}))
    if refused:
        assert refused == {"/account_id"}
        assert emulator.requests == []
        return
    assert [arrived["path"] for arrived in emulator.requests] == [["unified", "crm", "accounts", record]]


# ---------------------------------------------------------------------------------------------------------- queries


class Zone(Enum):
    APAC = "apac"


class Size(IntEnum):
    LARGE = 3


class TextZone(str, Enum):
    WNAM = "wnam"


INDIA = timezone(timedelta(hours=5, minutes=30))
ACCOUNT = UUID("62f44730-dd91-461e-bd6a-aedd9e0ad79d")

PAIRS = {
    "text": ({"name": "foo"}, [("name", "foo")]),
    "empty text": ({"name": ""}, [("name", "")]),
    "text full of signs": ({"q": "a&b=c+d e%20#;é🦊[x]"}, [("q", "a&b=c+d e%20#;é🦊[x]")]),
    "a name full of signs": ({"a b&c=é": "1"}, [("a b&c=é", "1")]),
    "the text None": ({"name": "None"}, [("name", "None")]),
    "a whole number": ({"limit": 10}, [("limit", "10")]),
    "zero": ({"limit": 0}, [("limit", "0")]),
    "a negative number": ({"a": -1}, [("a", "-1")]),
    "a fraction": ({"a": 0.25}, [("a", "0.25")]),
    "a large fraction": ({"a": 1e16}, [("a", "1e+16")]),
    "a decimal": ({"a": Decimal("12.50")}, [("a", "12.50")]),
    "true": ({"is_active": True}, [("is_active", "true")]),
    "false": ({"is_active": False}, [("is_active", "false")]),
    "a UUID": ({"integrated_account_id": ACCOUNT}, [("integrated_account_id", str(ACCOUNT))]),
    "an enum": ({"truto_super_query": Zone.APAC}, [("truto_super_query", "apac")]),
    "an enum of text": ({"truto_super_query": TextZone.WNAM}, [("truto_super_query", "wnam")]),
    "an enum of numbers": ({"size": Size.LARGE}, [("size", "3")]),
    "a moment in UTC": (
        {"created_at": {"gt": datetime(2021, 1, 1, tzinfo=timezone.utc)}},
        [("created_at[gt]", "2021-01-01T00:00:00.000Z")],
    ),
    "a moment elsewhere": (
        {"created_at": {"lt": datetime(2021, 1, 1, 1, 2, 3, 45_000, tzinfo=INDIA)}},
        [("created_at[lt]", "2020-12-31T19:32:03.045Z")],
    ),
    "a moment with microseconds": (
        {"created_at": datetime(2021, 1, 1, 0, 0, 0, 1, tzinfo=timezone.utc)},
        [("created_at", "2021-01-01T00:00:00.000001Z")],
    ),
    "a day": ({"day": date(2021, 1, 31)}, [("day", "2021-01-31")]),
    "an object": ({"remote_query": {"foo": "bar"}}, [("remote_query[foo]", "bar")]),
    "objects in objects": (
        {"foo": {"bar": "baz", "bar1": {"bar2": "baz2"}}},
        [("foo[bar]", "baz"), ("foo[bar1][bar2]", "baz2")],
    ),
    "any mapping": ({"foo": MappingProxyType({"bar": 1})}, [("foo[bar]", "1")]),
    "a list": (
        {"truto_exclude_fields": ["id", "name"]},
        [("truto_exclude_fields[]", "id"), ("truto_exclude_fields[]", "name")],
    ),
    "a tuple": ({"a": ("x", "y")}, [("a[]", "x"), ("a[]", "y")]),
    "a list of one": ({"a": ["x"]}, [("a[]", "x")]),
    "a list in its order, twice the same": ({"a": ["b", "a", "b"]}, [("a[]", "b"), ("a[]", "a"), ("a[]", "b")]),
    "a list in an object": ({"a": {"in": ["x", True, 1]}}, [("a[in][]", "x"), ("a[in][]", "true"), ("a[in][]", "1")]),
    "a list of one object": ({"foo": [{"bar1": "baz1"}]}, [("foo[][bar1]", "baz1")]),
    "None": ({"a": None, "b": "1"}, [("b", "1")]),
    "None in an object": ({"a": {"b": None, "c": 1}}, [("a[c]", "1")]),
    "an empty object": ({"a": {}, "b": "1"}, [("b", "1")]),
    "an empty list": ({"a": [], "b": "1"}, [("b", "1")]),
    "nothing": ({}, []),
    "parameters in their order": ({"b": 1, "a": 2}, [("b", "1"), ("a", "2")]),
}


@pytest.mark.parametrize(("query", "pairs"), PAIRS.values(), ids=PAIRS)
def test_a_query_arrives_in_trutos_grammar(query, pairs, emulator, client):
    call = Request(method="GET", path="/integrated-account", query=encode_query(query))
    with contextlib.suppress(TrutoApiError):
        client.run(call)
    assert emulator.requests[-1]["query"] == [list(pair) for pair in pairs]
    assert emulator.requests[-1]["target"].endswith("/integrated-account") is (not pairs)


def test_the_encoded_query_is_the_documented_one():
    query = encode_query(
        {
            "integrated_account_id": "ia-1",
            "truto_ignore_remote_data": True,
            "truto_exclude_fields": ["id", "name"],
            "remote_query": {"foo": "bar"},
        }
    )
    assert Request(method="GET", path="/x", query=query).target == (
        "/x?integrated_account_id=ia-1&truto_ignore_remote_data=true&truto_exclude_fields%5B%5D=id"
        "&truto_exclude_fields%5B%5D=name&remote_query%5Bfoo%5D=bar"
    )


class NoOffset(tzinfo):
    def utcoffset(self, moment):
        return None

    def dst(self, moment):
        return None

    def tzname(self, moment):
        return None


def endless():
    query = {}
    query["again"] = query
    return query


REFUSED_QUERIES = {
    "a moment without a zone": {"a": datetime(2021, 1, 1)},
    "a moment whose zone knows no offset": {"a": datetime(2021, 1, 1, tzinfo=NoOffset())},
    "a moment before the first one of UTC": {"a": datetime(1, 1, 1, tzinfo=INDIA)},
    "a moment after the last one of UTC": {"a": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2)))},
    "NaN": {"a": math.nan},
    "infinity": {"a": math.inf},
    "a decimal NaN": {"a": Decimal("NaN")},
    "a signalling NaN": {"a": Decimal("sNaN")},
    "a decimal infinity": {"a": Decimal("-Infinity")},
    "a lone surrogate": {"a": "\ud800"},
    "a lone surrogate in a name": {"\ud800": "a"},
    "a lone surrogate in a nested name": {"a": {"\ud800": "a"}},
    "bytes": {"a": b"x"},
    "a set": {"a": {"x"}},
    "a generator": {"a": (x for x in "ab")},
    "an object": {"a": object()},
    "brackets in a name": {"created_at[gt]": "x"},
    "a bracket in a nested name": {"a": {"b]": "x"}},
    "an empty name": {"": "x"},
    "an empty nested name": {"a": {"": "x"}},
    "a name that is a number": {1: "x"},
    "a nested name that is None": {"a": {None: "x"}},
    "None in a list": {"a": ["x", None]},
    "a list in a list": {"a": [["x"]]},
    "several objects in a list": {"a": [{"b": 1}, {"b": 2}]},
    "an object beside a text in a list": {"a": ["x", {"b": 1}]},
    "an enum of nothing sendable": {"a": Enum("Odd", {"ODD": object()}).ODD},
    "a query within itself": endless(),
}


@pytest.mark.parametrize("query", REFUSED_QUERIES.values(), ids=REFUSED_QUERIES)
def test_a_query_without_an_unambiguous_form_is_refused(query):
    with pytest.raises((ValueError, TypeError)):
        encode_query(query)


@pytest.mark.parametrize("query", REFUSED_QUERIES.values(), ids=REFUSED_QUERIES)
def test_a_remote_query_without_an_unambiguous_form_is_a_problem_of_its_own(query, emulator, hook):
    with pytest.raises(TrutoSchemaError) as caught:
        hook.update_account("23423523", {"name": "x"}, remote_query=query)
    assert [problem.pointer for problem in caught.value.problems] == ["/remote_query"]
    assert emulator.requests == []


def test_names_with_brackets_are_told_how_to_be_written():
    with pytest.raises(ValueError, match=re.escape("{'created_at': {'gt': ...}}")):
        encode_query({"created_at[gt]": "2021-01-01"})


NAMES = st.text(UNICODE, max_size=8) | st.sampled_from(["gt", "in", "0", "a.b", "a b", "é", "a&b=c"])
MOMENTS = st.datetimes(timezones=st.sampled_from([timezone.utc, INDIA]))
SCALARS = (
    ANY_TEXT
    | st.integers()
    | st.booleans()
    | st.floats()
    | st.decimals()
    | st.uuids()
    | st.dates()
    | st.datetimes()
    | MOMENTS
    | st.none()
)
QUERIES = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
    ),
    max_size=4,
)

PLAIN_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1, max_size=8)
LATELY = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(INDIA))
PLAIN_SCALARS = st.text(max_size=8) | st.integers() | st.booleans() | st.uuids() | LATELY | st.dates()
PLAIN_QUERIES = st.dictionaries(
    PLAIN_NAMES,
    st.recursive(
        PLAIN_SCALARS | st.lists(PLAIN_SCALARS, max_size=3),
        lambda inner: (
            st.dictionaries(PLAIN_NAMES, inner, min_size=1, max_size=3) | inner.map(lambda value: {"in": value})
        ),
        max_leaves=8,
    ),
    min_size=1,
    max_size=4,
)


def read_back(pairs):
    """Read pairs as Truto's grammar says, every bracket being a key or ``[]``; an independent second opinion."""
    tree = {}
    for name, value in pairs:
        first, *keys = re.findall(r"\[([^\[\]]*)\]|^([^\[\]]*)", name)
        node, step = tree, first[1]
        for key in (key for key, _ in keys):
            if key == "":
                items = node.setdefault(step, [])
                node, step = items, len(items)
                continue
            if isinstance(node, list):
                # A list holds at most one object, so each of its keys belongs to the same one.
                step = 0
                node.extend([{}] if not node else [])
                node = node[0]
            else:
                node = node.setdefault(step, {})
            step = key
        if isinstance(node, list):
            node.append(value)
        else:
            assert step not in node, "one name, two values"
            node[step] = value
    return tree


def as_arrived(value):
    """What an API may make of a value: text, with nothing left of what is empty."""
    if isinstance(value, Mapping):
        return {key: kept for key, item in value.items() if (kept := as_arrived(item)) is not None} or None
    if isinstance(value, list):
        return [kept for item in value if (kept := as_arrived(item)) is not None] or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return value if value is None else str(value)


def same(expected, arrived):
    if isinstance(expected, datetime):
        return datetime.fromisoformat(arrived.replace("Z", "+00:00")) == expected and arrived.endswith("Z")
    if isinstance(expected, dict):
        return (
            isinstance(arrived, dict)
            and expected.keys() == arrived.keys()
            and all(same(value, arrived[key]) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(arrived, list)
            and len(expected) == len(arrived)
            and all(same(*both) for both in zip(expected, arrived, strict=True))
        )
    return expected == arrived


@given(query=QUERIES | PLAIN_QUERIES)
@example(query={"a": {"b": [{"c": {"d": ["x", "y"]}}]}})
def test_any_query_is_refused_or_arrives_as_it_was_given(query, emulator, client):
    try:
        pairs = encode_query(query)
    except (ValueError, TypeError):
        return
    with contextlib.suppress(TrutoApiError):
        client.run(Request(method="GET", path="/integrated-account", query=pairs))
    arrived = [tuple(pair) for pair in emulator.requests[-1]["query"]]
    assert arrived == list(pairs)
    assert same(as_arrived(query) or {}, read_back(arrived))


@given(query=PLAIN_QUERIES)
def test_a_plain_query_is_never_refused(query):
    def leaves(value):
        if isinstance(value, dict):
            return sum(map(leaves, value.values()))
        return len(value) if isinstance(value, list) else 1

    assert len(encode_query(query)) == sum(map(leaves, query.values()))


@given(moment=MOMENTS)
@example(moment=datetime(1, 1, 1, tzinfo=INDIA))
@example(moment=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc))
def test_any_moment_is_refused_or_written_in_utc_and_exactly(moment):
    try:
        written = format_utc(moment, "created_at")
    except ValueError:
        assert moment.year in {1, 9999}
        return
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{6})Z", written)
    assert datetime.fromisoformat(written.replace("Z", "+00:00")) == moment


# ----------------------------------------------------------------------------------------------------------- bodies

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


def has_a_form(value):
    """Whether a value has one and only one form in JSON."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_writable(key) for key in value) and all(
            map(has_a_form, value.values())
        )
    if isinstance(value, list):
        return all(map(has_a_form, value))
    if isinstance(value, str):
        return is_writable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or (abs(value) < 2**1000 and int(float(value)) == value)


def spelled(value):
    """JSON text that tells 1 from 1.0 and from true, which Python's ``==`` does not."""
    return json.dumps(value, sort_keys=True)


@given(value=JSON)
@example(value={"name": 'Café 🦊 \u2028 \x00 \\ " / </script>'})
@example(value=[1, 1.0, True, -0.0, 2**80, 5e-324, None, "", {}, []])
def test_any_json_value_is_refused_or_arrives_equal(value, emulator, client, write):
    try:
        call = write({"remote_data": value})
    except (ValueError, TypeError):
        assert not has_a_form(value)
        return
    assert has_a_form(value)
    with contextlib.suppress(TrutoApiError):
        client.run(call)
    assert spelled(emulator.requests[-1]["body"]) == spelled({"remote_data": value})


@given(value=JSON)
def test_any_body_given_to_the_hook_is_a_schema_error_or_arrives_equal(value, emulator, hook):
    emulator.reset()
    refused = pointers_refused(lambda: hook.update_account("23423523", {"custom_fields": {"a": value}}))
    assert refused == (set() if has_a_form(value) else {"/body"})
    if refused:
        assert emulator.requests == []
        return
    [arrived] = emulator.requests
    assert spelled(arrived["body"]) == spelled({"custom_fields": {"a": value}})


def knotted():
    value = []
    value.append(value)
    return value


def deep(levels):
    value = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


FORMLESS = {
    "NaN": math.nan,
    "infinity": -math.inf,
    "a whole number that no double holds": 2**53 + 1,
    "a lone surrogate": "\ud800",
    "a lone surrogate in a key": {"\udfff": 1},
    "a key that is a number": {1: "a"},
    "a key that is a boolean": {True: "a"},
    "a key that is None": {None: "a"},
    "two keys that become one": {1: "a", "1": "b"},
    "a key that is a tuple": {(1, 2): "a"},
    "bytes": b"x",
    "a set": {"x"},
    "a decimal": Decimal("1.5"),
    "a moment": datetime(2021, 1, 1, tzinfo=timezone.utc),
    "a UUID": ACCOUNT,
    "an object": object(),
    "a value within itself": knotted(),
}


@pytest.mark.parametrize("value", FORMLESS.values(), ids=FORMLESS)
def test_a_body_that_json_has_no_form_for_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        encode_json({"custom_fields": {"a": value}})


@pytest.mark.parametrize("value", [*FORMLESS.values(), (1, 2)], ids=[*FORMLESS, "a tuple"])
def test_a_body_that_json_has_no_form_for_is_a_problem_of_the_body(value, emulator, hook):
    with pytest.raises(TrutoSchemaError) as caught:
        hook.update_account("23423523", {"custom_fields": {"a": value}})
    assert [problem.pointer for problem in caught.value.problems] == ["/body"]
    assert emulator.requests == []


@pytest.mark.parametrize("levels", [50, 200, 300, 400, 500, 900, 1000, 5000, 100_000])
def test_a_body_nested_without_reason_arrives_or_is_a_schema_error(levels, emulator, hook):
    refused = pointers_refused(lambda: hook.update_account("23423523", {"custom_fields": deep(levels)}))
    if refused:
        assert levels > 50
        assert refused == {"/body"}
        assert emulator.requests == []
    else:
        assert emulator.requests[-1]["body_bytes"] == len('{"custom_fields":"x"}') + levels * len('{"a":}')


def test_a_body_is_written_as_utf8_without_white_space():
    assert encode_json({"name": "Café 🦊", "tags": []}) == '{"name":"Café 🦊","tags":[]}'.encode()


@pytest.mark.parametrize(
    ("change", "error"), [({"idempotency_key": "two\nlines"}, ValueError), ({"integrated_account": ACME}, TypeError)]
)
def test_a_copy_of_a_request_is_checked_as_the_request_was(change, error):
    request = Request(method="PATCH", path="/a", idempotency_key="v1-a", integrated_account_id=ACME)
    assert request.replace(path="/b") == Request(
        method="PATCH", path="/b", idempotency_key="v1-a", integrated_account_id=ACME
    )
    with pytest.raises(error):
        request.replace(**change)


@pytest.fixture
def hook(emulator, connection):
    connection(emulator.url, emulator.token, integrated_account_id=ACME)
    return TrutoHook()
