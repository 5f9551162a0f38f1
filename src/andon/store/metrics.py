"""Measured numbers of versions over time: accuracy, mean confidence, whatever is watched."""

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.records import Metric
from andon.store.tables import performance_metrics

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
            rows = connection.execute(query).all()
        return [
            Metric(
                id=row.id,
                version_id=row.model_id,
                name=row.metric_name,
                value=row.metric_value,
                details=row._mapping["metadata"],  # noqa: SLF001 - the documented way to a column
                timestamp=row.created_at,
            )
            for row in rows
        ]
