"""Which records have changed since they were confirmed last: a step between reading a source and sending it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.row_codec import encode_cells
from airflow_provider_truto.bulk.state.database import StateDatabase
from airflow_provider_truto.bulk.state.record_keys import RecordKeys, to_number
from airflow_provider_truto.records.request import LIVE
from airflow_provider_truto.records.validate import load_body_schema

#: Change it when this package makes a different body of the same record than before.
_FORMAT = 1
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_UNKNOWN = object()


class ChangeFilter:
    """Marks the records that are as they were confirmed last, and adds key and hash to the others.

    ``state`` is ``None`` in the first run. ``is_full``: everything is sent, whatever the state says. ``find_account``
    names the customer of a record. ``write_pending`` is awaited with the keys and ordinals of records that are about
    to be written, before they are returned. ``notes_seen``: which records the source has is kept, to find those that
    left it; ``notes_fields``: also which fields a record is given.
    """

    def __init__(
        self,
        state: StateDatabase | None,
        plan: Plan,
        *,
        is_full: bool,
        completed: CompletedRecords,
        find_account: Callable[[Record], str],
        write_pending: Callable[[list[tuple[int, int]]], Awaitable[None]] | None = None,
        notes_seen: bool = False,
        notes_fields: bool = False,
    ) -> None:
        self._state = state
        if state is not None:
            state.forget_notes()
        self._is_full = is_full
        self._completed = completed
        self._find_account = find_account
        self._write_pending = write_pending
        self._notes_seen = notes_seen
        self._notes_fields = notes_fields
        operation = hashlib.blake2b(_describe_operation(plan), digest_size=8)
        nulls = operation.copy()
        nulls.update(b"nulls are meant")
        self._operations = {False: operation, True: nulls}
        self._keys = RecordKeys()
        self._has_changed = False
        #: Customers of whom a row was read that is yet to find its record.
        self._finding: set[str] = set()
        #: Rows of which nobody can say which record they are.
        self.unknown_rows = 0

    async def resolve(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records, those that are to be sent with ``key`` and ``content``, the others ``is_unchanged``.

        Behind a row of the same customer that may find any of its records, those have both: see ``Record``.
        """
        keys = [self._make_key(record) for record in records]
        known: Mapping[int, int | None] = {}
        changed: set[int] = set()
        if self._state is not None:
            records, keys = self._remember(self._state, records, keys)
            known, changed = self._look_up(self._state, [key for key in keys if key is not None])
        resolved: list[Record] = []
        newly_changed: list[int] = []
        pending: list[tuple[int, int]] = []
        for record, key in zip(records, keys, strict=True):
            is_final = self._completed.is_final(record.ordinal)
            if key is None:
                if record.is_removed and record.is_sent and record.key is not None and not is_final:
                    pending.append((record.key, record.ordinal))
                self.unknown_rows += record.left_out is None and not record.is_removed
                resolved.append(record)
                continue
            content, old = self._hash_content(record), known.get(key, _UNKNOWN)
            is_same = old == content and key not in changed
            if is_same and not self._is_full and not is_final:
                resolved.append(self._mark_unchanged(record, key, content))
                continue
            if record.id is None:
                self._finding.add(self._name_account(record))
            if not is_same and old is not _UNKNOWN and key not in changed:
                changed.add(key)
                newly_changed.append(key)
            if not is_same and not is_final:
                pending.append((key, record.ordinal))
            fields = _describe_clearing(record.body) if self._notes_fields else None
            resolved.append(record.replace(key=key, content=content, fields=fields, is_repeated=is_same))
        if newly_changed and self._state is not None:
            self._has_changed = True
            self._state.note_changed(newly_changed)
        if pending and self._write_pending is not None:
            await self._write_pending(pending)
        return resolved

    def _look_up(self, state: StateDatabase, keys: list[int]) -> tuple[Mapping[int, int | None], set[int]]:
        """Return the hashes of those records that are known, and which of them this run has written."""
        known = state.find_hashes(keys)
        if self._notes_seen:
            state.note_seen(known)
        return known, state.find_changed(list(known)) if self._has_changed else set()

    def _mark_unchanged(self, record: Record, key: int, content: int) -> Record:
        if self._finding and self._name_account(record) in self._finding:
            return record.replace(is_unchanged=True, key=key, content=content)
        return record.replace(is_unchanged=True)

    async def note_found(self, record: Record, account_id: str) -> None:
        """Note, before it is written, that a row means a record which the state knows by another name."""
        if self._state is None or self._write_pending is None or record.key is None or record.id is None:
            return
        key = self._keys.make(account_id, "id", record.id)
        if key != record.key and self._state.find_hashes([key]).get(key) is not None:
            await self._write_pending([(key, record.ordinal)])

    def _remember(
        self, state: StateDatabase, records: Sequence[Record], keys: Sequence[int | None]
    ) -> tuple[Sequence[Record], list[int | None]]:
        """Give rows without an id that of the record which an earlier run has found for them, and its key."""
        asked = [key for record, key in zip(records, keys, strict=True) if key is not None and record.id is None]
        found = state.find_matched(asked)
        if not found:
            return records, list(keys)
        named, own = [], []
        for record, key in zip(records, keys, strict=True):
            match = None if key is None or record.id is not None else found.get(key)
            named.append(record if match is None else record.replace(id=match.id, is_remembered=True))
            own.append(key if match is None else match.key)
        return named, own

    def _make_key(self, record: Record) -> int | None:
        """Return the hash of a record's customer, and of its id or what it is found by."""
        kind: Literal["id", "match"] = "match" if record.id is None else "id"
        name = record.match_key if record.id is None else record.id
        if not name or record.is_removed or not record.is_sent:
            return None
        return self._keys.make(self._name_account(record), kind, name)

    def _name_account(self, record: Record) -> str:
        return record.integrated_account_id or self._find_account(record)

    def _hash_content(self, record: Record) -> int:
        hasher = self._operations[record.nulls_are_meant].copy()
        try:
            hasher.update(_encode(record.body).encode(errors="surrogatepass"))
        except (TypeError, ValueError, RecursionError):  # not all of it is JSON
            hasher.update(encode_cells([record.body]))
        return to_number(hasher)


def _describe_clearing(body: Any) -> str | None:
    """Return the body that clears what a body sets, as JSON."""
    return _encode(_clear(body)) if isinstance(body, Mapping) else None


def _clear(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _clear(item) for name, item in value.items()}
    return [] if isinstance(value, (list, tuple)) else None


def _describe_operation(plan: Plan) -> bytes:
    """Name everything but the record that determines which body is sent."""
    template = plan.template
    if template.schema == LIVE:
        schema: Any = LIVE  # each customer's own: full_every sends what a change of it changes
    else:
        loaded = load_body_schema(template)
        schema = None if loaded is None else loaded.source
    options = [
        template.extra_fields,
        template.allow_empty,
        plan.coercion.on_none,
        plan.safeguards.check_custom_fields,
    ]
    return json.dumps([_FORMAT, template.operation, schema, *options], sort_keys=True, default=str).encode()
