"""Tokens of single accounts, on real sockets: who mints, how often, and under which token each call arrives."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import random
import threading
import traceback
from collections import Counter
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest

from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.endpoints import mint_request
from airflow_provider_truto.client.errors import (
    TrutoAuthenticationError,
    TrutoError,
    TrutoNotFoundError,
    TrutoPermissionError,
    TrutoTransportError,
)
from airflow_provider_truto.client.settings import ClientSettings, Origin
from airflow_provider_truto.client.shared import RESPONSES
from airflow_provider_truto.client.sync import SyncClient
from airflow_provider_truto.client.tokens import ApiToken, Owner, Token, TokenCache, TokenRefresh
from airflow_provider_truto.emulator import ACME, GLOBEX, INITECH, STARK, UMBRELLA, WAYNE
from airflow_provider_truto.emulator.state import tokens as emulated_tokens

ACCOUNTS = [ACME, GLOBEX, WAYNE, STARK, INITECH]
#: No test waits longer for another thread; a broken client fails instead of hanging.
LONGEST = 20.0
MINT = "/integrated-account/token"
DRIVERS = ["sync", "async"]


class Clock:
    """Seconds that go by only where a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Counting(TokenCache):
    """Account tokens that know how often they were claimed; ``arrived(n)`` waits for the n-th claim."""

    def __init__(self, **given):
        super().__init__(**given)
        self.claims = 0
        self._changed = threading.Condition()

    def acquire(self, owner, *, refused=None):
        claimed = super().acquire(owner, refused=refused)
        with self._changed:
            self.claims += 1
            self._changed.notify_all()
        return claimed

    def arrived(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.claims >= count, LONGEST)


@pytest.fixture
def clock():
    return Clock()


def settings_for(url, **given):
    return ClientSettings(**{"base_url": url, "data_auth": "account", "requests_per_second": 0, **given})


def tokens_of(token):
    return ApiToken(Token(token), reread=lambda: Token(token))


def get(api, account=ACME, record="23423523"):
    return api.unified("crm", "accounts", integrated_account_id=account).get(record)


def accounts_listed(api, account):
    """A call that every account answers."""
    return api.custom("GET", "anything", integrated_account_id=account)


async def no_sleep(_seconds):
    await asyncio.sleep(0)


