"""The links of tasks as Airflow's web server finds them: from the stored form of the DAG, and a run's tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX, UMBRELLA

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

#: What the web servers of Airflow 2 and 3 do for the list of links of a task instance.
SHOW = """
import importlib.util, json, sys

from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session

try:
    import airflow.sdk
except ImportError:
    import airflow.providers.fab.auth_manager.models  # a table of task notes refers to its users
try:
    from airflow.serialization.serialized_objects import DagSerialization as Stored
except ImportError:
    from airflow.serialization.serialized_objects import SerializedDAG as Stored

file, dag_id, run_id = sys.argv[1:]
spec = importlib.util.spec_from_file_location(dag_id, file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
dag = Stored.from_dict(Stored.to_dict(module.dag))
found = {}
with create_session() as session:
    for ti in session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id):
        task = dag.get_task(ti.task_id)
        links = {name: task.get_extra_links(ti, name) or None for name in task.extra_links}
        found[ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"] = links
print(json.dumps(found))
"""
ACCOUNTS = "https://app.truto.one/integrated-accounts"
REFERENCE = "https://truto.one/docs/api-reference"
OF_ACCOUNTS = f"{REFERENCE}/unified-crm-api/accounts"


def show(airflow, run):
    file = airflow.dags / f"{run.dag_id}.py"
    command = [sys.executable, "-c", SHOW, str(file), run.dag_id, run.run_id]
    done = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def links(reference, accounts=ACCOUNTS, **more):
    return {"Truto: integrated accounts": accounts, "Truto: API reference": reference, **more}


def test_tasks_that_went_well_failed_or_are_mapped_have_their_links(airflow):
    run = airflow.run(f"""
        update(body={{"name": "Acme"}})
        update(task_id="refused", body={{"nonsense": 1}})
        TrutoUpdateAccountOperator.partial(
            task_id="mapped", account_id=RECORD, body={{"name": "x"}}
        ).expand(integrated_account_id=["{ACME}", "{GLOBEX}"])
        unified("listed", "list")
        unified("got", "{{{{ 'get' }}}}", record_id=RECORD)
        unified("of_others", "list", model="ats", resource="jobs")
        proxy("proxied", "list")
        update(task_id="quiet", body={{"name": "Acme"}}, do_xcom_push=False)
    """)
    assert run["refused"].state == run["of_others"].state == "failed"
    updated = links(f"{OF_ACCOUNTS}/update")
    assert show(airflow, run) == {
        "update": updated,
        "refused": updated,
        "mapped[0]": updated,
        "mapped[1]": updated,
        "listed": links(f"{OF_ACCOUNTS}/list"),
        "got": links(OF_ACCOUNTS),  # no page of its own was seen
        "of_others": links(None),
        "proxied": {"Truto: integrated accounts": ACCOUNTS},
        "quiet": links(None, accounts=None),
    }


def test_a_bulk_leads_to_its_ledger_where_the_company_has_said_how_and_a_sync_job_to_its_page(airflow):
    run = airflow.run(f"""
        from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator
        from airflow_provider_truto.operators.sync_jobs import TrutoSyncJobRunOperator
        from airflow_provider_truto.sensors.integrated_accounts import TrutoIntegratedAccountSensor
        from airflow_provider_truto.sensors.sync_jobs import TrutoSyncJobRunSensor

        SAID = {{
            "AIRFLOW__TRUTO__LEDGER_URL": "https://files.example.com/{{bucket}}?at={{key}}",
            "AIRFLOW__TRUTO__APP_URL": "https://truto.example.com/",
        }}
        PAGES = {{
            "AIRFLOW__TRUTO__ACCOUNT_URL": "https://truto.example.com/accounts/{{integrated_account_id}}",
            "AIRFLOW__TRUTO__SYNC_JOB_RUN_URL": "https://truto.example.com/runs/{{sync_job_run_id}}",
        }}

        def said(pages):
            return {{
                "pre_execute": lambda context: os.environ.update(pages),
                "on_failure_callback": lambda context: [os.environ.pop(name, None) for name in pages],
                "post_execute": lambda context, result: [os.environ.pop(name, None) for name in pages],
            }}

        def bulk(task_id, **more):
            return TrutoBulkUpdateAccountsOperator(
                task_id=task_id,
                source=[{{"id": RECORD, "integrated_account_id": ACME, "body": {{"name": "x"}}}}],
                output_path="file://{airflow.home}/led gers",
                max_failures=0,
                **more,
            )

        bulk("without")
        bulk("with_url", **said(SAID))

        def sync(task_id, **more):
            job = {{"sync_job_id": "11111111-0000-4000-8000-000000000001", "integrated_account_id": ACME}}
            return TrutoSyncJobRunOperator(task_id=task_id, wait=False, **job, **more)

        sync("sync")
        run_id = "{{{{ ti.xcom_pull('started', key='sync_job_run_id') }}}}"
        sync("started", **said(PAGES)) >> TrutoSyncJobRunSensor(
            task_id="waited_for", sync_job_run_id=run_id, poke_interval=1, **said(PAGES)
        )
        update(task_id="refused", body={{"nonsense": 1}}, **said(PAGES))
        TrutoUpdateAccountOperator.partial(
            task_id="mapped", account_id=RECORD, body={{"name": "x"}}, **said(PAGES)
        ).expand(integrated_account_id=[ACME, UMBRELLA])
        TrutoIntegratedAccountSensor(task_id="sensor", integrated_account_id=ACME)
    """)
    assert run["refused"].state == "failed"
    assert run["started"].state == run["waited_for"].state == run["sensor"].state == "success"
    shown = show(airflow, run)
    url = shown["with_url"].pop("Ledger")
    assert url.startswith("https://files.example.com/?at=")
    folder = Path("/" + unquote(url.partition("?at=")[2]))
    assert (folder.name, list(folder.rglob("header-*.json")) != []) == ("-1", True)
    updated = f"{OF_ACCOUNTS}/update"
    of_acme, of_umbrella = (f"https://truto.example.com/accounts/{account}" for account in (ACME, UMBRELLA))
    created = f"{REFERENCE}/admin/sync-job-runs/create"
    of_run = shown["started"]["Truto: sync job run"]
    assert of_run.startswith("https://truto.example.com/runs/")
    assert len(of_run) > len("https://truto.example.com/runs/")
    assert shown == {
        "without": links(updated, Ledger=None),
        "with_url": links(updated, accounts="https://truto.example.com/integrated-accounts"),
        "sync": links(created, **{"Truto: sync job run": None}),
        "started": links(created, accounts=of_acme, **{"Truto: sync job run": of_run}),
        "waited_for": {"Truto: integrated accounts": ACCOUNTS, "Truto: sync job run": of_run},
        "refused": links(updated, accounts=of_acme),
        "mapped[0]": links(updated, accounts=of_acme),
        "mapped[1]": links(updated, accounts=of_umbrella),
        "sensor": {"Truto: integrated accounts": ACCOUNTS},
    }
