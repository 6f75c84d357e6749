"""The routes under `/_emulator`, by which a test steers an emulator in another process.

They need no token, and are neither logged nor hit by faults.

    POST   /_emulator/faults          a fault (see `faults`)
    DELETE /_emulator/faults          forget all faults
    GET    /_emulator/log             {"requests": […], "executions": […]}
    POST   /_emulator/reset           back to the seed
    POST   /_emulator/tokens          {"token": "…", "expires_at": "…" or null}: accept this API token
    DELETE /_emulator/tokens/{token}  accept it no longer
    GET    /_emulator/state           {"integrated_accounts": […], "records": {…}} as they are now
"""

from __future__ import annotations

from typing import Any

from airflow_provider_truto.emulator.call import Answer, Call, json_answer
from airflow_provider_truto.emulator.errors import envelope
from airflow_provider_truto.emulator.state import State


def answer(state: State, call: Call) -> Answer:
    """The answer to a call under `/_emulator`; `{}` where there is nothing to tell."""
    try:
        return json_answer(200, _done(state, call))
    except LookupError as error:
        return json_answer(404, envelope(404, str(error.args[0])))
    except ValueError as error:
        return json_answer(400, envelope(400, str(error)))


def _done(state: State, call: Call) -> dict[str, Any]:
    match (call.method, *call.path[1:]):
        case ("POST", "faults"):
            state.add_fault(_object(call))
        case ("DELETE", "faults"):
            state.clear_faults()
        case ("GET", "log"):
            return {"requests": state.request_log(), "executions": state.execution_log()}
        case ("POST", "reset"):
            state.reset()
        case ("POST", "tokens"):
            _add_token(state, _object(call))
        case ("DELETE", "tokens", token):
            if not state.revoke_token(token):
                raise LookupError("this token is not known")
        case ("GET", "state"):
            return state.shown()
        case _:
            raise LookupError(f"the emulator has no {call.method} /{'/'.join(call.path)}")
    return {}


def _add_token(state: State, given: dict[str, Any]) -> None:
    token, expires_at = given.pop("token", None), given.pop("expires_at", None)
    if given or not isinstance(token, str) or not token or not isinstance(expires_at, str | None):
        raise ValueError('a token is {"token": "…", "expires_at": "…" or null}')
    state.add_token(token, expires_at=expires_at)


def _object(call: Call) -> dict[str, Any]:
    given = call.json()
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 – of the caller's text, not of our types
    return given
