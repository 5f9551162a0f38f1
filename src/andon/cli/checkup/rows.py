"""The database as the doctor may see it: opened read-only, never migrated, never repaired."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, create_engine, func, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from andon.errors import DatabaseDamaged, Unavailable
from andon.store import schema
from andon.store.tables import ModelVersionRow, PredictionRow

if TYPE_CHECKING:
    from andon.settings import Settings


class StoredFile(msgspec.Struct, frozen=True):
    """What the database says of one version's file."""

    model: str
    version: int
    format: str
    file_hash: str
    file_size: int
    is_active: bool
    damaged: str


class Reader:
    """Questions of the doctor to one open database."""

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection = connection
        self._where = where

    def integrity(self) -> str:
        """What SQLite finds wrong with its file; empty when it is sound, or on PostgreSQL."""
        if self._connection.dialect.name != "sqlite":
            return ""
        found = self._connection.execute(text("PRAGMA quick_check(3)")).scalars().all()
        return "" if list(found) == ["ok"] else "; ".join(str(line) for line in found)

    def is_newest(self) -> bool:
        """Whether the schema is the one this version of Andon works with.

        Raises:
            DatabaseDamaged: The tables are another program's.
            ConfigurationError: A newer Andon made them.
        """
        return schema.is_newest(self._connection, self._where)

    def versions(self) -> list[StoredFile]:
        """Every version that is not deleted; none before the first migration."""
        if not inspect(self._connection).has_table("model_versions"):
            return []
        row = ModelVersionRow
        found = self._connection.execute(
            select(
                row.model_name,
                row.version,
                row.format,
                row.file_hash,
                row.file_size,
                row.is_active,
                row.damaged,
            )
            .where(row.deleted_at.is_(None))
            .order_by(row.model_name, row.version)
        )
        return [StoredFile(*values) for values in found]

    def newest_prediction(self) -> datetime | None:
        """When the newest answer was logged."""
        if not inspect(self._connection).has_table("predictions"):
            return None
        newest: Any = self._connection.execute(select(func.max(PredictionRow.created_at))).scalar()
        return newest if isinstance(newest, datetime) else None


@contextmanager
def reading(settings: "Settings") -> Iterator[Reader]:
    """The database of these settings, read-only.

    Raises:
        DatabaseDamaged: The SQLite file is not a database or cannot be read.
        Unavailable: The PostgreSQL server cannot be reached.
    """
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite" and url.database:
        engine = create_engine(f"sqlite:///file:{url.database}?mode=ro&uri=true")
    else:
        engine = create_engine(url, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            yield Reader(connection, shown(settings))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        if engine.dialect.name == "sqlite":
            raise DatabaseDamaged(
                f"{url.database} cannot be read as Andon's database: {reason}.",
                hint="Keep the file; move it aside or restore a backup. Andon never overwrites it.",
            ) from error
        raise Unavailable(
            f"The database {shown(settings)} cannot be reached: {reason}.",
            hint="Check ANDON_DATABASE_URL, that the server runs, and the password.",
        ) from error
    finally:
        engine.dispose()


def shown(settings: "Settings") -> str:
    """The database's address for people, without its password."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)
