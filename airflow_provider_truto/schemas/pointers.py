"""JSON pointers (RFC 6901), with which findings name their places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


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


def resolve_pointer(document: Any, pointer: str) -> Any:
    """Return the value that a JSON pointer leads to; ``None`` where there is none."""
    value = document
    for step in pointer.split("/")[1:]:
        if isinstance(value, dict):
            value = value.get(step.replace("~1", "/").replace("~0", "~"))
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
