"""What goes wrong, through both drivers: each kind in its own class with its own advice, retried where that helps."""

from __future__ import annotations

import gzip
import json
import time
from email.utils import formatdate

import pytest
from calls import delete, get, update

from airflow_provider_truto.client.errors import (
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoAuthenticationError,
    TrutoBadRequestError,
    TrutoConflictError,
    TrutoMethodNotAllowedError,
    TrutoNotFoundError,
    TrutoPermissionError,
    TrutoRateLimitError,
    TrutoReauthorizationRequiredError,
    TrutoSandboxReadOnlyError,
    TrutoServerError,
    TrutoTemporaryError,
    TrutoTransportError,
    TrutoUnprocessableError,
)
from airflow_provider_truto.client.tokens import Token
from airflow_provider_truto.emulator import ACME, HOOLI, INITECH, UMBRELLA

CASES = {"PATCH": update, "GET": get, "DELETE": delete}


def envelope(status, message="no", **extra):
    return {"statusCode": status, "error": "E", "message": message, **extra}


def remote(status, message="no", **extra):
    insight = {"remote_error": {"description": "…"}, **extra.pop("insight", {})}
    return envelope(
        status,
        message,
        truto_is_remote_error=True,
        raw_response={"errors": [{"code": "c"}]},
        truto_error_insight=insight,
        **extra,
    )


# ---------------------------------------------------------------------------------------------- every row of errors

SCOPES = {"forbidden_error": {"description": "…", "value": {"missing_scopes": ["crm.write", "crm.read"]}}}
FIELDS = {"missing_required_body_fields": {"description": "…", "value": ["name", "owner.id"]}}
PARAMETERS = {"missing_required_query_parameters": {"description": "…", "value": ["workspace[id]"]}}

#: name: (answer's body, class, cause and fix, as the message has them)
PERMANENT = {
    "400": (envelope(400), TrutoBadRequestError, "the request", "arguments"),
    "400, fields": (
        envelope(400, truto_error_insight=FIELDS),
        TrutoBadRequestError,
        "Missing body fields: name, owner.id",
        "arguments",
    ),
    "400, parameters": (
        envelope(400, truto_error_insight=PARAMETERS),
        TrutoBadRequestError,
        "Missing query parameters: workspace[id]",
        "arguments",
    ),
    "400, details": (
        envelope(400, details={"failures": [{"path": "/x", "message": "too long"}]}),
        TrutoBadRequestError,
        "too long",
        "arguments",
    ),
    "400 of the CRM": (remote(400), TrutoBadRequestError, "the request", "the CRM complains of"),
    "401": (envelope(401), TrutoAuthenticationError, "the connection", "valid API token"),
    "401 of the CRM": (
        remote(401),
        TrutoReauthorizationRequiredError,
        "the customer's connection to the CRM",
        "the customer must reconnect",
    ),
    "403": (envelope(403), TrutoPermissionError, "the token", "API token of the environment"),
    "403 of the CRM": (
        remote(403, insight=SCOPES),
        TrutoPermissionError,
        "Missing scopes: crm.write, crm.read",
        "grant the missing rights",
    ),
    "404": (envelope(404), TrutoNotFoundError, "the task or the token", "check integrated_account_id"),
    "404 of the CRM": (remote(404), TrutoNotFoundError, "the task", "this customer's CRM has no such record"),
    "405": (envelope(405), TrutoMethodNotAllowedError, "the task", "ask its capabilities"),
    "405 of the CRM": (remote(405), TrutoMethodNotAllowedError, "the CRM", "does not allow"),
    "409": (remote(409), TrutoConflictError, "the data", "merge them or change it"),
    "422": (remote(422), TrutoUnprocessableError, "the data", "correct the values"),
    "418": (envelope(418), TrutoApiError, "unclear", "the connection's host"),
    "301": (envelope(301), TrutoApiError, "unclear", "the connection's host"),
}
#: name: (answer's body, class, cause, fix)
PASSING = {
    "408": (envelope(408), TrutoTemporaryError, "Truto", "retry later"),
    "425": (envelope(425), TrutoTemporaryError, "Truto", "retry later"),
    "429": (envelope(429), TrutoRateLimitError, "too many calls at once", "50 calls in 10 s per account"),
    "429 of the CRM": (remote(429), TrutoRateLimitError, "too many calls at once", "the CRM's own limit"),
    "500": (envelope(500), TrutoServerError, "Truto", "retry later"),
    "502": (envelope(502), TrutoServerError, "Truto", "retry later"),
    "504": (envelope(504), TrutoServerError, "Truto", "retry later"),
    "500 of the CRM": (remote(500), TrutoServerError, "the CRM", "retry later"),
    "503 of the CRM": (remote(503), TrutoServerError, "the CRM", "retry later"),
    "599 of the CRM": (remote(599), TrutoServerError, "the CRM", "retry later"),
}


