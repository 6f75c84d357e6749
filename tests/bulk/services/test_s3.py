"""Bulks whose sources and ledgers lie on a real S3 server, by several workers, one of which may be killed."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pytest
from bulk_operator import connect, run
from bulk_world import account_number
from pyarrow import parquet

from airflow_provider_truto._compat import AirflowFailException, object_storage_path
from airflow_provider_truto.bulk.errors import LiveTryError, SourceError
from airflow_provider_truto.bulk.generations import list_generations
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.report import merge_ledgers
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.bulk.sources.snapshot import QueryResult, SnapshotSource
from airflow_provider_truto.bulk.storage import write_whole
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

ROOT = "s3://store@data-of-the-test"
ROW = b'{"id": "1", "body": {"name": "x"}}\n'


def path(name):
    return object_storage_path(f"{ROOT}/{name}")


def names(bucket, prefix=""):
    return sorted(item.key for item in bucket.objects.filter(Prefix=prefix))


def json_lines(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def parquet_of(columns, **options):
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer, **options)
    return buffer.getvalue()


def bulk(**options):
    given = {"task_id": "bulk", "output_path": f"{ROOT}/ledgers", "max_failures": 0, "retries": 3, **options}
    return TrutoBulkUpdateAccountsOperator(**given)


@pytest.mark.parametrize(("name", "content"), [
    ("rows.jsonl", ROW), ("rows.csv", b"id,name\n1,x\n"), ("rows.jsonl.gz", gzip.compress(ROW)),
    ("rows.CSV.GZ", gzip.compress(b"id,name\n1,x\n")), ("rows.csv", gzip.compress(b"id,name\n1,x\n")),
    ("rows.parquet", parquet_of({"id": ["1"], "name": ["x"]})),
])  # fmt: skip
@pytest.mark.parametrize("by", ["in/{name}", "in", "in/*"])
def test_every_kind_of_file_is_read(bucket, name, content, by):
    bucket.put_object(Key=f"in/{name}", Body=content)
    bucket.put_object(Key="in/_SUCCESS", Body=b"")
    bucket.put_object(Key="in/.hidden.csv", Body=b"")
    (record,) = FileSource(path(by.format(name=name))).records()
    assert (record.id, record.body) == ("1", {"name": "x"})


def test_a_folder_that_a_glob_matches_is_read(bucket):
    bucket.put_object(Key="in/a.csv/part-0.csv", Body=b"id,name\n1,x\n")
    bucket.put_object(Key="in/b.csv", Body=b"id,name\n2,x\n")
    assert [record.id for record in FileSource(path("in/*.csv")).records()] == ["1", "2"]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_whole_bulk_reads_from_s3_and_writes_its_ledger_there(truto, bucket, ending):
    rows = truto.rows()
    if ending == "jsonl":
        content = json_lines(rows)
    elif ending == "parquet":
        columns = {name: [row[name] for row in rows] for name in ("id", "integrated_account_id", "body")}
        content = parquet_of(columns, row_group_size=7)
    else:
        head = "id,integrated_account_id,description\n"
        lines = [f"{row['id']},{row['integrated_account_id']},{row['body']['description']}\n" for row in rows]
        content = (head + "".join(lines)).encode()
    bucket.put_object(Key=f"in/rows.{ending}", Body=content)
    connect(truto)
    counts = run(bulk(source=f"{ROOT}/in/rows.{ending}"))
    assert counts["updated"] == len(rows)
    truto.assert_applied(rows)
    results = [key for key in names(bucket, "ledgers/") if "/results-" in key]
    written = b"".join(bucket.Object(key).get()["Body"].read() for key in results)
    assert len(written.splitlines()) == len(rows)


def test_what_failed_is_a_source_again(truto, bucket):
    rows = truto.rows()
    rows[3]["body"] = {"nmae": "x"}
    bucket.put_object(Key="in/rows.jsonl", Body=json_lines(rows))
    connect(truto)
    counts = run(bulk(source=f"{ROOT}/in/rows.jsonl", max_failures=1))
    (record,) = FileSource(*(object_storage_path(name) for name in counts["failures"])).records()
    assert (record.id, record.body, record.problems) == (rows[3]["id"], {"nmae": "x"}, ())


def test_a_file_that_is_written_again_while_it_is_read_fails_the_bulk(truto, bucket):
    rows = truto.rows()
    bucket.put_object(Key="in/rows.jsonl", Body=json_lines(rows))
    connect(truto)

    def while_it_is_read(row):
        bucket.put_object(Key="in/rows.jsonl", Body=json_lines(rows[5:]))
        return row

    with pytest.raises(AirflowFailException, match=r"rows\.jsonl was changed while this task was reading it"):
        run(bulk(source=f"{ROOT}/in/rows.jsonl", mapping=while_it_is_read))


def test_a_long_file_that_is_written_again_is_noticed_in_its_middle(bucket):
    bucket.put_object(Key="rows.jsonl", Body=ROW * 300_000)
    records = FileSource(path("rows.jsonl")).records()
    next(records)
    bucket.put_object(Key="rows.jsonl", Body=ROW * 299_999)
    with pytest.raises((SourceError, OSError)):
        for _ in records:
            pass


def test_a_long_parquet_file_is_fetched_by_ranges_a_row_group_at_a_time(bucket, monkeypatch):
    monkeypatch.setattr("s3fs.core.S3FileSystem.default_block_size", 64 * 1024)
    count = 100_000
    content = parquet_of({"id": list(map(str, range(count))), "name": ["x"] * count}, row_group_size=10_000)
    bucket.put_object(Key="rows.parquet", Body=content)
    records = FileSource(path("rows.parquet")).records()
    assert [next(records).id for _ in range(10_001)][-1] == "10000"
    bucket.put_object(Key="rows.parquet", Body=content[:-1])
    with pytest.raises((SourceError, OSError)):
        for _ in records:
            pass


def test_an_answer_is_written_whole_or_not_at_all(bucket):
    assert write_whole(object_storage_path(f"{ROOT}/out/a.json"), [b"1", b"23"]) == 3

    def breaking():
        yield b"1"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_whole(object_storage_path(f"{ROOT}/out/b.json"), breaking())
    assert names(bucket) == ["out/a.json"]


# ---------------------------------------------------------------------------------------------- several workers


def worker(code, *arguments):
    """A process of its own, which has its own view of the bucket."""
    head = "import sys; sys.path.insert(0, sys.argv[1])\n"
    folder = str(Path(__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", head + code, folder, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


BEGIN = """
from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.ledger import Ledger
folder = object_storage_path(sys.argv[2])
Ledger(folder / "0", try_number=1).open({"fingerprint": "of the other"})
"""


def test_a_worker_sees_what_another_has_written_since_it_has_looked(bucket):
    task = path("ledgers/dag/run/bulk/-1")
    bucket.put_object(Key="ledgers/dag/run/bulk/-1/7/x", Body=b"")
    assert list_generations(task) == [7]
    assert Ledger(task / "0", try_number=2).read_first_header() is None
    assert worker(BEGIN, task).wait(60) == 0
    assert list_generations(task) == [0, 7]
    assert Ledger(task / "0", try_number=2).read_first_header()["fingerprint"] == "of the other"
    bucket.Object("ledgers/dag/run/bulk/-1/7/x").delete()
    assert merge_ledgers(task.parent).unfinished == [-1]


BEGIN_WITH_ROWS = """
from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.snapshot import QueryResult, SnapshotSource
from contextlib import nullcontext
ask = lambda: nullcontext(QueryResult(columns=["id"], rows=[["other"]]))
folder = object_storage_path(sys.argv[2])
source = SnapshotSource(folder, "sql-f", ask, RecordParser())
Ledger(folder, try_number=1).open({"fingerprint": "sql-f", "snapshot": source.keep()})
print([record.id for record in source.records()])
"""


def test_of_two_workers_that_ask_the_query_the_second_reads_what_the_first_has_begun_with(bucket):
    from contextlib import nullcontext

    folder = path("ledgers/0")
    source = SnapshotSource(
        folder, "sql-f", lambda: nullcontext(QueryResult(columns=["id"], rows=[["own"]])), RecordParser()
    )
    list(folder.iterdir())  # looked, and there is no ledger
    other = worker(BEGIN_WITH_ROWS, folder)
    assert other.communicate(timeout=60)[0].splitlines()[-1] == "['other']"
    source.keep()
    assert [record.id for record in source.records()] == ["other"]


def test_two_live_tries_with_other_rows_do_not_both_begin(bucket):
    folder = path("ledgers/0")
    Ledger(folder, try_number=1).open({"fingerprint": "f", "snapshot": {"file": "snapshot-1.jsonl.gz", "rows": 1}})
    with pytest.raises(LiveTryError):
        Ledger(folder, try_number=2).open(
            {"fingerprint": "f", "snapshot": {"file": "snapshot-2.jsonl.gz", "rows": 1}}
        )


TRY = """
from bulk_operator import connect, run
from types import SimpleNamespace
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator
url, token, root, number = sys.argv[2:]
connect(SimpleNamespace(url=url, token=token))
operator = TrutoBulkUpdateAccountsOperator(
    task_id="bulk", source=f"{root}/in/rows.jsonl", output_path=f"{root}/ledgers", max_failures=0, retries=3,
    concurrency=4,
)
print(run(operator, try_number=int(number))["updated"])
"""


def test_a_worker_that_is_killed_is_resumed_by_another_and_every_record_is_written_once(make_truto, bucket):
    truto = make_truto(accounts=4, records=300)
    truto.emulator.fault(times=None, delay_before=0.05)
    rows = truto.rows()
    bucket.put_object(Key="in/rows.jsonl", Body=json_lines(rows))
    first = worker(TRY, truto.url, truto.token, ROOT, 1)
    deadline = time.monotonic() + 120
    while not any("/results-" in key for key in names(bucket, "ledgers/")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.kill()
    first.wait(30)
    done = len(truto.writes())
    assert 0 < done < len(rows)
    truto.repair()
    second = worker(TRY, truto.url, truto.token, ROOT, 2)
    assert second.communicate(timeout=300)[0].splitlines()[-1] == str(len(rows))
    assert set(truto.writes().values()) == {1}, "every key was executed once"
    assert len(truto.writes()) == len(rows)
    truto.assert_applied(rows)
    assert truto.text_of(account_number(0), rows[0]["id"]) is not None


def test_the_state_of_changed_only_lies_on_s3_as_well(truto, bucket):
    rows = truto.rows()
    connect(truto)
    first, second = bulk(source=rows, changed_only=True), bulk(source=[*rows[1:], rows[0]], changed_only=True)
    assert run(first)["updated"] == 40
    counts = run(second, generation=1)
    assert (counts["unchanged"], counts["requests"]) == (40, 0)
    rows[0]["body"] = {"description": "changed"}
    counts = run(bulk(source=rows, changed_only=True), generation=2)
    assert (counts["updated"], counts["unchanged"]) == (1, 39)
    states = names(bucket, "ledgers/dag/bulk/state/")
    assert [name.rpartition("/")[2][:16] for name in states] == ["state-0000000001", "state-0000000002"]
    assert any("/pending-" in name for name in names(bucket, "ledgers/dag/run/bulk/"))
