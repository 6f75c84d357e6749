"""Truto's dialect of schemas, converted: what stays checked, what is opened, and that nothing can break it."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.schemas.packaged import load_packaged_schema
from airflow_provider_truto.schemas.truto_schema import ConvertedSchema, convert_schema
from airflow_provider_truto.schemas.validator import Schema, load_schema

#: As `request_body_schema` of `GET /unified/crm/accounts/{integration}/meta/update` may look.
ACCOUNT = {
    "type": "object",
    "required": True,
    "description": "An account",
    "default": {},
    "properties": {
        "name": {"type": "string", "required": True, "description": "The name", "default": "your_name"},
        "website": {"type": "string", "required": False},
        "number_of_employees": {"type": "integer", "default": 0},
        "created_at": {"type": "date-time"},
        "owner": {"type": "object", "$ref": "#/$defs/owner", "required": True},
        "addresses": {"type": "array", "items": {"$ref": "#/definitions/address"}},
        "phone_numbers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "number": {"type": "string", "required": True},
                    "type": {"type": "string", "enum": ["work", "mobile"]},
                },
            },
        },
        "custom_fields": {"type": "object", "properties": {"tier": {"type": "string"}}},
        "remote_data": {"type": "string", "additionalProperties": False},
    },
    "$defs": {"owner": {"type": "object", "properties": {"id": {"type": "string", "required": True}}}},
    "definitions": {"address": {"type": "object", "properties": {"city": {"type": "string", "default": "Pune"}}}},
}


def without_warnings(meta_schema):
    found = convert_schema(meta_schema)
    assert found.warnings == ()
    return found.schema


def told(meta_schema, value):
    """The pointers and sentences of a value, by the converted schema."""
    schema = convert_schema(meta_schema).schema
    return {finding.pointer: finding.message for finding in Schema(schema, name="live").check(value)}


def everything_in(value):
    yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything_in(child)


def test_a_whole_schema_is_converted_without_a_warning():
    schema = without_warnings(ACCOUNT)
    assert schema["type"] == "object"
    assert schema["description"] == "An account"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name", "owner"]
    assert schema["properties"]["name"] == {"type": "string", "description": "The name"}
    assert schema["properties"]["created_at"] == {"type": "string", "format": "date-time"}
    assert schema["properties"]["phone_numbers"]["items"]["required"] == ["number"]
    assert schema["$defs"]["address"] == {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "additionalProperties": False,
    }
    assert not any("default" in part for part in everything_in(schema) if isinstance(part, dict))


@pytest.mark.parametrize(
    ("changed", "pointer", "message"),
    [
        ({"webSite": "x"}, "/webSite", "is not a known field: did you mean `website`?"),
        ({"name": 5}, "/name", "expects text, got the number 5"),
        ({"created_at": "now"}, "/created_at", "expects a date-time with its zone such as 2026-01-31T12:00:00Z"),
        ({"owner": {}}, "/owner/id", "is required"),
        ({"owner": "u1"}, "/owner", "expects an object, got the text 'u1'; did you mean {\"id\": …}?"),
        ({"owner": {"id": "u", "nme": 1}}, "/owner/nme", "is not a known field"),
        ({"addresses": [{"citty": "x"}]}, "/addresses/0/citty", "is not a known field: did you mean `city`?"),
        ({"phone_numbers": [{}]}, "/phone_numbers/0/number", "is required"),
        (
            {"phone_numbers": [{"number": "1", "type": "fax"}]},
            "/phone_numbers/0/type",
            'expects one of "work", "mobile", got the text \'fax\'',
        ),
        ({"remote_data": "x"}, "/remote_data", "expects an object"),
    ],
)
def test_a_converted_schema_words_its_findings_like_the_packaged_one(changed, pointer, message):
    body = {"name": "Acme", "owner": {"id": "u"}}
    assert told(ACCOUNT, body) == {}
    ((found_at, found),) = told(ACCOUNT, {**body, **changed}).items()
    assert found_at == pointer
    assert message in found


def test_what_is_required_is_missed():
    assert told(ACCOUNT, {}) == {"/name": "is required", "/owner": "is required"}


def test_custom_fields_and_remote_data_are_free_at_the_top_and_only_there():
    free = {"custom_fields": {"any": [1]}, "remote_data": {"Any": {}}}
    assert told(ACCOUNT, {"name": "Acme", "owner": {"id": "u"}, **free}) == {}
    closed = {"type": "object", "properties": {"x": {}}, "additionalProperties": False}
    for meta in (
        {"properties": {"custom_fields": closed, "remote_data": closed}},
        {"properties": {"a": {}}, "anyOf": [{"properties": {"custom_fields": closed, "remote_data": closed}}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"custom_fields": closed, "remote_data": closed}}}},
        {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
    ):
        assert told(meta, free) == {}
    nested = {"properties": {"owner": {"properties": {"custom_fields": closed}}}}
    assert set(told(nested, {"owner": {"custom_fields": {"y": 1}}})) == {"/owner/custom_fields/y"}


def test_a_converted_schema_types_text():
    schema = convert_schema(ACCOUNT).schema
    given = {
        "number_of_employees": "120",
        "owner": '{"id": 5}',
        "addresses": '[{"city": "Pune"}]',
        "custom_fields": '{"a": 1}',
        "name": "5",
    }
    found = coerce(given, schema)
    assert found.problems == ()
    assert found.value == {
        "number_of_employees": 120,
        "owner": {"id": "5"},
        "addresses": [{"city": "Pune"}],
        "custom_fields": {"a": 1},
        "name": "5",
    }


def test_names_of_read_only_fields_may_be_added_to_a_converted_schema():
    schema = Schema({**convert_schema(ACCOUNT).schema, "x-read-only": ["id"]}, name="live")
    found = schema.check({"id": "1", "name": "a", "owner": {"id": "u"}})
    assert [finding.message for finding in found] == ["is read-only: Truto sets it, leave it out"]


def test_the_packaged_schema_keeps_what_the_dialect_has_after_conversion():
    source = load_packaged_schema("crm.accounts.update", "request").source
    found = convert_schema(source)
    assert {re.search("its `(.*)`", warning)[1] for warning in found.warnings} == {
        *("minProperties", "x-read-only", "minimum", "minLength", "x-advisory")
    }
    for name, field in source["properties"].items():
        if name not in {"custom_fields", "remote_data", "number_of_employees", "owner", "phone_numbers", "tags"}:
            assert found.schema["properties"][name] == {key: field[key] for key in field if key != "title"}


# One rule per row: the dialect's schema, and what becomes of it.
@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        # required
        ({"properties": {"a": {"required": True}}}, {"a"}),
        ({"properties": {"a": {"required": False}}}, set()),
        ({"properties": {"a": {"required": True}, "b": {}}, "required": ["b"]}, {"a", "b"}),
        ({"properties": {"a": {"required": True}}, "required": ["a"]}, {"a"}),
        ({"properties": {"a": {"required": True}}, "required": False}, {"a"}),
        ({"required": True}, set()),
        ({"required": ["a", "a"]}, {"a"}),
        ({"properties": {"a": {"items": {"required": True}}}}, set()),
        ({"properties": {"a": {"$ref": "#/$defs/a", "required": True}}, "$defs": {"a": {}}}, {"a"}),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"required": True}}}, set()),
    ],
)
def test_a_boolean_required_goes_into_the_list_of_its_parent(meta, expected):
    schema = without_warnings(meta)
    assert set(schema.get("required", ())) == expected
    assert len(schema.get("required", ())) == len(expected)
    assert not any(isinstance(part.get("required"), bool) for part in everything_in(schema) if isinstance(part, dict))


def test_properties_may_have_the_names_of_keywords():
    names = ["required", "default", "properties", "items", "type", "enum", "$ref", "$defs", "allOf", "x-read-only"]
    meta = {"properties": {name: {"type": "string", "required": name == "default"} for name in names}}
    assert without_warnings(meta) == {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": ["default"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        *(({"type": name}, {"type": name}) for name in ("string", "number", "integer", "boolean", "object", "null")),
        ({"type": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "datetime"}, {"type": "string", "format": "date-time"}),
        ({"type": "DateTime"}, {"type": "string", "format": "date-time"}),
        ({"type": "date"}, {"type": "string", "format": "date"}),
        ({"type": "rich_text"}, {"type": "string"}),
        ({"type": "bool"}, {"type": "boolean"}),
        ({"type": "float"}, {"type": "number"}),
        ({"type": "any"}, {}),
        ({"type": "json"}, {}),
        ({"type": "file"}, {}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": ["string", "string"]}, {"type": "string"}),
        ({"type": ["date", "null"]}, {"type": ["string", "null"], "format": "date"}),
        ({"type": ["date", "string"]}, {"type": "string"}),
        ({"type": ["date", "date-time"]}, {"type": "string"}),
        ({"type": ["string", "any"]}, {}),
        ({"type": "date", "format": "date-time"}, {"type": "string", "format": "date"}),
        ({"type": None}, {}),
        # objects and lists that do not say that they are
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}, "additionalProperties": False}),
        ({"items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
        # openness
        ({"type": "object", "properties": {}}, {"type": "object"}),
        (
            {"properties": {"a": {}}, "additionalProperties": True},
            {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "datetime", "default": 1}},
            {"type": "object", "additionalProperties": {"type": "string", "format": "date-time"}},
        ),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        (
            {"properties": {"a": {}}, "required": ["b"]},
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"], "additionalProperties": False},
        ),
        # keywords that stay, and that do not
        ({"enum": ["a", 1, None, True]}, {"enum": ["a", 1, None, True]}),
        ({"enum": None, "format": None, "properties": None, "items": None, "$ref": None}, {}),
        ({"default": 1, "example": 2, "$id": "x", "$schema": "y", "$anchor": "z", "title": "t"}, {}),
    ],
)
def test_a_node_becomes(node, expected):
    assert without_warnings({"properties": {"x": node}})["properties"]["x"] == expected


@pytest.mark.parametrize(
    ("node", "expected", "why"),
    [
        (None, {}, "its schema is null"),
        (5, {}, "its schema is the number 5"),
        (False, {}, "its schema is false"),
        ({"type": "varchar"}, {}, "its type, the text 'varchar', is not known"),
        ({"type": ["string", "varchar"]}, {}, "its type, the text 'varchar', is not known"),
        ({"type": []}, {}, "its `type` is an array"),
        ({"type": {"a": 1}}, {}, "its `type` is an object"),
        ({"type": "object", "properties": ["a"]}, {"type": "object"}, "its `properties` is an array"),
        ({"type": "string", "enum": "a,b"}, {"type": "string"}, "its `enum` is the text 'a,b'"),
        ({"enum": []}, {}, "its `enum` is an array"),
        ({"enum": [{"label": "A"}]}, {}, "its `enum` is an array"),
        ({"properties": {"a": {}}, "required": "a"}, {"type": "object", "properties": {"a": {}}}, "its `required`"),
        ({"required": ["a", 5]}, {}, "its `required`"),
        ({"type": "array", "items": [{}]}, {"type": "array", "items": {}}, "/x/*"),
        ({"type": "object", "additionalProperties": "no"}, {"type": "object"}, "its `additionalProperties`"),
        ({"$ref": 5}, {}, "its $ref"),
        *(
            ({"type": "string", keyword: value}, {"type": "string"}, f"its `{keyword}` is not a keyword that is read")
            for keyword, value in {
                "pattern": "(",
                "minLength": 1,
                "maximum": 5,
                "const": "x",
                "nullable": True,
                "not": {"type": "string"},
                "oneOf": [{"minLength": 1}],
                "x-advisory": ["type"],
            }.items()
        ),
        *(
            (
                {"properties": {"a": {}}, keyword: [{"required": ["b"]}]},
                {"type": "object", "properties": {"a": {}}},
                why,
            )
            for keyword, why in {"anyOf": "its `anyOf`", "oneOf": "its `oneOf`", "allOf": "its `allOf`"}.items()
        ),
        ({"x" * 200: 1}, {}, f"its `{'x' * 100}` is not a keyword"),
        (
            {"properties": {"a": {}}, "patternProperties": {"^b": {}}},
            {"type": "object", "properties": {"a": {}}},
            "its `patternProperties`",
        ),
    ],
)
def test_what_cannot_be_read_is_opened_with_a_warning(node, expected, why):
    found = convert_schema({"properties": {"ok": {"type": "string"}, "x": node}})
    assert found.schema["properties"] == {"ok": {"type": "string"}, "x": expected}
    assert found.schema["additionalProperties"] is False
    (warning,) = found.warnings
    assert warning.startswith("/x")
    assert " is not checked in full: " in warning
    assert why in warning


@pytest.mark.parametrize(
    "reference",
    [
        "https://truto.one/x.json",
        "http://127.0.0.1:9/a#/b",
        "owner",
        "#owner",
        "#/$defs/absent",
        "#/type/x",
        "",
        "a/b",
        "#/$defs/list/9",
        "#/$defs/list/" + "9" * 5000,
        "#/$defs/list/-1",
    ],
)
@pytest.mark.parametrize("beside", [{}, {"type": "object", "properties": {"a": {"type": "string"}}}])
def test_a_reference_that_cannot_be_followed_opens_its_node_and_is_never_fetched(reference, beside, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("a download"))
    meta = {"properties": {"owner": {"$ref": reference, **beside}}, "$defs": {"list": [{}]}}
    found = convert_schema(meta)
    (warning,) = found.warnings
    assert warning.startswith("/owner is not checked in full: its $ref")
    assert len(warning) < 200
    assert "additionalProperties" not in found.schema["properties"]["owner"]
    assert "$ref" not in found.schema["properties"]["owner"]
    assert told(meta, {"owner": {"b": 1}}) == {}
    assert told({**meta, "additionalProperties": False}, {"owner": {"b": 1}}) == {}
    assert bool(told(meta, {"owner": {"a": 1}})) == bool(beside)


def test_an_open_end_in_one_place_closes_nothing_that_is_explicit_there():
    meta = {"$ref": "https://x.test", "properties": {"a": {}}, "additionalProperties": False}
    assert told(meta, {"b": 1}) == {}


@pytest.mark.parametrize(
    ("reference", "definitions"),
    [
        ("#/$defs/owner", {"$defs": {"owner": 0}}),
        ("#/definitions/owner", {"definitions": {"owner": 0}}),
        ("#/$defs/a~1b~0c", {"$defs": {"a/b~c": 0}}),
        ("#/$defs/a%20b%25", {"$defs": {"a b%": 0}}),
        ("#/$defs/list/1", {"$defs": {"list": [None, 0]}}),
        ("#/properties/other", {}),
        ("#/$defs/a", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/c", "default": 1}, "c": 0}}),
    ],
)
def test_a_local_reference_leads_to_its_converted_target_wherever_that_stands(reference, definitions):
    target = {"type": "object", "properties": {"id": {"type": "string", "required": True, "default": "x"}}}
    text = json.dumps({"properties": {"owner": {"$ref": reference}}, **definitions}).replace(": 0", ": TARGET")
    meta = json.loads(
        text.replace("TARGET", json.dumps(target)).replace("[null, 0]", f"[null, {json.dumps(target)}]")
    )
    if "properties/other" in reference:
        meta["properties"]["other"] = target
    assert without_warnings(meta)
    assert told(meta, {"owner": {"id": "u"}}) == {}
    assert told(meta, {"owner": {}}) == {"/owner/id": "is required"}
    assert set(told(meta, {"owner": {"id": 5, "x": 1}})) == {"/owner/id", "/owner/x"}
    assert coerce({"owner": '{"id": "u"}'}, convert_schema(meta).schema).value == {"owner": {"id": "u"}}


def test_a_reference_and_what_stands_beside_it_are_one_object_that_knows_both():
    meta = {
        "properties": {
            "owner": {
                "$ref": "#/$defs/person",
                "description": "Who owns it",
                "required": True,
                "properties": {"role": {"type": "string", "required": True}, "name": {"enum": ["Ann", 5]}},
            }
        },
        "$defs": {"person": {"properties": {"id": {"type": "string"}, "name": {"type": "string"}}}},
    }
    assert told(meta, {"owner": {"id": "1", "name": "Ann", "role": "x"}}) == {}
    assert set(told(meta, {"owner": {"id": 1, "name": "A", "rôle": "x"}})) == {
        "/owner/id",
        "/owner/name",
        "/owner/role",
        "/owner/rôle",
    }
    assert set(told(meta, {"owner": {"name": 5, "role": "x"}})) == {"/owner/name"}
    assert told(meta, {}) == {"/owner": "is required"}
    assert convert_schema(meta).schema["properties"]["owner"]["description"] == "Who owns it"
    assert coerce({"owner": {"id": 5, "role": 6}}, convert_schema(meta).schema).value == {
        "owner": {"id": "5", "role": 6}
    }


def test_the_root_may_be_a_reference_itself():
    meta = {
        "type": "object",
        "$ref": "#/$defs/account",
        "$defs": {"account": {"properties": {"name": {"type": "string"}}}},
    }
    assert without_warnings(meta)["properties"] == {"name": {"type": "string"}}
    assert set(told(meta, {"nme": 1})) == {"/nme"}


def test_of_a_keyword_that_is_given_twice_the_nearest_counts():
    base = {"type": "object", "additionalProperties": True, "properties": {"a": {"enum": ["a"]}}}
    near = {"$ref": "#/$defs/base", "additionalProperties": False, "properties": {"a": {"enum": ["abc"]}}}
    meta = {"properties": {"x": near, "y": {"$ref": "#/$defs/base"}}, "$defs": {"base": base}}
    assert told(meta, {"x": {"a": "abc"}, "y": {"a": "a", "b": 1}}) == {}
    assert set(told(meta, {"x": {"a": "a", "b": 1}})) == {"/x/a", "/x/b"}


def test_one_target_means_what_each_of_its_references_says():
    target = {"type": "object", "properties": {"id": {}, "custom_fields": {"type": "string"}}}
    meta = {
        "properties": {
            "plain": {"$ref": "#/$defs/a"},
            "required": {"$ref": "#/$defs/a", "required": ["id"]},
            "open": {"$ref": "#/$defs/a", "anyOf": [{}]},
        },
        "$defs": {"a": target, "a.2": {"type": "string"}},
    }
    for properties in (meta["properties"], dict(reversed(meta["properties"].items()))):
        value = {name: {"x": 1} for name in properties}
        assert set(told({**meta, "properties": properties}, value)) == {"/plain/x", "/required/x", "/required/id"}
    top = {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"properties": {**target["properties"], "b": {"$ref": "#/$defs/a"}}}},
    }
    assert told(top, {"custom_fields": {}}) == {}
    assert told(top, {"b": {"custom_fields": "x"}}) == {}
    assert told(top, {"b": {"custom_fields": {}}}) != {}


def test_the_root_is_an_object_even_where_it_says_nothing():
    assert without_warnings({}) == {"type": "object"}
    assert set(told({"description": "x"}, ["a"])) == {"/"}


def test_custom_fields_that_are_merely_required_are_an_object_too():
    assert set(told({"properties": {"a": {}}, "required": ["custom_fields"]}, {"custom_fields": "x"})) == {
        "/custom_fields"
    }


TREE = {
    "properties": {"tree": {"$ref": "#/$defs/node"}, "parent": {"$ref": "#"}},
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "required": True},
                "next": {"$ref": "#/$defs/node", "type": "object"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "other": {"$ref": "#/$defs/node", "required": False, "description": "another"},
            },
        }
    },
}


def test_a_schema_that_holds_itself_is_checked_at_any_depth():
    assert without_warnings(TREE)
    wrong = {"name": "x", "next": {"name": "y", "next": {"nme": 1}}, "children": [{"name": "z", "children": [{}]}]}
    assert set(told(TREE, {"tree": wrong})) == {
        "/tree/next/next/name",
        "/tree/next/next/nme",
        "/tree/children/0/children/0/name",
    }
    assert told(TREE, {"parent": {"parent": {"tree": {"name": "x", "other": {"name": "y"}}}}}) == {}
    assert set(told(TREE, {"parent": {"parent": {"x": 1}}})) == {"/parent/parent/x"}
    assert coerce({"parent": {"tree": '{"name": "x"}'}}, convert_schema(TREE).schema).value == {
        "parent": {"tree": {"name": "x"}}
    }


@pytest.mark.parametrize(
    "definitions",
    [
        {"a": {"$ref": "#/$defs/a"}},
        {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    ],
)
def test_a_reference_that_comes_back_without_an_end_opens_its_node_with_a_warning(definitions):
    meta = {"properties": {"x": {"$ref": "#/$defs/a"}, "name": {"type": "string"}}, "$defs": definitions}
    found = convert_schema(meta)
    assert len(found.warnings) == 1
    for value in ({"x": 5}, {"x": {"x": "y"}}, {"x": "text"}, {"x": ""}):
        told(meta, value)
    assert told(meta, {"x": "text"}) == {}
    assert set(told(meta, {"name": 5})) == {"/name"}


@pytest.mark.parametrize("keyword", ["properties", "items", "additionalProperties"])
def test_a_schema_nested_beyond_reason_is_opened_where_it_gets_too_deep(keyword):
    meta = {"type": "string"}
    for _ in range(20_000):
        meta = {keyword: {"a": meta} if keyword == "properties" else meta}
    found = convert_schema(meta)
    Draft202012Validator.check_schema(found.schema)
    (warning,) = found.warnings
    assert "nested more than" in warning


@pytest.mark.parametrize("form", ["properties", "alone", "beside"])
def test_chains_of_references_do_not_recurse_to_death(form):
    def link(place):
        reference = {"$ref": f"#/$defs/d{place + 1}"}
        return {
            "properties": {"properties": {"a": reference}},
            "alone": reference,
            "beside": {**reference, "type": "string"},
        }[form]

    definitions = {f"d{place}": link(place) for place in range(1_200)} | {"d1200": {"type": "string"}}
    meta = {"properties": {"x": {"$ref": "#/$defs/d0"}, "y": {"$ref": "#/$defs/d1190"}}, "$defs": definitions}
    found = convert_schema(meta)
    Draft202012Validator.check_schema(found.schema)
    told(meta, {"x": "a", "y": "b"})
    coerce({"x": "a"}, found.schema)


def test_references_that_double_at_every_step_stay_few():
    definitions = {
        f"d{place}": {
            "type": "object",
            "properties": {name: {"type": "object", "$ref": f"#/$defs/d{place + 1}"} for name in "abc"},
        }
        for place in range(40)
    }
    meta = {"$ref": "#/$defs/d0", "$defs": {**definitions, "d40": {"properties": {"end": {"type": "string"}}}}}
    found = convert_schema(meta)
    Draft202012Validator.check_schema(found.schema)


def test_a_schema_of_too_many_nodes_is_checked_as_far_as_they_go():
    meta = {"properties": {f"field_{place}": {"type": "date"} for place in range(6_000)}}
    found = convert_schema(meta)
    assert len(found.schema["properties"]) == 6_000
    assert sum(field != {} for field in found.schema["properties"].values()) == 5_000
    assert [warning for warning in found.warnings if "5,000 nodes" in warning] == list(found.warnings)


@pytest.mark.parametrize("source", [None, [], "x", 5, True, [{"type": "object"}]])
def test_what_is_not_an_object_is_not_a_schema(source):
    with pytest.raises(ValueError, match="a meta schema is an object, not"):
        convert_schema(source)


names = st.sampled_from(["a", "b", "custom_fields", "remote_data", "type", "$ref", ""])
references = st.sampled_from(
    [
        "#",
        "#/$defs/a",
        "#/$defs/b",
        "#/properties/a",
        "#/properties/b/items",
        "#/anyOf/0",
        "#/allOf/0",
        "https://x",
        "b",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.just(10**400) | st.text(max_size=4)
junk = st.recursive(
    scalars, lambda x: st.lists(x, max_size=2) | st.dictionaries(st.text(max_size=4), x, max_size=2), max_leaves=4
)
types = st.sampled_from(["string", "number", "object", "array", "null", "date", "date-time", "file", "varchar"])


def nodes(children):
    either = children | junk
    maps = st.dictionaries(names, either, max_size=3) | junk
    return st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types, max_size=3) | junk,
            "properties": maps,
            "$defs": maps,
            "required": st.booleans() | st.lists(names, max_size=2) | junk,
            "items": either,
            "additionalProperties": st.booleans() | either,
            "$ref": references | junk,
            **{keyword: st.lists(either, max_size=3) | junk for keyword in ("allOf", "anyOf", "oneOf")},
            "enum": st.lists(scalars, max_size=3) | junk,
            "const": junk,
            "default": junk,
            "description": junk,
            "format": st.sampled_from(["date-time", "date", "email", "regex", "uri"]) | junk,
            "pattern": st.sampled_from(["(", "^a$", "a{99999999999}", "(?i)x"]) | junk,
            "minLength": junk,
            "maxItems": junk,
            "minimum": junk,
            "x-read-only": st.lists(names, max_size=2) | junk,
            "x-advisory": st.lists(st.sampled_from(["enum", "type"]), max_size=2) | junk,
            "patternProperties": maps,
            "$id": junk,
            "$anchor": junk,
            "$dynamicRef": references | junk,
        },
    )


meta_schemas = st.recursive(nodes(junk), nodes, max_leaves=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda x: st.lists(x, max_size=2) | st.dictionaries(names, x, max_size=3),
    max_leaves=8,
)


@given(meta_schemas | st.dictionaries(st.text(max_size=9), junk, max_size=4), values)
def test_any_json_object_becomes_a_schema_that_checks_and_types_any_value(meta, value):
    before = copy.deepcopy(meta)
    found = convert_schema(meta)
    assert repr(meta) == repr(before)
    assert isinstance(found, ConvertedSchema)
    assert all(isinstance(warning, str) for warning in found.warnings)
    assert len(set(found.warnings)) == len(found.warnings)
    Draft202012Validator.check_schema(found.schema)
    schema = Schema(json.loads(json.dumps(found.schema)), name="live")
    for body in (value, {"a": value, "custom_fields": {"x": value}}):
        for finding in schema.check(body):
            assert finding.message
            assert not finding.pointer.startswith("/custom_fields/")
        coerce(body, found.schema)


def plain_nodes(children):
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["string", "number", "boolean"])}, optional={"required": st.booleans()}
        ),
        st.fixed_dictionaries(
            {"properties": st.dictionaries(names, children, min_size=1, max_size=3)},
            optional={"required": st.booleans()},
        ),
        st.fixed_dictionaries({"items": children}, optional={"required": st.booleans()}),
    )


@given(st.dictionaries(names, st.recursive(plain_nodes(st.just({})), plain_nodes, max_leaves=10), max_size=3))
def test_a_schema_without_peculiarities_has_no_warning_and_converts_to_the_same_again(properties):
    once = without_warnings({"type": "object", "properties": properties})
    assert without_warnings(once) == once


# ------------------------------------------------------------------------------------------------- work without end


def reference(name):
    return {"$ref": f"#/$defs/{name}"}


def doubling(levels, *, through=None):
    """Definitions of which each has two choices of the next one: for the same value, or for one of its members."""

    def choices(level):
        branch = reference(f"d{level + 1}")
        both = [branch, dict(branch)] if through is None else [{"properties": {through: branch}} for _ in range(2)]
        return {"anyOf": both}

    definitions = {f"d{level}": choices(level) for level in range(levels)}
    return {"properties": {"a": reference("d0")}, "$defs": {**definitions, f"d{levels}": {"type": "string"}}}


def nested(levels):
    return {"a": nested(levels - 1)} if levels else 5


#: Schemas of a server, and the bodies that they are to be held against.
BOMBS = {
    "choices that double": (doubling(200), {"a": 5}),
    "choices that double with each level of the body": (doubling(40, through="a"), nested(40)),
    "a pattern that backtracks": ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 60 + "!"}),
    "a pattern of a thousand nested repeats": (
        {"properties": {"a": {"pattern": "(" * 1000 + "a" + ")*" * 1000}}},
        {},
    ),
    "nine megabytes of properties": (
        {"properties": {f"property number {n:010}": {} for n in range(250_000)}},
        {"a": 1},
    ),
    "properties of which most are not checked": (
        {"properties": {f"property_{n}": {"type": "string"} for n in range(60_000)}},
        {"property_1": 1},
    ),
    "nine megabytes of names": ({"properties": {"a": {}}, "required": [f"{n:030}" for n in range(250_000)]}, {}),
    "nine megabytes of choices": ({"properties": {"a": {"enum": [f"{n:030}" for n in range(250_000)]}}}, {"a": "x"}),
    "names that are all missing": ({"properties": {"a": {}}, "required": [f"{n:030}" for n in range(50_000)]}, {}),
    "unknown names beside many known ones": (
        {"properties": {f"property_{n}": {} for n in range(2_000)}},
        {f"proberty-{n}": 1 for n in range(20)},
    ),
    "one long name above many": (
        {"properties": {"x" * 1_000_000: {"properties": {f"p{n}": {"type": "?"} for n in range(1_000)}}}},
        {"x": 1},
    ),
    "many references to one large merger": (
        {
            "properties": {f"p{n}": {**reference("large"), "title": str(n)} for n in range(1_000)},
            "$defs": {"large": {"properties": {f"q{n}": {} for n in range(1_500)}}},
        },
        {"p1": {}},
    ),
    "a type of many names": ({"properties": {"a": {"type": ["string"] * 500_000}}}, {"a": 1}),
    "one long text": ({"properties": {"a": {"type": "x" * 9_000_000, "description": "y" * 9_000_000}}}, {"a": 1}),
}


def test_no_schema_of_a_server_takes_work_without_end():
    """Each is converted, compiled and met within a second or two; what hangs takes the whole time."""
    code = (
        "import json, sys\n"
        "from airflow_provider_truto.schemas.truto_schema import convert_schema\n"
        "from airflow_provider_truto.schemas.validator import load_schema\n"
        "for name, (meta, body) in json.load(sys.stdin).items():\n"
        "    found = convert_schema(meta)\n"
        "    assert len(found.warnings) <= 51 and all(len(warning) < 9_000 for warning in found.warnings)\n"
        "    try:\n"
        "        findings = load_schema(found.schema, is_valid=True).check(body)\n"
        "        assert all(len(finding.message) < 9_000 for finding in findings)\n"
        "        print(name, 'is checked', len(findings), flush=True)\n"
        "    except ValueError as error:\n"
        "        print(name, error, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(BOMBS),
        text=True,
        timeout=10 * len(BOMBS),
        check=False,
        capture_output=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(BOMBS), (lines[-1:], done.stderr[-2000:])


def test_an_authors_schema_whose_choices_double_ends_as_well():
    with pytest.raises(ValueError, match="too many steps"):
        load_schema(doubling(40, through="a")).check(nested(41))


def test_every_missing_name_is_told_once():
    schema = load_schema({"required": ["a", "b", "c"], "properties": {"d": {"required": ["a"]}}})
    assert [finding.pointer for finding in schema.check({"b": 1, "d": {}})] == ["/a", "/c", "/d/a"]
