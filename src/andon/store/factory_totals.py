"""Sums of the factory events by hour and by day, and every metric's numbers from them.

The sums change with every event, in its transaction (`Deltas`), so a question about any period
reads whole days and hours, and events only for the hours its ends cut through: it takes as
long with ten million events as with a hundred thousand.
"""

from typing import Any, Literal, NamedTuple

from andon.store.connections import Connections
from andon.store.factory_deltas import DAY, DAYS, HOUR, HOURS, SUMS, TIMES
from andon.store.factory_records import Total
from andon.store.factory_recount import differences, rebuild
from andon.store.factory_sql import factory_sql
from andon.store.statements import Statements

__all__ = ["DAY", "DAYS", "HOUR", "HOURS", "FactoryTotals", "Total"]


class FactoryTotals:
    """The sums, and what they answer.

    Args:
        connections: The database.
        max_gap: As `FactoryEvents` takes it.
    """

    def __init__(self, connections: Connections, *, max_gap: int) -> None:
        self._connections = connections
        self._max_gap = max_gap

    def sums(
        self,
        since: int,
        until: int,
        *,
        bucket: int | None = None,
        worker: str | None = None,
        workstation: str | None = None,
        by: Literal["both", "worker", "workstation"] = "both",
    ) -> list[Total]:
        """Exact sums of a window, sorted by bucket, worker, station; without empty ones.

        A state counts with the part of it that lies inside, whoever opened it when; units and
        events count by their timestamp. `until` must not lie in the future: a state that is
        open now is taken to last as long as it may.

        Args:
            since: Start of the window, microseconds.
            until: End of the window, not part of it.
            bucket: 3600 or 86400 for a series by hour or UTC day; the first and the last
                bucket hold what of them lies in the window.
            worker: Only this one.
            workstation: Only this one.
            by: Sums by worker and station, or by one of them alone: the other is empty then.

        Raises:
            ValueError: `bucket` is another number.
        """
        if bucket not in {None, HOURS, DAYS}:
            raise ValueError(f"a bucket is {HOURS} or {DAYS} seconds, not {bucket}")
        parts = _parts(since, until, bucket)
        if not parts:
            return []
        question = _Question(
            bucket,
            {"worker_id": worker, "workstation_id": workstation},
            postgresql=self._connections.path is None,
        )
        for part in parts:
            question.add(part)
        with self._connections.read() as connection:
            rows = Statements(connection).rows(question.sql(by), question.values)
        return [Total(*row) for row in rows]

    def ensure_basis(self, max_gap: int) -> bool:
        """Make every sum anew where it was made with another longest gap; whether it was so.

        Args:
            max_gap: Longest time a state counts for, microseconds.
        """
        with self._connections.read() as connection:
            # Looking first: the usual start must not wait for whoever writes.
            found = Statements(connection).first("SELECT max_gap FROM factory_basis")
        if found is not None and found[0] == max_gap:
            return False
        with self._connections.write() as connection:
            sql = factory_sql(Statements(connection))
            if sql.basis(max_gap, alone=True) == max_gap:
                return False
            sql.statements.run("UPDATE factory_basis SET max_gap = ?", (max_gap,))
            rebuild(sql, max_gap)
            return True

    def rebuild(self) -> None:
        """Make the ends of all states and every sum anew, in one transaction.

        Takes a few seconds for a million events, during which nothing else is written.
        """
        with self._connections.write() as connection:
            sql = factory_sql(Statements(connection))
            rebuild(sql, sql.basis(self._max_gap, alone=True))

    def check(self) -> list[str]:
        """What differs between what is stored and a recomputation, in words; empty if nothing."""
        with self._connections.read() as connection:
            if self._connections.path is None:
                # All statements see one state of the database.
                connection.execution_options(isolation_level="REPEATABLE READ")
            return differences(Statements(connection))


class _Part(NamedTuple):
    """A piece of a window: whole buckets of a width, or (width 0) a piece of an hour."""

    width: int
    start: int
    end: int


