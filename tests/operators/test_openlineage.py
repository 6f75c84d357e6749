"""What Airflow's OpenLineage provider writes of tasks, over its file transport.

`make test-services` runs it: the other environments do not have that provider.
"""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from airflow_home import airflow_home
from airflow_runs import PLANTED, Airflow

from airflow_provider_truto.assets import create_asset
from airflow_provider_truto.emulator import ACME, GLOBEX

pytest.importorskip("airflow.providers.openlineage")
pytestmark = pytest.mark.airflow

OF_ACME = (f"truto://{ACME}", "crm/accounts")
OF_GLOBEX = (f"truto://{GLOBEX}", "crm/accounts")


def _turns_outlets_into_datasets():
    from airflow.providers.openlineage.extractors.manager import ExtractorManager

    return ExtractorManager.convert_to_ol_dataset(create_asset(integrated_account_id=GLOBEX)) is not None


def outputs_of(path):
    """The last event of each task: what it is, and the rows of each dataset."""
    found = {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        if event["eventType"] in {"COMPLETE", "FAIL"} and "." in event["job"]["name"]:
            rows = {
                (one["namespace"], one["name"]): one.get("outputFacets", {})
                .get("outputStatistics", {})
                .get("rowCount")
                for one in event["outputs"]
            }
            found[event["job"]["name"].partition(".")[2]] = (event["eventType"], rows)
    return found


def test_a_task_tells_whose_records_it_has_written_and_how_many(emulator, tmp_path):
    extra = {"max_attempts": 1, "requests_per_second": 0}
    conn = {"conn_type": "truto", "host": emulator.url, "password": PLANTED, "extra": extra}
    (dags := tmp_path / "dags").mkdir()
    events = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    with airflow_home(conn=conn, dags_folder=dags) as env:
        env |= {
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
            "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "60",
        }
        with closing(Airflow(env)) as airflow:
            airflow.run(f"""
                try:
                    from airflow.sdk.lineage import get_hook_lineage_collector
                except ImportError:  # before Airflow 3.2
                    from airflow.lineage.hook import get_hook_lineage_collector
                from airflow_provider_truto.assets import create_asset
                from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

                def collect_anew(context):
                    # All tasks share this process; one of a worker begins with a collector of its own.
                    if hasattr(get_hook_lineage_collector, "cache_clear"):
                        get_hook_lineage_collector.cache_clear()
                    else:  # before Airflow 3.2
                        get_hook_lineage_collector.__globals__["_hook_lineage_collector"] = None

                dag.default_args["on_execute_callback"] = collect_anew

                def plain():
                    pass

                @task
                def by_hook():
                    accounts = TrutoHook(integrated_account_id=ACME).unified("crm", "accounts")
                    accounts.get(RECORD)
                    accounts.update(RECORD, {{"name": "by hook"}})
                    TrutoHook().proxy("companies", integrated_account_id=GLOBEX).get("70010001")

                by_hook()

                def bulk(task_id, max_failures):
                    TrutoBulkUpdateAccountsOperator(
                        task_id=task_id,
                        source=[
                            {{"id": record_id, "integrated_account_id": account, "body": {{"name": task_id}}}}
                            for record_id, account in [
                                (RECORD, ACME), ("23423524", ACME), ("70010001", GLOBEX), ("no", HOOLI)
                            ]
                        ],
                        output_path="file://{tmp_path}/ledgers",
                        max_failures=max_failures,
                    )

                update(body={{"name": "Acme"}}, outlets=[create_asset(integrated_account_id=ACME)])
                update(task_id="refused", body={{"nonsense": 1}})
                unmapped = {{"name": "x", "urls": [{{"url": "https://acme.test"}}]}}
                globex = {{"account_id": "70010001", "integrated_account_id": GLOBEX}}
                update(task_id="unconfirmed", body=unmapped, verify="fail", **globex)
                update(task_id="preview", body={{"name": "Other"}}, preview=True)
                bulk("tolerant", None)
                bulk("strict", 0)
                task(outlets=[create_asset(integrated_account_id=GLOBEX)])(plain)()
            """)
    of_bulk = {OF_ACME: 2, OF_GLOBEX: 1}
    assert outputs_of(events) == {
        "update": ("COMPLETE", {OF_ACME: 1}),
        "refused": ("FAIL", {}),
        "unconfirmed": ("FAIL", {OF_GLOBEX: 1}),
        "preview": ("COMPLETE", {}),
        "tolerant": ("COMPLETE", of_bulk),
        "strict": ("FAIL", of_bulk),
        "by_hook": ("COMPLETE", {OF_ACME: None}),
        # The provider that goes with Airflow 2.11 turns no outlets into datasets.
        "plain": ("COMPLETE", {OF_GLOBEX: None} if _turns_outlets_into_datasets() else {}),
    }
    assert PLANTED not in events.read_text()
