"""On a real Airflow: what a task writes through the hook, its retries do not write again, and a clear does."""

from __future__ import annotations

import re

import pytest
from airflow_runs import before

pytestmark = pytest.mark.airflow

#: A task whose first try fails when all is written.
TASK = """
import asyncio
from concurrent.futures import ThreadPoolExecutor
from airflow_provider_truto._compat import find_current_context
from airflow_provider_truto.hooks.truto import TrutoAsyncHook

NEW = {{"number_of_employees": 7}}

def try_of():
    return find_current_context()["ti"].try_number

async def gather(*calls):
    async with TrutoAsyncHook(integrated_account_id=ACME) as hook:
        await asyncio.gather(*(call(hook) for call in calls))

@task(retries=1, retry_delay=timedelta(0))
def write(**context):
    hook = TrutoHook(integrated_account_id=ACME)
    accounts, contacts = hook.unified("crm", "accounts"), hook.unified("crm", "contacts")
    {calls}
    if try_of() == 1:
        raise RuntimeError("when all is written")

write()
"""
IN_THREADS = """
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: contacts.create({"last_name": "n%d" % (n // 2)}), range(6)))
"""
IN_COROUTINES = "asyncio.run(gather(*[lambda hook: hook.unified('crm', 'contacts').create({'last_name': 'x'})] * 3))"
#: Two calls that are equal but for one thing. The first try ends after one of them, the second makes both.
ALIKE = {
    "queries": 'contacts.create({"last_name": "x"}, query={"remote_query": {"list": %r}})',
    "verbs": 'hook.custom({"a": "POST", "b": "PUT"}[%r], "v3/things", body={"x": 1})',
}


def keys(emulator):
    written = (request for request in emulator.requests if request["method"] not in {"GET", "HEAD"})
    return [request["headers"]["idempotency-key"] for request in written]


#: What a task calls, how many writes these are, and how many it makes in two tries.
CALLS = {
    "update": ('hook.update_account(RECORD, {"name": "x"})', 1, 1),
    "stream": ('list(hook.stream_account(RECORD, {"name": "x"}))', 1, 1),
    "unified": ('accounts.update(RECORD, NEW); contacts.create({"last_name": "x"})', 2, 2),
    "delete": ('contacts.delete("1001")', 1, 1),
    "custom method": ('accounts.call("assign-owner", {"id": RECORD, "owner": {"id": "u"}})', 1, 1),
    "proxy": ('hook.proxy("companies").update(RECORD, {"properties": {"name": "x"}})', 1, 1),
    "custom": ('hook.custom("POST", "v3/things", body=b"\\\\xff\\\\x00")', 1, 1),
    "equal calls": ('[contacts.create({"last_name": "x"}) for _ in range(3)]', 3, 3),
    "another hook": ('[TrutoHook("of_globex").update_account("70010001", NEW) for _ in range(2)]', 2, 2),
    "threads": (IN_THREADS, 6, 6),
    "coroutines": (IN_COROUTINES, 3, 3),
    "another body": ('hook.update_account(RECORD, {"name": "try %d" % try_of()})', 1, 2),
    "no task": ('hook.update_account(RECORD, {"name": "x"}, context=None)', 1, 2),
    "its own context": ('hook.update_account(RECORD, {"name": "x"}, context=context)', 1, 1),
}


@pytest.mark.parametrize(("calls", "in_one_try", "in_both"), CALLS.values(), ids=CALLS)
def test_what_a_task_writes_through_the_hook_is_written_once_over_its_retries(
    airflow, emulator, calls, in_one_try, in_both
):
    run = airflow.run(TASK.format(calls=calls))
    assert (run.state, run["write"].tries) == ("success", 2), run.log[-4000:]
    assert len(keys(emulator)) == 2 * in_one_try
    assert len([one for one in emulator.executions if one["method"] != "GET"]) == len(set(keys(emulator))) == in_both


@pytest.mark.parametrize("call", ALIKE.values(), ids=ALIKE)
def test_a_retry_in_another_order_writes_what_the_first_try_did_not_come_to(airflow, emulator, call):
    airflow.run(TASK.format(calls=f"if try_of() > 1: {call % 'b'}\n    {call % 'a'}"))
    assert len(keys(emulator)) == 3
    assert len({(made["method"], str(made["remote_query"])) for made in emulator.executions}) == 2
    assert len(emulator.executions) == 2


