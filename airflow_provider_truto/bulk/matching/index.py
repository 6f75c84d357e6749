"""Which records of the customers' CRMs have which keys: on the worker's disk, and only as long as a try runs.

Of a record it holds the id and the hashes of what it may be found by, see ``rule``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from airflow_provider_truto.bulk.result_row import ResultRow

#: KiB of it that are in memory.
_CACHE = 8 * 1024
_TABLES = """
CREATE TABLE found (
    account INTEGER, key BLOB, id TEXT, is_own INTEGER, PRIMARY KEY (account, key, id)
) WITHOUT ROWID;
CREATE TABLE asked (account INTEGER, key BLOB, PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE TABLE sources (account INTEGER, id TEXT, ordinal INTEGER, PRIMARY KEY (account, id)) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO found VALUES (?, ?, ?, ?)
ON CONFLICT (account, key, id) DO UPDATE SET is_own = max(is_own, excluded.is_own)
"""
#: Ids that are told where several records have one key.
MOST_IDS = 20
_FIND = "SELECT id FROM found WHERE account = ? AND key = ? AND is_own >= ? LIMIT ?"


class MatchIndex:
    """The keys of records by customer, in a temporary file without a name."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # SQLite's own temporary file, for this process
        self._database.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE}; {_TABLES}"
        )
        self._accounts: dict[str, int] = {}

    def close(self) -> None:
        """Delete the file."""
        self._database.close()

    def add(self, account_id: str, found: Iterable[tuple[str, str]], *, is_own: bool = False) -> None:
        """Add keys and the ids of the records that have them; ``is_own``: this run has written them."""
        account = self._number(account_id)
        rows = ((account, bytes.fromhex(key), record_id, is_own) for key, record_id in found)
        self._database.execute("BEGIN")
        self._database.executemany(_ADD, rows)
        self._database.execute("COMMIT")

    def find(self, account_id: str, keys: Sequence[str], *, only_own: bool = False) -> list[str]:
        """Return the ids of the records that have any of these keys, one more than ``MOST_IDS`` at most."""
        account, found = self._number(account_id), set[str]()
        for key in keys:
            values = (account, bytes.fromhex(key), only_own, MOST_IDS + 1)
            found.update(record_id for (record_id,) in self._database.execute(_FIND, values))
            if len(found) > MOST_IDS:
                break
        return sorted(found)[: MOST_IDS + 1]

    def remember(self, row: ResultRow) -> None:
        """Add what a row of this run's ledger has written, so that the next rows find it."""
        if not row.match:  # only a write that was made has them, also where not all of it is confirmed
            return
        account_id, record_id = row.integrated_account_id or "", row.id or ""
        self.add(account_id, [(key, record_id) for key in row.match], is_own=True)
        if record_id:
            values = (self._number(account_id), record_id, row.ordinal)
            self._database.execute("INSERT OR IGNORE INTO sources VALUES (?, ?, ?)", values)

    def note_asked(self, account_id: str, key: str) -> None:
        """Note that the CRM itself was asked for the records of a row, whose first key this is."""
        values = (self._number(account_id), bytes.fromhex(key))
        self._database.execute("INSERT OR IGNORE INTO asked VALUES (?, ?)", values)

    def was_asked(self, account_id: str, key: str) -> bool:
        """Whether it was asked for them."""
        values = (self._number(account_id), bytes.fromhex(key))
        query = "SELECT 1 FROM asked WHERE account = ? AND key = ?"
        return self._database.execute(query, values).fetchone() is not None

    def find_source(self, account_id: str, record_id: str) -> int | None:
        """Return which row was about a record first; ``None`` where none was."""
        query = "SELECT ordinal FROM sources WHERE account = ? AND id = ?"
        row = self._database.execute(query, (self._number(account_id), record_id)).fetchone()
        return None if row is None else int(row[0])

    def _number(self, account_id: str) -> int:
        return self._accounts.setdefault(account_id, len(self._accounts))
