"""Files of a task: an answer that is written, whole or not at all, and a schema beside the DAG file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.ledger_files import is_local, sync_file, sync_folder
from airflow_provider_truto.bulk.storage import refresh
from airflow_provider_truto.records.request import LIVE, PACKAGED, SchemaSource


def write_answer(path: Any, chunks: Iterable[bytes]) -> dict[str, Any]:
    """Write an answer as ``write_whole`` does, and return what XCom says of it."""
    return {"path": str(path), "bytes": write_whole(path, chunks)}


def write_whole(path: Any, chunks: Iterable[bytes]) -> int:
    """Write the chunks beside the path and move them there at the end; return the number of bytes.

    The path is text or an ``ObjectStoragePath``.
    A local file gets mode 0600: it holds customers' data. What breaks off leaves no file behind.
    """
    target = object_storage_path(path)
    is_on_disk = is_local(target)
    part = target.parent / f"{uuid4().hex}.part"  # beside a name that may be as long as a disk takes
    size = 0
    if is_on_disk:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if is_on_disk:
            os.close(os.open(part.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with part.open("wb") as file:
            for chunk in chunks:
                size += file.write(chunk)
        if is_on_disk:
            sync_file(part.path)
            Path(part.path).replace(target.path)
            sync_folder(target.parent.path)
        else:
            part.fs.mv(part.path, target.path)
    except BaseException:
        if refresh(part).exists():
            part.unlink()
        raise
    return size


def find_schema(operator: Any, schema: SchemaSource) -> SchemaSource:
    """Look for a relative schema path beside the DAG file first: a worker's current folder means nothing."""
    is_path = isinstance(schema, (str, os.PathLike)) and schema not in {PACKAGED, LIVE}
    if is_path and operator.has_dag():
        beside = Path(operator.dag.folder) / str(schema)
        return beside if beside.exists() else schema
    return schema
