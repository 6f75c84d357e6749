"""Who the customer is: by every method, in every spelling, from every source; never another one by default.

Each case would reach a customer that nobody has named, or that the connection forbids, if a name, a value or a guard
were read leniently.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterable

import pytest

from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.bulk.mapping import FunctionMapping, TemplateMapping
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.client.api import TrutoApi
from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.client.resource import Resource
from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.hooks.truto import TrutoAsyncHook, TrutoHook
from airflow_provider_truto.triggers.integrated_accounts import TrutoIntegratedAccountTrigger
from airflow_provider_truto.triggers.records import TrutoRecordTrigger

RECORD = "23423523"
JOB = "5b0f0000-0000-4000-8000-00000000000b"


@pytest.fixture
def connect(emulator, connection):
    """A function that sets the connection to the emulator: ``connect(**extra)``."""

    def connect(**extra):
        connection(emulator.url, emulator.token, requests_per_second=0, max_attempts=1, **extra)

    connect()
    return connect


def ended(kind, case):
    """The end of what ``case(hook)`` gives, by one kind of hook."""
    if kind == "sync":
        value = case(TrutoHook())
        return list(value) if hasattr(value, "__next__") else value

    async def run():
        async with TrutoAsyncHook() as hook:
            value = case(hook)
            if isinstance(value, AsyncIterable):
                return [item async for item in value]
            return await value

    return asyncio.run(run())


def refused(kind, case):
    with pytest.raises((ValueError, TypeError, TrutoSchemaError)) as caught:
        ended(kind, case)
    return str(caught.value)


# ------------------------------------------------------------------------------------ every method of the API, twice


def resource(method, *given):
    """A method of a resource, by both APIs."""
    return {
        f"unified.{method}": lambda api, account: getattr(
            api.unified("crm", "accounts", integrated_account_id=account), method
        )(*given),
        f"proxy.{method}": lambda api, account: getattr(
            api.proxy("companies", integrated_account_id=account), method
        )(*given),
    }


#: Methods that take the customer as an argument: what is called for an account, or ``None`` for the default one.
BY_ARGUMENT = {
    **resource("list"),
    **resource("get", RECORD),
    **resource("create", {"name": "x"}),
    **resource("update", RECORD, {"name": "x"}),
    **resource("delete", RECORD),
    **resource("call", "merge", {}),
    "custom": lambda api, account: api.custom("POST", "v3/x", body={}, integrated_account_id=account),
    "batch": lambda api, account: api.batch(
        [{"resource": "crm/accounts", "method": "list"}], integrated_account_id=account
    ),
    "integrated_account": lambda api, account: api.integrated_account(account),
    "refresh_credentials": lambda api, account: api.refresh_credentials(account),
    "capabilities": lambda api, account: api.capabilities(account),
    "tools": lambda api, account: api.tools(account),
    "method_schema": lambda api, account: api.method_schema(
        "crm", "accounts", "update", integrated_account_id=account
    ),
    "start_sync_job_run": lambda api, account: api.start_sync_job_run(
        JOB, error_handling="ignore", integrated_account_id=account
    ),
    "update_account": lambda api, account: api.update_account(RECORD, {"name": "x"}, integrated_account_id=account),
    "stream_account": lambda api, account: api.stream_account(RECORD, {"name": "x"}, integrated_account_id=account),
    "preview_account": lambda api, account: api.preview_account(RECORD, {"name": "x"}, integrated_account_id=account),
}
#: Methods of which only the answer tells whose it is; their tests are below.
BY_ANSWER = {
    "integrated_accounts",
    "integrated_account_id_of",
    "sync_job_runs",
    "sync_job_run",
    "stop_sync_job_run",
    "logs",
}
#: Methods that are about no customer: a model of Truto's, Truto itself, the hook's own connection.
OF_NO_CUSTOMER = {"model_docs", "ping", "test_connection", "close"}
#: What runs other methods to their end, and what makes a client that does.
MACHINERY = {"do", "find_keys", "listing", "new_async_client", "connection"}
#: Given out by a connection that allows every customer only.
UNGUARDED = {"get_conn"}
#: Values that name no customer. None of them may be sent, and for none of them may the default one step in.
NOBODY = ["", " ", f"{ACME} ", "acme", "..", RECORD, 5, 0, False, [ACME], [], {}, f"{ACME}/capabilities"]


def public(*classes):
    return {name for cls in classes for name in vars(cls) if not name.startswith("_")}


def test_every_method_that_there_is_stands_in_one_of_the_tables():
    known = {name.partition(".")[0] for name in BY_ARGUMENT} | BY_ANSWER | OF_NO_CUSTOMER | MACHINERY | UNGUARDED
    own = (*TrutoHook.__mro__, *TrutoAsyncHook.__mro__)
    ours = [cls for cls in own if cls.__module__.startswith("airflow_provider_truto.")]
    of_airflow = {"conn_name_attr", "default_conn_name", "conn_type", "hook_name", "truto_conn_id"}
    of_forms = {name for cls in ours for name in public(cls) if name.startswith("get_") and name != "get_conn"}
    assert public(*ours) - of_airflow - of_forms == known
    assert issubclass(TrutoHook, TrutoApi)
    for api in ("unified", "proxy"):
        assert {f"{api}.{name}" for name in public(Resource)} == {
            name for name in BY_ARGUMENT if name.startswith(f"{api}.")
        }


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", BY_ARGUMENT)
def test_a_value_that_names_nobody_is_never_sent_and_is_nobody_s_default(name, kind, connect, emulator):
    connect(integrated_account_id=ACME)
    for value in NOBODY:
        assert "/integrated_account_id" in refused(kind, lambda hook, value=value: BY_ARGUMENT[name](hook, value)), (
            value
        )
    assert emulator.requests == []


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", BY_ARGUMENT)
def test_a_customer_who_is_not_allowed_is_never_called_for(name, kind, connect, emulator):
    connect(integrated_account_id=ACME, allowed_integrated_accounts=GLOBEX)
    for account in (ACME, ACME.upper(), None):
        text = refused(kind, lambda hook, account=account: BY_ARGUMENT[name](hook, account))
        assert "is not among the connection's allowed_integrated_accounts" in text
    assert emulator.requests == []


@pytest.fixture
def runs(connect, emulator):
    """A run of a sync job for each of two customers, of which one is then the only allowed one."""
    ids = {}
    for account in (ACME, GLOBEX):
        run = TrutoHook().start_sync_job_run(JOB, error_handling="ignore", integrated_account_id=account)
        ids[account] = run["id"]
        for _ in range(3):
            TrutoHook().sync_job_run(run["id"])  # to its end, of which the log tells
    connect(allowed_integrated_accounts=GLOBEX)
    return ids


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_lists_show_nothing_of_customers_who_are_not_allowed(kind, runs, connect, emulator):
    listed = {
        "accounts": (lambda hook: hook.integrated_accounts(), "id"),
        "runs": (lambda hook: hook.sync_job_runs(), "integrated_account_id"),
        "logs": (lambda hook: hook.logs("rapid_bridge"), "integrated_account_id"),
        "logs of another's run": (
            lambda hook: hook.logs("rapid_bridge", log_type_filter={"sync_job_run_id": runs[ACME]}),
            "integrated_account_id",
        ),
    }
    seen = {name: {item[key] for item in ended(kind, case)} for name, (case, key) in listed.items()}
    assert seen == {"accounts": {GLOBEX}, "runs": {GLOBEX}, "logs": {GLOBEX}, "logs of another's run": set()}
    connect()
    seen = {name: {item[key] for item in ended(kind, case)} for name, (case, key) in listed.items()}
    assert {ACME, GLOBEX} <= seen["accounts"]
    assert (seen["runs"], seen["logs"], seen["logs of another's run"]) == ({ACME, GLOBEX}, {ACME, GLOBEX}, {ACME})


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_run_of_a_customer_who_is_not_allowed_is_neither_shown_nor_stopped(kind, runs, connect, emulator):
    before = len(emulator.requests)
    for case in (lambda hook: hook.sync_job_run(runs[ACME]), lambda hook: hook.stop_sync_job_run(runs[ACME])):
        text = refused(kind, case)
        assert "is not among the connection's allowed_integrated_accounts" in text
        assert ACME not in text
    assert {request["method"] for request in emulator.requests[before:]} == {"GET"}
    assert ended(kind, lambda hook: hook.sync_job_run(runs[GLOBEX]))["id"] == runs[GLOBEX]
    assert ended(kind, lambda hook: hook.stop_sync_job_run(runs[GLOBEX])) == {"id": runs[GLOBEX]}
    connect()
    before = len(emulator.requests)
    assert ended(kind, lambda hook: hook.stop_sync_job_run(runs[ACME])) == {"id": runs[ACME]}
    assert len(emulator.requests) == before + 1  # where every customer is allowed, no run is read first


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_tenant_of_whom_no_account_is_allowed_is_not_found(kind, connect, emulator):
    connect(allowed_integrated_accounts=GLOBEX)
    text = refused(kind, lambda hook: hook.integrated_account_id_of("acme"))
    assert "is not among the connection's allowed_integrated_accounts" in text
    assert ended(kind, lambda hook: hook.integrated_account_id_of("globex")) == GLOBEX


@pytest.mark.parametrize("tenant", ["", " ", None, 5, []])
def test_a_tenant_that_is_none_is_not_looked_up(tenant, connect, emulator):
    assert "/tenant_id" in refused("sync", lambda hook: hook.integrated_account_id_of(tenant))
    assert emulator.requests == []


def test_a_session_is_given_only_where_every_customer_is_allowed(connect, emulator):
    connect(allowed_integrated_accounts=GLOBEX)
    with pytest.raises(TrutoSchemaError, match="a session could call for any customer"):
        TrutoHook().get_conn()
    connect()
    assert TrutoHook().get_conn().get("/integrated-account").status_code == 200


# ------------------------------------------------------------------------------------- named twice, or by half a name

#: What names a customer twice, or not at all: the connection has a default, which must not step in.
CONTRADICTIONS = {
    "twice": ({"integrated_account_id": GLOBEX, "tenant_id": "globex"}, "give either integrated_account_id or"),
    "by an integration": ({"integration": "salesforce"}, "integration alone names no customer"),
    "by an account's integration": (
        {"integrated_account_id": GLOBEX, "integration": "salesforce"},
        "integration alone names no customer",
    ),
}


def parse(path, **given):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"airflow_provider_truto.{module}"), name)(task_id="x", **given)


#: Operators whose customer may be named by tenant, and what else they need.
OPERATORS = {
    "operators.accounts.TrutoUpdateAccountOperator": {"account_id": RECORD, "body": {"name": "x"}},
    "operators.unified.TrutoUnifiedOperator": {"model": "crm", "resource": "accounts", "method": "list"},
    "operators.proxy.TrutoProxyOperator": {"resource": "companies", "method": "list"},
    "operators.sync_jobs.TrutoSyncJobRunOperator": {"sync_job_id": JOB},
    "sensors.integrated_accounts.TrutoIntegratedAccountSensor": {},
    "sensors.records.TrutoRecordSensor": {"model": "crm", "resource": "accounts", "record_id": RECORD},
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
@pytest.mark.parametrize("path", OPERATORS)
def test_a_customer_who_is_named_in_two_ways_or_by_half_a_name_is_told_while_the_dag_file_is_parsed(path, case):
    given, message = CONTRADICTIONS[case]
    with pytest.raises(ValueError, match=f"^tenant_id: .*{message}"):
        parse(path, **OPERATORS[path], **given)


WAITING = {"truto_conn_id": "truto_default", "poll_interval": 1, "deadline": 0, "max_failed_polls": 1}
#: What can be told only when it is called.
CALLED = {
    "trigger of an account": lambda hook, given: TrutoIntegratedAccountTrigger(**WAITING, **given).poll(hook),
    "trigger of a record": lambda hook, given: TrutoRecordTrigger(
        **WAITING, model="crm", resource="accounts", record_id=RECORD, **given
    ).poll(hook),
    "update_account": lambda hook, given: hook.update_account(RECORD, {"name": "x"}, **given),
    "stream_account": lambda hook, given: hook.stream_account(RECORD, {"name": "x"}, **given),
    "preview_account": lambda hook, given: hook.preview_account(RECORD, {"name": "x"}, **given),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
@pytest.mark.parametrize("name", CALLED)
def test_a_customer_who_is_named_in_two_ways_or_by_half_a_name_is_not_the_default_one(name, case, connect, emulator):
    connect(integrated_account_id=ACME)
    given, message = CONTRADICTIONS[case]
    assert message in refused("async", lambda hook: CALLED[name](hook, given))
    assert emulator.requests == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_preview_by_tenant_is_applied_with_the_same_arguments(kind, connect, emulator):
    connect(integrated_account_id=ACME)
    update = ("70010001", {"number_of_employees": 7})
    customer = {"tenant_id": "globex", "integration": "salesforce"}
    preview = ended(kind, lambda hook: hook.preview_account(*update, **customer))
    assert preview["changes"] == [{"pointer": "/number_of_employees", "before": 890, "after": 7}]
    ended(kind, lambda hook: hook.update_account(*update, **customer, expect=preview["hash"]))
    [write] = [made for made in emulator.executions if made["method"] == "PATCH"]
    assert (write["integrated_account_id"], write["body"]) == (GLOBEX, update[1])


# ----------------------------------------------------------------------------------------- the customer's other names

OTHERWISE = [
    "integrated_account_id",
    "INTEGRATED_ACCOUNT_ID",
    "integratedAccountId",
    "integrated-account-id",
    "Integrated Account ID",
    "integrated_account",
    "integrated_acount_id",
    "intergrated_account_id",
    "integrated_account_ids",
    "\ufeffintegrated_account_id",
    "integrated\u200b_account_id",
]
#: name of the place: what puts a name there
SPELLED = {
    "a query": lambda hook, name: hook.unified("crm", "accounts").get(RECORD, query={name: GLOBEX}),
    "a query of a list": lambda hook, name: hook.unified("crm", "accounts").list(**{name: GLOBEX}),
    "a query of a custom call": lambda hook, name: hook.custom("GET", "x", query={name: GLOBEX}),
    "a body": lambda hook, name: hook.unified("crm", "contacts").create({name: GLOBEX, "last_name": "x"}),
    "a body of the proxy's": lambda hook, name: hook.proxy("companies").update(RECORD, {name: GLOBEX}),
    "a batch's resource": lambda hook, name: hook.batch(
        [{"resource": "crm/accounts", "method": "list", name: GLOBEX}]
    ),
    "a batch's query": lambda hook, name: hook.batch(
        [{"resource": "crm/accounts", "method": "list", "query": {name: GLOBEX}}]
    ),
    "deep in a batch's query": lambda hook, name: hook.batch(
        [{"resource": "crm/accounts", "method": "list", "query": {"filters": [{"x": {name: GLOBEX}}]}}]
    ),
    "deep in a batch's resource": lambda hook, name: hook.batch(
        [{"resource": "crm/accounts", "method": "list", "recurse": {"config": [{"query": {name: GLOBEX}}]}}]
    ),
    "a batch's body": lambda hook, name: hook.batch(
        [{"resource": "crm/contacts", "method": "create", "body": {name: GLOBEX}}]
    ),
    "a batch's args": lambda hook, name: hook.batch(
        [{"resource": "crm/contacts", "method": "list"}], args={"of": {name: GLOBEX}}
    ),
}
#: The same of the caller's own id of the customer, which a CRM may have a field or a filter for, and Truto has not.
SPELLED_BY_TENANT = {
    "a query": lambda hook, name: hook.unified("crm", "accounts").get(RECORD, query={name: "globex"}),
    "a query of a list": lambda hook, name: hook.unified("crm", "accounts").list(**{name: "globex"}),
    "a batch's resource": lambda hook, name: hook.batch(
        [{"resource": "companies", "method": "list", name: "globex"}]
    ),
    "a batch's query": lambda hook, name: hook.batch(
        [{"resource": "crm/accounts", "method": "list", "query": {name: "globex"}}]
    ),
}


@pytest.mark.parametrize("place", SPELLED)
def test_a_customer_is_named_by_the_argument_and_nowhere_else(place, connect, emulator):
    connect(integrated_account_id=ACME)
    for name in OTHERWISE:
        assert "account" in refused("sync", lambda hook, name=name: SPELLED[place](hook, name)), name
    assert emulator.requests == []


@pytest.mark.parametrize("place", SPELLED_BY_TENANT)
def test_a_tenant_in_a_call_of_truto_s_own_is_not_passed_over(place, connect, emulator):
    connect(integrated_account_id=ACME)
    for name in ("tenant_id", "TENANT_ID", "tenantId", "tennant_id"):
        assert repr(name) in refused("sync", lambda hook, name=name: SPELLED_BY_TENANT[place](hook, name)), name
    assert emulator.requests == []


def test_a_filter_that_the_crm_has_by_such_a_name_goes_there(connect, emulator):
    connect(integrated_account_id=ACME)
    TrutoHook().batch([{"resource": "companies", "method": "list", "query": {"tenant_id": "t"}, "persist": True}])
    list(TrutoHook().proxy("companies").list(tenant_id="t"))
    TrutoHook().custom("GET", "v3/x", query={"tenant_id": "t"})
    assert [dict(call["query"]).get("tenant_id") for call in emulator.requests] == [None, "t", "t"]


@pytest.mark.parametrize("name", ["tenant_id", "tenantId", "integratedAccountId"])
def test_a_query_of_a_task_that_names_a_customer_reads_none_of_the_default_s(name, connect, emulator):
    connect(integrated_account_id=ACME)
    of_unified = {"model": "crm", "resource": "accounts", "query": {name: "globex"}}
    tasks = [
        parse("operators.unified.TrutoUnifiedOperator", method="list", **of_unified),
        parse("operators.unified.TrutoUnifiedOperator", method="get", record_id=RECORD, **of_unified),
        parse("sensors.records.TrutoRecordSensor", record_id=RECORD, **of_unified),
    ]
    for task in tasks:
        with pytest.raises(AirflowFailException, match=f"/query/{name}: chooses no customer in a query"):
            task.execute({})
    assert emulator.requests == []


@pytest.mark.parametrize("nothing", ["", " ", "\t", None])
def test_an_id_with_nothing_in_it_is_not_the_whole_collection_in_a_batch(nothing, connect, emulator):
    connect(integrated_account_id=ACME)
    for method in ("get", "update", "delete"):
        item = {"resource": "crm/accounts", "method": method, "id": nothing}
        text = refused("sync", lambda hook, item=item: hook.batch([item]))
        assert f"the id of a batch's resource is {nothing!r}" in text
    assert emulator.requests == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_question_about_an_account_is_not_one_about_an_integration(kind, connect, emulator):
    connect(allowed_integrated_accounts=GLOBEX)
    both = {"integrated_account_id": ACME, "integration": "salesforce"}
    assert "give either" in refused(kind, lambda hook: hook.capabilities(**both))
    assert "give either" in refused(kind, lambda hook: hook.method_schema("crm", "accounts", "update", **both))
    assert emulator.requests == []


@pytest.mark.parametrize("field", ["resource", "method", "id"])
@pytest.mark.parametrize("text", ["?integrated_account_id=", "&integrated_account_id=", "#integrated_account_id="])
def test_a_batch_s_paths_hold_no_query(field, text, connect, emulator):
    connect(integrated_account_id=ACME)
    item = {"resource": "crm/accounts", "method": "get", "id": RECORD}
    item[field] += text + GLOBEX
    assert "cannot hold a query" in refused("sync", lambda hook: hook.batch([item]))
    assert "is an object" in refused("sync", lambda hook: hook.batch([{**item, "query": text[1:] + GLOBEX}]))
    assert emulator.requests == []


@pytest.mark.parametrize("name", ["tenantId", "TENANT_ID", "tennant_id", "integration", "Status", "integrations"])
def test_a_filter_that_truto_would_ignore_does_not_list_everybody(name, connect, emulator):
    given = {name: " "} if name == "integration" else {name: "acme"}
    refused("sync", lambda hook: hook.integrated_accounts(**given))
    assert emulator.requests == []


# --------------------------------------------------------------------------------------------------- tables and rows

#: A column, and what it is taken for.
COLUMNS = {
    **dict.fromkeys(OTHERWISE[1:], "integrated_account_id"),
    "TENANT_ID": "tenant_id",
    "tenant": "tenant_id",
    "tenant.id": "tenant_id",
    "integration.name": "integration",
    "integrated_account.id": "integrated_account_id",
    "body.integrated_account_id": "integrated_account_id",
    "BODY.tenant_id": "tenant_id",
    "account": "integrated_account_id, or id",
    "ID": "id",
    "Id": "id",
    "_id": "id",
    "body.id": "id",
    "record_id": "id",
    "accountId": "id",
    "account_id": "id",
    "BODY": "body",
}
FIELDS = [
    "name",
    "account.id",
    "account_name",
    "account_type",
    "accounts_count",
    "parent_id",
    "owner.id",
    "owner.account_id",
    "tags[0].id",
    "addresses[0].account_id",
    "custom_fields.tenant_id",
    "custom_fields.integrated_account_id",
    "remote_data.TenantId",
    "discount_id",
    "external_record",
    "identifier",
    "integration_date",
    "amount",
]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_may_name_the_customer_or_the_record_is_refused(column):
    is_id = COLUMNS[column] == "id"
    with pytest.raises(ValueError, match="the header has") as caught:
        RecordParser().open_table([column, "name"] if is_id else ["id", column, "name"])
    with pytest.raises(ValueError, match="the header has"):
        RecordParser(needs_id=False).open_table([column, "name"])
    assert f"(did you mean {COLUMNS[column]}?)" in str(caught.value)
    assert 'AS "integrated_account_id"' in str(caught.value)  # Snowflake writes a name without quotes in capitals
    assert "extra_fields" in str(caught.value)


@pytest.mark.parametrize("column", [name for name in COLUMNS if not name.startswith(("BODY", "body"))])
def test_a_column_that_extra_fields_names_is_a_field_of_the_crm(column):
    field = column.partition(".")[0]
    for extra in (field, f"/{field}"):
        table = RecordParser(extra_fields=[extra], needs_id=False).open_table(["id", column])
        assert table.parse(["1", "x"], 0).problems == ()


def test_fields_of_a_crm_are_not_customers():
    table = RecordParser().open_table(["id", "integrated_account_id", *FIELDS])
    record = table.parse(["1", GLOBEX, *("x" for _ in FIELDS)], 0)
    assert (record.problems, record.id, record.integrated_account_id) == ((), "1", GLOBEX)


@pytest.mark.parametrize("key", ["TENANT_ID", "integratedAccountId", "account_id", "ID"])
def test_a_key_of_a_row_that_a_record_has_not_is_told_with_what_was_meant(key):
    record = RecordParser().parse({"id": "1", "body": {"name": "x"}, key: "y"}, 0)
    (problem,) = record.problems
    assert problem.pointer == f"/{key}"
    assert f"did you mean {COLUMNS[key]}?" in problem.message


def test_a_key_that_a_line_holds_twice_is_a_problem_of_that_line(tmp_path):
    lines = [
        '{"id":"1","id":"2","body":{"name":"a"}}',
        '{"id":"3","body":{"name":"a","name":"b"}}',
        f'{{"id":"4","body":{{"name":"a"}},"integrated_account_id":"{ACME}","integrated_account_id":"{GLOBEX}"}}',
        '{"id":"5","body":{"name":"a"}}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    records = list(FileSource(tmp_path / "rows.jsonl").records())
    assert [(record.id, bool(record.problems)) for record in records] == [
        (None, True),
        (None, True),
        (None, True),
        ("5", False),
    ]
    assert {record.integrated_account_id for record in records[:3]} == {""}  # nobody's, not the default customer's


def test_a_key_that_a_body_column_holds_twice_is_a_problem_of_that_row():
    record = RecordParser().open_table(["id", "body"]).parse(["1", '{"name": "a", "name": "b"}'], 0)
    assert "more than once" in record.problems[0].message


MAPPED = {"id": "{{ row.id }}", "body": {"name": "{{ row.name }}"}}


NAMES_OF_CUSTOMERS = ["integrated_account_id", "INTEGRATED_ACCOUNT_ID", "integrated_account", "tenant_id", "tenantId"]


@pytest.mark.parametrize("column", NAMES_OF_CUSTOMERS)
def test_a_mapping_that_passes_over_the_customer_of_a_row_is_refused(column):
    from jinja2 import Environment

    row = {"id": "1", "name": "x", column: GLOBEX}
    mapping = TemplateMapping(MAPPED, env=Environment(autoescape=False), context={})
    with pytest.raises(ValueError, match="names a customer, and the mapping does not use it"):
        RecordParser(mapping=mapping).open_table(list(row))
    record = RecordParser(mapping=mapping).parse(row, 0)
    assert (record.problems[0].pointer, record.integrated_account_id) == (f"/{column}", "")
    for uses in ({"integrated_account_id": f"{{{{ row.{column} }}}}"}, {"integrated_account_id": GLOBEX}):
        mapping = TemplateMapping({**MAPPED, **uses}, env=Environment(autoescape=False), context={})
        RecordParser(mapping=mapping).open_table(list(row))
        assert RecordParser(mapping=mapping).parse(row, 0).integrated_account_id == GLOBEX


@pytest.mark.parametrize("column", NAMES_OF_CUSTOMERS)
def test_a_function_that_passes_over_the_customer_of_a_row_is_refused(column):
    row = {"id": "1", "name": "x", column: GLOBEX}
    made = {"id": "1", "body": {"name": "x"}}
    record = FunctionMapping(lambda _row: made).parse(row, 0)
    assert (record.problems[0].pointer, record.integrated_account_id) == (f"/{column}", "")
    for uses in ({"integrated_account_id": GLOBEX}, {"tenant_id": "globex"}):
        assert FunctionMapping(lambda _row, uses=uses: {**made, **uses}).parse(row, 0).is_sent


def test_what_a_function_makes_is_a_record_or_a_problem():
    made = {"id": "1", "body": {"name": "x"}, "integratedAccountId": GLOBEX}
    assert FunctionMapping(lambda _row: made).parse({}, 0).problems[0].pointer == "/integratedAccountId"


# -------------------------------------------------------------------------------------- operators, to the emulator


def single(**given):
    from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

    return TrutoUnifiedOperator(task_id="x", model="crm", resource="contacts", method="create", **given)


def bulk(tmp_path, source, **given):
    from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator

    given = {"model": "crm", "resource": "accounts", "method": "delete", **given}
    ledger = f"file://{tmp_path / 'ledger'}"
    return TrutoBulkUnifiedOperator(task_id="x", source=source, output_path=ledger, max_failures=0, **given)


@pytest.mark.parametrize(
    "column", ["INTEGRATED_ACCOUNT_ID", "integratedAccountId", "integrated_account", "TENANT_ID"]
)
def test_a_file_of_another_customer_s_records_deletes_none_of_the_default_s(column, tmp_path, connect, emulator):
    connect(integrated_account_id=ACME)
    (tmp_path / "rows.csv").write_text(f"id,{column}\n{RECORD},{GLOBEX}\n")
    with pytest.raises(AirflowFailException, match=f"did you mean {COLUMNS[column]}"):
        bulk(tmp_path, f"file://{tmp_path / 'rows.csv'}").execute({})
    assert emulator.requests == []


def test_a_query_whose_columns_are_in_capitals_deletes_none_of_the_default_s(
    tmp_path, connect, emulator, monkeypatch
):
    pytest.importorskip("airflow.providers.sqlite.hooks.sqlite")
    connect(integrated_account_id=ACME)
    conn = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")})
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", conn)
    query = f"select '{RECORD}' as \"id\", '{GLOBEX}' as INTEGRATED_ACCOUNT_ID"
    with pytest.raises(AirflowFailException, match="did you mean integrated_account_id"):
        bulk(tmp_path, None, sql=query, sql_conn_id="warehouse").execute({})
    assert emulator.requests == []
    named = query.replace("INTEGRATED_ACCOUNT_ID", '"integrated_account_id"').replace(RECORD, "70010001")
    bulk(tmp_path, None, sql=named, sql_conn_id="warehouse").execute({})
    assert [(one["record_id"], one["integrated_account_id"]) for one in emulator.executions] == [("70010001", GLOBEX)]


@pytest.mark.parametrize("name", ["integrated_account_id", "integratedAccountId", "tenant_id", "TENANT_ID"])
def test_a_body_that_names_a_customer_is_not_sent_to_another(name, tmp_path, connect, emulator):
    connect(integrated_account_id=ACME)
    body = {"last_name": "x", name: GLOBEX}
    with pytest.raises(AirflowFailException, match=f"/body/{name}: chooses no customer"):
        single(body=body).execute({})
    with pytest.raises(AirflowFailException, match=f"/body/{name}: chooses no customer"):
        bulk(tmp_path, [{"id": RECORD, "body": body}], method="update", resource="contacts").execute({})
    assert emulator.requests == []


@pytest.mark.parametrize(
    "given",
    [{"extra_fields": ["tenant_id"]}, {"schema": {"properties": {"tenant_id": {"type": "string"}}}}],
    ids=["extra_fields", "schema"],
)
def test_a_field_that_the_crm_has_by_such_a_name_is_sent(given, connect, emulator):
    connect(integrated_account_id=ACME)
    single(body={"last_name": "x", "tenant_id": "t", "account": {"id": "7"}}, verify=None, **given).execute({})
    assert json.loads(json.dumps(emulator.executions[-1]["body"]))["tenant_id"] == "t"


def test_a_body_that_names_another_record_is_not_sent(tmp_path, connect, emulator):
    from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

    connect(integrated_account_id=ACME)
    update = {"model": "crm", "resource": "contacts", "method": "update"}
    with pytest.raises(AirflowFailException, match=r"/body/id: is another record's id than record_id"):
        TrutoUnifiedOperator(task_id="x", record_id="1", body={"id": "2", "last_name": "x"}, **update).execute({})
    with pytest.raises(AirflowFailException, match=r"/body/id: is another record's id"):
        bulk(tmp_path, [{"id": "1", "body": {"id": 2, "last_name": "x"}}], **update).execute({})
    for name in ("ID", "Id", "record_id", "recordId"):
        with pytest.raises(AirflowFailException, match=f"/body/{name}: is another record's id"):
            bulk(tmp_path / name, [{"id": "1", "body": {name: "2", "last_name": "x"}}], **update).execute({})
    assert emulator.requests == []
