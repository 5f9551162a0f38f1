"""Ends of states and sums made anew from the events alone: to repair, and to check.

The events are gone through once in the order of time. Only the states that are open, and the
hours that may still grow, are kept meanwhile: the memory does not grow with the history.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from andon.store.factory_deltas import DAY, DAYS, HOUR, HOURS, SUMS, Deltas, Key
from andon.store.factory_ingest import RANKS
from andon.store.factory_records import PRODUCT_COUNT
from andon.store.factory_sql import FactorySql
from andon.store.statements import Statements

_CHUNK = 20_000
_SHOWN = 20
_EVENTS = (
    "SELECT id, timestamp, worker_id, workstation_id, event_type, count, "
    "until, retracted FROM factory_events WHERE timestamp >= ? AND (timestamp > ? OR id > ?) "
    "ORDER BY timestamp, id LIMIT ?"
)
_STORED = (
    f"SELECT start, worker_id, workstation_id, {', '.join(SUMS)} FROM factory_totals "  # noqa: S608 - our own names
    f"WHERE width = {HOURS} AND start >= ? AND start < ?"
)
_SIGNED = ", ".join(f"sign * {name} AS {name}" for name in SUMS)
_ADDED = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in SUMS)
# Days that are not the sum of their hours, with the difference.
_DAYS = (
    f"SELECT day, worker_id, workstation_id, {_ADDED} FROM ("  # noqa: S608 - our own names
    f"SELECT start - start % {DAY} AS day, worker_id, workstation_id, {', '.join(SUMS)} "
    f"FROM factory_totals WHERE width = {HOURS} UNION ALL "
    f"SELECT start, worker_id, workstation_id, {', '.join(f'-{name}' for name in SUMS)} "
    f"FROM factory_totals WHERE width = {DAYS}) AS parts "
    "GROUP BY day, worker_id, workstation_id "
    f"HAVING {' OR '.join(f'sum({name}) <> 0' for name in SUMS)} ORDER BY 1, 2, 3"
)
_EARLIEST, _LATEST = -(1 << 62), 1 << 62


_State = tuple[int, int, str, str, int | None]
"""A state whose end is not known yet: timestamp, id, station, type, and the end stored for it."""


class _Recount:
    """Takes events in the order of time; gathers what should be stored.

    Attributes:
        deltas: The sums.
        wrong: Ends that are stored otherwise: (right end, id of the event).
    """

    def __init__(self, statements: Statements, gap: int) -> None:
        self._statements = statements
        self._gap = gap
        self._open: dict[str, _State] = {}
        self.deltas = Deltas()
        self.wrong: list[tuple[int | None, int]] = []

    def feed(self, rows: Sequence[Any]) -> None:
        """The next events."""
        opened, gap = self._open, self._gap
        for key, timestamp, worker, station, kind, count, until, retracted in rows:
            if kind == PRODUCT_COUNT or retracted is not None:
                if until is not None:
                    self.wrong.append((None, key))
                if retracted is None:
                    self.deltas.count(timestamp, worker, station, count)
                continue
            state = (timestamp, key, station, kind, until)
            before = opened.get(worker)
            if before is not None:
                end = before[0] + gap
                if before[0] == timestamp:
                    before, state = sorted((before, state), key=self._order)
                self._end(worker, before, min(end, timestamp))
            opened[worker] = state

    def settle(self, now: int) -> int:
        """No event before `now` will come: end what is over; hours before the answer are final."""
        earliest = now
        over = []
        for worker, state in self._open.items():
            if state[0] + self._gap <= now:
                over.append(worker)
            else:
                earliest = min(earliest, state[0])
        for worker in over:
            state = self._open.pop(worker)
            self._end(worker, state, state[0] + self._gap)
        return earliest - earliest % HOUR

    def _end(self, worker: str, state: _State, until: int) -> None:
        timestamp, key, station, kind, stored = state
        if stored != until:
            self.wrong.append((until, key))
        self.deltas.state(timestamp, until, worker, station, kind)

    def _order(self, state: _State) -> tuple[int, str, str, str]:
        """What decides between states of one instant; too rare to be read with every event."""
        _, key, station, kind, _ = state
        site, event_id = self._statements.first(
            "SELECT site_id, event_id FROM factory_events WHERE id = ?", (key,)
        )
        return RANKS[kind], station, site, event_id


def rebuild(sql: FactorySql, gap: int) -> None:
    """Make all ends and sums anew in the caller's transaction.

    Args:
        sql: The transaction; must hold the basis alone.
        gap: Longest time a state counts for, microseconds.
    """
    sql.statements.run("DELETE FROM factory_totals")
    recount = _Recount(sql.statements, gap)
    for before in _through(sql.statements, recount):
        sql.set_untils(recount.wrong)
        recount.wrong = []
        sql.add_totals(recount.deltas.rows(before))


def differences(statements: Statements) -> list[str]:
    """What is stored otherwise than a recomputation says, in words."""
    found = statements.first("SELECT max_gap FROM factory_basis")
    if found is None:
        return []
    recount = _Recount(statements, found[0])
    report = _Report()
    since = _EARLIEST
    for before in _through(statements, recount):
        for until, key in recount.wrong:
            report.add(f"event {key}: its state should end at {until}")
        recount.wrong = []
        report.compare(
            recount.deltas.take(before),
            {
                (row[0], row[1], row[2]): list(row[3:])
                for row in statements.rows(_STORED, (since, before))
            },
        )
        since = before
    for day, worker, station, *sums in statements.rows(_DAYS):
        report.add(f"day {day} of {worker} at {station}: {sums} away from its hours")
    return report.lines()


def _through(statements: Statements, recount: _Recount) -> Iterator[int]:
    """Feed all events; after each chunk, before which hour the sums are final."""
    timestamp, key = _EARLIEST, 0
    while True:
        rows = statements.rows(_EVENTS, (timestamp, timestamp, key, _CHUNK))
        recount.feed(rows)
        if len(rows) < _CHUNK:
            recount.settle(_LATEST)
            yield _LATEST
            return
        key, timestamp = rows[-1][:2]
        yield recount.settle(timestamp)


class _Report:
    """Differences in words; the first ones, and how many more."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, line: str) -> None:
        """One difference."""
        if len(self._lines) < _SHOWN:
            self._lines.append(line)
        else:
            self._more += 1

    def compare(self, right: dict[Key, list[int]], stored: dict[Key, list[int]]) -> None:
        """Sums of some hours; sums that are all nothing may be missing."""
        nothing = [0] * len(SUMS)
        for key in sorted(right.keys() | stored.keys()):
            expected, found = right.get(key, nothing), stored.get(key, nothing)
            if expected != found:
                hour, worker, station = key
                self.add(f"hour {hour} of {worker} at {station}: {found} instead of {expected}")

    def lines(self) -> list[str]:
        """All of it."""
        return [*self._lines, f"and {self._more} more"] if self._more else self._lines
