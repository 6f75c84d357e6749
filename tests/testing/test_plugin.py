"""The fixture `truto` of the pytest plugin: what it shows, and that its runs are those of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from test_docs import imported_as_here, page_of

from airflow_provider_truto import emulator
from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.client.errors import TrutoServerError
from airflow_provider_truto.emulator import ACME, GLOBEX, default_seed
from airflow_provider_truto.emulator.state.seed import load_seed
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator
from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator
from airflow_provider_truto.sensors.records import TrutoRecordSensor

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models.dag import DAG

ROOT = Path(__file__).parent.parent.parent
TESTING = page_of("testing")
RECORD = "23423523"
STAFF = {"number_of_employees": "{{ params.staff }}"}


def make_dag(**arguments):
    return DAG(dag_id="crm", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, **arguments)


def update(task_id="update", **arguments):
    return TrutoUpdateAccountOperator(
        **{"task_id": task_id, "account_id": RECORD, "integrated_account_id": ACME, **arguments}
    )


def writes(truto):
    return [request for request in truto.requests if request.method == "PATCH"]


# ---------------------------------------------------------------------------------------------- what a test can see


def test_a_request_is_shown_as_it_arrived_and_a_record_as_it_is_now(truto):
    result = truto.run(update(body=STAFF), params={"staff": 150})
    (request,) = truto.requests
    assert (request.method, request.path) == ("PATCH", f"/unified/crm/accounts/{RECORD}")
    assert request.query == {"integrated_account_id": ACME, "truto_ignore_remote_data": "true"}
    assert request.body == {"number_of_employees": 150}
    for name in ("accounts", "crm/accounts"):
        assert truto.record("acme", name, RECORD) == truto.record(ACME, name, RECORD)
    assert truto.record("acme", "accounts", RECORD)["number_of_employees"] == result["number_of_employees"] == 150
    assert truto.xcom("update") == result
    assert truto.xcom("update", "truto")["status"] == 200


@pytest.mark.parametrize("_", range(2))
def test_each_test_begins_at_the_seed(_, truto):
    assert truto.requests == []
    assert truto.record("acme", "accounts", RECORD)["number_of_employees"] == 120
    truto.run(update(body=STAFF), params={"staff": 150})


def test_what_is_not_there_is_told_from_what_nobody_knows(truto):
    assert truto.record("acme", "accounts", "0") is None
    with pytest.raises(LookupError, match="no customer 'acne'; it has acme, globex"):
        truto.record("acne", "accounts", RECORD)
    with pytest.raises(LookupError, match="no resource 'crm/account'; it has crm/accounts"):
        truto.record("acme", "account", RECORD)


def test_faults_hit_whom_they_are_meant_for_and_nobody_waits(truto, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("slept"))
    truto.fault(customer="acme", method="PATCH", status=429, headers={"Retry-After": "60"}, times=2)
    truto.run(update("other", integrated_account_id=GLOBEX, account_id="70010001", body={"name": "x"}))
    truto.run(update(body={"name": "Initrode"}))
    assert len(writes(truto)) == 1 + 3


# ------------------------------------------------------------------------------------------ as a worker would run it


def test_a_retry_repeats_its_key_and_a_cleared_task_does_not(truto):
    task = update(body={"name": "Initrode"}, retries=2)
    truto.fault(method="PATCH", status=500, times=5)
    with pytest.raises(TrutoServerError):
        truto.run(task)
    truto.run(task)
    truto.run(task)
    keys = [request.headers["idempotency-key"] for request in writes(truto)]
    assert len(keys) == 5 + 1 + 1
    assert len(set(keys[:6])) == 1
    assert keys[6] != keys[5]


def test_a_task_takes_what_others_have_pushed(truto):
    with make_dag() as dag:

        @task
        def staff():
            return {"count": 7, "at": datetime(2026, 1, 1, tzinfo=timezone.utc)}

        found = staff()
        update("by_template", body={"number_of_employees": "{{ ti.xcom_pull('staff').count }}"})
        update("by_reference", body={"number_of_employees": found["count"]})

        @task(multiple_outputs=True)
        def split():
            return {"count": 9}

        update("by_key", body={"number_of_employees": split()["count"]})

    for name in ("staff", "split"):
        truto.run(dag.get_task(name))
    assert truto.run(dag.get_task("by_template"))["number_of_employees"] == 7
    assert truto.run(dag.get_task("by_key"))["number_of_employees"] == 9
    with pytest.raises(Exception, match="count"):  # it was returned whole, and never pushed under this key
        truto.run(dag.get_task("by_reference"))
    assert truto.xcom("staff")["at"].year == 2026


def test_a_plain_function_s_hook_writes_under_the_key_of_its_task(truto):
    @task
    def write():
        TrutoHook().update_account(RECORD, {"name": "Initrode"}, integrated_account_id=ACME)

    with make_dag() as dag:
        write()
    for _ in range(2):
        truto.fault(method="PATCH", reset="after", times=5)
        with pytest.raises(Exception, match="no usable answer"):
            truto.run(dag.get_task("write"))
        truto.emulator.clear_faults()
    assert len({request.headers["idempotency-key"] for request in writes(truto)}) == 1


def test_a_decorated_function_is_run_with_the_run_s_date(truto):
    with make_dag() as dag:

        @task.truto_update_account(account_id=RECORD, integrated_account_id=ACME)
        def describe(ds, dag_run):
            return {"description": f"{ds} {dag_run.conf['why']}"}

        describe()
    sent = truto.run(dag.get_task("describe"), params={"why": "asked"})["description"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d asked", sent)


def test_params_are_checked_and_stay_those_of_the_dag(truto):
    with make_dag(params={"staff": 5}) as dag:
        update(body=STAFF)
    task = dag.get_task("update")
    assert truto.run(task, params={"staff": 6})["number_of_employees"] == 6
    assert truto.run(task)["number_of_employees"] == 5
    assert dag.params["staff"] == 5


ROWS = [{"account_id": RECORD, "body": {"number_of_employees": n}} for n in (1, 2)]


def mapped_over_literals(_):
    return TrutoUpdateAccountOperator.partial(task_id="update", integrated_account_id=ACME).expand_kwargs(ROWS)


def mapped_over_bodies(rows):
    fixed = {"task_id": "update", "integrated_account_id": ACME, "account_id": RECORD}
    return TrutoUpdateAccountOperator.partial(**fixed).expand(body=rows.map(lambda row: row["body"]))


def mapped_over_rows(rows):
    return TrutoUpdateAccountOperator.partial(task_id="update", integrated_account_id=ACME).expand_kwargs(rows)


@pytest.mark.parametrize("make", [mapped_over_literals, mapped_over_bodies, mapped_over_rows])
def test_every_row_of_a_mapped_task_is_run(truto, make):
    with make_dag() as dag:

        @task
        def rows():
            return ROWS

        make(rows())
    truto.run(dag.get_task("rows"))
    assert [row["number_of_employees"] for row in truto.run(dag.get_task("update"))] == [1, 2]
    assert len({request.headers["idempotency-key"] for request in writes(truto)}) == 2
    assert truto.xcom("update", map_index=1)["number_of_employees"] == 2
    with make_dag():
        after = update("after", body={"description": "{{ ti.xcom_pull('update') | length }} rows"})
    assert truto.run(after)["description"] == "2 rows"


def test_a_deferred_task_goes_on_to_its_end(truto):
    job = TrutoSyncJobRunOperator(task_id="sync", sync_job_id="6fd4c1bc", integrated_account_id=ACME, deferrable=True)
    run = truto.run(job)
    assert run["status"] == "completed"
    assert truto.xcom("sync", "truto")["status"] == "completed"


def test_a_deferred_sensor_waits_for_a_change_and_the_test_does_not(truto, monkeypatch):
    slept, sleep = [], asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: slept.append(seconds) or sleep(0))
    sensor = TrutoRecordSensor(
        task_id="wait",
        model="crm",
        resource="accounts",
        record_id=RECORD,
        integrated_account_id=ACME,
        fields={"name": "Changed"},
        deferrable=True,
        poke_interval=3600,
    )
    at = {"integrated_account_id": ACME, "resource": "crm/accounts", "id": RECORD}
    truto.emulator.change(**at, fields={"name": "Changed"}, after_calls=6)
    truto.run(sensor)
    assert len(truto.requests) > 6
    assert slept
    assert max(slept) < 1


def test_a_bulk_writes_its_ledger_and_a_retry_continues_from_it(truto, tmp_path):
    row = {"id": RECORD, "body": {"name": "Initrode"}, "integrated_account_id": ACME}
    bulk = TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=[row], output_path=f"file://{tmp_path}", max_failures=0, retries=1
    )
    truto.fault(method="PATCH", status=500, times=5)
    with pytest.raises(Exception, match="failed"):
        truto.run(bulk)
    assert truto.run(bulk)["updated"] == 1
    assert list(tmp_path.rglob("*.jsonl*"))


def test_a_connection_of_the_test_s_own_is_used(truto, connection):
    connection(truto.url, "wrong-token")
    with pytest.raises(AirflowFailException, match="401"):
        truto.run(update(body={"name": "Initrode"}))


# ------------------------------------------------------------------------------------------------- as pytest loads it

SUITE = """
import os, pathlib, sys

