"""How fast a bulk is where Truto costs no time: what counts is the CPU that a record costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.bulk_load import BARE, OURS, SDK, bare, ours, sdk
from benchmarks.comparison import Comparison, Target, in_turn
from benchmarks.quiet import silenced
from benchmarks.server import serving

_ROUNDS = 5
_RECORDS = 2_000


def compared() -> Comparison:
    """Send the same updates to a server that answers at once."""
    notes = [f"{_RECORDS:,} records of 40 customers; ours are read from a JSON Lines file, the others' from memory."]
    with tempfile.TemporaryDirectory() as folder, serving() as url, silenced():
        contenders = {BARE: bare(url, _RECORDS), OURS: ours(url, _RECORDS, Path(folder))}
        targets = {}
        if of_sdk := sdk(url, _RECORDS):
            contenders = {SDK: of_sdk, **contenders}
            targets = {OURS: Target("at least", 1.0)}
            notes.append("aiohttp is for orientation: neither it nor the SDK checks anything or accounts for it.")
        else:
            notes.append("truto-python-sdk is left out: it needs Python 3.12.")
        samples = in_turn(contenders, rounds=_ROUNDS)
    return Comparison(
        title="Updates of a bulk, each answered at once, 32 in flight",
        unit="a second",
        samples=samples,
        by="ratio",
        targets=targets,
        notes=tuple(notes),
    )
