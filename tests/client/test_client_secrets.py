"""A server may say our secrets back to us; nothing that people read or store may show them."""

from __future__ import annotations

import base64
import contextlib
import copy
import itertools
import json
import logging
import pickle
import subprocess
import sys
import time
import traceback

import pytest
from answering import answering_client
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.error_parsing import build_api_error
from airflow_provider_truto.client.errors import TrutoApiError, TrutoError, TrutoTransportError
from airflow_provider_truto.client.redaction import scrub_secrets
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.hooks.truto import TrutoHook

#: Tokens as services make them; the last ones have characters that HTTP, JSON and URLs write in other ways.
TOKENS = {
    "hexadecimal": "8f14e45fceea167a5a36dedd4bea2543",
    "of both cases": "tok_Live_9XkQzPlantedSecret",
    "base64": "cGxhbn/RlZCBzZW+NyZXQ=planted==",
    "full of signs": 'planted"secret%of&signs<and>more',
}


def shown(error):
    """Everything of an error that may end in a log, a database or a ticket."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for one in chain:
        yield str(one)
        yield repr(one)
        yield repr(vars(one))
        yield json.dumps(vars(one), default=repr)
        with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):
            yield pickle.dumps(one).decode("latin-1")
    yield "".join(traceback.format_exception(chain[0]))


def forms_of(secret):
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}


def assert_hidden(secret, *texts):
    for text in texts:
        for form in forms_of(secret):
            assert form not in text


@pytest.fixture
def everything_logged(caplog):
    """All log records of the test, of every library and level, as text."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")

    def text():
        return caplog.text + "".join(repr(vars(record)) for record in caplog.records)

    return text


def page(secret):
    return f"<html><head><title>Unknown token {secret}</title></head><body>{secret}</body></html>"


#: What a server may do with the token that it was sent: the body of its answer.
ECHOES = {
    "in the message": lambda s: {"message": f"the token {s} is odd"},
    "as the message": lambda s: {"message": s},
    "in the error": lambda s: {"error": f"Bad {s}", "message": "m"},
    "in a raw text": lambda s: {
        "message": "",
        "raw_response": f"Authorization: Bearer {s}",
        "truto_is_remote_error": True,
    },
    "deep in a raw object": lambda s: {"raw_response": {"request": [{"headers": {"authorization": s}}]}},
    "as a key of a raw object": lambda s: {"raw_response": {s: 1}},
    "as a key of the envelope": lambda s: {s: 1, "message": "m"},
    "as JSON within text": lambda s: {"raw_response": json.dumps({"authorization": f"Bearer {s}"})},
    "in the details": lambda s: {"message": "m", "details": {"failures": [{"value": s}]}},
    "in the insight": lambda s: {
        "message": "m",
        "truto_error_insight": {"missing_required_body_fields": {"description": s, "value": [s]}},
    },
    "at the place where a message is cut": lambda s: {"message": "x" * 490 + s},
    "at the place where an answer is cut": lambda s: {"message": "m", "raw_response": "x" * 3990 + s},
    "in a list": lambda s: [s],
    "as JSON text": lambda s: s,
    "in JSON that is cut off": lambda s: json.dumps({"message": f"the token {s}"})[:-2].encode(),
    "in plain text": lambda s: f"the token {s} is odd".encode(),
    "as plain text": lambda s: s.encode(),
    "in a web page": lambda s: page(s).encode(),
    "in a web page without a title": lambda s: f"<p>the token {s} is odd</p>".encode(),
    "among bytes": lambda s: b"\xff" + s.encode() + b"\xfe",
    "as escapes of JSON": lambda s: (
        '{"message": "' + "".join(f"\\u{ord(letter):04x}" for letter in s) + '"}'
    ).encode(),
}
#: The same in the head of the answer.
HEADERS = {
    "in WWW-Authenticate": lambda s: {"WWW-Authenticate": f'Bearer error="{s}"'},
    "in Location": lambda s: {"Location": f"https://elsewhere.example/?token={s}"},
    "in Retry-After": lambda s: {"Retry-After": s},
    "in ratelimit-reset": lambda s: {"ratelimit-reset": s},
    "in a cookie": lambda s: {"Set-Cookie": f"token={s}"},
    "in the content type": lambda s: {"Content-Type": f"text/{s}; charset={s}"},
    "in a header of its own": lambda s: {"X-Token": s},
}


