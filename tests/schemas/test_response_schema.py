"""The schema of an answer is lenient: the write has happened, so that everything it finds is a warning."""

from __future__ import annotations

import pytest

from airflow_provider_truto.schemas.packaged import load_packaged_schema

RESPONSE = load_packaged_schema("crm.accounts.update", "response")
FULL = {
    "id": "23423523",
    "addresses": [{"id": "1", "street_1": "1 Main St", "plus": {"any": 1}}],
    "created_at": "2026-01-31T12:00:00Z",
    "custom_fields": {"tier": "gold"},
    "description": "x",
    "industry": "x",
    "last_activity_at": "2026-01-31T12:00:00Z",
    "name": "Acme",
    "number_of_employees": 120,
    "owner": {"id": "u1"},
    "phone_numbers": [{"number": "1", "type": "home"}],
    "remote_data": {"any": "thing"},
    "tags": [{"name": "vip"}],
    "updated_at": "2026-01-31T12:00:00Z",
    "urls": [{"url": "https://acme.test"}],
    "website": "https://acme.test",
}


def test_the_full_answer_of_this_file_covers_every_field():
    assert set(FULL) == set(RESPONSE.source["properties"])


def test_a_full_answer_is_taken():
    assert RESPONSE.check(FULL) == []


@pytest.mark.parametrize("field", sorted(set(FULL) - {"id"}))
def test_a_field_may_be_null_or_absent(field):
    assert RESPONSE.check({**FULL, field: None}) == []
    assert RESPONSE.check({name: value for name, value in FULL.items() if name != field}) == []


@pytest.mark.parametrize(
    "more",
    [
        {"brand_new": [1]},
        {"created_at": "31.01.2026"},
        {"owner": {"id": None}},
        {"owner": {"name": "Ann"}},
        {"phone_numbers": []},
        {"remote_data": "<xml/>"},
        {"remote_data": []},
        {"number_of_employees": -1},
    ],
)
def test_an_answer_is_open_and_untyped_in_its_details(more):
    assert RESPONSE.check({**FULL, **more}) == []


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"id": None}, "/id"),
        ({"id": 5}, "/id"),
        ({"name": 5}, "/name"),
        ({"number_of_employees": "120"}, "/number_of_employees"),
        ({"number_of_employees": True}, "/number_of_employees"),
        ({"owner": "u1"}, "/owner"),
        ({"owner": {"id": 5}}, "/owner/id"),
        ({"tags": ["vip"]}, "/tags/0"),
        ({"tags": {}}, "/tags"),
        ({"custom_fields": "{}"}, "/custom_fields"),
        ({"remote_data": 5}, "/remote_data"),
    ],
)
def test_a_value_of_another_type_is_found(more, pointer):
    assert [finding.pointer for finding in RESPONSE.check({**FULL, **more})] == [pointer]


def test_an_answer_without_id_is_found():
    (finding,) = RESPONSE.check({"name": "Acme"})
    assert (finding.pointer, finding.message) == ("/id", "is required")
