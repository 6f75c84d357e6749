"""A response as it leaves: a plain value between the routes and the socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

JSON = ("content-type", "application/json")


class Body(Protocol):
    """What an answer's body must be able to do; `bytes` can, and so can something that is made while it is sent."""

    def __len__(self) -> int: ...
    def __getitem__(self, piece: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Response:
    """What leaves.

    `executed` tells a CRM's answer from a refusal. With a `chunk_size`, the body has no length header and leaves
    in pieces of so many bytes.
    """

    status: int
    body: Body
    headers: tuple[tuple[str, str], ...] = (JSON,)
    executed: bool = False
    chunk_size: int | None = None


def json_response(status: int, value: Any, *headers: tuple[str, str], executed: bool = False) -> Response:
    """Return an answer whose body is this value."""
    return Response(status=status, body=encode_json(value), headers=(JSON, *headers), executed=executed)


def encode_json(value: Any) -> bytes:
    """Write compact JSON. A lone surrogate is written as its escape, as JavaScript does."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