def test_a_batch_has_the_same_key_in_each_try(airflow, emulator):
    batch = '[{"resource": "crm/accounts", "method": "update", "id": RECORD, "body": {"name": "x"}}]'
    airflow.run(TASK.format(calls=f"hook.batch({batch})"))
    assert len(keys(emulator)) == 2
    assert len(set(keys(emulator))) == 1


def test_a_cleared_task_writes_again(airflow, emulator):
    run = airflow.run(TASK.format(calls='hook.update_account(RECORD, {"name": "x"})'))
    assert run.again().state == "success"
    first, again, *after = keys(emulator)
    assert first == again
    assert set(after) - {first} == set(after)
    assert len(emulator.executions) == 2


def test_tasks_of_a_mapped_one_write_each_for_itself(airflow, emulator):
    body = TASK.format(calls='hook.update_account(RECORD, {"name": "x"})')
    body = body.replace("(**context)", "(number)").replace("write()", "write.expand(number=[1, 2, 3])")
    airflow.run(body)
    assert len(keys(emulator)) == 6
    assert len(emulator.executions) == len(set(keys(emulator))) == 3


def test_an_operator_and_the_hook_within_it_share_what_is_known_of_the_task(airflow, emulator):
    """A subclass that writes once more after the operator's own write, as after a deferral or before it."""
    run = airflow.run("""
        class Twice(TrutoUpdateAccountOperator):
            def execute(self, context):
                answer = super().execute(context)
                TrutoHook(self.truto_conn_id).update_account(RECORD, self.body, integrated_account_id=ACME)
                if context["ti"].try_number == 1:
                    raise RuntimeError("when all is written")
                return answer

        Twice(task_id="update", account_id=RECORD, integrated_account_id=ACME, body={"name": "x"}, retries=1,
              retry_delay=timedelta(0))
    """)
    assert (run.update.state, run.update.tries) == ("success", 2)
    assert len(keys(emulator)) == 4
    assert len(emulator.executions) == 2


def test_a_sensor_that_calls_again_is_not_answered_with_what_it_got_before(airflow, emulator):
    run = airflow.run("""
        @task.sensor(poke_interval=0.1, mode="reschedule")
        def owned():
            accounts = TrutoHook(integrated_account_id=ACME).unified("crm", "accounts")
            accounts.call("assign-owner", {"id": RECORD, "owner": {"id": "u"}})
            return True

        owned()
    """)
    assert run.state == "success"
    assert re.fullmatch(r"v1-[0-9a-f]{32}", keys(emulator)[0])


BUSY = {"method": "PATCH", "status": 429, "headers": {"retry-after": "1"}}


@pytest.mark.skipif(before("3.3"), reason="the task state store came with Airflow 3.3")
@pytest.mark.parametrize("hook", ["hook", "TrutoAsyncHook"])
def test_only_the_key_that_was_refused_goes_on_with_another_number(airflow, emulator, hook):
    emulator.state.cache_refusals = True
    emulator.fault(**BUSY, times=2, path="23423523$")
    calls = {
        "hook": """
    hook = TrutoHook("three_attempts", integrated_account_id=ACME)
    for record in ("23423524", RECORD):
        hook.update_account(record, {"name": "x"})
""",
        "TrutoAsyncHook": """
    async def both():
        async with TrutoAsyncHook("three_attempts", integrated_account_id=ACME) as hook:
            await asyncio.gather(*(hook.update_account(one, {"name": "x"}) for one in ("23423524", RECORD)))
    asyncio.run(both())
""",
    }[hook]
    run = airflow.run(TASK.format(calls=calls))
    assert (run.state, run["write"].tries) == ("success", 2), run.log[-4000:]
    of_record = [
        (request["path"][-1], request["headers"]["idempotency-key"][67:])
        for request in emulator.requests
        if request["method"] == "PATCH"
    ]
    assert sorted(of_record) == [
        *[("23423523", "")] * 2,
        *[("23423523", "-2")] * 2,
        *[("23423524", "")] * 2,
    ]
    assert len(emulator.executions) == 2
