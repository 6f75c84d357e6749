"""Values of a warehouse as JSON that keeps their types, so that a resume reads what the first try read.

What each type becomes when it is sent is decided where all values are typed, in ``records.coerce``:

    ==========================  =====================================================================
    in the row                  in the request
    ==========================  =====================================================================
    text, bool, int, float      as it is; NaN (NaT, NA) is nothing, infinities are problems
    Decimal                     the number that equals it, a problem where JSON has none; never rounded
    date                        ``2026-01-31``
    datetime with a time zone   ``2026-01-31T12:00:00.000Z``
    datetime without one        a problem: which moment it means is not known
    UUID                        text
    dict, list, tuple           an object or a list (JSON, STRUCT and ARRAY columns)
    None                        not given, see ``Columns``
    time, bytes, anything else  a problem: write it as text in the query
    ==========================  =====================================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_truto.records.coerce import Formless
from airflow_provider_truto.records.scalars import is_nothing, to_number, to_plain_text


def encode_cells(cells: Iterable[Any]) -> bytes:
    """Write the cells of a row as a line; a value without a form becomes ``Formless``."""
    return json.dumps([_pack(cell) for cell in cells], separators=(",", ":")).encode() + b"\n"


def decode_cells(line: bytes) -> list[Any]:
    """Read a line of ``encode_cells``. Raises ``ValueError`` where it is not one."""
    packed = json.loads(line)
    if not isinstance(packed, list):
        raise ValueError("it is not a row of cells")  # noqa: TRY004  (of a file, not of an argument)
    try:
        return [_unpack(cell) for cell in packed]
    except (KeyError, ArithmeticError, TypeError) as error:
        raise ValueError(f"it holds a cell of no known type: {error!r}") from None


def _pack(value: Any) -> Any:
    """Write scalars and lists as they are, everything else as an object with its type as the only key."""
    packed: Any
    if value is None or isinstance(value, (bool, int, float)):
        packed = value
    elif isinstance(value, str):
        packed = to_plain_text(value)
    elif isinstance(value, (list, tuple)):
        packed = [_pack(item) for item in value]
    elif isinstance(value, Mapping):
        names = (to_plain_text(key) if isinstance(key, str) else str(key) for key in value)
        packed = {"object": dict(zip(names, map(_pack, value.values()), strict=True))}
    elif isinstance(value, Decimal):
        packed = {"decimal": str(value)}
    elif is_nothing(value):  # pandas.NaT calls itself a datetime
        packed = math.nan
    elif isinstance(value, datetime):  # before `date`, which it is as well
        packed = {"datetime": value.isoformat()}
    elif isinstance(value, date):
        packed = {"date": value.isoformat()}
    elif isinstance(value, UUID):
        packed = {"uuid": str(value)}
    elif (number := to_number(value)) is not None:  # of numpy, or of another library
        packed = number
    else:
        packed = {"formless": value.type_name if isinstance(value, Formless) else type(value).__name__}
    return packed


_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    "object": lambda packed: {key: _unpack(item) for key, item in packed.items()},
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
    "formless": Formless,
}


def _unpack(packed: Any) -> Any:
    if isinstance(packed, list):
        return [_unpack(item) for item in packed]
    if isinstance(packed, dict):
        ((kind, content),) = packed.items()
        return _UNPACKERS[kind](content)
    return packed
