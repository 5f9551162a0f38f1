"""The statements of the factory events, for SQLite and for PostgreSQL.

Each is written so that one does for a whole batch (`andon.store.statements` says why); the
deciding is done in `andon.store.factory_ingest`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from andon import typed
from andon.store.clock import micros, now
from andon.store.factory_deltas import SUMS
from andon.store.statements import Statements
from andon.store.tables import iso

FOREVER = 1 << 62
"""Later than any event."""

COLUMNS = (
    "event_id", "timestamp", "worker_id", "workstation_id", "event_type", "confidence", "count",
    "site_id", "camera_id", "model_version", "source", "received",
)  # fmt: skip
"""What a row brings along; `until` comes last."""


class Known(msgspec.Struct, array_like=True):
    """A stored event, as far as repeats of it are compared with it."""

    event_id: str
    id: int
    timestamp: int
    worker_id: str
    workstation_id: str
    event_type: str
    site_id: str
    count: int
    retracted: int | None


class Stored(NamedTuple):
    """What a batch meets.

    Attributes:
        max_gap: Longest time a state counts for, microseconds.
        workers: From when on each takes no more events; unknown ones are missing.
        workstations: The same.
        events: Those that are stored already.
    """

    max_gap: int
    workers: dict[str, int]
    workstations: dict[str, int]
    events: list[Known]


class Before(NamedTuple):
    """The state that was open at an instant, as it is stored."""

    id: int
    timestamp: int
    event_type: str
    workstation_id: str
    site_id: str
    event_id: str
    until: int


class Look(NamedTuple):
    """A look at the states of a worker around the instant `at`.

    Attributes:
        since: A state of this time or earlier is over.
        horizon: A later state is not looked for.
    """

    worker: str
    since: int
    at: int
    horizon: int


Seen = tuple[Before | None, int | None]
"""The state open at the instant, and the time of the next later one."""

_KNOWN = "event_id, id, timestamp, worker_id, workstation_id, event_type, site_id, count, retracted"
_BEFORE = (
    "SELECT {columns} FROM factory_events WHERE worker_id = w.worker AND timestamp > w.since "
    "AND timestamp <= w.at AND until > timestamp ORDER BY timestamp DESC LIMIT 1"
)
_AFTER = (
    "SELECT timestamp FROM factory_events WHERE worker_id = w.worker AND timestamp > w.at "
    "AND timestamp <= w.horizon AND until > timestamp ORDER BY timestamp LIMIT 1"
)
_TOTALS = f"width, start, worker_id, workstation_id, {', '.join(SUMS)}"
_ADDED = "ON CONFLICT (width, start, worker_id, workstation_id) DO UPDATE SET " + ", ".join(
    f"{name} = factory_totals.{name} + excluded.{name}" for name in SUMS
)


class FactorySql(ABC):
    """The statements; see the two classes below for those that differ.

    Args:
        statements: The caller's transaction.
    """

    def __init__(self, statements: Statements) -> None:
        self.statements = statements

    def basis(self, max_gap: int, *, alone: bool = False) -> int:
        """The longest gap that the sums are made with; `max_gap` becomes it where there is none.

        On PostgreSQL nobody changes it before this transaction ends; with `alone` no other
        transaction takes events in meanwhile either.
        """
        lock = f" FOR {'UPDATE' if alone else 'SHARE'}" if self.statements.postgresql else ""
        sql = f"SELECT max_gap FROM factory_basis{lock}"  # noqa: S608 - constants
        found = self.statements.first(sql)
        if found is None:
            self.statements.run(
                "INSERT INTO factory_basis (id, max_gap) VALUES (1, ?) ON CONFLICT (id) DO NOTHING",
                (max_gap,),
            )
            found = self.statements.first(sql)
        gap: int = found[0]
        return gap

    def register(self, table: str, key: str) -> None:
        """Make a worker or workstation known."""
        moment = now()
        self.statements.run(
            f"INSERT INTO {table} (id, name, created_at) VALUES (?, ?, ?) "  # noqa: S608 - our own names
            "ON CONFLICT (id) DO NOTHING",
            (key, "", moment if self.statements.postgresql else iso(moment)),
        )

    def set_count(self, key: int, count: int) -> None:
        """Set the units of a stored event."""
        self.statements.run("UPDATE factory_events SET count = ? WHERE id = ?", (count, key))

    @abstractmethod
    def stored(
        self, workers: set[str], workstations: set[str], events: list[str], max_gap: int
    ) -> Stored:
        """What is stored of these ids. On PostgreSQL the workers are locked."""

    @abstractmethod
    def around(self, looks: Sequence[Look]) -> list[Seen]:
        """What is stored around instants of workers, in the order of the looks."""

    @abstractmethod
    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert events: `COLUMNS` and `until`."""

    @abstractmethod
    def set_untils(self, ends: Sequence[tuple[int | None, int]]) -> None:
        """Set the ends of states: (until, id)."""

    @abstractmethod
    def add_totals(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add to the sums: width, start, worker, station and what each sum gains."""


class _SQLite(FactorySql):
    _STORED = (
        "SELECT (SELECT max_gap FROM factory_basis), "  # noqa: S608 - our own names
        "(SELECT json_group_object(id, retired_at) FROM workers "
        "WHERE id IN (SELECT value FROM json_each(?))), "
        "(SELECT json_group_object(id, retired_at) FROM workstations "
        "WHERE id IN (SELECT value FROM json_each(?))), "
        f"(SELECT json_group_array(json_array({_KNOWN})) FROM factory_events "
        "WHERE event_id IN (SELECT value FROM json_each(?)))"
    )
    _AROUND = (
        f"SELECT json_group_array(json_array({', '.join(f'b.{name}' for name in Before._fields)}, "  # noqa: S608 - our own names
        f"({_AFTER}))) FROM (SELECT json_extract(value, '$[0]') AS worker, "
        "json_extract(value, '$[1]') AS since, json_extract(value, '$[2]') AS at, "
        "json_extract(value, '$[3]') AS horizon FROM json_each(?)) AS w "
        f"LEFT JOIN factory_events AS b ON b.id = ({_BEFORE.format(columns='id')})"
    )
    _INSERT = (
        f"INSERT INTO factory_events ({', '.join(COLUMNS)}, until) "  # noqa: S608 - our own names
        f"VALUES ({'?, ' * len(COLUMNS)}?)"
    )
    _SET_UNTILS = (
        "UPDATE factory_events SET until = ends.until FROM "
        "(SELECT json_extract(value, '$[0]') AS until, json_extract(value, '$[1]') AS id "
        "FROM json_each(?)) AS ends WHERE factory_events.id = ends.id"
    )
    _ADD = (
        f"INSERT INTO factory_totals ({_TOTALS}) "  # noqa: S608 - our own names
        f"VALUES (?, ?, ?, ?, {', '.join('?' * len(SUMS))}) {_ADDED}"
    )

    def stored(
        self, workers: set[str], workstations: set[str], events: list[str], max_gap: int
    ) -> Stored:
        wanted = (_json(list(workers)), _json(list(workstations)), _json(events))
        gap, known_workers, known_stations, known = self.statements.first(self._STORED, wanted)
        return Stored(
            self.basis(max_gap) if gap is None else gap,
            _roster(msgspec.json.decode(known_workers).items()),
            _roster(msgspec.json.decode(known_stations).items()),
            typed.decode(known, list[Known]),
        )

    def around(self, looks: Sequence[Look]) -> list[Seen]:
        (found,) = self.statements.first(self._AROUND, (_json(looks),))
        return [_seen(row) for row in msgspec.json.decode(found)]

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.statements.many(self._INSERT, rows)

    def set_untils(self, ends: Sequence[tuple[int | None, int]]) -> None:
        if ends:
            self.statements.run(self._SET_UNTILS, (_json(ends),))

    def add_totals(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.statements.many(self._ADD, rows)


class _PostgreSQL(FactorySql):
    # Workers are locked, in one order for everybody: two processes that change one worker's
    # history come one after the other.
    _WORKERS = "SELECT id, retired_at FROM workers WHERE id = ANY(?) ORDER BY id FOR UPDATE"
    _WORKSTATIONS = "SELECT id, retired_at FROM workstations WHERE id = ANY(?)"
    # One look into the index per id, whatever the planner thinks of a table that was empty when
    # it looked last: `= ANY` and joins read all of it then.
    _EVENTS = (
        f"SELECT known.* FROM unnest(?::text[]) AS w (wanted) CROSS JOIN LATERAL (SELECT {_KNOWN} "  # noqa: S608 - our own names
        "FROM factory_events WHERE event_id = w.wanted LIMIT 1) AS known"
    )
    _AROUND = (
        f"SELECT b.*, ({_AFTER}) FROM unnest(?::text[], ?::bigint[], ?::bigint[], ?::bigint[]) "  # noqa: S608 - our own names
        "WITH ORDINALITY AS w (worker, since, at, horizon, place) "
        f"LEFT JOIN LATERAL ({_BEFORE.format(columns=', '.join(Before._fields))}) AS b ON true "
        "ORDER BY w.place"
    )
    _INSERT = (
        f"INSERT INTO factory_events ({', '.join(COLUMNS)}, until) SELECT * FROM unnest("  # noqa: S608 - our own names
        "?::text[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::float8[], ?::int[], "
        "?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[])"
    )
    _SET_UNTILS = (
        "UPDATE factory_events SET until = ends.until "
        "FROM unnest(?::bigint[], ?::bigint[]) AS ends (until, id) "
        "WHERE factory_events.id = ends.id"
    )
    _ADD = (
        f"INSERT INTO factory_totals ({_TOTALS}) SELECT * FROM unnest("  # noqa: S608 - our own names
        f"?::int[], ?::bigint[], ?::text[], ?::text[]{', ?::bigint[]' * len(SUMS)}) {_ADDED}"
    )

    def stored(
        self, workers: set[str], workstations: set[str], events: list[str], max_gap: int
    ) -> Stored:
        return Stored(
            self.basis(max_gap),
            _roster(self.statements.rows(self._WORKERS, (list(workers),))),
            _roster(self.statements.rows(self._WORKSTATIONS, (list(workstations),))),
            # Only now: what others stored for these workers before is seen.
            [Known(*row) for row in self.statements.rows(self._EVENTS, (events,))],
        )

    def around(self, looks: Sequence[Look]) -> list[Seen]:
        return [_seen(row) for row in self.statements.rows(self._AROUND, _columns(looks))]

    def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self.statements.run(self._INSERT, _columns(rows))

    def set_untils(self, ends: Sequence[tuple[int | None, int]]) -> None:
        if ends:
            self.statements.run(self._SET_UNTILS, _columns(ends))

    def add_totals(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self.statements.run(self._ADD, _columns(rows))


def factory_sql(statements: Statements) -> FactorySql:
    """The statements for the database of this transaction."""
    return _PostgreSQL(statements) if statements.postgresql else _SQLite(statements)


def _seen(row: Sequence[Any]) -> Seen:
    return (None if row[0] is None else Before(*row[:7])), row[7]


def _roster(found: Iterable[tuple[str, Any]]) -> dict[str, int]:
    return {key: FOREVER if end is None else _micros(end) for key, end in found}


def _micros(value: datetime | str) -> int:
    """A stored time of a roster: text on SQLite."""
    return micros(datetime.fromisoformat(value) if isinstance(value, str) else value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as the arrays that PostgreSQL's unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]