def crossed(echoes, tokens, statuses):
    """Each echo with every kind of token; the statuses take turns, since they change nothing about the other two."""
    pairs = itertools.product(echoes.items(), tokens.items())
    for ((echo, make), (name, token)), status in zip(pairs, itertools.cycle(statuses), strict=False):
        yield pytest.param(make, token, status, id=f"{echo}-{name}-{status}")


def run_into_error(client, call):
    with pytest.raises(TrutoError) as caught:
        client.run(call)
    return caught.value


@pytest.mark.parametrize(("echo", "token", "status"), crossed(ECHOES, TOKENS, [400, 401, 404, 429, 500, 503]))
def test_a_token_in_the_body_of_an_error_is_never_shown(
    echo, token, status, raw_server, make_client, write, everything_logged
):
    body = echo(token)
    server = raw_server(lambda conversation: conversation.answer(body, status=status))
    error = run_into_error(make_client(server.url, token=token, max_attempts=2), write())
    assert server.requests[0].headers["authorization"] == f"Bearer {token}"
    assert isinstance(error, TrutoApiError)
    assert_hidden(token, *shown(error), everything_logged())


@pytest.mark.parametrize(("echo", "token", "status"), crossed(HEADERS, TOKENS, [200, 302, 400, 401, 429, 503]))
def test_a_token_in_the_head_of_an_answer_is_never_shown(
    echo, token, status, raw_server, make_client, write, everything_logged
):
    headers = {"Content-Type": "text/html", **echo(token)}
    server = raw_server(lambda conversation: conversation.answer(b"<p>", status=status, headers=headers))
    error = run_into_error(make_client(server.url, token=token, max_attempts=2), write())
    assert_hidden(token, *shown(error), everything_logged())
    # Content types are compared in lower case; a token that was lowered is a token that was shown.
    assert_hidden(token.lower(), *(text.lower() for text in shown(error)))


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_in_the_reason_phrase_is_never_shown(token, raw_server, make_client, write, everything_logged):
    server = raw_server(lambda conversation: conversation.answer(b"", status=500, reason=f"Bad {token}"))
    error = run_into_error(make_client(server.url, token=token, max_attempts=1), write())
    assert_hidden(token, *shown(error), everything_logged())


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 %s\r\n\r\n",
        b"%s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n%s",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n%s",
    ],
    ids=["status", "line", "length", "chunk", "encoding", "cut body"],
)
def test_a_token_in_an_answer_that_is_not_http_is_never_shown(
    raw, token, raw_server, make_client, write, everything_logged
):
    def answer(conversation):
        conversation.send(raw % token.encode())
        conversation.close()

    server = raw_server(answer)
    error = run_into_error(make_client(server.url, token=token, max_attempts=1), write())
    assert_hidden(token, *shown(error), everything_logged())


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_is_hidden_where_nothing_answers(token, raw_server, make_client, write, everything_logged):
    server = raw_server(lambda conversation: conversation.reset())
    error = run_into_error(make_client(server.url, token=token, max_attempts=2), write())
    assert isinstance(error, TrutoTransportError)
    assert_hidden(token, *shown(error), everything_logged())


def test_a_stream_that_breaks_shows_no_token(raw_server, make_client, write, everything_logged):
    token = TOKENS["of both cases"]

    def answer(conversation):
        conversation.answer(token.encode(), length=1000)
        conversation.close()

    stream = make_client(raw_server(answer).url, token=token).run(write(streamed=True)).response.stream
    with pytest.raises(TrutoTransportError) as caught:
        list(stream)
    assert_hidden(token, *shown(caught.value), everything_logged())


def test_what_is_around_the_token_is_still_told(raw_server, make_client, write):
    token = TOKENS["base64"]
    server = raw_server(lambda conversation: conversation.answer({"message": f"key {token} has expired"}, status=401))
    error = run_into_error(make_client(server.url, token=token), write())
    assert '"key *** has expired"' in str(error)
    assert error.message == "key *** has expired"