def answers_with(body):
    status = body["statusCode"]
    return lambda: lambda conversation: conversation.answer(body, status=status)


def assert_told(error, body, cls, *words):
    assert type(error) is cls
    assert error.status == body["statusCode"]
    assert error.is_remote is body.get("truto_is_remote_error", False)
    assert error.message == body["message"]
    assert error.raw_response == body.get("raw_response")
    for word in (*words, "Cause: ", "Fix: ", f"for integrated account {ACME}", "23423523"):
        assert word in str(error)


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("name", PERMANENT)
def test_what_a_retry_cannot_fix_is_told_at_once(name, verb, both_at):
    body, cls, fault, advice = PERMANENT[name]
    result = both_at(answers_with(body), CASES[verb], integrated_account_id=ACME)
    assert_told(result.error, body, cls, fault, advice)
    assert result.error.transient is False
    assert result.error.attempts == 1
    assert result.sleeps == []
    of_the_call = [request for request in result.requests if request.path.startswith("/unified")]
    assert len(of_the_call) == 1


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again_under_the_same_key_and_then_told(name, verb, both_at):
    body, cls, fault, advice = PASSING[name]
    result = both_at(answers_with(body), CASES[verb], integrated_account_id=ACME, max_attempts=3)
    assert_told(result.error, body, cls, fault, advice)
    assert result.error.transient is True
    assert result.error.attempts == len(result.requests) == 3
    assert result.error.waited == sum(result.sleeps)
    assert len(result.sleeps) == 2
    keys = {request.headers.get("idempotency-key") for request in result.requests}
    assert keys == ({None} if verb == "GET" else {"key 1"})


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 504])
def test_what_has_passed_is_a_success(status, verb, both):
    result = both(
        CASES[verb],
        prepare=lambda emulator: emulator.fault(status=status, times=2),
        integrated_account_id=ACME,
    )
    assert result.error is None
    assert result.value["id"] == "23423523"
    assert len(result.requests) == 3
    assert len({(request.method, request.target, request.body) for request in result.requests}) == 1
    assert result.called == [(f"{verb} /unified/crm/accounts/23423523", 200, 3, sum(result.sleeps), 0.0)]


#: What happens to the connection. A write whose answer is lost has happened all the same.
LOSSES = {
    "reset before": {"reset": "before"},
    "reset after": {"reset": "after"},
    "cut within the body": {"cut": 5, "apply": True},
    "cut before the body": {"cut": 0, "apply": True},
    "half a JSON": {"truncate": 5, "apply": True},
}


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("how", LOSSES)
def test_a_lost_answer_is_asked_for_again_under_the_same_key(how, verb, both, emulator):
    result = both(
        CASES[verb], prepare=lambda emulator: emulator.fault(**LOSSES[how], times=2), integrated_account_id=ACME
    )
    assert result.error is None
    assert result.value["id"] == "23423523"
    assert len(result.requests) == 3
    assert len({request.headers.get("idempotency-key") for request in result.requests}) == 1
    if verb != "GET":
        assert len(emulator.executions) == 1, "executed once, replayed after that"


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("how", LOSSES)
def test_an_answer_that_stays_lost_leaves_a_write_in_doubt(how, verb, both):
    result = both(
        CASES[verb],
        prepare=lambda emulator: emulator.fault(**LOSSES[how], times=None),
        integrated_account_id=ACME,
        max_attempts=2,
    )
    assert type(result.error) is TrutoTransportError
    assert result.error.attempts == len(result.requests) == 2
    assert ("Whether the write happened is unknown" in str(result.error)) is (verb != "GET")
    assert ("Idempotency-Key" in str(result.error)) is (verb != "GET")


