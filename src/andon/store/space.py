"""How large the database is, and giving room back that deleted rows have left.

SQLite writes new rows where deleted ones were; the file gets no smaller by itself. Files that
Andon made since it deletes rows can be cut in small steps (`auto_vacuum`); older ones only by
a VACUUM, which needs the same room once more and keeps every writer waiting: that is for a
person to do. PostgreSQL looks after itself.
"""

import time

import msgspec
from sqlalchemy import Connection, func, select, text

from andon.store.connections import Connections
from andon.store.steps import Pace, at_once
from andon.store.tables import metadata

_INCREMENTAL = 2
# Pages that one transaction moves: 1 MiB.
_PAGES = 256
# Less is kept for the rows to come.
_WORTH_IT = 16 * 1024**2
_TOO_MUCH = 0.25
_ENOUGH = 0.10


class Space(msgspec.Struct, frozen=True):
    """How much room the database takes.

    Attributes:
        size: Bytes, without what is not written to the file proper yet.
        free: Of these, bytes that new rows will use first; 0 on PostgreSQL, which does not say.
        shrinks: Whether free room can be given back while Andon runs.
    """

    size: int
    free: int
    shrinks: bool

    @property
    def much_free(self) -> bool:
        """Whether so much is free that new rows will not need it soon."""
        return self.free > max(_WORTH_IT, _TOO_MUCH * self.size)


def space(connection: Connection) -> Space:
    """The room that the database of this connection takes."""
    if connection.dialect.name != "sqlite":
        names = [func.to_regclass(name) for name in metadata.tables]
        sizes = connection.execute(select(*map(func.pg_total_relation_size, names))).one()
        return Space(sum(size or 0 for size in sizes), 0, shrinks=True)
    page, pages, free, kind = (
        connection.execute(text(f"PRAGMA {name}")).scalar() or 0
        for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
    )
    return Space(page * pages, page * free, shrinks=kind == _INCREMENTAL)


def shrink(connections: Connections, *, pace: Pace = at_once) -> int:
    """Cut the file where much of it is free; the bytes given back.

    A tenth stays free for the rows to come, and nothing happens while less than a quarter is:
    where as much is deleted as written, the file keeps its size.

    Args:
        connections: The database; nothing happens on PostgreSQL.
        pace: How fast.

    Raises:
        StorageFull: The database takes no writes.
    """
    with connections.read() as reading:
        before = now = space(reading)
    if connections.path is None or not (before.shrinks and before.much_free):
        return 0
    bare = connections.open_sqlite()
    try:
        while now.free > max(_WORTH_IT, _ENOUGH * now.size):
            began = time.monotonic()
            with connections.writing_turn(), connections.errors_translated():
                # A script is run to its end; a single statement would move a single page.
                bare.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
            took = time.monotonic() - began
            left = now.free
            with connections.read() as reading:
                now = space(reading)
            if now.free >= left or not pace(took):
                break
    finally:
        bare.close()
    return before.size - now.size
