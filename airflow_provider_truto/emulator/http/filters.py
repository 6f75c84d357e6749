"""Filters of lists: `status=active`, `updated_at[gt]=2024-06-01T00:00:00Z`, `id[in]=a,b`.

Operators are `eq`, `gt`, `gte`, `lt`, `lte` and `in`; other operators, and fields that cannot be filtered by, are
ignored.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from airflow_provider_truto.emulator.http import timestamps

Item = TypeVar("Item")

_COMPARISONS = {"eq": operator.eq, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def filter_items(
    items: Iterable[Item], query: Mapping[str, Any], *, names: Iterable[str], value_of: Callable[[Item, str], Any]
) -> list[Item]:
    """Return the items that pass every filter of the query on one of these names."""
    conditions = [
        (name, condition) for name in names if name in query for condition in _build_conditions(query[name])
    ]
    if not conditions:
        return list(items)
    return [item for item in items if all(passes(value_of(item, name)) for name, passes in conditions)]


def _build_conditions(wanted: Any) -> list[Callable[[Any], bool]]:
    if isinstance(wanted, str):
        return [_build_condition("eq", wanted)]
    if not isinstance(wanted, dict):
        return []
    supported = ((comparison, operand) for comparison, operand in wanted.items() if isinstance(operand, str))
    return [
        _build_condition(comparison, operand)
        for comparison, operand in supported
        if comparison in (*_COMPARISONS, "in")
    ]


def _build_condition(comparison: str, operand: str) -> Callable[[Any], bool]:
    """Build a check of a record's value; one that is absent, or of a different type, does not pass."""
    texts = operand.split(",") if comparison == "in" else [operand]
    comparables = [_to_comparable(text) for text in texts]
    numbers = [number for text in texts if (number := _to_number(text)) is not None]
    compare = _COMPARISONS.get(comparison, operator.eq)

    def passes(value: Any) -> bool:
        if value is None or isinstance(value, list | dict):
            return False
        if isinstance(value, int | float) and not isinstance(value, bool):
            return any(compare(value, number) for number in numbers)
        own = _to_comparable(value)
        return any(compare(own, wanted) for wanted in comparables)

    return passes


def _to_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _to_comparable(value: Any) -> str:
    """Write times of any zone and precision in one form, and True as `true`."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return timestamps.write(timestamps.read(text))
    except (ValueError, OverflowError):
        return text
