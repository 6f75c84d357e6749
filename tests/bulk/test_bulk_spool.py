"""Records that were read ahead wait in memory and on the worker's disk, a queue per account."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from airflow_provider_truto.bulk import spool as spool_module
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.spool import Spool


@pytest.fixture
def spool(monkeypatch):
    monkeypatch.setattr(spool_module, "_IN_MEMORY", 10)
    made = Spool()
    yield made
    made.close()


def record(ordinal, text="x"):
    return Record(ordinal=ordinal, id=f"r{ordinal}", body={"name": text, "nested": [None, 1.5]}, nulls_are_meant=True)


def test_each_account_gives_its_records_in_their_order(spool):
    chance, expected = random.Random(1), {name: deque() for name in "abc"}
    for ordinal in range(2_000):
        if chance.random() < 0.6:
            account = chance.choice("abc")
            expected[account].append(record(ordinal, "é" * chance.randrange(50)))
            spool.put(account, expected[account][-1])
        elif (account := next(iter(spool), None)) is not None:
            assert spool.take(account) == expected[account].popleft()
        assert len(spool) == sum(map(len, expected.values()))
        assert spool.account_count == sum(map(bool, expected.values()))
    for account, queue in expected.items():
        assert [spool.take(account) for _ in range(len(queue))] == list(queue)
        assert spool.take(account) is None
    assert (len(spool), spool.account_count) == (0, 0)


def test_the_account_that_was_served_longest_ago_comes_first(spool):
    for ordinal, account in enumerate("aaabbbcc"):
        spool.put(account, record(ordinal))
    assert list(spool) == ["a", "b", "c"]
    spool.take("a")
    assert list(spool) == ["b", "c", "a"]
    spool.take("c")
    spool.take("c")
    assert list(spool) == ["b", "a"]


def files(spool):
    return [file._file for file in spool._files.values()]


def test_few_records_need_no_file_and_many_one_without_a_name(spool, tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module.tempfile, "tempdir", str(tmp_path))
    for ordinal in range(10):
        spool.put("a", record(ordinal))
    assert files(spool) == []
    spool.put("a", record(10))
    [file] = files(spool)
    assert list(tmp_path.iterdir()) == []
    spool.close()
    assert file.closed


def test_the_disk_is_given_back_as_records_are_taken(spool, monkeypatch):
    monkeypatch.setattr(spool_module, "_FILE_BYTES", 10_000)
    for ordinal in range(100):
        spool.put("a", record(ordinal, "x" * 1_000))
    most = len(files(spool))
    for ordinal in range(100, 2_000):  # there are always a hundred that wait
        spool.put("a", record(ordinal, "x" * 1_000))
        assert spool.take("a").ordinal == ordinal - 100
    assert len(files(spool)) <= most + 1 < 15
    while spool.take("a") is not None:
        pass
    assert files(spool) == []


def test_a_record_that_is_larger_than_a_file_is_to_be_comes_back_whole(spool, monkeypatch):
    monkeypatch.setattr(spool_module, "_FILE_BYTES", 100)
    records = [record(ordinal, "x" * (ordinal * 37 % 500)) for ordinal in range(60)]
    for one in records:
        spool.put("a", one)
    assert [spool.take("a") for _ in records] == records


def test_a_disk_that_is_full_is_told(spool, monkeypatch):
    for ordinal in range(10):
        spool.put("a", record(ordinal))
    monkeypatch.setattr(spool_module.os, "pwrite", lambda _file, data, _offset: len(data) - 1)
    with pytest.raises(OSError, match="temporary files is full"):
        spool.put("a", record(10))


#: A million takes minutes: TRUTO_MILLION=1 asks for it.
MANY = 1_000_000 if os.environ.get("TRUTO_MILLION") else 30_000


@pytest.mark.slow
def test_a_bulk_of_many_records_needs_hardly_more_memory_than_one_of_few():
    def peak(records):
        script = Path(__file__).with_name("bulk_memory.py")
        ended = subprocess.run([sys.executable, script, str(records), "100"], capture_output=True, check=True)
        figures = json.loads(ended.stdout)
        assert figures["updated"] == records
        return figures["peak_mib"]

    assert peak(MANY) - peak(1_000) < (64 if MANY == 1_000_000 else 16)
