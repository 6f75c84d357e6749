"""What a bulk holds in memory: as much for a million records as for ten thousand, or nearly so."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks import bulk_process
from benchmarks.bulk_load import written
from benchmarks.comparison import Comparison, Panel, Plot, Target
from benchmarks.server import serving

_COMPARED_WITH = 10_000
_OTHERS = (100, 1_000, 50_000)
#: Takes five minutes or more, so that it must be asked for: `make bench MILLION=1`.
_MILLION = 1_000_000


def compared() -> Comparison:
    """Do files of more and more records, each in a fresh process."""
    counts = [_COMPARED_WITH, *_OTHERS]
    notes = ["Each in a fresh process; Airflow itself is in the figures. Without pacing, answers at once."]
    if os.environ.get("MILLION"):
        counts.append(_MILLION)
    else:
        notes.append("A million is measured by `make bench MILLION=1`.")
    with serving() as url:
        runs = {count: _run(url, count) for count in counts}
    largest = runs[max(runs)]
    cpu = largest["cpu"] / largest["records"] * 1e3
    notes.append(f"The largest took {largest['seconds']:.0f} s, {cpu:.2f} ms of CPU a record.")
    ordered = sorted(runs.items())
    return Comparison(
        title="Peak memory of a bulk",
        unit="MiB",
        samples={f"{count:,} records": [run["peak"]] for count, run in runs.items()},
        by="difference",
        targets={f"{max(runs):,} records": Target("at most", 64)},
        notes=tuple(notes),
        plots=(
            Plot(
                name="bulk-scale",
                caption="A bulk by its number of records: records a second, peak memory and CPU",
                x_label="records",
                panels=(
                    Panel("records a second", {count: run["records"] / run["seconds"] for count, run in ordered}),
                    Panel("peak memory, MiB", {count: run["peak"] for count, run in ordered}),
                    Panel(
                        "CPU of a record, ms", {count: run["cpu"] / run["records"] * 1e3 for count, run in ordered}
                    ),
                ),
            ),
        ),
    )


def _run(url: str, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        source = written(Path(folder) / "records.jsonl", count)
        return bulk_process.measured(source, Path(folder) / "out", url=url, requests_per_second=0)
