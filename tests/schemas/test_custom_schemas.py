"""A DAG author's own schema: a mapping or a file, compiled once, and its findings as sentences."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from jsonschema import Draft202012Validator

from airflow_provider_truto.schemas.formats import parse_date_time
from airflow_provider_truto.schemas.messages import describe_value, name_types
from airflow_provider_truto.schemas.packaged import load_packaged_schema
from airflow_provider_truto.schemas.pointers import build_pointer, extend_pointer
from airflow_provider_truto.schemas.validator import Schema, load_schema

TIER = {
    "type": "object",
    "required": ["tier"],
    "additionalProperties": False,
    "properties": {"tier": {"$ref": "#/$defs/tier"}},
    "$defs": {"tier": {"type": "string", "enum": ["gold", "silver"]}},
}


def written(folder, text, name="tier.json"):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def pointers(schema, value):
    return [finding.pointer for finding in schema.check(value)]


@pytest.mark.parametrize("as_text", [str, lambda path: path])
def test_a_schema_comes_from_a_mapping_or_the_path_of_a_file(tmp_path, as_text):
    path = written(tmp_path, json.dumps(TIER))
    for schema in (load_schema(TIER), load_schema(as_text(path))):
        assert schema.source == TIER
        assert pointers(schema, {"tier": "gold"}) == []
        assert pointers(schema, {"tier": "bronze"}) == ["/tier"]
        assert pointers(schema, {}) == ["/tier"]
        assert pointers(schema, {"tier": "gold", "teir": "x"}) == ["/teir"]


def test_any_mapping_is_a_schema():
    assert pointers(load_schema(MappingProxyType(TIER)), {}) == ["/tier"]


def test_a_schema_may_be_without_any_rule():
    assert pointers(load_schema({}), {"any": ["thing"]}) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the schema tier.json is not JSON"),
        ("", "the schema tier.json is not JSON"),
        ("\ufeff{}", "the schema tier.json is not JSON"),
        ("[]", "the schema tier.json is not a JSON object"),
        ("true", "the schema tier.json is not a JSON object"),
        ('"x"', "the schema tier.json is not a JSON object"),
        ('{"type": "text"}', "the schema tier.json is not a valid JSON Schema (draft 2020-12): /type"),
        ('{"properties": {"a": {"minimum": "x"}}}', "/properties/a/minimum"),
        ('{"properties": {"a": {"pattern": "("}}}', "/properties/a/pattern"),
        ('{"required": "tier"}', "/required"),
    ],
)
def test_a_file_that_holds_no_schema_says_what_is_wrong_with_it(tmp_path, text, message):
    with pytest.raises(ValueError) as caught:
        load_schema(written(tmp_path, text))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["absent.json", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(ValueError) as caught:
        load_schema(tmp_path / name)
    if "\0" not in name:
        assert f"the schema {str(tmp_path / name)!r} cannot be read" in str(caught.value)


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "tier.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError):
        load_schema(path)


def test_a_mapping_that_is_not_a_schema_says_where():
    with pytest.raises(
        ValueError, match=r"the schema that was given is not a valid JSON Schema.*: /properties/a/type"
    ):
        load_schema({"properties": {"a": {"type": "varchar"}}})


@pytest.mark.parametrize("schema", [{"type": str}, {"enum": [{1, 2}]}, {1: "x", "a": "y"}])
def test_a_mapping_that_is_not_json_is_refused_like_any_other_wrong_schema(schema):
    with pytest.raises(ValueError):
        load_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"name": {"$ref": "#/$defs/absent"}}},
        {"properties": {"name": {"$ref": "other.json"}}},
        {"properties": {"name": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"properties": {"name": {"$dynamicRef": "#absent"}}},
        {"$ref": "#"},
    ],
    ids=["nowhere", "another file", "another server", "dynamic", "itself"],
)
def test_a_schema_whose_references_lead_nowhere_is_refused_with_a_sentence(schema):
    with pytest.raises(ValueError):
        load_schema(schema).check({"name": "Acme"})


def test_a_reference_to_another_server_is_never_fetched(monkeypatch):
    fetched = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: fetched.append(a) or (_ for _ in ()).throw(OSError))
    with pytest.raises(ValueError, match="leads nowhere"):
        load_schema({"$ref": "http://127.0.0.1:9/schema.json"}).check({"name": "Acme"})
    assert fetched == []


def test_references_are_followed_at_any_depth():
    schema = load_schema(
        {
            "properties": {"tree": {"$ref": "#/$defs/node"}},
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/node"}},
                    "additionalProperties": False,
                }
            },
        }
    )
    tree = {"tree": {"name": "a", "next": {"name": "b", "next": {"name": 5, "nxt": {}}}}}
    assert pointers(schema, tree) == ["/tree/next/next/name", "/tree/next/next/nxt"]


def test_keys_that_a_pattern_knows_are_not_unknown_keys():
    schema = load_schema(
        {
            "properties": {"name": {}},
            "patternProperties": {"^cf_": {"type": "string"}, "_id$": {"type": "integer"}},
            "additionalProperties": False,
        }
    )
    found = schema.check({"name": 1, "cf_a": "x", "cf_b": 5, "my_id": 5, "other": 1})
    assert [(finding.pointer, finding.keyword) for finding in found] == [
        ("/cf_b", "type"),
        ("/other", "additionalProperties"),
    ]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ({"minLength": 40}, "SECRET"),
        ({"maxLength": 2}, "SECRET"),
        ({"pattern": "^[0-9]+$"}, "SECRET"),
        ({"const": "other"}, "SECRET"),
        ({"enum": ["other"]}, "SECRET"),
        ({"not": {"type": "string"}}, "SECRET"),
        ({"type": "integer"}, "SECRET"),
        ({"type": ["integer", "null"]}, "SECRET"),
        ({"format": "email"}, "SECRET"),
        ({"format": "uuid"}, "SECRET"),
        ({"format": "date-time"}, "SECRET"),
        ({"anyOf": [{"type": "integer"}, {"maxLength": 1}]}, "SECRET"),
        ({"oneOf": [{"type": "string"}, {"minLength": 1}]}, "SECRET"),
        ({"allOf": [{"pattern": "^x"}]}, "SECRET"),
        ({"if": {"type": "string"}, "then": {"maxLength": 1}}, "SECRET"),
        ({"minimum": 900_000_000}, 777_777_777),
        ({"maximum": 5}, 777_777_777),
        ({"exclusiveMaximum": 5}, 777_777_777),
        ({"multipleOf": 10}, 777_777_777),
        ({"type": "string"}, 777_777_777),
        ({"type": "string"}, 7.77777777),
        ({"minItems": 5}, ["SECRET"]),
        ({"uniqueItems": True}, ["SECRET", "SECRET"]),
        ({"contains": {"const": 1}}, ["SECRET"]),
        ({"items": {"type": "integer"}}, ["SECRET"]),
        ({"prefixItems": [{}], "items": False}, ["x", "SECRET"]),
        ({"prefixItems": [{"type": "null"}]}, ["SECRET"]),
        ({"unevaluatedItems": False}, ["SECRET"]),
        ({"minProperties": 5}, {"key": "SECRET"}),
        ({"required": ["other"]}, {"key": "SECRET"}),
        ({"additionalProperties": False}, {"key": "SECRET"}),
        ({"additionalProperties": {"type": "integer"}}, {"key": "SECRET"}),
        ({"unevaluatedProperties": False}, {"key": "SECRET"}),
        ({"propertyNames": {"maxLength": 1}}, {"key": "SECRET"}),
        ({"dependentRequired": {"key": ["other"]}}, {"key": "SECRET"}),
        ({"dependentSchemas": {"key": {"required": ["other"]}}}, {"key": "SECRET"}),
        ({"type": "array"}, "SECRET"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_no_keyword_shows_a_value_where_values_are_hidden(keyword, value):
    schema = load_schema({"properties": {"field": keyword}})
    found = schema.check({"field": value}, hide_values=True)
    assert found
    for finding in found:
        for secret in ("SECRET", "777", "7.7"):
            assert secret not in finding.message
        assert len(finding.message) > 5


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_a_value_that_is_hidden_too(value):
    (finding,) = load_schema({"properties": {"churned": {"type": "string"}}}).check(
        {"churned": value}, hide_values=True
    )
    assert str(value).lower() not in finding.message


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ({"minLength": 3}, "ab", "'ab' is too short"),
        ({"minLength": 1}, "", "must not be empty"),
        ({"pattern": "^[0-9]+$"}, "ab", "'ab' does not match '^[0-9]+$'"),
        ({"format": "uuid"}, "ab", "expects the format uuid, got the text 'ab'"),
        ({"enum": ["a", None, 5]}, "ab", "expects one of \"a\", null, 5, got the text 'ab'"),
        ({"maximum": 5}, 6, "must be 5 or less, got the number 6"),
        ({"type": ["integer", "null"]}, "x", "expects a whole number or null, got the text 'x'"),
    ],
)
def test_the_sentence_shows_the_expectation_and_the_value(keyword, value, message):
    (finding,) = load_schema({"properties": {"field": keyword}}).check({"field": value})
    assert finding.message == message


def test_a_long_message_of_the_validator_is_cut():
    (finding,) = load_schema({"not": {"type": "string"}}).check("x" * 10_000)
    assert len(finding.message) <= 301


def test_a_finding_at_the_root_has_a_pointer_that_can_be_read():
    (finding,) = load_schema({"minProperties": 2}).check({"a": 1})
    assert finding.pointer == "/"


def test_a_schema_calls_its_own_keywords_advisory():
    schema = load_schema({"properties": {"x": {"type": "string", "maxLength": 2, "x-advisory": ["maxLength"]}}})
    assert [finding.is_advisory for finding in schema.check({"x": "long"})] == [True]
    assert [finding.is_advisory for finding in schema.check({"x": 5})] == [False]


def test_a_schema_is_compiled_once_however_often_it_is_used(monkeypatch, tmp_path):
    checks = []
    check = Draft202012Validator.check_schema
    monkeypatch.setattr(
        Draft202012Validator, "check_schema", classmethod(lambda cls, source: checks.append(1) or check(source))
    )
    source = {"properties": {"once": {"type": "string"}}, "title": "compiled once"}
    path = written(tmp_path, json.dumps({**source, "title": "compiled once from a file"}))
    for _ in range(50):
        for schema in (load_schema(source), load_schema(dict(reversed(source.items()))), load_schema(str(path))):
            assert pointers(schema, {"once": 5}) == ["/once"]
    assert len(checks) == 2
    assert load_schema(source) is load_schema(dict(source))
    assert load_packaged_schema("crm.accounts.update", "request") is load_packaged_schema(
        "crm.accounts.update", "request"
    )


def test_the_validator_behind_a_schema_is_built_once(monkeypatch):
    schema = Schema({"type": "object"}, name="x")
    schema.check({})
    monkeypatch.setattr("airflow_provider_truto.schemas.validator.Draft202012Validator", None)
    assert schema.check({}) == []


def test_a_file_that_changes_is_read_again(tmp_path):
    path = written(tmp_path, '{"type": "object"}')
    assert pointers(load_schema(path), {}) == []
    path.write_text('{"type": "array"}')
    assert pointers(load_schema(path), {}) == ["/"]


def test_a_mapping_that_is_changed_after_it_was_compiled_is_another_schema():
    source = {"type": "object", "properties": {}}
    assert pointers(load_schema(source), {"a": 5}) == []
    source["properties"]["a"] = {"type": "string"}
    assert pointers(load_schema(source), {"a": 5}) == ["/a"]


def test_pointers_escape_what_a_pointer_reserves():
    assert build_pointer([]) == ""
    assert build_pointer(["a/b", 0, "c~d", ""]) == "/a~1b/0/c~0d/"
    assert extend_pointer("/a", 3) == "/a/3"


def test_types_have_names_for_people():
    assert name_types("integer") == "a whole number"
    assert name_types(["string", "null"]) == "text or null"


@pytest.mark.parametrize(
    ("value", "shown", "hidden"),
    [
        (None, "null", "null"),
        ("Acme", "the text 'Acme'", "a text"),
        (5, "the number 5", "a number"),
        (1.5, "the number 1.5", "a number"),
        ({"a": 1}, "an object", "an object"),
        ([1], "an array", "an array"),
    ],
)
def test_a_value_is_named_by_its_kind_and_shown_unless_hidden(value, shown, hidden):
    assert describe_value(value) == shown
    assert describe_value(value, hide_values=True) == hidden


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31t12:00:00.5z", "2026-01-31T12:00:00.500000+00:00"),
        ("2026-01-31 12:00:00.123456789+05:30", "2026-01-31T12:00:00.123456+05:30"),
        ("2026-01-31T12:00:00", None),
        ("now", None),
    ],
)
def test_a_date_time_is_read_with_its_zone(text, iso):
    moment = parse_date_time(text)
    assert (None if moment is None else moment.isoformat()) == iso


def test_a_value_that_a_format_cannot_be_asked_of_is_an_error_and_no_crash():
    """Python's own parser of patterns goes one call deeper for each bracket."""
    schema = load_schema({"properties": {"x": {"type": "string", "format": "regex"}}})
    with pytest.raises(ValueError, match="does not come to an end for this value"):
        schema.check({"x": "(" * 20_000})
