"""``preflight`` on a real Airflow: what is in the way of a call is told before anything is sent."""

from __future__ import annotations

import pytest
from airflow_runs import connect_customer

from airflow_provider_truto.emulator import ACME, GLOBEX, HOOLI, INITECH, UMBRELLA

pytestmark = pytest.mark.airflow

CONNECTING = "c0000000-0000-4000-8000-000000000001"
NARROW = "c0000000-0000-4000-8000-000000000002"
#: The task's arguments, the error behind the failure, its name for ``skip_on``, and what the message is to say.
IN_THE_WAY = {
    "who must reconnect": (
        "'create', body={'name': 'x'}, integrated_account_id=UMBRELLA",
        "TrutoReauthorizationRequiredError",
        "reauthorization_required",
        [
            f"the customer must reconnect zohocrm account {UMBRELLA} (tenant umbrella): its status is needs_reauth.",
            "Truto's reason: The credentials were revoked.",
            "Nothing was sent",
        ],
    ),
    "who must reconnect, for a read": (
        "'list', tenant_id='umbrella'",
        "TrutoReauthorizationRequiredError",
        "reauthorization_required",
        ["its status is needs_reauth"],
    ),
    "who is connecting still": (
        f"'list', integrated_account_id={CONNECTING!r}",
        "TrutoReauthorizationRequiredError",
        "reauthorization_required",
        [f"must connect or reconnect hubspot account {CONNECTING} (tenant late): its status is connecting."],
    ),
    "who is blocked": (
        "'list', integrated_account_id=HOOLI",
        "TrutoAccountBlockedError",
        "account_blocked",
        [f"Truto has blocked close account {HOOLI} (tenant hooli)", "support@truto.one", "Nothing was sent"],
    ),
    "a write to a sandbox": (
        "'create', body={'name': 'x'}, integrated_account_id=INITECH",
        "TrutoSandboxReadOnlyError",
        "method_not_allowed",
        [f"pipedrive account {INITECH} (tenant initech) is a sandbox, which Truto never writes to"],
    ),
    "a method that is not there": (
        "'delete', resource='fields', record_id='f-1'",
        "TrutoMethodNotAllowedError",
        "method_not_allowed",
        [f"hubspot account {ACME} (tenant acme) exposes crm/fields, but not delete: it has list, get."],
    ),
    "a resource that is not there": (
        f"'list', resource='opportunities', integrated_account_id={NARROW!r}",
        "TrutoMethodNotAllowedError",
        "method_not_allowed",
        [f"attio account {NARROW} (tenant narrow) does not expose crm/opportunities."],
    ),
    "another tenant": (
        "'create', body={'name': 'x'}, expected_tenant_id='globex'",
        "TrutoSchemaError",
        None,
        [f"/integrated_account_id: {ACME} belongs to tenant 'acme', not to 'globex'"],
    ),
    "an account that is not there": (
        "'list', integrated_account_id='00000000-0000-4000-8000-000000000000'",
        "TrutoNotFoundError",
        None,  # Truto's own: the task is wrong, no record is gone
        ["00000000-0000-4000-8000-000000000000 was not found"],
    ),
}
#: The task that nothing is in the way of.
FREE = {
    "a write": "unified('t', 'create', body={'name': 'x'}, preflight=True)",
    "a read of a sandbox": "unified('t', 'list', integrated_account_id=INITECH, preflight=True)",
    "a custom method": ("unified('t', 'assign-owner', body={'id': RECORD, 'owner': {'id': 'u-17'}}, preflight=True)"),
    "the expected tenant": "unified('t', 'list', tenant_id='globex', expected_tenant_id='globex', preflight=True)",
    "a proxy method": "proxy('t', 'update', record_id=RECORD, body={'properties': {'name': 'x'}}, preflight=True)",
    "a custom method of the crm that has no description": (
        "proxy('t', 'merge', body={'into': '23423524', 'from': '23423525'}, preflight=True)"
    ),
    "an update of an account": "update('t', body={'name': 'x'}, preflight=True)",
}


def with_customers(truto):
    truto.reset()
    connect_customer(truto, CONNECTING, "late", "hubspot", status="connecting")
    connect_customer(truto, NARROW, "narrow", "attio")


@pytest.fixture(scope="module")
def in_the_way(one_airflow, truto):
    with_customers(truto)
    tasks = []
    for number, (given, _, code, _) in enumerate(IN_THE_WAY.values()):
        tasks.append(f"unified('t{number}', {given}, preflight=True, retries=2)")
        if code:
            tasks.append(f"unified('skip{number}', {given}, preflight=True, skip_on=['conflict', {code!r}])")
    return one_airflow.run("\n".join(tasks)), truto.executions, truto.requests


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_is_in_the_way_fails_without_a_retry_and_is_named(in_the_way, name):
    task = in_the_way[0][f"t{list(IN_THE_WAY).index(name)}"]
    _, cause, _, said = IN_THE_WAY[name]
    assert (task.state, task.tries) == ("failed", 1)
    assert (task.failure["type"], task.failure["cause"]) == ("AirflowFailException", cause)
    for text in said:
        assert text in task.failure["message"]


@pytest.mark.parametrize("name", [name for name, case in IN_THE_WAY.items() if case[2]])
def test_it_skips_the_task_where_skip_on_names_it(in_the_way, name):
    task = in_the_way[0][f"skip{list(IN_THE_WAY).index(name)}"]
    assert (task.state, task.tries, task.failures) == ("skipped", 1, [])


def test_nothing_reaches_a_crm_then(in_the_way):
    _, executions, requests = in_the_way
    assert executions == []
    assert {request["path"][0] for request in requests} == {"integrated-account"}


@pytest.fixture(scope="module")
def free(one_airflow, truto):
    with_customers(truto)
    chain = [f"t{n} = {task}".replace("'t'", f"'t{n}'", 1) for n, task in enumerate(FREE.values())]
    return one_airflow.run("\n".join(chain)), truto.requests


@pytest.mark.parametrize("name", FREE)
def test_what_nothing_is_in_the_way_of_is_called(free, name):
    task = free[0][f"t{list(FREE).index(name)}"]
    assert task.failures == []
    assert task.state == "success"


def test_the_account_is_looked_at_before_each_call_and_its_capabilities_once_a_process(free):
    _, requests = free
    paths = ["/".join(request["path"]) for request in requests]
    assert paths.count(f"integrated-account/{ACME}") == 5
    assert paths.count(f"integrated-account/{GLOBEX}") == 1
    targets = [request["target"] for request in requests if request["path"][-1] == "capabilities"]
    assert len(targets) == len(set(targets))
