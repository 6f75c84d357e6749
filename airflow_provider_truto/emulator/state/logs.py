"""`GET /log`: what Truto has written down of calls and of sync job runs.

An entry is an object with `timestamp` and whatever its type has beside it. Those of `unified_proxy_api` are written
for unified and proxy calls that reached a CRM, those of `rapid_bridge` by sync job runs; more may be seeded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.state.accounts import IntegratedAccount

LOG_TYPES = ("unified_proxy_api", "rapid_bridge", "webhook", "sync_job_cron_trigger", "mcp")
LOG_KEYS = (
    *("log_type", "timestamp", "service", "environment_id", "integrated_account_id", "tenant_id", "integration"),
    *("request_type", "resource", "method", "http_method", "http_url", "http_status_code", "http_status_category"),
    *("duration", "fetch_duration", "result_count", "logs", "message", "mcp_server_id", "mcp_server_name"),
    *("mcp_method", "tool_name", "client_name", "client_version", "sync_job_id", "sync_job_run_id"),
    *("sync_job_request_type", "status", "num_records", "retry_after", "retry_count", "webhook_successful"),
    *(
        "datastore_successful",
        "queue",
        "event",
        "webhook_id",
        "webhook_endpoint_status",
        "id",
        "alarm_type",
        "entity_id",
    ),
)
"""What the API documents for entries of any type."""

Entries = deque[tuple[str, dict[str, Any]]]
"""The type of each entry and the entry, oldest first."""


def build_api_entry(
    account: IntegratedAccount,
    request: Request,
    *,
    request_type: str,
    resource: str,
    method: str,
    status: int,
    seconds: float,
) -> tuple[str, dict[str, Any]]:
    """Return the entry of a unified or proxy call."""
    path = request.target.partition("?")[0]
    entry = {
        **build_account_entry(account),
        "request_type": request_type,
        "resource": resource,
        "method": method,
        "http_method": request.method,
        "http_url": path,
        "http_status_code": status,
        "http_status_category": f"{status // 100}xx",
        "duration": round(seconds * 1000),
    }
    return "unified_proxy_api", entry


def build_account_entry(account: IntegratedAccount) -> dict[str, Any]:
    """Return what every entry about an account begins with."""
    record = account.record
    return {
        "timestamp": timestamps.now(),
        "service": "truto-api",
        "environment_id": record["environment_id"],
        "integrated_account_id": record["id"],
        "tenant_id": record["tenant_id"],
        "integration": account.integration.name,
    }


def build_seeded_entries(seeded: Iterable[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the entries of a seed; there the type is one of an entry's keys."""
    return [
        (entry["log_type"], {key: value for key, value in entry.items() if key != "log_type"}) for entry in seeded
    ]
