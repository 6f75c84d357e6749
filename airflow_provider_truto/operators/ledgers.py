"""What became of each record, as tables that can be asked: the ledgers of a bulk in a database, or as Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.operators._ledger import TrutoLedgerOperator
from airflow_provider_truto.operators._signature import defer_required_check

if TYPE_CHECKING:
    from airflow_provider_truto.bulk.ledger_tables import LedgerTables

__all__ = ["TrutoLedgerToParquetOperator", "TrutoLedgerToSqlOperator"]


class TrutoLedgerToSqlOperator(TrutoLedgerOperator):
    """Store the ledgers of a bulk in the tables ``truto_runs`` and ``truto_changes`` of a database.

    ``truto_runs`` has a line per ledger, ``truto_changes`` one per record and try, and the view ``truto_latest`` the
    latest one of each record. They are made where they are missing. A ledger is replaced in one transaction, so that
    its lines are there once, however often the task runs.

    Target: the bulk, and the database.

    :param bulk_task_id: the bulk task of this DAG, with the task group's name where it is in one. (templated)
    :param output_path: that of the bulk task. (templated)
    :param sql_conn_id: the connection of the database, of any type whose hook is a ``DbApiHook``. (templated)
    :param hook_params: further arguments of that connection's hook, such as a warehouse or a database. (templated)

    Payload: what is stored.

    :param with_bodies: store the bodies of the records that failed or were skipped; the ledger has no others.
        (templated)

    Safeguards: when it runs.

    :param trigger_rule: Airflow's. The task runs when the bulk is done, failed or not; with ``as_teardown()`` the
        bulk still decides whether the DAG run has failed.

    XCom: ``return_value`` says how many ``ledgers`` there were, and ``changes`` in them.
    """

    sql_conn_id: Any
    hook_params: Any

    @defer_required_check
    def __init__(
        self,
        *,
        bulk_task_id: str,
        output_path: str | PathLike[str],
        sql_conn_id: str,
        hook_params: Mapping[str, Any] | str | None = None,
        with_bodies: bool | str = False,
        trigger_rule: str = "all_done",
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self._take(locals())

    def _store(self, ledgers: Iterable[LedgerTables]) -> tuple[int, int]:
        from airflow_provider_truto.operators._ledger_database import store_ledgers
        from airflow_provider_truto.operators._sql import find_hook

        return store_ledgers(find_hook(self.sql_conn_id, self.hook_params), ledgers)


class TrutoLedgerToParquetOperator(TrutoLedgerOperator):
    """Store the ledgers of a bulk as Parquet: ``truto_runs`` and ``truto_changes``, each a folder of files.

    They have the columns of ``TrutoLedgerToSqlOperator``'s tables. Each ledger has a file of its own in both, which
    is written whole and replaced when the task runs again. Needs the extra ``parquet``.

    Target: the bulk, and where the tables are.

    :param bulk_task_id: the bulk task of this DAG, with the task group's name where it is in one. (templated)
    :param output_path: that of the bulk task. (templated)
    :param tables_path: an ``ObjectStoragePath`` for the folders of the tables. (templated)

    Payload: what is stored.

    :param with_bodies: store the bodies of the records that failed or were skipped; the ledger has no others.
        (templated)

    Safeguards: when it runs.

    :param trigger_rule: Airflow's. The task runs when the bulk is done, failed or not; with ``as_teardown()`` the
        bulk still decides whether the DAG run has failed.

    XCom: ``return_value`` says how many ``ledgers`` there were, and ``changes`` in them.
    """

    tables_path: Any

    @defer_required_check
    def __init__(
        self,
        *,
        bulk_task_id: str,
        output_path: str | PathLike[str],
        tables_path: str | PathLike[str],
        with_bodies: bool | str = False,
        trigger_rule: str = "all_done",
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self._take(locals())

    def _store(self, ledgers: Iterable[LedgerTables]) -> tuple[int, int]:
        from airflow_provider_truto.bulk.ledger_parquet import encode_parquet
        from airflow_provider_truto.bulk.ledger_tables import CHANGES, RUNS
        from airflow_provider_truto.bulk.storage import write_whole

        count = lines = 0
        root = object_storage_path(self.tables_path)
        for ledger in ledgers:
            name = f"{ledger.ledger_id}.parquet"
            counted = _Counted(ledger.read_changes())
            write_whole(root / CHANGES.name / name, encode_parquet(CHANGES, counted))
            write_whole(root / RUNS.name / name, encode_parquet(RUNS, [ledger.run]))
            count, lines = count + 1, lines + counted.count
        return count, lines


class _Counted:
    """An iterable that counts."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Any:
        for item in self._items:
            self.count += 1
            yield item
