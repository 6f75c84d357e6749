"""Both drivers on real sockets: connections, heads, TLS, proxies, timeouts and streams.

What ``requests`` alone can do (a session that users hold) is in ``test_client_transport``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
import tracemalloc
from dataclasses import replace

import aiohttp
import pytest
from calls import FOR_ACME, create, delete, get, ok, update

from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.errors import TrutoTransportError
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.sync import SyncClient
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.client.transports.base import CHUNK
from airflow_provider_truto.emulator import ACME

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

GENEROUS = 10.0


VERBS = {"GET": get, "PATCH": update, "DELETE": delete, "POST": create}


def in_turn(*cases):
    """A case that makes several calls with one client, one after the other, and gives the last one's value."""

    def case(client):
        if isinstance(client, AsyncClient):
            return awaited(client)
        for one in cases:
            value = one(client)
        return value

    async def awaited(client):
        for one in cases:
            value = await one(client)
        return value

    return case


# ----------------------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("verb", VERBS)
def test_calls_share_one_connection(verb, both_at):
    result = both_at(lambda: ok, in_turn(*[VERBS[verb]] * 5), **FOR_ACME)
    assert len(result.requests) == 5
    assert result.connections == 1


def test_errors_do_not_cost_the_connection(both_at):
    def answers():
        refuse = lambda conversation: conversation.answer({"message": "x" * 100_000}, status=502)  # noqa: E731
        return [refuse, refuse, ok]

    result = both_at(answers, get, **FOR_ACME)
    assert result.error is None
    assert result.connections == 1


