import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from tests.store.builders import add_version, log, run_program, start_program

from andon.errors import ConfigurationError, DatabaseDamaged, StorageFull
from andon.store.database import Database


def test_an_installed_database_opens_without_alembic(sqlite_path: Path):
    """Start-up does not pay for migrations there is no need for, nor for an object mapper."""
    loaded = run_program(
        """
        import sys
        from andon.store.database import Database
        Database(sys.argv[1]).close()
        print([name for name in ("alembic", "sqlalchemy.orm", "psycopg") if name in sys.modules])
        """,
        sqlite_path,
    )
    assert loaded.strip() == "[]"


def test_a_database_is_made_with_its_folder(tmp_path: Path):
    """A first start needs nothing to be there (S0-48)."""
    path = tmp_path / "new" / "home" / "andon.db"
    db = Database(path)
    assert db.models.names() == []
    db.close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_name_may_hold_anything(tmp_path: Path):
    """Percent signs, question marks and spaces are part of the name."""
    path = tmp_path / "50% of ?what#" / "my & andon.db"
    for _ in range(2):
        db = Database(path)
        db.check()
        db.close()
    assert path.is_file()


@pytest.mark.parametrize("pragma", ["journal_mode=wal", "synchronous=2", "foreign_keys=1"])
def test_every_connection_is_safe(sqlite_db: Database, pragma: str):
    """A commit is flushed, readers do not block, and rows point to rows that exist."""
    name, value = pragma.split("=")
    bare = sqlite_db.open_sqlite()
    assert str(bare.execute(f"PRAGMA {name}").fetchone()[0]) == value
    bare.close()
    with sqlite_db.read() as connection:
        assert str(connection.exec_driver_sql(f"PRAGMA {name}").scalar()) == value


def test_a_failed_write_leaves_nothing(db: Database):
    """What was done before the error is undone."""
    with pytest.raises(ZeroDivisionError), db.write() as connection:
        connection.execute(
            text("INSERT INTO registered_models VALUES ('pcb', '', '2026-01-01T00:00:00Z')")
        )
        raise ZeroDivisionError
    assert db.models.names() == []


def test_a_reader_sees_one_state(sqlite_db: Database):
    """What others commit meanwhile does not show up in the middle of a read."""
    with sqlite_db.read() as connection:
        count = text("SELECT count(*) FROM registered_models")
        before = connection.scalar(count)
        sqlite_db.models.ensure_model("pcb", "")
        assert connection.scalar(count) == before


@pytest.mark.parametrize("content", [b"no database at all", b"x" * 5000, b"SQLite format 3\0junk"])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, content: bytes):
    """Andon never writes over a file it does not understand."""
    path = tmp_path / "andon.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged, match="not an SQLite database"):
        Database(path)
    assert path.read_bytes() == content
    assert [found.name for found in tmp_path.iterdir()] == ["andon.db"]


