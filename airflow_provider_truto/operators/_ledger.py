"""What both operators that store ledgers share: which ledgers, and what is said of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import count_instances, object_storage_path
from airflow_provider_truto.airflow_errors import TrutoBulkError, translate_errors
from airflow_provider_truto.airflow_task import read_run
from airflow_provider_truto.bulk.errors import LedgerError
from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from airflow_provider_truto.client.plurals import count
from airflow_provider_truto.operators._arguments import LEDGER_ARGUMENTS
from airflow_provider_truto.operators._operator import TrutoOperator

if TYPE_CHECKING:
    from airflow_provider_truto.bulk.ledger_tables import LedgerTables


class TrutoLedgerOperator(TrutoOperator):
    """Reads the ledgers of a bulk task of this DAG run.

    Where a shard has none, it stores those of the others and fails: the missing one may be on another worker's disk.
    """

    arguments = LEDGER_ARGUMENTS
    bulk_task_id: Any
    output_path: Any
    with_bodies: Any

    def execute(self, context: Any) -> dict[str, Any]:
        """Read the ledgers, store them, and return how many there were."""
        with translate_errors(self):
            self.check_arguments()
            return self._copy(context)

    def _copy(self, context: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_provider_truto.bulk.ledger_tables import read_ledgers
        from airflow_provider_truto.bulk.messages import describe_absent_shards
        from airflow_provider_truto.bulk.report import merge_ledgers

        ti = context.get("ti")
        if ti is None:
            raise TrutoBulkError("the ledgers are found by the DAG run's id: run this as a task of a DAG")
        task = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": self.bulk_task_id}
        folder = locate_task_folder(object_storage_path(self.output_path), *task.values())
        run = read_run(context)
        found = read_ledgers(folder, **task, run=run, with_bodies=self.with_bodies)
        try:
            ledgers, changes = self._store(found)
            missing = merge_ledgers(folder, run=run).missing(count_instances(context, self.bulk_task_id))
        except (LedgerError, ValueError) as error:  # the latter: no SQL behind the connection, or no pyarrow
            raise TrutoBulkError(str(error)) from error
        if missing or not ledgers:
            absent = describe_absent_shards(missing, folder=folder, task_id=self.bulk_task_id)
            raise TrutoBulkError(f"Stored {count(ledgers, 'ledger')} with {count(changes, 'line')}. {absent}")
        self.log.info("Stored %s with %s", count(ledgers, "ledger"), count(changes, "line"))
        return {"ledgers": ledgers, "changes": changes}

    @abstractmethod
    def _store(self, ledgers: Iterable[LedgerTables]) -> tuple[int, int]:
        """Store ledgers, each in place of what was stored of it before; return how many ledgers and lines."""
