"""What the tasks of one DAG run have pushed, in memory."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from airflow_provider_truto._compat import IS_AIRFLOW_2

if IS_AIRFLOW_2:
    from airflow.models.xcom import XCom
else:
    from airflow.sdk.execution_time.xcom import XCom

RETURN_VALUE = "return_value"
NOT_MAPPED = -1


class XComs:
    """The XComs of one DAG run, as Airflow's own class serializes them: JSON, on Airflow 2 as bytes."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, int], dict[str, Any]] = {}

    def push(self, task_id: str, key: str, map_index: int, value: Any) -> None:
        """Serialize a value and keep it. Raises what Airflow raises for one that it cannot store."""
        self.store(task_id, key, map_index, XCom.serialize_value(value))

    def store(self, task_id: str, key: str, map_index: int, serialized: Any) -> None:
        """Keep what was serialized already."""
        if not isinstance(serialized, bytes):
            serialized = json.loads(json.dumps(serialized))
        self._stored.setdefault((task_id, map_index), {})[key] = serialized

    def get(self, task_id: str, key: str, map_index: int, default: Any = None) -> Any:
        """Return what was pushed last, else the default."""
        stored = self._stored.get((task_id, map_index), {})
        return XCom.deserialize_value(SimpleNamespace(key=key, value=stored[key])) if key in stored else default

    def get_serialized(self, task_id: str, key: str, map_index: int) -> Any:
        """Return what was pushed last, as it is stored; else ``None``."""
        return self._stored.get((task_id, map_index), {}).get(key)

    def list_serialized(self, task_id: str, key: str) -> list[Any]:
        """Return what all instances of a task have pushed under a key, as it is stored, by map index."""
        return [self.get_serialized(task_id, key, index) for index in self.list_indexes(task_id, key)]

    def list_indexes(self, task_id: str, key: str) -> list[int]:
        """Return the map indexes under which a task has pushed this key, in order."""
        return sorted(index for (name, index), stored in self._stored.items() if name == task_id and key in stored)

    def delete(self, task_id: str, key: str, map_index: int) -> None:
        """Forget one value."""
        self._stored.get((task_id, map_index), {}).pop(key, None)

    def clear(self, task_id: str, map_index: int) -> None:
        """Forget what a task has pushed, as Airflow does before each try."""
        self._stored.pop((task_id, map_index), None)
