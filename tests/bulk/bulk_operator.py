"""The bulk operator's tries, with the context that Airflow would pass."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace


def connect(truto, token=None, **extra):
    """Have Airflow's connection lead to this Truto."""
    extra = {"requests_per_second": 0, "max_attempts": 1, **extra}
    conn = {"conn_type": "truto", "host": truto.url, "password": token or truto.token, "extra": extra}
    os.environ["AIRFLOW_CONN_TRUTO_DEFAULT"] = json.dumps(conn)


def run(operator, **more):
    """One try; see ``context_of``."""
    return operator.execute(context_of(operator, **more))


def context_of(operator, *, try_number=1, generation=0, dag_run=None, push=lambda **_: None):
    """``generation`` grows with each clear, ``dag_run`` what Airflow shows of the run, ``push`` takes XComs."""
    names = {"dag_id": "dag", "run_id": "run", "task_id": operator.task_id, "map_index": -1}
    max_tries = generation + operator.retries
    ti = SimpleNamespace(**names, max_tries=max_tries, try_number=try_number, xcom_push=push)
    return {"ti": ti, "task": operator, "dag_run": dag_run}


def broken(rows, *ordinals):
    """The rows, some of which no CRM could take."""
    return [{**row, "body": {"description": 5}} if number in ordinals else row for number, row in enumerate(rows)]