def at_once(driver, jobs, url, *, token, token_cache, **given):
    """The values, or the errors, of jobs that begin at the same moment with one client. A job takes a client."""
    tokens = tokens_of(token)
    settings = settings_for(url, **given)
    results = [None] * len(jobs)
    if driver == "async":

        async def main():
            async with AsyncClient(settings, tokens, token_cache=token_cache, sleep=no_sleep) as client:
                return await asyncio.gather(*[job(client) for job in jobs], return_exceptions=True)

        return asyncio.run(asyncio.wait_for(main(), LONGEST))
    start = threading.Barrier(len(jobs))

    def work(number, client):
        start.wait(LONGEST)
        try:
            results[number] = jobs[number](client)
        except Exception as error:
            results[number] = error

    with contextlib.closing(SyncClient(settings, tokens, token_cache=token_cache, sleep=lambda _: None)) as client:
        threads = [threading.Thread(target=work, args=(n, client), daemon=True) for n in range(len(jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONGEST)
            assert not thread.is_alive()
    return results


def one_by_one(driver, jobs, url, *, token, token_cache, observer=None, reread=None, **given):
    """The values, or the errors, of jobs that one client does one after the other."""
    tokens = ApiToken(Token(token), reread=reread or (lambda: Token(token)))
    settings = settings_for(url, **given)

    async def main():
        async with AsyncClient(
            settings, tokens, token_cache=token_cache, sleep=no_sleep, observer=observer
        ) as client:
            return [await aended(job, client) for job in jobs]

    if driver == "async":
        return asyncio.run(main())
    client = SyncClient(settings, tokens, token_cache=token_cache, sleep=lambda _: None, observer=observer)
    with contextlib.closing(client):
        return [ended(job, client) for job in jobs]


def ended(job, client):
    try:
        return job(client)
    except TrutoError as error:
        return error


async def aended(job, client):
    try:
        value = job(client)
        return await value if asyncio.iscoroutine(value) else value
    except TrutoError as error:
        return error


def assert_own_tokens(emulator):
    """Every call for data arrived under the token of its own account, every other one under the API token."""
    for request in emulator.requests:
        account = dict(request["query"]).get("integrated_account_id")
        is_data = request["path"][0] in {"unified", "proxy", "custom"}
        assert request["token"] == (f"account:{account}" if is_data else "api"), request["target"]


def minted_for(emulator):
    return Counter(mint["integrated_account_id"] for mint in emulator.mints)


# ------------------------------------------------------------------------------------------------------ one minting


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_is_minted_before_it_is_needed_and_then_it_is_kept(driver, emulator):
    token_cache = TokenCache()
    given = {"url": emulator.url, "token": emulator.token, "token_cache": token_cache}
    one_by_one(driver, [lambda api: api.integrated_account(ACME), lambda api: api.capabilities(ACME)], **given)
    assert emulator.mints == []
    one_by_one(driver, [get] * 3, **given)
    one_by_one(driver, [get] * 3, **given)
    assert minted_for(emulator) == {ACME: 1}, "another client of the process uses it as well"
    assert_own_tokens(emulator)


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_fifty_at_once_mint_once(driver, slow, emulator):
    if slow:
        emulator.fault(path=MINT, delay_before=0.2)
    results = at_once(driver, [get] * 50, emulator.url, token=emulator.token, token_cache=TokenCache())
    assert [result["id"] for result in results] == ["23423523"] * 50
    assert minted_for(emulator) == {ACME: 1}
    assert_own_tokens(emulator)


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_call_goes_out_under_the_token_of_another_account(driver, emulator):
    shuffled = random.Random(1).sample(ACCOUNTS * 12, 60)
    jobs = [lambda api, account=account: accounts_listed(api, account) for account in shuffled]
    at_once(driver, jobs, emulator.url, token=emulator.token, token_cache=TokenCache())
    assert minted_for(emulator) == dict.fromkeys(ACCOUNTS, 1)
    assert len(emulator.requests) == 60 + len(ACCOUNTS)
    assert_own_tokens(emulator)


def test_event_loops_of_several_threads_mint_once_together(emulator):
    token_cache = Counting()
    emulator.fault(path=MINT, delay_before=0.2)
    results = [None, None, None]

    def work(number):
        results[number] = at_once("async", [get] * 15, emulator.url, token=emulator.token, token_cache=token_cache)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
    assert [value["id"] for values in results for value in values] == ["23423523"] * 45
    assert minted_for(emulator) == {ACME: 1}


@pytest.mark.parametrize("driver", DRIVERS)
def test_servers_and_api_tokens_do_not_share_account_tokens(driver, emulator, raw_server):
    token_cache = TokenCache()
    emulator.state.add_token("another-token")

    def answer(conversation):
        of_other = {"integrated_account_token": "of-the-other-server"}
        conversation.answer(of_other if conversation.target == MINT else {"id": "x"})

    other = raw_server(answer)
    for url, token in (
        (emulator.url, emulator.token),
        (emulator.url, "another-token"),
        (other.url, emulator.token),
    ) * 2:
        one_by_one(driver, [get], url, token=token, token_cache=token_cache)
    assert minted_for(emulator) == {ACME: 2}
    assert [request.target for request in other.requests].count(MINT) == 1
    assert {request.headers["authorization"] for request in other.requests if request.target != MINT} == {
        "Bearer of-the-other-server"
    }


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_token_is_told_before_it_is_used(driver, emulator):
    told = []
    observer = Observer(on_token=lambda text: told.append((text, len(emulator.requests))))
    one_by_one(
        driver,
        [get, lambda api: get(api, WAYNE, "1")],
        emulator.url,
        token=emulator.token,
        token_cache=TokenCache(),
        observer=observer,
    )
    assert [count for _, count in told] == [1, 3]
    assert len({text for text, _ in told}) == 2
    assert all(text.startswith("ia-") for text, _ in told)


# ---------------------------------------------------------------------------------------------------------- renewal


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("age", "mints"), [(0, 1), (719.9, 1), (720, 2), (5000, 2)])
def test_a_token_is_renewed_before_it_expires(age, mints, driver, emulator, clock):
    def later(api):
        clock.now += age
        return get(api)

    one_by_one(driver, [get, later], emulator.url, token=emulator.token, token_cache=TokenCache(clock=clock))
    assert minted_for(emulator) == {ACME: mints}
    assert [request["token"] for request in emulator.requests if request["path"][0] == "unified"] == [
        f"account:{ACME}"
    ] * 2


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_tokens_life_counts_from_before_it_was_asked_for(driver, raw_server, clock):
    def answer(conversation):
        if conversation.target == MINT:
            clock.now += 100
            conversation.answer({"integrated_account_token": f"t-{len(conversation.server.requests)}"})
        else:
            conversation.answer({"id": "1"})

    def later(api):
        clock.now += 620
        return get(api)

    server = raw_server(answer)
    one_by_one(driver, [get, later], server.url, token="t", token_cache=TokenCache(clock=clock))
    assert [request.target == MINT for request in server.requests] == [True, False, True, False]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_token_is_looked_at_again_before_each_attempt(driver, raw_server, clock):
    """A wait may outlast its life: under the old token the next attempt would be a 401."""

    def answer(conversation):
        if conversation.target == MINT:
            conversation.answer({"integrated_account_token": f"t-{len(conversation.server.requests)}"})
        elif len(conversation.server.requests) == 2:
            clock.now += 1000
            conversation.answer({}, status=500)
        else:
            conversation.answer({"id": "1"})

    server = raw_server(answer)
    [value] = one_by_one(driver, [get], server.url, token="t", token_cache=TokenCache(clock=clock))
    assert value == {"id": "1"}
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer t",
        "Bearer t-1",
        "Bearer t",
        "Bearer t-3",
    ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_token_that_is_refused_is_renewed_once_and_the_same_key_goes_out_again(driver, emulator):
    def revoked(api):
        emulator.state.revoke_account_tokens()
        return api.unified("crm", "accounts", integrated_account_id=ACME).update("23423523", {"name": "x"})

    results = one_by_one(driver, [get, revoked], emulator.url, token=emulator.token, token_cache=TokenCache())
    assert results[1]["name"] == "x"
    assert [request["token"] for request in emulator.requests] == [
        "api",
        f"account:{ACME}",
        None,
        "api",
        f"account:{ACME}",
    ]
    keys = [
        request["headers"].get("idempotency-key") for request in emulator.requests if request["method"] == "PATCH"
    ]
    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_fifty_that_are_refused_at_once_renew_once(driver, emulator):
    token_cache = TokenCache()
    given = {"url": emulator.url, "token": emulator.token, "token_cache": token_cache}
    one_by_one(driver, [get], **given)
    emulator.state.revoke_account_tokens()
    results = at_once(driver, [get] * 50, **given)
    assert [result["id"] for result in results] == ["23423523"] * 50
    assert minted_for(emulator) == {ACME: 2}


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_new_token_that_is_refused_too_ends_the_call(driver, emulator):
    emulator.fault(path="unified", status=401, times=5)
    [error] = one_by_one(driver, [get], emulator.url, token=emulator.token, token_cache=TokenCache())
    assert type(error) is TrutoAuthenticationError
    assert [request["path"][0] for request in emulator.requests] == ["integrated-account", "unified"] * 2


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_401_of_the_crm_renews_nothing(driver, emulator):
    results = one_by_one(
        driver,
        [lambda api: get(api, UMBRELLA, "1")] * 3,
        emulator.url,
        token=emulator.token,
        token_cache=TokenCache(),
    )
    assert {type(error).code for error in results} == {"reauthorization_required"}
    assert minted_for(emulator) == {UMBRELLA: 1}
    assert len(emulator.requests) == 4


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_api_token_that_was_rotated_mints_on(driver, emulator):
    emulator.state.revoke_token(emulator.token)
    emulator.state.add_token("the-new-token")
    results = one_by_one(
        driver,
        [get] * 4,
        emulator.url,
        token=emulator.token,
        reread=lambda: Token("the-new-token"),
        token_cache=TokenCache(),
    )
    assert [value["id"] for value in results] == ["23423523"] * 4
    tokens = [request["token"] for request in emulator.requests]
    assert tokens[:3] == [None, "api", f"account:{ACME}"]
    # The token that the old API token asked for is not that of the new one.
    assert tokens[-2:] == [f"account:{ACME}"] * 2
    assert tokens.count("api") <= 2


# ------------------------------------------------------------------------------------------------- minting that fails

FAILURES = {
    "403": ({"status": 403}, TrutoPermissionError),
    "404": ({"status": 404}, TrutoNotFoundError),
    "401": ({"status": 401}, TrutoAuthenticationError),
    "no token": ({"status": 200, "body": {}}, TrutoTransportError),
    "no object": ({"status": 200, "body": ["t"]}, TrutoTransportError),
    "a number": ({"status": 200, "body": {"integrated_account_token": 5}}, TrutoTransportError),
    "an empty one": ({"status": 200, "body": {"integrated_account_token": ""}}, TrutoTransportError),
    "one with a line break": (
        {"status": 200, "body": {"integrated_account_token": "a\r\nX: b"}},
        TrutoTransportError,
    ),
    "a page": ({"status": 200, "text": "<html>"}, TrutoTransportError),
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", FAILURES)
def test_a_minting_that_fails_sends_nothing_and_is_tried_again_by_the_next_call(name, driver, emulator):
    fault, cls = FAILURES[name]
    emulator.fault(path=MINT, **fault, times=1)
    error, value = one_by_one(driver, [get] * 2, emulator.url, token=emulator.token, token_cache=TokenCache())
    assert type(error) is cls
    assert "POST /integrated-account/token" in str(error)
    assert ACME in str(error)
    assert "X: b" not in str(error)
    assert value["id"] == "23423523"
    assert [request["path"][0] for request in emulator.requests] == ["integrated-account"] * 2 + ["unified"]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_minting_is_tried_again_like_any_call(times, driver, emulator):
    emulator.fault(path=MINT, status=502, times=times)
    results = at_once(driver, [get] * 10, emulator.url, token=emulator.token, token_cache=TokenCache())
    assert [value["id"] for value in results] == ["23423523"] * 10
    assert minted_for(emulator) == {ACME: 1}
    assert len([request for request in emulator.requests if request["path"][0] != "unified"]) == times + 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_all_who_waited_for_a_minting_that_failed_fail_alike_and_apart(driver, raw_server):
    token_cache = Counting()

    def answer(conversation):
        token_cache.arrived(20)
        conversation.answer({"message": "no"}, status=403)

    server = raw_server(answer)
    jobs = [
        lambda api, number=number: api.unified("crm", "accounts", integrated_account_id=ACME).update(
            "1", {"name": "x"}, idempotency_key=f"key-{number}"
        )
        for number in range(20)
    ]
    errors = at_once(driver, jobs, server.url, token="t", token_cache=token_cache)
    assert {type(error) for error in errors} == {TrutoPermissionError}
    assert len({str(error) for error in errors}) == 1
    assert [request.target for request in server.requests] == [MINT]
    # Whoever catches one may change it, raise it on, or read its own call's key from it.
    assert len({id(error) for error in errors}) == 20
    assert [error.idempotency_key for error in errors] == [f"key-{number}" for number in range(20)]


def test_a_minting_that_is_cancelled_is_taken_over(raw_server):
    token_cache = Counting()
    minting, cancelled = threading.Event(), threading.Event()

    def answer(conversation):
        if conversation.target != MINT:
            conversation.answer({"id": "1"})
        elif len(conversation.server.requests) == 1:
            minting.set()
            cancelled.wait(LONGEST)
            conversation.close()
        else:
            conversation.answer({"integrated_account_token": "minted-second"})

    server = raw_server(answer)

    async def main():
        async with AsyncClient(
            settings_for(server.url), tokens_of("t"), token_cache=token_cache, sleep=no_sleep
        ) as client:
            leader = asyncio.create_task(get(client))
            assert await asyncio.to_thread(minting.wait, LONGEST)
            followers = [asyncio.create_task(get(client)) for _ in range(10)]
            await asyncio.to_thread(token_cache.arrived, 11)
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            cancelled.set()
            return await asyncio.wait_for(asyncio.gather(*followers), LONGEST)

    assert asyncio.run(main()) == [{"id": "1"}] * 10
    assert [request.target for request in server.requests].count(MINT) == 2
    assert {request.headers["authorization"] for request in server.requests if request.target != MINT} == {
        "Bearer minted-second"
    }


def test_a_follower_that_is_cancelled_disturbs_nobody(raw_server):
    token_cache = Counting()
    go = threading.Event()

    def answer(conversation):
        if conversation.target == MINT:
            go.wait(LONGEST)
            conversation.answer({"integrated_account_token": "minted"})
        else:
            conversation.answer({"id": "1"})

    server = raw_server(answer)

    async def main():
        async with AsyncClient(
            settings_for(server.url), tokens_of("t"), token_cache=token_cache, sleep=no_sleep
        ) as client:
            tasks = [asyncio.create_task(get(client)) for _ in range(10)]
            await asyncio.to_thread(token_cache.arrived, 10)
            for task in tasks[1:6]:
                task.cancel()
            go.set()
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), LONGEST)

    results = asyncio.run(main())
    assert [type(result) for result in results] == [dict] + [asyncio.CancelledError] * 5 + [dict] * 4
    assert len(server.requests) == 6


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_minting_that_ends_in_some_other_error_is_taken_over(driver, emulator):
    """Masking a secret may fail: the others must not wait without end."""
    told = []

    def fails_once(text):
        told.append(text)
        if len(told) == 1:
            raise RuntimeError("no masker")

    token_cache, tokens, settings = TokenCache(), tokens_of(emulator.token), settings_for(emulator.url)
    observer = Observer(on_token=fails_once)
    if driver == "sync":
        with contextlib.closing(SyncClient(settings, tokens, token_cache=token_cache, observer=observer)) as client:
            with pytest.raises(RuntimeError):
                get(client)
            assert get(client)["id"] == "23423523"
    else:

        async def main():
            async with AsyncClient(settings, tokens, token_cache=token_cache, observer=observer) as client:
                results = await asyncio.gather(*[get(client) for _ in range(5)], return_exceptions=True)
                return sorted(type(result).__name__ for result in results)

        assert asyncio.run(main()) == ["RuntimeError", *["dict"] * 4]
    assert minted_for(emulator) == {ACME: 2}


