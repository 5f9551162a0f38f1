"""The numbers of the floor: by worker, by workstation, and for the factory as a whole.

docs/metrics.md defines them. Everything is added up in whole microseconds and units, so the
three levels agree exactly; rates are divided out last. A denominator of zero gives zero.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from andon.errors import InvalidRequest
from andon.store.clock import moment
from andon.store.database import Database
from andon.store.factory_records import Total
from andon.store.roster import Roster, RosterEntry

Bucket = Literal["hour", "day"]

MAX_BUCKETS = 2_000
"""Points of one series."""
MAX_POINTS = 100_000
"""Points of one answer, all series together."""

_SECOND = 1_000_000
_HOUR = 3_600 * _SECOND
WIDTHS: dict[Bucket, int] = {"hour": 3_600, "day": 86_400}

_Seconds = Annotated[float, Meta(description="Seconds.", examples=[5400.0])]
_Fraction = Annotated[float, Meta(description="0 to 1; 0 without time.", examples=[0.82])]
_Rate = Annotated[float, Meta(description="Units per hour; 0 without time.", examples=[31.5])]
_Units = Annotated[int, Meta(description="Units counted.", examples=[120])]
_Events = Annotated[int, Meta(description="Events, states and counts together.")]
_Start = Annotated[datetime, Meta(description="When the bucket begins, UTC.")]
_RetiredAt = Annotated[datetime | None, Meta(description="When retired; null while in use.")]


class Window(NamedTuple):
    """From `since` (inside) to `until` (outside), microseconds since 1970 UTC."""

    since: int
    until: int


class Sums(NamedTuple):
    """What the numbers are made of: microseconds, units, events."""

    working: int = 0
    idle: int = 0
    absent: int = 0
    units: int = 0
    events: int = 0


# msgspec lays out the members of a base class first, and people look for the id first: so the
# numbers stand here once for a bucket and once for a window.


class WorkerPoint(msgspec.Struct, kw_only=True):
    """What one worker did in one bucket."""

    start: _Start
    active_seconds: _Seconds
    idle_seconds: _Seconds
    absent_seconds: _Seconds
    utilization: Annotated[_Fraction, Meta(description="active / (active + idle).")]
    units: _Units
    units_per_hour: Annotated[_Rate, Meta(description="units / active hours.")]
    events: _Events


class WorkerMetrics(msgspec.Struct, kw_only=True):
    """What one worker did."""

    worker_id: str
    name: Annotated[str, Meta(description="For people.")]
    retired_at: _RetiredAt
    active_seconds: _Seconds
    idle_seconds: _Seconds
    absent_seconds: _Seconds
    utilization: Annotated[_Fraction, Meta(description="active / (active + idle).")]
    units: _Units
    units_per_hour: Annotated[_Rate, Meta(description="units / active hours.")]
    events: _Events
    series: list[WorkerPoint] | UnsetType = UNSET


class WorkstationPoint(msgspec.Struct, kw_only=True):
    """What happened at one workstation in one bucket."""

    start: _Start
    working_seconds: _Seconds
    idle_seconds: _Seconds
    absent_seconds: _Seconds
    occupancy_seconds: Annotated[_Seconds, Meta(description="working + idle.")]
    utilization: Annotated[_Fraction, Meta(description="working / occupancy.")]
    units: _Units
    throughput: Annotated[_Rate, Meta(description="units / occupancy hours.")]
    events: _Events


class WorkstationMetrics(msgspec.Struct, kw_only=True):
    """What happened at one workstation, in person-time."""

    workstation_id: str
    name: Annotated[str, Meta(description="For people.")]
    retired_at: _RetiredAt
    working_seconds: _Seconds
    idle_seconds: _Seconds
    absent_seconds: _Seconds
    occupancy_seconds: Annotated[_Seconds, Meta(description="working + idle.")]
    utilization: Annotated[_Fraction, Meta(description="working / occupancy.")]
    units: _Units
    throughput: Annotated[_Rate, Meta(description="units / occupancy hours.")]
    events: _Events
    series: list[WorkstationPoint] | UnsetType = UNSET


class FactoryPoint(msgspec.Struct, kw_only=True):
    """What the factory did in one bucket."""

    start: _Start
    productive_seconds: Annotated[_Seconds, Meta(description="Active time of all workers.")]
    idle_seconds: _Seconds
    absent_seconds: _Seconds
    utilization: Annotated[
        _Fraction, Meta(description="Mean of the utilization of workers with data.")
    ]
    production: _Units
    production_rate: Annotated[_Rate, Meta(description="production / productive hours.")]
    workers: Annotated[int, Meta(description="Workers with data.")]
    events: _Events


class Span(msgspec.Struct, kw_only=True):
    """The window the numbers are about."""

    since: Annotated[datetime, Meta(description="Its beginning.")] = field(name="from")
    until: Annotated[datetime, Meta(description="Its end, not part of it; never after now.")] = (
        field(name="to")
    )
    bucket: Bucket | None


class FactoryMetrics(Span, kw_only=True):
    """What the factory did."""

    productive_seconds: Annotated[_Seconds, Meta(description="Active time of all workers.")]
    idle_seconds: _Seconds
    absent_seconds: _Seconds
    utilization: Annotated[
        _Fraction, Meta(description="Mean of the utilization of workers with data.")
    ]
    production: _Units
    production_rate: Annotated[_Rate, Meta(description="production / productive hours.")]
    workers: Annotated[int, Meta(description="Workers with data.")]
    events: _Events
    series: list[FactoryPoint] | UnsetType = UNSET


def window(db: Database, since: int | None, until: int | None, now: int) -> Window:
    """The window a caller means; all times in microseconds since 1970 UTC.

    Args:
        db: Says when the data begins.
        since: Its beginning; default that of the data.
        until: Its end; default `now`, and never after it.
        now: The present.

    Raises:
        InvalidRequest: It ends before it begins.
    """
    end = now if until is None else min(until, now)
    if since is None:
        first = db.factory.first()
        return Window(end if first is None else min(first, end), end)
    if since >= end:
        ahead = since >= now
        detail = "must not be in the future" if ahead else "must be before `to`"
        raise InvalidRequest(
            f"The request is not valid: from {detail}.",
            errors=[{"field": "from", "detail": detail}],
        )
    return Window(since, end)


def span(of: Window, bucket: Bucket | None) -> Span:
    """A window for the wire."""
    return Span(since=moment(of.since), until=moment(of.until), bucket=bucket)


def workers(
    db: Database, of: Window, *, bucket: Bucket | None = None, worker: str | None = None
) -> list[WorkerMetrics]:
    """Every registered worker's numbers, zeros included.

    Args:
        db: The database.
        of: The window.
        bucket: With a series by hour or by UTC day.
        worker: Only this one.

    Raises:
        NotFound: There is no such worker.
        InvalidRequest: The series would have too many points.
    """
    roster = _roster(db.workers, worker)
    starts = _starts(of, bucket, len(roster))
    width = None if bucket is None else WIDTHS[bucket]
    totals = db.factory_totals.sums(of.since, of.until, bucket=width, worker=worker, by="worker")
    found = _by_key(totals, lambda total: total.worker_id)

    series = _series(starts, WorkerPoint, worker_numbers)

    def metrics(entry: RosterEntry) -> WorkerMetrics:
        buckets = found.get(entry.id, {})
        return WorkerMetrics(
            worker_id=entry.id,
            name=entry.name,
            retired_at=entry.retired_at,
            **worker_numbers(_sum(buckets.values())),
            series=series(buckets),
        )

    return [metrics(entry) for entry in roster]


def workstations(
    db: Database, of: Window, *, bucket: Bucket | None = None, workstation: str | None = None
) -> list[WorkstationMetrics]:
    """Every registered workstation's numbers, zeros included; arguments as `workers`.

    Raises:
        NotFound: There is no such workstation.
        InvalidRequest: The series would have too many points.
    """
    roster = _roster(db.workstations, workstation)
    starts = _starts(of, bucket, len(roster))
    width = None if bucket is None else WIDTHS[bucket]
    totals = db.factory_totals.sums(
        of.since, of.until, bucket=width, workstation=workstation, by="workstation"
    )
    found = _by_key(totals, lambda total: total.workstation_id)

    series = _series(starts, WorkstationPoint, workstation_numbers)

    def metrics(entry: RosterEntry) -> WorkstationMetrics:
        buckets = found.get(entry.id, {})
        return WorkstationMetrics(
            workstation_id=entry.id,
            name=entry.name,
            retired_at=entry.retired_at,
            **workstation_numbers(_sum(buckets.values())),
            series=series(buckets),
        )

    return [metrics(entry) for entry in roster]


def factory(db: Database, of: Window, *, bucket: Bucket | None = None) -> FactoryMetrics:
    """The factory's numbers.

    Raises:
        InvalidRequest: The series would have too many points.
    """
    starts = _starts(of, bucket, 1)
    width = None if bucket is None else WIDTHS[bucket]
    totals = db.factory_totals.sums(of.since, of.until, bucket=width, by="worker")
    by_worker = _by_key(totals, lambda total: total.worker_id)
    by_start: dict[int | None, list[Sums | Total]] = defaultdict(list)
    for buckets in by_worker.values():
        for start, sums in buckets.items():
            by_start[start].append(sums)
    series = _series(starts, FactoryPoint, factory_numbers, nothing=())
    return FactoryMetrics(
        since=moment(of.since),
        until=moment(of.until),
        bucket=bucket,
        **factory_numbers([_sum(buckets.values()) for buckets in by_worker.values()]),
        series=series(by_start),
    )


def worker_numbers(of: Sums | Total) -> dict[str, Any]:
    """The numbers of a worker, by name."""
    return {
        "active_seconds": of.working / _SECOND,
        "idle_seconds": of.idle / _SECOND,
        "absent_seconds": of.absent / _SECOND,
        "utilization": _ratio(of.working, of.working + of.idle),
        "units": of.units,
        "units_per_hour": _ratio(of.units * _HOUR, of.working),
        "events": of.events,
    }


def workstation_numbers(of: Sums | Total) -> dict[str, Any]:
    """The numbers of a workstation, by name."""
    occupancy = of.working + of.idle
    return {
        "working_seconds": of.working / _SECOND,
        "idle_seconds": of.idle / _SECOND,
        "absent_seconds": of.absent / _SECOND,
        "occupancy_seconds": occupancy / _SECOND,
        "utilization": _ratio(of.working, occupancy),
        "units": of.units,
        "throughput": _ratio(of.units * _HOUR, occupancy),
        "events": of.events,
    }


def factory_numbers(of: Iterable[Sums | Total]) -> dict[str, Any]:
    """The numbers of the factory, by name, from the sums of each worker."""
    everybody = list(of)
    total = _sum(everybody)
    # fsum rounds once: the order of the workers makes no difference.
    shares = [_ratio(one.working, one.working + one.idle) for one in everybody if has_data(one)]
    return {
        "productive_seconds": total.working / _SECOND,
        "idle_seconds": total.idle / _SECOND,
        "absent_seconds": total.absent / _SECOND,
        "utilization": _ratio(math.fsum(shares), len(shares)),
        "production": total.units,
        "production_rate": _ratio(total.units * _HOUR, total.working),
        "workers": len(shares),
        "events": total.events,
    }


def has_data(of: Sums | Total) -> bool:
    """Whether there is time or a unit: such workers count in the factory's mean."""
    return of.working + of.idle + of.absent + of.units > 0


