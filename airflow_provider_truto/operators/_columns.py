"""Columns whose values are not what they look like: what a cursor's description says of them, and what they mean.

A driver that knows no Python type for a type of its database hands out text, or whatever came over the wire. Where
the description tells, such a value is made what it is, or refused with what to write in the query.

Sources: ``FIELD_ID_TO_NAME`` of snowflake-connector-python, ``BigQueryCursor`` and ``bq_cast`` of Airflow's Google
provider, ``pg_type`` of PostgreSQL, ``FIELD_TYPE`` of MySQL's drivers, the type names of trino and databricks-sql.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from typing import Any

from airflow_provider_truto.client.numbers import parse_exact_json
from airflow_provider_truto.records.coerce import Formless

#: Makes of a value, which is not ``None``, what it is. Raises ``ValueError`` with what to write in the query instead.
Cast = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Types of PostgreSQL whose values are what they look like, by their numbers: nothing has to be asked of them.
_PLAIN = frozenset(
    {16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 650, 700, 701, 705, 829, 869, 1042, 1043, 1082, 1083, 1114}
    | {1184, 1186, 1266, 1700, 2950, 3802}
)
_REDSHIFT_SUPER = 4000


def find_casts(connection: Any, cursor: Any) -> dict[int, Cast]:
    """Return what has to be made of a row's values, by their places. Raises what asking the database raises."""
    driver = type(cursor).__module__
    described = [(str(column[0]), column[1]) for column in cursor.description]
    if driver.startswith(("psycopg2", "psycopg", "redshift_connector", "pg8000")):
        found = _cast_for_postgres(connection, described)
    else:
        of_driver = next((of for name, of in _DRIVERS.items() if driver.startswith(name)), None)
        found = [of_driver(name, kind) if of_driver else None for name, kind in described]
    return {place: cast for place, cast in enumerate(found) if cast is not None}


def keep_json_exact(connection: Any) -> None:
    """Make a driver that parses JSON by itself keep numbers exact."""
    driver = type(connection).__module__.partition(".")[0]
    if driver == "psycopg2":
        extras = import_module("psycopg2.extras")
        for register in (extras.register_default_json, extras.register_default_jsonb):
            register(connection, loads=parse_exact_json)
    elif driver == "psycopg":
        import_module("psycopg.types.json").set_json_loads(_parse_exact_json_bytes, connection)


def _parse_exact_json_bytes(data: str | bytes) -> Any:
    return parse_exact_json(data if isinstance(data, str) else data.decode())


def read_cells(row: Any, names: Sequence[str]) -> Sequence[Any]:
    """Return a row's values in the order of the columns, whatever the cursor makes of a row."""
    return [row[name] for name in names] if isinstance(row, Mapping) else row


def _cast_for_snowflake(name: str, kind: Any) -> Cast | None:
    semi_structured = {5: "VARIANT", 9: "OBJECT", 10: "ARRAY", 17: "MAP"}
    if kind in semi_structured:
        return _make_json_parser(semi_structured[kind])
    others = {14: "GEOGRAPHY", 15: "GEOMETRY", 18: "FILE"}
    return _make_refusal(name, others[kind], f"to_varchar({name})", object) if kind in others else None


def _cast_for_bigquery(name: str, kind: Any) -> Cast | None:
    casts: dict[str, Cast] = {
        "JSON": _make_json_parser("JSON"),
        "TIMESTAMP": _parse_moment,
        "NUMERIC": Decimal,
        "BIGNUMERIC": Decimal,
        "DATETIME": lambda _value: Formless("DATETIME without a time zone"),
        "BYTES": lambda _value: Formless("BYTES"),
    }
    cast = casts.get(kind)
    if kind in {"RECORD", "STRUCT"}:
        return _make_refusal(name, "a STRUCT", f"to_json({name})", object)
    refused = _make_refusal(name, "an ARRAY", f"to_json({name})", list)
    return lambda value: refused(value) if isinstance(value, list) or cast is None else cast(value)


def _cast_for_trino(name: str, kind: Any) -> Cast | None:
    kind = str(kind).lower()
    if kind == "json":
        return _make_json_parser("JSON")
    return _make_refusal(name, "or holds a ROW", f"cast({name} as json)", object) if "row(" in kind else None


def _cast_for_databricks(name: str, kind: Any) -> Cast | None:
    if kind in {"array", "struct", "variant"}:
        return _make_json_parser(str(kind).upper())
    return _make_refusal(name, "a MAP", f"to_json({name})", object) if kind == "map" else None


def _cast_for_mysql(_name: str, kind: Any) -> Cast | None:
    return _make_json_parser("JSON") if kind == 245 else None


#: By the modules of the cursors.
_DRIVERS: dict[str, Callable[[str, Any], Cast | None]] = {
    "snowflake": _cast_for_snowflake,
    "airflow.providers.google": _cast_for_bigquery,
    "trino": _cast_for_trino,
    "prestodb": _cast_for_trino,
    "databricks": _cast_for_databricks,
    "MySQLdb": _cast_for_mysql,
    "pymysql": _cast_for_mysql,
    "mysql": _cast_for_mysql,
}


def _cast_for_postgres(connection: Any, described: Sequence[tuple[str, Any]]) -> list[Cast | None]:
    """Refuse text that is the literal of an array, a composite, a range or an amount of money."""
    run_query = {number for _, number in described if isinstance(number, int)} - _PLAIN - {_REDSHIFT_SUPER}
    kinds = _query_type_kinds(connection, run_query) if run_query else {}
    casts: list[Cast | None] = []
    for name, number in described:
        if number == _REDSHIFT_SUPER:
            casts.append(_make_json_parser("SUPER"))
        elif kind := kinds.get(number):
            remedy = f"{name}::numeric" if kind == "an amount of money" else f"to_jsonb({name})"
            casts.append(_make_refusal(name, kind, remedy, str))
        else:
            casts.append(None)
    return casts


def _query_type_kinds(connection: Any, numbers: set[int]) -> dict[int, str]:
    columns = ("oid", "typname", "typtype", "typelem", "typlen")
    listed = ", ".join(map(str, sorted(numbers)))
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"select {', '.join(columns)} from pg_type where oid in ({listed})")  # noqa: S608  (numbers)
        rows = [read_cells(row, columns) for row in cursor.fetchall()]
    named = {"money": "an amount of money", "hstore": "an hstore"}
    typed = {"c": "a composite", "r": "a range", "m": "a multirange"}
    kinds = {}
    for number, name, kind, element, length in rows:
        found = named.get(name) or typed.get(kind) or ("an array" if element and length == -1 else None)
        if found is not None:
            kinds[int(number)] = found
    return kinds


def _make_refusal(name: str, what: str, remedy: str, looks_like: type) -> Cast:
    def refuse(value: Any) -> Any:
        if isinstance(value, looks_like):
            raise ValueError(  # noqa: TRY004  (of a column, not of an argument)
                f"the column {name!r} is {what}, which its driver does not hand out as such: write {remedy} as"
                f' "{name}" in the query'
            )
        return value

    return refuse


def _make_json_parser(kind: str) -> Cast:
    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_exact_json(value)
        except (ValueError, RecursionError):
            return Formless(f"{kind} that is not JSON")

    return parse


def _parse_moment(seconds: Any) -> Any:
    """Make a moment of BigQuery's seconds; a double holds the microseconds of our time."""
    try:
        return _EPOCH + timedelta(microseconds=round(float(seconds) * 1_000_000))
    except (OverflowError, ValueError):
        return Formless("TIMESTAMP out of range")
