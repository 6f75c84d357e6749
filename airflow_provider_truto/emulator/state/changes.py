"""Records that change by themselves after a while, as where somebody works in the CRM.

    {"integrated_account_id": "<uuid>", "resource": "crm/accounts", "id": "23423523",
     "fields": {"name": "Renamed"}, "after_seconds": 2.5}

`fields` are unified ones. `updated_at` becomes the moment of the change, unless they name another (a CRM may show a
change late) or null (it has none). A record that is not there is created. The change comes at once, after so many
seconds, or with `after_calls` once so many calls about this resource of this account were answered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.state.resources import RESOURCES
from airflow_provider_truto.emulator.state.seed import to_native

_TEXTS = ("integrated_account_id", "resource", "id")
_KEYS = (*_TEXTS, "fields", "after_seconds", "after_calls")


@dataclass
class Change:
    """One change that is to come; `calls` is how many calls are left until then."""

    account_id: str
    resource: str
    record_id: str
    fields: dict[str, Any]
    seconds: float
    calls: int
    since: float = field(default_factory=time.monotonic)
    moment: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def is_due(self) -> bool:
        """Whether its time has come."""
        return self.calls <= 0 and time.monotonic() >= self.since + self.seconds

    def apply(self, records: dict[str, dict[str, Any]]) -> None:
        """Change the record among these, or create it."""
        is_timed = self.seconds > 0
        moment = timestamps.write(self.moment + timedelta(seconds=self.seconds)) if is_timed else timestamps.now()
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
    return Change(
        account_id=spec["integrated_account_id"],
        resource=spec["resource"],
        record_id=spec["id"],
        fields=dict(fields),
        seconds=seconds,
        calls=calls,
    )
