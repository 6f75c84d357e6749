"""Every answer that is not a success becomes one error that says what happened, the cause and the fix."""

from __future__ import annotations

import copy
import json
import pickle
from http import HTTPStatus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_truto.client.error_parsing import RAW_RESPONSE_LIMIT, build_api_error
from airflow_provider_truto.client.errors import (
    Problem,
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoAuthenticationError,
    TrutoBadRequestError,
    TrutoConflictError,
    TrutoError,
    TrutoMethodNotAllowedError,
    TrutoNotFoundError,
    TrutoPermissionError,
    TrutoRateLimitError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
    TrutoSchemaError,
    TrutoServerError,
    TrutoTemporaryError,
    TrutoTransportError,
    TrutoUnprocessableError,
)
from airflow_provider_truto.client.request import Request, build_path
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.statuses import (
    BLOCKED_ACCOUNT,
    SANDBOX_ACCOUNT,
    STATUSES,
    find_meaning,
    is_refused,
)
from airflow_provider_truto.emulator import ACME, GLOBEX, INITECH, UMBRELLA

CALL = Request(method="PATCH", path=build_path("unified", "crm", "accounts", "23423523"), integrated_account_id=ACME)

#: What each status means, apart from 401. Any other 4xx is a plain TrutoApiError, any other 5xx a server's error.
CLASSES = {
    400: TrutoBadRequestError,
    403: TrutoPermissionError,
    404: TrutoNotFoundError,
    405: TrutoMethodNotAllowedError,
    408: TrutoTemporaryError,
    409: TrutoConflictError,
    422: TrutoUnprocessableError,
    425: TrutoTemporaryError,
    429: TrutoRateLimitError,
}
LISTED = [*STATUSES]
UNLISTED = [402, 406, 410, 413, 418, 423, 451, 499, 507, 520, 599]


def class_of(status, *, is_remote):
    if status == 401:
        return TrutoReauthorizationRequiredError if is_remote else TrutoAuthenticationError
    return CLASSES.get(status, TrutoServerError if status >= 500 else TrutoApiError)


def envelope(status, *, is_remote=False, message="Email is invalid", **extra):
    remote = {"truto_is_remote_error": True, "raw_response": {"errors": [{"field": "email"}]}} if is_remote else {}
    return {"statusCode": status, "error": phrase(status), "message": message, **remote, **extra}