IS_LOADED = [name for name in ("airflow", "requests", "starlette") if name in sys.modules]


def test_1(truto):
    assert IS_LOADED == []
    assert truto.url in os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"]
    assert truto.record("only", "accounts", "1") == {"id": "1", "name": "One"}
    from airflow_provider_truto.hooks.truto import TrutoHook

    for _ in range(2):
        TrutoHook().capabilities(integration="hubspot")
    assert len(truto.requests) == 1, "what is kept of an answer is not kept from one test to the next"
    with open("urls", "a") as urls:
        urls.write(truto.url + chr(10))


def test_2(truto):
    test_1(truto)


def test_3():
    assert os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"] == "as it was"
"""
SEED = """
import pytest


@pytest.fixture(scope="session")
def truto_seed():
    account = {"id": "aaaaaaaa-0000-4000-8000-000000000001", "tenant_id": "only", "integration": "hubspot"}
    records = {account["id"]: {"crm/accounts": [{"id": "1", "name": "One"}]}}
    return {"integrated_accounts": [account], "records": records}
"""


@pytest.fixture
def installed(tmp_path):
    """A function that runs pytest in a folder, where the package of this tree is installed."""
    entry_points = (ROOT / "pyproject.toml").read_text().partition("[project.entry-points.pytest11]\n")[2]
    metadata = tmp_path / "site" / "tree-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tree\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[pytest11]\n" + entry_points.partition("\n\n")[0].replace('"', "") + "\n"
    )

    def run(*arguments, environment=None, **files):
        folder = tmp_path / "suite"
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        path = os.pathsep.join([str(tmp_path / "site"), str(ROOT), str(folder)])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "AIRFLOW_CONN_TRUTO_DEFAULT": "as it was", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr, folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_each_process_of_a_suite_has_one_emulator_with_the_seed_of_the_suite(installed, workers):
    spread = ["-n", "2", "--dist", "each", "--tx", "2*popen"] if workers == 2 else ["-p", "no:xdist"]
    code, output, folder = installed(*spread, test_suite=SUITE, conftest=SEED)
    assert code == 0, output
    urls = (folder / "urls").read_text().split()
    assert len(urls) == 2 * workers
    assert len(set(urls)) == workers


def test_without_the_extra_a_suite_runs_and_only_the_fixture_fails(installed):
    code, output, _ = installed(
        uvicorn="raise ImportError('not here', name='uvicorn')\n",
        test_suite="def test_1(): pass\ndef test_2(truto): pass\n",
    )
    assert code == 1
    assert "1 passed, 1 error" in output
    assert "pip install 'airflow-provider-truto[emulator]'" in output


VAULT = """
from airflow.secrets import BaseSecretsBackend


