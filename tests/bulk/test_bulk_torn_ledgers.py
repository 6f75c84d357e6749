"""Every file of a real ledger × everything that can become of a file: a named error, or a ledger that goes on.

Never a bare ``JSONDecodeError`` or ``KeyError``, and never a second write.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import sqlite3
from collections import Counter
from importlib.util import find_spec

import pytest
from bulk_operator import connect, context_of, run
from bulk_world import Truto, account_number, seed_of
from upath import UPath

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.bulk.ledger_files import LedgerError, Part, read_headers, read_summary
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.result_row import ResultRow, parse_failure_ordinal
from airflow_provider_truto.bulk.sources.snapshot import QueryResult, SnapshotSource
from airflow_provider_truto.emulator import Emulator
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator
from airflow_provider_truto.operators.bulk import TrutoBulkSummaryOperator

pytest.importorskip("airflow.providers.sqlite.hooks.sqlite", reason="the warehouse is an SQLite database")

ACCOUNT = account_number(0)
RECORDS = 12
FOREIGN = b'{"name": "a file of somebody else"}\n'


class Torn:
    """A ledger of three tries in which every kind of file stands, and the Truto that they wrote to."""

    def __init__(self, truto, output):
        self.truto, self.output = truto, output
        self.folder = output / "dag" / "run" / "bulk" / "-1" / "0"

    def task(self, **arguments):
        return TrutoBulkUpdateAccountsOperator(
            task_id="bulk",
            sql_conn_id="warehouse",
            sql="select id, customer as integrated_account_id, about as description, size as name from rows",
            output_path=f"file://{self.output}",
            max_failures=0,
            retries=5,
            **arguments,
        )

    def copy(self, output):
        shutil.copytree(self.output, output)
        return Torn(self.truto, output)

    def file(self, kind):
        """The one file of a kind; ``results.part`` is one that a killed worker has left."""
        prefix, _, ending = kind.partition(".")
        found = [
            path for path in self.folder.parent.rglob(f"{prefix}-*") if (path.suffix == ".part") == (ending == "part")
        ]
        path, *others = sorted(found)
        assert not others or kind == "header", "each try has one, and the first one's is given"
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The ledger that each test gets a copy of."""
    folder = tmp_path_factory.mktemp("world")
    with contextlib.closing(sqlite3.connect(folder / "warehouse.db")) as database:
        database.execute("create table rows (id, customer, about, size)")
        for number in range(RECORDS):
            # Row 3 is valid for no CRM: it fails for good.
            row = (f"r{number}", ACCOUNT, f"new {number}", 5 if number == 3 else None)
            database.execute("insert into rows values (?, ?, ?, ?)", row)
        database.commit()
    with (
        pytest.MonkeyPatch.context() as patch,
        Emulator(seed_of([ACCOUNT], [f"r{n}" for n in range(99)])) as emulator,
    ):
        patch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", "")
        warehouse = {"conn_type": "sqlite", "host": str(folder / "warehouse.db")}
        patch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
        truto = Truto(emulator, [ACCOUNT], [])
        connect(truto)
        torn = Torn(truto, folder / "ledgers")
        emulator.fault(status=500, times=None, path="r5")
        emulator.fault(status=500, times=None, path="r7")
        emulator.fault(status=500, times=None, path="r9")
        with pytest.raises(AirflowException, match="a retry sends just those"):
            run(torn.task(), try_number=1)
        emulator.clear_faults()
        emulator.fault(status=500, times=None, path="r9")
        with pytest.raises(AirflowException, match="a retry sends just those"):
            run(torn.task(), try_number=2)
        for path in torn.folder.glob("*-2-*.jsonl"):  # as a worker leaves them that is killed at its end
            path.rename(f"{path}.part")
        for path in torn.folder.glob("summary-2-*"):
            path.unlink()
        with pytest.raises(AirflowFailException, match="rows that are not done yet are not valid"):
            run(torn.task(validate_first=True, on_none="error", mapping=nothing), try_number=3)
        for path in torn.folder.glob("*-3-*.jsonl"):  # it has taken over what the killed one left
            path.unlink()
        emulator.clear_faults()
        yield torn


