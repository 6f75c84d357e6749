"""The fixture `truto` of the pytest plugin: what it shows, and that its runs are those of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.exceptions import AirflowSensorTimeout
from airflow.triggers.base import BaseTrigger, TriggerEvent
from test_docs import imported_as_here, page_of

from airflow_provider_truto import emulator
from airflow_provider_truto._compat import AirflowFailException, AirflowSkipException, BaseOperator
from airflow_provider_truto.client.errors import TrutoServerError
from airflow_provider_truto.emulator import ACME, GLOBEX, default_seed
from airflow_provider_truto.emulator.state.seed import load_seed
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator
from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator
from airflow_provider_truto.sensors.records import TrutoRecordSensor

try:
    from airflow.sdk import DAG, Variable, task, task_group
except ImportError:
    from airflow.decorators import task, task_group
    from airflow.models import Variable
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


def mapped_over_an_output(rows):
    fixed = {"task_id": "update", "integrated_account_id": ACME, "account_id": RECORD}
    return TrutoUpdateAccountOperator.partial(**fixed).expand(body=rows.operator.output.map(lambda row: row["body"]))


@pytest.mark.parametrize("make", [mapped_over_literals, mapped_over_bodies, mapped_over_rows, mapped_over_an_output])
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
    with dag:

        @task
        def count(answers):
            return [answer["number_of_employees"] for answer in answers]

        count(dag.get_task("update").output)
        update("after", body={"description": "{{ ti.xcom_pull('update') | length }} rows"})
    assert truto.run(dag.get_task("count")) == [1, 2]
    assert truto.run(dag.get_task("after"))["description"] == "2 rows"


def test_a_mapped_task_takes_the_output_of_others_for_what_it_is_not_mapped_over(truto):
    with make_dag() as dag:

        @task
        def find():
            return RECORD

        @task
        def describe():
            return {"name": "Initrode"}

        @task
        def count():
            return [1, 2]

        fixed = {"account_id": find(), "integrated_account_id": ACME}
        bodies = count().map(lambda n: {"number_of_employees": n})
        TrutoUpdateAccountOperator.partial(task_id="update", **fixed).expand(body=bodies)
        mapped = TrutoUpdateAccountOperator.partial(task_id="again", integrated_account_id=ACME, account_id=RECORD)
        mapped.expand(body=dag.get_task("update").output.map(lambda answer: {"name": f"{answer['id']}"}))
        both = TrutoUpdateAccountOperator.partial(task_id="both", integrated_account_id=ACME)
        both.expand(account_id=[RECORD, "23423524"], body=[describe(), {"name": "Hooli"}])

    for name in ("find", "describe", "count"):
        truto.run(dag.get_task(name))
    assert [row["number_of_employees"] for row in truto.run(dag.get_task("update"))] == [1, 2]
    assert [row["name"] for row in truto.run(dag.get_task("again"))] == [RECORD, RECORD]
    assert [(row["id"], row["name"]) for row in truto.run(dag.get_task("both"))] == [
        (record, name) for record in (RECORD, "23423524") for name in ("Initrode", "Hooli")
    ]


def test_a_task_of_a_mapped_group_is_refused(truto):
    with make_dag() as dag:

        @task_group
        def group(staff):
            update(body={"number_of_employees": staff})

        group.expand(staff=[1, 2])
    with pytest.raises(NotImplementedError, match=r"the rows of a mapped task group, which group.update is in"):
        truto.run(dag.get_task("group.update"))


def wait_for_a_name(**arguments):
    target = {"model": "crm", "resource": "accounts", "record_id": RECORD, "integrated_account_id": ACME}
    fields = {"fields": {"name": "Changed"}, "poke_interval": 3600}
    return TrutoRecordSensor(**{"task_id": "wait", **target, **fields, **arguments})


WAYS_TO_WAIT = [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}]


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_a_sensor_looks_again_until_it_sees_a_change_and_the_test_does_not_wait(truto, monkeypatch, way):
    slept, sleep, sleep_in_loop = [], time.sleep, asyncio.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(seconds) or sleep(0))
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: slept.append(seconds) or sleep_in_loop(0))
    at = {"integrated_account_id": ACME, "resource": "crm/accounts", "id": RECORD}
    truto.emulator.change(**at, fields={"name": "Changed"}, after_calls=6)
    sensor = wait_for_a_name(**way)
    truto.run(sensor)
    assert len(truto.requests) > 6
    assert slept
    assert max(slept) < 1
    assert sensor.poke_interval == 3600


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_a_sensor_ends_with_its_timeout_which_counts_from_its_first_look(truto, way):
    failures = []
    tell = {"on_failure_callback": lambda context: failures.append(context["exception"])}
    sensor = wait_for_a_name(timeout=0.5, **tell, **way)
    with pytest.raises(AirflowSensorTimeout):
        truto.run(sensor)
    assert truto.requests
    assert [type(error) for error in failures] == [AirflowSensorTimeout]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_sync_job_is_waited_for_to_its_end_and_the_test_does_not_wait(truto, deferrable):
    asked = {"sync_job_id": "6fd4c1bc", "integrated_account_id": ACME, "deferrable": deferrable}
    run = truto.run(TrutoSyncJobRunOperator(task_id="sync", poll_interval=3600, **asked))
    assert run["status"] == "completed"
    assert truto.xcom("sync", "truto")["status"] == "completed"


class MomentTrigger(BaseTrigger):
    def __init__(self, moment, fails):
        super().__init__()
        self.moment, self.fails = moment, fails

    def serialize(self):
        return "test_plugin.MomentTrigger", {"moment": self.moment, "fails": self.fails}

    async def run(self):
        if self.fails:
            raise ValueError("no such moment")
        yield TriggerEvent({"year": self.moment.year})


class WaitOperator(BaseOperator):
    def __init__(self, *, fails=False, **arguments):
        super().__init__(**arguments)
        self.fails = fails

    def execute(self, context):
        moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
        kwargs = {"sent": moment}
        self.defer(trigger=MomentTrigger(moment, self.fails), method_name="finish", kwargs=kwargs)

    def finish(self, context, event, sent):
        return event["year"], sent.month


def test_a_trigger_gets_what_airflow_can_serialize_and_its_failure_is_the_task_s(truto):
    assert tuple(truto.run(WaitOperator(task_id="wait"))) == (2026, 1)
    with pytest.raises(Exception, match="Trigger failure") as caught:
        truto.run(WaitOperator(task_id="fail", fails=True))
    assert str(caught.value.__cause__) == "no such moment"


def test_what_is_to_run_around_execute_runs(truto):
    ran = []

    class Loud(TrutoUpdateAccountOperator):
        def pre_execute(self, context):
            super().pre_execute(context)
            ran.append("pre_execute of the class")

        def post_execute(self, context, result=None):
            ran.append("post_execute of the class")

    hooks = {
        "pre_execute": lambda context: ran.append(f"pre_execute of {context['ti'].task_id}"),
        "post_execute": lambda context, result: ran.append(f"post_execute of {result['id']}"),
    }
    callbacks = {
        f"on_{name}_callback": lambda context, name=name: ran.append(f"{name}: {context.get('exception')!s}")
        for name in ("execute", "success", "retry", "failure", "skipped")
    }
    arguments = {"account_id": RECORD, "integrated_account_id": ACME, "body": {"name": "Initrode"}, **callbacks}
    truto.run(Loud(task_id="loud", **arguments))
    assert {*ran} == {"execute: None", "pre_execute of the class", "post_execute of the class", "success: None"}
    ran.clear()
    truto.run(update("hooked", **arguments, **hooks))
    assert {*ran} == {"execute: None", "pre_execute of hooked", f"post_execute of {RECORD}", "success: None"}
    links = [truto.xcom("loud", f"_link_{name}") for name in ("TrutoIntegratedAccountsLink", "TrutoReferenceLink")]
    assert links == [
        "https://app.truto.one/integrated-accounts",
        "https://truto.one/docs/api-reference/unified-crm-api/accounts/update",
    ]

    truto.fault(method="PATCH", status=500, times=10)
    task = update("failing", **arguments, retries=1)
    for kind in ("retry", "failure"):
        ran.clear()
        with pytest.raises(TrutoServerError):
            truto.run(task)
        assert [one.partition(":")[0] for one in ran] == ["execute", kind]
        assert "500" in ran[-1]
    ran.clear()
    truto.fault(method="PATCH", status=429, times=5)
    with pytest.raises(AirflowSkipException):
        truto.run(update("skipping", **arguments, skip_on=["rate_limit"]))
    assert ran[:2] == ["execute: None", "skipped: None"]


def test_a_callback_that_fails_is_logged_and_an_execution_timeout_ends_the_task(truto, caplog):
    with make_dag() as dag:

        @task(execution_timeout=timedelta(seconds=0.2), on_failure_callback=lambda _: 1 / 0)
        def hang():
            time.sleep(60)

        hang()
    with pytest.raises(BaseException, match="Timeout"):
        truto.run(dag.get_task("hang"))
    assert "ZeroDivisionError" in caplog.text


def test_a_run_leaves_the_process_as_it_was(truto):
    environment, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with make_dag() as dag:

        @task
        def look():
            return os.environ["AIRFLOW_CTX_TASK_ID"]

        look()
    assert truto.run(dag.get_task("look")) == "look"
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGTERM) is handler


def test_what_only_an_api_server_or_a_database_has_is_not_found(truto, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_REGION", "eu")
    with make_dag() as dag:

        @task
        def read(region):
            return region, Variable.get("region")

        @task
        def connect():
            TrutoHook("missing").update_account(RECORD, {"name": "x"}, integrated_account_id=ACME)

        read("{{ var.value.region }}")
        connect()
    assert tuple(truto.run(dag.get_task("read"))) == ("eu", "eu")
    with pytest.raises(Exception, match="missing"):
        truto.run(dag.get_task("connect"))


@pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="before Airflow 3.3 there is no state store")
def test_a_retry_finds_what_the_try_before_has_stored(truto):
    with make_dag() as dag:

        @task
        def count(task_state_store):
            task_state_store.set("tries", (task_state_store.get("tries") or 0) + 1)
            if task_state_store.get("tries") < 3:
                raise ValueError("not yet")
            task_state_store.delete("tries")
            return task_state_store.get("tries", "gone")

        @task
        def ask():
            Variable.set("region", "eu")

        count()
        ask()
    for _ in range(2):
        with pytest.raises(ValueError, match="not yet"):
            truto.run(dag.get_task("count"))
    assert truto.run(dag.get_task("count")) == "gone"
    with pytest.raises(Exception, match=r"asks for PutVariable: test it with dag.test\(\)"):
        truto.run(dag.get_task("ask"))


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
    assert re.search(r"1 passed, (1 warning, )?1 error", output)
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
    names = ("crm", "test_crm", "profiles", "test_profiles")
    code, output, _ = installed(**{name: imported_as_here(TESTING.block(f"{name}.py")) for name in names})
    assert code == 0, output
    assert "4 passed" in output


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
