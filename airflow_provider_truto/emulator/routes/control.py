"""The routes under `/_emulator`, by which a test steers an emulator in another process.

They need no token, and are neither logged nor hit by faults.

    POST   /_emulator/faults          a fault (see `faults`)
    DELETE /_emulator/faults          forget all faults
    POST   /_emulator/changes         a change of a record, at once or after a while (see `changes`)
    GET    /_emulator/log             {"requests": […], "executions": […], "mints": […]}
    POST   /_emulator/reset           back to the seed
    POST   /_emulator/tokens          {"token": "…", "expires_at": "…" or null}: accept this API token
    DELETE /_emulator/tokens/{token}  no longer accept it
    DELETE /_emulator/account-tokens  no longer accept any token that was minted for an integrated account
    GET    /_emulator/state           {"integrated_accounts": […], "records": {…}} as they are now
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from airflow_provider_truto.emulator.http.errors import build_envelope
from airflow_provider_truto.emulator.state.state import State


def build_control_routes(state: State) -> Mount:
    """Return the control routes of one state. They answer `{}` where there is nothing to tell."""

    async def add_fault(request: Request) -> None:
        state.add_fault(await _read_object(request))

    async def clear_faults(_: Request) -> None:
        state.clear_faults()

    async def add_change(request: Request) -> None:
        state.add_change(await _read_object(request))

    async def show_log(_: Request) -> dict[str, Any]:
        return {"requests": state.list_requests(), "executions": state.list_executions(), "mints": state.list_mints()}

    async def reset(_: Request) -> None:
        state.reset()

    async def add_token(request: Request) -> None:
        given = await _read_object(request)
        token, expires_at = given.pop("token", None), given.pop("expires_at", None)
        if given or not isinstance(token, str) or not token or not isinstance(expires_at, str | None):
            raise ValueError('a token is {"token": "…", "expires_at": "…" or null}')
        state.add_token(token, expires_at=expires_at)

    async def revoke_token(request: Request) -> None:
        if not state.revoke_token(request.path_params["token"]):
            raise LookupError("this token is not known")

    async def revoke_account_tokens(_: Request) -> None:
        state.revoke_account_tokens()

    async def show(_: Request) -> dict[str, Any]:
        return state.dump()

    return Mount(
        "/_emulator",
        routes=[
            Route("/faults", _wrap(add_fault), methods=["POST"]),
            Route("/faults", _wrap(clear_faults), methods=["DELETE"]),
            Route("/changes", _wrap(add_change), methods=["POST"]),
            Route("/log", _wrap(show_log), methods=["GET"]),
            Route("/reset", _wrap(reset), methods=["POST"]),
            Route("/tokens", _wrap(add_token), methods=["POST"]),
            Route("/tokens/{token:path}", _wrap(revoke_token), methods=["DELETE"]),
            Route("/account-tokens", _wrap(revoke_account_tokens), methods=["DELETE"]),
            Route("/state", _wrap(show), methods=["GET"]),
        ],
    )


def _wrap(do: Callable[[Request], Awaitable[dict[str, Any] | None]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await do(request) or {})
        except LookupError as error:
            return JSONResponse(build_envelope(404, str(error.args[0])), 404)
        except ValueError as error:
            return JSONResponse(build_envelope(400, str(error)), 400)

    return endpoint


async def _read_object(request: Request) -> dict[str, Any]:
    given = await request.json()
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 – of the caller's text, not of our types
    return given
