"""The custom routes: `/custom/{path}` with any verb, which reach the CRM as they are.

The CRM here answers with what reached it, under the keys of Truto's own:

    {"result": {"method": "POST", "path": "/v1/sync", "query": {…}, "headers": {…},
                "body": …, "body_bytes": 17, "body_sha256": "…"},
     "next_cursor": null, "prev_cursor": null}

`path` is that of the wire, `query` is nested and without `integrated_account_id`, `body` is JSON, else text, else
null, and has lost a `methodConfig` at its top. The size and the hash are those of the body that arrived. Of the
headers only `content-type`, `accept` and those that begin with `x-` go on; which do at Truto is documented nowhere.

`/custom/export/{n}` answers with n bytes instead, chunked: byte number i is i modulo 251.
"""

from __future__ import annotations

import hashlib
from time import monotonic
from typing import Any

from airflow_provider_truto.emulator.http.request import Request
from airflow_provider_truto.emulator.http.response import Response, json_response
from airflow_provider_truto.emulator.routes.access import call_crm, check_usable, find_request_account
from airflow_provider_truto.emulator.state.executions import Execution
from airflow_provider_truto.emulator.state.state import State

_CHUNK = 64 * 1024
_PATTERN = bytes(range(251))


def handle_custom(state: State, request: Request, *, path: tuple[str, ...]) -> Response:
    """Handle a custom call; `path` is what follows `custom`."""
    account = find_request_account(state, request)
    check_usable(account, reads=request.method in ("GET", "HEAD", "OPTIONS"))
    query = {name: value for name, value in request.query.items() if name != "integrated_account_id"}
    execution = Execution(request=request, record_id=None, remote_query=query, time=monotonic())

    def run() -> Response:
        match path:
            case ("export", size) if size.isdecimal():
                content_type = ("content-type", "application/octet-stream")
                return Response(200, Export(int(size)), (content_type,), executed=True, chunk_size=_CHUNK)
        result = _echo(request, query=query)
        return json_response(200, {"result": result, "next_cursor": None, "prev_cursor": None}, executed=True)

    return call_crm(state, account, execution, run)


class Export:
    """The bytes of an export, each made when it is asked for."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, end, _ = piece.indices(self._size)
        first = start % len(_PATTERN)
        length = max(0, end - start)
        return (_PATTERN * ((first + length) // len(_PATTERN) + 1))[first : first + length]


def _echo(request: Request, *, query: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.target.partition("?")[0].removeprefix("/custom"),
        "query": query,
        "headers": {name: value for name, value in request.headers.items() if _is_passed_on(name)},
        "body": _read_body(request),
        "body_bytes": len(request.body),
        "body_sha256": hashlib.sha256(request.body).hexdigest(),
    }


def _is_passed_on(name: str) -> bool:
    return name in ("content-type", "accept") or name.startswith("x-")


def _read_body(request: Request) -> Any:
    try:
        body = request.json()
    except ValueError:
        try:
            return request.body.decode() or None
        except ValueError:
            return None
    return {key: value for key, value in body.items() if key != "methodConfig"} if isinstance(body, dict) else body
