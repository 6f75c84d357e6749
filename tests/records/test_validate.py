"""Checking: everything that is wrong with an update, all at once, before anything is sent."""

from __future__ import annotations

import json
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_equality import same

from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.render import Missing
from airflow_provider_truto.records.request import build_account_update
from airflow_provider_truto.records.validate import validate
from airflow_provider_truto.schemas.packaged import load_packaged_schema

ACCOUNT = "acae0000-0000-4000-8000-000000000001"
REQUEST = load_packaged_schema("crm.accounts.update", "request").source
GONE = Missing("{{ x }} is None")


def an_update(body=None, **changes):
    whole = {"account_id": "23423523", "body": {"name": "Acme"}, "integrated_account_id": ACCOUNT}
    return build_account_update(**{**whole, **({} if body is None else {"body": body}), **changes})


def refusal(update, **options):
    with pytest.raises(TrutoSchemaError) as caught:
        validate(update, **options)
    return caught.value


def pointers(update, **options):
    return [problem.pointer for problem in refusal(update, **options).problems]


def test_a_right_update_is_written_as_compact_utf_8_json():
    result = validate(an_update({"name": "Café", "custom_fields": {"a": [1.0, None]}}))
    assert result.body == '{"name":"Café","custom_fields":{"a":[1.0,null]}}'.encode()
    assert result.warnings == ()


def test_every_problem_is_listed_at_once_each_on_a_line_of_its_own():
    error = refusal(
        an_update(
            {
                "nme": "Acme",
                "number_of_employees": "120",
                "tags": [],
                "owner": {"id": 5},
                "created_at": "now",
                "phone_numbers": [{"number": 1}],
            },
            account_id="..",
            integrated_account_id="acme",
            response_format="xml",
            exclude_fields=["a", 5],
            remote_query=[("a", 1)],
            idempotency_key="with space",
        )
    )
    assert [problem.pointer for problem in error.problems] == [
        "/account_id",
        "/integrated_account_id",
        "/response_format",
        "/exclude_fields",
        "/remote_query",
        "/idempotency_key",
        "/body/created_at",
        "/body/nme",
        "/body/number_of_employees",
        "/body/owner/id",
        "/body/phone_numbers/0/number",
        "/body/tags",
    ]
    first, *lines = str(error).splitlines()
    assert first == "the update of crm/accounts '..' is not valid: 12 problems, nothing was sent."
    assert lines == [f"  {problem.pointer}: {problem.message}" for problem in error.problems]


@pytest.mark.parametrize("given", [{}, {"text_advice": "cast it"}])
def test_how_a_number_becomes_text_is_told_as_the_caller_can_do_it(given):
    advice = given.get("text_advice", "pass it as text")
    error = refusal(an_update({"name": 5}, account_id=17.5, **given))
    assert [problem.message for problem in error.problems] == [
        f"expects text, got the number 17.5 ({advice})",
        f"expects text, got the number 5 ({advice})",
    ]


@pytest.mark.parametrize(
    ("method", "meant"),
    [("patch", "update"), ("PUT", "update"), ("post", "create"), ("Update", "update"), ("GET", "get")],
)
def test_a_slip_of_a_method_is_not_called_as_a_custom_one(method, meant):
    error = refusal(an_update().replace(method=method, record_id=None, needs_id=False, schema=None))
    assert error.problems == (Problem("/method", f"would call a custom method {method!r}: did you mean {meant!r}?"),)


def test_one_problem_is_counted_as_one():
    assert "1 problem, nothing was sent." in str(refusal(an_update({"nme": "x"})))


# --- the right customer


@pytest.mark.parametrize("account_id", [ACCOUNT, ACCOUNT.upper()])
def test_an_account_id_that_is_the_integrated_account_is_refused(account_id):
    (problem,) = refusal(an_update(account_id=account_id)).problems
    assert problem.pointer == "/account_id"
    assert "is the integrated account itself" in problem.message


