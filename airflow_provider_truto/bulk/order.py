"""Keeps records that are about one thing in their order: first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable


class Lines:
    """Lines of records, one for each name of what they are about: the id of a record, or what finds it.

    A record stands in a line for each of its names, and is served when it is the first in all of them. It may join
    one more line then, where it stands before all that come later in the source and are not served yet: else two
    records would wait for each other. Records are known by their ordinals.
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[int]] = {}
        self._names: dict[int, list[str]] = {}

    def __contains__(self, ordinal: int) -> bool:
        return ordinal in self._names

    def join(self, ordinal: int, names: Iterable[str], *, served: Collection[int] = ()) -> bool:
        """Put a record into these lines; return whether it is the first in all of its lines."""
        own = self._names.setdefault(ordinal, [])
        for name in names:
            if name in own:
                continue
            own.append(name)
            line = self._lines.get(name)
            if line is None:
                self._lines[name] = deque([ordinal])
            elif line[-1] < ordinal:
                line.append(ordinal)
            else:
                later = (place for place, other in enumerate(line) if other > ordinal and other not in served)
                line.insert(next(later, len(line)), ordinal)
        return self.is_first(ordinal)

    def list_names(self, ordinal: int) -> list[str]:
        """List the lines that a record stands in."""
        return self._names[ordinal]

    def leave(self, ordinal: int, *, only: str | None = None) -> list[int]:
        """Take a record out of its lines, or ``only`` out of one; return whose turn it is now."""
        left = self._names.pop(ordinal) if only is None else [only]
        if only is not None:
            self._names[ordinal].remove(only)
        following = []
        for name in left:
            line = self._lines[name]
            if len(line) == 1:
                del self._lines[name]
            else:
                line.remove(ordinal)
                following.append(line[0])
        return [other for other in dict.fromkeys(following) if self.is_first(other)]

    def is_first(self, ordinal: int) -> bool:
        """Return whether a record is the first in all of its lines."""
        for name in self._names[ordinal]:  # noqa: SIM110  (a generator would cost more than what it runs)
            if self._lines[name][0] != ordinal:
                return False
        return True
