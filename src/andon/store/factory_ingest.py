"""How factory events become rows and sums: in any order, any batching, any repetition.

A state lasts until the worker's next state in the order of (timestamp, rank, station, site,
event id), at most the longest gap. That end is stored with the event, in `until`, and every
event that changes it changes the sums by the difference, in the same transaction. So an event
that comes days late costs as little as one that comes in time: one look before it, one after
it, and at most its predecessor to be shortened.

Of the states of one instant only the greatest lasts; the others have `until` = `timestamp`.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import NamedTuple

import msgspec

from andon.store.factory_deltas import Deltas
from andon.store.factory_records import (
    DUPLICATE,
    PRODUCT_COUNT,
    STATES,
    STORED,
    FactoryRow,
    Refused,
)
from andon.store.factory_sql import COLUMNS, FOREVER, Before, FactorySql, Known, Look

RANKS = {name: rank for rank, name in enumerate(STATES)}

# A look for the next state goes no further than this beyond the event, so that a worker who
# reports counts and hardly ever a state does not make it long.
_FAR = 86_400_000_000

_values = attrgetter(*COLUMNS)


class _Around(NamedTuple):
    """What is stored around an instant of a worker.

    Attributes:
        before: The state open at it, or None when that is over or there was none.
        after: The first later instant with a state, or None when there is none near.
        covers: For the worker's instants up to here the answer would be the same.
    """

    before: Before | None
    after: int | None
    covers: int


_State = tuple[int, int, str, str, str, int]
"""A new state: timestamp, rank, station, site, event id, and its place among the new rows.

