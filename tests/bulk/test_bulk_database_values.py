"""Values as each warehouse's driver hands them out: sent as what they are, or refused with what to write instead.

The real PostgreSQL is asked in ``services``; here are SQLite, and cursors of the shapes that the drivers of BigQuery
(``BigQueryCursor`` of Airflow's Google provider), Snowflake, Trino, Databricks, Redshift and MySQL document.
"""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
from upath import UPath

from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.snapshot import SnapshotSource
from airflow_provider_truto.operators import _sql
from airflow_provider_truto.operators._statements import has_several
from airflow_provider_truto.records.coerce import coerce

BIGQUERY = "airflow.providers.google.cloud.hooks.bigquery"
SNOWFLAKE = "snowflake.connector.cursor"
#: Driver, type code of the description, value as it is fetched, what is sent or said.
VALUES = [
    (BIGQUERY, "STRING", "gold", "gold"),
    (BIGQUERY, "INTEGER", 140, 140),
    (BIGQUERY, "BOOLEAN", True, True),
    (BIGQUERY, "NUMERIC", "12.50", 12.5),
    (BIGQUERY, "BIGNUMERIC", "0.1234567890123456789", re.compile("send it as text")),
    (BIGQUERY, "TIMESTAMP", 1769862600.123456, "2026-01-31T12:30:00.123456Z"),
    (BIGQUERY, "TIMESTAMP", 1e300, re.compile("is a TIMESTAMP out of range")),
    (BIGQUERY, "DATE", "2026-01-31", "2026-01-31"),
    (BIGQUERY, "DATETIME", "2026-01-31T12:30:00", re.compile("is a DATETIME without a time zone")),
    (BIGQUERY, "BYTES", "eA==", re.compile("is a BYTES")),
    (BIGQUERY, "JSON", '{"tier": 1.5}', {"tier": 1.5}),
    (BIGQUERY, "JSON", '{"rev": 1234567890123456.78}', re.compile("send it as text")),
    (BIGQUERY, "RECORD", {"f": [{"v": "a"}]}, re.compile(r"is a STRUCT.* write to_json\(")),
    (BIGQUERY, "STRING", [{"v": "a"}, {"v": "b"}], re.compile(r"is an ARRAY.* write to_json\(")),
    (SNOWFLAKE, 2, "gold", "gold"),
    (SNOWFLAKE, 5, '"Acme"', "Acme"),
    (SNOWFLAKE, 5, "140", 140),
    (SNOWFLAKE, 5, "true", True),
    (SNOWFLAKE, 5, "undefined", re.compile("is a VARIANT that is not JSON")),
    (SNOWFLAKE, 9, '{\n  "tier": "gold",\n  "n": 123456789012345678\n}', re.compile("send it as text")),
    (SNOWFLAKE, 9, '{\n  "tier": "gold"\n}', {"tier": "gold"}),
    (SNOWFLAKE, 10, '[\n  "a",\n  1\n]', ["a", 1]),
    (SNOWFLAKE, 10, ["a", 1], ["a", 1]),
    (SNOWFLAKE, 14, '{"type": "Point"}', re.compile(r"is GEOGRAPHY.* write to_varchar\(")),
    ("trino.dbapi", "varchar", "gold", "gold"),
    ("trino.dbapi", "json", '{"tier": 1}', {"tier": 1}),
    ("trino.dbapi", "array(integer)", [1, 2], [1, 2]),
    ("trino.dbapi", "row(a integer, b varchar)", (1, "x"), re.compile(r"holds a ROW.* write cast\(.* as json\)")),
    ("trino.dbapi", "array(row(a integer))", [(1,)], re.compile("holds a ROW")),
    ("databricks.sql.client", "string", "gold", "gold"),
    ("databricks.sql.client", "struct", '{"tier": 1}', {"tier": 1}),
    ("databricks.sql.client", "map", [("a", 1)], re.compile(r"is a MAP.* write to_json\(")),
    ("redshift_connector.cursor", 4000, '{"tier": 1}', {"tier": 1}),
    ("redshift_connector.cursor", 1043, "gold", "gold"),
    ("pymysql.cursors", 245, '{"tier": 1}', {"tier": 1}),
    ("MySQLdb.cursors", 253, '{"tier": 1}', '{"tier": 1}'),
    ("of.nobody", "JSON", '{"tier": 1}', '{"tier": 1}'),
]


