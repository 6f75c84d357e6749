"""How a task fails on a real Airflow: at once, with a retry, skipped, or as the author decides."""

from __future__ import annotations

import pytest
from airflow_runs import before

pytestmark = pytest.mark.airflow


def test_a_wrong_body_fails_the_first_try_with_every_problem_and_nothing_is_sent(airflow, emulator):
    run = airflow.run(
        """
        update(
            body={
                "nme": "Acme",
                "number_of_employees": "many",
                "owner": {"id": "{{ none }}"},
                "tags": [],
                "updated_at": "{{ ds }}",
                "phone_numbers": [{"number": "{{ 15550100 }}"}],
            },
            response_format="{{ 'xml' }}",
            retries=3,
        )
        """
    )
    assert (run.update.state, run.update.tries) == ("failed", 1)
    assert emulator.requests == []
    failure = run.update.failure
    assert (failure["type"], failure["cause"]) == ("AirflowFailException", "TrutoSchemaError")
    first, *lines = failure["message"].splitlines()
    assert first == "the update of crm/accounts '23423523' is not valid: 7 problems, nothing was sent."
    assert sorted(line.strip().split(":")[0] for line in lines) == [
        "/body/nme",
        "/body/number_of_employees",
        "/body/owner/id",
        "/body/phone_numbers/0/number",
        "/body/tags",
        "/body/updated_at",
        "/response_format",
    ]
    assert "did you mean `name`?" in run.log


#: What happens, the task's arguments, and the error behind the failure.
PERMANENT = {
    "400": ({"status": 400}, "", "TrutoBadRequestError"),
    "401": ({}, "truto_conn_id='wrong_token'", "TrutoAuthenticationError"),
    "403": ({"status": 403}, "", "TrutoPermissionError"),
    "404 of the record": ({}, "account_id='no-such'", "TrutoNotFoundError"),
    "404 of the customer": (
        {},
        "integrated_account_id='00000000-0000-4000-8000-000000000000'",
        "TrutoNotFoundError",
    ),
    "405": ({"status": 405}, "", "TrutoMethodNotAllowedError"),
    "a sandbox": ({}, "account_id='501', integrated_account_id=INITECH", "TrutoSandboxReadOnlyError"),
    "409": ({"status": 409}, "", "TrutoConflictError"),
    "422 of the crm": ({}, "account_id='23423524', body={'name': ''}", "TrutoUnprocessableError"),
    "reauthorization": (
        {},
        "account_id='9001', integrated_account_id=UMBRELLA",
        "TrutoReauthorizationRequiredError",
    ),
    "a blocked account": ({}, "account_id='lead-1', integrated_account_id=HOOLI", "TrutoAccountBlockedError"),
    "a redirect": ({"status": 302, "headers": {"location": "http://127.0.0.1:9/"}}, "", "TrutoApiError"),
    "an unusable connection": ({}, "truto_conn_id='unusable'", "TrutoSchemaError"),
}


@pytest.fixture(scope="module")
def permanent(one_airflow, truto):
    truto.reset()
    tasks = []
    for number, (fault, arguments, _) in enumerate(PERMANENT.values()):
        if fault:
            truto.fault(path=f"/faulty-{number}$", **fault)
        given = arguments or f"account_id='faulty-{number}'"
        tasks.append(f"update('t{number}', **{{'body': {{'name': 'x'}}, **dict({given})}}, retries=2)")
    return one_airflow.run("\n".join(tasks)), truto.executions


@pytest.mark.parametrize("name", PERMANENT)
def test_what_a_retry_cannot_fix_fails_the_first_try_with_its_cause(permanent, name):
    task = permanent[0][f"t{list(PERMANENT).index(name)}"]
    failure = task.failure
    assert (task.state, task.tries) == ("failed", 1)
    assert (failure["type"], failure["cause"]) == ("AirflowFailException", PERMANENT[name][2])
    assert failure["message"]


#: What happens in the first try; the second one succeeds.
PASSING = {
    "500": ({"status": 500}, "TrutoServerError", False),
    "502": ({"status": 502}, "TrutoServerError", False),
    "502 after the write": ({"status": 502, "apply": True}, "TrutoServerError", True),
    "503 of an account that is not blocked": ({"status": 503}, "TrutoServerError", False),
    "504": ({"status": 504}, "TrutoServerError", False),
    "429": ({"status": 429, "headers": {"retry-after": "1"}}, "TrutoRateLimitError", False),
    "408": ({"status": 408}, "TrutoTemporaryError", False),
    "425": ({"status": 425}, "TrutoTemporaryError", False),
    "a lost connection": ({"reset": "before"}, "TrutoTransportError", False),
    "a lost answer": ({"reset": "after"}, "TrutoTransportError", True),
    "a cut answer": ({"cut": 10}, "TrutoTransportError", True),
}


