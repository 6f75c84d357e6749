"""Columns of Arrow as lists of plain values: those of the table in ``bulk.row_codec``.

Column by column: a value at a time takes pyarrow several times as long. Some types are told by Parquet's own logical
type alone, such as JSON and ENUM, of which pyarrow makes bytes, or text, depending on its version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from airflow_provider_truto.client.numbers import parse_exact_json
from airflow_provider_truto.records.coerce import Formless

#: Makes a list of values of an Arrow array.
Convert = Callable[[Any], list[Any]]

#: What has no form in JSON: the beginning of Arrow's name of the type, and the name that people have for it.
_FORMLESS = {"time32": "time", "time64": "time", "duration": "timedelta", "month_": "interval"}


def make_converter(kind: Any, leaves: Iterator[str]) -> Convert:
    """Return what makes values of a column of an Arrow type.

    ``leaves`` are Parquet's logical types of the columns without further ones inside, from this one on; those of this
    column are taken. Raises ``ValueError`` for a struct that names a field twice.
    """
    from pyarrow import BaseExtensionType, types

    if isinstance(kind, BaseExtensionType):
        return _make_extension_converter(kind, leaves)
    if types.is_struct(kind):
        return _make_struct_converter(kind, leaves)
    if types.is_map(kind):
        return _make_map_converter(kind, leaves)
    if types.is_list(kind) or types.is_large_list(kind):
        convert = make_converter(kind.value_type, leaves)
        return lambda array: _split_by_offsets(array, _slice_child(array, array.values, convert))
    if types.is_fixed_size_list(kind):
        return _make_fixed_list_converter(kind, leaves)
    if types.is_dictionary(kind):
        convert = make_converter(kind.value_type, leaves)
        return lambda array: convert(array.dictionary_decode())
    return _make_leaf_converter(kind, next(leaves))


def _make_extension_converter(kind: Any, leaves: Iterator[str]) -> Convert:
    if kind.extension_name == "arrow.uuid":
        next(leaves)
        return lambda array: _to_uuids(array.storage)
    if kind.extension_name == "arrow.json":
        next(leaves)
        return lambda array: _to_json(array.storage)
    convert = make_converter(kind.storage_type, leaves)
    if kind.extension_name == "arrow.bool8":
        return lambda array: [None if value is None else value != 0 for value in convert(array.storage)]
    return lambda array: convert(array.storage)


def _make_struct_converter(kind: Any, leaves: Iterator[str]) -> Convert:
    fields = list(kind)
    names = [field.name for field in fields]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"a struct names {', '.join(sorted(doubled))} more than once")
    converters = [make_converter(field.type, leaves) for field in fields]

    def convert(array: Any) -> list[Any]:
        columns = [make(array.field(place)) for place, make in enumerate(converters)]
        valid = array.is_valid().to_pylist()
        rows = zip(*columns, strict=True) if columns else [()] * len(valid)
        return [
            dict(zip(names, row, strict=True)) if is_valid else None
            for is_valid, row in zip(valid, rows, strict=True)
        ]

    return convert


def _make_map_converter(kind: Any, leaves: Iterator[str]) -> Convert:
    convert_keys = make_converter(kind.key_type, leaves)
    convert_items = make_converter(kind.item_type, leaves)

    def convert(array: Any) -> list[Any]:
        keys, items = (
            _slice_child(array, array.keys, convert_keys),
            _slice_child(array, array.items, convert_items),
        )
        return [
            None if pairs is None else _to_object(pairs)
            for pairs in _split_by_offsets(array, list(zip(keys, items, strict=True)))
        ]

    return convert


def _to_object(pairs: list[tuple[Any, Any]]) -> Mapping[Any, Any] | Formless:
    if not all(isinstance(key, str) for key, _ in pairs):
        return Formless("map whose keys are not text")
    made = dict(pairs)
    return made if len(made) == len(pairs) else Formless("map that has a key twice")


def _make_fixed_list_converter(kind: Any, leaves: Iterator[str]) -> Convert:
    convert_items, size = make_converter(kind.value_type, leaves), kind.list_size

    def convert(array: Any) -> list[Any]:
        values = convert_items(array.values.slice(array.offset * size, len(array) * size))
        return [
            values[place * size : (place + 1) * size] if is_valid else None
            for place, is_valid in enumerate(array.is_valid().to_pylist())
        ]

    return convert


def _slice_child(array: Any, child: Any, convert: Convert) -> list[Any]:
    """Make values of that part of a child which belongs to the lists of an array."""
    first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
    return convert(child.slice(first, last - first))


def _split_by_offsets(array: Any, values: list[Any]) -> list[Any]:
    offsets = array.offsets.to_pylist()
    first = offsets[0]
    return [
        values[start - first : end - first] if is_valid else None
        for start, end, is_valid in zip(offsets[:-1], offsets[1:], array.is_valid().to_pylist(), strict=True)
    ]


def _make_leaf_converter(kind: Any, logical: str) -> Convert:
    from pyarrow import timestamp, types

    if logical == "UUID":
        return _to_uuids
    if logical == "JSON":
        return _to_json
    if logical == "ENUM":
        return lambda array: _to_values(array.cast("string", safe=False), "text that is not UTF-8")
    if types.is_timestamp(kind):
        # What is sent has milliseconds, and nanoseconds need pandas.
        unit = timestamp("us" if kind.unit == "ns" else kind.unit, tz=None if kind.tz is None else "UTC")
        return lambda array: _to_values(array.cast(unit, safe=False), "timestamp beyond the years 1 to 9999")
    if types.is_date(kind):
        return lambda array: _to_values(array, "date beyond the years 1 to 9999")
    for beginning, name in _FORMLESS.items():
        if str(kind).startswith(beginning):
            return lambda array: [Formless(name) if is_valid else None for is_valid in array.is_valid().to_pylist()]
    return lambda array: _to_values(array, "text that is not UTF-8")


def _to_values(array: Any, otherwise: str) -> list[Any]:
    """Make values; what Python has none for becomes ``Formless``, and leaves the others alone."""
    try:
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError):
        values = [_to_value(scalar, otherwise) for scalar in array]
    return values


def _to_value(scalar: Any, otherwise: str) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return Formless(otherwise)


def _to_uuids(array: Any) -> list[Any]:
    return [None if value is None else UUID(bytes=value) for value in array.to_pylist()]


def _to_json(array: Any) -> list[Any]:
    return [None if value is None else _parse_json(value) for value in array.cast("binary").to_pylist()]


def _parse_json(value: bytes) -> Any:
    try:
        return parse_exact_json(value.decode())
    except (ValueError, RecursionError):
        return Formless("text that is not JSON")
