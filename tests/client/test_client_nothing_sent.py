"""A request that had no connection to go out on is known not to have been executed: told so, and safe to repeat."""

from __future__ import annotations

import socket
import struct
import sys

import pytest
from calls import FOR_ACME, get, ok, update

from airflow_provider_truto.client.errors import TrutoTransportError
from airflow_provider_truto.emulator import ACME

JOB = "10b00000-0000-4000-8000-000000000001"
NOTHING = "Nothing was written: there was no connection that the request could have gone out on."


def start(api):
    """The one write that has no idempotency key."""
    return api.start_sync_job_run(JOB, error_handling="ignore", integrated_account_id=ACME)


def broken_off(sock, _number):
    """End the connection with a RST within the TLS handshake."""
    sock.recv(65536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def no_tls(sock, _number):
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return False


def without(certificates, how):
    """The arguments of ``both_at`` with which no connection comes about, and whether it may come about later."""
    to_tls = {"base_url": lambda server: server.url.replace("http:", "https:")}
    return {
        "refused": ({"base_url": lambda _: "http://127.0.0.1:1"}, True),
        "unknown host": ({"base_url": lambda _: "https://nobody.invalid"}, True),
        "refused by a proxy": ({"base_url": lambda _: "https://nobody.invalid", "proxy": "http://127.0.0.1:1"}, True),
        "broken off in the handshake": ({**to_tls, "options": {"accepts": broken_off}}, True),
        "no TLS": ({**to_tls, "options": {"accepts": no_tls}}, False),
        "unknown CA": ({"options": {"tls": certificates.server}}, False),
        "another host": ({"options": {"tls": certificates.misnamed}, "ca_bundle": certificates.ca}, False),
    }[how]


HOW = [
    "refused",
    "unknown host",
    "refused by a proxy",
    "broken off in the handshake",
    "no TLS",
    "unknown CA",
    "another host",
]


@pytest.mark.parametrize("how", HOW)
def test_a_write_that_had_no_connection_says_that_nothing_was_written(how, certificates, both_at):
    arguments, _ = without(certificates, how)
    result = both_at(lambda: ok, update, max_attempts=1, **arguments, **FOR_ACME)
    assert type(result.error) is TrutoTransportError
    assert result.error.maybe_sent is False
    assert str(result.error).endswith(NOTHING)
    assert "unknown." not in str(result.error)
    assert result.requests == []


@pytest.mark.parametrize("how", HOW)
def test_a_write_without_a_key_is_repeated_where_it_had_no_connection(how, certificates, both_at):
    arguments, is_passing = without(certificates, how)
    result = both_at(lambda: ok, start, max_attempts=3, **arguments)
    assert result.error.attempts == (3 if is_passing else 1)
    assert str(result.error).endswith(NOTHING)


def test_an_earlier_attempt_that_went_out_leaves_its_doubt(both_at):
    def once(conversation):
        conversation.server._listener.shutdown(socket.SHUT_RDWR)  # nobody listens from now on
        conversation.reset()

    result = both_at(lambda: once, update, max_attempts=2, **FOR_ACME)
    assert result.error.attempts == 2
    assert result.error.maybe_sent is True
    assert "Whether the write happened is unknown." in str(result.error)


def test_a_read_says_nothing_of_writing(both_at):
    result = both_at(lambda: ok, get, max_attempts=1, base_url=lambda _: "http://127.0.0.1:1", **FOR_ACME)
    assert "writ" not in str(result.error)
    assert result.error.maybe_sent is False


# ------------------------------------------------------------------------------- certificates, since Python 3.13


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python is strict about certificates since 3.13")
def test_a_ca_that_is_not_as_python_demands_is_told_with_what_it_lacks(certificates, both_at):
    result = both_at(
        lambda: ok, update, options={"tls": certificates.lax_server}, ca_bundle=certificates.lax, **FOR_ACME
    )
    said = str(result.error)
    assert "failed: CA cert does not include key usage extension, and Python 3.13 and later take no such" in said
    assert "Fix: have who made it (a company CA, a proxy that inspects TLS) issue a new one" in said
    assert "check the base URL" not in said
    assert said.endswith(NOTHING)
    assert result.error.attempts == 1


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="what Python 3.12 and earlier take")
def test_a_ca_without_key_usage_is_trusted_before(certificates, both_at):
    result = both_at(
        lambda: ok, update, options={"tls": certificates.lax_server}, ca_bundle=certificates.lax, **FOR_ACME
    )
    assert result.value == {"id": "23423523"}
