"""Files that operators write: whole or not at all, whatever they are called."""

from __future__ import annotations

import os

import pytest

from airflow_provider_truto._compat import object_storage_path
from airflow_provider_truto.bulk.storage import write_whole


def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path):
    path = tmp_path / ("n" * 250 + ".json")
    assert write_whole(object_storage_path(str(path)), [b"{", b"}"]) == 2
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [(path.name, b"{}")]


def test_what_has_its_name_outlives_a_loss_of_power(tmp_path, monkeypatch):
    path, real, had_its_name = tmp_path / "x.json", os.fsync, []

    def noted(descriptor):
        had_its_name.append(path.exists())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(object_storage_path(str(path)), [b"{}"])
    assert had_its_name == [False, True], "the file before, its folder after"


def test_what_breaks_off_leaves_nothing(tmp_path):
    def chunks():
        yield b"{"
        raise RuntimeError("the answer broke off")

    with pytest.raises(RuntimeError):
        write_whole(object_storage_path(str(tmp_path / "x.json")), chunks())
    assert list(tmp_path.iterdir()) == []
