"""Hostile answers on raw sockets, through both drivers: what is another call's, what never ends, what is too much."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_truto.client.endpoints import unified_request
from airflow_provider_truto.client.errors import TrutoError, TrutoTransportError
from airflow_provider_truto.emulator import ACME

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

READ = unified_request("crm", "accounts", "get", record_id="1", integrated_account_id=ACME)
#: Nothing here takes a tenth of it; what hangs takes all of it.
GENEROUS = 40.0
#: Seconds after a hostile answer, in which what comes too late has arrived.
PAUSE = 0.1


@pytest.fixture(params=["sync", "async"])
def driver(request):
    return request.param


@dataclass(frozen=True)
class Ended:
    """How one call ended."""

    value: Any = None
    error: TrutoError | None = None


def get(client, record):
    return client.unified("crm", "accounts").get(record)


def calls(*records, pause=0.0):
    """A case that reads records one after the other, and gives how each ended."""

    def case(client):
        if inspect.iscoroutinefunction(client.run):
            return awaited(client)
        ends = []
        for record in records:
            try:
                ends.append(Ended(get(client, record)))
            except TrutoError as error:
                ends.append(Ended(error=error))
            time.sleep(pause)
        return ends

    async def awaited(client):
        ends = []
        for record in records:
            try:
                ends.append(Ended(await get(client, record)))
            except TrutoError as error:
                ends.append(Ended(error=error))
            await asyncio.sleep(pause)
        return ends

    return case


def run(drivers, driver, case, server, **settings):
    """Run a case, and fail where it does not come to an end in time."""
    results = []

    def work():
        results.append(
            drivers.run(driver, case, server, **{"integrated_account_id": ACME, "max_attempts": 1, **settings})
        )

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(GENEROUS)
    assert results, f"it did not end within {GENEROUS} s"
    if results[0].error is not None and not results[0].is_known:
        raise results[0].error
    return results[0]


# ---------------------------------------------------------------------------------- whose answer it is
#
# A hostile answer to the first and third call, an honest one to the others: whatever the hostile ones end in, each
# call gets its own record or none.


def record_of(conversation):
    return conversation.target.partition("?")[0].rpartition("/")[2]


def whole(body, *, status=200, more=b""):
    """The bytes of one honest answer."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d x\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s" % (
        status,
        more,
        len(body),
        body,
    )


def chunked(body, *, more=b"", end=b"0\r\n\r\n"):
    head = b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n%sTransfer-Encoding: chunked\r\n\r\n" % more
    return head + b"%x\r\n%s\r\n" % (len(body), body) + end


FOREIGN = {"id": "of another call"}
SMUGGLED = whole(FOREIGN)


def interim(status, *, times=1):
    return lambda own: b"HTTP/1.1 %d x\r\nLink: </a>\r\n\r\n" % status * times + whole(own)


def framed(*lines, body=None):
    """The own record under these header lines, with another answer where the lengths leave room for one."""

    def answer(own):
        data = json.dumps(own).encode() if body is None else body
        return b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + data

    return answer


def own_and(more):
    return lambda own: whole(own) + more


