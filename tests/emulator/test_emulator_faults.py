"""Scripted faults, seen on the socket."""

import socket
import time

import pytest
import requests

from airflow_provider_truto.emulator import ACME, GLOBEX

NORTHWIND = "/unified/crm/accounts/23423523"


def read_all(emulator, *, method="PATCH", body=b'{"name": "N"}'):
    """Send one call on a socket of its own and read until the other side is done."""
    host, _, port = emulator.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"{method} {NORTHWIND}?integrated_account_id={ACME} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {emulator.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def test_a_reset_before_is_a_real_one_and_nothing_is_executed(emulator):
    emulator.fault(reset="before")
    with pytest.raises(ConnectionResetError):
        read_all(emulator)
    assert len(emulator.requests) == 1
    assert emulator.executions == []


def test_a_reset_after_comes_when_the_call_is_executed(truto, emulator):
    emulator.fault(reset="after")
    with pytest.raises(ConnectionResetError):
        read_all(emulator)
    assert len(emulator.executions) == 1
    assert truto.get().json()["name"] == "N"


def test_a_reset_is_a_connection_error_to_requests(truto, emulator):
    emulator.fault(reset="before")
    with pytest.raises(requests.ConnectionError) as caught:
        truto.get()
    assert "ConnectionResetError" in repr(caught.value)


@pytest.mark.parametrize("cut", [0, 7])
def test_a_cut_answer_declares_more_than_it_sends(truto, emulator, cut):
    whole = truto.get().content
    emulator.fault(method="GET", cut=cut)
    head, _, body = read_all(emulator, method="GET", body=b"").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert f"content-length: {len(whole)}".encode() in head.lower()
    assert body == whole[:cut]


def test_a_cut_write_was_executed(truto, emulator):
    emulator.fault(cut=7)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        truto.patch(json={"name": "N"})
    assert len(emulator.executions) == 1


def test_a_cut_stream_declares_a_length_as_well(truto, emulator):
    emulator.fault(cut=7)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        truto.get(params={"truto_response_format": "stream"})


def test_a_truncated_answer_is_well_formed(truto, emulator):
    whole = truto.get().content
    emulator.fault(truncate=10)
    response = truto.get()
    assert (response.status_code, response.content) == (200, whole[:10])
    assert response.headers["content-length"] == "10"
    assert truto.get().content == whole


@pytest.mark.parametrize(
    ("spec", "status", "content_type", "body"),
    [
        (
            {"status": 502, "text": "<html>Bad gateway</html>"},
            502,
            "text/plain; charset=utf-8",
            b"<html>Bad gateway</html>",
        ),
        ({"text": "<p>", "headers": {"Content-Type": "text/html"}}, 200, "text/html", b"<p>"),
        ({"status": 200, "body": None}, 200, "application/json", b"null"),
        ({"body": {"x": [1]}}, 200, "application/json", b'{"x":[1]}'),
        ({"status": 202}, 202, None, b""),
        ({"status": 204}, 204, None, b""),
        ({"status": 204, "body": {"x": 1}}, 204, "application/json", b""),
        ({"status": 500, "text": ""}, 500, "text/plain; charset=utf-8", b""),
        ({"status": 599, "text": "é"}, 599, "text/plain; charset=utf-8", "é".encode()),
    ],
)
def test_a_scripted_answer_is_sent_as_it_is(truto, emulator, spec, status, content_type, body):
    emulator.fault(**spec)
    response = truto.patch(json={"name": "N"})
    assert response.status_code == status
    assert response.headers.get("content-type") == content_type
    assert response.content == body
    assert "ratelimit-limit" not in response.headers
    assert emulator.executions == []
    assert truto.get().status_code == 200, "the connection is still in order"


def test_a_scripted_error_has_the_usual_body_and_just_the_headers_given(truto, emulator):
    emulator.fault(status=503, headers={"Retry-After": "3"})
    response = truto.patch(json={"name": "N"})
    assert response.json().keys() == {"statusCode", "error", "message"}
    assert response.json()["statusCode"] == 503
    assert response.headers["retry-after"] == "3"
    emulator.fault(status=429)
    assert "retry-after" not in truto.get().headers


def test_headers_alone_are_set_on_the_real_answer(truto, emulator):
    emulator.fault(headers={"RateLimit-Remaining": "0", "X-New": 5})
    response = truto.get()
    assert response.json()["id"] == "23423523"
    assert response.headers["ratelimit-remaining"] == "0"
    assert response.headers["x-new"] == "5"


def test_a_replaced_call_is_executed_only_where_asked_for(truto, emulator):
    emulator.fault(status=500)
    emulator.fault(status=500, apply=True)
    assert [truto.patch(json={"name": "N"}).status_code for _ in range(3)] == [500, 500, 200]
    assert len(emulator.executions) == 2


