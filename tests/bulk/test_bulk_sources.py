"""Records out of lists and files: as a stream, row by row, and a row that cannot be read leaves the others alone."""

from __future__ import annotations

import csv
import gzip
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from bulk_world import account_number, read_ledger
from upath import UPath

from airflow_provider_truto.bulk.errors import SourceError
from airflow_provider_truto.bulk.readers import csv_files, json_lines
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.bulk.sources.lists import ListSource, list_rows
from airflow_provider_truto.records.render import Missing


@pytest.fixture
def file(tmp_path):
    """A function that writes a file of bytes or text and returns its path; one that ends in .gz is gzipped."""

    def write(name, content):
        content = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def read(path, **reading):
    return list(FileSource(path, parser=RecordParser(**reading)).records())


def good(records):
    """Ordinal, id and body of each record; none may have problems."""
    assert [record.problems for record in records if record.problems] == []
    return [(record.ordinal, record.id, record.body) for record in records]


def problems(record):
    return [(problem.pointer, problem.message) for problem in record.problems]


# -------------------------------------------------------------------------------------------------------- JSON Lines


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "jsonl.gz", "ndjson.gz"])
def test_json_lines_are_read_with_their_types(file, ending):
    rows = [{"id": "1", "body": {"name": "Ünï", "number_of_employees": 5}}, {"id": 2, "body": {"tags": ["a"]}}]
    path = file(f"rows.{ending}", "".join(json.dumps(row) + "\n" for row in rows))
    assert good(read(path)) == [(0, "1", rows[0]["body"]), (1, "2", {"tags": ["a"]})]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.jsonl.gz", "rows.csv.gz"])
