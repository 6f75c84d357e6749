"""One generation of the state, as a table in a SQLite file: little of it is in memory, however many records it has.

A record is found by a key of 64 bits, a hash of its customer and its id. What rows without an id were matched by
leads to the same key, so that whatever a row is found by, a record has one hash. Two of a million records have the
same key once in 37 million states; one of them is then sent each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple

#: What the file says of itself: that it is a state, and of which version.
_APPLICATION_ID = 0x74727574
VERSION = 2
_TABLES = f"""
    PRAGMA journal_mode = off;
    PRAGMA synchronous = off;
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {VERSION};
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
    CREATE TABLE ledgers (ledger TEXT PRIMARY KEY);
    CREATE TABLE texts (number INTEGER PRIMARY KEY, text TEXT UNIQUE);
    CREATE TABLE records (
        key INTEGER PRIMARY KEY, account INTEGER, id TEXT, hash INTEGER, fields INTEGER, reported INTEGER
    );
    CREATE TABLE matches (match INTEGER PRIMARY KEY, key INTEGER);
"""
#: Kept beside the file while it is read, or while the next one is made; SQLite puts them onto the worker's disk.
_NOTES = """
    PRAGMA temp_store = file;
    CREATE TEMP TABLE changed (key INTEGER PRIMARY KEY);
    CREATE TEMP TABLE seen (key INTEGER PRIMARY KEY);
    CREATE TEMP TABLE results (
        ordinal INTEGER, try INTEGER, part INTEGER, rank INTEGER, key INTEGER, sent_as INTEGER, write INTEGER,
        match INTEGER, account TEXT, id TEXT, hash INTEGER, fields TEXT, PRIMARY KEY (ordinal, part)
    ) WITHOUT ROWID;
"""
#: A success that an earlier try has as well is left out, and a result takes the place of what was pending in the
#: same part.
_ADD_RESULT = """
    INSERT INTO results SELECT
        :ordinal, :number, :part, :rank, :key, :sent_as, :write, :match,
        :integrated_account_id, :id, :content, :fields
    WHERE :rank < 2 OR NOT EXISTS (
        SELECT 1 FROM results WHERE ordinal = :ordinal AND try < :number AND rank = :rank AND write IS :write
    )
    ON CONFLICT (ordinal, part) DO UPDATE SET
        rank = excluded.rank, key = excluded.key,
        sent_as = CASE excluded.rank WHEN -1 THEN sent_as ELSE excluded.sent_as END,
        write = excluded.write, match = excluded.match, account = excluded.account, id = excluded.id,
        hash = excluded.hash, fields = excluded.fields
    WHERE excluded.rank >= rank
