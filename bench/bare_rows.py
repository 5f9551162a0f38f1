"""The yardstick of ingest: the same rows into the same table, by the driver alone.

The table and its indexes are made by Andon's own migration in a second database beside the
one that is served; nothing is read, checked, answered or summed up.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from andon.store.database import Database
from bench.plant import COLUMNS, Row


class BareRows(Protocol):
    """A table that takes rows."""

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert in one transaction, committed to disk."""


class _SQLite:
    def __init__(self, db: Database) -> None:
        # Opened by Andon, so that WAL, synchronous=FULL and the rest are what it uses.
        self._connection = db.open_sqlite()
        self._insert = f"INSERT INTO factory_events ({COLUMNS}) VALUES ({_marks('?')})"

    def insert(self, rows: Sequence[Row]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(self._insert, rows)
        connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class _PostgreSQL:
    def __init__(self, db: Database) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        url = db.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection = psycopg.connect(url)
        self._insert = f"INSERT INTO factory_events ({COLUMNS}) VALUES ({_marks('%s')})"

    def insert(self, rows: Sequence[Row]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(self._insert, rows)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def bare_rows(where: Path | str) -> Iterator[BareRows]:
    """A freshly migrated database at a path or URL, and a bare connection to it."""
    db = Database(where)
    try:
        table = _SQLite(db) if db.path is not None else _PostgreSQL(db)
        try:
            yield table
        finally:
            table.close()
    finally:
        db.close()


def _marks(mark: str) -> str:
    return ", ".join([mark] * len(COLUMNS.split(",")))