def test_an_empty_file_has_no_records(file, name):
    assert read(file(name, b"")) == []


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.csv.gz"])
def test_a_gzipped_file_without_any_bytes_has_no_records(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert read(tmp_path / name) == []


def test_blank_lines_are_not_rows_wherever_they_stand(file):
    line = '{"id": "1", "body": {"name": "x"}}'
    assert len(good(read(file("rows.jsonl", f"\n{line}\n  \n\r\n{line}\n\n\n")))) == 2


def test_the_last_line_needs_no_newline(file):
    assert len(good(read(file("rows.jsonl", '{"id": "1", "body": {"name": "x"}}')))) == 1


def test_a_byte_order_mark_is_not_a_part_of_the_first_row(file):
    assert good(read(file("rows.jsonl", '\ufeff{"id": "1", "body": {"name": "x"}}\n'))) == [(0, "1", {"name": "x"})]


BAD_LINES = {
    "torn": (b'{"id": "1", "bo', "is not JSON"),
    "two in one": (b'{"id": "1"} {"id": "2"}', "is not JSON"),
    "no object": (b"[1, 2]", "is list, not an object"),
    "null": (b"null", "is NoneType, not an object"),
    "a CSV": (b"id,name", "is not JSON"),
    "Latin-1": ('{"id": "1", "body": {"name": "Jürgen"}}'.encode("latin-1"), "is not UTF-8: invalid start byte"),
    "surrogates as bytes": (b'{"id": "1", "body": {"name": "\xed\xa0\x80"}}', "is not UTF-8"),
    "deep": (b"[" * 100_000, "is not JSON"),
    "huge number": (b'{"id": "1", "body": {"n": ' + b"1" * 5_000 + b"}}", "is not JSON"),
}


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_line_that_is_not_a_record_leaves_the_others_alone(file, bad, place):
    line, message = BAD_LINES[bad]
    whole = [b'{"id": "0", "body": {"name": "x"}}', b'{"id": "1", "body": {"name": "x"}}']
    whole.insert(place, line)
    records = read(file("rows.jsonl", b"\n".join(whole)))
    assert [record.ordinal for record in records] == [0, 1, 2]
    assert message in problems(records.pop(place))[0][1]
    assert [record.id for record in records] == ["0", "1"]
    assert not any(record.problems for record in records)


@pytest.mark.parametrize(("row", "expected"), [
    ({"body": {"name": "x"}}, ("/id", "is missing or empty")),
    ({"id": "", "body": {"name": "x"}}, ("/id", "is missing or empty")),
    ({"id": None, "body": {"name": "x"}}, ("/id", "is missing or empty")),
    ({"id": "1"}, ("/body", "is missing")),
    ({"id": "1", "body": None}, ("/body", "is missing")),
    ({"id": 1.5, "body": {}}, ("/id", "expects text, got float")),
    ({"id": 17.0, "body": {}},
     ("/id", "expects text, got 17.0: had its column a NULL on its way through pandas? Make it whole, or text")),
    ({"id": True, "body": {}}, ("/id", "expects text, got bool")),
    (
        {"id": "1", "body": {}, "x": 1},
        ("/x", "means nothing here: a record has id, body, integrated_account_id, tenant_id, integration"),
    ),
])  # fmt: skip
def test_what_is_wrong_with_a_row_is_said(row, expected):
    (record,) = ListSource([row]).records()
    assert expected in problems(record)


@pytest.mark.parametrize("nothing", ["", None])
def test_a_row_that_names_no_customer_where_it_should_never_goes_to_the_default_one(nothing):
    (record,) = ListSource([{"id": "1", "body": {"name": "x"}, "integrated_account_id": nothing}]).records()
    assert [pointer for pointer, _ in problems(record)] == ["/integrated_account_id"]


def test_a_line_beyond_reason_is_a_problem_and_no_memory(file, monkeypatch):
    for reader in (csv_files, json_lines):
        monkeypatch.setattr(reader, "LONGEST_LINE", 1_000)
    row = b'{"id": "1", "body": {"name": "x"}}\n'
    path = file("rows.jsonl", row + b'{"id": "2", "body": {"name": "' + b"x" * 5_000 + b'"}}\n' + row)
    first, long, last = read(path)
    assert "is a line of more than" in problems(long)[0][1]
    assert (first.problems, last.ordinal, last.id) == ((), 2, "1")


def test_a_failures_file_can_be_a_source_as_it_is(truto, output):
    bad = {"id": "r1", "body": {"nmae": "x"}, "integrated_account_id": account_number(0)}
    summary = truto.run([*truto.rows(), bad], output)
    (failures,) = summary["failures"]
    (record,) = FileSource(Path(failures)).records()
    assert (record.id, record.body, record.integrated_account_id) == ("r1", {"nmae": "x"}, account_number(0))
    assert record.problems == ()


# --------------------------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_columns_are_paths_into_the_body(file, name):
    path = file(
        name,
        "id,integrated_account_id,name,owner.id,custom_fields.tier,addresses[0].city,addresses[1].city,tags[0]\n"
        "1,a,Initrode,7,gold,Pune,Oslo,x\n",
    )
    (record,) = read(path)
    assert (record.id, record.integrated_account_id, record.nulls_are_meant) == ("1", "a", True)
    assert record.body == {
        "name": "Initrode",
        "owner": {"id": "7"},
        "custom_fields": {"tier": "gold"},
        "addresses": [{"city": "Pune"}, {"city": "Oslo"}],
        "tags": ["x"],
    }


def test_an_empty_cell_is_not_given_and_the_null_marker_is_null(file):
    path = file("rows.csv", "id,name,owner.id,website\n1,,,\\N\n2,x,7,\n")
    assert good(read(path, null_marker="\\N")) == [
        (0, "1", {"website": None}),
        (1, "2", {"name": "x", "owner": {"id": "7"}}),
    ]


def test_a_null_marker_is_no_null_in_rows_of_json_and_not_text_to_be_sent(file):
    row = {"id": "1", "body": {"website": "\\N"}}
    path, told = file("rows.jsonl", json.dumps(row)), "null_marker is for the cells of a CSV"
    with pytest.raises(ValueError, match=f"rows.jsonl: {told}"):
        read(path, null_marker="\\N")
    with pytest.raises(ValueError, match=told):
        ListSource([row], RecordParser(null_marker="\\N"))


def test_an_item_of_which_nothing_is_given_leaves_no_gap(file):
    path = file("rows.csv", "id,addresses[0].city,addresses[0].zip,addresses[2].city\n1,,,Oslo\n2,Pune,,\n")
    assert [body for _, _, body in good(read(path))] == [
        {"addresses": [{"city": "Oslo"}]},
        {"addresses": [{"city": "Pune"}]},
    ]


def test_a_file_with_only_a_header_has_no_records(file):
    assert read(file("rows.csv", "id,name")) == []


def test_excel_s_byte_order_mark_and_line_ends_are_understood(file):
    assert good(read(file("rows.csv", "\ufeffid,name\r\n1,Ünï\r\n"))) == [(0, "1", {"name": "Ünï"})]


def test_quotes_keep_commas_quotes_and_newlines_in_their_cell(file):
    path = file("rows.csv", 'id,description,name\n1,"one, ""two""\nthree\r\n\nfour",x\n2,y,z\n')
    assert [body for _, _, body in good(read(path))] == [
        {"description": 'one, "two"\nthree\r\n\nfour', "name": "x"},
        {"description": "y", "name": "z"},
    ]


def test_lines_without_anything_in_any_cell_are_not_rows(file):
    assert good(read(file("rows.csv", "id,name\n\n1,x\n,\n2,y\n,,\n\n\n"))) == [
        (0, "1", {"name": "x"}),
        (1, "2", {"name": "y"}),
    ]


CSV_BAD = {
    "too few cells": (b"1", "has 1 cell, the header has 2"),
    "too many cells": (b"1,x,y", "has 3 cells, the header has 2"),
    "no id": (b",x", "is missing or empty"),
    "Latin-1": ("1,Jürgen".encode("latin-1"), "is not UTF-8"),
    "a bare carriage return": (b"1,x\ry", "is not CSV: carriage returns stand where lines should end"),
}


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("bad", CSV_BAD)
def test_a_row_of_a_csv_that_is_not_a_record_leaves_the_others_alone(file, bad, place):
    line, message = CSV_BAD[bad]
    whole = [b"8,x", b"9,y"]
    whole.insert(place, line)
    records = read(file("rows.csv", b"\n".join([b"id,name", *whole])))
    assert [record.ordinal for record in records] == [0, 1, 2]
    assert message in problems(records.pop(place))[0][1]
    assert good(records) == [
        (record.ordinal, i, {"name": n}) for record, i, n in zip(records, "89", "xy", strict=True)
    ]


#: A row after which nobody knows where the next one begins, and what is said of it.
ENDS = {
    "a quote that is never closed": ('2,"y\n3,z\n4,w\n', "a quote is opened and not closed"),
    "text after a quote": ('2,"y"z\n3,z\n', "a quote is opened and not closed, or not doubled"),
    "a quote that a backslash escapes": ('2,"said \\"hi\\":\n3,z"\n4,w\n', 'Spark does so with .option("escape"'),
    "a quote after a space": ('2, "y, z"\n', "a quote stands after a space"),
}


@pytest.mark.parametrize("bad", ENDS)
@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_the_reading_ends_with_a_row_whose_end_is_not_known(file, bad, name):
    text, message = ENDS[bad]
    records, error = read_until_it_breaks_off(FileSource(file(name, f"id,name\n1,x\n{text}")))
    assert [record.id for record in records] == ["1", None]
    assert "is not CSV" in problems(records[1])[0][1]
    assert str(error).startswith(f"{name} cannot be read beyond line 3: ")
    assert message in str(error)


@pytest.mark.parametrize("cell", ['" ""y"" z"', '5" pipe', '" x, ""y"", z"', " y"])
def test_a_quote_inside_a_cell_is_a_part_of_it(file, cell):
    (row,) = csv.reader([f"2,{cell}"])
    (record,) = read(file("rows.csv", f"id,name\n2,{cell}\n"))
    assert record.body == {"name": row[1]}


def test_a_cell_may_be_longer_than_python_s_own_limit(file):
    csv.field_size_limit(131_072)
    text = "x" * 200_000
    assert good(read(file("rows.csv", f"id,description\n1,{text}\n"))) == [(0, "1", {"description": text})]


def test_a_body_may_stand_in_a_column_as_json(file):
    path = file("rows.csv", 'id,body\n1,"{""name"": ""x"", ""owner"": {""id"": 7}}"\n2,\n3,"[1]"\n4,"{"\n')
    whole, nothing, a_list, torn = read(path)
    assert (whole.body, nothing.body) == ({"name": "x", "owner": {"id": 7}}, {})
    assert problems(a_list) == [("/body", "expects a JSON object, got list")]
    assert problems(torn)[0][0] == "/body"


def test_a_null_inside_json_came_as_data(file):
    (record,) = read(file("rows.csv", 'id,body\n1,"{""name"": null}"\n'))
    assert record.body == {"name": Missing("the column body → name is None")}


BAD_HEADERS = {
    "name,website": "the header has no column `id`: it has name, website",
    "id;name": "the header is one column, 'id;name': if ';' delimits it, set `delimiter`",
    "id,name,name": "the header names name more than once",
    "id, name": "the column ' name' has a space around its name",
    'id,"name "': "the column 'name ' has a space around its name",
    'id, "name"': "the header is not CSV: after a space",
    ",": "the header names no column",
    "id,owner,owner.id": "the column 'owner.id' would lie inside the column 'owner'",
    "id,owner.id,owner": "the column 'owner.id' would lie inside the column 'owner'",
    "id,name,body.name": "the columns 'name' and 'body.name' mean the same field",
    "id,body,name": "the column 'name' would lie inside the column 'body'",
    "id,tags[0],tags.x": "the columns 'tags[0]' and 'tags.x' make a list and an object of one field",
    "id,[0]": "the column '[0]' is not a path",
    "id,owner..id": "the column 'owner..id' is not a path",
    "id,owner.": "the column 'owner.' is not a path",
    "id,tags[0]x": "the column 'tags[0]x' is not a path",
    "id,tags[x]": "the column 'tags[x]' is not a path",
    "id,tags[100]": "the column 'tags[100]' names a place beyond 100",
    "id,J\udcfcrgen": "the header is not UTF-8",
    'id,"name': "the header is not CSV",
}


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_a_wrong_header_is_told_before_anything_is_read(file, header):
    content = f"{header}\n1,x\n".encode(errors="surrogateescape")
    with pytest.raises(ValueError) as told:
        FileSource(file("rows.csv", content))
    assert str(told.value).startswith(f"rows.csv: {BAD_HEADERS[header]}")


def test_the_wrong_header_of_the_last_of_many_files_is_told_before_the_first_is_read(file, tmp_path):
    file("a.csv", "id,name\n1,x\n")
    file("b.csv.gz", "nothing\n1\n")
    with pytest.raises(ValueError, match=r"^b.csv.gz: the header has no column `id`"):
        FileSource(tmp_path)


# ------------------------------------------------------------------------------------------ files, folders, storages


def test_the_files_of_a_folder_are_read_in_the_order_of_their_names(file, tmp_path):
    file("b.csv", "name,id\nx,2\n")
    file("c.jsonl.gz", '{"id": "3", "body": {"name": "x"}}\n')
    file("a.csv.gz", "id,name\n1,x\n")
    for ignored in ("_SUCCESS", ".part.crc"):
        file(ignored, "")
    (tmp_path / "deeper").mkdir()
    assert [(ordinal, name) for ordinal, name, _ in good(read(tmp_path))] == [(0, "1"), (1, "2"), (2, "3")]


def test_a_glob_takes_the_files_that_fit(file, tmp_path):
    file("new-2.jsonl", '{"id": "2", "body": {"name": "x"}}\n')
    file("new-1.jsonl", '{"id": "1", "body": {"name": "x"}}\n')
    file("old-1.jsonl", '{"id": "3", "body": {"name": "x"}}\n')
    assert [name for _, name, _ in good(read(tmp_path / "new-?.jsonl"))] == ["1", "2"]


def test_a_file_whose_name_looks_like_a_glob_is_found(file):
    assert len(good(read(file("rows[1].jsonl", '{"id": "1", "body": {"name": "x"}}\n')))) == 1


@pytest.mark.parametrize("name", ["nothing.jsonl", "*.jsonl", "no/folder/*.jsonl", ""])
def test_where_there_is_no_file_that_is_said(tmp_path, name):
    with pytest.raises(ValueError, match=r"there is no file"):
        FileSource(tmp_path / name)


@pytest.mark.parametrize("name", ["rows.json", "rows.xlsx", "rows.txt", "rows.csv.bz2", "rows"])
def test_a_file_of_another_kind_is_refused(file, name):
    with pytest.raises(ValueError, match=r"expects a name that ends in .jsonl, .ndjson, .csv or .parquet"):
        FileSource(file(name, "{}"))


def test_a_file_that_only_pretends_to_be_gzipped_is_refused(tmp_path):
    (tmp_path / "rows.jsonl.gz").write_text("{}")
    with pytest.raises(ValueError, match=r"rows.jsonl.gz: Not a gzipped file"):
        FileSource(tmp_path / "rows.jsonl.gz")


@pytest.mark.parametrize("kind", ["truncated", "corrupt"])
def test_of_a_torn_file_what_came_before_is_given(tmp_path, kind):
    rows = b"".join(b'{"id": "%d", "body": {"name": "%s"}}\n' % (n, uuid4().hex.encode()) for n in range(3_000))
    whole = bytearray(gzip.compress(rows))
    if kind == "truncated":
        del whole[len(whole) // 2 :]
    else:
        whole[len(whole) // 2 : len(whole) // 2 + 100] = b"\xff" * 100
    (tmp_path / "rows.jsonl.gz").write_bytes(whole)
    records, error = read_until_it_breaks_off(FileSource(tmp_path / "rows.jsonl.gz"))
    assert len(records) > 1_000
    assert kind == "corrupt" or len(records) < 2_000
    said = re.match(r"rows\.jsonl\.gz cannot be read beyond line (\d+): ", str(error))
    # What is corrupt may have line ends in it, of lines with nothing else.
    assert said is not None, error
    assert int(said[1]) >= len(records)


def read_until_it_breaks_off(source):
    records = []
    try:
        for record in source.records():
            records.append(record)  # noqa: PERF402  (what came before an error is kept)
    except SourceError as error:
        return records, error
    raise AssertionError("it does not break off")


def storages():
    from airflow_provider_truto._compat import object_storage_path

    def local(tmp_path):
        return object_storage_path(f"file://{tmp_path}")

    def bare(tmp_path):
        return object_storage_path(str(tmp_path))

    def memory(_tmp_path):
        try:
            from airflow.sdk.io import attach
        except ImportError:  # Airflow 2.11
            from airflow.io.store import attach
        attach("memory", fs=fsspec.filesystem("memory"))
        return object_storage_path(f"memory://bucket-{uuid4().hex}")

    return [local, bare, memory, lambda tmp_path: UPath(tmp_path), lambda tmp_path: tmp_path]


@pytest.mark.parametrize("storage", storages(), ids=["file://", "bare", "memory://", "UPath", "Path"])
def test_every_storage_gives_the_same_records_and_tells_a_change(tmp_path, storage):
    folder = storage(tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"id,name\n2,y\n"))
    (folder / "a.jsonl").write_bytes(b'{"id": "1", "body": {"name": "x"}}\n')
    for path in (folder, folder / "*"):
        assert good(read(path)) == [(0, "1", {"name": "x"}), (1, "2", {"name": "y"})]
    before = FileSource(folder).fingerprint()
    assert FileSource(folder / "*").fingerprint() == before
    (folder / "a.jsonl").write_bytes(b'{"id": "7", "body": {"name": "x"}}\n')
    assert FileSource(folder).fingerprint() != before, "the same size, another content"


def test_a_torn_file_fails_after_what_came_before_was_written(truto, output, tmp_path):
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in truto.rows()).encode())
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[:-20])
    readable = len(read_until_it_breaks_off(FileSource(tmp_path / "rows.jsonl.gz"))[0])
    assert readable > 10
    with pytest.raises(SourceError, match=f"cannot be read beyond line {readable}: "):
        truto.run(str(tmp_path / "rows.jsonl.gz"), output)
    read_back = read_ledger(output)
    assert read_back.statuses == {"updated": readable}
    assert len(truto.writes()) == readable
    assert not read_back.summaries[-1]["finished"]


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\udfff"'])
def test_text_that_no_utf_8_can_write_is_its_row_s_problem(truto, output, written, text):
    rows = truto.rows()
    bad = f'{{"id": "r1", "body": {{"description": {text}}}, "integrated_account_id": "{account_number(0)}"}}'
    bad_id = f'{{"id": {text}, "body": {{"description": "x"}}, "integrated_account_id": "{account_number(0)}"}}'
    summary = truto.run(written([bad, bad_id, *rows]), output)
    assert (summary["failed"], summary["updated"]) == (2, len(rows))


