"""``TrutoSyncJobRunTrigger`` against the emulator: it polls, counts what fails, looks once more at its deadline."""

from __future__ import annotations

import asyncio
import importlib
import json
import time

import pytest
from loop_steps import measured_steps

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.triggers.integrated_accounts import TrutoIntegratedAccountTrigger
from airflow_provider_truto.triggers.records import TrutoRecordTrigger
from airflow_provider_truto.triggers.sync_jobs import TrutoSyncJobRunTrigger

JOB = "11111111-0000-4000-8000-000000000001"
FOREVER = ["created", "running"]


@pytest.fixture
def start(emulator, connection):
    """A function that starts a run and returns its id."""
    connection(emulator.url, emulator.token, requests_per_second=0)

    def call(statuses=("created", "running", "completed")):
        started = TrutoHook().start_sync_job_run(
            JOB, error_handling="ignore", integrated_account_id=ACME, args={"statuses": list(statuses)}
        )
        return started["id"]

    return call


def trigger_of(run_id, **more):
    defaults = {
        "truto_conn_id": "truto_default",
        "poll_interval": 0.02,
        "deadline": time.time() + 60,
        "max_failed_polls": 3,
        "stop_on_kill": True,
    }
    return TrutoSyncJobRunTrigger(sync_job_run_id=run_id, **{**defaults, **more})


def fired(trigger):
    """The payload of its only event."""

    async def collect():
        return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(collect())
    return payload


def polls(emulator):
    return [one for one in emulator.requests if one["method"] == "GET"]


def test_it_fires_when_the_run_is_over_under_one_session(start, emulator):
    run_id = start(["created", "running", "rate_limited", "running", "failed"])
    payload = fired(trigger_of(run_id))
    assert (payload["reason"], payload["sync_job_run_id"]) == ("over", run_id)
    assert len(polls(emulator)) == 4
    assert len({one["connection"] for one in polls(emulator)}) == 1


def test_its_arguments_and_its_event_are_json_and_hold_no_token(start, emulator):
    trigger = trigger_of(start())
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == trigger.serialize()
    assert emulator.token not in json.dumps([arguments, fired(again)])


def test_polls_that_fail_are_counted_until_so_many_in_a_row(start, emulator):
    run_id = start(FOREVER)
    emulator.fault(method="GET", status=502, times=2)
    emulator.fault(method="GET", reset="before", times=None)
    assert fired(trigger_of(run_id, max_failed_polls=4))["reason"] == "error"
    assert len(polls(emulator)) == 4


def test_a_poll_that_is_answered_starts_the_count_over(start, emulator):
    run_id = start(["created", "running", "running", "running", "completed"])
    for skip in (0, 1, 2):
        emulator.fault(method="GET", status=502, times=2, skip=skip)
    assert fired(trigger_of(run_id))["reason"] == "over"


@pytest.mark.parametrize(("status", "count"), [(404, 1), (401, 2)])
def test_what_a_repeat_cannot_fix_is_told_at_once(start, emulator, status, count):
    run_id = start(FOREVER)
    emulator.fault(method="GET", status=status, times=None)
    payload = fired(trigger_of(run_id))
    assert payload["reason"] == "error"
    assert str(status) in payload["message"]
    assert len(polls(emulator)) <= count  # with a 401 the connection is read again


def test_a_connection_that_cannot_be_read_is_told(start, monkeypatch):
    run_id = start(FOREVER)
    monkeypatch.delenv("AIRFLOW_CONN_TRUTO_DEFAULT")
    assert fired(trigger_of(run_id, truto_conn_id="nobody"))["reason"] == "error"


def test_it_looks_once_more_at_the_deadline(start, emulator):
    run_id = start(["created", {"status": "running", "seconds": 0.2}, "completed"])
    emulator.state.sync_runs[run_id].poll()
    assert fired(trigger_of(run_id, poll_interval=60, deadline=time.time() + 0.4))["reason"] == "over"
    run_id = start(FOREVER)
    payload = fired(trigger_of(run_id, poll_interval=60, deadline=time.time() - 100))
    assert payload["reason"] == "deadline"


@pytest.mark.parametrize("stops", [True, False])
def test_on_kill_stops_the_run_where_that_is_wanted(start, emulator, stops):
    run_id = start(FOREVER)
    asyncio.run(trigger_of(run_id, stop_on_kill=stops).on_kill())
    assert emulator.sync_runs[0]["is_stopped"] is stops


def test_a_triggerer_that_is_shut_down_stops_nothing(start, emulator):
    run_id = start(FOREVER)

    async def cancel():
        trigger = trigger_of(run_id, poll_interval=60)
        task = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert not emulator.sync_runs[0]["is_stopped"]


WAITING = {
    "runs": lambda run_id, **more: trigger_of(run_id, **more),
    "accounts": lambda _, **more: TrutoIntegratedAccountTrigger(tenant_id="nobody", probe=True, **more),
    "records": lambda _, **more: TrutoRecordTrigger(
        **{"model": "crm", "resource": "accounts", "record_id": "23423523", "tenant_id": "acme", **more},
        condition="record.name == values.name",
        function="json.loads",  # is not asked, since the condition does not hold
        values={"name": "Initrode"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WAITING)
def test_five_hundred_of_them_never_block_the_loop_for_50_ms(start, emulator, monkeypatch, kind):
    run_id = start(FOREVER)

    def make(**more):
        return WAITING[kind](run_id, truto_conn_id="truto_default", max_failed_polls=3, **more)

    fired(make(poll_interval=1, deadline=0))  # what is imported late is imported

    async def wait():
        return [event async for event in make(poll_interval=1, deadline=time.time() + 5).run()]

    async def wait_for_all():
        return await asyncio.gather(*(wait() for _ in range(500)))

    with measured_steps(monkeypatch) as taken:
        events = asyncio.run(wait_for_all())
    assert [len(each) for each in events] == [1] * 500
    assert max(taken) < 0.05
