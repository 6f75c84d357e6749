"""One call to its end: what is retried, how long is waited, which key and which token each attempt carries."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_truto.client.core import Client, putting_off
from airflow_provider_truto.client.errors import (
    TrutoApiError,
    TrutoError,
    TrutoMethodNotAllowedError,
    TrutoRateLimitError,
    TrutoReauthorizationRequiredError,
    TrutoServerError,
    TrutoTransportError,
)
from airflow_provider_truto.client.pages import Pages
from airflow_provider_truto.client.rate_limit_headers import parse_wait
from airflow_provider_truto.client.request import Request, build_path, encode_query
from airflow_provider_truto.client.statuses import STATUSES
from airflow_provider_truto.client.tokens import Token
from airflow_provider_truto.emulator import ACME, INITECH, UMBRELLA, Emulator
from airflow_provider_truto.hooks.truto import TrutoHook

REMOTE = {"message": "the CRM is tired", "truto_is_remote_error": True, "raw_response": "tired"}
CAPABILITIES = ["integrated-account", ACME, "capabilities"]


def writes(emulator):
    return [request for request in emulator.requests if request["method"] == "PATCH"]


def others(emulator):
    return [request["path"] for request in emulator.requests if request["method"] != "PATCH"]


def keys(emulator):
    return [request["headers"]["idempotency-key"] for request in writes(emulator)]


# ------------------------------------------------------------------------------------------------ what is retried

RETRIED = [408, 425, 429, 500, 502, 504]
UNLISTED = [402, 406, 410, 412, 413, 418, 423, 451, 505, 507, 511, 599]
#: What the table lists, and what it does not. Of a 503, the account decides.
FINAL = sorted({*STATUSES, *UNLISTED} - {*RETRIED, 503})


@pytest.mark.parametrize("status", FINAL)
def test_what_stays_as_it_is_is_not_tried_again(status, emulator, client, write, sleeps):
    emulator.fault(status=status, method="PATCH", times=None)
    with pytest.raises(TrutoApiError) as caught:
        client.run(write())
    assert caught.value.status == status
    assert (caught.value.attempts, caught.value.waited) == (1, 0)
    assert len(writes(emulator)) == 1
    assert sleeps == []


@pytest.mark.parametrize("status", [*RETRIED, 501, 503, 505, 599])
def test_a_failing_crm_is_tried_again(status, emulator, client, write):
    emulator.fault(status=status, body=REMOTE, method="PATCH", times=2)
    assert client.run(write()).attempts == 3
    assert others(emulator) == [], "a blocked account would be Truto's answer, not the CRM's"


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 422, 501])
def test_a_refusing_crm_is_tried_again_only_where_it_failed(status, emulator, client, write):
    emulator.fault(status=status, body=REMOTE, method="PATCH", times=1)
    if status >= 500:
        assert client.run(write()).attempts == 2
    else:
        with pytest.raises(TrutoApiError):
            client.run(write())
        assert len(writes(emulator)) == 1
    assert others(emulator) == []


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_after_max_attempts_the_last_error_is_raised(max_attempts, emulator, make_client, write, sleeps):
    emulator.fault(status=502, method="PATCH", times=max_attempts - 1)
    emulator.fault(status=504, method="PATCH", times=None)
    client = make_client(emulator.url, token=emulator.token, max_attempts=max_attempts)
    with pytest.raises(TrutoServerError) as caught:
        client.run(write())
    assert caught.value.status == 504
    assert caught.value.attempts == max_attempts == len(writes(emulator))
    assert len(sleeps) == max_attempts - 1
    assert caught.value.waited == pytest.approx(sum(sleeps))
    assert caught.value.idempotency_key == "v1-test"


def test_a_host_at_which_nobody_listens_is_tried_to_the_end(make_client, write, sleeps):
    with pytest.raises(TrutoTransportError, match=r"5 attempts.*Nothing was written") as caught:
        make_client("http://127.0.0.1:1").run(write())
    assert caught.value.attempts == 5
    assert len(sleeps) == 4
    assert caught.value.waited == pytest.approx(sum(sleeps))


def test_a_read_that_got_no_answer_leaves_no_doubt_about_a_write(make_client, read):
    with pytest.raises(TrutoTransportError) as caught:
        make_client("http://127.0.0.1:1", max_attempts=1).run(read())
    assert "write" not in str(caught.value)
    assert "1 attempt:" in str(caught.value)


def test_a_write_without_a_key_is_never_repeated_after_a_lost_answer(raw_server, make_client, write):
    # Truto may have executed it, and without a key it would execute it again.
    server = raw_server(lambda conversation: conversation.reset())
    with pytest.raises(TrutoTransportError, match="unknown"):
        make_client(server.url).run(write(key=None))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_write_without_a_key_is_never_repeated_after_a_failure(status, emulator, client, write, sleeps):
    emulator.fault(status=status, method="PATCH", apply=True)
    with pytest.raises(TrutoApiError) as caught:
        client.run(write(key=None))
    assert caught.value.status == status
    assert len(writes(emulator)) == len(emulator.executions) == 1
    assert sleeps == []


@pytest.mark.parametrize("status", [425, 429])
def test_a_write_without_a_key_is_repeated_where_it_was_refused(status, emulator, client, write):
    emulator.fault(status=status, method="PATCH", times=2)
    assert client.run(write(key=None)).attempts == 3
    assert len(emulator.executions) == 1


# ------------------------------------------------------------------------------------------------------- 503, 405


UNKNOWN = {
    "the question fails": {"status": 500},
    "the question is refused": {"status": 403},
    "the question fails in words of a success": {"status": 500, "body": {"account": {"is_blocked": False}}},
    "the answer is not JSON": {"text": "<html>"},
    "the answer is a list": {"body": []},
    "no account in the answer": {"body": {"integration": {}}},
    "an account that is not an object": {"body": {"account": "blocked"}},
    "nothing about blocking": {"body": {"account": {"status": "active"}}},
    "blocking that is not a boolean": {"body": {"account": {"is_blocked": "no"}}},
    "blocking that is null": {"body": {"account": {"is_blocked": None}}},
    "no answer at all": {"reset": "before"},
}


@pytest.mark.parametrize("answer", UNKNOWN.values(), ids=UNKNOWN)
def test_a_503_is_final_where_nobody_knows_whether_the_account_is_blocked(answer, emulator, client, write, sleeps):
    emulator.fault(status=503, method="PATCH", times=None)
    emulator.fault(path="/capabilities$", times=None, **answer)
    with pytest.raises(TrutoServerError, match="could not be found out") as caught:
        client.run(write())
    assert type(caught.value) is TrutoServerError
    assert caught.value.status == 503
    assert others(emulator) == [CAPABILITIES], "the question itself is not repeated"
    assert len(writes(emulator)) == 1
    assert sleeps == []


def test_a_503_of_a_call_without_an_account_is_tried_again_without_a_question(raw_server, make_client, read):
    server = raw_server(
        [lambda conversation: conversation.answer(status=503)] * 2 + [lambda conversation: conversation.answer()]
    )
    assert make_client(server.url).run(read(account=None)).attempts == 3
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "lookup",
    [{}, {"status": 500}, {"text": "<html>"}, {"body": {"is_sandbox": "true"}}, {"body": [1]}, {"reset": "before"}],
    ids=["a real account", "an error", "no JSON", "no boolean", "a list", "a reset"],
)
def test_a_405_of_any_other_account_is_a_method_that_is_not_offered(lookup, emulator, client, write):
    emulator.fault(status=405, method="PATCH", times=None)
    if lookup:
        emulator.fault(path="^/integrated-account/", times=None, **lookup)
    with pytest.raises(TrutoMethodNotAllowedError) as caught:
        client.run(write())
    assert type(caught.value) is TrutoMethodNotAllowedError
    assert len(emulator.requests) == 2


def test_a_405_on_a_read_needs_no_question(emulator, client, read):
    emulator.fault(status=405)
    with pytest.raises(TrutoMethodNotAllowedError):
        client.run(read(account=INITECH))
    assert len(emulator.requests) == 1


# -------------------------------------------------------------------------------------------------------- waiting


def http_date(seconds):
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


#: Headers → the least seconds to wait; at most one second of jitter comes on top.
ASKED = {
    "seconds": (429, {"Retry-After": "7"}, 7),
    "a fraction": (429, {"Retry-After": "2.5"}, 2.5),
    "less than a second": (429, {"Retry-After": "0.001"}, 1),
    "seconds before the reset": (429, {"Retry-After": "7", "ratelimit-reset": "60"}, 7),
    "zero": (429, {"Retry-After": "0"}, 10),
    "zero, but a reset": (429, {"Retry-After": "0", "ratelimit-reset": "8"}, 8),
    "less than zero": (429, {"Retry-After": "-3", "ratelimit-reset": "8"}, 8),
    "garbage": (429, {"Retry-After": "soon"}, 10),
    "garbage, but a reset": (429, {"Retry-After": "soon", "ratelimit-reset": "8"}, 8),
    "empty": (429, {"Retry-After": "", "ratelimit-reset": "8"}, 8),
    "infinity": (429, {"Retry-After": "inf", "ratelimit-reset": "8"}, 8),
    "NaN": (429, {"Retry-After": "nan", "ratelimit-reset": "8"}, 8),
    "a reset alone": (429, {"ratelimit-reset": "8"}, 8),
    "a reset of zero": (429, {"ratelimit-reset": "0"}, 10),
    "a reset since the epoch": (429, {"ratelimit-reset": "1795500000000"}, 10),
    "garbage twice": (429, {"Retry-After": "soon", "ratelimit-reset": "later"}, 10),
    "nothing": (429, {}, 10),
    "a date that is over": (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 10),
    "a date that is over, but a reset": (
        429,
        {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "ratelimit-reset": "8"},
        8,
    ),
    "a date of no calendar": (429, {"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, 10),
    "a failing server that asks": (500, {"Retry-After": "7"}, 7),
    "a gateway that asks": (504, {"Retry-After": "8"}, 8),
    "a busy server that asks": (503, {"Retry-After": "7"}, 7),
    "a server that asks later": (425, {"Retry-After": "7"}, 7),
}


@pytest.mark.parametrize(("status", "headers", "least"), ASKED.values(), ids=ASKED)
def test_the_server_is_waited_for_as_long_as_it_asks(status, headers, least, emulator, client, write, sleeps):
    emulator.fault(status=status, headers=headers, method="PATCH")
    result = client.run(write())
    assert len(sleeps) == 1
    assert least <= sleeps[0] <= least + 1
    assert result.waited == sleeps[0]


def test_a_date_without_a_zone_is_in_gmt(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert parse_wait({"retry-after": "Thu, 01 Jan 1970 00:01:00"}, now=0) == 60
        assert parse_wait({"retry-after": "Thu, 01 Jan 1970 00:01:00 -0000"}, now=0) == 60
        assert parse_wait({"retry-after": "Thu, 01 Jan 1970 05:31:00 +0530"}, now=0) == 60
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    retry_after=st.none()
    | st.text()
    | st.floats().map(str)
    | st.datetimes().map(lambda moment: format_datetime(moment)),
    reset=st.none() | st.text() | st.integers().map(str),
)
@example(retry_after="Mon, 01 Jan 99999999999 00:00:00 GMT", reset=None)
@example(retry_after="Mon, 01 Jan 2024 99999999999999999999:00:00 GMT", reset=None)
@example(retry_after="Mon, 01 Jan 2024 00:00:00 +99999999", reset=None)
@example(retry_after="Mon, 01 Jan 0001 00:00:00 +2359", reset=None)
@example(retry_after="1" * 400, reset=None)
@example(retry_after="Jan", reset="٣")
def test_no_header_makes_waiting_fail(retry_after, reset):
    given_headers = {"retry-after": retry_after, "ratelimit-reset": reset}
    headers = {name: value for name, value in given_headers.items() if value is not None}
    seconds = parse_wait(headers, now=1_700_000_000)
    assert seconds is None or 1 <= seconds < float("inf")


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_without_being_asked_the_waits_double(status, emulator, make_client, write, sleeps):
    emulator.fault(status=status, method="PATCH", times=9)
    client = make_client(emulator.url, token=emulator.token, max_attempts=10, max_wait=1000)
    assert client.run(write()).attempts == 10
    ceilings = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(ceiling / 2 <= slept <= ceiling for ceiling, slept in zip(ceilings, sleeps, strict=True))


def test_lost_connections_are_waited_for_like_failing_servers(make_client, write, sleeps):
    with pytest.raises(TrutoTransportError):
        make_client("http://127.0.0.1:1", max_attempts=4).run(write())
    assert all(ceiling / 2 <= slept <= ceiling for ceiling, slept in zip([1, 2, 4], sleeps, strict=True))


def test_two_callers_that_were_told_the_same_do_not_come_back_together(emulator, client, write, sleeps):
    emulator.fault(status=429, headers={"Retry-After": "5"}, method="PATCH", times=4)
    client.run(write())
    assert len(set(sleeps)) == 4


@pytest.mark.parametrize("status", [425, 429, 500, 503])
def test_a_wait_that_does_not_fit_fails_at_once_and_is_named(status, emulator, make_client, write, sleeps):
    emulator.fault(status=status, headers={"Retry-After": "61"}, method="PATCH", times=None)
    client = make_client(emulator.url, token=emulator.token, max_wait=60)
    with pytest.raises(TrutoApiError, match=r"would wait 61 s, 60 s are left") as caught:
        client.run(write())
    assert caught.value.retry_after == 61
    assert (caught.value.attempts, caught.value.waited, sleeps) == (1, 0, [])
    assert len(writes(emulator)) == 1


@pytest.mark.parametrize(("status", "least", "most"), [(429, 10, 10), (500, 0.5, 1)], ids=["429", "500"])
def test_a_wait_that_nobody_asked_for_is_named_as_well(status, least, most, emulator, make_client, write, sleeps):
    emulator.fault(status=status, method="PATCH", times=None)
    with pytest.raises(TrutoApiError, match="are left of max_wait") as caught:
        make_client(emulator.url, token=emulator.token, max_wait=0.2).run(write())
    assert least <= caught.value.retry_after <= most
    assert sleeps == []


def test_a_wait_that_just_fits_is_waited_whole(emulator, make_client, write, sleeps):
    emulator.fault(status=429, headers={"Retry-After": "60"}, method="PATCH")
    make_client(emulator.url, token=emulator.token, max_wait=60).run(write())
    assert sleeps == [60]


def test_the_waits_of_a_call_are_bounded_together(emulator, make_client, write, sleeps):
    emulator.fault(status=429, headers={"Retry-After": "100"}, method="PATCH", times=None)
    client = make_client(emulator.url, token=emulator.token, max_attempts=50, max_wait=250)
    with pytest.raises(TrutoRateLimitError) as caught:
        client.run(write())
    assert len(sleeps) == 2
    assert all(100 <= slept <= 101 for slept in sleeps)
    assert caught.value.retry_after == 100
    assert caught.value.attempts == 3
    assert caught.value.waited == pytest.approx(sum(sleeps))


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 429}, {"reset": "before"}], ids=["500", "429", "reset"]
)
def test_who_may_not_wait_fails_at_the_first_try(fault, emulator, make_client, write, sleeps):
    emulator.fault(method="PATCH", times=None, **fault)
    with pytest.raises(TrutoError) as caught:
        make_client(emulator.url, token=emulator.token, max_wait=0).run(write())
    assert (caught.value.attempts, sleeps) == (1, [])


@given(
    asked=st.lists(st.none() | st.integers(0, 400), min_size=1, max_size=8),
    max_wait=st.integers(0, 600),
    max_attempts=st.integers(1, 6),
)
def test_no_sequence_of_refusals_is_waited_for_too_short_or_too_long(
    asked, max_wait, max_attempts, emulator, make_client, write, sleeps
):
    emulator.reset()
    sleeps.clear()
    for seconds in asked:
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        emulator.fault(status=429, headers=headers, method="PATCH")
    client = make_client(emulator.url, token=emulator.token, max_attempts=max_attempts, max_wait=max_wait)
    try:
        attempts = client.run(write()).attempts
    except TrutoRateLimitError as error:
        attempts = error.attempts
    client.close()
    least = [seconds or 10 for seconds in asked]
    assert attempts == len(sleeps) + 1 <= max_attempts
    assert sum(sleeps) <= max_wait
    assert all(minimum <= slept <= minimum + 1 for minimum, slept in zip(least, sleeps, strict=False))


# ----------------------------------------------------------------------------------------------- idempotency keys


class Store:
    """A store of key versions that remembers what had been sent when it was written to."""

    def __init__(self, emulator, version=1):
        self.emulator = emulator
        self.version = version
        self.saved = []
        self.refusals = 0
        self.may_advance = True

    def load(self):
        return self.version

    def save(self, version):
        self.saved.append((version, keys(self.emulator)))
        self.version, self.refusals = version, 0

    def put_off(self, *, refusals, may_have_executed):
        self.refusals, self.may_advance = refusals, self.may_advance and not may_have_executed


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 408}, {"reset": "after"}, {"cut": 3}, {"status": 503}])
@pytest.mark.parametrize("stored", [False, True], ids=["no store", "a store"])
def test_every_attempt_of_a_write_carries_the_same_key(stored, fault, emulator, client, write):
    emulator.fault(method="PATCH", times=4, **fault)
    store = Store(emulator) if stored else None
    result = client.run(write(key="v1-abc"), key_versions=store)
    assert keys(emulator) == ["v1-abc"] * 5
    assert result.request.idempotency_key == "v1-abc"
    assert store is None or store.saved == []


@pytest.mark.parametrize("status", [429, 425])
def test_without_a_store_a_refused_key_is_kept_without_end(status, emulator, client, write):
    emulator.fault(status=status, method="PATCH", times=4)
    client.run(write(key="v1-abc"))
    assert keys(emulator) == ["v1-abc"] * 5


@pytest.mark.parametrize("status", [429, 425])
def test_with_a_store_a_key_that_was_refused_twice_advances(status, emulator, client, write):
    emulator.fault(status=status, method="PATCH", times=4)
    store = Store(emulator)
    result = client.run(write(key="v1-abc"), key_versions=store)
    assert keys(emulator) == ["v1-abc", "v1-abc", "v1-abc-2", "v1-abc-2", "v1-abc-3"]
    assert result.request.idempotency_key == "v1-abc-3"
    assert store.version == 3


def test_the_key_version_is_saved_before_it_is_sent(emulator, client, write):
    emulator.fault(status=429, method="PATCH", times=4)
    store = Store(emulator)
    client.run(write(key="v1-abc"), key_versions=store)
    assert store.saved == [(2, ["v1-abc"] * 2), (3, ["v1-abc", "v1-abc", "v1-abc-2", "v1-abc-2"])]


def test_a_key_version_that_cannot_be_saved_is_not_sent(emulator, client, write):
    class Broken(Store):
        def save(self, version):
            raise OSError("the store is gone")

    emulator.fault(status=429, method="PATCH", times=None)
    with pytest.raises(OSError, match="the store is gone"):
        client.run(write(key="v1-abc"), key_versions=Broken(emulator))
    assert set(keys(emulator)) == {"v1-abc"}


def test_one_refusal_among_other_failures_does_not_advance_the_key(emulator, client, write):
    for status in (429, 500, 502):
        emulator.fault(status=status, method="PATCH")
    store = Store(emulator)
    client.run(write(key="v1-abc"), key_versions=store)
    assert keys(emulator) == ["v1-abc"] * 4
    assert store.saved == []


@pytest.mark.parametrize("fault", [{"reset": "after"}, {"status": 500}, {"status": 502, "apply": True}], ids=str)
def test_a_key_under_which_a_write_may_have_been_executed_never_advances(emulator, client, write, fault):
    emulator.fault(method="PATCH", **fault)
    emulator.fault(status=429, method="PATCH", times=3)
    store = Store(emulator)
    client.run(write(key="v1-abc"), key_versions=store)
    assert keys(emulator) == ["v1-abc"] * 5
    assert store.saved == []


def test_a_key_that_an_earlier_try_has_sent_never_advances(emulator, client, write):
    emulator.fault(status=429, method="PATCH", times=3)
    store = Store(emulator, version=2)
    store.may_advance = False
    client.run(write(key="v1-abc"), key_versions=store)
    assert keys(emulator) == ["v1-abc-2"] * 4


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_failure_that_is_not_a_refusal_does_not_wait_for_the_limit_s_reset(emulator, client, read, sleeps, status):
    emulator.fault(status=status, headers={"ratelimit-remaining": "9000", "ratelimit-reset": "3000"})
    client.run(read())
    assert len(sleeps) == 1
    assert sleeps[0] <= 1


def test_a_refusal_that_is_not_waited_for_does_not_advance_the_key(emulator, make_client, write):
    emulator.fault(status=429, method="PATCH", times=None)
    store = Store(emulator)
    with pytest.raises(TrutoRateLimitError) as caught:
        make_client(emulator.url, token=emulator.token, max_attempts=2).run(write(key="v1-abc"), key_versions=store)
    assert store.saved == []
    assert caught.value.idempotency_key == "v1-abc"


def test_a_call_goes_on_with_the_key_version_that_was_stored(emulator, client, write):
    emulator.fault(status=500, method="PATCH")
    result = client.run(write(key="v1-abc"), key_versions=Store(emulator, version=4))
    assert keys(emulator) == ["v1-abc-4", "v1-abc-4"]
    assert result.request.idempotency_key == "v1-abc-4"


def test_an_error_names_the_key_that_went_out_last(emulator, client, write):
    emulator.fault(status=429, method="PATCH", times=None)
    with pytest.raises(TrutoRateLimitError) as caught:
        client.run(write(key="v1-abc"), key_versions=Store(emulator))
    assert caught.value.idempotency_key == keys(emulator)[-1] == "v1-abc-3"


def test_a_cached_refusal_is_left_behind_by_advancing(make_client, write, sleeps):
    with Emulator(cache_refusals=True) as emulator:
        emulator.fault(status=429, method="PATCH")
        result = make_client(emulator.url, token=emulator.token).run(write(), key_versions=Store(emulator))
        assert result.value["name"] == "Initrode"
        assert keys(emulator) == ["v1-test", "v1-test", "v1-test-2"]
        assert len(emulator.executions) == 1


def test_a_read_has_no_key_to_advance(emulator, client, read):
    emulator.fault(status=429, times=4)
    store = Store(emulator)
    assert client.run(read(), key_versions=store).attempts == 5
    assert store.saved == []


# ----------------------------------------------------------------------------------------- waits that are put off

LONG = {"status": 429, "headers": {"Retry-After": "3600"}}


def put_off(client, request, *, over=60, key_versions=None):
    return client.do(putting_off(Client.run, over=over), request, key_versions=key_versions)


@pytest.mark.parametrize(
    ("fault", "over", "seconds"),
    [
        ({"status": 429, "headers": {"Retry-After": "61"}}, 60, 61),
        ({"status": 429, "headers": {"Retry-After": "60"}}, 60, None),
        ({"status": 429, "headers": {"ratelimit-reset": "900"}}, 60, 900),
        ({"status": 503, "headers": {"Retry-After": "3600"}, "body": REMOTE}, 60, 3600),
        ({"status": 429}, 5, 10),
        ({"status": 500}, 0.1, None),
        ({"reset": "before"}, 0.1, None),
        ({"status": 429, "headers": {"Retry-After": "61"}}, None, None),
    ],
    ids=str,
)
def test_a_wait_that_was_asked_for_and_is_too_long_is_put_off(fault, over, seconds, emulator, client, write, sleeps):
    emulator.fault(method="PATCH", **fault)
    if seconds is None:
        assert put_off(client, write(), over=over).attempts == 2
        assert len(sleeps) == 1
    else:
        with pytest.raises(TrutoApiError, match=f"may come in {seconds} s") as caught:
            put_off(client, write(), over=over)
        assert (caught.value.is_put_off, caught.value.retry_after, sleeps) == (True, seconds, [])
        assert emulator.executions == []


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_the_last_attempt_is_not_put_off(max_attempts, emulator, make_client, write):
    emulator.fault(method="PATCH", status=429, headers={"Retry-After": "1"}, times=max_attempts - 1)
    emulator.fault(method="PATCH", **LONG)
    with pytest.raises(TrutoRateLimitError) as caught:
        put_off(make_client(emulator.url, token=emulator.token, max_attempts=max_attempts), write())
    assert not caught.value.is_put_off


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([[LONG], []], ["k", "k"]),
        ([[LONG], [LONG], []], ["k", "k", "k-2"]),
        ([[LONG], [{"status": 429}]], ["k", "k", "k-2"]),
        ([[LONG]] * 4 + [[]], ["k", "k", "k-2", "k-2", "k-3"]),
        ([[{"reset": "after"}, LONG], [LONG], []], ["k", "k", "k", "k"]),
        ([[LONG], [{"status": 500}, LONG], [LONG], []], ["k", "k", "k", "k", "k"]),
    ],
    ids=["once", "twice", "and a short one", "four times", "a lost answer before", "a lost answer between"],
)
def test_what_a_key_has_seen_is_known_to_the_call_that_goes_on(parts, expected, emulator, client, write):
    store = Store(emulator)
    for faults in parts:
        for fault in faults:
            emulator.fault(method="PATCH", **fault)
        with suppress(TrutoRateLimitError):
            put_off(client, write(key="k"), key_versions=store)
    assert keys(emulator) == expected
    assert len(emulator.executions) == 1


def test_of_a_list_only_the_wait_before_its_first_page_is_put_off(emulator, client, sleeps):
    async def open_pages(own_client):
        query = encode_query({"integrated_account_id": ACME, "limit": 2})
        return Pages(own_client, Request(method="GET", path=build_path("unified", "crm", "contacts"), query=query))

    emulator.fault(**LONG)
    with pytest.raises(TrutoRateLimitError) as caught:
        list(client.listing(putting_off(open_pages, over=60)))
    assert caught.value.is_put_off
    emulator.fault(skip=1, status=429, headers={"Retry-After": "200"})
    assert len(list(client.listing(putting_off(open_pages, over=60)))) == 5
    assert len(sleeps) == 1


# ------------------------------------------------------------------------------------------------------------ tokens


@pytest.fixture
def rotated(emulator, make_client):
    """A client whose token was revoked, and the tokens that its connection would be read to hold next."""
    fresh = ["fresh-token"]
    reads = []

    def reread():
        reads.append(1)
        return Token(fresh[0] if len(fresh) == 1 else fresh.pop(0))

    emulator.state.add_token("fresh-token")
    emulator.state.revoke_token(emulator.token)
    client = make_client(emulator.url, token=emulator.token, reread=reread)
    client.fresh, client.reads = fresh, reads
    return client


def authorizations(emulator):
    return [request["headers"]["authorization"] for request in emulator.requests]


def test_the_new_token_is_used_by_the_calls_after(rotated, emulator, write, read):
    rotated.run(write())
    rotated.run(read())
    rotated.session.get("/integrated-account")
    assert authorizations(emulator) == ["Bearer unknown", *["Bearer valid"] * 3]
    assert len(rotated.reads) == 1


def test_a_401_of_the_crm_does_not_read_the_token_again(emulator, make_client, write):
    reads = []
    client = make_client(emulator.url, token=emulator.token, reread=lambda: reads.append(1))
    with pytest.raises(TrutoReauthorizationRequiredError):
        client.run(write(account=UMBRELLA))
    assert reads == []
    assert len(emulator.requests) == 1


def test_a_token_that_another_call_has_read_already_is_not_read_again(rotated, write, read):
    stale = rotated.tokens.current()
    rotated.run(read())
    assert rotated.do(Client.renew_token, read(), stale) == Token("fresh-token")
    assert len(rotated.reads) == 1


def test_a_token_is_renewed_between_other_failures(rotated, emulator, write, sleeps):
    emulator.fault(status=500, method="PATCH")
    emulator.fault(status=502, method="PATCH", skip=1)
    result = rotated.run(write())
    assert authorizations(emulator) == ["Bearer unknown", "Bearer unknown", "Bearer valid", "Bearer valid"]
    assert result.attempts == 4
    assert len(sleeps) == 2


# ------------------------------------------------------------------------------------------------------ exactly once

#: What goes wrong with the first attempt of a write. Each ends in one execution and a success.
MISHAPS = {
    "a reset before it was executed": {"reset": "before"},
    "a reset after it was executed": {"reset": "after"},
    "a body that is cut off": {"cut": 20},
    "a body of which nothing comes": {"cut": 0},
    "JSON that is truncated": {"truncate": 20},
    "a timeout after it was executed": {"delay_after": 0.6},
    "a timeout before it was executed": {"delay_before": 0.6},
    "a gateway's timeout after it was executed": {"status": 504, "apply": True},
    "a gateway's timeout before it was executed": {"status": 504},
    "a bad gateway after it was executed": {"status": 502, "apply": True},
    "a failing server after it was executed": {"status": 500, "apply": True},
    "a crash of the CRM after it was executed": {"status": 500, "body": REMOTE, "apply": True},
    "a refusal": {"status": 429},
}


@pytest.mark.parametrize("fault", MISHAPS.values(), ids=MISHAPS)
def test_a_write_is_executed_once_whatever_happens_to_its_answer(fault, emulator, make_client, write):
    emulator.fault(method="PATCH", **fault)
    client = make_client(emulator.url, token=emulator.token, read_timeout=0.4)
    result = client.run(write({"name": "Once"}))
    assert result.value["name"] == "Once"
    assert result.attempts >= 2
    assert [(done["record_id"], done["body"]) for done in emulator.executions] == [("23423523", {"name": "Once"})]


@pytest.mark.parametrize("mishap", ["a reset after it was executed", "a gateway's timeout after it was executed"])
def test_a_hooks_write_is_executed_once_as_well(mishap, emulator, connection):
    connection(emulator.url, emulator.token, integrated_account_id=ACME)
    emulator.fault(method="PATCH", **MISHAPS[mishap])
    assert TrutoHook().update_account("23423523", {"name": "Once"})["name"] == "Once"
    assert len(emulator.executions) == 1
    assert len(writes(emulator)) == 2


def test_mishap_after_mishap_still_ends_in_one_execution(emulator, make_client, write):
    for fault in ({"reset": "after"}, {"cut": 5}, {"truncate": 5}, {"status": 504, "apply": True}):
        emulator.fault(method="PATCH", **fault)
    result = make_client(emulator.url, token=emulator.token).run(write({"name": "Once"}))
    assert result.attempts == 5
    assert result.value["name"] == "Once"
    assert len(emulator.executions) == 1


@pytest.mark.parametrize(
    "fault",
    [{"truncate": 5}, {"cut": 5}, {"text": '{"id": '}, {"text": "[1, 2"}],
    ids=["truncated", "cut off", "no JSON", "a list without end"],
)
def test_what_is_never_whole_json_ends_as_an_unknown_outcome(fault, emulator, client, write):
    if "text" in fault:
        fault = {**fault, "headers": {"content-type": "application/json"}}
    emulator.fault(method="PATCH", times=None, **fault)
    with pytest.raises(TrutoTransportError, match="unknown") as caught:
        client.run(write())
    assert caught.value.attempts == 5


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        ("application/json", b'{"id": "1"}', {"id": "1"}),
        ("application/json; charset=utf-8", '{"id": "é"}'.encode(), {"id": "é"}),
        ("Application/JSON", b"[1]", [1]),
        ("application/problem+json", b"1", 1),
        ("application/vnd.api+json;v=1", b'"x"', "x"),
        ("", b'{"id": "1"}', {"id": "1"}),
        ("application/json", b"null", None),
        ("application/json", b"", {}),
        ("text/html", b"", {}),
        ("application/json", b" \r\n", {}),
        ("application/json", b'\xef\xbb\xbf{"id": "1"}', {"id": "1"}),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_2xx_and_any_json_is_a_success(status, kind, body, value, raw_server, make_client, write):
    server = raw_server(lambda conversation: conversation.answer(body, status=status, headers={"Content-Type": kind}))
    result = make_client(server.url).run(write())
    assert result.value == value
    assert result.response.status == status
    assert (result.attempts, result.waited) == (1, 0)


def test_json_nested_too_deeply_does_not_crash(raw_server, make_client, read):
    server = raw_server(lambda conversation: conversation.answer(b"[" * 100_000 + b"]" * 100_000))
    with pytest.raises(TrutoTransportError, match="nested too deeply"):
        make_client(server.url, max_attempts=1).run(read())
