"""The hook on a real socket: the connection test, the session, rotation, and what is logged."""

from __future__ import annotations

import inspect
import json
import logging
import re
import socket
import sys
import threading
import time

import pytest

from airflow_provider_truto._compat import NOTSET
from airflow_provider_truto.client.errors import TrutoAuthenticationError
from airflow_provider_truto.client.resource import Resource
from airflow_provider_truto.emulator import ACME, GLOBEX, INITECH, UMBRELLA
from airflow_provider_truto.hooks.truto import TrutoAsyncHook, TrutoHook

WRONG_TOKEN = "tok-planted-wrong-41"
UNSEEN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def connect(emulator, monkeypatch):
    def connect(conn_id="truto_default", **changes):
        extra = changes.pop("extra", {})
        conn = {"conn_type": "truto", "host": emulator.url, "password": emulator.token, "extra": extra, **changes}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(conn))
        return TrutoHook(conn_id)

    return connect


@pytest.mark.parametrize(
    ("account", "works", "said"),
    [
        (None, True, "No default integrated account is set"),
        (ACME, True, "hubspot, tenant acme, status active"),
        (GLOBEX, True, "salesforce, tenant globex, status active"),
        (INITECH, True, "(a sandbox: it can be read, not written)"),
        (UMBRELLA, False, "the customer must connect or reconnect it"),
        (UNSEEN, False, "does not see the integrated account"),
    ],
)
def test_the_connection_test_says_what_it_found(connect, account, works, said):
    result, message = connect(extra={"integrated_account_id": account}).test_connection()
    assert (result, said in message) == (works, True), message
    assert "The API token works" in message


def test_the_connection_test_fails_where_the_default_account_is_none_of_those_that_are_allowed(connect, emulator):
    extra = {"integrated_account_id": ACME, "allowed_integrated_accounts": GLOBEX}
    works, message = connect(extra=extra).test_connection()
    assert (works, emulator.requests) == (False, [])
    assert f"{ACME} is not among the connection's allowed_integrated_accounts" in message


def test_a_wrong_token_is_told_with_what_to_do_and_never_shown(connect):
    result, message = connect(password=WRONG_TOKEN).test_connection()
    assert not result
    assert "401" in message
    assert "put a valid API token" in message
    assert WRONG_TOKEN not in message


def test_the_connection_test_works_from_any_conn_id(connect):
    assert connect("tmp_conn_8f2a").test_connection()[0]


def test_the_connection_test_is_one_call(connect, emulator):
    emulator.fault(status=500, times=None)
    result, message = connect().test_connection()
    assert not result
    assert "500" in message
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": ""}, "/password: is empty"),
        ({"host": "http://crm.example"}, "plain http"),
        ({"extra": {"timeout": "soon"}}, "/extra/timeout"),
        ({"host": "http://127.0.0.1:1"}, "connection to 127.0.0.1 failed"),
    ],
)
def test_a_connection_that_cannot_work_fails_the_test_with_a_reason(connect, changes, said):
    result, message = connect(**changes).test_connection()
    assert not result
    assert said in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": ""}, "this connection cannot be used"),
        ({"extra": {"verify_tls": "no", "time_out": 5}}, "this connection cannot be used"),
        ({"extra": '["not", "an", "object"]'}, "a JSON object"),
        ({"extra": "{'integrated_account_id': 'x',}"}, "/extra: is not"),
        ({"password": WRONG_TOKEN}, "into this connection"),
    ],
)
def test_a_connection_test_names_no_connection_that_nobody_knows(connect, changes, said):
    # Airflow tests what stands in its form under an id that it makes up.
    result, message = connect("tmp_conn_8f2a", **changes).test_connection()
    assert (result, said in message) == (False, True), message
    assert "8f2a" not in message