# ----------------------------------------------------------------------------------------------- whose 503, whose 405


def test_a_503_of_a_blocked_account_says_so_and_is_not_repeated(both):
    result = both(update, integrated_account_id=HOOLI)
    assert type(result.error) is TrutoAccountBlockedError
    assert "support@truto.one" in str(result.error)
    assert result.error.transient is False
    assert [request.path for request in result.requests] == [
        "/unified/crm/accounts/23423523",
        f"/integrated-account/{HOOLI}/capabilities",
    ]
    assert result.sleeps == []


def test_a_503_of_an_account_that_is_not_blocked_is_tried_again_and_asked_about_once(both):
    result = both(
        update,
        prepare=lambda emulator: emulator.fault(status=503, path="unified", times=2),
        integrated_account_id=ACME,
    )
    assert result.error is None
    assert [request.path for request in result.requests] == [
        "/unified/crm/accounts/23423523",
        f"/integrated-account/{ACME}/capabilities",
        *["/unified/crm/accounts/23423523"] * 2,
    ]
    assert len(result.sleeps) == 2


def test_what_a_503_is_about_is_asked_under_the_api_token(both):
    result = both(update, integrated_account_id=HOOLI, data_auth="account")
    assert type(result.error) is TrutoAccountBlockedError
    assert [request.token for request in result.requests] == ["api", f"account:{HOOLI}", "api"]


def test_a_write_to_a_sandbox_says_so(both):
    result = both(update, integrated_account_id=INITECH)
    assert type(result.error) is TrutoSandboxReadOnlyError
    assert "sandbox" in str(result.error)
    assert [request.path for request in result.requests] == [
        "/unified/crm/accounts/23423523",
        f"/integrated-account/{INITECH}",
    ]


def test_a_customer_who_must_reconnect_is_named_and_no_token_is_renewed(both):
    result = both(update, integrated_account_id=UMBRELLA, data_auth="account")
    assert type(result.error) is TrutoReauthorizationRequiredError
    assert [request.token for request in result.requests] == ["api", f"account:{UMBRELLA}"]


# -------------------------------------------------------------------------------------------------------- API tokens


def test_a_rotated_api_token_is_read_once_and_the_same_key_goes_out_again(both):
    def prepare(emulator):
        emulator.state.revoke_token(emulator.token)
        emulator.state.add_token("the-new-token")
        reads.clear()

    reads = []

    def reread():
        reads.append(1)
        return Token("the-new-token")

    result = both(update, prepare=prepare, reread=reread, integrated_account_id=ACME)
    assert result.error is None
    assert [request.headers["authorization"] for request in result.requests] == ["Bearer unknown", "Bearer valid"]
    assert {request.headers["idempotency-key"] for request in result.requests} == {"key 1"}
    assert reads == [1]
    assert result.sleeps == []


def test_a_coroutine_may_read_the_rotated_token(emulator, drivers):
    emulator.state.revoke_token(emulator.token)
    emulator.state.add_token("the-new-token")

    async def reread():
        return Token("the-new-token")

    result = drivers.run("async", update, emulator, token=emulator.token, reread=reread, integrated_account_id=ACME)
    assert result.value["name"] == "é"
    assert len(result.requests) == 2


def test_a_token_that_was_not_rotated_fails_at_once(both):
    result = both(
        update, prepare=lambda emulator: emulator.state.revoke_token(emulator.token), integrated_account_id=ACME
    )
    assert type(result.error) is TrutoAuthenticationError
    assert len(result.requests) == 1


def test_a_new_token_that_is_refused_too_ends_it(both):
    result = both(
        update,
        prepare=lambda emulator: emulator.state.revoke_token(emulator.token),
        reread=lambda: Token("also-wrong"),
        integrated_account_id=ACME,
    )
    assert type(result.error) is TrutoAuthenticationError
    assert len(result.requests) == 2


