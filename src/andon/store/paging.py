"""Pages of a long table by time, newest first, with a bound on the rows that one page looks at.

A filter that hardly anything matches would else read the whole history for one answer.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

EXAMINED = 50_000
"""About so many rows are looked at for one page."""

Place = tuple[int, int]
"""Timestamp and id of a row: the next page begins behind it."""


def page(
    connection: Connection,
    table: Table,
    *,
    indexed: Sequence[ColumnElement[bool]],
    others: Sequence[ColumnElement[bool]],
    before: Place | None,
    limit: int,
) -> tuple[list[Any], Place | None]:
    """Rows, and where the next page starts; None on the last one.

    There may be fewer rows than `limit`, even none, although more follow.

    Args:
        connection: To read with.
        table: Has the columns `timestamp` and `id`, and an index that begins with what
            `indexed` compares and goes on with `timestamp`.
        indexed: Conditions that the index answers.
        others: Conditions for which rows have to be looked at.
        before: Where this page starts: what the call before answered.
        limit: At most this many.
    """
    timestamp, key = table.c.timestamp, table.c.id
    order = timestamp.desc(), key.desc()
    found: list[Any] = []
    # Mostly a few rows are enough, and where the many end need not be found out.
    for size in (2 * limit, EXAMINED):
        within = list(indexed)
        if before is not None:
            within += [timestamp <= before[0], (timestamp < before[0]) | (key < before[1])]
        walk = select(timestamp, key).where(*within).order_by(*order)
        edge = connection.execute(walk.offset(size - 1).limit(1)).first()
        if edge is not None:
            within += [timestamp >= edge[0], (timestamp > edge[0]) | (key >= edge[1])]
        rows = select(table).where(*within, *others).order_by(*order)
        found += connection.execute(rows.limit(limit + 1 - len(found))).all()
        if len(found) > limit:
            last = found[limit - 1]
            return found[:limit], (last.timestamp, last.id)
        if edge is None:
            return found, None
        before = (edge[0], edge[1])
    return found, before
