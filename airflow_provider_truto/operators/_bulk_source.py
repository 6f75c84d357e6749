"""The source of a bulk operator, made of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.mapping import FunctionMapping, TemplateMapping, imported_function
from airflow_provider_truto.bulk.records import Reading, RowMapping
from airflow_provider_truto.bulk.shards import Shard, shard_of
from airflow_provider_truto.bulk.snapshot import Result, SnapshotSource, query_fingerprint
from airflow_provider_truto.bulk.sources import FileSource, ListSource, ShardedSource, Source, rows_of
from airflow_provider_truto.operators._arguments import is_path
from airflow_provider_truto.operators._sql import asked

if TYPE_CHECKING:
    from airflow_provider_truto.operators._bulk import TrutoBulkOperator


@dataclass(frozen=True, kw_only=True)
class OpenedSource:
    """A source that can be read, and the rows of the query that it gives, if it is one."""

    source: Source
    snapshot: SnapshotSource | None = None

    def keep(self) -> dict[str, Any] | None:
        """Have every try to come read what this one reads; give what the ledger's header says of that, if any."""
        return None if self.snapshot is None else self.snapshot.keep()

    def drop(self) -> None:
        """Have the next try read the source anew; only where nobody has begun a ledger with it."""
        if self.snapshot is not None:
            self.snapshot.drop()


@dataclass(frozen=True, kw_only=True)
class PreparedSource:
    """A source that is not read yet: what it is called in the ledger, and how it is opened beside it.

    ``open`` takes the generation's folder, in which a query keeps its rows, and what ``keep`` gave for the header of
    the ledger there, if it is begun; it raises ``ValueError``. ``shard`` is which part of the whole it is.
    """

    fingerprint: str
    shard: Shard | None = None
    open: Callable[[Any, Mapping[str, Any] | None], OpenedSource]


def prepared_source(operator: TrutoBulkOperator, context: Any, *, hide_values: bool) -> PreparedSource:
    """Make the source that an operator's rendered arguments mean. Raises ``ValueError``; nothing was sent then."""
    needs = {"needs_id": operator.needs_id, "needs_body": operator.needs_body}
    reading = Reading(
        **needs,
        null_marker=operator.null_marker,
        sends_nulls=operator.on_none == "null",
        mapping=_mapping(operator, context, needs=needs, hide_values=hide_values),
        extra_fields=operator.extra_fields or (),
    )
    shard = None if operator.shard is None else shard_of(operator.shard)

    def sharded(source: Source) -> Source:
        return source if shard is None else ShardedSource(source, shard)

    if operator.query is None:
        source = sharded(_given_source(operator.source, reading, delimiter=operator.delimiter))
        return PreparedSource(
            fingerprint=source.fingerprint(), shard=shard, open=lambda *_: OpenedSource(source=source)
        )
    query, conn_id = operator.query, operator.sql_conn_id
    if query.endswith(tuple(operator.template_ext)) and len(query.split()) == 1:
        raise ValueError(
            f"query is only the name of a file, {query!r}: a file is read where its name stands in the DAG file as it"
            " is, not where a template or another task makes it"
        )
    parameters, hook_params = operator.query_parameters, operator.hook_params
    fingerprint = query_fingerprint(conn_id, query, parameters, hook_params)

    def opened(folder: Any, begun_with: Mapping[str, Any] | None) -> OpenedSource:
        def ask() -> AbstractContextManager[Result]:
            return asked(conn_id, query, parameters, hook_params)

        snapshot = SnapshotSource(folder, fingerprint, ask, reading, begun_with=begun_with)
        return OpenedSource(source=sharded(snapshot), snapshot=snapshot)

    named = fingerprint if shard is None else f"{fingerprint}, {shard}"
    return PreparedSource(fingerprint=named, shard=shard, open=opened)


def _given_source(value: Any, reading: Reading, *, delimiter: str) -> Source:
    if isinstance(value, str) or is_path(value):
        value = [value]
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) or is_path(item) for item in value):
        return FileSource(*map(object_storage_path, value), reading=reading, delimiter=delimiter)
    rows = rows_of(value)
    if rows is None:
        raise ValueError(f"it is a {type(value).__name__}: expects a list of records, or paths")
    return ListSource(rows, reading)


def _mapping(
    operator: TrutoBulkOperator, context: Any, *, needs: dict[str, bool], hide_values: bool
) -> RowMapping | None:
    mapping = operator.mapping
    if mapping is None:
        return None
    if isinstance(mapping, Mapping):
        env = operator.get_template_env()
        return TemplateMapping(mapping, env=env, context=context, hide_values=hide_values, **needs)
    function = imported_function(mapping) if isinstance(mapping, str) else mapping
    if not callable(function):
        raise ValueError(f"mapping: expects templates, a function or its name, got {type(mapping).__name__}")  # noqa: TRY004
    return FunctionMapping(function, hide_values=hide_values, **needs)
