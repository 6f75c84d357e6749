"""The example DAGs and those of the README: parsed by Airflow, and run on it against the emulator."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_truto.emulator import Emulator
from airflow_provider_truto.emulator.tenants import ACME, GLOBEX

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "example_dags"
README_DAGS = [
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    if "with DAG(" in block
]
sys.path.insert(0, str(ROOT / "scripts"))

from airflow_home import airflow_home  # noqa: E402

#: Runs every DAG of the folder in one process; Airflow takes seconds to start.
PROGRAM = """
import json, sys
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
states = {}
for dag_id, dag in bag.dags.items():
    run = dag.test()
    states[dag_id] = str(getattr(run.state, "value", run.state))
print("STATES " + json.dumps(states))
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dags")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    for number, block in enumerate(README_DAGS):
        (folder / f"readme_{number}.py").write_text(block)
    with Emulator() as emulator:
        conn = {"conn_type": "truto", "host": emulator.url, "password": emulator.token}
        with airflow_home(conn=conn, dags_folder=folder) as env:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, str(folder)], env=env, capture_output=True, text=True, check=False
            )
        lines = [line for line in done.stdout.splitlines() if line.startswith("STATES ")]
        assert lines, done.stdout + done.stderr
        yield emulator, json.loads(lines[0].removeprefix("STATES ")), done.stdout + done.stderr


@pytest.mark.airflow
def test_every_example_runs_to_success(examples):
    _, states, _ = examples
    assert states == {
        "truto_update_account": "success",
        "truto_update_account_per_customer": "success",
        "account_to_crm": "success",
        "health_scores": "success",
    }


@pytest.mark.airflow
def test_the_examples_wrote_to_the_customers_that_they_name(examples):
    emulator, _, _ = examples
    written = {(entry["integrated_account_id"], entry["record_id"]) for entry in emulator.executions}
    assert written == {(ACME, "23423523"), (GLOBEX, "70010001")}


@pytest.mark.airflow
def test_no_log_of_a_run_shows_the_token(examples):
    emulator, _, log = examples
    # Airflow 3.0 itself prints, while `dag.test()`, the message by which it tells its supervisor what to mask.
    lines = [line for line in log.splitlines() if "MaskSecret(" not in line]
    assert lines
    assert not [line for line in lines if emulator.token in line]


def test_there_is_a_test_for_every_example():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "truto_update_account",
        "truto_update_account_per_customer",
    }
