"""Following a list's cursors, without I/O.

Source: Truto's docs/api-reference/overview/pagination. A page may be empty while more follow; some lists come
under ``results`` instead of ``result``, and ``truto_key_by`` makes an object of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_truto.client.call import Call
from airflow_provider_truto.client.errors import TrutoTransportError, where
from airflow_provider_truto.client.exchange import Outcome

_CURSOR = "next_cursor"
#: Pages in a row without a record, after which a list is taken for one that has no end.
_MOST_EMPTY = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page. ``cursor`` gets the page after it, ``None`` at the end.

    ``is_partial`` is Truto's word for items that hold fewer fields, or fewer items, than there are. ``ended_early``:
    Truto named a next page by a cursor that it had given before. ``notes`` are sentences for the log.
    """

    items: list[Any]
    cursor: str | None
    is_partial: bool = False
    ended_early: bool = False
    notes: tuple[str, ...] = ()


def pages(first: Call) -> Generator[Call | Page, Outcome | None, None]:
    """Yield each page's call, receive its outcome, and yield the page. One page is held at a time.

    A cursor that had been given before ends the list, which its page then notes. Raises ``TrutoTransportError`` where
    page after page holds no record and names another one, and as ``page_of`` does.
    """
    # A cursor may be a kilobyte long and there may be a million of them: their digests are remembered.
    seen = {_digest(value) for name, value in first.query if name == _CURSOR}
    was_partial = False
    empty = 0
    call: Call | None = first
    while call is not None:
        outcome = yield call
        page = page_of(call, outcome.value if outcome else None)
        empty = 0 if page.items else empty + 1
        if empty >= _MOST_EMPTY and page.cursor is not None:
            raise _endless(call, page.cursor)
        notes = []
        if page.is_partial and not was_partial:
            was_partial = True
            notes.append(f"{where(call)}: Truto says that this response is partial: it may lack fields or items")
        cursor = page.cursor
        if cursor is not None and _digest(cursor) in seen:
            cursor = None
            notes.append(
                f"{where(call)}: the list ends here, since Truto gave a cursor that it had given before;"
                " there may be more records"
            )
        if cursor is not None:
            seen.add(_digest(cursor))
        yield replace(page, cursor=cursor, notes=tuple(notes), ended_early=cursor is None and page.cursor is not None)
        call = None if cursor is None else _with_cursor(first, cursor)


def _endless(call: Call, cursor: str) -> TrutoTransportError:
    error = TrutoTransportError(
        f"{where(call)}: {_MOST_EMPTY:,} pages in a row held no record, and each named a further one: the list seems"
        f" to have no end. Ask for less with a filter, or go on from the last page with next_cursor={cursor[:500]!r}."
    )
    error.transient = False
    return error


def page_of(call: Call, value: Any) -> Page:
    """Read one answer of a list. Raises ``TrutoTransportError`` where it is no list of Truto's."""
    found = [value.get("result"), value.get("results")] if isinstance(value, dict) else []
    result = next((items for items in found if items is not None), None)
    if isinstance(result, dict):
        result = list(result.values())
    if not isinstance(value, dict) or not isinstance(result, list):
        raise TrutoTransportError(
            f"{where(call)}: the answer is no list: it has neither `result` nor `results`. Truto's lists have one;"
            " look at what answers at the connection's host."
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


def _with_cursor(first: Call, cursor: str) -> Call:
    rest = tuple(pair for pair in first.query if pair[0] != _CURSOR)
    return replace(first, query=(*rest, (_CURSOR, cursor)))
