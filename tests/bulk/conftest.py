"""Bulks against an emulator."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_truto.emulator import Emulator

sys.path.insert(0, str(Path(__file__).parent))

from bulk_world import Truto, account_number, seed_of


@pytest.fixture
def make_truto():
    """A function that starts a Truto: ``make_truto(accounts=8, records=50)``."""
    with contextlib.ExitStack() as stack:

        def make(*, accounts: int = 4, records: int = 10, **options: Any) -> Truto:
            names = [account_number(number) for number in range(accounts)]
            ids = [f"r{number}" for number in range(records)]
            emulator = stack.enter_context(Emulator(seed_of(names, ids), **options))
            return Truto(emulator, names, ids)

        yield make


@pytest.fixture
def truto(make_truto):
    """A Truto with four customers of ten records each."""
    return make_truto()


@pytest.fixture
def output(tmp_path):
    """Where ledgers go."""
    return tmp_path / "ledgers"


@pytest.fixture
def written(tmp_path):
    """A function that writes rows as a JSON Lines file; text stands for itself."""

    def write(rows: Any, name: str = "source.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture(scope="session")
def processes():
    """Processes that start in no time: what they import is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bulk_try", "airflow_provider_truto.operators.accounts"])
    return context