def phrase(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Strange"


def error_of(status, body, **options):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return build_api_error(CALL, Response(status=status, body=raw), **options)


def assert_says_what_a_reader_needs(error):
    text = str(error)
    assert "PATCH /unified/crm/accounts/23423523" in text
    assert ACME in text
    assert str(error.status) in text
    assert "Cause: " in text
    assert "Fix: " in text
    assert "\n" not in text
    assert repr(error).startswith(type(error).__name__)


# ---------------------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("is_remote", [False, True], ids=["of Truto", "of the CRM"])
@pytest.mark.parametrize("status", [*LISTED, *UNLISTED])
def test_every_status_becomes_its_class(status, is_remote):
    error = error_of(status, envelope(status, is_remote=is_remote))
    assert type(error) is class_of(status, is_remote=is_remote)
    assert (error.status, error.is_remote) == (status, is_remote)
    assert (error.error, error.message) == (phrase(status), "Email is invalid")
    assert error.raw_response == ({"errors": [{"field": "email"}]} if is_remote else None)
    assert (error.details, error.insight, error.retry_after) == (None, {}, None)
    assert ("the customer's CRM answered" in str(error)) is is_remote
    assert ("Truto answered" in str(error)) is not is_remote
    assert '"Email is invalid"' in str(error)
    assert_says_what_a_reader_needs(error)


#: Bodies that are not an envelope, and what may be read of them.
UNREADABLE = {
    "nothing": (b"", ""),
    "white space": (b" \r\n", ""),
    "a web page": (
        b"<!DOCTYPE html><html><head><title>502\n Bad Gateway</title></head><body><h1>nginx</h1></body></html>",
        "502 Bad Gateway",
    ),
    "a web page without a title": (b"<html><body><h1>Over</h1>\n<p>loaded</p></body></html>", "Over loaded"),
    "plain text": (b"upstream connect error\n", "upstream connect error"),
    "JSON cut off": (b'{"statusCode": 500, "message": "Int', ""),
    "a JSON list": (b'[{"message": "no"}]', ""),
    "a JSON text": (b'"no"', '"no"'),
    "JSON null": (b"null", "null"),
    "no UTF-8": (b"\xff\xfeBad Gatew\xe4y", None),
    "bytes": (bytes(range(256)), None),
    "UTF-16": ('{"message": "odd"}'.encode("utf-16"), "odd"),
    "JSON after a byte order mark": (b'\xef\xbb\xbf{"message": "odd"}', "odd"),
    "an unfinished tag": (b"<" * 2000, None),
    "a number of ten thousand digits": (b'{"message": "m", "details": ' + b"9" * 10_000 + b"}", None),
    "an empty object": (b"{}", ""),
}


@pytest.mark.parametrize("status", [404, 502, 599])
@pytest.mark.parametrize(("body", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_is_not_an_envelope_costs_only_its_details(body, message, status):
    error = error_of(status, body)
    assert type(error) is class_of(status, is_remote=False)
    assert error.status == status
    assert error.error == ("" if status == 599 else phrase(status))
    if message is not None:
        assert error.message == message
    assert ("without a message" in str(error)) is (not error.message)
    assert_says_what_a_reader_needs(error)


PAGE = b"<html><head><title>Welcome to nginx!</title></head></html>"
#: What other servers than Truto answer, and what the message says of it.
FOREIGN = {
    "a web page": (PAGE, "text/html; charset=utf-8", 'Not Found: "Welcome to nginx!". It came as a web page, and'),
    "another API": (
        b'{"detail": "Not Found"}',
        "application/json",
        "It came without Truto's statusCode, error and message, and",
    ),
    "nothing": (b"", "", "It came without a body, and"),
}


@pytest.mark.parametrize(("body", "kind", "came"), FOREIGN.values(), ids=FOREIGN)
def test_another_server_is_not_called_truto(body, kind, came):
    named = {"server": "https://intranet.example", "connection": "the connection 'crm'"}
    error = build_api_error(CALL, Response(status=404, headers={"content-type": kind}, body=body), **named)
    assert isinstance(error, TrutoNotFoundError)
    assert error.is_foreign
    text = str(error)
    assert "https://intranet.example answered 404" in text
    assert f"{came} does not look like an answer of Truto" in text
    assert "Truto answered" not in text
    assert "Cause: another server than Truto, or a proxy before it. Fix: check the Base URL of the connection" in text
    later = build_api_error(CALL, Response(status=502, headers={"content-type": kind}, body=body), **named)
    assert "Fix: let the task retry later; if it lasts, check the Base URL of the connection 'crm'" in str(later)
    assert not error_of(404, envelope(404)).is_foreign
    assert not error_of(404, envelope(404, is_remote=True)).is_foreign


@pytest.mark.parametrize("key", ["raw_response", "message", "truto_error_insight", "anything"])
@pytest.mark.parametrize("levels", [100, 990, 100_000])
def test_json_nested_without_reason_costs_only_the_details(levels, key):
    body = b'{"%s":' % key.encode() + b'{"a":' * levels + b"[]" + b"}" * levels + b"}"
    error = error_of(422, body)
    assert type(error) is TrutoUnprocessableError
    assert_says_what_a_reader_needs(error)


ENVELOPES = {
    "a message that is empty, where the CRM's own answer speaks": (
        {"message": "", "raw_response": {"errors": [{"code": "bad_email"}]}, "truto_is_remote_error": True},
        {"message": '{"errors": [{"code": "bad_email"}]}', "raw_response": {"errors": [{"code": "bad_email"}]}},
    ),
    "a message that is missing, where the CRM answered with text": (
        {"raw_response": "Email\n is bad", "truto_is_remote_error": True},
        {"message": "Email is bad", "raw_response": "Email\n is bad"},
    ),
    "neither message nor answer": ({"message": None}, {"message": "", "raw_response": None}),
    "a message that is a list": ({"message": ["a is bad", "b is bad"]}, {"message": '["a is bad", "b is bad"]'}),
    "a message that is an object": ({"message": {"code": 7}}, {"message": '{"code": 7}'}),
    "a message that is a number": ({"message": 0}, {"message": "0"}),
    "an error of the service's own": ({"error": "Nope", "message": "m"}, {"error": "Nope", "message": "m"}),
    "no error": ({"message": "m"}, {"error": "Unprocessable"}),
    "a remote flag that is not a flag": ({"message": "m", "truto_is_remote_error": "yes"}, {"is_remote": False}),
    "a remote flag that is false": ({"message": "m", "truto_is_remote_error": False}, {"is_remote": False}),
    "a status of its own": ({"statusCode": 200, "message": "m"}, {"status": 422}),
    "details": ({"message": "m", "details": {"x": 1}}, {"details": {"x": 1}}),
    "an insight that is a list": ({"message": "m", "truto_error_insight": ["x"]}, {"insight": {}}),
    "an insight without a value": (
        {"message": "m", "truto_error_insight": {"rate_limit_error": {"description": "d"}}},
        {"insight": {"rate_limit_error": {"description": "d"}}, "missing_scopes": ()},
    ),
    "scopes that are not a list": (
        {"message": "m", "truto_error_insight": {"forbidden_error": {"value": {"missing_scopes": "all"}}}},
        {"missing_scopes": ()},
    ),
    "scopes in an insight that is not an object": (
        {"message": "m", "truto_error_insight": {"forbidden_error": ["x"]}},
        {"missing_scopes": ()},
    ),
}


@pytest.mark.parametrize(("body", "attributes"), ENVELOPES.values(), ids=ENVELOPES)
def test_what_the_envelope_holds_is_read_without_trust(body, attributes):
    error = error_of(422, body)
    for name, value in attributes.items():
        if name == "error" and value == "Unprocessable":  # Python 3.13 names the content, not the entity
            assert error.error.startswith(value)
        else:
            assert getattr(error, name) == value
    assert_says_what_a_reader_needs(error)


INSIGHTS = {
    "missing query parameters": (
        {
            "missing_required_query_parameters": {
                "description": "d",
                "value": ["integrated_account_id", "workspace.id"],
            }
        },
        "Missing query parameters: integrated_account_id, workspace.id.",
    ),
    "missing body fields": (
        {"missing_required_body_fields": {"description": "d", "value": ["name"]}},
        "Missing body fields: name.",
    ),
    "missing scopes": (
        {"forbidden_error": {"description": "d", "value": {"missing_scopes": ["crm.write", "crm.read"]}}},
        "Missing scopes: crm.write, crm.read.",
    ),
}
SILENT_INSIGHTS = {
    "conditional query parameters": {
        "conditionally_required_query_parameters": {"description": "d", "value": {"x": "required for y"}}
    },
    "conditional body fields": {
        "conditionally_required_body_fields": {"description": "d", "value": {"x": "required for y"}}
    },
    "a rate limit": {"rate_limit_error": {"description": "d"}},
    "a remote error": {"remote_error": {"description": "d"}},
}


@pytest.mark.parametrize(("insight", "sentence"), INSIGHTS.values(), ids=INSIGHTS)
def test_what_is_missing_is_named(insight, sentence):
    error = error_of(400, envelope(400, truto_error_insight=insight))
    assert error.insight == insight
    assert sentence in str(error)


@pytest.mark.parametrize("insight", SILENT_INSIGHTS.values(), ids=SILENT_INSIGHTS)
def test_an_insight_that_names_nothing_missing_is_kept_but_not_told(insight):
    error = error_of(400, envelope(400, truto_error_insight=insight))
    assert error.insight == insight
    assert str(error) == str(error_of(400, envelope(400)))


def test_missing_scopes_are_an_attribute():
    insight = {"forbidden_error": {"description": "d", "value": {"missing_scopes": ["crm.write"]}}}
    assert error_of(403, envelope(403, is_remote=True, truto_error_insight=insight)).missing_scopes == ("crm.write",)


def test_the_failures_of_a_validation_are_told():
    failures = [{"path": "body.name", "message": "is required"}]
    error = error_of(400, envelope(400, details={"failures": failures}))
    assert error.details == {"failures": failures}
    assert "is required" in str(error)


@pytest.mark.parametrize("key", ["raw_response", "details"])
def test_a_huge_answer_is_cut(key):
    error = error_of(422, envelope(422, **{key: {"page": "x" * 1_000_000}}))
    assert len(getattr(error, key)) <= RAW_RESPONSE_LIMIT + 1
    assert len(pickle.dumps(error)) < 50_000


HUGE = {
    "message": {"message": "x" * 1_000_000},
    "error": {"error": "x" * 1_000_000},
    "raw_response": {"message": "", "raw_response": ["x" * 1_000_000]},
    "details": {"details": {"failures": ["x" * 1_000_000]}},
    "missing names": {"truto_error_insight": {"missing_required_body_fields": {"value": ["x" * 1000] * 1000}}},
    "one missing name": {"truto_error_insight": {"missing_required_body_fields": {"value": ["x" * 1_000_000]}}},
    "missing scopes": {
        "truto_error_insight": {"forbidden_error": {"value": {"missing_scopes": ["x" * 1000] * 1000}}}
    },
}


@pytest.mark.parametrize("extra", HUGE.values(), ids=HUGE)
def test_a_message_stays_readable_however_much_was_answered(extra):
    assert len(str(error_of(400, {**envelope(400), **extra}))) < 5000


# ---------------------------------------------------------------------------------------------- fault and remedy

#: Status → cause and fix, in words that the message has to contain; of every one that the table lists.
REMEDIES_OF_TRUTO = {
    400: ("the request", "correct the task's arguments"),
    401: ("the connection", "valid API token"),
    403: ("the token", "API token of the environment"),
    404: ("the task or the token", "check integrated_account_id"),
    405: ("the task", "capabilities"),
    408: ("Truto", "retry later"),
    409: ("unclear", "check the connection's host"),
    418: ("unclear", "check the connection's host"),
    422: ("unclear", "check the connection's host"),
    425: ("Truto", "retry later"),
    429: ("too many calls", "50 calls in 10 s per account and 500 per token"),
    500: ("Truto", "support@truto.one"),
    501: ("the request", "check the method and the resource"),
    502: ("Truto", "support@truto.one"),
    503: ("Truto", "support@truto.one"),
    504: ("Truto", "support@truto.one"),
}
REMEDIES_OF_THE_CRM = {
    400: ("the request", "what the CRM complains of"),
    401: ("the customer's connection to the CRM", "must reconnect the account"),
    402: ("unclear", "the CRM"),
    403: ("the customer's connection to the CRM", "grant the missing rights"),
    404: ("the task", "this customer's CRM has no such record"),
    405: ("the CRM", "does not allow"),
    408: ("the CRM", "retry later"),
    409: ("the data", "unique value"),
    422: ("the data", "correct the values"),
    425: ("the CRM", "retry later"),
    429: ("too many calls", "the CRM's own limit"),
    500: ("the CRM", "retry later"),
    501: ("the CRM", "retry later"),
    502: ("the CRM", "retry later"),
    503: ("the CRM", "retry later"),
    504: ("the CRM", "retry later"),
}


@pytest.mark.parametrize("status", sorted({*LISTED, *REMEDIES_OF_TRUTO}))
def test_an_error_of_truto_says_whose_fault_it_is_and_what_to_do(status):
    remedy = REMEDIES_OF_TRUTO[status]
    text = str(error_of(status, envelope(status)))
    fault, _, advice = text.partition("Cause: ")[2].partition("Fix: ")
    assert remedy[0] in fault
    assert remedy[1] in advice


@pytest.mark.parametrize("status", sorted({*LISTED, *REMEDIES_OF_THE_CRM}))
def test_an_error_of_the_crm_says_whose_fault_it_is_and_what_to_do(status):
    remedy = REMEDIES_OF_THE_CRM[status]
    text = str(error_of(status, envelope(status, is_remote=True)))
    fault, _, advice = text.partition("Cause: ")[2].partition("Fix: ")
    assert remedy[0] in fault
    assert remedy[1] in advice


@pytest.mark.parametrize("status", [*LISTED, *UNLISTED])
def test_what_the_crm_answered_is_never_blamed_on_the_connections_host(status):
    # Truto itself says with its flag that the CRM answered: the host is certainly right.
    text = str(error_of(status, envelope(status, is_remote=True)))
    assert "connection's host" not in text
    assert "nothing but Truto" not in text


@pytest.mark.parametrize(
    ("meaning", "cls", "words"),
    [
        (BLOCKED_ACCOUNT, TrutoAccountBlockedError, "support@truto.one"),
        (SANDBOX_ACCOUNT, TrutoSandboxReadOnlyError, "sandbox"),
    ],
    ids=["blocked", "sandbox"],
)
def test_an_account_that_more_is_known_of_has_its_own_fix(meaning, cls, words):
    error = error_of(503, envelope(503), meaning=meaning)
    assert type(error) is cls
    assert words in str(error)
    assert not error.transient


TRANSIENT = {408, 425, 429, *range(500, 600)} - {501}


@pytest.mark.parametrize("status", [*LISTED, *UNLISTED])
def test_an_error_knows_whether_it_may_pass(status):
    assert error_of(status, envelope(status)).transient is (status in TRANSIENT)


#: What says that nothing was executed. Not 408 and 409, and nothing that the table does not list.
REFUSALS = {400, 401, 403, 404, 405, 422, 425, 429}


@pytest.mark.parametrize("status", [None, 200, 302, *LISTED, *UNLISTED])
def test_a_status_is_a_refusal_or_not_whoever_gave_it(status):
    # The ledger of a bulk keeps the status alone.
    assert is_refused(status) is (status in REFUSALS)
    if status is not None:
        meanings = [find_meaning(status, is_remote=is_remote) for is_remote in (True, False)]
        assert [one.is_refusal for one in meanings] == [status in REFUSALS] * 2


def test_the_codes_are_those_that_reports_and_skip_on_use():
    def classes(cls):
        return {cls, *(below for child in cls.__subclasses__() for below in classes(child))}

    of_the_client = {cls for cls in classes(TrutoError) if cls.__module__ == TrutoError.__module__}
    assert {cls.code for cls in of_the_client} == {
        "error",
        "schema",
        "transport",
        "api",
        "bad_request",
        "authentication",
        "reauthorization_required",
        "permission",
        "not_found",
        "method_not_allowed",
        "sandbox_read_only",
        "conflict",
        "unprocessable",
        "rate_limit",
        "server",
        "account_blocked",
        "temporary",
        "partial_failure",
    }


# ------------------------------------------------------------------------------------------------- open inputs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ENVELOPE_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "statusCode": JSON,
        "error": JSON,
        "message": JSON,
        "truto_is_remote_error": JSON,
        "raw_response": JSON,
        "details": JSON | st.fixed_dictionaries({"failures": JSON}),
        "truto_error_insight": JSON
        | st.dictionaries(
            st.sampled_from(["missing_required_query_parameters", "missing_required_body_fields", "forbidden_error"]),
            JSON | st.fixed_dictionaries({"value": JSON | st.fixed_dictionaries({"missing_scopes": JSON})}),
        ),
    },
)


@given(status=st.integers(100, 999), body=st.binary(max_size=200) | st.text().map(str.encode))
def test_no_bytes_make_reading_an_error_fail(status, body):
    error = error_of(status, body)
    assert error.status == status
    assert_says_what_a_reader_needs(error)


@given(status=st.integers(400, 599), body=ENVELOPE_LIKE | JSON)
@example(status=400, body={"message": "\ud83e", "raw_response": ["\udfff"]})
def test_no_json_makes_reading_an_error_fail(status, body):
    error = error_of(status, body)
    assert type(error) is class_of(status, is_remote=error.is_remote)
    assert isinstance(error.message, str)
    assert isinstance(error.error, str)
    assert isinstance(error.insight, dict)
    assert all(isinstance(scope, str) for scope in error.missing_scopes)
    assert_says_what_a_reader_needs(error)
    assert pickle.loads(pickle.dumps(error)).args == error.args


@given(body=ENVELOPE_LIKE)
@example(body={"message": "\ud83e"})
@example(body={"message": "", "raw_response": ["\udfff"]})
def test_a_message_can_be_written_to_a_log_file(body):
    # JSON may escape half a character ("\ud83e"), which no UTF-8 file, console or database column takes.
    assert str(error_of(400, body)).encode()


# ---------------------------------------------------------------------------------------------------------- pickles


def examples():
    problems = [Problem("/body/name", "is required"), Problem("/account_id", "must not be empty")]
    yield "schema", TrutoSchemaError.of("the update of crm/accounts '1' is not valid", problems)
    yield "transport", TrutoTransportError("PATCH /x: no usable answer after 1 attempt")
    insight = {"forbidden_error": {"value": {"missing_scopes": ["crm.write"]}}}
    for status in LISTED:
        for is_remote in (False, True):
            body = envelope(status, is_remote=is_remote, details={"failures": ["f"]}, truto_error_insight=insight)
            yield f"{status} {'CRM' if is_remote else 'Truto'}", error_of(status, body, retry_after=12.5)
    yield "blocked", error_of(503, envelope(503), meaning=BLOCKED_ACCOUNT)
    yield "sandbox", error_of(405, envelope(405), meaning=SANDBOX_ACCOUNT)


EXAMPLES = dict(examples())


@pytest.mark.parametrize("error", EXAMPLES.values(), ids=EXAMPLES)
def test_an_error_survives_being_pickled_and_copied(error):
    error.attempts, error.waited, error.idempotency_key = 3, 12.5, "v1-key"
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)
        assert vars(other)["attempts"] == 3