@pytest.mark.parametrize("form", ["{}", "q={}&x", "Basic {}"])
def test_the_escaped_form_of_a_token_is_hidden_too(form, raw_server, make_client, write):
    escaped = "cGxhbn%2FRlZCBzZW%2BNyZXQ%3Dplanted%3D%3D"
    server = raw_server(lambda conversation: conversation.answer({"message": form.format(escaped)}, status=400))
    error = run_into_error(make_client(server.url, token=TOKENS["base64"]), write())
    assert_hidden(escaped, *shown(error))


@given(token=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60))
def test_any_token_is_hidden_wherever_it_comes_back(token, raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.answer({"message": token, "details": [token]}, status=400))
    error = run_into_error(make_client(server.url, token=token), write())
    server.stop()
    assert error.message == "***"
    assert error.details == ["***"]


def test_a_rotated_token_is_hidden_as_well_as_the_one_before(raw_server, make_client, write):
    old, new = "planted-old-token", "planted-new-token"
    server = raw_server(
        lambda conversation: conversation.answer(
            {"message": f"bad {conversation.headers['authorization']}"}, status=401
        )
    )
    error = run_into_error(make_client(server.url, token=old, reread=lambda: Token(new)), write())
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {old}", f"Bearer {new}"]
    assert_hidden(old, *shown(error))
    assert_hidden(new, *shown(error))


# ------------------------------------------------------------------------------------------------------------- proxy

PASSWORD = "pr0xy-Pl@nted/secret"
ESCAPED_PASSWORD = "pr0xy-Pl%40nted%2Fsecret"


@pytest.mark.parametrize(
    "answer",
    [
        lambda conversation: conversation.answer(f"{PASSWORD} or {ESCAPED_PASSWORD}?", status=407),
        lambda conversation: conversation.answer({"message": f"{PASSWORD} or {ESCAPED_PASSWORD}?"}, status=502),
        lambda conversation: conversation.answer(b"<p>", headers={"Content-Type": f"text/{PASSWORD}"}),
        lambda conversation: conversation.reset(),
        lambda conversation: (
            conversation.send(f"{ESCAPED_PASSWORD} {PASSWORD}\r\n\r\n".encode()),
            conversation.close(),
        ),
    ],
    ids=["text", "JSON", "content type", "reset", "no HTTP"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_proxys_password_is_never_shown(scheme, answer, raw_server, make_client, write, everything_logged):
    proxy = raw_server(lambda conversation: (answer(conversation), conversation.close()))
    url = f"http://robot:{ESCAPED_PASSWORD}@{proxy.origin}"
    client = make_client(f"{scheme}://127.0.0.1:9", proxy=url, max_attempts=2)
    error = run_into_error(client, write())
    assert proxy.requests
    for secret in (PASSWORD, ESCAPED_PASSWORD):
        assert_hidden(secret, *shown(error), everything_logged())


@pytest.mark.parametrize("proxy", ["socks9://robot:{}@127.0.0.1:1", "http://robot:{}@"])
def test_the_password_of_what_is_not_a_proxy_is_never_shown(proxy, make_client, everything_logged):
    with pytest.raises(ValueError, match="expects a URL") as caught:
        make_client("http://127.0.0.1:9", proxy=proxy.format(ESCAPED_PASSWORD))
    for secret in (PASSWORD, ESCAPED_PASSWORD):
        assert_hidden(secret, *shown(caught.value), everything_logged())


def test_the_password_of_a_proxy_that_cannot_be_reached_is_never_shown(make_client, write, everything_logged):
    proxy = f"http://robot:{ESCAPED_PASSWORD}@127.0.0.1:1"
    client = make_client("http://127.0.0.1:9", proxy=proxy, max_attempts=2)
    error = run_into_error(client, write())
    for secret in (PASSWORD, ESCAPED_PASSWORD):
        assert_hidden(secret, *shown(error), everything_logged())


# ------------------------------------------------------------------------------------------------------------- reprs

SECRET = "planted-Secret-0123456789"


@pytest.fixture
def holders(make_client, connection):
    """Every object that holds a secret, by name."""
    settings = {"proxy": f"http://robot:{SECRET}@127.0.0.1:3128"}
    client = make_client("http://127.0.0.1:9", token=SECRET, **settings)
    connection("http://127.0.0.1:9", SECRET, **settings)
    hook = TrutoHook()
    return {
        "token": Token(SECRET),
        "tokens": ApiToken(Token(SECRET), reread=lambda: Token(SECRET)),
        "settings": ClientSettings(**settings),
        "client": client,
        "client's settings": client.settings,
        "client's tokens": client.tokens,
        "session": client.session,
        "session's auth": client.session.auth,
        "session's headers": client.session.headers,
        "hook": hook,
        "hook's connection": hook.connection,
        "hook's session": hook.get_conn(),
    }


def test_no_object_that_holds_a_secret_shows_it(holders):
    for name, holder in holders.items():
        for text in (repr(holder), str(holder), f"{holder}", f"{holder!r:>5}", repr([holder]), ascii(holder)):
            assert SECRET not in text, name


def test_a_token_that_no_header_can_carry_is_refused_without_being_shown():
    for bad in ("planted secret", "planted\nsecret", "planted-sécret", "\tplanted-secret", "planted-secret\x00"):
        with pytest.raises(ValueError, match="API token") as caught:
            Token(bad)
        assert "planted" not in "".join(shown(caught.value)).replace(repr(bad), "")
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://robot:{}@api.truto.one",
        "https://{}@api.truto.one",
        "ftp://robot:{}@api.truto.one",
        "https://robot:{}@api.truto.one?x=1",
        "https://robot:{}@api.truto.one:99999",
    ],
)
def test_a_base_url_that_holds_a_password_is_refused_without_showing_it(url):
    with pytest.raises(ValueError) as caught:
        ClientSettings(base_url=url.format(SECRET))
    assert SECRET not in str(caught.value)


