"""The emulator as a process, and what importing it costs."""

import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from airflow_provider_truto.emulator import ACME, TOKEN

COMMAND = [sys.executable, "-m", "airflow_provider_truto.emulator"]
URL = f"/unified/crm/accounts?integrated_account_id={ACME}"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def start():
    processes = []

    def run(*arguments):
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        line = process.stdout.readline()
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:[1-9]\d*\n", line), process.stderr.read()
        return process, line.removeprefix("listening on ").strip()

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def finish(process, number=signal.SIGTERM):
    started = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    return process.returncode, out, err, time.monotonic() - started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_exits_with_0_at_once(start, number):
    process, url = start("--port", "0", "--quiet")
    session = requests.Session()
    assert session.get(url + URL, headers=BEARER, timeout=10).json()["result_count"] == 3
    code, out, err, taken = finish(process, number)
    assert (code, out, err) == (0, "", "")
    assert taken < 1.5, "an idle keep-alive connection must not delay the end"


def test_a_call_under_way_does_not_hold_up_the_end_for_long(start):
    process, url = start("--port", "0", "--quiet")
    requests.post(f"{url}/_emulator/faults", json={"delay_before": 60}, timeout=10)
    with pytest.raises(requests.ReadTimeout):
        requests.get(url + URL, headers=BEARER, timeout=(5, 0.2))
    with socket.create_connection(url.removeprefix("http://").split(":"), timeout=10) as half:
        half.sendall(b"PATCH /unified HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        code, _, err, taken = finish(process)
    assert (code, err) == (0, "")
    assert taken < 3


def test_it_takes_the_port_it_is_given(start):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _, url = start("--port", str(port), "--quiet")
    assert url == f"http://127.0.0.1:{port}"


def test_it_reports_every_call_on_stderr(start):
    process, url = start("--port", "0")
    requests.get(url + URL, headers=BEARER, timeout=10)
    requests.get(f"{url}/nowhere", timeout=10)
    requests.post(f"{url}/_emulator/faults", json={"reset": "before"}, timeout=10)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/nowhere", timeout=10)
    _, out, err, _ = finish(process)
    assert out == ""
    assert err.splitlines() == [f"GET {URL} 200", "GET /nowhere 401", "GET /nowhere reset"]


def test_limits_and_seed_are_arguments(start, tmp_path):
    path = tmp_path / "seed.json"
    path.write_text(json.dumps({"limits": {"account": {"requests": 1}}}), encoding="utf-8")
    _, url = start("--port", "0", "--quiet", "--rate-limits", "--seed", str(path))
    assert [requests.get(url + URL, headers=BEARER, timeout=10).status_code for _ in range(2)] == [200, 429]


def test_the_life_of_an_accounts_token_is_an_argument(start):
    _, url = start("--port", "0", "--quiet", "--account-token-life", "0")
    body = {"integrated_account_id": ACME}
    minted = requests.post(f"{url}/integrated-account/token", json=body, headers=BEARER, timeout=10).json()
    headers = {"Authorization": f"Bearer {minted['integrated_account_token']}"}
    assert requests.get(url + URL, headers=headers, timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--seed", "/nowhere/seed.json"), 2, "cannot read the seed /nowhere/seed.json"),
        (("--host", "203.0.113.1"), 1, "cannot listen on 203.0.113.1"),
        (("--port", "x"), 2, "invalid int value"),
        (("--port", "99999"), 1, "cannot listen on 127.0.0.1:99999"),
    ],
)
def test_what_it_cannot_do_it_says_without_a_traceback(arguments, code, message):
    done = subprocess.run([*COMMAND, "--port", "0", *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_that_is_taken_is_an_error(start):
    _, url = start("--port", "0", "--quiet")
    done = subprocess.run([*COMMAND, "--port", url.rpartition(":")[2]], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr


WITHOUT_UVICORN = "import sys; sys.modules['uvicorn'] = None; "


def test_without_uvicorn_it_names_the_extra():
    script = (
        WITHOUT_UVICORN + "import runpy; runpy.run_module('airflow_provider_truto.emulator', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == "The Truto emulator needs uvicorn: pip install 'airflow-provider-truto[emulator]'\n"


def test_without_uvicorn_an_emulator_in_a_test_names_the_extra():
    script = WITHOUT_UVICORN + "from airflow_provider_truto.emulator import Emulator; Emulator().__enter__()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)
    assert "pip install 'airflow-provider-truto[emulator]'" in done.stderr


def test_importing_it_brings_in_neither_uvicorn_nor_the_rest_of_the_package():
    script = "import sys, airflow_provider_truto.emulator; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    modules = done.stdout.split()
    assert not {"uvicorn", "starlette", "airflow", "requests", "jsonschema", "h11"} & set(modules)
    ours = {name for name in modules if name.startswith("airflow_provider_truto.")}
    assert {name for name in ours if not name.startswith("airflow_provider_truto.emulator")} == set()
