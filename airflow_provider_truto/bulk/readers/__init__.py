"""Reading files of records, a reader per kind of file."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_truto.bulk.readers.csv_files import open_csv
from airflow_provider_truto.bulk.readers.json_lines import open_json_lines
from airflow_provider_truto.bulk.readers.rows import Reader

#: The reader for each ending of a file's name, before ``.gz``.
READERS: Mapping[str, Reader] = {".jsonl": open_json_lines, ".ndjson": open_json_lines, ".csv": open_csv}
