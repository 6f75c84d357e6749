"""The ASGI application: reads a call, logs it, plays its fault if there is one, and sends the answer."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from time import monotonic

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from airflow_provider_truto.emulator import gateway, query
from airflow_provider_truto.emulator.call import Answer, Body, Call, json_answer, split_path
from airflow_provider_truto.emulator.control import control
from airflow_provider_truto.emulator.errors import envelope
from airflow_provider_truto.emulator.faults import Fault
from airflow_provider_truto.emulator.replays import idempotency_scope
from airflow_provider_truto.emulator.state import State

_log = logging.getLogger(__name__)

_LINGER_NOT = struct.pack("ii", 1, 0)  # close a socket with a RST, dropping what is still to be sent
_NO_BODY = (204, 304)
_NOTHING = Answer(500, b"")  # stands in for the answer of a connection that is reset before the call is executed


def application(state: State, *, report: Callable[[str], None] | None = None) -> Router:
    """Truto on one state, and the control routes beside it. `report` gets a line for every answer of Truto's."""
    return Router([control(state)], redirect_slashes=False, default=Api(state, report=report))


class Api:
    """Everything that Truto answers; Starlette does not route it, since it reads paths decoded."""

    def __init__(self, state: State, *, report: Callable[[str], None] | None = None) -> None:
        self._state = state
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        try:
            call = self._call(scope, await Request(scope, receive).body())
        except ClientDisconnect:
            return
        self._state.requests.append(call)
        fault = self._state.fault_for(call)
        async with self._state.replays.turn(idempotency_scope(call)):
            answer = self._answer(call) if fault is None else await self._faulted(call, fault)
        if self._report:
            self._report(f"{call.method} {call.target} {'reset' if fault and fault.reset else answer.status}")
        transport: asyncio.Transport = scope["state"]["transport"]
        if fault and fault.reset:
            _reset(transport)
            await _wait_for_disconnect(receive)
        elif fault and fault.cut is not None:
            await _send_cut(answer, send, length=fault.cut)
            transport.close()
            await _wait_for_disconnect(receive)
        else:
            await _response(answer)(scope, receive, send)

    def _call(self, scope: Scope, body: bytes) -> Call:
        raw_path = scope["raw_path"].decode("ascii")
        query_string = scope["query_string"].decode("ascii")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        token = self._state.tokens.named(headers.get("authorization"))
        if "authorization" in headers:
            headers["authorization"] = "Bearer unknown" if token is None else "Bearer valid"
        pairs = query.split(query_string)
        return Call(
            method=scope["method"],
            target=f"{raw_path}?{query_string}" if query_string else raw_path,
            path=split_path(raw_path),
            pairs=pairs,
            query=query.nest(pairs),
            headers=headers,
            token=token,
            body=body,
            time=monotonic(),
            connection=scope["state"]["connection"],
        )

    def _answer(self, call: Call) -> Answer:
        try:
            return gateway.answer(self._state, call)
        except Exception:
            _log.exception("the emulator failed on %s %s", call.method, call.target)
            return json_answer(500, envelope(500, "The emulator failed, its log says why"))

    async def _faulted(self, call: Call, fault: Fault) -> Answer:
        """The answer after a fault's delays."""
        await asyncio.sleep(fault.delay_before)
        real = self._answer(call) if fault.executes else None
        await asyncio.sleep(fault.delay_after)
        answer = fault.shape(fault.scripted or real or _NOTHING)
        if real is None and fault.scripted and self._state.cache_refusals:
            self._state.replays.keep(idempotency_scope(call), answer)
        account = self._state.accounts.get(call.integrated_account_id or "")
        if account and fault.revokes_credentials:
            account.require_reauth("The provider refused the credentials")
        return answer


def _response(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if answer.chunk_size:
        chunks = _chunks(answer.body, size=answer.chunk_size)
        return StreamingResponse(chunks, status_code=answer.status, headers=headers)
    body = b"" if answer.status in _NO_BODY else answer.body[:]
    return Response(body, status_code=answer.status, headers=headers)


async def _chunks(body: Body, *, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def _send_cut(answer: Answer, send: Send, *, length: int) -> None:
    """Declare the whole length of an answer, and send only so much of it."""
    headers = [*answer.headers, ("content-length", str(len(answer.body)))]
    raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw_headers})
    await send({"type": "http.response.body", "body": answer.body[:length], "more_body": True})


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


async def _wait_for_disconnect(receive: Receive) -> None:
    """Until the server knows that the connection is gone; before, it would complain of a missing answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
