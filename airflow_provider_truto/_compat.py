"""The few Airflow names that moved between 2.11 and 3.x."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

try:
    from airflow.sdk import BaseHook, BaseOperator
except ImportError:  # Airflow 2.11, and 3.0, whose airflow.sdk has no BaseHook
    from airflow.hooks.base import BaseHook
    from airflow.models.baseoperator import BaseOperator

try:
    from airflow.sdk import BaseOperatorLink
except ImportError:  # Airflow 2.11
    from airflow.models.baseoperatorlink import BaseOperatorLink

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

try:
    from airflow.sdk.types import NOTSET, ArgNotSet
except ImportError:  # Airflow 2.11
    from airflow.utils.types import NOTSET, ArgNotSet

try:
    from airflow.sdk.configuration import conf
except ImportError:  # before Airflow 3.2
    from airflow.configuration import conf

#: Whether tasks and triggers may ask Airflow's own database.
IS_AIRFLOW_2 = find_spec("airflow.sdk") is None
#: Airflow 3.0 and 3.1 do not keep two threads of a task from talking to its supervisor at once.
_TO_SUPERVISOR = Lock()
_ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}

__all__ = [
    "IS_AIRFLOW_2",
    "NOTSET",
    "AirflowException",
    "AirflowFailException",
    "AirflowSkipException",
    "ArgNotSet",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "collect_output",
    "conf",
    "count_instances",
    "count_metric",
    "find_current_context",
    "get_async_connection",
    "is_asset_alias",
    "is_killed_before_on_kill",
    "is_literal",
    "list_earlier_tries",
    "make_asset",
    "make_param",
    "mask_secret",
    "object_storage_path",
    "push_xcom",
    "read_xcom",
    "warn_deprecated",
]


def find_current_context() -> Any:
    """Return the context of the task that this process runs, from any of its threads; ``None`` where it runs none."""
    try:
        return _import_get_current_context()()
    except (RuntimeError, AirflowException):  # the latter on Airflow 2.11
        return None


@cache  # it is asked for each call of a hook
def _import_get_current_context() -> Callable[[], Any]:
    try:
        from airflow.sdk import get_current_context
    except ImportError:  # Airflow 2.11
        from airflow.operators.python import get_current_context
    return get_current_context  # type: ignore[no-any-return]


def mask_secret(secret: str) -> None:
    """Mask a value in Airflow's logs: those of this process and, where there is one, of its supervisor."""
    try:
        from airflow.sdk.log import mask_secret as mask
    except ImportError:
        try:
            from airflow.sdk.execution_time.secrets_masker import mask_secret as mask  # Airflow 3.0
        except ImportError:
            from airflow.utils.log.secrets_masker import mask_secret as mask  # Airflow 2.11
    with _TO_SUPERVISOR:
        mask(secret)


def push_xcom(ti: Any, key: str, value: Any) -> None:
    """Push an XCom while the task runs, from any of its threads."""
    with _TO_SUPERVISOR:
        ti.xcom_push(key=key, value=value)


def read_xcom(ti_key: Any, key: str) -> Any:
    """Read what a task instance has pushed under a key; ``None`` where it has pushed nothing."""
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:  # Airflow 2.11
        from airflow.models.xcom import XCom
    return XCom.get_value(ti_key=ti_key, key=key)


def warn_deprecated(message: str, *, stacklevel: int) -> None:
    """Warn of what will go in a later version; ``stacklevel`` 1 is the caller."""
    from airflow.exceptions import AirflowProviderDeprecationWarning

    warnings.warn(message, AirflowProviderDeprecationWarning, stacklevel=stacklevel + 1)