def _parts(since: int, until: int, bucket: int | None) -> list[_Part]:
    """Cut a window into whole days, whole hours, and what is left at its ends."""
    first_hour, last_hour = _up(since, HOUR), until - until % HOUR
    if first_hour > last_hour:
        parts = [_Part(0, since, until)]
    else:
        first_day, last_day = _up(since, DAY), until - until % DAY
        if bucket == HOURS or first_day >= last_day:
            whole = [_Part(HOURS, first_hour, last_hour)]
        else:
            whole = [
                _Part(HOURS, first_hour, first_day),
                _Part(DAYS, first_day, last_day),
                _Part(HOURS, last_day, last_hour),
            ]
        parts = [_Part(0, since, first_hour), *whole, _Part(0, last_hour, until)]
    return [part for part in parts if part.start < part.end]


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


class _Question:
    """One statement for all parts of a window, so that all are of one state of the database.

    Args:
        bucket: Width of the buckets asked for, seconds, or None.
        only: Column and the value it must have; None where it may have any.
        postgresql: Whether it is for PostgreSQL.
    """

    def __init__(
        self, bucket: int | None, only: dict[str, str | None], *, postgresql: bool
    ) -> None:
        self._bucket = bucket
        self._only = {column: value for column, value in only.items() if value is not None}
        self._where = "".join(f" AND {column} = ?" for column in self._only)
        self._least, self._greatest = ("least", "greatest") if postgresql else ("min", "max")
        self._pieces: list[str] = []
        self.values: list[Any] = []

    def add(self, part: _Part) -> None:
        """Ask for one more part."""
        piece, values = self._whole(part) if part.width else self._cut(part)
        self._pieces.append(piece + self._where)
        self.values += [*values, *self._only.values()]

    def sql(self, by: str) -> str:
        """The statement, for `values`."""
        worker = "worker_id" if by != "workstation" else "''"
        station = "workstation_id" if by != "worker" else "''"
        added = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in SUMS)
        something = " OR ".join(f"sum({name}) <> 0" for name in SUMS)
        return (
            f"SELECT bucket, {worker}, {station}, {added} "  # noqa: S608 - our own names
            f"FROM ({' UNION ALL '.join(self._pieces)}) AS parts "
            f"GROUP BY 1, 2, 3 HAVING {something} ORDER BY 1, 2, 3"
        )

    def _whole(self, part: _Part) -> tuple[str, list[int]]:
        """Whole hours or days, from the sums."""
        start = "CAST(NULL AS BIGINT)"
        if self._bucket is not None:
            start = f"start - start % {self._bucket * 1_000_000}"
        piece = (
            f"SELECT {start} AS bucket, worker_id, workstation_id, {', '.join(SUMS)} "  # noqa: S608 - our own names
            f"FROM factory_totals WHERE width = {part.width} AND start >= ? AND start < ?"
        )
        return piece, [part.start, part.end]

    def _cut(self, part: _Part) -> tuple[str, list[int]]:
        """A piece of an hour, from the events: states with what of them lies inside."""
        start = "CAST(NULL AS BIGINT)"
        if self._bucket is not None:
            start = str(part.start - part.start % (self._bucket * 1_000_000))
        inside = f"{self._least}(until, ?) - {self._greatest}(timestamp, ?)"
        times = ", ".join(
            f"CASE event_type WHEN '{name}' THEN {inside} ELSE 0 END AS {name}" for name in TIMES
        )
        piece = (
            f"SELECT {start} AS bucket, worker_id, workstation_id, {times}, "  # noqa: S608 - our own names
            "CASE WHEN timestamp >= ? THEN count ELSE 0 END AS units, "
            "CASE WHEN timestamp >= ? THEN 1 ELSE 0 END AS events FROM factory_events "
            "WHERE timestamp > ? - (SELECT max_gap FROM factory_basis) AND timestamp < ? "
            "AND retracted IS NULL AND (timestamp >= ? OR until > ?)"
        )
        first, end = part.start, part.end
        return piece, [end, first] * len(TIMES) + [first, first, first, end, first, first]