def nothing(row):
    return {"id": row["id"], "integrated_account_id": row["integrated_account_id"], "body": {"nmae": "x"}}


@pytest.fixture
def torn(world, tmp_path):
    return world.copy(tmp_path / "ledgers")


def test_what_was_not_torn_goes_on(torn):
    with pytest.raises(AirflowFailException, match=r"1 of 12 records failed \(1\)"):
        run(torn.task(), try_number=4)


def emptied(_data):
    return b""


def truncated(data):
    return data[: len(data) // 2]


def foreign(data):
    return gzip.compress(FOREIGN) if is_gzip(data) else FOREIGN


def mistyped(data):
    if is_gzip(data):
        return gzip.compress(mistyped(gzip.decompress(data)))
    if data.endswith(b"}\n") or data.startswith(b"["):
        return b"".join(json.dumps(wrong(json.loads(line))).encode() + b"\n" for line in data.splitlines())
    return json.dumps(wrong(json.loads(data))).encode()


def wrong(value):
    if isinstance(value, dict):
        return {name: [inner] for name, inner in value.items()}
    return {"cells": value}


def binary(_data):
    return bytes(range(256)) * 8


def is_gzip(data):
    return data[:2] == b"\x1f\x8b"


DAMAGES = [emptied, truncated, foreign, mistyped, binary]
#: Where a retry goes on: rows that a worker lost are done again under their keys, and what nobody reads may be
#: anything.
GOES_ON = {
    *(("results", damage) for damage in (emptied, truncated)),
    *(("results.part", damage) for damage in (emptied, truncated)),
    *(("failures", damage) for damage in (emptied, truncated)),
    *(("failures.part", damage) for damage in (emptied, truncated)),
    *(("check", damage) for damage in DAMAGES),
}
KINDS = [
    "header",
    "summary",
    "results",
    "results.part",
    "failures",
    "failures.part",
    "check",
    "snapshot",
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_names_the_file_or_goes_on_and_writes_nothing_twice(torn, kind, damage):
    path = torn.file(kind)
    path.write_bytes(damage(path.read_bytes()))
    before = len(torn.truto.emulator.executions)
    with pytest.raises(AirflowFailException) as failure:  # row 3 fails for good, whatever else there is
        run(torn.task(), try_number=4)
    told = str(failure.value)
    if (kind, damage) in GOES_ON:
        assert "1 of 12 records failed (1)" in told
        torn.truto.assert_applied(
            [
                {"id": f"r{number}", "integrated_account_id": ACCOUNT, "body": {"description": f"new {number}"}}
                for number in range(RECORDS)
                if number != 3
            ]
        )
    else:
        assert str(path) in told
        assert "Put " in told, "and says what to do"
        if kind != "snapshot":
            assert len(torn.truto.emulator.executions) == before
    assert set(torn.truto.writes().values()) == {1}
    records = Counter(
        execution["record_id"] for execution in torn.truto.emulator.executions if execution["method"] == "PATCH"
    )
    assert set(records.values()) == {1}


#: Of what no reader needs to know the type.
FREE = {"package_version", "operation", "resumed", "ledger", "body", "id", "integrated_account_id", "unwritable"}


@pytest.mark.parametrize("kind", ["header", "summary", "results", "failures"])
def test_each_single_value_of_another_type_is_named(torn, kind):
    path = torn.file(kind)
    read = {
        "header": lambda _: read_headers(torn.folder),
        "summary": lambda _: read_summary(path),
        "results": ResultRow.read,
        "failures": parse_failure_ordinal,
    }[kind]
    lines = path.read_bytes().splitlines(keepends=True) if kind in {"results", "failures"} else [path.read_bytes()]
    names = set()
    for line in lines:
        value = json.loads(line)
        for name in value.keys() - (FREE if kind != "results" else set()):
            wrongly = json.dumps({**value, name: 5 if isinstance(value[name], dict) else {"of": "another"}}).encode()
            path.write_bytes(wrongly)
            with pytest.raises((LedgerError, ValueError), match=name):
                read(wrongly)
            names.add(name)
    assert len(names) >= {"header": 4, "summary": 16, "results": 8, "failures": 2}[kind]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_report_names_the_summary_that_it_cannot_read(torn, damage):
    task = TrutoBulkSummaryOperator(
        task_id="report", bulk_task_id="bulk", output_path=f"file://{torn.output}", max_failures=None
    )
    for path in [*torn.folder.glob("*-2-*"), *torn.folder.glob("*-3-*")]:
        path.unlink()
    context = context_of(task)
    context["ti"].xcom_push = lambda **_: None
    assert task.execute(context)["records"] == RECORDS
    path = torn.file("summary")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(AirflowFailException, match="Put the file back as it was, or delete it") as failure:
        task.execute(context)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize(
    "name",
    [
        "results-1-ab-0.jsonl~",
        "results-copy.jsonl",
        "failures-1-ab-0 (1).jsonl",
        "summary-1.json",
        "header-x-ab.json",
    ],
)
def test_a_file_that_is_only_called_like_one_of_a_ledger_is_named(torn, name):
    (torn.folder / name).write_bytes(b"{}")
    with pytest.raises(AirflowFailException, match="no ledger has one of that name") as failure:
        run(torn.task(), try_number=4)
    assert str(torn.folder / name) in str(failure.value)


def test_a_file_where_a_ledger_has_its_folder_is_named(torn, tmp_path):
    before = len(torn.truto.emulator.executions)
    stray = torn.folder.parent / "7"
    stray.write_bytes(b"{}")
    output = tmp_path / "a file"
    output.write_bytes(b"")
    report = TrutoBulkSummaryOperator(
        task_id="report", bulk_task_id="bulk", output_path=f"file://{torn.output}", max_failures=None
    )
    for told, task in [(stray, torn.task()), (stray, report), (output, Torn(torn.truto, output).task())]:
        with pytest.raises(AirflowFailException, match="lies at or below a file where a folder is needed") as failure:
            run(task, try_number=4)
        assert str(told) in str(failure.value)
    assert len(torn.truto.emulator.executions) == before


def test_other_files_in_a_ledger_s_folder_are_nobody_s_business(torn, logged):
    for name in (".DS_Store", "_SUCCESS", "notes.txt"):
        (torn.folder / name).write_bytes(b"{}")
    test_what_was_not_torn_goes_on(torn)
    assert "stand in no failures file" not in logged()


def test_failures_that_are_gone_are_warned_of(torn, logged):
    for kind in ("failures", "failures.part"):
        torn.file(kind).write_bytes(b"")
    test_what_was_not_torn_goes_on(torn)
    assert "1 record failed in earlier tries, and no failures file has them any more" in logged()


def test_every_way_out_leads_out(torn):
    """Deleting what is torn, as the messages say, lets the bulk go on; nothing is written twice."""
    for path in [*torn.folder.glob("header-*"), torn.file("summary")]:
        path.unlink()
    for kind in ("results", "results.part", "failures", "failures.part"):
        path = torn.file(kind)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(AirflowFailException, match=r"1 of 12 records failed \(1\)"):
        run(torn.task(), try_number=4)
    assert set(torn.truto.writes().values()) == {1}


def test_a_file_has_its_name_after_it_is_on_the_disk(tmp_path, monkeypatch):
    """Else a machine that loses power leaves an empty header under its name."""
    calls = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def noted(*arguments, name=name, real=real):
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, noted)
    part = Part(UPath(tmp_path / "header-1-a.json"))
    part.write(b"{}")
    part.close()
    assert calls == ["fsync", "rename", "fsync"]
    calls.clear()
    SnapshotSource(
        UPath(tmp_path / "0"),
        "q",
        lambda: contextlib.nullcontext(QueryResult(columns=["id"], rows=[["1"]])),
        RecordParser(),
    )
    assert calls == ["fsync"]


@pytest.mark.skipif(find_spec("adlfs") is not None, reason="the package is there")
def test_a_storage_without_its_package_is_named_with_what_to_install(one, task):
    with pytest.raises(AirflowFailException, match=r"the storage cannot be opened: .*a(dl|b)fs") as failure:
        run(task(one.rows(), output_path="abfs://container/ledgers"))
    assert "install" in str(failure.value)
    assert one.emulator.requests == []