#: What a hostile server sends, given the record that was asked for. Pieces of a tuple are sent 30 ms apart.
CONFUSED = {
    "100": interim(100),
    "several 100": interim(100, times=3),
    "101": interim(101),
    "102": interim(102),
    "103": interim(103),
    "several 103": interim(103, times=3),
    "103, and the answer later": lambda own: (b"HTTP/1.1 103 x\r\n\r\n", whole(own)),
    "199": interim(199),
    "a status below 100": lambda own: b"HTTP/1.1 099 x\r\n\r\n" + whole(own),
    "two answers at once": own_and(SMUGGLED),
    "two answers, one of them long": own_and(whole({**FOREIGN, "x": "x" * 100_000})),
    "line ends after the body": own_and(b"\r\n\r\n"),
    "bytes after the body": own_and(b"x"),
    "a byte too many, and an answer later": lambda own: (whole(own) + b"x", SMUGGLED),
    "204 with a body": lambda own: whole(SMUGGLED, status=204),
    "304 with a body": lambda own: whole(SMUGGLED, status=304),
    "an answer after a 204": lambda own: b"HTTP/1.1 204 x\r\n\r\n" + SMUGGLED,
    "an error and an answer": lambda own: whole({}, status=404) + SMUGGLED,
    "a length that is too short": framed(b"Content-Length: 2", body=b"{}" + SMUGGLED),
    "two lengths": framed(b"Content-Length: 2", b"Content-Length: 50", body=b"{}" + SMUGGLED),
    "two lengths in one line": framed(b"Content-Length: 2, 50", body=b"{}" + SMUGGLED),
    "a signed length": framed(b"Content-Length: +2", body=b"{}" + SMUGGLED),
    "a negative length": framed(b"Content-Length: -1", body=b"{}" + SMUGGLED),
    "a length in Python's spelling": framed(b"Content-Length: 0_2", body=b"{}" + SMUGGLED),
    "a length that is not a number": framed(b"Content-Length: two", body=b"{}" + SMUGGLED),
    "a length and chunks": lambda own: chunked(json.dumps(own).encode(), more=b"Content-Length: 3\r\n") + SMUGGLED,
    "chunks that are no chunks": framed(
        b"Transfer-Encoding: chunked, identity", b"Content-Length: 2", body=b"{}" + SMUGGLED
    ),
    "an unknown transfer encoding": framed(b"Transfer-Encoding: x", b"Content-Length: 2", body=b"{}" + SMUGGLED),
    "an answer after the last chunk": lambda own: chunked(json.dumps(own).encode()) + SMUGGLED,
    "an answer in the trailer": lambda own: chunked(json.dumps(own).encode(), end=b"0\r\n" + SMUGGLED),
    "a negative chunk": framed(b"Transfer-Encoding: chunked", body=b"-1\r\n{}\r\n0\r\n\r\n" + SMUGGLED),
    "a header without a colon": framed(b"nonsense", b"Content-Length: 2", body=b"{}" + SMUGGLED),
    "a header without a name": framed(b": x", b"Content-Length: 2", body=b"{}" + SMUGGLED),
    "a space before a colon": framed(b"Content-Length : 2", body=b"{}" + SMUGGLED),
    "a length behind a carriage return": framed(b"X-A: 1\rContent-Length: 2", body=b"{}" + SMUGGLED),
    "a zero byte in a header": framed(b"X-A: \0", b"Content-Length: 2", body=b"{}" + SMUGGLED),
    "a length that is folded away": framed(b"X-A: 1", b" Content-Length: 2", body=b"{}" + SMUGGLED),
    "headers that begin with a fold": lambda own: b"HTTP/1.1 200 x\r\n Content-Length: 2\r\n\r\n{}" + SMUGGLED,
    "no length": framed(b"X-A: 1", body=b"{}" + SMUGGLED),
}
#: Of these, nobody can say where the answer ends, so that it is not an answer.
UNCERTAIN = [
    *("two lengths", "two lengths in one line", "a signed length", "a length in Python's spelling"),
    *("chunks that are no chunks", "an unknown transfer encoding"),
    *("a header without a colon", "a header without a name", "a length behind a carriage return"),
]
#: What comes while the connection lies in the pool. (After the next request, it could not be told from its answer.)
LATE = {
    "a second answer": lambda own: (whole(own), SMUGGLED),
    "half an answer": lambda own: (whole(own), b"HTTP/1.1 200 x\r\nContent-Le"),
    "an interim answer": lambda own: (whole(own), b"HTTP/1.1 103 x\r\n\r\n"),
    "bytes": lambda own: (whole(own), b"x"),
}


