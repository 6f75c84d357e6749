"""Looking before writing, on a real Airflow: a preview, a write of just what was previewed, and only what differs."""

from __future__ import annotations

import pytest
from airflow_runs import before

from airflow_provider_truto.emulator import ACME

pytestmark = pytest.mark.airflow

HASH = "{{ ti.xcom_pull(task_ids='preview', key='truto')['preview']['hash'] }}"
BODY = {
    "name": "Northwind Traders",
    "number_of_employees": 121,
    "phone_numbers": [{"number": "+1 (206) 555-0100"}],
    "custom_fields": {"tier": "silver", "renewal_month": 9},
}
#: A preview, what somebody else does meanwhile, and the write of what was previewed.
PREVIEWED = """
        preview = update("preview", body={body!r}, preview=True)

        @task
        def meanwhile():
            {meanwhile}

        preview >> meanwhile() >> update("apply", body={body!r}, expect={expect!r}, retries=2)
"""


def previewed(meanwhile="pass", *, body=BODY, expect=HASH):
    return PREVIEWED.format(body=body, meanwhile=meanwhile, expect=expect)


def by_hand(body):
    """What a colleague does in the CRM meanwhile."""
    return f"TrutoHook().unified('crm', 'accounts', integrated_account_id=ACME).update(RECORD, {body!r})"


def writes(emulator):
    return [request for request in emulator.requests if request["method"] not in {"GET"}]


def sent_by(emulator, run, task_id):
    key = run[task_id].xcom["truto"]["idempotency_key"]
    return [made["body"] for made in emulator.executions if made["idempotency_key"] == key]


@pytest.fixture(scope="module")
def previews(one_airflow, truto):
    truto.reset()
    run = one_airflow.run(
        f"""
        update("update", body={BODY!r}, preview=True)
        update("nothing", body={{"name": "{{{{ params.name }}}}", "website": "https://northwind.example "}},
               preview=True)
        update("list", body={{"tags": [{{"name": "new"}}], "urls": []}}, allow_empty=True, preview=True)
        update("null", body={{"description": None}}, preview=True)
        unified("create", "create", body={{"name": "New", "owner": {{"id": "u-17"}}}}, preview=True)
        unified("delete", "delete", resource="contacts", record_id="1001", preview=True)
        unified("gone", "delete", resource="contacts", record_id="no-such", preview=True, retries=2)
        update("raw", body={BODY!r}, response_format="raw", preview=True)
        proxy("proxy", "update", record_id=RECORD, body={{"properties": {{"employeeCount": 7}}}}, preview=True)
        update("checked", body={{"nme": "x"}}, preview=True)
        """,
        params={"name": "Northwind Traders"},
    )
    return run, truto.executions


