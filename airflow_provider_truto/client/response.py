"""What came back over HTTP, and reading JSON out of it without trusting it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Response(NamedTuple):
    """An answer whose head, and unless streamed its whole body, has arrived.

    ``headers`` has lower-case names. ``stream`` is the transport's iterator over the bytes of a streamed
    answer; ``body`` is empty then. It may hold customers' data or a minted token: no ``repr`` shows it.
    ``seconds`` is how long it took, of which ``sent_after`` may have passed before the request went out, since it may
    have had to wait for a connection; 0 where it went out at once.
    """

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    stream: Any = None
    seconds: float = 0.0
    sent_after: float = 0.0

    def __repr__(self) -> str:
        return f"Response(status={self.status}, headers={self.headers!r})"

    @property
    def ok(self) -> bool:
        """Any 2xx: Truto's pages list 200, 201 and 204."""
        return 200 <= self.status < 300

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case, ``""`` where none was sent."""
        return self.headers.get("content-type", "").split(";", 1)[0].strip().lower()

    @property
    def claims_json(self) -> bool:
        """Whether the content type says JSON, or says nothing."""
        kind = self.content_type
        return kind in {"", "application/json"} or kind.endswith("+json")

    def json(self) -> Any:
        """Parse the body; an empty one is ``{}``.

        Raises ``ValueError`` where it is not JSON (cut off, HTML, bytes, nested too deeply).
        """
        if not self.body.strip():
            return {}
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply to be read") from error

    def text(self) -> str:
        """Decode the body for a message; what is not UTF-8 becomes a replacement character."""
        return self.body.decode(errors="replace")