def count_metric(name: str, count: int) -> None:
    """Add to a counter of Airflow's metrics."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:  # before Airflow 3.2
        from airflow.stats import Stats
    if count:
        Stats.incr(name, count)


def count_instances(context: Any, task_id: str) -> int | None:
    """Count the instances of a task in this DAG run, as of a mapped one; ``None`` where nobody knows."""
    ti = context["ti"]
    if hasattr(ti, "get_ti_count"):  # Airflow 3
        asked = {"dag_id": ti.dag_id, "task_ids": [task_id], "run_ids": [ti.run_id]}
        count: int = ti.get_ti_count(**asked) - ti.get_ti_count(**asked, states=["removed"])
        return count
    if hasattr(context.get("dag_run"), "get_task_instances"):  # Airflow 2.11
        found = context["dag_run"].get_task_instances()
        return len([one for one in found if one.task_id == task_id and one.state != "removed"])
    return None


async def get_async_connection(conn_id: str) -> Any:
    """Read a connection from a coroutine, as in a trigger, where a synchronous look-up raises on Airflow 3.

    Before Airflow 3.3.2 ``aget_connection`` may deadlock where another call to the supervisor is under way; the
    synchronous look-up in a thread does not.
    """
    try:
        from airflow.sdk import Connection

        is_safe = hasattr(Connection, "aextra_dejson")  # came with the fix
    except ImportError:  # Airflow 2.11
        is_safe = False
    if is_safe:
        return await BaseHook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async

    return await sync_to_async(_get_connection)(conn_id)


def _get_connection(conn_id: str) -> Any:
    with _TO_SUPERVISOR:
        return BaseHook.get_connection(conn_id)


def is_literal(value: Any) -> bool:
    """Whether a value is one that the DAG author wrapped in ``literal()``."""
    try:
        from airflow.sdk.definitions._internal.templater import LiteralValue
    except ImportError:  # Airflow 2.11
        from airflow.template.templater import LiteralValue
    return isinstance(value, LiteralValue)


def make_asset(uri: str, extra: dict[str, Any]) -> Any:
    """Make an ``Asset``, or what it was called on Airflow 2: a ``Dataset``."""
    try:
        from airflow.sdk import Asset
    except ImportError:  # Airflow 2.11
        from airflow.datasets import Dataset as Asset
    return Asset(uri=uri, extra=extra)


def make_param(schema: dict[str, Any], *, description: str, has_default: bool) -> Any:
    """Make a ``Param`` of a DAG; its default is ``None``, or it has none and must be given."""
    try:
        from airflow.sdk import Param
    except ImportError:  # Airflow 2.11
        from airflow.models.param import Param
    return Param(**({"default": None} if has_default else {}), description=description, schema=schema)


def collect_output(hook: Any, uri: str) -> None:
    """Tell the collector of hook lineage that a hook has written an asset; it does nothing where nobody reads it."""
    try:
        from airflow.sdk.lineage import get_hook_lineage_collector
    except ImportError:  # before Airflow 3.2
        from airflow.lineage.hook import get_hook_lineage_collector
    collector = get_hook_lineage_collector()
    if IS_AIRFLOW_2:
        collector.add_output_dataset(context=hook, uri=uri)
    else:
        collector.add_output_asset(context=hook, uri=uri)


def is_asset_alias(value: Any) -> bool:
    """Whether an outlet is an alias, whose assets are known only when the task runs."""
    try:
        from airflow.sdk import AssetAlias
    except ImportError:  # Airflow 2.11
        from airflow.datasets import DatasetAlias as AssetAlias
    return isinstance(value, AssetAlias)


def object_storage_path(path: Any) -> Any:
    """Make an ``ObjectStoragePath`` of a path; imported late, since it is slow to import and rarely used."""
    try:
        from airflow.sdk import ObjectStoragePath
    except ImportError:  # Airflow 2.11
        from airflow.io.path import ObjectStoragePath
    return path if isinstance(path, ObjectStoragePath) else ObjectStoragePath(str(path))


def list_earlier_tries(ti: Any) -> list[tuple[int, int, datetime | None]] | None:
    """List the tries of a task before this one: number, ``max_tries`` then, when it began.

    ``None`` where nobody tells: only Airflow 2 lets a task see them.
    """
    if not IS_AIRFLOW_2:
        return None
    from airflow.models.taskinstancehistory import TaskInstanceHistory as History
    from airflow.utils.session import create_session

    named = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    with create_session() as session:
        asked = session.query(History.try_number, History.max_tries, History.start_date)
        return [tuple(row) for row in asked.filter_by(**named)]


async def is_killed_before_on_kill(ti: Any) -> bool:
    """Whether a user has ended the task of a cancelled trigger.

    Before Airflow 3.3, whose triggerer calls ``on_kill`` then; false there, and where a triggerer is only shut down.
    A clear ends it on Airflow 2. On 3.0 to 3.2 it does not: they do not tell it from a retry, which goes on.
    """
    from airflow.triggers.base import BaseTrigger

    if ti is None or hasattr(BaseTrigger, "on_kill"):
        return False
    from asgiref.sync import sync_to_async

    if IS_AIRFLOW_2:
        return bool(await sync_to_async(_read_state_from_database)(ti) != "deferred")
    return await sync_to_async(_ask_supervisor_for_state)(ti) in _ENDED


def _read_state_from_database(ti: Any) -> Any:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        named = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
        return session.query(TaskInstance.state).filter_by(**named).scalar()


def _ask_supervisor_for_state(ti: Any) -> Any:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return states.get(ti.run_id, {}).get(name)
