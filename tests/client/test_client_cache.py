"""Answers that a process uses again: for how long, for whom, and what nobody can do to them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from airflow_provider_truto.client import shared
from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.cache import ResponseCache
from airflow_provider_truto.client.response import Response
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.tokens import ApiToken, Token
from airflow_provider_truto.emulator import ACME, WAYNE


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock, monkeypatch):
    """The process's cache, whose time is the test's."""
    cache = ResponseCache(clock=clock)
    monkeypatch.setattr(shared, "RESPONSES", cache)
    return cache


def answer(text="{}"):
    return Response(status=200, body=text.encode())


# --------------------------------------------------------------------------------------------------- the store itself


def test_an_answer_is_fresh_for_as_long_as_was_said(clock):
    cache = ResponseCache(clock=clock)
    cache.put("a", answer("1"), cache_ttl=10)
    clock.now += 9.9
    assert cache.get("a") == answer("1")
    assert cache.get("b") is None
    clock.now += 0.1
    assert cache.get("a") is None


def test_a_newer_answer_takes_the_place_of_an_older_one(clock):
    cache = ResponseCache(clock=clock)
    cache.put("a", answer("1"), cache_ttl=10)
    clock.now += 8
    cache.put("a", answer("2"), cache_ttl=10)
    clock.now += 8
    assert cache.get("a") == answer("2")


def test_the_oldest_answers_make_room(clock):
    cache = ResponseCache(clock=clock)
    for number in range(600):
        cache.put(number, answer(), cache_ttl=10)
    assert [number for number in range(600) if cache.get(number)] == list(range(600 - 512, 600))
    cache.clear()
    assert cache.get(599) is None


def test_threads_may_use_it_at_once(clock):
    cache = ResponseCache(clock=clock)
    start, failures = threading.Barrier(8), []

    def work(number):
        try:
            start.wait()
            for step in range(2000):
                cache.put((number, step % 100), answer(str(number)), cache_ttl=10)
                kept = cache.get((number, step % 100))
                assert kept is None or kept.body == str(number).encode()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_it_shows_nothing_of_what_it_keeps():
    cache = ResponseCache()
    cache.put((Token("planted-token"), "x"), answer('{"secret": "planted"}'), cache_ttl=10)
    assert repr(cache) == "ResponseCache(1 answers)"
    assert "planted" not in repr(list(cache._entries.items()))


# ---------------------------------------------------------------------------------------------------- through clients

ASKED = {
    "capabilities": lambda api: api.capabilities(),
    "tools": lambda api: api.tools(),
    "method schema": lambda api: api.method_schema("crm", "accounts", "update"),
    "method schema of an integration": lambda api: api.method_schema(
        "crm", "accounts", "update", integration="attio"
    ),
    "model docs": lambda api: api.model_docs("crm", "hubspot"),
    "model docs as text": lambda api: api.model_docs("crm", "hubspot", form="md"),
}
NEVER_KEPT = {
    "id of a tenant": lambda api: api.integrated_account_id_of("acme"),
    "account": lambda api: api.integrated_account(),
    "accounts": lambda api: list(api.integrated_accounts()),
    "record": lambda api: api.unified("crm", "accounts").get("23423523"),
    "list": lambda api: list(api.unified("crm", "accounts").list()),
    "ping": lambda api: api.ping(),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_changes_seldom_is_asked_for_once_in_five_minutes(name, emulator, make_client, cache, clock):
    ask = ASKED[name]
    one = make_client(emulator.url, token=emulator.token, integrated_account_id=ACME)
    other = make_client(emulator.url, token=emulator.token, integrated_account_id=ACME)
    first = ask(one)
    assert ask(one) == ask(other) == first
    assert len(emulator.requests) == 1
    clock.now += 299.9
    assert ask(other) == first
    assert len(emulator.requests) == 1
    clock.now += 0.2
    assert ask(other) == first
    assert len(emulator.requests) == 2


@pytest.mark.parametrize("name", NEVER_KEPT)
def test_what_may_have_changed_is_asked_for_again(name, emulator, make_client, cache):
    client = make_client(emulator.url, token=emulator.token, integrated_account_id=ACME)
    NEVER_KEPT[name](client)
    NEVER_KEPT[name](client)
    assert len(emulator.requests) == 2


def test_both_drivers_use_the_same_cache(emulator, make_client, cache):
    client = make_client(emulator.url, token=emulator.token, integrated_account_id=ACME)
    first = client.capabilities()

    async def main():
        settings = ClientSettings(base_url=emulator.url, integrated_account_id=ACME, requests_per_second=0)
        tokens = ApiToken(Token(emulator.token), reread=lambda: Token(emulator.token))
        async with AsyncClient(settings, tokens) as other:
            return await other.capabilities()

    assert asyncio.run(main()) == first
    assert len(emulator.requests) == 1


def test_nobody_is_given_what_another_account_token_server_or_question_was(emulator, make_client, cache, raw_server):
    emulator.state.add_token("another")
    elsewhere = raw_server(lambda conversation: conversation.answer({"elsewhere": True}))
    client = make_client(emulator.url, token=emulator.token)
    asked = [
        lambda: client.capabilities(ACME),
        lambda: client.capabilities(WAYNE),
        lambda: client.capabilities(ACME, kind="proxy"),
        lambda: client.capabilities(ACME, methods=["list"]),
        lambda: client.capabilities(integration="hubspot"),
        lambda: client.method_schema("crm", "accounts", "update", integrated_account_id=ACME),
        lambda: client.method_schema("crm", "accounts", "update", integrated_account_id=WAYNE),
        lambda: make_client(emulator.url, token="another").capabilities(ACME),
    ]
    for ask in asked * 2:
        ask()
    assert len(emulator.requests) == len(asked)
    assert make_client(elsewhere.url, token=emulator.token).capabilities(ACME) == {"elsewhere": True}


def test_what_one_does_to_an_answer_another_does_not_see(emulator, make_client, cache):
    client = make_client(emulator.url, token=emulator.token, integrated_account_id=ACME)
    first = client.capabilities()
    whole = len(first["unified"])
    first["unified"].clear()
    first["account"]["is_blocked"] = True
    second = client.capabilities()
    assert len(second["unified"]) == whole
    assert second["account"]["is_blocked"] is False


@pytest.mark.parametrize("fault", [{"status": 404}, {"status": 403}, {"status": 200, "text": "<p>"}])
def test_what_failed_is_not_kept(fault, emulator, make_client, cache):
    emulator.fault(**fault)
    client = make_client(emulator.url, token=emulator.token, integrated_account_id=ACME)
    with pytest.raises(Exception, match="capabilities"):
        client.capabilities()
    assert client.capabilities()["account"]["id"] == ACME


def test_a_token_that_was_rotated_asks_for_itself(emulator, make_client, cache):
    """Another token may see another environment."""
    client = make_client(emulator.url, token=emulator.token, reread=lambda: Token("new"), integrated_account_id=ACME)
    client.capabilities()
    emulator.state.revoke_token(emulator.token)
    emulator.state.add_token("new")
    client.ping()
    client.capabilities()
    assert [request["path"][-1] for request in emulator.requests].count("capabilities") == 2
