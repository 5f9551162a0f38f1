"""Plain SQL on either database inside a transaction that somebody else opened.

The paths that take thousands of rows a second write their SQL out. On SQLite it goes to the
driver itself, without SQLAlchemy's overhead. On PostgreSQL, where each statement is a trip to
the server, it goes through SQLAlchemy, which notices lost connections.

On SQLite too, few statements are better than many: with every step of one the driver gives
Python's lock away, and may wait milliseconds to get it back while other threads are busy. So
many rows go into one statement, and a query does well to answer with one row of JSON.
"""

import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection


class Statements:
    """Runs SQL that is written with `?` for its values.

    Args:
        connection: Inside a transaction, which stays the caller's to commit.
    """

    def __init__(self, connection: Connection | sqlite3.Connection) -> None:
        self._bare: sqlite3.Connection | None = None
        self._wrapped: Connection | None = None
        if isinstance(connection, sqlite3.Connection):
            self._bare = connection
        elif connection.dialect.name == "sqlite":
            self._bare = connection.connection.driver_connection
        else:
            self._wrapped = connection

    @property
    def postgresql(self) -> bool:
        """Whether this is PostgreSQL; else it is SQLite."""
        return self._bare is None

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        """Every row of a query, each to be unpacked like a tuple."""
        if self._bare is not None:
            return self._bare.execute(sql, values).fetchall()
        assert self._wrapped is not None
        return self._wrapped.exec_driver_sql(_marked(sql), tuple(values)).all()

    def first(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row of a query, or None."""
        if self._bare is not None:
            return self._bare.execute(sql, values).fetchone()
        assert self._wrapped is not None
        return self._wrapped.exec_driver_sql(_marked(sql), tuple(values)).first()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it changed."""
        if self._bare is not None:
            return self._bare.execute(sql, values).rowcount
        assert self._wrapped is not None
        return self._wrapped.exec_driver_sql(_marked(sql), tuple(values)).rowcount

    def many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for every row of values; for none, nothing."""
        if not rows:
            return
        if self._bare is not None:
            insertion = _insertion(sql)
            if insertion is None:
                self._bare.executemany(sql, rows)
                return
            start = 0
            for size in _SIZES:
                while len(rows) - start >= size:
                    values = list(chain.from_iterable(rows[start : start + size]))
                    self._bare.execute(_repeated(*insertion, size), values)
                    start += size
            return
        assert self._wrapped is not None
        self._wrapped.exec_driver_sql(_marked(sql), list(rows))


# Rows per statement: few sizes, so that the driver keeps the statements prepared. SQLite takes
# 32766 values at once.
_SIZES = (500, 200, 100, 50, 20, 10, 5, 2, 1)
_INSERTION = re.compile(r"(INSERT INTO .* VALUES )(\((?:\?, )*\?\))(.*)", re.DOTALL)


@lru_cache(maxsize=64)
def _insertion(sql: str) -> tuple[str, str, str] | None:
    """The parts of an INSERT before, at and after the marks of its row."""
    found = _INSERTION.fullmatch(sql)
    return None if found is None else (found[1], found[2], found[3])


@lru_cache(maxsize=64)
def _repeated(head: str, marks: str, tail: str, size: int) -> str:
    return f"{head}{', '.join([marks] * size)}{tail}"


@lru_cache(maxsize=256)
def _marked(sql: str) -> str:
    """The same SQL with the PostgreSQL driver's marks."""
    return sql.replace("%", "%%").replace("?", "%s")
