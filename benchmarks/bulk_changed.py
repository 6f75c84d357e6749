"""What ``changed_only`` saves: a nightly bulk of which two records of a hundred have changed, and one without any."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from benchmarks import bulk_process
from benchmarks.bulk_load import OURS, records
from benchmarks.bulk_tiers import running_emulator
from benchmarks.comparison import Comparison, Target
from benchmarks.server import serving

_CUSTOMERS = 10
_SHARE = 0.02
#: Calls a second that Truto allows a token, which ten customers reach.
_PER_SECOND = 50
#: `make bench MILLION=1` takes a million, most of an hour: the first run writes them all.
_ROWS = 1_000_000 if os.environ.get("MILLION") else 100_000
_SDK = "a loop with truto-python-sdk, which knows no state"
_BARE = "json.loads of each line"


def compared() -> Sequence[Comparison]:
    """Write all records, then those that have changed under Truto's limits, then run once more."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {"changed_only": True, "state_path": str(folder / "state")}
        first, second = folder / "first.jsonl", folder / "second.jsonl"
        changed = _write(first, second)
        with serving() as url:
            bulk_process.measured(first, folder / "out", url=url, requests_per_second=0, **options)
        with running_emulator(folder, changed) as url:
            _take_state_along(folder / "state", url)
            run = bulk_process.measured(second, folder / "out", url=url, **options)
            again = bulk_process.measured(second, folder / "out", url=url, **options)
        bare = _read(second)
    if run["unchanged"] != _ROWS - len(changed) or again["requests"]:
        raise RuntimeError(f"other records were sent than those that have changed: {run}, {again}")
    rows = f"{_ROWS:,} records of {_CUSTOMERS} customers"
    least = len(changed) / _PER_SECOND / 60
    return (
        Comparison(
            title=f"Calls of a nightly bulk, {rows}, {_SHARE:.0%} of them changed",
            unit="calls",
            samples={"records that have changed": [len(changed)], _SDK: [_ROWS], OURS: [run["requests"]]},
            by="ratio",
            targets={OURS: Target("at most", 1.05)},
        ),
        Comparison(
            title="Its time under Truto's limits",
            unit="minutes",
            samples={
                f"{_PER_SECOND} calls per second": [least],
                _SDK: [_ROWS / _PER_SECOND / 60],
                OURS: [run["seconds"] / 60],
            },
            by="ratio",
            targets={OURS: Target("at most", 1.1)},
            notes=("The loop's time is reckoned from its calls. Reading the source and the next state are in ours.",),
        ),
        Comparison(
            title=f"CPU of a run without any change, {rows}",
            unit="us a row",
            samples={_BARE: [bare / _ROWS * 1e6], OURS: [again["cpu"] / _ROWS * 1e6]},
            by="ratio",
            targets={OURS: Target("at most", 8.0)},
            notes=(f"It sent nothing, took {again['seconds']:.1f} s and held {again['peak']:.0f} MiB at most.",),
        ),
    )


def _take_state_along(state: Path, url: str) -> None:
    """Have the next server's state be what the first server has confirmed: each server has its own."""
    (of_first,) = state.iterdir()
    of_first.rename(locate_task_folder(state, url))


def _write(first: Path, second: Path) -> list[dict[str, str]]:
    """Write both sources; give the records that differ."""
    every, changed = round(1 / _SHARE), []
    with first.open("w") as before, second.open("w") as after:
        for number, record in enumerate(records(_ROWS, customers=_CUSTOMERS)):
            line = json.dumps(record) + "\n"
            before.write(line)
            if number % every == number // every % every:  # of all customers alike
                changed.append(record)
                line = json.dumps({**record, "body": {**record["body"], "industry": "Banking"}}) + "\n"
            after.write(line)
    return changed


def _read(source: Path) -> float:
    """CPU of a loop that reads and parses each line, the least of three."""
    figures = []
    for _ in range(3):
        began = time.process_time()
        with source.open("rb") as file:
            for line in file:
                json.loads(line)
        figures.append(time.process_time() - began)
    return min(figures)