#: How CRMs say which field they refuse, and why.
COMPLAINTS = {
    "of HubSpot": (
        {
            "category": "VALIDATION_ERROR",
            "errors": [{"code": "INVALID_EMAIL", "context": {"propertyName": ["email"]}}],
        },
        "email (INVALID_EMAIL)",
    ),
    "of Salesforce": (
        [{"errorCode": "REQUIRED_FIELD_MISSING", "fields": ["Name", "Phone"]}],
        "Name (REQUIRED_FIELD_MISSING), Phone (REQUIRED_FIELD_MISSING)",
    ),
    "of Zoho": ({"data": [{"code": "INVALID_DATA", "details": {"api_name": "Website"}}]}, "Website (INVALID_DATA)"),
    "as Truto's page has it": ({"errors": [{"field": "email", "code": "invalid"}]}, "email (invalid)"),
    "without a code": ({"field": "email"}, "email"),
}


@pytest.mark.parametrize(("raw", "named"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_the_fields_that_the_crm_refuses_are_named_with_its_codes(raw, named):
    error = error_of(422, {"message": "Invalid", "truto_is_remote_error": True, "raw_response": raw})
    assert f" The CRM names: {named}. Cause: the data. Fix: correct the values that" in str(error)


@pytest.mark.parametrize("raw", ["text", None, 5, [], {"errors": "no"}, {"field": 5, "code": {}}, [[[[]]]]])
def test_a_crm_that_names_no_field_is_not_said_to_name_any(raw):
    error = error_of(422, {"message": "Invalid", "truto_is_remote_error": True, "raw_response": raw})
    assert "The CRM names" not in str(error)


def test_a_schema_error_lists_every_problem():
    error = EXAMPLES["schema"]
    assert error.problems == (("/body/name", "is required"), ("/account_id", "must not be empty"))
    assert "2 problems, nothing was sent" in str(error)
    assert "/body/name: is required" in str(error)
    assert "/account_id: must not be empty" in str(error)


# ------------------------------------------------------------------------------------------------------ on the wire


@pytest.mark.parametrize("is_remote", [False, True], ids=["of Truto", "of the CRM"])
@pytest.mark.parametrize("status", [*LISTED, *UNLISTED])
def test_an_error_that_was_answered_is_raised(status, is_remote, emulator, make_client, write):
    emulator.fault(status=status, body=envelope(status, is_remote=is_remote), method="PATCH")
    client = make_client(emulator.url, token=emulator.token, max_attempts=1)
    with pytest.raises(TrutoApiError) as caught:
        client.run(write())
    error = caught.value
    assert isinstance(error, class_of(status, is_remote=is_remote))
    assert (error.status, error.is_remote, error.attempts, error.waited) == (status, is_remote, 1, 0)
    assert error.idempotency_key == "v1-test"
    assert error.raw_response == ({"errors": [{"field": "email"}]} if is_remote else None)
    assert_says_what_a_reader_needs(error)
    assert emulator.executions == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "7.5"}, 7.5),
        ({"ratelimit-reset": "8"}, 8),
        ({"Retry-After": "7", "ratelimit-reset": "8"}, 7),
        ({"Retry-After": "0.2"}, 1),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
    ids=["seconds", "a fraction", "reset", "both", "below a second", "nonsense", "nothing"],
)
def test_what_the_server_asks_to_wait_is_an_attribute(headers, expected, emulator, make_client, write):
    emulator.fault(status=429, headers=headers)
    with pytest.raises(TrutoRateLimitError) as caught:
        make_client(emulator.url, token=emulator.token, max_attempts=1).run(write())
    assert caught.value.retry_after == expected


