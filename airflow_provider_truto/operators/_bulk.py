"""What the bulk operators share: source and ledger, the engine, and how a bulk fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args
from uuid import uuid4

from airflow_provider_truto import __version__
from airflow_provider_truto._compat import count_metric, object_storage_path
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._arguments import BULK_ARGUMENTS, NOT_GIVEN, REQUIRED
from airflow_provider_truto.operators._calls import schema_beside_dag
from airflow_provider_truto.operators._files import not_a_folder
from airflow_provider_truto.operators._operator import TrutoOperator, templated
from airflow_provider_truto.operators._rendering import is_from_upstream, is_reference
from airflow_provider_truto.operators._task import (
    RunningTask,
    TrutoBulkError,
    failing_in_airflow_terms,
    running_task,
)
from airflow_provider_truto.records.keys import RunSeen, TaskIdentity
from airflow_provider_truto.records.request import PACKAGED, OnNone, RecordRequest, SchemaSource

if TYPE_CHECKING:
    # Slow to import, and every DAG file imports this module: what only a run needs is imported in it.
    from airflow_provider_truto.bulk.engine import Plan, Progress
    from airflow_provider_truto.bulk.ledger import Ledger, Past
    from airflow_provider_truto.bulk.records import Record
    from airflow_provider_truto.bulk.sources import Source
    from airflow_provider_truto.client.settings import ClientSettings
    from airflow_provider_truto.hooks.truto import TrutoHook
    from airflow_provider_truto.operators._bulk_source import OpenedSource, PreparedSource

OnSourceChange = Literal["error", "restart"]
OnClear = Literal["resume", "restart"]
#: Methods that mean the same when they are done again; anything else may make another record.
_REPEATABLE = frozenset({"update", "delete"})
#: What is said of rows that a check has found, after their number, and what can be done.
_CHECKED_FIRST = (
    "rows of the source are not valid; nothing was sent. Correct them where they come from and clear the task, which"
    " then reads the source anew; or leave out validate_first, so that the others are sent and these are failures."
)
_CHECKED_LATER = (
    "rows that are not done yet are not valid; this try has sent nothing. Earlier ones have sent from this source,"
    " and their ledger holds for its rows as they are. Leave out validate_first and clear the task, so that the"
    " others are sent and these are failures; or correct the rows and clear the task with on_clear='restart', so that"
    " every record is written again, in a new ledger."
)


class TrutoBulkOperator(TrutoOperator):
    """Many writes in one task, kept in flight for many customers at once; every record is accounted for.

    :param source: the records ``{"id", "body", "integrated_account_id"?}``: a list, the output of another task, or
        the path of a file, a folder or a glob on any ``ObjectStoragePath``, or a list of paths: JSON Lines
        (``.jsonl``, ``.ndjson``) or CSV with columns ``id``, ``integrated_account_id`` and paths into the body
        (``owner.id``, ``addresses[0].city``), also gzipped. Files are read in the order of their names. (templated)
    :param query: instead of ``source``, a query whose columns are those of a CSV, or the name of a ``.sql`` file. It
        is asked once: what it gives is kept beside the ledger, for the tries to come. A NULL is not given, unless
        ``on_none="null"``. (templated)
    :param sql_conn_id: the connection to ask, of any type whose hook is a ``DbApiHook``. (templated)
    :param query_parameters: what the query's placeholders stand for. (templated)
    :param hook_params: more arguments of that connection's hook, such as a warehouse or a database. (templated)
    :param mapping: makes records of rows that are none: ``{"id", "integrated_account_id"?, "body"}`` whose texts are
        templates of ``row``, as in ``{"id": "{{ row.crm_id }}", "body": {"name": "{{ row.name }}"}}``; or a function
        of yours, also by its name (``"my_package.my_module.to_record"``), that takes a row and gives such a record,
        or ``None`` to leave the row out, which is accounted for as ``unchanged``. The same row must give the same
        record each time. A row that it fails on is a failed record. Never rendered by Airflow.
    :param shard: which part of the source this task does, an item of ``operators.bulk.shards(n)``:
        ``.partial(…).expand(shard=shards(8))``. Each task reads the whole source, or asks the query. Each takes its
        own share of the limits: set ``requests_per_second`` to 50 / n, and with ``shards(n, by="id")``, which splits
        one customer's records, to 5 / n. The number must not change between the tries of a run. (templated)
    :param output_path: an ``ObjectStoragePath`` for the ledger, which a resume needs: it must outlive the worker.
        (templated)
    :param max_failures: how many failed and skipped records the task may have and still succeed: a number, a share
        such as ``0.01``, or ``None`` to report only. You must choose. (templated)
    :param integrated_account_id: the customer of records that name none; left out, the connection's default.
        (templated)
    :param truto_conn_id: the Airflow connection. (templated)
    :param concurrency: how many calls are in flight at most. (templated)
    :param requests_per_second: instead of the connection's: this task's share. (templated)
    :param schema: as of ``TrutoUnifiedOperator``. Never rendered.
    :param extra_fields: as of ``TrutoUnifiedOperator``. (templated)
    :param on_none: what a null in a record's body means: ``"error"``, ``"omit"`` the field, or send ``"null"``.
        (templated)
    :param null_marker: the text of a cell that is sent as null; an empty cell of a CSV is not given. Not beside
        ``mapping``, which gets an empty cell as ``None``. (templated)
    :param delimiter: what separates the cells of a CSV: one character, such as ``";"`` or a tab. (templated)
    :param allow_empty: let ``[]`` and ``{}`` through; they may wipe a list in the CRM. (templated)
    :param check_custom_fields: as of ``TrutoUnifiedOperator``. (templated)
    :param skip_unchanged: as of ``TrutoUnifiedOperator``; costs a read a record. (templated)
    :param validate_first: check the whole source before the first write, and before each later try's first the rows
        that are not done yet: what is final already need not be valid any more. Where a fault is found, nothing is
        sent, and where no earlier try has sent anything either, the source may be corrected: the next try reads it
        anew, and asks the query again. (templated)
    :param max_runtime: seconds, or a ``timedelta``, after which this try ends, and the next one goes on. (templated)
    :param on_source_change: where the source is another than in the first try: ``"error"``, or ``"restart"`` in a new
        ledger. (templated)
    :param on_clear: what clearing this task means where the bulk was not finished: to go on in its ledger under its
        keys (``"resume"``), or to begin a new one, in which every record is written again under new keys
        (``"restart"``). A retry goes on in its ledger either way. (templated)

    Flags, numbers and choices may be text that means one, as of ``TrutoCallOperator``: what is none fails the task
    before anything is sent and before a ledger is begun.

    XCom: ``return_value`` are the counts, paths and times.
    """

    arguments = BULK_ARGUMENTS
    model: Any
    resource: Any
    method: Any
    source: Any
    query: Any
    sql_conn_id: Any
    query_parameters: Any
    hook_params: Any
    mapping: Any
    shard: Any
    output_path: Any
    max_failures: Any
    integrated_account_id: Any
    truto_conn_id: Any
    concurrency: Any
    requests_per_second: Any
    schema: SchemaSource
    extra_fields: Any
    on_none: Any
    null_marker: Any
    delimiter: Any
    allow_empty: Any
    check_custom_fields: Any
    skip_unchanged: Any
    validate_first: Any
    max_runtime: Any
    on_source_change: Any
    on_clear: Any

    def __init__(
        self,
        *,
        source: Any = None,
        query: str | None = None,
        sql_conn_id: str | None = None,
        query_parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        hook_params: Mapping[str, Any] | str | None = None,
        mapping: Mapping[str, Any] | Callable[[Any], Any] | str | None = None,
        shard: Mapping[str, Any] | Sequence[int] | str | None = None,
        output_path: str | PathLike[str] = REQUIRED,
        max_failures: float | str | None = REQUIRED,
        integrated_account_id: str = NOT_GIVEN,
        truto_conn_id: str = DEFAULT_CONN_ID,
        concurrency: int | str = 32,
        requests_per_second: float | str | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | str | None = None,
        on_none: OnNone | str = "error",
        null_marker: str | None = None,
        delimiter: str = ",",
        allow_empty: bool | str = False,
        check_custom_fields: bool | str = False,
        skip_unchanged: bool | str = False,
        validate_first: bool | str = False,
        max_runtime: float | timedelta | str | None = None,
        on_source_change: OnSourceChange | str = "error",
        on_clear: OnClear | str = "resume",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(
            source=source,
            query=query,
            sql_conn_id=sql_conn_id,
            query_parameters=query_parameters,
            hook_params=hook_params,
            mapping=mapping,
            shard=shard,
            output_path=output_path,
            max_failures=max_failures,
            integrated_account_id=integrated_account_id,
            truto_conn_id=truto_conn_id,
            concurrency=concurrency,
            requests_per_second=requests_per_second,
            schema=schema,
            extra_fields=extra_fields,
            on_none=on_none,
            null_marker=null_marker,
            delimiter=delimiter,
            allow_empty=allow_empty,
            check_custom_fields=check_custom_fields,
            skip_unchanged=skip_unchanged,
            validate_first=validate_first,
            max_runtime=max_runtime,
            on_source_change=on_source_change,
            on_clear=on_clear,
        )
        self._check_literals()
        self._is_stopped = False
        self._counted: Counter[str] = Counter()

    template_fields: Sequence[str] = templated(__init__, BULK_ARGUMENTS)
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql"}

    def _contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._contradictions(given, present)
        if ("source" in present) == ("query" in present) or ("query" in present) != ("sql_conn_id" in present):
            yield Problem("/source", "give either source, or query with sql_conn_id")
        if {"mapping", "null_marker"} <= set(present):
            yield Problem("/null_marker", "means nothing beside mapping, which sees what is in the cells")

    @property
    def needs_id(self) -> bool:
        """Whether a record means nothing without an id."""
        return self.method in {"update", "delete"}

    @property
    def needs_body(self) -> bool:
        """Whether a record means nothing without a body."""
        return self.method in {"create", "update"}

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a value; rows of another task's stay as lazy as they come, since there may be many."""
        if content is self.source and is_reference(content) and is_from_upstream(content, context):
            return content.resolve(context)
        return super().render_template(content, context, jinja_env, seen_oids)

    def _as_upstream_data(self, name: str, value: Any) -> Any:
        return value if name == "source" else super()._as_upstream_data(name, value)

    def execute(self, context: Any) -> dict[str, Any]:
        """Do what is not done yet, and account for every record."""
        from airflow_provider_truto.bulk.engine import UnfinishedError
        from airflow_provider_truto.bulk.ledger import LedgerError, LiveTryError
        from airflow_provider_truto.bulk.sources import SourceError

        with failing_in_airflow_terms(self):
            try:
                return self._done(context)
            except (LedgerError, SourceError) as error:
                raise TrutoBulkError(str(error)) from error
            except (NotADirectoryError, FileExistsError) as error:
                raise TrutoBulkError(not_a_folder(error)) from error
            except (LiveTryError, UnfinishedError) as error:
                raise TrutoBulkError(f"bulk not finished: {error}", transient=True) from error

    def on_kill(self) -> None:
        """Start no more records; what is in flight still gets its answer, and its line."""
        self._is_stopped = True

    def _done(self, context: Any) -> dict[str, Any]:
        from airflow_provider_truto.bulk.ledger import forget_failed_checks, task_folder
        from airflow_provider_truto.bulk.tries import begin_try
        from airflow_provider_truto.hooks.truto import TrutoHook
        from airflow_provider_truto.operators._bulk_source import prepared_source

        if problems := self._read_arguments():
            raise TrutoSchemaError.of(f"the arguments of task {self.task_id!r} are not valid", problems)
        task = running_task(context)
        identity = task.identity if task else self._nobody()
        folder = task_folder(
            object_storage_path(self.output_path),
            identity.dag_id,
            identity.run_id,
            identity.task_id,
            identity.map_index,
        )
        try_number = task.try_number if task else 1
        may_repeat = self.method in _REPEATABLE or self.on_clear == "restart"
        if warning := begin_try(folder, try_number=try_number, may_repeat=may_repeat):
            self.log.warning("%s", warning)
        hook = TrutoHook(self.truto_conn_id, requests_per_second=self.requests_per_second)
        try:
            prepared = prepared_source(self, context, hide_values=hook.connection.settings.hide_values)
        except ValueError as error:
            raise TrutoSchemaError(f"the source cannot be read: {error}. Nothing was sent.") from error
        ledger, begun, header = self._ledger(folder, prepared, identity, task)
        try:
            opened = prepared.open(ledger.folder, (begun or {}).get("snapshot"))
        except ValueError as error:
            raise TrutoSchemaError(f"the source cannot be read: {error}. Nothing was sent.") from error
        generations = {name: header[name] for name in ("task_generation", "generation")}
        plan = self._plan(identity, header)
        # A ledger that is begun says what is done; one that is not must not bind this source before it is checked.
        past = None if begun is None else ledger.open({**header, "snapshot": opened.keep()})
        if self.validate_first:
            self._validate(hook, plan, opened, ledger, past)
        if past is None:
            past = ledger.open({**header, "snapshot": opened.keep()})
        forget_failed_checks(folder, after=header["generation"])
        if done := sum(past.counts.values()):
            self.log.info("Going on in %s: %d records are accounted for already", ledger.folder, done)
        else:
            self.log.info("The ledger is in %s", ledger.folder)
        if past.lost_failures:
            self.log.warning(
                "%d records failed in earlier tries and stand in no failures file any more, which was emptied or"
                " deleted: this try's lacks them too. The results files have their ids and rows",
                past.lost_failures,
            )
        self._announce(hook.connection.settings, opened.source, past)
        counts = asyncio.run(self._run(hook, plan, opened.source, ledger, past, generations))
        self._judge(counts)
        if task:
            task.done()
        return counts

    def _nobody(self) -> TaskIdentity:
        """Give the identity of a call outside of a DAG run, which nothing goes on with."""
        return TaskIdentity(dag_id="no-dag", run_id=uuid4().hex, task_id=self.task_id, map_index=-1, generation="")

    def _plan(self, identity: TaskIdentity, header: Mapping[str, Any]) -> Plan:
        from airflow_provider_truto.bulk.engine import Plan
        from airflow_provider_truto.records.pipeline import CoercionOptions, Safeguards

        return Plan(
            template=RecordRequest(
                model=self.model,
                resource=self.resource,
                method=self.method,
                id_name="id",
                needs_id=self.needs_id,
                integrated_account_id=self.integrated_account_id,
                schema=schema_beside_dag(self, self.schema),
                extra_fields=self.extra_fields,
                allow_empty=self.allow_empty,
                text_advice=self._text_advice(),
            ),
            coercion=CoercionOptions(on_none=self.on_none, hint="; on_none says what a null in a record means"),
            safeguards=Safeguards(check_custom_fields=self.check_custom_fields, skip_unchanged=self.skip_unchanged),
            identity=replace(identity, generation=header["keys"]),
            cleared_identity=replace(identity, generation=f"{identity.generation}/{header['generation']}"),
            concurrency=self.concurrency,
            max_runtime=self.max_runtime,
            is_stopped=lambda: self._is_stopped,
        )

    def _text_advice(self) -> str:
        """Say where a row's number is made text."""
        if isinstance(self.mapping, Mapping):
            return "make it text in the mapping: `{{ row.… | string }}`"
        if self.mapping is not None:
            return "make it text in the mapping: str(…)"
        if self.query is not None:
            return "make it text in the query: cast(… as varchar)"
        return "make it text in the source, in quotes where that is JSON"

    def _validate(self, hook: TrutoHook, plan: Plan, opened: OpenedSource, ledger: Ledger, past: Past | None) -> None:
        """Check what is not done yet; a try that ends here leaves nothing which binds the next one.

        ``past`` is ``None`` where no try has begun the ledger. Raises ``TrutoSchemaError`` with the faults.
        """
        from airflow_provider_truto.bulk.engine import MOST_FAULTS, Bulk
        from airflow_provider_truto.bulk.ledger import Past

        async def check() -> list[tuple[Record, TrutoSchemaError]]:
            async with hook.new_async_client(connections=self.concurrency) as client:
                bulk = Bulk(client, ledger, past or Past(), plan, report=self._report)
                return await bulk.check(opened.source.records())

        is_valid = False
        try:
            faults = [f"{record.told}: {error}" for record, error in asyncio.run(check())]
            is_valid = not faults
        finally:
            if past is None and not is_valid:
                opened.drop()
            elif not is_valid:
                for write in ledger.full_parts(all_of_them=True):  # the failures that it has taken over
                    write()
        if faults:
            ledger.tell_faults(faults)
            most = "at least " if len(faults) >= MOST_FAULTS else ""
            what = _CHECKED_FIRST if past is None else _CHECKED_LATER
            raise TrutoSchemaError("\n".join([f"{most}{len(faults)} {what}", *faults]))

    async def _run(
        self,
        hook: TrutoHook,
        plan: Plan,
        source: Source,
        ledger: Ledger,
        past: Past,
        generations: Mapping[str, Any],
    ) -> dict[str, Any]:
        from airflow_provider_truto.bulk.engine import Bulk

        self._counted = Counter(past.counts)
        async with hook.new_async_client(connections=self.concurrency) as client:
            bulk = Bulk(client, ledger, past, plan, report=self._report, total=source.count())
            is_over = False
            try:
                await bulk.run(source.records())
                is_over = True
            finally:
                progress = bulk.progress
                self._count(progress)
                self._tell_others(progress)
                summary = {
                    **progress.as_dict(),
                    "complete": is_over,
                    "finished": is_over and self._tolerates(progress),
                    **generations,
                    "problems": progress.problems.as_list(),
                    "accounts": {name: dict(counts) for name, counts in progress.of_accounts.items()},
                }
                whole = ledger.close(summary)
        return {name: value for name, value in whole.items() if name not in {"accounts", "problems"}}

    def _ledger(
        self, folder: Any, prepared: PreparedSource, identity: TaskIdentity, task: RunningTask | None
    ) -> tuple[Ledger, dict[str, Any] | None, dict[str, Any]]:
        """Choose the ledger; give it with the header that it was begun with, if it was, and the one of this try.

        Nothing is written. Raises ``LedgerError`` where it was begun with another source.
        """
        from airflow_provider_truto.bulk.ledger import (
            Ledger,
            generation_for,
            generations,
            is_of_another_run,
            latest_begun,
        )

        run = task.run if task else RunSeen()
        try_number = task.try_number if task else 1
        latest = latest_begun(folder)
        if latest is not None and is_of_another_run(
            folder / str(latest), run, identity.generation, try_number=try_number
        ):
            self.log.warning(
                "The ledger in %s is of a DAG run of this id that was deleted: nothing of it counts here",
                folder / str(latest),
            )
            generation = latest + 1
        else:
            generation = generation_for(folder, identity.generation, restarts=self.on_clear == "restart")
        ledger = Ledger(folder / str(generation), try_number=try_number)
        begun = ledger.begun()
        if begun is None and generation > min(generations(folder), default=generation):
            self.log.info("Beginning anew, in generation %d", generation)
        if begun is not None and begun.get("fingerprint") != prepared.fingerprint:
            if self.on_source_change != "restart":
                ledger.open({"fingerprint": prepared.fingerprint})  # raises, before a query is asked in vain
            generation += 1
            self.log.warning("The source has changed: beginning anew, in generation %d", generation)
            ledger, begun = Ledger(folder / str(generation), try_number=try_number), None
        header = {
            "package_version": __version__,
            "operation": f"{self.model}.{self.resource}.{self.method}",
            "fingerprint": prepared.fingerprint,
            "shard": None if prepared.shard is None else vars(prepared.shard),
            "generation": generation,
            "task_generation": identity.generation,
            "run": run.as_dict(),
            # What the keys are made of stays what it was when the ledger was begun, also after a clear.
            "keys": (begun or {}).get("keys", f"{identity.generation}/{generation}"),
        }
        return ledger, begun, header

    def _announce(self, settings: ClientSettings, source: Source, past: Past) -> None:
        """Say before the first write how long it takes at least."""
        from airflow_provider_truto.client.pacing import ACCOUNT_RATE, TIER_SECONDS, TOKEN_RATE

        def shortest(rows: int, rate: float) -> str:
            return duration(max(0.0, rows / rate - TIER_SECONDS))  # what a window holds may go out at once

        rate = settings.requests_per_second
        rows = source.count()
        told = "An unknown number of records" if rows is None else f"{rows} records"
        if rate == 0:
            self.log.info("%s; no pacing", told)
            return
        of_all = TOKEN_RATE if rate is None else rate
        of_one = min(ACCOUNT_RATE, of_all)
        told = f"{told}; {of_all:g} calls a second in this process, {of_one:g} an account"
        if rows is not None:
            left = rows - sum(past.counts.values())
            told += f"; at least {shortest(left, of_all)}, for a single customer {shortest(left, of_one)}"
        self.log.info("%s", told)

    def _count(self, progress: Progress) -> None:
        """Add to Airflow's metrics what has been done since the last time."""
        from airflow_provider_truto.bulk.rows import Status

        for status in get_args(Status):
            count_metric(f"truto.bulk.{status}", progress.counts[status] - self._counted[status])
        self._counted = Counter(progress.counts)

    def _report(self, progress: Progress) -> None:
        self._count(progress)
        told = f"{progress.done}{'' if progress.total is None else f' of {progress.total}'} records"
        if progress.rate is not None:
            told += f", {progress.rate:.1f} a second"
        if progress.rate and progress.total is not None:
            told += f", {duration((progress.total - progress.done) / progress.rate)} left"
        self.log.info("%s; %d failed or skipped", told, progress.failures)

    def _tell_others(self, progress: Progress) -> None:
        if progress.others:
            self.log.warning(
                "%d of this try's answers are about another record than the one that was asked for, the first that of"
                " %s. A CRM that merged the two does this rightly; if it did not, the answer is another call's: look"
                " at both records. The ledger has /id among their not_confirmed",
                progress.others,
                progress.first_other,
            )

    def _tolerates(self, progress: Progress) -> bool:
        return is_within(self.max_failures, progress.failures, progress.done)

    def _judge(self, counts: Mapping[str, Any]) -> None:
        failures = counts["failed"] + counts["skipped"]
        if not failures:
            return
        problems = "".join(f"\n  {problem}" for problem in counts["first_problems"])
        message = (
            f"{failures} of {counts['records']} records failed ({counts['failed']}) or were skipped"
            f" ({counts['skipped']}); {counts['updated']} were written, {counts['unchanged']} needed no write."
            f" They are in {', '.join(counts['failures']) or counts['ledger']}, which can be a source again."
            f"{problems}"
        )
        if is_within(self.max_failures, failures, counts["records"]):
            self.log.warning("%s\n(max_failures=%s tolerates it.)", message, self.max_failures)
        elif counts["transient_failures"]:
            message += f"\n{counts['transient_failures']} of them may pass: a retry sends just those."
            raise TrutoBulkError(message, transient=True, counts=counts)
        else:
            raise TrutoBulkError(message, counts=counts)


def is_within(max_failures: float | None, failures: int, records: int) -> bool:
    """Say whether so many failures may be."""
    if max_failures is None or not failures:
        return True
    return failures <= (max_failures * records if isinstance(max_failures, float) else max_failures)


def duration(seconds: float) -> str:
    """Write a time as people say it: ``55 h 33 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
