"""The factory events: taking them in, listing them, taking one back, who is where.

`andon.store.factory_ingest` says how states become time; `andon.store.factory_totals` sums.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from andon.errors import NotFound
from andon.store import paging
from andon.store.clock import now_micros
from andon.store.connections import Connections
from andon.store.factory_ingest import Ingest, retract
from andon.store.factory_records import (
    DUPLICATE,
    STORED,
    FactoryEvent,
    FactoryRow,
    Refused,
    StateSpan,
)
from andon.store.factory_sql import factory_sql
from andon.store.statements import Statements
from andon.store.tables import factory_events

__all__ = [
    "DUPLICATE",
    "STORED",
    "FactoryEvent",
    "FactoryEvents",
    "FactoryRow",
    "Refused",
    "StateSpan",
]

_columns = factory_events.c


class FactoryEvents:
    """The queries of `factory_events`.

    Args:
        connections: The database.
        max_gap: Longest time a state counts for, microseconds; only used where the database
            does not say (`FactoryTotals.ensure_basis`).
    """

    def __init__(self, connections: Connections, *, max_gap: int) -> None:
        self._connections = connections
        self._max_gap = max_gap

    def ingest(
        self,
        connection: Connection | sqlite3.Connection,
        rows: Sequence[FactoryRow],
        *,
        auto_register: bool = False,
    ) -> list[str | Refused]:
        """Store the events that are new, and bring ends and sums up to date.

        Args:
            connection: In a transaction of the caller's, on SQLite a writing one; what this
                does is kept when the caller commits.
            rows: From one parcel or several, in any order.
            auto_register: Register unknown workers and stations instead of refusing them.

        Returns:
            For each row `STORED`, `DUPLICATE` or why it was refused.
        """
        if not rows:
            return []
        sql = factory_sql(Statements(connection))
        return Ingest(sql, max_gap=self._max_gap, auto_register=auto_register).take(rows)

    def get(self, event_id: str) -> FactoryEvent:
        """One event, also one that was taken back.

        Raises:
            NotFound: There is no such event.
        """
        with self._connections.read() as connection:
            row = connection.execute(_all.where(_columns.event_id == event_id)).first()
        if row is None:
            raise _unknown(event_id)
        return FactoryEvent(*row)

    def retract(self, event_id: str) -> FactoryEvent:
        """Take an event back: it is kept and no longer counted. Twice is fine.

        Raises:
            NotFound: There is no such event.
        """
        with self._connections.write() as connection:
            sql = factory_sql(Statements(connection))
            if not retract(sql, event_id, now_micros(), self._max_gap):
                raise _unknown(event_id)
            row = connection.execute(_all.where(_columns.event_id == event_id)).one()
            return FactoryEvent(*row)

    def page(
        self,
        *,
        worker: str | None = None,
        workstation: str | None = None,
        event_type: str | None = None,
        site: str | None = None,
        camera: str | None = None,
        since: int | None = None,
        until: int | None = None,
        before: tuple[int, int] | None = None,
        limit: int = 100,
        retracted: bool = False,
    ) -> tuple[list[FactoryEvent], tuple[int, int] | None]:
        """Events, newest first, and where the next page starts.

        Fewer than `limit` are no sign of the end: `paging` bounds the work for one page.

        Args:
            worker: Only of this worker; the same with the next four.
            workstation: Only at this station.
            event_type: Only of this type.
            site: Only of this site.
            camera: Only seen by this camera.
            since: Only from this time on, microseconds.
            until: Only before this time, microseconds.
            before: Where this page starts: what the call before answered.
            limit: At most this many.
            retracted: With those that were taken back.

        Returns:
            The events, and (timestamp, id) to give as `before`; None on the last page.
        """
        wanted = {
            _columns.workstation_id: workstation,
            _columns.event_type: event_type,
            _columns.site_id: site,
            _columns.camera_id: camera,
        }
        others = [column == value for column, value in wanted.items() if value is not None]
        if not retracted:
            others.append(_columns.retracted.is_(None))
        indexed = [] if worker is None else [_columns.worker_id == worker]
        if since is not None:
            indexed.append(_columns.timestamp >= since)
        if until is not None:
            indexed.append(_columns.timestamp < until)
        with self._connections.read() as connection:
            rows, following = paging.page(
                connection,
                factory_events,
                indexed=indexed,
                others=others,
                before=before,
                limit=limit,
            )
        return [FactoryEvent(*row) for row in rows], following

    def states(
        self,
        *,
        since: int,
        until: int,
        worker: str | None = None,
        workstation: str | None = None,
        limit: int = 10_000,
    ) -> list[StateSpan]:
        """Who was in which state from when to when, cut to a window, sorted by start.

        Reports of the same state at the same station that follow without a break are one span.

        Args:
            since: Start of the window, microseconds.
            until: End of the window; must not lie in the future.
            worker: Only of this worker.
            workstation: Only at this station.
            limit: At most this many spans, the earliest.
        """
        where, values = "", [since, until, since]
        for column, value in (("worker_id", worker), ("workstation_id", workstation)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(value)  # type: ignore[arg-type]
        sql = (
            "SELECT worker_id, workstation_id, event_type, timestamp, until FROM factory_events "  # noqa: S608 - our own names
            "WHERE timestamp > ? - (SELECT max_gap FROM factory_basis) AND timestamp < ? "
            f"AND until > ? AND until > timestamp{where} ORDER BY timestamp, id"
        )
        with self._connections.read() as connection:
            rows = Statements(connection).rows(sql, values)
        spans: list[list[Any]] = []
        open_spans: dict[str, list[Any]] = {}
        for worker_id, station, kind, start, end in rows:
            span = open_spans.get(worker_id)
            if span is not None and span[4] == start and span[1] == station and span[2] == kind:
                span[4] = end
                continue
            if len(spans) == limit:
                # Those that are open may still grow; new ones are too many.
                open_spans.pop(worker_id, None)
                continue
            span = open_spans[worker_id] = [worker_id, station, kind, start, end]
            spans.append(span)
        return [
            StateSpan(worker_id, station, kind, max(start, since), min(end, until))
            for worker_id, station, kind, start, end in spans
        ]

    def latest_states(self, at: int) -> dict[str, StateSpan]:
        """The state each worker is in at an instant, by worker; who is in none is missing.

        `start` and `end` are those of the last report: `end` is when it stops counting unless
        another comes.
        """
        sql = (
            "SELECT worker_id, workstation_id, event_type, timestamp, until FROM factory_events "
            "WHERE timestamp > ? - (SELECT max_gap FROM factory_basis) AND timestamp <= ? "
            "AND until > ? ORDER BY worker_id"
        )
        with self._connections.read() as connection:
            rows = Statements(connection).rows(sql, (at, at, at))
        return {row[0]: StateSpan(*row) for row in rows}

    def first(self) -> int | None:
        """The earliest timestamp of an event that counts, or None."""
        return self._edge(_columns.timestamp.asc())

    def last(self) -> int | None:
        """The latest timestamp of an event that counts, or None."""
        return self._edge(_columns.timestamp.desc())

    def _edge(self, order: Any) -> int | None:
        query = select(_columns.timestamp).where(_columns.retracted.is_(None)).order_by(order)
        with self._connections.read() as connection:
            found: int | None = connection.scalar(query.limit(1))
            return found


_all: Select[Any] = select(factory_events)


def _unknown(event_id: str) -> NotFound:
    return NotFound(
        f"There is no event {event_id}.", hint="GET /events/ lists the events with their ids."
    )
