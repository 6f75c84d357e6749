"""The driver on requests, on real sockets: what only it has, such as its session. The rest holds for both."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests
from calls import ok

from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.errors import (
    TrutoNotFoundError,
    TrutoSchemaError,
    TrutoTransportError,
)
from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.settings import ClientSettings, Origin
from airflow_provider_truto.client.sync import SyncClient
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.hooks.truto import TrutoHook

#: Where verification is switched off, urllib3 says so on every call.
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

GENEROUS = 5.0


# ----------------------------------------------------------------------------------------------------- connections


def test_a_hook_shares_one_connection_with_its_session(emulator, connection):
    connection(emulator.url, emulator.token, integrated_account_id=ACME)
    hook = TrutoHook()
    hook.update_account("23423523", {"name": "a"})
    hook.get_conn().get("/integrated-account")
    hook.update_account("23423523", {"name": "b"})
    assert len({request["connection"] for request in emulator.requests}) == 1


def test_closing_a_client_closes_its_connection(raw_server, make_client, write):
    server = raw_server(ok)
    client = make_client(server.url)
    client.run(write())
    client.close()
    # The server's thread closes its end as soon as it reads the end of the client's.
    deadline = time.monotonic() + GENEROUS
    while server.requests[0].socket.fileno() != -1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.requests[0].socket.fileno() == -1


def test_a_base_url_with_a_path_keeps_it(raw_server, make_client, read):
    server = raw_server(ok)
    client = make_client(f"{server.url}/truto/v1/")
    client.run(read())
    client.session.get("/ping")
    assert [urlsplit(request.target).path for request in server.requests] == [
        "/truto/v1/unified/crm/accounts/23423523",
        "/truto/v1/ping",
    ]


# ------------------------------------------------------------------------------------------------------------ heads


@pytest.mark.parametrize(
    ("body", "first", "whole"),
    [
        (b"{}", b"{}", b"{}"),
        (iter([b"one", b"two"]), b"3\r\none\r\n", b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        (None, b"", b""),
    ],
    ids=["bytes", "pieces", "none"],
)
def test_a_head_arrives_with_the_first_piece_of_its_body(body, first, whole, make_client):
    arrived = []

    def serve():
        with listener.accept()[0] as connection:
            arrived.append(received := connection.recv(65536))
            while received.partition(b"\r\n\r\n")[2] != whole:
                received += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        session = make_client(f"http://127.0.0.1:{listener.getsockname()[1]}").session
        assert session.post("/unified/crm/accounts", data=body).json() == {}
        server.join(GENEROUS)
    assert arrived[0].partition(b"\r\n\r\n")[2].startswith(first)


def test_a_write_carries_exactly_these_headers(raw_server, make_client, write):
    server = raw_server(ok)
    make_client(server.url, token="the-token", user_agent="airflow-provider-truto/9 airflow/9").run(
        write({"name": "é"}, key="v1-k")
    )
    [request] = server.requests
    encodings = request.headers.pop("accept-encoding")
    assert "gzip" in encodings
    assert request.headers == {
        "host": server.origin,
        "authorization": "Bearer the-token",
        "accept": "application/json",
        "content-type": "application/json",
        "content-length": str(len('{"name":"é"}'.encode())),
        "idempotency-key": "v1-k",
        "user-agent": "airflow-provider-truto/9 airflow/9",
        "connection": "keep-alive",
    }
    assert request.body == '{"name":"é"}'.encode()


def test_a_read_has_no_content_type_and_no_key(raw_server, make_client, read):
    server = raw_server(ok)
    make_client(server.url).run(read())
    [request] = server.requests
    assert request.method == "GET"
    assert request.headers["accept"] == "application/json"
    assert request.headers["authorization"] == "Bearer test-token"
    assert not {"content-type", "idempotency-key", "content-length"} & request.headers.keys()


def test_a_write_without_a_body_has_no_content_type(raw_server, make_client):
    server = raw_server(ok)
    make_client(server.url).run(Request(method="DELETE", path="/unified/crm/accounts/1", idempotency_key="k"))
    assert "content-type" not in server.requests[0].headers
    assert server.requests[0].body == b""


def test_a_streamed_call_takes_any_content_type(raw_server, make_client, write):
    server = raw_server(ok)
    make_client(server.url).run(write(streamed=True)).response.stream.close()
    assert server.requests[0].headers["accept"] == "*/*"


# -------------------------------------------------------------------------------------------------------- redirects

REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("method", ["GET", "PATCH", "HEAD"])
@pytest.mark.parametrize("options", [{}, {"allow_redirects": True}], ids=["silent", "asked to"])
def test_a_session_follows_no_redirect_even_where_it_is_asked_to(options, method, status, raw_server, connection):
    elsewhere = raw_server(ok)
    server = raw_server(
        lambda conversation: conversation.answer(b"", status=status, headers={"Location": f"{elsewhere.url}/stolen"})
    )
    connection(server.url, "the-token")
    response = TrutoHook().get_conn().request(method, "/unified/crm/accounts", **options)
    assert response.status_code == status
    assert elsewhere.connections == 0


# ---------------------------------------------------------------------------------------------------------- origins


@pytest.fixture
def session(raw_server, connection):
    """The session of a hook, and the server that it belongs to."""
    server = raw_server(ok)
    connection(server.url, "the-token")
    session = TrutoHook().get_conn()
    session.home = server
    yield session
    session.close()


def test_a_session_sends_its_token_home(session):
    session.get("/ping")
    session.patch(f"{session.home.url}/unified/crm/accounts/1", json={"name": "x"})
    session.get(session.home.url.replace("http", "HTTP") + "/ping")
    assert [request.headers.get("authorization") for request in session.home.requests] == ["Bearer the-token"] * 3
    assert session.home.requests[1].body == b'{"name": "x"}'


def test_a_session_sends_its_token_nowhere_else(session, raw_server):
    elsewhere = raw_server(ok)
    session.get(f"{elsewhere.url}/ping")
    session.get(f"http://localhost:{session.home.port}/ping")
    session.get(f"http://127.0.0.1:{session.home.port}@{elsewhere.origin}/ping")
    session.get(f"http://{session.home.origin}\\@{elsewhere.origin}/ping")
    by_another_name = [request for request in session.home.requests if "localhost" in request.headers["host"]]
    assert len(elsewhere.requests) == 2
    assert len(by_another_name) == 1
    assert all("the-token" not in str(request.headers) for request in [*elsewhere.requests, *by_another_name])


def test_a_session_sends_its_token_nowhere_else_when_given_a_prepared_request(session, raw_server):
    elsewhere = raw_server(ok)
    session.send(session.prepare_request(requests.Request("GET", f"{elsewhere.url}/ping")))
    session.send(session.prepare_request(requests.Request("GET", f"{session.home.url}/ping")))
    assert "authorization" not in elsewhere.requests[0].headers
    assert session.home.requests[0].headers["authorization"] == "Bearer the-token"


def test_a_path_that_looks_like_another_host_stays_at_home(session):
    session.get("//elsewhere.example/ping")
    session.get("/@elsewhere.example/ping")
    assert len(session.home.requests) == 2
    assert all(request.target.endswith("elsewhere.example/ping") for request in session.home.requests)


ORIGINS = {
    "the port that https has anyway": ("https://api.truto.one", "https://api.truto.one:443/x", True),
    "the port that http has anyway": ("http://127.0.0.1", "http://127.0.0.1:80/x", True),
    "another case": ("https://api.truto.one", "HTTPS://API.Truto.One/x", True),
    "a user in front": ("https://api.truto.one", "https://user:pw@api.truto.one/x", True),
    "no TLS": ("https://api.truto.one", "http://api.truto.one/x", False),
    "another port": ("https://api.truto.one", "https://api.truto.one:8443/x", False),
    "a host below": ("https://truto.one", "https://api.truto.one/x", False),
    "a host that begins alike": ("https://api.truto.one", "https://api.truto.one.evil.example/x", False),
    "a host that looks alike": ("https://api.truto.one", "https://api.truto.one@evil.example/x", False),
}


@pytest.mark.parametrize(("home", "url", "same"), ORIGINS.values(), ids=ORIGINS)
def test_an_origin_is_scheme_host_and_port(home, url, same):
    assert (Origin.of(home) == Origin.of(url)) is same


@pytest.mark.parametrize("url", ["", "truto", "/x", "ftp://api.truto.one", "https://", "https://:443", "file:///x"])
def test_what_is_not_a_url_has_no_origin(url):
    with pytest.raises(ValueError, match="http"):
        Origin.of(url)


# ------------------------------------------------------------------------------------------------------------ netrc


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    """A home with a .netrc that has a password for this very host."""
    file = tmp_path / ".netrc"
    file.write_text(
        "machine 127.0.0.1 login netrc-user password netrc-secret\ndefault login d password netrc-secret\n"
    )
    file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    return file


@pytest.mark.parametrize("variable", [False, True], ids=["at home", "named by NETRC"])
def test_netrc_never_replaces_the_token(variable, netrc, monkeypatch, raw_server, make_client, write):
    if variable:
        monkeypatch.setenv("NETRC", str(netrc))
    server, elsewhere = raw_server(ok), raw_server(ok)
    # The file is right, or this test would prove nothing.
    assert requests.get(server.url, timeout=GENEROUS).ok
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    client = make_client(server.url)
    client.run(write())
    client.run(write(streamed=True)).response.stream.close()
    client.session.get("/ping")
    client.session.get(f"{elsewhere.url}/ping")
    assert [request.headers["authorization"] for request in server.requests[1:]] == ["Bearer test-token"] * 3
    assert "authorization" not in elsewhere.requests[0].headers


# -------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture
def tls_server(raw_server, certificates):
    return raw_server(ok, tls=certificates.server)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("environment", "options", "trusted"),
    [
        ("ca", {}, True),
        ("stranger", {}, False),
        ("stranger", {"ca_bundle": "ca"}, True),
        ("ca", {"ca_bundle": "stranger"}, False),
        ("stranger", {"verify_tls": False}, True),
    ],
    ids=["right", "wrong", "wrong, a bundle right", "right, a bundle wrong", "wrong, not verified"],
)
def test_in_a_session_the_connection_wins_over_the_cas_of_the_environment(
    environment, options, trusted, variable, tls_server, certificates, make_client, monkeypatch
):
    monkeypatch.setenv(variable, getattr(certificates, environment))
    if "ca_bundle" in options:
        options = {"ca_bundle": getattr(certificates, options["ca_bundle"])}
    client = make_client(tls_server.url, **options)
    if trusted:
        assert client.session.get("/ping").ok
    else:
        with pytest.raises(requests.exceptions.SSLError):
            client.session.get("/ping")


def test_a_prepared_request_goes_out_under_the_connections_tls(tls_server, certificates, make_client):
    session = make_client(tls_server.url, ca_bundle=certificates.ca).session
    prepared = session.prepare_request(requests.Request("GET", f"{tls_server.url}/ping"))
    assert session.send(prepared).ok


def test_a_tls_connection_that_ends_without_goodbye_is_tried_again(raw_server, certificates, make_client, write):
    def once(conversation):
        if conversation.connection == 1:
            conversation.socket.shutdown(socket.SHUT_RDWR)
            conversation.close()
        else:
            ok(conversation)

    server = raw_server(once, tls=certificates.server)
    assert make_client(server.url, ca_bundle=certificates.ca).run(write()).value == {"id": "23423523"}
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys == ["v1-test", "v1-test"]


# ------------------------------------------------------------------------------------------------------------ proxy


@pytest.mark.parametrize("spelling", [str.upper, str.lower], ids=["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("excepted", ["*", "127.0.0.1", "127.0.0.0/8"])
def test_no_proxy_does_not_undo_the_connections_proxy_in_a_session(
    excepted, spelling, raw_server, proxy_server, make_client, monkeypatch
):
    monkeypatch.setenv(spelling("no_proxy"), excepted)
    server = raw_server(ok)
    client = make_client(server.url, proxy=proxy_server.url)
    assert client.session.get("/ping").ok
    assert len(proxy_server.requests) == len(server.requests) == 1


def test_a_prepared_request_goes_through_the_connections_proxy(raw_server, proxy_server, make_client):
    server = raw_server(ok)
    session = make_client(server.url, proxy=proxy_server.url).session
    assert session.send(session.prepare_request(requests.Request("GET", f"{server.url}/ping"))).ok
    assert len(proxy_server.requests) == 1


def test_a_proxy_that_does_not_answer_is_named(make_client, write):
    client = make_client("http://127.0.0.1:9", proxy="http://127.0.0.1:1", max_attempts=2)
    with pytest.raises(TrutoTransportError, match="proxy in front of 127\\.0\\.0\\.1") as caught:
        client.run(write())
    assert caught.value.attempts == 2


# --------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "url",
    [
        "http://api.truto.one",
        "http://192.168.1.5:8765",
        "http://truto-emulator:8765",
        "http://[2001:db8::1]",
        "http://0.0.0.0",
    ],
)
def test_plain_http_is_refused_unless_it_is_allowed(url, connection):
    with pytest.raises(ValueError, match="plain http"):
        ClientSettings(base_url=url)
    assert ClientSettings(base_url=url, allow_http=True).origin.scheme == "http"
    connection(url, "the-token")
    with pytest.raises(TrutoSchemaError, match="plain http"):
        TrutoHook().get_conn()
    connection(url, "the-token", allow_http=True)
    assert TrutoHook().get_conn()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://localhost", "http://LOCALHOST", "http://[::1]:1", "http://127.8.9.1"]
)
def test_plain_http_is_taken_on_loopback(url):
    assert ClientSettings(base_url=url).origin.is_loopback


REFUSED_SETTINGS = {
    "no scheme": {"base_url": "api.truto.one"},
    "another scheme": {"base_url": "ftp://api.truto.one"},
    "no host": {"base_url": "https://"},
    "an impossible port": {"base_url": "https://api.truto.one:99999"},
    "a query": {"base_url": "https://api.truto.one?x=1"},
    "a fragment": {"base_url": "https://api.truto.one#x"},
    "a user": {"base_url": "https://user@api.truto.one"},
    "no file": {"ca_bundle": "/nowhere/ca.pem"},
    "no time to connect": {"connect_timeout": 0},
    "no time to read": {"read_timeout": 0},
    "less than no time": {"read_timeout": -1},
    "no attempt": {"max_attempts": 0},
    "less than no wait": {"max_wait": -1},
    "a proxy that is not a URL": {"proxy": "://"},
    "a proxy without a host": {"proxy": "http://user:password@"},
}


@pytest.mark.parametrize("options", REFUSED_SETTINGS.values(), ids=REFUSED_SETTINGS)
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(ValueError):
        ClientSettings(**options)


# -------------------------------------------------------------------------------------------------- size of answers


def test_the_client_works_on_after_an_answer_that_was_too_long(raw_server, make_client, read):
    server = raw_server([lambda conversation: conversation.answer(b"x" * 3_000_000), ok])
    client = make_client(server.url, response_limit=1000)
    with pytest.raises(TrutoTransportError):
        client.run(read())
    assert client.run(read()).value == {"id": "23423523"}


# --------------------------------------------------------------------------------------------------------- timeouts


def test_a_session_has_the_connections_timeouts_but_takes_another(raw_server, make_client):
    server = raw_server(lambda conversation: conversation.stay_mute())
    session = make_client(server.url, read_timeout=0.2).session
    for options in ({}, {"timeout": None}, {"timeout": 0.1}):
        started = time.monotonic()
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get("/ping", **options)
        assert time.monotonic() - started < GENEROUS


def test_a_prepared_request_has_the_connections_timeouts(raw_server, make_client):
    server = raw_server(lambda conversation: (conversation.server.stopped.wait(1), ok(conversation)))
    session = make_client(server.url, read_timeout=0.2).session
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.send(session.prepare_request(requests.Request("GET", f"{server.url}/ping")))


# -------------------------------------------------------------------------------------------------------- streaming


def test_chunks_arrive_while_the_rest_is_still_to_come(raw_server, make_client, write):
    arrived = [threading.Event(), threading.Event()]

    def answer(conversation):
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event, data in zip(arrived, (b"first", b"second"), strict=True):
            conversation.chunk(data)
            if not event.wait(GENEROUS):
                conversation.close()
                return
        conversation.chunk(b"")

    stream = iter(make_client(raw_server(answer).url).run(write(streamed=True)).response.stream)
    assert next(stream) == b"first"
    arrived[0].set()
    assert next(stream) == b"second"
    arrived[1].set()
    assert list(stream) == []


def test_a_stream_has_no_value_but_status_and_headers(raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.answer(b"\x00\xff", headers={"Content-Type": "image/png"}))
    result = make_client(server.url).run(write(streamed=True))
    assert result.value is None
    assert result.response.status == 200
    assert result.response.content_type == "image/png"
    assert b"".join(result.response.stream) == b"\x00\xff"


def test_an_error_of_a_streamed_call_is_an_error_like_any_other(emulator, client, write):
    with pytest.raises(TrutoNotFoundError, match="no such record"):
        client.run(write(record="404404", streamed=True, truto_response_format="stream"))


def test_a_hook_streams_what_the_crm_answered(emulator, connection):
    connection(emulator.url, emulator.token, integrated_account_id=ACME)
    chunks = TrutoHook().stream_account("23423523", {"name": "Streamed"})
    assert len(emulator.executions) == 1, "the write has happened before the first byte is read"
    assert b'"name":"Streamed"' in b"".join(chunks)
    assert ["truto_response_format", "stream"] in emulator.requests[0]["query"]


def test_a_stream_that_is_read_whole_gives_its_connection_back(emulator, client, write, read):
    list(client.run(write(streamed=True, truto_response_format="stream")).response.stream)
    client.run(read())
    assert len({request["connection"] for request in emulator.requests}) == 1


def test_a_callback_that_raises_stop_iteration_does_not_pass_for_the_end_of_a_coroutine(emulator):
    def careless(_outcome):
        next(iter(()))

    tokens = ApiToken(Token(emulator.token), reread=lambda: Token(emulator.token))
    client = SyncClient(ClientSettings(base_url=emulator.url), tokens, observer=Observer(on_response=careless))
    with contextlib.closing(client), pytest.raises(RuntimeError, match="StopIteration"):
        client.ping()


def test_a_coroutine_that_is_suspended_is_closed_and_named_a_fault(client):
    ended = []

    async def careless(_client):
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="suspended on the synchronous client"):
        client.do(careless)
    assert ended == [True]
