"""Bulks that are wider than one worker: shards of a source, and one report of them all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_truto._compat import count_instances, object_storage_path
from airflow_provider_truto.airflow_errors import TrutoBulkError, translate_errors
from airflow_provider_truto.airflow_task import read_run
from airflow_provider_truto.bulk.errors import LedgerError
from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from airflow_provider_truto.bulk.shards import shards
from airflow_provider_truto.bulk.storage import write_whole
from airflow_provider_truto.client.plurals import choose_form, count
from airflow_provider_truto.operators._arguments import BULK_ARGUMENTS
from airflow_provider_truto.operators._operator import TrutoOperator
from airflow_provider_truto.operators._signature import defer_required_check

if TYPE_CHECKING:
    from airflow_provider_truto.bulk.report import Report  # slow to import, as is all that only a run needs

__all__ = ["TrutoBulkError", "TrutoBulkSummaryOperator", "shards"]

#: Accounts that go to XCom, those with the most failures first; the report file has all of them.
_MOST_ACCOUNTS = 100


class TrutoBulkSummaryOperator(TrutoOperator):
    """Add up what the shards of a bulk have written into their ledgers; fail for all of them where too much failed.

    Set ``max_failures=None`` for the shards, so that they only report, and choose here.

    Target: the tasks whose records are added up.

    :param bulk_task_id: the mapped bulk task of this DAG, with the task group's name where it is in one.
        (templated)
    :param output_path: that of the bulk task. (templated)

    Safeguards: what has to be true of them.

    :param max_failures: as of the bulk operators, for the records of all shards. (templated)
    :param expected_shards: how many there must be, where Airflow and the ledgers do not say so. (templated)
    :param trigger_rule: Airflow's. The summary runs when all shards are done, failed or not.

    A shard that has not come to the end of its source, or whose ledger is missing, fails this task whatever
    ``max_failures`` says. How many there must be is known from Airflow, and from the ledgers of the others.

    XCom: ``return_value`` are the counts, the paths of the failures, and the counts of the accounts with the most
    failures; all accounts are in the file named by ``report``. The same is under ``truto``, and there also where the
    task fails.
    """

    arguments = BULK_ARGUMENTS
    bulk_task_id: Any
    output_path: Any
    max_failures: Any
    expected_shards: Any

    @defer_required_check
    def __init__(
        self,
        *,
        bulk_task_id: str,
        output_path: str | PathLike[str],
        max_failures: float | str | None,
        expected_shards: int | str | None = None,
        trigger_rule: str = "all_done",
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self._take(locals())

    def execute(self, context: Any) -> dict[str, Any]:
        """Read the summaries, write the report, and judge."""
        with translate_errors(self):
            return self._add_up(context)

    def _add_up(self, context: Any) -> dict[str, Any]:
        from airflow_provider_truto.bulk.report import merge_ledgers

        self.check_arguments()
        ti = context.get("ti")
        if ti is None:
            raise TrutoBulkError(
                "a summary finds the ledgers by the DAG run's id: run it as a task of a DAG, not by execute() alone"
            )
        run_folder = locate_task_folder(object_storage_path(self.output_path), ti.dag_id, ti.run_id)
        folder = locate_task_folder(run_folder, self.bulk_task_id)
        try:
            report = merge_ledgers(folder, run=read_run(context))
        except LedgerError as error:
            raise TrutoBulkError(str(error)) from error
        whole = report.as_dict()
        path = locate_task_folder(run_folder, self.task_id) / f"report-{uuid4().hex}.json"
        write_whole(path, [json.dumps(whole, ensure_ascii=False, indent=2).encode(errors="replace")])
        accounts = dict(list(whole["accounts"].items())[:_MOST_ACCOUNTS])
        shown = {**whole, "accounts": accounts, "account_count": len(report.accounts), "report": str(path)}
        self.push_outcome(context, shown)  # a task that fails returns nothing
        known = [self.expected_shards, count_instances(context, self.bulk_task_id)]
        least = max((number for number in known if number is not None), default=None)
        self._judge(report, str(path), folder=folder, missing=report.missing(least))
        return shown

    def _judge(self, report: Report, path: str, *, folder: Any, missing: Sequence[int]) -> None:
        from airflow_provider_truto.bulk.messages import describe_absent_shards, describe_tolerated

        sums = report.sums
        written = sums["updated"] + sums["created"]
        text = (
            f"{count(sums['records'], 'record')} of {count(len(report.accounts), 'customer')} in"
            f" {count(report.shards, 'shard')}:"
            f" {written} {choose_form(written, 'was', 'were')} written,"
            f" {sums['unchanged']} needed no write, {sums['failed']} failed,"
            f" {report.failed_records - sums['failed']} were skipped{describe_tolerated(sums)}."
            f" The report is in {path}"
        )
        problems = "".join(f"\n  {problem}" for problem in report.problems.describe())
        if missing or not report.shards:
            absent = describe_absent_shards(missing, folder=folder, task_id=self.bulk_task_id)
            raise TrutoBulkError(f"{text}{problems}\n{absent}")
        if len(report.parts) > 1:
            raise TrutoBulkError(
                f"{text}{problems}\nThe ledgers in {folder} are of sources that were split into"
                f" {' and '.join(map(str, sorted(report.parts)))} shards, so that records are counted twice: move the"
                " folders of the map indexes that do not exist any more"
            )
        if report.unfinished:
            numbers = ", ".join(map(str, report.unfinished))
            raise TrutoBulkError(
                f"{text}{problems}\nThe shards {numbers} did not come to the end of their records: clear them."
            )
        if not report.is_within(self.max_failures):
            raise TrutoBulkError(
                f"{text}\nThe failures are in {', '.join(report.failures)}, which can be a source again.{problems}"
            )
        self.log.info("%s%s", text, problems)
