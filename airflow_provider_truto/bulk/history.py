"""How many rows the earlier runs of a task had, and how many changes: small files, one per run.

<output_path>/<dag>/<task>/past/<server>/<time>-<hash of the run>.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from airflow_provider_truto.bulk.brakes import PastRun
from airflow_provider_truto.bulk.ledger_files import is_count, locate_task_folder, parse_checked
from airflow_provider_truto.bulk.storage import refresh, write_whole

#: Runs that are kept.
MOST_RUNS = 100
_WAY_OUT = "Delete it: the run that it tells of is not compared with then"


class RunHistory:
    """The earlier runs of a task, as seen by the run of this id, whose own earlier end does not count."""

    def __init__(self, folder: Any, *, run_id: str) -> None:
        self._folder = folder
        self._run_id = run_id
        self._hash = hashlib.sha256(run_id.encode(errors="surrogatepass")).hexdigest()[:16]

    def at(self, server: str) -> RunHistory:
        """Return the earlier runs at a server."""
        return RunHistory(locate_task_folder(self._folder, server), run_id=self._run_id)

    def read(self, last: int) -> Sequence[PastRun]:
        """Read the last runs that came to their end, the latest first. Raises ``LedgerError``."""
        others = [path for path in self._list() if not path.name.endswith(f"-{self._hash}.json")]
        return [_read(path) for path in others[:last]]

    def add(self, run: PastRun, *, now: datetime | None = None) -> None:
        """Note the end of this run; the oldest are removed."""
        ended = (now or datetime.now(timezone.utc)).strftime("%Y%m%dT%H%M%S%fZ")
        write_whole(self._folder / f"{ended}-{self._hash}.json", [json.dumps(run._asdict()).encode()])
        for path in self._list()[MOST_RUNS:]:
            with suppress(FileNotFoundError):  # another run removes it as well
                path.unlink()

    def _list(self) -> list[Any]:
        if not refresh(self._folder).exists():
            return []
        found = [path for path in self._folder.iterdir() if path.name.endswith(".json")]
        return sorted(found, key=lambda path: str(path.name), reverse=True)


def _read(path: Any) -> PastRun:
    shape = dict.fromkeys(PastRun._fields, (True, is_count))
    content = parse_checked(path, path.read_bytes(), shape, otherwise="does not tell of a run", way_out=_WAY_OUT)
    return PastRun(**{name: content[name] for name in PastRun._fields})
