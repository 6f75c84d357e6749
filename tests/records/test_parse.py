"""Reading an answer leniently: what is odd about it is a warning, and nothing is raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.records.parse import find_other_record, parse_response
from airflow_provider_truto.records.request import build_account_update


def an_update(**changes):
    whole = {
        "account_id": "1",
        "body": {"name": "x"},
        "integrated_account_id": "acae0000-0000-4000-8000-000000000001",
    }
    return build_account_update(**{**whole, **changes})


def test_a_usual_answer_is_given_as_it_came_without_a_warning():
    answer = {"id": "1", "name": "x", "brand_new": [None]}
    assert parse_response(an_update(), answer) == (answer, ())


def test_an_integer_id_is_made_text_with_a_warning():
    result = parse_response(an_update(account_id="5"), {"id": 5, "name": "x"})
    assert result.response == {"id": "5", "name": "x"}
    assert result.warnings == ("/id: came as the number 5, taken as text",)


def test_the_answer_that_came_is_not_changed_in_place():
    answer = {"id": 5}
    parse_response(an_update(), answer)
    assert answer == {"id": 5}


@pytest.mark.parametrize("value", [True, None, 5.5, [], {}])
def test_any_other_id_that_is_not_text_stays_with_a_warning(value):
    result = parse_response(an_update(), {"id": value})
    assert result.response == {"id": value}
    assert [warning.split(":")[0] for warning in result.warnings] == ["/id"]


def test_an_empty_answer_is_not_a_reason_for_a_warning():
    for response_format in ("unified", "normalized", "raw"):
        assert parse_response(an_update(response_format=response_format), {}) == ({}, ())


@pytest.mark.parametrize("value", [[], [1], "text", 5, None, True, {"id": 5}, {"Id": "x"}])
def test_a_raw_answer_may_be_anything(value):
    assert parse_response(an_update(response_format="raw"), value) == (value, ())


@pytest.mark.parametrize("value", [[], ["x"], "text", 5, None, True])
@pytest.mark.parametrize("response_format", ["unified", "normalized"])
def test_a_mapped_answer_that_is_not_an_object_is_a_warning(value, response_format):
    result = parse_response(an_update(response_format=response_format), value)
    assert result.response == value
    assert len(result.warnings) == 1


def test_a_missing_id_is_a_warning_unless_it_was_excluded():
    assert parse_response(an_update(), {"name": "x"}).warnings == ("/id: is required",)
    assert parse_response(an_update(exclude_fields=["id"]), {"name": "x"}).warnings == ()
    assert parse_response(an_update(exclude_fields=["name"]), {"name": "x"}).warnings == ("/id: is required",)


def test_every_oddity_is_told():
    result = parse_response(an_update(account_id="5"), {"id": 5, "name": 5, "tags": ["vip"], "owner": "u1"})
    assert [warning.split(":")[0] for warning in result.warnings] == ["/id", "/name", "/owner", "/tags/0"]


def test_no_warning_shows_a_value_of_the_answer():
    result = parse_response(
        an_update(), {"id": "1", "number_of_employees": "SECRET", "tags": ["SECRET"], "owner": "SECRET"}
    )
    assert len(result.warnings) == 3
    assert "SECRET" not in "".join(result.warnings)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: (
        st.lists(x, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "name", "owner", "tags", "x"]) | st.text(), x, max_size=4)
    ),
)


@given(json_values, st.sampled_from(["unified", "normalized", "raw"]))
def test_no_answer_raises(value, response_format):
    parse_response(an_update(response_format=response_format), value)


@pytest.mark.parametrize("found", ["2", 2, "1x"])
@pytest.mark.parametrize("method", ["get", "update", "delete"])
def test_an_answer_about_another_record_is_a_warning(method, found):
    request = an_update().replace(method=method, body=None)
    result = parse_response(request, {"id": found, "name": "x"})
    about = [warning for warning in result.warnings if "merged" in warning]
    assert len(about) == 1
    assert repr(str(found)) in about[0]
    assert "account_id was '1'" in about[0]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("1", "1"),
        ("1", 1),
        ("ACAE-1", "acae-1"),
        ("0015g00000XyZab", "0015g00000XyZabAAG"),
        ("1", ""),
        ("1", None),
        ("1", True),
        ("1", {"value": "2"}),
    ],
)
def test_the_same_record_in_another_spelling_and_no_id_at_all_are_not_another_record(asked, found):
    assert find_other_record(an_update(account_id=asked), {"id": found}) is None


def test_only_a_mapped_answer_about_one_named_record_says_whose_it_is():
    answer = {"id": "2"}
    assert find_other_record(an_update(), answer) == "2"
    for changes in ({"response_format": "raw"}, {"model": None}, {"method": "create"}, {"record_id": None}):
        assert find_other_record(an_update().replace(**changes), answer) is None
