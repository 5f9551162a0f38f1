"""The databases of this room: SQLite, for what differs on PostgreSQL is tested with the store."""

import pytest
from tests.monitoring.conftest import migrated_file, sqlite_db, sqlite_path

from andon.store.database import Database


@pytest.fixture
def db(sqlite_db: Database) -> Database:
    """An open, empty database."""
    return sqlite_db


__all__ = ["db", "migrated_file", "sqlite_db", "sqlite_path"]
