"""The tables of ledgers as Parquet; needs pyarrow, which comes with the extra ``parquet``.

    <tables_path>/truto_runs/<ledger id>.parquet
    <tables_path>/truto_changes/<ledger id>.parquet

Each table is a folder with a file per ledger, so that a ledger that is stored again replaces its own file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any

from airflow_provider_truto.bulk.ledger_tables import Table
from airflow_provider_truto.bulk.readers.parquet_files import NO_PYARROW

#: Lines of a row group.
_LINES = 10_000
_CHUNK = 1024 * 1024


def encode_parquet(table: Table, lines: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """Write lines of a table as the bytes of a Parquet file. Raises ``ValueError`` without pyarrow."""
    with tempfile.TemporaryFile(prefix="truto-ledger-") as file:
        _write(table, iter(lines), file)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


def _write(table: Table, lines: Iterator[tuple[Any, ...]], file: IO[bytes]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(NO_PYARROW.format(error=error)) from None
    types = {
        "key": pyarrow.string(),
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "number": pyarrow.float64(),
        "flag": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in table.columns.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        while several := list(islice(lines, _LINES)):
            columns = [list(column) for column in zip(*several, strict=True)]
            writer.write_table(pyarrow.table(columns, schema=schema))
