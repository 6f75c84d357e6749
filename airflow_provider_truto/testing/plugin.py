"""The pytest plugin: the fixture `truto`.

pytest loads this module in every environment that has this package, so that it imports nothing but pytest. What the
fixture needs is imported when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_truto.emulator import Emulator
    from airflow_provider_truto.testing.emulated import EmulatedTruto


@pytest.fixture(scope="session")
def truto_seed() -> Any:
    """The customers and records of the emulator, as the path of a JSON file or as a mapping; yours may replace it."""
    return None


@pytest.fixture(scope="session")
def truto_emulator(truto_seed: Any) -> Iterator[Emulator]:
    """The emulator of the session, one for each process of pytest-xdist."""
    from airflow_provider_truto.emulator import Emulator

    try:
        with Emulator(truto_seed) as emulator:
            yield emulator
    except ImportError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def truto(truto_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> EmulatedTruto:
    """An emulated Truto at its seed, to which the Airflow connection `truto_default` leads until the test is over."""
    from airflow_provider_truto.client import shared
    from airflow_provider_truto.client.transports.aiohttp import AiohttpTransport
    from airflow_provider_truto.client.transports.requests import RequestsTransport
    from airflow_provider_truto.testing.emulated import CONNECTION_VARIABLE, EmulatedTruto

    truto_emulator.reset()
    shared.reset()  # what this process remembers of the API's answers
    truto = EmulatedTruto(truto_emulator)
    monkeypatch.setenv(CONNECTION_VARIABLE, truto.connection)
    for name in ("no_proxy", "NO_PROXY"):  # a proxy of the environment cannot reach loopback
        monkeypatch.setenv(name, "127.0.0.1", prepend=",")
    for transport in (RequestsTransport, AiohttpTransport):
        monkeypatch.setattr(transport, "sleep", _skip_sleep)
    return truto


async def _skip_sleep(_transport: Any, _seconds: float) -> None:
    """Go on at once: what a call would wait for between its attempts is not worth a test's time."""