It sorts in the order that decides which state follows which.
"""


class Ingest:
    """One transaction's worth of events.

    Args:
        sql: The caller's transaction.
        max_gap: Longest time a state counts for, microseconds, where none is stored yet.
        auto_register: Whether unknown workers and stations are registered or refused.
    """

    def __init__(self, sql: FactorySql, *, max_gap: int, auto_register: bool) -> None:
        self._sql = sql
        self._gap = max_gap
        self._auto_register = auto_register
        self._deltas = Deltas()
        self._pending: dict[str, FactoryRow | Known] = {}
        self._new: list[FactoryRow] = []
        # Where a repeat reported more units than the first.
        self._greater: dict[str, int] = {}

    def take(self, rows: Sequence[FactoryRow]) -> list[str | Refused]:
        """Store what is new; what became of each row, in their order."""
        ids = [row.event_id for row in rows]
        workers = {row.worker_id for row in rows}
        stations = {row.workstation_id for row in rows}
        stored = self._sql.stored(workers, stations, ids, self._gap)
        self._gap = stored.max_gap
        if (
            not stored.events
            and len(set(ids)) == len(ids)
            and all(stored.workers.get(key) == FOREVER for key in workers)
            and all(stored.workstations.get(key) == FOREVER for key in stations)
        ):
            # The usual case needs no look at each row.
            self._new = list(rows)
            self._store()
            return [STORED] * len(ids)
        pending = self._pending
        pending.update((known.event_id, known) for known in stored.events)
        outcomes: list[str | Refused] = []
        for row in rows:
            first = pending.get(row.event_id)
            if first is not None:
                outcomes.append(self._repeat(row, first))
                continue
            refused = self._unwelcome(row, stored.workers, stored.workstations)
            if refused is not None:
                outcomes.append(refused)
                continue
            pending[row.event_id] = row
            self._new.append(row)
            outcomes.append(STORED)
        self._store()
        return outcomes

    # -- Who and where ------------------------------------------------------------------

    def _unwelcome(
        self, row: FactoryRow, workers: dict[str, int], stations: dict[str, int]
    ) -> Refused | None:
        """Why a row's worker or station cannot take it; None when both were made to."""
        if row.timestamp < min(
            workers.get(row.worker_id, -1), stations.get(row.workstation_id, -1)
        ):
            return None
        for kind, table, known, key in (
            ("worker", "workers", workers, row.worker_id),
            ("workstation", "workstations", stations, row.workstation_id),
        ):
            if known.get(key, FOREVER) <= row.timestamp:
                return Refused(
                    "retired",
                    f"The {kind} {key} was retired before this event.",
                    f"Bring it back with PATCH /{table}/{key} and "
                    '{"retired": false}, or correct the event.',
                )
            if key not in known and not self._auto_register:
                return Refused(
                    f"unknown_{kind}",
                    f"The {kind} {key} is not known.",
                    f"Register it with POST /{table}/, or set ANDON_FACTORY_AUTO_REGISTER=true.",
                )
        self._register("workers", row.worker_id, workers)
        self._register("workstations", row.workstation_id, stations)
        return None

    def _register(self, table: str, key: str, known: dict[str, int]) -> None:
        if key not in known:
            self._sql.register(table, key)
            known[key] = FOREVER

    # -- Repeats ------------------------------------------------------------------------

    def _repeat(self, row: FactoryRow, first: FactoryRow | Known) -> str | Refused:
        counted = row.event_type == PRODUCT_COUNT
        if (
            row.timestamp != first.timestamp
            or row.worker_id != first.worker_id
            or row.workstation_id != first.workstation_id
            or row.event_type != first.event_type
            or row.site_id != first.site_id
            or (row.given and counted and row.count != self._count(row.event_id, first))
        ):
            return Refused(
                "reused_id",
                f"The event_id {row.event_id} was already used for another event.",
                "Give every event an id of its own; to correct one, take it back with "
                f"DELETE /events/{row.event_id} and send the right one under another id.",
            )
        # Of reports of one count that differ the greatest stands, whichever came first.
        if counted and row.count > self._count(row.event_id, first):
            self._greater[row.event_id] = row.count
        return DUPLICATE

    def _count(self, event_id: str, first: FactoryRow | Known) -> int:
        return self._greater.get(event_id, first.count)

    # -- Storing ------------------------------------------------------------------------

    def _store(self) -> None:
        self._raise_counts()
        new = self._new
        untils = self._count_all(new)
        rows = [(*_values(row), until) for row, until in zip(new, untils, strict=True)]
        rows.sort(key=itemgetter(1))
        self._sql.insert(rows)
        self._sql.add_totals(self._deltas.rows())

    def _count_all(self, new: list[FactoryRow]) -> list[int | None]:
        """Add new rows to the sums; when each state ends, None for counts."""
        untils: list[int | None] = [None] * len(new)
        by_worker: dict[str, list[_State]] = {}
        for place, row in enumerate(new):
            kind = row.event_type
            if kind == PRODUCT_COUNT:
                self._deltas.count(row.timestamp, row.worker_id, row.workstation_id, row.count)
                continue
            if row.count:
                new[place] = msgspec.structs.replace(row, count=0)
            state = (
                row.timestamp, RANKS[kind], row.workstation_id, row.site_id, row.event_id, place
            )  # fmt: skip
            states = by_worker.get(row.worker_id)
            if states is None:
                by_worker[row.worker_id] = [state]
            else:
                states.append(state)
        self._order(by_worker, untils)
        for worker, states in by_worker.items():
            for timestamp, rank, station, _, _, place in states:
                until = untils[place] or timestamp
                self._deltas.state(timestamp, until, worker, station, STATES[rank])
        return untils

    def _raise_counts(self) -> None:
        """Give counts the greater number a repeat reported, be they stored or new."""
        if not self._greater:
            return
        greater = self._greater
        self._new = [
            msgspec.structs.replace(row, count=greater.get(row.event_id, row.count))
            for row in self._new
        ]
        for event_id, count in sorted(greater.items()):
            first = self._pending[event_id]
            if isinstance(first, Known) and first.retracted is None:
                self._sql.set_count(first.id, count)
                self._deltas.units(
                    first.timestamp, first.worker_id, first.workstation_id, count - first.count
                )

    def _order(self, by_worker: dict[str, list[_State]], untils: list[int | None]) -> None:
        """Find out when each new state ends, and end the stored ones that were open."""
        gap = self._gap
        instants: dict[str, list[_State]] = {}
        for worker, states in by_worker.items():
            states.sort()
            instants[worker] = _last_of_instants(states, untils)
        ends: list[tuple[int | None, int]] = []
        for worker, first, stop, near in self._holes(instants):
            states = instants[worker][first:stop]
            # The next state of each: a new one, and for the last what is stored after it.
            following = [state[0] for state in states[1:]]
            following.append(FOREVER if near.after is None else near.after)
            if near.after is None and stop < len(instants[worker]):
                following[-1] = instants[worker][stop][0]
            for state, after in zip(states, following, strict=True):
                end = state[0] + gap
                untils[state[5]] = min(after, end)
            before = near.before
            if before is None:
                continue
            end = states[0][0]
            if before.timestamp == end and _order(before) > states[0][1:5]:
                # Of the same instant, and the stored one is the one that counts.
                untils[states[0][5]] = end
                end = following[0]
            if end < before.until:
                ends.append((end, before.id))
                self._deltas.time(
                    end, before.until, worker, before.workstation_id, before.event_type, -1
                )
        ends.sort(key=itemgetter(1))
        self._sql.set_untils(ends)

    def _holes(self, instants: dict[str, list[_State]]) -> Iterator[tuple[str, int, int, _Around]]:
        """Cut each worker's new instants at the stored ones: worker, from, to, what is around.

        A live batch lies in one hole of each worker's history: one look at each worker's first
        instant does. What lies beyond is looked up one by one, all in a second statement.
        """
        seen = self._look_around(
            [(worker, states[0][0], states[-1][0]) for worker, states in instants.items()]
        )
        seen |= self._look_around(
            [
                (worker, state[0], states[-1][0])
                for worker, states in instants.items()
                for state in states[1:]
                if state[0] > seen[worker, states[0][0]].covers
            ]
        )
        for worker, states in instants.items():
            first = 0
            while first < len(states):
                near = seen[worker, states[first][0]]
                stop = bisect_right(states, near.covers, first, key=itemgetter(0))
                yield worker, first, stop, near
                first = stop

    def _look_around(self, wanted: list[tuple[str, int, int]]) -> dict[tuple[str, int], _Around]:
        """Look around instants: worker, instant, and the last one the answer may be for."""
        if not wanted:
            return {}
        gap = self._gap
        looks, covers = [], []
        for worker, at, last in wanted:
            furthest = min(last, at + max(_FAR, gap))
            looks.append(Look(worker, at - gap, at, furthest + gap))
            covers.append(furthest)
        return {
            (look.worker, look.at): _Around(before, after, furthest if after is None else after - 1)
            for look, furthest, (before, after) in zip(
                looks, covers, self._sql.around(looks), strict=True
            )
        }


