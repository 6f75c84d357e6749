"""Arguments that mean nothing beside others are told, and left alone where ``default_args`` gave them."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import pytest

from airflow_provider_truto.client.errors import TrutoSchemaError

NEEDED: dict[str, dict[str, Any]] = {
    "operators.unified.TrutoUnifiedOperator": {"model": "crm", "resource": "contacts", "record_id": "1"},
    "operators.proxy.TrutoProxyOperator": {"resource": "companies", "record_id": "1"},
    "operators.accounts.TrutoBulkUpdateAccountsOperator": {"output_path": "/ledgers", "max_failures": 0},
    "operators.unified.TrutoBulkUnifiedOperator": {
        "model": "crm", "resource": "contacts", "output_path": "/ledgers", "max_failures": 0,
    },
    "operators.sync_jobs.TrutoSyncJobRunOperator": {"sync_job_id": "j"},
    "sensors.integrated_accounts.TrutoIntegratedAccountSensor": {},
}  # fmt: skip
ROWS: dict[str, Any] = {"source": []}
SQL = {"sql": "select 1", "sql_conn_id": "w"}


class Case(NamedTuple):
    """Arguments that mean nothing beside ``decided``, which ``meant`` would make mean something."""

    operators: str
    decided: dict[str, Any]
    given: dict[str, Any]
    told: str
    meant: dict[str, Any]


CASES = [
    Case("Unified|Proxy", {"method": "get"}, {"max_records": 5}, "is for list, not for get", {"method": "list"}),
    Case("Bulk", ROWS, {"sql_conn_id": "w"}, "means nothing without sql", SQL),
    Case("Bulk", ROWS, {"query_parameters": [1]}, "means nothing without sql", SQL),
    Case("Bulk", ROWS, {"hook_params": {"schema": "x"}}, "means nothing without sql", SQL),
    Case("Bulk", SQL, {"delimiter": ";"}, "means nothing with sql", {"source": "/a.csv"}),
    Case("Bulk", ROWS, {"match_by": "list"}, "means nothing without match_on", {"match_on": "website"}),
    Case("Bulk", ROWS, {"on_missing": "create"}, "means nothing without match_on", {"match_on": "website"}),
    Case("Bulk", ROWS, {"on_ambiguous": "skip"}, "means nothing without match_on", {"match_on": "website"}),
    Case("Bulk", ROWS, {"full_every": 60}, "means nothing without changed_only", {"changed_only": True}),
    Case("Bulk", ROWS, {"state_path": "/state"}, "means nothing without changed_only", {"changed_only": True}),
    Case("Bulk", ROWS, {"on_removed": "report"}, "means nothing without changed_only", {"changed_only": True}),
    Case(
        "Bulk",
        {**ROWS, "changed_only": True, "on_removed": "ignore"},
        {"max_removed": 5},
        "means nothing with on_removed='ignore'",
        {"on_removed": "delete"},
    ),
    Case("SyncJob", {"wait": False}, {"verify": "fail"}, "'fail' needs wait=True", {"wait": True}),
    Case("IntegratedAccount", {}, {"fail_on": ["forbidden"]}, "forbidden is seen by a probe only", {"probe": True}),
]
#: What decides only when the task runs, where it is a template.
RENDERED = {"method", "on_removed", "wait"}
EACH = [
    pytest.param(path, case, id=f"{path.rpartition('.')[2]}-{next(iter(case.given))}")
    for case in CASES
    for path in NEEDED
    if any(f".Truto{name}" in path for name in case.operators.split("|"))
]


def make(path, *parts, **given):
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(f"airflow_provider_truto.{module}"), name)
    arguments = {key: value for part in (NEEDED[path], *parts) for key, value in part.items()}
    return cls(task_id="x", **arguments, **given)


def combine(case):
    """What makes the arguments of a case mean something; a source and a query are one or the other."""
    other = {"source", "sql"} & set(case.meant)
    return {name: value for name, value in case.decided.items() if not other or name not in {"source", *SQL}}


@pytest.mark.parametrize(("path", "case"), EACH)
def test_what_means_nothing_is_told_while_the_dag_file_is_parsed(path, case):
    with pytest.raises(ValueError, match=f"^{next(iter(case.given))}: {case.told}"):
        make(path, case.decided, case.given)
    make(path, combine(case), case.given | case.meant)


@pytest.mark.parametrize(("path", "case"), EACH)
def test_what_default_args_say_is_for_other_tasks_as_well(path, case):
    task = make(path, case.decided, default_args=dict(case.given))
    assert {name: getattr(task, name) for name in case.given} == case.given
    task.check_arguments()


@pytest.mark.parametrize(("path", "case"), [one for one in EACH if RENDERED & set(one.values[1].decided)])
def test_what_means_nothing_once_it_is_rendered_fails_the_task(path, case):
    decided = {name: value for name, value in case.decided.items() if name in RENDERED}
    task = make(path, case.decided, case.given, dict.fromkeys(decided, "{{ params.decided }}"))
    for name, value in decided.items():
        setattr(task, name, value)
    with pytest.raises(TrutoSchemaError, match=f"/{next(iter(case.given))}: {case.told}"):
        task.check_arguments()
