"""Parquet, read a row group at a time; needs pyarrow, which comes with the extra ``parquet``.

In memory are the compressed bytes of one row group, and some rows of it as values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from airflow_provider_truto.bulk.readers.arrow_values import Convert, make_converter
from airflow_provider_truto.bulk.readers.rows import Row, Rows
from airflow_provider_truto.bulk.record_parser import RecordParser

#: Made to values at once.
_ROWS_AT_ONCE = 1024
#: What is said where it is missing.
NO_PYARROW = (
    "Parquet needs pyarrow, which is not installed here ({error}): install airflow-provider-truto[parquet] where the"
    " task runs"
)
#: What pandas calls an index that has no name.
_INDEX = "__index_level_"


def open_parquet(file: IO[bytes], parser: RecordParser, delimiter: str) -> Rows:  # noqa: ARG001  (of a Reader)
    """Open a Parquet file: its columns are those of a query, NULL included; only its end is read here.

    The file must be one that can seek. Raises ``ValueError`` where it is torn, where its columns are wrong, and
    without pyarrow; so do the rows where the rest cannot be read.
    """
    try:
        from pyarrow import PythonFile
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ValueError(NO_PYARROW.format(error=error)) from None
    watched = _WatchedFile(file)
    with _name_faults(watched):
        parquet = ParquetFile(
            PythonFile(watched, mode="r"),
            coerce_int96_timestamp_unit="us",  # in nanoseconds, as they are stored, years beyond 2262 overflow
            page_checksum_verification=True,
        )
        fields = list(parquet.schema_arrow)
        columns = map(parquet.schema.column, range(parquet.metadata.num_columns))
        leaves = iter([column.logical_type.type for column in columns])
    names = [field.name for field in fields]
    if parser.mapping is None:
        _refuse_index(names)
    table = parser.open_table(names, has_nulls=True)
    converters = [make_converter(field.type, leaves) for field in fields]
    if any(leaves):
        raise ValueError(f"its columns are of types that are not known here: {parquet.schema_arrow}")
    return Rows(_read_rows(parquet, watched, converters), table.parse)


def _refuse_index(names: Sequence[str]) -> None:
    if index := next((name for name in names if name.startswith(_INDEX)), None):
        raise ValueError(f"the column {index!r} is an index of pandas: write the file with index=False")


def _read_rows(parquet: Any, watched: _WatchedFile, converters: Sequence[Convert]) -> Iterator[Row]:
    number = 0
    for group in range(parquet.num_row_groups):
        batches = parquet.iter_batches(batch_size=_ROWS_AT_ONCE, row_groups=[group], use_threads=False)
        while True:
            with _name_faults(watched):
                batch = next(batches, None)
                if batch is None:
                    break
                columns = [convert(column) for convert, column in zip(converters, batch.columns, strict=True)]
            for cells in zip(*columns, strict=True):
                number += 1
                yield Row(number, cells)
    if number != parquet.metadata.num_rows:
        raise ValueError(f"it has {number} rows, and its end says {parquet.metadata.num_rows}")


@contextmanager
def _name_faults(watched: _WatchedFile) -> Iterator[None]:
    """Raise ``ValueError`` for a wrong file, else what the storage raised: pyarrow has ``OSError`` for both."""
    from pyarrow import ArrowException

    try:
        yield
    except MemoryError:
        raise
    except (ArrowException, OSError) as error:
        if watched.fault is not None:
            raise watched.fault from None
        raise ValueError(
            f"it is torn, or not as Parquet has to be ({error}): have its writer finish, or write it again"
        ) from error


class _WatchedFile:
    """What pyarrow needs of a file, which it does not close; ``fault`` is what the storage has raised."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.fault: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:
            self.fault = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except Exception as error:
            self.fault = error
            raise

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        pass
