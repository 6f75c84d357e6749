"""Idempotency keys: the same for every attempt and try of one write, another for every other write.

Truto executes a key once for an integrated account and path and replays the answer after that.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

_VERSION = "v1"
_JSON = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class TaskIdentity:
    """Which write of which task this is.

    ``generation`` is ``max_tries - retries``: constant over automatic retries, changed by clearing, so that a
    cleared task writes again while a retried one replays. ``ordinal`` is the record's place in its source.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    generation: int
    ordinal: int = 0

    def of(self, ordinal: int) -> TaskIdentity:
        """Give the write of another record of the same task."""
        return TaskIdentity(**{**vars(self), "ordinal": ordinal})


def task_key(task: TaskIdentity, *, integrated_account_id: str, path: str, body: bytes) -> str:
    """Make the key of a task's write; equal arguments give equal keys."""
    material = _JSON.encode([vars(task), integrated_account_id, path, body.decode()])
    return f"{_VERSION}-{hashlib.sha256(material.encode()).hexdigest()}"
