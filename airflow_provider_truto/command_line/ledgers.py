"""The command about ledgers: what became of the records of a bulk."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.errors import LedgerError
from airflow_provider_truto.bulk.ledger_files import (
    list_ledger_files,
    parse_try_number,
    read_headers,
    read_lines,
)
from airflow_provider_truto.bulk.record import describe_row
from airflow_provider_truto.bulk.report import find_last_summary
from airflow_provider_truto.bulk.result_row import OUTCOMES, ResultRow, show_counts
from airflow_provider_truto.bulk.storage import refresh
from airflow_provider_truto.client.plurals import count
from airflow_provider_truto.command_line.files import open_path
from airflow_provider_truto.command_line.output import Output

#: What the folders of a ledger are called for, from the inside.
_LEVELS = ("generation", "map_index", "task_id", "run_id", "dag_id")


def show_ledger(given: Namespace) -> Output:
    """Count, list failures, or follow one record."""
    root = open_path(given.path)
    if not refresh(root).is_dir():
        what = f"{given.path} is a file" if root.exists() else f"there is no folder {given.path}"
        raise LedgerError(f"{what}. Name the output_path of the bulk, or a folder in it")
    ledgers = list(_find_ledgers(root))
    if not ledgers:
        raise LedgerError(f"there is no ledger at or below {given.path}")
    if given.record is not None:
        return _follow_record(ledgers, given.record)
    found = [_read_ledger(ledger, most_failures=given.failures) for ledger in ledgers]
    lines = [line for one in found for line in _describe_ledger(one)]
    return Output(value=found, lines=lines, is_good=not any(one["failing"] for one in found))


def _find_ledgers(folder: Any) -> Iterator[Any]:
    """Find the folders that are ledgers: they have headers."""
    entries = sorted(folder.iterdir(), key=lambda entry: str(entry.name))
    if any(entry.name.startswith("header-") for entry in entries):
        yield folder
        return
    for entry in entries:
        if entry.is_dir():
            yield from _find_ledgers(entry)


def _name_ledger(ledger: Any) -> dict[str, str]:
    """Read what the folders above say; see `ledger_files.locate_task_folder`."""
    parts = str(ledger).rstrip("/").split("/")
    return {level: unquote(part) for level, part in zip(_LEVELS, reversed(parts), strict=False)}


def _read_rows(ledger: Any) -> Iterator[tuple[int, ResultRow]]:
    for path in list_ledger_files(ledger, "results"):
        for file, number, line in read_lines(path):
            yield parse_try_number(path.name), _read_row(line, place=f"line {number} of {file}")


def _read_row(line: bytes, *, place: str) -> ResultRow:
    try:
        return ResultRow.read(line)
    except ValueError as error:
        raise LedgerError(f"{place} is not a result: {error}") from None


def _read_ledger(ledger: Any, *, most_failures: int) -> dict[str, Any]:
    header = read_headers(ledger)[-1]
    summary = find_last_summary(ledger)
    counts = _count_rows(ledger) if summary is None else {name: summary.get(name, 0) for name in OUTCOMES}
    failures = list(_read_failures(ledger))
    return {
        "ledger": str(ledger),
        **_name_ledger(ledger),
        "operation": header.get("operation"),
        "source": header["fingerprint"],
        "last_try": max(parse_try_number(path.name) for path in list_ledger_files(ledger, "header")),
        "is_complete": bool(summary and summary["complete"]),
        "counts": counts,
        "counts_unchanged": summary is not None or not header.get("state"),
        "failing": len(failures),
        "failures": failures[:most_failures],
    }


def _count_rows(ledger: Any) -> dict[str, int]:
    """Count by the lines of a ledger whose last try has left no summary."""
    completed = CompletedRecords()
    for _, row in _read_rows(ledger):
        completed.add(row)
    return show_counts(completed.counts)


def _read_failures(ledger: Any) -> Iterator[dict[str, Any]]:
    """Read the failures of the last try, which are all that there are, without their bodies."""
    paths = list_ledger_files(ledger, "failures")
    last = max((parse_try_number(path.name) for path in list_ledger_files(ledger, "header")), default=0)
    for path in paths:
        if parse_try_number(path.name) == last:
            for _, _, line in read_lines(path):
                failure = json.loads(line)
                failure.pop("body", None)
                yield failure


def _describe_ledger(found: Mapping[str, Any]) -> Iterator[str]:
    yield found["ledger"]
    state = "complete" if found["is_complete"] else "not complete"
    yield f"  {found['operation'] or 'a bulk'}, try {found['last_try']}, {state}"
    yield "  " + ", ".join(f"{name} {count}" for name, count in found["counts"].items() if count or name == "updated")
    if not found["counts_unchanged"]:
        yield "  What changed_only found unchanged has no line, and is counted when a try ends: this one has not"
    for failure in found["failures"]:
        error = failure["error"]
        who = failure.get("integrated_account_id") or failure.get("tenant_id") or "no customer"
        yield f"  {describe_row(failure['ordinal'], failure.get('place'), failure.get('id'))}, of {who}:"
        yield f"    {error['status']}, {error['error']}: {error['message']}"
    if (left := found["failing"] - len(found["failures"])) > 0:
        yield f"  and {left} more: --failures {found['failing']}"


def _follow_record(ledgers: list[Any], record_id: str) -> Output:
    history = [
        {"ledger": str(ledger), "try": number, **json.loads(row.line())}
        for ledger in ledgers
        for number, row in _read_rows(ledger)
        if row.id == record_id
    ]
    lines = [line for entry in history for line in _describe_entry(entry)]
    last_is_good = bool(history) and history[-1]["status"] not in {"failed", "skipped"}
    absent = f"no record {record_id!r}"
    if any(header.get("state") for ledger in ledgers for header in read_headers(ledger)):
        absent += ", or changed_only found it unchanged, which leaves no line"
    return Output(value=history, lines=lines or [absent], is_good=last_is_good)


def _describe_entry(entry: Mapping[str, Any]) -> Iterator[str]:
    yield f"{entry['ledger']}, try {entry['try']}, of {entry.get('integrated_account_id') or 'no customer'}:"
    told = [entry["status"]]
    if entry.get("http_status"):
        told.append(f"answered {entry['http_status']}")
    told.append(count(entry.get("attempts", 0), "call"))
    if entry.get("idempotency_key"):
        told.append(f"key {entry['idempotency_key']}")
    yield f"  {', '.join(told)}"
    if entry.get("message"):
        yield f"  {entry.get('error') or 'note'}: {entry['message']}"