def test_a_limit_is_called_what_it_is(connect, raw_server, monkeypatch):
    monkeypatch.setattr("airflow_provider_truto.hooks._connection_test._TIMEOUT", 1.5)
    server = raw_server(lambda conversation: conversation.stay_mute())
    for timeout, words in ((60, "within 1.5 s"), (1, "1 s (the connection's timeout)")):
        result, message = connect(host=server.url, extra={"timeout": timeout}).test_connection()
        assert (result, words in message) == (False, True), message
    assert "connection's timeout" not in connect(host=server.url).test_connection()[1]


def test_a_certificate_that_is_not_trusted_is_one_thing_to_do(connect, raw_server, certificates):
    server = raw_server(lambda conversation: conversation.stay_mute(), tls=certificates.server)
    result, message = connect(host=server.url).test_connection()
    assert result is False
    assert message.endswith("Fix: check the base URL and ca_bundle.")
    assert message.count("Fix:") == 1


def test_a_refused_token_names_its_connection(connect):
    with pytest.raises(TrutoAuthenticationError) as refused:
        connect("crm_of_sales", password=WRONG_TOKEN).integrated_account(ACME)
    assert "into the password of the connection 'crm_of_sales'" in str(refused.value)


@pytest.mark.parametrize("status", [401, 404])
def test_a_connection_test_does_not_call_another_server_truto(connect, raw_server, status):
    page = {"body": "<html><title>Sign in</title></html>", "headers": [("Content-Type", "text/html")]}
    server = raw_server(lambda conversation: conversation.answer(status=status, **page))
    result, message = connect(host=server.url).test_connection()
    assert result is False
    assert f"{server.url} answered {status}" in message
    assert 'Sign in". It came as a web page, and does not look like an answer of Truto.' in message
    assert "refused" not in message


def test_an_unknown_extra_is_noted(connect):
    result, message = connect(extra={"time_out": 5}).test_connection()
    assert result
    assert "did you mean 'timeout'" in message


def test_a_page_that_is_not_truto_s_fails_the_test(connect, emulator):
    emulator.fault(status=200, text="<html><title>Log in</title></html>", headers={"Content-Type": "text/html"})
    result, message = connect().test_connection()
    assert not result
    assert "text/html" in message


@pytest.mark.slow
@pytest.mark.parametrize("drips", [False, True], ids=["mute", "dripping"])
def test_a_server_that_accepts_and_never_finishes_ends_the_test_in_time(connect, drips):
    stop = threading.Event()

    def serve(listener):
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            while not stop.wait(0.5):
                if drips:
                    peer.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: 1\r\n" if not stop.is_set() else b"")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        hook = connect(host=f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        result, message = hook.test_connection()
        stop.set()
    assert not result
    assert time.monotonic() - began < 15
    assert message


@pytest.mark.parametrize("ca", ["stranger", "lax"])
def test_a_certificate_that_is_not_taken_is_told_with_one_thing_to_do(ca, connect, certificates, raw_server):
    if ca == "lax" and sys.version_info < (3, 13):
        pytest.skip("Python is strict about certificates since 3.13")
    server = raw_server(lambda conversation: conversation.answer({}), tls=certificates.lax_server)
    works, message = connect(host=server.url, extra={"ca_bundle": getattr(certificates, ca)}).test_connection()
    assert not works
    assert "TLS with 127.0.0.1 failed" in message
    assert message.count("Fix:") == 1


def test_a_rotated_token_is_read_again_once_and_the_write_goes_through(connect, emulator, monkeypatch):
    hook = connect()
    hook.update_account("23423523", {"name": "before"}, integrated_account_id=ACME)
    emulator.state.add_token("fresh-token-2")
    emulator.state.revoke_token(emulator.token)
    connect(password="fresh-token-2")
    assert hook.update_account("23423523", {"name": "after"}, integrated_account_id=ACME)["name"] == "after"
    assert len(emulator.executions) == 2


