"""Numbers that arrive as they were sent: what a double does not hold exactly, a reader of JSON may round.

RFC 8259, section 6: readers of JSON hold numbers as doubles, and agree on whole numbers up to 2**53 at most. So a
larger whole number counts as held where a double equals it, and a number with a fraction where a double is written
with just its digits. Anything else is sent as text, or not at all.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

#: What is said of a number that no double holds.
NOT_HELD = "is not held exactly by a double, which is what JSON's numbers are read into: send it as text"
#: What is said of NaN and infinities.
NO_NUMBER = "has no form in JSON"
#: Up to here every whole number is a double.
SAFE = 2**53
#: A number of more digits is a mistake, and must not fill the memory.
_LARGEST = 10**308
#: Digits below which a whole number cannot be beyond the safe ones.
_LONG_NUMBER = re.compile(rb"[0-9]{16}")
#: A double is written with so many digits at most.
_MOST_DIGITS = 17


class Inexact(Decimal):
    """A number of a JSON text that no double holds; kept so that it can be refused where it stands."""


def to_plain_number(value: float | Decimal) -> int | float | None:
    """Return the JSON number that equals the value, an int where it is whole; ``None`` where no double holds it."""
    if isinstance(value, int):
        return value if -SAFE <= value <= SAFE or _is_double(value) else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not value.is_finite():
        return None
    number = float(value)
    if not math.isfinite(number):
        return None
    if number.is_integer() and value == int(number):
        return int(number)
    return number if Decimal(repr(number)) == value and not number.is_integer() else None


def to_whole_number(value: Any) -> int | None:
    """Return the whole number that an id is, however large.

    ``None`` for anything else, for a float and for a fraction of a JSON text, which may have been rounded on its way.
    """
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else None
    if (
        not isinstance(value, Decimal)
        or isinstance(value, Inexact)
        or not value.is_finite()
        or abs(value) >= _LARGEST
    ):
        return None
    return int(value) if value == int(value) else None


def describe_number_problem(value: float | Decimal) -> str:
    """Return, of a value for which ``to_plain_number`` returns ``None``, what is wrong with it."""
    is_finite = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or math.isfinite(value)
    return NOT_HELD if is_finite else NO_NUMBER


def parse_exact_json(text: str) -> Any:
    """Parse JSON without rounding: a number with a fraction that no double holds comes as ``Inexact``.

    Raises ``ValueError``, also for an object that names a key twice, of which one value would be lost.
    """
    return _DECODER.decode(text)


def find_unheld(value: Any, at: str = "") -> str | None:
    """Return the JSON pointer of the first whole number that no double holds, if there is one."""
    if isinstance(value, int):
        return None if to_plain_number(value) is not None else at or "/"
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        items = enumerate(value)
    found = (find_unheld(item, f"{at}/{key}") for key, item in items)
    return next((pointer for pointer in found if pointer is not None), None)


def may_hold_unheld(written: bytes) -> bool:
    """Check quickly whether written JSON may have a number beyond the safe ones."""
    return _LONG_NUMBER.search(written) is not None


def _is_double(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _parse_float(text: str) -> float | Inexact:
    """Read a number with a fraction or an exponent, in the digits that it is written with."""
    number = float(text)
    if repr(number) == text:
        return number
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{text[:20]}… is a number of too many digits") from None
    if math.isfinite(number) and (
        value in (Decimal(repr(number)), Decimal(number))
        # Java, PHP and others write up to 17 digits of a double, also where fewer would do.
        or value == Decimal(f"{number:.{min(len(value.as_tuple().digits), _MOST_DIGITS)}g}")
    ):
        return number
    return Inexact(text)


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object names {doubled!r} more than once")
    return made


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    parse_float=_parse_float, parse_constant=_refuse_constant, object_pairs_hook=_build_object
)