def test_a_database_cut_short_is_refused_and_left_alone(sqlite_path: Path):
    """Half a file is not half as good."""
    whole = sqlite_path.read_bytes()
    half = whole[: len(whole) // 2]
    sqlite_path.write_bytes(half)
    with pytest.raises(DatabaseDamaged, match=r"cut short|damaged"):
        Database(sqlite_path)
    assert sqlite_path.read_bytes() == half


def test_a_database_full_of_garbage_is_refused_and_left_alone(sqlite_path: Path):
    """A sound header does not make a sound file."""
    content = bytearray(sqlite_path.read_bytes())
    content[100:4096] = os.urandom(3996)
    sqlite_path.write_bytes(content)
    with pytest.raises(DatabaseDamaged, match="damaged"):
        Database(sqlite_path)
    assert sqlite_path.read_bytes() == content


def test_a_damaged_page_is_reported_when_it_is_read(sqlite_path: Path):
    """Damage beyond what opening touches is named as soon as somebody meets it."""
    db = Database(sqlite_path)
    log(db, add_version(db), 200)
    db.close()
    content = bytearray(sqlite_path.read_bytes())
    content[-10 * 4096 :] = os.urandom(10 * 4096)
    sqlite_path.write_bytes(content)
    db = Database(sqlite_path)
    with pytest.raises(DatabaseDamaged, match="backup"):
        db.predictions.page(limit=200)
    db.close()


def test_an_empty_file_is_a_fresh_database(tmp_path: Path):
    """A start that was killed right after creating the file is simply started again."""
    path = tmp_path / "andon.db"
    path.touch()
    db = Database(path)
    db.check()
    db.close()


def test_an_empty_file_beside_a_full_log_is_refused(tmp_path: Path):
    """SQLite would delete the log, and the newest rows with it."""
    path, log_file = tmp_path / "andon.db", tmp_path / "andon.db-wal"
    path.touch()
    log_file.write_bytes(b"rows")
    with pytest.raises(DatabaseDamaged, match="still holds rows"):
        Database(path)
    assert log_file.read_bytes() == b"rows"


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path):
    """Tables named otherwise, or even alike, are not ours without our version table."""
    path = tmp_path / "mlflow.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE registered_models (name TEXT)")
    other.execute("CREATE TABLE alembic_version (version_num TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseDamaged, match=r"another program.*registered_models"):
        Database(path)
    assert path.read_bytes() == before


def test_a_newer_database_is_refused(sqlite_path: Path):
    """An older Andon would not know what it breaks."""
    bare = sqlite3.connect(sqlite_path)
    bare.execute("UPDATE andon_schema SET version_num = '2031_01_01_0000'")
    bare.commit()
    bare.close()
    with pytest.raises(ConfigurationError, match=r"newer Andon.*2031_01_01_0000"):
        Database(sqlite_path)


def test_a_folder_is_no_database(tmp_path: Path):
    """The message says so instead of SQLite's."""
    with pytest.raises(DatabaseDamaged, match="not a file"):
        Database(tmp_path)


@pytest.mark.parametrize("where", [":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(where: str):
    """It would lose every acknowledged answer."""
    with pytest.raises(ConfigurationError, match="memory"):
        Database(where)


@pytest.mark.parametrize("where", ["mysql://host/x", "postgres q://x", "oracle://x"])
def test_other_databases_are_refused(where: str):
    """The message names what can be used."""
    with pytest.raises(ConfigurationError):
        Database(where)


def test_a_server_that_is_not_there_is_named_without_its_password():
    """A log must not hold the password."""
    with pytest.raises(StorageFull, match="connection") as caught:
        Database("postgresql://someone:secret@127.0.0.1:1/andon")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.postgres
def test_a_database_the_server_does_not_have_is_named(postgres_server: str):
    """The server's own words say what to create."""
    url = make_url(postgres_server).set(database="no_such_database")
    with pytest.raises(StorageFull, match='"no_such_database" does not exist'):
        Database(url.render_as_string(hide_password=False))


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch):
    """PostgreSQL is an extra; the message says how to install it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"andon\[postgres\]"):
        Database("postgresql://127.0.0.1/andon")


def test_a_locked_database_is_reported_after_the_wait(sqlite_path: Path):
    """A stranger's lock is waited for, then named; afterwards all is well."""
    db = Database(sqlite_path, busy_timeout=0.2)
    stranger = sqlite3.connect(sqlite_path, isolation_level=None)
    stranger.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageFull, match="lock"):
        db.models.ensure_model("pcb", "")
    stranger.execute("ROLLBACK")
    db.models.ensure_model("pcb", "")
    stranger.close()
    db.close()


def test_a_write_of_another_thread_is_waited_for(sqlite_path: Path):
    """Threads of one process queue for their turn; too long a turn is named."""
    db = Database(sqlite_path, busy_timeout=0.1)
    with db.writing_turn(), pytest.raises(StorageFull, match="kept busy"), db.writing_turn():
        pass
    db.models.ensure_model("pcb", "")
    db.close()


def test_a_file_that_was_removed_is_noticed(sqlite_path: Path):
    """Rows written to a file without a name would be gone with the process."""
    db = Database(sqlite_path)
    db.check()
    moved = sqlite_path.rename(sqlite_path.with_name("moved.db"))
    with pytest.raises(DatabaseDamaged, match="removed or replaced"):
        db.check()
    shutil.copy(moved, sqlite_path)
    with pytest.raises(DatabaseDamaged, match="removed or replaced"):
        db.check()
    db.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_may_not_be_written_is_named():
    """The message says which file and what to do."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o555)
    said = run_program(
        """
        import os, sys
        from andon.errors import StorageFull
        from andon.store.database import Database
        os.seteuid(65534)
        try:
            Database(sys.argv[1])
        except StorageFull as error:
            print(error)
        """,
        home / "andon.db",
    )
    home.rmdir()
    assert "cannot be created: Permission denied" in said
    assert "ANDON_HOME" in said


_OPEN = """
import sys
from andon.store.database import Database
print("ready"); sys.stdin.readline()
db = Database(sys.argv[1])
db.models.ensure_model("pcb", "")
db.close()
"""


def _open_at_once(where: object) -> None:
    programs = [start_program(_OPEN, where) for _ in range(3)]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        _, errors = program.communicate(timeout=60)
        assert program.returncode == 0, errors


def test_processes_that_create_a_database_at_once_do_not_disturb_each_other(tmp_path: Path):
    """One migrates, the others wait and find it done."""
    path = tmp_path / "andon.db"
    _open_at_once(path)
    db = Database(path)
    assert db.models.names() == ["pcb"]
    db.close()


@pytest.mark.postgres
def test_processes_that_fill_an_empty_schema_at_once_do_not_disturb_each_other(empty_schema: str):
    """The same on PostgreSQL, under its advisory lock."""
    _open_at_once(empty_schema)
    db = Database(empty_schema)
    assert db.models.names() == ["pcb"]
    db.close()


def test_closing_twice_is_fine(sqlite_path: Path):
    """So that every way out may close."""
    db = Database(sqlite_path)
    db.close()
    db.close()
