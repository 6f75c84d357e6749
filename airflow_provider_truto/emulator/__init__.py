"""A Truto on loopback, for DAG authors and tests. It knows nothing of the rest of this package.

In a test, `with Emulator() as emulator:` and then `emulator.url` and `emulator.token`; as a process,
`python -m airflow_provider_truto.emulator --port 8765`.

Three rooms: `http/` is the wire (the server, requests and responses as values, faults, limits, replays), `routes/`
the API's routes, `state/` what is known and remembered. Routes import state, and both import what `http/` has of
values; only `http/app.py`, which serves them, imports routes.
"""

from __future__ import annotations

from airflow_provider_truto.emulator.embedded import Emulator
from airflow_provider_truto.emulator.state.seed import SeedError, default_seed
from airflow_provider_truto.emulator.state.tenants import ACME, GLOBEX, HOOLI, INITECH, STARK, TOKEN, UMBRELLA, WAYNE

__all__ = [
    "ACME",
    "GLOBEX",
    "HOOLI",
    "INITECH",
    "STARK",
    "TOKEN",
    "UMBRELLA",
    "WAYNE",
    "Emulator",
    "SeedError",
    "default_seed",
]