def confused(hostile):
    def answer(conversation):
        own = {"id": record_of(conversation)}
        if own["id"] not in {"1", "3"}:
            conversation.answer(own)
            return
        sent = hostile(own)
        for piece in sent if isinstance(sent, tuple) else (sent,):
            conversation.send(piece)
            time.sleep(0.03)

    return answer


def assert_apart(ends):
    assert [end.value for end in ends[1::2]] == [{"id": "2"}, {"id": "4"}], "an honest answer is taken as it is"
    for record, end in (("1", ends[0]), ("3", ends[2])):
        assert end.value in (None, {}, {"id": record})
        assert end.error is None or isinstance(end.error, TrutoError)


@pytest.mark.parametrize("name", CONFUSED)
def test_no_call_gets_the_answer_of_another(name, driver, drivers, raw_server):
    server = raw_server(confused(CONFUSED[name]))
    assert_apart(run(drivers, driver, calls("1", "2", "3", "4"), server, read_timeout=0.3).value)


@pytest.mark.parametrize("name", UNCERTAIN)
def test_an_answer_without_a_certain_end_is_not_taken(name, driver, drivers, raw_server):
    server = raw_server([lambda c: c.send(CONFUSED[name]({"id": "1"})), lambda c: c.answer({"id": "1"})])
    result = run(drivers, driver, lambda client: get(client, "1"), server, max_attempts=2, read_timeout=0.5)
    assert result.value == {"id": "1"}
    assert len(result.requests) == 2


@pytest.mark.parametrize("name", LATE)
def test_what_comes_over_a_pooled_connection_is_not_the_answer_to_the_next_call(name, driver, drivers, raw_server):
    server = raw_server(confused(LATE[name]))
    assert_apart(run(drivers, driver, calls("1", "2", "3", "4", pause=PAUSE), server, read_timeout=0.3).value)


def full_buffer(own):
    """An answer that fills the buffer of http.client, and behind it another one."""
    short = whole(json.dumps(own).encode() + b" " * 8000)
    return whole(json.dumps(own).encode() + b" " * (8000 + 8192 - len(short))) + SMUGGLED


@pytest.mark.parametrize("hostile", [CONFUSED["two answers, one of them long"], full_buffer])
def test_no_call_gets_what_tls_has_unpacked_already(hostile, driver, drivers, raw_server, certificates):
    """Both answers come in one record: the socket is empty, and the rest waits within TLS."""
    server = raw_server(confused(hostile), tls=certificates.server)
    case = calls("1", "2", "3", "4")
    assert_apart(run(drivers, driver, case, server, read_timeout=0.3, ca_bundle=certificates.ca).value)


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_interim_answers_are_read_past(status, driver, drivers, raw_server):
    server = raw_server(lambda c: c.send(interim(status, times=3)({"id": record_of(c)})))
    assert run(drivers, driver, calls("1", "2"), server).value == [Ended({"id": "1"}), Ended({"id": "2"})]
    assert server.connections == 1


def test_a_switch_of_protocols_ends_the_connection_and_is_a_passing_loss(driver, drivers, raw_server):
    server = raw_server([lambda c: c.send(interim(101)({"id": "1"})), lambda c: c.answer({"id": "1"})])
    result = run(drivers, driver, lambda client: get(client, "1"), server, max_attempts=2)
    assert result.value == {"id": "1"}
    assert [attempts for _, _, attempts, _, _ in result.called] == [2]
    assert server.connections == 2


def test_a_session_that_users_hold_gets_no_interim_answer_and_none_of_another(raw_server, make_client):
    server = raw_server(confused(CONFUSED["103, and the answer later"]))
    session = make_client(server.url).session
    for number in ("1", "2", "3"):
        assert session.get(f"/{number}").json() == {"id": number}


