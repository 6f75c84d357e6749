"""Idempotency keys: the same for every attempt and try of one write, different for every other write.

Truto executes a key once for an integrated account and path and replays the answer after that.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from threading import Lock
from typing import Any

from airflow_provider_truto.client.request import Request
from airflow_provider_truto.client.values import Value

_VERSION = "v1"
_JSON = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class TaskIdentity(Value):
    """Which write of which task this is.

    ``generation`` is constant over automatic retries and different after a clear, and in a DAG run that was deleted
    and made again under its id, so that a retried task replays and the others write; ``airflow_task`` says what it is
    made of. ``ordinal`` is the record's place in its source, or the number of a call among equal ones of its task.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    generation: str
    ordinal: int = 0

    def of(self, ordinal: int) -> TaskIdentity:
        """Return the write of another record of the same task."""
        return self.replace(ordinal=ordinal)


@dataclass(frozen=True, kw_only=True)
class RunSeen:
    """What a task sees of its DAG run that tells it from another one of the same id.

    ``number`` is the id of its row, which Airflow 2 shows and Airflow 3 does not. ``after`` never changes: the run's
    ``run_after``, in Airflow 2 its logical date. ``started`` changes when a finished run goes on, which a clear makes
    it do; ``clears`` grows then (since Airflow 3.2 with every clear of a task in it). ``None``: not told.
    """

    number: int | None = None
    after: str | None = None
    started: str | None = None
    clears: int | None = None

    @classmethod
    def read(cls, stored: Any) -> RunSeen:
        """Read what ``as_dict`` gave; knows nothing where it was something else."""
        known = stored if isinstance(stored, Mapping) else {}
        return cls(**{field.name: known.get(field.name) for field in fields(cls)})

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return dict(vars(self))

    def is_other_than(self, earlier: RunSeen, *, is_later_try: bool) -> bool:
        """Whether the run that was seen before has been deleted, and this one made again under its id.

        ``is_later_try``: the task's tries have gone on counting since then; those of a run that is made again begin
        at 1. False where nothing tells.
        """
        if _differ(self.number, earlier.number) or _differ(self.after, earlier.after):
            return True
        is_known_by_number = None not in {self.number, earlier.number}
        if is_known_by_number or not _differ(self.started, earlier.started):
            return False
        if self.clears is None or earlier.clears is None:
            return not is_later_try
        # What has come to its end goes on when a task in it is cleared, and that is counted.
        return self.clears <= earlier.clears or not is_later_try


def _differ(one: Any, other: Any) -> bool:
    return None not in {one, other} and one != other


def make_task_key(task: TaskIdentity, *, integrated_account_id: str, path: str, body: bytes) -> str:
    """Make the key of a task's write; equal arguments give equal keys, bodies that are not text among them."""
    before, after = _write_task(task.dag_id, task.generation, task.map_index, task.run_id, task.task_id)
    texts = map(_JSON.encode, (integrated_account_id, path, body.decode(errors="surrogateescape")))
    material = f"[{before}{task.ordinal}{after}, {', '.join(texts)}]"
    return f"{_VERSION}-{hashlib.sha256(material.encode()).hexdigest()}"


@lru_cache(maxsize=64)  # the records of a bulk differ in their ordinals only
def _write_task(dag_id: str, generation: str, map_index: int, run_id: str, task_id: str) -> tuple[str, str]:
    """Write a task's fields as JSON, sorted by their names; return what is before its ordinal, and what is after."""
    before = _JSON.encode({"dag_id": dag_id, "generation": generation, "map_index": map_index})
    after = _JSON.encode({"run_id": run_id, "task_id": task_id})
    return f'{before[:-1]}, "ordinal": ', f", {after[1:]}"


class CallKeys:
    """Makes the keys of the calls that a task makes itself, however many; threads may share it.

    A key is made of the customer, the HTTP method, the path, the query and the body. Calls that are equal in all of
    them are numbered as they come: the first one of a try repeats the first one of the try before. So no order of
    different calls matters, nor which of the task's threads comes first.
    """

    def __init__(self, task: TaskIdentity) -> None:
        self._task = task
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def make_key(self, request: Request) -> str:
        """Return the key of one more call."""
        call = {
            "integrated_account_id": request.integrated_account_id or "",
            "path": f"{request.method} {request.target}",
            "body": request.body or b"",
        }
        first = make_task_key(self._task, **call)  # type: ignore[arg-type]
        with self._lock:
            ordinal = self._counts[first]
            self._counts[first] += 1
        return make_task_key(self._task.of(ordinal), **call) if ordinal else first  # type: ignore[arg-type]
