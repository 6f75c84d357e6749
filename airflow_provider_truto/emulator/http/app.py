"""The ASGI application: reads a call, logs it, plays its fault if there is one, and sends the answer."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from time import monotonic

from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from airflow_provider_truto.emulator.http import query
from airflow_provider_truto.emulator.http.errors import build_envelope
from airflow_provider_truto.emulator.http.faults import Fault
from airflow_provider_truto.emulator.http.replays import find_idempotency_scope
from airflow_provider_truto.emulator.http.request import Request, split_path
from airflow_provider_truto.emulator.http.response import Body, Response, json_response
from airflow_provider_truto.emulator.routes import dispatch
from airflow_provider_truto.emulator.routes.control import build_control_routes
from airflow_provider_truto.emulator.routes.page import build_page_routes
from airflow_provider_truto.emulator.state.state import State

_log = logging.getLogger(__name__)

_LINGER_NOT = struct.pack("ii", 1, 0)  # close a socket with a RST, dropping what is still to be sent
_NO_BODY = (204, 304)
_NOTHING = Response(500, b"")  # stands in for the answer of a connection that is reset before the call is executed


def build_application(state: State, *, report: Callable[[str], None] | None = None) -> Router:
    """Serve one state, with the page and the control routes. `report` gets a line for every answer of Truto's."""
    routes = [*build_page_routes(state), build_control_routes(state)]
    return Router(routes, redirect_slashes=False, default=Api(state, report=report))


class Api:
    """Everything that Truto answers; Starlette does not route it, since it reads paths decoded."""

    def __init__(self, state: State, *, report: Callable[[str], None] | None = None) -> None:
        self._state = state
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        try:
            request = self._read_request(scope, await StarletteRequest(scope, receive).body())
        except ClientDisconnect:
            return
        self._state.requests.append(request)
        fault = self._state.find_fault(request)
        async with self._state.replays.take_turn(find_idempotency_scope(request)):
            response = self._execute(request) if fault is None else await self._play_fault(request, fault)
        request.status = None if fault and fault.reset else response.status
        if self._report:
            self._report(f"{request.method} {request.target} {request.status or 'reset'}")
        transport: asyncio.Transport = scope["state"]["transport"]
        if fault and fault.reset:
            _reset(transport)
            await _wait_for_disconnect(receive)
        elif fault and fault.cut is not None:
            await _send_cut(response, send, length=fault.cut)
            transport.close()
            await _wait_for_disconnect(receive)
        else:
            await _to_starlette(response)(scope, receive, send)

    def _read_request(self, scope: Scope, body: bytes) -> Request:
        raw_path = scope["raw_path"].decode("ascii")
        query_string = scope["query_string"].decode("ascii")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        token = self._state.tokens.find(headers.get("authorization"))
        if "authorization" in headers:
            headers["authorization"] = "Bearer unknown" if token is None else "Bearer valid"
        pairs = query.split_pairs(query_string)
        return Request(
            method=scope["method"],
            target=f"{raw_path}?{query_string}" if query_string else raw_path,
            path=split_path(raw_path),
            pairs=pairs,
            query=query.nest_pairs(pairs),
            headers=headers,
            token=token,
            body=body,
            time=monotonic(),
            connection=scope["state"]["connection"],
        )

    def _execute(self, request: Request) -> Response:
        try:
            return dispatch.handle(self._state, request)
        except Exception:
            _log.exception("the emulator failed on %s %s", request.method, request.target)
            return json_response(500, build_envelope(500, "The emulator failed, its log says why"))

    async def _play_fault(self, request: Request, fault: Fault) -> Response:
        """Return the answer after a fault's delays."""
        await asyncio.sleep(fault.delay_before)
        real = self._execute(request) if fault.executes else None
        await asyncio.sleep(fault.delay_after)
        response = fault.shape_response(fault.replacement or real or _NOTHING)
        if real is None and fault.replacement and self._state.cache_refusals:
            self._state.replays.put(find_idempotency_scope(request), response)
        account = self._state.accounts.get(request.integrated_account_id or "")
        if account and fault.revokes_credentials:
            account.require_reauth("The provider refused the credentials")
        return response


def _to_starlette(response: Response) -> StarletteResponse:
    headers = dict(response.headers)
    if response.chunk_size:
        chunks = _iterate_chunks(response.body, size=response.chunk_size)
        return StreamingResponse(chunks, status_code=response.status, headers=headers)
    body = b"" if response.status in _NO_BODY else response.body[:]
    return StarletteResponse(body, status_code=response.status, headers=headers)


async def _iterate_chunks(body: Body, *, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def _send_cut(response: Response, send: Send, *, length: int) -> None:
    """Declare the whole length of an answer, and send only so much of it."""
    headers = [*response.headers, ("content-length", str(len(response.body)))]
    raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": raw_headers})
    await send({"type": "http.response.body", "body": response.body[:length], "more_body": True})


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


async def _wait_for_disconnect(receive: Receive) -> None:
    """Wait until the server knows that the connection is gone; before, it would complain of a missing answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
