"""Files as people have them: on storage whose files are not Python's, in any encoding, doubled, or being written."""

from __future__ import annotations

import gzip
import json
import os
import threading

import pytest
from bucket import Bucket
from bulk_operator import connect, run
from bulk_world import account_number
from upath import UPath

from airflow_provider_truto._compat import AirflowException, AirflowFailException, object_storage_path
from airflow_provider_truto.bulk import storage
from airflow_provider_truto.bulk.errors import SourceError
from airflow_provider_truto.bulk.generations import choose_generation, list_generations
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.readers import csv_files, json_lines
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.report import merge_ledgers
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.bulk.sources.snapshot import QueryResult, SnapshotSource
from airflow_provider_truto.bulk.storage import write_whole
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

JSON_ROW = b'{"id": "1", "body": {"name": "x"}}\n'


@pytest.fixture
def bucket():
    return Bucket()


def told(source):
    """What each record is, and what ended the reading, if something did."""
    found = []
    try:
        for record in source.records():
            message = "; ".join(problem.message for problem in record.problems) or record.left_out
            found.append((record.id, record.body or message))
    except SourceError as error:
        found.append(str(error))
    return found


def source_of(folder, files, **options):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return FileSource(folder / next(iter(files)), **options)


# ------------------------------------------------------------------------------------------ what people call CSV

