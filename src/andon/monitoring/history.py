"""Measured numbers over weeks: written every quarter of an hour, read for the trends."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from andon.errors import InvalidRequest
from andon.monitoring.performance import PerformanceWindow
from andon.monitoring.signals import Signal
from andon.store.clock import now
from andon.store.database import Database
from andon.store.deployment_events import NOTES

EVERY = timedelta(minutes=15)
"""How often the numbers of a version are written down, at most."""

METRICS = {
    "accuracy": "Accuracy by labels, 0 to 1",
    "estimated_accuracy": "Accuracy estimated from confidence, 0 to 1",
    "error_rate": "Share of the answers that failed",
    "latency_p50_ms": "Median latency, ms",
    "latency_p95_ms": "95th percentile of the latency, ms",
    "confidence": "Mean confidence, 0 to 1",
    "detections_per_image": "Things found in a picture",
    "answers_per_minute": "Answers per minute",
    "drift_score": "Drift, multiples of its threshold",
}
"""What is written down, with its meaning."""

MOST_DAYS = 400

_MOST_POINTS = 1_000
_MOST_EVENTS = 500
_SECONDS_OF_A_DAY = 86_400


class TrendPoint(msgspec.Struct, frozen=True):
    """The mean of what was measured in one bucket of time."""

    at: Annotated[datetime, Meta(description="Middle of what was measured, UTC.")]
    value: float


class TrendLine(msgspec.Struct, frozen=True):
    """One version's numbers, oldest first."""

    version: int
    points: list[TrendPoint]


class TrendMark(msgspec.Struct, frozen=True):
    """A change of what served."""

    at: datetime
    version: int
    event: Annotated[str, Meta(examples=["ACTIVATE", "ROLLBACK"])]
    reason: str


class Trends(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a model over weeks, its versions told apart."""

    model: str
    metric: str
    meaning: str
    days: int
    since: datetime
    lines: list[TrendLine]
    marks: list[TrendMark]


def record(
    db: Database,
    windows: Mapping[str, PerformanceWindow],
    moment: datetime,
    signals: Iterable[Signal] = (),
) -> int:
    """Write down the windows of versions whose last numbers are a quarter of an hour old.

    A version without new answers since gets none: a line that goes on would say that
    something was measured.

    Args:
        db: Where to.
        windows: Newest of each model.
        moment: Now.
        signals: Newest ones; the score of "drift" is taken from them.

    Returns:
        How many versions were written down.

    Raises:
        StorageFull: The database takes no rows.
    """
    scores = {
        (one.model, one.version): one.value
        for one in signals
        if one.name == "drift" and one.value is not None
    }
    written = 0
    for window in windows.values():
        if window.until is None:
            continue
        version = db.models.get(window.model, window.version)
        last = db.metrics.recent(version.id, name="answers_per_minute", limit=1)
        at = last[0].timestamp if last else None
        # A time that has not come yet is from before the clock was set back.
        if at is not None and at <= moment and (moment - at < EVERY or window.until <= at):
            continue
        values = values_of(window)
        score = scores.get((window.model, window.version))
        if score is not None:
            values["drift_score"] = score
        db.metrics.add(version.id, values, details={"answers": window.count}, at=moment)
        written += 1
    return written


def values_of(window: PerformanceWindow) -> dict[str, float]:
    """The numbers of a window that are known, by the names of `METRICS`."""
    found: dict[str, float | None] = {
        "error_rate": window.error_rate,
        "answers_per_minute": window.per_minute,
        "detections_per_image": window.detections_per_image,
    }
    if window.accuracy is not None:
        found[window.accuracy.name] = window.accuracy.value
    if window.latency is not None:
        found["latency_p50_ms"] = window.latency.p50
        found["latency_p95_ms"] = window.latency.p95
    if window.confidence is not None:
        found["confidence"] = window.confidence.mean
    return {name: value for name, value in found.items() if value is not None}


def trends(db: Database, model: str, days: int, metric: str) -> Trends:
    """One number of a model over the last days.

    Args:
        db: The numbers.
        model: Registered model's name.
        days: 1 to 400.
        metric: A name of `METRICS`.

    Raises:
        InvalidRequest: There is no such number, or the time is too long.
    """
    if metric not in METRICS:
        raise _invalid("metric", f"must be one of {', '.join(METRICS)}, not {metric[:64]!r}")
    if not 1 <= days <= MOST_DAYS:
        raise _invalid("days", f"must be 1 to {MOST_DAYS}, not {days}")
    since = now() - timedelta(days=days)
    numbers = {one.id: one.version for one in db.models.list(model)}
    width = max(EVERY.total_seconds(), days * _SECONDS_OF_A_DAY / _MOST_POINTS)
    series = db.metrics.series(list(numbers), metric, since)
    lines = [
        TrendLine(numbers[key], _bucketed(values, width))
        for key, values in sorted(series.items(), key=lambda item: numbers[item[0]])
    ]
    events, _ = db.events.page(model=model, limit=_MOST_EVENTS)
    marks = [
        TrendMark(event.timestamp, event.model_version, event.event_type, event.reason)
        for event in reversed(events)
        if event.event_type not in NOTES and event.timestamp >= since
    ]
    return Trends(
        model=model,
        metric=metric,
        meaning=METRICS[metric],
        days=days,
        since=since,
        lines=lines,
        marks=marks,
    )


def prune(db: Database, days: float) -> int:
    """Delete numbers that are older; baselines stay. How many were deleted.

    Args:
        db: The numbers.
        days: `settings.keep_metrics_days`.
    """
    return db.metrics.prune(now() - timedelta(days=days))


def _bucketed(values: list[tuple[datetime, float]], width: float) -> list[TrendPoint]:
    """Means over buckets of so many seconds, oldest first."""
    buckets: dict[int, list[tuple[float, float]]] = {}
    for moment, value in values:
        seconds = moment.timestamp()
        buckets.setdefault(int(seconds // width), []).append((seconds, value))
    zone = values[0][0].tzinfo if values else None
    return [
        TrendPoint(
            datetime.fromtimestamp(sum(at for at, _ in inside) / len(inside), zone),
            sum(value for _, value in inside) / len(inside),
        )
        for _, inside in sorted(buckets.items())
    ]


def _invalid(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(
        f"The request is not valid: {field} {detail}.", errors=[{"field": field, "detail": detail}]
    )
