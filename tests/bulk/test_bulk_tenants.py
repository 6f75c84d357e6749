"""Rows that name their customer by the caller's own id: looked up once, and each problem is one row's."""

from __future__ import annotations

import json

import pytest
from bulk_operator import connect, run
from bulk_world import account_number, read_ledger

from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.shards import Shard
from airflow_provider_truto.client.errors import TrutoServerError


def row(tenant, record="r1", text="new", **more):
    return {"id": record, "body": {"description": text}, "tenant_id": tenant, **more}


def listings(truto):
    return [request for request in truto.emulator.requests if request["path"] == ["integrated-account"]]


def test_rows_go_to_the_accounts_of_their_tenants_after_one_listing(one, task, output):
    rows = [row(f"tenant-{number % 4}", f"r{number // 4}") for number in range(40)]
    assert run(task(rows))["updated"] == 40
    for number in range(40):
        assert one.text_of(account_number(number % 4), f"r{number // 4}") == "new"
    assert len(listings(one)) == 1
    assert {line["integrated_account_id"] for line in read_ledger(output).lines} == set(one.accounts)


def test_an_account_of_no_tenant_is_not_that_of_one_whose_name_is_none(one, task, output):
    one.state.accounts[account_number(1)].record["tenant_id"] = None
    with pytest.raises(AirflowFailException, match="no integrated account has tenant_id 'None'"):
        run(task([row("None")]))
    assert one.emulator.executions == []


def test_without_a_tenant_nothing_is_listed(one, task):
    run(task(one.rows()))
    assert listings(one) == []


@pytest.mark.parametrize(("integration", "written"), [(None, False), ("pipedrive", True)])
def test_a_tenant_of_several_accounts_needs_the_integration(one, task, output, integration, written):
    second = one.state.accounts[account_number(2)]
    second.record.update(tenant_id="tenant-1", integration={"name": "pipedrive"})
    source = [row("tenant-1", integration=integration)]
    if written:
        run(task(source))
    else:
        with pytest.raises(AirflowFailException, match="2 integrated accounts have tenant_id 'tenant-1'"):
            run(task(source))
    assert (one.text_of(account_number(2), "r1") == "new") is written
    assert one.text_of(account_number(1), "r1") != "new"


@pytest.mark.parametrize(
    ("given", "pointer", "reason"),
    [
        ({"tenant_id": "nobody"}, "/tenant_id", "no integrated account has tenant_id 'nobody'"),
        ({"tenant_id": "tenatn-1"}, "/tenant_id", "did you mean 'tenant-1'"),
        ({"tenant_id": "tenant-1", "integration": "pipedrive"}, "/tenant_id", "There is only: "),
        ({"tenant_id": None}, "/tenant_id", "must not go to the default one"),
        ({"tenant_id": " "}, "/tenant_id", "must not go to the default one"),
        ({"tenant_id": 1.5}, "/tenant_id", "expects text"),
        ({"tenant_id": "tenant-1", "integrated_account_id": account_number(1)}, "/tenant_id", "in one way"),
        ({"integration": "hubspot"}, "/integration", "alone names no customer"),
    ],
)
def test_a_tenant_that_cannot_be_told_is_a_problem_of_its_row_alone(one, task, output, given, pointer, reason):
    connect(one, integrated_account_id=account_number(0))
    rows = [{"id": "r1", "body": {"description": "astray"}, **given}, row("tenant-2")]
    with pytest.raises(AirflowFailException, match="1 of 2 records failed"):
        run(task(rows))
    told = read_ledger(output).rows
    assert [told[number]["status"] for number in (0, 1)] == ["failed", "updated"]
    assert f"{pointer}: " in told[0]["message"]
    assert reason in told[0]["message"]
    assert [one.text_of(account, "r1") for account in one.accounts].count("astray") == 0


@pytest.mark.parametrize("tenant", [17, "17"])
def test_a_tenant_s_number_is_text(one, task, tenant):
    one.state.accounts[account_number(1)].record["tenant_id"] = "17"
    assert run(task([row(tenant)]))["updated"] == 1
    assert one.text_of(account_number(1), "r1") == "new"


def test_tables_and_mappings_name_tenants_as_well(one, task, tmp_path):
    (tmp_path / "rows.csv").write_text("id,tenant_id,integration,description\nr1,tenant-1,hubspot,csv\n")
    run(task(f"file://{tmp_path / 'rows.csv'}"))
    assert one.text_of(account_number(1), "r1") == "csv"
    mapping = {"id": "{{ row.nr }}", "tenant_id": "{{ row.customer }}", "body": {"description": "mapped"}}
    rows = [{"nr": "r2", "customer": "tenant-2"}]
    run(task(rows, mapping=mapping), generation=1)
    assert one.text_of(account_number(2), "r2") == "mapped"


