"""What comes again and again: when it was last due, so that each due time is acted on once."""

from datetime import datetime

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.tables import schedules

_columns = schedules.c


class ScheduleState(msgspec.Struct, frozen=True):
    """How far one schedule is.

    Attributes:
        name: Which.
        cron: The expression that `last_due_at` belongs to.
        last_due_at: The due time that was last acted on, or the moment it was set up.
        updated_at: When that was.
    """

    name: str
    cron: str
    last_due_at: datetime
    updated_at: datetime


class Schedules:
    """The queries of `schedules`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, name: str) -> ScheduleState | None:
        """How far a schedule is; None where it was never set up."""
        query = select(schedules).where(_columns.name == name)
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return ScheduleState(row.name, row.cron, row.last_due_at, row.updated_at)

    def set_up(self, name: str, cron: str, last_due_at: datetime) -> bool:
        """Begin with a schedule; False when another process was first."""
        values = {"cron": cron, "last_due_at": last_due_at, "updated_at": now()}
        try:
            with self._connections.write() as connection:
                connection.execute(insert(schedules).values(name=name, **values))
        except IntegrityError:
            return False
        return True

    def advance(self, state: ScheduleState, cron: str, last_due_at: datetime) -> bool:
        """Go on from a state that was read; False when another process did so meanwhile."""
        with self._connections.write() as connection:
            changed = connection.execute(
                update(schedules)
                .where(
                    _columns.name == state.name,
                    _columns.cron == state.cron,
                    _columns.last_due_at == state.last_due_at,
                )
                .values(cron=cron, last_due_at=last_due_at, updated_at=now())
            ).rowcount
        return changed == 1
