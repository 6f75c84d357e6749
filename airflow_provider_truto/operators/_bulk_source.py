"""The source that a bulk operator's arguments mean."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.mapping import FunctionMapping, TemplateMapping
from airflow_provider_truto.bulk.record_parser import RecordParser, RowMapping
from airflow_provider_truto.bulk.shards import parse_shard
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.bulk.sources.lists import ListSource, list_rows
from airflow_provider_truto.bulk.sources.snapshot import QueryResult, SnapshotSource, fingerprint_query
from airflow_provider_truto.bulk.sources.source import ShardedSource, Source, SourcePlan
from airflow_provider_truto.operators._argument import is_path
from airflow_provider_truto.operators._sql import run_query
from airflow_provider_truto.records.functions import import_function
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.validate import explain_unknown_field

if TYPE_CHECKING:
    from airflow_provider_truto.operators._bulk import TrutoBulkOperator


def prepare_source(
    operator: TrutoBulkOperator, context: Any, *, template: RecordRequest, hide_values: bool
) -> SourcePlan:
    """Make the source that an operator's rendered arguments mean; ``template`` is the request of each of its records.

    Raises ``ValueError``; nothing was sent then.
    """
    needs = {"needs_id": operator.needs_id and operator.match_on is None, "needs_body": operator.needs_body}
    parser = RecordParser(
        **needs,
        null_marker=operator.null_marker,
        sends_nulls=operator.on_none == "null",
        mapping=_make_mapping(operator, context, needs=needs, hide_values=hide_values),
        extra_fields=operator.extra_fields or (),
        explain_unknown=partial(explain_unknown_field, template),
    )
    shard = None if operator.shard is None else parse_shard(operator.shard)

    def apply_shard(source: Source) -> Source:
        return source if shard is None else ShardedSource(source, shard)

    sql, conn_id = choose_sql(operator), operator.sql_conn_id
    if sql is None:
        source = apply_shard(_make_source(operator.source, parser, delimiter=operator.delimiter))
        return SourcePlan(fingerprint=source.fingerprint(), shard=shard, open=lambda _folder: source)
    if sql.endswith(tuple(operator.template_ext)) and len(sql.split()) == 1:
        raise ValueError(
            f"sql is only the name of a file, {sql!r}: a file is read where its name stands in the DAG file as it"
            " is, not where a template or another task makes it"
        )
    parameters, hook_params = operator.query_parameters, operator.hook_params
    fingerprint = fingerprint_query(conn_id, sql, parameters, hook_params)

    def ask() -> AbstractContextManager[QueryResult]:
        return run_query(conn_id, sql, parameters, hook_params)

    def open_snapshot(folder: Any) -> Source:
        return apply_shard(SnapshotSource(folder, fingerprint, ask, parser))

    named = fingerprint if shard is None else f"{fingerprint}, {shard}"
    return SourcePlan(fingerprint=named, shard=shard, open=open_snapshot)


def choose_sql(operator: TrutoBulkOperator) -> str | None:
    """Return the query, whichever of its two names it was given by."""
    sql: str | None = operator.sql if operator.query is None else operator.query
    return sql


def _make_source(value: Any, parser: RecordParser, *, delimiter: str) -> Source:
    if isinstance(value, str) or is_path(value):
        value = [value]
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) or is_path(item) for item in value):
        return FileSource(*map(object_storage_path, value), parser=parser, delimiter=delimiter)
    rows = list_rows(value)
    if rows is None:
        raise ValueError(f"it is a {type(value).__name__}: expects a list of records, or paths")
    return ListSource(rows, parser)


def _make_mapping(
    operator: TrutoBulkOperator, context: Any, *, needs: dict[str, bool], hide_values: bool
) -> RowMapping | None:
    mapping = operator.mapping
    if mapping is None:
        return None
    if isinstance(mapping, Mapping):
        env = operator.get_template_env()
        return TemplateMapping(mapping, env=env, context=context, hide_values=hide_values, **needs)
    function = import_function(mapping, argument="mapping") if isinstance(mapping, str) else mapping
    if not callable(function):
        raise ValueError(f"mapping: expects templates, a function or its name, got {type(mapping).__name__}")  # noqa: TRY004
    return FunctionMapping(function, hide_values=hide_values, **needs)
