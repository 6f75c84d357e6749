"""That a try has begun, as a file in its task's folder: how a later try sees whether earlier ones wrote there, too.

    <output_path>/<dag>/<run>/<task>/<map index>/try-<try>-<uuid>.json

It is written before anything else is read, so that a try which leaves no ledger (a wrong source, a failed check)
leaves at least this. A later try that finds neither reads a different folder than the earlier ones wrote to, as where
each worker has its own disk: for it nothing is done yet, and it would write everything again. Or no earlier try ever
came to run, which cannot be seen from here.
"""

from __future__ import annotations

import json
import socket
from typing import Any
from uuid import uuid4

from airflow_provider_truto.bulk.errors import LedgerError
from airflow_provider_truto.bulk.ledger_files import write_file
from airflow_provider_truto.bulk.storage import refresh


def begin_try(folder: Any, *, try_number: int, is_resumed: bool, may_repeat: bool) -> str | None:
    """Leave the mark of a try in its task's folder; return a warning where earlier tries have left nothing there.

    ``is_resumed``: a part of this try came before, on this worker or another.

    Raises ``LedgerError`` instead where writing a record again would be a second write (``may_repeat`` is false);
    no mark is left then, so that a clear alone does not let it pass.
    """
    worker = socket.gethostname()
    warning = None
    if (try_number > 1 or is_resumed) and not _has_any(folder):
        this = f"try {try_number} after a wait" if is_resumed else f"try {try_number}"
        warning = (
            f"This is {this}, and no earlier {'part' if is_resumed else 'try'} left a ledger in {folder}: do all"
            f" workers share it? This one is {worker}"
        )
        if not may_repeat:
            raise LedgerError(
                f"{warning}. This try has sent nothing: it would create again what earlier ones may have created."
                " Give output_path a place that all workers share. If no earlier try has sent anything, as where none"
                " came to run (look into the CRM), or everything is to be written again, set on_clear='restart' and"
                " clear the task"
            )
        warning += ". It sends every record, those that earlier tries have written as well"
    mark = folder / f"try-{try_number}-{uuid4().hex}.json"
    write_file(mark, json.dumps({"try": try_number, "worker": worker}).encode())
    return warning


def _has_any(folder: Any) -> bool:
    """Whether a try has left anything here. A folder alone says nothing: some storage keeps empty ones."""
    if not refresh(folder).exists():
        return False
    return any(
        entry.name.startswith("try-") or (entry.name.isdecimal() and any(True for _ in entry.iterdir()))
        for entry in folder.iterdir()
    )