def test_what_a_mapping_makes_of_nothing_goes_to_no_default(one, task, output):
    connect(one, integrated_account_id=account_number(0))
    mapping = {"id": "{{ row.id }}", "tenant_id": "{{ row.customer }}", "body": {"description": "astray"}}
    with pytest.raises(AirflowFailException, match="1 of 1 record failed"):
        run(task([{"id": "r1", "customer": None}], mapping=mapping))
    assert one.emulator.executions == []


@pytest.mark.parametrize("name", ["tenant_id", "integration"])
def test_a_column_that_extra_fields_names_stays_in_the_body(name):
    record = RecordParser(extra_fields=[name]).open_table(["id", name]).parse(["1", "x"], 0)
    assert (record.body, record.tenant_id, record.integrated_account_id) == ({name: "x"}, None, None)


def test_an_integration_without_a_tenant_is_refused_with_the_header():
    with pytest.raises(ValueError, match="`integration` without `tenant_id`"):
        RecordParser().open_table(["id", "integration", "name"])


def test_a_failed_row_is_fed_back_by_its_tenant(one, task, output):
    one.emulator.fault(method="PATCH", status=422, times=1)
    with pytest.raises(AirflowFailException):
        run(task([row("tenant-1", integration="hubspot"), row("nobody")]))
    failures = {line["tenant_id"]: line for line in read_ledger(output).failed_lines}
    assert {tenant: line.get("integrated_account_id") for tenant, line in failures.items()} == {
        "tenant-1": None,
        "nobody": None,
    }
    assert run(task([failures["tenant-1"]], output_path=f"file://{output}-again"))["updated"] == 1
    assert one.text_of(account_number(1), "r1") == "new"


def test_an_account_that_the_connection_does_not_allow_is_not_its_tenant_s(one, task, output):
    connect(one, allowed_integrated_accounts=[account_number(2)])
    with pytest.raises(AirflowFailException, match="1 of 2 records failed"):
        run(task([row("tenant-1"), row("tenant-2")]))
    assert "allowed_integrated_accounts" in read_ledger(output).rows[0]["message"]


def test_a_list_of_accounts_that_cannot_be_had_sends_nothing_and_is_retried(one, task):
    one.emulator.fault(method="GET", path="^/integrated-account", status=500, times=1)
    rows = [row("tenant-1")]
    with pytest.raises(TrutoServerError):  # which Airflow retries
        run(task(rows))
    assert one.emulator.executions == []
    assert run(task(rows), try_number=2)["updated"] == 1


def test_the_check_before_the_first_write_finds_tenants_of_nobody(one, task):
    with pytest.raises(
        AirflowFailException, match=r"nothing was sent[\s\S]*no integrated account has tenant_id 'nobody'"
    ):
        run(task([row("tenant-1"), row("nobody")], validate_first=True))
    assert one.emulator.executions == []


def test_a_tenant_s_rows_are_of_one_shard():
    records = [
        RecordParser().parse(json.loads(json.dumps(row("acme", f"r{number}"))), number) for number in range(20)
    ]
    for shards in (2, 3, 7):
        assert (
            sum(all(Shard(index=index, count=shards).has(record) for record in records) for index in range(shards))
            == 1
        )


def test_an_account_that_is_spelt_in_two_ways_is_one_customer_whose_records_keep_their_order(one, task, output):
    account = one.accounts[0]
    customers = [
        {"integrated_account_id": account.upper()},
        {"integrated_account_id": account, "tenant_id": None},
        {},  # that of the task, in capitals as well
    ]
    rows = [{"id": "r0", "body": {"description": str(n)}, **customers[n % 3]} for n in range(30)]
    run(task(rows, integrated_account_id=account.upper(), concurrency=8))
    sent = [request["body"]["description"] for request in one.emulator.requests if request["method"] == "PATCH"]
    assert sent == [str(number) for number in range(30)]
    assert read_ledger(output).summaries[-1]["accounts"] == {account: {"updated": 30}}


@pytest.mark.parametrize("named", [{"tenant_id": "tenant-1"}, {"tenant_id": "tenant-1", "integration": "hubspot"}])
def test_rows_without_a_customer_are_not_the_connection_s_where_default_args_name_a_tenant(
    one, task, output, logged, named
):
    connect(one, integrated_account_id=account_number(0))
    rows = [{"id": "r1", "body": {"description": "astray"}}, row("tenant-2")]
    assert run(task(rows, default_args=named, max_failures=1))["updated"] == 1
    assert "/integrated_account_id: is missing" in read_ledger(output).rows[0]["message"]
    assert {call["integrated_account_id"] for call in one.emulator.executions} == {account_number(2)}
    assert "default_args name a tenant, which a bulk does not take" in logged()
    meant = {"default_args": named, "integrated_account_id": account_number(1), "output_path": f"file://{output}/2"}
    assert run(task(rows, **meant))["updated"] == 2
    assert one.text_of(account_number(1), "r1") == "astray"
