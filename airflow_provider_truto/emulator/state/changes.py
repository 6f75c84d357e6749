"""Records that change by themselves after a while, as where somebody works in the CRM.

    {"integrated_account_id": "<uuid>", "resource": "crm/accounts", "id": "23423523",
     "fields": {"name": "Renamed"}, "after_seconds": 2.5}

`fields` are unified ones. `updated_at` becomes the moment of the change, unless they name another (a CRM may show a
change late) or null (it has none). A record that is not there is created. The change comes at once, after so many
seconds, or with `after_calls` once so many calls about this resource of this account were answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.state.resources import RESOURCES
from airflow_provider_truto.emulator.state.seed import to_native

_TEXTS = ("integrated_account_id", "resource", "id")
_KEYS = (*_TEXTS, "fields", "after_seconds", "after_calls")


@dataclass
class Change:
    """One change that is to come: at a `moment`, or where there is none after so many `calls` more."""

    account_id: str
    resource: str
    record_id: str
    fields: dict[str, Any]
    moment: datetime | None
    calls: int

    def is_due(self) -> bool:
        """Whether its time has come."""
        return self.calls <= 0 if self.moment is None else datetime.now(timezone.utc) >= self.moment

    def apply(self, records: dict[str, dict[str, Any]]) -> None:
        """Change the record among these, or create it."""
        moment = timestamps.write(self.moment) if self.moment else timestamps.now()
        old = records.get(self.record_id)
        started = {} if old else {"created_at": moment}
        changed = to_native(
            {"id": self.record_id, **started, "updated_at": moment, **self.fields}, RESOURCES[self.resource]
        )
        properties = {**(old or changed)["properties"], **changed["properties"]}
        properties = {name: value for name, value in properties.items() if value is not None}
        records[self.record_id] = {**(old or {}), **changed, "properties": properties}


def read_change(spec: Mapping[str, Any]) -> Change:
    """Return the change that JSON describes. Raises ValueError."""
    if unknown := [key for key in spec if key not in _KEYS]:
        raise ValueError(f"a change has no {unknown[0]!r}; known are {', '.join(_KEYS)}")
    for key in _TEXTS:
        if not isinstance(spec.get(key), str) or not spec[key]:
            raise ValueError(f"a change needs {key!r}, a text")
    if spec["resource"] not in RESOURCES:
        raise ValueError(f"there is no resource {spec['resource']!r}")
    fields, known = spec.get("fields", {}), {field.name for field in RESOURCES[spec["resource"]].fields}
    if not isinstance(fields, Mapping) or not known.issuperset(fields):
        raise ValueError(f"fields is an object of {', '.join(sorted(known))}")
    seconds, calls = spec.get("after_seconds", 0), spec.get("after_calls", 0)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        raise ValueError("after_seconds is a number, and not below 0")
    if not isinstance(calls, int) or isinstance(calls, bool) or calls < 0:
        raise ValueError("after_calls is a whole number, and not below 0")
    if seconds and calls:
        raise ValueError("after_seconds and after_calls exclude each other")
    return Change(
        account_id=spec["integrated_account_id"],
        resource=spec["resource"],
        record_id=spec["id"],
        fields=dict(fields),
        moment=None if calls else datetime.now(timezone.utc) + timedelta(seconds=seconds),
        calls=calls,
    )
