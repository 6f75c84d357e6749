"""Whose account a row means that names its customer by the caller's own id: looked up once, in one list of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.client.accounts import choose_account, list_tenants
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient  # slow to import; DAG files must not pay for it


class TenantDirectory:
    """The integrated accounts of all tenants, which Truto is asked for when the first row names one."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._tenants: dict[str, list[dict[str, Any]]] | None = None
        self._found: dict[tuple[str, str | None], str | tuple[Problem, ...]] = {}

    async def resolve(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records with the accounts that they mean; none or several are a problem of the record.

        Raises ``TrutoError`` where the accounts cannot be listed.
        """
        if not any(record.tenant_id for record in records):
            return records
        if self._tenants is None:
            self._tenants = await self._client.do(list_tenants)
        return [self._name_account(record) for record in records]

    def _name_account(self, record: Record) -> Record:
        if record.tenant_id is None or record.problems:
            return record
        found = self._find(record.tenant_id, record.integration)
        return (
            record.replace(integrated_account_id=found) if isinstance(found, str) else record.replace(problems=found)
        )

    def _find(self, tenant_id: str, integration: str | None) -> str | tuple[Problem, ...]:
        if (found := self._found.get((tenant_id, integration))) is None:
            try:
                found = choose_account(self._tenants or {}, tenant_id, integration, self._client.settings)
            except TrutoSchemaError as error:
                found = tuple(error.problems)
            self._found[tenant_id, integration] = found
        return found
