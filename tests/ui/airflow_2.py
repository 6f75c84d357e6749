"""Airflow 2.11 beside the emulator, with the example DAGs: its web server, its scheduler, and somebody logged in."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from airflow_home import airflow_home, emulator, free_port, run_airflow, running_part

from airflow_provider_truto.emulator import TOKEN

USER = PASSWORD = "admin"
#: Seconds; a busy machine with two cores takes half a minute.
LONGEST_START = 180


@dataclass(frozen=True, kw_only=True)
class Airflow2:
    """A running Airflow and the emulator that connections lead to; ``env`` is for its commands."""

    url: str
    emulator_url: str
    env: dict[str, str]

    def log_tail(self, lines=40):
        logs = [Path(self.env["AIRFLOW_HOME"]) / f"{part}.log" for part in ("webserver", "scheduler")]
        return "\n\n".join("\n".join(log.read_text(errors="replace").splitlines()[-lines:]) for log in logs)

    def add(self, conn_id, extra, **given):
        """Add a connection as a command line or Terraform does: its extras are JSON of any kind."""
        connection = {"conn_type": "truto", "host": self.emulator_url, "password": TOKEN, "extra": extra, **given}
        run_airflow(self.env, "connections", "add", conn_id, "--conn-json", json.dumps(connection))

    def test_stored(self, conn_id):
        """Test a connection as it is stored, its token included; raises where it does not work."""
        run_airflow(self.env, "connections", "test", conn_id)


@contextmanager
def airflow_2_ui(*, dags_folder, settings):
    """Run the emulator and Airflow 2.11 on a fresh AIRFLOW_HOME; both are gone afterwards."""
    with emulator("--quiet") as emulator_url, airflow_home(dags_folder=dags_folder) as env:
        port = free_port()
        env |= {
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
            # A browser opens connections that it may never use, and a worker waits for each.
            "AIRFLOW__WEBSERVER__WORKERS": "2",
            **settings,
        }
        user = {"username": USER, "password": PASSWORD, "email": "a@example.org", "firstname": "A", "lastname": "B"}
        options = [text for name, value in user.items() for text in (f"--{name}", value)]
        run_airflow(env, "users", "create", "--role", "Admin", *options)
        airflow = Airflow2(url=f"http://127.0.0.1:{port}", emulator_url=emulator_url, env=env)
        airflow.add("truto_default", {})
        run_airflow(env, "dags", "reserialize")  # a healthy scheduler may not have read them yet
        with running_part(env, "webserver") as process, running_part(env, "scheduler"):
            wait_until_ready(airflow, process)
            yield airflow


def wait_until_ready(airflow, process):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline and process.is_running():
        with suppress(OSError), direct.open(f"{airflow.url}/health", timeout=10) as answer:
            if json.load(answer)["scheduler"]["status"] == "healthy":
                return
        time.sleep(0.5)
    raise RuntimeError("Airflow did not start")


def log_in(context, patience):
    """Log a browser's context in. Airflow takes five logins in 40 seconds."""
    page = context.new_page()
    page.set_default_timeout(patience)
    page.goto("/login/")
    page.locator("#username").fill(USER)
    page.locator("#password").fill(PASSWORD)
    page.locator("input[type=submit]").click()
    page.wait_for_url("**/home")
    page.close()
