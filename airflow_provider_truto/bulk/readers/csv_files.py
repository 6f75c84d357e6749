"""CSV in UTF-8.

Where a row that cannot be read ends may be unknown: what looks like the next one may lie inside of its cell. The
reading ends there.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from typing import IO, Any

from airflow_provider_truto.bulk.readers.rows import CR_ADVICE, LONGEST_LINE, TOO_LONG, Row, Rows
from airflow_provider_truto.bulk.record_parser import RecordParser

#: What a header is most often split by where it is not split by commas.
_OTHER_DELIMITERS = ";\t|"


def open_csv(file: IO[bytes], parser: RecordParser, delimiter: str) -> Rows:
    """Open a CSV file in UTF-8: its header, and its rows below, which have text for each name, or ``None``.

    Raises ``ValueError`` for a header that is wrong, and so do the rows where it is not known where the next one
    begins. Header and rows are read by the same rules.
    """
    # A limit of the whole process, and too low for notes; lines have one of their own.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    lines: list[str] = []
    reader = csv.reader(_read_text_lines(file, lines), delimiter=delimiter, strict=True)
    rows = _read_csv_rows(reader, lines, delimiter)
    header = next(rows, None)
    if header is None:
        return Rows(rows, parser.parse)
    if header.fault is not None:
        raise ValueError(f"the header {header.fault}")
    names = header.value
    _check_names(names)
    table = parser.open_table([name for name in names if name])
    return Rows(_read_rows_below(rows, names), table.parse)


def _read_csv_rows(reader: Any, lines: list[str], delimiter: str) -> Iterator[Row]:
    """Read rows as lists of text, whatever their number of cells."""
    while True:
        lines.clear()
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            text = "".join(lines)
            is_cr = "new-line" in str(error)
            yield Row(number, fault=f"is not CSV: {CR_ADVICE if is_cr else error}")
            if '"' in text:  # else a line is a row
                raise ValueError(CR_ADVICE if is_cr else _describe_unclosed(text)) from None
            continue
        if len(cells) < 2 and not "".join(lines).strip():
            continue
        if '"' in lines[0] and _is_quoted_late(cells, lines, delimiter):
            yield Row(number, fault='is not CSV: after a space, as in `, "a"`, a quote is a part of the cell')
            raise ValueError("a quote stands after a space: where its cell ends is not known. Take the space out")
        if any(map(_is_not_utf8, cells)):
            yield Row(number, fault="is not UTF-8: export the file as UTF-8")
        else:
            yield Row(number, cells)


def _read_rows_below(rows: Iterator[Row], names: Sequence[str]) -> Iterator[Row]:
    """Read the rows below a header; cells below no name must be empty."""
    unnamed = [place for place, name in enumerate(names) if not name]
    known = set(names)
    for row in rows:
        cells = row.value
        if cells is None:
            yield row
        elif cells[0].removeprefix("\ufeff") in known and _is_header(cells, names):
            yield row._replace(value=None, passed_over="is the header again")
        elif any(cells):
            if unnamed and len(cells) == len(names):
                if filled := [str(place + 1) for place in unnamed if cells[place]]:
                    yield Row(row.number, fault=f"has something in column {', '.join(filled)}, which has no name")
                    continue
                cells = [cell for cell, name in zip(cells, names, strict=True) if name]
            yield Row(row.number, [cell or None for cell in cells])


def _is_header(cells: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether a row is the header again. Raises ``ValueError`` for one in a different order."""
    cells = [cells[0].removeprefix("\ufeff"), *cells[1:]]
    if cells == names:
        return True
    if len(names) > 1 and sorted(cells) == sorted(names):
        raise ValueError("a header comes again, with its columns in a different order: give each file on its own")
    return False


def _check_names(names: Sequence[str]) -> None:
    """Raise ``ValueError`` for names that no row could be read by."""
    if padded := [name for name in names if name != name.strip()]:
        raise ValueError(
            f"the column {padded[0]!r} has a space around its name: a space beside the delimiter is a part of the"
            " cell, in the header as in the rows. Take it out"
        )
    if not any(names):
        raise ValueError("the header names no column")
    others = [other for other in _OTHER_DELIMITERS if len(names) == 1 and other in names[0]]
    if others:
        raise ValueError(f"the header is one column, {names[0]!r}: if {others[0]!r} delimits it, set `delimiter`")


def _is_quoted_late(cells: Sequence[str], lines: Sequence[str], delimiter: str) -> bool:
    """Return whether a quote stands after a space at the beginning of a cell, where it does not quote the cell."""
    late = [cell for cell in cells if cell[:1].isspace() and cell.lstrip().startswith('"')]
    if not late:
        return False
    text = f"{delimiter}{''.join(lines)}"
    # Such text inside of quotes has its own quotes doubled, and a quote before it.
    return any(f"{delimiter}{cell}" in text for cell in late)


def _describe_unclosed(text: str) -> str:
    if '\\"' in text:
        return (
            "a quote is escaped by a backslash, which CSV does not know, so that it is not known where the row ends."
            ' Double it instead: "". Spark does so with .option("escape", "\\"")'
        )
    return "a quote is opened and not closed, or not doubled, so that it is not known where the row ends"


def _read_text_lines(file: IO[bytes], lines: list[str]) -> Iterator[str]:
    """Decode line by line, so that a line that is not UTF-8 spoils no other; each is kept in ``lines`` as well."""
    is_first = True
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            advice = CR_ADVICE if line.count(b"\r") > 1 else "is this CSV?"
            raise ValueError(f"{TOO_LONG}: {advice}")
        if is_first:
            line, is_first = line.removeprefix(codecs.BOM_UTF8), False  # Excel writes a byte order mark
        text = line.decode(errors="surrogateescape")
        lines.append(text)
        yield text


def _is_not_utf8(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= character <= "\udcff" for character in cell)
