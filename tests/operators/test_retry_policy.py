"""What Airflow does with a task that failed, as ``TrutoRetryPolicy`` says (Airflow 3.3 and later)."""

from __future__ import annotations

import importlib
import json
from datetime import timedelta

import pytest
from airflow_runs import before

from airflow_provider_truto.airflow_errors import TrutoBulkError
from airflow_provider_truto.client.errors import (
    TrutoNotFoundError,
    TrutoRateLimitError,
    TrutoSchemaError,
    TrutoServerError,
    TrutoTransportError,
)

needs_policies = pytest.mark.skipif(before("3.3"), reason="retry policies came with Airflow 3.3")


def failed(error, **attributes):
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def caused_by(error):
    outer = RuntimeError("of the task's own")
    outer.__cause__ = error
    return outer


ERRORS = {
    "a wrong body": (TrutoSchemaError("wrong"), "fail", None),
    "a record that is gone": (failed(TrutoNotFoundError("gone"), transient=False), "fail", None),
    "a rate limit": (failed(TrutoRateLimitError("slow"), transient=True, retry_after=41.2), "retry", 42),
    "a rate limit of two days": (failed(TrutoRateLimitError("s"), transient=True, retry_after=2e5), "retry", 3600),
    "a rate limit without a time": (failed(TrutoRateLimitError("s"), transient=True), "retry", None),
    "a lost answer": (failed(TrutoTransportError("lost"), transient=True), "retry", 5),
    "a certificate": (failed(TrutoTransportError("TLS"), transient=False), "fail", None),
    "a server's fault": (failed(TrutoServerError("502"), transient=True), "retry", None),
    "a bulk that can go on": (TrutoBulkError("3 of 5 failed", transient=True), "retry", None),
    "a bulk that cannot": (TrutoBulkError("3 of 5 failed"), "fail", None),
    "a cause": (caused_by(TrutoSchemaError("wrong")), "fail", None),
    "somebody else's error": (KeyError("x"), "default", None),
}


@needs_policies
@pytest.mark.parametrize("name", ERRORS)
def test_the_error_decides(name):
    from airflow_provider_truto.retries import TrutoRetryPolicy

    policy = TrutoRetryPolicy(unknown_outcome_delay=timedelta(seconds=5), longest_delay=timedelta(hours=1))
    error, action, seconds = ERRORS[name]
    for one in (policy, TrutoRetryPolicy.deserialize(json.loads(json.dumps(policy.serialize())))):
        decision = one.evaluate(error, 1, 3)
        assert decision.action.value == action
        assert decision.retry_delay == (None if seconds is None else timedelta(seconds=seconds))
        assert (decision.reason is None) == (action == "default")


@needs_policies
def test_a_reason_fits_into_airflows_database():
    from airflow_provider_truto.retries import TrutoRetryPolicy

    assert len(TrutoRetryPolicy().evaluate(TrutoSchemaError("x" * 2_000), 1, 3).reason) == 500


@needs_policies
@pytest.mark.parametrize("delay", [10, None, timedelta(seconds=-1)])
@pytest.mark.parametrize("name", ["unknown_outcome_delay", "longest_delay"])
def test_a_delay_that_is_not_one_is_told_while_the_dag_file_is_parsed(name, delay):
    from airflow_provider_truto.retries import TrutoRetryPolicy

    with pytest.raises(ValueError, match=f"{name} expects a timedelta"):
        TrutoRetryPolicy(**{name: delay})


@pytest.mark.skipif(not before("3.3"), reason="there are policies")
def test_an_airflow_without_policies_is_told():
    with pytest.raises(ImportError, match="needs Airflow"):
        importlib.import_module("airflow_provider_truto.retries")


POLICY = """
        from airflow_provider_truto.retries import TrutoRetryPolicy

        policy = TrutoRetryPolicy(unknown_outcome_delay=timedelta(0), longest_delay=timedelta(0))
"""
OPERATOR = """
        update(account_id={account_id!r}, body={{"name": "x"}}, retries=2, retry_policy=policy)
"""
FUNCTION = """
        @task(task_id="update", retries=2, retry_policy=policy)
        def write():
            from airflow_provider_truto.hooks.truto import TrutoHook

            TrutoHook().update_account({account_id!r}, {{"name": "x"}}, integrated_account_id=ACME)

        write()
"""


@needs_policies
@pytest.mark.parametrize("task", [OPERATOR, FUNCTION], ids=["operator", "function"])
@pytest.mark.parametrize(
    ("account_id", "fault", "tries", "reason"),
    [("no-such", None, 1, "a retry cannot help"), ("23423523", 429, 3, "as asked")],
    ids=["a record that is gone", "a rate limit"],
)
def test_a_task_is_retried_only_where_that_helps(airflow, emulator, task, account_id, fault, tries, reason):
    if fault:
        emulator.fault(status=fault, times=None, headers={"Retry-After": "7"})
    run = airflow.run(POLICY + task.format(account_id=account_id))
    assert (run.update.state, run.update.tries) == ("failed", tries)
    assert reason in run.log
