"""The tables of ledgers in a database, through whatever hook its Airflow connection has.

Each ledger is replaced whole, in one transaction: its old lines are deleted and its present ones inserted. A kill
leaves it as it was before. A database that commits each statement by itself is left with a part of the lines, and
without the ledger's line in ``truto_runs``, which goes first and comes last; the next run of the task replaces both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice
from typing import Any

from airflow_provider_truto.bulk.ledger_tables import CHANGES, RUNS, LedgerTables, Table

#: Lines that are inserted at a time.
_LINES = 500
_TYPES = {
    "key": "VARCHAR(128) NOT NULL",
    "text": "TEXT",
    "whole": "BIGINT",
    "number": "DOUBLE PRECISION",
    "flag": "BOOLEAN",
}
#: Of each record the line that was written last, as a view: it can never differ from what the lines say.
_LATEST = """
CREATE VIEW truto_latest AS
SELECT {columns} FROM (
    SELECT {columns}, ROW_NUMBER() OVER (
        PARTITION BY integrated_account_id, operation, record_id
        ORDER BY run_started_at DESC, generation DESC, try_number DESC, ordinal DESC, line_id DESC
    ) AS place_from_last
    FROM truto_changes WHERE record_id IS NOT NULL
) lines_of_records WHERE place_from_last = 1
"""


def store_ledgers(hook: Any, ledgers: Iterable[LedgerTables]) -> tuple[int, int]:
    """Store ledgers in the tables, which are made where they are missing; return how many ledgers and lines.

    Raises what the database's driver raises.
    """
    count = lines = 0
    with closing(hook.get_conn()) as connection:
        if getattr(hook, "supports_autocommit", False):
            hook.set_autocommit(connection, False)
        for table in (RUNS, CHANGES):
            keys = ", ".join(table.key)
            columns = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in table.columns.items())
            _make(connection, table, f"CREATE TABLE {table.name} ({columns}, PRIMARY KEY ({keys}))")
        _make(connection, CHANGES._replace(name="truto_latest"), _LATEST.format(columns=", ".join(CHANGES.columns)))
        for ledger in ledgers:
            lines += _replace_ledger(connection, ledger, placeholder=hook.placeholder)
            count += 1
    return count, lines


def _make(connection: Any, table: Table, statement: str) -> None:
    """Make what cannot be selected from; what is there may have been made by somebody else, with other types."""
    with closing(connection.cursor()) as cursor:
        try:
            cursor.execute(f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE 1 = 0")  # noqa: S608
            cursor.fetchall()
        except Exception:  # of any driver
            with suppress(Exception):  # of those that have no transactions
                connection.rollback()
        else:
            return
    with closing(connection.cursor()) as cursor:
        cursor.execute(statement)
    connection.commit()


def _replace_ledger(connection: Any, ledger: LedgerTables, *, placeholder: str) -> int:
    count = 0
    with closing(connection.cursor()) as cursor:
        for table in (RUNS, CHANGES):
            cursor.execute(
                f"DELETE FROM {table.name} WHERE ledger_id = {placeholder}",  # noqa: S608
                (ledger.ledger_id,),
            )
        for lines in _split(ledger.read_changes()):
            cursor.executemany(_write_insert(CHANGES, placeholder), lines)
            count += len(lines)
        cursor.execute(_write_insert(RUNS, placeholder), _to_storable(ledger.run))
    connection.commit()
    return count


def _write_insert(table: Table, placeholder: str) -> str:
    values = ", ".join([placeholder] * len(table.columns))
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({values})"  # noqa: S608


def _split(lines: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while several := [_to_storable(line) for line in islice(lines, _LINES)]:
        yield several


def _to_storable(line: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace NUL in text, which PostgreSQL cannot hold."""
    return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in line)
