"""How much of what Truto allows a bulk uses: 50 calls per second of a token, 5 of an account, counted over 10 s."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bulk_process
from benchmarks.bulk_load import CUSTOMERS, OURS, TOKEN, records, written
from benchmarks.comparison import Comparison, Panel, Plot, Target

_WINDOW = 10.0
_OF_TOKEN, _OF_ACCOUNT = 500, 50
#: Windows that are full after the first, in which the whole of it may go out at once.
_WINDOWS = 4
#: For the plot: these run at the same time, after the row's own, and shorter.
_OTHERS = (1, 2, 5, 10)
_WINDOWS_OF_OTHERS = 2
#: Seconds between their starts: they would all send their first windows at the same moment.
_APART = 2.5
_ALLOWED = "what Truto allows"


@dataclass(frozen=True, kw_only=True)
class _Run:
    """``rate`` is in records a second after the first window, ``allowed`` likewise; ``seconds`` are the task's."""

    rate: float
    allowed: float
    refused: int
    seconds: float

    @property
    def share(self) -> float:
        return self.rate / self.allowed


def compared() -> Comparison:
    """Make the emulator enforce Truto's limits, and read in its log when the updates came."""
    main = _run(CUSTOMERS, windows=_WINDOWS)
    with ThreadPoolExecutor() as pool:
        others = pool.map(_later, _OTHERS, (place * _APART for place in range(len(_OTHERS))))
        runs = {**dict(zip(_OTHERS, others, strict=True)), CUSTOMERS: main}
    refused = ", ".join(f"{run.refused} of {number}" for number, run in runs.items())
    verdict = "MISSED" if any(run.refused for run in runs.values()) else "met"
    shares = ", ".join(f"{run.share:.3f} of {number}" for number, run in runs.items())
    return Comparison(
        title=f"Updates of a bulk under Truto's limits, {CUSTOMERS} customers",
        unit="a second",
        samples={_ALLOWED: [main.allowed], OURS: [main.rate]},
        by="ratio",
        targets={OURS: Target("at least", 0.97)},
        notes=(
            "By the emulator's log, from the end of the first 500, which may go out at once, to the last.",
            f"429s caused by customers, target none: {refused}: {verdict}.",
            f"Share by customers: {shares}.",
            f"The whole task took {main.seconds:.1f} s; the limits alone take {_WINDOW * _WINDOWS:.0f}.",
        ),
        plots=(
            Plot(
                name="bulk-tiers",
                caption="Share of the allowed rate that a bulk uses, by its number of customers",
                x_label="customers",
                panels=(
                    Panel("share of the allowed rate", {n: run.share for n, run in runs.items()}, top=1.05),
                    Panel("records a second", {n: run.rate for n, run in runs.items()}),
                ),
            ),
        ),
    )


def _later(customers: int, delay: float) -> _Run:
    time.sleep(delay)
    return _run(customers, windows=_WINDOWS_OF_OTHERS)


def _run(customers: int, *, windows: int) -> _Run:
    """Do as many records of so many customers as fill the first window and these exactly."""
    first = min(_OF_TOKEN, _OF_ACCOUNT * customers)
    count = first * (1 + windows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = written(folder / "records.jsonl", count, customers=customers)
        with running_emulator(folder, records(count, customers=customers)) as url:
            run = bulk_process.measured(source, folder / "out", url=url)
            times = sorted(entry["time"] for entry in _executions(url))
        refused = sum(line.endswith(" 429") for line in (folder / "calls.log").read_text().splitlines())
    if len(times) != count:
        raise RuntimeError(f"{len(times)} updates arrived, not {count}")
    rate = (count - first) / (times[-1] - times[first - 1])
    return _Run(rate=rate, allowed=first / _WINDOW, refused=refused, seconds=run["seconds"])


@contextmanager
def running_emulator(
    folder: Path, of_records: Iterable[Mapping[str, str]], *, has_limits: bool = True
) -> Iterator[str]:
    """Run an emulator that has these records; give its URL. It reports calls in ``calls.log``.

    A record's ``website`` is that of the account, if it has one.
    """
    of_account: dict[str, list[dict[str, str]]] = {}
    for record in of_records:
        known = {name: record[name] for name in ("id", "website") if name in record}
        of_account.setdefault(record["integrated_account_id"], []).append({**known, "name": "Initech"})
    seed = {
        "tokens": [{"token": TOKEN, "expires_at": None}],
        "integrated_accounts": [
            {"id": account, "tenant_id": f"tenant-{number}", "integration": "hubspot", "status": "active"}
            for number, account in enumerate(of_account)
        ],
        "records": {account: {"crm/accounts": rows} for account, rows in of_account.items()},
    }
    (folder / "seed.json").write_text(json.dumps(seed))
    command = [sys.executable, "-m", "airflow_provider_truto.emulator", "--port", "0"]
    command += ["--seed", str(folder / "seed.json"), *(["--rate-limits"] if has_limits else [])]
    with (
        (folder / "calls.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.terminate()


def _executions(url: str) -> list[dict[str, float]]:
    with urllib.request.urlopen(f"{url}/_emulator/log", timeout=60) as response:
        return [entry for entry in json.load(response)["executions"] if entry["method"] == "PATCH"]