@pytest.fixture(scope="module")
def passing(one_airflow, truto):
    truto.reset()
    tasks = []
    for number, (fault, _, _) in enumerate(PASSING.values()):
        record = f"{number}-passing"
        truto.state.records["acae0000-0000-4000-8000-000000000001"]["crm/accounts"][record] = {
            "id": record,
            "properties": {"name": "x"},
        }
        truto.fault(method="PATCH", path=f"/{record}$", **fault)
        tasks.append(f"update('t{number}', account_id={record!r}, body={{'name': 'new'}}, retries=1)")
    run = one_airflow.run("\n".join(tasks))
    return run, [execution["record_id"] for execution in truto.executions], truto.requests


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_retried_by_airflow_and_written_once(passing, name):
    run, executed, requests = passing
    number = list(PASSING).index(name)
    task = run[f"t{number}"]
    assert task.failure["type"] == PASSING[name][1]
    assert (task.state, task.tries) == ("success", 2)
    assert task.xcom["return_value"]["name"] == "new"
    assert executed.count(f"{number}-passing") == 1
    keys = [
        request["headers"]["idempotency-key"]
        for request in requests
        if request["method"] == "PATCH" and request["path"][-1] == f"{number}-passing"
    ]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_retries_that_are_used_up_leave_the_error_itself(airflow, emulator):
    emulator.fault(status=502, times=None)
    run = airflow.run("update(body={'name': 'x'}, retries=1)")
    assert (run.update.state, run.update.tries) == ("failed", 2)
    assert [failure["type"] for failure in run.update.failures] == ["TrutoServerError"] * 2
    assert set(run.update.xcom) == {"truto"}


#: The task's arguments, ``skip_on`` and the state that comes of it.
SKIPS = {
    "the record is gone": ("account_id='no-such'", ["not_found"], "skipped"),
    "the customer has left": (
        "account_id='9001', integrated_account_id=UMBRELLA",
        ["not_found", "reauthorization_required"],
        "skipped",
    ),
    "another error than that": ("account_id='no-such'", ["reauthorization_required", "conflict"], "failed"),
    "no error": ("", ["not_found"], "success"),
    "a kind of the error that is named": (
        "account_id='501', integrated_account_id=INITECH",
        ["method_not_allowed"],
        "skipped",
    ),
    "a passing error": ("account_id='busy'", ["rate_limit"], "skipped"),
    "a wrong body": ("body={'nme': 'x'}", ["bad_request", "not_found", "unprocessable"], "failed"),
}


@pytest.fixture(scope="module")
def skips(one_airflow, truto):
    truto.reset()
    truto.fault(path="/busy$", status=429, times=None)
    tasks = [
        f"update('t{number}', **{{'body': {{'name': 'x'}}, **dict({arguments})}}, skip_on={skip_on!r}, retries=1)"
        for number, (arguments, skip_on, _) in enumerate(SKIPS.values())
    ]
    return one_airflow.run("\n".join(tasks))


@pytest.mark.parametrize("name", SKIPS)
def test_an_error_that_skip_on_names_skips_the_task(skips, name):
    task = skips[f"t{list(SKIPS).index(name)}"]
    assert task.state == SKIPS[name][2]
    assert task.tries == 1


def test_the_log_says_why_a_task_was_skipped(skips):
    assert "this customer's CRM has no such record" in skips.log


VERIFY = "update(account_id='70010001', integrated_account_id=GLOBEX, retries=2, verify={verify!r}, body={body!r})"
UNMAPPED = {"name": "x", "urls": [{"url": "https://acme.test"}]}


def test_verify_fail_fails_without_a_retry_and_says_that_the_write_happened(airflow, emulator):
    run = airflow.run(VERIFY.format(verify="fail", body=UNMAPPED))
    assert (run.update.state, run.update.tries) == ("failed", 1)
    assert run.update.failure["type"] == "AirflowFailException"
    assert "does not confirm /urls" in run.update.failure["message"]
    assert "The write HAS happened" in run.update.failure["message"]
    assert len(emulator.executions) == 1
    assert run.update.xcom["truto"]["verification"]["not_confirmed"] == ["/urls"]


def test_verify_fail_leaves_a_confirmed_write_alone(airflow):
    run = airflow.run(
        VERIFY.format(verify="fail", body={"name": "x", "phone_numbers": [{"number": "+1 206 555 0199"}]})
    )
    assert run.update.state == "success"


