"""Telling several statements from one: a driver runs them all, hands out the rows of one, and may commit another."""

from __future__ import annotations

import re
from functools import cache

#: Drivers in whose SQL a # begins a comment, and a backslash in a text escapes a quote.
_WITH_HASH = ("MySQLdb", "pymysql", "mysql", "mariadb", "airflow.providers.google", "google")
#: Others in whose texts a backslash escapes a quote.
_WITH_BACKSLASH = ("snowflake", "databricks", "clickhouse", "pyhive", "impala")
#: Drivers in whose texts it does not.
_WITHOUT_BACKSLASH = (
    "psycopg",
    "redshift_connector",
    "pg8000",
    "sqlite3",
    "trino",
    "prestodb",
    "oracledb",
    "pymssql",
)
#: A function that is written into the query has statements of its own, as in Oracle and Trino.
_FUNCTION = re.compile(r"\s*with\s+function\b", re.IGNORECASE)


def has_several(sql: str, *, driver: str) -> bool:
    """Whether a text surely holds more than one statement; a semicolon and comments at the end do not count as one.

    ``driver`` is the module of the connection's class, which says how quotes are read; where it is unknown, every way
    of reading them has to say so.
    """
    if _FUNCTION.match(sql):
        return False
    if driver.startswith(_WITH_HASH):
        ways = [(True, True)]
    elif driver.startswith(_WITH_BACKSLASH):
        ways = [(True, False)]
    elif driver.startswith(_WITHOUT_BACKSLASH):
        ways = [(False, False)]
    else:
        ways = [(has_backslash, has_hash) for has_backslash in (True, False) for has_hash in (True, False)]
    return all(_has_more(sql, has_backslash=has_backslash, has_hash=has_hash) for has_backslash, has_hash in ways)


def _has_more(sql: str, *, has_backslash: bool, has_hash: bool) -> bool:
    """Whether something comes after a semicolon that stands outside of quotes and comments."""
    is_over = False
    place = 0
    while place < len(sql):
        if sql.startswith("/*", place):
            place = _skip_comment(sql, place)
            continue
        found = _compile_tokens(has_backslash, has_hash).match(sql, place)
        assert found is not None, "any character is a token"
        place = found.end()
        if found[0] == ";":
            is_over = True
        elif is_over and found.lastgroup != "nothing":
            return True
    return False


@cache
def _compile_tokens(has_backslash: bool, has_hash: bool) -> re.Pattern[str]:
    """Compile what the text is cut into; what is quoted and never closed goes to the end of it."""
    inside = r"(?:\\.|[^\\])" if has_backslash else r"."
    comment = r"--[^\n]*|#[^\n]*" if has_hash else r"--[^\n]*"
    kinds = [
        rf"(?P<nothing>\s+|{comment})",
        # The lazy ones end at the first quote that closes; where quotes are doubled, the next text begins there.
        *(
            rf"{quote}{inside}*?(?:{quote}|\Z)"
            for quote in ("'''", '"""', "'", '"')
            if has_backslash or len(quote) == 1
        ),
        r"`[^`]*(?:`|\Z)",
    ]
    if not has_backslash:
        kinds.insert(1, r"\b[eE]'(?:\\.|[^\\])*?(?:'|\Z)")
    kinds.append(r"\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)")
    return re.compile("|".join([*kinds, r"\w+|."]), re.DOTALL)


def _skip_comment(sql: str, place: int) -> int:
    """Find the end of a comment, in which others may stand, as in PostgreSQL."""
    depth, marks = 0, re.compile(r"/\*|\*/")
    while (found := marks.search(sql, place)) is not None:
        place = found.end()
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return place
    return len(sql)