@pytest.mark.parametrize(("when", "executed"), [("delay_before", 0), ("delay_after", 1)])
def test_a_delay_is_on_one_side_of_the_execution(truto, emulator, when, executed):
    emulator.fault(**{when: 0.5})
    with pytest.raises(requests.ReadTimeout):
        requests.patch(
            f"{emulator.url}{NORTHWIND}?integrated_account_id={ACME}",
            json={"name": "N"},
            headers={"Authorization": f"Bearer {emulator.token}"},
            timeout=(5, 0.2),
        )
    assert len(emulator.executions) == executed
    time.sleep(0.5)
    assert len(emulator.executions) == 1, "a client that goes away does not stop the call"


def test_an_execution_is_timed_when_it_happens(truto, emulator):
    emulator.fault(delay_before=0.2)
    truto.patch(json={"name": "N"})
    assert emulator.executions[0]["time"] - emulator.requests[0]["time"] > 0.15


def test_a_delay_does_not_hold_up_other_calls(truto, emulator):
    emulator.fault(method="PATCH", delay_before=20)
    with pytest.raises(requests.ReadTimeout):
        requests.patch(f"{emulator.url}{NORTHWIND}", timeout=(5, 0.1))
    started = time.monotonic()
    assert truto.get().status_code == 200
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("spec", "statuses"),
    [
        ({}, [500, 200, 200, 200]),
        ({"times": 2}, [500, 500, 200, 200]),
        ({"times": 0}, [200, 200, 200, 200]),
        ({"times": None}, [500, 500, 500, 500]),
        ({"skip": 1}, [200, 500, 200, 200]),
        ({"skip": 1, "times": 2}, [200, 500, 500, 200]),
        ({"skip": 2, "times": None}, [200, 200, 500, 500]),
    ],
)
def test_a_fault_is_played_as_often_as_it_says(truto, emulator, spec, statuses):
    emulator.fault(status=500, **spec)
    assert [truto.get().status_code for _ in range(4)] == statuses


@pytest.mark.parametrize(
    ("spec", "is_hit"),
    [
        ({"method": "PATCH"}, True),
        ({"method": "patch"}, True),
        ({"method": "GET"}, False),
        ({"account": ACME}, True),
        ({"account": GLOBEX}, False),
        ({"path": "^/unified/crm/accounts/23423523$"}, True),
        ({"path": "accounts/2"}, True),
        ({"path": "^accounts"}, False),
        ({"method": "PATCH", "path": "nothing"}, False),
    ],
)
def test_a_fault_hits_what_it_describes(truto, emulator, spec, is_hit):
    emulator.fault(status=500, **spec)
    assert truto.patch(json={"name": "N"}).status_code == (500 if is_hit else 200)


def test_the_path_of_a_fault_is_the_decoded_one(truto, emulator):
    emulator.fault(status=500, path="/a/é$")
    target = f"/unified/crm/accounts/a%2F%C3%A9?integrated_account_id={ACME}"
    assert truto.raw("GET", target).status_code == 500


def test_the_oldest_fault_that_matches_fires(truto, emulator):
    emulator.fault(status=500)
    emulator.fault(status=502, method="GET")
    emulator.fault(status=504, skip=1)
    assert [truto.get().status_code for _ in range(5)] == [500, 502, 200, 504, 200]


def test_faults_are_cleared(truto, emulator):
    emulator.fault(status=500, times=None)
    emulator.clear_faults()
    assert truto.get().status_code == 200


def test_a_fault_comes_before_the_token_is_looked_at(truto, emulator):
    emulator.fault(status=502)
    assert truto.get(headers={"Authorization": "Bearer x"}).status_code == 502


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"stauts": 500}, "unknown fault keys: stauts; known are method, path, account, times"),
        ({"status": "500"}, "status"),
        ({"status": 99}, "200 to 599"),
        ({"status": 700}, "200 to 599"),
        ({"times": -1}, "negative"),
        ({"times": 1.5}, "times"),
        ({"skip": True}, "skip"),
        ({"apply": 1}, "apply"),
        ({"delay_before": -0.1}, "negative"),
        ({"delay_after": "1"}, "delay_after"),
        ({"reset": "now"}, "before"),
        ({"path": "("}, "regular expression"),
        ({"headers": []}, "headers"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(truto, emulator, spec, message):
    with pytest.raises(ValueError, match=message):
        emulator.fault(**spec)
    response = requests.post(f"{emulator.url}/_emulator/faults", json=spec, timeout=10)
    assert response.status_code == 400
    assert message in response.json()["message"]
    assert truto.get().status_code == 200
