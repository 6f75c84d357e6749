"""What has to be true of a customer before the first of its records is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_provider_truto.client.accounts import check_account, resolve_account
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.records.pipeline import check_customer
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient  # slow to import; DAG files must not pay for it


class CustomerChecks:
    """The safeguards about a customer (``preflight``, ``expected_tenant_id``), asked once per customer and try.

    What was found for a customer holds for all its records: a million of them cost as many calls as one.
    """

    def __init__(self, client: AsyncClient, template: RecordRequest, safeguards: Safeguards) -> None:
        self._client = client
        self._template = template
        self._safeguards = safeguards
        self._locks: dict[str, asyncio.Lock] = {}
        self._found: dict[str, TrutoError | None] = {}

    async def check(self, account_id: str) -> None:
        """Make sure of a customer. Raises the ``TrutoError`` that is in the way of its records.

        An account that cannot be one, or is not allowed, is left to the check of the record, which says so.
        """
        if not self._safeguards.look_at_customer or check_account(account_id, self._client.settings)[1]:
            return
        async with self._locks.setdefault(account_id, asyncio.Lock()):
            if account_id not in self._found:
                self._found[account_id] = await self._find_error(account_id)
        if (error := self._found[account_id]) is not None:
            raise error.with_traceback(None)  # else it would grow with each record

    async def require(self, account_id: str) -> None:
        """Make sure of a customer before anything but a record is sent: there, no check of a record comes first."""
        resolve_account(self._client.settings, account_id)
        await self.check(account_id)

    def has_found(self, error: TrutoError) -> bool:
        """Whether an error is what was found for a customer."""
        return any(found is error for found in self._found.values())

    async def _find_error(self, account_id: str) -> TrutoError | None:
        try:
            request = self._template.replace(integrated_account_id=account_id)
            await self._client.do(check_customer, request, safeguards=self._safeguards)
        except TrutoError as error:
            if error.transient:
                raise
            error.attempts, error.waited = 0, 0.0  # no record was sent
            return error
        return None