READ = {
    "blank lines and rows of nothing": ("id,name\n1,A\n\n   \n,\n,,\n\r\n", [("1", {"name": "A"})]),
    "blank lines before the header": ("\n \nid,name\n1,A\n", [("1", {"name": "A"})]),
    "nothing but blank lines": ("\n\n  \n", []),
    "nothing but a byte order mark": ("\ufeff", []),
    "columns without a name and without cells": (
        "id,name,,\n1,A,,\n2,B,,\n",
        [("1", {"name": "A"}), ("2", {"name": "B"})],
    ),
    "a cell in a column without a name": (
        "id,,name\n1,x,A\n2,,B\n",
        [(None, "has something in column 2, which has no name"), ("2", {"name": "B"})],
    ),
    "the header again": (
        "id,name\n1,A\nid,name\n2,B\n",
        [("1", {"name": "A"}), (None, "line 3 of rows.csv is the header again"), ("2", {"name": "B"})],
    ),
    "the header again with its byte order mark": (
        "\ufeffid,name\n1,A\n\ufeffid,name\n",
        [("1", {"name": "A"}), (None, "line 3 of rows.csv is the header again")],
    ),
    "a name that is one of a column's": ("id,name\nid,A\n1,name\n", [("id", {"name": "A"}), ("1", {"name": "name"})]),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_a_csv_is_read_as_other_tools_read_it(tmp_path, case):
    text, expected = READ[case]
    assert told(source_of(tmp_path, {"rows.csv": text})) == expected


def test_a_header_that_comes_again_in_another_order_ends_the_reading(tmp_path):
    first, end = told(source_of(tmp_path, {"rows.csv": "id,name\n1,A\nname,id\nB,2\n"}))
    assert first == ("1", {"name": "A"})
    assert end.startswith(
        "rows.csv cannot be read beyond line 2: a header comes again, with its columns in a different"
    )


REFUSED = {
    "lines that end in CR": ("rows.csv", b"id,name\r1,A\r2,B\r", "carriage returns stand where lines should end"),
    "quoted lines that end in CR": ("rows.csv", b'"id","name"\r"1","A"\r', "carriage returns stand where lines"),
    "UTF-16": ("rows.csv", "id,name\n1,A\n".encode("utf-16"), "it is in UTF-16: export it"),
    "UTF-16, big end first": ("rows.jsonl", b"\xfe\xff\0{", "it is in UTF-16: export it"),
    "UTF-16, gzipped": ("rows.csv.gz", gzip.compress("id".encode("utf-16")), "it is in UTF-16: export it"),
    "a workbook": ("rows.csv", b"PK\x03\x04\x14\0", "it is an Excel workbook or a ZIP archive"),
    "Latin-1 in the header": ("rows.csv", "id,Größe\n1,A\n".encode("latin-1"), "the header is not UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_something_else_is_refused_in_words_that_name_the_remedy(tmp_path, case):
    name, content, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"^{name}: ") as refusal:
        source_of(tmp_path, {name: content})
    assert message in str(refusal.value)


def test_json_lines_that_end_in_cr_say_so(tmp_path):
    ((_, message),) = told(source_of(tmp_path, {"rows.jsonl": JSON_ROW.replace(b"\n", b"\r") * 2}))
    assert "carriage returns stand where lines should end" in message


@pytest.mark.parametrize("name", ["rows.csv", "ROWS.CSV", "rows.CSV.GZ", "rows.csv.gz"])
def test_what_is_gzipped_is_told_by_what_it_holds_and_a_name_is_read_in_any_case(tmp_path, name):
    assert told(source_of(tmp_path, {name: gzip.compress(b"id,name\n1,A\n")})) == [("1", {"name": "A"})]


def test_gzipped_files_that_were_put_together_are_read_as_one(tmp_path):
    whole = gzip.compress(b"id,name\n1,A\n") + gzip.compress(b"id,name\n2,B\n")
    assert told(source_of(tmp_path, {"rows.csv.gz": whole})) == [
        ("1", {"name": "A"}),
        (None, "line 3 of rows.csv.gz is the header again"),
        ("2", {"name": "B"}),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_delimiter_of_another_kind_is_an_argument(tmp_path, delimiter):
    text = 'id,name\n1,"a;b\t|c"\n2,\n'.replace(",", delimiter)
    expected = [("1", {"name": "a;b\t|c"}), ("2", None)]
    assert told(source_of(tmp_path, {"rows.csv": text}, delimiter=delimiter)) == expected


def test_the_operator_reads_by_its_delimiter(truto, output, tmp_path):
    (tmp_path / "rows.csv").write_text(f"id;integrated_account_id;description\nr1;{account_number(0)};a,b\n")
    connect(truto)
    operator = TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=str(tmp_path / "rows.csv"), output_path=str(output), max_failures=0, delimiter=";"
    )
    assert run(operator)["updated"] == 1
    assert truto.text_of(account_number(0), "r1") == "a,b"


def test_another_delimiter_is_another_source(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id\n1\n")
    assert FileSource(path, delimiter=";").fingerprint() != FileSource(path, delimiter="|").fingerprint()


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r"])
def test_what_cannot_delimit_is_refused(tmp_path, delimiter):
    with pytest.raises(ValueError, match=r"^delimiter: expects one character"):
        source_of(tmp_path, {"rows.csv": "id,name\n"}, delimiter=delimiter)


def test_a_row_is_told_by_the_line_where_an_editor_finds_it(tmp_path):
    text = '\nid,name\n1,"a\nb"\n\n2,x,y\n'
    first, second = source_of(tmp_path, {"rows.csv": text}).records()
    assert (first.label, second.label) == ("record 1 (row 0, line 3 of rows.csv)", "row 1 (line 6 of rows.csv)")
    (record,) = source_of(tmp_path, {"rows.jsonl": b"\n\n" + JSON_ROW}).records()
    assert record.label == "record 1 (row 0, line 3 of rows.jsonl)"


# ---------------------------------------------------------------------------------- what a double does not hold

NUMBERS = {
    "a whole number": "123456789012345678",
    "a fraction": "1234567890123456.78",
    "too many places": "0.1234567890123456789",
    "too small": "1e-400",
    "too large": "1e400",
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_number_that_no_double_holds_is_its_record_s_problem_in_every_format(truto, output, tmp_path, number, kind):
    body = f'{{"custom_fields": {{"x": {NUMBERS[number]}, "y": 1152921504606846976, "z": 0.1}}}}'
    account = account_number(0)
    if kind == "jsonl":
        text = f'{{"id": "r1", "integrated_account_id": "{account}", "body": {body}}}\n'
    else:
        text = 'id,integrated_account_id,body\nr1,{},"{}"\n'.format(account, body.replace('"', '""'))
    summary = truto.run(source_of(tmp_path, {f"rows.{kind}": text}), output)
    assert (summary["failed"], truto.emulator.requests) == (1, [])
    (problem,) = summary["first_problems"]
    assert problem.startswith(
        f"record r1 (row 0, line {1 if kind == 'jsonl' else 2} of rows.{kind}), of customer {account}: "
    )
    assert "/body/custom_fields/x: the number " in problem
    assert "send it as text" in problem


@pytest.mark.parametrize(
    "line", ['{"id": "1", "id": "2", "body": {"name": "a"}}', '{"id": "1", "body": {"a": 1, "a": 2}}']
)
def test_a_line_that_names_a_key_twice_is_a_problem(tmp_path, line):
    ((_, message),) = told(source_of(tmp_path, {"rows.jsonl": line}))
    assert "more than once" in message


def test_an_id_that_json_gives_with_a_fraction_is_not_an_id(tmp_path):
    (record,) = source_of(tmp_path, {"rows.jsonl": '{"id": 12345678901234567.0, "body": {"name": "x"}}'}).records()
    assert "expects text" in record.problems[0].message


# -------------------------------------------------------------------------------------------- folders and globs


def test_a_glob_leaves_hidden_files_out_as_a_folder_does(tmp_path):
    rows = {f"{name}.csv": f"id,name\n{name},x\n" for name in ("c", ".a", "_b")}
    source_of(tmp_path, rows)
    for path in (tmp_path, tmp_path / "*.csv", tmp_path / "*"):
        assert told(FileSource(path)) == [("c", {"name": "x"})]
    assert told(FileSource(tmp_path / "_*.csv")) == [("_b", {"name": "x"})], "a pattern may mean them"


def test_a_folder_that_a_glob_matches_is_read_in_its_place(tmp_path):
    files = {"a.csv/part-1.csv": "id,name\n1,x\n", "a.csv/part-0.csv": "id,name\n0,x\n", "a.csv/_SUCCESS": ""}
    source_of(tmp_path, {**files, "b.csv": "id,name\n2,x\n"})
    assert [name for name, _ in told(FileSource(tmp_path / "*.csv"))] == ["0", "1", "2"]


def test_a_folder_that_a_glob_matches_and_that_holds_nothing_is_named(tmp_path):
    source_of(tmp_path, {"b.csv": "id,name\n2,x\n"})
    (tmp_path / "a.csv").mkdir()
    (tmp_path / "a.csv" / "_SUCCESS").touch()
    with pytest.raises(ValueError, match=r"there is no file in .*a\.csv"):
        FileSource(tmp_path / "*.csv")


# ------------------------------------------------------------------------------- storage whose files are not Python's


@pytest.mark.parametrize(("name", "content"), [
    ("rows.jsonl", JSON_ROW), ("rows.csv", b"id,name\n1,x\n"), ("rows.jsonl.gz", gzip.compress(JSON_ROW, mtime=0)),
    ("rows.csv.gz", gzip.compress(b"id,name\n1,x\n", mtime=0)),
])  # fmt: skip
@pytest.mark.parametrize("by", ["", "{name}", "*"])
def test_every_kind_of_file_is_read_from_a_bucket(bucket, name, content, by):
    bucket.put(f"data/in/{name}", content)
    folder = bucket.view() / "in"
    assert told(FileSource(folder / by.format(name=name) if by else folder)) == [("1", {"name": "x"})]


def test_a_line_beyond_reason_is_cut_in_a_bucket_as_well(bucket, monkeypatch):
    for reader in (csv_files, json_lines):
        monkeypatch.setattr(reader, "LONGEST_LINE", 1_000)
    bucket.put("data/rows.jsonl", JSON_ROW + b"x" * 5_000 + b"\n" + JSON_ROW)
    first, long, last = told(FileSource(bucket.view() / "rows.jsonl"))
    assert (first, last) == (("1", {"name": "x"}), ("1", {"name": "x"}))
    assert "is a line of more than" in long[1]


def test_of_a_file_in_a_bucket_every_byte_is_fetched_about_once(bucket, monkeypatch):
    """fsspec's own ``readline`` goes back behind each line, and copies a whole block for it."""
    fetched = []
    bucket.before_read = lambda _name, start, end: fetched.append(end - start)
    bucket.put("data/rows.jsonl", JSON_ROW * 50_000)
    source = FileSource(bucket.view() / "rows.jsonl")
    fetched.clear()
    assert sum(1 for _ in source.records()) == 50_000
    assert sum(fetched) <= 2 * len(JSON_ROW) * 50_000


def test_the_first_call_goes_out_before_the_file_is_read_to_its_end(truto, output, bucket, monkeypatch):
    """The storage returns the second half only after something has arrived at Truto."""
    monkeypatch.setattr(storage, "_BLOCK", 4_096)
    monkeypatch.setattr("fsspec.spec.AbstractBufferedFile.DEFAULT_BLOCK_SIZE", 4_096)
    arrived = threading.Event()
    record = truto.emulator.state.find_fault

    def find_fault(call):
        arrived.set()
        return record(call)

    truto.state.find_fault = find_fault
    rows = b"".join(json.dumps(row).encode() + b"\n" for row in truto.rows() * 50)
    bucket.put("data/rows.jsonl", rows)
    source = FileSource(bucket.view() / "rows.jsonl")
    waited = []

    def before_read(_name, start, _end):
        if start > len(rows) // 2:
            waited.append(arrived.wait(20))

    bucket.before_read = before_read
    summary = truto.run(source, output)
    assert waited
    assert all(waited), "nothing was sent while the file was being read"
    assert summary["records"] == 2_000


def test_an_answer_is_written_whole_into_a_bucket_or_not_at_all(bucket):
    view = bucket.view()
    assert write_whole(object_storage_path(str(view / "out" / "a.json")), [b"1", b"23"]) == 3
    assert {name: data for name, (data, _) in bucket.objects.items()} == {"data/out/a.json": b"123"}

    def breaking():
        yield b"1"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_whole(object_storage_path(str(view / "out" / "b.json")), breaking())
    assert list(bucket.objects) == ["data/out/a.json"]


# --------------------------------------------------------------------------------------- two workers and one bucket


def test_a_worker_that_has_looked_sees_what_another_has_written_since(bucket):
    one, other = bucket.view() / "task", bucket.view() / "task"
    (one / "-1" / "0" / "x").write_bytes(b"")
    assert list_generations(other / "-1") == [0]  # looked, and remembered
    ledger = Ledger(one / "-1" / "1", try_number=1)
    ledger.open({"fingerprint": "f"})
    assert list_generations(other / "-1") == [0, 1]
    assert choose_generation(other / "-1", "a") == 1
    assert Ledger(other / "-1" / "1", try_number=2).read_first_header()["fingerprint"] == "f"
    assert merge_ledgers(other).unfinished == [-1]
    ledger.close(
        {
            **Progress().as_dict(),
            "complete": True,
            "finished": True,
            "task_generation": "a",
            "problems": [],
            "accounts": {},
        }
    )
    assert merge_ledgers(other).unfinished == []


def test_of_two_workers_the_second_reads_the_rows_of_the_query_that_the_first_has_begun_with(bucket):
    class Asked:
        def __init__(self, row_id):
            self.row_id = row_id

        def __call__(self):
            return self

        def __enter__(self):
            return QueryResult(columns=["id"], rows=[[self.row_id]])

        def __exit__(self, *_):
            pass

    folders = [bucket.view() / "0" for _ in range(2)]
    first, second = (
        SnapshotSource(folder, "sql-f", Asked(row_id), RecordParser())
        for folder, row_id in zip(folders, ["first", "second"], strict=True)
    )
    for folder in folders:
        list(folder.iterdir())  # looked, and remembered that there is no ledger
    Ledger(folders[0], try_number=1).open({"fingerprint": "sql-f", "snapshot": first.keep()})
    assert first.keep() == second.keep()
    for source in (first, second, SnapshotSource(bucket.view() / "0", "sql-f", None, RecordParser())):
        assert [record.id for record in source.records()] == ["first"]


def test_a_bulk_with_its_source_and_its_ledger_in_a_bucket_is_resumed_by_another_worker(truto, bucket):
    rows = truto.rows()
    bucket.put("data/in/rows.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))

    def try_it(number):
        view = bucket.view()
        source = FileSource(view / "in" / "rows.jsonl")
        return truto.run(source, view / "out", try_number=number)

    truto.emulator.fault(status=500, times=None, skip=15)
    assert 0 < try_it(1)["updated"] < len(rows)
    truto.repair()
    assert try_it(2)["updated"] == len(rows)
    assert set(truto.writes().values()) == {1}
    truto.assert_applied(rows)


# ------------------------------------------------------------------------------- a file that changes while it is read


def local(tmp_path, content):
    path = UPath(tmp_path / "rows.csv")
    path.write_bytes(content)
    return path


def of_bucket(_tmp_path, content):
    bucket = Bucket()
    bucket.put("data/rows.csv", content)
    return bucket.view() / "rows.csv"


CHANGES = {
    "appended": lambda path: path.write_bytes(path.read_bytes() + b"3,z\n"),
    "replaced": lambda path: path.write_bytes(b"id,name\n7,x\n8,y\n"),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("storage_of", [local, of_bucket])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_changed_while_it_is_read_is_not_complete(tmp_path, storage_of, after, change):
    path = storage_of(tmp_path, b"id,name\n1,x\n2,y\n")
    source = FileSource(path)
    records = source.records()
    for number in range(after):
        assert next(records).id == ["1", "2"][number]
    CHANGES[change](path)
    if storage_of is local and change == "replaced":
        os.utime(path.path, ns=(1, 1))  # a clock may be coarser than this test is fast
    with pytest.raises(SourceError, match=r"rows\.csv was changed while this task was reading it"):
        list(records)


def test_a_file_that_is_changed_before_its_turn_is_not_read(tmp_path):
    source_of(tmp_path, {"a.csv": "id,name\n1,x\n", "b.csv": "id,name\n2,x\n"})
    source = FileSource(tmp_path)
    records = source.records()
    assert next(records).id == "1"
    (tmp_path / "b.csv").write_text("id,name\n9,x\n9,y\n")
    with pytest.raises(SourceError, match=r"^b\.csv was changed"):
        next(records)


def test_a_bulk_whose_file_was_changed_fails_says_so_and_is_not_finished(truto, output, tmp_path):
    rows = truto.rows()
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    connect(truto)

    def while_it_is_read(row):
        if row["id"] == rows[3]["id"]:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows[5:]))
        return row

    operator = TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=str(path), output_path=str(output), max_failures=0, mapping=while_it_is_read, retries=3
    )
    with pytest.raises(AirflowFailException, match=r"rows\.jsonl was changed while this task was reading it"):
        run(operator)
    with pytest.raises(AirflowException, match="the source has changed"):
        run(operator, try_number=2)
