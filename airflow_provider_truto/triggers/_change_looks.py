"""Looking at one customer's list, together with other triggers of this process that look at the same."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from airflow_provider_truto.client.errors import TrutoTransportError
from airflow_provider_truto.triggers._change_cursor import Change, Look, read_change, read_clock

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoAsyncHook


#: Parameters of a list that a look sets, or whose answer it could not read.
OWN_PARAMETERS = frozenset({"updated_at", "next_cursor", "truto_ignore_remote_data", "truto_response_format"})


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One unified resource of one customer under one connection, and what else its list is asked for."""

    truto_conn_id: str
    model: str
    resource: str
    integrated_account_id: str
    query: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.model}/{self.resource} of integrated account {self.integrated_account_id}"

    async def list_changed(self, hook: TrutoAsyncHook, *, since: datetime) -> Look:
        """Ask for what changed since then, and compare it here: a CRM that cannot filter lists all that it has.

        Raises what a call raises, and ``TrutoTransportError`` where the list broke off.
        """
        started = read_clock()
        resource = hook.unified(self.model, self.resource, integrated_account_id=self.integrated_account_id)
        filters = {**self.query, "updated_at": {"gt": since}, "truto_ignore_remote_data": True}
        listing = resource.list(**filters)
        changes: list[Change] = []
        undated = older = 0
        async for record in listing:
            change = read_change(record)
            if change is None:
                undated += 1
            elif change.updated_at < since:
                older += 1
            else:
                changes.append(change)
        if listing.ended_early:
            raise TrutoTransportError(f"the list of {self} broke off: Truto named a page that it had named before")
        return Look(since=since, started=started, changes=tuple(changes), undated=undated, older=older)


class SharedLooks:
    """The newest look at something watched. Triggers that watch the same hold the same one of these."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._last: Look | None = None
        self._taken = 0.0

    async def take(
        self, hook: TrutoAsyncHook, watched: Watched, *, since: datetime, at_most: float
    ) -> tuple[Look, float]:
        """Return a look that goes back to ``since`` and is not older than ``at_most`` seconds, and when it began.

        It is another trigger's where there is one, and else a new one. When it began is by the monotonic clock.
        Raises as ``list_changed`` does.
        """
        async with self._lock:
            last = self._last
            if last is None or last.since > since or time.monotonic() - self._taken >= at_most:
                taken = time.monotonic()
                self._last = last = await watched.list_changed(hook, since=since)
                self._taken = taken
            return last, self._taken


#: By event loop, to which a lock belongs.
_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[tuple[str, ...], SharedLooks]]
_SHARED = WeakKeyDictionary()


def share_looks(watched: Watched) -> SharedLooks:
    """Return the looks of all triggers in this event loop that watch the same."""
    query = json.dumps(watched.query, sort_keys=True)
    names = (watched.truto_conn_id, watched.model, watched.resource, watched.integrated_account_id, query)
    shared = _SHARED.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    return shared.setdefault(names, SharedLooks())
