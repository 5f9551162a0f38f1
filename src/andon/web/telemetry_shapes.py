"""What goes over the wire about drivers, workers and workstations: one type per answer.

As in `shapes`: times are UTC, ISO 8601 with `Z`; what is unknown is null, never 0.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from andon.events.drowsiness import Bucket, DriverFeatures, Overview, Statistics, Stretch
from andon.store.clock import moment
from andon.store.drowsiness_events import DrowsinessEvent
from andon.store.roster import RosterEntry

Ear = Annotated[float, Meta(description="Eye aspect ratio.", examples=[0.28])]
Percent = Annotated[float, Meta(description="Percent, two decimals.", examples=[26.67])]


class SentMeasurement(msgspec.Struct, kw_only=True):
    """A measurement as it is sent. Members that are not listed are ignored; null is absent."""

    ear_value: Annotated[float, Meta(ge=0, le=2, examples=[0.28])]
    is_drowsy: bool
    duration_ms: Annotated[
        float,
        Meta(ge=0, le=86_400_000, description="How long the eyes had been closed."),
    ]
    timestamp: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="When it was measured, with Z or a UTC offset; default now.",
                examples=["2026-11-21T08:15:30Z"],
            ),
        ]
        | None
    ) = None
    event_id: Annotated[str, Meta(description="Yours; one is made where none is given.")] | None = (
        None
    )
    driver_id: str | None = None
    device_id: str | None = None
    site_id: Annotated[str, Meta(description="Default: the setting ANDON_SITE.")] | None = None


class TelemetryLogged(msgspec.Struct, kw_only=True):
    """A measurement that is on disk."""

    status: Literal["logged"] = "logged"
    event_id: Annotated[str, Meta(description="The one sent, or the UUIDv7 it was given.")]
    duplicate: (
        Annotated[Literal[True], Meta(description="It was stored before; nothing changed.")]
        | UnsetType
    ) = UNSET


class TelemetryEvent(msgspec.Struct, kw_only=True):
    """One measurement of a driver's eyes."""

    event_id: str
    timestamp: datetime
    driver_id: Annotated[str, Meta(description="Empty where unknown.")]
    device_id: Annotated[str, Meta(description="Empty where unknown.")]
    site_id: str
    ear_value: Ear
    is_drowsy: bool
    duration_ms: Annotated[
        float, Meta(description="How long the eyes had been closed, milliseconds.")
    ]
    source: Annotated[str, Meta(description="Way in: http, mqtt, cli.")]
    received_at: datetime

    @classmethod
    def of(cls, event: DrowsinessEvent) -> "TelemetryEvent":
        """The stored measurement, for the wire."""
        return cls(
            event_id=event.event_id,
            timestamp=moment(event.timestamp),
            driver_id=event.driver_id,
            device_id=event.device_id,
            site_id=event.site_id,
            ear_value=event.ear_value,
            is_drowsy=event.is_drowsy,
            duration_ms=event.duration_ms,
            source=event.source,
            received_at=moment(event.received),
        )


class TelemetryPage(msgspec.Struct):
    """Measurements, newest first."""

    items: list[TelemetryEvent]
    next_cursor: Annotated[str | None, Meta(description="`cursor` of the next page, or null.")]


class TelemetryStatistics(msgspec.Struct, kw_only=True):
    """Totals of the measurements in a window."""

    total_events: int
    drowsy_events: int
    average_ear: Annotated[
        float | None, Meta(description="Four decimals; null without measurements.")
    ]
    average_duration_ms: Annotated[
        float | None, Meta(description="Two decimals; null without measurements.")
    ]
    drowsiness_rate: Percent

    @classmethod
    def of(cls, found: Statistics) -> "TelemetryStatistics":
        """The totals, for the wire."""
        return cls(
            total_events=found.total_events,
            drowsy_events=found.drowsy_events,
            average_ear=found.average_ear,
            average_duration_ms=found.average_duration_ms,
            drowsiness_rate=found.drowsiness_rate,
        )


class OverallCounts(msgspec.Struct):
    """Everything that was ever measured."""

    total_events: int
    drowsy_events: int


class LastHourCounts(msgspec.Struct):
    """What was measured in the hour before now."""

    events_count: int
    drowsy_count: int
    alert_rate: Percent


class TelemetryDashboard(msgspec.Struct, kw_only=True):
    """How the drivers are."""

    overall: OverallCounts
    last_hour: LastHourCounts
    status: Annotated[
        Literal["normal", "warning", "critical"],
        Meta(description="By the last hour's alert rate. Says nothing when `stale`."),
    ]
    timestamp: datetime
    last_event_at: Annotated[
        datetime | None, Meta(description="Time of the newest measurement; null without any.")
    ]
    stale: Annotated[bool, Meta(description="Nothing was measured in the last hour.")]

    @classmethod
    def of(cls, found: Overview, at: datetime) -> "TelemetryDashboard":
        """The overview, for the wire."""
        hour = found.last_hour
        return cls(
            overall=OverallCounts(found.overall.events, found.overall.drowsy),
            last_hour=LastHourCounts(hour.events_count, hour.drowsy_count, hour.alert_rate),
            status=found.status,
            timestamp=at,
            last_event_at=None if found.last_event is None else moment(found.last_event),
            stale=found.stale,
        )


