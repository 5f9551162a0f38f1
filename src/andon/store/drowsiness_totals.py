"""The sums of the eye telemetry over any window, from the totals that are kept.

Whole days, hours and minutes come from the totals, what is left at the ends from the
measurements; so a question about a year costs little more than one about an hour. Where old
measurements were deleted (`retention`), what is left at the ends counts as whole minutes.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from andon.store.connections import Connections
from andon.store.drowsiness_records import WIDTHS, Sums
from andon.store.tables import drowsiness_events, drowsiness_totals, retention

_MICROS = 1_000_000
_MINUTE = 60 * _MICROS
# Beyond every time that is accepted, on a border of days.
_END_OF_TIME = 100_000 * 86_400 * _MICROS

_events = drowsiness_events.c
_totals = drowsiness_totals.c


def sums(
    connections: Connections,
    since: int | None,
    until: int | None,
    *,
    width: int = 0,
    driver: str | None = None,
    by_driver: bool = False,
) -> list[Sums]:
    """The sums of ``since <= timestamp < until``, exact to the microsecond.

    An end in a minute whose measurements were deleted is moved outwards, to the whole minute.

    Args:
        connections: The database.
        since: Microseconds since 1970 UTC; None: from the beginning.
        until: None: to the end.
        width: Of the buckets to divide the window into, seconds; 0: undivided.
        driver: Only this driver's; an empty text means the unknown one.
        by_driver: Whether each driver gets sums of their own.

    Returns:
        In order of time, then of driver; what has no measurements is left out.

    Raises:
        ValueError: The width is not a whole number of minutes.
    """
    if width % WIDTHS[-1]:
        raise ValueError(f"buckets are whole minutes, and {width} s is not")
    usable = tuple(kept for kept in WIDTHS if width % kept == 0)
    begin = 0 if since is None else max(since, 0)
    end = _END_OF_TIME if until is None else min(until, _END_OF_TIME)
    sqlite = connections.path is not None
    with connections.read() as connection:
        whole = telemetry_since(connection)
        if begin < whole:
            begin -= begin % _MINUTE
        if end < whole:
            end += -end % _MINUTE
        parts = [
            _of_totals(kept, first, last, driver)
            if kept
            else _of_rows(first, last, driver, sqlite=sqlite)
            for kept, first, last in pieces(begin, end, usable)
        ]
        if not parts:
            return []
        # One statement, so that a measurement that arrives meanwhile counts once or not at all.
        query = _grouped(union_all(*parts), width, by_driver=by_driver)
        return _read(connection, query)


def differences(connections: Connections) -> list[str]:
    """Where the kept sums differ from a recount of every measurement; slow, for check-ups.

    Sums of a time whose measurements were deleted are believed.
    """
    found = []
    with connections.read() as connection:
        whole = telemetry_since(connection)
        for width in WIDTHS:
            first = whole + -whole % (width * _MICROS)
            every = _of_rows(first, _END_OF_TIME, sqlite=connections.path is not None)
            recount = _grouped(every, width, by_driver=True)
            kept = _grouped(_of_totals(width, first, _END_OF_TIME), width, by_driver=True)
            right = {(row.start, row.driver_id): row for row in _read(connection, recount)}
            there = {(row.start, row.driver_id): row for row in _read(connection, kept)}
            found += [
                f"{width} s from {key[0]} of driver {key[1]!r}: "
                f"{there.get(key)} instead of {right.get(key)}"
                for key in sorted(right.keys() | there.keys())
                if right.get(key) != there.get(key)
            ]
    return found


def pieces(since: int, until: int, widths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Cut a window into whole buckets, the longest possible, and what is left at the ends.

    Args:
        since: Microseconds since 1970 UTC.
        until: Not part of the window.
        widths: Of the buckets, seconds, the longest first, each a multiple of the next.

    Returns:
        (width, first, end) in order of time; width 0 is what no bucket covers.
    """
    if since >= until:
        return []
    if not widths:
        return [(0, since, until)]
    unit = widths[0] * _MICROS
    first, last = -(-since // unit) * unit, until // unit * unit
    if first >= last:
        return pieces(since, until, widths[1:])
    return [
        *pieces(since, first, widths[1:]),
        (widths[0], first, last),
        *pieces(last, until, widths[1:]),
    ]


def telemetry_since(connection: Connection) -> int:
    """From when on every measurement is there, microseconds since 1970 UTC; 0: all of them."""
    query = select(retention.c.before).where(retention.c.name == "telemetry")
    return connection.scalar(query) or 0


_SUMMED = ("events", "drowsy", "ear_sum", "duration_sum")


def _of_totals(width: int, first: int, end: int, driver: str | None = None) -> Select[Any]:
    """The kept sums of whole buckets."""
    query = select(
        _totals.start,
        _totals.driver_id,
        _totals.events,
        _totals.drowsy,
        _totals.ear_sum,
        _totals.ear_min,
        _totals.duration_sum,
    ).where(_totals.width == width, _totals.start >= first, _totals.start < end)
    return query if driver is None else query.where(_totals.driver_id == driver)


def _of_rows(first: int, end: int, driver: str | None = None, *, sqlite: bool) -> Select[Any]:
    """The same columns for every measurement, rounded as they were when they were counted."""

    def rounded(column: Any, scale: float) -> ColumnElement[int]:
        found: ColumnElement[float] = column * scale + 0.5
        # SQLite cuts off in casting, and need not have floor(); PostgreSQL would round.
        return cast(found if sqlite else func.floor(found), BigInteger)

    ear, duration = rounded(_events.ear_value, 1e6), rounded(_events.duration_ms, 1e3)
    query = select(
        _events.timestamp.label("start"),
        _events.driver_id,
        literal(1).label("events"),
        case((_events.is_drowsy, 1), else_=0).label("drowsy"),
        ear.label("ear_sum"),
        ear.label("ear_min"),
        duration.label("duration_sum"),
    ).where(_events.timestamp >= first, _events.timestamp < end)
    return query if driver is None else query.where(_events.driver_id == driver)


def _grouped(
    source: Select[Any] | CompoundSelect[Any], width: int, *, by_driver: bool = False
) -> Select[Any]:
    """Sums over `source`, by bucket (width > 0) and by driver."""
    columns = source.subquery().c
    # Written out: as a parameter it would be another expression in SELECT than in GROUP BY.
    unit: ColumnElement[int] = literal_column(str(width * _MICROS))
    start = columns.start - columns.start % unit if width else literal(0)
    whose = columns.driver_id if by_driver else literal("")
    query = select(
        start.label("bucket"),
        whose.label("whose"),
        *(func.sum(columns[name]).label(name) for name in _SUMMED),
        func.min(columns.ear_min).label("ear_min"),
    ).having(func.sum(columns.events) > 0)
    groups = [part for part, wanted in ((start, width), (whose, by_driver)) if wanted]
    return query.group_by(*groups).order_by(*groups)


def _read(connection: Connection, query: Select[Any]) -> list[Sums]:
    # PostgreSQL sums whole numbers to decimals.
    return [
        Sums(
            start=int(row.bucket),
            driver_id=row.whose,
            events=int(row.events),
            drowsy=int(row.drowsy),
            ear_sum=int(row.ear_sum),
            ear_min=int(row.ear_min),
            duration_sum=int(row.duration_sum),
        )
        for row in connection.execute(query)
    ]
