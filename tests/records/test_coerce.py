"""Coercion: text becomes what the schema asks for where nothing is lost, and a problem everywhere else."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from json_equality import same
from markupsafe import Markup

from airflow_provider_truto.records.coerce import Coerced, coerce
from airflow_provider_truto.records.render import Missing, mark_missing
from airflow_provider_truto.schemas.packaged import load_packaged_schema

REQUEST = load_packaged_schema("crm.accounts.update", "request").source
PROBLEM = "<a problem>"
GONE = Missing("the XCom is None")


def assert_typed(value, schema, expected):
    result = coerce(value, schema)
    if expected is PROBLEM:
        (problem,) = result.problems
        assert problem.pointer == "/"
        assert result.value is None
    else:
        assert result.problems == ()
        assert same(result.value, expected), result.value


WHOLE = [
    ("120", 120),
    ("0", 0),
    ("-5", -5),
    ("-0", 0),
    (" 120 ", 120),
    ("\n120\n", 120),
    ("120.0", 120),
    ("120.00", 120),
    ("1e3", 1000),
    ("1E3", 1000),
    ("1.2e2", 120),
    ("1000e-3", 1),
    ("9007199254740992", 9007199254740992),
    ("1152921504606846976", 2**60),
]
NOT_HELD = ("0.12345678901234567890", "1e400", "-1e400", "1e-400", "9007199254740993")
NO_NUMBERS = (
    "",
    " ",
    "007",
    "-007",
    "+5",
    "12x",
    "x12",
    "1_000",
    "1,000",
    "12,5",
    "1 000",
    "0x10",
    "0b1",
    "1e",
    "e3",
    ".5",
    "5.",
    "--5",
    "१२",
    "½",
    "NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "inf",
    "null",
    "None",
    "True",
    "true",
    "yes",
    "[1]",
    '{"a": 1}',
    '"120"',
    "'120'",
    "120;",
    "1 2",
    "Decimal('5')",
)


@pytest.mark.parametrize(("text", "number"), WHOLE)
def test_text_of_a_whole_number_becomes_that_number(text, number):
    assert_typed(text, {"type": "integer"}, number)
    assert_typed(text, {"type": "number"}, number)
    assert_typed(text, {"type": ["integer", "null"]}, number)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.5", 1.5), ("-0.25", -0.25), ("1e-3", 0.001), ("0.1", 0.1), ("2.5e2", 250), ("1e300", 1e300), ("0.0", 0)],
)
def test_text_of_a_number_becomes_that_number(text, number):
    assert_typed(text, {"type": "number"}, number)


@pytest.mark.parametrize("text", [*NO_NUMBERS, "1.5", "-0.25", "1e-3"])
def test_text_of_no_whole_number_is_a_problem(text):
    assert_typed(text, {"type": "integer"}, PROBLEM)


@pytest.mark.parametrize(
    "text", [*NO_NUMBERS, "0.12345678901234567890", "1e400", "-1e400", "1e-400", "9007199254740993"]
)
def test_text_of_no_number_or_one_that_would_lose_digits_is_a_problem(text):
    assert_typed(text, {"type": "number"}, PROBLEM)


@pytest.mark.parametrize(
    "text",
    ["1" * 400, "-" + "9" * 1000, "1e1000000", "1e999999999", "1e9999999999999999999", "1e-9999999999999999999"],
    ids=lambda text: f"{text[:8]}… of {len(text)}",
)
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_text_of_an_absurd_number_is_kept_or_a_problem_but_never_an_exception(text, kind):
    result = coerce(text, {"type": kind})
    assert result.problems or result.value == int(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("false", False),
        ("True", True),
        ("False", False),
        (" true ", True),
        ("\tFalse\n", False),
        *(
            (text, PROBLEM)
            for text in ("TRUE", "tRue", "yes", "no", "on", "off", "1", "0", "", "t", "y", "null", "None", "[true]")
        ),
    ],
)
def test_text_becomes_a_boolean_in_json_and_python_spelling_only(text, expected):
    assert_typed(text, {"type": "boolean"}, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        ("[1]", [1]),
        (' ["a", {"b": [true]}] ', ["a", {"b": [True]}]),
        ("[1.50]", [1.5]),
        *((text, PROBLEM) for text in ("", "[1", "1, 2", "(1,)", "{1}", "['a']", '{"a": 1}', "null", "a", "[NaN]")),
    ],
)
def test_text_of_json_becomes_an_array(text, expected):
    assert_typed(text, {"type": "array"}, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": {"b": [1, "2"]}}', {"a": {"b": [1, "2"]}}),
        *(
            (text, PROBLEM)
            for text in ("", "{'a': 1}", "{a: 1}", '{"a": 1', "[]", "null", "dict(a=1)", '{"a": NaN}', '{"a": True}')
        ),
    ],
)
def test_text_of_json_becomes_an_object_and_text_of_python_does_not(text, expected):
    assert_typed(text, {"type": "object"}, expected)


@pytest.mark.parametrize("text", ["120", "007", "True", "null", "None", "[1]", '{"a": 1}', "", " x ", "+15550100"])
@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": ["integer", "string"]}, {}, {"enum": ["a"]}])
def test_text_stays_text_wherever_text_may_stand(text, schema):
    assert_typed(text, schema, text)


def test_what_is_inside_of_json_text_is_typed_too():
    schema = {
        "type": "object",
        "properties": {
            "number_of_employees": {"type": "integer"},
            "tags": {"type": "array", "items": {"properties": {"id": {"type": "string"}}}},
        },
    }
    result = coerce('{"number_of_employees": "120", "tags": "[{\\"id\\": 5}]"}', schema)
    assert result == Coerced(value={"number_of_employees": 120, "tags": [{"id": "5"}]})


@pytest.mark.parametrize(
    ("on_none", "value", "nulls", "problems"),
    [
        ("error", {"name": None, "website": "x"}, set(), ["/name"]),
        ("omit", {"website": "x"}, set(), []),
        ("null", {"name": None, "website": "x"}, {"/name"}, []),
    ],
)
def test_null_inside_of_json_text_is_data_and_may_be_an_accident(on_none, value, nulls, problems):
    result = coerce('{"name": null, "website": "x"}', REQUEST, on_none=on_none)
    assert result.value == value
    assert result.nulls == nulls
    assert [problem.pointer for problem in result.problems] == problems


def test_numbers_in_json_text_keep_their_digits_or_are_a_problem():
    assert coerce('{"custom_fields": {"a": 0.1, "b": 1152921504606846976}}', REQUEST).value == {
        "custom_fields": {"a": 0.1, "b": 2**60}
    }
    for number in ("0.12345678901234567890", "12345678901234567890", "1e-400"):
        (problem,) = coerce(f'{{"custom_fields": {{"a": {number}}}}}', REQUEST).problems
        assert problem.pointer == "/custom_fields/a"
        assert problem.message.endswith("send it as text")


ID = {"properties": {"id": {"type": "string"}, "owner_id": {"type": "string"}, "name": {"type": "string"}}}


@pytest.mark.parametrize("number", [5, 0, -1, 2**53 + 1, Decimal(2**53 + 1), Decimal("5.0"), Decimal("5E+2")])
@pytest.mark.parametrize("key", ["id", "owner_id"])
def test_a_number_becomes_text_where_an_id_is_text(key, number):
    assert same(coerce({key: number}, ID).value, {key: str(int(number))})


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({"name": 5}, ID),
        ({"id": True}, ID),
        ({"id": 5.5}, ID),
        ({"id": 5}, {}),
        ({"id": 5}, {"properties": {"id": {"type": "integer"}}}),
        ({"id": 5}, {"properties": {"id": {"type": ["string", "integer"]}}}),
        ({"identity": 5}, {"properties": {"identity": {"type": "string"}}}),
    ],
)
def test_nothing_else_becomes_text_by_itself(value, schema):
    assert same(coerce(value, schema).value, value)


def test_ids_of_the_packaged_schema_become_text_at_every_depth():
    body = {"owner": {"id": 17}, "tags": [{"id": 1}, {"id": "2"}], "addresses": [{"id": 3, "postal_code": 98101}]}
    assert coerce(body, REQUEST).value == {
        "owner": {"id": "17"},
        "tags": [{"id": "1"}, {"id": "2"}],
        "addresses": [{"id": "3", "postal_code": 98101}],
    }


class Tier(Enum):
    GOLD = "gold"


class Level(IntEnum):
    HIGH = 3


class Words(str):
    __slots__ = ()


INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone.utc), "2026-01-31T12:00:00.000Z"),
        (datetime(2026, 1, 31, 12, tzinfo=INDIA), "2026-01-31T06:30:00.000Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc), "2026-01-31T12:00:00.123456Z"),
        (datetime(2026, 1, 31, 12), PROBLEM),
        (time(12), PROBLEM),
        (timedelta(1), PROBLEM),
        (UUID("62f44730-dd91-461e-bd6a-aedd9e0ad79d"), "62f44730-dd91-461e-bd6a-aedd9e0ad79d"),
        (Decimal(120), 120),
        (Decimal("120.00"), 120),
        (Decimal("1E+3"), 1000),
        (Decimal("-0"), 0),
        (Decimal("1.5"), 1.5),
        (Decimal("0.1"), 0.1),
        (Decimal("1e40"), PROBLEM),
        (Decimal(2**53 + 1), PROBLEM),
        (2**53 + 1, PROBLEM),
        (-(2**53) - 1, PROBLEM),
        (2**53, 2**53),
        (Decimal("0.12345678901234567890"), PROBLEM),
        (Decimal("1e400"), PROBLEM),
        (Decimal("NaN"), PROBLEM),
        (Decimal("sNaN"), PROBLEM),
        (Decimal("-Infinity"), PROBLEM),
        (float("nan"), PROBLEM),
        (float("inf"), PROBLEM),
        (-0.0, -0.0),
        (1e308, 1e308),
        (2**1000, 2**1000),
        (True, True),
        (b"bytes", PROBLEM),
        (bytearray(b"bytes"), PROBLEM),
        ({1, 2}, PROBLEM),
        (frozenset(), PROBLEM),
        pytest.param(object(), PROBLEM, id="an object"),
        (1j, PROBLEM),
        (Tier.GOLD, PROBLEM),
        pytest.param(lambda: 1, PROBLEM, id="a function"),
        pytest.param(iter([1]), PROBLEM, id="an iterator"),
        (Words("Acme"), "Acme"),
        (Markup("<b>"), "<b>"),
        ((1, (2,)), [1, [2]]),
        (range(3), [0, 1, 2]),
        (deque([1]), [1]),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (None, None),
        ([], []),
        ({}, {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_python_value_becomes_the_json_that_means_the_same_or_a_problem(value, expected):
    assert_typed(value, {}, expected)


@pytest.mark.parametrize(
    "value",
    [
        10**400,
        -(10**5000),
        Decimal("1e1000000"),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-8))),
        datetime.min.replace(tzinfo=INDIA),
    ],
    ids=[
        "an int beyond every float",
        "a longer one",
        "a decimal beyond its context",
        "the last day",
        "the first day",
    ],
)
def test_a_value_at_the_edge_of_its_type_raises_nothing(value):
    result = coerce({"custom_fields": {"edge": value}}, REQUEST)
    assert result.problems or json.loads(json.dumps(result.value)) == result.value


@pytest.mark.parametrize("depth", [400, 5000])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_value_nested_beyond_reason_is_a_problem_or_kept(depth, as_text):
    value = []
    for _ in range(depth):
        value = [value]
    result = coerce("[" * depth + "]" * depth if as_text else value, {"type": "array"})
    assert result.problems or isinstance(result.value, list)


def test_an_int_enum_is_a_number():
    assert json.dumps(coerce({"a": Level.HIGH}, {}).value) == '{"a": 3}'


def test_keys_that_are_not_text_are_problems():
    result = coerce({1: "a", None: "b", "c": {(1, 2): "d"}}, {})
    assert result.value == {"c": {}}
    assert [(problem.pointer, problem.message.split(":")[0]) for problem in result.problems] == [
        ("/", "has the key 1"),
        ("/", "has the key None"),
        ("/c", "has the key (1, 2)"),
    ]


@pytest.mark.parametrize(
    ("value", "on_none", "expected", "nulls", "problems"),
    [
        # the whole value
        (GONE, "error", None, [], ["/"]),
        (GONE, "omit", None, [], []),
        (GONE, "null", None, [""], []),
        # a field
        ({"a": GONE, "b": 1}, "error", {"a": None, "b": 1}, [], ["/a"]),
        ({"a": GONE, "b": 1}, "omit", {"b": 1}, [], []),
        ({"a": GONE, "b": 1}, "null", {"a": None, "b": 1}, ["/a"], []),
        # everything in an object: the object goes too, sent empty it might wipe something
        ({"a": {"b": GONE, "c": GONE}, "d": 1}, "omit", {"d": 1}, [], []),
        ({"a": {"b": {"c": GONE}}, "d": 1}, "omit", {"d": 1}, [], []),
        ({"a": {"b": GONE}}, "omit", None, [], []),
        ({"a": {"b": GONE, "c": GONE}}, "null", {"a": {"b": None, "c": None}}, ["/a/b", "/a/c"], []),
        ({"a": {"b": GONE, "c": GONE}, "d": 1}, "error", {"a": {"b": None, "c": None}, "d": 1}, [], ["/a/b", "/a/c"]),
        # items of a list
        ({"a": [GONE, 1, GONE, 2]}, "omit", {"a": [1, 2]}, [], []),
        ({"a": [GONE, {"b": GONE}], "d": 1}, "omit", {"d": 1}, [], []),
        ({"a": [[GONE]], "d": 1}, "omit", {"d": 1}, [], []),
        ({"a": [GONE, 1]}, "null", {"a": [None, 1]}, ["/a/0"], []),
        ({"a": [GONE, 1, {"b": GONE}]}, "error", None, [], ["/a/0", "/a/2/b"]),
        # what the author left empty stays empty
        ({"a": {}, "b": []}, "omit", {"a": {}, "b": []}, [], []),
        ({"a": [{}], "b": {"c": []}}, "omit", {"a": [{}], "b": {"c": []}}, [], []),
        # the author's own None is null under all of them
        *(({"a": None, "b": [None]}, way, {"a": None, "b": [None]}, ["/a", "/b/0"], []) for way in ("error", "omit")),
        ({"a": None, "b": GONE, "c/d": None}, "omit", {"a": None, "c/d": None}, ["/a", "/c~1d"], []),
    ],
)
def test_what_came_of_nothing_is_a_problem_an_omission_or_a_null(value, on_none, expected, nulls, problems):
    result = coerce(value, {}, on_none=on_none)
    if expected is not None or not problems:
        assert result.value == expected
    assert result.nulls == set(nulls)
    assert [problem.pointer for problem in result.problems] == problems


def test_the_problem_of_a_missing_value_says_where_it_was_missed_and_what_to_do():
    result = coerce({"name": Missing("{{ x }} is undefined")}, {}, hint="; set on_none='omit'")
    assert result.problems == (("/name", "{{ x }} is undefined; set on_none='omit'"),)


def test_the_pointer_of_a_null_after_an_item_that_was_omitted_points_into_the_value_that_is_sent():
    result = coerce({"tags": [GONE, {"name": None}]}, REQUEST, on_none="omit")
    assert result == Coerced(value={"tags": [{"name": None}]}, nulls=frozenset({"/tags/0/name"}))


def test_problems_are_found_all_at_once():
    result = coerce(
        {
            "number_of_employees": "many",
            "addresses": "1 Main St",
            "owner": "u1",
            "created_at": datetime(2026, 1, 1),
            "name": GONE,
            "custom_fields": {"a": {1}, "b": float("nan")},
            "tags": [{"id": b"x"}],
        },
        REQUEST,
    )
    assert [problem.pointer for problem in result.problems] == [
        "/number_of_employees",
        "/addresses",
        "/owner",
        "/created_at",
        "/name",
        "/custom_fields/a",
        "/custom_fields/b",
        "/tags/0/id",
    ]
    assert result.problems[0].message == "expects a whole number, got the text 'many'"


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ({"number_of_employees": "SECRET"}, "SECRET"),
        ({"owner": "SECRET"}, "SECRET"),
        ({"tags": "[SECRET"}, "SECRET"),
        ({"created_at": datetime(2031, 7, 13)}, "2031"),
        ({"custom_fields": {"a": Decimal("0.77777777777777777777")}}, "7777"),
        ({"custom_fields": {"a": Decimal("7e400")}}, "7"),
        ({"custom_fields": {"a": float("nan")}}, "nan"),
        ({"custom_fields": {"a": {"SECRET"}}}, "SECRET"),
        ({"custom_fields": {"a": b"SECRET"}}, "SECRET"),
    ],
)
def test_no_problem_shows_a_value_where_values_are_hidden(value, secret):
    result = coerce(value, REQUEST, hide_values=True)
    assert result.problems
    assert not [problem for problem in result.problems if secret in problem.message]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}, {"n": "5"}, {"n": 5}),
        ({"$ref": "#/$defs/o", "$defs": {"o": {"properties": {"n": {"type": "integer"}}}}}, {"n": "5"}, {"n": 5}),
        (
            {"properties": {"n": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"type": "integer"}}},
            {"n": "5"},
            {"n": 5},
        ),
        ({"additionalProperties": {"type": "integer"}}, {"n": "5"}, {"n": 5}),
        ({"properties": {"n": {"$ref": "#/absent"}}}, {"n": "5"}, {"n": "5"}),
        ({"properties": {"n": {"$ref": "other.json"}}}, {"n": "5"}, {"n": "5"}),
        ({"$ref": "#"}, {"n": "5"}, {"n": "5"}),
        ({"properties": {"n": True}}, {"n": "5"}, {"n": "5"}),
        ({"properties": []}, {"n": "5"}, {"n": "5"}),
        ({"items": True}, ["5"], ["5"]),
        ({"items": {"type": "integer"}}, ["5", 6], [5, 6]),
        ({"type": "object", "additionalProperties": False}, {"n": "5"}, {"n": "5"}),
    ],
)
def test_a_schema_of_any_shape_types_what_it_says_and_nothing_more(schema, value, expected):
    result = coerce(value, schema)
    assert result.problems == ()
    assert same(result.value, expected)


def nulls_in(value, at=""):
    if value is None:
        return {at}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    escaped = lambda key: str(key).replace("~", "~0").replace("/", "~1")  # noqa: E731
    return {pointer for key, item in items for pointer in nulls_in(item, f"{at}/{escaped(key)}")}


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
plain = st.recursive(scalars, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(), x, max_size=4))


@given(plain)
def test_json_without_a_schema_stays_as_it_is_and_all_its_nulls_are_known(value):
    for on_none in ("error", "omit", "null"):
        result = coerce(value, {}, on_none=on_none)
        assert same(result.value, value)
        assert result.nulls == nulls_in(value)
        assert result.problems == ()


anything = st.recursive(
    scalars
    | st.floats()
    | st.decimals()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc) | st.just(INDIA))
    | st.dates()
    | st.binary(max_size=3)
    | st.builds(Missing, st.text(min_size=1, max_size=5))
    | st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
    | st.sampled_from(["True", "[1]", '{"id": 1}', '{"a": null}', "NaN", "[" * 60, '{"tags": "[{}]"}']),
    lambda x: (
        st.lists(x, max_size=4)
        | st.dictionaries(st.sampled_from([*REQUEST["properties"], "id", "type", "x"]) | st.text(), x, max_size=4)
        | st.dictionaries(st.integers(), x, max_size=2)
        | st.tuples(x, x)
    ),
)
schemas = st.sampled_from(
    [REQUEST, {}, {"$ref": "#"}, *({"type": kind} for kind in ("integer", "number", "boolean", "object", "array"))]
)


@given(value=anything, schema=schemas, on_none=st.sampled_from(["error", "omit", "null"]), hide=st.booleans())
@example(value="1e5", schema={"type": "integer"}, on_none="error", hide=False)
def test_typing_anything_raises_nothing_and_gives_json_and_an_ordered_account_of_the_rest(
    value, schema, on_none, hide
):
    result = coerce(value, schema, on_none=on_none, hide_values=hide)
    assert same(json.loads(json.dumps(result.value)), result.value)
    assert all(problem.pointer.startswith("/") and problem.message for problem in result.problems)
    assert result.nulls <= nulls_in(result.value) or result.problems or on_none == "omit"


@given(plain)
def test_typing_twice_is_typing_once(value):
    once = coerce(mark_missing(value, source="x"), REQUEST, on_none="null").value
    assert same(coerce(once, REQUEST).value, once)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_the_way_over_text(number):
    result = coerce(json.dumps(number), {"type": "number"})
    if result.problems:
        assert isinstance(number, int)
        assert int(float(number)) != number, "no double holds it"
    else:
        assert type(number)(result.value) == number
