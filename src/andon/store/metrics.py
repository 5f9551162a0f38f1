"""Measured numbers of versions over time: accuracy, mean confidence, whatever is watched."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, insert, select

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.records import Metric
from andon.store.steps import Pace, at_once, delete_in_steps
from andon.store.tables import model_versions, performance_metrics

_columns = performance_metrics.c


class Metrics:
    """The queries of `performance_metrics`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(
        self,
        version_id: int,
        values: dict[str, float],
        *,
        details: dict[str, Any] | None = None,
        at: datetime | None = None,
    ) -> None:
        """Record numbers measured together, at one time.

        Args:
            version_id: Row id of the version.
            values: Number by name, such as ``{"accuracy": 0.93}``.
            details: What they were measured on, kept with each.
            at: When; default now.
        """
        moment = at or now()
        rows = [
            {
                "model_id": version_id,
                "metric_name": name,
                "metric_value": float(value),
                "metadata": details,
                "created_at": moment,
            }
            for name, value in values.items()
        ]
        if rows:
            with self._connections.write() as connection:
                connection.execute(insert(performance_metrics), rows)

    def recent(
        self,
        version_id: int,
        *,
        name: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[Metric]:
        """The newest numbers of a version, newest first."""
        query = (
            select(performance_metrics)
            .where(_columns.model_id == version_id)
            .order_by(_columns.created_at.desc(), _columns.id.desc())
            .limit(limit)
        )
        if name is not None:
            query = query.where(_columns.metric_name == name)
        if since is not None:
            query = query.where(_columns.created_at >= since)
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def first(self, version_id: int, name: str) -> Metric | None:
        """The oldest number of this name of a version, or None."""
        query = (
            select(performance_metrics)
            .where(_columns.model_id == version_id, _columns.metric_name == name)
            .order_by(_columns.created_at, _columns.id)
            .limit(1)
        )
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _record(row)

    def series(
        self, version_ids: Sequence[int], name: str, since: datetime
    ) -> dict[int, list[tuple[datetime, float]]]:
        """One number of several versions over time, oldest first, by row id of the version."""
        query = (
            select(_columns.model_id, _columns.created_at, _columns.metric_value)
            .where(
                _columns.model_id.in_(version_ids),
                _columns.metric_name == name,
                _columns.created_at >= since,
            )
            .order_by(_columns.created_at, _columns.id)
        )
        found: dict[int, list[tuple[datetime, float]]] = {}
        with self._connections.read() as connection:
            for version_id, moment, value in connection.execute(query):
                found.setdefault(version_id, []).append((moment, value))
        return found

    def prune(self, before: datetime, *, keep: str = "baseline", pace: Pace = at_once) -> int:
        """Delete numbers measured before a time.

        Args:
            before: Older ones go.
            keep: Names that begin so stay: they are measured once.
            pace: How fast.

        Returns:
            How many were deleted.
        """
        with self._connections.read() as connection:
            versions = connection.scalars(select(model_versions.c.id)).all()
        deleted = 0
        # Version by version: that is how the index goes.
        for version in versions:
            old = and_(
                _columns.model_id == version,
                _columns.created_at < before,
                _columns.metric_name.not_like(f"{keep}%"),
            )
            done = delete_in_steps(
                self._connections, _columns.id, _columns.created_at, old, pace=pace
            )
            deleted += done.rows
            if not done.finished:
                break
        return deleted


def _record(row: Any) -> Metric:
    return Metric(
        id=row.id,
        version_id=row.model_id,
        name=row.metric_name,
        value=row.metric_value,
        details=row._mapping["metadata"],  # noqa: SLF001 - the documented way to a column
        timestamp=row.created_at,
    )
