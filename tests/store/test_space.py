"""`store.space`: room that deleted rows have left is given back, a little at a time."""

import sqlite3
from pathlib import Path

import pytest
from tests.store.builders import add_version, log

from andon.errors import StorageFull
from andon.store import space
from andon.store.connections import Connections
from andon.store.database import Database
from andon.store.space import Space, shrink


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small databases are worth it, in small steps."""
    monkeypatch.setattr(space, "_WORTH_IT", 64 * 1024)
    monkeypatch.setattr(space, "_PAGES", 16)


def seen(db: Connections) -> Space:
    """The room it takes now."""
    with db.read() as connection:
        return space.space(connection)


def emptied(path: Path, *, old: bool = False, keep: int = 0) -> Database:
    """A database with rows of two megabytes, of which all but some were deleted."""
    if old:
        # As it was made before rows were ever deleted.
        bare = sqlite3.connect(path)
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("CREATE TABLE t (id INTEGER)")
        bare.execute("DROP TABLE t")
        bare.close()
    db = Database(path)
    log(db, add_version(db), 60, raw_scores=[0.123456789] * 3000)
    with db.write() as connection:
        connection.exec_driver_sql(
            "DELETE FROM predictions WHERE id NOT IN (SELECT id FROM predictions LIMIT ?)", (keep,)
        )
    return db


def test_a_file_with_much_free_room_is_cut(tmp_path: Path):
    """Down to what is in use and a tenth, and the file itself is smaller."""
    db = emptied(tmp_path / "andon.db")
    before = seen(db)
    assert before.shrinks
    assert before.much_free
    assert shrink(db) == before.size - seen(db).size > 1024**2
    after = seen(db)
    assert not after.much_free
    with db.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    log(db, db.models.get("pcb", 1), 3)
    db.close()
    assert (tmp_path / "andon.db").stat().st_size < before.size / 2
    again = Database(tmp_path / "andon.db")
    assert shrink(again) == 0
    again.close()


def test_a_little_free_room_is_kept_for_the_next_rows(tmp_path: Path):
    """As much is written as deleted: the file keeps its size."""
    db = emptied(tmp_path / "andon.db", keep=50)
    before = seen(db)
    assert before.free > 0
    assert shrink(db) == 0
    assert seen(db) == before
    db.close()


def test_it_stops_when_it_is_told_to(tmp_path: Path):
    """After one step."""
    db = emptied(tmp_path / "andon.db")
    before = seen(db)
    given = shrink(db, pace=lambda _: False)
    assert 0 < given < before.free / 2
    db.close()


def test_an_older_file_is_left_as_it_is(tmp_path: Path):
    """Only a VACUUM could cut it, and that is for a person to run; then it goes by itself."""
    path = tmp_path / "andon.db"
    db = emptied(path, old=True)
    before = seen(db)
    assert before.much_free
    assert not before.shrinks
    assert shrink(db) == 0
    db.close()
    bare = sqlite3.connect(path)
    bare.executescript("PRAGMA auto_vacuum=INCREMENTAL; VACUUM;")
    bare.close()
    db = Database(path)
    assert seen(db).shrinks
    assert seen(db).size < before.size / 2
    db.close()


def test_a_program_that_holds_the_lock_is_reported(tmp_path: Path):
    """As any other write that has to wait for too long."""
    db = emptied(tmp_path / "andon.db")
    db.busy_timeout = 0.05
    other = sqlite3.connect(tmp_path / "andon.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFull):
        shrink(db)
    other.close()
    assert shrink(db) > 0
    db.close()


@pytest.mark.postgres
def test_postgresql_looks_after_itself(postgres_db: Database):
    """Its size is known, and nothing is cut."""
    log(postgres_db, add_version(postgres_db), 5)
    found = seen(postgres_db)
    assert (found.size > 0, found.free, found.much_free) == (True, 0, False)
    assert shrink(postgres_db) == 0
