"""Airflow's own messages on docs/errors.md: those that a task can cause are caused."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import pytest
from airflow.triggers.base import BaseTrigger
from test_docs import page_of

from airflow_provider_truto._compat import BaseHook
from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator
from airflow_provider_truto.sensors.records import TrutoRecordSensor

pytestmark = pytest.mark.skipif(not hasattr(BaseTrigger, "on_kill"), reason="the page has the words of Airflow 3.3")

SHOWN = re.findall(
    r"^\| `{1,2}(.+?)`{1,2} \|",
    page_of("errors").text.partition("### Airflow's own messages")[2].partition("## By class")[0],
    re.MULTILINE,
)
#: What needs a killed worker, or another installation; read in Airflow's code.
NOT_CAUSED = {
    "No module named 'airflow_provider_truto'",
    "Task did not emit heartbeat within time limit",
    "Process terminated by signal",
}
TARGET = {"account_id": "23423523", "integrated_account_id": ACME}


def update(**arguments):
    return TrutoUpdateAccountOperator(**{"task_id": "update", **TARGET, "body": {"name": "x"}, **arguments})


def in_dag(build, **arguments):
    from airflow.sdk import DAG

    with DAG(dag_id="crm", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, **arguments):
        return build()


def returning(value):
    """A task that returns a value, over which another is mapped."""
    from airflow.sdk import task

    def build():
        found = task(task_id="find")(lambda: value)()
        TrutoUpdateAccountOperator.partial(task_id="update", integrated_account_id=ACME).expand_kwargs(found)
        return found.operator

    return in_dag(build)


def with_param(value):
    from airflow.sdk import Param

    task = in_dag(
        lambda: update(body={"number_of_employees": "{{ params.staff }}"}), params={"staff": Param(type="integer")}
    )
    return lambda truto: truto.run(task, params=value)


def running(build):
    return lambda truto: truto.run(build())


def look():
    fields = {"model": "crm", "resource": "accounts", "record_id": "23423523", "fields": {"name": "No"}}
    return TrutoRecordSensor(task_id="wait", integrated_account_id=ACME, timeout=0, **fields)


def bulk():
    row = {"id": "23423523", "body": {"name": "x"}, "integrated_account_id": ACME}
    return TrutoBulkUpdateAccountsOperator(task_id="bulk", source=[row], output_path="blob://b/l", max_failures=0)


CAUSES = {
    "The conn_id `truto_default` isn't defined": lambda _: BaseHook.get_connection("truto_default"),
    "Invalid arguments were passed to TrutoUpdateAccountOperator": running(lambda: update(acount_id=1)),
    "missing keyword argument": lambda _: TrutoUpdateAccountOperator(task_id="update", body={}),
    "Invalid input for param … No value passed and Param has no default value": lambda truto: with_param({})(truto),
    "Invalid input for param … is not of type": lambda truto: with_param({"staff": "many"})(truto),
    "VARIABLE_NOT_FOUND": running(lambda: update(body={"name": "{{ var.value.nope }}"})),
    "TemplateSyntaxError: unexpected end of template": running(lambda: update(body={"name": "{{ x"})),
    "did not push XCom for task mapping": running(lambda: returning(None)),
    "unmappable return type": running(lambda: returning("text")),
    "Cannot serialize object of type": running(lambda: returning([object()])),
    "Timeout, PID:": running(lambda: update(execution_timeout=timedelta(microseconds=1))),
    "Sensor has timed out; run duration of": running(look),
    "Unsupported filesystem": running(bulk),
    "Unknown hook type": lambda _: BaseHook.get_hook("odd"),
}


def test_every_message_is_caused_or_cannot_be():
    assert {*SHOWN} == {*CAUSES} | NOT_CAUSED


@pytest.mark.parametrize("shown", CAUSES)
def test_airflow_says_what_the_page_shows(truto, monkeypatch, shown):
    monkeypatch.setenv("AIRFLOW_CONN_ODD", json.dumps({"conn_type": "odd"}))
    if "conn_id" in shown:
        monkeypatch.delenv("AIRFLOW_CONN_TRUTO_DEFAULT")
    with pytest.raises(BaseException) as caught:  # a timeout of Airflow is not an Exception
        CAUSES[shown](truto)
    said = f"{type(caught.value).__name__}: {caught.value}"
    assert all(part in said for part in shown.split(" … ")), said
