"""What every test may use: an emulator, a client of it that does not sleep, and servers that misbehave on sockets."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import inspect
import ipaddress
import json
import os
import socket
import ssl
import struct
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings

from airflow_provider_truto.client.request import Request, build_path, encode_json, encode_query
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.sync import SyncClient
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.emulator import ACME, Emulator
from airflow_provider_truto.testing import plugin


def pytest_configure(config):
    """Have the plugin of this tree, whether or not an installed one is loaded already."""
    if not config.pluginmanager.has_plugin("truto"):
        config.pluginmanager.register(plugin, "truto")


# Before anything imports Airflow: the tests must not touch a developer's own ~/airflow.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="truto-tests-")
os.environ.setdefault("AIRFLOW_HOME", _AIRFLOW_HOME.name)

# Servers and emulators are shared by the examples of a test on purpose, and their speed is not its subject.
settings.register_profile(
    "truto",
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# `make test-all` asks for it.
settings.register_profile("thorough", parent=settings.get_profile("truto"), max_examples=400)
settings.load_profile("truto")

_NETWORK_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: No wait of a test's server lasts longer, so that a broken client fails instead of hanging.
LONGEST = 10.0


@pytest.fixture(autouse=True)
def fresh_process():
    """Nothing that a process remembers or has used up of its limits reaches the next test."""
    from airflow_provider_truto.client import shared

    shared.reset()


@pytest.fixture(autouse=True)
def _network_of_its_own(monkeypatch):
    """Proxies and CAs of the machine that the tests run on must not reach into them."""
    for name in _NETWORK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("NETRC", raising=False)


# ---------------------------------------------------------------------------------------------- emulator, client


@pytest.fixture(scope="session")
def running_emulator():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator):
    """The emulator, back at its seed."""
    running_emulator.reset()
    return running_emulator


@pytest.fixture
def sleeps():
    """The seconds that the clients of this test would have slept."""
    return []


@pytest.fixture
def make_client(sleeps):
    """A function that makes a client of a server: ``make_client(url, token="…", **settings)``."""
    with contextlib.ExitStack() as stack:

        def make(base_url, *, token="test-token", reread=None, **options):
            tokens = ApiToken(Token(token), reread=reread or (lambda: Token(token)))
            # Its sleeps are only recorded, so that no place within a limit would ever come.
            options.setdefault("requests_per_second", 0)
            client = SyncClient(ClientSettings(base_url=base_url, **options), tokens, sleep=sleeps.append)
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def client(emulator, make_client):
    """A client of the emulator; its sleeps are recorded in ``sleeps`` instead of slept."""
    return make_client(emulator.url, token=emulator.token)


@pytest.fixture
def write():
    """A function that makes the update of an account: ``write({"name": "x"}, record="…", account=…, **query)``."""

    def make(body=None, *, record="23423523", account=ACME, key="v1-test", streamed=False, **query):
        return Request(
            method="PATCH",
            path=build_path("unified", "crm", "accounts", record),
            query=encode_query({"integrated_account_id": account, **query}),
            body=encode_json({"name": "Initrode"} if body is None else body),
            idempotency_key=key,
            integrated_account_id=account,
            is_data=True,
            streamed=streamed,
        )

    return make


@pytest.fixture
def read():
    """A function that makes the read of an account."""

    def make(*, record="23423523", account=ACME, streamed=False, **query):
        return Request(
            method="GET",
            path=build_path("unified", "crm", "accounts", record),
            query=encode_query({"integrated_account_id": account, **query}),
            integrated_account_id=account,
            is_data=True,
            streamed=streamed,
        )

    return make


@pytest.fixture
def connection(monkeypatch):
    """A function that sets an Airflow connection: ``connection(url, token, **extra)``, again to change it."""

    def set_it(host, password, *, conn_id="truto_default", **extra):
        value = {"conn_type": "truto", "host": host, "password": password, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(value))

    return set_it


# ------------------------------------------------------------------------------------------- servers on raw sockets


class Conversation:
    """One request as it arrived, and the socket to answer on. Header names are lower-case."""

    def __init__(self, server, sock, connection, head, body):
        request_line, *lines = head.decode("latin-1").split("\r\n")
        self.server = server
        self.socket = sock
        self.connection = connection
        self.method, self.target, _ = request_line.split(" ", 2)
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body
        self.is_over = False

    def send(self, raw):
        """Send bytes as they are."""
        self.socket.sendall(raw)

    def answer(self, body=b"{}", *, status=200, reason="", headers=(), length=None):
        """Send an answer; ``body`` may be text or JSON, ``length`` the length that is told instead of its own."""
        if not isinstance(body, bytes):
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", "Content-Length": len(body) if length is None else length}
        given |= dict(headers)
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in given.items() if value != "")]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def chunk(self, data):
        """Send one piece of a chunked body; ``b""`` ends it."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def close(self):
        """End the connection properly."""
        self.is_over = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self):
        """End the connection with a RST."""
        self.is_over = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def stay_mute(self):
        """Say nothing more until the test is over."""
        self.server.stopped.wait(LONGEST)
        self.close()


