"""A request as it arrived: a plain value between the socket and the routes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

_DATA_ROUTES = ("unified", "proxy", "custom", "batch-request")


@dataclass(frozen=True)
class Token:
    """A token without its text, so that a logged call cannot give it away.

    `number` is that of the API token, by which Truto counts requests; a token of an integrated account has that
    of the one with which it was minted, and the `account_id` for which it is good.
    """

    number: int
    expires_at: datetime | None
    account_id: str | None = None


@dataclass(slots=True)
class Request:
    """What arrived.

    `path` is split on the slashes of the wire and then decoded, so that the record `a%2Fb` has the id `a/b`.
    `query` is nested as `qs` reads it. Header names are lower-case; `authorization` holds no token.
    `token` is None unless the call carried one that is known and not expired. `time` is `time.monotonic()`.
    `status` is that of the answer: None before, and where the connection was reset instead.
    """

    method: str
    target: str
    path: tuple[str, ...]
    pairs: list[tuple[str, str]]
    query: dict[str, Any]
    headers: dict[str, str]
    token: Token | None
    body: bytes
    time: float
    connection: int
    status: int | None = None

    @property
    def is_for_data(self) -> bool:
        """Whether it goes to a customer's data: only such calls count for an account's limit, and are repeated."""
        return bool(self.path) and self.path[0] in _DATA_ROUTES

    @property
    def integrated_account_id(self) -> str | None:
        """The one account that the call is about: that of the query, of a batch's body, or of the token."""
        given = self.query.get("integrated_account_id")
        if not given and self.path == ("batch-request",):
            body = self.json_or_none()
            given = body.get("integrated_account_id") if isinstance(body, dict) else None
        if not given and self.token:
            given = self.token.account_id
        return given if isinstance(given, str) and given else None

    def json(self) -> Any:
        """Return the body as JSON; raises ValueError where it is not JSON."""
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def to_entry(self) -> dict[str, Any]:
        """Return the call as the log shows it."""
        return {
            "method": self.method,
            "target": self.target,
            "path": list(self.path),
            "query": [list(pair) for pair in self.pairs],
            "headers": dict(self.headers),
            "body": self.json_or_none(),
            "body_bytes": len(self.body),
            "time": self.time,
            "connection": self.connection,
            "token": self._find_token_kind(),
        }

    def json_or_none(self) -> Any:
        """Return the body as JSON, None where it is not JSON."""
        try:
            return self.json()
        except ValueError:
            return None

    def _find_token_kind(self) -> str | None:
        if self.token is None:
            return None
        return f"account:{self.token.account_id}" if self.token.account_id else "api"


def split_path(raw_path: str) -> tuple[str, ...]:
    """`/unified/crm/accounts/a%2Fb` as ("unified", "crm", "accounts", "a/b")."""
    return tuple(unquote(segment) for segment in raw_path.split("/")[1:])


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
