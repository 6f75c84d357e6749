"""The few Airflow names that moved between 2.11 and 3.x."""

from __future__ import annotations

from typing import Any

try:
    from airflow.sdk import BaseHook, BaseOperator
except ImportError:  # Airflow 2.11
    from airflow.hooks.base import BaseHook
    from airflow.models.baseoperator import BaseOperator

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowFailException, AirflowSkipException

try:
    from airflow.sdk.configuration import conf
except ImportError:  # before Airflow 3.2
    from airflow.configuration import conf

__all__ = ["AirflowFailException", "AirflowSkipException", "BaseHook", "BaseOperator", "conf", "object_storage_path"]


def object_storage_path(path: str) -> Any:
    """Make Airflow's ``ObjectStoragePath``; imported late, since it is slow to import and rarely used."""
    try:
        from airflow.sdk import ObjectStoragePath
    except ImportError:  # Airflow 2.11
        from airflow.io.path import ObjectStoragePath
    return ObjectStoragePath(path)
