"""The names that users import and pass: they stay, whatever moves behind them."""

from __future__ import annotations

import importlib
import inspect

import pytest

#: A callable, and the arguments that it is promised to take by these names.
PROMISED = {
    "hooks.truto.TrutoHook": "truto_conn_id",
    "hooks.truto.TrutoHook.get_conn": "",
    "hooks.truto.TrutoHook.test_connection": "",
    "hooks.truto.TrutoHook.update_account": (
        "account_id body integrated_account_id response_format ignore_remote_data exclude_fields remote_query schema"
        " extra_fields allow_null allow_empty idempotency_key context"
    ),
    "hooks.truto.TrutoHook.unified": "model resource",
    "hooks.truto.TrutoHook.proxy": "resource",
    "hooks.truto.TrutoHook.custom": "method path context",
    "hooks.truto.TrutoHook.batch": "resources context",
    "hooks.truto.TrutoHook.integrated_accounts": "tenant_id integration status",
    "hooks.truto.TrutoHook.integrated_account": "",
    "hooks.truto.TrutoHook.capabilities": "",
    "hooks.truto.TrutoHook.method_schema": "model resource method",
    "hooks.truto.TrutoAsyncHook": "truto_conn_id",
    "hooks.truto.TrutoAsyncHook.update_account": "account_id body integrated_account_id idempotency_key context",
    "hooks.truto.TrutoAsyncHook.close": "",
    "operators.accounts.TrutoUpdateAccountOperator": (
        "account_id body body_file integrated_account_id truto_conn_id response_format ignore_remote_data"
        " exclude_fields remote_query schema extra_fields on_none allow_empty verify preview skip_unchanged skip_on"
        " idempotency_key output_path"
    ),
    "operators.accounts.TrutoBulkUpdateAccountsOperator": (
        "source sql output_path concurrency requests_per_second max_failures"
    ),
    "operators.unified.TrutoUnifiedOperator": "model resource method record_id body query",
    "operators.unified.TrutoBulkUnifiedOperator": "model resource method source output_path max_failures",
    "operators.proxy.TrutoProxyOperator": "resource method record_id body query",
    "operators.bulk.TrutoBulkSummaryOperator": "bulk_task_id output_path",
    "operators.bulk.shards": "",
    "operators.ledgers.TrutoLedgerToSqlOperator": "bulk_task_id output_path sql_conn_id with_bodies",
    "operators.ledgers.TrutoLedgerToParquetOperator": "bulk_task_id output_path tables_path with_bodies",
    "operators.sync_jobs.TrutoSyncJobRunOperator": (
        "sync_job_id integrated_account_id tenant_id args error_handling ignore_previous_run poll_interval timeout"
        " deferrable wait stop_on_kill verify"
    ),
    "sensors.sync_jobs.TrutoSyncJobRunSensor": "sync_job_run_id deferrable",
    "sensors.integrated_accounts.TrutoIntegratedAccountSensor": (
        "integrated_account_id tenant_id integration probe fail_on deferrable"
    ),
    "sensors.records.TrutoRecordSensor": (
        "model resource record_id integrated_account_id tenant_id fields condition function values on_missing"
        " deferrable"
    ),
    "triggers.integrated_accounts.TrutoIntegratedAccountTrigger": "integrated_account_id probe fail_on deadline",
    "triggers.records.TrutoRecordTrigger": "model resource record_id fields condition function values deadline",
    "triggers.sync_jobs.TrutoSyncJobRunTrigger": "sync_job_run_id stop_on_kill truto_conn_id poll_interval deadline",
    "triggers.changes.TrutoChangesTrigger": (
        "asset_name model resource integrated_account_ids truto_conn_id poll_interval overlap query"
    ),
    "webhooks.parse_event": "body",
    "schemas.params": "operation",
    "schemas.body_from_params": "names",
    "decorators.accounts.truto_update_account_task": "python_callable multiple_outputs",
    "emulator.Emulator": "",
    "testing.plugin.truto": "",
    "testing.emulated.EmulatedTruto.run": "operator params",
    "testing.emulated.EmulatedTruto.record": "customer resource record_id",
    "testing.emulated.EmulatedTruto.fault": "",
}
#: Each error, what it is one of, and an attribute that it has.
ERRORS = {
    "TrutoSchemaError": ("TrutoError", "problems"),
    "TrutoTransportError": ("TrutoError", None),
    "TrutoApiError": ("TrutoError", "raw_response"),
    "TrutoBadRequestError": ("TrutoApiError", "details"),
    "TrutoAuthenticationError": ("TrutoApiError", None),
    "TrutoReauthorizationRequiredError": ("TrutoApiError", "is_remote"),
    "TrutoPermissionError": ("TrutoApiError", "missing_scopes"),
    "TrutoNotFoundError": ("TrutoApiError", None),
    "TrutoMethodNotAllowedError": ("TrutoApiError", None),
    "TrutoSandboxReadOnlyError": ("TrutoMethodNotAllowedError", None),
    "TrutoConflictError": ("TrutoApiError", None),
    "TrutoUnprocessableError": ("TrutoApiError", "insight"),
    "TrutoRateLimitError": ("TrutoApiError", "retry_after"),
    "TrutoAccountBlockedError": ("TrutoApiError", None),
    "TrutoServerError": ("TrutoApiError", None),
}


def found(path):
    """A class or function of a module, or a method of a class of one."""
    parts = path.split(".")
    at = len(parts) - 2 if parts[-2][0].isupper() else len(parts) - 1
    what = importlib.import_module(".".join(["airflow_provider_truto", *parts[:at]]))
    for name in parts[at:]:
        what = getattr(what, name)
    return what


def arguments_of(what):
    """Those of a constructor are spread over its class and its parents."""
    if not inspect.isclass(what):
        return set(inspect.signature(what).parameters)
    return {name for cls in what.__mro__ for name in inspect.signature(cls.__init__).parameters}


@pytest.mark.parametrize("path", PROMISED)
def test_a_promised_name_takes_its_promised_arguments(path):
    what = found(path)
    assert callable(what)
    assert set(PROMISED[path].split()) - arguments_of(what) == set()


@pytest.mark.parametrize("name", ERRORS)
def test_a_promised_error_stands_where_it_is_caught(name):
    errors = importlib.import_module("airflow_provider_truto.client.errors")
    parent, attribute = ERRORS[name]
    assert issubclass(getattr(errors, name), getattr(errors, parent))
    if attribute is not None:
        assert hasattr(getattr(errors, name)("text"), attribute)


def test_a_resource_has_its_promised_methods():
    from airflow_provider_truto.hooks.truto import TrutoHook

    for resource in (TrutoHook().unified("crm", "accounts"), TrutoHook().proxy("companies")):
        assert all(
            callable(getattr(resource, name)) for name in ("list", "get", "create", "update", "delete", "call")
        )
        for name in ("create", "update", "delete", "call"):
            assert {"idempotency_key", "context"} <= arguments_of(getattr(resource, name))