def test_the_two_ids_swapped_are_refused():
    error = refusal(an_update(account_id=ACCOUNT, integrated_account_id="23423523"))
    (problem,) = error.problems
    assert problem.pointer == "/integrated_account_id"
    assert "'23423523' is not the UUID of an integrated account: was it swapped with" in problem.message


@pytest.mark.parametrize("account", ["", None])
def test_a_missing_integrated_account_is_refused(account):
    (problem,) = refusal(an_update(integrated_account_id=account)).problems
    assert problem.pointer == "/integrated_account_id"
    assert "is missing" in problem.message


@pytest.mark.parametrize(
    "account",
    [
        "acme",
        "acae0000",
        ACCOUNT[:-1],
        ACCOUNT + "0",
        f" {ACCOUNT}",
        f"{ACCOUNT}\n",
        f"{{{ACCOUNT}}}",
        f"urn:uuid:{ACCOUNT}",
        ACCOUNT.replace("-", ""),
        "{{ params.account }}",
        "None",
    ],
)
def test_an_integrated_account_that_is_not_a_uuid_is_refused(account):
    assert pointers(an_update(integrated_account_id=account)) == ["/integrated_account_id"]


@pytest.mark.parametrize("account", [ACCOUNT, ACCOUNT.upper(), "00000000-0000-0000-0000-000000000000"])
def test_any_uuid_in_its_usual_form_is_taken(account):
    assert validate(an_update(integrated_account_id=account))


@pytest.mark.parametrize("account", [UUID(ACCOUNT), 5, True, [ACCOUNT], {"id": ACCOUNT}], ids=str)
def test_an_integrated_account_that_is_not_text_is_refused_with_a_sentence(account):
    assert pointers(an_update(integrated_account_id=account)) == ["/integrated_account_id"]


@pytest.mark.parametrize("account_id", ["", ".", "..", None, 5, True, ["1"], "\ud800"])
def test_an_account_id_that_can_be_in_no_path_is_refused(account_id):
    assert pointers(an_update(account_id=account_id)) == ["/account_id"]


@pytest.mark.parametrize("account_id", ["0", "a/b c?d#e", "ü", "..."])
def test_any_other_text_is_an_account_id(account_id):
    assert validate(an_update(account_id=account_id))


# --- empty and null


@pytest.mark.parametrize("field", ["addresses", "phone_numbers", "tags", "urls"])
def test_an_empty_list_is_refused_since_it_may_wipe_what_the_crm_holds(field):
    (problem,) = refusal(an_update({field: []})).problems
    assert problem.pointer == f"/body/{field}"
    assert "allow_empty=True" in problem.message


@pytest.mark.parametrize(("schema", "is_refused"), [("packaged", True), ({"type": "object"}, True), (None, False)])
def test_an_empty_list_is_refused_also_of_a_resource_that_has_no_schema_of_this_package(schema, is_refused):
    update = an_update({"emails": []}, schema=schema).replace(resource="contacts")
    if is_refused:
        assert pointers(update) == ["/body/emails"]
    else:
        assert validate(update)


@pytest.mark.parametrize("field", ["custom_fields", "remote_data"])
def test_an_empty_object_is_refused_since_it_may_wipe_what_the_crm_holds(field):
    (problem,) = refusal(an_update({field: {}})).problems
    assert problem.message.startswith("is {}: an empty list or object may wipe")


@pytest.mark.parametrize("body", [{"tags": []}, {"custom_fields": {}}, {"remote_data": {}, "urls": [], "name": "x"}])
def test_allow_empty_lets_them_through(body):
    assert json.loads(validate(an_update(body, allow_empty=True)).body) == body


@pytest.mark.parametrize("body", [{"name": ""}, {"custom_fields": {"list": [], "object": {}}}, {"addresses": [{}]}])
def test_what_is_empty_below_the_top_level_or_is_text_is_taken(body):
    assert validate(an_update(body))


