"""Something that is done at the emulator while a task waits for it."""

from __future__ import annotations

import threading
from contextlib import contextmanager


@contextmanager
def meanwhile(emulator, do, *, after):
    """Call ``do`` once so many calls have arrived, which must happen within the block."""
    is_over, is_done = threading.Event(), threading.Event()

    def watch():
        while not is_over.wait(0.01):
            if len(emulator.requests) >= after:
                do()
                is_done.set()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert is_done.is_set(), "nothing has waited for it"
