"""Verification: what was asked, held against what the CRM answered."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.records.request import build_account_update
from airflow_provider_truto.records.verify import describe_doubts, find_not_confirmed, verify

GROUPS = ("taken", "changed", "not_confirmed", "unverifiable")


def groups(body, response, **changes):
    whole = {"account_id": "1", "body": body, "integrated_account_id": "acae0000-0000-4000-8000-000000000001"}
    request = build_account_update(**{**whole, **changes})
    found = verify(request, response).as_dict()
    assert tuple(found) == GROUPS
    assert list(find_not_confirmed(request, response)) == found["not_confirmed"]  # the short way says the same
    return {pointer: name for name, pointers in found.items() for pointer in pointers}


def group(asked, got, field="name"):
    """The group of one field; the rest of the answer is another record's worth of noise."""
    (only,) = groups({field: asked}, {"id": "1", "website": "https://noise.test", field: got}).values()
    return only


@pytest.mark.parametrize(
    ("field", "asked", "got"),
    [
        ("name", "Acme", "Acme"),
        ("name", "", ""),
        ("number_of_employees", 120, 120),
        ("number_of_employees", 0, 0),
        ("number_of_employees", 120, 120.0),
        ("owner", {"id": "u1"}, {"id": "u1"}),
        ("owner", {"id": "u1"}, {"id": "u1", "name": "Ann"}),
        ("custom_fields", {"a": [1, {"b": True}], "c": None}, {"a": [1, {"b": True}], "c": None, "more": 1}),
        ("tags", [{"name": "vip"}], [{"name": "vip"}]),
        ("tags", [{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}]),
        ("tags", [{"name": "a"}, {"name": "a"}], [{"name": "a"}, {"name": "a"}]),
        ("tags", [{"name": "vip"}], [{"name": "vip", "id": None}]),
        ("tags", [], []),
        ("name", None, None),
        ("custom_fields", {}, {}),
    ],
)
def test_an_answer_as_asked_is_taken(field, asked, got):
    found = groups({field: asked}, {"id": "1", field: got})
    assert set(found.values()) == {"taken"}


