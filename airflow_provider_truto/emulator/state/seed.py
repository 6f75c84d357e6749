"""The seed: everything an emulator knows when it starts, and again after a reset.

A JSON object with these keys. One that is left out is that of `seed.json`, except that there are no `records` where
`integrated_accounts` are given. An unknown key is an error, at every level.

    {
      "tokens": [{"token": "…", "expires_at": "2030-01-01T00:00:00Z" or null}],
      "integrations": {"hubspot": {"id": "<uuid>", "category": "crm", "resources": ["crm/accounts"],
                                   "unmapped": ["urls"], "required": ["name", "phone_numbers.number"],
                                   "id_in_body": false, "shared_definitions": false,
                                   "normalizes": false, "unique": ["website"],
                                   "ignores_filters": ["updated_at"]}},
      "integrated_accounts": [{"id": "<uuid>", "tenant_id": "acme", "integration": "hubspot", "status": "active",
                               "is_sandbox": false, "is_blocked": false, …any other key of the API's record}],
      "records": {"<integrated account id>": {"crm/accounts": [{"id": "23423523", "name": "…", …}]}},
      "logs": [{"log_type": "rapid_bridge", "timestamp": "2024-09-10T12:00:00.000Z", …the API's other keys}],
      "limits": {"token": {"requests": 500, "seconds": 10}, "account": {…}, "provider": {…}}
    }

Records are written in their unified form, under the keys of `resources`; `remote_data` holds keys of the CRM's own.
The options of an integration are explained in `accounts.Integration`; which integration has which says nothing about
the real CRM. Limits that are left out are those of `limits.DEFAULT_LIMITS`.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.http.limits import DEFAULT_LIMITS
from airflow_provider_truto.emulator.state.accounts import ACCOUNT_DEFAULTS
from airflow_provider_truto.emulator.state.logs import LOG_KEYS, LOG_TYPES
from airflow_provider_truto.emulator.state.resource import Resource
from airflow_provider_truto.emulator.state.resources import RESOURCES

_FIELDS = {field.name for resource in RESOURCES.values() for field in resource.fields}
_INNER_FIELDS = {
    f"{field.name}.{name}" for resource in RESOURCES.values() for field in resource.fields for name in field.children
}

SeedSource = str | os.PathLike[str] | Mapping[str, Any] | None


class SeedError(ValueError):
    """The seed cannot be used; the message says where."""


def default_seed() -> dict[str, Any]:
    """Return a fresh copy of `seed.json`, to be changed and given to an `Emulator`."""
    seed: dict[str, Any] = json.loads(Path(__file__).with_name("seed.json").read_text(encoding="utf-8"))
    return seed


def load_seed(source: SeedSource) -> dict[str, Any]:
    """Return the complete, checked seed of a file, of a mapping, or the default one. Raises SeedError."""
    seed = default_seed() | {"logs": [], "limits": {}}
    if source is not None:
        given = copy.deepcopy(source) if isinstance(source, Mapping) else _read(Path(source))
        _check_object(given, "seed", known=seed)
        if "integrated_accounts" in given:
            seed["records"] = {}
        seed.update(given)
    for place, token in enumerate(_list(seed["tokens"], "tokens")):
        _check_token(token, f"tokens[{place}]")
    _check_object(seed["integrations"], "integrations")
    for name, integration in seed["integrations"].items():
        _check_integration(integration, f"integrations.{name}")
    for place, account in enumerate(_list(seed["integrated_accounts"], "integrated_accounts")):
        _check_account(account, f"integrated_accounts[{place}]", integrations=seed["integrations"])
    for place, entry in enumerate(_list(seed["logs"], "logs")):
        _check_log_entry(entry, f"logs[{place}]")
    _check_object(seed["records"], "records", known=[account["id"] for account in seed["integrated_accounts"]])
    for account_id, by_resource in seed["records"].items():
        _check_records(by_resource, f"records.{account_id}")
    seed["limits"] = merge_limits(seed["limits"])
    return seed


def merge_limits(given: Mapping[str, Any], *, base: Mapping[str, Any] = DEFAULT_LIMITS) -> dict[str, Any]:
    """Return the base limits with those given in their place. Raises SeedError."""
    _check_object(given, "limits", known=base)
    for name, limit in given.items():
        _check_object(limit, f"limits.{name}", known=("requests", "seconds"))
        if not all(isinstance(number, int | float) and number > 0 for number in limit.values()):
            raise SeedError(f"limits.{name}: requests and seconds are positive numbers")
    return {name: {**limit, **given.get(name, {})} for name, limit in base.items()}


def to_native(record: Mapping[str, Any], resource: Resource) -> dict[str, Any]:
    """Return a seeded record as its CRM stores it."""
    properties = {field.native: record[field.name] for field in resource.fields if field.name in record}
    return {**record.get("remote_data", {}), "id": record["id"], "properties": properties}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SeedError(f"cannot read the seed {path}: {error.strerror}") from error
    except ValueError as error:
        raise SeedError(f"the seed {path} is not JSON: {error}") from error


def _check_object(value: Any, where: str, *, known: Iterable[str] | None = None, texts: Iterable[str] = ()) -> None:
    """Check that a value is an object without other keys than the `known`, and with a text under each of `texts`."""
    if not isinstance(value, Mapping):
        raise SeedError(f"{where}: must be an object")
    unknown = [] if known is None else [key for key in value if key not in known]
    if unknown:
        raise SeedError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known or ())}")
    for key in texts:
        if not isinstance(value.get(key), str) or not value[key]:
            raise SeedError(f"{where}: needs {key!r}, a text")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise SeedError(f"{where}: must be a list")
    return value


def _check_token(token: Any, where: str) -> None:
    _check_object(token, where, known=("token", "expires_at"), texts=("token",))
    if token.get("expires_at"):
        _check_time(token, "expires_at", where)


def _check_time(value: Mapping[str, Any], key: str, where: str) -> None:
    try:
        timestamps.read(value[key])
    except (ValueError, AttributeError) as error:
        raise SeedError(f"{where}: {key} is not an ISO 8601 time") from error


def _check_integration(integration: Any, where: str) -> None:
    flags = ("id_in_body", "shared_definitions", "normalizes")
    names = {
        **dict.fromkeys(("unmapped", "unique", "ignores_filters"), _FIELDS),
        "required": _FIELDS | _INNER_FIELDS,
        "resources": set(RESOURCES),
    }
    _check_object(integration, where, known=("id", "category", *names, *flags), texts=("id",))
    for option, known in names.items():
        for name in _list(integration.get(option, []), f"{where}.{option}"):
            if name not in known:
                what = "there is no resource" if option == "resources" else "no resource has a field"
                raise SeedError(f"{where}.{option}: {what} {name!r}")
    for option in flags:
        if not isinstance(integration.get(option, False), bool):
            raise SeedError(f"{where}.{option}: must be true or false")


def _check_log_entry(entry: Any, where: str) -> None:
    _check_object(entry, where, known=LOG_KEYS, texts=("log_type", "timestamp"))
    if entry["log_type"] not in LOG_TYPES:
        raise SeedError(f"{where}: log_type is one of {', '.join(LOG_TYPES)}")
    _check_time(entry, "timestamp", where)


def _check_account(account: Any, where: str, *, integrations: Mapping[str, Any]) -> None:
    known = ("integration", "is_blocked", *ACCOUNT_DEFAULTS)
    _check_object(account, where, known=known, texts=("id", "tenant_id", "integration"))
    if account["integration"] not in integrations:
        raise SeedError(f"{where}: the integration {account['integration']!r} is not seeded")


def _check_records(by_resource: Any, where: str) -> None:
    _check_object(by_resource, where, known=RESOURCES)
    for key, records in by_resource.items():
        known = ("id", "remote_data", *(field.name for field in RESOURCES[key].fields))
        for place, record in enumerate(_list(records, f"{where}.{key}")):
            _check_object(record, f"{where}.{key}[{place}]", known=known, texts=("id",))
