"""A Truto on loopback, for DAG authors and tests. It knows nothing of the rest of this package.

In a test, `with Emulator() as emulator:` and then `emulator.url` and `emulator.token`; as a process,
`python -m airflow_provider_truto.emulator --port 8765`.
"""

from __future__ import annotations

from airflow_provider_truto.emulator.embedded import Emulator
from airflow_provider_truto.emulator.seed import SeedError, default_seed
from airflow_provider_truto.emulator.tenants import ACME, GLOBEX, HOOLI, INITECH, STARK, TOKEN, UMBRELLA, WAYNE

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
