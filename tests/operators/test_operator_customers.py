"""Whose CRM a call on a real Airflow goes to: named by account, by tenant, by the connection, and never by chance."""

from __future__ import annotations

import pytest
from airflow_runs import connect_customer

from airflow_provider_truto.emulator import ACME, GLOBEX, STARK, UMBRELLA

pytestmark = pytest.mark.airflow

#: ACME's second CRM.
ACME_TOO = "acae0000-0000-4000-8000-0000000000ff"
PARAMS = {"tenant": "globex", "crm": "hubspot", "acme": ACME, "empty": ""}
FIRST_RECORDS = {ACME: {"23423523"}, GLOBEX: {"70010001"}, STARK: {"57000001"}}
#: The task's arguments and whose CRM it is to write to.
FOUND = {
    "by account": ("integrated_account_id='{{ params.acme }}'", ACME),
    "by tenant": ("tenant_id='stark'", STARK),
    "by a templated tenant": ("tenant_id='{{ params.tenant }}'", GLOBEX),
    "by tenant and integration": ("tenant_id='acme', integration='{{ params.crm }}'", ACME),
    "by tenant and another integration": ("tenant_id='acme', integration='attio'", ACME_TOO),
    "by the connection": ("truto_conn_id='of_globex'", GLOBEX),
    "by tenant rather than by the connection": ("truto_conn_id='of_globex', tenant_id='stark'", STARK),
    "by account rather than by the connection": (
        "truto_conn_id='of_globex', integrated_account_id='{{ params.acme }}'",
        ACME,
    ),
    "one of those allowed": ("truto_conn_id='only_some', tenant_id='globex'", GLOBEX),
    "of the expected tenant": ("integrated_account_id=ACME, expected_tenant_id='acme'", ACME),
    "found and expected": ("tenant_id='{{ params.tenant }}', expected_tenant_id='{{ params.tenant }}'", GLOBEX),
}
#: The task's arguments and what its message is to say; the connection's default is GLOBEX wherever one is.
LOST = {
    "an account that comes to nothing": (
        "integrated_account_id='{{ none }}'",
        "/integrated_account_id: {{ none }} is None",
    ),
    "an account of None": ("integrated_account_id=None", "/integrated_account_id: was given and is None"),
    "an empty account": ("integrated_account_id='{{ params.empty }}'", "/integrated_account_id: is empty"),
    "an account that is not a UUID": (
        "integrated_account_id='acme'",
        "/integrated_account_id: 'acme' is not the UUID of",
    ),
    "a tenant that comes to nothing": ("tenant_id='{{ none }}'", "/tenant_id: {{ none }} is None"),
    "a tenant that is undefined": ("tenant_id='{{ params.no }}'", "/tenant_id: {{ params.no }}: 'no' is unknown"),
    "an empty tenant": ("tenant_id='{{ params.empty }}'", "/tenant_id: is empty"),
    "a tenant of None": ("tenant_id=None", "/tenant_id: was given and is None"),
    "an integration that comes to nothing": (
        "tenant_id='acme', integration='{{ none }}'",
        "/integration: {{ none }} is None",
    ),
    "an integration of None": ("tenant_id='acme', integration=None", "/integration: was given and is None"),
    "an empty integration": ("tenant_id='stark', integration=''", "/integration: is empty"),
    "no such tenant": (
        "tenant_id='nobody'",
        "/tenant_id: no integrated account has tenant_id 'nobody'. Is it the customer's id",
    ),
    "a tenant in another case": ("tenant_id='ACME'", "/tenant_id: no integrated account has tenant_id 'ACME'"),
    "no such integration of the tenant": (
        "tenant_id='acme', integration='{{ params.tenant }}'",
        f"There is only: {ACME} (hubspot, active); {ACME_TOO} (attio, active).",
    ),
    "several": (
        "tenant_id='acme'",
        f"2 integrated accounts have tenant_id 'acme'. There is: {ACME} (hubspot, active); {ACME_TOO} (attio",
    ),
    "one of another tenant": (
        "integrated_account_id=ACME, expected_tenant_id='{{ params.tenant }}'",
        f"/integrated_account_id: {ACME} belongs to tenant 'acme', not to 'globex'",
    ),
    "an expectation of nothing": (
        "integrated_account_id=ACME, expected_tenant_id='{{ none }}'",
        "/expected_tenant_id: {{ none }} is None",
    ),
    "an expectation of None": (
        "integrated_account_id=ACME, expected_tenant_id=None",
        "/expected_tenant_id: was given and is None",
    ),
    "an empty expectation": (
        "integrated_account_id=ACME, expected_tenant_id=''",
        "/expected_tenant_id: is empty",
    ),
    "the default of another tenant": ("expected_tenant_id='acme'", f"{GLOBEX} belongs to tenant 'globex'"),
    "one that is not allowed": (
        "truto_conn_id='only_some', integrated_account_id=STARK",
        f"/integrated_account_id: {STARK} is not among the connection's allowed_integrated_accounts",
    ),
    "one found that is not allowed": (
        "truto_conn_id='only_some', tenant_id='stark'",
        f"/integrated_account_id: {STARK} is not among the connection's allowed_integrated_accounts",
    ),
    "none at all": ("truto_conn_id='truto_default'", "/integrated_account_id: is missing"),
}