# ------------------------------------------------------------------------------------------------------------- waits


def test_a_429_may_ask_for_a_moment(both_at):
    # Seconds apart from now, the moments that the two drivers are told differ: compared is neither.
    def answers():
        moment = formatdate(time.time() + 100, usegmt=True)
        return [
            lambda conversation: conversation.answer(b"", status=429, headers={"Retry-After": moment}),
            lambda conversation: conversation.answer({"id": "1"}),
        ]

    result = both_at(answers, update, integrated_account_id=ACME, rounded=True)
    assert result.value == {"id": "1"}
    assert 80 < result.sleeps[0] <= 102


def test_a_wait_is_told_before_it_begins(both_at):
    def answers():
        return [
            lambda conversation: conversation.answer(envelope(429), status=429, headers={"Retry-After": "7"}),
            lambda conversation: conversation.reset(),
            lambda conversation: conversation.answer({"id": "1"}),
        ]

    result = both_at(answers, update, integrated_account_id=ACME)
    (refused, lost), (before_first, before_second) = result.sleeps, result.waits
    call = f"PATCH /unified/crm/accounts/23423523 integrated_account={ACME}"
    assert before_first == (0, f"{call}: attempt 1 of 5 answered 429; the next one comes in {refused:.1f} s")
    assert before_second == (1, f"{call}: attempt 2 of 5 gave no usable answer; the next one comes in {lost:.1f} s")


# ------------------------------------------------------------------------------------------------ answers of any kind

REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed(status, verb, both_at, raw_server):
    elsewhere = raw_server(lambda conversation: conversation.answer({"id": "stolen"}))
    for target in (elsewhere.url + "/stolen", "/unified/crm/accounts/other"):
        answers = lambda target=target: lambda c: c.answer(b"", status=status, headers={"Location": target})  # noqa: E731
        result = both_at(answers, CASES[verb], integrated_account_id=ACME)
        assert type(result.error) is TrutoApiError
        assert result.error.status == status
        assert len(result.requests) == 1
    assert elsewhere.connections == 0


NO_JSON = {
    "a page": (b"<html><title>Log in</title></html>", "text/html"),
    "text": (b"ok", "text/plain"),
    "bytes": (bytes(range(256)), "application/octet-stream"),
    "a page that says JSON later": (b"<p>", "text/html; charset=application/json"),
}


@pytest.mark.parametrize("verb", CASES)
@pytest.mark.parametrize("name", NO_JSON)
def test_a_success_that_is_not_json_is_not_taken(name, verb, both_at):
    body, kind = NO_JSON[name]
    answers = lambda: lambda conversation: conversation.answer(body, headers={"Content-Type": kind})  # noqa: E731
    result = both_at(answers, CASES[verb], integrated_account_id=ACME)
    assert type(result.error) is TrutoTransportError
    assert kind.partition(";")[0] in str(result.error)
    assert len(result.requests) == 1


@pytest.mark.parametrize("name", NO_JSON)
@pytest.mark.parametrize("case", [lambda api: api.proxy("x").get("1"), lambda api: api.custom("GET", "x")])
def test_where_any_content_may_come_it_is_given_as_bytes(case, name, both_at):
    body, kind = NO_JSON[name]
    answers = lambda: lambda conversation: conversation.answer(body, headers={"Content-Type": kind})  # noqa: E731
    result = both_at(answers, case, integrated_account_id=ACME)
    assert result.value == body