class RawServer:
    """A server on loopback that lets ``answer(conversation)`` say on the socket what it wants.

    ``requests`` are the conversations so far, ``connections`` counts those accepted. ``tls`` is a server's
    ``SSLContext``. ``accepts(socket, number)`` may refuse a connection, before TLS, by returning False.
    """

    def __init__(self, answer, *, tls=None, accepts=None):
        self._answer = answer
        self._tls = tls
        self._accepts = accepts or (lambda _sock, _number: True)
        self._sockets = []
        self.requests = []
        self.connections = 0
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.origin = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.origin}"
        self._threads = []
        self._start(self._accept)

    def stop(self):
        self.stopped.set()
        # A thread that sits in accept() or recv() is woken by shutdown, not by close. Its socket is closed after it:
        # the number would go to the next connection of this process, and OpenSSL would write into that.
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + 5
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            for sock in (self._listener, *self._sockets):
                sock.close()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, name="raw-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.settimeout(LONGEST)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(sock)
                self.connections += 1
                self._start(self._serve, sock, self.connections)

    def _serve(self, sock, number):
        with contextlib.suppress(OSError, ValueError):
            if not self._accepts(sock, number):
                sock.close()
                return
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            while conversation := self._read(sock, number):
                self.requests.append(conversation)
                self._answer(conversation)
                if conversation.is_over:
                    return
            sock.close()

    def _read(self, sock, number):
        data = b""
        while b"\r\n\r\n" not in data:
            received = sock.recv(65536)
            if not received:
                return None
            data += received
        head, _, body = data.partition(b"\r\n\r\n")
        conversation = Conversation(self, sock, number, head, body)
        while len(conversation.body) < int(conversation.headers.get("content-length", 0)):
            conversation.body += sock.recv(65536)
        return conversation


@pytest.fixture
def raw_server():
    """A function that starts a ``RawServer``; ``response`` is a function of a conversation, or a list of such."""
    with contextlib.ExitStack() as stack:

        def start(answer, **options):
            if not callable(answer):
                answers = iter(answer)
                server = RawServer(lambda conversation: next(answers)(conversation), **options)
            else:
                server = RawServer(answer, **options)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def proxy_server(raw_server):
    """A forward proxy: ``requests`` holds what was asked of it, CONNECT and absolute targets alike."""
    return raw_server(_forward)


@pytest.fixture
def tls_proxy_server(raw_server, certificates):
    """A forward proxy that is itself reached over TLS."""
    return raw_server(_forward, tls=certificates.server)


def _forward(conversation):
    if conversation.method == "CONNECT":
        host, _, port = conversation.target.partition(":")
        with socket.create_connection((host, int(port)), timeout=LONGEST) as upstream:
            conversation.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, conversation.socket), daemon=True)
            back.start()
            _pump(conversation.socket, upstream)
            back.join(LONGEST)
        conversation.close()
        return
    _, _, rest = conversation.target.partition("://")
    host, slash, path = rest.partition("/")
    upstream = http.client.HTTPConnection(host, timeout=LONGEST)
    headers = {name: value for name, value in conversation.headers.items() if not name.startswith("proxy-")}
    upstream.request(conversation.method, slash + path, body=conversation.body or None, headers=headers)
    response = upstream.getresponse()
    body = response.read()
    upstream.close()
    conversation.answer(body, status=response.status)


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


# --------------------------------------------------------------------------------------------------- certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Self-made certificates.

    ``ca`` is the path of a CA that signed ``server`` (a server's context for 127.0.0.1) and ``misnamed`` (one for
    another host); ``stranger`` is the path of a CA that signed nothing here. ``lax`` is the path of a CA that lacks
    what Python demands since 3.13, and signed ``lax_server``.
    """
    folder = tmp_path_factory.mktemp("certificates")
    ca = _Authority("a CA of the tests")
    stranger = _Authority("another CA of the tests")
    lax = _Authority("a CA of long ago", has_key_usage=False)
    return SimpleNamespace(
        ca=str(ca.written(folder / "ca.pem")),
        stranger=str(stranger.written(folder / "stranger.pem")),
        server=ca.server(folder / "server.pem", "127.0.0.1"),
        misnamed=ca.server(folder / "misnamed.pem", "192.0.2.1"),
        lax=str(lax.written(folder / "lax.pem")),
        lax_server=lax.server(folder / "lax-server.pem", "127.0.0.1"),
    )


class _Authority:
    def __init__(self, name, *, has_key_usage=True):
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        self._x509 = x509
        self._new_key = lambda: ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = self._new_key()
        extensions = [x509.BasicConstraints(ca=True, path_length=None)]
        if has_key_usage:
            uses = dict.fromkeys(inspect.signature(x509.KeyUsage).parameters, False)
            extensions.append(x509.KeyUsage(**{**uses, "key_cert_sign": True, "crl_sign": True}))
        self._certificate = self._signed(self._name, self._key.public_key(), *extensions)

    def written(self, path: Path) -> Path:
        path.write_bytes(self._pem(self._certificate))
        return path

    def server(self, path: Path, address: str) -> ssl.SSLContext:
        """A server's context with a certificate for one IP address."""
        from cryptography.hazmat.primitives import serialization

        key = self._new_key()
        names = self._x509.SubjectAlternativeName([self._x509.IPAddress(ipaddress.ip_address(address))])
        certificate = self._signed(self._x509.Name([]), key.public_key(), names)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(secret + self._pem(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _signed(self, subject, public_key, *extensions):
        from cryptography.hazmat.primitives import hashes

        x509, now, day = self._x509, datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=public_key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - day,
            not_valid_after=now + day,
        )
        own, issuer = x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        builder = builder.add_extension(own.from_public_key(public_key), critical=False)
        builder = builder.add_extension(issuer.from_issuer_public_key(self._key.public_key()), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _pem(self, certificate):
        from cryptography.hazmat.primitives import serialization

        return certificate.public_bytes(serialization.Encoding.PEM)
