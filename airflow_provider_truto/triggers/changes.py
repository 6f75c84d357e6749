"""Following the changes in customers' CRMs, for an ``AssetWatcher``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_truto._compat import IS_AIRFLOW_2, count_metric
from airflow_provider_truto.client.accounts import find_account_fault
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.names import find_other_customer
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.triggers._change_cursor import MOST_IDS, Cursor, Look, find_changed, read_clock
from airflow_provider_truto.triggers._change_looks import OWN_PARAMETERS, SharedLooks, Watched, share_looks

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2.11
    BaseEventTrigger = BaseTrigger

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoAsyncHook

#: Seconds after which Airflow has surely stored an event that it was handed: it takes one or two. The cursor moves
#: after that. A triggerer that is killed in between tells the event again; the other way round, it would be lost.
STORED_AFTER = 5.0
#: Seconds until the next look after an error that a repeat cannot help, and at most after others in a row.
_LONG_PAUSE = 900.0
_LONGEST_PAUSE = 300.0
#: Looks that failed in a row, from which on a warning is an error.
_MANY = 5


class TrutoChangesTrigger(BaseEventTrigger):
    """Fires an event for each customer in whose CRM records of a unified resource have changed. Needs Airflow 3.

    It never ends and never fails: an error of one customer delays that customer's next look, and is logged.

    :param asset_name: the name of the asset that is watched. Two assets need two names: Airflow runs triggers with
        equal arguments as one, which then has one cursor.
    :param model: the unified model, ``"crm"``.
    :param resource: the unified resource, ``"accounts"``.
    :param integrated_account_ids: the customers.
    :param truto_conn_id: the Airflow connection, which the triggerer reads.
    :param poll_interval: seconds, or a timedelta, from one look at a customer's records to the next.
    :param overlap: seconds, or a timedelta, for which each look goes back before the last one. It covers a CRM's
        clock that is behind, and changes that its lists show late.
    :param query: further parameters of the list, such as ``{"limit": 100}``; not those that say which changes are
        asked for, and of whom.

    The payload of an event is ``{"integrated_account_id", "model", "resource", "ids", "count", "undated",
    "watermark_from", "watermark_to"}``: the ids in the order in which the records changed, 500 at most; how many
    there are; how many records of the list have no ``updated_at``, and so are never among them; and the time span
    that was looked at (ISO 8601), by which a DAG may list the records itself.
    """

    def __init__(
        self,
        *,
        asset_name: str,
        model: str,
        resource: str,
        integrated_account_ids: Sequence[str],
        truto_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float | timedelta = 60.0,
        overlap: float | timedelta = 120.0,
        query: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if IS_AIRFLOW_2:
            raise RuntimeError("TrutoChangesTrigger needs Airflow 3: Airflow 2 has no AssetWatcher.")
        super().__init__(**kwargs)
        self.asset_name = asset_name
        self.model = model
        self.resource = resource
        self.integrated_account_ids = _check_accounts(integrated_account_ids)
        self.truto_conn_id = truto_conn_id
        self.poll_interval = _to_seconds("poll_interval", poll_interval, at_least=1.0)
        self.overlap = _to_seconds("overlap", overlap, at_least=0.0)
        self.query = dict(query or {})
        for name in ("asset_name", "model", "resource", "truto_conn_id"):
            if not isinstance(value := getattr(self, name), str) or not value.strip():
                raise ValueError(f"{name} expects text, got {value!r}")
        if own := sorted(name for name in self.query if name in OWN_PARAMETERS or find_other_customer([name])):
            raise ValueError(f"query: {', '.join(own)} is what the trigger asks for itself")
        json.dumps(self.query)  # what is not JSON is said here, and not by Airflow's scheduler

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again: its class, and its arguments, which are JSON."""
        cls = type(self)
        return f"{cls.__module__}.{cls.__qualname__}", {
            "asset_name": self.asset_name,
            "model": self.model,
            "resource": self.resource,
            "integrated_account_ids": list(self.integrated_account_ids),
            "truto_conn_id": self.truto_conn_id,
            "poll_interval": self.poll_interval,
            "overlap": self.overlap,
            "query": self.query,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again; yield an event for each customer with changes."""
        from airflow_provider_truto.hooks.truto import TrutoAsyncHook

        events: asyncio.Queue[tuple[dict[str, Any], asyncio.Event]] = asyncio.Queue()
        # One attempt per look: the next look is the repeat.
        async with TrutoAsyncHook(self.truto_conn_id, max_attempts=1) as hook:
            followers = [
                asyncio.create_task(_Follower(self, hook, account, events).follow())
                for account in self.integrated_account_ids
            ]
            try:
                while True:
                    payload, taken = await events.get()
                    yield TriggerEvent(payload)
                    taken.set()
            finally:
                for follower in followers:
                    follower.cancel()
                await asyncio.gather(*followers, return_exceptions=True)

    def find_store(self) -> Any:
        """Return the state store of the watched asset; ``None`` before Airflow 3.3.2. Raises ``ValueError``."""
        stores = getattr(self, "asset_state_store", None)
        if stores is None:
            return None
        from airflow.sdk.definitions.asset import AssetNameRef

        try:
            store = stores[AssetNameRef(name=self.asset_name)]
        except KeyError:
            raise ValueError(
                f"asset_name is {self.asset_name!r}, which is not the name of the asset that this trigger watches"
            ) from None
        # Airflow 3.3.0 and 3.3.1 have one that would block the triggerer's loop.
        return store if hasattr(store, "aget") else None


class _Follower:
    """Follows the changes of one customer, whatever becomes of the others."""

    def __init__(
        self,
        trigger: TrutoChangesTrigger,
        hook: TrutoAsyncHook,
        account: str,
        events: asyncio.Queue[tuple[dict[str, Any], asyncio.Event]],
    ) -> None:
        self._trigger = trigger
        self._hook = hook
        self._events = events
        self._log = trigger.log
        self._overlap = timedelta(seconds=trigger.overlap)
        self._watched = Watched(
            truto_conn_id=trigger.truto_conn_id,
            model=trigger.model,
            resource=trigger.resource,
            integrated_account_id=account,
            query=trigger.query,
        )
        self._begun = read_clock()
        self._cursor: Cursor | None = None
        self._is_saved = False
        self._failed = 0
        self._warned: set[str] = set()

    async def follow(self) -> None:
        """Look, sleep, and look again, until it is cancelled."""
        looks = share_looks(self._watched)
        while True:
            try:
                pause = await self._look(looks)
                self._failed = 0
            except Exception as error:  # a trigger that raises is started again each second
                pause = self._log_failure(error)
            await asyncio.sleep(pause)

    async def _look(self, looks: SharedLooks) -> float:
        """Look once; return the seconds until the next look."""
        interval = self._trigger.poll_interval
        if self._cursor is None:
            self._cursor = await self._read_cursor()
        since = (self._cursor.watermark if self._cursor else self._begun) - self._overlap
        look, began = await looks.take(self._hook, self._watched, since=since, at_most=interval)
        # The first look may be a sibling's, of shortly before.
        cursor = self._cursor or Cursor(watermark=min(self._begun, look.started))
        ids, cursor = find_changed(look, cursor, overlap=self._overlap)
        self._warn_of_list(look)
        if ids:
            await self._fire(ids, look, since=since)
            self._is_saved = False
        self._cursor = cursor
        # Without a change, a look from the older cursor finds the same: so only changes are written.
        if not self._is_saved:
            await self._save_cursor(cursor, is_fired=bool(ids))
        return max(began + interval - time.monotonic(), 0.0)

    async def _fire(self, ids: list[str], look: Look, *, since: datetime) -> None:
        payload = {
            "integrated_account_id": self._watched.integrated_account_id,
            "model": self._watched.model,
            "resource": self._watched.resource,
            "ids": ids[:MOST_IDS],
            "count": len(ids),
            "undated": look.undated,
            "watermark_from": since.isoformat(),
            "watermark_to": look.started.isoformat(),
        }
        taken = asyncio.Event()
        await self._events.put((payload, taken))
        await taken.wait()
        self._log.info("%s: changed since %s: %d", self._watched, since.isoformat(), len(ids))

    @property
    def _key(self) -> str:
        one = self._watched
        names = ["truto", "changes", one.model, one.resource, one.integrated_account_id]
        if one.query:
            query = json.dumps(one.query, sort_keys=True).encode()
            names.append(hashlib.blake2b(query, digest_size=6).hexdigest())
        return "/".join(names)

    async def _read_cursor(self) -> Cursor | None:
        """Return the cursor of the asset's state store, where there is one."""
        store = self._trigger.find_store()
        kept = None if store is None else await store.aget(self._key)
        if kept is None:
            return None
        try:
            cursor = Cursor.from_json(kept)
        except ValueError as error:
            raise ValueError(f"the asset's state {self._key!r} cannot be read: {error}. Fix or delete it.") from None
        self._is_saved = True
        return cursor

    async def _save_cursor(self, cursor: Cursor, *, is_fired: bool) -> None:
        store = self._trigger.find_store()
        if store is None:
            return
        if is_fired:
            await asyncio.sleep(STORED_AFTER)
        await store.aset(self._key, cursor.to_json())
        self._is_saved = True

    def _log_failure(self, error: Exception) -> float:
        """Log and count a look that failed; return the seconds until the next one."""
        self._failed += 1
        count_metric("truto.changes.failed_looks", 1)
        interval = self._trigger.poll_interval
        is_known = isinstance(error, TrutoError)
        if isinstance(error, TrutoError) and not error.transient:
            level, pause = logging.ERROR, max(interval, _LONG_PAUSE)
        else:
            level = logging.ERROR if self._failed >= _MANY else logging.WARNING
            pause = max(interval, min(interval * 2.0 ** min(self._failed - 1, 20), _LONGEST_PAUSE))
            pause = max(pause, getattr(error, "retry_after", None) or 0.0)
        self._log.log(
            level,
            "%s: look failed, number %d in a row; the next one is in %.0f s: %s",
            self._watched,
            self._failed,
            pause,
            error,
            exc_info=None if is_known or self._failed > 1 else error,
        )
        return pause

    def _warn_of_list(self, look: Look) -> None:
        """Warn once of a list in which changes cannot be seen, or that costs more than it should."""
        if look.undated and "undated" not in self._warned:
            self._warned.add("undated")
            text = "%s: %d records have no updated_at (or no id): their changes are not seen"
            self._log.warning(text, self._watched, look.undated)
        if look.older and "older" not in self._warned:
            self._warned.add("older")
            text = "%s: this CRM does not filter by updated_at, so that every look reads all records: %d older ones"
            self._log.warning(text, self._watched, look.older)


def _check_accounts(accounts: Any) -> list[str]:
    if isinstance(accounts, str) or not isinstance(accounts, Sequence) or not accounts:
        raise ValueError(
            f"integrated_account_ids expects a list of the customers' integrated accounts, got {accounts!r}"
        )
    for account in accounts:
        if fault := find_account_fault(account):
            raise ValueError(f"integrated_account_ids: {fault}")
    return list(dict.fromkeys(account.lower() for account in accounts))


def _to_seconds(name: str, value: Any, *, at_least: float) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not at_least <= seconds < float("inf"):
        raise ValueError(f"{name} expects seconds, {at_least:g} or more, or a timedelta, got {value!r}")
    return float(seconds)
