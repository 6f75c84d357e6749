"""The driver on requests, on real sockets: connections, TLS, proxies, redirects, timeouts and what is in the head."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
import time
import tracemalloc
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.errors import (
    TrutoApiError,
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


def ok(conversation):
    conversation.answer({"id": "23423523"})


# ----------------------------------------------------------------------------------------------------- connections


def test_many_calls_share_one_connection(emulator, client, write, read):
    for number in range(10):
        client.run(write({"name": f"Name {number}"}))
        client.run(read())
    assert len(emulator.requests) == 20
    assert len({request["connection"] for request in emulator.requests}) == 1


def test_errors_do_not_cost_the_connection(emulator, client, write, read):
    for call in (read(record="404"), write({"name": ""}, key="v1-a"), write([1], key="v1-b"), read()):
        with contextlib.suppress(TrutoApiError):
            client.run(call)
    emulator.fault(status=500, times=2)
    client.run(write(key="v1-c"))
    assert len(emulator.requests) == 7
    assert len({request["connection"] for request in emulator.requests}) == 1


def test_a_hook_shares_one_connection_with_its_session(emulator, connection):
    connection(emulator.url, emulator.token, integrated_account_id=ACME)
    hook = TrutoHook()
    hook.update_account("23423523", {"name": "a"})
    hook.get_conn().get("/integrated-account")
    hook.update_account("23423523", {"name": "b"})
    assert len({request["connection"] for request in emulator.requests}) == 1


def test_a_connection_that_the_server_has_closed_meanwhile_is_replaced(raw_server, make_client, write):
    def answer_and_close(conversation):
        ok(conversation)
        conversation.close()

    server = raw_server(answer_and_close)
    client = make_client(server.url)
    assert [client.run(write()).value["id"] for _ in range(3)] == ["23423523"] * 3
    assert server.connections == 3


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


def test_an_answer_whose_head_is_cut_off_is_no_success(raw_server, make_client, read):
    def cut(conversation):
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le")
        conversation.close()

    server = raw_server([cut, ok])
    outcome = make_client(server.url).run(read())
    assert outcome.value == {"id": "23423523"}
    assert outcome.attempts == 2


# ------------------------------------------------------------------------------------------------------------ heads


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


def test_a_hook_says_who_it_is(raw_server, connection):
    server = raw_server(ok)
    connection(server.url, "the-token", integrated_account_id=ACME)
    TrutoHook().update_account("23423523", {"name": "x"})
    name, _, airflow = server.requests[0].headers["user-agent"].partition(" ")
    assert name.startswith("airflow-provider-truto/")
    assert airflow.startswith("airflow/")


def test_a_cookie_of_one_answer_does_not_keep_the_next_call_from_being_right(raw_server, make_client, read):
    server = raw_server(lambda conversation: conversation.answer(headers={"Set-Cookie": "a=b; Path=/"}))
    client = make_client(server.url)
    client.run(read())
    client.run(read())
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer test-token"}


# -------------------------------------------------------------------------------------------------------- redirects

REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("to", ["another origin", "itself"])
def test_a_redirect_is_never_followed(status, to, raw_server, make_client, write, sleeps):
    elsewhere = raw_server(ok)

    def redirect(conversation):
        target = elsewhere.url if to == "another origin" else conversation.server.url
        conversation.answer(b"", status=status, headers={"Location": f"{target}/stolen"})

    server = raw_server(redirect)
    with pytest.raises(TrutoApiError, match="connection's host") as caught:
        make_client(server.url).run(write())
    assert caught.value.status == status
    assert caught.value.attempts == 1
    assert len(server.requests) == 1
    assert elsewhere.connections == 0
    assert sleeps == []


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
def test_what_is_no_url_has_no_origin(url):
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


def run(client, call):
    """The value of a call, or the error that ended it."""
    try:
        return client.run(call).value
    except TrutoTransportError as error:
        return error


def assert_untrusted(result, sleeps):
    assert isinstance(result, TrutoTransportError)
    assert "TLS with 127.0.0.1 failed" in str(result)
    assert "ca_bundle" in str(result)
    assert result.attempts == 1, "a certificate does not get better by waiting"
    assert sleeps == []


def test_a_certificate_of_an_unknown_ca_is_refused(tls_server, make_client, write, sleeps):
    assert_untrusted(run(make_client(tls_server.url), write()), sleeps)
    assert tls_server.requests == []


def test_a_ca_bundle_is_trusted(tls_server, certificates, make_client, write):
    assert run(make_client(tls_server.url, ca_bundle=certificates.ca), write()) == {"id": "23423523"}


def test_the_bundle_of_another_ca_is_not(tls_server, certificates, make_client, write, sleeps):
    assert_untrusted(run(make_client(tls_server.url, ca_bundle=certificates.stranger), write()), sleeps)


def test_a_certificate_of_another_host_is_refused(raw_server, certificates, make_client, write, sleeps):
    server = raw_server(ok, tls=certificates.misnamed)
    assert_untrusted(run(make_client(server.url, ca_bundle=certificates.ca), write()), sleeps)


def test_verification_can_be_switched_off(tls_server, make_client, write):
    assert run(make_client(tls_server.url, verify_tls=False), write()) == {"id": "23423523"}


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("through", ["run", "session"])
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
def test_the_connection_wins_over_the_cas_of_the_environment(
    environment, options, trusted, through, variable, tls_server, certificates, make_client, write, monkeypatch
):
    monkeypatch.setenv(variable, getattr(certificates, environment))
    if "ca_bundle" in options:
        options = {"ca_bundle": getattr(certificates, options["ca_bundle"])}
    client = make_client(tls_server.url, **options)
    if through == "run":
        assert (run(client, write()) == {"id": "23423523"}) is trusted
    elif trusted:
        assert client.session.get("/ping").ok
    else:
        with pytest.raises(requests.exceptions.SSLError):
            client.session.get("/ping")


def test_a_prepared_request_goes_out_under_the_connections_tls(tls_server, certificates, make_client):
    session = make_client(tls_server.url, ca_bundle=certificates.ca).session
    prepared = session.prepare_request(requests.Request("GET", f"{tls_server.url}/ping"))
    assert session.send(prepared).ok


def test_a_server_without_tls_is_not_tried_again(raw_server, make_client, write, sleeps):
    def no_tls(sock, number):
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return False

    server = raw_server(ok, accepts=no_tls)
    assert_untrusted(run(make_client(server.url.replace("http", "https")), write()), sleeps)


@pytest.mark.parametrize("how", ["closed", "closed after the hello", "reset"])
def test_a_connection_that_ends_within_the_tls_handshake_is_tried_again(
    how, raw_server, certificates, make_client, write
):
    # Load balancers do that while they are restarted; nothing was sent, so nothing is in doubt.
    def once(sock, number):
        if number == 1:
            if how == "closed after the hello":
                sock.recv(65536)
            elif how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        return number > 1

    server = raw_server(ok, tls=certificates.server, accepts=once)
    result = run(make_client(server.url, ca_bundle=certificates.ca), write())
    assert result == {"id": "23423523"}
    assert server.connections == 2


def test_a_tls_connection_that_ends_without_goodbye_is_tried_again(raw_server, certificates, make_client, write):
    def once(conversation):
        if conversation.connection == 1:
            conversation.socket.shutdown(socket.SHUT_RDWR)
            conversation.close()
        else:
            ok(conversation)

    server = raw_server(once, tls=certificates.server)
    assert run(make_client(server.url, ca_bundle=certificates.ca), write()) == {"id": "23423523"}
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys == ["v1-test", "v1-test"]


# ------------------------------------------------------------------------------------------------------------ proxy


def test_a_proxy_is_used_for_plain_http(raw_server, proxy_server, make_client, write):
    server = raw_server(ok)
    assert make_client(server.url, proxy=proxy_server.url).run(write()).value == {"id": "23423523"}
    assert proxy_server.requests[0].target.startswith(f"{server.url}/unified/crm/accounts/23423523?")
    assert server.requests[0].headers["authorization"] == "Bearer test-token"
    assert server.requests[0].headers["idempotency-key"] == "v1-test"


def test_a_proxy_sees_nothing_of_a_call_by_tls(raw_server, proxy_server, certificates, make_client, write):
    server = raw_server(ok, tls=certificates.server)
    client = make_client(server.url, proxy=proxy_server.url, ca_bundle=certificates.ca)
    assert client.run(write()).value == {"id": "23423523"}
    [tunnel] = proxy_server.requests
    assert (tunnel.method, tunnel.target) == ("CONNECT", server.origin)
    assert "authorization" not in tunnel.headers
    assert server.requests[0].headers["authorization"] == "Bearer test-token"


def test_a_proxys_password_goes_to_the_proxy_alone(raw_server, proxy_server, certificates, make_client, write):
    server = raw_server(ok, tls=certificates.server)
    proxy = f"http://robot:p%40ss@{proxy_server.origin}"
    make_client(server.url, proxy=proxy, ca_bundle=certificates.ca).run(write())
    assert proxy_server.requests[0].headers["proxy-authorization"] == "Basic cm9ib3Q6cEBzcw=="
    assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize("through", ["run", "session"])
@pytest.mark.parametrize("spelling", [str.upper, str.lower], ids=["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("excepted", ["*", "127.0.0.1", "127.0.0.0/8"])
def test_no_proxy_does_not_undo_the_connections_proxy(
    excepted, spelling, through, raw_server, proxy_server, make_client, write, monkeypatch
):
    monkeypatch.setenv(spelling("no_proxy"), excepted)
    server = raw_server(ok)
    client = make_client(server.url, proxy=proxy_server.url)
    assert client.run(write()).response.ok if through == "run" else client.session.get("/ping").ok
    assert len(proxy_server.requests) == len(server.requests) == 1


def test_the_connections_proxy_wins_over_that_of_the_environment(
    raw_server, proxy_server, make_client, write, monkeypatch
):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert make_client(raw_server(ok).url, proxy=proxy_server.url).run(write()).response.ok
    assert len(proxy_server.requests) == 1


def test_the_environments_proxy_holds_where_the_connection_names_none(
    raw_server, proxy_server, make_client, write, monkeypatch
):
    monkeypatch.setenv("http_proxy", proxy_server.url)
    server = raw_server(ok)
    assert make_client(server.url).run(write()).response.ok
    assert len(proxy_server.requests) == 1
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert make_client(server.url).run(write()).response.ok
    assert len(proxy_server.requests) == 1


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


@pytest.mark.parametrize("how", ["with a length", "chunked", "zipped", "until the end"])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("size", "fits"), [(50_000, True), (50_001, False)], ids=["just fits", "a byte too long"])
def test_an_answer_is_read_up_to_the_limit(size, fits, status, how, raw_server, make_client, write, sleeps):
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

    client = make_client(raw_server(answer).url, response_limit=50_000)
    if fits and status == 200:
        assert client.run(write()).value == "x" * (size - 2)
        return
    with pytest.raises(TrutoApiError if fits else TrutoTransportError) as caught:
        client.run(write())
    assert caught.value.attempts == 1
    assert sleeps == []
    if not fits:
        assert f"HTTP {status} with a body of more than 50000 bytes" in str(caught.value)


def test_a_bomb_is_not_unpacked(raw_server, make_client, read):
    bomb = gzip.compress(b"0" * 100_000_000, compresslevel=1)
    server = raw_server(lambda conversation: conversation.answer(bomb, headers={"Content-Encoding": "gzip"}))
    client = make_client(server.url, response_limit=1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TrutoTransportError, match="more than 1000000 bytes"):
            client.run(read())
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_the_client_works_on_after_an_answer_that_was_too_long(raw_server, make_client, read):
    server = raw_server([lambda conversation: conversation.answer(b"x" * 3_000_000), ok])
    client = make_client(server.url, response_limit=1000)
    with pytest.raises(TrutoTransportError):
        client.run(read())
    assert client.run(read()).value == {"id": "23423523"}


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


def test_connecting_is_given_up_after_its_timeout(full_port, make_client, write):
    client = make_client(f"http://127.0.0.1:{full_port}", connect_timeout=0.2, read_timeout=60, max_attempts=2)
    started = time.monotonic()
    with pytest.raises(TrutoTransportError, match=r"no connection to 127\.0\.0\.1 within 0\.2 s") as caught:
        client.run(write())
    assert time.monotonic() - started < GENEROUS
    assert caught.value.attempts == 2


def test_waiting_for_an_answer_is_given_up_after_its_timeout(raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.stay_mute())
    client = make_client(server.url, read_timeout=0.2, max_attempts=2)
    started = time.monotonic()
    with pytest.raises(TrutoTransportError, match=r"127\.0\.0\.1 did not answer within 0\.2 s") as caught:
        client.run(write())
    assert time.monotonic() - started < GENEROUS
    assert caught.value.attempts == 2
    assert len(server.requests) == 2


def test_an_answer_that_stops_in_the_middle_is_given_up(raw_server, make_client, write):
    def stop(conversation):
        conversation.answer(b'{"id":', length=100)
        conversation.stay_mute()

    client = make_client(raw_server(stop).url, read_timeout=0.2, max_attempts=1)
    started = time.monotonic()
    with pytest.raises(TrutoTransportError, match="unknown"):
        client.run(write())
    assert time.monotonic() - started < GENEROUS


def test_an_answer_that_drips_is_read_to_its_end(raw_server, make_client, write):
    def drip(conversation):
        conversation.answer(b"", length=10)
        for byte in b'{"id":"1"}':
            conversation.send(bytes([byte]))
            time.sleep(0.06)

    # In all it takes longer than the timeout, which is for one silence.
    outcome = make_client(raw_server(drip).url, read_timeout=0.5).run(write())
    assert outcome.value == {"id": "1"}
    assert outcome.attempts == 1


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


def streamed(conversation, kind="application/octet-stream"):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    conversation.send(head.encode())


def test_chunks_arrive_while_the_rest_is_still_to_come(raw_server, make_client, write):
    arrived = [threading.Event(), threading.Event()]

    def answer(conversation):
        streamed(conversation)
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


def test_a_stream_is_never_held_whole(raw_server, make_client, read):
    piece, pieces = b"x" * 50_000, 400

    def answer(conversation):
        streamed(conversation)
        for _ in range(pieces):
            conversation.chunk(piece)
        conversation.chunk(b"")

    client = make_client(raw_server(answer).url, response_limit=1000)
    sizes = [len(chunk) for chunk in client.run(read(streamed=True)).response.stream]
    assert sum(sizes) == pieces * len(piece), "the limit does not bound a stream"
    assert max(sizes) <= 64 * 1024


def test_a_stream_has_no_value_but_status_and_headers(raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.answer(b"\x00\xff", headers={"Content-Type": "image/png"}))
    outcome = make_client(server.url).run(write(streamed=True))
    assert outcome.value is None
    assert outcome.response.status == 200
    assert outcome.response.content_type == "image/png"
    assert b"".join(outcome.response.stream) == b"\x00\xff"


def chunked_and_closed(conversation):
    streamed(conversation)
    conversation.chunk(b"first")
    conversation.close()


def chunked_and_reset(conversation):
    streamed(conversation)
    conversation.chunk(b"first")
    time.sleep(0.1)
    conversation.reset()


def cut_short(conversation):
    conversation.answer(b"first", length=1000)
    conversation.close()


def gone_mute(conversation):
    streamed(conversation)
    conversation.chunk(b"first")
    conversation.stay_mute()


def badly_chunked(conversation):
    streamed(conversation)
    conversation.chunk(b"first")
    conversation.send(b"no length\r\n")
    conversation.close()


def badly_zipped(conversation):
    conversation.answer(b"no gzip", headers={"Content-Encoding": "gzip"})


BREAKS = {
    "closed": chunked_and_closed,
    "reset": chunked_and_reset,
    "shorter than told": cut_short,
    "mute": gone_mute,
    "no chunks": badly_chunked,
    "no gzip": badly_zipped,
}


@pytest.mark.parametrize("answer", BREAKS.values(), ids=BREAKS)
@pytest.mark.parametrize("kind", ["write", "read"])
def test_a_stream_that_breaks_says_so(kind, answer, raw_server, make_client, write, read, sleeps):
    call = write(streamed=True) if kind == "write" else read(streamed=True)
    server = raw_server(answer)
    outcome = make_client(server.url, read_timeout=0.4).run(call)
    received = []
    with pytest.raises(TrutoTransportError, match="broke off") as caught:
        received.extend(outcome.response.stream)
    assert f"{call.method} /unified/crm/accounts/23423523" in str(caught.value)
    assert ACME in str(caught.value)
    assert ("was answered with success" in str(caught.value)) is (kind == "write")
    assert len(server.requests) == 1, "what has begun cannot be repeated"
    assert sleeps == []


def test_an_error_of_a_streamed_call_is_an_error_like_any_other(emulator, client, write):
    with pytest.raises(TrutoNotFoundError, match="no such record"):
        client.run(write(record="404404", streamed=True, truto_response_format="stream"))


def test_a_streamed_call_is_tried_again_before_its_stream_begins(emulator, client, write):
    emulator.fault(status=502, method="PATCH", times=2)
    outcome = client.run(write({"name": "Streamed"}, streamed=True, truto_response_format="stream"))
    assert outcome.attempts == 3
    assert b"Streamed" in b"".join(outcome.response.stream)
    assert len(emulator.executions) == 1


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


@pytest.mark.parametrize("how", ["closed", "left in the middle"])
def test_a_stream_that_is_not_read_to_its_end_ends_and_does_not_disturb_the_next_call(
    how, raw_server, make_client, read
):
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

    client = make_client(raw_server(answer).url)
    stream = client.run(read(streamed=True)).response.stream
    if how == "closed":
        stream.close()
    else:
        for _ in stream:
            break
    assert hung_up.wait(GENEROUS)
    assert client.run(read()).value == {"id": "23423523"}


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
