"""The CRM's half of a call: one resource of one customer, with a mind of its own.

A record is `{"id": "23423523", "properties": {"employeeCount": 120, …}}`, and beside these two whatever else
was sent. Errors are the CRM's own, in its own words.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_truto.emulator.http import timestamps
from airflow_provider_truto.emulator.http.errors import ProviderError
from airflow_provider_truto.emulator.state.accounts import Integration
from airflow_provider_truto.emulator.state.resource import Resource

Native = dict[str, Any]


class Crm:
    """The records of one resource and the rules that this CRM has for them. They are shared with the state."""

    def __init__(self, *, resource: Resource, integration: Integration, records: dict[str, Native]) -> None:
        self._fields = {field.native: field for field in resource.fields}
        self._unique = [field.native for field in resource.fields if field.name in integration.unique]
        self._normalizes = integration.normalizes
        self._records = records

    def list_all(self) -> list[Native]:
        """Return every record, oldest first."""
        return list(self._records.values())

    def get(self, record_id: str) -> Native:
        """Return the record of this id. Raises ProviderError, as the methods below do."""
        try:
            return self._records[record_id]
        except KeyError:
            raise ProviderError(404, "The record was not found", code="not_found", id=record_id) from None

    def create(self, body: Native) -> Native:
        """Store a new record under the next free number, and return it."""
        given = body.get("properties", {})
        for name, field in self._fields.items():
            if field.required and isinstance(given, dict) and name not in given:
                raise ProviderError(422, f"{name} must not be empty", code="required", field=name)
        record_id = str(max([23_000_000, *map(int, filter(str.isdecimal, self._records))]) + 1)
        return self._store({"id": record_id, "properties": {"createdAt": timestamps.now()}}, body)

    def update(self, record_id: str, body: Native) -> Native:
        """Write a part of a record and return all of it: keys not given stay, lists are replaced, null clears."""
        return self._store(self.get(record_id), body)

    def delete(self, record_id: str) -> None:
        """Forget the record of this id."""
        self.get(record_id)
        del self._records[record_id]

    def _store(self, old: Native, body: Native) -> Native:
        given = body.get("properties", {})
        if not isinstance(given, dict):
            raise ProviderError(422, "properties is invalid", code="invalid", field="properties")
        properties = dict(old["properties"])
        for name, value in given.items():
            field = self._fields.get(name)
            if field is None:
                properties[name] = value
                continue
            if field.read_only:
                continue
            if not field.accepts(value):
                raise ProviderError(422, f"{name} is invalid", code="invalid", field=name)
            if field.required and not str(value or "").strip():
                raise ProviderError(422, f"{name} must not be empty", code="required", field=name)
            if field.merged and isinstance(value, dict):
                value = {**(properties.get(name) or {}), **value}
            properties[name] = value
        for name in self._unique:
            self._refuse_duplicate(name, properties.get(name), record_id=old["id"])
        properties["updatedAt"] = timestamps.now()
        record = {**old, **body, "id": old["id"], "properties": properties}
        if self._normalizes:
            record = self.normalize(record)
        self._records[record["id"]] = record
        return record

    def normalize(self, record: Native) -> Native:
        """Return the record with every value in the form that a normalising CRM gives to it."""
        properties = {
            name: field.normal(value) if value and (field := self._fields.get(name)) and field.normal else value
            for name, value in record["properties"].items()
        }
        return {**record, "properties": properties}

    def _refuse_duplicate(self, name: str, value: Any, *, record_id: str) -> None:
        if not value:
            return
        for other in self._records.values():
            if other["properties"].get(name) == value and other["id"] != record_id:
                raise ProviderError(409, f"Another record has this {name}", code="duplicate", field=name)