# -------------------------------------------------------------------------------------------------- a task of an hour

#: Simulated seconds between two moments, and how many there are: 57 minutes, four renewals after 12 minutes each.
TICK, TICKS = 180, 20
WORKERS = 32


class DrivenTime(datetime):
    """The emulator's wall clock, as far as tokens are concerned; they live 15 minutes of it."""

    clock: Clock
    origin = datetime(2026, 1, 1, tzinfo=timezone.utc)

    @classmethod
    def now(cls, tz=None):
        return cls.origin + timedelta(seconds=cls.clock.now)


@pytest.fixture
def driven_emulator(emulator, clock, monkeypatch):
    """The emulator, whose tokens age with the test's clock; the moments of mints are the clock's."""
    monkeypatch.setattr(DrivenTime, "clock", clock, raising=False)
    monkeypatch.setattr(emulated_tokens, "datetime", DrivenTime)
    monkeypatch.setattr(emulated_tokens, "monotonic", clock)
    return emulator


class Shift:
    """Workers that call without a pause, and a clock that goes on under them.

    It goes on when each worker has ended two more calls: one of them began after the last tick, so that every account
    is asked for at every moment; and no call spans more than two of them, so that no token can grow old on its way.
    Whatever the machine is busy with, which moments mint is certain.
    """

    def __init__(self, clock):
        self.clock = clock
        self.began = clock.now
        self.done = [0] * WORKERS
        self.seen = [0] * WORKERS
        self.ticks = 0

    @property
    def is_over(self):
        return self.ticks == TICKS

    def account_of(self, worker):
        return ACCOUNTS[worker % len(ACCOUNTS)]

    def ended(self, worker):
        """Count a call; the clock may go on. To be called by one worker at a time."""
        self.done[worker] += 1
        if all(now >= before + 2 for now, before in zip(self.done, self.seen, strict=True)) and not self.is_over:
            self.seen = list(self.done)
            self.ticks += 1
            if not self.is_over:
                self.clock.now += TICK


