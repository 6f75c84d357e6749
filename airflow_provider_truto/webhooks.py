"""What Truto's webhooks say. Their receiver checks the signature; nothing here does, and no call is made.

A body is ``{"id", "event", "payload", "environment_id", "webhook_id", "created_at"}``. Sources: Truto's
docs/guides/webhooks and its reference texts on webhooks. They differ in the key of the event's name, ``event`` or
``event_type``, and show little of what is in ``payload``: who the customer is, is read where it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_truto.client.times import read_time

_NAMES = ("event", "event_type")
_LONGEST_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class TrutoEvent:
    """One event of a webhook.

    ``name`` is such as ``integrated_account:active``, and ``payload`` what the event is about, as Truto sends it.
    ``id`` is the same where Truto repeats a delivery. Other values are ``None`` where the body does not have them;
    ``integrated_account_id`` and ``tenant_id`` name the customer.
    """

    name: str
    payload: Mapping[str, Any]
    id: str | None = None
    integrated_account_id: str | None = None
    tenant_id: str | None = None
    webhook_id: str | None = None
    environment_id: str | None = None
    created_at: datetime | None = None

    @property
    def subject(self) -> str:
        """What it is about: ``integrated_account`` of ``integrated_account:active``."""
        return self.name.partition(":")[0]


def parse_event(body: Mapping[str, Any] | str | bytes) -> TrutoEvent:
    """Read the body of a webhook: its text, or the JSON object that a receiver has made of it.

    Raises ``ValueError`` where it is not an event of Truto's; the message says why.
    """
    given = _read_object(body)
    name = _read_name(given)
    payload = given.get("payload")
    if payload is None:
        payload = {}
    if not isinstance(payload, Mapping):
        raise ValueError(f"payload of the event {name!r} is not a JSON object: {_show(payload)}")  # noqa: TRY004
    integrated_account_id, tenant_id = _find_customer(name, given, payload)
    return TrutoEvent(
        name=name,
        payload=payload,
        id=_read_id(given, "id"),
        integrated_account_id=integrated_account_id,
        tenant_id=tenant_id,
        webhook_id=_read_id(given, "webhook_id"),
        environment_id=_read_id(given, "environment_id"),
        created_at=read_time(given.get("created_at")),
    )


def _read_object(body: Any) -> Mapping[str, Any]:
    if body is None:
        raise ValueError("there is no body: a receiver leaves out one that is too large to be kept")
    value = body
    if isinstance(body, str | bytes | bytearray):
        try:
            value = json.loads(body)
        except ValueError as error:
            raise ValueError(f"the body is not JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise ValueError(f"the body is not a JSON object: {_show(value)}")  # noqa: TRY004
    return value


def _read_name(given: Mapping[str, Any]) -> str:
    names = {given[key] for key in _NAMES if isinstance(given.get(key), str) and given[key]}
    if not names:
        raise ValueError(f"the body names no event, under `event` or `event_type`; it has {_show(sorted(given))}")
    if len(names) > 1:
        raise ValueError(f"the body names two events: {_show(sorted(names))}")
    return str(names.pop())


def _find_customer(name: str, given: Mapping[str, Any], payload: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the integrated account and the tenant: of the payload itself, of what it names, of the body.

    Raises ``ValueError`` where two of these differ: nobody knows whose event it is then.
    """
    inner = payload.get("integrated_account")
    account = inner if isinstance(inner, Mapping) else {}
    is_account = name.partition(":")[0] == "integrated_account"
    own = payload if is_account else {}
    found = (
        _read_id(payload, "integrated_account_id"),
        _read_id(account, "id"),
        _read_id(own, "id"),
        _read_id(given, "integrated_account_id"),
    )
    tenants = (_read_id(payload, "tenant_id"), _read_id(account, "tenant_id"), _read_id(given, "tenant_id"))
    return _find_one(found, "integrated accounts", fold=str.lower), _find_one(tenants, "tenants")


def _find_one(found: Iterable[str | None], what: str, *, fold: Callable[[str], str] = str) -> str | None:
    different: dict[str, str] = {}
    for one in found:
        if one is not None:
            different.setdefault(fold(one), one)
    if len(different) > 1:
        raise ValueError(f"the body names two {what}: {_show(list(different.values()))}")
    return next(iter(different.values()), None)


def _read_id(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _show(value: Any) -> str:
    return repr(value)[:_LONGEST_SHOWN]
