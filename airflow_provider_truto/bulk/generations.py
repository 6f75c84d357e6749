"""Chooses the ledger of a try. A task has one ledger per generation, numbered from 0; see docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from logging import Logger
from typing import Any, NamedTuple

from airflow_provider_truto import __version__
from airflow_provider_truto.bulk.errors import LedgerError
from airflow_provider_truto.bulk.ledger import Ledger
from airflow_provider_truto.bulk.ledger_files import (
    is_whole,
    list_ledger_files,
    parse_try_number,
    read_headers,
    read_summaries,
)
from airflow_provider_truto.bulk.shards import Shard
from airflow_provider_truto.bulk.storage import is_local, refresh
from airflow_provider_truto.records.keys import RunSeen


class ChosenLedger(NamedTuple):
    """The ledger of a try, the header that it was begun with (``None``: not yet), and the header of this try."""

    ledger: Ledger
    begun_with: Mapping[str, Any] | None
    header: dict[str, Any]


def choose_ledger(
    folder: Any,
    *,
    task_generation: str,
    run: RunSeen,
    try_number: int,
    server: str,
    operation: str,
    fingerprint: str,
    shard: Shard | None,
    restarts_on_source_change: bool,
    restarts_on_clear: bool,
    log: Logger,
) -> ChosenLedger:
    """Choose the ledger of a try in its task's ``folder``; writes nothing.

    ``fingerprint`` names the source, ``server`` the Truto whose records are written. Raises ``LedgerError`` where the
    ledger was begun with another one.
    """
    latest = find_latest_begun(folder)
    if latest is not None and is_of_another_run(folder / str(latest), run, task_generation, try_number=try_number):
        log.warning(
            "The ledger in %s is of a DAG run of this id that was deleted: nothing of it counts here",
            folder / str(latest),
        )
        generation = latest + 1
    else:
        generation = choose_generation(folder, task_generation, restarts=restarts_on_clear)
    ledger = Ledger(folder / str(generation), try_number=try_number)
    begun_with = ledger.read_first_header()
    if begun_with is None and generation > min(list_generations(folder), default=generation):
        log.info("Starting over, in generation %d", generation)
    if begun_with is not None and begun_with.get("server", server) != server:
        raise LedgerError(
            f"the ledger in {ledger.folder} was begun at {begun_with['server']}, and the connection leads to {server}"
            " now: what is done there is not done here. This try has sent nothing. Fix the connection's Base URL, or"
            " clear the task with on_clear='restart' to send every record to the other server"
        )
    if begun_with is not None and begun_with.get("fingerprint") != fingerprint:
        if not restarts_on_source_change:
            ledger.open({"fingerprint": fingerprint})  # raises before a query is asked for nothing
        generation += 1
        log.warning("The source has changed: starting over, in generation %d", generation)
        ledger, begun_with = Ledger(folder / str(generation), try_number=try_number), None
    header = {
        "package_version": __version__,
        "server": server,
        "operation": operation,
        "fingerprint": fingerprint,
        "shard": None if shard is None else vars(shard),
        "generation": generation,
        "task_generation": task_generation,
        "run": run.as_dict(),
        # What the keys are made of stays what it was when the ledger was begun, also after a clear.
        "keys": (begun_with or {}).get("keys", f"{task_generation}/{generation}"),
    }
    return ChosenLedger(ledger, begun_with, header)


def list_generations(folder: Any) -> list[int]:
    """List the generations that a task has folders of, the latest last."""
    if not refresh(folder).exists():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def choose_generation(folder: Any, task_generation: str, *, restarts: bool = False) -> int:
    """Choose the ledger that a try belongs to, of those that its DAG run has begun.

    A retry goes on in the ledger of its task. A cleared task goes on in the latest one that is not finished, with its
    keys, and starts over where that one is finished, or ``restarts`` says so. ``task_generation`` tells the two
    apart: before a try sends anything, a header has it.
    """
    latest = find_latest_begun(folder)
    if latest is None:
        return 0
    ledger = folder / str(latest)
    is_retry = any(header.get("task_generation") == task_generation for header in read_headers(ledger))
    is_finished = any(summary["finished"] for summary in read_summaries(ledger))
    return latest if is_retry or not (is_finished or restarts) else latest + 1


def find_latest_begun(folder: Any) -> int | None:
    """Find the latest ledger of a task.

    A folder without a header is not a ledger: the try that made it was killed, or failed its check, before it sent
    anything.
    """
    begun = (number for number in reversed(list_generations(folder)) if _list_names(folder / str(number), "header"))
    return next(begun, None)


def is_of_another_run(ledger: Any, run: RunSeen, task_generation: str | None, *, try_number: int | None) -> bool:
    """Whether a ledger was begun in a DAG run of the same id that has been deleted since.

    ``None`` for the last two where another task than the ledger's asks.
    """
    headers = read_headers(ledger)
    if not headers or any(header.get("task_generation") == task_generation for header in headers):
        return False
    tries = map(parse_try_number, _list_names(ledger, "header", "results", "summary"))
    is_later_try = try_number is None or try_number > max(tries)
    return run.is_other_than(RunSeen.read(headers[-1].get("run")), is_later_try=is_later_try)


def forget_failed_checks(folder: Any, *, after: int) -> None:
    """Remove what checks left that failed before a ledger was begun, in the generations after this one.

    A report takes the latest folder of a task for what became of it; where an earlier one is gone on with, as where
    the first source is put back, that would be a check that does not matter any more.
    """
    for number in list_generations(folder):
        if number <= after:
            continue
        with suppress(FileNotFoundError):  # another live try forgets them as well
            for path in list_ledger_files(folder / str(number), "check"):
                path.unlink()
        if is_local(folder):  # elsewhere folders are not, but for what is in them
            with suppress(OSError):  # there is more in it
                os.rmdir((folder / str(number)).path)  # noqa: PTH106  (a path of any pathlib-like class)


def _list_names(folder: Any, *kinds: str) -> list[str]:
    """List files whose lines count, and complete ones of those that are written at once."""
    return [path.name for path in list_ledger_files(folder, *kinds) if is_whole(path)]
