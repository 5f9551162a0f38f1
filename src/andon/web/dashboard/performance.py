"""The Performance page: does a version do what it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from andon import watching_charts
from andon.errors import NotFound
from andon.monitoring.performance import Accuracy, PerformanceWindow, measure
from andon.platform import Platform
from andon.runtimes.rows import RowSchema
from andon.store.clock import now
from andon.store.records import ModelVersion, Rollout
from andon.watching_charts import Slice
from andon.web.dashboard import reading, rows, state, watching_reading
from andon.web.dashboard.contexts import Choice, Figure
from andon.web.dashboard.periods import address
from andon.web.dashboard.rendering import drawable
from andon.web.dashboard.watching_contexts import (
    Beside,
    Candidate,
    Number,
    PerformancePage,
    Tone,
    Verdict,
)
from andon.web.dashboard.watching_reading import share
from andon.web.dashboard.wording import clock, count, decimal, millis, plural, score

_SPANS = {
    "1h": (timedelta(hours=1), "1 h", "the last hour"),
    "24h": (timedelta(hours=24), "24 h", "the last 24 hours"),
    "7d": (timedelta(days=7), "7 days", "the last 7 days"),
}
_MANY = 1_000
_MOST = watching_reading.DRAWN
# Labels with a bar; a model may have hundreds of classes.
_LABELS = 24
_JUDGED: dict[str, tuple[Tone, str]] = {
    "better": ("good", "is better"),
    "worse": ("stop", "is worse"),
    "not_enough": ("none", "there is not enough evidence yet"),
}
_STATES: dict[str, Tone] = {"fine": "good", "worse": "stop", "not_enough": "none"}
_GUARDS = {"errors": "Errors", "latency": "Slow answers", "accuracy": "Accuracy"}


@dataclass(frozen=True)
class Window:
    """Which answers the figures are of.

    Attributes:
        key: As the address has it; empty for the usual one.
        words: In words, to follow "in".
        limit: Answers at most; None for a span of time.
        span: Length in time; None for a number of answers.
        problem: What the address said that cannot be, and what is shown; else empty.
    """

    key: str
    words: str
    limit: int | None = None
    span: timedelta | None = None
    problem: str = ""


def page(
    platform: Platform, model: str, *, version: int | None = None, window: str = ""
) -> PerformancePage:
    """The context of the Performance page.

    Args:
        platform: What everything is read from.
        model: Registered model.
        version: Version to look at; None: the one that serves, or else the newest.
        window: As the address has it.

    Raises:
        NotFound: The model has no such version.
    """
    facts = state.look(platform, model)
    record = _chosen(model, facts.versions, version)
    if record is not None:
        # With its card, which lists leave out.
        record = platform.db.models.get(model, record.version)
    asked = window_of(window, platform.settings.monitor_window)
    frame = reading.shell(
        platform,
        page="performance",
        title="Performance",
        model=model,
        lamp=state.judge(facts),
        names=platform.db.models.names(),
    )
    if record is None:
        return PerformancePage(
            shell=frame,
            version=None,
            active=False,
            versions=(),
            verdict=Verdict(tone="none", text="No version serves yet"),
            signals=(),
            looked=None,
            window=asked.key,
            windows=(),
            words=asked.words,
            numbers=(),
            figures=(),
            labels=(),
            labels_title="",
            candidate=None,
            problem=asked.problem,
            drawable=drawable(),
        )
    of_rows = rows.is_rows(platform, model)
    looked = watching_reading.newest_signals(platform, record)
    since = now() - asked.span if asked.span else None
    found = measure(
        platform.db, record, limit=asked.limit or _MOST, since=since, settings=platform.settings
    )
    answers = watching_reading.answers(platform, record, asked.limit, since)
    rollout = platform.db.rollouts.running(model)
    limits = watching_reading.limits(platform, model)
    return PerformancePage(
        shell=frame,
        version=record.version,
        active=record.is_active,
        versions=tuple((str(one.version), _version_words(one)) for one in facts.versions),
        verdict=watching_reading.verdict(
            record, looked.signals, watching_reading.open_since(platform, model)
        ),
        signals=watching_reading.signal_lines(looked.signals),
        looked=looked.when,
        window=asked.key,
        windows=_windows(platform, model, version, asked),
        words=_cut(asked, found.count),
        numbers=numbers(found, of_rows=of_rows) if found.count else (),
        figures=tuple(figures(answers, found, limits.latency_factor)),
        labels=labels(found, rows.schema_of(record), of_rows=of_rows),
        labels_title="Answers by what they said" if of_rows else "Detections by label",
        candidate=None if rollout is None else candidate(rollout),
        problem=asked.problem,
        drawable=drawable(),
    )


def window_of(text: str, usual: int) -> Window:
    """The window an address asks for; what cannot be is told and replaced by the usual one.

    Args:
        text: A number of answers, a span such as ``24h``, or empty.
        usual: Answers in the usual window.
    """
    words = f"the last {count(usual)} answers"
    if not text or text == str(usual):
        return Window("", words, limit=usual)
    if text in _SPANS:
        span, _, told = _SPANS[text]
        return Window(text, told, span=span)
    if text.isascii() and text.isdigit() and len(text) < 7 and 0 < int(text) <= _MOST:
        return Window(text, f"the last {count(int(text))} answers", limit=int(text))
    problem = (
        f"There is no window called {text[:40]}: choose one below, or write a number of answers "
        f"up to {count(_MOST)}. What you see is {words}."
    )
    return Window("", words, limit=usual, problem=problem)


def _cut(asked: Window, answered: int) -> str:
    """The window in words, and that it is cut where it holds more than is looked at."""
    if asked.span is None or answered < _MOST:
        return asked.words
    return f"the newest {count(_MOST)} answers of {asked.words}"


def _windows(
    platform: Platform, model: str, version: int | None, asked: Window
) -> tuple[Choice, ...]:
    others = {"model": model, "version": str(version) if version else ""}
    usual = platform.settings.monitor_window
    texts = {"": f"Last {count(usual)}", str(_MANY): f"Last {count(_MANY)}"}
    if usual == _MANY:
        del texts[str(_MANY)]
    texts |= {key: text for key, (_, text, _) in _SPANS.items()}
    if asked.key not in texts:
        texts = {asked.key: f"Last {count(int(asked.key))}", **texts}
    return tuple(
        Choice(
            text=text,
            href=address("/performance", {**others, "window": key}),
            current=key == asked.key,
        )
        for key, text in texts.items()
    )


def _chosen(
    model: str, versions: Sequence[ModelVersion], wanted: int | None
) -> ModelVersion | None:
    if wanted is None:
        active = next((one for one in versions if one.is_active), None)
        return active or next(iter(versions), None)
    found = next((one for one in versions if one.version == wanted), None)
    if found is None:
        raise NotFound(
            f"{model} has no version {wanted}.", hint="Models lists the versions there are."
        )
    return found


def _version_words(record: ModelVersion) -> str:
    return f"v{record.version}, serves" if record.is_active else f"v{record.version}"


def numbers(found: PerformanceWindow, *, of_rows: bool) -> tuple[Number, ...]:
    """The figures of a window, the most telling first."""
    made = [
        Number(
            name="Asked",
            value=count(found.count),
            note=_pace(found),
        ),
        Number(
            name="Errors",
            value=share(found.error_rate),
            note=_errors(found),
        ),
    ]
    base, latency = found.baseline_ms, found.latency
    if latency is not None:
        normal = f"baseline {millis(base)}" if base else "no baseline yet"
        note = f"{normal}; 95 of 100 within {millis(latency.p95)}, 99 within {millis(latency.p99)}"
        made.append(Number(name="Answer time, median", value=millis(latency.p50), note=note))
    if found.confidence is not None:
        low = f"one in ten below {score(found.confidence.p10)}"
        made.append(Number(name="Confidence", value=score(found.confidence.mean), note=low))
    if not of_rows and found.detections_per_image is not None:
        made.append(
            Number(name="Detections per picture", value=f"{found.detections_per_image:.2f}")
        )
    return (*made, *_accuracy(found.accuracy))


def _pace(found: PerformanceWindow) -> str:
    if found.since is None or found.until is None:
        return ""
    # Of a burst nobody can tell a pace.
    long = found.until - found.since >= timedelta(minutes=1)
    return f"{decimal(found.per_minute)} a minute" if long else "within a minute"


def _errors(found: PerformanceWindow) -> str:
    text = f"{count(found.errors)} of {count(found.count - found.refused)} failed"
    # What no version could have answered is nobody's error.
    return f"{text}, {count(found.refused)} refused" if found.refused else text


def _accuracy(found: Accuracy | None) -> tuple[Number, ...]:
    if found is None:
        return (Number(name="Accuracy", value="–", note="nothing to tell it from yet"),)
    if found.value is None:
        lacking = f"{count(found.labels)} of {plural(found.needed, 'label')} needed"
        return (Number(name="Accuracy", value="–", note=lacking),)
    bounds = ""
    if found.low is not None and found.high is not None:
        bounds = f"{share(found.low)} to {share(found.high)}"
    basis = "without labels" if found.estimated else f"from {plural(found.labels, 'label')}"
    note = ", ".join(part for part in (bounds, basis) if part)
    if found.estimated and not found.calibrated:
        note += ", not calibrated"
    made = [Number(name="Accuracy", value=share(found.value), note=note, estimated=found.estimated)]
    for name, one in (("Precision", found.precision), ("Recall", found.recall), ("F1", found.f1)):
        if one is None or one.value is None:
            continue
        span = "" if one.low is None else f"{score(one.low)} to {score(one.high)}"
        made.append(Number(name=name, value=score(one.value), note=span, estimated=found.estimated))
    return tuple(made)


def labels(
    found: PerformanceWindow, schema: RowSchema | None = None, *, of_rows: bool
) -> tuple[tuple[str, str, float], ...]:
    """How often each label was found, or each answer given, the most frequent first."""
    counted = found.predictions if of_rows else found.labels
    ranked = sorted(counted.items(), key=lambda one: -one[1])[:_LABELS]
    top = max((value for _, value in ranked), default=0.0) or 1.0
    return tuple(
        (
            rows.class_text(schema, name) if of_rows else name,
            share(value) if of_rows else f"{value:.2f} per picture",
            round(value / (1.0 if of_rows else top), 4),
        )
        for name, value in ranked
    )


def figures(answers: Sequence[Any], found: PerformanceWindow, factor: float) -> list[Figure]:
    """Answer time, volume and confidence over the window.

    Args:
        answers: Of the window.
        found: What was measured of it.
        factor: Multiple of the baseline from which the answer time is bad.
    """
    if not answers:
        return []
    end = max(row.created_at for row in answers)
    # A burst of a second is drawn in the minute it ended.
    start = min(*(row.created_at for row in answers), end - timedelta(minutes=1))
    slices = watching_reading.sliced(answers, start, end)
    start, end = min(start, slices[0].start), slices[-1].end
    base = found.baseline_ms
    limit = base * factor if base else None
    timed = Figure(
        id="time",
        title="Answer time",
        spec=watching_charts.answer_times(slices, base, limit, start, end),
        height=watching_charts.TIME_HEIGHT,
        summary=_time_words(found),
        columns=("From (UTC)", "Median, ms", "95th percentile, ms"),
        rows=tuple((_at(one, start, end), _ms(one.p50), _ms(one.p95)) for one in slices),
    )
    # Where nothing was answered there is no time to draw.
    made = [timed] if any(one.p50 is not None for one in slices) else []
    made.append(
        Figure(
            id="volume",
            title="Volume",
            spec=watching_charts.volumes(slices, start, end),
            height=watching_charts.VOLUME_HEIGHT,
            summary=_volume_words(found),
            columns=("From (UTC)", "Asked", "Failed or refused"),
            rows=tuple(
                (_at(one, start, end), count(one.answers), count(one.failed)) for one in slices
            ),
        )
    )
    if any(one.confidence is not None for one in slices):
        made.append(
            Figure(
                id="confidence",
                title="Confidence",
                spec=watching_charts.confidences(slices, None, start, end),
                height=watching_charts.CONFIDENCE_HEIGHT,
                summary="The mean as a line, down to what one answer in ten stays below.",
                columns=("From (UTC)", "Mean", "10th percentile"),
                rows=tuple(
                    (_at(one, start, end), score(one.confidence), score(one.lowest))
                    for one in slices
                ),
            )
        )
    return made


def _volume_words(found: PerformanceWindow) -> str:
    lost = f"{count(found.errors)} failed"
    if found.refused:
        lost += f", {count(found.refused)} refused"
    return f"{count(found.count)} asked, {lost}."


def _time_words(found: PerformanceWindow) -> str:
    base = found.baseline_ms
    if found.latency is None:
        return "Nothing was timed: every answer came from the cache."
    median = found.latency.p50
    if not base:
        return f"Median {millis(median)}, with a band up to the 95th percentile."
    return (
        f"Median {millis(median)}, baseline {millis(base)}; the band ends at the 95th percentile."
    )


def _at(one: Slice, start: datetime, end: datetime) -> str:
    if end - start < timedelta(hours=20):
        return (
            f"{one.start:%H:%M:%S}"
            if one.end - one.start < timedelta(minutes=1)
            else clock(one.start)
        )
    return f"{one.start:%-d %b, %H:%M}"


def _ms(value: float | None) -> str:
    return decimal(value)


def candidate(rollout: Rollout) -> Candidate:
    """What runs beside the active version, and what the newest judgement says of it."""
    told = rollout.judgement or {}
    tone, words = _JUDGED.get(str(told.get("verdict")), ("none", "nothing was judged yet"))
    name = f"v{rollout.candidate}"
    sentence = (
        f"{name} {words}." if tone in {"good", "stop"} else f"{words[:1].upper()}{words[1:]}."
    )
    # The first says what counts; the table below has the others.
    reasons = " ".join(str(one) for one in (told.get("reasons") or ())[:1])
    if tone == "none" and reasons.lower().startswith("not enough evidence"):
        # It says so itself.
        sentence = ""
    lines = tuple(
        Beside(
            name=_GUARDS.get(str(one.get("name")), str(one.get("name")).capitalize()),
            active=_guard(one.get("value_active")),
            candidate=_guard(one.get("value_candidate")),
            tone=_STATES.get(str(one.get("state")), "none"),
            summary=str(one.get("summary") or ""),
        )
        for one in told.get("guardrails") or ()
    )
    shared = f"{share(rollout.weight)} of the subjects are answered by {name}."
    if rollout.mode == "shadow":
        shared = f"{name} answers the same questions; its answers never leave."
    elif rollout.mode == "compare":
        shared = f"Both answer every question; v{rollout.baseline} is what callers get."
    return Candidate(
        mode=rollout.mode,
        version=rollout.candidate,
        against=rollout.baseline,
        words=shared,
        tone=tone,
        verdict=f"{sentence} {reasons}".strip(),
        lines=lines,
        since=rollout.created_at,
        href=f"/models/{rollout.candidate}?model={quote(rollout.model)}#traffic-live",
    )


def _guard(value: Any) -> str:
    return share(value) if isinstance(value, (int, float)) else "–"
