"""JSON pointers (RFC 6901), with which findings name their places."""

from __future__ import annotations

from collections.abc import Iterable


def build_pointer(path: Iterable[str | int]) -> str:
    """Write a path as a JSON pointer; the whole document is ``""``."""
    pointer = ""
    for step in path:
        pointer = extend_pointer(pointer, step)
    return pointer


def extend_pointer(parent: str, key: str | int) -> str:
    """Append one step to a JSON pointer."""
    step = str(key)
    if "~" in step or "/" in step:
        step = step.replace("~", "~0").replace("/", "~1")
    return f"{parent}/{step}"
