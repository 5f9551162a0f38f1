import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, text
from tests.store.builders import run_program

from andon.store import schema
from andon.store.connections import Connections
from andon.store.database import Database
from andon.store.tables import metadata


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    return ScriptDirectory.from_config(config)


def _everything(path: Path) -> list[str]:
    """All statements that would make a database like this one, in no particular order."""
    with closing(sqlite3.connect(path)) as bare:
        return sorted(bare.iterdump())


def test_files_name_the_revisions_in_order():
    """What is read off the file names is what Alembic would run."""
    in_order = [script.revision for script in _scripts().walk_revisions()][::-1]
    assert schema.known_revisions() == in_order
    assert _scripts().get_heads() == [in_order[-1]]


def test_what_other_tests_open_is_what_the_migrations_make(tmp_path: Path):
    """`tests/conftest.py` fills new SQLite files with a copy; here they run in another process."""
    run_program(
        "import sys; from andon.store.database import Database; Database(sys.argv[1]).close()",
        tmp_path / "migrated.db",
    )
    Database(tmp_path / "copied.db").close()
    migrated, copied = (_everything(tmp_path / f"{name}.db") for name in ("migrated", "copied"))
    assert copied == migrated


def test_tables_and_migrations_agree(db: Database):
    """A migrated database is what tables.py describes: types, indexes, keys."""
    options = {"compare_type": True, "version_table": schema.VERSION_TABLE}
    with db.read() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_checks_are_the_same_in_tables_and_migrations(sqlite_path: Path):
    """Alembic does not compare CHECK constraints, so this does."""
    bare = sqlite3.connect(sqlite_path)
    made = dict(bare.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    bare.close()
    for table in metadata.tables.values():
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint):
                assert str(constraint.sqltext) in made[table.name]


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The schema is made whole or not at all."""

    def half_an_upgrade(connection) -> None:
        connection.execute(text("CREATE TABLE half (x)"))
        raise RuntimeError("power cut")

    path = tmp_path / "andon.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "upgrade", half_an_upgrade)
        with pytest.raises(RuntimeError):
            Connections(path)
    bare = sqlite3.connect(path)
    assert bare.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    bare.close()
    Database(path).close()


def test_opening_again_changes_nothing(where: str):
    """A second start finds everything there."""
    first = Database(where)
    first.models.ensure_model("pcb", "")
    first.close()
    second = Database(where)
    assert second.models.names() == ["pcb"]
    second.close()
