"""Files of a task: an answer that is written, whole or not at all, and a schema beside the DAG file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.storage import write_whole
from airflow_provider_truto.records.request import LIVE, PACKAGED, SchemaSource


def write_answer(path: Any, chunks: Iterable[bytes]) -> dict[str, Any]:
    """Write an answer as ``write_whole`` does, and return what XCom says of it."""
    return {"path": str(path), "bytes": write_whole(object_storage_path(path), chunks)}


def find_schema(operator: Any, schema: SchemaSource) -> SchemaSource:
    """Look for a relative schema path beside the DAG file first: a worker's current folder means nothing."""
    is_path = isinstance(schema, (str, os.PathLike)) and schema not in {PACKAGED, LIVE}
    if is_path and operator.has_dag():
        beside = Path(operator.dag.folder) / str(schema)
        return beside if beside.exists() else schema
    return schema
