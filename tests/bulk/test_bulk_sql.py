"""Rows of a warehouse: asked once, kept with their types, and read again by every try to come."""

from __future__ import annotations

import gzip
import json
import math
import stat
import threading
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import fsspec
import pytest
from bulk_operator import run
from bulk_world import account_number, read_ledger
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.bulk.errors import LiveTryError, SourceError
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.result_row import encode_failed_body
from airflow_provider_truto.bulk.row_codec import decode_cells, encode_cells
from airflow_provider_truto.bulk.sources.snapshot import QueryResult, SnapshotSource, fingerprint_query
from airflow_provider_truto.client.request import format_utc
from airflow_provider_truto.records.coerce import Formless, coerce
from airflow_provider_truto.records.render import Missing

QUERY = fingerprint_query("warehouse", "select")
MOMENT = datetime(2026, 1, 31, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
IDENTIFIER = UUID("8e6f1d6e-3c5a-4f7e-9d4d-2b1f0c9a7e55")


class Warehouse:
    """A database that counts how often it is asked, and may break off."""

    def __init__(self, columns, rows, *, breaks_at=None):
        self.columns = columns
        self.rows = rows
        self.breaks_at = breaks_at
        self.run_query = 0
        self.open = 0

    @contextmanager
    def __call__(self):
        self.run_query += 1
        self.open += 1
        try:
            yield QueryResult(columns=self.columns, rows=self._rows())
        finally:
            self.open -= 1

    def _rows(self):
        for number, row in enumerate(self.rows):
            if number == self.breaks_at:
                raise ConnectionError("the warehouse is gone")
            assert self.open, "rows are fetched while the connection is open"
            yield row


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "0")


def taken(folder, warehouse, **reading):
    """What a try has read, or what an earlier one has begun the ledger with."""
    return SnapshotSource(folder, QUERY, warehouse, RecordParser(**reading))


def begin(folder, source, *, try_number=1):
    return Ledger(folder, try_number=try_number).open({"fingerprint": QUERY, "snapshot": source.keep()})


def snapshot(folder, warehouse, **reading):
    """The same, with which the ledger is begun."""
    source = taken(folder, warehouse, **reading)
    begin(folder, source)
    return source


def ids(source):
    return [record.id for record in source.records()]


def record_of(columns, cells, folder, **reading):
    (record,) = snapshot(folder, Warehouse(columns, [cells]), **reading).records()
    return record


# ------------------------------------------------------------------------------------------------- the types of cells

SENT = [
    ("text", "text"),
    ("", ""),
    (5, 5),
    (True, True),
    (1.5, 1.5),
    (Decimal(5), 5),
    (Decimal("12.50"), 12.5),
    (Decimal("1E+3"), 1000),
    (Decimal("0.1234567890123456789"), "send it as text"),
    (2**53 + 1, "send it as text"),
    (Decimal("NaN"), "stand for no value"),
    (math.nan, "stand for no value"),
    (math.inf, "has no form in JSON"),
    (date(2026, 1, 31), "2026-01-31"),
    (MOMENT, "2026-01-31T07:00:00.000Z"),
    (datetime(2026, 1, 31, 12), "is a datetime without a time zone"),
    (time(12, 30), "is a time, which JSON has no form for"),
    (timedelta(hours=1), "is a timedelta, which JSON has no form for"),
    (IDENTIFIER, str(IDENTIFIER)),
    (b"bytes", "is a bytes, which JSON has no form for"),
    (bytearray(b"bytes"), "is a bytearray, which JSON has no form for"),
    pytest.param(memoryview(b"bytes"), "is a memoryview, which JSON has no form for", id="memoryview"),
    (
        {"a": [Decimal(1), date(2026, 1, 31)], "object": {"date": "x"}},
        {"a": [1, "2026-01-31"], "object": {"date": "x"}},
    ),
    ([1, "a", Decimal("0.5")], [1, "a", 0.5]),
    ((1, 2), [1, 2]),
    ({1, 2}, "is a set, which JSON has no form for"),
    (2**90, 2**90),
]


