"""How measurements become rows and sums: in any order, any batching, any repetition.

The sums are whole numbers (EAR in millionths, durations in microseconds), so that they come
out the same whatever the order, and grow in the transaction that stores the measurements.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from andon.store.drowsiness_records import WIDTHS, DrowsinessRow
from andon.store.factory_records import DUPLICATE, STORED, Refused
from andon.store.statements import Statements

_MICROS = 1_000_000
# Advisory locks of PostgreSQL: drivers share so many, for its table of locks is small.
_LOCKS = 256
_LOCK_BASE = 0x616E646F_00000000

_Key = tuple[int, int, str]

_FIELDS = "timestamp, driver_id, device_id, site_id, ear_value, is_drowsy, duration_ms, received"
_COLUMNS = (
    "event_id, timestamp, driver_id, device_id, site_id, ear_value, is_drowsy, duration_ms, "
    "source, received"
)
_INSERT_SQLITE = f"INSERT INTO drowsiness_events ({_COLUMNS}) VALUES ({', '.join('?' * 10)})"  # noqa: S608 - constants
_INSERT_POSTGRESQL = f"""
INSERT INTO drowsiness_events ({_COLUMNS})
SELECT * FROM unnest(
    ?::text[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::float8[], ?::boolean[],
    ?::float8[], ?::text[], ?::bigint[]
)
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id
"""  # noqa: S608 - constants
_SINCE = "SELECT before FROM retention WHERE name = 'telemetry'"
_REPLACE = """
UPDATE drowsiness_events SET ear_value = ?, is_drowsy = ?, duration_ms = ? WHERE event_id = ?
"""
_COUNT = """
INSERT INTO drowsiness_totals
    (width, start, driver_id, events, drowsy, ear_sum, ear_min, duration_sum)
{rows}
ON CONFLICT (width, start, driver_id) DO UPDATE SET
    events = drowsiness_totals.events + excluded.events,
    drowsy = drowsiness_totals.drowsy + excluded.drowsy,
    ear_sum = drowsiness_totals.ear_sum + excluded.ear_sum,
    ear_min = {least}(drowsiness_totals.ear_min, excluded.ear_min),
    duration_sum = drowsiness_totals.duration_sum + excluded.duration_sum
"""
_COUNT_SQLITE = _COUNT.format(rows="VALUES (?, ?, ?, ?, ?, ?, ?, ?)", least="min")
_COUNT_POSTGRESQL = _COUNT.format(
    rows="""SELECT * FROM unnest(
    ?::integer[], ?::bigint[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[],
    ?::bigint[]
)""",
    least="least",
)


def ingest(
    connection: Connection | sqlite3.Connection, rows: Sequence[DrowsinessRow]
) -> list[str | Refused]:
    """Store measurements in the caller's transaction; see `DrowsinessEvents.ingest`."""
    if not rows:
        return []
    sql = Statements(connection)
    # On PostgreSQL nothing more is deleted before this transaction ends.
    since = sql.first(_SINCE + " FOR SHARE" if sql.postgresql else _SINCE)
    if since is not None and min(row.timestamp for row in rows) < since[0]:
        late = [_late(row) if row.timestamp < since[0] else None for row in rows]
        others = iter(ingest(connection, [row for row in rows if row.timestamp >= since[0]]))
        return [next(others) if refused is None else refused for refused in late]
    if sql.postgresql:
        _lock_drivers(sql, {row.driver_id for row in rows})
    known = _stored(sql, {row.event_id for row in rows})
    firsts: dict[str, DrowsinessRow] = {}
    for row in rows:
        if row.event_id not in known:
            firsts.setdefault(row.event_id, row)
    missed = _insert(sql, [firsts[event_id] for event_id in sorted(firsts)])
    if missed:
        # Another process stored these ids, for other drivers, in this very moment.
        known |= _stored(sql, missed)
    intake = _Intake(known)
    outcomes = [
        intake.repeat(row) if row.event_id in intake.known else intake.first(row) for row in rows
    ]
    _replace(sql, intake.replaced)
    _count(sql, intake.sums)
    return outcomes


class _Values(NamedTuple):
    """What the sums are made of. Times, ids and places of a measurement never change."""

    timestamp: int
    timed: bool
    driver_id: str
    device_id: str
    site_id: str
    ear_value: float
    is_drowsy: bool
    duration_ms: float

    @property
    def rank(self) -> tuple[float, bool, float]:
        """The smallest stands where one measurement came with several values."""
        return self.ear_value, not self.is_drowsy, -self.duration_ms


class _Intake:
    """What a transaction's measurements do to the rows and the sums.

    Args:
        known: What is stored, by event id.
    """

    def __init__(self, known: dict[str, _Values]) -> None:
        self.known = known
        self.replaced: dict[str, _Values] = {}
        self.sums: dict[_Key, list[int]] = {}

    def first(self, row: DrowsinessRow) -> str:
        """A measurement that was not there before."""
        values = _values(row)
        self.known[row.event_id] = values
        self._count(values, 1)
        return STORED

    def repeat(self, row: DrowsinessRow) -> str | Refused:
        """A measurement whose id is there."""
        before, values = self.known[row.event_id], _values(row)
        if row.given:
            # Without a time of its own, a measurement carries that of its arrival.
            untimed = not (values.timed or before.timed)
            same = values._replace(
                timed=before.timed, timestamp=before.timestamp if untimed else values.timestamp
            )
            return DUPLICATE if same == before else _reused(row.event_id)
        if values.rank < before.rank:
            self._count(before, -1)
            self._count(values, 1)
            self.known[row.event_id] = self.replaced[row.event_id] = values
        return DUPLICATE

    def _count(self, values: _Values, sign: int) -> None:
        ear, duration = _ear_millionths(values.ear_value), _micros_of(values.duration_ms)
        for width in WIDTHS:
            unit = width * _MICROS
            key = (width, values.timestamp // unit * unit, values.driver_id)
            sums = self.sums.get(key)
            if sums is None:
                sums = self.sums[key] = [0, 0, 0, ear, 0]
            sums[0] += sign
            sums[1] += sign * values.is_drowsy
            sums[2] += sign * ear
            # A value is only ever replaced by one that is smaller or equal, so the least of
            # all that were ever counted is the least of those that stand.
            sums[3] = min(sums[3], ear)
            sums[4] += sign * duration


def _reused(event_id: str) -> Refused:
    return Refused(
        reason="reused_id",
        detail=f"event_id {event_id} was already used for another measurement.",
        hint="Give every measurement an id of its own, and send repeats unchanged.",
    )


def _late(row: DrowsinessRow) -> Refused:
    return Refused(
        reason="too_old",
        detail=f"The measurement {row.event_id} is of a time whose measurements were deleted, so "
        "that a repeat could not be told from a new one.",
        hint="Send measurements sooner, or keep them for longer (ANDON_KEEP_TELEMETRY_DAYS).",
    )


def _values(row: DrowsinessRow) -> _Values:
    return _Values(
        row.timestamp,
        row.timestamp != row.received,
        row.driver_id,
        row.device_id,
        row.site_id,
        row.ear_value,
        row.is_drowsy,
        row.duration_ms,
    )


def _ear_millionths(ear: float) -> int:
    """Rounded half up, as `_of_rows` does it in SQL."""
    return int(ear * 1_000_000 + 0.5)


def _micros_of(duration_ms: float) -> int:
    """Rounded half up, as `_of_rows` does it in SQL."""
    return int(duration_ms * 1_000 + 0.5)


def _lock_drivers(sql: Statements, drivers: set[str]) -> None:
    """Until the end of the transaction nobody else adds measurements of these drivers."""
    keys = {_LOCK_BASE + zlib.crc32(driver.encode()) % _LOCKS for driver in drivers}
    # In order, so that two transactions never wait for each other.
    sql.rows("SELECT pg_advisory_xact_lock(key) FROM unnest(?::bigint[]) AS key", (sorted(keys),))


def _stored(sql: Statements, event_ids: Iterable[str]) -> dict[str, _Values]:
    """The measurements that are there, by event id."""
    wanted = sorted(event_ids)
    if sql.postgresql:
        found = sql.rows(
            # One look into the index per id, as in `factory_sql`.
            f"SELECT known.* FROM unnest(?::text[]) AS w (wanted) CROSS JOIN LATERAL "  # noqa: S608 - constants
            f"(SELECT event_id, {_FIELDS} FROM drowsiness_events WHERE event_id = w.wanted "
            "LIMIT 1) AS known",
            (wanted,),
        )
    else:
        found = sql.rows(
            f"SELECT event_id, {_FIELDS} FROM drowsiness_events "  # noqa: S608 - constants
            "WHERE event_id IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(wanted).decode(),),
        )
    return {
        event_id: _Values(
            timestamp, timestamp != received, driver, device, site, ear, bool(drowsy), duration
        )
        for event_id, timestamp, driver, device, site, ear, drowsy, duration, received in found
    }


def _insert(sql: Statements, rows: Sequence[DrowsinessRow]) -> set[str]:
    """Insert rows in the order of their ids; the ids somebody else inserted meanwhile."""
    if not rows:
        return set()
    values = [
        (
            row.event_id,
            row.timestamp,
            row.driver_id,
            row.device_id,
            row.site_id,
            float(row.ear_value),
            row.is_drowsy,
            float(row.duration_ms),
            row.source,
            row.received,
        )
        for row in rows
    ]
    if not sql.postgresql:
        # Whoever writes to SQLite is alone.
        sql.many(_INSERT_SQLITE, values)
        return set()
    inserted = sql.rows(_INSERT_POSTGRESQL, _by_column(values))
    return {row.event_id for row in rows} - {event_id for (event_id,) in inserted}


def _replace(sql: Statements, replaced: dict[str, _Values]) -> None:
    """Write the values that stand now."""
    sql.many(
        _REPLACE,
        [
            (values.ear_value, values.is_drowsy, values.duration_ms, event_id)
            for event_id, values in sorted(replaced.items())
        ],
    )


def _count(sql: Statements, sums: dict[_Key, list[int]]) -> None:
    """Add to the totals, in the order of their keys."""
    if not sums:
        return
    rows = [(*key, *values) for key, values in sorted(sums.items())]
    if sql.postgresql:
        sql.rows(_COUNT_POSTGRESQL + " RETURNING 1", _by_column(rows))
    else:
        sql.many(_COUNT_SQLITE, rows)


def _by_column(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
