"""The files of a ledger: what they are called, how they are written, and how they are checked when they are read.

A file that is empty, torn, of somebody else or mistyped is an error that names it and the way out. What has its name
on the local disk is whole, also after a loss of power. Only the last line of a file of lines may be torn: a worker
that is killed leaves it so.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from airflow_provider_truto.bulk.errors import BulkError, LedgerError
from airflow_provider_truto.bulk.storage import is_local, refresh, sync_folder, to_buffered

LEDGER_VERSION = 2
#: Bytes that file systems take for one name.
_LONGEST_NAME = 255
_NAME = re.compile(
    r"((header|summary|check)-(?P<try>[0-9]+)-[0-9a-z]+\.json"
    r"|(results|failures|pending)-(?P<try_of_lines>[0-9]+)-[0-9a-z]+-[0-9]+\.jsonl)(\.part)?"
)
_SNAPSHOT_NAME = re.compile(r"snapshot-[0-9a-z]+\.jsonl\.gz")

_Fits = Callable[[Any], bool]
_Parsed = TypeVar("_Parsed")


def locate_task_folder(output_path: Any, *names: Any) -> Any:
    """Return a task's folder below ``output_path``: one segment per name, whatever characters it holds.

    A name that is too long for a disk, as one of many letters that are not ASCII, is cut, and a hash of it added.
    """
    folder = output_path
    for name in names:
        segment = quote(str(name), safe="-_.")
        if not segment.strip("."):
            segment = segment.replace(".", "%2E")
        if len(segment) > _LONGEST_NAME:
            # `quote` writes no "=": what is cut is never the whole name of another.
            hashed = f"={hashlib.sha256(segment.encode()).hexdigest()[:32]}"
            segment = segment[: _LONGEST_NAME - len(hashed)] + hashed
        folder = folder / segment
    return folder


def list_ledger_files(folder: Any, *kinds: str) -> list[Any]:
    """List the files of these kinds (``"header"``, ``"results"``, …), in the order of their tries.

    Raises ``LedgerError`` for one that is called like them and is not a file of a ledger.
    """
    if not refresh(folder).exists():  # another worker may have written since
        return []
    found = []
    for path in folder.iterdir():
        if not path.name.startswith(tuple(f"{kind}-" for kind in kinds)):
            continue
        if _NAME.fullmatch(path.name) is None:
            raise LedgerError.of_file(
                path,
                "is called like a file of a ledger, and no ledger has one of that name",
                "Put it somewhere else, and clear the task",
            )
        found.append(path)
    return sorted(found, key=lambda path: (parse_try_number(path.name), path.name))


def parse_try_number(name: str) -> int:
    """Read the number of the try out of ``results-<try>-<uuid>-<n>.jsonl``."""
    return int(name.split("-", 2)[1])


def is_whole(path: Any) -> bool:
    """Whether a file is complete: not half a header or summary, left by a killed worker. One of lines always is."""
    return not str(path.name).endswith(".json.part")


def is_open(path: Any) -> bool:
    """Whether a file of lines was not written to its end; the next try copies its lines."""
    return str(path.name).endswith(".part")


# ------------------------------------------------------------------------------------------------------------ reading


def read_headers(folder: Any) -> list[dict[str, Any]]:
    """Read what the ledger in a folder was begun with; several are there where two tries began at once.

    Raises ``LedgerError`` for one that cannot be read, or is of a different version.
    """
    return [header for path in list_ledger_files(folder, "header") if (header := _read_header(path)) is not None]


def read_summaries(folder: Any) -> list[dict[str, Any]]:
    """Read the summaries of all tries. Raises ``LedgerError`` for one that cannot be read."""
    return [found for path in list_ledger_files(folder, "summary") if (found := read_summary(path)) is not None]


def read_summary(path: Any) -> dict[str, Any] | None:
    """Read one; ``None`` where it is gone, or was not written to its end. Raises ``LedgerError``."""
    return _read(
        path,
        _SUMMARY,
        "Put the file back as it was, or delete it: what the results files say is done stays done. If the bulk had"
        " come to its end and you cleared the task to write everything again, set on_clear='restart' as well",
    )


def read_lines(path: Any) -> Iterator[tuple[Any, int, bytes]]:
    """Read the lines of a file, with the file, whatever it is called now, and their numbers from 1.

    A last line that is torn is dropped.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:  # closed by its live try since the folder was listed
        path = path.parent / path.name.removesuffix(".part")
        file = path.open("rb")
    with file:
        for number, line in enumerate(to_buffered(file), 1):
            if line.endswith(b"\n"):
                yield path, number, line


