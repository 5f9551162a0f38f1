"""The history of what serves: which version, from which, why, by whom."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.records import Event
from andon.store.tables import deployment_events, model_versions


class EventType(StrEnum):
    """The words of the history. Others are allowed and count as a change of what serves."""

    ACTIVATE = "ACTIVATE"
    ROLLBACK = "ROLLBACK"
    REJECTED = "REJECTED"
    DAMAGED = "DAMAGED"
    DELETE = "DELETE"
    STAGE = "STAGE"
    THRESHOLD = "THRESHOLD"


# Written down for people; what serves stayed the same.
NOTES = frozenset(
    {
        EventType.REJECTED,
        EventType.DAMAGED,
        EventType.DELETE,
        EventType.STAGE,
        EventType.THRESHOLD,
    }
)

# Of one version's history, the newest so many are shown.
_HISTORY = 200


class DeploymentEvents:
    """The queries of `deployment_events`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(
        self,
        model: str,
        version: int,
        event_type: str,
        *,
        reason: str = "",
        previous_version: int | None = None,
        actor: str = "",
    ) -> Event:
        """Write an event that changed nothing, such as a file that was rejected (version 0)."""
        with self._connections.write() as connection:
            model_id = connection.scalar(
                select(model_versions.c.id).where(
                    model_versions.c.model_name == model, model_versions.c.version == version
                )
            )
            return insert_event(
                connection,
                model=model,
                model_id=model_id,
                version=version,
                event_type=event_type,
                reason=reason,
                previous_version=previous_version,
                actor=actor,
                timestamp=now(),
            )

    def page(
        self,
        *,
        model: str | None = None,
        event_type: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[list[Event], int | None]:
        """Events newest first, and the id to pass as `before` for the next page, or None."""
        query = select(deployment_events).order_by(deployment_events.c.id.desc()).limit(limit + 1)
        if model is not None:
            query = query.where(deployment_events.c.model_name == model)
        if event_type is not None:
            query = query.where(deployment_events.c.event_type == event_type)
        if before is not None:
            query = query.where(deployment_events.c.id < before)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        events = [_record(row) for row in rows[:limit]]
        return events, events[-1].id if len(rows) > limit else None

    def of_version(self, model: str, version: int) -> list[Event]:
        """What happened to one version, and what replaced it: the newest 200, oldest first."""
        columns = deployment_events.c
        query = (
            select(deployment_events)
            .where(
                columns.model_name == model,
                or_(columns.model_version == version, columns.previous_version == version),
            )
            .order_by(columns.id.desc())
            .limit(_HISTORY)
        )
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)][::-1]

    def last_id(self) -> int:
        """The newest event's id, 0 when there is none: it grows with every change."""
        with self._connections.read() as connection:
            return connection.scalar(select(func.max(deployment_events.c.id))) or 0


def insert_event(
    connection: Connection,
    *,
    model: str,
    model_id: int | None,
    version: int,
    event_type: str,
    reason: str,
    previous_version: int | None,
    actor: str,
    timestamp: datetime,
    action_id: str | None = None,
) -> Event:
    """Write an event in the caller's transaction."""
    values = {
        "model_id": model_id,
        "model_name": model,
        "model_version": version,
        "event_type": str(event_type),
        "timestamp": timestamp,
        "reason": reason,
        "previous_version": previous_version,
        "actor": actor,
        "action_id": action_id,
    }
    row = connection.execute(
        insert(deployment_events).values(values).returning(deployment_events)
    ).one()
    return _record(row)


def serving_history(connection: Connection, model: str) -> list[Event]:
    """The events of `model` that changed what serves, oldest first."""
    query = (
        select(deployment_events)
        .where(
            deployment_events.c.model_name == model,
            deployment_events.c.model_id.is_not(None),
            deployment_events.c.event_type.not_in([str(kind) for kind in NOTES]),
        )
        .order_by(deployment_events.c.id)
    )
    return [_record(row) for row in connection.execute(query)]


def _record(row: Any) -> Event:
    return Event(
        id=row.id,
        model=row.model_name,
        model_version=row.model_version,
        event_type=row.event_type,
        timestamp=row.timestamp,
        reason=row.reason,
        previous_version=row.previous_version,
        actor=row.actor,
        action_id=row.action_id,
    )
