"""Update Accounts, compared at both ends: what a DAG author gives to the hook, and what arrives at Truto."""

from __future__ import annotations

import re

import pytest

from airflow_provider_truto import __version__
from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.hooks.truto import TrutoHook

RECORD = "23423523"

#: The body that Truto's page prints, with every documented field; values where the page has none are made up.
DOCUMENTED = {
    "name": "Acme",
    "website": "https://acme.test",
    "description": "Anvils — und Zubehör",
    "industry": "Manufacturing",
    "number_of_employees": 120,
    "created_at": "2021-08-10T10:00:00.000Z",
    "owner": {"id": "u1"},
    "addresses": [
        {
            "id": "a1",
            "street_1": "1 Main St",
            "street_2": "2nd floor",
            "city": "Pune",
            "state": "MH",
            "postal_code": "411001",
            "country": "IN",
            "type": "billing",
        }
    ],
    "phone_numbers": [
        {"id": "p1", "number": "+1 555 0100", "extension": "7", "type": "work"},
        {"number": "+1 555 0101", "type": "mobile"},
        {"number": "+1 555 0102", "type": "fax"},
    ],
    "urls": [{"url": "https://acme.test/blog", "type": "blog"}],
    "tags": [{"id": "t1", "name": "vip"}, {"name": "new"}],
    "custom_fields": {"tier": "gold", "score": 1.5, "flags": [True, None], "nested": {"a": {"b": 1}}},
    "remote_data": {"AnyProviderKey": 1, "properties": {"own": "value"}},
}

#: Each field by itself, and what is easily changed on its way.
FIELDS = {
    **{name: {name: value} for name, value in DOCUMENTED.items()},
    "every field": DOCUMENTED,
    "a name that looks like a number": {"name": "00420"},
    "a name of every kind of letter": {"name": "Ω≈ç√∫ 🦊 日本語 ‮ \u2028 \t \\ \" ' </script>"},
    "an empty text": {"description": ""},
    "zero employees": {"number_of_employees": 0},
    "a phone number with a plus": {"phone_numbers": [{"number": "+15550100"}]},
    "a moment with an offset": {"created_at": "2021-08-10T10:00:00+05:30"},
    "a large number of its own": {"custom_fields": {"id": 9007199254740992, "small": 5e-324, "minus": -0.5}},
    "two fields": {"name": "Acme", "website": "https://acme.test"},
}


@pytest.fixture
def hook(emulator, connection):
    connection(emulator.url, emulator.token, integrated_account_id=ACME)
    return TrutoHook()


@pytest.mark.parametrize("body", FIELDS.values(), ids=FIELDS)
def test_every_field_arrives_as_it_was_given_and_nothing_beside_it(body, hook, emulator):
    answer = hook.update_account(RECORD, body)
    [arrived] = emulator.requests
    assert arrived["method"] == "PATCH"
    assert arrived["path"] == ["unified", "crm", "accounts", RECORD]
    assert arrived["query"] == [["integrated_account_id", ACME], ["truto_ignore_remote_data", "true"]]
    assert arrived["body"] == body
    assert list(arrived["body"]) == list(body)
    [done] = emulator.executions
    assert (done["record_id"], done["integrated_account_id"], done["body"]) == (RECORD, ACME, body)
    assert answer["id"] == RECORD
    for name in body.keys() - {"remote_data", "custom_fields"}:
        assert answer[name] == body[name]
    assert "remote_data" not in answer


def test_the_body_on_the_wire_is_the_documented_one(hook, emulator):
    hook.update_account(RECORD, DOCUMENTED)
    assert isinstance(emulator.requests[0]["body"]["custom_fields"], dict), "an object, not JSON within text"


def test_the_head_on_the_wire_is_the_documented_one(hook, emulator):
    hook.update_account(RECORD, {"name": "Acme"}, idempotency_key="my-key")
    headers = emulator.requests[0]["headers"]
    assert headers["authorization"] == "Bearer valid"
    assert headers["content-type"] == "application/json"
    assert headers["accept"] == "application/json"
    assert headers["idempotency-key"] == "my-key"
    assert headers["user-agent"].startswith(f"airflow-provider-truto/{__version__} airflow/")


def test_without_a_key_every_call_has_one_of_its_own(hook, emulator):
    for _ in range(3):
        hook.update_account(RECORD, {"name": "Acme"})
    keys = {request["headers"]["idempotency-key"] for request in emulator.requests}
    assert len(keys) == 3
    assert all(re.fullmatch("v1-[0-9a-f]{32}", key) for key in keys)


