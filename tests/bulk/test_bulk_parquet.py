"""Parquet as a source: values by the table of types, columns as those of a query, a row group in memory at a time."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal
from uuid import UUID

import pyarrow
import pytest
from bucket import Bucket
from bulk_world import read_ledger
from pyarrow import parquet

from airflow_provider_truto.bulk.errors import SourceError
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.records.coerce import coerce

U = UUID("8e6f1d6e-3c5a-4f7e-9d4d-2b1f0c9a7e55")
STRUCT = pyarrow.struct([("tier", pyarrow.string()), ("ends", pyarrow.list_(pyarrow.timestamp("ns", "UTC")))])
NOON = 1_769_860_800_000_000_000
NOON_SENT = "2026-01-31T12:00:00.000Z"


def array(*values, of=None):
    return pyarrow.array(values, of)


def extension(kind, *values):
    return pyarrow.ExtensionArray.from_storage(kind, pyarrow.array(values, kind.storage_type))


#: A column of two rows, and what is sent of the second, or what is said of it.
VALUES = {
    "text": (array(None, "gold"), "gold"),
    "large_string": (array(None, "gold", of=pyarrow.large_string()), "gold"),
    "empty text": (array(None, ""), ""),
    "dictionary": (array("silver", "gold").dictionary_encode(), "gold"),
    "text that is not UTF-8": (array(b"ok", b"\xff").cast("string", safe=False), re.compile("not UTF-8")),
    "bool": (array(False, True), True),
    "int8": (array(None, 7, of=pyarrow.int8()), 7),
    "uint64": (array(0, 2**64 - 1, of=pyarrow.uint64()), re.compile("send it as text")),
    "int64 beyond a double": (array(0, 2**53 + 1), re.compile("send it as text")),
    "float": (array(None, 1.5, of=pyarrow.float32()), 1.5),
    "NaN": (array(1.0, float("nan")), re.compile("stand for no value")),
    "infinity": (array(1.0, float("inf")), re.compile("infinite|inf")),
    "decimal": (array(None, Decimal("12.50")), 12.5),
    "whole decimal": (array(None, Decimal("140.00"), of=pyarrow.decimal256(40, 2)), 140),
    "exact decimal": (array(None, Decimal("0.1234567890123456789")), re.compile("send it as text")),
    "date": (array(None, date(2026, 1, 31)), "2026-01-31"),
    "date64": (array(None, date(2026, 1, 31), of=pyarrow.date64()), "2026-01-31"),
    "date beyond": (array(0, 2**31 - 1).cast("int32").cast("date32"), re.compile("beyond the years")),
    "timestamp in UTC": (array(None, NOON, of=pyarrow.timestamp("ns", "UTC")), NOON_SENT),
    "timestamp of a zone": (array(None, NOON // 1000, of=pyarrow.timestamp("us", "Europe/Berlin")), NOON_SENT),
    "timestamp without": (array(None, NOON // 10**6, of=pyarrow.timestamp("ms")), re.compile("without a time zone")),
    "timestamp beyond": (
        array(0, 2**62, of=pyarrow.timestamp("us", "UTC")),
        re.compile("beyond the years 1 to 9999"),
    ),
    "time": (array(None, 1, of=pyarrow.time64("ns")), re.compile("is a time, ")),
    "binary": (array(None, b"gold"), re.compile("is a bytes")),
    "fixed binary": (array(None, b"gold", of=pyarrow.binary(4)), re.compile("is a bytes")),
    "uuid": (extension(pyarrow.uuid(), None, U.bytes), str(U)),
    "list": (array(None, ["a", "b"]), ["a", "b"]),
    "list after another": (array(["x"], ["a", "b"], of=pyarrow.large_list(pyarrow.string())), ["a", "b"]),
    "empty list": (array(["x"], [], of=pyarrow.list_(pyarrow.string())), []),
    "list of decimals": (array(None, [Decimal("1.0")]), [1]),
    "fixed list": (array([3, 4], [1, 2], of=pyarrow.list_(pyarrow.int32(), 2)), [1, 2]),
    "struct": (array(None, {"tier": "gold", "ends": [NOON]}, of=STRUCT), {"tier": "gold", "ends": [NOON_SENT]}),
    "null inside a struct": (array(None, {"tier": None, "ends": []}, of=STRUCT), re.compile("is None")),
    "list of structs": (
        array([], [{"tier": "a", "ends": []}], of=pyarrow.list_(STRUCT)),
        [{"tier": "a", "ends": []}],
    ),
    "map": (array([("a", 1)], [("b", 2)], of=pyarrow.map_(pyarrow.string(), pyarrow.int64())), {"b": 2}),
    "map of a key twice": (
        array(None, [("a", 1), ("a", 2)], of=pyarrow.map_("string", "int64")),
        re.compile("has a key twice"),
    ),
    "map of whole numbers": (
        array(None, [(1, 1)], of=pyarrow.map_("int32", "int64")),
        re.compile("keys are not text"),
    ),
}


def write(path, columns, **options):
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def read(path, **parsing):
    return list(FileSource(path, parser=RecordParser(**parsing)).records())


def bodies(path, **parsing):
    records = read(path, **parsing)
    assert [record.problems for record in records if record.problems] == []
    return [record.body for record in records]


def sent(record):
    """What is sent of the one field, or what is said of it."""
    made = coerce(record.body, {"type": "object"})
    return "; ".join(problem.message for problem in made.problems) or made.value["custom_fields"]["x"]


@pytest.mark.parametrize("has_arrow_types", [True, False])
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_sent_as_what_it_is_or_a_problem(tmp_path, name, has_arrow_types):
    """Only writers that use Arrow leave its own types in the file."""
    column, expected = VALUES[name]
    if name == "uuid" and not has_arrow_types and int(pyarrow.__version__.split(".")[0]) < 21:
        pytest.skip("this version writes no UUID that others know")
    columns = {"id": ["0", "1"], "custom_fields.x": column}
    found = sent(read(write(tmp_path / "rows.parquet", columns, store_schema=has_arrow_types))[1])
    if isinstance(expected, re.Pattern):
        assert isinstance(found, str)
        assert expected.search(found)
    else:
        assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize("name", ["timestamp without", "timestamp in UTC"])
def test_the_old_timestamps_of_spark_have_no_time_zone_and_any_year(tmp_path, name):
    columns = {"id": ["0", "1"], "custom_fields.x": VALUES[name][0]}
    path = write(tmp_path / "rows.parquet", columns, use_deprecated_int96_timestamps=True, store_schema=False)
    assert "without a time zone" in sent(read(path)[1])


# ------------------------------------------------------------------------------------------------------ the columns


def test_columns_are_those_of_a_query_and_null_is_not_given(tmp_path):
    columns = {
        "id": [1, 2],
        "integrated_account_id": ["a", "b"],
        "owner.id": [7, None],
        "addresses[0].city": [None, "Berlin"],
        "name": ["\\N", "x"],
    }
    path = write(tmp_path / "rows.parquet", columns)
    first, second = read(path, null_marker="\\N")
    assert (first.id, first.integrated_account_id) == ("1", "a")
    assert (first.body, second.body) == (
        {"owner": {"id": 7}, "name": None},
        {"addresses": [{"city": "Berlin"}], "name": "x"},
    )
    assert read(path, sends_nulls=True)[1].body["owner"] == {"id": None}


@pytest.mark.parametrize(
    "body", [array({"name": "x", "owner": {"id": 7}}), array('{"name": "x", "owner": {"id": 7}}')]
)
def test_the_column_body_is_the_whole_body(tmp_path, body):
    path = write(tmp_path / "rows.parquet", {"id": ["1"], "body": body})
    assert bodies(path) == [{"name": "x", "owner": {"id": 7}}]


@pytest.mark.parametrize(("columns", "message"), [
    ({"name": ["x"]}, "no column `id`"),
    ({"id": ["1"], "TENANT_ID": ["x"]}, "did you mean tenant_id"),
    ({"id": ["1"], "__index_level_0__": [0]}, "an index of pandas"),
])  # fmt: skip
def test_columns_that_make_no_record_are_refused_before_anything_is_sent(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        FileSource(write(tmp_path / "rows.parquet", columns))


def test_a_struct_that_names_a_field_twice_is_refused(tmp_path):
    twice = pyarrow.StructArray.from_arrays([array(1), array(2)], ["tier", "tier"])
    with pytest.raises(ValueError, match="a struct names tier more than once"):
        FileSource(write(tmp_path / "rows.parquet", {"id": ["1"], "custom_fields": twice}))


def test_every_row_has_its_number_whatever_group_it_is_in(tmp_path):
    count = 5_000
    columns = {"id": list(map(str, range(count))), "custom_fields.tags": [[str(n)] * (n % 3) for n in range(count)]}
    records = read(write(tmp_path / "rows.parquet", columns, row_group_size=1_700))
    assert [record.ordinal for record in records] == list(range(count))
    assert [record.id for record in records] == columns["id"]
    assert [record.body["custom_fields"]["tags"] for record in records] == columns["custom_fields.tags"]
    assert records[4_321].place == "row 4322 of rows.parquet"


def test_an_empty_table_has_no_records(tmp_path):
    assert read(write(tmp_path / "rows.parquet", {"id": array(of=pyarrow.string())})) == []


def test_memory_is_that_of_a_row_group_and_not_of_the_file(tmp_path):
    path, groups, row = tmp_path / "rows.parquet", 20, "x" * 400
    with parquet.ParquetWriter(path, pyarrow.schema([("id", "string"), ("description", "string")])) as writer:
        for group in range(groups):
            ids = [f"{group}-{number}" for number in range(5_000)]
            writer.write_table(pyarrow.table({"id": ids, "description": [f"{one} {row}" for one in ids]}))
    usual, counting = pyarrow.default_memory_pool(), pyarrow.proxy_memory_pool(pyarrow.default_memory_pool())
    pyarrow.set_memory_pool(counting)
    try:
        assert sum(1 for _ in FileSource(path).records()) == groups * 5_000
    finally:
        pyarrow.set_memory_pool(usual)
    assert 0 < counting.max_memory() < 3 * 5_000 * len(row)


# ---------------------------------------------------------------------------------------------- files that are wrong


def table_bytes(count=10, **options):
    buffer = io.BytesIO()
    write(buffer, {"id": list(map(str, range(count))), "name": [f"Company {n}" for n in range(count)]}, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "content", "message"), [
    ("rows.parquet", table_bytes()[:-20], "rows.parquet: it is torn, .*: have its writer finish, or write it again"),
    ("rows.parquet", b"", "rows.parquet: it is not Parquet, which begins with PAR1: have its writer finish"),
    ("rows.parquet", b"id,name\n1,x\n", "rows.parquet: it is not Parquet.* give its name the ending of what it is"),
    ("rows.jsonl", table_bytes(), "rows.jsonl: it is Parquet: give its name the ending .parquet"),
    ("rows.csv", table_bytes(), "rows.csv: it is Parquet: give its name the ending .parquet"),
])  # fmt: skip
def test_a_file_that_is_torn_or_of_another_kind_is_refused_before_anything_is_sent(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        FileSource(tmp_path / name)


def test_of_a_file_with_a_wrong_place_what_comes_before_is_given(tmp_path):
    data = bytearray(table_bytes(3_000, row_group_size=1_000, write_page_checksum=True, compression="none"))
    place = data.index(b"Company 1500")
    data[place : place + 4] = b"XXXX"
    (tmp_path / "rows.parquet").write_bytes(data)
    records = FileSource(tmp_path / "rows.parquet").records()
    assert [next(records).id for _ in range(1_000)] == list(map(str, range(1_000)))
    with pytest.raises(SourceError, match=r"rows\.parquet cannot be read beyond row 1000: it is torn, or not as"):
        next(records)


def test_a_gzipped_file_is_read_as_well(tmp_path):
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress(table_bytes()))
    assert len(bodies(tmp_path / "rows.parquet.gz")) == 10


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "rows.parquet").write_bytes(table_bytes())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"needs pyarrow, .*: install airflow-provider-truto\[parquet\]"):
        FileSource(tmp_path / "rows.parquet")


def test_pyarrow_is_not_imported_where_no_file_is_parquet(tmp_path):
    (tmp_path / "rows.csv").write_text("id,name\n1,x\n")
    code = (
        "import sys, pathlib; from airflow_provider_truto.bulk.sources.files import FileSource;"
        "print(len(list(FileSource(pathlib.Path(sys.argv[1])).records())), 'pyarrow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "rows.csv"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "False"]


# -------------------------------------------------------------------------------------------------------- in a bucket


def test_of_a_file_in_a_bucket_only_what_is_needed_is_fetched(monkeypatch):
    bucket, fetched = Bucket(), []
    bucket.put("data/rows.parquet", table_bytes(100_000, row_group_size=10_000))
    size = len(bucket.objects["data/rows.parquet"][0])
    bucket.before_read = lambda _name, start, end: fetched.append(end - start)
    source = FileSource(bucket.view() / "rows.parquet")
    assert sum(1 for _ in source.records()) == 100_000
    assert size < sum(fetched) < 6 * size


def test_a_storage_that_does_not_answer_is_not_a_file_that_is_wrong(monkeypatch):
    monkeypatch.setattr("fsspec.spec.AbstractBufferedFile.DEFAULT_BLOCK_SIZE", 4_096)
    bucket = Bucket()
    bucket.put("data/rows.parquet", table_bytes(100_000, row_group_size=10_000))
    source = FileSource(bucket.view() / "rows.parquet")

    def refuse(_name, start, _end):
        if start > 300_000:
            raise ConnectionResetError("the storage hung up")

    bucket.before_read = refuse
    with pytest.raises(ConnectionResetError, match="hung up"):
        list(source.records())


def test_a_bulk_that_broke_off_goes_on_where_it_was(truto, output, tmp_path):
    rows = truto.rows()
    columns = {
        "id": [row["id"] for row in rows],
        "integrated_account_id": [row["integrated_account_id"] for row in rows],
        "body": [row["body"] for row in rows],
    }
    path = str(write(tmp_path / "rows.parquet", columns, row_group_size=7))
    truto.break_off(0.5, seed=1, kinds=({"status": 503},))
    assert truto.run(path, output, client={"max_attempts": 1})["transient_failures"] > 0
    truto.repair()
    truto.run(path, output)
    assert read_ledger(output).statuses == {"updated": len(rows)}
    assert set(truto.writes().values()) == {1}
    truto.assert_applied(rows)
    assert read_ledger(output).rows[39]["place"] == "row 40 of rows.parquet"