class Vault(BaseSecretsBackend):
    def get_conn_value(self, conn_id, **_):
        return '{"conn_type": "truto", "host": "https://api.truto.one", "password": "real"}'
"""
REAL = """
import pytest
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator


def test(truto):
    task = TrutoUpdateAccountOperator(task_id="t", account_id="1", body={"name": "x"})
    with pytest.raises(RuntimeError, match="leads to https://api.truto.one, and not to the emulator"):
        truto.run(task)
"""


@pytest.mark.slow
def test_a_secrets_backend_never_leads_a_test_to_the_real_truto(installed):
    environment = {"AIRFLOW__SECRETS__BACKEND": "vault.Vault", "AIRFLOW__WORKERS__SECRETS_BACKEND": "vault.Vault"}
    code, output, _ = installed(environment=environment, vault=VAULT, test_suite=REAL)
    assert code == 0, output


# --------------------------------------------------------------------------------------------------- docs/testing.md


@pytest.mark.slow
def test_the_example_of_the_page_passes(installed):
    files = {name: imported_as_here(TESTING.block(f"{name}.py")) for name in ("crm", "test_crm")}
    code, output, _ = installed(**files)
    assert code == 0, output
    assert "2 passed" in output


def test_the_seed_of_the_page_is_used(installed):
    suite = "def test(truto):\n    assert truto.record('northwind', 'accounts', '1')['name'] == 'Northwind'\n"
    code, output, _ = installed(conftest=TESTING.block("conftest.py"), test_suite=suite)
    assert code == 0, output
    assert {row[0].strip("`") for row in TESTING.table("key")} == {*load_seed(None)}


def test_the_table_of_customers_is_the_seed_and_each_answers_as_it_says(truto):
    seed = default_seed()
    by_tenant = {one["tenant_id"]: one for one in seed["integrated_accounts"]}
    table = TESTING.table("tenant")
    assert [row[0].strip("`") for row in table] == [*by_tenant]
    for tenant, name, crm, records, answer in table:
        account = by_tenant[tenant.strip("`")]
        ids = re.findall(r"`([\w-]+)`", records)
        assert getattr(emulator, name.strip("`")) == account["id"]
        assert crm == account["integration"]
        assert ids == [one["id"] for one in seed["records"][account["id"]]["crm/accounts"]]
        task = update(account_id=ids[0], integrated_account_id=account["id"], body={"name": "Initrode"})
        with contextlib.suppress(AirflowFailException):
            truto.run(task)
        assert truto.xcom("update", "truto")["status"] == int(answer.partition(",")[0])