REAL_REFUSALS = {
    "no such record": ({"record": "404404"}, TrutoNotFoundError, True),
    "no such account": ({"account": "00000000-0000-4000-8000-000000000000"}, TrutoNotFoundError, False),
    "a value that the CRM refuses": ({"body": {"name": ""}}, TrutoUnprocessableError, True),
    "a body that Truto refuses": ({"body": [1]}, TrutoBadRequestError, False),
    "a customer that must reconnect": ({"account": UMBRELLA}, TrutoReauthorizationRequiredError, True),
    "a sandbox": ({"account": INITECH}, TrutoSandboxReadOnlyError, False),
    "the record of another customer": ({"account": GLOBEX}, TrutoNotFoundError, True),
}


@pytest.mark.parametrize(("arguments", "cls", "is_remote"), REAL_REFUSALS.values(), ids=REAL_REFUSALS)
def test_a_refusal_is_told_apart_from_every_other(arguments, cls, is_remote, client, write, sleeps):
    with pytest.raises(cls) as caught:
        client.run(write(**arguments))
    assert type(caught.value) is cls
    assert caught.value.is_remote is is_remote
    assert caught.value.attempts == 1
    assert arguments.get("account", ACME) in str(caught.value)
    assert sleeps == []


PHRASES = {
    "a phrase of the server's own": b"HTTP/1.1 503 Please Come Back\r\nContent-Length: 0\r\n\r\n",
    "no phrase": b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n",
    "a phrase that is not text": b"HTTP/1.1 503 \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    "no length": b"HTTP/1.1 503 Unavailable\r\nConnection: close\r\n\r\n<title>Maintenance</title>",
    "headers that are not text": b"HTTP/1.1 503 x\r\nX-Odd: \xff\xe9\r\nRetry-After: \xe9\r\nContent-Length: 0"
    b"\r\n\r\n",
    "a length that is a lie": b"HTTP/1.1 503 x\r\nContent-Length: -5\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("head", PHRASES.values(), ids=PHRASES)
def test_an_answer_of_a_careless_gateway_is_an_error_like_any_other(head, raw_server, make_client, read):
    def answer(conversation):
        conversation.send(head)
        conversation.close()

    server = raw_server(answer)
    with pytest.raises(TrutoServerError) as caught:
        make_client(server.url, max_attempts=1).run(read(account=None))
    assert caught.value.status == 503
    assert "Cause: " in str(caught.value)
