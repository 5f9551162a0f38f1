"""The plant whose events the floor's measurements send: the same days, over and over.

24 workers at 12 stations, one shift a day, 104 events per worker and shift: 2,496 events a
day, so that 100 thousand are 40 days and ten million are eleven years. Sixteen different days
alternate; every event has a time of its own, so nothing in the stream repeats.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

WORKERS = tuple(f"W{number}" for number in range(1, 25))
STATIONS = tuple(f"S{number}" for number in range(1, 13))
SITE = "main"
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
# What ANDON_FACTORY_MAX_GAP is by default.
MAX_GAP = 1800 * SECOND
EVENTS_PER_DAY = 2_496
DAYS = 16

# In the order of `row`; `id` counts by itself.
COLUMNS = (
    "event_id, timestamp, worker_id, workstation_id, event_type, confidence, count, site_id, "
    "camera_id, model_version, source, received, until"
)

_SHIFT_STARTS = 6 * HOUR
_PER_WORKER = EVENTS_PER_DAY // len(WORKERS)
_STEP = 8 * HOUR // _PER_WORKER


class Moment(NamedTuple):
    """One event of a day, whichever day it is.

    Attributes:
        place: Its position in the day.
        offset: Microseconds since midnight.
        until: When its state ends, microseconds since midnight; None on a count.
        tail: Its JSON from the time of day on.
    """

    place: int
    offset: int
    worker: str
    station: str
    kind: str
    confidence: float
    units: int
    until: int | None
    tail: str


Row = tuple[str, int, str, str, str, float, int, str, str, str, str, int, int | None]


def day(number: int) -> tuple[Moment, ...]:
    """The events of a day (days since 1970), in the order of their times."""
    return _day(number % DAYS)


@cache
def _day(number: int) -> tuple[Moment, ...]:
    source = random.Random(number)
    drawn = sorted(
        event for place in range(len(WORKERS)) for event in _shift(source, place, number)
    )
    ends = _ends(drawn)
    return tuple(
        Moment(place, *event, until=ends.get(place), tail=_tail(*event))
        for place, event in enumerate(drawn)
    )


_Event = tuple[int, str, str, str, float, int]


def _shift(source: random.Random, place: int, number: int) -> Iterator[_Event]:
    """A worker's day: states and counts, sometimes a change of station, absent at the end."""
    station = STATIONS[(place + number) % len(STATIONS)]
    for index in range(_PER_WORKER):
        offset = _SHIFT_STARTS + index * _STEP + source.randrange(_STEP)
        if index == _PER_WORKER // 2 and (place + number) % 6 == 0:
            station = STATIONS[(place + number + 5) % len(STATIONS)]
        if index == _PER_WORKER - 1:
            kind = "absent"
        elif index % 5 in {1, 3}:
            kind = "product_count"
        else:
            kind = source.choices(("working", "idle", "absent"), (75, 20, 5))[0]
        count = source.randrange(1, 9) if kind == "product_count" else 0
        confidence = source.randrange(800, 1000) / 1000
        yield offset, WORKERS[place], station, kind, confidence, count


def _ends(drawn: list[_Event]) -> dict[int, int]:
    """When each state ends, by its place: at the worker's next one, or at the longest gap."""
    ends: dict[int, int] = {}
    open_at: dict[str, int] = {}
    for place, (offset, worker, _, kind, _, _) in enumerate(drawn):
        if kind == "product_count":
            continue
        if worker in open_at:
            ends[open_at[worker]] = min(offset, ends[open_at[worker]])
        ends[place] = offset + MAX_GAP
        open_at[worker] = place
    return ends


def _tail(offset: int, worker: str, station: str, kind: str, confidence: float, count: int) -> str:
    time = datetime.fromtimestamp(0, UTC).replace(
        hour=offset // HOUR,
        minute=offset % HOUR // (60 * SECOND),
        second=offset % (60 * SECOND) // SECOND,
        microsecond=offset % SECOND,
    )
    return (
        f"T{time:%H:%M:%S.%f}Z"
        f'","worker_id":"{worker}","workstation_id":"{station}","event_type":"{kind}",'
        f'"confidence":{confidence},"count":{count},"camera_id":"cam-{station}",'
        '"model_version":"7"}'
    )


def stream(first: int) -> Iterator[tuple[int, Moment]]:
    """Events in the order of their times from a day on (days since 1970), without an end."""
    number = first
    while True:
        for moment in day(number):
            yield number, moment
        number += 1


def lines(first: int, count: int) -> Iterator[bytes]:
    """`count` events as lines of JSON with their line ends, made one at a time."""
    number = first
    left = count
    while left > 0:
        for moment in day(number)[:left]:
            yield line(number, moment) + b"\n"
        left -= EVENTS_PER_DAY
        number += 1


def line(number: int, moment: Moment) -> bytes:
    """One event as a JSON object."""
    return f'{{"timestamp":"{_date(number)}{moment.tail}'.encode()


def row(number: int, moment: Moment) -> Row:
    """The same event as a row of `factory_events`, as far as the columns of `COLUMNS` go."""
    midnight = number * DAY
    return (
        event_id(midnight + moment.offset, number * EVENTS_PER_DAY + moment.place),
        midnight + moment.offset,
        moment.worker,
        moment.station,
        moment.kind,
        moment.confidence,
        moment.units,
        SITE,
        f"cam-{moment.station}",
        "7",
        "bench",
        midnight + DAY,
        None if moment.until is None else midnight + moment.until,
    )


def at(like: Moment, offset: int) -> Moment:
    """The same event at another time of the day, microseconds since midnight."""
    _, _, worker, station, kind, confidence, units, _, _ = like
    tail = _tail(offset, worker, station, kind, confidence, units)
    return like._replace(offset=offset, tail=tail)


def event_id(micros: int, serial: int) -> str:
    """An id of the form and order of those that Andon makes: the time first (UUIDv7)."""
    time = f"{micros // 1000:012x}"
    return f"{time[:8]}-{time[8:]}-7000-8000-{serial:012x}"


@cache
def _date(number: int) -> str:
    return datetime.fromtimestamp(number * DAY // SECOND, UTC).date().isoformat()