def test_no_object_that_holds_a_secret_can_be_carried_out_of_the_process(holders):
    for name, holder in holders.items():
        try:
            pickled = pickle.dumps(holder)
        except (TypeError, AttributeError, pickle.PicklingError):
            continue
        assert SECRET.encode() not in pickled, name


def test_a_copy_of_a_secret_is_the_secret_itself(holders):
    for name in ("token", "settings"):
        assert copy.copy(holders[name]) is copy.deepcopy(holders[name]) is holders[name]


# ------------------------------------------------------------------------------------------- secrets of other people
#
# What a CRM says may hold its own secrets, which nobody here knows: they show by their names.

THEIRS = "planted4theirs"

SHOWN_BY_NAME = {
    "token": {"token": THEIRS},
    "in another spelling": {
        "accessToken": THEIRS,
        "REFRESH-TOKEN": THEIRS,
        "x_api_key": THEIRS,
        "Set-Cookie": THEIRS,
    },
    "an object": {"authorization": {"scheme": "x", "value": [THEIRS]}},
    "deep": {"request": [{"headers": {"Authorization": THEIRS, "cookie": [THEIRS]}}]},
    "a header as a pair": {"headers": [{"name": "X-Api-Key", "value": THEIRS}, {"key": "cookie", "value": THEIRS}]},
    "JSON as text": json.dumps({"config": {"client_secret": THEIRS}}),
    "JSON as text in JSON as text": json.dumps({"config": json.dumps({"password": THEIRS})}),
    "JSON within a text": f'the body was {{"password": "{THEIRS} {THEIRS}", "a": 1}}',
    "escaped JSON within a text": f'{{\\"password\\": \\"{THEIRS}\\", \\"a\\": 1}}',
    "two keys of one name": f'{{"token": "{THEIRS}", "token": null}}',
    "bearer": f"sent Bearer {THEIRS} to the CRM",
    "basic": "sent basic cGxhbnRlZDR0aGVpcnM=, twice",
    "a query": f"GET /x?a=1&access_token={THEIRS}&b=2",
    "a header": f"Authorization: Custom {THEIRS}; more {THEIRS}\r\nX: y",
    "a cookie": f"Set-Cookie: sid={THEIRS}; Path=/; b={THEIRS}",
    "an assignment": f"api_key = '{THEIRS}', password: {THEIRS}",
}


@pytest.mark.parametrize("where", ["raw_response", "details", "message", "error"])
@pytest.mark.parametrize("said", SHOWN_BY_NAME.values(), ids=SHOWN_BY_NAME)
def test_secrets_of_the_crm_are_not_shown(said, where):
    body = json.dumps({"message": "m", "truto_is_remote_error": True, where: said}).encode()
    error = build_api_error(Request(method="GET", path="/x"), Response(status=422, body=body))
    for text in shown(error):
        assert THEIRS not in text
        assert "cGxhbnRlZDR0aGVpcnM" not in text


