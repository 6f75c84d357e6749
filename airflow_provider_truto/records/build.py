"""Turning a valid request for a record into the HTTP request that is sent."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from airflow_provider_truto.client.endpoints import proxy_request, unified_request
from airflow_provider_truto.client.request import Request, encode_query
from airflow_provider_truto.records.keys import TaskIdentity, make_task_key
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.validate import ValidRequest


def build_request(valid: ValidRequest, *, task: TaskIdentity | None = None) -> Request:
    """Build the HTTP request, ``PATCH /unified/crm/accounts/{id}`` for an update of an account.

    A write's key is the request's own, else the task's; without a task it has none yet.
    """
    request = valid.request

    def make_key(path: str) -> str | None:
        if request.idempotency_key is not None or task is None:
            return request.idempotency_key
        account = request.integrated_account_id or ""
        return make_task_key(task, integrated_account_id=account, path=path, body=valid.body or b"")

    if (similar := valid.similar) is not None:
        folder = similar.path.rpartition("/")[0]
        path = similar.path if request.record_id is None else f"{folder}/{request.record_id}"
        return similar.replace(path=path, body=valid.body, idempotency_key=make_key(path))
    return _build(request, body=valid.body, idempotency_key=make_key)


def build_read_request(request: RecordRequest) -> Request:
    """Build the HTTP request that reads the record to be changed, as the unified API or the CRM shows it."""
    reading = request.replace(method="get", response_format="unified", exclude_fields=None, query=None)
    return _build(reading)


def _build(request: RecordRequest, **given: Any) -> Request:
    given |= {
        "integrated_account_id": request.integrated_account_id or "",
        "record_id": request.record_id,
        "streamed": request.response_format == "stream",
    }
    if request.model is None:
        return proxy_request(request.resource, request.method, query=request.query, **given)
    excluded = tuple(request.exclude_fields or ())
    query = _write_parameters(request.response_format, request.ignore_remote_data, excluded)
    query += encode_query({"remote_query": request.remote_query, **(request.query or {})})
    return unified_request(request.model, request.resource, request.method, query=query, **given)


@lru_cache(maxsize=256)  # many records of a task are asked for in the same way
def _write_parameters(
    response_format: str, ignore_remote_data: bool, exclude_fields: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    return encode_query(
        {
            "truto_response_format": None if response_format == "unified" else response_format,
            "truto_ignore_remote_data": ignore_remote_data or None,
            "truto_exclude_fields": list(exclude_fields),
        }
    )