def assert_exact(emulator, shift):
    """One mint per account and renewal, no call under any other token, and none was ever refused."""
    expected = [shift.began + start for start in range(0, TICK * TICKS, 720)]
    assert len(expected) == 5
    by_account = {
        account: [mint["time"] for mint in emulator.mints if mint["integrated_account_id"] == account]
        for account in ACCOUNTS
    }
    assert by_account == dict.fromkeys(ACCOUNTS, expected)
    assert_own_tokens(emulator)
    assert len(emulator.requests) == sum(shift.done) + len(emulator.mints)
    assert min(shift.done) >= 2 * TICKS


def test_a_task_of_an_hour_of_threads_mints_once_an_account_and_renewal(driven_emulator, clock):
    shift, lock = Shift(clock), threading.Lock()
    token_cache = TokenCache(clock=clock)
    failures = []

    def work(worker, client):
        account = shift.account_of(worker)
        try:
            while not shift.is_over:
                accounts_listed(client, account)
                with lock:
                    shift.ended(worker)
        except Exception as error:
            failures.append(error)
            shift.ticks = TICKS

    tokens, settings = tokens_of(driven_emulator.token), settings_for(driven_emulator.url, max_attempts=1)
    with contextlib.ExitStack() as stack:
        # Several clients, as the hooks of one process have.
        clients = [
            stack.enter_context(contextlib.closing(SyncClient(settings, tokens, token_cache=token_cache)))
            for _ in range(4)
        ]
        threads = [
            threading.Thread(target=work, args=(worker, clients[worker % 4]), daemon=True)
            for worker in range(WORKERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
    assert failures == []
    assert_exact(driven_emulator, shift)


def test_a_task_of_an_hour_of_coroutines_mints_once_an_account_and_renewal(driven_emulator, clock):
    shift = Shift(clock)
    token_cache = TokenCache(clock=clock)

    async def work(worker, client):
        account = shift.account_of(worker)
        while not shift.is_over:
            await accounts_listed(client, account)
            shift.ended(worker)

    async def main():
        tokens, settings = tokens_of(driven_emulator.token), settings_for(driven_emulator.url, max_attempts=1)
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(AsyncClient(settings, tokens, token_cache=token_cache))
                for _ in range(4)
            ]
            await asyncio.gather(*[work(worker, clients[worker % 4]) for worker in range(WORKERS)])

    asyncio.run(asyncio.wait_for(main(), 120))
    assert_exact(driven_emulator, shift)


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_renewal_the_emulators_tokens_would_have_expired(driver, driven_emulator, clock):
    """What the two tests above stand on: under this clock a token that is too old is refused."""

    def later(api):
        clock.now += 900
        return get(api)

    one_by_one(
        driver,
        [get, later],
        driven_emulator.url,
        token=driven_emulator.token,
        token_cache=TokenCache(clock=clock),
        account_token_life=10_000.0,
    )
    assert [request["token"] for request in driven_emulator.requests] == [
        "api",
        f"account:{ACME}",
        None,
        "api",
        f"account:{ACME}",
    ]


# ---------------------------------------------------------------------------------------------------------- secrets

PLANTED = "ia-Planted/Secret+Token=="


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_minted_token_is_shown_nowhere(driver, raw_server, caplog):
    caplog.set_level(logging.DEBUG, logger="airflow_provider_truto")
    seen = []

    def answer(conversation):
        authorization = conversation.headers["authorization"]
        if conversation.target == MINT:
            conversation.answer({"integrated_account_token": PLANTED})
        elif "capabilities" in conversation.target:
            conversation.answer({"account": {}})
        elif "broken" in conversation.target:
            conversation.answer(authorization.encode() + b"{", status=200)
        elif "gone" in conversation.target:
            conversation.close()
        else:
            body = {"message": f"no {authorization}", "details": {authorization: [authorization]}}
            conversation.answer({**body, "raw_response": authorization, "truto_is_remote_error": True}, status=422)

    observer = Observer(on_response=seen.append, on_warning=seen.append)
    server = raw_server(answer)
    token_cache = TokenCache()
    jobs = [
        lambda api: seen.append(api) or get(api),
        lambda api: get(api, record="broken"),
        lambda api: get(api, record="gone"),
        lambda api: api.capabilities(ACME),
        lambda api: accounts_listed(api, ACME),
    ]
    results = one_by_one(
        driver, jobs, server.url, token="t", token_cache=token_cache, observer=observer, max_attempts=2
    )
    assert sum(isinstance(result, TrutoError) for result in results) == 4
    # It was really there to be said, or this test would prove nothing.
    assert sum(PLANTED in request.headers["authorization"] for request in server.requests) >= 4
    texts = [repr(seen), caplog.text, repr(RESPONSES), repr(token_cache), repr(list(RESPONSES._entries.items()))]
    for result in results:
        texts += [repr(result), str(result)]
        if isinstance(result, TrutoError):
            texts += [repr(vars(result)), "".join(traceback.format_exception(result))]
    # Whatever lives and was made by us.
    texts += [
        repr(thing)
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith("airflow_provider_truto.client")
    ]
    for text in texts:
        assert PLANTED not in text
        assert json.dumps(PLANTED)[1:-1] not in text


# --------------------------------------------------------------------------------------------------- the store itself

OWNER = Owner(Origin("https", "api.truto.one", 443), Token("api"), ACME)


def test_who_comes_first_mints_and_the_others_wait(clock):
    tokens = TokenCache(clock=clock)
    mint = tokens.acquire(OWNER)
    assert isinstance(mint, TokenRefresh)
    waiting = [tokens.acquire(OWNER), tokens.acquire(OWNER, refused=Token("old"))]
    assert isinstance(tokens.acquire(OWNER._replace(integrated_account_id=WAYNE)), TokenRefresh)
    with mint:
        mint.store(Token("new"), life=10)
    assert [future.result(0) for future in waiting] == [Token("new")] * 2
    assert tokens.acquire(OWNER) == Token("new")
    assert isinstance(tokens.acquire(OWNER, refused=Token("new")), TokenRefresh)


def test_a_token_is_good_until_its_life_is_over(clock):
    tokens = TokenCache(clock=clock)
    with tokens.acquire(OWNER) as mint:
        clock.now += 4
        mint.store(Token("new"), life=10)
    clock.now += 5.9
    assert tokens.acquire(OWNER) == Token("new")
    clock.now += 0.1
    assert isinstance(tokens.acquire(OWNER), TokenRefresh)


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, RuntimeError])
def test_a_minter_that_gives_up_lets_the_next_one_try(error, clock):
    tokens = TokenCache(clock=clock)
    mint = tokens.acquire(OWNER)
    waiting = tokens.acquire(OWNER)
    with pytest.raises(error), mint:
        raise error
    assert waiting.result(0) is None
    assert isinstance(tokens.acquire(OWNER), TokenRefresh)


def test_tokens_that_are_over_are_thrown_away(clock):
    tokens = TokenCache(clock=clock)
    for number in range(5000):
        with tokens.acquire(OWNER._replace(integrated_account_id=str(number))) as mint:
            mint.store(Token("t"), life=100)
        clock.now += 1
    assert len(tokens._entries) <= 1024


def test_the_request_for_a_token_is_repeatable_and_no_data():
    call = mint_request(ACME)
    assert (call.method, call.path, call.is_write, call.is_data) == ("POST", MINT, False, False)
    assert parse_qs(call.target.partition("?")[2]) == {}
