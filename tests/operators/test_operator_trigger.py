"""``TrutoAsyncHook`` where it is meant to be used: in a trigger that Airflow runs."""

from __future__ import annotations

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX

pytestmark = pytest.mark.airflow

#: A module of the DAGs folder: Airflow finds a trigger by its dotted name.
TRIGGERS = """
import asyncio

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.hooks.truto import TrutoAsyncHook


class ReadTrigger(BaseTrigger):
    def __init__(self, conn_id, integrated_account_id, record_id):
        super().__init__()
        self.arguments = {"conn_id": conn_id, "integrated_account_id": integrated_account_id, "record_id": record_id}

    def serialize(self):
        return f"{type(self).__module__}.ReadTrigger", self.arguments

    async def run(self):
        try:
            async with TrutoAsyncHook(self.arguments["conn_id"]) as hook:
                accounts = hook.unified(
                    "crm", "accounts", integrated_account_id=self.arguments["integrated_account_id"]
                )
                ids = [record["id"] async for record in accounts.list(limit=1)]
                records = await asyncio.gather(*(accounts.get(self.arguments["record_id"]) for _ in range(10)))
            yield TriggerEvent({"ids": ids, "names": [record["name"] for record in records]})
        except TrutoError as error:
            yield TriggerEvent({"error": type(error).__name__, "message": str(error)})
"""
DEFERRED = """
        import importlib.util
        import sys

        # As under a real triggerer, which has the folder of the DAGs on its path.
        sys.path.insert(0, str(Path(__file__).parent))
        importlib.invalidate_caches()
        from truto_test_triggers import ReadTrigger

        try:
            from airflow.sdk import BaseOperator
        except ImportError:
            from airflow.models.baseoperator import BaseOperator

        class ReadLater(BaseOperator):
            def __init__(self, *, conn_id="truto_default", customer=ACME, record_id=RECORD, **kwargs):
                super().__init__(**kwargs)
                self.arguments = {
                    "conn_id": conn_id, "integrated_account_id": customer, "record_id": record_id
                }

            def execute(self, context):
                self.defer(trigger=ReadTrigger(**self.arguments), method_name="resumed")

            def resumed(self, context, event):
                return event

        ReadLater(task_id="read")
        ReadLater(task_id="minting", conn_id="minting", customer=GLOBEX, record_id="70010001")
        ReadLater(task_id="absent", record_id="no-such")
        ReadLater(task_id="unusable", conn_id="unusable")
        ReadLater(task_id="wrong", conn_id="wrong_token")
"""


@pytest.fixture(scope="module")
def deferred(one_airflow, truto):
    truto.reset()
    run = one_airflow.run(DEFERRED, files={"truto_test_triggers.py": TRIGGERS})
    return run, truto.requests, truto.mints


def test_a_trigger_lists_and_gets(deferred):
    run, requests, _ = deferred
    assert run["read"].state == "success", run.log[-5000:]
    assert run["read"].xcom["return_value"] == {
        "ids": ["23423523", "23423524", "23423525"],
        "names": ["Northwind Traders"] * 10,
    }
    of_acme = [request for request in requests if ["integrated_account_id", ACME] in request["query"]]
    assert len(of_acme) >= 13


def test_a_trigger_mints_one_token_for_all_that_it_calls_at_once(deferred):
    run, requests, mints = deferred
    assert run["minting"].xcom["return_value"]["names"] == ["Fabrikam Robotics"] * 10
    assert [mint["integrated_account_id"] for mint in mints] == [GLOBEX]
    under = {request["token"] for request in requests if ["integrated_account_id", GLOBEX] in request["query"]}
    assert under == {f"account:{GLOBEX}"}


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("absent", "TrutoNotFoundError", "no-such"),
        ("unusable", "TrutoSchemaError", "/extra/max_attempts"),
        ("wrong", "TrutoAuthenticationError", "401"),
    ],
)
def test_a_trigger_sees_the_errors_that_a_task_sees(deferred, name, error, said):
    event = deferred[0][name].xcom["return_value"]
    assert event["error"] == error
    assert said in event["message"]


def test_a_call_of_a_trigger_is_a_line_of_its_log(deferred):
    lines = [line for line in deferred[0].log.splitlines() if "attempts=1" in line]
    wanted = f"GET /unified/crm/accounts/23423523 integrated_account={ACME} status=200 attempts=1"
    assert sum(wanted in line for line in lines) in {10, 20}  # Airflow 2 logs and prints
    assert not any("Northwind" in line for line in lines)


def test_nothing_of_a_trigger_stays_open(deferred):
    assert "Unclosed" not in deferred[0].log
    assert "was never awaited" not in deferred[0].log
