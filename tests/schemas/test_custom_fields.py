"""The schema of one CRM's custom fields: what its list of fields says, and what it leaves unsaid."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.schemas.custom_fields import (
    PARTIAL_INTEGRATIONS,
    build_custom_fields_schema,
    find_unlisted_fields,
    is_partial_for,
    replace_custom_fields,
)
from airflow_provider_truto.schemas.packaged import load_packaged_schema
from airflow_provider_truto.schemas.truto_schema import convert_schema
from airflow_provider_truto.schemas.validator import Schema

REQUEST = load_packaged_schema("crm.accounts.update", "request").source


def crm_field(name, kind="string", **more):
    return {"id": f"id-{name}", "name": name, "type": kind, "is_editable": True, "entity_type": "account", **more}


def options(*values):
    return [{"label": str(value).title(), "value": value} for value in values]


FIELDS = [
    crm_field("tier", "enum", options=options("gold", "silver")),
    crm_field("score", "number"),
    crm_field("churned", "boolean"),
    crm_field("renewed_on", "date"),
    crm_field("lifetime_value", "number", is_editable=False),
    crm_field("8f3a11", "string", label="Customer Segment"),
    crm_field("birthday", "date", entity_type="contact"),
]


def told(fields, value, *, is_partial=False, **options):
    """The pointers and sentences of a value of ``custom_fields``."""
    found = build_custom_fields_schema(fields, is_partial=is_partial)
    schema = Schema(found.schema, name="custom fields")
    return {finding.pointer: finding.message for finding in schema.check(value, **options)}


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        *((kind, ["", "x", "2026"], [5, True, [], {}]) for kind in ("string", "text", "rich_text", "time")),
        ("number", [0, -1.5, 10**15], ["5", True, []]),
        ("boolean", [True, False], ["true", 1, 0]),
        ("date", ["2026-01-31", "2024-02-29"], ["2026-02-30", "31.01.2026", "2026-01-31T00:00:00Z", 5, ""]),
        ("datetime", ["2026-01-31T12:00:00Z"], ["2026-01-31", "2026-01-31T12:00:00", 5]),
        ("array", [[], ["a", 1]], ["a", {}, 5]),
        *(
            (kind, ["x", 5, True, {"a": []}, [], None], [])
            for kind in ("file", "address", "enum", "varchar", "", None)
        ),
        ("String", ["x"], [5]),
        ({"a": 1}, ["x", 5], []),
    ],
)
def test_a_field_takes_the_values_of_its_type(kind, right, wrong):
    found = build_custom_fields_schema([crm_field("x", kind)], is_partial=False)
    assert found.warnings == ()
    assert [value for value in right if told([crm_field("x", kind)], {"x": value})] == []
    assert [value for value in wrong if set(told([crm_field("x", kind)], {"x": value})) != {"/x"}] == []


@pytest.mark.parametrize(
    "text",
    [
        "20260131",
        "2026-W05-6",
        "2026-031",
        "2026-1-31",
        " 2026-01-31",
        "2026-01-31\n",
        "２０２６-01-31",
        "0000-01-01",
    ],
)
def test_a_date_is_written_in_one_way(text):
    assert told([crm_field("on", "date")], {"on": text}) == {
        "/on": f"expects a date such as 2026-01-31, got the text {text!r}"
    }


def test_a_field_may_be_without_type():
    assert told([{"name": "x"}], {"x": {"any": [1]}}) == {}


@pytest.mark.parametrize(
    ("values", "right", "wrong", "text", "as_typed"),
    [
        (["gold", "silver"], ["gold"], ["Gold", "", 5, None, ["gold"]], "gold", "gold"),
        ([1, 2], [1, 2.0], [3, "1", True], "2", 2),
        ([0.5, 1], [0.5], [2], "0.5", 0.5),
        ([True, False], [True], [1, "true"], "False", False),
        (["1", "2"], ["1"], [1], "1", "1"),
        (["a", 1], ["a", 1], ["b", 2, True, None], "1", "1"),
        ([""], [""], ["x"], "", ""),
    ],
)
def test_an_enum_takes_the_values_of_its_options(values, right, wrong, text, as_typed):
    fields = [crm_field("x", "enum", options=options(*values)), crm_field("xs", "array", options=options(*values))]
    found = build_custom_fields_schema(fields, is_partial=False)
    assert found.warnings == ()
    assert [value for value in right if told(fields, {"x": value, "xs": [value, value]})] == []
    for value in wrong:
        assert set(told(fields, {"x": value, "xs": [right[0], value]})) == {"/x", "/xs/1"}
    assert set(told(fields, {"xs": right[0]})) == {"/xs"}
    value = coerce({"x": text, "xs": [text]}, found.schema).value
    assert json.dumps(value) == json.dumps({"x": as_typed, "xs": [as_typed]})


def test_a_wrong_choice_is_told_the_choices_but_not_hundreds_of_them():
    fields = [crm_field("tier", "enum", options=options("gold", "silver"))]
    assert told(fields, {"tier": "bronze"}) == {"/tier": 'expects one of "gold", "silver", got the text \'bronze\''}
    assert "bronze" not in str(told(fields, {"tier": "bronze"}, hide_values=True))
    (message,) = told([crm_field("n", "enum", options=options(*range(300)))], {"n": 300}).values()
    assert message == f"expects one of {', '.join(map(str, range(30)))}, and 270 more, got the number 300"


def test_a_hidden_option_or_field_can_be_written():
    field = crm_field("x", "enum", is_hidden=True, options=[{"label": "Old", "value": "old", "is_hidden": True}])
    assert told([field], {"x": "old"}) == {}


@pytest.mark.parametrize("kind", ["enum", "array"])
@pytest.mark.parametrize("given", [None, [], {}, ""])
def test_options_may_be_absent(kind, given):
    found = build_custom_fields_schema([crm_field("x", kind, options=given)], is_partial=False)
    assert found.warnings == ()
    assert Schema(found.schema, name="x").check({"x": ["any"]}) == []


@pytest.mark.parametrize("kind", ["enum", "array"])
@pytest.mark.parametrize(
    "given",
    [
        "gold",
        {"gold": "Gold"},
        5,
        ["gold"],
        [None],
        [{}],
        [{"label": "Gold"}],
        [{"value": None}],
        [{"value": ["a"]}],
        [{"value": "a"}, {"value": {}}],
    ],
)
def test_options_that_are_not_understood_check_nothing(kind, given):
    found = build_custom_fields_schema([crm_field("x", kind, options=given)], is_partial=False)
    assert found.warnings == ("the options of custom field 'x' are not understood and not checked",)
    assert Schema(found.schema, name="x").check({"x": ["any"]}) == []


@pytest.mark.parametrize("is_partial", [True, False])
def test_a_field_that_is_not_editable_is_a_problem_whatever_its_value(is_partial):
    for value in (5, None, "x", {}):
        schema = Schema(build_custom_fields_schema(FIELDS, is_partial=is_partial).schema, name="x")
        (finding,) = schema.check({"lifetime_value": value}, hide_values=True)
        assert finding.pointer == "/lifetime_value"
        assert finding.message == "is not editable in this CRM"
        assert finding.keyword == "x-read-only"
        assert not finding.wants_scalar
        assert not finding.is_advisory


def test_a_sentence_of_read_only_counts_only_where_the_property_is_refused():
    schema = Schema({"properties": {"a": {"type": "string", "x-read-only": "may not be"}}}, name="x")
    assert [finding.message for finding in schema.check({"a": []})] == ["expects text, got an array"]


@pytest.mark.parametrize("editable", [True, None, "yes"])
def test_only_a_field_that_says_so_is_not_editable(editable):
    assert told([crm_field("x", "number", is_editable=editable)], {"x": 5}) == {}
    assert told([{"name": "x"}], {"x": 5}) == {}


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Tier", "tier"),
        ("teir", "tier"),
        ("renewedOn", "renewed_on"),
        ("Customer Segment", "8f3a11"),
        ("customer_segment", "8f3a11"),
        ("8f3a12", "8f3a11"),
    ],
)
def test_by_a_complete_list_an_unknown_key_is_told_the_nearest_name(key, meant):
    assert told(FIELDS, {key: "x"}) == {f"/{key}": f"is not a known field: did you mean `{meant}`?"}


def test_a_field_that_cannot_be_written_is_not_proposed():
    assert "lifetime_value" not in told(FIELDS, {"lifetime_valu": 1})["/lifetime_valu"]


def test_by_a_complete_list_a_key_like_no_other_is_told_some_of_the_known_ones():
    assert told([], {"zzz": 1}) == {
        "/zzz": "is not a known field (known: none); name it in extra_fields if it is right"
    }
    many = [crm_field(f"field_{place:03}") for place in range(300)]
    (message,) = told(many, {"zzz": 1}).values()
    assert "known: field_000, field_001, " in message
    assert "field_029, and 270 more)" in message


def test_fields_of_another_entity_are_left_out_and_those_of_none_are_kept():
    fields = [*FIELDS, {"name": "a"}, crm_field("b", entity_type=None), crm_field("c", entity_type="")]
    assert set(told(fields, {"birthday": "2026-01-31", "a": 1, "b": "x", "c": "x"})) == {"/birthday"}
    contact = build_custom_fields_schema(fields, is_partial=False, entity_type="contact").schema
    assert list(contact["properties"]) == ["birthday", "a", "b", "c"]


def test_by_a_partial_list_unknown_keys_pass_and_can_be_named():
    value = {"tier": "gold", "other": 1, "birthday": "x", "lifetime_value": 1, "score": "x"}
    assert set(told(FIELDS, value, is_partial=True)) == {"/lifetime_value", "/score"}
    schema = build_custom_fields_schema(FIELDS, is_partial=True).schema
    assert find_unlisted_fields(schema, value) == ["other", "birthday"]
    assert find_unlisted_fields(schema, {"tier": "gold"}) == []


@pytest.mark.parametrize("value", [None, [], "tier", 5, {}, ["other"]])
def test_what_is_not_an_object_has_no_unlisted_fields(value):
    assert find_unlisted_fields(build_custom_fields_schema(FIELDS, is_partial=True).schema, value) == []


def test_by_a_complete_list_no_field_is_merely_unlisted():
    assert find_unlisted_fields(build_custom_fields_schema(FIELDS, is_partial=False).schema, {"other": 1}) == []


def test_any_field_is_unlisted_by_a_schema_that_knows_none():
    assert find_unlisted_fields(REQUEST["properties"]["custom_fields"], {"a": 1, "b": 2}) == ["a", "b"]


@pytest.mark.parametrize(
    "bad", [None, 5, "tier", [], {}, {"name": None}, {"name": ""}, {"name": ["a"]}, {"name": True}]
)
def test_an_object_that_is_not_a_field_is_ignored_with_a_warning(bad):
    found = build_custom_fields_schema([crm_field("a"), bad, crm_field("b")], is_partial=False)
    assert list(found.schema["properties"]) == ["a", "b"]
    (warning,) = found.warnings
    assert warning.startswith("field 1 of the CRM's list has no name and is ignored: ")


def test_a_name_that_is_a_number_is_the_key_as_text():
    assert told([crm_field(1234, "number")], {"1234": 5}) == {}


def test_of_two_fields_of_one_name_the_first_counts():
    found = build_custom_fields_schema([crm_field("a", "number"), crm_field("a", "string")], is_partial=False)
    assert found.schema["properties"]["a"] == {"type": "number"}
    assert found.warnings == ("custom field 'a' is in the CRM's list twice: the first one counts",)
    assert (
        build_custom_fields_schema([crm_field("a"), crm_field("a", entity_type="contact")], is_partial=False).warnings
        == ()
    )


def test_the_fields_may_come_one_by_one():
    assert build_custom_fields_schema(iter(FIELDS), is_partial=False) == build_custom_fields_schema(
        FIELDS, is_partial=False
    )


def test_null_is_wrong_for_a_scalar_in_the_way_that_can_be_allowed():
    for kind in ("string", "number", "boolean", "date", "datetime", "enum"):
        field = crm_field("x", kind, options=options("a", "b"))
        (finding,) = Schema(build_custom_fields_schema([field], is_partial=False).schema, name="x").check({"x": None})
        assert finding.is_null
        assert finding.wants_scalar


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in PARTIAL_INTEGRATIONS),
        *((name, True) for name in ("attio", "ATTIO", "salesforce", "sales-force", "Salesforce Sandbox")),
        *((name, True) for name in ("microsoft_dynamics_365_sales", "microsoftdynamics365", "dynamics-365-sales")),
        *(
            (name, False)
            for name in ("HubSpot", "pipedrive", "zoho_crm", "Salesflare", "close", "", "dynamo", "trutotest")
        ),
    ],
)
def test_the_lists_of_three_integrations_are_partial_by_any_spelling_of_their_names(name, expected):
    assert is_partial_for(name) is expected


CUSTOM = build_custom_fields_schema(FIELDS, is_partial=False).schema


@pytest.mark.parametrize(
    "body_schema",
    [
        REQUEST,
        convert_schema({"properties": {"name": {"type": "string"}}}).schema,
        convert_schema({"properties": {"custom_fields": {"type": "object"}}, "$defs": {"a": {}}}).schema,
        {},
        {"type": "object"},
        {"properties": {"name": {}}, "additionalProperties": True},
        {"properties": {"name": {}}, "additionalProperties": False},
        {"type": "object", "additionalProperties": {"type": "string"}},
    ],
)
def test_a_body_is_held_against_the_crms_fields_and_otherwise_as_before(body_schema):
    before = copy.deepcopy((body_schema, CUSTOM))
    combined = replace_custom_fields(body_schema, CUSTOM)
    assert (body_schema, CUSTOM) == before
    assert combined == {**body_schema, "properties": {**body_schema.get("properties", {}), "custom_fields": CUSTOM}}
    schema = Schema(combined, name="body")
    found = schema.check({"custom_fields": {"teir": "x", "lifetime_value": 1, "score": 5}})
    assert [finding.pointer for finding in found] == ["/custom_fields/lifetime_value", "/custom_fields/teir"]
    value = {"custom_fields": {"score": "5", "churned": "True", "tier": "gold"}}
    assert coerce(value, combined).value == {"custom_fields": {"score": 5, "churned": True, "tier": "gold"}}
    if body_schema.get("additionalProperties") is False:
        assert [finding.pointer for finding in schema.check({"nme": 1})] == ["/nme"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(["string", "number", "boolean", "date", "datetime", "enum", "array", "file"])
crm_fields = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "c"]) | json_values,
        "label": json_values,
        "type": kinds | json_values,
        "is_editable": st.booleans() | json_values,
        "entity_type": st.sampled_from(["account", "contact"]) | json_values,
        "options": st.lists(st.fixed_dictionaries({"value": json_values}), max_size=3) | json_values,
    },
)


@given(st.lists(crm_fields | json_values, max_size=4), st.booleans(), json_values)
def test_any_list_of_fields_becomes_a_schema_that_checks_any_value(fields, is_partial, value):
    found = build_custom_fields_schema(fields, is_partial=is_partial)
    schema = Schema(replace_custom_fields(REQUEST, found.schema), name="body")
    for custom in (value, {"a": value, "b": None, "zzz": 1}):
        for finding in schema.check({"custom_fields": custom}):
            assert finding.message
        coerce({"custom_fields": custom}, schema.source)
        assert find_unlisted_fields(found.schema, custom) == [] or is_partial
