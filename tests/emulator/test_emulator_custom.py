"""`/custom/{path}`: what reaches the CRM, and an answer that is too long for memory."""

import hashlib
import tracemalloc

import pytest
import requests

from airflow_provider_truto.emulator import ACME, HOOLI, INITECH, UMBRELLA


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_any_verb_reaches_the_crm(truto, emulator, method):
    answer = truto.call(method, "/custom/v1/sync", params={"since": "2024", "q[a]": "b"}, json={"a": [1]})
    assert answer.status_code == 200
    assert answer.json().keys() == {"result", "next_cursor", "prev_cursor"}
    result = answer.json()["result"]
    assert (result["method"], result["path"], result["body"]) == (method, "/v1/sync", {"a": [1]})
    assert result["query"] == {"since": "2024", "q": {"a": "b"}}
    assert emulator.executions[0]["remote_query"] == result["query"]
    assert "ratelimit-limit" in answer.headers


def test_a_head_has_the_headers_of_an_answer(truto):
    answer = truto.call("HEAD", "/custom/v1/sync")
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_path_is_that_of_the_wire(truto):
    answer = truto.raw("GET", f"/custom/a%2Fb//c%20d/?integrated_account_id={ACME}&x=1")
    assert answer.json()["result"]["path"] == "/a%2Fb//c%20d/"
    assert answer.json()["result"]["query"] == {"x": "1"}


@pytest.mark.parametrize(
    ("sent", "reached"),
    [
        (b'{"methodConfig": {"x": 1}, "a": {"methodConfig": 2}}', {"a": {"methodConfig": 2}}),
        (b'[{"methodConfig": 1}]', [{"methodConfig": 1}]),
        (b"7", 7),
        ("é <xml/>".encode(), "é <xml/>"),
        (b"", None),
        (b"\xff\x00", None),
    ],
)
def test_a_body_arrives_raw_and_without_the_configuration_of_the_method(truto, sent, reached):
    result = truto.call("POST", "/custom/x", data=sent).json()["result"]
    assert result["body"] == reached
    assert (result["body_bytes"], result["body_sha256"]) == (len(sent), hashlib.sha256(sent).hexdigest())


def test_some_headers_go_on_and_the_token_never_does(truto):
    given = {"Content-Type": "text/csv", "Accept": "application/json", "X-Own": "1", "Cookie": "a=b"}
    headers = truto.call("POST", "/custom/x", data=b"a", headers=given, key="k").json()["result"]["headers"]
    assert headers == {"content-type": "text/csv", "accept": "application/json", "x-own": "1"}


@pytest.mark.parametrize(
    ("method", "account", "status", "is_remote"),
    [
        ("GET", None, 400, False),
        ("GET", "x", 404, False),
        ("GET", INITECH, 200, False),
        ("PUT", INITECH, 405, False),
        ("GET", HOOLI, 503, False),
        ("GET", UMBRELLA, 401, True),
    ],
)
def test_the_account_is_looked_at_as_for_every_call(truto, method, account, status, is_remote):
    response = truto.call(method, "/custom/x", account=account)
    assert (response.status_code, "truto_is_remote_error" in response.json()) == (status, is_remote)


@pytest.mark.parametrize("size", [0, 1, 250, 251, 252, 65_535, 65_536, 200_001])
def test_an_export_is_so_many_bytes_in_chunks(truto, size):
    response = truto.get(f"/custom/export/{size}")
    assert response.content == bytes(place % 251 for place in range(size))
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in response.headers


def test_an_export_that_is_not_a_number_is_a_path_like_any_other(truto):
    assert truto.get("/custom/export/many").json()["result"]["path"] == "/export/many"


def test_a_long_export_needs_no_memory(truto):
    tracemalloc.start()
    try:
        with truto.get("/custom/export/150000000", stream=True) as response:
            assert sum(len(chunk) for chunk in response.iter_content(1 << 20)) == 150_000_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_an_export_may_be_left_half_way(truto):
    with truto.get("/custom/export/900000000", stream=True) as response:
        next(response.iter_content(1000))
    assert truto.get().status_code == 200


@pytest.mark.parametrize("spec", [{"cut": 1000}, {"truncate": 1000}])
def test_an_export_is_hit_by_faults(truto, emulator, spec):
    emulator.fault(**spec)
    if "cut" in spec:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            truto.get("/custom/export/5000")
    else:
        assert len(truto.get("/custom/export/5000").content) == 1000