@pytest.mark.parametrize(("cell", "expected"), SENT, ids=repr)
def test_a_cell_is_sent_by_the_table_of_types(folder, cell, expected):
    record = record_of(["id", "custom_fields.x"], ["1", cell], folder)
    made = coerce(record.body, {"type": "object"})
    if made.problems:
        (problem,) = made.problems
        assert problem.pointer == "/custom_fields/x"
        assert expected in problem.message
    else:
        sent = made.value["custom_fields"]["x"]
        assert (type(sent), sent) == (type(expected), expected)
        assert json.loads(json.dumps(sent)) == sent


CELLS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc) | st.just(MOMENT.tzinfo))
    | st.uuids(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(CELLS))
def test_every_cell_comes_back_as_it_was(cells):
    line = encode_cells(cells)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = decode_cells(line)
    assert back == cells
    assert [type(cell) for cell in back] == [type(cell) for cell in cells]


@pytest.mark.parametrize(
    "line", [b"", b"[1", b'[{"decimal": "x"}]', b'[{"strange": 1}]', b'[{"date": "x"}]', b"{}", b"5"]
)
def test_a_line_that_is_torn_or_strange_is_an_error(line):
    with pytest.raises(ValueError):
        decode_cells(line)


@pytest.mark.parametrize(
    ("value", "text"),
    [(17, "17"), (Decimal(17), "17"), (Decimal("17.0"), "17"), (IDENTIFIER, str(IDENTIFIER)), ("x", "x")],
)
def test_ids_of_a_warehouse_become_text(folder, value, text):
    record = record_of(["id", "integrated_account_id", "name"], [value, value, "x"], folder)
    assert (record.id, record.integrated_account_id, record.problems) == (text, text, ())


@pytest.mark.parametrize("value", [None, "", 1.5, Decimal("1.5"), b"x", True, MOMENT])
@pytest.mark.parametrize("column", ["id", "integrated_account_id"])
def test_what_is_not_an_id_is_a_problem(folder, column, value):
    cells = {"id": "1", "integrated_account_id": "c", "name": "x", column: value}
    record = record_of(list(cells), list(cells.values()), folder)
    assert [problem.pointer for problem in record.problems] == [f"/{column}"]


# --------------------------------------------------------------------------------------------------------------- NULL


@pytest.mark.parametrize(
    ("reading", "body"),
    [
        ({}, {"phone": "\\N"}),
        ({"null_marker": "\\N"}, {"phone": None}),
        ({"sends_nulls": True}, {"name": None, "owner": {"id": None}, "phone": "\\N"}),
    ],
)
def test_null_is_not_given_unless_it_is_meant(folder, reading, body):
    record = record_of(["id", "name", "owner.id", "phone"], ["1", None, None, "\\N"], folder, **reading)
    assert (record.body, record.nulls_are_meant) == (body, True)


def test_null_inside_a_json_column_came_as_data(folder):
    record = record_of(["id", "owner"], ["1", {"id": None}], folder)
    assert record.body == {"owner": {"id": Missing("the column owner → id is None")}}


def test_a_failed_row_is_fed_back_as_json_without_what_had_no_form(folder):
    values = [
        MOMENT,
        date(2026, 1, 31),
        Decimal("1.5"),
        Decimal(3),
        Decimal("0.1234567890123456789"),
        IDENTIFIER,
        b"x",
    ]
    columns = [f"custom_fields.{letter}" for letter in "abcdefg"]
    record = record_of(["id", *columns, "owner"], ["1", *values, {"id": None}], folder)
    fed = encode_failed_body(record, on_none="error")
    assert fed.body == {
        "custom_fields": {
            "a": format_utc(MOMENT, "the moment"),
            "b": "2026-01-31",
            "c": 1.5,
            "d": 3,
            "e": None,
            "f": str(IDENTIFIER),
            "g": None,
        },
        "owner": {"id": None},
    }
    assert fed.unwritable == ("/custom_fields/e", "/custom_fields/g")


# ----------------------------------------------------------------------------------------------------- the snapshot


