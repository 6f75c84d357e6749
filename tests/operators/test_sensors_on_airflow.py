"""Each sensor in each of its modes on a real scheduler and triggerer; ``tests/sensors`` has what they wait for."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from airflow_scheduled import name_dag, scheduled_airflow

from airflow_provider_truto.emulator import ACME

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PRELUDE = """
from datetime import datetime, timezone

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow.models.dag import DAG

from airflow_provider_truto.sensors.integrated_accounts import TrutoIntegratedAccountSensor
from airflow_provider_truto.sensors.records import TrutoRecordSensor

GOLD = dict(model="crm", resource="accounts", record_id="23423523", tenant_id="acme")


def is_of_this_file(record, tier):
    return record["custom_fields"]["tier"] == tier


DAYS = dict(start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None)
with DAG("{dag_id}", is_paused_upon_creation=False, **DAYS):
    {body}
"""
# A scheduler that is busy takes a task that goes on soon after it was given back for one that its executor has lost.
MODES = {
    "poke": "poke_interval=1",
    "reschedule": "mode='reschedule', poke_interval=10",
    "deferrable": "deferrable=True, poke_interval=6",
}
every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def scheduled(truto, tmp_path_factory):
    plugins = tmp_path_factory.mktemp("plugins")
    shutil.copy(Path(__file__).parent.parent / "sensors" / "author_conditions.py", plugins)
    env = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins)}
    with scheduled_airflow(truto, tmp_path_factory.mktemp("dags"), prelude=PRELUDE, **env) as airflow:
        airflow.start_triggerer()
        yield airflow


@pytest.fixture
def begin(scheduled, emulator, request):
    """A function that runs a DAG of one task, ``wait``, and returns its id once the task has looked twice."""

    def call(task, *, looks=2):
        dag_id = name_dag(request)
        scheduled.write(dag_id, task)
        scheduled.trigger(dag_id)
        deadline = time.monotonic() + 240
        while len([one for one in emulator.requests if one["path"][0] in {"unified", "integrated-account"}]) < looks:
            assert time.monotonic() < deadline, "it does not look"
            time.sleep(0.1)
        return dag_id

    return call


@every_mode
def test_an_account_is_waited_for(scheduled, emulator, begin, mode):
    account = emulator.state.accounts[ACME].record
    account["status"] = "needs_reauth"
    task = f"TrutoIntegratedAccountSensor(task_id='wait', tenant_id='acme', probe=True, {MODES[mode]})"
    dag_id = begin(task)
    if mode == "deferrable":
        scheduled.until(dag_id, "deferred", 1, task_id="wait")
        (stored,) = scheduled.query("select kwargs from trigger")
        assert "planted" not in str(stored)
    account["status"] = "active"
    scheduled.until(dag_id, "success", 1, task_id="wait")
    assert "Waiting, since the customer must reconnect hubspot account" in scheduled.log(dag_id)
    assert [one["method"] for one in emulator.executions] == ["GET"] * (1 + (mode == "deferrable"))
    assert "planted" not in scheduled.log(dag_id)


@every_mode
def test_a_record_is_waited_for(scheduled, emulator, begin, mode):
    """A function of the DAG file is for a worker; the triggerer imports one of the plugins folder."""
    function = "'author_conditions.is_gold'" if mode == "deferrable" else "is_of_this_file"
    condition = "condition='record.custom_fields.tier == values.tier', values={'tier': '{{ params.tier }}'}"
    given = f"{condition}, function={function}, fields={{'/custom_fields/tier': '{{{{ params.tier }}}}'}}"
    task = f"TrutoRecordSensor(task_id='wait', **GOLD, {given}, params=dict(tier='platinum'), {MODES[mode]})"
    dag_id = begin(task, looks=4)  # each asks for the tenant and for the record
    fields = {"custom_fields": {"tier": "platinum"}}
    emulator.change(integrated_account_id=ACME, resource="crm/accounts", id="23423523", fields=fields)
    scheduled.until(dag_id, "success", 1, task_id="wait")
    assert "waiting, since the record differs at /custom_fields/tier" in scheduled.log(dag_id)


@pytest.mark.parametrize(("mode", "soft_fail"), [("deferrable", False), ("reschedule", True)])
def test_what_fail_on_names_ends_it_at_once_and_for_good(scheduled, emulator, begin, mode, soft_fail):
    emulator.state.accounts[ACME].record["status"] = "connecting"
    how = f"fail_on=['needs_reauth'], retries=2, soft_fail={soft_fail}, {MODES[mode]}"
    dag_id = begin(f"TrutoIntegratedAccountSensor(task_id='wait', tenant_id='acme', {how})")
    emulator.state.accounts[ACME].require_reauth("The key was revoked")
    scheduled.until(dag_id, "skipped" if soft_fail else "failed", 1, task_id="wait")
    assert "fail_on names needs_reauth" in scheduled.log(dag_id)


def test_after_the_timeout_it_has_failed_without_a_retry(scheduled, begin):
    how = f"fields=dict(name='x'), timeout=8, retries=2, {MODES['deferrable']}"
    dag_id = begin(f"TrutoRecordSensor(task_id='wait', **GOLD, {how})")
    scheduled.until(dag_id, "failed", 1, task_id="wait")
    assert "not over within 8 seconds" in scheduled.log(dag_id)
