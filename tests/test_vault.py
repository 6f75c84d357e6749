"""Airflow's Vault backend finds the connection where docs/connection.md puts it.

A stand-in answers for Vault: it has what the page's `vault kv put` writes, at the path of the KV engine, version 2.
"""

from __future__ import annotations

import configparser
import json
import shlex
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from airflow_home import AIRFLOW, airflow_home
from test_docs import page_of

from airflow_provider_truto.emulator import TOKEN, Emulator

pytest.importorskip("airflow.providers.hashicorp.secrets.vault", reason="`make test-services` installs it")

CONNECTION = page_of("connection")


def read_page(emulator):
    """The backend, its arguments, and the path and keys of the secret, as the page shows them."""
    settings, put = [block.text for block in CONNECTION.blocks if block.title == "vault"]
    config = configparser.ConfigParser()
    config.read_string(settings)
    _vault, _kv, _put, path, *pairs = shlex.split(put.replace("\\\n", " ").replace("<API token>", TOKEN))
    secret = dict(pair.split("=", 1) for pair in pairs)
    return config["secrets"], path, {**secret, "host": emulator.url}


@contextmanager
def vault(path, secret):
    """What Vault answers to a read: the secret at its path, 404 elsewhere."""
    mount, _, name = path.partition("/")

    class Vault(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path.partition("?")[0] == f"/v1/{mount}/data/{name}"
            answer = {"data": {"data": secret, "metadata": {"version": 1}}} if found else {"errors": []}
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Vault) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.airflow
def test_the_connection_is_found_in_vault_where_the_page_puts_it():
    with Emulator() as emulator, airflow_home() as env:
        secrets, path, secret = read_page(emulator)
        with vault(path, secret) as url:
            kwargs = {**json.loads(secrets["backend_kwargs"]), "url": url, "token": "of-vault"}
            env["AIRFLOW__SECRETS__BACKEND"] = secrets["backend"]
            env["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps(kwargs)
            env["AIRFLOW__CORE__TEST_CONNECTION"] = "Enabled"
            command = [*AIRFLOW, "connections", "test", "truto_default"]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert "Connection success!" in done.stdout, done.stderr
        account = json.loads(secret["extra"])["integrated_account_id"]
        assert [one["path"] for one in emulator.requests] == [["integrated-account", account]]
