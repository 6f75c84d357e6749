"""Turning a checked request into the call that is sent."""

from __future__ import annotations

from typing import Any

from airflow_provider_truto.client.call import Call, random_key
from airflow_provider_truto.client.endpoints import proxy_call, unified_call
from airflow_provider_truto.updates.checked import Checked
from airflow_provider_truto.updates.keys import TaskIdentity, task_key
from airflow_provider_truto.updates.request import RecordRequest


def called(checked: Checked, *, task: TaskIdentity | None = None) -> Call:
    """Build the call, ``PATCH /unified/crm/accounts/{id}`` for an update of an account.

    A write's key is the request's own, else the task's, else random.
    """
    request = checked.request

    def key_for(path: str) -> str:
        if request.idempotency_key is not None:
            return request.idempotency_key
        if task is None:
            return random_key()
        account = request.integrated_account_id or ""
        return task_key(task, integrated_account_id=account, path=path, body=checked.body or b"")

    return _built(request, body=checked.body, idempotency_key=key_for)


def read_call(request: RecordRequest) -> Call:
    """Build the call that reads the record which a request would change, as the unified API or the CRM shows it."""
    reading = request.having(method="get", response_format="unified", exclude_fields=None, query=None)
    return _built(reading)


def _built(request: RecordRequest, **given: Any) -> Call:
    given |= {
        "integrated_account_id": request.integrated_account_id or "",
        "record_id": request.record_id,
        "streamed": request.response_format == "stream",
    }
    if request.model is None:
        return proxy_call(request.resource, request.method, query=request.query, **given)
    query = {
        "truto_response_format": None if request.response_format == "unified" else request.response_format,
        "truto_ignore_remote_data": request.ignore_remote_data or None,
        "truto_exclude_fields": list(request.exclude_fields or ()),
        "remote_query": request.remote_query,
        **(request.query or {}),
    }
    return unified_call(request.model, request.resource, request.method, query=query, **given)
