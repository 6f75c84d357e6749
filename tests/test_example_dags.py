"""The example DAGs and those of the pages: parsed by Airflow, and run on it against the emulator."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from airflow_home import airflow_home
from meanwhile import meanwhile
from test_docs import BULK, EVENTS, PAGE_DAGS, PAGES, README

from airflow_provider_truto._compat import IS_AIRFLOW_2
from airflow_provider_truto.emulator import ACME, GLOBEX, STARK, WAYNE, Emulator
from airflow_provider_truto.emulator.state.resources import RESOURCES

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "example_dags"
PROFILES = """
delete from account_profiles;
insert into account_profiles values ('acme', '23423523', 'Acme Corporation', 140),
    ('globex', '70010001', 'Globex Corporation', 12), ('wayne', '31000001', 'Wayne Enterprises', 2000),
    ('wayne', '31000002', 'Wayne Aerospace', 300);
"""
#: What the pages ask their `warehouse` for.
WAREHOUSE = f"""
create table account_tiers (crm_id, customer, employees, tier, score);
insert into account_tiers values ('23423523', '{ACME}', 140, 'gold', 87), ('70010001', '{GLOBEX}', 12, null, 50);
create table account_profiles (tenant_id, crm_id, name, employees);
{PROFILES}
"""

#: Seconds for a run, or until it asks a person. Airflow 3.2 takes ten for each task on a busy machine.
PATIENCE = 300
ACCOUNT = "integrated_account_id"
FAN_OUT = "truto_fan_out_accounts"
CONTACTS = "truto_contacts_to_accounts"
APPROVAL = "truto_preview_approve_apply"
SYNC_JOB = "truto_sync_job"
CHANGES = "truto_changed_accounts"
#: The examples of sensors.
CUSTOMER, RECORD = "truto_wait_for_customer", "truto_wait_for_record"
#: Examples that wait, and how often they look.
LOOKING = {SYNC_JOB: "poll_interval=10", CUSTOMER: "poke_interval=60", RECORD: "poke_interval=60"}
TASKFLOW = "truto_taskflow"
FORM = "truto_account_form"
BULK_APPROVAL = "truto_bulk_preview_approve_apply"
#: The examples with an approval, and what they are called where they are as an older Airflow sees them.
BY_VARIABLE = f"{APPROVAL}_by_variable"
BULK_BY_VARIABLE = f"{BULK_APPROVAL}_by_variable"


def before_airflow_3_1(dag_id):
    """The example with an approval as an older Airflow sees it; it looks every second instead of every minute."""
    source = (EXAMPLES / f"{dag_id}.py").read_text()
    for old, new in {
        "airflow.providers.standard.operators.hitl": "airflow.providers.standard.operators.not_there_yet",
        "poke_interval=60": "poke_interval=1",
        f'dag_id="{dag_id}"': f'dag_id="{dag_id}_by_variable"',
    }.items():
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


class Airflow:
    """A process with Airflow in it, started once for this module."""

    def __init__(self, worker, env, line, log, warehouse):
        self.worker = worker
        self.warehouse = warehouse
        self.env = env
        self.line = line
        self.log = log

    def run(self, dag_id, conf=None, *, person=None):
        """Run a DAG; `person` takes each question that it asks and gives the answer."""
        try:
            self._tell({"dag_id": dag_id, "conf": conf or {}})
            while "question" in (reply := self._hear()):
                assert person is not None, f"nobody is to be asked: {reply}"
                self._tell({"answer": person(reply["question"])})
        except BaseException:
            self.worker.kill()  # it waits for an answer: the tests to come must not wait for it
            raise
        assert "error" not in reply, reply["error"]
        return Run(Path(self.env["AIRFLOW_HOME"]) / "airflow.db", dag_id, **reply)

    def _tell(self, message):
        with self._said_why():
            self.line.write(json.dumps(message) + "\n")
            self.line.flush()

    def _hear(self):
        with self._said_why():
            return json.loads(self.line.readline())

    @contextmanager
    def _said_why(self):
        try:
            yield
        except (OSError, ValueError) as error:
            raise AssertionError(f"Airflow has ended or hangs; its log:\n{self.log.read_text()[-4000:]}") from error


class Run:
    """What Airflow's database says of a run that is over."""

    def __init__(self, database, dag_id, *, run_id, state):
        self._database = database
        self._key = (dag_id, run_id)
        self.state = state

    @property
    def tasks(self):
        """The states of the tasks, mapped ones by the names that Airflow shows for them."""
        rows = self._rows("select task_id, map_index, rendered_map_index, state from task_instance")
        return {task if index < 0 else (task, shown): state for task, index, shown, state in rows}

    def xcom(self, task_id, key="return_value"):
        ((value,),) = self._rows("select value from xcom", f" and task_id = '{task_id}' and key = '{key}'")
        parsed = json.loads(value)
        return json.loads(parsed) if isinstance(parsed, str) else parsed  # text within JSON since Airflow 3

    def _rows(self, select, also=""):
        with closing(sqlite3.connect(self._database)) as db:
            return db.execute(f"{select} where dag_id = ? and run_id = ?{also}", self._key).fetchall()


