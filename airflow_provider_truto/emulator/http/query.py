"""Reading a query string the way `qs` does, which is what the API expects.

`a[]=x`, `a[0]=x` and a repeated `a=x` all make lists, `a[b]=x` makes an object, and nothing is an error.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_MAX_ITEMS = 20  # `qs` takes a higher index for an object's key


def split_pairs(query_string: str) -> list[tuple[str, str]]:
    """Return the decoded (key, value) pairs in the order of the wire."""
    return parse_qsl(query_string, keep_blank_values=True)


def nest_pairs(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the pairs as nested objects, lists and text."""
    tree: dict[Any, Any] = {}
    for key, value in pairs:
        brackets = _BRACKETS.findall(key)
        name = key[: key.index("[")] if brackets else key
        _insert(tree, [name, *map(_read_step, brackets)], value)
    return {name: _to_plain(node) for name, node in tree.items()}


def _read_step(bracket: str) -> int | str | None:
    """Return what a bracket leads to: an index, a key, or with None the next free index."""
    if bracket.isdecimal() and str(int(bracket)) == bracket and int(bracket) < _MAX_ITEMS:
        return int(bracket)
    return bracket or None


def _insert(node: dict[Any, Any], steps: list[int | str | None], value: str) -> None:
    """Put a value into a tree in which arrays are dicts with integer keys."""
    for step in steps[:-1]:
        place = 0 if step is None else step
        child = node.setdefault(place, {})
        if not isinstance(child, dict):
            child = node[place] = {0: child}
        node = child
    last = steps[-1]
    if last is None:
        node[_next_index(node)] = value
    elif last not in node:
        node[last] = value
    elif isinstance(node[last], dict):
        node[last][_next_index(node[last])] = value
    else:
        node[last] = {0: node[last], 1: value}


def _next_index(node: dict[Any, Any]) -> int:
    return max((place for place in node if isinstance(place, int)), default=-1) + 1


def _to_plain(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if all(isinstance(place, int) for place in node):
        return [_to_plain(node[place]) for place in sorted(node)]
    return {str(place): _to_plain(child) for place, child in node.items()}