@pytest.mark.parametrize("name", ["two answers at once", "line ends after the body", "an answer after a 204"])
def test_no_call_gets_what_tls_within_tls_has_unpacked_already(
    name, drivers, raw_server, tls_proxy_server, certificates
):
    server = raw_server(confused(CONFUSED[name]), tls=certificates.server)
    settings = {"proxy": tls_proxy_server.url, "ca_bundle": certificates.ca, "read_timeout": 5}
    assert_apart(run(drivers, "sync", calls("1", "2", "3", "4"), server, **settings).value)
    assert {request.method for request in tls_proxy_server.requests} == {"CONNECT"}


def headed(head):
    """An own record under this head, and a connection that stays open."""
    return lambda c: c.send(head.replace(b"LENGTH", b"%d" % len(OWN)) + OWN)


OWN = json.dumps({"id": "1"}).encode()
OK = b"HTTP/1.1 200 OK\r\n"
#: A head that is fine though not pretty, and what the header X-A says in it.
READABLE = {
    "as usual": (OK + b"X-A: one two\r\nContent-Length: LENGTH\r\n\r\n", "one two"),
    "no space after the colon": (OK + b"X-A:1\r\nContent-Length:LENGTH\r\n\r\n", "1"),
    "spaces and tabs around": (OK + b"X-A: \t 1 \t\r\nContent-Length:  LENGTH  \r\n\r\n", "1"),
    "no value": (OK + b"X-A:\r\nContent-Length: LENGTH\r\n\r\n", ""),
    "colons in the value": (OK + b"X-A: a:b: c\r\nContent-Length: LENGTH\r\n\r\n", "a:b: c"),
    "bare line feeds": (b"HTTP/1.1 200 OK\nX-A: 1\nContent-Length: LENGTH\n\n", "1"),
    "a folded value": (OK + b"X-A: 1,\r\n\t 2\r\nContent-Length: LENGTH\r\n\r\n", "1, 2"),
    "any case": (OK + b"x-a: 1\r\nCONTENT-length: LENGTH\r\n\r\n", "1"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nX-A: 1\r\nContent-Length: LENGTH\r\n\r\n", "1"),
    "no reason": (b"HTTP/1.1 200\r\nX-A: 1\r\nContent-Length: LENGTH\r\n\r\n", "1"),
    "after a 100": (
        b"HTTP/1.1 100 Continue\r\nX-A: 0\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: LENGTH\r\n\r\n",
        "1",
    ),
}


def read_head(client):
    """A case that gives an answer's status, the header X-A without what folds it, and the JSON."""

    def shown(result):
        response = result.response
        return response.status, " ".join(response.headers["x-a"].split()), response.json()

    async def awaited():
        return shown(await client.run(READ))

    return awaited() if inspect.iscoroutinefunction(client.run) else shown(client.run(READ))


@pytest.mark.parametrize(("head", "value"), READABLE.values(), ids=READABLE)
def test_a_head_says_the_same_on_both_transports(head, value, driver, drivers, raw_server):
    result = run(drivers, driver, read_head, raw_server(headed(head)), read_timeout=0.5)
    assert result.value == (200, value, {"id": "1"})


@pytest.mark.parametrize("name", ["as usual", "HTTP/1.0", "bare line feeds", "a folded value"])
def test_a_connection_is_kept_after_a_head_that_can_be_read(name, drivers, raw_server):
    server = raw_server(headed(READABLE[name][0]))
    ends = run(drivers, "sync", calls("1", "1", "1"), server, read_timeout=0.5).value
    assert [end.value for end in ends] == [{"id": "1"}] * 3
    assert server.connections == 1


CHUNKED = OK + b"%sTransfer-Encoding: chunked\r\n\r\nb\r\n" + OWN + b"\r\n0\r\n\r\n"
#: What tells that a connection ends with its answer, also where the server keeps it open.
LAST = {
    "it says so": headed(OK + b"Connection: close\r\nContent-Length: LENGTH\r\n\r\n"),
    "HTTP/1.0": headed(b"HTTP/1.0 200 OK\r\nContent-Length: LENGTH\r\n\r\n"),
    "HTTP/1.0 with chunks": lambda c: c.send((CHUNKED % b"Connection: keep-alive\r\n").replace(b"1.1", b"1.0", 1)),
    "it says so once of twice": headed(
        OK + b"Connection: keep-alive\r\nConnection: x, Close\r\nContent-Length: LENGTH\r\n\r\n"
    ),
    "a length and chunks": lambda c: c.send(CHUNKED % b"Content-Length: 3\r\n"),
}


@pytest.mark.parametrize("answer", LAST.values(), ids=LAST)
def test_a_connection_is_not_used_again_after_its_last_answer(answer, drivers, raw_server):
    server = raw_server(answer)
    ends = run(drivers, "sync", calls("1", "1"), server, read_timeout=0.5).value
    assert [end.value for end in ends] == [{"id": "1"}] * 2
    assert server.connections == 2


@pytest.mark.parametrize("more", [b"", b"Connection: x-close\r\n"])
def test_chunks_alone_do_not_end_a_connection(more, drivers, raw_server):
    server = raw_server(lambda c: c.send(CHUNKED % more))
    ends = run(drivers, "sync", calls("1", "1"), server, read_timeout=0.5).value
    assert [end.value for end in ends] == [{"id": "1"}] * 2
    assert server.connections == 1


@pytest.mark.parametrize("more", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"])
def test_a_204_is_not_waited_upon_for_a_body(more, driver, drivers, raw_server):
    server = raw_server(lambda c: c.send(b"HTTP/1.1 204 x\r\n" + more + b"\r\n"))
    assert run(drivers, driver, calls("1", "1"), server, read_timeout=0.5).value == [Ended(value={})] * 2
    assert server.connections == 1


def test_a_head_alone_is_not_waited_upon_for_a_body(raw_server, make_client):
    server = raw_server(lambda c: c.send(OK + b"Content-Length: 5\r\n\r\n"))
    session = make_client(server.url, read_timeout=0.5).session
    assert [session.head("/1").headers["Content-Length"] for _ in range(2)] == ["5"] * 2
    assert server.connections == 1


#: A head that requests cannot take, and what it says of it.
REFUSED = {
    "two lengths": (
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n",
        "whose Content-Length is not one number",
    ),
    "a length without end": (
        OK + b"Content-Length: %05000d\r\n\r\n" % 2,
        "whose Content-Length is not one number",
    ),
    "an unknown transfer encoding": (OK + b"Transfer-Encoding: x\r\n\r\n", "in an unknown Transfer-Encoding"),
    "no header": (OK + b"nonsense\r\n\r\n", "with a header that cannot be read"),
    "a zero byte": (OK + b"X-A: \0\r\n\r\n", "with a header that cannot be read"),
    "another protocol": (b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", "BadStatusLine: HTTP/2.0 200 OK"),
    "a status in Python's spelling": (b"HTTP/1.1 2_0_0 OK\r\n\r\n", "BadStatusLine: HTTP/1.1 2_0_0 OK"),
    "many headers": (OK + b"X-A: 1\r\n" * 1_200, "with more than 1000 lines of headers"),
    "many folds": (OK + b"X-A: 1\r\n" + b" 2\r\n" * 1_200, "with more than 1000 lines of headers"),
    "a long line": (OK + b"X-A: " + b"1" * 70_000, "got more than 65536 bytes when reading header line"),
}


@pytest.mark.parametrize(("head", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_head_that_cannot_be_taken_is_an_error_that_says_why(head, reason, drivers, raw_server):
    result = run(drivers, "sync", lambda client: get(client, "1"), raw_server(lambda c: c.send(head)), read_timeout=5)
    assert reason in str(result.error)


def test_a_head_that_breaks_off_is_said_to_end_early(drivers, raw_server):
    def answer(conversation):
        conversation.send(OK + b"Content-Type: application/json\r\nContent-Le")
        conversation.close()

    result = run(drivers, "sync", lambda client: get(client, "1"), raw_server(answer))
    assert "an answer that ends within its headers" in str(result.error)


# ------------------------------------------------------------------------------------ lost behind a proxy


def hang_up(conversation):
    conversation.close()


def assert_may_have_been_written(result):
    assert "Whether the write happened is unknown" in str(result.error)
    assert "proxy" not in str(result.error)


def test_a_write_that_a_proxy_took_and_lost_may_have_happened(driver, drivers, raw_server):
    proxy = raw_server(hang_up)
    result = run(drivers, driver, update, raw_server(hang_up), proxy=proxy.url)
    assert [request.method for request in proxy.requests] == ["PATCH"]
    assert_may_have_been_written(result)


def test_a_write_that_was_lost_at_the_other_end_of_a_tunnel_may_have_happened(
    driver, drivers, raw_server, proxy_server, certificates
):
    server = raw_server(hang_up, tls=certificates.server)
    result = run(drivers, driver, update, server, proxy=proxy_server.url, ca_bundle=certificates.ca)
    assert [request.method for request in server.requests] == ["PATCH"]
    assert_may_have_been_written(result)


# --------------------------------------------------------------------------------------- what never ends
#
# Each keeps saying something long before the timeout, and would never end.

DEADLINE = 0.2
SILENCE = 15.0
STEP = 0.02


def dripping(begun, piece):
    """Say ``begun``, then a piece every few milliseconds until somebody hangs up."""

    def answer(conversation):
        conversation.send(begun)
        while not conversation.server.stopped.wait(STEP):
            conversation.send(piece)

    return answer


def flooding(begun, piece):
    """Say ``begun``, then as many pieces as the socket takes."""

    def answer(conversation):
        conversation.send(begun)
        while not conversation.server.stopped.is_set():
            conversation.send(piece * 100)

    return answer


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "a status line that drips": dripping(b"HTTP/1.1 200 O", b"K"),
    "a header that drips": dripping(_HEAD + b"X-A: ", b"x"),
    "headers that drip": dripping(_HEAD, b"X: y\r\n"),
    "a body that drips": dripping(_HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "a body without a length that drips": dripping(_HEAD + b"\r\n", b" "),
    "chunks that drip": dripping(_CHUNKED, b"1\r\n \r\n"),
    "the length of a chunk that drips": dripping(_CHUNKED, b"0"),
    "the extension of a chunk that drips": dripping(_CHUNKED + b"5;", b"x"),
    "trailers that drip": dripping(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "a storm of 100s": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a flood of 100s": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "an unpacked body that drips": dripping(
        _HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n\x1f\x8b\x08\x08" + b"\0" * 6, b"x"
    ),
    "an error that drips": dripping(b"HTTP/1.1 502 x\r\nContent-Length: 1000000\r\n\r\n", b"<"),
}


def update(client):
    return client.unified("crm", "accounts").update("1", {"name": "x"})


def assert_ended_by_its_deadline(drivers, driver, case, server, **settings):
    began = time.monotonic()
    result = run(drivers, driver, case, server, deadline=DEADLINE, **{"read_timeout": SILENCE, **settings})
    assert time.monotonic() - began < SILENCE, "it was ended by the timeout, if at all"
    assert type(result.error) is TrutoTransportError
    ended = (f"within {DEADLINE} s (the connection's deadline)", "more than 100 interim answers")
    assert any(words in str(result.error) for words in ended), str(result.error)
    return result


@pytest.mark.parametrize("name", ENDLESS)
def test_an_attempt_ends_by_its_deadline(name, driver, drivers, raw_server):
    result = assert_ended_by_its_deadline(drivers, driver, update, raw_server(ENDLESS[name]))
    assert "Whether the write happened is unknown" in str(result.error)


def test_each_attempt_has_a_deadline_of_its_own(driver, drivers, raw_server):
    server = raw_server([ENDLESS["headers that drip"], lambda conversation: conversation.answer({"id": "1"})])
    result = run(drivers, driver, update, server, deadline=DEADLINE, read_timeout=SILENCE, max_attempts=2)
    assert result.value == {"id": "1"}
    assert len(result.requests) == 2


def test_a_body_over_tls_ends_by_its_deadline(driver, drivers, raw_server, certificates):
    server = raw_server(ENDLESS["a body that drips"], tls=certificates.server)
    assert_ended_by_its_deadline(drivers, driver, update, server, ca_bundle=certificates.ca)


def test_a_tls_handshake_ends_by_its_deadline(driver, drivers, raw_server):
    def drip(sock, number):
        sock.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
        with contextlib.suppress(OSError):
            while not server.stopped.wait(STEP):
                sock.sendall(b"\0")
        return False

    server = raw_server(lambda _: None, accepts=drip)
    settings = {"base_url": server.url.replace("http", "https"), "connect_timeout": SILENCE}
    assert_ended_by_its_deadline(drivers, driver, update, server, **settings)


@pytest.mark.parametrize(
    "drip",
    [
        dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        lambda conversation: conversation.stay_mute(),
    ],
    ids=["dripping", "mute"],
)
def test_a_proxy_that_lets_nobody_through_is_left_by_the_deadline(drip, driver, drivers, raw_server):
    server = raw_server(drip)
    settings = {"base_url": "https://127.0.0.1:9", "proxy": server.url, "connect_timeout": SILENCE}
    assert_ended_by_its_deadline(drivers, driver, update, server, **settings)


@contextlib.contextmanager
def taking_nobody(host, port=0):
    """A port at which nobody takes connections any more: connecting to it never ends."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


@pytest.fixture
def full_port():
    with taking_nobody("127.0.0.1") as port:
        yield port


def test_connecting_ends_by_the_deadline_also_where_a_host_has_many_addresses(
    full_port, driver, drivers, raw_server, monkeypatch
):
    found = socket.getaddrinfo

    def many(*args, **kwargs):
        return found(*args, **kwargs) * 4 if args[1] == full_port else found(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", many)
    # urllib3 takes an address that is named twice for one.
    monkeypatch.setattr(
        "airflow_provider_truto.client.transports.connections._find_addresses", lambda *_: ["127.0.0.1"] * 4
    )
    settings = {"base_url": f"http://127.0.0.1:{full_port}", "connect_timeout": SILENCE}
    assert_ended_by_its_deadline(drivers, driver, update, raw_server(lambda _: None), **settings)


def test_a_dead_address_leaves_time_for_the_next_one(drivers, raw_server, certificates, monkeypatch):
    """And what comes after it, such as TLS that takes its time, may take as long as it ever may."""

    def slow(sock, number):
        time.sleep(0.5)
        return True

    server = raw_server(lambda c: c.answer({"id": "1"}), tls=certificates.server, accepts=slow)
    found = ["127.0.0.2", "127.0.0.1"]
    monkeypatch.setattr("airflow_provider_truto.client.transports.connections._find_addresses", lambda *_: found)
    with taking_nobody("127.0.0.2", server.port):
        result = run(
            drivers, "sync", lambda client: get(client, "1"), server, connect_timeout=1, ca_bundle=certificates.ca
        )
    assert result.value == {"id": "1"}


def test_a_request_that_nobody_reads_ends_by_the_deadline(driver, drivers, raw_server):
    def unread(sock, number):
        server.stopped.wait(GENEROUS)
        return False

    server = raw_server(lambda _: None, accepts=unread)
    case = lambda client: client.custom("POST", "x", body=b"x" * 20_000_000)  # noqa: E731
    assert_ended_by_its_deadline(drivers, driver, case, server, connect_timeout=SILENCE)


def test_the_head_of_a_stream_ends_by_the_deadline(driver, drivers, raw_server):
    server = raw_server(ENDLESS["headers that drip"])
    assert_ended_by_its_deadline(drivers, driver, lambda client: client.custom("GET", "x", stream=True), server)


def test_a_stream_itself_may_take_longer_than_the_deadline(driver, drivers, raw_server):
    def slow(conversation):
        conversation.send(_HEAD + b"Content-Length: 20\r\n\r\n")
        for _ in range(20):
            conversation.send(b"x")
            time.sleep(2 * DEADLINE / 20)

    case = lambda client: client.custom("GET", "x", stream=True)  # noqa: E731
    result = run(drivers, driver, case, raw_server(slow), deadline=DEADLINE, read_timeout=SILENCE)
    assert result.value == b"x" * 20


def test_an_answer_in_time_is_not_disturbed_by_an_earlier_deadline(driver, drivers, raw_server):
    """A socket is left with the little time that its last read had left."""

    def slow(conversation):
        conversation.send(whole({"id": record_of(conversation)})[:-1])
        time.sleep(2 * DEADLINE)
        conversation.send(b"}")

    server = raw_server(slow)
    ends = run(drivers, driver, calls("1", "2", "3"), server, deadline=3 * DEADLINE, read_timeout=SILENCE).value
    assert [end.value for end in ends] == [{"id": "1"}, {"id": "2"}, {"id": "3"}]
    assert server.connections == 1


def test_waiting_for_a_place_is_not_a_part_of_an_attempt(raw_server):
    from airflow_provider_truto.client.aio import AsyncClient
    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.client.tokens import ApiToken, Token

    def slow(conversation):
        time.sleep(DEADLINE / 2)
        conversation.answer({"id": record_of(conversation)})

    async def main():
        settings = ClientSettings(
            base_url=raw_server(slow).url,
            requests_per_second=0,
            deadline=DEADLINE,
            max_attempts=1,
            integrated_account_id=ACME,
        )
        tokens = ApiToken(Token("t"), reread=lambda: Token("t"))
        async with AsyncClient(settings, tokens, connections=1) as client:
            return await asyncio.gather(*[get(client, str(number)) for number in range(5)])

    assert [record["id"] for record in asyncio.run(main())] == ["0", "1", "2", "3", "4"]


def test_a_session_that_users_hold_keeps_to_the_deadline(raw_server, make_client):
    import requests

    client = make_client(raw_server(ENDLESS["headers that drip"]).url, deadline=DEADLINE, read_timeout=SILENCE)
    began = time.monotonic()
    with pytest.raises(requests.Timeout):
        client.session.get("/ping")
    assert time.monotonic() - began < SILENCE


# ----------------------------------------------------------------------------------------- what is too much


LIMIT = 1_000_000
TOO_MUCH = {
    "one chunk": flooding(_CHUNKED + b"7fffffff\r\n", b" " * 1000),
    "the line of a chunk": flooding(_CHUNKED, b"0" * 1000),
    "the extension of a chunk": flooding(_CHUNKED + b"5;", b"x" * 1000),
    "a chunk of negative length": flooding(_CHUNKED + b"-1\r\n", b" " * 1000),
    "a body without a length": flooding(_HEAD + b"\r\n", b" " * 1000),
    "a length that is too large": flooding(_HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", b" " * 1000),
    "a header": flooding(_HEAD + b"X: ", b"x" * 1000),
    "headers": flooding(_HEAD, b"X: y\r\n" * 100),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_no_more_is_held_than_the_limit(name, driver, drivers, raw_server):
    import tracemalloc

    server = raw_server(TOO_MUCH[name])
    tracemalloc.start()
    try:
        result = run(drivers, driver, update, server, response_limit=LIMIT, deadline=1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(result.error) is TrutoTransportError
    assert peak < 20 * LIMIT
