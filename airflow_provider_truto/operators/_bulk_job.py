"""The job that a bulk operator's arguments mean, and how it is run as a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_truto._compat import count_metric, object_storage_path
from airflow_provider_truto.airflow_errors import TrutoBulkError
from airflow_provider_truto.airflow_task import RunningTask, read_running_task
from airflow_provider_truto.bulk.errors import BulkError, TooManyFailuresError, WaitingError
from airflow_provider_truto.bulk.gate import PlanGate
from airflow_provider_truto.bulk.history import RunHistory
from airflow_provider_truto.bulk.job import BulkJob
from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from airflow_provider_truto.bulk.matching.plan import make_match_plan
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.result_row import show_counts
from airflow_provider_truto.bulk.shards import parse_shard
from airflow_provider_truto.bulk.state.run_state import StateOptions
from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators._bulk_source import choose_sql, prepare_source
from airflow_provider_truto.operators._files import find_schema
from airflow_provider_truto.operators._outlets import emit_events
from airflow_provider_truto.operators._progress import ProgressXCom
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.keys import RunSeen, TaskIdentity
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards, find_safeguard_problems

if TYPE_CHECKING:
    from airflow_provider_truto.operators._bulk import TrutoBulkOperator
    from airflow_provider_truto.operators._deferral import Deferrals


#: Accounts of a preview that go to XCom, those with the most changes first; its file has all of them.
_MOST_ACCOUNTS = 100


def run_bulk(operator: TrutoBulkOperator, context: Any, deferrals: Deferrals) -> dict[str, Any]:
    """Do what is not done yet of an operator's bulk, and return the counts for XCom.

    Raises ``TrutoError``, and ``TaskDeferred`` where all customers that are left wait for long.
    """
    task = read_running_task(context)
    hook = TrutoHook(operator.truto_conn_id, requests_per_second=operator.requests_per_second)
    job = replace(build_job(operator, context, task, hook), is_resumed=bool(deferrals.seconds))
    try:
        summary = job.execute()
    except TooManyFailuresError as error:
        operator.written = error.summary["accounts"]
        raise TrutoBulkError(str(error), transient=error.transient, counts=_select_counts(error.summary)) from error
    except WaitingError as error:
        if not error.is_fruitless:
            deferrals = replace(deferrals, count=0)
        at_most = hook.connection.settings.max_attempts - 1
        operator.wait_deferred(context, error.seconds, deferrals, at_most=at_most)
        raise TrutoBulkError(str(error), transient=True) from error
    except BulkError as error:
        raise TrutoBulkError(str(error), transient=error.transient) from error
    if operator.preview:
        return {**summary, "accounts": dict(list(summary["accounts"].items())[:_MOST_ACCOUNTS])}
    emit_events(operator, context, summary["accounts"])
    if task:
        task.mark_done()
    return {**_select_counts(summary), "deferred_seconds": round(deferrals.seconds, 3)}


def build_job(operator: TrutoBulkOperator, context: Any, task: RunningTask | None, hook: TrutoHook) -> BulkJob:
    """Build the job that an operator's checked arguments mean; ``task`` is ``None`` outside of a DAG run.

    Nothing is read yet, neither the connection nor the source: a try that fails of them has left its mark.
    """
    identity = task.identity if task else _make_identity_of_nobody(operator)
    names = (identity.dag_id, identity.run_id, identity.task_id, identity.map_index)
    plan = _make_plan(operator, longest_wait=operator.find_longest_wait(context))
    watch = _Watch(operator, context)
    return BulkJob(
        folder=locate_task_folder(object_storage_path(operator.output_path), *names),
        identity=identity,
        run=task.run if task else RunSeen(),
        try_number=task.try_number if task else 1,
        find_server=lambda: hook.connection.settings.server,
        plan=plan,
        prepare_source=lambda: prepare_source(
            operator, context, template=plan.template, hide_values=hook.connection.settings.hide_values
        ),
        new_client=lambda: hook.new_async_client(connections=operator.concurrency),
        max_failures=operator.max_failures,
        validate_first=operator.validate_first,
        on_source_change=operator.on_source_change,
        on_clear=operator.on_clear,
        state=_make_state_options(operator, identity) if operator.method == "update" else None,
        gate=_make_gate(operator, identity),
        previews=operator.preview,
        on_progress=watch.on_progress,
        on_end=watch.on_end,
        log=operator.log,
    )


def _make_state_options(operator: TrutoBulkOperator, identity: TaskIdentity) -> StateOptions:
    """Return what is wanted of the state; each map index, or shard of a source, has one of its own."""
    if operator.state_path is None:
        names = (identity.dag_id, identity.task_id, "state")
        folder = locate_task_folder(object_storage_path(operator.output_path), *names)
    else:
        folder = object_storage_path(operator.state_path)
    if operator.shard is not None:
        folder = folder / str(parse_shard(operator.shard)).replace(" ", "-")
    elif identity.map_index >= 0:
        folder = folder / str(identity.map_index)
    return StateOptions(
        folder=folder,
        is_only_kept=not operator.changed_only,
        full_every=None if operator.full_every is None else timedelta(seconds=operator.full_every),
        on_removed=operator.on_removed,
        max_removed=operator.max_removed,
    )


def _make_gate(operator: TrutoBulkOperator, identity: TaskIdentity) -> PlanGate:
    """Return what the plan must be; each map index has a past of its own."""
    past = None
    if operator.max_changes is not None and operator.max_changes.most is None:
        of_index = (identity.map_index,) if identity.map_index >= 0 else ()
        names = (identity.dag_id, identity.task_id, "past", *of_index)
        folder = locate_task_folder(object_storage_path(operator.output_path), *names)
        past = RunHistory(folder, run_id=identity.run_id)
    return PlanGate(max_changes=operator.max_changes, expect=operator.expect, past=past)


class _Watch:
    """Shows in Airflow how far a try is: in its metrics what was done since the last time, in XCom the whole."""

    def __init__(self, operator: TrutoBulkOperator, context: Any) -> None:
        self._counted: Counter[str] = Counter()
        self._xcom = ProgressXCom(operator, context)

    def on_progress(self, progress: Progress) -> None:
        self._count(progress)
        self._xcom.show_aside(_describe_progress(progress))

    def on_end(self, progress: Progress) -> None:
        self._xcom.end(_describe_progress(progress))

    def _count(self, progress: Progress) -> None:
        now, before = show_counts(progress.counts), show_counts(progress.resumed)
        done = Counter({outcome: now[outcome] - before[outcome] for outcome in now})
        for outcome, number in done.items():
            count_metric(f"truto.bulk.{outcome}", number - self._counted[outcome])
        self._counted = done


def _describe_progress(progress: Progress) -> dict[str, Any]:
    """Return what is shown of a bulk that runs: numbers alone."""
    left = progress.seconds_left
    return {
        "done": progress.done,
        "of": progress.total,
        "failed": progress.failures,
        "per_second": None if progress.rate is None else round(progress.rate, 2),
        "seconds_left": None if left is None else round(left),
    }


def _select_counts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes to XCom: without what grows with the number of customers."""
    return {name: value for name, value in summary.items() if name not in {"accounts", "problems"}}