def test_the_query_is_asked_once_and_every_try_reads_what_it_gave(folder):
    warehouse = Warehouse(["id", "name"], [["1", "x"], ["2", "y"]])
    first = snapshot(folder, warehouse)
    warehouse.rows = [["3", "z"]]
    second = snapshot(folder, warehouse)
    assert warehouse.run_query == 1
    assert not warehouse.open
    for source in (first, second, second):
        assert [(record.ordinal, record.id) for record in source.records()] == [(0, "1"), (1, "2")]
        assert (source.count(), source.fingerprint()) == (2, QUERY)


@pytest.mark.parametrize("parts", [("a", "q", None), ("b", "q", None), ("a", "r", None), ("a", "q", {"x": 1})])
def test_a_fingerprint_tells_connection_query_and_parameters_apart(parts):
    assert fingerprint_query(*parts) == fingerprint_query(*parts)
    others = [("a", "q", None), ("b", "q", None), ("a", "r", None), ("a", "q", {"x": 1})]
    assert len({fingerprint_query(*other) for other in others}) == 4


@pytest.mark.parametrize("breaks_at", [0, 1, 5_000])
def test_a_warehouse_that_breaks_off_leaves_nothing_that_counts(folder, breaks_at):
    rows = [[str(number), "x"] for number in range(5_001)]
    warehouse = Warehouse(["id", "name"], rows, breaks_at=breaks_at)
    with pytest.raises(ConnectionError):
        snapshot(folder, warehouse)
    assert not list(folder.glob("header-*"))
    warehouse.breaks_at = None
    source = snapshot(folder, warehouse)
    assert warehouse.run_query == 2
    assert [record.id for record in source.records()] == [row[0] for row in rows]


def test_a_torn_snapshot_of_a_killed_try_is_not_read(folder):
    folder.mkdir(parents=True)
    whole = gzip.compress(encode_cells(["id", "name"]) + encode_cells(["old", "x"]) * 1_000)
    (folder / "snapshot-0000.jsonl.gz").write_bytes(whole[:-30])
    (folder / "header-1-0000.json.part").write_bytes(b'{"snapshot": {"file": "snap')
    source = snapshot(folder, Warehouse(["id", "name"], [["new", "x"]]))
    assert [record.id for record in source.records()] == ["new"]


def test_of_two_live_tries_the_first_to_finish_wins(folder):
    inner = Warehouse(["id"], [["inner"]])

    class Slow(Warehouse):
        def _rows(self):
            snapshot(folder, inner)  # the other try asks and finishes meanwhile
            yield from super()._rows()

    outer = snapshot(folder, Slow(["id"], [["outer"]]))
    assert [record.id for record in outer.records()] == ["inner"]
    assert [record.id for record in snapshot(folder, inner).records()] == ["inner"]
    assert inner.run_query == 1


def test_what_a_try_has_not_kept_is_read_by_nobody_else(folder):
    warehouse = Warehouse(["id"], [["first"]])
    first = taken(folder, warehouse)
    warehouse.rows = [["second"]]
    assert ids(snapshot(folder, warehouse)) == ["second"]
    assert ids(first) == ["first"]
    first.keep()  # too late
    assert ids(first) == ["second"]
    assert warehouse.run_query == 2


def test_what_is_dropped_is_asked_for_again_and_leaves_nothing(folder):
    warehouse = Warehouse(["id"], [["wrong"]])
    taken(folder, warehouse).drop()
    assert list(folder.iterdir()) == []
    warehouse.rows = [["right"]]
    assert ids(snapshot(folder, warehouse)) == ["right"]


class AskedError(Exception):
    """Raised where a query is asked that must not be."""


def refuse():
    raise AskedError


def test_rows_that_were_sent_and_are_gone_are_told_and_not_asked_for_again(folder):
    snapshot(folder, Warehouse(["id"], [["1"]]))
    (path,) = folder.glob("snapshot-*.jsonl.gz")
    path.unlink()
    with pytest.raises(SourceError, match=r"is gone. It holds the rows .* on_clear='restart'"):
        ids(taken(folder, refuse))


