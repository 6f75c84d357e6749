"""`make ui`: Airflow in the browser beside the emulator, with the connection and the example DAGs in place."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, NoReturn
from urllib.parse import urlsplit

import psutil
from airflow_home import AIRFLOW, EXAMPLES, airflow_home, emulator, free_port, run_airflow

from airflow_provider_truto.emulator import TOKEN

CONN_ID = "truto_default"
DAG_ID = "truto_account_form"
#: Where Airflow is looked for by habit; another one takes its place where something listens there.
USUAL_PORT = 8080
#: Seconds; a busy machine with two cores takes one minute.
LONGEST_START = 300
#: Seconds that Airflow has to end by itself; what it holds is thrown away all the same.
LONGEST_STOP = 4

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: A proxy of the environment is not for what runs here.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class AirflowEndedError(RuntimeError):
    """Airflow, or one of its parts, has ended or came to no start; the message has the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Ui:
    """A running Airflow and the emulator that its connections lead to."""

    url: str
    emulator_url: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise ``AirflowEndedError`` where Airflow or a part of it has ended: `standalone` goes on without it."""
        with suppress(psutil.NoSuchProcess):
            parts = psutil.Process(self.process.pid).children()
            if self.process.poll() is None and not any(part.status() == psutil.STATUS_ZOMBIE for part in parts):
                return
        raise AirflowEndedError(f"Airflow, or a part of it, has ended. The end of its log:\n\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of Airflow's log, long ones cut."""
        return "\n".join(line[:300] for line in self.log.read_text(errors="replace").splitlines()[-lines:])

    def is_ready(self) -> bool:
        """Whether the server answers, the scheduler runs and the example DAG is there to be triggered."""
        with suppress(OSError, ValueError, KeyError):
            health = self._get("/api/v2/monitor/health")
            if any(health[part]["status"] != "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                return False
            token = self._get("/auth/token")["access_token"]
            dags = self._get("/api/v2/dags", token=token)["dags"]
            return DAG_ID in {dag["dag_id"] for dag in dags}
        return False

    def _get(self, path: str, *, token: str | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with _DIRECT.open(request, timeout=10) as response:
            return json.load(response)


@contextmanager
def airflow_ui(
    *emulator_arguments: str,
    port: int | None = None,
    dags_folder: Path = EXAMPLES,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Ui]:
    """Run the emulator and a fresh Airflow without a login, both on loopback; both are gone afterwards.

    Takes a free port where none is given; ``settings`` are further environment variables of Airflow. Raises
    ``AirflowEndedError`` where Airflow does not start.
    """
    with emulator(*emulator_arguments) as emulator_url, airflow_home(dags_folder=dags_folder) as env:
        port = port or free_port()
        url = f"http://127.0.0.1:{port}"
        env |= {
            "AIRFLOW__API__HOST": "127.0.0.1",  # there is no login
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            # Those of another Airflow on this machine would be taken.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            **settings,
        }
        _add_connection(env, emulator_url)
        log = Path(env["AIRFLOW_HOME"]) / "standalone.log"
        with log.open("wb") as output:
            # A session of its own, so that whatever Airflow starts can be found and ended, and so that Ctrl-C in the
            # terminal does not reach it before we do.
            process = subprocess.Popen(
                [*AIRFLOW, "standalone"], env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            ui = Ui(url=url, emulator_url=emulator_url, log=log, process=process)
            _wait_until_ready(ui)
            yield ui
        finally:
            _end_session(process)


def _add_connection(env: dict[str, str], emulator_url: str) -> None:
    """Store the connection in the database: one from the environment would not be listed.

    The port stands in the URL already; Airflow 3.3.1 and 3.3.2 test no stored connection without it
    (apache/airflow#73298). No extras: with only some of them stored, the form would offer no others.
    """
    arguments = {"conn-type": "truto", "conn-host": emulator_url, "conn-port": str(urlsplit(emulator_url).port)}
    arguments |= {"conn-password": TOKEN, "conn-description": "Truto's emulator, started by make ui"}
    options = [text for name, value in arguments.items() for text in (f"--{name}", value)]
    run_airflow(env, "connections", "add", CONN_ID, *options)


def _wait_until_ready(ui: Ui) -> None:
    deadline = time.monotonic() + LONGEST_START
    while not ui.is_ready():
        ui.check()
        if time.monotonic() > deadline:
            raise AirflowEndedError(
                f"Airflow was not ready after {LONGEST_START} s. The end of its log:\n\n{ui.log_tail()}"
            )
        time.sleep(0.5)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything that it started, also what has a process group of its own or lost its parent."""
    for number, seconds in ((signal.SIGTERM, LONGEST_STOP), (signal.SIGKILL, LONGEST_STOP)):
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while (running := _session(process.pid)) and time.monotonic() < deadline:
            # Again and again, since a process may start another one between being listed and being told.
            for pid in running - told:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            told |= running
            process.poll()
            time.sleep(0.1)
    process.wait()


def _session(session_id: int) -> set[int]:
    """List the running processes of a session."""
    found = set()
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session_id and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


def usual_port() -> int:
    """Return the port where Airflow is looked for by habit, or a free one where that is taken."""
    try:
        socket.create_server(("127.0.0.1", USUAL_PORT)).close()
    except OSError:
        return free_port()
    return USUAL_PORT


def main() -> int:
    """Run until told to stop (0) or until Airflow ends by itself (1)."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    say("Starting Truto's emulator and a fresh Airflow (SQLite, in a folder that is thrown away).")
    say("That takes half a minute to a minute ...")
    try:
        with airflow_ui(port=usual_port()) as ui:
            _welcome(ui)
            try:
                while True:
                    ui.check()
                    time.sleep(1)
            except KeyboardInterrupt:
                say("\nStopping Airflow and the emulator ...")
    except KeyboardInterrupt:
        say("\nStopped before Airflow was ready.")
    except RuntimeError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    else:
        say("Both are gone, and nothing of them is left.")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Stop once: a second Ctrl-C must not break off the cleaning up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _welcome(ui: Ui) -> None:
    say(
        f"""
Airflow runs at {ui.url} (no login).

Try this:
  The connection  {ui.url}/connections
                  Press the Test button of {CONN_ID} (the pulse); its message stays while the mouse is on it.
                  Edit it, spoil the API token, and test again.
                  Or add one of the type Truto: base URL {ui.emulator_url}, API token {TOKEN},
                  port {urlsplit(ui.emulator_url).port} (for the Test button: apache/airflow#73298).
  The example     {ui.url}/dags/{DAG_ID}
                  Press Trigger, and fill in what is to be changed: a name, a number of employees.
                  When the task is green, click it: Storage, XCom has the account as it is now.
  The CRM         {ui.emulator_url}
                  The page of the emulator, which stands in for Truto: unfold the customer acme and the
                  account 23423523, and see the update land. Calls appear there, and below.

Ctrl-C stops all of it.
"""
    )


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
