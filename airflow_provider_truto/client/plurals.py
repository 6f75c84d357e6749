"""Numbers before nouns: ``1 record``, ``2 records``."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s where it is not one."""
    return f"{number} {noun}{choose_form(number, '', 's')}"


def choose_form(number: int, one: str, many: str) -> str:
    """Return ``one`` for 1, such as ``is``, and ``many`` for any other number."""
    return one if number == 1 else many