def tasks(cases):
    """A create and a list for each case: a create goes anywhere, no record has to be there."""
    for number, (given, _) in enumerate(cases.values()):
        common = f"model='crm', resource='accounts', retries=2, **{{'truto_conn_id': 'of_globex', **dict({given})}}"
        yield (
            f"TrutoUnifiedOperator(task_id='create{number}', method='create', schema=None,"
            f" body={{'name': 'n{number}', 'owner': {{'id': 'u'}}}}, {common})"
        )
        yield f"TrutoUnifiedOperator(task_id='list{number}', method='list', {common})"


@pytest.fixture(scope="module")
def found(one_airflow, truto):
    truto.reset()
    connect_customer(truto, ACME_TOO, "acme", "attio")
    run = one_airflow.run("\n".join(tasks(FOUND)), params=PARAMS)
    return run, truto.executions, truto.requests


@pytest.mark.parametrize("name", FOUND)
def test_the_customer_is_the_one_that_is_named(found, name):
    run, executions, _ = found
    number, wanted = list(FOUND).index(name), FOUND[name][1]
    assert run[f"create{number}"].failures == run[f"list{number}"].failures == []
    assert run[f"create{number}"].xcom["truto"]["integrated_account_id"] == wanted
    written = [made for made in executions if made["body"] and made["body"]["name"] == f"n{number}"]
    assert [execution["integrated_account_id"] for execution in written] == [wanted]
    listed = {record["id"] for record in run[f"list{number}"].xcom["return_value"]}
    assert FIRST_RECORDS.get(wanted, set()) <= listed
    assert not any(records & listed for account, records in FIRST_RECORDS.items() if account != wanted)


def test_a_customer_is_looked_up_once_a_task(found):
    _, _, requests = found
    targets = [request["target"] for request in requests if request["path"][0] == "integrated-account"]
    looked_up = [target for target in targets if "tenant_id" in target]
    assert len(looked_up) <= len(found[0].tasks)
    assert {target for target in targets if "tenant_id" in target} == {
        f"/integrated-account?tenant_id={tenant}" for tenant in ("acme", "globex", "stark")
    }


@pytest.fixture(scope="module")
def lost(one_airflow, truto):
    truto.reset()
    connect_customer(truto, ACME_TOO, "acme", "attio")
    run = one_airflow.run("\n".join(tasks(LOST)), params=PARAMS)
    return run, truto.requests


@pytest.mark.parametrize("method", ["create", "list"])
@pytest.mark.parametrize("name", LOST)
def test_a_customer_that_cannot_be_told_fails_without_a_retry(lost, name, method):
    task = lost[0][f"{method}{list(LOST).index(name)}"]
    assert (task.state, task.tries) == ("failed", 1)
    assert (task.failure["type"], task.failure["cause"]) == ("AirflowFailException", "TrutoSchemaError")
    assert LOST[name][1] in task.failure["message"]


def test_nothing_of_any_customer_is_touched_then(lost):
    assert {request["path"][0] for request in lost[1]} == {"integrated-account"}
    assert {request["method"] for request in lost[1]} == {"GET"}


def test_rows_that_lack_their_customer_fail_and_never_go_to_the_default(airflow, emulator):
    run = airflow.run(
        """
        @task
        def rows():
            return [{"tenant_id": "stark"}, {"tenant_id": None}, {"tenant_id": ""}, {"tenant_id": "globex"}]

        TrutoUnifiedOperator.partial(
            task_id="t", truto_conn_id="of_globex", model="crm", resource="accounts", method="list"
        ).expand_kwargs(rows())
        """
    )
    assert [run[f"t[{n}]"].state for n in range(4)] == ["success", "failed", "failed", "success"]
    assert {execution["integrated_account_id"] for execution in emulator.executions} == {STARK, GLOBEX}


def test_one_customer_who_must_reconnect_leaves_the_others_alone(airflow, emulator):
    run = airflow.run(
        """
        TrutoUnifiedOperator.partial(
            task_id="t",
            model="crm",
            resource="accounts",
            method="create",
            body={"name": "New of {{ ti.map_index }}"},
            retries=2,
            map_index_template="{{ task.tenant_id }}",
        ).expand(tenant_id=["globex", "umbrella", "stark"])

        TrutoUnifiedOperator.partial(
            task_id="skipping",
            model="crm",
            resource="accounts",
            method="list",
            skip_on=["reauthorization_required"],
            map_index_template="{{ task.tenant_id }}",
        ).expand(tenant_id=["globex", "umbrella", "stark"])
        """
    )
    assert [run[f"t[{n}]"].state for n in range(3)] == ["success", "failed", "success"]
    assert [run[f"skipping[{n}]"].state for n in range(3)] == ["success", "skipped", "success"]
    failure = run["t[1]"].failure
    assert (run["t[1]"].tries, failure["cause"]) == (1, "TrutoReauthorizationRequiredError")
    assert UMBRELLA in failure["message"]
    names = airflow.query(
        "select map_index, rendered_map_index from task_instance where run_id = ? and task_id = 't' order by 1",
        run.run_id,
    )
    assert [name for _, name in names] == ["globex", "umbrella", "stark"]
    bodies = {e["integrated_account_id"]: e["body"] for e in emulator.executions if e["method"] == "POST"}
    assert bodies[GLOBEX] == {"name": "New of 0"}
    assert bodies[STARK] == {"name": "New of 2"}