def test_of_many_live_tries_that_begin_at_once_all_that_go_on_read_the_same(tmp_path):
    tries = 8
    barrier = threading.Barrier(tries, timeout=30)
    for number in range(20):
        folder = UPath(tmp_path) / str(number)
        sources = [taken(folder, Warehouse(["id"], [[str(one)]])) for one in range(tries)]
        begun, stopped = [], []

        def go(try_number, source, folder=folder, begun=begun, stopped=stopped):
            barrier.wait()
            try:
                begin(folder, source, try_number=try_number)
            except LiveTryError:
                stopped.append(try_number)
            else:
                begun.append(source)

        threads = [threading.Thread(target=go, args=each) for each in enumerate(sources, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(begun) + len(stopped) == tries
        last = taken(folder, refuse if begun else Warehouse(["id"], [["last"]]))
        begin(folder, last, try_number=tries + 1)
        assert [ids(source) for source in begun] == [ids(last)] * len(begun)


def both_looked(folder):
    """Two tries that have both read and looked before one of them writes a header."""
    sources = [taken(folder, Warehouse(["id"], [[name]])) for name in ("first", "second")]
    return [(source, {"fingerprint": QUERY, "snapshot": source.keep()}) for source in sources]


def test_of_two_live_tries_that_have_read_different_rows_only_one_sends(folder):
    (first, its_header), (second, header) = both_looked(folder)
    assert (ids(first), ids(second)) == (["first"], ["second"])  # each would send what the other does not know
    Ledger(folder, try_number=2).open(header)
    with pytest.raises(LiveTryError, match="A retry goes on with the rows of the other"):
        Ledger(folder, try_number=1).open(its_header)
    # Its retry reads what the other sends.
    third = taken(folder, refuse)
    begin(folder, third, try_number=3)
    assert ids(third) == ["second"]


def test_where_both_of_two_live_tries_see_the_other_neither_binds_the_next(folder):
    barrier, errors = threading.Barrier(2, timeout=30), []

    def begin_both(number, header):
        ledger = Ledger(folder, try_number=number)
        real = ledger._read_headers

        def headers():
            barrier.wait()  # both look before one writes, and both have written when they look again
            found = real()
            barrier.wait()
            return found

        ledger._read_headers = headers
        try:
            ledger.open(header)
        except LiveTryError as error:
            errors.append(error)

    threads = [
        threading.Thread(target=begin_both, args=(number, header))
        for number, (_, header) in enumerate(both_looked(folder), 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    assert Ledger(folder, try_number=3).read_first_header() is None
    third = taken(folder, Warehouse(["id"], [["third"]]))
    begin(folder, third, try_number=3)
    assert ids(third) == ["third"]


def test_a_try_that_goes_on_with_another_ones_rows_holds_them_when_that_one_gives_up(folder):
    """Of three live tries: the first gives up after the second took its rows over; the third must see that."""
    (first, its_header), (_, of_third) = both_looked(folder)
    one = Ledger(folder, try_number=1)
    real, looks = one._read_headers, []

    def headers():
        looks.append(1)
        if len(looks) == 2:  # it has written its header, and not looked again
            second = taken(folder, refuse)
            begin(folder, second, try_number=2)
            assert ids(second) == ids(first)
            (folder / "header-3-c.json").write_text(json.dumps({"ledger_version": 2, "try": 3, **of_third}))
        return real()

    one._read_headers = headers
    with pytest.raises(LiveTryError):
        one.open(its_header)
    (folder / "header-3-c.json").unlink()
    with pytest.raises(LiveTryError):
        Ledger(folder, try_number=3).open(of_third)


def test_a_snapshot_that_was_damaged_afterwards_is_told(folder):
    source = snapshot(folder, Warehouse(["id"], [[str(number)] for number in range(2_000)]))
    (path,) = folder.glob("snapshot-*.jsonl.gz")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], gzip.compress(encode_cells(["id"]) + encode_cells(["1"])), b"x"):
        path.write_bytes(damaged)
        with pytest.raises(SourceError):
            list(source.records())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["name"], "the header has no column `id`"),
        (["id", "name", "name"], "the header names name more than once"),
        (["id", "?column? "], None),
        (["id", "owner", "owner.id"], "would lie inside"),
    ],
)
def test_columns_that_make_no_records_are_told_before_a_row_is_fetched(folder, columns, message):
    warehouse = Warehouse(columns, [["x"] * len(columns)], breaks_at=None if message is None else 0)
    if message is None:
        assert len(list(snapshot(folder, warehouse).records())) == 1
        return
    with pytest.raises(ValueError, match=message):
        snapshot(folder, warehouse)
    assert not folder.exists() or not list(folder.glob("header-*"))


