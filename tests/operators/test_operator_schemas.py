"""What this customer's CRM takes, asked on a real Airflow: live schemas and the custom fields of its own."""

from __future__ import annotations

import pytest
from airflow_runs import connect_customer

from airflow_provider_truto.emulator import ACME, GLOBEX

pytestmark = pytest.mark.airflow

#: Attio: takes the id in the body, requires `name` and `owner.id`, has no place for `industry`.
SOYLENT = "50e1e700-0000-4000-8000-000000000001"
PARAMS = {
    "n": "120",
    "gold": "gold",
    "name": "x",
    "no": "False",
    "month": "9.0",
    "amount": "12.5",
    "day": "2026-01-31",
}
LIVE = "schema='live'"
CUSTOM = "check_custom_fields=True"
#: The task, and the body that arrives.
TAKEN = {
    "types out of text, as the live schema has them": (
        f"unified('t', 'update', record_id=RECORD, {LIVE}, body={{'number_of_employees': '{{{{ params.n }}}}'}})",
        {"number_of_employees": 120},
    ),
    "a live schema for a create that no package has": (
        (
            f"unified('t', 'create', resource='opportunities', {LIVE},"
            " body={'name': 'x', 'amount': '{{ params.amount }}'})"
        ),
        {"name": "x", "amount": 12.5},
    ),
    "a live schema with shared definitions": (
        (
            f"unified('t', 'update', record_id='70010001', integrated_account_id=GLOBEX, {LIVE},"
            " body={'number_of_employees': '{{ params.n }}', 'owner': {'id': '{{ 7 }}'}})"
        ),
        {"number_of_employees": 120, "owner": {"id": "7"}},
    ),
    "what this integration requires": (
        (
            f"unified('t', 'update', integrated_account_id={SOYLENT!r}, {LIVE},"
            " body={'id': 's-1', 'name': 'x', 'owner': {'id': 'u'}})"
        ),
        {"id": "s-1", "name": "x", "owner": {"id": "u"}},
    ),
    "what is unmapped and meant": (
        (
            f"update('t', account_id='70010001', integrated_account_id=GLOBEX, {LIVE}, verify=None,"
            " extra_fields=['urls'], body={'urls': [{'url': 'https://a.test'}]})"
        ),
        {"urls": [{"url": "https://a.test"}]},
    ),
    "the body of a custom method": (
        f"unified('t', 'assign-owner', {LIVE}, body={{'id': '{{{{ 23423524 }}}}', 'owner': {{'id': 'u-17'}}}})",
        {"id": "23423524", "owner": {"id": "u-17"}},
    ),
    "a delete, which has no body": (
        f"unified('t', 'delete', resource='contacts', record_id='1005', {LIVE})",
        None,
    ),
    "custom fields with their types": (
        f"""update('t', {CUSTOM}, body={{'custom_fields': {{
                'tier': '{{{{ params.gold }}}}', 'renewal_month': '{{{{ params.month }}}}',
                'is_partner': '{{{{ params.no }}}}', 'contract_end': '{{{{ params.day }}}}',
                'last_review': datetime(2026, 1, 31, tzinfo=timezone.utc), 'nickname': '{{{{ params.n }}}}'}}}})""",
        {
            "custom_fields": {
                "tier": "gold",
                "renewal_month": 9,
                "is_partner": False,
                "contract_end": "2026-01-31",
                "last_review": "2026-01-31T00:00:00.000Z",
                "nickname": "120",
            }
        },
    ),
    "custom fields of another resource": (
        (
            f"unified('t', 'update', resource='contacts', record_id='1001', {CUSTOM},"
            " body={'custom_fields': {'persona': 'champion'}})"
        ),
        {"custom_fields": {"persona": "champion"}},
    ),
    "custom fields of a new account": (
        (
            f"unified('t', 'create', {CUSTOM},"
            " body={'name': 'x', 'custom_fields': {'renewal_month': '{{ params.month }}'}})"
        ),
        {"name": "x", "custom_fields": {"renewal_month": 9}},
    ),
    "both": (
        (
            f"unified('t', 'update', record_id=RECORD, {LIVE}, {CUSTOM},"
            " body={'number_of_employees': '{{ params.n }}', 'custom_fields': {'renewal_month': '{{ params.n }}'}})"
        ),
        {"number_of_employees": 120, "custom_fields": {"renewal_month": 120}},
    ),
    "a custom field that a partial list does not hold": (
        (
            f"update('t', account_id='70010001', integrated_account_id=GLOBEX, {CUSTOM},"
            " body={'custom_fields': {'seats': '{{ params.n }}', 'hidden__c': 'x'}})"
        ),
        {"custom_fields": {"seats": 120, "hidden__c": "x"}},
    ),
    "a custom field that is meant although it is not listed": (
        (
            f"update('t', {CUSTOM}, extra_fields=['/custom_fields/brand_new'],"
            " body={'custom_fields': {'brand_new': 1}})"
        ),
        {"custom_fields": {"brand_new": 1}},
    ),
}
#: The task, and what its message is to say.
REFUSED = {
    "an unmapped field": (
        (
            f"update('t', account_id='70010001', integrated_account_id=GLOBEX, {LIVE},"
            " body={'name': 'x', 'urls': [{'url': 'https://a.test'}]})"
        ),
        ["/body/urls: "],
    ),
    "all that this integration lacks and does not take": (
        (
            f"unified('t', 'update', record_id='s-1', integrated_account_id={SOYLENT!r}, {LIVE},"
            " body={'industry': 'x', 'owner': {'name': 'y'}})"
        ),
        ["/body/id: is required", "/body/industry: ", "/body/name: is required", "/body/owner/id: is required"],
    ),
    "text that is not a number": (
        f"unified('t', 'update', record_id=RECORD, {LIVE}, body={{'number_of_employees': '{{{{ params.gold }}}}'}})",
        ["/body/number_of_employees: expects a whole number, got the text 'gold'"],
    ),
    "a value that is not one of those": (
        f"unified('t', 'create', resource='opportunities', {LIVE}, body={{'name': 'x', 'status': 'GONE'}})",
        ["/body/status: "],
    ),
    "a custom field that is not there": (
        f"update('t', {CUSTOM}, body={{'custom_fields': {{'teir': 'gold'}}}})",
        ["/body/custom_fields/teir: ", "did you mean `tier`?"],
    ),
    "a custom field that is not to be changed": (
        f"update('t', {CUSTOM}, body={{'custom_fields': {{'health_score': 7}}}})",
        ["/body/custom_fields/health_score: is not editable in this CRM"],
    ),
    "an option that is not there": (
        f"update('t', {CUSTOM}, body={{'custom_fields': {{'tier': 'platinum'}}}})",
        ["/body/custom_fields/tier: ", "gold", "silver", "bronze"],
    ),
    "a custom field of another resource": (
        f"update('t', {CUSTOM}, body={{'custom_fields': {{'persona': 'champion'}}}})",
        ["/body/custom_fields/persona: "],
    ),
    "a date that does not exist": (
        f"update('t', {CUSTOM}, body={{'custom_fields': {{'contract_end': '31.01.2026'}}}})",
        ["/body/custom_fields/contract_end: "],
    ),
    "text that is not a number for a custom field": (
        f"update('t', {CUSTOM}, body={{'custom_fields': {{'renewal_month': '{{{{ params.gold }}}}'}}}})",
        ["/body/custom_fields/renewal_month: expects a number, got the text 'gold'"],
    ),
    "a listed option of a partial list": (
        (
            f"update('t', account_id='70010001', integrated_account_id=GLOBEX, {CUSTOM},"
            " body={'custom_fields': {'tier': 'bronze'}})"
        ),
        ["/body/custom_fields/tier: "],
    ),
    "a method that the integration does not have": (
        f"unified('t', 'archive', {LIVE}, body={{'id': '1'}})",
        ["has no method archive on crm/accounts"],
    ),
}


