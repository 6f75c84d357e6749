"""Pages of a list: `limit` and an opaque `next_cursor`, which is null at the end."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from airflow_provider_truto.emulator.http.errors import RefusedError
from airflow_provider_truto.emulator.http.request import Request

Item = TypeVar("Item")

PLATFORM_LIMIT = 5000
"""How many items a page of the platform's own lists has where the call does not say."""


@dataclass(frozen=True)
class Page:
    """`limit` items from the place `start` on, counted from 0."""

    limit: int
    start: int = 0

    @classmethod
    def from_request(cls, request: Request, *, default_limit: int) -> Page:
        """Return the page that a call asks for; an empty cursor asks for the first. Refuses nonsense with 400."""
        limit = request.query.get("limit", str(default_limit))
        if not isinstance(limit, str) or not limit.isdecimal() or int(limit) == 0:
            raise RefusedError(400, "limit must be a positive number")
        cursor = request.query.get("next_cursor")
        return cls(limit=int(limit), start=_read_cursor(cursor) if cursor else 0)

    def slice_items(self, items: Sequence[Item]) -> tuple[Sequence[Item], str | None]:
        """Return the items on this page, and the cursor of the next one."""
        end = self.start + self.limit
        return items[self.start : end], _write_cursor(end) if end < len(items) else None


def _write_cursor(start: int) -> str:
    return base64.urlsafe_b64encode(f"start={start}".encode()).decode()


def _read_cursor(cursor: object) -> int:
    try:
        name, _, start = base64.urlsafe_b64decode(str(cursor)).decode().partition("=")
    except ValueError:
        name = start = ""
    if name != "start" or not start.isdecimal():
        raise RefusedError(400, "next_cursor is not one of this API's cursors")
    return int(start)