@pytest.mark.parametrize("allow_empty", [False, True])
def test_a_body_with_nothing_in_it_is_never_sent(allow_empty):
    (problem,) = refusal(an_update({}, allow_empty=allow_empty)).problems
    assert "nothing in it to send" in problem.message


NULLS = {
    "name": None,
    "number_of_employees": None,
    "owner": {"id": None},
    "addresses": [{"city": None}, {"city": None}],
}


@pytest.mark.parametrize(
    ("allow_null", "refused"),
    [
        (False, ["/addresses/0/city", "/addresses/1/city", "/name", "/number_of_employees", "/owner/id"]),
        (True, []),
        (["/name"], ["/addresses/0/city", "/addresses/1/city", "/number_of_employees", "/owner/id"]),
        (
            {"/addresses/1/city", "/owner/id", "/name"},
            ["/addresses/0/city", "/number_of_employees"],
        ),
        (("name",), ["/addresses/0/city", "/addresses/1/city", "/name", "/number_of_employees", "/owner/id"]),
        ([], ["/addresses/0/city", "/addresses/1/city", "/name", "/number_of_employees", "/owner/id"]),
    ],
)
def test_null_is_sent_only_where_it_is_allowed(allow_null, refused):
    update = an_update(NULLS, allow_null=allow_null)
    if refused:
        assert pointers(update) == [f"/body{pointer}" for pointer in refused]
    else:
        assert json.loads(validate(update).body) == NULLS


@pytest.mark.parametrize(
    "body",
    [{"owner": None}, {"tags": None}, {"addresses": [None]}, {"custom_fields": None}, {"remote_data": None}],
)
def test_null_in_place_of_a_list_or_an_object_is_never_allowed(body):
    pointer = "/body/addresses/0" if "addresses" in body else f"/body/{next(iter(body))}"
    assert pointers(an_update(body, allow_null=True)) == [pointer]


def test_null_is_free_in_custom_fields_and_remote_data():
    assert validate(an_update({"custom_fields": {"tier": None}, "remote_data": {"x": None}}))


# --- other fields than the known ones


@pytest.mark.parametrize(
    ("extra_fields", "refused"),
    [
        (None, ["/body/addresses/0/geo", "/body/addresses/1/geo", "/body/health", "/body/owner/geo"]),
        (["health"], ["/body/addresses/0/geo", "/body/addresses/1/geo", "/body/owner/geo"]),
        (["/health"], ["/body/addresses/0/geo", "/body/addresses/1/geo", "/body/owner/geo"]),
        (["geo"], ["/body/addresses/0/geo", "/body/addresses/1/geo", "/body/health", "/body/owner/geo"]),
        (["/addresses/0/geo", "health"], ["/body/addresses/1/geo", "/body/owner/geo"]),
        (["/addresses/*/geo", "health"], ["/body/owner/geo"]),
        (["/*/geo", "/*/*/geo", "health"], []),
        (["/*"], ["/body/addresses/0/geo", "/body/addresses/1/geo", "/body/owner/geo"]),
        (["/*/*"], ["/body/addresses/0/geo", "/body/addresses/1/geo", "/body/health"]),
        (["Health", "healt", "/health/", "health/x"], None),
        (("health", "/addresses/*/geo", "/owner/geo"), []),
    ],
)
def test_extra_fields_open_exactly_what_they_name(extra_fields, refused):
    body = {"health": 87, "addresses": [{"geo": 1}, {"geo": 2}], "owner": {"id": "u", "geo": 3}}
    update = an_update(body, extra_fields=extra_fields)
    if refused == []:
        assert json.loads(validate(update).body) == body
    else:
        everything = ["/body/addresses/0/geo", "/body/addresses/1/geo", "/body/health", "/body/owner/geo"]
        assert pointers(update) == (everything if refused is None else refused)


