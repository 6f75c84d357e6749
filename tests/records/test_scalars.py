"""Values of enums, numpy and pandas on their way into JSON: judged by what they can do, with neither library here."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction

import pytest
from jinja2 import Environment

from airflow_provider_truto.bulk.record import parse_record
from airflow_provider_truto.bulk.row_codec import decode_cells, encode_cells
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.render import Missing, mark_missing, render
from airflow_provider_truto.records.scalars import is_nothing, to_number, to_plain_text


class Tier(str, Enum):
    GOLD = "gold"


class Level(int, Enum):
    HIGH = 3


class Rank(IntEnum):
    FIRST = 1


class Share(float, Enum):
    HALF = 0.5


class Price(Decimal):
    pass


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "another"


class Kind:
    def __init__(self, kind):
        self.kind = kind


class Scalar:
    """Stands in for a scalar of numpy, which is of no class of Python's: ``kind`` is that of its dtype."""

    def __init__(self, value, kind, ndim=0):
        self.value = value
        self.dtype = Kind(kind)
        self.ndim = ndim

    def __repr__(self):
        return f"Scalar({self.value!r}, {self.dtype.kind!r})"

    def __eq__(self, other):
        return self.value == other

    __hash__ = None

    def __bool__(self):
        return bool(self.value)

    def __index__(self):
        if self.dtype.kind not in "ium":
            raise TypeError("only integers are an index")
        return self.value

    def __float__(self):
        return float(self.value)


class NA:
    """Stands in for ``pandas.NA``: every comparison gives itself, and it is neither true nor false."""

    def __eq__(self, other):
        return self

    def __ne__(self, other):
        return self

    __hash__ = None

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __repr__(self):
        return "<NA>"


class NaT(datetime):
    """Stands in for ``pandas.NaT``: a datetime that does not equal itself."""

    __hash__ = None

    def __eq__(self, other):
        return False

    def __ne__(self, other):
        return True


#: A value, and the JSON that is sent for it.
SENT = [
    (Tier.GOLD, '"gold"'),
    (Text("gold"), '"gold"'),
    (Level.HIGH, "3"),
    (Rank.FIRST, "1"),
    (Share.HALF, "0.5"),
    (Price("12.50"), "12.5"),
    (Fraction(1, 2), "0.5"),
    (Scalar(7, "i"), "7"),
    (Scalar(7, "u"), "7"),
    (Scalar(1.5, "f"), "1.5"),
    (Scalar(True, "b"), "true"),
    (Scalar(False, "b"), "false"),
    ([Tier.GOLD, {"a": Level.HIGH}], '["gold", {"a": 3}]'),
    ({Tier.GOLD: Scalar(False, "b")}, '{"gold": false}'),
]
NOTHING = [float("nan"), Decimal("NaN"), NA(), NaT(2026, 1, 1), Scalar(float("nan"), "f")]
#: What is neither a number nor nothing.
FORMLESS = [
    Fraction(1, 3),
    1j,
    Scalar(5, "m"),
    Scalar(5, "M"),
    Scalar(5, "i", ndim=1),
    Scalar(1, "c"),
    pytest.param(object(), id="an object"),
]


@pytest.mark.parametrize(("value", "text"), SENT)
def test_a_value_is_sent_as_the_plain_one_that_it_equals(value, text):
    for given in (value, mark_missing(value, source="x")):
        made = coerce({"x": given, "deep": [{"x": given}]}, {})
        assert made.problems == ()
        assert json.dumps(made.value) == f'{{"x": {text}, "deep": [{{"x": {text}}}]}}'
        # Enums hide behind JSON: a schema, a hash and a path would see another value.
        assert type(made.value["x"]) in (str, int, float, bool, list, dict)
        if isinstance(made.value["x"], dict):
            assert [type(key) for key in made.value["x"]] == [str]


def kept(value):
    """Return a value as it comes back from the rows of a query, or of a lazy sequence, which are kept in a file."""
    (back,) = decode_cells(encode_cells([value]))
    return back


@pytest.mark.parametrize(("value", "text"), SENT)
def test_a_value_that_is_kept_for_the_tries_to_come_is_sent_as_the_same(value, text):
    assert json.dumps(coerce(kept(value), {}).value) == text


@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_what_stands_for_no_value_still_does_after_it_was_kept(value):
    assert coerce({"a": kept(value), "b": 1}, {}, on_none="omit").value == {"b": 1}
    assert parse_record({"id": kept(value), "body": {}}, 0).id is None


@pytest.mark.parametrize(
    "template", ["{{ v }}x", "{{ v ~ 'x' }}", "{% set a = v ~ 'x' %}{{ a }}", "{{ '' ~ (v ~ 'x') }}"]
)
@pytest.mark.parametrize(("value", "text"), [(Tier.GOLD, "goldx"), (Level.HIGH, "3x"), (7, "7x"), (Text("y"), "yx")])
def test_a_part_of_a_text_is_written_as_it_is_sent_alone(template, value, text):
    assert render(template, {"v": value}, Environment()) == text


def test_none_is_joined_to_no_text():
    assert render("{{ v ~ 'x' }}", {"v": None}, Environment()) == Missing("{{ v ~ 'x' }}: a part of it is None")