#: What each task's preview is to hold.
CHANGES = {
    "update": [("/number_of_employees", 120, 121), ("/custom_fields/tier", "gold", "silver")],
    "nothing": [],
    "list": [
        ("/tags", [{"id": "t-1", "name": "vip"}], [{"name": "new"}]),
        ("/urls", [{"url": "https://northwind.example/blog", "type": "blog"}], []),
    ],
    "null": [("/description", "Import and export of fine foods", None)],
    "create": [("/name", None, "New"), ("/owner/id", None, "u-17")],
    "raw": [("/number_of_employees", 120, 121), ("/custom_fields/tier", "gold", "silver")],
    "proxy": [("/properties/employeeCount", 120, 7)],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_preview_tells_what_would_be_changed_and_a_hash_of_it(previews, name):
    task = previews[0][name]
    assert task.failures == []
    told = task.xcom["truto"]
    found = [(change["pointer"], change["before"], change["after"]) for change in told["preview"]["changes"]]
    assert found == CHANGES[name]
    assert told["preview"]["hash"].startswith("p1-")
    assert (told["status"], told["attempts"], told["idempotency_key"]) == (None, 0, None)
    assert told["integrated_account_id"] == ACME
    assert not any(told["verification"].values())


def test_the_response_of_a_preview_is_the_record_as_it_is(previews):
    assert previews[0]["update"].xcom["return_value"]["number_of_employees"] == 120
    assert previews[0]["create"].xcom["return_value"] == {}


def test_the_preview_of_a_delete_shows_what_would_be_lost(previews):
    told = previews[0]["delete"].xcom["truto"]["preview"]
    (change,) = told["changes"]
    assert (change["pointer"], change["before"]["first_name"], change["after"]) == ("", "Ana", None)


def test_the_preview_of_what_is_not_there_fails(previews):
    assert (previews[0]["gone"].state, previews[0]["gone"].tries) == ("failed", 1)
    assert previews[0]["gone"].failure["cause"] == "TrutoNotFoundError"


def test_a_preview_checks_as_the_write_would(previews):
    assert "/body/nme" in previews[0]["checked"].failure["message"]


def test_a_preview_executes_nothing(previews):
    assert {made["method"] for made in previews[1]} == {"GET"}


def test_a_preview_is_told_in_the_log_without_values(previews):
    run, _ = previews
    hashed = run["update"].xcom["truto"]["preview"]["hash"]
    said = "Preview of update of crm/accounts '23423523': it would change /number_of_employees, /custom_fields/tier."
    assert f"{said} Nothing was sent. Hash: {hashed}" in run.log
    assert "it would change nothing" in run.log
    assert "it would change the whole record" in run.log
    for value in ("silver", "fine foods", "Ana"):
        assert value not in run.log


def test_under_hide_values_a_preview_holds_pointers_alone(airflow):
    run = airflow.run(
        f"""
        os.environ["AIRFLOW__TRUTO__HIDE_VALUES"] = "True"
        update("preview", body={BODY!r}, preview=True)
        """
    )
    told = run["preview"].xcom["truto"]["preview"]
    assert told["changes"] == [{"pointer": "/number_of_employees"}, {"pointer": "/custom_fields/tier"}]
    assert told["hash"].startswith("p1-")


#: What happens meanwhile without a bearing on what was previewed.
HARMLESS = {
    "nothing": "pass",
    "another field": by_hand({"website": "https://new.example"}),
    "another custom field": by_hand({"custom_fields": {"nickname": "NW"}}),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_was_previewed_is_applied(airflow, emulator, name):
    run = airflow.run(previewed(HARMLESS[name]))
    assert run.state == "success", run.log[-3000:]
    assert sent_by(emulator, run, "apply") == [BODY]
    assert run["apply"].xcom["return_value"]["number_of_employees"] == 121


#: What happens meanwhile, and what would be changed then.
CHANGED = {
    "a field of the body": (by_hand({"number_of_employees": 500}), "/number_of_employees, /custom_fields/tier"),
    "a field that was not going to change": (
        by_hand({"name": "Renamed"}),
        "/name, /number_of_employees, /custom_fields/tier",
    ),
    "one custom field of the body": (by_hand({"custom_fields": {"tier": "bronze"}}), "/number_of_employees"),
    "an item of a list of the body": (
        by_hand({"phone_numbers": [{"number": "+1 206 555 0100"}, {"number": "+1 206 555 0199"}]}),
        "/phone_numbers",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_record_that_changed_meanwhile_is_not_written_and_not_retried(airflow, emulator, name):
    run = airflow.run(previewed(CHANGED[name][0]))
    assert (run["apply"].state, run["apply"].tries) == ("failed", 1)
    assert (run["apply"].failure["type"], run["apply"].failure["cause"]) == (
        "AirflowFailException",
        "TrutoSchemaError",
    )
    message = run["apply"].failure["message"]
    assert "/expect: is not the hash of what would be changed now" in message
    assert CHANGED[name][1] in message
    assert len(writes(emulator)) == 1  # the colleague's


#: What the hash is of.
OTHERS = {
    "another body": "body={'number_of_employees': 122}",
    "another record": "account_id='23423524'",
    "another customer": "account_id='31000001', integrated_account_id=WAYNE",
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_hash_of_one_write_opens_no_other(airflow, emulator, name):
    given = f"{{'body': {BODY!r}, **dict({OTHERS[name]})}}"
    run = airflow.run(
        f"""
        update("preview", body={BODY!r}, preview=True) >> update("apply", **{given}, expect={HASH!r})
        """
    )
    assert run["apply"].failure["cause"] == "TrutoSchemaError"
    assert writes(emulator) == []


@pytest.mark.parametrize("method", ["update", "create", "delete"])
def test_a_lost_answer_is_not_a_change_meanwhile_and_the_retry_executes_once(airflow, emulator, method):
    verb = {"update": "PATCH", "create": "POST", "delete": "DELETE"}[method]
    emulator.fault(method=verb, reset="after")
    given = {
        "update": f"record_id=RECORD, body={BODY!r}",
        "create": "body={'name': 'Once'}",
        "delete": "record_id='23423525'",
    }[method]
    run = airflow.run(
        f"""
        preview = unified("preview", "{method}", {given}, preview=True)
        preview >> unified("apply", "{method}", {given}, expect={HASH!r}, retries=1)
        """
    )
    assert (run["apply"].state, run["apply"].tries) == ("success", 2)
    assert [failure["type"] for failure in run["apply"].failures] == ["TrutoTransportError"]
    assert [made["method"] for made in emulator.executions if made["method"] != "GET"] == [verb]


def test_a_delete_of_what_somebody_else_deleted_meanwhile_says_so(airflow, emulator):
    run = airflow.run(
        f"""
        @task
        def meanwhile():
            TrutoHook().unified("crm", "accounts", integrated_account_id=ACME).delete(RECORD)

        preview = unified("preview", "delete", record_id=RECORD, preview=True)
        preview >> meanwhile() >> unified("apply", "delete", record_id=RECORD, expect={HASH!r}, retries=1)
        """
    )
    assert (run["apply"].state, run["apply"].tries) == ("failed", 1)
    assert run["apply"].failure["cause"] == "TrutoNotFoundError"


def test_a_record_that_changed_between_two_tries_is_not_written_by_the_second(airflow, emulator):
    emulator.fault(method="PATCH", status=502)
    run = airflow.run(
        f"""
        def change(context):
            {by_hand({"number_of_employees": 500})}

        preview = update("preview", body={BODY!r}, preview=True)
        preview >> update("apply", body={BODY!r}, expect={HASH!r}, retries=3, on_retry_callback=change)
        """
    )
    assert (run["apply"].state, run["apply"].tries) == ("failed", 2)
    assert [failure["type"] for failure in run["apply"].failures] == ["TrutoServerError", "AirflowFailException"]
    assert emulator.state.records[ACME]["crm/accounts"]["23423523"]["properties"]["employeeCount"] == 500


def test_a_run_that_is_cleared_previews_and_applies_again(airflow, emulator):
    run = airflow.run(previewed())
    run = run.again()
    assert run.state == "success", run.log[-3000:]
    assert run["preview"].xcom["truto"]["preview"]["changes"] == []
    keys = [made["idempotency_key"] for made in emulator.executions if made["method"] == "PATCH"]
    assert len(set(keys)) == len(keys) == 2


def test_a_cleared_write_finds_that_the_record_was_changed_after_it(airflow, emulator):
    """Its hash is of the preview that was cleared along with it, so that the decision is made again."""
    run = airflow.run(previewed(by_hand({"number_of_employees": 500}), expect="p1-" + 64 * "0"))
    assert run["apply"].failure["cause"] == "TrutoSchemaError"
    run = run.again()
    assert run["apply"].failures[-1]["cause"] == "TrutoSchemaError"
    assert {request["body"]["number_of_employees"] for request in writes(emulator)} == {500}


# ---------------------------------------------------------------------------------------------------- skip_unchanged

#: The body, what of it arrives (``None`` where nothing is sent), and what is told to be unchanged.
UNCHANGED = {
    "one of several": (
        {"name": "Northwind Traders", "number_of_employees": 121},
        {"number_of_employees": 121},
        ["name"],
    ),
    "none": ({"number_of_employees": 121}, {"number_of_employees": 121}, []),
    "all": ({"name": "Northwind Traders", "number_of_employees": 120}, None, ["name", "number_of_employees"]),
    "all in another form": (
        {"phone_numbers": [{"number": "+1 (206) 555-0100"}], "website": "https://northwind.example "},
        None,
        ["phone_numbers", "website"],
    ),
    "an object, which goes whole": (
        {"custom_fields": {"tier": "silver", "renewal_month": 9}, "name": "Northwind Traders"},
        {"custom_fields": {"tier": "silver", "renewal_month": 9}},
        ["name"],
    ),
    "a null for nothing": ({"name": "x", "description": None}, {"name": "x"}, ["description"]),
}


@pytest.fixture(scope="module")
def unchanged(one_airflow, truto):
    truto.reset()
    seeded = truto.state.records[ACME]["crm/accounts"]
    for number in range(len(UNCHANGED)):
        copy = {**seeded["23423523"], "id": f"u-{number}"}
        copy["properties"] = {**copy["properties"], "about": ""}
        seeded[f"u-{number}"] = copy
    tasks = [
        f"update('t{number}', account_id='u-{number}', body={body!r}, skip_unchanged=True)"
        for number, (body, *_) in enumerate(UNCHANGED.values())
    ]
    return one_airflow.run("\n".join(tasks)), truto.executions


@pytest.mark.parametrize("name", UNCHANGED)
def test_only_what_differs_is_sent(unchanged, name):
    run, executions = unchanged
    number, (_, arrives, same) = list(UNCHANGED).index(name), UNCHANGED[name]
    task = run[f"t{number}"]
    assert task.failures == []
    written = [
        made["body"] for made in executions if made["method"] == "PATCH" and made["record_id"] == f"u-{number}"
    ]
    assert written == ([] if arrives is None else [arrives])
    told = task.xcom["truto"]
    assert told["unchanged"] == same
    assert (told["status"], told["attempts"]) == ((None, 0) if arrives is None else (200, 1))
    assert (told["idempotency_key"] is None) == (arrives is None)
    assert task.xcom["return_value"]["id"] == f"u-{number}"
    assert sorted(told["verification"]["taken"]) == sorted(
        f"/{key}/{inner}" if isinstance(value, dict) else f"/{key}"
        for key, value in (arrives or {}).items()
        for inner in (value if isinstance(value, dict) else [None])
    )


def test_that_nothing_was_sent_is_told_in_the_log(unchanged):
    run, _ = unchanged
    assert "update of crm/accounts 'u-2': every field is as it should be already; nothing was sent" in run.log
    assert "update of crm/accounts 'u-0': every field" not in run.log


def test_what_the_integration_requires_goes_along_although_it_does_not_differ(airflow, emulator):
    run = airflow.run(
        """
        strict = {"type": "object", "required": ["name"], "properties": {"name": {}, "number_of_employees": {}}}
        update(body={"name": "Northwind Traders", "number_of_employees": 121}, schema=strict, skip_unchanged=True)
        """
    )
    assert sent_by(emulator, run, "update") == [{"name": "Northwind Traders", "number_of_employees": 121}]


def test_a_retry_of_skip_unchanged_finds_its_own_write_and_sends_nothing(airflow, emulator):
    emulator.fault(method="PATCH", reset="after")
    run = airflow.run("update(body={'name': 'New', 'industry': 'Wholesale'}, skip_unchanged=True, retries=1)")
    assert (run.update.state, run.update.tries) == ("success", 2)
    assert len(writes(emulator)) == 1
    assert run.update.xcom["truto"]["unchanged"] == ["name", "industry"]
    assert run.update.xcom["return_value"]["name"] == "New"


def test_a_cleared_task_of_skip_unchanged_sends_nothing_either(airflow, emulator):
    run = airflow.run("update(body={'name': 'New'}, skip_unchanged=True)")
    run = run.again()
    assert run.update.state == "success"
    assert len(writes(emulator)) == 1
    assert run.update.xcom["truto"]["status"] is None


def test_expect_and_skip_unchanged_go_together(airflow, emulator):
    run = airflow.run(
        f"""
        preview = update("preview", body={BODY!r}, preview=True)
        preview >> update("apply", body={BODY!r}, expect={HASH!r}, skip_unchanged=True)
        """
    )
    assert run.state == "success", run.log[-3000:]
    body = {name: BODY[name] for name in ("number_of_employees", "custom_fields")}
    assert sent_by(emulator, run, "apply") == [body]
    assert run["apply"].xcom["truto"]["unchanged"] == ["name", "phone_numbers"]


def test_a_preview_of_the_wrong_customer_is_refused_before_the_record_is_read(airflow, emulator):
    run = airflow.run("update(body={'name': 'x'}, preview=True, expected_tenant_id='globex')")
    assert run.update.failure["cause"] == "TrutoSchemaError"
    assert emulator.executions == []


@pytest.mark.skipif(before("3.3"), reason="retry policies came with Airflow 3.3")
def test_a_retry_policy_sees_a_hash_that_no_longer_fits_as_the_error_itself(airflow, emulator):
    run = airflow.run(
        """
        from airflow.sdk import ExceptionRetryPolicy, RetryRule
        from airflow.sdk.definitions.retry_policy import RetryAction
        from airflow_provider_truto.client.errors import TrutoSchemaError

        policy = ExceptionRetryPolicy(
            [RetryRule(exception=TrutoSchemaError, action=RetryAction.RETRY, retry_delay=timedelta(0))]
        )
        update(body={"name": "x"}, expect="p1-" + 64 * "0", retries=1, retry_policy=policy)
        """
    )
    assert (run.update.state, run.update.tries) == ("failed", 2)
    assert {failure["type"] for failure in run.update.failures} == {"TrutoSchemaError"}
    assert writes(emulator) == []