def test_a_query_without_rows_has_no_records(folder):
    source = snapshot(folder, Warehouse(["id", "name"], []))
    assert (source.count(), list(source.records())) == (0, [])


def test_files_on_a_local_disk_are_the_owner_s_alone(folder):
    snapshot(folder, Warehouse(["id"], [["1"]]))
    modes = {path.name: stat.S_IMODE(Path(path.path).stat().st_mode) for path in folder.iterdir()}
    assert len(modes) == 2
    assert set(modes.values()) == {0o600}


def test_a_storage_that_is_not_a_disk_serves_as_well():
    fsspec.filesystem("memory").store.clear()
    folder = UPath("memory://ledgers/dag/0")
    warehouse = Warehouse(["id"], [["1"], ["2"]])
    for _ in range(2):
        assert [record.id for record in snapshot(folder, warehouse).records()] == ["1", "2"]
    assert warehouse.run_query == 1


def test_rows_are_fetched_and_written_without_being_held(folder):
    """A row that was written is not held by anybody when the next but one is fetched."""
    import gc
    import weakref

    class Row(list):
        __slots__ = ("__weakref__",)

    refs = []

    def rows():
        for number in range(200):
            row = Row([str(number)])
            refs.append(weakref.ref(row))
            yield row
            del row
            if number > 2:
                gc.collect(0)
                assert refs[number - 2]() is None

    source = snapshot(folder, Warehouse(["id"], rows()))
    assert source.count() == 200


def test_a_resume_ends_what_the_first_try_read(truto, output, folder):
    rows = [[row["id"], row["integrated_account_id"], row["body"]["description"]] for row in truto.rows()]
    warehouse = Warehouse(["id", "integrated_account_id", "description"], rows)
    truto.emulator.fault(status=500, times=None, skip=15)
    first = truto.run(snapshot(folder, warehouse), output)
    assert first["updated"] < len(rows)
    truto.repair()
    warehouse.rows = []
    second = truto.run(snapshot(folder, warehouse), output, try_number=2)
    assert second["updated"] == len(rows)
    assert read_ledger(output).statuses == {"updated": len(rows)}
    truto.assert_applied(truto.rows())
    assert warehouse.run_query == 1


# ----------------------------------------------------------------------------------------------------- real databases


def ask(query, parameters=None, hook_params=None, conn_id="warehouse"):
    from airflow_provider_truto.operators._sql import run_query

    with run_query(conn_id, query, parameters, hook_params) as result:
        return list(result.columns), [list(row) for row in result.rows]


def test_a_database_is_asked_through_the_hook_of_its_connection(sqlite):
    sqlite("create table t (id, name); insert into t values (1, 'x'), (2, null)")
    assert ask('select id, name as "owner.id" from t order by id') == (["id", "owner.id"], [[1, "x"], [2, None]])
    assert ask("select id from t where id = :id", {"id": 2}) == (["id"], [[2]])
    assert ask("select id from t where name like 'x%' and id = ?", [1]) == (["id"], [[1]])
    assert ask("select id from t where id > 5") == (["id"], [])


def test_more_rows_than_are_fetched_at_a_time_come_whole_and_in_order(sqlite):
    sqlite("create table t (id)")
    rows = ask(
        "with recursive n(i) as (select 0 union all select i + 1 from n where i < 9999) select i as id from n"
    )[1]
    assert rows == [[number] for number in range(10_000)]


def test_a_statement_that_gives_no_rows_is_an_error_and_changes_nothing(sqlite):
    sqlite("create table t (id); insert into t values (1)")
    with pytest.raises(ValueError, match="the query gives no rows: it must be a SELECT"):
        ask("delete from t")
    assert ask("select id from t")[1] == [[1]]