@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_what_stands_for_no_value_is_not_a_part_of_a_text(value):
    found = render("v={{ v }}", {"v": value}, Environment())
    assert found == Missing("v={{ v }}: a part of it is NaN, NaT or NA")


@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_what_stands_for_no_value_is_decided_on_by_on_none(value):
    assert is_nothing(value)
    assert [p.message for p in coerce({"a": value}, {}, hint="; hint").problems] == [
        "is NaN, NaT or NA, which stand for no value; hint"
    ]
    assert coerce({"a": value, "b": 1}, {}, on_none="omit").value == {"b": 1}
    assert coerce({"a": value}, {}, on_none="null").value == {"a": None}
    assert coerce({"a": value}, {}, on_none="null").nulls == {"/a"}


@pytest.mark.parametrize("value", FORMLESS, ids=repr)
def test_what_no_number_of_python_equals_is_refused_by_the_name_of_its_type(value):
    assert to_number(value) is None
    assert not is_nothing(value)
    (problem,) = coerce({"a": value}, {}, on_none="omit").problems
    assert problem.message == f"is a {type(value).__name__}, which JSON has no form for"


def test_an_infinity_is_refused_and_not_taken_for_nothing():
    (problem,) = coerce({"a": Scalar(float("inf"), "f")}, {}, on_none="omit").problems
    assert problem.message == "the number inf has no form in JSON"


@pytest.mark.parametrize(
    ("given", "record_id"),
    [(Tier.GOLD, "gold"), (Level.HIGH, "3"), (Scalar(17, "i"), "17"), (Price("17.0"), "17"), (Text("17"), "17")],
)
def test_an_id_of_any_library_becomes_text(given, record_id):
    schema = {"properties": {"id": {"type": "string"}}}
    assert coerce({"id": given}, schema).value == {"id": record_id}
    record = parse_record({"id": given, "integrated_account_id": Tier.GOLD, "body": {}}, 0)
    assert (record.id, record.integrated_account_id, record.problems) == (record_id, "gold", ())
    assert (type(record.id), type(record.integrated_account_id)) == (str, str)


@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_an_id_of_nothing_is_missing_and_a_customer_of_nothing_never_the_default(value):
    record = parse_record({"id": value, "integrated_account_id": value, "body": {}}, 0)
    assert [pointer for pointer, _ in record.problems] == ["/id", "/integrated_account_id"]
    assert (record.id, record.integrated_account_id) == (None, "")


def test_plain_text_is_the_characters():
    assert [to_plain_text(text) for text in ("x", Tier.GOLD, Text("y"))] == ["x", "gold", "y"]


def test_what_numpy_itself_gives_is_sent_as_numbers():
    np = pytest.importorskip("numpy")
    whole = [np.int8(7), np.int64(7), np.uint16(7), np.array(7), np.float64(7.0)]
    made = coerce({"whole": whole, "text": [np.str_("gold")]}, {})
    assert (made.problems, made.value) == ((), {"whole": [7, 7, 7, 7, 7.0], "text": ["gold"]})
    assert {type(item) for item in made.value["whole"]} == {int, float}
    made = coerce([np.float64(1.5), np.float32(0.5), np.bool_(True), np.bool_(False)], {})
    assert json.dumps(made.value) == "[1.5, 0.5, true, false]"
    nothing = [np.float64("nan"), np.float32("nan"), np.datetime64("NaT"), np.timedelta64("NaT", "s")]
    assert coerce([*nothing, 1], {}, on_none="omit").value == [1]
    refused = [np.timedelta64(5, "s"), np.datetime64("2026-01-31"), np.array([1, 2]), np.array([1]), np.complex64(1)]
    refused += [np.float64("inf"), np.longdouble("0.1"), b"x", np.bytes_(b"x")]
    assert len(coerce(refused, {}, on_none="omit").problems) == len(refused)
    assert coerce({"id": np.int64(17)}, {"properties": {"id": {"type": "string"}}}).value == {"id": "17"}


def test_what_pandas_itself_gives_is_sent_and_its_nothing_is_nothing():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"id": [17, 18], "size": [1.5, None], "at": [pd.Timestamp("2026-01-31T10:00Z"), pd.NaT]})
    frame["flag"] = pd.array([True, pd.NA], dtype="boolean")
    frame["n"] = pd.array([5, pd.NA], dtype="Int64")
    frame["tier"] = pd.Categorical(["gold", None])
    rows = frame.to_dict("records")
    schema = {"properties": {"id": {"type": "string"}}}
    assert [coerce(mark_missing(row, source="row"), schema, on_none="omit").value for row in rows] == [
        {"id": "17", "size": 1.5, "at": "2026-01-31T10:00:00.000Z", "flag": True, "n": 5, "tier": "gold"},
        {"id": "18"},
    ]
    # Objects of pandas themselves have no form, and are named.
    for value in (frame, frame["size"], pd.Index([1]), pd.Timedelta(5)):
        (problem,) = coerce({"a": value}, {}, on_none="omit").problems
        assert problem.message == f"is a {type(value).__name__}, which JSON has no form for"
