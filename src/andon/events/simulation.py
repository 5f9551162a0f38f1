"""A believable shift on a floor that does not exist, for demonstrations, load and tests.

`happened` is what went on, `delivered` is what cameras make of it: outages and then late
batches, single events hours late, some delivered twice. Both follow from the seed alone, and
both hold the same set of events. The numbers are chosen, not measured: cycle times of 28 to
55 s, micro stops of a minute or so, breaks every two hours.
"""

import itertools
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from andon.store.clock import micros, moment
from andon.store.ids import uuid7_of

WORKER_NAMES = ("Ada", "Bram", "Chiara", "Dario", "Emine", "Femi")
STATION_NAMES = ("Cutting", "Drilling", "Assembly", "Soldering", "Inspection", "Packing")

# A camera says every so often that nothing has changed, so that no state outlasts the
# longest gap that counts (ANDON_FACTORY_MAX_GAP).
_REPEAT_SECONDS = 300.0
_REPORT_SECONDS = 60.0
_RAMP_SECONDS = 1200.0
_GATHER_SECONDS = 2.0

Event = dict[str, Any]
"""A factory event as it is sent; `timestamp` is an aware datetime."""


class Shift(msgspec.Struct, frozen=True):
    """What to simulate.

    Args:
        start: When the shift begins, an aware time.
        workers: W1, W2, …
        stations: S1, S2, …; a camera looks at each.
        hours: How long the shift is.
        seed: The same seed, the same shift.
        outages: Outages of a camera's connection to be expected in eight hours.
        late: Share of the events that arrive minutes to hours late, 0 to 1.
        duplicates: Share of the events that arrive twice, 0 to 1.
        site: `site_id` of the events; empty: none.
    """

    start: datetime
    workers: int = 6
    stations: int = 6
    hours: float = 8.0
    seed: int = 1
    outages: float = 0.5
    late: float = 0.02
    duplicates: float = 0.02
    site: str = ""


class Delivery(msgspec.Struct, frozen=True):
    """Events that reach the server together, and when."""

    at: datetime
    events: list[Event]


def roster(shift: Shift) -> tuple[dict[str, str], dict[str, str]]:
    """The workers and the stations of a shift: names by id."""
    return (
        {f"W{n + 1}": _name(WORKER_NAMES, n) for n in range(shift.workers)},
        {f"S{n + 1}": _name(STATION_NAMES, n) for n in range(shift.stations)},
    )


def happened(shift: Shift) -> list[Event]:
    """Every event of the shift once, in the order of its time."""
    events = [event for number in range(shift.workers) for event in _Day(shift, number).events()]
    return sorted(events, key=lambda event: (event["timestamp"], event["event_id"]))


def delivered(shift: Shift) -> Iterator[Delivery]:
    """The same events as they arrive: in order of arrival, some late, some twice."""
    chance = Random(f"{shift.seed}/delivery")
    outages = {
        f"S{n + 1}": _outages(shift, Random(f"{shift.seed}/outages/{n}"))
        for n in range(shift.stations)
    }
    arrivals: list[tuple[float, int, Event]] = []
    for number, event in enumerate(happened(shift)):
        at = (event["timestamp"] - shift.start).total_seconds()
        for begin, end in outages[event["workstation_id"]]:
            if begin <= at < end:
                at = end
        at += chance.uniform(0.2, 1.5)
        if chance.random() < shift.late:
            at += chance.uniform(60, 7200)
        arrivals.append((at, number, event))
        if chance.random() < shift.duplicates:
            arrivals.append((at + chance.uniform(1, 600), number, event))
    arrivals.sort(key=lambda arrival: arrival[:2])
    for slot, group in itertools.groupby(
        arrivals, lambda one: math.floor(one[0] / _GATHER_SECONDS)
    ):
        at = shift.start + timedelta(seconds=(slot + 1) * _GATHER_SECONDS)
        yield Delivery(at, [event for _, _, event in group])


