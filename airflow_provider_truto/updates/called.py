"""Turning a checked update into the call that is sent."""

from __future__ import annotations

from typing import Any

from airflow_provider_truto.client.call import Call, path_of, query_pairs, random_key
from airflow_provider_truto.updates.checked import Checked
from airflow_provider_truto.updates.keys import TaskIdentity, task_key


def called(checked: Checked, *, task: TaskIdentity | None = None) -> Call:
    """Build ``PATCH /unified/crm/accounts/{id}`` (docs/api-reference/unified-crm-api/accounts/update).

    Its key is the update's own, else the task's, else random.
    """
    update = checked.update
    account = update.integrated_account_id or ""
    path = path_of("unified", "crm", "accounts", update.account_id)
    if update.idempotency_key is not None:
        key = update.idempotency_key
    elif task is not None:
        key = task_key(task, integrated_account_id=account, path=path, body=checked.body)
    else:
        key = random_key()
    query: dict[str, Any] = {
        "integrated_account_id": account,
        "truto_response_format": None if update.response_format == "unified" else update.response_format,
        "truto_ignore_remote_data": update.ignore_remote_data or None,
        "truto_exclude_fields": list(update.exclude_fields or ()),
        "remote_query": update.remote_query,
    }
    return Call(
        method="PATCH",
        path=path,
        query=query_pairs(query),
        body=checked.body,
        idempotency_key=key,
        integrated_account_id=account,
        is_data=True,
        streamed=update.response_format == "stream",
    )
