"""What reached the customers' CRMs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.emulator.http.request import Request


@dataclass(slots=True)
class Execution:
    """A call that reached a CRM, whatever the CRM said to it.

    `record_id` of a create is the new one's. `remote_query` is what of the query string reached the CRM.
    """

    request: Request
    record_id: str | None
    remote_query: Any
    time: float

    def to_entry(self) -> dict[str, Any]:
        """Return the execution as the log shows it."""
        request = self.request
        return {
            "method": request.method,
            "path": list(request.path),
            "integrated_account_id": request.integrated_account_id,
            "record_id": self.record_id,
            "body": request.json_or_none(),
            "idempotency_key": request.headers.get("idempotency-key"),
            "remote_query": self.remote_query,
            "time": self.time,
        }