class EyeFeatures(msgspec.Struct, kw_only=True):
    """What a driver's eyes did in one bucket; null is unknown (docs/drowsiness.md)."""

    start: Annotated[datetime, Meta(description="Of the bucket.")]
    hour_of_day: Annotated[float, Meta(description="Of the bucket's middle, hours, UTC.")]
    points: Annotated[int, Meta(description="Measurements.")]
    drowsy_events: Annotated[int, Meta(description="Those the device called drowsy.")]
    observed_seconds: Annotated[float, Meta(description="Time covered, gaps left out.")]
    ear_mean: float | None
    ear_variance: Annotated[float | None, Meta(description="Unbiased.")]
    ear_min: float | None
    average_duration_ms: Annotated[float, Meta(description="As the device reported it.")]
    closures: Annotated[
        int | None, Meta(description="Times the eyes closed and opened again; null: too slow.")
    ]
    closure_seconds_mean: float | None
    closure_seconds_max: float | None
    blinks: Annotated[int | None, Meta(description="Closures of 0.05 to 0.5 s.")]
    blink_rate: Annotated[float | None, Meta(description="Per minute of observed time.")]
    perclos: Annotated[
        float | None,
        Meta(description="Share of observed time with eyes at least 80 % closed, 0 to 1."),
    ]

    @classmethod
    def of(cls, stretch: Stretch) -> "EyeFeatures":
        """The features of one stretch, for the wire."""
        found = stretch.features
        return cls(
            start=moment(stretch.start),
            hour_of_day=stretch.hour_of_day,
            points=found.points,
            drowsy_events=stretch.drowsy_events,
            observed_seconds=found.observed_seconds,
            ear_mean=found.ear_mean,
            ear_variance=found.ear_variance,
            ear_min=found.ear_min,
            average_duration_ms=stretch.average_duration_ms,
            closures=found.closures,
            closure_seconds_mean=found.closure_seconds_mean,
            closure_seconds_max=found.closure_seconds_max,
            blinks=found.blinks,
            blink_rate=found.blink_rate,
            perclos=found.perclos,
        )


class DriverStream(msgspec.Struct, kw_only=True):
    """The features of one driver."""

    driver_id: Annotated[str, Meta(description="Empty where unknown.")]
    interval_seconds: Annotated[
        float | None, Meta(description="Usual time between two measurements.")
    ]
    open_ear: Annotated[
        float | None, Meta(description="EAR of this driver's open eye in the window.")
    ]
    closed_below: Annotated[
        float | None, Meta(description="EAR below which `perclos` counts the eyes as closed.")
    ]
    items: list[EyeFeatures]

    @classmethod
    def of(cls, found: DriverFeatures) -> "DriverStream":
        """A driver's features, for the wire."""
        return cls(
            driver_id=found.driver_id,
            interval_seconds=found.interval,
            open_ear=found.open_ear,
            closed_below=found.closed_below,
            items=[EyeFeatures.of(stretch) for stretch in found.stretches],
        )


class TelemetryFeatures(msgspec.Struct, kw_only=True):
    """Features by driver and bucket, in a window."""

    since: datetime = field(name="from")
    until: datetime = field(name="to")
    bucket: Bucket
    threshold: Annotated[float, Meta(description="EAR below which an eye counts as closed.")]
    drivers: list[DriverStream]

    @classmethod
    def of(
        cls, found: list[DriverFeatures], since: int, until: int, bucket: Bucket, threshold: float
    ) -> "TelemetryFeatures":
        """The features of several drivers, for the wire; times in microseconds since 1970."""
        return cls(
            since=moment(since),
            until=moment(until),
            bucket=bucket,
            threshold=threshold,
            drivers=[DriverStream.of(driver) for driver in found],
        )


class Worker(msgspec.Struct, kw_only=True):
    """Somebody whose work the floor reports."""

    worker_id: str
    name: Annotated[str, Meta(description="For people; the id where none was given.")]
    created_at: datetime
    retired_at: Annotated[
        datetime | None, Meta(description="From then on events are refused; null while in use.")
    ]

    @classmethod
    def of(cls, entry: RosterEntry) -> "Worker":
        """The stored entry, for the wire."""
        return cls(
            worker_id=entry.id,
            name=entry.name,
            created_at=entry.created_at,
            retired_at=entry.retired_at,
        )


class Workstation(msgspec.Struct, kw_only=True):
    """A place somebody works at."""

    workstation_id: str
    name: Annotated[str, Meta(description="For people; the id where none was given.")]
    created_at: datetime
    retired_at: Annotated[
        datetime | None, Meta(description="From then on events are refused; null while in use.")
    ]

    @classmethod
    def of(cls, entry: RosterEntry) -> "Workstation":
        """The stored entry, for the wire."""
        return cls(
            workstation_id=entry.id,
            name=entry.name,
            created_at=entry.created_at,
            retired_at=entry.retired_at,
        )


SHAPES = (
    SentMeasurement,
    TelemetryLogged,
    TelemetryPage,
    TelemetryStatistics,
    TelemetryDashboard,
    TelemetryFeatures,
    Worker,
    Workstation,
)
"""For the OpenAPI document."""