"""
#: Keys that one query asks for at most; old versions of SQLite take 999.
_MOST_KEYS = 500


class KnownRecord(NamedTuple):
    """A record that an earlier run has written: ``fields`` are the JSON pointers that it set, where that is kept."""

    key: int
    integrated_account_id: str
    id: str | None
    fields: str | None


class Match(NamedTuple):
    """The record that an earlier run has found for what a row is matched by."""

    key: int
    id: str


class Rank(IntEnum):
    """What became of a row; of one try, the highest counts."""

    PENDING = -1
    NOT_WRITTEN = 0
    UNKNOWN = 1
    WRITTEN = 2
    REMOVED = 3
    REPORTED = 4


class RowResult(NamedTuple):
    """What became of one row in one part of a try. ``content`` is ``None`` where the CRM did not confirm all of it.

    A try that was deferred has several parts, of which nobody knows the order: ``part`` only tells them apart.

    ``key`` is that of the record which it was found to mean, ``sent_as`` what was known before; ``match`` is what a
    row without an id was matched by. ``write`` names the write, which is executed once, however many tries send it.
    """

    ordinal: int
    number: int
    part: int
    rank: Rank
    key: int
    sent_as: int
    write: int | None = None
    match: int | None = None
    integrated_account_id: str = ""
    id: str | None = None
    content: int | None = None
    fields: str | None = None


class StateDatabase:
    """An open generation. Raises ``sqlite3.DatabaseError`` where the file is not one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._numbers: dict[str, int] = {}

    @classmethod
    def create(cls, path: str) -> StateDatabase:
        """Make an empty one."""
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.executescript(_TABLES + _NOTES)
        return cls(connection)

    @classmethod
    def open(cls, path: str, *, is_read_only: bool) -> StateDatabase:
        """Open an existing one, to look things up in or to make the next one of.

        Raises ``ValueError`` for a file of another kind or version.
        """
        mode = "ro" if is_read_only else "rw"
        connection = sqlite3.connect(
            f"file:{path}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            _check_kind(connection)
            if not is_read_only:
                connection.executescript("PRAGMA journal_mode = off; PRAGMA synchronous = off")
            connection.executescript(_NOTES)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # -------------------------------------------------------------------------------------------------------- reading

    def __len__(self) -> int:
        ((count,),) = self._connection.execute("SELECT count(*) FROM records")
        return int(count)

    def get_fact(self, name: str) -> str | None:
        """Return what the state says of itself: when all was sent, and which ledger it was made with."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    @property
    def full_at(self) -> datetime | None:
        """When the last run that sent every record began."""
        text = self.get_fact("full_at")
        return None if text is None else datetime.fromisoformat(text)

    def find_hashes(self, keys: Sequence[int]) -> dict[int, int | None]:
        """Return the hashes of those records that are known; ``None`` where what the CRM has is not known."""
        return dict(self._select("SELECT key, hash FROM records WHERE key IN", keys))

    def find_matched(self, matches: Sequence[int]) -> dict[int, Match]:
        """Return the records that were found for those of these matches that are known."""
        query = (
            "SELECT match, records.key, id FROM matches JOIN records USING (key) WHERE id IS NOT NULL AND match IN"
        )
        return {match: Match(key, record_id) for match, key, record_id in self._select(query, matches)}

    def _select(self, query: str, keys: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), _MOST_KEYS):
            part = keys[start : start + _MOST_KEYS]
            yield from self._connection.execute(f"{query} ({','.join('?' * len(part))})", part)

    # ---------------------------------------------------------------------------------------------- notes of this try

    def forget_notes(self) -> None:
        """Forget what was noted of an earlier reading of the source."""
        self._connection.executescript("DELETE FROM changed; DELETE FROM seen")

    def note_changed(self, keys: Iterable[int]) -> None:
        """Note records that this run writes, so that a later row of theirs is never taken for unchanged."""
        self._note("INSERT OR IGNORE INTO changed VALUES (?)", keys)

    def find_changed(self, keys: Sequence[int]) -> set[int]:
        """Return those that were noted."""
        return {key for (key,) in self._select("SELECT key FROM changed WHERE key IN", keys)}

    def note_seen(self, keys: Iterable[int]) -> None:
        """Note records that the source has."""
        self._note("INSERT OR IGNORE INTO seen VALUES (?)", keys)

    def count_unseen(self, *, with_reported: bool) -> int:
        """Count the records that left the source; ``with_reported``: those that were reported before as well."""
        ((count,),) = self._connection.execute(
            "SELECT count(*) FROM records WHERE NOT EXISTS (SELECT 1 FROM seen WHERE seen.key = records.key)"
            " AND coalesce(reported, 0) <= ?",
            (with_reported,),
        )
        return int(count)

    def list_unseen(self, *, with_reported: bool) -> Iterator[KnownRecord]:
        """List them, always in the same order."""
        rows = self._connection.execute(
            "SELECT key, (SELECT text FROM texts WHERE number = account), id,"
            " (SELECT text FROM texts WHERE number = fields)"
            " FROM records WHERE NOT EXISTS (SELECT 1 FROM seen WHERE seen.key = records.key)"
            " AND coalesce(reported, 0) <= ? ORDER BY key",
            (with_reported,),
        )
        return (KnownRecord(*row) for row in rows)

    def _note(self, insert: str, keys: Iterable[int]) -> None:
        with self._begin_transaction() as connection:
            connection.executemany(insert, ((key,) for key in keys))

    # -------------------------------------------------------------------------------------------- the next generation

    def set_fact(self, name: str, value: str) -> None:
        """Say something of the state."""
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def note_ledger(self, ledger: str) -> None:
        """Note that the state has what the ledger in a folder says."""
        self._connection.execute("INSERT OR IGNORE INTO ledgers VALUES (?)", (ledger,))
        self.set_fact("ledger", ledger)

    def has_ledger(self, ledger: str) -> bool:
        """Whether what a ledger said at that time is in the state."""
        found = self._connection.execute("SELECT 1 FROM ledgers WHERE ledger = ?", (ledger,)).fetchone()
        return found is not None

    def add_results(self, results: Iterable[RowResult]) -> None:
        """Note what became of rows: all that they were about to be written first, then the results, try by try.

        A result that an earlier try has is a copy of that, or the answer of a write that is not executed again.
        """
        with self._begin_transaction() as connection:
            connection.executemany(_ADD_RESULT, (result._asdict() for result in results))

    def apply_results(self) -> int:
        """Make the records what the results say, in the order in which they were sent; return how many there were.

        What a part of a try was about to write and says nothing of may have been written.
        """
        count = 0
        rows = self._connection.execute(
            "SELECT ordinal, try, part, max(CASE rank WHEN ? THEN ? ELSE rank END), key, sent_as, write, match,"
            " account, id, hash, fields FROM results GROUP BY try, ordinal ORDER BY try, ordinal",
            (Rank.PENDING, Rank.UNKNOWN),
        )
        with self._begin_transaction():
            for row in rows:
                self._apply(RowResult(*row))
                count += 1
        return count

    def _apply(self, result: RowResult) -> None:
        key, execute = result.key, self._connection.execute
        if result.rank == Rank.REMOVED:
            execute("DELETE FROM records WHERE key = ?", (key,))
        elif result.rank == Rank.REPORTED:  # one that comes back is sent
            execute("UPDATE records SET hash = NULL, reported = 1 WHERE key = ?", (key,))
        elif result.rank == Rank.UNKNOWN:
            execute("UPDATE records SET hash = NULL WHERE key IN (?, ?)", (key, result.sent_as))
        elif result.rank == Rank.WRITTEN:
            fields = None if result.fields is None else self._number(result.fields)
            account = self._number(result.integrated_account_id)
            execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, 0)",
                (key, account, result.id, result.content, fields),
            )
            if result.sent_as != key:  # what was remembered is gone, or had no id
                execute("DELETE FROM records WHERE key = ?", (result.sent_as,))
            if result.match is not None:
                execute("INSERT OR REPLACE INTO matches VALUES (?, ?)", (result.match, key))

    def _number(self, text: str) -> int:
        """Return the number of a text that many records have."""
        if (number := self._numbers.get(text)) is None:
            self._connection.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (text,))
            ((number,),) = self._connection.execute("SELECT number FROM texts WHERE text = ?", (text,))
            self._numbers[text] = number
        return number

    def _begin_transaction(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN")
        return self._connection  # as a context, it ends the transaction


def _check_kind(connection: sqlite3.Connection) -> None:
    ((kind,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    if kind != _APPLICATION_ID:
        raise ValueError("is a database, and not a state")
    if version != VERSION:
        raise ValueError(f"is a state of version {version}, and this package reads {VERSION}")