def tasks(cases):
    return "\n".join(task.replace("'t'", f"'t{number}'", 1) for number, (task, _) in enumerate(cases.values()))


def with_soylent(truto):
    truto.reset()
    connect_customer(truto, SOYLENT, "soylent", "attio")
    truto.state.records[SOYLENT] = {"crm/accounts": {"s-1": {"id": "s-1", "properties": {"name": "Green"}}}}


@pytest.fixture(scope="module")
def taken(one_airflow, truto):
    with_soylent(truto)
    run = one_airflow.run(tasks(TAKEN), params=PARAMS)
    return run, truto.executions, truto.requests


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_crm_takes_arrives_with_its_types(taken, name):
    run, executions, _ = taken
    task = run[f"t{list(TAKEN).index(name)}"]
    assert task.failures == []
    bodies = {made["idempotency_key"]: made["body"] for made in executions}
    assert bodies[task.xcom["truto"]["idempotency_key"]] == TAKEN[name][1]


def asked(requests, *wanted):
    """The questions that were asked, each a pair of account and path."""
    found = []
    for request in requests:
        path = "/".join(request["path"])
        if any(word in path for word in wanted):
            found.append((dict(map(tuple, request["query"])).get("integrated_account_id"), path))
    return found


def test_a_schema_is_asked_for_once_a_process(taken):
    questions = asked(taken[2], "/meta/")
    assert len(questions) == len(set(questions))
    assert (ACME, "unified/crm/accounts/meta/update") in questions
    assert (GLOBEX, "unified/crm/accounts/meta/update") in questions


