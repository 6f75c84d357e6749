"""Rows out of the bytes of one file, one by one; a row that cannot be read leaves the others alone."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from typing import IO, Any

from airflow_provider_truto.client.numbers import exact_json

#: A longer line is no row.
LONGEST_LINE = 16 * 1024 * 1024
_TOO_LONG = f"is a line of more than {LONGEST_LINE} bytes"

#: A row and ``None``, or ``None`` and what is wrong with it.
Row = tuple[Any, str | None]


def json_rows(file: IO[bytes]) -> Iterator[Row]:
    """Read JSON Lines in UTF-8; lines without anything in them are no rows."""
    is_first = True
    while line := file.readline(LONGEST_LINE + 1):
        if is_first:
            line, is_first = line.removeprefix(codecs.BOM_UTF8), False
        if len(line) > LONGEST_LINE:
            _skip_line(file, line)
            yield None, _TOO_LONG
        elif line.strip():
            try:
                # As text: of bytes, the parser would guess an encoding, and let lone surrogates through.
                yield exact_json(line.decode()), None
            except UnicodeDecodeError as error:
                yield None, f"is not UTF-8: {error.reason} at byte {error.start}"
            except (ValueError, RecursionError) as error:
                yield None, f"is not JSON: {error}"


def csv_header(file: IO[bytes]) -> list[str] | None:
    """Read the first line; ``None`` where the file is empty. Raises ``ValueError``."""
    try:
        header = next(csv.reader(_text_lines(file, is_start=True), strict=True), None)
    except csv.Error as error:
        raise ValueError(f"the header is not CSV: {error}") from None
    if header is not None and any(map(_is_not_utf8, header)):
        raise ValueError("the header is not UTF-8: export the file as UTF-8")
    return header


def csv_rows(file: IO[bytes]) -> Iterator[Row]:
    """Read what follows the header: lists of text, ``None`` for an empty cell. Newlines in quotes belong to the cell.

    Lines without anything in any cell are no rows. Raises ``ValueError`` where it is not known where the next row
    begins: inside a cell of several lines.
    """
    # A limit of the whole process, and too low for notes; lines have one of their own.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    lines = csv.reader(_text_lines(file), strict=True)
    while True:
        before = lines.line_num
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.line_num != before + 1 or "unexpected end of data" in str(error):
                raise ValueError(f"{error}: a quote is opened and not closed, or not doubled") from None
            yield None, f"is not CSV: {error}"
            continue
        if any(map(_is_not_utf8, cells)):
            yield None, "is not UTF-8"
        elif any(cells):
            yield [cell or None for cell in cells], None


def _text_lines(file: IO[bytes], *, is_start: bool = False) -> Iterator[str]:
    """Decode line by line, so that a line that is not UTF-8 spoils no other."""
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{_TOO_LONG}: is this CSV?")
        if is_start:
            line, is_start = line.removeprefix(codecs.BOM_UTF8), False  # Excel writes a byte order mark
        yield line.decode(errors="surrogateescape")


def _is_not_utf8(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= character <= "\udcff" for character in cell)


def _skip_line(file: IO[bytes], start: bytes) -> None:
    line = start
    while line and not line.endswith(b"\n"):
        line = file.readline(LONGEST_LINE)