@pytest.mark.parametrize("verify", ["warn", "fail"])
def test_an_answer_about_another_record_is_told_as_what_it_may_be(verify, airflow, emulator):
    emulator.fault(status=200, body={"id": "another", "name": "x"}, times=None)
    run = airflow.run(VERIFY.format(verify=verify, body={"name": "x"}))
    told = run.log if verify == "warn" else run.update.failure["message"]
    assert run.update.state == {"warn": "success", "fail": "failed"}[verify]
    assert "the answer is about record 'another', account_id was '70010001'" in told
    assert "A CRM that merged the two does this rightly" in told
    assert run.update.xcom["truto"]["verification"]["not_confirmed"] == ["/id"]


def test_verify_warn_warns(airflow):
    run = airflow.run(VERIFY.format(verify="warn", body=UNMAPPED))
    assert run.update.state == "success"
    assert "does not confirm /urls" in run.log


def test_verify_none_judges_nothing_and_still_tells(airflow):
    run = airflow.run(VERIFY.format(verify=None, body=UNMAPPED))
    assert run.update.state == "success"
    assert "does not confirm" not in run.log
    assert run.update.xcom["truto"]["verification"]["not_confirmed"] == ["/urls"]


POLICY = """
        from airflow.sdk import RetryPolicy, RetryDecision
        from airflow.sdk.definitions.retry_policy import RetryAction

        class Mine(RetryPolicy):
            def evaluate(self, exception, try_number, max_tries, context=None):
                reason = f"{{type(exception).__name__}} {{getattr(exception, 'status', None)}}"
                return RetryDecision(action=RetryAction.{action}, retry_delay=timedelta(0), reason=reason)

            def serialize(self):
                return {{}}

        update(account_id={account_id!r}, body={body!r}, retries=2, retry_policy=Mine())
"""


@pytest.mark.skipif(before("3.3"), reason="retry policies came with Airflow 3.3")
@pytest.mark.parametrize(
    ("action", "account_id", "body", "fault", "tries", "reason"),
    [
        ("RETRY", "no-such", {"name": "x"}, None, 3, "TrutoNotFoundError 404"),
        ("FAIL", "23423523", {"name": "x"}, 502, 1, "TrutoServerError 502"),
        ("RETRY", "23423523", {"nme": "x"}, None, 3, "TrutoSchemaError None"),
        ("FAIL", "23423523", {"nme": "x"}, None, 1, "TrutoSchemaError None"),
    ],
)
def test_a_retry_policy_decides_on_the_error_itself(
    airflow, emulator, action, account_id, body, fault, tries, reason
):
    if fault:
        emulator.fault(status=fault, times=None)
    run = airflow.run(POLICY.format(action=action, account_id=account_id, body=body))
    assert {failure["type"] for failure in run.update.failures} == {reason.split()[0]}
    assert (run.update.state, run.update.tries) == ("failed", tries)
    assert reason in run.log


@pytest.mark.skipif(before("3.3"), reason="retry policies came with Airflow 3.3")
@pytest.mark.parametrize(
    ("action", "body", "fault", "tries", "error"),
    [
        ("RETRY", {"nme": "x"}, None, 3, "TrutoBulkError"),
        ("FAIL", {"name": "x"}, 502, 1, "TrutoBulkError"),
        ("RETRY", "no source", None, 3, "TrutoSchemaError"),
    ],
)
def test_a_retry_policy_decides_on_what_a_bulk_fails_of(
    airflow, emulator, tmp_path, action, body, fault, tries, error
):
    if fault:
        emulator.fault(status=fault, times=None)
    policy, _ = POLICY.rsplit("update(", 1)
    rows = [{"id": "23423523", "body": body}] if isinstance(body, dict) else f"{tmp_path}/nowhere.jsonl"
    run = airflow.run(
        policy.format(action=action)
        + f"""
        from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

        TrutoBulkUpdateAccountsOperator(
            task_id="update",
            source={rows!r},
            integrated_account_id=ACME,
            output_path="{tmp_path}/ledgers",
            max_failures=0,
            retries=2,
            retry_delay=timedelta(0),
            retry_policy=Mine(),
        )
        """
    )
    assert {failure["type"] for failure in run.update.failures} == {error}
    assert (run.update.state, run.update.tries) == ("failed", tries)
    assert f"{error} None" in run.log


@pytest.mark.parametrize("conn_id", ["no_such", "{{ params.conn }}"])
def test_a_connection_that_does_not_exist_is_named(airflow, emulator, conn_id):
    run = airflow.run(f"update(body={{'name': 'x'}}, truto_conn_id={conn_id!r})", params={"conn": "no_such"})
    assert run.update.state == "failed"
    assert "no_such" in run.update.failure["message"]
    assert emulator.requests == []


def test_an_unusable_connection_lists_all_of_its_problems(permanent):
    message = permanent[0][f"t{list(PERMANENT).index('an unusable connection')}"].failure["message"]
    for pointer in ("/password", "/host", "/extra/max_attempts", "/extra/timeout"):
        assert f"  {pointer}: " in message


