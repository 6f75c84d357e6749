"""What the page `/` shows: `page.html` asks for it several times a second.

    GET /                the page
    GET /_emulator/page  {"customers": […], "calls": […], "faults": […], "limits": {…}}

Neither needs a token, is logged, or is hit by faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Reversible, Sequence
from dataclasses import fields
from itertools import chain, count, islice
from pathlib import Path
from time import monotonic, time
from typing import Any

from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_truto.emulator.http.faults import Fault
from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.routes.mapping import to_unified
from airflow_provider_truto.emulator.state.accounts import IntegratedAccount
from airflow_provider_truto.emulator.state.executions import Execution
from airflow_provider_truto.emulator.state.resources import RESOURCES
from airflow_provider_truto.emulator.state.state import State

#: A browser draws so much without delay: the newest calls and writes, and the first records of each resource.
_MOST_CALLS = 200
_MOST_WRITES = 500
_MOST_RECORDS = 25
#: Records hold what anybody has sent: nothing of it may become script, or be loaded from elsewhere.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
    ),
    "Cache-Control": "no-store",
}
_START_OF_MONOTONIC = time() - monotonic()
_PAGE = Path(__file__).with_name("page.html")


def build_page_routes(state: State) -> list[Route]:
    """Return the routes of one state's page."""

    async def show_page(_: StarletteRequest) -> Response:
        return Response(_PAGE.read_bytes(), media_type="text/html", headers=_HEADERS)

    async def show_state(_: StarletteRequest) -> Response:
        return JSONResponse(describe_state(state), headers=_HEADERS)

    return [Route("/", show_page, methods=["GET"]), Route("/_emulator/page", show_state, methods=["GET"])]


def describe_state(state: State) -> dict[str, Any]:
    """Return what the page shows now. Times are milliseconds since 1970."""
    state.apply_changes()
    requests = state.requests
    writes = [one for one in state.executions if one.request.method != "GET"][-_MOST_WRITES:]
    used = _count_used(requests, seconds=state.limits.account.seconds)
    return {
        "customers": [
            {
                **{name: account.record[name] for name in ("id", "tenant_id", "status", "is_sandbox")},
                "integration": account.integration.name,
                "is_blocked": account.is_blocked,
                "used": used[account_id],
                "resources": list(_describe_records(account, state.records.get(account_id, {}), writes)),
            }
            for account_id, account in state.accounts.items()
        ],
        "calls": [
            {
                "number": number,
                "method": request.method,
                "target": request.target,
                "status": request.status,
                "at": _to_wall_clock(request.time),
                "customer": _name_customer(state, request),
                "body": request.json_or_none(),
            }
            for number, request in zip(
                count(len(requests), -1), islice(reversed(requests), _MOST_CALLS), strict=False
            )
        ],
        "count": len(requests),
        "faults": [_describe_fault(fault) for fault in state.faults if fault.times != 0],
        "limits": {
            "are_enforced": state.limits.enforced,
            "account": state.limits.account.requests,
            "token": state.limits.token.requests,
            "seconds": state.limits.account.seconds,
            "used": used.total(),
        },
    }


def _describe_records(
    account: IntegratedAccount, by_resource: dict[str, dict[str, dict[str, Any]]], writes: Sequence[Execution]
) -> Iterator[dict[str, Any]]:
    for key, records in by_resource.items():
        resource = RESOURCES[key]
        names = {resource.name, resource.native}
        own = [
            one
            for one in writes
            if one.request.integrated_account_id == account.record["id"] and names & set(one.request.path)
        ]
        # Those that were written come first: they are why somebody looks.
        written = dict.fromkeys(one.record_id for one in reversed(own) if one.record_id in records)
        shown = islice(dict.fromkeys(chain(written, records)), _MOST_RECORDS)
        yield {
            "key": key,
            "count": len(records),
            "records": [
                {
                    "id": record_id,
                    "unified": to_unified(records[record_id], resource=resource, integration=account.integration),
                    "history": [_describe_write(one) for one in own if one.record_id == record_id],
                }
                for record_id in shown
            ],
        }


def _describe_write(execution: Execution) -> dict[str, Any]:
    request = execution.request
    return {
        "method": request.method,
        "body": request.json_or_none(),
        "status": request.status,
        "at": _to_wall_clock(execution.time),
        "key": request.headers.get("idempotency-key"),
    }


def _describe_fault(fault: Fault) -> dict[str, Any]:
    """Return what was said of a fault."""
    given = {one.name: getattr(fault, one.name) for one in fields(fault)}
    defaults = Fault()
    return {
        name: value
        for name, value in given.items()
        if name == "times" or (value != getattr(defaults, name) and name != "body")
    }


def _count_used(requests: Reversible[Request], *, seconds: float) -> Counter[str]:
    """Count the calls of each customer that a limit counts now."""
    since = monotonic() - seconds
    used: Counter[str] = Counter()
    for request in reversed(requests):
        if request.time < since:
            break
        if request.is_for_data and request.integrated_account_id:
            used[request.integrated_account_id] += 1
    return used


def _name_customer(state: State, request: Request) -> str | None:
    account = state.accounts.get(request.integrated_account_id or "")
    return account.record["tenant_id"] if account else None


def _to_wall_clock(moment: float) -> int:
    return round((_START_OF_MONOTONIC + moment) * 1000)