def test_the_fields_of_a_crm_are_asked_for_once_a_process(taken):
    found = asked(taken[2], "crm/fields")
    assert set(found) == {(ACME, "unified/crm/fields"), (GLOBEX, "unified/crm/fields")}
    assert len(found) == 2


def test_a_partial_list_of_fields_is_warned_of(taken):
    log = taken[0].log
    assert "salesforce lists its fields only in part: custom fields that it does not list are not checked" in log
    assert "/body/custom_fields/hidden__c: is not among the fields that this CRM lists in part" in log
    assert "/body/custom_fields/seats: is not among" not in log
    assert "hubspot lists its fields only in part" not in log


@pytest.fixture(scope="module")
def refused(one_airflow, truto):
    with_soylent(truto)
    run = one_airflow.run(tasks(REFUSED), params=PARAMS)
    return run, truto.executions


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_crm_does_not_take_is_refused(refused, name):
    task = refused[0][f"t{list(REFUSED).index(name)}"]
    assert (task.state, task.tries) == ("failed", 1)
    assert task.failure["type"] == "AirflowFailException"
    for text in REFUSED[name][1]:
        assert text in task.failure["message"]


def test_nothing_is_written_then(refused):
    assert {made["method"] for made in refused[1]} <= {"GET"}  # the fields are the CRM's to tell


def test_truto_without_a_schema_leaves_the_body_unchecked_with_a_warning(airflow, emulator):
    emulator.fault(path="/meta/", body={"method": "update", "request_body_schema": None})
    run = airflow.run("update('t', schema='live', body={'brand_new': '{{ 1 }}'}, verify=None)")
    assert run["t"].state == "success"
    assert "Truto has no schema for the update of crm/accounts '23423523': its body is not checked" in run.log
    assert emulator.executions[0]["body"] == {"brand_new": 1}


def test_an_answer_that_is_not_a_schema_fails_without_a_write(airflow, emulator):
    emulator.fault(path="/meta/", body=["nonsense"], times=None)
    run = airflow.run("update('t', schema='live', body={'name': 'x'})")
    assert run["t"].state == "failed"
    assert "expects a JSON object with request_body_schema" in run["t"].failure["message"]
    assert emulator.executions == []


def test_under_hide_values_no_value_is_in_a_message(airflow, emulator):
    """What is asked live is asked first, and told like the rest."""
    run = airflow.run(
        """
        os.environ["AIRFLOW__TRUTO__HIDE_VALUES"] = "True"
        update("live", schema="live", body={"number_of_employees": "planted-value"})
        update("fields", check_custom_fields=True, body={"custom_fields": {"tier": "planted-value"}})
        """
    )
    for name in ("live", "fields"):
        assert "/body/" in run[name].failure["message"]
        assert "planted-value" not in run[name].failure["message"]