def test_nothing_was_written_by_the_tasks_that_failed_for_good(permanent):
    _, executions = permanent
    written = {execution["record_id"] for execution in executions}
    assert written <= {"no-such", "23423524", "9001"}  # what the CRM itself refused


#: A task that makes a batch of calls, some of which fail while others stay done.
BATCH = """
        from airflow_provider_truto.airflow_errors import translate_errors
        {imports}

        class Batch(TrutoUnifiedOperator):
            def execute(self, context):
                with translate_errors(self, skip_on=self.skip_on):
                    return TrutoHook().batch(
                        [
                            {{"resource": "crm/accounts", "method": "update", "id": RECORD, "body": {{"name": "x"}}}},
                            {{"resource": "crm/contacts", "method": "get", "id": "no-such"}},
                        ],
                        integrated_account_id=ACME,
                    )

        given = {{"model": "crm", "resource": "accounts", "method": "list", "retry_delay": timedelta(0)}}
        {task}
"""


@pytest.mark.parametrize(
    ("skip_on", "state"), [([], "failed"), (["partial_failure"], "skipped"), (["not_found"], "failed")]
)
def test_a_batch_that_fails_in_part_is_not_made_again(airflow, emulator, skip_on, state):
    task = f"Batch(task_id='t', retries=2, skip_on={skip_on!r}, **given)"
    run = airflow.run(BATCH.format(imports="", task=task))
    assert (run["t"].state, run["t"].tries) == (state, 1)
    if state == "failed":
        assert (run["t"].failure["type"], run["t"].failure["cause"]) == (
            "AirflowFailException",
            "TrutoPartialFailureError",
        )
        assert "What succeeded (crm/accounts: 1, crm/contacts: 0)" in run["t"].failure["message"]
    assert len([made for made in emulator.executions if made["method"] == "PATCH"]) == 1


@pytest.mark.skipif(before("3.3"), reason="retry policies came with Airflow 3.3")
def test_a_retry_policy_decides_on_a_partial_failure_itself(airflow, emulator):
    imports = """
        from airflow.sdk import ExceptionRetryPolicy, RetryRule
        from airflow.sdk.definitions.retry_policy import RetryAction
        from airflow_provider_truto.client.errors import TrutoPartialFailureError

        rule = RetryRule(exception=TrutoPartialFailureError, action=RetryAction.RETRY, retry_delay=timedelta(0))
        policy = ExceptionRetryPolicy([rule])
"""
    task = "Batch(task_id='t', retries=1, retry_policy=policy, **given)"
    run = airflow.run(BATCH.format(imports=imports.strip(), task=task))
    assert (run["t"].state, run["t"].tries) == ("failed", 2)
    assert {failure["type"] for failure in run["t"].failures} == {"TrutoPartialFailureError"}


#: What goes wrong, and whether it is told at once or tried again, for calls of every kind.
OF_ANY_METHOD = {
    "list": "unified('{0}', 'list', resource='{1}', retries=1)",
    "get": "unified('{0}', 'get', resource='{1}', record_id='7', retries=1)",
    "create": "unified('{0}', 'create', resource='{1}', body={{'a': 1}}, retries=1)",
    "delete": "unified('{0}', 'delete', resource='{1}', record_id='7', retries=1)",
    "custom": "unified('{0}', 'close', resource='{1}', body={{'a': 1}}, retries=1)",
    "proxy": "proxy('{0}', 'list', resource='{1}', retries=1)",
}
OUTCOMES = {
    "permission": ({"status": 403}, 1, "AirflowFailException"),
    "conflict": ({"status": 409}, 1, "AirflowFailException"),
    "rate-limit": ({"status": 429, "headers": {"retry-after": "1"}}, 2, "TrutoRateLimitError"),
    "server": ({"status": 500}, 2, "TrutoServerError"),
    "transport": ({"reset": "before"}, 2, "TrutoTransportError"),
}


@pytest.fixture(scope="module")
def of_any_method(one_airflow, truto):
    truto.reset()
    for name, (fault, *_) in OUTCOMES.items():
        truto.fault(path=f"/{name}", times=None, **fault)
    return one_airflow.run(
        "\n".join(
            task.format(f"{method}-{name}", name) for method, task in OF_ANY_METHOD.items() for name in OUTCOMES
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize("method", OF_ANY_METHOD)
def test_every_method_fails_in_the_same_terms(of_any_method, method, name):
    task = of_any_method[f"{method}-{name}"]
    _, tries, error = OUTCOMES[name]
    assert (task.state, task.tries) == ("failed", tries)
    assert [failure["type"] for failure in task.failures] == [error] * tries
