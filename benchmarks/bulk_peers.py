"""How fast a bulk is where Truto costs no time: what counts is the CPU that a record costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.bulk_load import BARE, OURS, SDK, bare, ours, sdk
from benchmarks.comparison import Comparison, Target, in_turn
from benchmarks.quiet import silenced
from benchmarks.server import serving

_ROUNDS = 5
_RECORDS = 10_000


def compared() -> Sequence[Comparison]:
    """Send the same updates to a server that answers at once."""
    notes = (
        f"{_RECORDS:,} records of 40 customers; ours are read from a JSON Lines file, the others' from memory.",
        "Neither aiohttp nor the SDK checks anything or accounts for it.",
    )
    with tempfile.TemporaryDirectory() as folder, serving() as url, silenced():
        contenders = {BARE: bare(url, _RECORDS), OURS: ours(url, _RECORDS, Path(folder))}
        if of_sdk := sdk(url, _RECORDS):
            contenders[SDK] = of_sdk
        cpu: dict[str, list[float]] = {name: [] for name in contenders}
        measures = {name: partial(_measure, run, cpu[name]) for name, run in contenders.items()}
        rates = in_turn(measures, rounds=_ROUNDS)
    cpu = {name: figures[-_ROUNDS:] for name, figures in cpu.items()}  # without the round that does not count

    def compare(title: str, unit: str, samples: dict[str, list[float]], first: str, target: Target) -> Comparison:
        return Comparison(
            title=title,
            unit=unit,
            samples={name: samples[name] for name in (first, OURS)},
            by="ratio",
            targets={OURS: target},
            notes=notes,
        )

    fast, thrifty = "Updates of a bulk, each answered at once, 32 in flight", "CPU of a record of such a bulk"
    comparisons = [compare(f"{fast}: against aiohttp", "a second", rates, BARE, Target("at least", 0.5))]
    if SDK in rates:
        comparisons.append(compare(f"{fast}: against the SDK", "a second", rates, SDK, Target("at least", 1.2)))
        comparisons.append(compare(f"{thrifty}: against the SDK", "ms", cpu, SDK, Target("at most", 0.75)))
    return comparisons


def _measure(run: Callable[[], float], cpu: list[float]) -> float:
    """Return the records a second of a run, and add the milliseconds of this process's CPU that a record took."""
    began = time.process_time()
    rate = run()
    cpu.append((time.process_time() - began) / _RECORDS * 1000)
    return rate
