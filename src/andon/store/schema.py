"""Brings a database to the schema this version of Andon knows, and refuses all others.

Alembic does the work and is only imported when there is work: an up-to-date database opens
without it. The version is kept in a table of our own name, so that another program's
Alembic in the same PostgreSQL schema is never mistaken for ours.
"""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection

from andon.errors import ConfigurationError, DatabaseDamaged
from andon.store import tables

VERSION_TABLE = "andon_schema"
MIGRATIONS = Path(__file__).parent / "migrations"

# Whoever migrates a PostgreSQL database takes this advisory lock first ("andon" in ASCII).
MIGRATION_LOCK = 0x616E646F6E

_LIST_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}


def known_revisions() -> list[str]:
    """The revisions this version can run, oldest first: their files start with them."""
    names = (path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    return sorted("_".join(name.split("_")[:4]) for name in names)


def is_newest_file(path: Path) -> bool:
    """Whether an SQLite file has the newest schema; looks without changing a byte.

    Raises:
        DatabaseDamaged: The tables in the file are not Andon's.
        ConfigurationError: A newer Andon made them.
        sqlite3.Error: The file is damaged or locked.
    """
    if path.stat().st_size == 0:
        return False
    # A journal left by a crash must be rolled back before anything can be read.
    mode = "rw" if path.with_name(path.name + "-journal").exists() else "ro"
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True)
    try:
        return _is_newest(connection.execute, "sqlite", path)
    finally:
        connection.close()


def is_newest(connection: Connection, where: Path | str) -> bool:
    """The same question to an open connection, with the same refusals."""
    return _is_newest(connection.exec_driver_sql, connection.dialect.name, where)


def upgrade(connection: Connection) -> None:
    """Run the missing migrations inside the transaction of `connection`."""
    # Alembic costs a tenth of a second and ten megabytes: only paid on the first start
    # after an installation or upgrade.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _is_newest(execute: Callable[[str], Iterable[Any]], dialect: str, where: Path | str) -> bool:
    known = known_revisions()
    present = {row[0] for row in execute(_LIST_TABLES[dialect])}
    if VERSION_TABLE not in present:
        ours = present & set(tables.metadata.tables)
        # A PostgreSQL schema may be shared; a file may not.
        strangers = sorted(present if dialect == "sqlite" else ours)
        if strangers:
            raise DatabaseDamaged(
                f"The database {where} belongs to another program (tables "
                f"{', '.join(strangers[:5])}). It was not touched.",
                hint="Choose another file or schema in ANDON_HOME or DATABASE_URL.",
            )
        return False
    found = [row[0] for row in execute(f"SELECT version_num FROM {VERSION_TABLE}")]  # noqa: S608 - a constant
    if any(revision not in known for revision in found):
        raise ConfigurationError(
            f"The database {where} was made by a newer Andon (schema {found[0]}; "
            f"this one knows up to {known[-1]}).",
            hint="Install that version, or restore a backup from before the upgrade.",
        )
    return found == [known[-1]]
