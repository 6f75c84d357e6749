"""One emulator for all tests of a module, back at its seed before each of them."""

import contextlib
import http.client
import json
from types import SimpleNamespace

import pytest
import requests

from airflow_provider_truto.emulator import ACME, Emulator


class Client:
    """Calls an emulator with its token, and as ACME where nothing else is said."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.session = requests.Session()

    def call(self, method, path, *, account=ACME, params=(), key=None, headers=None, **options):
        given = {"Authorization": f"Bearer {self.emulator.token}", **(headers or {})}
        if key:
            given["Idempotency-Key"] = key
        is_data = path.startswith(("/unified", "/proxy", "/custom"))
        query = [("integrated_account_id", account)] if account and is_data else []
        query += params.items() if isinstance(params, dict) else params
        return self.session.request(
            method,
            self.emulator.url + path,
            params=query,
            headers=given,
            timeout=10,
            allow_redirects=False,
            **options,
        )

    def get(self, path="/unified/crm/accounts/23423523", **options):
        return self.call("GET", path, **options)

    def patch(self, path="/unified/crm/accounts/23423523", **options):
        return self.call("PATCH", path, **options)

    def mint(self, account=ACME):
        """A token of one integrated account."""
        answer = self.call("POST", "/integrated-account/token", json={"integrated_account_id": account})
        return answer.json()["integrated_account_token"]

    def raw(self, method, target, *, body=None, headers=None):
        """One call whose target goes out byte for byte; requests would tidy it up."""
        connection = http.client.HTTPConnection(self.emulator.url.removeprefix("http://"), timeout=10)
        try:
            given = {"Authorization": f"Bearer {self.emulator.token}", **(headers or {})}
            connection.request(method, target, body=body, headers=given)
            response = connection.getresponse()
            content = response.read()
            return SimpleNamespace(status_code=response.status, content=content, json=lambda: json.loads(content))
        finally:
            connection.close()


@pytest.fixture
def truto(emulator):
    client = Client(emulator)
    yield client
    client.session.close()


@pytest.fixture
def another():
    """A function that starts an emulator with other options and gives a client of it."""
    with contextlib.ExitStack() as stack:

        def start(*args, **options):
            client = Client(stack.enter_context(Emulator(*args, **options)))
            stack.callback(client.session.close)
            return client

        yield start