class Cursor:
    def __init__(self, kinds, rows):
        self.description = [(name, kind, None, None, None, None, True) for name, kind in kinds]
        self.rows = rows

    def execute(self, query):
        self.query = query

    def fetchmany(self, size):
        given, self.rows = self.rows[:size], self.rows[size:]
        return given

    def close(self):
        pass


class Connection:
    def __init__(self, cursor):
        self.opened = cursor

    def cursor(self, *_):
        return self.opened

    def close(self):
        pass


@pytest.fixture
def ask(monkeypatch):
    """A function that asks a warehouse of a driver: ``ask(module, kinds, rows)``, a context with the result."""

    @contextmanager
    def asking(module, kinds, rows, query="select 1"):
        cursor = type("Cursor", (Cursor,), {"__module__": module})(kinds, rows)
        connection = type("Connection", (Connection,), {"__module__": module})(cursor)
        hook = type("Hook", (), {"get_conn": lambda _self: connection, "get_records": None})()
        stored = type("Stored", (), {"get_hook": lambda _self, hook_params: hook})()
        monkeypatch.setattr(_sql.BaseHook, "get_connection", lambda _conn_id: stored)
        monkeypatch.setattr(_sql, "_open_cursor", lambda connection: connection.cursor())
        with _sql.run_query("warehouse", query, None, None) as result:
            yield result

    return asking


def sent(tmp_path, ask, module, kind, value):
    kinds = [("id", 1043), ("custom_fields.x", kind)]
    source = SnapshotSource(UPath(tmp_path), "sql-f", lambda: ask(module, kinds, [["1", value]]), RecordParser())
    (record,) = source.records()
    made = coerce(record.body, {"type": "object"})
    return "; ".join(problem.message for problem in made.problems) or made.value["custom_fields"]["x"]


@pytest.mark.parametrize(("module", "kind", "value", "expected"), VALUES)
def test_a_value_is_sent_as_what_it_is_or_a_problem(tmp_path, ask, module, kind, value, expected):
    try:
        found = sent(tmp_path, ask, module, kind, value)
    except ValueError as error:
        found = str(error)
    if isinstance(expected, re.Pattern):
        assert isinstance(found, str)
        assert expected.search(found)
    else:
        assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("module", "kind"), [(BIGQUERY, "RECORD"), (SNOWFLAKE, 5), ("trino.dbapi", "row(a integer)")]
)
def test_null_is_null_whatever_the_column_is(ask, module, kind):
    with ask(module, [("id", 1043), ("x", kind)], [["1", None]]) as result:
        assert [list(row) for row in result.rows] == [["1", None]]


def test_null_of_a_variant_is_null(ask):
    with ask(SNOWFLAKE, [("id", 2), ("x", 5)], [["1", "null"]]) as result:
        assert [list(row) for row in result.rows] == [["1", None]]


SQLITE = [
    ("'gold'", "gold"),
    ("''", ""),
    ("140", 140),
    ("1.5", 1.5),
    ("9007199254740993", re.compile("send it as text")),
    ("x'00'", re.compile("is a bytes")),
    ("json('{\"a\": 1}')", '{"a":1}'),
]