class _Day:
    """One worker's shift, in seconds since its beginning."""

    def __init__(self, shift: Shift, number: int) -> None:
        self.shift = shift
        self.worker = f"W{number + 1}"
        self.chance = Random(f"{shift.seed}/{self.worker}")
        self.station = number % shift.stations
        self.skill = self.chance.uniform(0.85, 1.2)
        seconds = shift.hours * 3600
        self.begin = min(abs(self.chance.gauss(0, 240)), 600, seconds * 0.1)
        self.end = seconds - min(abs(self.chance.gauss(0, 180)), 600, seconds * 0.1)
        self.breaks = self._breaks(seconds)
        self.left = 0.0
        self.states: list[tuple[float, str, int]] = []
        self.units: list[tuple[float, int]] = []

    def events(self) -> Iterator[Event]:
        """What the cameras see of it."""
        self._live()
        for at, state, station in self._repeated():
            yield self._event(at, state, station, None)
        by_minute = itertools.groupby(
            self.units, lambda unit: (math.floor(unit[0] / _REPORT_SECONDS), unit[1])
        )
        for (_, station), group in by_minute:
            times = [at for at, _ in group]
            yield self._event(times[-1], "product_count", station, len(times))

    def _live(self) -> None:
        """Work, stop for a moment, go for a break, until the shift ends."""
        chance, at = self.chance, self.begin
        breaks = iter(self.breaks)
        pause = next(breaks, None)
        while at < self.end:
            until = min(pause[0] if pause else self.end, self.end)
            self.states.append((at, "working", self.station))
            stop = min(at + 90 + chance.expovariate(1 / 1080), until)
            self._produce(at, stop)
            at = stop
            if at >= self.end:
                break
            if pause and at >= pause[0]:
                state, length = "absent", pause[1]
                pause = next(breaks, None)
            elif chance.random() < 0.06:
                state, length = "absent", chance.uniform(180, 480)
            else:
                state, length = "idle", min(12 + chance.lognormvariate(math.log(60), 0.8), 900)
            self.states.append((at, state, self.station))
            at += length
            if pause:
                # Whoever is stopped when the break comes goes straight on to it.
                pause = (max(pause[0], at), pause[1])
            if chance.random() < (0.25 if state == "absent" else 0.03):
                self.station = chance.randrange(self.shift.stations)
        self.states.append((self.end, "absent", self.station))

    def _produce(self, at: float, stop: float) -> None:
        """Finish units; one that is begun is carried over a stop."""
        cycle = Random(f"{self.shift.seed}/S{self.station + 1}").uniform(28, 55) * self.skill
        while True:
            if self.left <= 0:
                warm = 0.6 + 0.4 * min(1.0, (at - self.begin) / _RAMP_SECONDS)
                self.left = max(5.0, self.chance.gauss(cycle, cycle * 0.08)) / warm
            if at + self.left > stop:
                self.left -= stop - at
                return
            at += self.left
            self.left = 0.0
            self.units.append((at, self.station))

    def _repeated(self) -> Iterator[tuple[float, str, int]]:
        """The states, each said again every few minutes while it lasts; not after the end."""
        for (begin, state, station), (end, _, _) in itertools.pairwise(self.states):
            for again in range(math.ceil((end - begin) / _REPEAT_SECONDS)):
                yield begin + again * _REPEAT_SECONDS, state, station
        yield self.states[-1]

    def _breaks(self, seconds: float) -> list[tuple[float, float]]:
        """(when, how long): a quarter of an hour every two hours, lunch after four."""
        planned = [
            (hour * 3600.0, 1800.0 if hour % 8 == 4 else 900.0)
            for hour in range(2, math.ceil(self.shift.hours), 2)
            if hour * 3600 < seconds - 2700
        ]
        return [
            (at + self.chance.uniform(-120, 120), length * self.chance.uniform(0.9, 1.1))
            for at, length in planned
        ]

    def _event(self, at: float, event_type: str, station: int, count: int | None) -> Event:
        # A camera's clock is a little off, always in the same direction, and trembles.
        off = Random(f"{self.shift.seed}/clock/{station}").uniform(-0.15, 0.15)
        seconds = max(0.0, at + off + self.chance.gauss(0, 0.02))
        when = micros(self.shift.start) + round(seconds * 1000) * 1000
        event: Event = {
            "timestamp": moment(when),
            "worker_id": self.worker,
            "workstation_id": f"S{station + 1}",
            "event_type": event_type,
            "confidence": round(0.8 + 0.195 * self.chance.betavariate(5, 2), 3),
            "camera_id": f"cam-S{station + 1}",
        }
        if count is not None:
            event["count"] = count
        if self.shift.site:
            event["site_id"] = self.shift.site
        key = "|".join(map(str, event.values()))
        return {"event_id": uuid7_of(when, key.encode()), **event}


def _outages(shift: Shift, chance: Random) -> list[tuple[float, float]]:
    """(begin, end) of one camera's outages, seconds since the beginning of the shift."""
    found: list[tuple[float, float]] = []
    at = 0.0
    rate = shift.outages / (8 * 3600)
    while rate > 1e-9:
        at += chance.expovariate(rate)
        if at >= shift.hours * 3600:
            break
        found.append((at, at + chance.uniform(300, 2400)))
        at = found[-1][1]
    return found


def _name(names: tuple[str, ...], number: int) -> str:
    """The names there are, then the same with a number."""
    again, place = divmod(number, len(names))
    return f"{names[place]} {again + 1}" if again else names[place]