# ------------------------------------------------------------------------------------------------------------ lists


class Lazy(Sequence):
    """A sequence of another task's outputs as Airflow passes it: each look costs a call to its API."""

    def __init__(self, rows):
        self._rows = rows
        self.looks = []

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        self.looks.append((index, threading.get_ident()))
        return self._rows[index]


def test_a_lazy_sequence_is_asked_for_each_row_once_and_only_in_the_task_s_own_thread(truto, output):
    rows = truto.rows()
    lazy = Lazy(rows)
    source = ListSource(lazy)
    fingerprint = source.fingerprint()
    summary = truto.run(source, output)
    assert summary["updated"] == len(rows) == source.count()
    assert [look for look, _ in lazy.looks] == list(range(len(rows) + 1)), "once each, and the look beyond the end"
    assert {thread for _, thread in lazy.looks} == {threading.get_ident()}
    assert fingerprint == ListSource(rows).fingerprint()
    truto.assert_applied(rows)


def test_two_readers_of_a_lazy_sequence_do_not_disturb_each_other():
    rows = [{"id": str(number), "body": {"name": "x"}} for number in range(2_000)]
    source = ListSource(Lazy(rows))
    one, other = source.records(), source.records()
    seen = [(next(one).id, next(other).id) for _ in rows]
    assert seen == [(row["id"], row["id"]) for row in rows]


