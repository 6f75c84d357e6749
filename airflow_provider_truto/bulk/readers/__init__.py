"""Reading files of records, a reader per kind of file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from airflow_provider_truto.bulk.readers.csv_files import open_csv
from airflow_provider_truto.bulk.readers.json_lines import open_json_lines
from airflow_provider_truto.bulk.readers.parquet_files import open_parquet
from airflow_provider_truto.bulk.readers.rows import Reader


class Format(NamedTuple):
    """A kind of file: what it is called, its reader, what messages count, and how its files begin where all do so."""

    name: str
    open: Reader
    unit: str = "line"
    mark: bytes = b""


_JSON_LINES = Format("JSON Lines", open_json_lines)

#: The kind of file for each ending of a name, before ``.gz``.
FORMATS: Mapping[str, Format] = {
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".csv": Format("CSV", open_csv),
    ".parquet": Format("Parquet", open_parquet, unit="row", mark=b"PAR1"),
}
