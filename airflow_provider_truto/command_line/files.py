"""Files and folders that a command is given: what is wrong with one is told with what to do about it."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.errors import LedgerError, SourceError
from airflow_provider_truto.bulk.sources.files import list_files
from airflow_provider_truto.client.numbers import parse_exact_json


def open_path(given: str) -> Any:
    """Return a path on this machine or on a storage. Raises ``LedgerError`` where nothing opens that storage."""
    try:
        # Airflow 2.11 begins a relative path at the root.
        path = object_storage_path(given if "://" in given else Path(given).absolute())
        _ = path.fs
    except (ValueError, ImportError) as error:
        raise LedgerError.of_no_package(error) from error
    return path


def list_given_files(given: str) -> list[Any]:
    """List the files of a path, a folder or a glob. Raises ``SourceError`` where no file is found."""
    path = open_path(given)
    try:
        return list_files(path)
    except ValueError as error:
        raise SourceError(f"{error}. Check the path") from None


def read_json(path: Any) -> Any:
    """Read a JSON file, as exactly as operators do. Raises ``ValueError`` where it is not one."""
    data = path.read_bytes()
    if not data.strip():
        raise ValueError("is empty: expects a JSON object, which is the body")
    if data.startswith(codecs.BOM_UTF8):
        raise ValueError("begins with a byte order mark, which is not JSON: save it as UTF-8 without one")
    try:
        return parse_exact_json(data.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
