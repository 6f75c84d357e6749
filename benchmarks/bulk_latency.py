"""How fast a bulk is where Truto takes its time: what counts is that as many calls are in flight as may be."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.bulk_load import BARE, OURS, bare, ours
from benchmarks.comparison import Comparison, Target, in_turn
from benchmarks.quiet import silenced
from benchmarks.server import serving

_ROUNDS = 2
_RECORDS = 3_200
_DELAY = 0.05


def compared() -> Comparison:
    """Send the same updates to a server that answers after 50 ms."""
    with tempfile.TemporaryDirectory() as folder, serving(delay=_DELAY) as url, silenced():
        contenders = {BARE: bare(url, _RECORDS), OURS: ours(url, _RECORDS, Path(folder))}
        samples = in_turn(contenders, rounds=_ROUNDS)
    return Comparison(
        title=f"Updates of a bulk, each answered after {_DELAY * 1000:.0f} ms, 32 in flight",
        unit="a second",
        samples=samples,
        by="ratio",
        targets={OURS: Target("at least", 0.95)},
        notes=(
            f"{_RECORDS:,} records of 40 customers; ours are read from a JSON Lines file, the others' from memory.",
        ),
    )