def test_a_name_with_a_slash_or_a_tilde_is_opened_by_name_and_by_pointer():
    body = {"a/b": 1, "c~d": 2}
    assert validate(an_update(body, extra_fields=["a/b", "c~d"]))
    assert validate(an_update(body, extra_fields=["/a~1b", "/c~0d"]))
    assert pointers(an_update(body, extra_fields=["/a/b", "/c~d"])) == ["/body/a~1b", "/body/c~0d"]


def test_a_field_that_truto_sets_can_be_opened_like_any_other():
    assert validate(an_update({"updated_at": "2026-01-31T12:00:00Z"}, extra_fields=["updated_at"]))


def test_an_extra_field_may_hold_anything_that_is_json():
    assert validate(an_update({"x": {"y": [None, {}]}}, extra_fields=["x"]))


@pytest.mark.parametrize("extra_fields", ["health", [5], [None], 5], ids=str)
def test_extra_fields_that_are_not_a_list_of_names_are_a_problem_of_their_own(extra_fields):
    assert "/extra_fields" in pointers(an_update({"health": 87}, extra_fields=extra_fields))


# --- schemas


def test_without_a_schema_any_json_is_sent():
    body = {"nme": 5, "tags": None, "owner": {"x": [{}]}}
    assert json.loads(validate(an_update(body, schema=None)).body) == body


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": {1, 2}}, {1: "a"}, {"a": ("x",)}])
def test_without_a_schema_what_is_not_json_is_refused_all_the_same(body):
    assert pointers(an_update(body, schema=None)) == ["/body"]


def test_without_a_schema_the_arguments_are_checked_all_the_same():
    assert pointers(an_update({"x": 1}, schema=None, integrated_account_id="acme", account_id="")) == [
        "/account_id",
        "/integrated_account_id",
    ]


def test_a_callers_schema_replaces_the_packaged_one(tmp_path):
    schema = {"type": "object", "properties": {"tier": {"enum": ["gold"]}}, "additionalProperties": False}
    path = tmp_path / "tier.json"
    path.write_text(json.dumps(schema))
    for source in (schema, path, str(path)):
        assert validate(an_update({"tier": "gold"}, schema=source))
        assert pointers(an_update({"tier": "bronze", "name": "x"}, schema=source)) == ["/body/name", "/body/tier"]


def test_any_mapping_is_a_schema():
    schema = MappingProxyType({"properties": {"tier": {"enum": ["gold"]}}})
    assert pointers(an_update({"tier": "bronze"}, schema=schema)) == ["/body/tier"]


def test_emptiness_is_refused_under_a_callers_schema_too():
    schema = {"type": "object"}
    assert pointers(an_update({"list": [], "name": "x"}, schema=schema)) == ["/body/list"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "varchar"},
        "absent.json",
        {"properties": {"name": {"$ref": "#/$defs/absent"}}},
        {"type": str},
        ["name"],
        5,
    ],
    ids=["no schema", "no file", "a reference to nowhere", "no JSON", "a list", "a number"],
)
def test_a_schema_that_cannot_be_used_is_an_error_of_its_own(schema):
    error = refusal(an_update(schema=schema))
    assert [problem.pointer for problem in error.problems] == ["/schema"]
    assert "othing was sent" in str(error)


# --- what can be written


@pytest.mark.parametrize(
    "body",
    [
        {"custom_fields": {"x": float("nan")}},
        {"custom_fields": {"x": float("inf")}},
        {"custom_fields": {"x": [-float("inf")]}},
        {"name": "\ud800"},
        {"custom_fields": {"\udfff": 1}},
        {"custom_fields": {1: "x"}},
        {"custom_fields": {None: "x"}},
        {"custom_fields": {True: "x"}},
        {"custom_fields": {"x": {1.5: "y"}}},
        {1: "x"},
        {"custom_fields": {("a", "b"): 1}},
        {"tags": ({"name": "vip"},)},
        {"custom_fields": {"x": b"bytes"}},
        {"custom_fields": {"x": {1, 2}}},
        pytest.param({"custom_fields": {"x": object()}}, id="an object inside"),
        {"custom_fields": {"x": UUID(ACCOUNT)}},
        b"name",
        pytest.param(object(), id="an object"),
    ],
    ids=repr,
)
def test_what_would_arrive_as_something_else_is_refused(body):
    assert pointers(an_update(body)) == ["/body"]