def _make_identity_of_nobody(operator: TrutoBulkOperator) -> TaskIdentity:
    """Return the identity of a call outside of a DAG run, which no later try continues."""
    return TaskIdentity(dag_id="no-dag", run_id=uuid4().hex, task_id=operator.task_id, map_index=-1, generation="")


def _make_plan(operator: TrutoBulkOperator, *, longest_wait: float | None) -> Plan:
    """Make the plan. Raises ``TrutoSchemaError`` where a safeguard is asked for that means nothing to any record."""
    plan = Plan(
        template=RecordRequest(
            model=operator.model,
            resource=operator.resource,
            method=operator.method,
            id_name="id",
            needs_id=operator.needs_id,
            integrated_account_id="" if operator.has_no_default else operator.integrated_account_id,
            schema=find_schema(operator, operator.schema),
            extra_fields=operator.extra_fields,
            allow_empty=operator.allow_empty,
            text_advice=_describe_text_advice(operator),
        ),
        coercion=CoercionOptions(on_none=operator.on_none, hint="; on_none says what a null in a record means"),
        safeguards=Safeguards(
            preflight=operator.preflight,
            expected_tenant_id=operator.expected_tenant_id,
            check_custom_fields=operator.check_custom_fields,
            skip_unchanged=operator.skip_unchanged,
        ),
        verify=operator.verify,
        stop_after=operator.stop_after,
        match=make_match_plan(
            operator.match_on,
            by=operator.match_by,
            on_missing=operator.on_missing,
            on_ambiguous=operator.on_ambiguous,
        ),
        skip_on=tuple(operator.skip_on),
        concurrency=operator.concurrency,
        max_runtime=operator.max_runtime,
        longest_wait=longest_wait,
        is_stopped=lambda: operator.is_stopped,
    )
    if problems := find_safeguard_problems(plan.template, plan.safeguards):
        raise TrutoSchemaError.of(f"the arguments of task {operator.task_id!r} are not valid", problems)
    return plan


def _describe_text_advice(operator: TrutoBulkOperator) -> str:
    """Return where a row's number is made text."""
    if isinstance(operator.mapping, Mapping):
        return "make it text in the mapping: `{{ row.… | string }}`"
    if operator.mapping is not None:
        return "make it text in the mapping: str(…)"
    if choose_sql(operator) is not None:
        return "make it text in the query: cast(… as varchar)"
    return "make it text in the source, in quotes where that is JSON"
