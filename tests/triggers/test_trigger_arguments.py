"""The arguments of all triggers: what an IDE and ``help()`` show, and what Airflow stores of them."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from airflow_provider_truto.triggers.changes import TrutoChangesTrigger
from airflow_provider_truto.triggers.integrated_accounts import TrutoIntegratedAccountTrigger
from airflow_provider_truto.triggers.records import TrutoRecordTrigger
from airflow_provider_truto.triggers.sync_jobs import TrutoSyncJobRunTrigger
from airflow_provider_truto.triggers.waits import TrutoWaitTrigger

TRIGGERS = [
    TrutoChangesTrigger,
    TrutoIntegratedAccountTrigger,
    TrutoRecordTrigger,
    TrutoSyncJobRunTrigger,
    TrutoWaitTrigger,
]
POLLING = {"truto_conn_id": "truto_default", "poll_interval": 60.0, "deadline": 1.8e9, "max_failed_polls": 10}
#: As rows of Airflow's `trigger` table hold them: a triggerer of a newer version goes on with what an older one left.
STORED = {
    "integrated_accounts.TrutoIntegratedAccountTrigger": {
        **POLLING,
        "integrated_account_id": None,
        "tenant_id": "acme",
        "integration": None,
        "probe": True,
        "fail_on": ["blocked"],
    },
    "records.TrutoRecordTrigger": {
        **POLLING,
        "model": "crm",
        "resource": "accounts",
        "record_id": "23423523",
        "integrated_account_id": None,
        "tenant_id": "acme",
        "integration": None,
        "query": None,
        "ignore_remote_data": True,
        "fields": {"/name": "x"},
        "condition": None,
        "function": None,
        "values": None,
        "on_missing": "wait",
    },
    "sync_jobs.TrutoSyncJobRunTrigger": {**POLLING, "sync_job_run_id": "41111111", "stop_on_kill": True},
}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_the_signature_shows_each_argument_with_its_type_and_the_docstring_tells_it(trigger):
    parameters = inspect.signature(trigger).parameters.values()
    own = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    assert all(parameter.annotation is not parameter.empty for parameter in own)
    assert re.findall(r":param (\w+): ", trigger.__doc__) == [parameter.name for parameter in own]


@pytest.mark.parametrize("path", STORED)
def test_a_stored_trigger_stays_as_it_is_and_holds_what_the_signature_shows(path):
    module, _, name = f"airflow_provider_truto.triggers.{path}".rpartition(".")
    trigger = getattr(importlib.import_module(module), name)
    assert trigger(**STORED[path]).serialize() == (f"{module}.{name}", STORED[path])
    assert {*inspect.signature(trigger).parameters} == {*STORED[path], "kwargs"}
