"""Events of a made-up factory floor, and what they come to, worked out the plain way.

The reference below follows the definitions word by word and knows nothing of how Andon does
it: it sorts all events, looks at each state's successor, and adds up overlaps. Slow, short,
and written independently, so that both being wrong in the same way is unlikely.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from andon.store.database import Database
from andon.store.factory_records import FactoryRow, Refused
from andon.store.ids import uuid7_of

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
GAP = 30 * MINUTE
"""The longest time a state counts for, as the settings have it."""

MONDAY = 1_772_409_600 * SECOND
"""2026-03-02 00:00 UTC: the first day of the histories, in microseconds."""

WORKERS = ("W1", "W2", "W3")
STATIONS = ("S1", "S2", "S3")
SITES = ("main", "north")
STATES = ("working", "idle", "absent")
_STRENGTH = {"absent": 0, "idle": 1, "working": 2}


@dataclasses.dataclass(frozen=True)
class Told:
    """One event as a sender tells it; `timestamp` in microseconds since 1970."""

    timestamp: int
    worker: str
    station: str
    kind: str
    count: int = 0
    site: str = "main"
    event_id: str | None = None
    confidence: float = 0.9
    camera: str | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes another event the same one."""
        if self.event_id is not None:
            return (self.event_id,)
        return (self.timestamp, self.worker, self.station, self.kind, self.site)

    @property
    def stored_id(self) -> str:
        """The id it gets in the store's tests; the room `events` makes its own in the same way."""
        if self.event_id is not None:
            return self.event_id
        return uuid7_of(self.timestamp, repr(self.identity).encode())

    def row(self) -> FactoryRow:
        """As the store takes it."""
        return FactoryRow(
            event_id=self.stored_id,
            given=self.event_id is not None,
            timestamp=self.timestamp,
            worker_id=self.worker,
            workstation_id=self.station,
            event_type=self.kind,
            confidence=self.confidence,
            count=self.count,
            site_id=self.site,
            camera_id=self.camera,
            model_version=None,
            source="test",
            received=MONDAY,
        )

    def body(self) -> dict[str, Any]:
        """As it is sent as JSON."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.timestamp)
        body: dict[str, Any] = {
            "timestamp": moment.isoformat().replace("+00:00", "Z"),
            "worker_id": self.worker,
            "workstation_id": self.station,
            "event_type": self.kind,
            "confidence": self.confidence,
            "count": self.count,
            "site_id": self.site,
        }
        if self.event_id is not None:
            body["event_id"] = self.event_id
        if self.camera is not None:
            body["camera_id"] = self.camera
        return body

    def json(self) -> bytes:
        """The same as bytes."""
        return json.dumps(self.body()).encode()


def at(hour: float = 0, minute: float = 0, second: float = 0, *, day: int = 0) -> int:
    """A time of the made-up floor: hours, minutes and seconds after Monday (day 0) 00:00 UTC."""
    return MONDAY + day * DAY + round((hour * 3600 + minute * 60 + second) * SECOND)


def state(kind: str, when: int, worker: str = "W1", station: str = "S1", **more: Any) -> Told:
    """A state event."""
    return Told(when, worker, station, kind, **more)


def units(count: int, when: int, worker: str = "W1", station: str = "S1", **more: Any) -> Told:
    """A product_count."""
    return Told(when, worker, station, "product_count", count, **more)


# -- The plain reference ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Span:
    """A worker was in a state at a station from `start` to `end`."""

    worker: str
    station: str
    kind: str
    start: int
    end: int

    def inside(self, since: int, until: int) -> int:
        """How much of it lies in a window, microseconds."""
        return max(0, min(self.end, until) - max(self.start, since))


def distinct(told: Iterable[Told]) -> list[Told]:
    """Every event once. Of reports of one count that differ the greatest stands."""
    kept: dict[tuple[Any, ...], Told] = {}
    for event in told:
        first = kept.get(event.identity)
        if first is None or (event.event_id is None and event.count > first.count):
            kept[event.identity] = event
    return list(kept.values())


def spans(told: Iterable[Told], gap: int = GAP) -> list[Span]:
    """From when to when each state lasts."""
    found = []
    states = [event for event in distinct(told) if event.kind != "product_count"]
    for worker in {event.worker for event in states}:
        own = sorted(
            (event for event in states if event.worker == worker),
            key=lambda event: (
                event.timestamp,
                _STRENGTH[event.kind],
                event.station,
                event.site,
                event.stored_id,
            ),
        )
        for place, event in enumerate(own):
            end = event.timestamp + gap
            if place + 1 < len(own):
                end = min(end, own[place + 1].timestamp)
            found.append(Span(worker, event.station, event.kind, event.timestamp, end))
    return found


def sums(
    told: Iterable[Told], since: int, until: int, gap: int = GAP
) -> dict[tuple[str, str], dict[str, int]]:
    """By (worker, station): microseconds in each state, units and events; without empty ones."""
    told = distinct(told)
    found: dict[tuple[str, str], dict[str, int]] = {}

    def add(worker: str, station: str, name: str, value: int) -> None:
        nothing = {"working": 0, "idle": 0, "absent": 0, "units": 0, "events": 0}
        found.setdefault((worker, station), nothing)[name] += value

    for span in spans(told, gap):
        add(span.worker, span.station, span.kind, span.inside(since, until))
    for event in told:
        if since <= event.timestamp < until:
            add(event.worker, event.station, "events", 1)
            if event.kind == "product_count":
                add(event.worker, event.station, "units", event.count)
    return {key: values for key, values in found.items() if any(values.values())}


def series(
    told: Sequence[Told], since: int, until: int, width: int, gap: int = GAP
) -> dict[tuple[int, str, str], dict[str, int]]:
    """The same for each bucket of `width` microseconds, with its start in the key."""
    found = {}
    start = since - since % width
    while start < until:
        window = max(since, start), min(until, start + width)
        for (worker, station), values in sums(told, *window, gap).items():
            found[start, worker, station] = values
        start += width
    return found


def metrics(told: Iterable[Told], since: int, until: int, gap: int = GAP) -> dict[str, Any]:
    """The metrics of workers, stations and the factory, by their definitions; seconds and hours."""
    by_pair = sums(told, since, until, gap)
    workers: dict[str, dict[str, float]] = {}
    stations: dict[str, dict[str, float]] = {}
    for worker in {worker for worker, _ in by_pair}:
        own = [values for (who, _), values in by_pair.items() if who == worker]
        working, idle, absent, made = _added(own)
        workers[worker] = {
            "active": working,
            "idle": idle,
            "absent": absent,
            "utilization": _ratio(working, working + idle),
            "units": made,
            "units_per_hour": _ratio(made, working / 3600),
        }
    for station in {station for _, station in by_pair}:
        own = [values for (_, where), values in by_pair.items() if where == station]
        working, idle, _, made = _added(own)
        stations[station] = {
            "occupancy": working + idle,
            "working": working,
            "utilization": _ratio(working, working + idle),
            "units": made,
            "throughput": _ratio(made, (working + idle) / 3600),
        }
    productive = sum(one["active"] for one in workers.values())
    production = sum(one["units"] for one in workers.values())
    rates = [one["utilization"] for one in workers.values() if _has_data(one)]
    return {
        "workers": workers,
        "workstations": stations,
        "factory": {
            "productive": productive,
            "production": production,
            "production_rate": _ratio(production, productive / 3600),
            "utilization": _ratio(sum(rates), len(rates)),
        },
    }


def _added(own: list[dict[str, int]]) -> tuple[float, float, float, int]:
    working, idle, absent = (
        sum(values[name] for values in own) / SECOND for name in ("working", "idle", "absent")
    )
    return working, idle, absent, sum(values["units"] for values in own)


def _has_data(worker: dict[str, float]) -> bool:
    return any(worker[name] for name in ("active", "idle", "absent", "units"))


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0


# -- Random histories -----------------------------------------------------------------------


def _times() -> st.SearchStrategy[int]:
    """Times of two days: some on the same few instants, around hours, and anywhere."""
    coarse = st.integers(0, 48 * 6).map(lambda tenth: MONDAY + tenth * 10 * MINUTE)
    near_hours = st.tuples(st.integers(0, 48), st.integers(-2, 2)).map(
        lambda pair: MONDAY + pair[0] * HOUR + pair[1]
    )
    crowded = st.integers(0, 40).map(lambda minute: MONDAY + 23 * HOUR + minute * 3 * MINUTE)
    anywhere = st.integers(MONDAY, MONDAY + 2 * DAY)
    return st.one_of(coarse, near_hours, crowded, anywhere)


def _told() -> st.SearchStrategy[Told]:
    who = {
        "worker": st.sampled_from(WORKERS),
        "station": st.sampled_from(STATIONS),
        "site": st.sampled_from(SITES),
    }
    states = st.builds(Told, _times(), **who, kind=st.sampled_from(STATES))
    counts = st.builds(
        Told, _times(), **who, kind=st.just("product_count"), count=st.integers(0, 9)
    )
    return st.one_of(states, states, counts)


@st.composite
def histories(draw: st.DrawFn, max_size: int = 40) -> list[Told]:
    """Events of three workers on two days, some repeated, some with ids of their own.

    Simultaneous states, several stations and sites, gaps beyond the longest, spans over hours
    and midnight, and repeats of counts that report another number.
    """
    told = draw(st.lists(_told(), max_size=max_size))
    named = draw(st.sets(st.integers(0, max_size))) if told else set()
    told = [
        dataclasses.replace(event, event_id=f"own-{place}") if place in named else event
        for place, event in enumerate(told)
    ]
    for place in draw(st.lists(st.integers(0, max(0, len(told) - 1)), max_size=8)):
        if not told:
            break
        again = told[place]
        if again.kind == "product_count" and again.event_id is None:
            again = dataclasses.replace(again, count=draw(st.integers(0, 9)))
        told.append(again)
    return told


@st.composite
def deliveries(draw: st.DrawFn, told: Sequence[Told]) -> list[list[Told]]:
    """The same events in any order and any batches."""
    order = draw(st.permutations(told))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=6)))
    edges = [0, *cuts, len(order)]
    return [order[one:other] for one, other in itertools.pairwise(edges)]


def windows() -> st.SearchStrategy[tuple[int, int]]:
    """Windows around and inside the two days of the histories, none of them empty."""
    edge = st.one_of(_times(), st.integers(MONDAY - DAY, MONDAY + 4 * DAY))
    return st.tuples(edge, edge).map(sorted).filter(lambda pair: pair[0] < pair[1]).map(tuple)


def busy_day() -> list[Told]:
    """A few hundred events of three workers on Monday, neither sorted nor evenly spread."""
    told = []
    for step in range(400):
        when = at(6) + (step * 7919) % 400 * 97 * SECOND
        worker, station = WORKERS[step % 3], STATIONS[step // 5 % 3]
        kind = ("working", "idle", "product_count", "working", "absent")[step % 5]
        told.append(Told(when, worker, station, kind, count=2 if step % 5 == 2 else 0))
    return told


# -- Databases with a floor -----------------------------------------------------------------


def register(db: Database) -> None:
    """The workers and stations of the histories."""
    for worker in WORKERS:
        db.workers.add(worker)
    for station in STATIONS:
        db.workstations.add(station)


def clear(db: Database) -> None:
    """Forget every event, not the workers and stations."""
    with db.write() as connection:
        for table in ("factory_events", "factory_totals", "factory_basis"):
            connection.exec_driver_sql(f"DELETE FROM {table}")


def ingest(db: Database, told: Iterable[Told], **options: Any) -> list[str | Refused]:
    """Store events in one transaction; the outcome of each."""
    with db.write() as connection:
        return db.factory.ingest(connection, [event.row() for event in told], **options)


def submit(db: Database, told: Iterable[Told], **options: Any) -> list[str | Refused]:
    """Store events through the writer and wait until they are on disk."""
    rows = [event.row() for event in told]
    return db.event_writer.submit("factory", rows, **options).result(timeout=30)


def stored_sums(db: Database, since: int, until: int) -> dict[tuple[str, str], dict[str, int]]:
    """What the database says, in the shape of `sums`."""
    return {
        (total.worker_id, total.workstation_id): {
            name: getattr(total, name) for name in ("working", "idle", "absent", "units", "events")
        }
        for total in db.factory_totals.sums(since, until)
    }
