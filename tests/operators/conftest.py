"""A real Airflow and an emulated Truto for whole runs of DAGs."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from airflow_home import airflow_home
from airflow_runs import PLANTED, Airflow

from airflow_provider_truto.emulator import ACME, GLOBEX, Emulator, default_seed

# What DAG authors know as `truto`: that name is the session's Truto here.
from airflow_provider_truto.testing.plugin import truto as worker  # noqa: F401


@pytest.fixture(scope="session")
def truto():
    """The Truto of the whole session; a test takes ``emulator``, a fixture of a module resets this one itself."""
    seed = default_seed()
    seed["tokens"] = [{"token": PLANTED, "expires_at": None}]
    with Emulator(seed) as running:
        yield running


@pytest.fixture
def emulator(truto):
    """The Truto behind every connection, as it was at the start."""
    truto.reset()
    truto.state.cache_refusals = False
    return truto


@pytest.fixture(scope="session")
def one_airflow(truto, tmp_path_factory):
    """The Airflow of the whole session."""
    conn = {"conn_type": "truto", "host": truto.url, "password": PLANTED}
    # One attempt a call: what is repeated here, Airflow repeats. As many calls as there are to make.
    extra = {"max_attempts": 1, "requests_per_second": 0}
    conns = {
        "TRUTO_DEFAULT": {**conn, "extra": extra},
        "THREE_ATTEMPTS": {**conn, "extra": {**extra, "max_attempts": 3}},
        "OF_GLOBEX": {**conn, "extra": {**extra, "integrated_account_id": GLOBEX}},
        "WRONG_TOKEN": {**conn, "password": "wrong-" + PLANTED, "extra": extra},
        "ONLY_SOME": {**conn, "extra": {**extra, "allowed_integrated_accounts": f"{ACME.upper()}, {GLOBEX}"}},
        "MINTING": {**conn, "extra": {**extra, "data_auth": "account"}},
        "PACED": {**conn, "extra": {**extra, "requests_per_second": "1"}},
        "UNUSABLE": {"conn_type": "truto", "host": "ftp://x", "extra": {"max_attempts": 0, "timeout": "soon"}},
    }
    with airflow_home(dags_folder=tmp_path_factory.mktemp("dags")) as env:
        env |= {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in conns.items()}
        env |= {"AIRFLOW_VAR_REGION": "emea", "AIRFLOW_VAR_LIMITS": '{"seats": 5}'}
        with closing(Airflow(env)) as worker:
            yield worker


@pytest.fixture
def airflow(one_airflow, emulator):
    """A real Airflow whose connections lead to the emulator."""
    return one_airflow
