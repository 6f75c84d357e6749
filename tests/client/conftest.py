"""One case through both drivers: the same thing is asked of a ``SyncClient`` and of an ``AsyncClient``."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import re
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_truto.client import shared
from airflow_provider_truto.client.aio import AsyncClient
from airflow_provider_truto.client.core import Observer
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.retry import Result
from airflow_provider_truto.client.settings import ClientSettings
from airflow_provider_truto.client.sync import Listing, SyncClient
from airflow_provider_truto.client.tokens import ApiToken, Token, TokenCache
from airflow_provider_truto.client.transports.aiohttp import AsyncChunks
from airflow_provider_truto.client.transports.requests import Chunks

#: What each library says of itself and of the connection; the rest of a head is ours.
LIBRARY_HEADERS = frozenset({"host", "accept-encoding", "connection"})
_MOMENTS = frozenset({"created_at", "updated_at", "started_at", "finished_at", "timestamp", "createdAt", "updatedAt"})
#: Ids that were made up while the case ran; those of the seed have a group of zeros.
_MADE_UP = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_MOMENT = re.compile(rb"20\d\d-[0-9T:.-]+Z")
_MADE_UP_KEY = re.compile("v1-[0-9a-f]{32}")
_SERVER = re.compile(r"(127\.0\.0\.1|localhost):\d+")
_BREAK = re.compile(r"(while it was streamed: ).*?(?=\.?$|\. The write)")
_CAUSE = re.compile(r"\(\w+: .*\)")


@dataclass(frozen=True)
class ArrivedRequest:
    """A request as it arrived. An idempotency key that the client made up is numbered: ``key 1``."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    token: str | None = None

    @property
    def path(self):
        return self.target.partition("?")[0]


@dataclass
class CaseResult:
    """How a case ended, and all that could be seen of it."""

    value: Any = None
    error: Any = None
    requests: list[ArrivedRequest] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    #: Each sentence of a wait, and how many waits were over by then.
    waits: list[tuple[int, str]] = field(default_factory=list)
    called: list[tuple] = field(default_factory=list)
    minted: int = 0
    connections: int = 0
    compares_sleeps: bool = True

    @property
    def is_known(self):
        """Whether it ended as promised: in a value, a ``TrutoError`` or an argument's error."""
        return self.error is None or isinstance(self.error, (TrutoError, ValueError, TypeError))

    def round(self):
        """Forget the seconds that were waited, but for their number."""
        self.called = [(*call[:3], None, None) for call in self.called]
        self.compares_sleeps = False

    def compared(self):
        """Everything in which the drivers must not differ."""
        return {
            "value": plain(self.value),
            "error": told(self.error),
            "requests": self.requests,
            "sleeps": self.sleeps if self.compares_sleeps else len(self.sleeps),
            "warned": self.warned,
            "called": self.called,
            "minted": self.minted,
        }


