"""What monitoring measured, as Performance, Drift and Trends show it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any, NamedTuple

from andon.monitoring import history
from andon.monitoring.performance import PerformanceDetector
from andon.monitoring.signals import Issue, Limits, Signal, State, Watched
from andon.platform import Platform
from andon.store.clock import now
from andon.store.deployment_events import EventType
from andon.store.records import ModelVersion
from andon.trend_charts import Day, Mark
from andon.watching_charts import Slice
from andon.web.dashboard.watching_contexts import SignalLine, Tone, Verdict
from andon.web.dashboard.wording import decimal, lasting, millis, number, score

# A chart of a window has so many slices at most; each is one of these long, seconds.
SLICES = 60
_STEPS = (1, 5, 15, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86400)
# Answers that a chart is made of at most: the newest of the window.
DRAWN = 5_000

NAMES = {
    "error_rate": "Errors",
    "latency": "Answer time",
    "latency_before": "Answer time beside the version before",
    "accuracy": "Accuracy",
    "estimated_accuracy": "Accuracy",
    "confidence": "Confidence",
    "detections": "Detections per picture",
    "label_mix": "Mix of labels",
    "prediction_mix": "Mix of answers",
    "prediction_drift": "Drift of the answers",
    "score_variance": "Spread of the scores",
    "drift": "Drift",
    "concept": "Errors, by the labels",
    "camera": "Camera",
    "refused": "Refused inputs",
    "missing": "Missing values",
    "out_of_range": "Values out of range",
    "new_category": "Values never seen before",
    "duplicates": "Duplicates",
    "stuck": "The same answer to all",
    "stale_feed": "Feed",
}
# The heading of the page where there is no better number for it than a sentence.
_PLAIN = {
    "concept": "is wrong more often than it was",
    "label_mix": "finds other things than it did",
    "prediction_mix": "answers otherwise than it did",
    "stuck": "gives the same answer to everything",
}
_SHARES = {"error_rate", "accuracy", "estimated_accuracy", "camera", "missing", "out_of_range"}
_SHARES |= {"duplicates", "refused", "new_category"}
# Numbers of the trends page: what is kept under which name, and whether it is an estimate.
_SOURCES = {
    "accuracy": (("estimated_accuracy", True), ("accuracy", False)),
    "latency": (("latency_p50_ms", False),),
    "volume": (("answers_per_minute", False),),
    "error_rate": (("error_rate", False),),
    "confidence": (("confidence", False),),
    "drift": (("drift_score", False),),
}
_BEGAN = {str(EventType.ACTIVATE), str(EventType.ROLLBACK)}
# Their numbers come with labels, not with answers.
_OF_LABELS = {"accuracy", "concept"}
_ORDER: dict[Tone, int] = {"stop": 0, "look": 1, "none": 2, "good": 3}
_WORDS: dict[Tone, str] = {"good": "Fine", "look": "Look", "stop": "Bad", "none": "Too few"}


def tone_of(signal: Signal) -> Tone:
    """What a signal means, as pages show it."""
    if signal.state is State.UNKNOWN:
        return "none"
    if signal.state is State.OK:
        return "good"
    return "stop" if signal.severity == "critical" else "look"


def share(value: float | None) -> str:
    """``4.2 %`` below ten percent, ``61 %`` above, or a dash."""
    if value is None:
        return "–"
    digits = 1 if 0 < abs(value) < 0.1 else 0
    return f"{value * 100:.{digits}f} %".replace("-", "\u2212")


def times(factor: float) -> str:
    """``2.6 times``, ``13 times``."""
    return f"{factor:.1f} times" if factor < 10 else f"{factor:.0f} times"


def told(name: str, value: float | None) -> str:
    """A signal's number with its unit, by the signal's name; empty where there is none."""
    if value is None:
        return ""
    if name in _SHARES:
        return share(value)
    if name in {"latency", "latency_before"}:
        return millis(value)
    if name == "stale_feed":
        return lasting(value)
    if name == "stuck":
        return number(round(value))
    return score(value) if abs(value) < 10 else decimal(value)


def _normal(signal: Signal) -> str:
    # What is watched is the evidence; what is normal is a share of errors.
    name = "error_rate" if signal.name == "concept" else signal.name
    return told(name, signal.baseline)


def signal_line(signal: Signal) -> SignalLine:
    """One signal as a row."""
    tone = tone_of(signal)
    name = NAMES.get(signal.name, signal.name.replace("_", " ").capitalize())
    if signal.subject:
        name = f"{name}: {signal.subject}"
    href = f"/drift/reports/{signal.report_id}" if signal.report_id else ""
    return SignalLine(
        key=f"{signal.name}-{signal.subject}" if signal.subject else signal.name,
        name=name,
        tone=tone,
        word=_WORDS[tone],
        number=told(signal.name, signal.value) or "–",
        threshold=told(signal.name, signal.threshold),
        baseline=_normal(signal),
        estimated=signal.estimated,
        since=signal.since,
        summary=signal.summary,
        href=href,
    )


def signal_lines(signals: Iterable[Signal]) -> tuple[SignalLine, ...]:
    """Signals as rows, the worst first; of one name and subject, the first alone."""
    lines: dict[str, SignalLine] = {}
    for one in signals:
        line = signal_line(one)
        lines.setdefault(line.key, line)
    # In the order they were given, within a state.
    return tuple(sorted(lines.values(), key=lambda one: _ORDER[one.tone]))


def verdict(
    version: ModelVersion, signals: Sequence[Signal], since: dict[str, datetime]
) -> Verdict:
    """What the signals say together, in one sentence.

    Args:
        version: What they are about.
        signals: The newest of it.
        since: Of the open alerts: since when, by issue.
    """
    bad = [one for one in signals if one.state is State.BAD]
    if bad:
        worst = min(bad, key=lambda one: _ORDER[tone_of(one)])
        text = _bad(version, worst)
        told = [worst.summary, *(one.summary for one in bad if one is not worst)][:3]
        return Verdict(
            tone=tone_of(worst),
            text=text,
            # What the heading says already is not said again.
            detail=" ".join(one for one in told if one.rstrip(".") != text),
            since=since.get(str(worst.issue)),
        )
    fine = [one for one in signals if one.state is State.OK]
    unknown = [one for one in signals if one.state is State.UNKNOWN]
    # Labels may never come: what waits for answers alone keeps the verdict open.
    waiting = [one for one in unknown if one.name not in _OF_LABELS]
    if fine and len(waiting) <= len(fine):
        rest = f" {len(unknown)} more cannot be told yet." if unknown else ""
        watched = "number is" if len(fine) == 1 else "numbers are"
        return Verdict(
            tone="good",
            text=f"v{version.version} does what it did",
            detail=f"{len(fine)} watched {watched} where they should be.{rest}",
        )
    if signals:
        return _open(waiting or unknown, fine)
    return Verdict(
        tone="none",
        text=f"Nobody has looked at v{version.version} yet",
        detail="Monitoring looks every minute while a version serves.",
    )


def _open(waiting: Sequence[Signal], fine: Sequence[Signal]) -> Verdict:
    """Too little is known to say that all is well."""
    lacking = [one for one in waiting if one.count < one.needed]
    text = "Too few answers to say"
    if lacking:
        furthest = max(lacking, key=lambda one: one.needed - one.count)
        text = f"{text}: {number(furthest.count)} of {number(furthest.needed)}"
    detail = waiting[0].summary
    if fine:
        detail = f"Nothing is wrong so far. {detail}"
    return Verdict(tone="none", text=text, detail=detail)


def _bad(version: ModelVersion, signal: Signal) -> str:
    """The worst signal as the sentence of the page, without its full stop."""
    name = f"v{version.version}"
    value, usual = signal.value, signal.baseline
    if signal.name == "latency" and value and usual:
        return f"{name} takes {times(value / usual)} as long as usual"
    if signal.name == "latency_before" and value and usual:
        return f"{name} takes {times(value / usual)} as long as the version before"
    if signal.name == "error_rate" and value is not None:
        return f"{name} fails on {share(value)} of what it is asked"
    if signal.name in {"accuracy", "estimated_accuracy"} and value is not None:
        guess = "an estimated " if signal.estimated else ""
        return f"{name} is right in {guess}{share(value)} of its answers"
    if signal.name == "confidence" and value is not None and usual is not None:
        return f"{name} is less sure than it was: {score(value)} instead of {score(usual)}"
    if signal.name == "detections" and value is not None and usual is not None:
        return f"{name} finds {value:.2f} things in a picture instead of {usual:.2f}"
    if signal.name in _PLAIN:
        return f"{name} {_PLAIN[signal.name]}"
    if signal.name == "camera" and value is not None:
        camera = signal.subject or "that gives no name"
        return f"Camera {camera} is sick: {share(value)} of its pictures cannot be used"
    if signal.name == "refused" and value is not None:
        return f"{share(value)} of what {name} is sent is refused"
    if signal.issue is Issue.DATA_QUALITY:
        return f"What {name} is sent has faults: {NAMES.get(signal.name, signal.name).lower()}"
    if signal.issue is Issue.DATA_DRIFT:
        return f"{name} is asked other things than it was made for"
    return signal.summary.rstrip(".")


def sliced(rows: Sequence[Any], start: datetime, end: datetime) -> list[Slice]:
    """Answers in slices of time, in order; slices without any are left out.

    Args:
        rows: With `created_at`, `status`, `latency_ms`, `cached` and `confidence_scores`, in any
            order.
        start: Begin of the window.
        end: End of it.
    """
    length = max((end - start).total_seconds(), 1.0)
    step = next((one for one in _STEPS if length / one <= SLICES), length / SLICES)
    groups: dict[int, list[Any]] = {}
    for row in rows:
        groups.setdefault(int(row.created_at.timestamp() // step), []).append(row)
    zone = start.tzinfo
    made = []
    for place in sorted(groups):
        begin = datetime.fromtimestamp(place * step, zone)
        made.append(_slice(groups[place], begin, begin + timedelta(seconds=step)))
    return made


def _slice(rows: Sequence[Any], start: datetime, end: datetime) -> Slice:
    good = [row for row in rows if row.status == "success"]
    # From the cache an answer takes no time, which says nothing of the version.
    times_ms = [row.latency_ms for row in good if not row.cached]
    sure = [value for row in good if (value := confidence_of(row)) is not None]
    return Slice(
        start=start,
        end=end,
        answers=len(rows),
        failed=len(rows) - len(good),
        p50=quantile(times_ms, 0.5),
        p95=quantile(times_ms, 0.95),
        confidence=sum(sure) / len(sure) if sure else None,
        lowest=quantile(sure, 0.1),
    )


def confidence_of(row: Any) -> float | None:
    """How sure an answer is: the mean of its detections, or the share of the class it chose."""
    if row.confidence_scores:
        return float(sum(row.confidence_scores) / len(row.confidence_scores))
    return None


def quantile(values: Sequence[float], share_below: float) -> float | None:
    """A percentile with the positions of `numpy.quantile`'s default, or None without values."""
    if not values:
        return None
    if len(values) == 1:
        return values[0]
    place = round(share_below * 100) - 1
    return quantiles(values, n=100, method="inclusive")[place]


