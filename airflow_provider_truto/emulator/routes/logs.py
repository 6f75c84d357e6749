"""`GET /log`: what Truto has written down of calls and of sync job runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.http.errors import RefusedError, allow_methods, build_missing_error
from airflow_provider_truto.emulator.http.filters import filter_items
from airflow_provider_truto.emulator.http.pages import Page
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.state.logs import LOG_TYPES, Entries

MAX_LIMIT = 100
_MONTH = timedelta(days=31)


def list_entries(entries: Entries, request: Request) -> Response:
    """Return one page of the entries of a type, oldest first, which is this emulator's choice.

    `created_at[gt]` needs a `created_at[lt]`, at most a month later. `log_type_filter[key]=value` compares any key.
    """
    allow_methods(request, "GET")
    log_type = request.query.get("log_type")
    if not log_type:
        raise build_missing_error("query_parameters", "log_type")
    if log_type not in LOG_TYPES:
        raise RefusedError(400, f"log_type must be one of {', '.join(LOG_TYPES)}")
    page = Page.from_request(request, default_limit=MAX_LIMIT)
    if page.limit > MAX_LIMIT:
        raise RefusedError(400, f"limit must not be above {MAX_LIMIT}")
    wanted = request.query.get("log_type_filter", {})
    query = {
        **(wanted if isinstance(wanted, dict) else {}),
        "timestamp": _read_range(request.query.get("created_at")),
    }
    of_type = [entry for its_type, entry in entries if its_type == log_type]
    result, next_cursor = page.slice_items(filter_items(of_type, query, names=query, value_of=dict.get))
    return json_response(200, {"result": result, "next_cursor": next_cursor})


def _read_range(created_at: Any) -> dict[str, str]:
    given = created_at if isinstance(created_at, dict) else {}
    if "gt" in given and "lt" not in given:
        raise build_missing_error("query_parameters", "created_at[lt]")
    try:
        bounds = {name: timestamps.read(given[name]) for name in ("gt", "lt") if name in given}
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise RefusedError(400, "created_at[gt] and created_at[lt] are ISO 8601 times") from None
    if len(bounds) == 2 and bounds["lt"] - bounds["gt"] > _MONTH:
        raise RefusedError(400, "created_at must not span more than a month")
    return {name: timestamps.write(bound) for name, bound in bounds.items()}
