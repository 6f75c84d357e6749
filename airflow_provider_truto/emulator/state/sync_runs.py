"""A sync job run: what the API shows of it, and what it is going to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_provider_truto.emulator.http import timestamps

OVER = ("completed", "failed", "stopped")


@dataclass
class SyncRun:
    """One run: what the API shows of it, and the statuses that are to come."""

    record: dict[str, Any]
    coming: list[str] = field(default_factory=list)

    def step(self) -> bool:
        """Go on to the next status; False where there is none."""
        if not self.coming:
            return False
        now, status = timestamps.now(), self.coming.pop(0)
        self.record.update(status=status, updated_at=now)
        if status != "created":
            self.record["started_at"] = self.record["started_at"] or now
        if status in OVER:
            self.record["finished_at"] = now
        return True