def test_secrets_on_a_page_are_not_shown():
    page = f"<html><title>Odd</title><pre>Authorization: Bearer {THEIRS}</pre>".encode()
    plain = f"upstream said: token={THEIRS}".encode()
    for body in (page, plain, page.replace(b"title", b"p")):
        assert_hidden(
            THEIRS, *shown(build_api_error(Request(method="GET", path="/x"), Response(status=502, body=body)))
        )


def test_what_only_sounds_like_a_secret_stays_readable():
    said = {
        "message": "The Bearer token is missing; the Basic plan has no webhooks; keys are unique",
        "raw_response": {"key": "author", "password": None, "is_secret": True, "count": 3},
    }
    error = build_api_error(Request(method="GET", path="/x"), Response(status=403, body=json.dumps(said).encode()))
    assert error.message == said["message"]
    assert error.raw_response == said["raw_response"]


CONTROLS = "\x1b[2J\x1b]0;owned\x07 \x00\x08\x9b31m\u202egnp.exe\u2028 \rgone"


@pytest.mark.parametrize("where", ["raw_response", "details", "message", "error", "page", "plain", "key"])
def test_control_characters_of_an_answer_reach_nobody(where):
    body = json.dumps({where: CONTROLS, "details": {CONTROLS: 1}}).encode()
    if where in {"page", "plain"}:
        body = ("<p>" * (where == "page") + CONTROLS).encode()
    error = build_api_error(Request(method="GET", path="/x"), Response(status=422, body=body))
    for text in (str(error), error.message, error.error, str(error.raw_response), *map(str, error.details or ())):
        assert not set(text) & set("\x1b\x07\x00\x08\x9b\u202e\u2028\r")
    assert "\\x1b" in "".join(shown(error))


def test_control_characters_of_a_broken_answer_reach_nobody(raw_server, make_client, read):
    def answer(conversation):
        conversation.send(b"HTTP/1.1 \x1b[2J x\r\n\r\n")
        conversation.close()

    error = run_into_error(make_client(raw_server(answer).url, max_attempts=1), read())
    assert "\x1b" not in str(error)


def test_a_warning_that_a_server_has_a_say_in_moves_no_cursor():
    warned = []
    client = answering_client(None, observer=Observer(on_warning=warned.append))
    client.warn(f"/custom_fields/{CONTROLS}" + "x" * 100_000)
    [text] = warned
    assert "\x1b" not in text
    assert len(text) < 10_000


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_a_stream_that_breaks_says_no_secret(driver, drivers, raw_server):
    """What stands in the place of a chunk's length is quoted by the libraries."""
    token = "planted-token-of-a-stream"

    def answer(conversation):
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        time.sleep(0.1)
        conversation.send(token.encode() + b"\r\n")
        conversation.stay_mute()

    case = lambda client: client.custom("GET", "x", stream=True)  # noqa: E731
    result = drivers.run(driver, case, raw_server(answer), token=token, read_timeout=1.0, integrated_account_id=ACME)
    assert "broke off" in str(result.error)
    assert_hidden(token, *shown(result.error))


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_the_api_token_is_hidden_also_where_a_minted_one_was_sent(driver, drivers, raw_server):
    api, minted = "planted-api-token", "planted-minted-token"

    def answer(conversation):
        if conversation.target == "/integrated-account/token":
            conversation.answer({"integrated_account_token": minted})
        else:
            conversation.answer({"message": f"{minted} of {api}?", "raw_response": [api]}, status=400)

    case = lambda client: client.unified("crm", "accounts").get("1")  # noqa: E731
    given = {"data_auth": "account", "integrated_account_id": ACME}
    result = drivers.run(driver, case, raw_server(answer), token=api, **given)
    assert type(result.error) is not TrutoTransportError
    for secret in (api, minted):
        assert_hidden(secret, *shown(result.error))