EMPTY = {
    "204": (204, b"", {"Content-Length": ""}),
    "200 of no length": (200, b"", {}),
    "201": (201, b"{}", {}),
    "spaces": (200, b" \n", {}),
    "200 of no length and no kind": (200, b"", {"Content-Type": ""}),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_success_is_an_empty_object(name, both_at):
    status, body, headers = EMPTY[name]
    answers = lambda: lambda conversation: conversation.answer(body, status=status, headers=headers)  # noqa: E731
    result = both_at(answers, update, integrated_account_id=ACME)
    assert result.value == {}


PAGES = {
    "html": (b"<html><head><title>502 Bad\n Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
    "text": (b"upstream connect error", "upstream connect error"),
    "nothing": (b"", ""),
    "bytes": (b"\xff\xfe", "��"),
    "a list": (b"[1]", ""),
    "half a JSON": (b'{"statusCode": 4', ""),
    "a deep JSON": (b"[" * 100_000, ""),
    "a surrogate": (rb'{"message":"\ud800"}', "?"),
    "odd types": (
        b'{"message":{"a":1},"error":[],"truto_is_remote_error":"true","truto_error_insight":5}',
        '{"a": 1}',
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_an_error_that_is_not_an_envelope_costs_only_its_details(name, both_at):
    body, message = PAGES[name]
    answers = lambda: lambda c: c.answer(body, status=400, headers={"Content-Type": "text/html"})  # noqa: E731
    result = both_at(answers, update, integrated_account_id=ACME)
    assert type(result.error) is TrutoBadRequestError
    assert result.error.message == message
    assert result.error.is_remote is False


@pytest.mark.parametrize("how", ["with a length", "chunked", "zipped", "until the end"])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_is_read_up_to_the_limit_and_no_further(status, how, both_at):
    def answers(size):
        body = b'"' + b"x" * (size - 2) + b'"'

        def answer(conversation):
            if how == "with a length":
                conversation.answer(body, status=status)
            elif how == "zipped":
                conversation.answer(gzip.compress(body), status=status, headers={"Content-Encoding": "gzip"})
            elif how == "chunked":
                conversation.send(b"HTTP/1.1 %d x\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
                conversation.chunk(body[:30_000])
                conversation.chunk(body[30_000:])
                conversation.chunk(b"")
            else:
                conversation.send(b"HTTP/1.1 %d x\r\n\r\n" % status + body)
                conversation.close()

        return lambda: answer

    fitting = both_at(answers(50_000), update, integrated_account_id=ACME, response_limit=50_000)
    assert (fitting.value == "x" * 49_998) if status == 200 else type(fitting.error) is TrutoBadRequestError
    larger = both_at(answers(50_001), update, integrated_account_id=ACME, response_limit=50_000)
    assert type(larger.error) is TrutoTransportError
    assert f"HTTP {status} with a body of more than 50000 bytes" in str(larger.error)
    assert larger.error.attempts == 1
    assert larger.sleeps == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_zipped_answer_is_unzipped(encoding, both_at):
    import zlib

    body = json.dumps({"id": "1", "name": "x" * 100_000}).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    answers = lambda: lambda c: c.answer(packed, headers={"Content-Encoding": encoding})  # noqa: E731
    assert both_at(answers, get, integrated_account_id=ACME).value["name"] == "x" * 100_000


def test_what_claims_to_be_zipped_and_is_not_is_a_lost_answer(both_at):
    answers = lambda: lambda c: c.answer(b'{"id":"1"}', headers={"Content-Encoding": "gzip"})  # noqa: E731
    result = both_at(answers, get, integrated_account_id=ACME, max_attempts=2)
    assert type(result.error) is TrutoTransportError
    assert len(result.requests) == 2


def test_an_answer_with_large_headers_is_read(both_at):
    answers = lambda: lambda c: c.answer({"id": "1"}, headers={"X-Policy": "x" * 30_000})  # noqa: E731
    assert both_at(answers, get, integrated_account_id=ACME).value == {"id": "1"}


def test_values_of_the_body_are_hidden_whatever_the_body_is(both_at):
    for body in (b"secret-value\xff", "secret-value", {"a": "secret-value"}, ["secret-value"]):
        answers = lambda: lambda c: c.answer(envelope(400, "bad: secret-value"), status=400)  # noqa: E731
        result = both_at(
            answers,
            lambda api, body=body: api.custom("POST", "x", body=body),
            integrated_account_id=ACME,
            hide_values=True,
        )
        assert type(result.error) is TrutoBadRequestError
        if not isinstance(body, bytes):
            assert "secret-value" not in str(result.error)
