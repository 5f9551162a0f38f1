"""Connections to the one database: opened safely, read and written in short transactions.

SQLite runs with a write-ahead log and a real flush per commit; writers of this process
queue on a lock (fair and immediate) and only writers of other processes meet SQLite's own
lock. PostgreSQL brings all of that itself. What goes wrong becomes an `AndonError` here and
nowhere else.
"""

import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from andon.errors import ConfigurationError, DatabaseDamaged, StorageFull
from andon.store import schema
from andon.store.failures import refuse_what_is_no_database, translated

_WRITING = {"andon_writing": True}


class Connections:
    """An opened database.

    Args:
        where: A path (SQLite) or an SQLAlchemy URL.
        busy_timeout: Time to wait for another program's lock, seconds.

    Raises:
        DatabaseDamaged: The file is not a database of Andon's, or is damaged. It is left alone.
        ConfigurationError: The URL cannot be used, or a newer Andon made the database.
        StorageFull: Locked by another program, unreachable, or no room to create it.
    """

    def __init__(self, where: Path | str, *, busy_timeout: float = 10.0) -> None:
        self.url = _url(where)
        self.dialect = self.url.get_backend_name()
        self.busy_timeout = busy_timeout
        self.path: Path | None = None
        self._writing = threading.Lock()
        if self.dialect == "sqlite":
            self.path = Path(self.url.database or "").absolute()
            refuse_what_is_no_database(self.path)
            _make_file(self.path)
        self._engine = self._create_engine()
        try:
            self._bring_up_to_date()
        except BaseException:
            self._engine.dispose()
            raise
        self._inode = self.path.stat().st_ino if self.path is not None else 0

    @property
    def name(self) -> str:
        """What people call this database: its path, or its URL without the password."""
        return str(self.path or self.url.render_as_string(hide_password=True))

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for migrations and the writer."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for looking, on SQLite at one state throughout; nothing it does is kept."""
        with self.errors_translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside one transaction, committed at the end, undone on any error.

        Raises:
            StorageFull: The disk is full, or another program held the lock too long.
        """
        with (
            self.writing_turn(),
            self.errors_translated(),
            self._engine.connect() as connection,
            connection.execution_options(**_WRITING).begin(),
        ):
            yield connection

    @contextmanager
    def writing_turn(self) -> Iterator[None]:
        """Wait for this process's turn to write; only SQLite has just one writer at a time."""
        if self.path is None:
            yield
            return
        if not self._writing.acquire(timeout=self.busy_timeout):
            raise StorageFull(
                f"The database {self.name} was kept busy for {self.busy_timeout:g} s by "
                "another write of this program.",
                hint="Try again; if it stays, another program may hold its lock (find it with "
                "`fuser` on the file), or the disk is very slow.",
            )
        try:
            yield
        finally:
            self._writing.release()

    def _bring_up_to_date(self) -> None:
        """Create or migrate the schema in one transaction, unless it is the newest already."""
        if self.path is None:
            with self.read() as connection:
                if schema.is_newest(connection, self.name):
                    return
            with self.write() as connection:
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock, {"key": schema.MIGRATION_LOCK})
                if not schema.is_newest(connection, self.name):
                    schema.upgrade(connection)
            return
        with self.errors_translated():
            newest = schema.is_newest_file(self.path)
            self._use_write_ahead_log(self.path)
        if newest:
            return
        with self._migrating() as connection:
            # Another process may have been faster while this one waited for the lock.
            if not schema.is_newest(connection, self.name):
                schema.upgrade(connection)

    @contextmanager
    def _migrating(self) -> Iterator[Connection]:
        """A writing connection without foreign keys: SQLite rebuilds tables to alter them."""
        with self.writing_turn(), self.errors_translated(), self._engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.execution_options(**_WRITING).begin():
                    yield connection
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if broken is not None:
                        raise DatabaseDamaged(
                            f"Rows of table {broken[0]} in {self.name} point to rows that do "
                            "not exist, so it was not migrated.",
                            hint="Restore it from a backup.",
                        )
            finally:
                connection.connection.cursor().execute("PRAGMA foreign_keys=ON")

    def open_sqlite(self) -> sqlite3.Connection:
        """One more bare connection with the same settings, for the writer's hot path."""
        with self.errors_translated():
            connection = sqlite3.connect(
                str(self.path), isolation_level=None, check_same_thread=False,
                cached_statements=64, timeout=self.busy_timeout,
            )  # fmt: skip
            _configure_sqlite(connection)
            return connection

    def check(self) -> None:
        """Ask the database something small.

        Raises:
            DatabaseDamaged: The file was removed or replaced under the running program.
            StorageFull: It does not answer.
        """
        if self.path is not None:
            self._check_same_file(self.path)
        with self.read() as connection:
            connection.execute(text(f"SELECT 1 FROM {schema.VERSION_TABLE}"))  # noqa: S608 - a constant

    def close(self) -> None:
        """Close every connection. Safe to call twice."""
        self._engine.dispose()

    def translate(self, error: BaseException) -> BaseException:
        """The `AndonError` for a database driver's error, or the error itself."""
        return translated(error, self.name)

    @contextmanager
    def errors_translated(self) -> Iterator[None]:
        """What goes wrong inside with the database comes out as an `AndonError`."""
        try:
            yield
        except PoolTimeoutError as error:
            raise StorageFull(
                f"All connections to the database {self.name} are in use.",
                hint="Send fewer requests at a time.",
            ) from error
        except (DBAPIError, sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            known = self.translate(error)
            if known is error:
                raise
            raise known from error

    def _check_same_file(self, path: Path) -> None:
        """Rows written to a file that has lost its name are gone with the process."""
        try:
            same = path.stat().st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise DatabaseDamaged(
                f"The database file {path} was removed or replaced while Andon runs.",
                hint="Stop Andon, put the file back (with its -wal file) and start again.",
            )

    def _create_engine(self) -> Engine:
        options: dict[str, Any] = {
            "json_serializer": lambda value: msgspec.json.encode(value).decode(),
            "json_deserializer": msgspec.json.decode,
        }
        if self.path is None:
            # A server restart or an idle firewall cuts connections: noticed before use.
            try:
                engine = create_engine(
                    self.url, pool_pre_ping=True, pool_size=10, max_overflow=20, **options
                )
            except ModuleNotFoundError as error:
                raise ConfigurationError(
                    "The driver for PostgreSQL is not installed.",
                    hint="Run `pip install 'andon[postgres]'`.",
                ) from error
            event.listen(engine, "connect", _configure_postgresql)
            return engine
        engine = create_engine(
            self.url,
            connect_args={"isolation_level": None, "timeout": self.busy_timeout},
            pool_size=8,
            max_overflow=32,
            **options,
        )
        event.listen(engine, "connect", lambda connection, _record: _configure_sqlite(connection))
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _use_write_ahead_log(self, path: Path) -> None:
        """Switch the file to WAL, which stays with it; two processes may try at once."""
        deadline = time.monotonic() + self.busy_timeout
        while True:
            connection = self.open_sqlite()
            try:
                if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                    return
                # Of a new file only, and only before its first page: `space` gives room back.
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
                # May fail at once: SQLite does not always wait for the lock here.
                if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal":
                    return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
                if not busy or time.monotonic() > deadline:
                    raise
            finally:
                connection.close()
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"The file system of {path} does not support SQLite's write-ahead log.",
                    hint="Put ANDON_HOME on a local disk, or use PostgreSQL (DATABASE_URL).",
                )
            time.sleep(0.01)


