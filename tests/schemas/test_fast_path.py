"""The quick check may say no to anything, but yes only where jsonschema finds nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from airflow_provider_truto.schemas.fast_path import compile_fast_check
from airflow_provider_truto.schemas.packaged import load_packaged_schema

NAMES = st.sampled_from(["a", "b", "c"])
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, float("nan"), Decimal(1)]) | NAMES
)
VALUES = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=3),
    max_leaves=8,
)
SCHEMAS = st.recursive(
    st.booleans() | st.just({}),
    lambda schemas: st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(NAMES, schemas, max_size=3),
            "additionalProperties": st.booleans() | schemas,
            "patternProperties": st.dictionaries(NAMES, schemas, max_size=1),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "minProperties": st.integers(0, 2),
            "items": schemas,
            "prefixItems": st.lists(schemas, min_size=1, max_size=2),
            "minLength": st.integers(0, 2),
            "format": st.sampled_from(["date", "ipv4", "no such format"]),
            "minimum": st.integers(-1, 1),
            "maximum": st.integers(-1, 1),
            "enum": st.lists(SCALARS.filter(lambda value: value == value), min_size=1, max_size=3),
            "not": schemas,
            "title": st.just("a title"),
        },
    ),
    max_leaves=6,
)


@given(schema=SCHEMAS, value=VALUES)
@example(schema={"enum": [1]}, value=True)
@example(schema={"not": {"enum": ["a", 1]}}, value=1.0)
@example(schema={"minimum": 0}, value=float("nan"))
@example(schema={"minimum": 2}, value=Decimal(1))
@example(schema={"additionalProperties": False, "patternProperties": {"a": False}}, value={"a": 1})
def test_what_quickly_passes_passes(schema, value):
    formats = FormatChecker()
    if compile_fast_check(schema, formats)(value):
        assert list(Draft202012Validator(schema, format_checker=formats).iter_errors(value)) == []


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("path", {"id": "23423523"}),
        ("request", {"name": "x", "number_of_employees": 1, "phone_numbers": [{"number": "1", "type": "work"}]}),
        ("request", {"owner": {"id": "1"}, "created_at": "2021-02-27T11:12:26.000Z", "custom_fields": {"a": [1]}}),
        ("response", {"id": "1", "owner": None, "tags": [{"id": 1}], "updated_at": "2021-02-27T11:12:26.000Z"}),
    ],
)
def test_what_is_right_passes_quickly(part, value):
    schema = load_packaged_schema("crm.accounts.update", part)
    assert schema.is_surely_met(value)
    assert schema.check(value) == []
