"""`make demo`: the emulator, a DAG on a real Airflow, and what it did to the account."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from airflow_home import AIRFLOW, airflow_home, emulator

DAG_ID = "truto_update_account"
CUSTOMER = "acae0000-0000-4000-8000-000000000001"
ACCOUNT = "23423523"
TOKEN = "truto-emulator-token"


def main() -> int:
    """Run the demo; 0 where the DAG succeeded and the account changed."""
    say("Truto's emulator stands in for Truto and for the customer's CRM.")
    with emulator("--quiet") as url:
        conn = {"conn_type": "truto", "host": url, "password": TOKEN}
        before = account(url)
        show("The account before", before)
        say("\nA fresh Airflow (SQLite, in a folder that is thrown away) ...")
        with airflow_home(conn=conn) as env:
            say(f"airflow dags test {DAG_ID} ...")
            run = subprocess.run([*AIRFLOW, "dags", "test", DAG_ID], env=env, capture_output=True, text=True)
            state, xcoms = outcome(Path(env["AIRFLOW_HOME"]) / "airflow.db")
        after = account(url)
        if run.returncode != 0 or state != "success":
            sys.stderr.write(run.stdout[-4000:] + run.stderr[-4000:])
            say(f"\nThe DAG run ended as {state!r} (exit code {run.returncode}); its log is above.")
            return 1
        show("The account after", after, changed_from=before)
        show("XCom return_value", xcoms["return_value"])
        show("XCom truto", xcoms["truto"])
    if after["number_of_employees"] != 140 or xcoms["return_value"]["id"] != ACCOUNT:
        say("\nThe DAG run succeeded, but the account is not as it should be.")
        return 1
    say("\nDone: one task, one checked and verified write. See example_dags/truto_update_account.py.")
    return 0


def account(url: str) -> dict[str, Any]:
    """Read the account as Truto gives it."""
    target = f"{url}/unified/crm/accounts/{ACCOUNT}?integrated_account_id={CUSTOMER}&truto_ignore_remote_data=true"
    request = urllib.request.Request(target, headers={"Authorization": f"Bearer {TOKEN}"})
    # A proxy of the environment is not for what runs here.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
        return json.load(response)


def outcome(database: Path) -> tuple[str, dict[str, Any]]:
    """Read the run's state and XComs from Airflow's own database."""
    with sqlite3.connect(database) as db:
        row = db.execute("select state from dag_run where dag_id = ?", (DAG_ID,)).fetchone()
        query = "select key, value from xcom where dag_id = ? and key in ('return_value', 'truto')"
        stored = db.execute(query, (DAG_ID,)).fetchall()  # the addresses of links stand there as well
    return (row[0] if row else "not started"), {key: decoded(value) for key, value in stored}


def decoded(value: str | bytes) -> Any:
    """Read a stored XCom: JSON, since Airflow 3 as text within JSON."""
    parsed = json.loads(value)
    return json.loads(parsed) if isinstance(parsed, str) else parsed


def show(title: str, value: dict[str, Any], *, changed_from: dict[str, Any] | None = None) -> None:
    """Print an object a line a field, with a star where it changed."""
    say(f"\n{title}")
    for name, item in value.items():
        mark = "*" if changed_from is not None and changed_from.get(name) != item else " "
        say(f"  {mark} {name:<20} {json.dumps(item, ensure_ascii=False)}")


def say(text: str) -> None:
    """Print at once: installing and migrating take a while."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
