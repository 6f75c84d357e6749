"""`GET /log`: what Truto has written down of calls and of sync job runs.

An entry is an object with `timestamp` and whatever its type has beside it. Those of `unified_proxy_api` are written
for unified and proxy calls that reached a CRM, those of `rapid_bridge` by sync job runs; more may be seeded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_truto.emulator import timestamps
from airflow_provider_truto.emulator.accounts import IntegratedAccount
from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.errors import RefusedError, allow, missing
from airflow_provider_truto.emulator.filters import filtered
from airflow_provider_truto.emulator.pages import Page

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
MAX_LIMIT = 100
_MONTH = timedelta(days=31)

Entries = deque[tuple[str, dict[str, Any]]]
"""The type of each entry and the entry, oldest first."""


def log(entries: Entries, call: Call) -> Answer:
    """One page of the entries of a type, oldest first, which is this emulator's choice.

    `created_at[gt]` needs a `created_at[lt]`, at most a month later. `log_type_filter[key]=value` compares any key.
    """
    allow(call, "GET")
    log_type = call.query.get("log_type")
    if not log_type:
        raise missing("query_parameters", "log_type")
    if log_type not in LOG_TYPES:
        raise RefusedError(400, f"log_type must be one of {', '.join(LOG_TYPES)}")
    page = Page.asked(call, default_limit=MAX_LIMIT)
    if page.limit > MAX_LIMIT:
        raise RefusedError(400, f"limit must not be above {MAX_LIMIT}")
    wanted = call.query.get("log_type_filter", {})
    query = {**(wanted if isinstance(wanted, dict) else {}), "timestamp": _range(call.query.get("created_at"))}
    of_type = [entry for its_type, entry in entries if its_type == log_type]
    result, next_cursor = page.of(filtered(of_type, query, names=query, value_of=dict.get))
    return json_answer(200, {"result": result, "next_cursor": next_cursor})


def api_entry(
    account: IntegratedAccount,
    call: Call,
    *,
    request_type: str,
    resource: str,
    method: str,
    status: int,
    seconds: float,
) -> tuple[str, dict[str, Any]]:
    """The entry of a unified or proxy call."""
    path = call.target.partition("?")[0]
    entry = {
        **account_entry(account),
        "request_type": request_type,
        "resource": resource,
        "method": method,
        "http_method": call.method,
        "http_url": path,
        "http_status_code": status,
        "http_status_category": f"{status // 100}xx",
        "duration": round(seconds * 1000),
    }
    return "unified_proxy_api", entry


def account_entry(account: IntegratedAccount) -> dict[str, Any]:
    """What every entry about an account begins with."""
    record = account.record
    return {
        "timestamp": timestamps.now(),
        "service": "truto-api",
        "environment_id": record["environment_id"],
        "integrated_account_id": record["id"],
        "tenant_id": record["tenant_id"],
        "integration": account.integration.name,
    }


def seeded_entries(seeded: Iterable[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a seed; there the type is one of an entry's keys."""
    return [
        (entry["log_type"], {key: value for key, value in entry.items() if key != "log_type"}) for entry in seeded
    ]


def _range(created_at: Any) -> dict[str, str]:
    given = created_at if isinstance(created_at, dict) else {}
    if "gt" in given and "lt" not in given:
        raise missing("query_parameters", "created_at[lt]")
    try:
        bounds = {name: timestamps.read(given[name]) for name in ("gt", "lt") if name in given}
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise RefusedError(400, "created_at[gt] and created_at[lt] are ISO 8601 times") from None
    if len(bounds) == 2 and bounds["lt"] - bounds["gt"] > _MONTH:
        raise RefusedError(400, "created_at must not span more than a month")
    return {name: timestamps.write(bound) for name, bound in bounds.items()}