_NOTHING = Sums()

_Buckets = dict[int | None, Total]
_Point = TypeVar("_Point")


def _series(
    starts: range | None,
    point: Callable[..., _Point],
    numbers: Callable[[Any], dict[str, Any]],
    *,
    nothing: Any = _NOTHING,
) -> Callable[[Mapping[Any, Any]], list[_Point] | UnsetType]:
    """How a series is made from what lies in its buckets.

    Most buckets of a long window are empty, and the empty ones of all series are the same
    objects: a month of hours of every worker must not take a hundred milliseconds.

    Args:
        starts: Where the buckets begin; without, there is no series.
        point: Makes a point from `start` and numbers.
        numbers: Makes the numbers from what lies in a bucket.
        nothing: What lies in an empty one.
    """
    if starts is None:
        return lambda _buckets: UNSET
    moments = [moment(start) for start in starts]
    zeros = numbers(nothing)
    empty = [point(start=begins, **zeros) for begins in moments]

    def series(buckets: Mapping[Any, Any]) -> list[_Point]:
        made = empty.copy()
        for start, found in buckets.items():
            place = starts.index(start)
            made[place] = point(start=moments[place], **numbers(found))
        return made

    return series


def _by_key(totals: Iterable[Total], key: Callable[[Total], str]) -> dict[str, _Buckets]:
    """Sums by worker or station, and by the start of their bucket."""
    found: dict[str, _Buckets] = defaultdict(dict)
    for one in totals:
        found[key(one)][one.start] = one
    return found


