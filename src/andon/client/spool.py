"""The spool: a file beside the camera that keeps events until the server has answered for them.

An SQLite file with a write-ahead log. Recording syncs before it returns, so that neither
``kill -9`` nor a power cut loses what was recorded. Removing what the server has answered for
needs no sync: a removal that is lost means one more repeat, and the server counts repeats once.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from andon.errors import ConfigurationError, DatabaseDamaged, StorageFull

MAX_BYTES = 64 * 1024 * 1024
"""Waiting events kept by default, bytes of JSON: some 300,000 events."""

MAX_REJECTED = 10_000
"""Refused events that stay readable; the oldest make room."""

WhenFull = Literal["refuse", "drop_oldest"]

_APPLICATION = 0x416E6431
_VERSION = 1
_SCHEMA = """
CREATE TABLE waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX waiting_kind ON waiting (kind);
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('dropped', 0);
"""
_MOVE_ASIDE = "Move the file aside (with its -wal file) or name another spool."


class Item(NamedTuple):
    """One event that waits: its place in the file and its JSON."""

    id: int
    body: bytes


class Rejected(msgspec.Struct, frozen=True):
    """An event the server refused, kept with the reason."""

    at: datetime
    kind: str
    reason: str
    item: dict[str, Any]


class Spool:
    """The open file; safe in threads, held by one process.

    Args:
        path: The file; made with its folder when it is not there.
        max_bytes: Room for waiting events, bytes of JSON.
        max_rejected: Refused events that stay readable.
        when_full: ``refuse`` to raise for new events, ``drop_oldest`` to make room.

    Raises:
        ConfigurationError: Another process holds the file, or the folder cannot be written.
        DatabaseDamaged: The file is not a spool, or is damaged. It is left as it is.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_rejected: int = MAX_REJECTED,
        when_full: WhenFull = "refuse",
    ) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._max_rejected = max_rejected
        self._when_full = when_full
        self._lock = threading.RLock()
        self._holder = _hold(path)
        try:
            with self._errors_translated():
                self._db = self._open()
                count, size = self._db.execute(
                    "SELECT count(*), coalesce(sum(length(body)), 0) FROM waiting"
                ).fetchone()
                (dropped,) = self._db.execute("SELECT value FROM counters").fetchone()
        except BaseException:
            os.close(self._holder)
            raise
        self._waiting, self._bytes, self._dropped = int(count), int(size), int(dropped)
        self._closed = False

    @property
    def waiting(self) -> int:
        """Events recorded and not answered for."""
        return self._waiting

    @property
    def dropped(self) -> int:
        """Events that ever had to make room (``drop_oldest``)."""
        return self._dropped

    def add(self, kind: str, bodies: Sequence[bytes]) -> None:
        """Record events, all or none; they are durable when this returns.

        Args:
            kind: What they are: the route they go to.
            bodies: One JSON object each.

        Raises:
            StorageFull: The spool or the disk is full; nothing of these was recorded.
        """
        size = sum(map(len, bodies))
        with self._lock:
            over = self._bytes + size - self._max_bytes
            if over > 0 and (self._when_full == "refuse" or size > self._max_bytes):
                raise StorageFull(
                    f"The spool {self.path} is full: {self._waiting} events wait for the server.",
                    hint="They are sent when it answers; a larger max_bytes keeps more.",
                )
            with self._transaction(synced=True):
                gone = self._oldest(over) if over > 0 else []
                self._remove(one for one, _ in gone)
                if gone:
                    self._db.execute("UPDATE counters SET value = value + ?", (len(gone),))
                self._db.executemany(
                    "INSERT INTO waiting (kind, body) VALUES (?, ?)",
                    [(kind, body) for body in bodies],
                )
            self._waiting += len(bodies) - len(gone)
            self._bytes += size - sum(length for _, length in gone)
            self._dropped += len(gone)

    def head(self, limit: int, max_bytes: int) -> tuple[str, list[Item]] | None:
        """The oldest events of the kind that waits longest, in the order they were recorded.

        Args:
            limit: Events at most.
            max_bytes: Bytes of JSON at most; one event is given in any case.
        """
        with self._lock, self._errors_translated():
            first = self._db.execute("SELECT kind FROM waiting ORDER BY id LIMIT 1").fetchone()
            if first is None:
                return None
            items: list[Item] = []
            size = 0
            rows = self._db.execute(
                "SELECT id, body FROM waiting WHERE kind = ? ORDER BY id LIMIT ?", (*first, limit)
            )
            for row in rows.fetchall():
                item = Item(*row)
                size += len(item.body) + 1
                if items and size > max_bytes:
                    break
                items.append(item)
            return first[0], items

    def settle(self, kind: str, done: Sequence[Item], refused: Sequence[tuple[Item, str]]) -> None:
        """Remove what the server has answered for, and set aside what it refused, with reasons.

        Raises:
            StorageFull: The disk is full; everything is as before.
        """
        with self._lock:
            now = time.time()
            gone = [*done, *(item for item, _ in refused)]
            with self._transaction(synced=False):
                # Some may have had to make room meanwhile.
                (first,) = self._db.execute("SELECT min(id) FROM waiting").fetchone()
                there = [item for item in gone if first is not None and item.id >= first]
                self._remove(item.id for item in there)
                self._db.executemany(
                    "INSERT INTO rejected (at, kind, reason, body) VALUES (?, ?, ?, ?)",
                    [(now, kind, reason, item.body) for item, reason in refused],
                )
                if refused:
                    self._db.execute(
                        "DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?",
                        (self._max_rejected,),
                    )
            self._waiting -= len(there)
            self._bytes -= sum(len(item.body) for item in there)

    def rejected(self, limit: int = 100) -> list[Rejected]:
        """The newest refused events first."""
        with self._lock, self._errors_translated():
            rows = self._db.execute(
                "SELECT at, kind, reason, body FROM rejected ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [
            Rejected(datetime.fromtimestamp(at, UTC), kind, reason, msgspec.json.decode(body))
            for at, kind, reason, body in rows
        ]

    def retry_rejected(self) -> int:
        """Let the refused events wait again, behind the others; how many there were."""
        with self._lock:
            with self._transaction(synced=True):
                (size,) = self._db.execute(
                    "SELECT coalesce(sum(length(body)), 0) FROM rejected"
                ).fetchone()
                count = self._db.execute(
                    "INSERT INTO waiting (kind, body) SELECT kind, body FROM rejected ORDER BY id"
                ).rowcount
                self._db.execute("DELETE FROM rejected")
            self._waiting += count
            self._bytes += size
            return int(count)

    def close(self) -> None:
        """Close the file and let others have it. Safe to call twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
                os.close(self._holder)

    def _remove(self, ids: Iterable[int]) -> None:
        self._db.executemany("DELETE FROM waiting WHERE id = ?", ((one,) for one in ids))

    def _oldest(self, size: int) -> list[tuple[int, int]]:
        """The oldest events that together hold at least `size` bytes: (id, length)."""
        found: list[tuple[int, int]] = []
        for row in self._db.execute("SELECT id, length(body) FROM waiting ORDER BY id"):
            if size <= 0:
                break
            found.append(row)
            size -= row[1]
        return found

    @contextmanager
    def _transaction(self, *, synced: bool) -> Iterator[None]:
        with self._lock, self._errors_translated():
            if self._closed:
                raise ConfigurationError(f"The spool {self.path} is closed already.")
            self._db.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # SQLite has undone the transaction itself after some errors.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(str(self.path), isolation_level=None, check_same_thread=False)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables and application != _APPLICATION:
                raise DatabaseDamaged(
                    f"The file {self.path} is another program's database.", hint=_MOVE_ASIDE
                )
            if version > _VERSION:
                raise ConfigurationError(
                    f"The spool {self.path} was made by a newer Andon.",
                    hint="Install that version again to send what waits in it.",
                )
            if db.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                raise ConfigurationError(
                    f"The file system of {self.path} does not support SQLite's write-ahead log.",
                    hint="Put the spool on a local disk.",
                )
            if not tables:
                db.executescript(
                    f"BEGIN;{_SCHEMA}PRAGMA application_id={_APPLICATION};"
                    f"PRAGMA user_version={_VERSION};COMMIT;"
                )
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            return DatabaseDamaged(
                f"The spool {self.path} is damaged or not a spool: {error}.", hint=_MOVE_ASIDE
            )
        return StorageFull(
            f"The spool {self.path} cannot be written: {error}.",
            hint="Look at the free space and the rights of its folder; what was recorded is kept.",
        )


def _hold(path: Path) -> int:
    """Take the spool for this process; the kernel lets go when the process ends.

    The lock is on a file of its own: closing any descriptor of the database would drop the
    locks SQLite has on it.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        # Readable by its owner alone from the first moment: it names people.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"The spool {path} cannot be opened: {error.strerror}.",
            hint="Name a file in a folder that this user may write.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConfigurationError(
            f"The spool {path} is in use by another process ({other or 'unknown'}).",
            hint="Wait for it to end, or name another spool: each program needs its own.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
