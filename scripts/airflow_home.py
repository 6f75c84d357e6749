"""A throw-away Airflow beside the emulator, for the demo, the browser and the tests of whole runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "example_dags"
#: Airflow's command of the environment that this script runs in, whatever is on PATH.
AIRFLOW = [sys.executable, "-m", "airflow"]


@contextmanager
def airflow_home(*, conn: dict | None = None, dags_folder: Path = EXAMPLES) -> Iterator[dict[str, str]]:
    """Return the environment variables of a fresh, migrated AIRFLOW_HOME on SQLite; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="truto-airflow-") as home:
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        env |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONWARNINGS": "ignore",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}",
        }
        # Airflow's parts and the emulator talk over loopback, which a proxy of the environment cannot reach.
        direct = ",".join(filter(None, [env.get("no_proxy") or env.get("NO_PROXY"), "127.0.0.1,localhost"]))
        env |= {"no_proxy": direct, "NO_PROXY": direct}
        if conn is not None:
            env["AIRFLOW_CONN_TRUTO_DEFAULT"] = json.dumps(conn)
        run_airflow(env, "db", "migrate")
        yield env


def run_airflow(env: dict[str, str], *arguments: str) -> None:
    """Run a command of Airflow; raises ``RuntimeError`` with the end of its output where it fails."""
    done = subprocess.run([*AIRFLOW, *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"airflow {' '.join(arguments[:2])} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def for_parts() -> dict[str, str]:
    """Return the variables of an Airflow 3 whose scheduler and API server run by themselves, on free ports."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
    }


@contextmanager
def running_part(env: dict[str, str], *command: str) -> Iterator[psutil.Popen]:
    """Run a part of Airflow; it and all that it started are gone afterwards. Errors get the end of its log."""
    log = Path(env["AIRFLOW_HOME"]) / f"{command[0]}.log"
    with log.open("ab") as output:
        process = psutil.Popen([*AIRFLOW, *command], env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{log.read_text(errors='replace')[-3000:]}") from error
    finally:
        end_part(process)


def end_part(process: psutil.Popen, *, at_once: bool = False) -> None:
    """End a process and all that it started; ``at_once`` with SIGKILL."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        if not at_once:
            process.terminate()
            _, family = psutil.wait_procs(family, timeout=10)
        for part in family:
            with suppress(psutil.NoSuchProcess):
                part.kill()
    process.wait()


@contextmanager
def emulator(*arguments: str) -> Iterator[str]:
    """Run the emulator on a free port in a process of its own; give its URL."""
    command = [sys.executable, "-m", "airflow_provider_truto.emulator", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError(f"the emulator did not start: {line!r}")
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
