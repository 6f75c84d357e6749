"""Following a list's cursors.

Source: Truto's docs/api-reference/overview/pagination. A page may be empty while more follow; some lists come
under ``results`` instead of ``result``, and ``truto_key_by`` makes an object of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.errors import TrutoTransportError
from airflow_provider_truto.client.request import Request

_CURSOR = "next_cursor"
#: Pages in a row without a record, after which a list is taken for one that has no end.
_MOST_EMPTY = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page. ``cursor`` gets the page after it, ``None`` at the end.

    ``is_partial`` is Truto's word for items that hold fewer fields, or fewer items, than there are. ``ended_early``:
    Truto named a next page by a cursor that it had given before.
    """

    items: list[Any]
    cursor: str | None
    is_partial: bool = False
    ended_early: bool = False


class Pages:
    """The pages of a list, of which one is held at a time. Raises as ``parse_page`` does.

    Not an async generator: a running event loop would adopt one that a synchronous list has begun, and end it.
    """

    def __init__(self, client: Client, first: Request, *, account_key: str | None = None) -> None:
        """``account_key``: the name under which an item of a list of many customers holds its integrated account.

        What is of accounts that the connection does not allow is left out then.
        """
        self._client = client
        self._first = first
        self._account_key = account_key if client.settings.allowed_integrated_accounts else None
        self._next_request: Request | None = first
        # A cursor may be a kilobyte long and there may be a million of them: their digests are remembered.
        self._seen = {_digest(value) for name, value in first.query if name == _CURSOR}
        self._was_partial = False
        self._empty = 0

    async def next(self) -> Page | None:
        """Fetch the next page; ``None`` after the last one, and after one that failed.

        A cursor that had been given before ends the list, of which the log is told. Raises ``TrutoTransportError``
        where page after page holds no record and names another one.
        """
        request, self._next_request = self._next_request, None
        if request is None:
            return None
        page = parse_page(request, (await self._client.fetch(request)).value)
        self._client = self._client.putting_off(over=None)  # a list that starts over would deliver this page twice
        self._empty = 0 if page.items else self._empty + 1
        if self._empty >= _MOST_EMPTY and page.cursor is not None:
            raise _build_endless_error(request, page.cursor)
        if page.is_partial and not self._was_partial:
            self._was_partial = True
            self._client.warn(
                f"{request.describe()}: Truto says that this response is partial: it may lack fields or items"
            )
        if page.cursor is not None:
            page = self._follow(request, page, page.cursor)
        return self._drop_forbidden(page)

    def _follow(self, request: Request, page: Page, cursor: str) -> Page:
        if _digest(cursor) in self._seen:
            self._client.warn(
                f"{request.describe()}: the list ends here, since Truto gave a cursor that it had given before;"
                " there may be more records"
            )
            return replace(page, cursor=None, ended_early=True)
        self._seen.add(_digest(cursor))
        self._next_request = _replace_cursor(self._first, cursor)
        return page

    def _drop_forbidden(self, page: Page) -> Page:
        if (key := self._account_key) is None:
            return page
        allows = self._client.settings.allows
        return replace(page, items=[one for one in page.items if isinstance(one, dict) and allows(one.get(key))])


async def fetch_all(client: Client, request: Request, *, at_most: int) -> tuple[list[Any], bool]:
    """Return the items of a short list, and whether that is all of it.

    Raises ``TrutoTransportError`` where it has more than ``at_most`` items.
    """
    pages = Pages(client, request)
    items: list[Any] = []
    is_whole = True
    while (page := await pages.next()) is not None:
        items += page.items
        is_whole = is_whole and not page.is_partial and not page.ended_early
        if len(items) > at_most:
            raise TrutoTransportError(
                f"{request.describe()}: the list has more than {at_most} items, which is too many"
            )
    return items, is_whole


def _build_endless_error(request: Request, cursor: str) -> TrutoTransportError:
    error = TrutoTransportError(
        f"{request.describe()}: {_MOST_EMPTY:,} pages in a row held no record, and each named a further one: the list"
        " seems to have no end. Ask for less with a filter, or go on from the last page with"
        f" next_cursor={cursor[:500]!r}."
    )
    error.transient = False
    return error


def parse_page(request: Request, value: Any) -> Page:
    """Read one answer of a list. Raises ``TrutoTransportError`` where it is not a list of Truto's."""
    found = [value.get("result"), value.get("results")] if isinstance(value, dict) else []
    result = next((items for items in found if items is not None), None)
    if isinstance(result, dict):
        result = list(result.values())
    if not isinstance(value, dict) or not isinstance(result, list):
        raise TrutoTransportError(
            f"{request.describe()}: the answer is not a list: it has neither `result` nor `results`. Truto's lists"
            " have one; look at what answers at the connection's host."
        )
    cursor = value.get(_CURSOR)
    return Page(
        items=result,
        cursor=str(cursor) if _is_cursor(cursor) else None,
        is_partial=value.get("is_partial_response") is True,
    )


def _is_cursor(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _digest(cursor: str) -> bytes:
    return hashlib.blake2b(cursor.encode(errors="surrogatepass"), digest_size=12).digest()


def _replace_cursor(first: Request, cursor: str) -> Request:
    rest = tuple(pair for pair in first.query if pair[0] != _CURSOR)
    return first.replace(query=(*rest, (_CURSOR, cursor)))