@pytest.fixture(scope="module")
def _emulator():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator):
    _emulator.reset()
    return _emulator


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, _emulator):
    folder = tmp_path_factory.mktemp("dags")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name, interval in LOOKING.items():
        source = (file := folder / f"{name}.py").read_text()
        assert source.count(f"{interval},") == 1
        file.write_text(source.replace(f"{interval},", f"{interval.partition('=')[0]}=0.1,"))
    if IS_AIRFLOW_2:
        (folder / f"{CHANGES}.py").unlink()
    for dag_id in (APPROVAL, BULK_APPROVAL):
        (folder / f"{dag_id}_by_variable.py").write_text(before_airflow_3_1(dag_id))
    elsewhere = tmp_path_factory.mktemp("bucket")
    for page in PAGES:
        page.put_files(folder, elsewhere)
    for dag_id, dag in PAGE_DAGS.items():
        (folder / f"page_{dag_id}.py").write_text(dag.using(elsewhere))
    with closing(sqlite3.connect(elsewhere / "warehouse.db")) as database:
        database.executescript(WAREHOUSE)
    log = tmp_path_factory.mktemp("log") / "airflow.log"
    conn = {"conn_type": "truto", "host": _emulator.url, "password": _emulator.token}
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    with airflow_home(conn=conn, dags_folder=folder) as env, log.open("w") as output, ours, theirs:
        env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "True"
        env["AIRFLOW_VAR_TRUTO_LEDGERS"] = str(elsewhere / "ledgers")
        env["AIRFLOW_CONN_WAREHOUSE"] = json.dumps({"conn_type": "sqlite", "host": str(elsewhere / "warehouse.db")})
        command = [sys.executable, str(ROOT / "tests" / "example_worker.py"), str(theirs.fileno()), str(folder)]
        worker = subprocess.Popen(
            command, env=env, stdout=output, stderr=subprocess.STDOUT, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        try:
            with suppress(BrokenPipeError), ours.makefile("rw") as line:
                yield Airflow(worker, env, line, log, elsewhere / "warehouse.db")
        finally:
            worker.kill()
            worker.wait()


def writes(emulator):
    """What was executed in the customers' CRMs, reads aside, in no order."""
    executed = [entry for entry in emulator.executions if entry["method"] != "GET"]
    return sorted((entry["integrated_account_id"], entry["record_id"]) for entry in executed)


def change(emulator, customer, resource, record_id, **fields):
    """Change a record as the customer's own people do: nothing passes Truto."""
    own_names = {field.name: field.native for field in RESOURCES[resource].fields}
    properties = emulator.state.records[customer][resource][record_id]["properties"]
    properties.update({own_names[name]: value for name, value in fields.items()})


needs_sqlite = pytest.mark.skipif(
    find_spec("airflow.providers") is None or find_spec("airflow.providers.sqlite") is None,
    reason="the warehouse is an SQLite database",
)


def sent(emulator):
    """The records that were written, in no order."""
    written = [
        {name: entry[key] for name, key in (("id", "record_id"), (ACCOUNT, ACCOUNT), ("body", "body"))}
        for entry in emulator.executions
        if entry["method"] != "GET"
    ]
    return sorted(written, key=json.dumps)


@pytest.mark.airflow
@pytest.mark.parametrize(
    "dag_id",
    [
        pytest.param(
            dag_id,
            marks=[
                *([needs_sqlite] if "sql_conn_id" in dag.source else []),
                *([] if dag_id in README.dags else [pytest.mark.slow]),
            ],
        )
        for dag_id, dag in PAGE_DAGS.items()
    ],
)
def test_every_dag_of_the_pages_runs_and_sends_what_the_page_says(airflow, emulator, dag_id):
    run = airflow.run(dag_id)
    assert run.state == "success", airflow.log.read_text()[-8_000:]
    if dag_id not in EVENTS.dags:  # they wait for events: test_changes_on_airflow.py
        assert writes(emulator) or emulator.sync_runs
    if (sends := PAGE_DAGS[dag_id].sends) is not None:
        assert sent(emulator) == sorted(sends, key=json.dumps)


@pytest.mark.airflow
def test_xcom_of_a_bulk_has_what_the_page_says(airflow, emulator):
    told = [name.strip("` ") for names, _ in BULK.table("name") for name in names.split(",")]
    assert sorted(told) == sorted(airflow.run("tiers_to_crms").xcom("update_accounts"))


@pytest.mark.airflow
@needs_sqlite
def test_a_nightly_bulk_sends_what_has_changed_and_refuses_a_source_that_is_half_as_long(airflow, emulator):
    with closing(sqlite3.connect(airflow.warehouse)) as warehouse:
        assert airflow.run("nightly_profiles").state == "success"
        emulator.reset()
        run = airflow.run("nightly_profiles")
        counts = run.xcom("update_accounts")
        assert (run.state, counts["unchanged"], writes(emulator)) == ("success", 4, [])
        warehouse.execute("update account_profiles set employees = 2001 where crm_id = '31000001'")
        warehouse.commit()
        assert airflow.run("nightly_profiles").xcom("update_accounts")["updated"] == 1
        assert writes(emulator) == [(WAYNE, "31000001")]
        warehouse.execute("delete from account_profiles where tenant_id = 'wayne'")
        warehouse.commit()
        assert airflow.run("nightly_profiles").state == "failed"
        assert writes(emulator) == [(WAYNE, "31000001")]


@pytest.mark.airflow
def test_companies_are_found_by_their_websites_and_by_the_id_that_the_first_run_gave_them(airflow, emulator):
    assert airflow.run("companies_by_website").state == "success"
    found = emulator.state.records[ACME]["crm/accounts"]
    (created,) = [record for record in found.values() if record["properties"]["name"] == "Litware"]
    assert found["23423523"]["properties"]["customProperties"]["external_id"] == "C-1"
    assert writes(emulator) == sorted([(ACME, "23423523"), (ACME, created["id"]), (GLOBEX, "70010001")])
    created["properties"]["website"] = "https://moved.example"  # the id is surer
    before = len(found)
    assert airflow.run("companies_by_website").state == "success"
    assert len(found) == before


@pytest.mark.airflow
def test_what_became_of_a_bulk_that_failed_is_in_the_warehouse_and_the_run_has_failed(airflow, emulator):
    conflict = {"message": "The domain is taken", "truto_is_remote_error": True}
    emulator.fault(method="PATCH", account=GLOBEX, status=409, body=conflict)
    run = airflow.run("tiers_and_what_became_of_them")
    assert (run.state, run.tasks) == ("failed", {"update_accounts": "failed", "tell_warehouse": "success"})
    assert run.xcom("tell_warehouse") == {"ledgers": 1, "changes": 2}


@pytest.mark.airflow
@pytest.mark.parametrize("dag_id", ["truto_update_account", "account_to_crm", "careful"])
def test_one_account_is_updated_once(airflow, emulator, dag_id):
    assert airflow.run(dag_id).state == "success"
    assert writes(emulator) == [(ACME, "23423523")]


@pytest.mark.airflow
def test_a_form_changes_what_was_filled_in_and_nothing_else(airflow, emulator):
    assert airflow.run(FORM, {"name": "Northwind", "number_of_employees": 0, "website": ""}).state == "success"
    assert [written["body"] for written in sent(emulator)] == [{"name": "Northwind", "number_of_employees": 0}]


@pytest.mark.airflow
def test_a_long_wait_is_deferred_and_the_update_is_sent_once(airflow, emulator):
    emulator.fault(method="PATCH", status=429, headers={"retry-after": "1"})
    run = airflow.run("patient_update")
    assert (run.state, writes(emulator)) == ("success", [(ACME, "23423523")])
    assert run.xcom("update_account", "truto")["deferred_seconds"] == 1


@pytest.mark.airflow
@pytest.mark.parametrize("dag_id", [SYNC_JOB, "nightly_sync"])
def test_a_sync_job_runs_once_and_is_waited_for(airflow, emulator, dag_id):
    run = airflow.run(dag_id)
    assert run.state == "success"
    (started,) = emulator.sync_runs
    assert run.xcom("sync_contacts") == {name: started[name] for name in started if name != "is_stopped"}
    assert run.xcom("sync_contacts", "truto")["counts"] == {"crm/contacts": {"num_records": 5}}


@pytest.mark.airflow
def test_a_customer_is_written_to_once_they_have_reconnected(airflow, emulator):
    account = emulator.state.accounts[ACME].record
    account["status"] = "needs_reauth"
    with meanwhile(emulator, lambda: account.update(status="active"), after=7):
        run = airflow.run(CUSTOMER)
    assert (run.state, writes(emulator)) == ("success", [(ACME, "23423523")])
    assert run.xcom("wait_for_customer")["integration"] == "hubspot"


@pytest.mark.airflow
def test_a_customer_who_is_blocked_is_not_waited_for(airflow, emulator):
    run = airflow.run(CUSTOMER, {"tenant_id": "hooli"})
    assert (run.tasks, writes(emulator)) == (
        {"wait_for_customer": "failed", "update_account": "upstream_failed"},
        [],
    )


@pytest.mark.airflow
def test_a_record_is_written_once_people_have_set_its_tier(airflow, emulator):
    def set_tier():
        change(emulator, ACME, "crm/accounts", "23423523", custom_fields={"tier": "platinum"})

    with meanwhile(emulator, set_tier, after=7):
        run = airflow.run(RECORD, {"tier": "platinum"})
    (body,) = [entry["body"] for entry in emulator.executions if entry["method"] == "PATCH"]
    assert (run.state, body) == ("success", {"description": "Northwind Traders is platinum"})


@pytest.mark.airflow
@pytest.mark.parametrize("dag_id", ["once_connected", "gold_customers"])
def test_the_sensors_of_the_guide_do_not_wait_for_what_is_so(airflow, emulator, dag_id):
    run = airflow.run(dag_id)
    assert (run.state, writes(emulator)) == ("success", [(ACME, "23423523")])


@pytest.mark.airflow
@pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 has no AssetWatcher")
def test_changed_accounts_are_read_since_a_time_in_a_run_by_hand(airflow, emulator):
    """``operators/test_changes_on_airflow.py`` has it run by changes."""
    run = airflow.run(CHANGES)
    assert run.state == "success"
    assert run.xcom("read_accounts") == [{"customer": ACME, "id": "23423524", "name": "Contoso"}]


@pytest.mark.airflow
def test_functions_write_what_they_return_and_what_they_call_the_hook_for(airflow, emulator):
    assert airflow.run(TASKFLOW).state == "success"
    bodies = [(one[ACCOUNT], one["body"]) for one in emulator.executions if one["method"] != "GET"]
    assert sorted(bodies, key=json.dumps) == sorted(
        [
            (ACME, {"number_of_employees": 140, "custom_fields": {"tier": "gold"}}),
            (GLOBEX, {"custom_fields": {"tier": "silver"}}),
            (ACME, {"last_name": "Okafor"}),
            (GLOBEX, {"last_name": "Rao"}),
        ],
        key=json.dumps,
    )


@pytest.mark.airflow
@pytest.mark.parametrize("dag_id", ["truto_update_account_per_customer", "health_scores"])
def test_each_customer_is_updated_once(airflow, emulator, dag_id):
    assert airflow.run(dag_id).state == "success"
    assert writes(emulator) == sorted([(ACME, "23423523"), (GLOBEX, "70010001")])


@pytest.mark.airflow
def test_the_last_task_says_which_of_the_mapped_ones_failed_and_why(airflow, emulator):
    conflict = {"message": "The domain is taken", "truto_is_remote_error": True}
    emulator.fault(method="PATCH", account=GLOBEX, status=409, body=conflict)
    run = airflow.run("health_scores")
    assert run.state == "failed"
    assert run.tasks == {
        "health_scores": "success",
        ("update_account", ACME): "success",
        ("update_account", GLOBEX): "failed",
        "tell_failures": "failed",
    }
    log = airflow.log.read_text()
    assert f"1 of 2 customers failed:\n1 {GLOBEX}: conflict: PATCH" in log
    assert '"The domain is taken"' in log


@pytest.mark.airflow
def test_a_customer_who_is_skipped_is_told_and_fails_no_run(airflow, emulator):
    emulator.fault(method="PATCH", account=ACME, status=401, body=RECONNECT)
    run = airflow.run("health_scores")
    assert (run.state, run.tasks["update_account", ACME], run.tasks["tell_failures"]) == (
        "success",
        "skipped",
        "success",
    )
    assert f"skipped:\n0 {ACME}: reauthorization_required: PATCH" in airflow.log.read_text()


EVERY_CUSTOMER = sorted([(ACME, "23423523"), (WAYNE, "31000001"), (STARK, "57000001")])
RECONNECT = {"message": "The token was revoked", "truto_is_remote_error": True}


def fanned_out(**states):
    return {
        "updates": "success",
        **{("update_account", tenant): states.get(tenant, "success") for tenant in ("acme", "wayne", "stark")},
        "report": states.get("report", "success"),
    }


@pytest.mark.airflow
def test_all_customers_of_a_crm_get_a_task_each_under_the_name_of_the_tenant(airflow, emulator):
    run = airflow.run(FAN_OUT)
    assert (run.state, run.tasks) == ("success", fanned_out())
    assert writes(emulator) == EVERY_CUSTOMER
    assert run.xcom("report", "counts") == {"success": 3}


@pytest.mark.slow
@pytest.mark.airflow
def test_a_customer_who_must_reconnect_fails_alone_and_is_named_in_the_report(airflow, emulator):
    emulator.fault(method="PATCH", account=WAYNE, status=401, body=RECONNECT)
    run = airflow.run(FAN_OUT)
    assert (run.state, run.tasks) == ("failed", fanned_out(wayne="failed", report="failed"))
    assert writes(emulator) == [entry for entry in EVERY_CUSTOMER if entry[0] != WAYNE]
    assert run.xcom("report", "counts") == {"success": 2, "failed": 1}
    assert "1 of 3 customers failed: wayne" in airflow.log.read_text()


@pytest.mark.slow
@pytest.mark.airflow
def test_a_customer_who_is_known_to_have_to_reconnect_gets_no_task(airflow, emulator):
    emulator.state.accounts[WAYNE].record["status"] = "needs_reauth"
    run = airflow.run(FAN_OUT)
    expected = fanned_out()
    del expected["update_account", "wayne"]
    assert (run.state, run.tasks) == ("success", expected)
    assert writes(emulator) == [entry for entry in EVERY_CUSTOMER if entry[0] != WAYNE]


@pytest.mark.slow
@pytest.mark.airflow
def test_a_customer_who_has_deleted_the_account_is_skipped_and_counted(airflow, emulator):
    del emulator.state.records[STARK]["crm/accounts"]["57000001"]
    run = airflow.run(FAN_OUT)
    assert (run.state, run.tasks) == ("success", fanned_out(stark="skipped"))
    assert run.xcom("report", "counts") == {"success": 2, "skipped": 1}


@pytest.mark.airflow
def test_a_crm_without_customers_is_not_a_failure(airflow, emulator):
    run = airflow.run(FAN_OUT, {"integration": "pipedrive"})
    assert (run.state, run.tasks["update_account"], run.tasks["report"]) == ("success", "skipped", "success")
    assert writes(emulator) == []


@pytest.mark.slow
@pytest.mark.airflow
def test_a_run_that_could_not_list_the_customers_is_not_green(airflow, emulator):
    emulator.fault(path="^/integrated-account$", status=403, times=None)
    run = airflow.run(FAN_OUT)
    assert (run.state, run.tasks["report"]) == ("failed", "failed")
    assert writes(emulator) == []


@pytest.mark.slow
@pytest.mark.airflow
def test_contacts_that_changed_update_their_companies_once_each(airflow, emulator):
    run = airflow.run(CONTACTS)
    assert run.state == "success"
    assert run.tasks == {
        "read_contacts": "success",
        "account_updates": "success",
        ("update_account", "70010002"): "success",
        ("update_account", "70010003"): "success",
    }
    assert [contact["id"] for contact in run.xcom("read_contacts")] == ["1003", "1004", "1005"]
    assert writes(emulator) == [(GLOBEX, "70010002"), (GLOBEX, "70010003")]
    bodies = {entry["record_id"]: entry["body"] for entry in emulator.executions if entry["method"] == "PATCH"}
    assert bodies == {
        "70010002": {"custom_fields": {"last_contact": "Dora Lindqvist", "last_contact_title": "unknown"}},
        "70010003": {"custom_fields": {"last_contact": "Élodie Martin", "last_contact_title": "unknown"}},
    }
    again = airflow.run(CONTACTS)
    assert (again.state, again.tasks) == ("success", run.tasks)
    assert len(writes(emulator)) == 2, "what is as it should be is not written again"


@pytest.mark.slow
@pytest.mark.airflow
def test_where_no_contact_changed_nothing_is_written_and_the_run_is_green(airflow, emulator):
    run = airflow.run(CONTACTS, {"since": "2026-01-01T00:00:00Z"})
    assert (run.state, run.tasks["update_account"]) == ("success", "skipped")
    assert writes(emulator) == []


@pytest.mark.slow
@pytest.mark.airflow
def test_without_a_time_contacts_are_read_from_the_beginning_of_the_data_interval(airflow, emulator):
    change(emulator, ACME, "crm/contacts", "1001", updated_at="2999-01-01T00:00:00.000Z")
    run = airflow.run(CONTACTS, {"since": None})
    assert run.state == "success"
    assert [contact["id"] for contact in run.xcom("read_contacts")] == ["1001"]
    assert writes(emulator) == [(GLOBEX, "70010001")]


@pytest.mark.slow
@pytest.mark.airflow
def test_a_template_in_a_contacts_name_is_written_as_it_stands(airflow, emulator):
    change(emulator, ACME, "crm/contacts", "1005", first_name="{{ 6 * 7 }}")
    assert airflow.run(CONTACTS, {"since": "2024-06-10T00:00:00Z"}).state == "success"
    (body,) = [entry["body"] for entry in emulator.executions if entry["method"] == "PATCH"]
    assert body["custom_fields"]["last_contact"] == "{{ 6 * 7 }} Martin"


needs_human_in_the_loop = pytest.mark.skipif(
    tuple(map(int, version("apache-airflow").split(".")[:2])) < (3, 3),
    reason="human-in-the-loop came with Airflow 3.1, and `dag.test()` knows it since 3.3",
)
either_way = pytest.mark.parametrize("approval", [pytest.param(APPROVAL, marks=needs_human_in_the_loop), BY_VARIABLE])


def hash_of(airflow, dag_id, question):
    run = Run(Path(airflow.env["AIRFLOW_HOME"]) / "airflow.db", dag_id, run_id=question["run_id"], state="running")
    is_bulk = dag_id.startswith(BULK_APPROVAL)
    return (run.xcom("preview") if is_bulk else run.xcom("preview", "truto")["preview"])["hash"]


def yes(airflow, dag_id, question):
    is_asked = dag_id in {APPROVAL, BULK_APPROVAL}
    assert question["kind"] == ("hitl" if is_asked else "variable")
    return "Approve" if is_asked else hash_of(airflow, dag_id, question)


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.parametrize("approval", [pytest.param(BULK_APPROVAL, marks=needs_human_in_the_loop), BULK_BY_VARIABLE])
def test_a_bulk_that_a_person_approves_is_applied_and_another_one_is_not(airflow, emulator, approval):
    questions = []

    def person(question):
        questions.append((question, writes(emulator)))
        if len(questions) == 2:
            emulator.state.accounts[GLOBEX].record["tenant_id"] = "somebody-else"
        return yes(airflow, approval, question)

    run = airflow.run(approval, person=person)
    assert run.tasks == dict.fromkeys(["preview", "is_any_change", "approval", "apply"], "success")
    ((asked, written_before),) = questions
    assert written_before == []
    assert writes(emulator) == [(GLOBEX, "70010001"), (ACME, "23423523")]
    if approval == BULK_APPROVAL:
        assert "2 of 2 rows would change something" in asked["body"]
        assert f"- {ACME}: 1 changed" in asked["body"]
    emulator.reset()
    run = airflow.run(approval, person=person)
    assert (run.state, run.tasks["apply"], writes(emulator)) == ("failed", "failed", [])
    assert "what would be done is not what was previewed" in airflow.log.read_text()


@pytest.mark.airflow
@needs_sqlite
def test_a_careful_bulk_sends_what_it_has_previewed_and_refuses_half_a_source(airflow, emulator):
    with closing(sqlite3.connect(airflow.warehouse)) as warehouse:
        warehouse.executescript(PROFILES + "update account_profiles set employees = employees + 1")
        rows = airflow.run("careful_profiles").xcom("preview")["rows"]
        assert len(writes(emulator)) == rows > 1
        emulator.reset()
        assert airflow.run("careful_profiles").tasks["apply"] == "skipped"
        warehouse.execute("delete from account_profiles where crm_id <> '23423523'")
        warehouse.execute("update account_profiles set employees = employees + 1")
        warehouse.commit()
        run = airflow.run("careful_profiles")
        assert (run.state, run.tasks["preview"], run.tasks["apply"]) == ("failed", "success", "failed")
        assert writes(emulator) == []
    assert "max_changes=(2, 7)" in airflow.log.read_text()


@pytest.mark.slow
@pytest.mark.airflow
@either_way
def test_what_a_person_approves_is_applied_once_and_nothing_before(airflow, emulator, approval):
    written_before = []

    def person(question):
        written_before.append(writes(emulator))
        return yes(airflow, approval, question)

    run = airflow.run(approval, person=person)
    assert written_before == [[]]
    assert run.state == "success"
    assert run.tasks == dict.fromkeys(["preview", "is_any_change", "approval", "apply"], "success")
    assert writes(emulator) == [(ACME, "23423523")]
    (body,) = [entry["body"] for entry in emulator.executions if entry["method"] == "PATCH"]
    assert body == {"number_of_employees": 140, "custom_fields": {"tier": "silver"}}


@pytest.mark.slow
@pytest.mark.airflow
@either_way
def test_a_record_that_was_changed_before_the_approval_is_left_as_it_is(airflow, emulator, approval):
    def person(question):
        answer = yes(airflow, approval, question)
        change(emulator, ACME, "crm/accounts", "23423523", number_of_employees=121)
        return answer

    run = airflow.run(approval, person=person)
    assert (run.state, run.tasks["approval"], run.tasks["apply"]) == ("failed", "success", "failed")
    assert writes(emulator) == []
    assert "was not previewed like this" in airflow.log.read_text()


@pytest.mark.slow
@pytest.mark.airflow
@either_way
def test_where_nothing_would_change_nobody_is_asked(airflow, emulator, approval):
    run = airflow.run(approval, {"employees": 120, "tier": "gold"})
    assert run.state == "success"
    assert run.tasks == {
        "preview": "success",
        "is_any_change": "success",
        "approval": "skipped",
        "apply": "skipped",
    }
    assert writes(emulator) == []


@pytest.mark.slow
@pytest.mark.airflow
@needs_human_in_the_loop
def test_a_person_sees_the_changes_and_may_reject_them(airflow, emulator):
    questions = []

    def person(question):
        questions.append(question)
        return "Reject"

    run = airflow.run(APPROVAL, person=person)
    (question,) = questions
    assert question["subject"] == "Write this into account 23423523?"
    assert [line for line in question["body"].splitlines() if line] == [
        "- `/number_of_employees`: `120` becomes `140`",
        "- `/custom_fields/tier`: `gold` becomes `silver`",
    ]
    assert (run.state, run.tasks["approval"], run.tasks["apply"]) == ("success", "success", "skipped")
    assert writes(emulator) == []


@pytest.mark.slow
@pytest.mark.airflow
def test_the_hash_of_another_preview_approves_nothing(airflow, emulator):
    answers = iter(["p1-of-something-else", None])
    written_before = []

    def person(question):
        written_before.append(writes(emulator))
        return next(answers) or hash_of(airflow, BY_VARIABLE, question)

    assert airflow.run(BY_VARIABLE, person=person).state == "success"
    assert written_before == [[], []]
    assert writes(emulator) == [(ACME, "23423523")]


@pytest.mark.airflow
def test_no_log_of_a_run_shows_the_token(airflow, emulator):
    airflow.run("truto_update_account")
    # Airflow 3.0 itself prints, while `dag.test()`, the message by which it tells its supervisor what to mask.
    lines = [line for line in airflow.log.read_text().splitlines() if "MaskSecret(" not in line]
    assert any("PATCH" in line for line in lines)
    assert not [line for line in lines if emulator.token in line]


#: Executes each file as a DAG processor does, and tells what it took. A look-up of a connection or a variable begins
#: with the environment, whatever backends there are.
PARSING = """
import json, os, runpy, socket, sys, time
import airflow_provider_truto.hooks.truto
read, real = [], os._Environ.__getitem__
os._Environ.__getitem__ = lambda self, name: read.append(name) or real(self, name)
sys.addaudithook(lambda event, args: event in ("socket.connect", "sqlite3.connect") and read.append(event))
runpy.run_path(sys.argv[1])  # imports what any DAG file would
for file in sys.argv[2:]:
    read.clear()
    began = time.process_time()
    runpy.run_path(file)
    seconds = time.process_time() - began
    print(json.dumps([file, seconds, [name for name in read if not name.startswith("AIRFLOW__")]]))
"""


@pytest.mark.airflow
def test_examples_are_parsed_quickly_and_look_nothing_up(airflow, tmp_path):
    """A DAG processor executes each file again and again."""
    files = sorted(str(path) for path in EXAMPLES.glob("*.py") if path.stem != CHANGES or not IS_AIRFLOW_2)
    command = [sys.executable, "-c", PARSING, files[-1], *files]
    done = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=True)
    parsed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert [file for file, _, _ in parsed] == files
    assert not [
        (file, name) for file, _, read in parsed for name in read if "AIRFLOW_CONN" in name or "connect" in name
    ]
    assert not [(file, name) for file, _, read in parsed for name in read if "AIRFLOW_VAR" in name]
    assert not [(file, seconds) for file, seconds, _ in parsed if seconds > 1]


def test_there_is_a_test_for_every_example():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "truto_update_account",
        FORM,
        "truto_update_account_per_customer",
        FAN_OUT,
        CONTACTS,
        APPROVAL,
        BULK_APPROVAL,
        SYNC_JOB,
        CHANGES,
        CUSTOMER,
        RECORD,
        TASKFLOW,
        "truto_bulk_from_warehouse",  # tests/bulk/test_bulk_example.py
    }
