"""How a version does over its newest answers: errors, latency, confidence, accuracy.

`measure` gives the numbers, `PerformanceDetector` says which of them are bad. Thresholds are
set for looking every minute: a share or mean counts as moved only where the move is both large
and far beyond chance, so that quiet days stay quiet.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from andon.monitoring import estimate, intervals
from andon.monitoring.accuracy import Accuracy, estimated_accuracy, measured_accuracy
from andon.monitoring.answer_signals import answer_signals, stuck
from andon.monitoring.baselines import Baseline, Baselines, columns_of, describe, takes_rows
from andon.monitoring.refusals import is_refusal
from andon.monitoring.signals import Issue, Signal, State, Watched
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.records import ModelVersion
from andon.store.windows import Windows, time_of

__all__ = [
    "Accuracy",
    "Confidence",
    "Latency",
    "PerformanceDetector",
    "PerformanceWindow",
    "measure",
    "since_of",
]

ERRORS_NEEDED = 10
"""Answers before a share of errors says something."""

ALL_FAILED = 3
"""Fewer are enough where every one failed."""

LATENCY_NEEDED = 30
"""Answers that were computed, not taken from the cache."""

DROP = 0.05
"""Accuracy under the held-out one, absolute, that counts as worse."""

_Z_HELD_OUT = 3.0
_CONFIDENCE_DIGITS = 4
# A new version is compared with the one before for so long.
_FRESH = timedelta(hours=24)
_QUIET = timedelta(hours=1)


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds of answers that were computed, not taken from the cache."""

    p50: float
    p95: float
    p99: float
    mean: float


class Confidence(msgspec.Struct, frozen=True):
    """Mean and tenth percentile, 0 to 1."""

    mean: float
    p10: float


class PerformanceWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest answers of one version, in numbers."""

    model: str
    version: int
    count: Annotated[int, Meta(description="Answers, failed ones included.")]
    errors: Annotated[int, Meta(description="Failed by the version or the server.")]
    refused: Annotated[
        int, Meta(description="Inputs that no version could answer; no errors of this one.")
    ]
    error_rate: Annotated[float | None, Meta(description="0 to 1; refused ones left out.")]
    since: Annotated[datetime | None, Meta(description="Oldest answer of the window.")]
    until: Annotated[datetime | None, Meta(description="Newest answer.")]
    per_minute: Annotated[float, Meta(description="Answers per minute over that time.")]
    latency: Latency | None
    baseline_ms: Annotated[
        float | None,
        Meta(description="Median of the version's first full window after warm-up."),
    ]
    confidence: Confidence | None
    detections_per_image: Annotated[float | None, Meta(description="null of rows.")]
    labels: Annotated[dict[str, float], Meta(description="Detections per picture by label.")]
    predictions: Annotated[dict[str, float], Meta(description="Share of answers by class.")]
    accuracy: Accuracy | None


def measure(
    db: Database,
    version: ModelVersion,
    *,
    limit: int | None = None,
    since: datetime | None = None,
    settings: Settings,
) -> PerformanceWindow:
    """The numbers of a version over its newest answers.

    Args:
        db: The log.
        version: With card.
        limit: Answers at most; default `settings.monitor_window`.
        since: Not older than this; a time that has not come is no limit.
        settings: Sizes of the windows.
    """
    measured = _Measured(db, version, settings, limit=limit, since=since)
    return measured.window(Baselines(db, settings.monitor_window).get(version))


class PerformanceDetector:
    """Says what is bad about a version's newest answers.

    Args:
        db: The log.
        settings: Sizes of the windows.
        keep: Whether what turns out to be normal is written down.
    """

    def __init__(self, db: Database, settings: Settings, *, keep: bool = True) -> None:
        self._db = db
        self._settings = settings
        self._baselines = Baselines(db, settings.monitor_window, keep=keep)

    def look(self, watched: Watched) -> list[Signal]:
        """One signal for each number that is watched."""
        return self.see(watched)[1]

    def see(self, watched: Watched) -> tuple[PerformanceWindow, list[Signal]]:
        """The numbers themselves, and what they say."""
        version = watched.version
        found = _Measured(self._db, version, self._settings, since=since_of(watched))
        baseline = self._baselines.settle(version)
        window = found.window(baseline)
        say = Sayer(watched, window)
        signals = [
            _errors(say, found),
            self._latency(say, found, baseline),
            *self._latency_before(say, found),
            *_accuracy(say, found),
            *self._answers(say, found, baseline),
        ]
        return window, signals

    def _latency(self, say: "Sayer", found: "_Measured", baseline: Baseline | None) -> Signal:
        factor = say.watched.limits.latency_factor
        computed = found.latencies
        given = {"issue": Issue.PERFORMANCE, "count": len(computed), "needed": LATENCY_NEEDED}
        if baseline is None:
            lacking = self._baselines.waiting(say.watched.version)
            proof = (say.watched.version.proof or {}).get("latency_ms")
            told = f" (its proof took {proof:.3g} ms)" if isinstance(proof, int | float) else ""
            return say.unknown(
                "latency",
                f"What latency is normal for {say.name} is known after {lacking} more answers"
                f"{told}.",
                value=float(np.median(computed)) if len(computed) else None,
                **given,
            )
        normal = baseline.latency_ms
        if len(computed) < LATENCY_NEEDED:
            return say.unknown(
                "latency",
                say.few("computed answers", len(computed), LATENCY_NEEDED),
                baseline=normal,
                **given,
            )
        median = float(np.median(computed))
        bad = median > normal * factor
        ratio = median / normal if normal > 0 else math.inf
        summary = (
            f"The median latency of {say.name} over {len(computed)} answers is {median:.3g} ms, "
            f"{ratio:.2g} times its usual {normal:.3g} ms (limit {factor:g} times)."
        )
        return say.said(
            "latency",
            bad=bad,
            summary=summary,
            severity="critical",
            value=median,
            threshold=normal * factor,
            baseline=normal,
            **given,
        )

    def _latency_before(self, say: "Sayer", found: "_Measured") -> list[Signal]:
        """Beside the version before, while this one is new; nothing where that says nothing."""
        watched = say.watched
        previous = watched.previous if _is_fresh(watched) else None
        normal = None if previous is None else self._baselines.get(previous)
        if previous is None or normal is None:
            return []
        factor, usual = watched.limits.latency_factor, normal.latency_ms
        given = {
            "issue": Issue.PERFORMANCE,
            "count": len(found.latencies),
            "needed": LATENCY_NEEDED,
            "baseline": usual,
            "threshold": usual * factor,
            "evidence": {"before": previous.version},
        }
        if len(found.latencies) < LATENCY_NEEDED:
            few = say.few("computed answers", len(found.latencies), LATENCY_NEEDED)
            return [say.unknown("latency_before", few, **given)]
        median = float(np.median(found.latencies))
        ratio = median / usual if usual > 0 else math.inf
        summary = (
            f"{say.name} is new: its median latency over {len(found.latencies)} answers is "
            f"{median:.3g} ms, {ratio:.2g} times the {usual:.3g} ms that were usual for "
            f"v{previous.version} before it (limit {factor:g} times)."
        )
        bad = median > usual * factor
        return [say.said("latency_before", bad=bad, summary=summary, value=median, **given)]

    def _answers(self, say: "Sayer", found: "_Measured", baseline: Baseline | None) -> list[Signal]:
        watched = say.watched
        signals = answer_signals(
            watched,
            found.described,
            None if baseline is None else baseline.described,
            self._before(watched),
            since=say.window.since,
            until=say.window.until,
            needed=self._settings.monitor_window // 2,
        )
        signals.append(
            stuck(
                watched,
                found.rows,
                Windows(self._db),
                self._settings.monitor_window,
                since=say.window.since,
                until=say.window.until,
            )
        )
        return signals

    def _before(self, watched: Watched) -> Any:
        """The last window of the version before, while this one is new."""
        previous, since = watched.previous, watched.since
        if previous is None or not _is_fresh(watched):
            return None
        rows = Windows(self._db).newest(
            previous.id,
            self._settings.monitor_window,
            columns=columns_of(previous),
            before=since,
        )
        return describe(previous, rows)


class Sayer:
    """Makes the signals of one look."""

    def __init__(self, watched: Watched, window: PerformanceWindow) -> None:
        self.watched = watched
        self.window = window
        self.name = f"{watched.version.model} v{watched.version.version}"

    def few(self, what: str, count: int, needed: int) -> str:
        """The sentence about too little data."""
        if not self.window.count:
            return self.no_answers()
        return f"{self.name} has {count} {what} in the window; it takes {needed} to say."

    def no_answers(self) -> str:
        """The sentence about no data at all."""
        since = since_of(self.watched)
        if since is None:
            return f"{self.name} has given no answers yet."
        return f"{self.name} has given no answers since {since:%Y-%m-%d %H:%M} UTC."

    def unknown(self, name: str, summary: str, **given: Any) -> Signal:
        """A signal that cannot say."""
        return self._signal(name, State.UNKNOWN, summary, **given)

    def said(self, name: str, *, bad: bool, summary: str, **given: Any) -> Signal:
        """A signal that can."""
        return self._signal(name, State.BAD if bad else State.OK, summary, **given)

    def _signal(self, name: str, state: State, summary: str, **given: Any) -> Signal:
        version = self.watched.version
        times = {"since": self.window.since, "until": self.window.until}
        return Signal(
            name=name,
            state=state,
            summary=summary,
            model=version.model,
            version=version.version,
            **{**times, **given},
        )


def since_of(watched: Watched) -> datetime | None:
    """When the version began to serve; None where the clock was set back behind that."""
    since = watched.since
    return None if since is None or since > watched.moment else since


def _is_fresh(watched: Watched) -> bool:
    """Whether the version serves for less than a day: then the one before it is a measure."""
    return watched.since is not None and watched.moment - watched.since <= _FRESH


class _Measured:
    """The newest answers of a version, read once."""

    def __init__(
        self,
        db: Database,
        version: ModelVersion,
        settings: Settings,
        *,
        limit: int | None = None,
        since: datetime | None = None,
    ) -> None:
        self.version = version
        self.settings = settings
        self.since = None if since is None or since > now() else since
        windows = Windows(db)
        wanted = ("status", "error", "latency_ms", "cached", *columns_of(version))
        self.all = windows.newest(
            version.id,
            limit or settings.monitor_window,
            columns=wanted,
            status=None,
            since=self.since,
        )
        self.rows = [row for row in self.all if row.status == "success"]
        failed = [row for row in self.all if row.status != "success"]
        self.described = describe(version, self.rows)
        self.refused = sum(is_refusal(row.error) for row in failed)
        self.errors = len(failed) - self.refused
        self.latencies = np.array([row.latency_ms for row in self.rows if not row.cached])
        self.labelled = db.feedback.labelled(
            version.id, since=self.since, limit=settings.label_window
        )
        self.measured = measured_accuracy(version, self.labelled)
        self.calibration = estimate.calibration(windows, version, since=self.since)
        self.estimated = estimated_accuracy(
            estimate.estimate(version, self.rows, self.calibration), len(self.rows)
        )

    def window(self, baseline: Baseline | None) -> PerformanceWindow:
        """Everything in numbers."""
        version, rows, described = self.version, self.rows, self.described
        answered = len(self.all) - self.refused
        first = time_of(self.all[-1].id) if self.all else None
        last = time_of(self.all[0].id) if self.all else None
        count = len(rows)
        predicted = sum(described.predictions.values())
        return PerformanceWindow(
            model=version.model,
            version=version.version,
            count=len(self.all),
            errors=self.errors,
            refused=self.refused,
            error_rate=self.errors / answered if answered else None,
            since=first,
            until=last,
            per_minute=_per_minute(len(self.all), first, last),
            latency=_latency(self.latencies),
            baseline_ms=None if baseline is None else baseline.latency_ms,
            confidence=_confidence(rows),
            detections_per_image=(
                None if takes_rows(version) or not count else described.detections.mean
            ),
            labels={name: found / count for name, found in sorted(described.labels.items())},
            predictions={
                name: found / predicted for name, found in sorted(described.predictions.items())
            },
            accuracy=self.accuracy(),
        )

    def accuracy(self) -> Accuracy | None:
        """Measured where there are enough labels, else estimated, else what lacks."""
        if self.measured.value is not None:
            return self.measured
        return self.estimated if self.estimated.value is not None else self.measured


def _errors(say: Sayer, found: _Measured) -> Signal:
    limit = say.watched.limits.error_rate
    failed, total = found.errors, len(found.all) - found.refused
    given = {
        "issue": Issue.PERFORMANCE,
        "count": total,
        "needed": ERRORS_NEEDED,
        "threshold": limit,
        "severity": "critical",
    }
    all_failed = total >= ALL_FAILED and failed == total
    if total < ERRORS_NEEDED and not all_failed:
        return say.unknown("error_rate", say.few("answers", total, ERRORS_NEEDED), **given)
    low, high = intervals.wilson(failed, total)
    reason = next((row.error for row in found.all if row.error and not is_refusal(row.error)), "")
    newest = f" The newest: {reason[:200]}" if failed and reason else ""
    return say.said(
        "error_rate",
        bad=low > limit or all_failed,
        summary=f"{failed} of the newest {total} answers of {say.name} failed "
        f"(at least {low:.1%}; limit {limit:.1%}).{newest}",
        value=failed / total,
        evidence={"low": low, "high": high, "failed": failed, "refused": found.refused},
        **given,
    )


def _accuracy(say: Sayer, found: _Measured) -> list[Signal]:
    """The measured accuracy and the estimated one."""
    by_labels = _by_labels(say, found.measured)
    # What labels say goes before what confidence says.
    grave = found.estimated.calibrated and found.measured.value is None
    return [by_labels, _by_confidence(say, found.estimated, grave=grave)]


def _by_labels(say: Sayer, accuracy: Accuracy) -> Signal:
    limit = say.watched.limits.accuracy
    given: dict[str, Any] = {
        "issue": Issue.PERFORMANCE,
        "count": accuracy.labels,
        "needed": accuracy.needed,
        "severity": "critical",
    }
    normal, spread = estimate.held_out(say.watched.version)
    if accuracy.value is None or accuracy.low is None or accuracy.high is None:
        return say.unknown(
            "accuracy",
            f"{say.name} has {accuracy.labels} labelled answers; it takes {accuracy.needed} to "
            "measure its accuracy.",
            threshold=limit,
            baseline=normal,
            **given,
        )
    value, high = accuracy.value, accuracy.high
    text = (
        f"By {accuracy.labels} labels the accuracy of {say.name} is {value:.1%} "
        f"({accuracy.low:.1%} to {high:.1%})"
    )
    evidence = {"low": accuracy.low, "high": high}
    under = None
    if normal is not None:
        error = math.hypot(spread, math.sqrt(max(value * (1 - value), 0.01) / accuracy.labels))
        under = normal - DROP - _Z_HELD_OUT * error
    if high < limit:
        text += f", under the limit of {limit:.0%}."
    elif under is not None and normal is not None and value < under:
        text += f", more than {DROP * 100:.0f} points under the {normal:.1%} of its held-out rows."
        given["severity"] = "warning"
    else:
        beside = "" if normal is None else f" and {normal:.1%} on its held-out rows"
        return say.said(
            "accuracy",
            bad=False,
            summary=f"{text}, with a limit of {limit:.0%}{beside}.",
            value=value,
            threshold=limit,
            baseline=normal,
            evidence=evidence,
            **given,
        )
    return say.said(
        "accuracy",
        bad=True,
        summary=text,
        value=value,
        threshold=limit if high < limit else under,
        baseline=normal,
        evidence=evidence,
        **given,
    )


def _by_confidence(say: Sayer, accuracy: Accuracy, *, grave: bool) -> Signal:
    limit = say.watched.limits.accuracy
    given: dict[str, Any] = {
        "issue": Issue.PERFORMANCE,
        "count": accuracy.answers,
        "needed": accuracy.needed,
        "threshold": limit,
        "estimated": True,
        # Confidence that nobody checked is worth a look, and no rollback.
        "severity": "critical" if grave else "info",
    }
    if accuracy.value is None or accuracy.low is None or accuracy.high is None:
        summary = say.few("answers with a confidence", accuracy.answers, accuracy.needed)
        return say.unknown("estimated_accuracy", summary, **given)
    checked = (
        f"calibrated by {accuracy.labels} labels"
        if accuracy.labels
        else "calibrated on held-out rows"
        if accuracy.calibrated
        else "not calibrated"
    )
    return say.said(
        "estimated_accuracy",
        bad=accuracy.high < limit,
        summary=f"Without labels the accuracy of {say.name} is estimated at {accuracy.value:.1%} "
        f"({accuracy.low:.1%} to {accuracy.high:.1%}) from the confidence of "
        f"{accuracy.answers} answers, {checked}; the limit is {limit:.0%}.",
        value=accuracy.value,
        evidence={
            "low": accuracy.low,
            "high": accuracy.high,
            "calibrated": accuracy.calibrated,
            "labels": accuracy.labels,
        },
        **given,
    )


def _latency(values: Any) -> Latency | None:
    if not len(values):
        return None
    p50, p95, p99 = (float(one) for one in np.percentile(values, (50, 95, 99)))
    return Latency(p50, p95, p99, float(values.mean()))


def _confidence(rows: Sequence[Any]) -> Confidence | None:
    values = [score for row in rows for score in row.confidence_scores or ()]
    if not values:
        return None
    array = np.asarray(values, np.float64)
    return Confidence(
        round(float(array.mean()), _CONFIDENCE_DIGITS),
        round(float(np.percentile(array, 10)), _CONFIDENCE_DIGITS),
    )


def _per_minute(count: int, first: datetime | None, last: datetime | None) -> float:
    """Over the window's own time; of a quiet hour since, that hour counts as well.

    A batch comes within a millisecond: that is no rate, so a second is the least.
    """
    if first is None or last is None:
        return 0.0
    end = max(last, now()) if now() - last > _QUIET else last
    minutes = max(1.0, (end - first).total_seconds()) / 60
    return round(count / minutes, 3)