def parse_lines(
    path: Any, parse: Callable[[bytes], _Parsed], *, kind: str, way_out: str
) -> Iterator[tuple[Any, bytes, _Parsed]]:
    """Read the lines of a file, each with the file, whatever it is called now, and with what ``parse`` makes of it.

    Raises ``LedgerError`` where that is a ``ValueError``, since the line is not of this ``kind``.
    """
    for file, number, line in read_lines(path):
        try:
            parsed = parse(line)
        except ValueError as error:
            raise LedgerError.of_file(file, f"has no {kind} in line {number}: {error}", way_out) from None
        yield file, line, parsed


def find_fault_in(value: Any, shape: Mapping[str, tuple[bool, _Fits]]) -> str | None:
    """Return what is wrong with an object: a name that it lacks, or whose value is of a different kind."""
    if not isinstance(value, dict):
        return "it is not a JSON object"
    for name, (is_needed, fits) in shape.items():
        if name not in value:
            if is_needed:
                return f"it has no {name!r}"
        elif not fits(value[name]):
            return f"{name!r} is {_shorten(value[name])}"
    return None


def _read_header(path: Any) -> dict[str, Any] | None:
    way_out = (
        "Put the file back as it was. If you cannot, and the source is still the one that the bulk was begun with"
        " (a query is asked again: if it returns the same rows in the same order), delete it and clear the task: it"
        " goes on with what the results files say is not done. Otherwise clear it with on_clear='restart': a new"
        " ledger is begun, and every record is written again"
    )
    header = _read(path, {"ledger_version": (True, is_count)}, way_out)
    if header is None:
        return None
    if header["ledger_version"] != LEDGER_VERSION:
        raise LedgerError(
            f"{path}: the ledger is of version {header['ledger_version']}, this package writes {LEDGER_VERSION}:"
            " finish it with the version that began it, or set a different output_path"
        )
    if fault := find_fault_in(header, _HEADER):
        raise LedgerError.of_file(path, f"is not the header of a ledger: {fault}", way_out)
    return header


def _read(path: Any, shape: Mapping[str, tuple[bool, _Fits]], way_out: str) -> dict[str, Any] | None:
    if not is_whole(path):
        return None
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # a header that its try has withdrawn since the folder was listed
        return None
    return parse_checked(
        path, data, shape, otherwise=f"is not the {path.name.partition('-')[0]} of a ledger", way_out=way_out
    )