@pytest.mark.parametrize(("expression", "expected"), SQLITE)
def test_sqlite_knows_few_types(sqlite, tmp_path, expression, expected):
    sqlite("create table t (id)")
    query = f"select '1' as id, {expression} as \"custom_fields.x\";"
    source = SnapshotSource(
        UPath(tmp_path), "sql-f", lambda: _sql.run_query("warehouse", query, None, None), RecordParser()
    )
    (record,) = source.records()
    made = coerce(record.body, {"type": "object"})
    found = "; ".join(problem.message for problem in made.problems) or made.value["custom_fields"]["x"]
    assert (
        expected.search(found)
        if isinstance(expected, re.Pattern)
        else (type(found), found) == (type(expected), expected)
    )


# ------------------------------------------------------------------------------------------------- several statements

ONE = [
    "select 1", "select 1;", " select 1 ;; \n -- done; really\n", "select 1; /* end */", "", ";",
    "select ';'", "select 'it''s; x'", 'select "a;b" from t', "select `a;b` from t", "select '%s;'",
    "select a from t where x = '--' ; --", "select 'a' -- it's; here\n", "select '{\"a\"; 1}'",
    "with function f() returns int begin return 1; end select f()",
]  # fmt: skip
SEVERAL = [
    "select 1; select 2",
    "select 1; update t set a = 1; commit",
    "select ';' ; delete from t",
    "begin; select 1; end",
    "select '' ; drop table t",
    "select 1;\n-- x\nselect 2",
    "select 1 /* ; */ ; /* b */ drop table t",
    'select "a"; delete from t',
]
DRIVERS = [
    "psycopg2.extensions",
    "psycopg",
    "MySQLdb.connections",
    BIGQUERY,
    "snowflake.connector.connection",
    "unknown",
]


@pytest.mark.parametrize("driver", DRIVERS)
def test_one_statement_is_told_from_several(driver):
    assert [query for query in ONE if has_several(query, driver=driver)] == []
    assert [query for query in SEVERAL if not has_several(query, driver=driver)] == []


@pytest.mark.parametrize(("driver", "query", "several"), [
    ("psycopg2", "select 'C:\\'; drop table t", True),
    ("pymysql", "select 'C:\\'; drop table t -- '", False),
    ("snowflake", "select 'it\\'s; x'", False),
    ("unknown", "select 'it\\'s; x'", False),
    ("psycopg2", "select E'it\\'s; x'", False),
    ("psycopg2", "select $$a;b$$ || $x$ a; $$ ;b $x$ ;", False),
    ("psycopg2", "select $$a$$; drop table t", True),
    ("psycopg2", "select 1 /* a; /* b; */ c; */ ;", False),
    ("psycopg2", "select a #>> '{b;c}' from t; drop table t", True),
    ("pymysql", "select 1 # a; b\n;", False),
    (BIGQUERY, 'select """a; "b"; c""" ;', False),
    (BIGQUERY, "declare x int64; select x", True),
])  # fmt: skip
def test_quotes_and_comments_are_read_as_the_driver_s_database_reads_them(driver, query, several):
    assert has_several(query, driver=driver) is several


@pytest.mark.parametrize(
    "query", ["'" * 100_000, "/*" * 100_000, "$$" * 50_001, "select 1" + ";" * 100_000, "$a" * 100_000]
)
def test_no_text_takes_long_to_look_at(query):
    has_several(query, driver="unknown")


@pytest.mark.parametrize("driver", ["psycopg2.extensions", "pymssql", "unknown"])
def test_several_statements_are_refused_before_the_database_sees_them(ask, driver):
    with (
        pytest.raises(ValueError, match=r"the query is several statements.* Write a single SELECT"),
        ask(driver, [("id", 25)], [["1"]], "select id from t; update t set id = 2; commit"),
    ):
        pass


def test_sqlite_keeps_what_it_has_where_several_statements_are_asked(sqlite):
    sqlite("create table t (id); insert into t values (1)")
    with (
        pytest.raises(ValueError, match="the query is several statements"),
        _sql.run_query("warehouse", "select id from t; delete from t", None, None),
    ):
        pass
    with _sql.run_query("warehouse", "select id from t;", None, None) as result:
        assert [list(row) for row in result.rows] == [[1]]
