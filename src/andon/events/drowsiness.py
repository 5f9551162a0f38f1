"""What the eye telemetry says: totals, the state of the last hour, and features by driver.

Totals come from sums that are kept (`store.drowsiness_totals`) and cost the same however long
the history is. Features need every point of a stream, so their window is limited.
"""

from typing import Literal

import msgspec
import numpy as np

from andon.errors import InvalidRequest
from andon.events.eyes import EyeStream, Features, closed_threshold
from andon.settings import Settings
from andon.store.database import Database
from andon.store.drowsiness_events import Measurements, Sums

HOUR = 3_600_000_000
"""Microseconds."""
BUCKETS = {"minute": 60, "hour": 3_600}
"""Lengths of the stretches that features are made of, seconds."""
MAX_POINTS = 300_000
"""Measurements that features may be made of at a time: eight hours at ten a second."""

Status = Literal["normal", "warning", "critical"]
Bucket = Literal["minute", "hour"]


class Statistics(msgspec.Struct, frozen=True):
    """Totals of a window.

    Attributes:
        total_events: Measurements.
        drowsy_events: Those with `is_drowsy`.
        average_ear: Mean eye aspect ratio; None without measurements.
        average_duration_ms: Mean reported duration, milliseconds; None without measurements.
        drowsiness_rate: Percent of the measurements that were drowsy; 0 without any.
    """

    total_events: int
    drowsy_events: int
    average_ear: float | None
    average_duration_ms: float | None
    drowsiness_rate: float


class LastHour(msgspec.Struct, frozen=True):
    """The last hour; `alert_rate` in percent, 0 without measurements."""

    events_count: int
    drowsy_count: int
    alert_rate: float


class Overview(msgspec.Struct, frozen=True):
    """How the drivers are.

    Attributes:
        overall: Totals of everything.
        last_hour: What was measured in the hour before now.
        status: Of the last hour, by the settings.
        last_event: Time of the newest measurement, microseconds since 1970 UTC, or None.
        stale: Whether nothing was measured in the last hour; `status` then says nothing.
    """

    overall: Sums
    last_hour: LastHour
    status: Status
    last_event: int | None
    stale: bool


class Stretch(msgspec.Struct, frozen=True):
    """The features of one bucket of a driver's stream.

    Attributes:
        start: Of the bucket, microseconds since 1970 UTC.
        hour_of_day: Of the bucket's middle, hours after midnight UTC, 0 to 24.
        drowsy_events: Points the device called drowsy.
        average_duration_ms: Mean duration as the device reported it, milliseconds.
        features: What the eyes did.
    """

    start: int
    hour_of_day: float
    drowsy_events: int
    average_duration_ms: float
    features: Features


class DriverFeatures(msgspec.Struct, frozen=True):
    """The features of a driver's stream in a window.

    Attributes:
        open_ear: EAR of this driver's open eye in the window; None with too few points.
        closed_below: EAR below which PERCLOS counts the eyes as closed, or None likewise.
        interval: Usual time between two points, seconds; None with fewer than two.
    """

    driver_id: str
    open_ear: float | None
    closed_below: float | None
    interval: float | None
    stretches: list[Stretch]


def statistics(
    db: Database,
    *,
    since: int | None = None,
    until: int | None = None,
    driver: str | None = None,
) -> Statistics:
    """Totals of ``since <= timestamp < until``, microseconds since 1970 UTC; None: no limit.

    Rates and durations have two decimals, the mean EAR four.
    """
    sums = db.telemetry.window(since, until, driver)
    ear, duration = sums.average_ear, sums.average_duration_ms
    return Statistics(
        total_events=sums.events,
        drowsy_events=sums.drowsy,
        average_ear=None if ear is None else round(ear, 4),
        average_duration_ms=None if duration is None else round(duration, 2),
        drowsiness_rate=_percent(sums),
    )


def dashboard(db: Database, settings: Settings, now: int) -> Overview:
    """The state of things at `now`, microseconds since 1970 UTC.

    Measurements of devices whose clock is a little ahead (`ANDON_EVENT_MAX_AHEAD`) are part of
    the last hour: they are the newest there are.
    """
    hour = db.telemetry.window(now - HOUR, None)
    rate = _percent(hour)
    return Overview(
        overall=db.telemetry.overall(),
        last_hour=LastHour(hour.events, hour.drowsy, rate),
        status=status_of(rate, settings),
        last_event=db.telemetry.last(),
        stale=hour.events == 0,
    )


def status_of(rate: float, settings: Settings) -> Status:
    """What an alert rate in percent means."""
    if rate >= settings.drowsiness_critical_rate:
        return "critical"
    return "warning" if rate >= settings.drowsiness_warning_rate else "normal"


def features(
    db: Database,
    *,
    since: int,
    until: int,
    bucket: Bucket,
    threshold: float,
    driver: str | None = None,
) -> list[DriverFeatures]:
    """The features of every driver measured in a window, or of one, by driver.

    Args:
        db: The database.
        since: Microseconds since 1970 UTC.
        until: Not part of the window.
        bucket: Length of the stretches. They begin at full minutes or hours.
        threshold: EAR below which the eyes count as closed.
        driver: Only this driver; an empty text means the unknown one.

    Raises:
        InvalidRequest: The window holds more than `MAX_POINTS` measurements.
    """
    count = db.telemetry.window(since, until, driver).events
    if count > MAX_POINTS:
        raise InvalidRequest(
            f"Features of {count} measurements would take too long; {MAX_POINTS} are the most.",
            hint="Ask for a shorter period or for one driver (`driver_id`).",
        )
    drivers = [driver]
    if driver is None:
        drivers = [found.driver_id for found in db.telemetry.drivers(since, until)]
    described = []
    for one in drivers:
        stream = db.telemetry.measurements(since, until, one or "", MAX_POINTS)
        if stream.timestamps:
            described.append(describe(one or "", stream, BUCKETS[bucket], threshold))
    return described


def describe(driver: str, measured: Measurements, width: int, threshold: float) -> DriverFeatures:
    """The features of one driver's stream, by stretches of `width` seconds."""
    moments = np.asarray(measured.timestamps)
    unit = width * 1_000_000
    # From the first bucket's begin, so that microseconds survive in floats.
    origin = int(moments[0]) // unit * unit
    stream = EyeStream((moments - origin) / 1e6, measured.ears, threshold=threshold)
    starts = np.unique((moments - origin) // unit)
    edges = np.searchsorted(moments - origin, np.stack([starts, starts + 1]) * unit)
    drowsy, durations = np.asarray(measured.drowsy), np.asarray(measured.durations)
    stretches = []
    for number, first, last in zip(starts.tolist(), *edges.tolist(), strict=True):
        start = origin + number * unit
        stretches.append(
            Stretch(
                start=start,
                hour_of_day=(start + unit // 2) % (24 * HOUR) / HOUR,
                drowsy_events=int(drowsy[first:last].sum()),
                average_duration_ms=float(durations[first:last].mean()),
                features=stream.features(number * width, (number + 1) * width),
            )
        )
    open_ear = stream.open_ear
    return DriverFeatures(
        driver_id=driver,
        open_ear=open_ear,
        closed_below=None if open_ear is None else closed_threshold(open_ear),
        interval=stream.interval,
        stretches=stretches,
    )


def _percent(sums: Sums) -> float:
    return round(sums.drowsy_percent or 0.0, 2)
