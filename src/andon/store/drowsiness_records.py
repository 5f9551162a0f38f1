"""What goes into and comes out of the eye telemetry: rows, records, sums.

Times are whole microseconds since 1970 UTC (`andon.store.clock`).
"""

from array import array

import msgspec

WIDTHS = (86_400, 3_600, 60)
"""Lengths of the buckets that are summed, seconds, the longest first."""


class DrowsinessRow(msgspec.Struct, gc=False):
    """One measurement on its way in.

    Attributes:
        event_id: Identifies it; given by the sender or made.
        given: Whether the sender gave the id.
        timestamp: Microseconds since 1970 UTC. Equal to `received` where the sender named
            no time.
        driver_id: Empty where unknown, as are `device_id` and `site_id`.
        ear_value: Eye aspect ratio.
        duration_ms: How long the eyes had been closed, milliseconds, as the device counts it.
        source: Way in: http, mqtt, cli.
        received: When it arrived, microseconds since 1970 UTC.
    """

    event_id: str
    given: bool
    timestamp: int
    driver_id: str
    device_id: str
    site_id: str
    ear_value: float
    is_drowsy: bool
    duration_ms: float
    source: str
    received: int


class DrowsinessEvent(msgspec.Struct, frozen=True):
    """One stored measurement; the fields of `DrowsinessRow` and the number of its row."""

    id: int
    event_id: str
    timestamp: int
    driver_id: str
    device_id: str
    site_id: str
    ear_value: float
    is_drowsy: bool
    duration_ms: float
    source: str
    received: int


class Sums(msgspec.Struct, frozen=True):
    """What measurements add up to.

    Attributes:
        start: Of the bucket, microseconds since 1970 UTC; 0 where there are no buckets.
        driver_id: Whose; empty where nobody was told apart (or for the unknown driver).
        events: Measurements.
        drowsy: Those with `is_drowsy`.
        ear_sum: Millionths.
        ear_min: Millionths; None without measurements.
        duration_sum: Microseconds.
    """

    start: int = 0
    driver_id: str = ""
    events: int = 0
    drowsy: int = 0
    ear_sum: int = 0
    ear_min: int | None = None
    duration_sum: int = 0

    @property
    def average_ear(self) -> float | None:
        """Mean eye aspect ratio; None without measurements."""
        return self.ear_sum / self.events / 1e6 if self.events else None

    @property
    def lowest_ear(self) -> float | None:
        """Smallest eye aspect ratio; None without measurements."""
        return None if self.ear_min is None else self.ear_min / 1e6

    @property
    def average_duration_ms(self) -> float | None:
        """Mean reported duration, milliseconds; None without measurements."""
        return self.duration_sum / self.events / 1e3 if self.events else None

    @property
    def drowsy_percent(self) -> float | None:
        """Share of drowsy measurements, 0 to 100; None without measurements."""
        return self.drowsy / self.events * 100 if self.events else None


class Driver(msgspec.Struct, frozen=True):
    """A driver who was measured: the sums, and the time of the newest measurement."""

    driver_id: str
    sums: Sums
    last: int


class Measurements(msgspec.Struct, frozen=True):
    """A driver's stream in columns of the same length: as rows it would take far more memory.

    Attributes:
        timestamps: Microseconds since 1970 UTC (64-bit integers), rising.
        ears: Eye aspect ratios (doubles).
        drowsy: 1 where the device said so, else 0 (bytes).
        durations: Milliseconds (doubles).
    """

    timestamps: "array[int]"
    ears: "array[float]"
    drowsy: "array[int]"
    durations: "array[float]"