def plain(value, key=""):
    """A value without what differs from run to run: moments and made-up ids."""
    if isinstance(value, dict):
        return {name: plain(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return _MOMENT.sub(b"<moment>", value)
    if isinstance(value, str):
        if key in _MOMENTS:
            return "<moment>"
        value = _MADE_UP_KEY.sub("<key>", value)
        return _MADE_UP.sub(lambda found: found[0] if "-4000-8000-" in found[0] else "<id>", value)
    return value


def told(error):
    """What an error says; the libraries' own names for the cause of a lost answer are left out."""
    if error is None:
        return None
    attributes = {name: plain(value) for name, value in sorted(vars(error).items())}
    text = _SERVER.sub("<server>", plain(str(error)))
    return type(error), _BREAK.sub(r"\1…", _CAUSE.sub("(…)", text)), attributes


async def settled(value):
    """The end of what a method of ``AsyncClient`` gave."""
    while inspect.isawaitable(value):
        value = await value
    if isinstance(value, AsyncChunks):
        return b"".join([chunk async for chunk in value])
    if isinstance(value, AsyncIterable):
        return [item async for item in value]
    return value.value if isinstance(value, Result) else value


def ended(value):
    """The end of what a method of ``SyncClient`` gave."""
    if isinstance(value, Chunks):
        return b"".join(value)
    if isinstance(value, Result):
        return value.value
    return list(value) if isinstance(value, Listing) else value


def arrived(server):
    """The requests that arrived at an emulator or a raw server."""
    is_emulator = hasattr(server, "state")
    keys: dict[str, str] = {}
    requests = []
    for call in list(server.state.requests if is_emulator else server.requests):
        headers = {name: value for name, value in call.headers.items() if name not in LIBRARY_HEADERS}
        if headers.get("content-length") == "0":  # said or left out, there is no body
            del headers["content-length"]
        key = headers.get("idempotency-key", "")
        if _MADE_UP_KEY.fullmatch(key):
            headers["idempotency-key"] = keys.setdefault(key, f"key {len(keys) + 1}")
        token = call.to_entry()["token"] if is_emulator else None
        requests.append(ArrivedRequest(call.method, call.target, headers, call.body, token))
    return requests


class Drivers:
    """Runs cases. ``settings`` are those of every client; pacing is off, since sleeps are only recorded."""

    names = ("sync", "async")

    def options(self, base_url, settings):
        return ClientSettings(**{"base_url": base_url, "requests_per_second": 0, **settings})

    def run(
        self, driver, case, server, *, token="test-token", reread=None, token_cache=None, base_url=None, **settings
    ):
        """Run one case through one driver: ``case(client)`` gives what a method of the client gave."""
        shared.reset()
        random.seed(20260721)  # the jitter
        result = CaseResult()
        observer = Observer(
            on_response=lambda outcome: result.called.append(self._called(outcome)),
            on_warning=result.warned.append,
            on_wait=lambda sentence: result.waits.append((len(result.sleeps), sentence)),
            on_token=lambda _text: self._count(result),
        )
        tokens = ApiToken(Token(token), reread=reread or (lambda: Token(token)))
        given = {"observer": observer, "token_cache": token_cache or TokenCache()}
        options = self.options(base_url or server.url, settings)
        if driver == "sync":
            client = SyncClient(options, tokens, sleep=result.sleeps.append, **given)
            with contextlib.closing(client):
                try:
                    result.value = ended(case(client))
                except Exception as error:
                    result.error = error
        else:
            asyncio.run(self._run_async(case, result, options, tokens, given))
        result.requests = arrived(server)
        return result

    async def _run_async(self, case, result, options, tokens, given):
        async def sleep(seconds):
            result.sleeps.append(seconds)

        async with AsyncClient(options, tokens, sleep=sleep, **given) as client:
            try:
                result.value = await settled(case(client))
            except Exception as error:
                result.error = error

    @staticmethod
    def _called(outcome: Result):
        return str(outcome.request), outcome.response.status, outcome.attempts, outcome.waited, outcome.paced

    @staticmethod
    def _count(result):
        result.minted += 1


@pytest.fixture
def drivers():
    """Runs a case through one driver: ``drivers.run("async", case, server)``."""
    return Drivers()


@pytest.fixture
def both(emulator):
    """A function that runs a case through both drivers against the emulator, and gives what both agree on.

    ``prepare(emulator)`` is called before each.
    """

    def run(case, *, prepare=None, **given):
        results = {}
        for driver in Drivers.names:
            emulator.reset()
            if prepare:
                prepare(emulator)
            results[driver] = Drivers().run(driver, case, emulator, **{"token": emulator.token, **given})
        return agreed(results)

    return run


@pytest.fixture
def both_at(raw_server):
    """A function that runs a case through both drivers against a raw server each, and gives what both agree on.

    ``answers()`` makes the server's answers for each case; ``base_url(server)`` is another than the server's own;
    ``rounded`` compares no seconds, ``but`` names what is not compared at all.
    """

    def run(answers, case, *, base_url=None, options=None, rounded=False, but=(), **given):
        results = {}
        for driver in Drivers.names:
            server = raw_server(answers(), **(options or {}))
            url = base_url(server) if base_url else server.url
            results[driver] = Drivers().run(driver, case, server, base_url=url, **given)
            results[driver].connections = server.connections
            if rounded:
                results[driver].round()
        return agreed(results, but=but)

    return run


def agreed(results, *, but=()):
    """The result that both drivers came to; how they differ where they do not."""
    sync, aio = results["sync"], results["async"]
    for result in (sync, aio):
        if not result.is_known:
            raise result.error
    # One thing after the other: pytest then shows where they differ.
    for name, of_sync in sync.compared().items():
        if name in but:
            continue
        assert aio.compared()[name] == of_sync, name
    return sync
