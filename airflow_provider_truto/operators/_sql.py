"""Asking a warehouse through whatever hook its Airflow connection has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from typing import Any

from airflow_provider_truto._compat import AirflowException, BaseHook
from airflow_provider_truto.bulk.sources.snapshot import QueryResult
from airflow_provider_truto.operators._columns import Cast, find_casts, keep_json_exact, read_cells
from airflow_provider_truto.operators._statements import has_several

#: Rows that are fetched at a time.
_ROWS = 2_000


def find_hook(conn_id: str, hook_params: Mapping[str, Any] | None) -> Any:
    """Return the hook of a connection. Raises ``ValueError`` where it is of a type that has no SQL."""
    connection = BaseHook.get_connection(conn_id)
    try:
        hook = connection.get_hook(hook_params=dict(hook_params or {}))
    except AirflowException as error:
        raise ValueError(
            f"the connection {conn_id!r} is of type {connection.conn_type!r}, which Airflow knows no hook of: install"
            f" its provider, such as apache-airflow-providers-{connection.conn_type} ({error})"
        ) from error
    if not hasattr(hook, "get_conn") or not hasattr(hook, "get_records"):
        raise ValueError(
            f"the connection {conn_id!r} leads to a {type(hook).__name__}, which runs no SQL: name one"
            " whose hook is a DbApiHook"
        )
    return hook


@contextmanager
def run_query(
    conn_id: str,
    query: str,
    parameters: Mapping[str, Any] | Sequence[Any] | None,
    hook_params: Mapping[str, Any] | None,
) -> Iterator[QueryResult]:
    """Run a query and give its columns and rows, which are fetched as they are read; nothing is committed.

    Raises ``ValueError`` where the connection is of a type that has no SQL, the query is several statements, gives no
    rows, or has a column whose values are not what they look like, and what the database's driver raises.
    """
    with closing(find_hook(conn_id, hook_params).get_conn()) as connection:
        if has_several(query, driver=type(connection).__module__):
            raise ValueError(
                "the query is several statements: only the rows of one would be read, and what the others change"
                " might be committed. Write a single SELECT"
            )
        keep_json_exact(connection)
        yield from _execute(connection, query, parameters)


def _execute(
    connection: Any, query: str, parameters: Mapping[str, Any] | Sequence[Any] | None
) -> Iterator[QueryResult]:
    with closing(_open_cursor(connection)) as cursor:
        if parameters:
            cursor.execute(query, parameters)
        else:
            cursor.execute(query)  # with parameters, even none, some drivers read a % as a placeholder
        cursor.arraysize = _ROWS
        first = cursor.fetchmany(_ROWS) if cursor.description is not None or _is_named(cursor) else []
        if cursor.description is None:  # a named cursor knows its columns after the first rows
            raise ValueError("the query gives no rows: it must be a SELECT")
        columns = [str(column[0]) for column in cursor.description]
        yield QueryResult(columns=columns, rows=_fetch_rows(cursor, first, columns, find_casts(connection, cursor)))


def _fetch_rows(
    cursor: Any, rows: Sequence[Any], columns: Sequence[str], casts: Mapping[int, Cast]
) -> Iterator[Sequence[Any]]:
    while rows:
        for row in rows:
            cells = read_cells(row, columns)
            if casts:
                cells = list(cells)
                for place, cast in casts.items():
                    cells[place] = None if cells[place] is None else cast(cells[place])
            yield cells
        rows = cursor.fetchmany(_ROWS)


def _open_cursor(connection: Any) -> Any:
    """Open a cursor that leaves the rows with the server, for drivers that would fetch all of them at once."""
    driver = type(connection).__module__.partition(".")[0]
    if driver in {"psycopg2", "psycopg"} and not getattr(connection, "autocommit", False):
        return connection.cursor(name="truto_bulk")
    if driver in {"MySQLdb", "pymysql"}:
        return connection.cursor(import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()


def _is_named(cursor: Any) -> bool:
    return isinstance(getattr(cursor, "name", None), str)