@pytest.mark.parametrize(
    ("field", "asked", "got"),
    [
        # phone numbers
        ("phone_numbers", [{"number": "+1 206 555 0100"}], [{"number": "+12065550100"}]),
        ("phone_numbers", [{"number": "(206) 555-0100"}], [{"number": "+12065550100"}]),
        ("phone_numbers", [{"number": "206.555.0100", "type": "work"}], [{"number": "2065550100", "type": "work"}]),
        ("phone_numbers", [{"number": "+4924155501"}], [{"number": "+49 241 55501", "id": "1"}]),
        # ids that the CRM gave
        ("tags", [{"name": "vip"}], [{"name": "vip", "id": "7"}]),
        ("addresses", [{"city": "Pune"}], [{"city": "Pune", "id": "1", "country": "IN"}]),
        # times
        ("created_at", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("created_at", "2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00.000Z"),
        ("created_at", "2026-01-31T12:00:00+05:30", "2026-01-31T06:30:00.000Z"),
        ("created_at", "2026-01-31t12:00:00z", "2026-01-31 12:00:00Z"),
        # URLs
        ("website", "acme.test", "https://acme.test"),
        ("website", "https://acme.test/", "https://acme.test"),
        ("website", "http://www.acme.test", "https://acme.test/"),
        ("website", "ACME.test", "https://acme.test"),
        ("urls", [{"url": "acme.test/blog"}], [{"url": "https://acme.test/blog/"}]),
        # case and white space
        ("name", "  Acme   Inc ", "Acme Inc"),
        ("industry", "software", "Software"),
        ("industry", "STRASSE", "straße"),
        # another type of the same
        ("custom_fields", {"score": 87}, {"score": "87"}),
        ("custom_fields", {"score": "87"}, {"score": 87}),
        ("custom_fields", {"score": 87.0}, {"score": "87"}),
        ("custom_fields", {"churned": True}, {"churned": "true"}),
        # empty is empty
        ("name", "", None),
        ("name", None, ""),
        ("tags", [], None),
        ("custom_fields", {}, None),
        ("custom_fields", {"list": []}, {"list": None}),
        # more items than asked
        ("tags", [{"name": "a"}], [{"name": "b"}, {"name": "a"}]),
        ("custom_fields", {"list": ["a"]}, {"list": ["a", "b"]}),
        ("tags", [{"name": "a"}, {"name": "B"}], [{"name": "b"}, {"name": "a"}]),
    ],
)
def test_the_same_in_another_form_was_changed_by_the_crm(field, asked, got):
    found = groups({field: asked}, {"id": "1", field: got})
    assert set(found.values()) == {"changed"}, found


@pytest.mark.parametrize(
    ("field", "asked", "got"),
    [
        # still the old value
        ("name", "Acme", "Northwind"),
        ("number_of_employees", 120, 121),
        ("number_of_employees", 0, None),
        ("number_of_employees", 0, 120),
        ("owner", {"id": "u1"}, {"id": "u2"}),
        ("owner", {"id": "u1"}, None),
        ("website", "https://acme.test", "https://acme.example"),
        ("website", "https://acme.test/a", "https://acme.test/b"),
        ("created_at", "2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z"),
        ("created_at", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+01:00"),
        ("phone_numbers", [{"number": "+1 206 555 0100"}], [{"number": "+1 206 555 0101"}]),
        ("phone_numbers", [{"number": "+1 206 555 0100"}], []),
        ("phone_numbers", [{"number": "100"}], [{"number": "5550100"}]),
        ("tags", [{"name": "a"}, {"name": "b"}], [{"name": "a"}]),
        ("tags", [{"name": "a"}, {"name": "a"}], [{"name": "a"}]),
        ("tags", [{"name": "a"}], [{"id": "a"}]),
        ("tags", [{"name": "a"}], None),
        ("tags", [{"name": "a"}], "a"),
        ("tags", [], [{"name": "a"}]),
        ("name", "", "Northwind"),
        ("name", None, "Northwind"),
        ("custom_fields", {"a": True}, {"a": False}),
        ("custom_fields", {"a": True}, {"a": 1}),
        ("custom_fields", {"a": 1}, {"a": True}),
        ("custom_fields", {"a": {"b": 1}}, {"a": 1}),
        ("custom_fields", {"a": ["x"]}, {"a": "x"}),
        ("custom_fields", {"a": [None]}, {"a": []}),
        ("custom_fields", {"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 2}]}}),
    ],
)
def test_another_value_is_not_confirmed(field, asked, got):
    found = groups({field: asked}, {"id": "1", field: got})
    assert set(found.values()) == {"not_confirmed"}, found


@pytest.mark.parametrize(
    ("field", "asked", "got"),
    [
        ("number_of_employees", 1234567, 51234567),
        ("number_of_employees", 51234567, 1234567),
        ("owner", {"id": "1234567"}, {"id": "91234567"}),
        ("custom_fields", {"annual_revenue": 2500000}, {"annual_revenue": 12500000}),
        ("custom_fields", {"annual_revenue": "2500000"}, {"annual_revenue": "12500000"}),
        ("custom_fields", {"revenue": -2500000}, {"revenue": 2500000}),
        ("custom_fields", {"ratio": 1.234567}, {"ratio": 1234567}),
        ("tags", [{"id": "1234567"}], [{"id": "91234567"}]),
        ("addresses", [{"postal_code": "1234567"}], [{"postal_code": "91234567"}]),
    ],
)
def test_two_numbers_are_not_the_same_because_phone_numbers_with_these_digits_might_be(field, asked, got):
    found = groups({field: asked}, {"id": "1", field: got})
    assert set(found.values()) == {"not_confirmed"}, found


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"number_of_employees": 0},
        {"owner": {"id": "u"}},
        {"tags": [{"name": "a"}]},
        {"created_at": "x"},
    ],
)
def test_a_field_that_is_absent_from_the_answer_is_not_confirmed(body):
    assert set(groups(body, {"id": "1"}).values()) == {"not_confirmed"}
    assert set(groups(body, {}).values()) == {"not_confirmed"}


def test_each_field_of_an_object_has_its_own_group_and_pointer():
    found = groups(
        {"custom_fields": {"taken": 1, "changed": "A", "lost": "x", "a/b~c": 1, "deep": {"x": 1, "y": 2}}},
        {"custom_fields": {"taken": 1, "changed": "a", "a/b~c": 1, "deep": {"x": 1}}},
    )
    assert found == {
        "/custom_fields/taken": "taken",
        "/custom_fields/changed": "changed",
        "/custom_fields/lost": "not_confirmed",
        "/custom_fields/a~1b~0c": "taken",
        "/custom_fields/deep/x": "taken",
        "/custom_fields/deep/y": "not_confirmed",
    }


def test_a_list_has_one_group_which_is_that_of_its_worst_item():
    got = [{"name": "b"}, {"name": "a", "id": "1"}]
    assert groups({"tags": [{"name": "a"}, {"name": "b"}]}, {"tags": got}) == {"/tags": "changed"}
    assert groups({"tags": [{"name": "a"}, {"name": "c"}]}, {"tags": got}) == {"/tags": "not_confirmed"}


def test_an_exact_item_is_preferred_to_a_similar_one():
    asked = [{"name": "A"}, {"name": "a"}]
    assert groups({"tags": asked}, {"tags": [{"name": "a"}, {"name": "A"}]}) == {"/tags": "taken"}


@pytest.mark.parametrize("response_format", ["unified", "normalized"])
def test_excluded_fields_and_remote_data_are_unverifiable(response_format):
    found = groups(
        {"name": "x", "website": "y", "remote_data": {"a": 1}},
        {"id": "1", "name": "x"},
        response_format=response_format,
        exclude_fields=("website",),
    )
    assert found == {"/name": "taken", "/website": "unverifiable", "/remote_data": "unverifiable"}


@pytest.mark.parametrize(
    ("response_format", "response"),
    [
        ("raw", {"name": "x"}),
        ("raw", [1]),
        ("stream", None),
        ("unified", None),
        ("unified", []),
        ("unified", "text"),
        ("normalized", 5),
    ],
)
def test_what_is_not_a_mapped_object_verifies_nothing(response_format, response):
    assert groups({"name": "x", "a/b": 1}, response, response_format=response_format) == {
        "/name": "unverifiable",
        "/a~1b": "unverifiable",
    }


@pytest.mark.parametrize("body", [None, [], "x", {}])
def test_a_body_without_fields_has_nothing_to_verify(body):
    assert groups(body, {"id": "1"}) == {}


fields = st.sampled_from(["name", "number_of_employees", "owner", "tags", "custom_fields", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(fields, json_values, max_size=4)


@given(objects)
def test_an_answer_equal_to_what_was_asked_confirms_all_of_it(body):
    found = groups(body, copy.deepcopy(body))
    assert "not_confirmed" not in found.values()
    assert "unverifiable" not in found.values()


@given(objects, json_values | objects)
def test_no_answer_raises_and_every_field_is_in_one_group(body, response):
    before = copy.deepcopy((body, response))
    request = build_account_update(account_id="1", body=body, integrated_account_id="x")
    found = verify(request, response).as_dict()
    assert list(find_not_confirmed(request, response)) == found["not_confirmed"]
    assert (body, response) == before
    everything = [pointer for pointers in found.values() for pointer in pointers]
    assert len(everything) == len(set(everything))
    assert {pointer.split("/")[1] for pointer in everything} == set(body)


def test_an_answer_about_another_record_is_not_confirmed():
    found = groups({"name": "x"}, {"id": "2", "name": "x"})
    assert found == {"/id": "not_confirmed", "/name": "taken"}
    request = build_account_update("1", {"name": "x"}, integrated_account_id="a")
    told = describe_doubts(request, {"id": "2", "name": "x"}, verify(request, {"id": "2", "name": "x"}))
    assert "merged" in told
    assert "does not confirm" not in told


def test_a_read_of_another_record_is_not_confirmed():
    request = build_account_update("1", None).replace(method="get")
    assert verify(request, {"id": "2"}).not_confirmed == ("/id",)
    assert verify(request, {"id": "1"}).not_confirmed == ()


def test_a_list_of_any_length_is_compared_in_bounded_time():
    """Each asked item with each of a million that a server sends would take minutes."""
    asked = [{"name": f"tag {number}"} for number in range(20)]
    assert group(asked, [None] * 1_000_000, field="tags") == "unverifiable"
    assert group(asked, [*asked, {"name": "more"}], field="tags") == "changed"
    many = [f"tag {number}" for number in range(5_000)]
    assert group(many, list(many), field="tags") == "taken"
