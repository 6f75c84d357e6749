"""Who may call: a web page must not reach an emulator that its reader runs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests

from airflow_provider_truto.emulator import ACME, TOKEN

BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATHS = [f"/unified/crm/accounts?integrated_account_id={ACME}", "/_emulator/log"]

KNOWN = {
    "as it was started": {},
    "localhost": {"Host": "localhost:{port}"},
    "another address of loopback": {"Host": "127.9.9.9"},
    "loopback of IPv6": {"Host": "[::1]:{port}"},
    "a page of this machine": {"Origin": "http://localhost:3000"},
}
STRANGE = {
    "a name that leads here all of a sudden": {"Host": "evil.example:{port}"},
    "a name that begins like this machine's": {"Host": "127.0.0.1.evil.example"},
    "a name that looks like this machine's": {"Host": "localhost.evil.example"},
    "an address that is not this machine's": {"Host": "192.0.2.7:{port}"},
    "a user before a host": {"Host": "localhost@evil.example"},
    "no name": {"Host": ""},
    "nonsense": {"Host": "[::1"},
    "a page": {"Origin": "https://evil.example"},
    "a page of nowhere": {"Origin": "null"},
    "a page beside the right host": {"Host": "localhost", "Origin": "http://127.0.0.1.evil.example"},
}


def call(emulator, path, headers, method="GET"):
    port = emulator.url.rpartition(":")[2]
    given = {name: value.format(port=port) for name, value in headers.items()}
    return requests.request(method, emulator.url + path, headers={**BEARER, **given}, timeout=10)


@pytest.mark.parametrize("path", PATHS, ids=["Truto", "control"])
@pytest.mark.parametrize("headers", KNOWN.values(), ids=KNOWN)
def test_anybody_who_calls_this_machine_by_its_name_is_answered(headers, path, emulator):
    assert call(emulator, path, headers).status_code == 200


@pytest.mark.parametrize("path", PATHS, ids=["Truto", "control"])
@pytest.mark.parametrize("headers", STRANGE.values(), ids=STRANGE)
def test_a_page_that_calls_is_refused_and_leaves_no_trace(headers, path, emulator):
    answer = call(emulator, path, headers)
    assert answer.status_code == 403
    assert "--allow-host" in answer.json()["message"]
    assert emulator.requests == []


def test_a_page_cannot_steer(emulator):
    call(emulator, "/_emulator/tokens/" + emulator.token, {"Origin": "https://evil.example"}, "DELETE")
    assert call(emulator, PATHS[0], {}).status_code == 200


@pytest.fixture
def started():
    """A function that starts the command, and gives its URL and what it warned of before."""
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "airflow_provider_truto.emulator", "--port", "0", "--quiet", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process, process.stdout.readline().removeprefix("listening on ").strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_other_names_are_allowed_by_name(started):
    _, url = started("--allow-host", "Emulator", "--allow-host", "other.test")
    statuses = [
        requests.get(url + PATHS[0], headers={**BEARER, "Host": host}, timeout=10).status_code
        for host in ("emulator:8765", "OTHER.test", "third.test")
    ]
    assert statuses == [200, 200, 403]


def test_listening_beyond_this_machine_is_warned_of(started):
    process, url = started("--host", "0.0.0.0")
    local = url.replace("0.0.0.0", "127.0.0.1")
    assert requests.get(local + PATHS[0], headers=BEARER, timeout=10).status_code == 200
    assert requests.get(local + PATHS[0], headers={**BEARER, "Host": "evil.example"}, timeout=10).status_code == 403
    process.kill()
    assert f"warning: anybody who reaches {url}" in process.communicate()[1]