class Looked(NamedTuple):
    """What monitoring says of a version, and when it looked."""

    signals: list[Signal]
    when: datetime | None


def newest_signals(platform: Platform, record: ModelVersion) -> Looked:
    """The newest signals of a version.

    One process watches. Where that is another one, or nobody watches this version, the numbers
    are looked at here and now.
    """
    watch = platform.watch.status()
    found = [
        one
        for one in platform.monitor.signals()
        if one.model == record.model and one.version == record.version
    ]
    if found:
        return Looked(found, watch.last_look)
    # A page that is looked at writes nothing.
    detector = PerformanceDetector(platform.db, platform.settings, keep=False)
    moment = now()
    watched = Watched(
        version=record,
        previous=None,
        limits=limits(platform, record.model),
        moment=moment,
        since=record.deployed_date if record.is_active else None,
    )
    return Looked(detector.look(watched), moment)


def limits(platform: Platform, model: str) -> Limits:
    """Where a model's numbers turn bad."""
    policy, _ = platform.policy.current()
    return policy.limits(model)


def answers(
    platform: Platform, record: ModelVersion, limit: int | None, since: datetime | None
) -> list[Any]:
    """The answers of a window, newest first; `DRAWN` at most."""
    return platform.db.windows.newest(
        record.id,
        min(limit or DRAWN, DRAWN),
        columns=("created_at", "status", "latency_ms", "confidence_scores", "cached"),
        status=None,
        since=since,
    )


