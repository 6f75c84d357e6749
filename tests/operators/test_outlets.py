"""The asset events of tasks that write: what they say, what Airflow stores, and which DAGs they trigger."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from airflow_runs import PLANTED, before, decode_xcom
from airflow_scheduled import scheduled_airflow
from test_docs import PageDag, page_of

from airflow_provider_truto._compat import IS_AIRFLOW_2, AirflowException
from airflow_provider_truto.assets import create_asset
from airflow_provider_truto.emulator import ACME, GLOBEX, HOOLI
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator
from airflow_provider_truto.operators.proxy import TrutoProxyOperator
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator

try:
    from airflow.sdk import AssetAlias
    from airflow.sdk.execution_time.context import OutletEventAccessors
except ImportError:  # Airflow 2.11
    from airflow.datasets import DatasetAlias as AssetAlias
    from airflow.utils.context import OutletEventAccessors

RECORD = "23423523"
CUSTOMER = "integrated_account_id"
OF_RECORD = {"integrated_account_id": ACME, "model": "crm", "resource": "accounts"}
ANY = AssetAlias("any")


def uri_of(account, model="crm", resource="accounts"):
    return f"truto://{account}/{model}/{resource}"


@pytest.fixture
def execute(emulator, monkeypatch):
    """Execute an operator whose outlets are a customer's asset and an alias; return what the events of both say."""
    extra = {"max_attempts": 1, "requests_per_second": 0}
    conn = {"conn_type": "truto", "host": emulator.url, "password": PLANTED, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", json.dumps(conn))

    def run(operator_class, *, account=ACME, model="crm", resource="accounts", **arguments):
        asset = create_asset(integrated_account_id=account.upper(), model=model, resource=resource)
        if issubclass(operator_class, TrutoUnifiedOperator):
            arguments["model"] = model
        if not issubclass(operator_class, (TrutoUpdateAccountOperator, TrutoBulkUpdateAccountsOperator)):
            arguments["resource"] = resource
        events = OutletEventAccessors()
        operator = operator_class(task_id="write", outlets=[asset, ANY], **arguments)
        with suppress(AirflowException):
            operator.execute({"outlet_events": events})
        of_alias = getattr(events[ANY], "dataset_alias_events" if before("3.0") else "asset_alias_events")
        where = [one["dest_dataset_uri"] if before("3.0") else one.dest_asset_key.uri for one in of_alias]
        said = [one["extra"] if before("3.0") else one.extra for one in of_alias]
        return events[asset].extra, dict(zip(where, said, strict=True))

    return run


UPDATE = {"account_id": RECORD, "integrated_account_id": ACME}
UPDATED = {**OF_RECORD, "method": "update", "record_id": RECORD}
OF_PROXY = {**OF_RECORD, "model": "proxy", "resource": "companies"}


@pytest.mark.parametrize(
    ("operator_class", "arguments", "of_asset", "is_in_alias"),
    [
        (TrutoUpdateAccountOperator, {**UPDATE, "body": {"name": "A"}}, {**UPDATED, "updated": 1}, True),
        (
            TrutoUpdateAccountOperator,
            {**UPDATE, "body": {"name": "Northwind Traders"}, "skip_unchanged": True},
            {**UPDATED, "unchanged": 1},
            False,
        ),
        (TrutoUpdateAccountOperator, {**UPDATE, "body": {"name": "A"}, "preview": True}, {}, False),
        (TrutoUpdateAccountOperator, {**UPDATE, "body": {"nonsense": 1}}, {}, False),
        (TrutoUpdateAccountOperator, {**UPDATE, "body": {"name": "A"}, "account": GLOBEX}, {}, True),
        (
            TrutoUnifiedOperator,
            {"method": "create", "integrated_account_id": ACME, "body": {"name": "New"}},
            {**OF_RECORD, "method": "create", "record_id": "23423526", "created": 1},
            True,
        ),
        (TrutoUnifiedOperator, {"method": "list", "integrated_account_id": ACME}, {}, False),
        (
            TrutoProxyOperator,
            {
                "model": "proxy",
                "resource": "companies",
                "method": "update",
                "record_id": RECORD,
                "integrated_account_id": ACME,
                "body": {"properties": {"name": "A"}},
            },
            {**OF_PROXY, "method": "update", "record_id": RECORD, "updated": 1},
            True,
        ),
    ],
    ids=["update", "unchanged", "preview", "refused", "asset of another", "create", "read", "proxy"],
)
def test_a_write_says_in_the_event_of_its_customer_what_became_of_it(
    execute, operator_class, arguments, of_asset, is_in_alias
):
    said, of_alias = execute(operator_class, **arguments)
    assert said == of_asset
    assert (len(of_alias) == 1) is is_in_alias
    assert of_asset == {} or not is_in_alias or list(of_alias.values()) == [of_asset]


def test_a_bulk_emits_one_event_for_each_customer_whom_it_has_written(execute, tmp_path):
    of_hooli, of_alias = execute(
        TrutoBulkUpdateAccountsOperator,
        account=HOOLI,
        source=[
            {"id": record_id, "integrated_account_id": account, "body": {"name": "x"}}
            for record_id, account in [(RECORD, ACME), ("no", ACME), ("70010001", GLOBEX), ("no", HOOLI)]
        ],
        output_path=f"file://{tmp_path}",
        max_failures=None,
    )
    assert of_hooli == {**OF_RECORD, "integrated_account_id": HOOLI, "failed": 1}
    assert of_alias == {
        uri_of(ACME): {**OF_RECORD, "updated": 1, "failed": 1},
        uri_of(GLOBEX): {**OF_RECORD, "integrated_account_id": GLOBEX, "updated": 1},
    }


#: What the page only tells.
WAITS_FOR_ANY = """
any_customer = [AssetAlias("crm_accounts")]
with DAG(dag_id="any_report", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=any_customer):
    report()
"""


@pytest.mark.airflow
@pytest.mark.slow
def test_the_dags_of_the_page_run_when_their_customer_or_any_was_written(truto, tmp_path):
    truto.reset()
    (tmp_path / "dags").mkdir()
    page = page_of("lineage")
    alias, consumer = page.block("any_customer"), page.block("consumer")
    if IS_AIRFLOW_2:
        consumer = consumer.replace("triggering_asset_events", "triggering_dataset_events")
    source = "\n".join([page.dags["acme_headcount"].source, alias, consumer, WAITS_FOR_ANY])
    unpaused = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with scheduled_airflow(truto, tmp_path / "dags", prelude="", **unpaused) as airflow:
        text = PageDag(source, None).using(tmp_path)
        airflow.write_file("page", text)
        airflow.trigger("acme_headcount")
        airflow.until_any_run("acme_report", "success")
        airflow.trigger("headcounts")
        airflow.until_run("headcounts", "success")
        airflow.write_file("page", text)  # a DAG processor reads the file again and again: Airflow 2 needs that here
        airflow.until_any_run("any_report", "success")
        reported = airflow.query("select dag_id, value from xcom where task_id = 'report' and key = 'return_value'")
        said = [(dag_id, decode_xcom(value)) for dag_id, value in reported]
        assert ("acme_report", [{**UPDATED, "updated": 1}]) in said
        kind = "dataset" if IS_AIRFLOW_2 else "asset"
        stored = airflow.query(
            f"select uri, event.extra from {kind}_event event join {kind} on {kind}.id = {kind}_id"
            " where source_dag_id = 'headcounts' order by uri"
        )
        assert [(uri, json.loads(extra)) for uri, extra in stored] == [
            (uri_of(GLOBEX), {**OF_RECORD, CUSTOMER: GLOBEX, "updated": 1}),
            (uri_of(ACME), {**OF_RECORD, "updated": 1}),
        ]