def _configure_postgresql(connection: Any, _record: Any) -> None:
    """Plan every statement for the tables as they are now.

    A prepared statement would keep the plan it got while its table was almost empty: to read
    all of it. With a million events that takes a second instead of a millisecond.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_custom_plan")
    connection.commit()


def _url(where: Path | str) -> URL:
    if isinstance(where, Path) or "://" not in where:
        url = URL.create("sqlite", database=str(where))
    else:
        try:
            url = make_url(where)
        except ArgumentError as error:
            raise ConfigurationError(
                "The database URL cannot be read.",
                hint="Write it like sqlite:////var/lib/andon/andon.db or "
                "postgresql://user:password@host/database.",
            ) from error
    backend = url.get_backend_name()
    if backend == "postgresql":
        # The driver Andon installs (andon[postgres]); others are not tested.
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigurationError(
            f"Andon cannot use a {backend} database.",
            hint="Use SQLite (a path) or PostgreSQL (postgresql://…).",
        )
    if url.database in {None, "", ":memory:"}:
        raise ConfigurationError(
            "A database in memory would lose every acknowledged answer.",
            hint="Give the path of a file.",
        )
    return url.set(drivername="sqlite")


def _make_file(path: Path) -> None:
    """Create the empty file ourselves, for its mode: what people did ends up in it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP)
    except OSError as error:
        raise StorageFull(
            f"The database file {path} cannot be created: {error.strerror}.",
            hint="Point ANDON_HOME to a folder you may write to.",
        ) from error


def _configure_sqlite(connection: Any) -> None:
    """Settings that SQLite forgets with every connection."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    # Flush at every commit: an acknowledged row survives a power cut.
    cursor.execute("PRAGMA synchronous=FULL")
    # A log that a long read has made grow is cut again, bytes.
    cursor.execute(f"PRAGMA journal_size_limit={64 * 1024**2}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock first: upgrading a read lock later can fail at once."""
    writing = connection.get_execution_options().get("andon_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
