"""Deletes many rows a few at a time, while everybody else goes on writing.

SQLite has one writer, and an SD card is slow: a million rows in one transaction would keep every
answer waiting for minutes. So what is old is looked for without a lock, deleted in short
transactions, and there is a pause after each.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, delete, select

from andon.store.connections import Connections

AT_ONCE = 200
"""Rows that one transaction deletes."""

Pace = Callable[[float], bool]
"""Called after each transaction with the seconds it took; waits, and says whether to go on."""


class Deleted(NamedTuple):
    """What became of it.

    Attributes:
        rows: Deleted.
        finished: Whether nothing old is left; False where the pace said to stop.
    """

    rows: int
    finished: bool


def at_once(_took: float) -> bool:
    """A pace without pauses."""
    return True


def delete_in_steps(
    connections: Connections,
    key: Column[Any],
    place: Column[Any],
    old: ColumnElement[bool],
    *,
    since: Any = None,
    pace: Pace = at_once,
    also: Callable[[Connection, Sequence[Any]], object] | None = None,
) -> Deleted:
    """Delete the rows of a table that are old.

    Each transaction is whole in itself: after a crash the next call goes on where it stopped. A
    row that another transaction holds (PostgreSQL), or that is not old any more by then, stays.

    Args:
        connections: The database.
        key: The table's primary key.
        place: An indexed column; rows are gone through in its order.
        old: Which rows; with `place` it should need no more of the table than it deletes.
        since: Where to begin, a value of `place`; None: at the beginning.
        pace: How fast.
        also: Called with the keys that are deleted, in the same transaction.

    Raises:
        StorageFull: The database takes no writes.
    """
    table = key.table
    rows = 0
    while True:
        query = select(key, place).where(old).order_by(place).limit(AT_ONCE)
        if since is not None:
            query = query.where(place >= since)
        with connections.read() as reading:
            found = reading.execute(query).all()
        if not found:
            return Deleted(rows, finished=True)
        before, since = since, found[-1][1]
        began = time.monotonic()
        with connections.write() as connection:
            # In the order of keys, as others lock them, and without those they hold.
            keys = connection.scalars(
                select(key)
                .where(key.in_([row[0] for row in found]), old)
                .order_by(key)
                .with_for_update(skip_locked=True)
            ).all()
            connection.execute(delete(table).where(key.in_(keys)))
            if also is not None:
                also(connection, keys)
        rows += len(keys)
        # Where others hold them all, go on behind them; they are looked at again another time.
        if len(found) < AT_ONCE or (not keys and before == since):
            return Deleted(rows, finished=True)
        if not pace(time.monotonic() - began):
            return Deleted(rows, finished=False)