def test_a_body_that_contains_itself_is_refused():
    body = {"custom_fields": {}}
    body["custom_fields"]["self"] = body
    assert pointers(an_update(body)) == ["/body"]


@pytest.mark.parametrize("depth", [100, *range(200, 1100, 50), 5000, 200_000])
def test_a_body_nested_beyond_reason_is_sent_whole_or_refused(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    update = an_update({"custom_fields": {"deep": value}})
    try:
        written = validate(update).body
    except TrutoSchemaError:
        assert pointers(update) == ["/body"]
    else:
        assert written.count(b"[") == depth


# --- arguments


@pytest.mark.parametrize("response_format", ["unified", "raw", "normalized", "stream"])
def test_the_four_response_formats_are_taken(response_format):
    assert validate(an_update(response_format=response_format))


@pytest.mark.parametrize("response_format", ["", "Unified", "json", None, 5, ["raw"]])
def test_any_other_response_format_is_refused(response_format):
    assert pointers(an_update(response_format=response_format)) == ["/response_format"]


@pytest.mark.parametrize("exclude_fields", [None, [], ["id"], ("id", "name"), ["anything at all"]])
def test_fields_to_exclude_are_names(exclude_fields):
    assert validate(an_update(exclude_fields=exclude_fields))


@pytest.mark.parametrize("exclude_fields", ["id", [""], [5], [None], [["id"]]])
def test_fields_to_exclude_that_are_not_names_are_refused(exclude_fields):
    assert pointers(an_update(exclude_fields=exclude_fields)) == ["/exclude_fields"]


@pytest.mark.parametrize(
    "remote_query", [None, {}, {"a": 1, "b": {"c": ["d"]}, "e": None}, MappingProxyType({"a": 1})]
)
def test_a_remote_query_is_an_object(remote_query):
    assert validate(an_update(remote_query=remote_query))


@pytest.mark.parametrize(
    "remote_query",
    ["a=1", [1], 5, {1: "a"}, {"a[b]": 1}, {"": 1}, {"a": [None]}, {"a": [[1]]}, {"a": float("nan")}, {"a": {1}}],
    ids=repr,
)
def test_a_remote_query_that_has_no_form_on_the_wire_is_refused(remote_query):
    assert pointers(an_update(remote_query=remote_query)) == ["/remote_query"]


@pytest.mark.parametrize("key", [None, "a", "v1-abc_DEF.~!", "k" * 255, "{{''}}"])
def test_an_idempotency_key_is_visible_ascii(key):
    assert validate(an_update(idempotency_key=key))


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "a\n", "a\tb", "ü", "a\r\nX-Evil: 1", "k" * 256, "\x7f", 5, b"k", True]
)
def test_an_idempotency_key_that_no_header_can_carry_is_refused(key):
    assert pointers(an_update(idempotency_key=key)) == ["/idempotency_key"]


# --- problems that typing found before


def test_problems_found_before_come_first_and_are_not_told_twice():
    earlier = [Problem("/body/name", "was missing"), Problem("/account_id", "was missing")]
    error = refusal(an_update({"name": 5, "nme": 5}, account_id=""), earlier=earlier)
    assert [tuple(problem) for problem in error.problems[:2]] == [tuple(problem) for problem in earlier]
    assert [problem.pointer for problem in error.problems[2:]] == ["/body/nme"]


