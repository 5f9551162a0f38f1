"""Eye telemetry: measurements by page and by driver, and what they add up to.

Taking them in is `drowsiness_ingest`, adding them up is `drowsiness_totals`.
"""

import sqlite3
from array import array
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from andon.errors import NotFound
from andon.store import drowsiness_totals as totals
from andon.store import paging
from andon.store.connections import Connections
from andon.store.drowsiness_ingest import ingest
from andon.store.drowsiness_records import (
    WIDTHS,
    Driver,
    DrowsinessEvent,
    DrowsinessRow,
    Measurements,
    Sums,
)
from andon.store.factory_records import Refused
from andon.store.tables import drowsiness_events, drowsiness_totals

__all__ = ["Driver", "DrowsinessEvent", "DrowsinessEvents", "DrowsinessRow", "Measurements", "Sums"]

# Of a stream that is read in columns.
_ROWS_AT_ONCE = 5_000

_events = drowsiness_events.c


class DrowsinessEvents:
    """The queries of `drowsiness_events` and `drowsiness_totals`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def ingest(
        self, connection: Connection | sqlite3.Connection, rows: Sequence[DrowsinessRow]
    ) -> list[str | Refused]:
        """Store measurements in the caller's transaction; what became of each, in order.

        "stored", "duplicate", or a `Refused` that says why.

        A repeat is a success. Under a given id, other values are refused and the first stand.
        Under an id made from time, driver, device and site, the values that come first in the
        order of smaller EAR, drowsy, longer duration stand, whichever arrived first.
        """
        return ingest(connection, rows)

    def page(
        self,
        *,
        driver: str | None = None,
        device: str | None = None,
        site: str | None = None,
        drowsy: bool | None = None,
        since: int | None = None,
        until: int | None = None,
        before: tuple[int, int] | None = None,
        limit: int = 50,
    ) -> tuple[list[DrowsinessEvent], tuple[int, int] | None]:
        """Measurements newest first, and what to pass as `before` for the next page, or None.

        Fewer than `limit` are no sign of the end: `paging` bounds the work for one page.

        Args:
            driver: Only this driver's; an empty text means the unknown one.
            device: Only those of this device.
            site: Only those of this site.
            drowsy: Only those that said so.
            since: Not older than this, microseconds since 1970 UTC.
            until: Older than this.
            before: (timestamp, id) of the last one of the page before.
            limit: Measurements per page.
        """
        wanted = (
            (_events.device_id, device),
            (_events.site_id, site),
            (_events.is_drowsy, drowsy),
        )
        indexed = [] if driver is None else [_events.driver_id == driver]
        if since is not None:
            indexed.append(_events.timestamp >= since)
        if until is not None:
            indexed.append(_events.timestamp < until)
        with self._connections.read() as connection:
            rows, following = paging.page(
                connection,
                drowsiness_events,
                indexed=indexed,
                others=[column == value for column, value in wanted if value is not None],
                before=before,
                limit=limit,
            )
        return [_record(row) for row in rows], following

    def get(self, event_id: str) -> DrowsinessEvent:
        """One measurement.

        Raises:
            NotFound: There is none with this id.
        """
        query = select(drowsiness_events).where(_events.event_id == event_id)
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"There is no measurement {event_id}.")
        return _record(row)

    def overall(self) -> Sums:
        """Everything that was ever measured."""
        return self.window(None, None)

    def window(self, since: int | None, until: int | None, driver: str | None = None) -> Sums:
        """The sums of ``since <= timestamp < until``, exact to the microsecond.

        Args:
            since: Microseconds since 1970 UTC; None: from the beginning.
            until: None: to the end.
            driver: Only this driver's; an empty text means the unknown one.
        """
        (found,) = totals.sums(self._connections, since, until, driver=driver) or [Sums()]
        return found

    def series(
        self, since: int, until: int, width_seconds: int, driver: str | None = None
    ) -> list[Sums]:
        """The sums by bucket, oldest first; buckets without measurements are left out.

        Args:
            since: Microseconds since 1970 UTC.
            until: Later than that; the first and last bucket count only what lies between.
            width_seconds: Of a bucket: whole minutes. Buckets begin at multiples of it since
                1970 UTC.
            driver: Only this driver's.

        Raises:
            ValueError: The width is not a whole number of minutes.
        """
        return totals.sums(self._connections, since, until, width=width_seconds, driver=driver)

    def series_by_driver(
        self, since: int, until: int, width_seconds: int, driver: str | None = None
    ) -> list[Sums]:
        """The same for each driver: by bucket, then by driver."""
        return totals.sums(
            self._connections, since, until, width=width_seconds, driver=driver, by_driver=True
        )

    def drivers(self, since: int | None = None, until: int | None = None) -> list[Driver]:
        """Who was measured in a window, by id, and when each was measured last (ever).

        Where all measurements of a driver were deleted, to the minute.
        """
        found = totals.sums(self._connections, since, until, by_driver=True)
        last = select(func.max(_events.timestamp))
        minute = select(func.max(drowsiness_totals.c.start)).where(
            drowsiness_totals.c.width == WIDTHS[-1]
        )
        drivers = []
        with self._connections.read() as connection:
            for sums in found:
                whose = sums.driver_id
                seen = connection.scalar(last.where(_events.driver_id == whose))
                if seen is None:
                    seen = connection.scalar(minute.where(drowsiness_totals.c.driver_id == whose))
                drivers.append(Driver(driver_id=whose, sums=sums, last=seen or 0))
        return drivers

    def measurements(self, since: int, until: int, driver: str, limit: int) -> Measurements:
        """A driver's stream, oldest first, at most `limit` points from the beginning."""
        query = (
            select(_events.timestamp, _events.ear_value, _events.is_drowsy, _events.duration_ms)
            .where(
                _events.driver_id == driver,
                _events.timestamp >= since,
                _events.timestamp < until,
            )
            .order_by(_events.timestamp, _events.event_id)
            .limit(limit)
        )
        found = Measurements(array("q"), array("d"), array("b"), array("d"))
        with self._connections.read() as connection:
            result = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
            for part in result.partitions():
                timestamps, ears, drowsy, durations = zip(*part, strict=True)
                found.timestamps.extend(timestamps)
                found.ears.extend(ears)
                found.drowsy.extend(drowsy)
                found.durations.extend(durations)
        return found

    def first(self, driver: str | None = None) -> int | None:
        """Time of the oldest measurement, microseconds since 1970 UTC; None without any."""
        return self._edge(func.min(_events.timestamp), driver)

    def last(self, driver: str | None = None) -> int | None:
        """Time of the newest measurement, microseconds since 1970 UTC; None without any."""
        return self._edge(func.max(_events.timestamp), driver)

    def check_totals(self) -> list[str]:
        """Differences between the sums and a recount of every measurement; slow, for check-ups."""
        return totals.differences(self._connections)

    def _edge(self, extreme: Any, driver: str | None) -> int | None:
        query = select(extreme)
        if driver is not None:
            query = query.where(_events.driver_id == driver)
        with self._connections.read() as connection:
            found: int | None = connection.scalar(query)
            return found


def _record(row: Any) -> DrowsinessEvent:
    return DrowsinessEvent(
        id=row.id,
        event_id=row.event_id,
        timestamp=row.timestamp,
        driver_id=row.driver_id,
        device_id=row.device_id,
        site_id=row.site_id,
        ear_value=row.ear_value,
        is_drowsy=row.is_drowsy,
        duration_ms=row.duration_ms,
        source=row.source,
        received=row.received,
    )