def test_a_revoked_token_that_was_not_replaced_ends_after_one_call(connect, emulator):
    hook = connect(password=WRONG_TOKEN)
    with pytest.raises(TrutoAuthenticationError) as refused:
        hook.update_account("23423523", {"name": "x"}, integrated_account_id=ACME)
    assert len(emulator.requests) == 1
    assert WRONG_TOKEN not in str(refused.value)


def test_the_user_agent_names_provider_and_airflow(connect, emulator):
    from airflow import __version__ as airflow_version

    from airflow_provider_truto import __version__

    connect().update_account("23423523", {"name": "x"}, integrated_account_id=ACME)
    agent = emulator.requests[-1]["headers"]["user-agent"]
    assert agent == f"airflow-provider-truto/{__version__} airflow/{airflow_version}"


def test_one_line_a_call_is_logged_without_body_or_token(connect, emulator, caplog, capsys):
    hook = connect()
    with caplog.at_level(logging.DEBUG):
        hook.update_account(
            "23423523", {"name": "value-planted-12"}, integrated_account_id=ACME, idempotency_key="key-of-mine"
        )
    # Airflow 3 prints through structlog, Airflow 2 logs and prints.
    printed = capsys.readouterr().out
    log = printed + caplog.text
    lines = [line for line in (printed or caplog.text).splitlines() if "attempts=1" in line]
    assert len(lines) == 1
    assert f"PATCH /unified/crm/accounts/23423523 integrated_account={ACME} status=200" in lines[0]
    assert emulator.token not in log
    assert "value-planted-12" not in log


def test_the_connection_s_integrated_account_is_the_default_and_an_argument_wins(connect, emulator):
    hook = connect(extra={"integrated_account_id": GLOBEX})
    hook.update_account("70010001", {"name": "x"})
    hook.update_account("23423523", {"name": "x"}, integrated_account_id=ACME)
    assert [entry["integrated_account_id"] for entry in emulator.executions] == [GLOBEX, ACME]


@pytest.mark.parametrize("context", [{}, {"context": None}, {"context": NOTSET}], ids=["left out", "None", "NOTSET"])
def test_outside_of_a_task_two_calls_are_two_writes(connect, emulator, context):
    hook = connect(extra={"integrated_account_id": ACME})
    for _ in range(2):
        hook.update_account("23423523", {"name": "x"}, **context)
        hook.unified("crm", "accounts").update("23423523", {"name": "x"}, **context)
    assert len(emulator.executions) == 4


@pytest.mark.parametrize("context", [{}, {"ti": None, "dag_run": None}, {"ti": "x"}, "context"])
def test_a_context_that_is_not_a_task_s_is_refused(connect, emulator, context):
    with pytest.raises(ValueError, match="as get_current_context"):
        connect().custom("POST", "things", integrated_account_id=ACME, context=context)
    assert emulator.requests == []


def test_the_answer_leaves_out_the_crm_s_own_record_unless_asked(connect):
    hook = connect()
    assert "remote_data" not in hook.update_account("23423523", {"name": "x"}, integrated_account_id=ACME)
    kept = hook.update_account("23423523", {"name": "x"}, integrated_account_id=ACME, ignore_remote_data=False)
    assert "remote_data" in kept


#: The public methods of both hooks and of a resource that are this package's, each once.
METHODS = {
    method.__qualname__: method
    for cls in (TrutoHook, TrutoAsyncHook, Resource)
    for name, method in inspect.getmembers(cls, callable)
    if not name.startswith("_") and method.__module__.startswith("airflow_provider_truto.")
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_docstring_of_a_method_tells_every_argument_in_the_order_of_its_signature(method):
    arguments = [name for name in inspect.signature(method).parameters if name != "self"]
    assert re.findall(r":param (\w+):", method.__doc__) == arguments


def test_the_docstring_of_the_hook_tells_every_argument_of_its_connection():
    hook = TrutoHook.__mro__[1]
    assert re.findall(r":param (\w+):", hook.__doc__) == list(inspect.signature(TrutoHook).parameters)