def pictures(platform: Platform, record: ModelVersion, limit: int) -> list[Any]:
    """The newest pictures whose camera was looked at, newest first."""
    found = platform.db.windows.newest(
        record.id,
        limit,
        columns=("created_at", "camera", "camera_state", "image_hash", "image_format"),
    )
    return [row for row in found if row.camera_state is not None]


def trends(platform: Platform, model: str, start: datetime, end: datetime) -> dict[str, list[Day]]:
    """A model's numbers by day, by the name the page gives them; oldest first.

    Of a day with several versions the one measured most often counts, and of accuracy what was
    measured goes before what was estimated.
    """
    length = (end - start).days
    made = {}
    for name, sources in _SOURCES.items():
        by_day: dict[datetime, Day] = {}
        # The last source is the best one.
        for metric, estimated in sources:
            told = history.trends(platform.db, model, length, metric)
            by_day |= _by_day(told, estimated=estimated)
        made[name] = [day for at, day in sorted(by_day.items()) if start <= at < end]
    return made


def _by_day(told: history.Trends, *, estimated: bool) -> dict[datetime, Day]:
    measured: dict[datetime, dict[int, list[float]]] = {}
    for line in told.lines:
        for point in line.points:
            day = point.at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            measured.setdefault(day, {}).setdefault(line.version, []).append(point.value)
    days = {}
    for start, versions in measured.items():
        version = max(versions, key=lambda one: len(versions[one]))
        values = versions[version]
        days[start] = Day(
            start,
            start + timedelta(days=1),
            sum(values) / len(values),
            estimated=estimated,
            version=version,
        )
    return days


def marks(platform: Platform, model: str, start: datetime, end: datetime) -> list[Mark]:
    """Versions that began to serve, oldest first."""
    told = history.trends(platform.db, model, (end - start).days, "answers_per_minute")
    return [
        Mark(one.at, f"v{one.version}")
        for one in told.marks
        if start <= one.at < end and one.event in _BEGAN
    ]


def open_since(platform: Platform, model: str) -> dict[str, datetime]:
    """Of a model's open alerts: since when, by issue; empty where there are none."""
    found: dict[str, datetime] = {}
    for alert in platform.db.alerts.open(model):
        found[alert.alert_type] = min(
            alert.created_at, found.get(alert.alert_type, alert.created_at)
        )
    return found