def parse_checked(
    path: Any,
    data: bytes,
    shape: Mapping[str, tuple[bool, _Fits]],
    *,
    otherwise: str,
    way_out: str,
    raises: type[BulkError] = LedgerError,
) -> dict[str, Any]:
    """Parse the object in a file; raise an error that names the file for anything else.

    ``otherwise`` says what one that has a different shape is not.
    """
    if not data.strip():
        raise raises.of_file(path, "is empty", way_out)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise raises.of_file(path, f"is torn, or not JSON: {error}", way_out) from None
    if fault := find_fault_in(value, shape):
        raise raises.of_file(path, f"{otherwise}: {fault}", way_out)
    found: dict[str, Any] = value
    return found


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def is_text(value: Any) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def is_whole_number(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Whether a value is a whole number from 0."""
    return is_whole_number(value) and value >= 0


def is_flag(value: Any) -> bool:
    """Whether a value is a boolean."""
    return isinstance(value, bool)


def is_list_of(fits: _Fits) -> _Fits:
    """Make the check of a list from that of its items."""
    return lambda value: isinstance(value, list) and all(map(fits, value))


def is_none_or(fits: _Fits) -> _Fits:
    """Return a check that also accepts ``None``."""
    return lambda value: value is None or fits(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_count, value.values()))


def _is_problem(value: Any) -> bool:
    return find_fault_in(value, _PROBLEM) is None


def _is_snapshot_name(value: Any) -> bool:
    return isinstance(value, str) and _SNAPSHOT_NAME.fullmatch(value) is not None


_SNAPSHOT: dict[str, tuple[bool, _Fits]] = {"file": (True, _is_snapshot_name), "rows": (True, is_count)}
_SHARD: dict[str, tuple[bool, _Fits]] = {"index": (True, is_count), "count": (True, is_count)}
_RUN: dict[str, tuple[bool, _Fits]] = {
    **dict.fromkeys(("number", "clears"), (False, is_none_or(is_count))),
    **dict.fromkeys(("after", "started"), (False, is_none_or(is_text))),
}
_STATE: dict[str, tuple[bool, _Fits]] = {"file": (True, is_none_or(is_text)), "full": (True, is_flag)}
_PLAN: dict[str, tuple[bool, _Fits]] = {
    "hash": (True, is_text),
    **dict.fromkeys(("rows", "changes"), (True, is_count)),
}
_HEADER: dict[str, tuple[bool, _Fits]] = {
    "run": (False, is_none_or(lambda value: find_fault_in(value, _RUN) is None)),
    "server": (False, is_text),
    "fingerprint": (True, is_text),
    "try": (True, is_count),
    "task_generation": (False, is_text),
    "keys": (False, is_text),
    "generation": (False, is_count),
    "shard": (False, is_none_or(lambda value: find_fault_in(value, _SHARD) is None)),
    "state": (False, is_none_or(lambda value: find_fault_in(value, _STATE) is None)),
    "snapshot": (False, is_none_or(lambda value: find_fault_in(value, _SNAPSHOT) is None)),
    "plan": (False, is_none_or(lambda value: find_fault_in(value, _PLAN) is None)),
}
_COUNTS = (
    "records",
    "updated",
    "created",
    "unchanged",
    "failed",
    "skipped",
    "transient_failures",
    "requests",
    "retries",
)
_PROBLEM: dict[str, tuple[bool, _Fits]] = {
    **dict.fromkeys(("ordinal", "records"), (True, is_count)),
    **dict.fromkeys(("integrated_account_id", "error", "message"), (True, is_text)),
    "id": (True, is_none_or(is_text)),
    "place": (False, is_none_or(is_text)),
}
_SUMMARY: dict[str, tuple[bool, _Fits]] = {
    **dict.fromkeys(_COUNTS, (True, is_count)),
    "tolerated": (False, is_count),
    **dict.fromkeys(("seconds", "waited_seconds", "paced_seconds"), (True, _is_number)),
    **dict.fromkeys(("complete", "finished"), (True, is_flag)),
    **dict.fromkeys(("failures", "first_problems"), (True, is_list_of(is_text))),
    "problems": (True, is_list_of(_is_problem)),
    "generation": (False, is_count),
    "task_generation": (True, is_text),
    "accounts": (True, lambda value: isinstance(value, dict) and all(map(_is_counts, value.values()))),
}


# ------------------------------------------------------------------------------------------------------------ writing


class Part:
    """A new file on the local disk, for its owner alone; it gets its name when it is closed."""

    def __init__(self, path: Any) -> None:
        self._name = path.path
        # Unbuffered: what was written outlives a kill of the process.
        descriptor = os.open(f"{self._name}.part", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._size = 0

    def write(self, data: bytes) -> None:
        """Write all of it or nothing. Raises ``OSError``: a disk that is nearly full takes some and says nothing."""
        if self._file.write(data) != len(data):
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{self._name}.part")
        self._size += len(data)

    def close(self) -> None:
        """Rename the part to its name. What has it is on the disk, also where the machine loses power."""
        os.fsync(self._file.fileno())
        self._file.close()
        os.rename(f"{self._name}.part", self._name)  # noqa: PTH104  (a path of any pathlib-like class)
        sync_folder(os.path.dirname(self._name))  # noqa: PTH120


def write_file(path: Any, data: bytes) -> None:
    """Write a new file, whole or not at all: a kill leaves no half of it under its name."""
    if not is_local(path):
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Part(path)
    part.write(data)
    part.close()