def test_a_connection_that_asks_no_sql_is_an_error(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", json.dumps({"conn_type": "truto", "password": "x"}))
    with pytest.raises(ValueError, match=r"the connection 'truto_default' leads to a TrutoHook, which runs no SQL"):
        ask("select 1", conn_id="truto_default")


def test_a_connection_whose_provider_is_not_installed_says_which_one_it_is(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "not_there"}))
    with pytest.raises(ValueError, match="install its provider, such as apache-airflow-providers-not_there"):
        ask("select 1")


class Cursor:
    """A cursor of a driver that leaves the rows with the server by itself."""

    def __init__(self):
        self.description = None
        self.left = 5_000
        self.fetched = []

    def execute(self, *arguments):
        self.arguments = arguments
        self.description = [("id", None, None, None, None, None, None)]

    def fetchmany(self, size):
        self.fetched.append(size)
        given = min(size, self.left)
        self.left -= given
        return [{"id": self.left} for _ in range(given)]

    def close(self):
        pass


def connection_of(module, cursors):
    class Connection:
        autocommit = False

        def cursor(self):
            cursors.append(Cursor())
            return cursors[-1]

        def close(self):
            pass

    Connection.__module__ = module
    return Connection()


def test_rows_are_fetched_by_and_by(monkeypatch):
    from airflow_provider_truto.operators import _sql

    cursors = []

    class Hook:
        def get_conn(self):
            return connection_of("snowflake.connector", cursors)

        def get_records(self):
            raise NotImplementedError

    monkeypatch.setattr(
        _sql.BaseHook,
        "get_connection",
        lambda _conn_id: type("C", (), {"get_hook": lambda _self, hook_params: Hook()})(),
    )
    columns, rows = ask("select '%'")
    (cursor,) = cursors
    assert (columns, len(rows)) == (["id"], 5_000)
    assert cursor.arguments == ("select '%'",), "with parameters, even none, a driver reads the % as a placeholder"
    assert len(cursor.fetched) == 4


def test_the_account_of_a_row_comes_from_its_column(sqlite, folder, truto, output):
    sqlite(
        "create table t (id, account, description);"
        f"insert into t values ('r1', '{account_number(0)}', 'a'), ('r2', '{account_number(1)}', 'b');"
        "insert into t values ('r3', null, 'c')"
    )
    from airflow_provider_truto.operators._sql import run_query

    query = "select id, account as integrated_account_id, description from t"
    source = SnapshotSource(folder, QUERY, lambda: run_query("warehouse", query, None, None), RecordParser())
    summary = truto.run(source, output)
    assert (summary["updated"], summary["failed"]) == (2, 1)
    assert (truto.text_of(account_number(0), "r1"), truto.text_of(account_number(1), "r2")) == ("a", "b")
    assert "must not go to the default one" in read_ledger(output).rows[2]["message"]


def test_a_try_leaves_another_live_one_alone_that_has_begun_with_other_rows_and_its_retry_reads_those(
    sqlite, one, task, output, monkeypatch
):
    customer = account_number(0)
    sqlite(f"create table t (id, integrated_account_id, description); insert into t values ('r1', '{customer}', 'a')")
    operator = task(sql="select * from t", sql_conn_id="warehouse")
    real = SnapshotSource.keep

    def keep(source):
        monkeypatch.setattr(SnapshotSource, "keep", real)
        given = real(source)  # before the other one has begun
        cells = ["r2", customer, "b"]
        other = taken(source._folder, Warehouse(["id", "integrated_account_id", "description"], [cells]))
        header = {"fingerprint": source.fingerprint(), "snapshot": other.keep()}
        Ledger(source._folder, try_number=1).open(header)
        return given

    monkeypatch.setattr(SnapshotSource, "keep", keep)
    with pytest.raises(AirflowException, match="another live try has begun the ledger") as failure:
        run(operator, try_number=2)
    assert not isinstance(failure.value, AirflowFailException)
    assert one.emulator.requests == []
    assert run(operator, try_number=3)["updated"] == 1
    assert one.text_of(customer, "r2") == "b"


def test_a_value_without_a_form_survives_the_snapshot_as_what_it_was():
    assert decode_cells(encode_cells([b"x", Formless("ndarray"), {"a": {1}}])) == [
        Formless("bytes"),
        Formless("ndarray"),
        {"a": Formless("set")},
    ]
