"""One record that is read again and again, until it is what somebody waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.errors import TrutoNotFoundError
from airflow_provider_truto.records.condition import Condition, ConditionError
from airflow_provider_truto.records.pipeline import prepare_request, send_record
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards
from airflow_provider_truto.records.validate import ValidRequest

#: What ``on_missing`` is where a record that does not exist means that something is wrong.
FAIL = "fail"


class RecordWatch:
    """Reads a unified record, and says what is missing of what is waited for. All arguments are JSON.

    The customer is looked up once. Raises ``ConditionError`` for a condition that cannot be judged.
    """

    def __init__(
        self,
        *,
        model: str,
        resource: str,
        record_id: str,
        integrated_account_id: str | None,
        tenant_id: str | None,
        integration: str | None,
        query: Mapping[str, Any] | None,
        ignore_remote_data: bool,
        fields: Mapping[str, Any] | None,
        condition: str | None,
        function: str | None,
        values: Mapping[str, Any] | None,
        on_missing: str,
    ) -> None:
        self._request = RecordRequest(
            model=model,
            resource=resource,
            method="get",
            record_id=record_id,
            integrated_account_id=integrated_account_id,
            tenant_id=tenant_id,
            integration=integration,
            query=query,
            ignore_remote_data=ignore_remote_data,
            schema=None,
        )
        self._condition = Condition(fields=fields, expression=condition, function=function, values=values or {})
        self._on_missing = on_missing
        self._valid: ValidRequest | None = None

    async def read(self, client: Client) -> dict[str, Any] | None:
        """Return the record, ``None`` where it does not exist and may come to. Raises what the request raises."""
        if self._valid is None:
            self._valid = await prepare_request(client, self._request, safeguards=Safeguards())
        try:
            record = (await send_record(client, self._valid)).response
        except TrutoNotFoundError as error:
            if self._on_missing == FAIL or not error.is_remote:  # Truto's own 404 says that the task is wrong
                raise
            return None
        if not isinstance(record, dict):
            raise ConditionError(f"{self._request}: expects an object, got {type(record).__name__}")
        return record

    def explain_unmet(self, record: Mapping[str, Any] | None) -> str:
        """Return in words what is missing, ``""`` where nothing is. Runs the author's code."""
        return "it does not exist" if record is None else self._condition.explain_unmet(record)

    def __str__(self) -> str:
        return str(self._request)
