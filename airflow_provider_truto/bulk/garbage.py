"""Python's garbage collector while a bulk runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Objects that are made before the collector looks for cycles among them. Python's own 700 are less than what the
#: records in flight hold at any time: it would look at the same ones again and again, for a sixth of a record's CPU.
_MADE = 50_000


@contextmanager
def collect_garbage_rarely() -> Iterator[None]:
    """Run the collector rarely, and exclude the objects that exist already, such as all of Airflow."""
    youngest, *older = gc.get_threshold()
    if youngest == 0:  # somebody has switched it off
        yield
        return
    gc.freeze()
    gc.set_threshold(max(youngest, _MADE), *older)
    try:
        yield
    finally:
        gc.set_threshold(youngest, *older)
        gc.unfreeze()