@pytest.mark.parametrize("goodbye", ["close", "reset"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_call_on_a_connection_that_died_in_the_pool_arrives_once_an_attempt(verb, goodbye, both_at):
    """The server answers the first call, reads the second one on the same connection and then hangs up.

    aiohttp would send a GET or DELETE again by itself, without counting, waiting or telling.
    """

    def answers():
        def answer(conversation):
            first_of_all = conversation.connection == 1 and len(conversation.server.requests) == 1
            if first_of_all or conversation.connection > 1:
                ok(conversation)
            else:
                getattr(conversation, goodbye)()

        return answer

    result = both_at(answers, in_turn(get, VERBS[verb]), **FOR_ACME)
    assert result.error is None
    assert [attempts for _, _, attempts, _, _ in result.called] == [1, 2]
    assert len(result.requests) == 3
    assert len(result.sleeps) == 1
    [first, second] = result.requests[1:]
    assert first == second


@pytest.mark.parametrize("verb", VERBS)
def test_a_dead_connection_costs_a_single_attempt_where_only_one_is_allowed(verb, both_at):
    def answers():
        return lambda c: ok(c) if len(c.server.requests) == 1 else c.close()

    result = both_at(answers, in_turn(get, VERBS[verb]), max_attempts=1, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert len(result.requests) == 2


def test_a_connection_that_the_server_closed_after_its_answer_is_replaced(both_at):
    def close_after(conversation):
        ok(conversation)
        conversation.close()

    def case(client):
        if isinstance(client, AsyncClient):
            return awaited(client)
        for _ in range(3):
            value = get(client)
            time.sleep(0.1)
        return value

    async def awaited(client):
        for _ in range(3):
            value = await get(client)
            await asyncio.sleep(0.1)
        return value

    # The end of a connection has to have arrived: a call that races it is another case.
    result = both_at(lambda: close_after, case, **FOR_ACME)
    assert result.error is None
    assert result.connections == 3


def test_a_base_url_with_a_path_keeps_it(both_at):
    result = both_at(lambda: ok, get, base_url=lambda server: f"{server.url}/truto/v1/", **FOR_ACME)
    assert result.requests[0].path == "/truto/v1/unified/crm/accounts/23423523"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"",
    ],
    ids=["head", "length", "chunk", "no chunk", "no length, no body", "no HTTP", "nothing"],
)
def test_an_answer_that_is_cut_off_is_not_a_success(raw, both_at):
    def answers():
        def cut(conversation):
            conversation.send(raw)
            conversation.close()

        return [cut, ok]

    result = both_at(answers, update, **FOR_ACME)
    assert result.value == {"id": "23423523"}
    assert [request.headers["idempotency-key"] for request in result.requests] == ["key 1"] * 2


def test_cookies_are_not_kept(both_at):
    answers = lambda: lambda c: c.answer({}, headers={"Set-Cookie": "a=b; Path=/"})  # noqa: E731
    result = both_at(answers, in_turn(get, get, get), **FOR_ACME)
    assert all("cookie" not in request.headers for request in result.requests)


def test_headers_that_come_twice_are_heard(both_at):
    def refuse(conversation):
        body = b'{"statusCode":429}'
        conversation.send(
            b"HTTP/1.1 429 x\r\nX-A: 1\r\nX-A: 2\r\nRetry-After: 3\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )

    result = both_at(lambda: [refuse, ok], get, **FOR_ACME)
    assert 3 <= result.sleeps[0] <= 4


def test_nothing_listens(both_at):
    result = both_at(lambda: ok, update, base_url=lambda _: "http://127.0.0.1:9", max_attempts=2, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert "the connection to 127.0.0.1 failed" in str(result.error)
    assert result.error.attempts == 2


def test_a_host_that_has_no_address(both_at):
    url = "http://no-such-host.localhost.invalid"
    result = both_at(lambda: ok, update, base_url=lambda _: url, max_attempts=2, allow_http=True, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert "no-such-host" in str(result.error)


def test_many_coroutines_share_a_client(emulator):
    async def main():
        async with AsyncClient(
            ClientSettings(base_url=emulator.url, requests_per_second=0, **FOR_ACME),
            ApiToken(Token(emulator.token), reread=lambda: Token(emulator.token)),
            connections=4,
        ) as client:
            return await asyncio.gather(*[update(client) for _ in range(60)])

    values = asyncio.run(main())
    assert {value["id"] for value in values} == {"23423523"}
    assert len({request["connection"] for request in emulator.requests}) <= 4
    assert len(emulator.executions) == 60


def test_a_call_that_waits_for_a_connection_tells_when_it_went_out(emulator):
    """Truto counts it from then on: see ``RateLimiter``."""
    emulator.fault(times=None, delay_before=0.2)
    answers = []

    async def main():
        async with AsyncClient(
            ClientSettings(base_url=emulator.url, **FOR_ACME),
            ApiToken(Token(emulator.token), reread=lambda: Token(emulator.token)),
            observer=Observer(on_response=lambda result: answers.append(result.response)),
            connections=1,
        ) as client:
            await asyncio.gather(*[get(client) for _ in range(3)])

    asyncio.run(main())
    waited = [answer.sent_after for answer in answers[1:]]
    assert 0.15 < waited[0] < 0.35 < waited[1] < 0.6, waited
    assert all(0.15 < answer.seconds - answer.sent_after < 0.39 for answer in answers[1:])


def test_a_call_that_finds_a_connection_open_says_nothing_of_it(both_at):
    late = []

    def last(client):
        observer = client._client.observer
        client._client.observer = replace(
            observer, on_response=lambda result: late.append(result.response.sent_after)
        )
        return in_turn(get, get, get)(client)

    both_at(lambda: ok, last, requests_per_second=50, **FOR_ACME)
    assert [seconds for place, seconds in enumerate(late) if place % 3] == [0] * 4
    assert late[0] > 0  # requests cannot say whether it has to open one, so that the first is taken for late


def test_a_client_works_on_after_it_was_closed(emulator, both):
    def case(client):
        if isinstance(client, SyncClient):
            get(client)
            client.close()
            return get(client)
        return closed_between(client)

    async def closed_between(client):
        await get(client)
        await client.close()
        await client.close()
        return await get(client)

    assert both(case, **FOR_ACME).value["id"] == "23423523"


# ------------------------------------------------------------------------------------------------------------ netrc


@pytest.mark.parametrize("variable", [False, True], ids=["at home", "named by NETRC"])
def test_netrc_never_replaces_the_token(variable, tmp_path, monkeypatch, both_at):
    file = tmp_path / ".netrc"
    file.write_text("machine 127.0.0.1 login u password netrc-secret\ndefault login d password netrc-secret\n")
    file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable:
        monkeypatch.setenv("NETRC", str(file))
    result = both_at(lambda: ok, get, **FOR_ACME)
    assert result.requests[0].headers["authorization"] == "Bearer test-token"


# -------------------------------------------------------------------------------------------------------------- TLS

TRUST = {
    "an unknown CA": ({}, {}, False),
    "the right bundle": ({}, {"ca_bundle": "ca"}, True),
    "a wrong bundle": ({}, {"ca_bundle": "stranger"}, False),
    "not verified": ({}, {"verify_tls": False}, True),
    "right in the environment": ({"REQUESTS_CA_BUNDLE": "ca"}, {}, True),
    "right as curl's": ({"CURL_CA_BUNDLE": "ca"}, {}, True),
    "requests' wins over curl's": ({"REQUESTS_CA_BUNDLE": "stranger", "CURL_CA_BUNDLE": "ca"}, {}, False),
    "wrong in the environment": ({"REQUESTS_CA_BUNDLE": "stranger"}, {}, False),
    "wrong in the environment, right bundle": ({"REQUESTS_CA_BUNDLE": "stranger"}, {"ca_bundle": "ca"}, True),
    "right in the environment, wrong bundle": ({"REQUESTS_CA_BUNDLE": "ca"}, {"ca_bundle": "stranger"}, False),
    "wrong in the environment, not verified": ({"REQUESTS_CA_BUNDLE": "stranger"}, {"verify_tls": False}, True),
    "wrong bundle, not verified": ({}, {"ca_bundle": "stranger", "verify_tls": False}, True),
}


@pytest.mark.parametrize("name", TRUST)
def test_who_is_trusted(name, certificates, monkeypatch, both_at):
    environment, options, is_trusted = TRUST[name]
    for variable, which in environment.items():
        monkeypatch.setenv(variable, getattr(certificates, which))
    options = {key: getattr(certificates, value) if key == "ca_bundle" else value for key, value in options.items()}
    result = both_at(lambda: ok, update, options={"tls": certificates.server}, **options, **FOR_ACME)
    if is_trusted:
        assert result.value == {"id": "23423523"}
        return
    assert_untrusted(result)


def assert_untrusted(result):
    assert type(result.error) is TrutoTransportError
    assert "TLS with 127.0.0.1 failed" in str(result.error)
    assert "ca_bundle" in str(result.error)
    assert result.error.attempts == 1, "a certificate does not get better by waiting"
    assert result.requests == []
    assert result.sleeps == []


def test_a_certificate_of_another_host_is_refused(certificates, both_at):
    result = both_at(
        lambda: ok, update, options={"tls": certificates.misnamed}, ca_bundle=certificates.ca, **FOR_ACME
    )
    assert_untrusted(result)


def test_a_folder_of_cas_is_trusted(certificates, tmp_path, both_at):
    import subprocess
    from pathlib import Path

    digest = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", certificates.ca], capture_output=True, text=True, check=True
    ).stdout.strip()
    (tmp_path / f"{digest}.0").write_bytes(Path(certificates.ca).read_bytes())
    result = both_at(lambda: ok, update, options={"tls": certificates.server}, ca_bundle=str(tmp_path), **FOR_ACME)
    assert result.value == {"id": "23423523"}


def test_a_server_without_tls_is_not_tried_again(both_at):
    def no_tls(sock, number):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return False

    result = both_at(
        lambda: ok,
        update,
        options={"accepts": no_tls},
        base_url=lambda server: server.url.replace("http", "https"),
        **FOR_ACME,
    )
    assert_untrusted(result)


@pytest.mark.parametrize("how", ["closed", "closed after the hello", "reset"])
def test_a_connection_that_ends_within_the_tls_handshake_is_tried_again(how, certificates, both_at):
    def once(sock, number):
        if number == 1:
            if how == "closed after the hello":
                sock.recv(65536)
            elif how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        return number > 1

    result = both_at(
        lambda: ok,
        update,
        options={"tls": certificates.server, "accepts": once},
        ca_bundle=certificates.ca,
        **FOR_ACME,
    )
    assert result.value == {"id": "23423523"}
    assert result.connections == 2


# ------------------------------------------------------------------------------------------------------------ proxy


@pytest.fixture
def through(both_at, proxy_server, certificates):
    """Runs a case behind the proxy that ``url`` names, and gives the result and what was asked of the proxy."""

    def run(case=update, *, tls=False, **given):
        proxy_server.requests.clear()
        options = {"tls": certificates.server} if tls else {}
        if tls:
            given = {"ca_bundle": certificates.ca, **given}
        return both_at(lambda: ok, case, options=options, **given, **FOR_ACME), list(proxy_server.requests)

    return run


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_proxy_of_the_connection_is_used(tls, through, proxy_server):
    result, asked = through(tls=tls, proxy=proxy_server.url)
    assert result.value == {"id": "23423523"}
    assert [request.method for request in asked] == (["CONNECT"] * 2 if tls else ["PATCH"] * 2)
    for request in asked:
        assert ("authorization" in request.headers) is not tls
        assert request.target.startswith("127.0.0.1:" if tls else "http://127.0.0.1:")
    assert result.requests[0].headers["authorization"] == "Bearer test-token"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_proxys_password_goes_to_the_proxy_alone(tls, through, proxy_server):
    result, asked = through(tls=tls, proxy=f"http://robot:p%40ss@{proxy_server.origin}")
    assert [request.headers["proxy-authorization"] for request in asked] == ["Basic cm9ib3Q6cEBzcw=="] * 2
    assert "proxy-authorization" not in result.requests[0].headers


ENVIRONMENTS = {
    "HTTP_PROXY": ({"HTTP_PROXY": "{}"}, False, True),
    "http_proxy": ({"http_proxy": "{}"}, False, True),
    "HTTPS_PROXY": ({"HTTPS_PROXY": "{}"}, True, True),
    "https_proxy": ({"https_proxy": "{}"}, True, True),
    "ALL_PROXY": ({"ALL_PROXY": "{}"}, True, True),
    "the other scheme's": ({"HTTPS_PROXY": "http://127.0.0.1:9"}, False, False),
    "NO_PROXY": ({"HTTP_PROXY": "{}", "NO_PROXY": "127.0.0.1"}, False, False),
    "no_proxy, a network": ({"HTTP_PROXY": "{}", "no_proxy": "10.0.0.0/8,127.0.0.0/8"}, False, False),
    "NO_PROXY, everything": ({"ALL_PROXY": "{}", "NO_PROXY": "*"}, True, False),
    "NO_PROXY, another": ({"HTTP_PROXY": "{}", "NO_PROXY": "localhost,10.0.0.0/8"}, False, True),
    "no scheme": ({"HTTP_PROXY": "{origin}"}, False, True),
    "empty": ({"HTTP_PROXY": ""}, False, False),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_proxy_of_the_environment_is_used_as_requests_would(name, through, proxy_server, monkeypatch):
    environment, tls, is_used = ENVIRONMENTS[name]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value.replace("{}", proxy_server.url).replace("{origin}", proxy_server.origin))
    result, asked = through(tls=tls)
    assert result.value == {"id": "23423523"}
    assert len(asked) == (2 if is_used else 0)


@pytest.mark.parametrize("excepted", ["*", "127.0.0.1", "127.0.0.0/8"])
def test_no_proxy_does_not_undo_the_connections_proxy(excepted, through, proxy_server, monkeypatch):
    monkeypatch.setenv("NO_PROXY", excepted)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    _, asked = through(proxy=proxy_server.url)
    assert len(asked) == 2


PROXIES_THAT_FAIL = {
    "nobody listens": "http://127.0.0.1:1",
    "with a password": "http://robot:planted-secret@127.0.0.1:1",
    "socks": "socks5://127.0.0.1:1",
    "socks with a password": "socks5://robot:planted-secret@127.0.0.1:1",
}


@pytest.mark.parametrize("from_environment", [False, True], ids=["connection", "environment"])
@pytest.mark.parametrize("name", PROXIES_THAT_FAIL)
def test_a_proxy_that_cannot_be_used_is_an_error_like_any_other(name, from_environment, both_at, monkeypatch):
    proxy = PROXIES_THAT_FAIL[name]
    if from_environment:
        monkeypatch.setenv("HTTP_PROXY", proxy)
    given = {} if from_environment else {"proxy": proxy}
    result = both_at(lambda: ok, update, max_attempts=2, **given, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert "127.0.0.1" in str(result.error)
    assert "planted-secret" not in str(result.error)
    assert result.requests == []


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_opens_no_tunnel_is_named(status, raw_server, certificates, both_at):
    proxy = raw_server(lambda conversation: conversation.answer(b"no", status=status))
    result = both_at(
        lambda: ok,
        update,
        options={"tls": certificates.server},
        proxy=proxy.url,
        ca_bundle=certificates.ca,
        max_attempts=2,
        **FOR_ACME,
    )
    assert type(result.error) is TrutoTransportError
    assert "the proxy in front of 127.0.0.1 failed" in str(result.error)
    assert str(status) in str(result.error)


# --------------------------------------------------------------------------------------------------------- timeouts


@pytest.fixture
def full_port():
    """A port whose queue of waiting connections is full, so that a further one is neither taken nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


def test_connecting_is_given_up_after_its_timeout(full_port, both_at):
    result = both_at(
        lambda: ok,
        update,
        base_url=lambda _: f"http://127.0.0.1:{full_port}",
        connect_timeout=0.2,
        max_attempts=2,
        **FOR_ACME,
    )
    assert type(result.error) is TrutoTransportError
    assert "no connection to 127.0.0.1 within 0.2 s" in str(result.error)
    assert result.error.attempts == 2


@pytest.mark.parametrize("begun", [False, True], ids=["before the head", "within the body"])
def test_waiting_for_an_answer_is_given_up_after_its_timeout(begun, both_at):
    def mute(conversation):
        if begun:
            conversation.answer(b'{"id":', length=100)
        conversation.stay_mute()

    result = both_at(lambda: mute, update, read_timeout=0.2, max_attempts=2, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert "127.0.0.1 did not answer within 0.2 s" in str(result.error)
    assert len(result.requests) == 2
    assert "unknown" in str(result.error)


def test_a_tls_handshake_that_stays_mute_is_given_up(certificates, both_at):
    stop = threading.Event()

    def mute(sock, number):
        stop.wait(GENEROUS)
        return False

    try:
        result = both_at(
            lambda: ok,
            update,
            options={"accepts": mute},
            base_url=lambda server: server.url.replace("http", "https"),
            connect_timeout=0.3,
            read_timeout=0.3,
            max_attempts=1,
            **FOR_ACME,
        )
    finally:
        stop.set()
    assert type(result.error) is TrutoTransportError
    assert "no connection to 127.0.0.1 within 0.3 s" in str(result.error)
    assert result.error.maybe_sent is False
    assert result.requests == []


def test_an_answer_that_drips_is_read_to_its_end(both_at):
    def drip(conversation):
        conversation.answer(b"", length=10)
        for byte in b'{"id":"1"}':
            conversation.send(bytes([byte]))
            time.sleep(0.06)

    # In all it takes longer than the timeout, which is for one silence.
    result = both_at(lambda: drip, update, read_timeout=0.5, **FOR_ACME)
    assert result.value == {"id": "1"}
    assert len(result.requests) == 1


def test_a_silence_is_counted_from_its_own_request_on_a_connection_that_is_kept(both_at):
    def answers():
        pauses = iter([0.0, 0.3, None])

        def answer(conversation):
            if (seconds := next(pauses)) is None:
                conversation.stay_mute()
                return
            time.sleep(seconds)
            conversation.answer(b'{"id":"1"}')

        return answer

    def rest(client):
        return asyncio.sleep(0.3) if isinstance(client, AsyncClient) else time.sleep(0.3)

    # The second answer comes later than the timeout after the first request, the third one never.
    case = in_turn(update, rest, update, rest, update)
    result = both_at(answers, case, read_timeout=0.5, max_attempts=1, **FOR_ACME)
    assert "127.0.0.1 did not answer within 0.5 s" in str(result.error)
    assert len(result.requests) == 3


# -------------------------------------------------------------------------------------------------------- streaming


def streamed(conversation):
    conversation.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


def stream(api):
    return api.custom("POST", "export", stream=True)


def broken(how):
    def answer(conversation):
        if how == "no gzip":
            conversation.answer(b"no gzip", headers={"Content-Encoding": "gzip"})
            return
        if how == "shorter than told":
            conversation.answer(b"first", length=1000)
            conversation.close()
            return
        streamed(conversation)
        conversation.chunk(b"first")
        if how == "mute":
            conversation.stay_mute()
        elif how == "reset":
            time.sleep(0.1)
            conversation.reset()
        else:
            conversation.close()

    return answer


@pytest.mark.parametrize("how", ["closed", "reset", "shorter than told", "mute", "no gzip"])
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_stream_that_breaks_says_so(verb, how, both_at):
    case = lambda api: api.custom(verb, "export", stream=True)  # noqa: E731
    result = both_at(lambda: broken(how), case, read_timeout=0.4, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert "broke off" in str(result.error)
    assert f"{verb} /custom/export" in str(result.error)
    assert ACME in str(result.error)
    assert ("was answered with success" in str(result.error)) is (verb == "POST")
    assert len(result.requests) == 1, "what has begun cannot be repeated"
    assert result.sleeps == []


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_a_stream_that_goes_on_as_no_http_does_not_wait_without_end(driver, raw_server):
    has_begun = threading.Event()

    def answer(conversation):
        streamed(conversation)
        conversation.chunk(b"first")
        has_begun.wait(GENEROUS)
        conversation.send(b"no length\r\n")
        conversation.stay_mute()

    server = raw_server(answer)
    settings = ClientSettings(base_url=server.url, requests_per_second=0, read_timeout=0.4, **FOR_ACME)
    tokens = ApiToken(Token("t"), reread=lambda: Token("t"))
    received = []

    def take(chunk):
        received.append(chunk)
        has_begun.set()

    async def main():
        async with AsyncClient(settings, tokens) as client:
            async for chunk in await stream(client):
                take(chunk)

    def taken():
        if driver == "async":
            asyncio.run(asyncio.wait_for(main(), GENEROUS))
        with contextlib.closing(SyncClient(settings, tokens)) as client:
            for chunk in stream(client):
                take(chunk)

    with pytest.raises(TrutoTransportError, match="broke off"):
        taken()
    assert received == [b"first"]


def test_a_body_that_goes_on_as_no_http_does_not_wait_without_end(both_at):
    def answer(conversation):
        streamed(conversation)
        conversation.chunk(b"first")
        time.sleep(0.1)
        conversation.send(b"no length\r\n")
        conversation.stay_mute()

    result = both_at(lambda: answer, get, read_timeout=0.4, max_attempts=2, but=("error",), **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert len(result.requests) == 2


def test_a_stream_is_asked_for_again_until_it_begins(both):
    result = both(stream, prepare=lambda emulator: emulator.fault(status=502, times=2), **FOR_ACME)
    assert json.loads(result.value)["result"]["path"] == "/export"
    assert len(result.requests) == 3


def bounded(emulator, megabytes):
    """The most memory that iterating over a stream of so many MiB takes, in both drivers."""
    peaks = {}

    def measured(chunks):
        total = 0
        for chunk in chunks:
            assert len(chunk) <= 4 * CHUNK
            total += len(chunk)
        return total

    settings = ClientSettings(base_url=emulator.url, requests_per_second=0, response_limit=1000, **FOR_ACME)
    tokens = ApiToken(Token(emulator.token), reread=lambda: Token(emulator.token))
    path = f"export/{megabytes * 1024 * 1024}"
    with contextlib.closing(SyncClient(settings, tokens)) as client:
        tracemalloc.start()
        try:
            total = measured(client.custom("GET", path, stream=True))
            peaks["sync"] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert total == megabytes * 1024 * 1024

    async def main():
        async with AsyncClient(settings, tokens) as client:
            total = 0
            async for chunk in await client.custom("GET", path, stream=True):
                assert len(chunk) <= 4 * CHUNK
                total += len(chunk)
            return total

    tracemalloc.start()
    try:
        assert asyncio.run(main()) == total
        peaks["async"] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peaks


def test_a_stream_of_64_mib_is_never_held(emulator):
    # The emulator, in the same process, makes its chunks as they are sent.
    peaks = bounded(emulator, 64)
    assert peaks["sync"] < 8 * 1024 * 1024
    assert peaks["async"] < 8 * 1024 * 1024


@pytest.mark.parametrize("driver", ["sync", "async"])
@pytest.mark.parametrize("how", ["closed", "left in the middle"])
def test_a_stream_that_is_not_read_to_its_end_ends_and_does_not_disturb_the_next_call(how, driver, raw_server):
    hung_up = threading.Event()

    def answer(conversation):
        if conversation.connection == 1:
            streamed(conversation)
            try:
                while True:
                    conversation.chunk(b"x" * 50_000)
            except OSError:
                hung_up.set()
                raise
        ok(conversation)

    server = raw_server(answer)
    settings = ClientSettings(base_url=server.url, requests_per_second=0, **FOR_ACME)
    tokens = ApiToken(Token("t"), reread=lambda: Token("t"))
    if driver == "sync":
        with contextlib.closing(SyncClient(settings, tokens)) as client:
            chunks = stream(client)
            if how == "closed":
                chunks.close()
            else:
                for _ in chunks:
                    break
            assert hung_up.wait(GENEROUS)
            assert get(client) == {"id": "23423523"}
        return

    async def main():
        async with AsyncClient(settings, tokens) as client:
            chunks = await stream(client)
            if how == "closed":
                chunks.close()
            else:
                async for _ in chunks:
                    break
            assert await asyncio.to_thread(hung_up.wait, GENEROUS)
            assert await get(client) == {"id": "23423523"}

    asyncio.run(main())


def test_a_bomb_is_not_unpacked(raw_server, both_at):
    import gzip

    bomb = gzip.compress(b"0" * 100_000_000, compresslevel=1)
    answers = lambda: lambda c: c.answer(bomb, headers={"Content-Encoding": "gzip"})  # noqa: E731
    tracemalloc.start()
    try:
        result = both_at(answers, get, response_limit=1_000_000, **FOR_ACME)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "more than 1000000 bytes" in str(result.error)
    # Before 3.14, aiohttp unpacks what came in one piece, 64 KiB of a bomb, before it can be looked at.
    unpacks_whole_pieces = [int(part) for part in aiohttp.__version__.split(".")[:2]] < [3, 14]
    assert peak < (80_000_000 if unpacks_whole_pieces else 20_000_000)
