"""Measures how long the steps of an event loop hold it up."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import contextmanager


@contextmanager
def measured_steps(monkeypatch):
    """Yield a list that gets the CPU seconds of each step that an event loop of this thread takes meanwhile.

    The machine may be busy, and the emulator has threads of its own. Garbage is not collected: a full collection
    stops the loop of any triggerer, by all that Airflow and pytest have imported.
    """
    taken = []

    def run(handle, *, run=asyncio.events.Handle._run):
        before = time.thread_time()
        run(handle)
        taken.append(time.thread_time() - before)

    monkeypatch.setattr(asyncio.events.Handle, "_run", run)
    gc.disable()
    try:
        yield taken
    finally:
        gc.enable()