@pytest.mark.parametrize("where", ["settings", "environment"])
def test_a_proxys_credentials_are_hidden_as_it_is_sent_them(
    where, raw_server, make_client, write, everything_logged, monkeypatch
):
    def echo(conversation):
        sent = conversation.headers["proxy-authorization"].removeprefix("Basic ")
        conversation.answer({"message": f"who is {sent}, {PASSWORD}?"}, status=502)

    url = f"http://robot:{ESCAPED_PASSWORD}@{raw_server(echo).origin}"
    if where == "environment":
        monkeypatch.setenv("HTTP_PROXY", url)
    client = make_client(
        "http://truto.invalid", allow_http=True, max_attempts=1, proxy=url if where == "settings" else None
    )
    error = run_into_error(client, write())
    assert error.status == 502
    encoded = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, encoded):
        assert_hidden(secret, *shown(error), everything_logged())


@pytest.mark.parametrize("sign", ["/", "#", "?", "\\", " "])
def test_a_proxy_whose_password_would_be_read_as_something_else_is_refused(sign):
    for url in (f"http://robot:plan{sign}ted@proxy:3128", f"http://robot:plan{sign}ted@proxy:3128/"):
        with pytest.raises(ValueError, match="%2F %23 %3F %5C") as caught:
            ClientSettings(proxy=url)
        assert "ted" not in str(caught.value).replace("written", "")


@pytest.mark.parametrize("url", ["http://proxy:3128", "http://proxy:3128/", "http://a:b%2Fc@[::1]:3128"])
def test_a_proxy_as_it_should_be_is_taken(url):
    assert ClientSettings(proxy=url).proxy == url


# ------------------------------------------------------------------------------------------------- work without end
#
# A hang would be found by the time that a test may take; here a hundredth of it is too much.

_BOMBS = {
    "tags": "<" * 1_000_000,
    "titles": "<title" * 200_000,
    "names of secrets": "token" * 200_000,
    "signs": "token=" * 200_000,
    "headers": "authorization:" * 80_000,
    "quotes": "token\\\\\\" * 100_000,
    "bearers": "bearer " * 150_000,
    "spaces": "bearer" + " " * 1_000_000,
    "basics": "basic aaaa " * 100_000,
    "brackets": "[" * 1_000_000,
    "braces": '{"a":' * 200_000,
    "texts": json.dumps(["x"] * 300_000),
    "JSON in JSON": json.dumps(json.dumps(json.dumps(['"' * 10_000] * 20))),
}


def test_what_a_server_says_is_read_in_bounded_time():
    """A megabyte of it, as a page, and in an envelope: well within a second each."""
    code = (
        "import sys, json\n"
        "from airflow_provider_truto.client.response import Response\n"
        "from airflow_provider_truto.client.request import Request\n"
        "from airflow_provider_truto.client.error_parsing import build_api_error\n"
        "for name, text in json.load(sys.stdin).items():\n"
        "    print(name, flush=True)\n"
        "    for body in (text, json.dumps({'message': text, 'raw_response': text, 'details': [text]})):\n"
        "        build_api_error(Request(method='GET', path='/x'), Response(status=500, body=body.encode()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(_BOMBS),
        text=True,
        timeout=10 * len(_BOMBS),
        check=True,
        capture_output=True,
    )
    assert len(done.stdout.splitlines()) == len(_BOMBS)


# ------------------------------------------------------------------------------------------------------- hide_values

BODY = {
    "name": "Planted & Sons",
    "description": 'They "planted" a\nhedge',
    "industry": "Plántation",
    "number_of_employees": 48151,
    "owner": {"id": "owner-1623"},
    "addresses": [{"city": "Plantedville"}],
    "custom_fields": {"revenue": 42.125, "notes": ["planted note"], "tier": "Plant"},
}
VALUES = ["Planted & Sons", "Plántation", "48151", "owner-1623", "Plantedville", "42.125", "planted note"]

REPEATS = {
    "in the message": lambda body: {"message": f"cannot store {'; '.join(VALUES)} and {body['description']}"},
    "in a raw object": lambda body: {"message": "", "raw_response": body, "truto_is_remote_error": True},
    "in a raw text of JSON": lambda body: {"message": "", "raw_response": json.dumps(body)},
    "in the details": lambda body: {"message": "m", "details": {"failures": [body]}},
    "in the insight": lambda body: {"message": "m", "truto_error_insight": {"remote_error": {"value": body}}},
    "in a web page": lambda body: f"<title>{body['name']} {body['number_of_employees']}</title>".encode(),
    "in plain text": lambda body: "; ".join(VALUES).encode(),
}


