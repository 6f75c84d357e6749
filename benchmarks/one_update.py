"""What one checked update costs the worker, against a request without anything around it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

from benchmarks.comparison import Comparison, Target, in_turn
from benchmarks.quiet import silenced
from benchmarks.server import UPDATE, serving

_ROUNDS = 15
_CALLS = 200  # a round
#: Of one integrated account; after 50 in ten seconds the hook would wait.
_CALLS_OF_ACCOUNT = 40
_TOKEN = "a-token-of-the-benchmark"
_PATH = "/unified/crm/accounts/23423523"
_BARE = "requests.Session.patch(url, json=body).json()"
_OURS = "TrutoHook.update_account(id, body), all checks"


def compared() -> Comparison:
    """Send the same update again and again over kept connections."""
    with ExitStack() as stack:
        url = stack.enter_context(serving())
        contenders = {_BARE: _bare(url), _OURS: _ours(url), "HttpHook.run(…).json()": _http_hook(url)}
        contenders["httpx.Client.patch(url, json=body).json()"] = _httpx(url)
        notes = ["The hook's line in the log is written, to nowhere."]
        if sdk := _sdk(url, stack):
            contenders["truto-python-sdk, a connection a call as it makes them"] = sdk
        else:
            notes.append("truto-python-sdk is left out: it needs Python 3.12.")
        with silenced():
            samples = in_turn({name: partial(_cpu_of, update) for name, update in contenders.items()}, rounds=_ROUNDS)
    return Comparison(
        title="CPU of one account update",
        unit="ms",
        samples=samples,
        by="ratio",
        targets={_OURS: Target("at most", 1.0)},
        notes=tuple(notes),
    )


def _cpu_of(update: Callable[[], Any]) -> float:
    """Milliseconds of CPU of this process a call."""
    began = time.process_time()
    for _ in range(_CALLS):
        if update()["id"] != "23423523":
            raise RuntimeError("the answer is a different one")
    return (time.process_time() - began) / _CALLS * 1000


def _account(number: int) -> str:
    return f"acae0000-0000-4000-8000-{number // _CALLS_OF_ACCOUNT:012x}"


def _url(base_url: str) -> str:
    return f"{base_url}{_PATH}?integrated_account_id={_account(0)}&truto_ignore_remote_data=true"


def _bare(base_url: str) -> Callable[[], Any]:
    import requests

    url, session = _url(base_url), requests.Session()
    session.headers["Authorization"] = f"Bearer {_TOKEN}"
    return lambda: session.patch(url, json=UPDATE).json()


def _ours(base_url: str) -> Callable[[], Any]:
    from airflow_provider_truto.hooks.truto import TrutoHook

    os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"] = json.dumps(
        {"conn_type": "truto", "host": base_url, "password": _TOKEN, "extra": {"requests_per_second": 100_000}}
    )
    hook, numbers = TrutoHook(), count()
    return lambda: hook.update_account("23423523", UPDATE, integrated_account_id=_account(next(numbers)))


def _http_hook(base_url: str) -> Callable[[], Any]:
    from airflow.providers.http.hooks.http import HttpHook

    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": base_url})
    hook, endpoint = HttpHook(method="PATCH"), _url("")
    return lambda: hook.run(endpoint, data=json.dumps(UPDATE), headers=headers).json()


def _httpx(base_url: str) -> Callable[[], Any]:
    import httpx

    url, client = _url(base_url), httpx.Client(headers={"Authorization": f"Bearer {_TOKEN}"})
    return lambda: client.patch(url, json=UPDATE).json()


def _sdk(base_url: str, stack: ExitStack) -> Callable[[], Any] | None:
    try:
        from truto_python_sdk import TrutoApi
    except ImportError:
        return None
    api, runner = TrutoApi(_TOKEN, base_url), stack.enter_context(asyncio.Runner())
    query = {"integrated_account_id": _account(0), "truto_ignore_remote_data": True}
    return lambda: runner.run(api.unified_api.update("crm", "accounts", "23423523", UPDATE, query))
