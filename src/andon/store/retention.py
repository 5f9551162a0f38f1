"""Which rows are old, and deleting them: see `steps` for how.

What grows with every answer and every measurement has an end here. What people decided and what
sums remember stays: versions and their totals, deployments, trainings, actions, rollouts, the
totals of the floor and of the drivers.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, func, select, text

from andon.store.clock import micros, moment
from andon.store.connections import Connections
from andon.store.feedback import delete_feedback
from andon.store.ids import uuid7_floor
from andon.store.steps import Deleted, Pace, at_once, delete_in_steps
from andon.store.tables import (
    alerts,
    drowsiness_events,
    jobs,
    predictions,
    retention,
)

PREDICTIONS = "predictions"
TELEMETRY = "telemetry"

# What was gone through is not looked at again before so many seconds: only rows that came late
# with an old time, or lost their label, can be old there.
_AGAIN = 86_400.0
_MINUTE = 60_000_000

_RAISE = text(
    "INSERT INTO retention (name, before) VALUES (:name, :before) ON CONFLICT (name) DO UPDATE "
    "SET before = excluded.before WHERE retention.before < excluded.before"
)


class Retention:
    """Deletes old rows. The methods are for one thread of one process at a time."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        # Of each kind: gone through up to here, and when from the beginning.
        self._through: dict[str, tuple[datetime, float]] = {}

    def since(self, name: str) -> datetime | None:
        """From when on every row is there; None while nothing was ever deleted.

        Args:
            name: `PREDICTIONS` (labelled ones may be older) or `TELEMETRY`.
        """
        with self._connections.read() as connection:
            before = connection.scalar(select(retention.c.before).where(retention.c.name == name))
        return moment(before) if before else None

    def delete_predictions(
        self, before: datetime, *, labelled: bool = False, pace: Pace = at_once
    ) -> Deleted:
        """Delete answers that were given before a time.

        The versions' totals stay what they are.

        Args:
            before: Older ones go.
            labelled: Those with a label, and the label with them; else those without.
            pace: How fast.
        """
        columns = predictions.c
        name = "labelled" if labelled else PREDICTIONS
        since = self._from(name)
        old = and_(
            columns.created_at < before,
            columns.actual.is_not(None) if labelled else columns.actual.is_(None),
        )
        if not labelled and self._any(columns.created_at, old, since):
            self._raise(PREDICTIONS, micros(before))
        done = delete_in_steps(
            self._connections,
            columns.id,
            columns.created_at,
            old,
            since=since,
            pace=pace,
            # In the order in which feedback is stored: PostgreSQL would deadlock otherwise.
            also=delete_feedback if labelled else None,
        )
        if done.finished:
            began = self._through[name][1] if since is not None else time.monotonic()
            self._through[name] = before, began
        return done

    def delete_jobs(self, before: datetime, *, pace: Pace = at_once) -> Deleted:
        """Forget jobs that were queued and ended before a time."""
        columns = jobs.c
        return self._each(
            columns.id,
            [
                and_(
                    columns.status == status,
                    columns.id < uuid7_floor(before),
                    columns.finished_at < before,
                )
                for status in ("succeeded", "failed")
            ],
            pace,
        )

    def delete_alerts(self, before: datetime, *, pace: Pace = at_once) -> Deleted:
        """Forget alerts that were resolved before a time."""
        columns = alerts.c
        old = and_(
            columns.status == "resolved", columns.created_at < before, columns.resolved_at < before
        )
        return self._each(columns.id, [old], pace)

    def delete_telemetry(self, before: datetime, *, pace: Pace = at_once) -> Deleted:
        """Delete measurements taken and received before a time.

        Their sums by minute, hour and day stay.

        From then on measurements of that time are refused: a repeat of a deleted one could not
        be told from a new one, and would be counted twice.
        """
        columns = drowsiness_events.c
        # On a border of minutes: every sum that is kept is of rows that are all there or all gone.
        bound = micros(before) // _MINUTE * _MINUTE
        # The newest row stays: SQLite would give its number once more.
        newest = select(func.max(columns.id)).scalar_subquery()
        # History that somebody has just brought in is kept for as long as if it were new.
        old = and_(columns.timestamp < bound, columns.received < bound, columns.id < newest)
        if self._any(columns.timestamp, old, None):
            # Before the first is deleted, and on PostgreSQL after whoever takes some in right now.
            self._raise(TELEMETRY, bound)
        return delete_in_steps(self._connections, columns.id, columns.timestamp, old, pace=pace)

    def _from(self, name: str) -> datetime | None:
        through, began = self._through.get(name, (None, 0.0))
        return None if time.monotonic() - began > _AGAIN else through

    def _any(self, place: Column[Any], old: ColumnElement[bool], since: Any) -> bool:
        query = select(place).where(old).order_by(place).limit(1)
        if since is not None:
            query = query.where(place >= since)
        with self._connections.read() as connection:
            return connection.execute(query).first() is not None

    def _raise(self, name: str, before: int) -> None:
        with self._connections.write() as connection:
            connection.execute(_RAISE, {"name": name, "before": before})

    def _each(self, key: Column[Any], parts: Sequence[ColumnElement[bool]], pace: Pace) -> Deleted:
        rows = 0
        for old in parts:
            done = delete_in_steps(self._connections, key, key, old, pace=pace)
            rows += done.rows
            if not done.finished:
                return Deleted(rows, finished=False)
        return Deleted(rows, finished=True)
