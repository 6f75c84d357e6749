"""JSON Lines in UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from airflow_provider_truto.bulk.readers.rows import CR_ADVICE, LONGEST_LINE, TOO_LONG, Row, Rows
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.client.numbers import parse_exact_json


def open_json_lines(file: IO[bytes], parser: RecordParser, delimiter: str) -> Rows:  # noqa: ARG001  (of a Reader)
    """Open a file of JSON Lines; each row is a record, or what a mapping makes one of."""
    return Rows(read_json_lines(file), parser.open_objects())


def read_json_lines(file: IO[bytes]) -> Iterator[Row]:
    """Read JSON Lines in UTF-8; lines without anything in them are not rows."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > LONGEST_LINE:
            _skip_line(file, line)
            yield Row(number, fault=TOO_LONG)
        elif line.strip():
            try:
                # As text: of bytes, the parser would guess an encoding, and let lone surrogates through.
                yield Row(number, parse_exact_json(line.decode()))
            except UnicodeDecodeError as error:
                yield Row(number, fault=f"is not UTF-8: {error.reason} at byte {error.start}")
            except (ValueError, RecursionError) as error:
                reason = CR_ADVICE if b"\r" in line.strip() else error
                yield Row(number, fault=f"is not JSON: {reason}")


def _skip_line(file: IO[bytes], start: bytes) -> None:
    line = start
    while line and not line.endswith(b"\n"):
        line = file.readline(LONGEST_LINE)