def test_an_update_with_nothing_wrong_but_an_earlier_problem_is_not_sent():
    assert pointers(an_update(), earlier=[Problem("/body/name", "was missing")]) == ["/body/name"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": GONE}, ["/body/name"]),
        ({"number_of_employees": "many"}, ["/body/number_of_employees"]),
        ({"owner": {"id": GONE}}, ["/body/owner/id"]),
        ({"tags": [{"name": GONE}]}, ["/body/tags/0/name"]),
        ({"tags": [GONE]}, ["/body/tags/0"]),
        ({"custom_fields": {"a": GONE}}, ["/body/custom_fields/a"]),
        (GONE, ["/body"]),
        ({"tags": ["vip", {"nme": "x"}]}, ["/body/tags/0", "/body/tags/1/nme"]),
        ({"addresses": [{}, GONE, {"citty": "x"}]}, ["/body/addresses/1", "/body/addresses/2/citty"]),
    ],
    ids=str,
)
def test_what_typing_found_is_told_once_and_shifts_or_empties_nothing_else(body, expected):
    """The value without what typing took out must not look wrong in new ways, nor its items move up."""
    result = coerce(body, REQUEST)
    earlier = [Problem(f"/body{problem.pointer}".rstrip("/"), problem.message) for problem in result.problems]
    update = build_account_update(account_id="1", body=result.value, integrated_account_id=ACCOUNT)
    assert pointers(update, earlier=earlier) == expected


# --- warnings


def test_a_type_of_phone_that_is_not_documented_is_a_warning_and_is_sent():
    result = validate(an_update({"phone_numbers": [{"number": "1", "type": "home"}]}))
    assert result.warnings == (
        '/body/phone_numbers/0/type: expects one of "work", "mobile", "fax", got the text \'home\'',
    )


def test_a_warning_hides_values_too():
    result = validate(an_update({"phone_numbers": [{"type": "SECRET"}]}), hide_values=True)
    assert len(result.warnings) == 1
    assert "SECRET" not in result.warnings[0]


# --- whatever comes

text = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
bodies = st.recursive(
    scalars, lambda x: st.lists(x, max_size=4) | st.dictionaries(text | st.integers() | st.none(), x, max_size=4)
)


@given(bodies, st.sampled_from(["packaged", None]), st.booleans())
def test_a_body_is_refused_or_arrives_exactly_as_it_is(body, schema, hide_values):
    update = build_account_update(
        account_id="1",
        body={"custom_fields": body} if schema else body,
        integrated_account_id=ACCOUNT,
        schema=schema,
        allow_empty=True,
    )
    try:
        written = validate(update, hide_values=hide_values).body
    except TrutoSchemaError:
        assert pointers(update, hide_values=hide_values)
    else:
        assert same(json.loads(written.decode("utf-8")), update.body)


fields = st.sampled_from([*REQUEST["properties"], "id", "nme", "x/y"])
planted = st.sampled_from(["SECRET one", "SECRET\ntwo", "7" * 12, "[SECRET", '{"a": "SECRET"}', "SECRET" * 30])
secrets = planted | st.sampled_from([777_777_777_777, 7.7777777777e11, -777_777_777_777])
secret_bodies = st.dictionaries(
    fields,
    st.recursive(
        secrets,
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "type", "number", "name", "url", "x"]), x, max_size=3)
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(secret_bodies)
def test_no_message_shows_a_value_of_the_body_where_values_are_hidden(body):
    result = coerce(body, REQUEST, hide_values=True)
    earlier = [Problem(f"/body{problem.pointer}", problem.message) for problem in result.problems]
    for given_body, problems in ((body, []), (result.value, earlier)):
        try:
            messages = list(validate(an_update(given_body), earlier=problems, hide_values=True).warnings)
        except TrutoSchemaError as error:
            messages = [str(error), *map(str, error.problems)]
        assert not [message for message in messages if "SECRET" in message or "7777" in message]
