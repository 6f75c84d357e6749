"""Writing an answer to a file on any ``ObjectStoragePath``, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from airflow_provider_truto._compat import object_storage_path


def write_whole(path: str, chunks: Iterable[bytes]) -> int:
    """Write the chunks beside the path and move them there at the end; give the number of bytes.

    A local file gets mode 0600: it holds customers' data. What breaks off leaves no file behind.
    """
    target = object_storage_path(path)
    is_local = target.protocol in {"", "file", "local"}
    part = target.parent / f"{target.name}.{uuid4().hex}.part"
    size = 0
    if is_local:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if is_local:
            os.close(os.open(part.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with part.open("wb") as file:
            for chunk in chunks:
                size += file.write(chunk)
        if is_local:
            Path(part.path).replace(target.path)
        else:
            part.fs.mv(part.path, target.path)
    except BaseException:
        if part.exists():
            part.unlink()
        raise
    return size