def test_outputs_that_are_lists_are_lists_of_rows():
    rows = [
        [{"id": "1", "body": {"name": "x"}}],
        [],
        [{"id": "2", "body": {"name": "x"}}, {"id": "3", "body": {"name": "x"}}],
    ]
    for given in (rows, Lazy(rows)):
        source = ListSource(given)
        assert (source.count(), [name for _, name, _ in good(list(source.records()))]) == (3, ["1", "2", "3"])


def test_an_empty_list_has_no_records():
    source = ListSource([])
    assert (source.count(), list(source.records())) == (0, [])


def test_a_list_that_changes_is_another_source():
    rows = [{"id": "1", "body": {"name": "x"}}]
    before = ListSource(rows).fingerprint()
    assert ListSource([{"id": "1", "body": {"name": "y"}}]).fingerprint() != before
    assert ListSource([{"body": {"name": "x"}, "id": "1"}]).fingerprint() == before, "the order of keys means nothing"
    assert ListSource([*rows, *rows]).fingerprint() != before


@pytest.mark.parametrize("body", [{1: "x", "name": "y"}, {("a", "b"): 1}, {None: 1, True: 2}])
def test_keys_that_are_not_text_are_the_problem_of_their_row_and_not_of_the_source(body):
    rows = [{"id": "1", "body": body}, {"id": "2", "body": {"name": "x"}}]
    assert ListSource(rows).fingerprint() == ListSource(list(rows)).fingerprint()
    assert [record.id for record in ListSource(rows).records()] == ["1", "2"]


@pytest.mark.parametrize("nothing", [None, 5, "text", b"bytes", {"id": "1"}])
def test_what_is_not_a_list_of_rows_gives_none(nothing):
    assert list_rows(nothing) is None


def test_a_generator_and_a_set_are_lists_of_rows():
    assert list_rows(number for number in range(3)) == [0, 1, 2]
