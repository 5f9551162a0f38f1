"""What a database driver's errors mean to a caller, in one place for both databases."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError

from andon.errors import DatabaseDamaged, InvalidRequest, StorageFull

_HEADER = b"SQLite format 3\x00"
_HEADER_SIZE = 100

_SQLITE_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_WHY = {
    sqlite3.SQLITE_FULL: ("The disk is full", "Free some space; Andon goes on by itself."),
    sqlite3.SQLITE_BUSY: (
        "Another program holds its lock",
        "Find it with `fuser` on the file, or wait until it is done.",
    ),
    sqlite3.SQLITE_LOCKED: ("It is locked", "Try again."),
    sqlite3.SQLITE_IOERR: (
        "Reading or writing failed",
        "Check the free space and the health of the disk (`dmesg`).",
    ),
    sqlite3.SQLITE_READONLY: (
        "It may not be written",
        "Check the mode of the file and its folder, and whether the disk is read-only.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "It cannot be opened",
        "Check that its folder exists and that you may write to it.",
    ),
    sqlite3.SQLITE_PERM: ("It may not be used", "Check the owner and mode of the file."),
}

# SQLSTATE classes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES_WHY = {
    "53": ("The server is out of disk, memory or connections", "Look at the server."),
    "55": ("A lock was not given in time", "Try again."),
    "57": ("The server is shutting down or cancelled the statement", "Try again."),
    "58": ("The server cannot read or write its files", "Look at the server's log."),
    "08": (
        "There is no connection",
        "Check DATABASE_URL, and that the server runs and can be reached.",
    ),
    "40": ("Two transactions were in each other's way", "Try again."),
    # One state of a class whose others are faults of ours: a standby, or a server set so.
    "25006": (
        "It may only be read now",
        "Look whether the server is a standby, or default_transaction_read_only is set.",
    ),
}


def translated(error: BaseException, where: str) -> BaseException:
    """The `AndonError` that says what `error` means for the database `where`.

    Returns:
        `StorageFull` for what may pass, `DatabaseDamaged` for what will not, `InvalidRequest`
        for a value no database can hold, and `error` itself for anything else.
    """
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, (OverflowError, UnicodeEncodeError)) or isinstance(error, DataError):
        return InvalidRequest(
            f"A value cannot be stored or looked for in the database: {_first_line(original)}.",
            hint="Send shorter text, smaller numbers, and no NUL characters.",
        )
    if isinstance(original, sqlite3.Error):
        return _translated_sqlite(error, original, where)
    state: str | None = getattr(original, "sqlstate", None)
    why = _POSTGRES_WHY.get(state or "") or _POSTGRES_WHY.get((state or "")[:2])
    lost = isinstance(error, DBAPIError) and (
        error.connection_invalidated or type(original).__name__ == "OperationalError"
    )
    if why is None and lost and state is None:
        why = _POSTGRES_WHY["08"]
    if why is None:
        return error
    return StorageFull(
        f"The database {where} cannot be used: {why[0].lower()} ({_first_line(original)}).",
        hint=why[1],
    )


def _translated_sqlite(error: BaseException, original: sqlite3.Error, where: str) -> BaseException:
    # Python raises a few errors itself ("Cannot operate on a closed database"): no code.
    code: int = getattr(original, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_DAMAGED:
        return DatabaseDamaged(
            f"The database file {where} is damaged: {original}. Nothing was changed.",
            hint="Restore it from a backup, or move it away to start with an empty one. "
            "`sqlite3 FILE .recover` may save its rows.",
        )
    why = _SQLITE_WHY.get(code)
    if why is None:
        return error
    return StorageFull(
        f"The database file {where} cannot be written or read now. {why[0]} ({original}).",
        hint=why[1],
    )


def refuse_what_is_no_database(path: Path) -> None:
    """Look at a file before SQLite does, which would take some of these for a new database.

    Raises:
        DatabaseDamaged: `path` holds something else, or lost its content.
        StorageFull: It cannot be read.
    """
    try:
        if not path.exists():
            return
        if not path.is_file():
            raise DatabaseDamaged(
                f"{path} is not a file.", hint="Point ANDON_HOME or DATABASE_URL elsewhere."
            )
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER_SIZE)
    except OSError as error:
        raise StorageFull(
            f"The database file {path} cannot be read: {error.strerror}.",
            hint="Check its owner and mode, and those of its folder.",
        ) from error
    log = path.with_name(path.name + "-wal")
    if size == 0:
        # Nothing was ever stored, or everything was lost: the log tells them apart. SQLite
        # would delete the log, and with it the last rows.
        if log.exists() and log.stat().st_size > 0:
            raise DatabaseDamaged(
                f"The database file {path} is empty, but {log.name} still holds rows.",
                hint="Restore the file from a backup; keep the -wal file beside it.",
            )
        return
    if len(header) < _HEADER_SIZE or not header.startswith(_HEADER):
        raise DatabaseDamaged(
            f"{path} is not an SQLite database. It was not touched.",
            hint="Restore it from a backup, or move it away to start with an empty one.",
        )
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    # The page count is only kept when it was written together with the change counter.
    counted = header[24:28] == header[92:96] and pages > 0
    if counted and size < page * pages and not (log.exists() and log.stat().st_size > 0):
        raise DatabaseDamaged(
            f"The database file {path} is cut short: {size} of {page * pages} bytes are left. "
            "It was not touched.",
            hint="Restore it from a backup. `sqlite3 FILE .recover` may save its rows.",
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
