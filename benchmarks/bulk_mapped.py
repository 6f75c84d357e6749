"""What one task for many records saves, against one mapped task per record."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.bulk_load import OURS, TOKEN, connect, records, target, written
from benchmarks.comparison import Comparison, Target
from benchmarks.server import serving

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from airflow_home import airflow_home, for_parts, run_airflow, running_part

_MAPPED = 20
_RECORDS = 5_000
#: Tasks that run at the same time. With eight, the API server of two cores times out and tasks fail.
_PARALLELISM = 4
_LONGEST = 300
_HTTP = "HttpOperator.partial(…).expand(…), one mapped task per record"
_DAG = """
import json
from datetime import timedelta
from pathlib import Path
from airflow.sdk import DAG
from airflow.providers.http.operators.http import HttpOperator
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

folder = Path(__file__).parent.parent
rows = json.loads((folder / "mapped.json").read_text())
# Airflow itself may fail a task where the machine is busy.
retries = {{"retries": 2, "retry_delay": timedelta(seconds=1)}}
with DAG("bench", schedule=None, is_paused_upon_creation=False, default_args=retries):
    mapped = HttpOperator.partial(
        task_id="mapped", method="PATCH", headers={headers!r}, response_filter=lambda response: response.json()
    ).expand_kwargs(rows)
    mapped >> TrutoBulkUpdateAccountsOperator(
        task_id="bulk",
        source=str(folder / "records.jsonl"),
        output_path=str(folder / "out"),
        max_failures=0,
        requests_per_second=0,
    )
"""


def compared() -> Comparison:
    """Run both in one DAG of a real Airflow: scheduler, API server and LocalExecutor, each task a process."""
    with tempfile.TemporaryDirectory() as name, serving() as url:
        folder = Path(name)
        _prepare(folder)
        connect(url)
        os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": url})
        with airflow_home(
            conn=json.loads(os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"]), dags_folder=folder / "dags"
        ) as env:
            env["AIRFLOW_CONN_HTTP_DEFAULT"] = os.environ["AIRFLOW_CONN_HTTP_DEFAULT"]
            spans = _spans(env)
    return Comparison(
        title="Updates of a bulk on a real Airflow",
        unit="a second",
        samples={_HTTP: [_MAPPED / spans["mapped"]], OURS: [_RECORDS / spans["bulk"]]},
        by="ratio",
        targets={OURS: Target("at least", 100)},
        notes=(
            f"Airflow's scheduler, API server and LocalExecutor, {_PARALLELISM} tasks at a time, on SQLite.",
            f"{_MAPPED} mapped tasks, then {_RECORDS:,} records in one task, which has the machine to itself.",
            "Each from its first task's start to its last one's end, as they are in Airflow's database.",
        ),
    )


def _prepare(folder: Path) -> None:
    written(folder / "records.jsonl", _RECORDS)
    rows = [{"endpoint": target(record), "data": json.dumps(record["body"])} for record in records(_MAPPED)]
    (folder / "mapped.json").write_text(json.dumps(rows))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    (folder / "dags").mkdir()
    (folder / "dags" / "bench.py").write_text(_DAG.format(headers=headers))


def _spans(env: dict[str, str]) -> dict[str, float]:
    """Run the DAG once; give the seconds that each of its tasks took, all its mapped ones together."""
    env |= for_parts() | {"AIRFLOW__CORE__PARALLELISM": str(_PARALLELISM)}
    run_airflow(env, "dags", "reserialize")
    run_airflow(env, "dags", "trigger", "bench")
    database = Path(env["AIRFLOW_HOME"]) / "airflow.db"
    with running_part(env, "api-server", "--workers", "1"), running_part(env, "scheduler"):
        deadline = time.monotonic() + _LONGEST
        while (state := _rows(database, "select state from dag_run")[0][0]) in {"queued", "running"}:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the DAG run is {state!r} after {_LONGEST} s")
            time.sleep(1)
    tasks = _rows(database, "select task_id, state, start_date, end_date from task_instance")
    if {row[1] for row in tasks} != {"success"} or len(tasks) != _MAPPED + 1:
        raise RuntimeError(f"the DAG run is {state!r}: {tasks}")
    return {name: _span([row[2:] for row in tasks if row[0] == name]) for name in ("mapped", "bulk")}


def _span(times: list[tuple[str, str]]) -> float:
    began, ended = (datetime.fromisoformat(edge) for edge in (min(t[0] for t in times), max(t[1] for t in times)))
    return (ended - began).total_seconds()


def _rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database, timeout=30)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
