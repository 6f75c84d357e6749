"""Pacing as a server sees it: clients of one process, in time that goes by only where everybody sleeps.

Both the clients' paces and the emulator's limits read the same driven clock. It goes on to the next moment at which
somebody wants to wake once all workers sleep, so that nothing is on its way meanwhile: what arrives when is exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import cache

import pytest

from airflow_provider_truto.client import shared
from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.rate_limiter import RateLimiter
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.sync import SyncClient
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.emulator import ACME, GLOBEX, INITECH, STARK, WAYNE, Emulator
from airflow_provider_truto.emulator.http import limits as emulated_limits

ACCOUNTS = [ACME, GLOBEX, WAYNE, STARK, INITECH]
DRIVERS = ["sync", "async"]
#: Seconds of a span of the client's, which is a little longer than the ten of the server's.
SPAN = 10.2
LONGEST = 60.0


class DrivenTime:
    """Seconds, and who sleeps until when. Workers are threads or coroutines."""

    def __init__(self):
        self.now = 1000.0
        self._workers = 0
        self._sleepers = []
        self._lock = threading.Lock()

    def __call__(self):
        return self.now

    def begin(self, workers):
        self._workers = workers

    def end(self):
        """A worker is done."""
        with self._lock:
            self._workers -= 1
            self._wake_next()

    def sleep(self, seconds):
        awake = threading.Event()
        self._lie_down(seconds, awake.set)
        assert awake.wait(LONGEST)

    async def asleep(self, seconds):
        awake = asyncio.Event()
        self._lie_down(seconds, awake.set)
        await awake.wait()

    def _lie_down(self, seconds, wake):
        with self._lock:
            self._sleepers.append((self.now + seconds, wake))
            self._wake_next()

    def _wake_next(self):
        if self._sleepers and len(self._sleepers) >= self._workers:
            self.now = max(self.now, min(moment for moment, _ in self._sleepers))
            woken = [wake for moment, wake in self._sleepers if moment <= self.now]
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.now]
            for wake in woken:
                wake()


class Recording(RateLimiter):
    """A rate limiter that notes what it is asked and told."""

    def __init__(self, **given):
        super().__init__(**given)
        self.events = []

    def acquire_delay(self, account):
        seconds = super().acquire_delay(account)
        if not seconds:
            self.events.append("begun")
        return seconds

    def on_response(self, account, **given):
        self.events.append("answered")
        super().on_response(account, **given)

    def on_failure(self, account):
        self.events.append("lost")
        super().on_failure(account)


@pytest.fixture
def driven(monkeypatch):
    """Driven time for both sides. ``limiters`` are those that the clients of the test made."""
    time = DrivenTime()
    time.limiters = []

    @cache
    def make(_origin, _digest, requests_per_second):
        limiter = Recording(requests_per_second=requests_per_second, clock=time)
        time.limiters.append(limiter)
        return limiter

    monkeypatch.setattr(shared, "_make_rate_limiter", make)
    monkeypatch.setattr(emulated_limits, "monotonic", time)
    return time


@pytest.fixture
def limited():
    """A function that starts an emulator with these limits on."""
    with contextlib.ExitStack() as stack:
        yield lambda **limits: stack.enter_context(Emulator(rate_limits=limits or True))


def made_of(cls, url, time, *, token="t", observer=None, **given):
    sleep = time.sleep if cls is SyncClient else time.asleep
    options = {"base_url": url, "integrated_account_id": ACME, **given}
    tokens = ApiToken(Token(token), reread=lambda: Token(token))
    return cls(ClientSettings(**options), tokens, sleep=sleep, observer=observer)


def at_work(driver, time, url, jobs, *, workers, clients, token, **given):
    """Have workers of several clients do jobs, which take a client, until none is left. Returns the results."""
    jobs, results, errors, lock = list(reversed(jobs)), [], [], threading.Lock()
    observer = Observer(on_response=results.append)
    time.begin(workers)
    if driver == "async":

        async def work(client):
            while jobs:
                await jobs.pop()(client)
            time.end()

        async def main():
            async with contextlib.AsyncExitStack() as stack:
                made = [
                    await stack.enter_async_context(
                        made_of(AsyncClient, url, time, token=token, observer=observer, **given)
                    )
                    for _ in range(clients)
                ]
                await asyncio.gather(*[work(made[number % clients]) for number in range(workers)])

        asyncio.run(asyncio.wait_for(main(), LONGEST))
    else:

        def work(client):
            try:
                while jobs:
                    with lock:
                        job = jobs.pop() if jobs else None
                    if job:
                        job(client)
            except TrutoError as error:
                errors.append(error)
            time.end()

        with contextlib.ExitStack() as stack:
            made = [
                stack.enter_context(
                    contextlib.closing(made_of(SyncClient, url, time, token=token, observer=observer, **given))
                )
                for _ in range(clients)
            ]
            threads = [
                threading.Thread(target=work, args=(made[number % clients],), daemon=True)
                for number in range(workers)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(LONGEST)
                assert not thread.is_alive()
    assert errors == []
    return results


def call_for(account):
    return lambda api: api.custom("GET", "anything", integrated_account_id=account)


# -------------------------------------------------------------------------------------------------- no 429 arrives


@pytest.mark.parametrize("driver", DRIVERS)
def test_clients_of_one_process_keep_an_accounts_tier_together(driver, driven, limited):
    emulator = limited()
    results = at_work(
        driver, driven, emulator.url, [call_for(ACME)] * 160, workers=8, clients=3, token=emulator.token
    )
    assert [result.attempts for result in results] == [1] * 160, "no 429 has come"
    assert len(emulator.executions) == 160
    assert len(driven.limiters) == 1
    # 50 at once, and then 50 a span: all that the tier allows.
    assert 3 * SPAN <= driven.now - 1000 < 3 * SPAN + 0.5
    assert sum(result.waited for result in results) == 0
    assert sum(result.paced for result in results) > 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_clients_of_one_process_keep_a_tokens_rate_together(driver, driven, limited):
    emulator = limited(token={"requests": 100, "seconds": 10})
    jobs = [call_for(ACCOUNTS[number % 5]) for number in range(250)]
    results = at_work(
        driver, driven, emulator.url, jobs, workers=16, clients=4, token=emulator.token, requests_per_second=10
    )
    assert [result.attempts for result in results] == [1] * 250
    assert len(emulator.executions) == 250
    assert 2 * SPAN <= driven.now - 1000 < 2 * SPAN + 0.5


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_pacing_429s_arrive(driver, driven, limited):
    """What the tests above stand on: the emulator does refuse."""
    emulator = limited()
    results = at_work(
        driver,
        driven,
        emulator.url,
        [call_for(ACME)] * 60,
        workers=2,
        clients=1,
        token=emulator.token,
        requests_per_second=0,
    )
    assert sum(result.attempts for result in results) > 60


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_crms_own_limit_is_kept_by_what_its_answers_say(driver, driven, limited):
    emulator = limited(provider={"requests": 20, "seconds": 10})
    results = at_work(driver, driven, emulator.url, [call_for(ACME)] * 60, workers=1, clients=1, token=emulator.token)
    assert [result.attempts for result in results] == [1] * 60, "no 429 has come"
    assert len(emulator.executions) == 60


@pytest.mark.parametrize("driver", DRIVERS)
def test_many_who_waited_for_a_crms_reset_may_be_refused_but_all_get_through(driver, driven, limited):
    """Nobody knows what a CRM grants after a reset before its first answer; here a place comes back at a time."""
    workers = 6
    emulator = limited(provider={"requests": 20, "seconds": 10})
    results = at_work(
        driver, driven, emulator.url, [call_for(ACME)] * 60, workers=workers, clients=2, token=emulator.token
    )
    assert len(results) == 60
    spans = (driven.now - 1000) / 10
    assert sum(result.attempts - 1 for result in results) <= workers * (spans + 1)


@pytest.mark.parametrize("driver", DRIVERS)
def test_account_tokens_count_for_the_api_token_that_minted_them(driver, driven, limited):
    emulator = limited()
    results = at_work(
        driver,
        driven,
        emulator.url,
        [call_for(account) for account in ACCOUNTS * 14],
        workers=8,
        clients=2,
        token=emulator.token,
        data_auth="account",
        requests_per_second=5,
    )
    assert len(driven.limiters) == 1
    assert driven.limiters[0].events.count("begun") == len(emulator.requests) == len(results)
    assert {result.attempts for result in results} == {1}
    assert SPAN <= driven.now - 1000 < SPAN + 0.5


def test_clients_of_another_token_are_paced_apart(driven, limited):
    emulator = limited()
    emulator.state.add_token("another")
    for token in (emulator.token, "another", emulator.token):
        with contextlib.closing(made_of(SyncClient, emulator.url, driven, token=token)) as client:
            call_for(ACME)(client)
    assert len(driven.limiters) == 2


# -------------------------------------------------------------------------------------------------- what answers say


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_account_of_which_nothing_is_left_is_not_called_before_its_reset(driver, driven, raw_server):
    arrived = []

    def answer(conversation):
        arrived.append((conversation.target, driven.now))
        headers = {"ratelimit-limit": "100;w=60", "ratelimit-remaining": "0", "ratelimit-reset": "7"}
        conversation.answer({}, headers=headers if ACME in conversation.target else {})

    server = raw_server(answer)
    jobs = [call_for(ACME), call_for(WAYNE), call_for(ACME), call_for(WAYNE)]
    results = at_work(driver, driven, server.url, jobs, workers=1, clients=1, token="t")
    assert [round(moment - 1000, 1) for _, moment in arrived] == [0, 0, 7, 7]
    assert [result.paced for result in results] == [0, 0, 7, 0]
    assert [result.waited for result in results] == [0] * 4


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_429_holds_back_the_other_calls_of_its_account(driver, driven, raw_server):
    arrived = []

    def answer(conversation):
        arrived.append(driven.now - 1000)
        if len(arrived) == 1:
            conversation.answer({"message": "slow down"}, status=429, headers={"Retry-After": "20"})
        else:
            conversation.answer({})

    server = raw_server(answer)
    at_work(driver, driven, server.url, [call_for(ACME)] * 5, workers=1, clients=1, token="t")
    assert arrived[0] == 0
    assert all(20 <= moment < 21.1 for moment in arrived[1:])


@pytest.mark.parametrize("driver", DRIVERS)
def test_waiting_for_a_place_is_not_a_wait_of_the_call(driver, driven, limited):
    """``max_wait`` bounds what goes wrong; a bulk task that keeps to the rate does nothing wrong."""
    emulator = limited()
    results = at_work(
        driver, driven, emulator.url, [call_for(ACME)] * 120, workers=4, clients=1, token=emulator.token, max_wait=0
    )
    assert len(results) == 120
    assert {result.waited for result in results} == {0.0}
    assert max(result.paced for result in results) > 0


# ------------------------------------------------------------------------------------------------- begun, and ended


def mute(conversation):
    conversation.stay_mute()


ENDS = {
    "an answer": (lambda c: c.answer({}), ["begun", "answered"]),
    "an error": (lambda c: c.answer({}, status=404), ["begun", "answered"]),
    "a page": (lambda c: c.answer(b"<p>", headers={"Content-Type": "text/html"}), ["begun", "answered"]),
    "too large an answer": (lambda c: c.answer(b"x" * 2000), ["begun", "lost"]),
    "the end of the connection": (lambda c: c.close(), ["begun", "lost"]),
    "nothing": (mute, ["begun", "lost"]),
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ENDS)
def test_a_call_that_was_begun_is_ended_whatever_comes_of_it(name, driver, driven, raw_server):
    answer, events = ENDS[name]
    server = raw_server(answer)
    given = {"max_attempts": 1, "read_timeout": 0.3, "response_limit": 1000}
    driven.begin(1)

    def case(api):
        return api.unified("crm", "accounts").get("1")

    if driver == "sync":
        with (
            contextlib.closing(made_of(SyncClient, server.url, driven, **given)) as client,
            contextlib.suppress(TrutoError),
        ):
            case(client)
    else:

        async def main():
            async with made_of(AsyncClient, server.url, driven, **given) as client:
                with contextlib.suppress(TrutoError):
                    await case(client)

        asyncio.run(main())
    assert driven.limiters[0].events == events


def test_a_coroutine_that_is_cancelled_gives_its_place_back(driven, raw_server):
    arrived = threading.Event()

    def answer(conversation):
        arrived.set()
        conversation.stay_mute()

    server = raw_server(answer)
    driven.begin(1)

    async def main():
        async with made_of(AsyncClient, server.url, driven) as client:
            task = asyncio.create_task(call_for(ACME)(client))
            await asyncio.to_thread(arrived.wait, LONGEST)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert driven.limiters[0].events == ["begun", "lost"]
    server.stop()


def test_a_coroutine_that_is_cancelled_while_it_waits_for_a_place_has_taken_none(driven, raw_server):
    server = raw_server(lambda c: c.answer({}, headers={"ratelimit-remaining": "0", "ratelimit-reset": "50"}))
    driven.begin(99)  # nobody else sleeps: time stands still

    async def main():
        async with made_of(AsyncClient, server.url, driven) as client:
            await call_for(ACME)(client)
            task = asyncio.create_task(call_for(ACME)(client))
            while not driven._sleepers:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert driven.limiters[0].events == ["begun", "answered"]
    assert len(server.requests) == 1


def test_places_of_cancelled_coroutines_do_not_pile_up(driven, raw_server):
    """A CRM that grants ten calls: nine that were cancelled on their way would look like nine under way."""
    count = []

    def answer(conversation):
        count.append(1)
        if 1 < len(count) <= 6:
            conversation.stay_mute()
        else:
            conversation.answer({}, headers={"ratelimit-remaining": "50", "ratelimit-reset": "30"})

    server = raw_server(answer)
    driven.begin(1)

    async def main():
        async with made_of(AsyncClient, server.url, driven) as client:
            await call_for(ACME)(client)
            tasks = [asyncio.create_task(call_for(ACME)(client)) for _ in range(5)]
            while len(count) < 6:
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await call_for(ACME)(client)

    asyncio.run(main())
    [limiter] = driven.limiters
    assert limiter.events.count("begun") == limiter.events.count("answered") + limiter.events.count("lost") == 7
    assert limiter._accounts[ACME]._in_flight == limiter._token._in_flight == 0
    assert driven.now == 1000
    server.stop()


def test_a_429_that_comes_all_the_same_is_waited_for(driven, limited):
    """Another process uses the same account: what it sends is not seen here."""
    emulator = limited()
    for _ in range(50):
        emulator.state.limits.account.spend(ACME)
    results = at_work("sync", driven, emulator.url, [call_for(ACME)], workers=1, clients=1, token=emulator.token)
    assert results[0].attempts == 2
    assert results[0].waited >= 10