PARAMETERS = {
    "nothing": ({}, [["truto_ignore_remote_data", "true"]]),
    "unified": ({"response_format": "unified"}, [["truto_ignore_remote_data", "true"]]),
    "raw": ({"response_format": "raw"}, [["truto_response_format", "raw"], ["truto_ignore_remote_data", "true"]]),
    "normalized": (
        {"response_format": "normalized"},
        [["truto_response_format", "normalized"], ["truto_ignore_remote_data", "true"]],
    ),
    "remote data": ({"ignore_remote_data": False}, []),
    "one excluded field": (
        {"exclude_fields": ["name"]},
        [["truto_ignore_remote_data", "true"], ["truto_exclude_fields[]", "name"]],
    ),
    "excluded fields in their order": (
        {"exclude_fields": ["website", "id", "addresses", "id"]},
        [
            ["truto_ignore_remote_data", "true"],
            ["truto_exclude_fields[]", "website"],
            ["truto_exclude_fields[]", "id"],
            ["truto_exclude_fields[]", "addresses"],
            ["truto_exclude_fields[]", "id"],
        ],
    ),
    "excluded fields as a tuple": (
        {"exclude_fields": ("id", "name")},
        [["truto_ignore_remote_data", "true"], ["truto_exclude_fields[]", "id"], ["truto_exclude_fields[]", "name"]],
    ),
    "no excluded fields": ({"exclude_fields": []}, [["truto_ignore_remote_data", "true"]]),
    "a remote query": (
        {"remote_query": {"foo": "bar"}},
        [["truto_ignore_remote_data", "true"], ["remote_query[foo]", "bar"]],
    ),
    "a nested remote query": (
        {"remote_query": {"a": {"b": {"c": True}, "d": [1, "x y"]}, "e": "ü&=+", "f": None, "g": {}}},
        [
            ["truto_ignore_remote_data", "true"],
            ["remote_query[a][b][c]", "true"],
            ["remote_query[a][d][]", "1"],
            ["remote_query[a][d][]", "x y"],
            ["remote_query[e]", "ü&=+"],
        ],
    ),
    "an empty remote query": ({"remote_query": {}}, [["truto_ignore_remote_data", "true"]]),
    "everything": (
        {
            "response_format": "normalized",
            "ignore_remote_data": False,
            "exclude_fields": ["id", "name"],
            "remote_query": {"foo": "bar"},
        },
        [
            ["truto_response_format", "normalized"],
            ["truto_exclude_fields[]", "id"],
            ["truto_exclude_fields[]", "name"],
            ["remote_query[foo]", "bar"],
        ],
    ),
}


@pytest.mark.parametrize(("arguments", "pairs"), PARAMETERS.values(), ids=PARAMETERS)
def test_every_parameter_arrives_as_documented_and_nothing_beside_it(arguments, pairs, hook, emulator):
    hook.update_account(RECORD, {"name": "Acme"}, **arguments)
    [arrived] = emulator.requests
    assert arrived["query"] == [["integrated_account_id", ACME], *pairs]
    assert arrived["path"] == ["unified", "crm", "accounts", RECORD]
    assert arrived["body"] == {"name": "Acme"}


def test_the_target_is_the_documented_one_byte_for_byte(hook, emulator):
    hook.update_account(RECORD, {"name": "Acme"}, exclude_fields=["id", "name"], remote_query={"foo": "bar"})
    assert emulator.requests[0]["target"] == (
        f"/unified/crm/accounts/{RECORD}?integrated_account_id={ACME}&truto_ignore_remote_data=true"
        "&truto_exclude_fields%5B%5D=id&truto_exclude_fields%5B%5D=name&remote_query%5Bfoo%5D=bar"
    )


def test_a_remote_query_arrives_at_the_crm(hook, emulator):
    hook.update_account(RECORD, {"name": "Acme"}, remote_query={"foo": {"bar": ["a", "b"]}})
    assert emulator.executions[0]["remote_query"] == {"foo": {"bar": ["a", "b"]}}


ANSWERS = {
    "unified": ({}, {"id": RECORD, "name": "Acme"}, {"remote_data"}),
    "with remote data": ({"ignore_remote_data": False}, {"id": RECORD}, set()),
    "without what was excluded": ({"exclude_fields": ["id", "name", "website"]}, {}, {"id", "name", "website"}),
    "raw": ({"response_format": "raw"}, {"id": RECORD}, {"name"}),
}