def _sum(parts: Collection[Sums | Total]) -> Sums:
    return Sums(
        sum(part.working for part in parts),
        sum(part.idle for part in parts),
        sum(part.absent for part in parts),
        sum(part.units for part in parts),
        sum(part.events for part in parts),
    )


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


def _roster(roster: Roster, entry_id: str | None) -> list[RosterEntry]:
    """All entries, or the one that was asked for."""
    return roster.list() if entry_id is None else [roster.get(entry_id)]


def _starts(of: Window, bucket: Bucket | None, series: int) -> range | None:
    """Where the buckets of a window begin; None without buckets.

    Args:
        of: The window.
        bucket: Their length.
        series: How many series have them.

    Raises:
        InvalidRequest: They are too many.
    """
    if bucket is None:
        return None
    width = WIDTHS[bucket] * _SECOND
    starts = range(of.since - of.since % width, of.until, width)
    if len(starts) > MAX_BUCKETS:
        raise _too_many(
            f"gives {len(starts)} buckets, more than {MAX_BUCKETS}",
            "Ask for a shorter window" + (", or for bucket=day." if bucket == "hour" else "."),
        )
    if len(starts) * series > MAX_POINTS:
        raise _too_many(
            f"gives {len(starts)} buckets for {series} series, more than {MAX_POINTS} points",
            "Ask for a shorter window, or for one worker or workstation at a time.",
        )
    return starts


def _too_many(detail: str, hint: str) -> InvalidRequest:
    return InvalidRequest(
        f"The request is not valid: bucket {detail}.",
        hint=hint,
        errors=[{"field": "bucket", "detail": detail}],
    )
