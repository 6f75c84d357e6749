"""Keeps records that are about one thing in their order: first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Lines:
    """Lines of records, one for each name of what they are about: the id of a record, or what finds it.

    A record stands in a line for each of its names, and is served when it is the first in all of them. It may join
    one more line then. Records are known by their ordinals.
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[int]] = {}
        self._names: dict[int, list[str]] = {}

    def __contains__(self, ordinal: int) -> bool:
        return ordinal in self._names

    def join(self, ordinal: int, names: Iterable[str]) -> bool:
        """Put a record at the end of these lines; return whether it is the first in all of its lines."""
        own = self._names.setdefault(ordinal, [])
        for name in names:
            if name not in own:
                own.append(name)
                self._lines.setdefault(name, deque()).append(ordinal)
        return self._is_first(ordinal)

    def list_names(self, ordinal: int) -> list[str]:
        """List the lines that a record stands in."""
        return self._names[ordinal]

    def leave(self, ordinal: int, *, only: str | None = None) -> list[int]:
        """Take a record that was served out of its lines, or ``only`` out of one; return whose turn it is now."""
        left = self._names.pop(ordinal) if only is None else [only]
        if only is not None:
            self._names[ordinal].remove(only)
        following = []
        for name in left:
            line = self._lines[name]
            line.popleft()
            if line:
                following.append(line[0])
            else:
                del self._lines[name]
        return [other for other in dict.fromkeys(following) if self._is_first(other)]

    def _is_first(self, ordinal: int) -> bool:
        return all(self._lines[name][0] == ordinal for name in self._names[ordinal])
