"""Values that are copied often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Value:
    """A base of frozen dataclasses, for those of which a bulk makes copies per record."""

    def __post_init__(self) -> None:
        """Check the fields. Raises ``ValueError`` and ``TypeError``."""

    def replace(self, **changes: Any) -> Self:
        """Return the same with other values; ``dataclasses.replace`` sets every field, and takes five times as long.

        Raises ``TypeError`` for a name that it does not have, and as ``__post_init__`` does.
        """
        fields = vars(self)
        values = fields | changes
        if len(values) != len(fields):
            raise TypeError(f"{type(self).__name__} has no {min(changes.keys() - fields.keys())!r}")
        other = object.__new__(type(self))
        object.__setattr__(other, "__dict__", values)
        other.__post_init__()
        return other
