"""The outbox: what is to be told stays here until it is told, or given up.

Each channel is told in the order in which things happened: while its oldest entry waits to be
tried again, the later ones wait behind it. Channels do not wait for each other.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from andon.store.alerts import storable
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7
from andon.store.tables import notifications

LONGEST_WAIT = timedelta(minutes=15)
"""The longest pause between two tries."""

_columns = notifications.c
_waiting = _columns.status == "waiting"


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be told over one channel.

    Attributes:
        id: UUIDv7; the same with every try.
        attempts: Times it was tried, this one included.
        created_at: When it happened.
    """

    id: str
    channel: str
    event: str
    data: dict[str, Any]
    attempts: int
    created_at: datetime


class Outbox:
    """The queries of `notifications`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(
        self, connection: Connection | None, channel: str, event: str, data: dict[str, Any]
    ) -> str:
        """Keep something to be told; its id.

        Args:
            connection: A transaction it is to be kept together with; None: one of its own, and
                on return it is on disk.
            channel: Over which.
            event: What happened: "alert", "rollback", …
            data: As JSON.
        """
        if connection is None:
            with self._connections.write() as own:
                return self.add(own, channel, event, data)
        moment = now()
        values = {
            "id": uuid7(),
            "channel": channel,
            "event": event,
            "data": storable(data),
            "status": "waiting",
            "attempts": 0,
            "error": "",
            "created_at": moment,
            "available_at": moment,
        }
        connection.execute(insert(notifications).values(values))
        return str(values["id"])

    def due(
        self, limit: int = 10, *, channels: Collection[str] | None = None, hold: float = 60.0
    ) -> list[Notification]:
        """Take the oldest entry of each channel, where it is time for it.

        For `hold` seconds no other process gets them; after that, whoever took them has died, and
        they are due again.

        Args:
            limit: At most so many.
            channels: Of these only; None: of all.
            hold: Longer than one delivery takes, seconds.
        """
        moment = now()
        oldest = select(func.min(_columns.id)).where(_waiting).group_by(_columns.channel)
        if channels is not None:
            oldest = oldest.where(_columns.channel.in_(channels))
        # Further ahead than any pause: the clock was set back, and that must not silence it.
        ready = (_columns.available_at <= moment) | (
            _columns.available_at > moment + LONGEST_WAIT + timedelta(seconds=hold)
        )
        wanted = and_(_columns.id.in_(oldest), _waiting, ready)
        with self._connections.read() as reading:
            # Looking first: an idle notifier must not take SQLite's write lock every second.
            if reading.scalar(select(_columns.id).where(wanted).limit(1)) is None:
                return []
        with self._connections.write() as connection:
            chosen = connection.scalars(
                select(_columns.id)
                .where(wanted)
                .order_by(_columns.id)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            taken = connection.execute(
                update(notifications)
                .where(_columns.id.in_(chosen))
                .values(
                    attempts=_columns.attempts + 1, available_at=moment + timedelta(seconds=hold)
                )
                .returning(notifications)
            ).all()
        return sorted((_record(row) for row in taken), key=lambda one: one.id)

    def sent(self, notification_id: str) -> None:
        """It was told."""
        self._change(notification_id, status="sent", error="", sent_at=now())

    def failed(self, notification_id: str, error: str, again_at: datetime | None) -> None:
        """It could not be told.

        Args:
            notification_id: Which.
            error: Why, for people.
            again_at: When it is tried again; None: it is given up.
        """
        values: dict[str, Any] = {"error": storable(error)}
        if again_at is None:
            values["status"] = "given_up"
        else:
            values["available_at"] = again_at
        self._change(notification_id, **values)

    def waiting(self) -> int:
        """How many wait to be told."""
        query = select(func.count()).select_from(notifications).where(_waiting)
        with self._connections.read() as connection:
            return connection.scalar(query) or 0

    def oldest_waiting(self) -> tuple[datetime, str] | None:
        """Since when the oldest waits, and why its last try failed; None where nothing waits."""
        query = (
            select(_columns.created_at, _columns.error)
            .where(_waiting)
            .order_by(_columns.created_at)
            .limit(1)
        )
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else (row.created_at, row.error)

    def prune(self, before: datetime) -> int:
        """Forget what was told or given up before a time; how many there were."""
        done = _columns.status != "waiting"
        with self._connections.write() as connection:
            return connection.execute(
                delete(notifications).where(done, _columns.created_at < before)
            ).rowcount

    def _change(self, notification_id: str, **values: Any) -> None:
        with self._connections.write() as connection:
            connection.execute(
                update(notifications).where(_columns.id == notification_id, _waiting).values(values)
            )


def _record(row: Row[Any]) -> Notification:
    return Notification(
        id=row.id,
        channel=row.channel,
        event=row.event,
        data=row.data,
        attempts=row.attempts,
        created_at=row.created_at,
    )
