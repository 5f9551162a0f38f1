"""What the process that watches has found, for the processes beside it: one row for each thing.

Only what is newest is kept, and only where there are several processes: on SQLite there is one.
"""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.tables import watch_state

_columns = watch_state.c


class StateRow(msgspec.Struct, frozen=True):
    """One thing, as it was last found.

    Attributes:
        name: What it is.
        value: Plain values.
        updated_at: When it was found.
    """

    name: str
    value: Any
    updated_at: datetime


class WatchState:
    """The queries of `watch_state`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, name: str, value: Any, at: datetime | None = None) -> None:
        """Keep the newest of one thing; what was there before is gone.

        Args:
            name: What it is, at most 128 characters.
            value: Plain values.
            at: When it was found; now where None.
        """
        values = {"value": value, "updated_at": at or now()}
        with self._connections.write() as connection:
            changed = connection.execute(
                update(watch_state).where(_columns.name == name).values(values)
            ).rowcount
            if changed:
                return
            try:
                with connection.begin_nested():
                    connection.execute(insert(watch_state).values(name=name, **values))
            except IntegrityError:
                # Another process, which watched until a moment ago, was first.
                connection.execute(update(watch_state).where(_columns.name == name).values(values))

    def get(self, name: str) -> StateRow | None:
        """The newest of one thing, or None."""
        with self._connections.read() as connection:
            row = connection.execute(select(watch_state).where(_columns.name == name)).first()
        return None if row is None else StateRow(row.name, row.value, row.updated_at)

    def times(self, prefix: str) -> dict[str, datetime]:
        """When each thing whose name begins so was last found."""
        query = select(_columns.name, _columns.updated_at).where(
            _columns.name.startswith(prefix, autoescape=True)
        )
        with self._connections.read() as connection:
            return {row.name: row.updated_at for row in connection.execute(query)}

    def forget(self, name: str) -> None:
        """Keep nothing of one thing; nothing happens where nothing is kept."""
        with self._connections.write() as connection:
            connection.execute(delete(watch_state).where(_columns.name == name))