def retract(sql: FactorySql, event_id: str, moment: int, max_gap: int) -> bool:
    """Take an event back, and give its time to the state before it; False if there is none."""
    statements = sql.statements
    worker = statements.first(
        "SELECT worker_id FROM factory_events WHERE event_id = ?", (event_id,)
    )
    if worker is None:
        return False
    stored = sql.stored({worker[0]}, set(), [event_id], max_gap)
    event = stored.events[0]
    if event.retracted is not None:
        return True
    (until,) = statements.first("SELECT until FROM factory_events WHERE id = ?", (event.id,))
    statements.run(
        "UPDATE factory_events SET retracted = ?, until = NULL WHERE id = ?", (moment, event.id)
    )
    deltas = Deltas()
    deltas.lost(event.timestamp, event.worker_id, event.workstation_id, event.count)
    if until is not None and until > event.timestamp:
        deltas.time(
            event.timestamp, until, event.worker_id, event.workstation_id, event.event_type, -1
        )
        heir = _heir(sql, event, stored.max_gap)
        if heir is not None:
            # Not beyond the next state either: that ended the event's own.
            end = min(until, heir.timestamp + stored.max_gap)
            if end > heir.until:
                deltas.time(
                    heir.until, end, event.worker_id, heir.workstation_id, heir.event_type, 1
                )
                sql.set_untils([(end, heir.id)])
    sql.add_totals(deltas.rows())
    return True


def _heir(sql: FactorySql, event: Known, gap: int) -> Before | None:
    """Whose the time of a state is when it is gone: of this instant, else of the one before."""
    same = sql.statements.rows(
        "SELECT id, timestamp, event_type, workstation_id, site_id, event_id, until "
        "FROM factory_events WHERE worker_id = ? AND timestamp = ? AND until IS NOT NULL",
        (event.worker_id, event.timestamp),
    )
    if same:
        return max((Before(*row) for row in same), key=_order)
    at = event.timestamp
    ((before, _),) = sql.around([Look(event.worker_id, at - gap, at, at)])
    return before


def _last_of_instants(states: list[_State], untils: list[int | None]) -> list[_State]:
    """Of sorted states the last of each instant; the others end where they begin."""
    if len({state[0] for state in states}) == len(states):
        return states
    last: list[_State] = []
    for state in states:
        if last and last[-1][0] == state[0]:
            untils[last[-1][5]] = state[0]
            last[-1] = state
        else:
            last.append(state)
    return last


def _order(before: Before) -> tuple[int, str, str, str]:
    """What decides between states of one instant."""
    rank = RANKS[before.event_type]
    return rank, before.workstation_id, before.site_id, before.event_id
