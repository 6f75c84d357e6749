"""A watched asset on a real scheduler and triggerer: one run for each change, told once, across restarts."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from airflow_runs import PLANTED, before
from airflow_scheduled import scheduled_airflow
from packaging.version import Version
from test_docs import EVENTS

from airflow_provider_truto.emulator import ACME

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.skipif(before("3.0"), reason="Airflow 2 has no AssetWatcher"),
]
HAS_STORE = Version(version("apache-airflow")) >= Version("3.3.2")
FIRST, SECOND = "23423523", "23423524"

#: Two DAGs that users see, each with an asset of its own for the same customer.
EXAMPLE, PAGE = "truto_changed_accounts", "acme_accounts_changed"
ASSETS = {EXAMPLE: "truto_changed_accounts", PAGE: "acme_accounts"}


def sources():
    """Their files, looking every second."""
    example = Path(__file__).parents[2] / "example_dags" / f"{EXAMPLE}.py"
    for dag_id, source in ((EXAMPLE, example.read_text()), (PAGE, EVENTS.dags[PAGE].source)):
        assert source.count("poll_interval=60,") == 1
        yield dag_id, source.replace("poll_interval=60,", "poll_interval=1,")


@pytest.fixture(scope="module")
def scheduled(truto, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dags")
    unpaused = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with scheduled_airflow(truto, folder, prelude="{body}", **unpaused) as airflow:
        airflow.start_triggerer()
        yield airflow


def parse(scheduled):
    """Parse the files, as a DAG processor does again and again."""
    for dag_id, source in sources():
        scheduled.write(dag_id, source)


@pytest.fixture
def emulator(truto):
    truto.reset()
    return truto


def until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)
    return found


def looked(emulator, more=3):
    """Wait for some looks that begin from now on."""
    start = len(emulator.requests)
    until(lambda: len(emulator.requests) > start + more)


def change(emulator, record_id):
    emulator.change(integrated_account_id=ACME, resource="crm/accounts", id=record_id)


def runs(scheduled, dag_id):
    """What each run of a DAG was told, once all of them are done."""
    states = scheduled.query("select state from dag_run where dag_id = ?", dag_id)
    if any(state not in ("success", "failed") for (state,) in states):
        return None
    told = scheduled.query("select value from xcom where dag_id = ? and key = 'return_value'", dag_id)
    values = [json.loads(value) for (value,) in told]
    return [json.loads(value) if isinstance(value, str) else value for value in values]


def ids_of(told):
    """The example tells of records, the page of ids."""
    return [one["id"] if isinstance(one, dict) else one for run in told for one in run]


def cursor(scheduled, asset):
    """What the asset's state store holds; nothing before Airflow 3.3.2."""
    rows = scheduled.query(
        "select value from asset_state_store join asset on asset.id = asset_id where asset.name = ?", asset
    )
    return json.loads(rows[0][0]) if rows else None


def test_a_change_makes_one_run_for_each_asset_and_a_restarted_triggerer_loses_and_repeats_nothing(
    scheduled, emulator
):
    def watching():
        parse(scheduled)  # an asset is active, and so watched, from the second time on
        return len(scheduled.query("select id from trigger")) == 2

    until(watching)
    looked(emulator)
    rows = scheduled.query("select id, kwargs from trigger")
    assert PLANTED not in str(rows)

    change(emulator, FIRST)
    for dag_id in ASSETS:
        assert ids_of(until(lambda dag_id=dag_id: runs(scheduled, dag_id))) == [FIRST]
    parse(scheduled)
    looked(emulator)
    assert scheduled.query("select id, kwargs from trigger") == rows
    if HAS_STORE:
        until(lambda: all(cursor(scheduled, asset)["seen"] for asset in ASSETS.values()))

    scheduled.kill_triggerer()
    change(emulator, SECOND)
    scheduled.start_triggerer()
    looked(emulator)
    for dag_id in ASSETS:
        until(lambda dag_id=dag_id: len(runs(scheduled, dag_id) or ()) == 2)
    looked(emulator, more=6)
    told = {dag_id: sorted(ids_of(runs(scheduled, dag_id))) for dag_id in ASSETS}
    if HAS_STORE:
        assert told == {dag_id: [FIRST, SECOND] for dag_id in ASSETS}
    else:  # what was told within the overlap is told again
        assert told == {dag_id: [FIRST, FIRST, SECOND] for dag_id in ASSETS}
