"""What local variables hold beneath an error: ``dag.test()`` of Airflow 3.0 prints them, Sentry is sent them."""

from __future__ import annotations

import asyncio
import json

import pytest

from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.hooks.truto import TrutoAsyncHook, TrutoHook

PLANTED = "tok-planted-7f3a"
PROXY = f"http://user:{PLANTED}@127.0.0.1:1"
FAULTS = {
    "a token that no header can carry": {"password": f"{PLANTED}\x01"},
    "a proxy that cannot be read": {"extra": {"proxy": f"http://user:{PLANTED}/@127.0.0.1:1"}},
    "another extra that cannot be read": {"extra": {"proxy": PROXY, "max_attempts": 0}},
    "a token that is refused": {},
    "a token that may mint none": {"extra": {"data_auth": "account"}},
    "nobody who listens": {"host": "http://127.0.0.1:1"},
    "a proxy that is away": {"extra": {"proxy": PROXY}},
}


def frames_of(error):
    """Every frame that a traceback with the causes of an error shows."""
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            yield traceback.tb_frame
            traceback = traceback.tb_next
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def call(kind):
    if kind == "sync":
        TrutoHook(integrated_account_id=ACME).update_account("absent", {"name": "x"})
        return

    async def update():
        async with TrutoAsyncHook(integrated_account_id=ACME) as hook:
            await hook.update_account("absent", {"name": "x"})

    asyncio.run(update())


@pytest.fixture
def connect(emulator, monkeypatch):
    def connect(extra=(), **changes):
        extra = {"max_attempts": 1, **dict(extra)}
        conn = {"conn_type": "truto", "host": emulator.url, "password": PLANTED, "extra": extra, **changes}
        monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", json.dumps(conn))

    return connect


def find_shown(kind, secrets):
    """Return what local variables show of the secrets once a call has failed."""
    with pytest.raises(TrutoError) as caught:
        call(kind)
    return [
        (frame.f_code.co_name, name)
        for frame in frames_of(caught.value)
        if frame.f_code.co_filename != __file__
        for name, value in frame.f_locals.items()
        if any(secret in repr(value) for secret in secrets)
    ]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_local_variable_shows_a_secret_of_the_connection(fault, kind, connect):
    connect(**FAULTS[fault])
    assert find_shown(kind, [PLANTED]) == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_local_variable_shows_a_minted_token(kind, connect, emulator):
    connect(password=emulator.token, extra={"data_auth": "account"})
    emulator.fault(path="/absent$", status=500, times=None)
    shown = find_shown(kind, [])
    secrets = [text for text in emulator.state.tokens._tokens if text.startswith("ia-")]
    assert len(secrets) == 1
    assert shown == find_shown(kind, secrets) == []
