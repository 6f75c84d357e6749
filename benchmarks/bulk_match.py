"""What ``match_on`` costs in calls: rows without an id, of a customer with many more accounts than rows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import bulk_process
from benchmarks.bulk_load import OURS, customer
from benchmarks.bulk_tiers import running_emulator
from benchmarks.comparison import Comparison, Target
from benchmarks.server import UPDATE

_ACCOUNTS = 50_000
_ROWS = 10_000
_PAGE = 100
#: Calls a second that Truto allows for one customer.
_PER_SECOND = 5
_LEAST = f"a page per {_PAGE} accounts, and the writes"
_SDK = "a loop with truto-python-sdk: a filter, then an update"


def compared() -> Comparison:
    """Write accounts that are found by their websites; every call of the bulk is counted."""
    least = _ACCOUNTS // _PAGE + _ROWS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "rows.jsonl"
        with source.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in _rows())
        with running_emulator(folder, _accounts(), has_limits=False) as url:
            options = {"match_on": "website", "requests_per_second": 0}
            run = bulk_process.measured(source, folder / "out", url=url, **options)
    if run["records"] != _ROWS:
        raise RuntimeError(f"not every row has found its account: {run}")
    minutes = {"ours": run["requests"], "the loop": 2 * _ROWS}
    told = ", ".join(f"{calls / _PER_SECOND / 60:.0f} of {name}" for name, calls in minutes.items())
    return Comparison(
        title=f"Calls for {_ROWS:,} rows without ids, of a customer with {_ACCOUNTS:,} accounts",
        unit="calls",
        samples={_LEAST: [least], _SDK: [2 * _ROWS], OURS: [run["requests"]]},
        by="ratio",
        targets={OURS: Target("at most", 1.05)},
        notes=(
            f"Minutes at Truto's {_PER_SECOND} calls per second and customer: {told}.",
            "The loop's calls are reckoned. It takes a filter's first answer unseen, even where the CRM ignores it.",
            f"Ours held {run['peak']:.0f} MiB at most.",
        ),
    )


def _accounts() -> Iterator[dict[str, Any]]:
    for number in range(_ACCOUNTS):
        website = f"https://www.company-{number}.example/"
        yield {"id": str(23_000_000 + number), "integrated_account_id": customer(0), "website": website}


def _rows() -> Iterator[dict[str, Any]]:
    every = _ACCOUNTS // _ROWS
    for number in range(_ROWS):
        body = {**UPDATE, "website": f"company-{number * every}.example"}
        yield {"integrated_account_id": customer(0), "body": body}
