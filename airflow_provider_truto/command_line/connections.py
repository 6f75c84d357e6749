"""Commands that ask Truto under an Airflow connection."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from airflow_provider_truto.client.accounts import find_account_fault, get_integration_name
from airflow_provider_truto.command_line.output import Output, draw_table
from airflow_provider_truto.hooks.truto import TrutoHook

_ACCOUNT_COLUMNS = ("id", "tenant_id", "integration", "status", "is_sandbox")


def open_hook(conn_id: str) -> TrutoHook:
    """Return a hook that also finds connections of Airflow's database, as commands of Airflow's own do."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    return TrutoHook(conn_id)


def find_account(hook: TrutoHook, named: str | None) -> str | None:
    """Return the id of the integrated account that is named by its id, or by its customer's. ``None`` stays ``None``.

    Raises ``TrutoSchemaError`` where the customer has none, or several.
    """
    if not named or find_account_fault(named) is None:
        return named
    found: str = hook.integrated_account_id_of(named)
    return found


def check(given: Namespace) -> Output:
    """Try a connection."""
    hook = open_hook(given.conn_id)
    TrutoHook.get_connection(given.conn_id)  # a missing one fails here: it is not an answer of the test
    works, message = hook.test_connection()
    return Output(value={"works": works, "message": message}, lines=[message], is_good=works)


def list_accounts(given: Namespace) -> Output:
    """List integrated accounts."""
    listing = open_hook(given.conn_id).integrated_accounts(
        tenant_id=given.tenant, integration=given.integration, status=given.status
    )
    accounts = sorted(map(_describe_account, listing), key=lambda account: str(account["tenant_id"]))
    lines = draw_table(accounts, _ACCOUNT_COLUMNS) if accounts else ["no integrated account"]
    return Output(value=accounts, lines=lines, is_good=bool(accounts))


def _describe_account(record: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: record.get(name) for name in ("id", "tenant_id", "status", "is_sandbox", "last_error")}
    return {**known, "integration": get_integration_name(record)}


def show_capabilities(given: Namespace) -> Output:
    """Show what can be called."""
    hook = open_hook(given.conn_id)
    found = hook.capabilities(find_account(hook, given.account), integration=given.integration)
    rows = [
        {
            "api": api,
            "resource": "/".join(filter(None, [entry.get("model"), entry.get("resource")])),
            "methods": names,
        }
        for api in ("unified", "proxy")
        for entry in found.get(api) or ()
        if (names := ", ".join(map(_name_method, entry.get("methods") or ())))
    ]
    lines = draw_table(rows, ("api", "resource", "methods")) if rows else ["nothing can be called"]
    return Output(value=found, lines=lines, is_good=bool(rows))


def _name_method(method: Any) -> str:
    """Return its name: the unified API's methods are names, the proxy API's objects that describe them."""
    return str(method.get("method") if isinstance(method, Mapping) else method)