@pytest.mark.parametrize("repeat", REPEATS.values(), ids=REPEATS)
def test_hide_values_keeps_what_was_written_out_of_errors(repeat, raw_server, make_client, write, everything_logged):
    server = raw_server(lambda conversation: conversation.answer(repeat(BODY), status=422))
    error = run_into_error(make_client(server.url, hide_values=True), write(BODY))
    for value in [*VALUES, "hedge"]:
        assert_hidden(value, *shown(error), everything_logged())


@pytest.mark.parametrize("repeat", REPEATS.values(), ids=REPEATS)
def test_without_hide_values_errors_say_what_the_server_said(repeat, raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.answer(repeat(BODY), status=422))
    error = run_into_error(make_client(server.url), write(BODY))
    assert "Planted & Sons" in "".join(shown(error))


def test_hide_values_also_covers_what_a_failed_connection_says(raw_server, make_client, write, everything_logged):
    def answer(conversation):
        conversation.send(b"HTTP/1.1 Planted & Sons\r\n\r\n")
        conversation.close()

    error = run_into_error(make_client(raw_server(answer).url, hide_values=True, max_attempts=1), write(BODY))
    assert_hidden("Planted & Sons", *shown(error), everything_logged())


def test_hide_values_keeps_the_rest_of_a_text_that_begins_with_a_value(raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.answer(b"Initrode is taken", status=422))
    error = run_into_error(make_client(server.url, hide_values=True), write({"name": "Initrode"}))
    assert error.message == "[hidden] is taken"


def test_hide_values_leaves_short_words_standing(raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.answer({"message": "IN is no name"}, status=422))
    error = run_into_error(make_client(server.url, hide_values=True), write({"name": "IN"}))
    assert "IN is no name" in str(error)


@pytest.mark.parametrize("levels", [100, 400, 800])
def test_hide_values_copes_with_a_body_nested_without_reason(levels, raw_server, make_client, write):
    value = "planted"
    for _ in range(levels):
        value = [value]
    server = raw_server(lambda conversation: conversation.answer({"message": "planted"}, status=422))
    error = run_into_error(make_client(server.url, hide_values=True), write({"custom_fields": {"a": value}}))
    assert_hidden("planted", *shown(error))


def test_hide_values_hides_every_value_of_a_large_record(make_client, write):
    call = write({"custom_fields": {f"field {number}": f"value number {number}" for number in range(1000)}})
    body = json.dumps({"message": "m", "details": [f"refused: value number {number}" for number in range(30)]})
    client = make_client("http://127.0.0.1:9", hide_values=True)
    error = build_api_error(
        call,
        Response(status=422, body=body.encode()),
        scrub=lambda text: scrub_secrets(text, request=call, token=Token(SECRET), settings=client.settings),
    )
    assert error.details == ["refused: [hidden]"] * 30


# ------------------------------------------------------------------------------------------------------------ hook


def test_the_hooks_errors_and_logs_show_no_token(raw_server, connection, everything_logged, capfd):
    token = TOKENS["base64"]
    server = raw_server(lambda conversation: conversation.answer({"message": f"odd: {token}"}, status=400))
    connection(server.url, token, integrated_account_id=ACME)
    with pytest.raises(TrutoApiError) as caught:
        TrutoHook().update_account("23423523", {"name": "x"})
    out, err = capfd.readouterr()
    assert_hidden(token, *shown(caught.value), everything_logged(), out, err)


def test_the_hooks_success_shows_neither_token_nor_body_in_the_log(
    emulator, connection, everything_logged, caplog, capfd
):
    connection(emulator.url, emulator.token, integrated_account_id=ACME)
    TrutoHook().update_account("23423523", {"name": "Planted Ltd"})
    out, err = capfd.readouterr()
    assert_hidden(emulator.token, everything_logged(), out, err)
    assert "PATCH /unified/crm/accounts/23423523" in caplog.text + out + err
    assert "Planted Ltd" not in caplog.text + out + err
