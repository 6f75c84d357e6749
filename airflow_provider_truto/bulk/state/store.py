"""The generations of a state as files on any storage: which one is the latest, and how the next one is written."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import suppress
from functools import partial
from typing import Any

from airflow_provider_truto.bulk.errors import StateError
from airflow_provider_truto.bulk.state.database import StateDatabase
from airflow_provider_truto.bulk.storage import refresh, write_whole

_NAME = re.compile(r"state-(?P<number>[0-9]{10})-(?P<digest>[0-9a-f]{16})\.sqlite")
_BLOCK = 1 << 20
_WAY_OUT = (
    "Put the file back as it was. Or delete it: the generation before it then counts, if it is still there, and what"
    " was written since is written again. Without any, every record is sent once more"
)


class StateStore:
    """The generations in a folder. Raises ``StateError`` for a file that is torn, foreign or of another version."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder

    def find_latest(self) -> Any:
        """Return the path of the latest generation, ``None`` before the first."""
        generations = self._list()
        return generations[-1] if generations else None

    def copy(self, generation: Any, target: str) -> None:
        """Copy a generation to this worker's disk, and check that it is whole."""
        digest = hashlib.sha256()
        try:
            with generation.open("rb") as file, open(target, "wb") as copy:  # noqa: PTH123  (a temporary file)
                while block := file.read(_BLOCK):
                    digest.update(block)
                    copy.write(block)
        except FileNotFoundError as error:
            raise StateError.of_file(generation, "is gone", "Another run may have removed it: retry") from error
        if not generation.name.endswith(f"-{digest.hexdigest()[:16]}.sqlite"):
            raise StateError.of_file(generation, "is not what was written: it is torn, or was changed", _WAY_OUT)
        try:
            StateDatabase.open(target, is_read_only=True).close()
        except (ValueError, sqlite3.DatabaseError) as error:
            raise StateError.of_file(generation, str(error), _WAY_OUT) from None

    def save(self, made: str, *, keep: Any) -> Any:
        """Write the next generation, whole under its name, and return its path.

        All but this one are removed, and the one that it was made of (``keep``): a torn one can be replaced by that.
        """
        digest = hashlib.sha256()
        with open(made, "rb") as file:  # noqa: PTH123
            while block := file.read(_BLOCK):
                digest.update(block)
        latest = self.find_latest()
        number = 1 if latest is None else _read_number(latest) + 1
        path = self.folder / f"state-{number:010}-{digest.hexdigest()[:16]}.sqlite"
        with open(made, "rb") as file:  # noqa: PTH123
            write_whole(path, iter(partial(file.read, _BLOCK), b""))
        for old in self._list():
            if old.name not in {path.name, keep.name if keep else None}:
                with suppress(FileNotFoundError):  # another try removes it as well
                    old.unlink()
        return path

    def _list(self) -> list[Any]:
        if not refresh(self.folder).exists():
            return []
        found = []
        for path in self.folder.iterdir():
            if not path.name.startswith("state-"):
                continue
            if _NAME.fullmatch(path.name) is None:
                raise StateError.of_file(
                    path, "is called like a state, and none has such a name", "Put it somewhere else"
                )
            found.append(path)
        return sorted(found, key=lambda path: path.name)


def _read_number(path: Any) -> int:
    return int(path.name.split("-")[1])
