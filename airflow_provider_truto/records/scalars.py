"""Python's plain scalars of what enums, numpy and pandas give, told by what a value can do, not by its class.

Neither library is imported: a worker that has them hands their values over, one that has not never sees any.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any

#: What a numpy value is, by its dtype's kind: boolean, signed, unsigned, float. The others (text, dates, durations,
#: complex) are not numbers of JSON, although numpy's durations call themselves integers.
_NUMERIC_KINDS = frozenset("biuf")

#: What is said of a value that ``is_nothing``.
NO_VALUE = "is NaN, NaT or NA, which stand for no value"


def to_plain_text(text: str) -> str:
    """Return the characters of a text as plain ``str``.

    ``str()`` asks the subclass instead: it writes ``Tier.GOLD`` for a member of ``class Tier(str, Enum)``.
    """
    return text if type(text) is str else str.__str__(text)


def to_number(value: Any) -> int | float | Decimal | None:
    """Return the equal ``bool``, ``int``, ``float`` or ``Decimal``; ``None`` where the value is not a number.

    A number that none of them equals, such as a third or a long double, is not a number here either.
    """
    if isinstance(value, (bool, Decimal)) or type(value) in (int, float):
        return value  # type: ignore[no-any-return]
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if isinstance(kind, str) and (kind not in _NUMERIC_KINDS or getattr(value, "ndim", None)):
        return None
    try:
        if kind == "b":
            return bool(value)
        if isinstance(value, Integral):
            return int(value)
        if hasattr(type(value), "__index__"):
            with suppress(TypeError):  # a float of arrays and tensors has the method and refuses
                return int(operator.index(value))
        if isinstance(value, Real) or hasattr(type(value), "__float__"):
            number = float(value)
            return number if number == value else None
    except Exception:  # any library's code, which has said that it cannot
        return None
    return None


def is_nothing(value: Any) -> bool:
    """Return whether a scalar is what numpy and pandas write for a value that is absent: NaN, NaT, ``pandas.NA``."""
    try:
        differs = value != value  # NaN does not equal itself
        try:
            return bool(differs)
        except TypeError:  # pandas.NA answers every comparison with itself, which is neither true nor false
            return differs is value
    except Exception:  # any library's code: an array has many answers, a signaling NaN none
        return False


def unwrap_proxy(value: Any) -> Any:
    """Return what stands behind one of Airflow's lazy proxies, which is not ``None`` where that is."""
    is_proxy = type(value) is not value.__class__ and hasattr(value, "__wrapped__")
    return value.__wrapped__ if is_proxy else value


def to_writable(value: Any) -> Any:
    """Return what ``str()`` is to be asked of, so that text and enums are written as they are sent alone."""
    if isinstance(value, str):
        return value if hasattr(value, "__html__") else to_plain_text(value)  # Jinja escapes what is not Markup
    if isinstance(value, Enum) and isinstance(value, (int, float)):
        return to_number(value)
    return value