@pytest.mark.parametrize(("arguments", "there", "missing"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_is_the_crms_in_the_form_that_was_asked_for(arguments, there, missing, hook):
    answer = hook.update_account(RECORD, {"name": "Acme"}, **arguments)
    assert there.items() <= answer.items()
    assert not missing & answer.keys()
    if arguments.get("ignore_remote_data") is False:
        assert answer["remote_data"]["properties"]["name"] == "Acme"
    if arguments.get("response_format") == "raw":
        assert answer["properties"]["name"] == "Acme"


def test_a_null_that_is_allowed_arrives_as_null(hook, emulator):
    hook.update_account(RECORD, {"description": None}, allow_null=True)
    hook.update_account(RECORD, {"website": None}, allow_null=["/website"])
    assert [request["body"] for request in emulator.requests] == [{"description": None}, {"website": None}]


def test_an_emptiness_that_is_allowed_arrives_empty(hook, emulator):
    hook.update_account(RECORD, {"tags": [], "custom_fields": {}}, allow_empty=True)
    assert emulator.requests[0]["body"] == {"tags": [], "custom_fields": {}}


def test_an_extra_field_arrives(hook, emulator):
    hook.update_account(RECORD, {"name": "Acme", "annual_revenue": 5}, extra_fields=["annual_revenue"])
    assert emulator.requests[0]["body"] == {"name": "Acme", "annual_revenue": 5}


def test_an_answer_without_a_body_is_an_empty_object(hook, emulator):
    emulator.fault(status=204, method="PATCH")
    assert hook.update_account(RECORD, {"name": "Acme"}) == {}


# ------------------------------------------------------------------------------------------------ the right customer


def test_an_argument_of_the_hook_wins_over_the_connections_account(hook, emulator):
    TrutoHook(integrated_account_id=GLOBEX).update_account("70010001", {"name": "Acme"})
    assert emulator.requests[0]["query"][0] == ["integrated_account_id", GLOBEX]


WRONG = {
    "an account that is given but empty": ({"integrated_account_id": ""}, "/integrated_account_id"),
    "an account that is not a UUID": ({"integrated_account_id": RECORD}, "/integrated_account_id"),
    "a text that is not a UUID": ({"integrated_account_id": "acme"}, "/integrated_account_id"),
    "a format that does not exist": ({"response_format": "xml"}, "/response_format"),
    "excluded fields as text": ({"exclude_fields": "id"}, "/exclude_fields"),
    "a remote query as text": ({"remote_query": "foo=bar"}, "/remote_query"),
    "a key with a line break": ({"idempotency_key": "a\r\nX-Evil: 1"}, "/idempotency_key"),
    "a key that is empty": ({"idempotency_key": ""}, "/idempotency_key"),
    "a key of 256 letters": ({"idempotency_key": "k" * 256}, "/idempotency_key"),
}


@pytest.mark.parametrize(("arguments", "pointer"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_right_is_never_sent(arguments, pointer, hook, emulator):
    with pytest.raises(TrutoSchemaError) as caught:
        hook.update_account(RECORD, {"name": "Acme"}, **arguments)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
    assert emulator.requests == []


def test_a_stream_is_not_asked_for_where_json_is_returned(hook, emulator):
    with pytest.raises(ValueError, match="stream_account"):
        hook.update_account(RECORD, {"name": "Acme"}, response_format="stream")
    assert emulator.requests == []


def test_a_streamed_update_arrives_as_documented(hook, emulator):
    list(hook.stream_account(RECORD, DOCUMENTED, exclude_fields=["id"], remote_query={"foo": "bar"}))
    [arrived] = emulator.requests
    assert arrived["body"] == DOCUMENTED
    assert arrived["query"] == [
        ["integrated_account_id", ACME],
        ["truto_response_format", "stream"],
        ["truto_ignore_remote_data", "true"],
        ["truto_exclude_fields[]", "id"],
        ["remote_query[foo]", "bar"],
    ]
    assert arrived["headers"]["accept"] == "*/*"
    assert arrived["headers"]["idempotency-key"].startswith("v1-")


@pytest.mark.parametrize("value", ["false", "true", "", 0, 1, None, []])
@pytest.mark.parametrize(
    "name", ["allow_empty", "ignore_remote_data", "preflight", "check_custom_fields", "skip_unchanged"]
)
def test_a_flag_that_is_not_one_is_neither_on_nor_off(name, value, hook, emulator):
    with pytest.raises(TrutoSchemaError, match=f"/{name}: expects true or false, got {re.escape(repr(value))}"):
        hook.update_account(RECORD, {"name": "x"}, **{name: value})
    assert emulator.requests == []


@pytest.mark.parametrize("value", ["false", "/description", 1, None])
def test_a_null_is_allowed_by_a_flag_or_a_list_and_not_by_text(value, hook, emulator):
    with pytest.raises(TrutoSchemaError, match="/allow_null: expects true, false, or the JSON pointers"):
        hook.update_account(RECORD, {"name": "x"}, allow_null=value)
    assert emulator.requests == []
