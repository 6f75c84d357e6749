"""What the bulk operators share: their arguments, and what contradicts itself among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, ClassVar, Literal

from airflow_provider_truto._compat import NOTSET, ArgNotSet
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._arguments import BULK_ARGUMENTS
from airflow_provider_truto.operators._operator import TrutoOperator, defer_required_check, list_templated
from airflow_provider_truto.operators._rendering import is_from_upstream, is_reference
from airflow_provider_truto.operators._task import (
    failing_in_airflow_terms,
)
from airflow_provider_truto.records.request import PACKAGED, OnNone, SchemaSource

OnSourceChange = Literal["error", "restart"]
OnClear = Literal["resume", "restart"]


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

    @defer_required_check
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
        output_path: str | PathLike[str],
        max_failures: float | str | None,
        integrated_account_id: str | ArgNotSet = NOTSET,
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
        self._take(locals())
        self.is_stopped = False

    template_fields: Sequence[str] = list_templated(__init__, BULK_ARGUMENTS)
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
        from airflow_provider_truto.operators._bulk_job import run_bulk

        with failing_in_airflow_terms(self):
            if problems := self._read_arguments():
                raise TrutoSchemaError.of(f"the arguments of task {self.task_id!r} are not valid", problems)
            return run_bulk(self, context)

    def on_kill(self) -> None:
        """Start no more records; what is in flight still gets its answer, and its line."""
        self.is_stopped = True
