"""Values of a real PostgreSQL, by both of its drivers: each is sent as what it is, or refused with what to write."""

from __future__ import annotations

import re

import pytest
from upath import UPath

from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.snapshot import SnapshotSource
from airflow_provider_truto.operators._sql import run_query
from airflow_provider_truto.records.coerce import coerce

TYPES = """
create type tier as enum ('gold', 'silver');
create type pair as (a int, b text);
create type floats as range (subtype = float8);
create domain code as text;
"""
#: What stands in the query, and what is sent, or what is said of it.
VALUES = [
    ("'text'", "text"),
    ("''", ""),
    ("'a'::char(3)", "a  "),
    ("true", True),
    ("140", 140),
    ("9007199254740993::bigint", re.compile("send it as text")),
    ("12.50", 12.5),
    ("140.00", 140),
    ("0.1234567890123456789", re.compile("send it as text")),
    ("1.5::float8", 1.5),
    ("'NaN'::float8", re.compile("stand for no value")),
    ("'NaN'::numeric", re.compile("stand for no value")),
    ("date '2026-01-31'", "2026-01-31"),
    ("timestamptz '2026-01-31 12:30+02'", "2026-01-31T10:30:00.000Z"),
    ("timestamp '2026-01-31 12:30'", re.compile("a datetime without a time zone")),
    ("time '12:30'", re.compile("is a time")),
    ("interval '1 hour'", re.compile("is a timedelta")),
    ("'x'::bytea", re.compile("is a (memoryview|bytes)")),
    ("'8e6f1d6e-3c5a-4f7e-9d4d-2b1f0c9a7e55'::uuid", "8e6f1d6e-3c5a-4f7e-9d4d-2b1f0c9a7e55"),
    ("""'{"tier": 1.5, "tags": ["a"]}'::jsonb""", {"tier": 1.5, "tags": ["a"]}),
    ("""'{"tier": 1.5}'::json""", {"tier": 1.5}),
    ("""'"Acme"'::jsonb""", "Acme"),
    ("""'{"rev": 1234567890123456.78}'::jsonb""", re.compile("send it as text")),
    ("""'{"n": 123456789012345678}'::json""", re.compile("send it as text")),
    ("array[1, 2]", [1, 2]),
    ("array['a', 'b,c']", ["a", "b,c"]),
    ("'gold'::tier", "gold"),
    ("'x'::code", "x"),
    ("array['gold']::tier[]", re.compile(r"the column 'custom_fields.x' is an array.* write to_jsonb\(")),
    ("to_jsonb(array['gold']::tier[])", ["gold"]),
    ("row(1, 'a')::pair", re.compile("is a composite.* write to_jsonb")),
    ("to_jsonb(row(1, 'a')::pair)", {"a": 1, "b": "a"}),
    ("int4range(1, 5)", re.compile("Range, which JSON has no form for")),
    ("floats(1, 5)", re.compile("is a range.* write to_jsonb")),
    ("12.5::float8::numeric::money", re.compile("is an amount of money.* write .*::numeric")),
]


def sent(tmp_path, expression):
    """What is sent of a value, or what is said of it."""
    query = f"select '1' as id, {expression} as \"custom_fields.x\""
    source = SnapshotSource(
        UPath(tmp_path), "sql-f", lambda: run_query("warehouse", query, None, None), RecordParser()
    )
    (record,) = source.records()
    made = coerce(record.body, {"type": "object"})
    return "; ".join(problem.message for problem in made.problems) or made.value["custom_fields"]["x"]


@pytest.mark.parametrize(("expression", "expected"), VALUES, ids=[expression for expression, _ in VALUES])
def test_a_value_is_sent_as_what_it_is_or_a_problem(warehouse, tmp_path, expression, expected):
    warehouse(TYPES)
    try:
        found = sent(tmp_path, expression)
    except ValueError as error:
        found = str(error)
    if isinstance(expected, re.Pattern):
        assert isinstance(found, str)
        assert expected.search(found)
    else:
        assert (type(found), found) == (type(expected), expected)


def test_an_array_of_uuids_is_a_list_or_refused(warehouse, tmp_path):
    uuid = "8e6f1d6e-3c5a-4f7e-9d4d-2b1f0c9a7e55"
    expression = f"array['{uuid}']::uuid[]"
    if warehouse.driver == "psycopg":
        assert sent(tmp_path, expression) == [uuid]
    else:
        with pytest.raises(ValueError, match=r"is an array.* write to_jsonb"):
            sent(tmp_path, expression)


def test_a_column_of_which_every_value_is_null_is_not_refused(warehouse, tmp_path):
    warehouse(TYPES)
    query = "select '1' as id, 'x' as name, null::tier[] as tags"
    source = SnapshotSource(
        UPath(tmp_path), "sql-f", lambda: run_query("warehouse", query, None, None), RecordParser()
    )
    assert [record.body for record in source.records()] == [{"name": "x"}]


def test_many_rows_come_whole_while_the_types_are_looked_up(warehouse, tmp_path):
    warehouse(TYPES)
    query = "select n as id, 'gold'::tier as name from generate_series(1, 5000) n"
    source = SnapshotSource(
        UPath(tmp_path), "sql-f", lambda: run_query("warehouse", query, None, None), RecordParser()
    )
    assert [record.id for record in source.records()] == [str(number) for number in range(1, 5001)]


def test_the_rows_stay_with_the_server(warehouse):
    """Within its own transaction PostgreSQL shows the cursors whose rows it keeps."""
    warehouse(TYPES)
    with run_query("warehouse", "select name as id from pg_cursors where name = 'truto_bulk'", None, None) as result:
        assert [tuple(row) for row in result.rows] == [("truto_bulk",)]


SEVERAL = [
    "select id from t; select id from t",
    "select id from t; update t set id = 'changed'; commit",
    "select id from t; commit; update t set id = 'changed'; commit; select 1",
    "select ';' as id; delete from t; commit",
]


@pytest.mark.parametrize("query", SEVERAL)
def test_several_statements_are_refused_and_change_nothing(warehouse, query):
    warehouse("create table t (id text); insert into t values ('1')")
    with (
        pytest.raises(ValueError, match="the query is several statements"),
        run_query("warehouse", query, None, None),
    ):
        pass
    assert warehouse("select id from t") == [("1",)]


@pytest.mark.parametrize(
    "query", ["select id from t;", "select id from t -- all; of it\n;", "select $$;$$ || id as id from t"]
)
def test_one_statement_is_one_whatever_stands_in_it(warehouse, query):
    warehouse("create table t (id text); insert into t values ('1')")
    with run_query("warehouse", query, None, None) as result:
        assert [row[0].removeprefix(";") for row in result.rows] == ["1"]
