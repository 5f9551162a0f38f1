"""The Trends page: how a model did over weeks, with its versions marked."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from andon import trend_charts
from andon.platform import Platform
from andon.store.clock import now
from andon.trend_charts import Day, Mark
from andon.web.dashboard import reading, state, watching_reading
from andon.web.dashboard.contexts import Choice, Figure
from andon.web.dashboard.periods import address
from andon.web.dashboard.rendering import drawable
from andon.web.dashboard.watching_contexts import DayLine, TrendsPage, Verdict
from andon.web.dashboard.watching_reading import share, times
from andon.web.dashboard.wording import decimal, millis, plural, score

PERIODS = {7: "7 days", 30: "30 days", 90: "90 days", 365: "1 year"}
USUAL = 30
# Days at either end that a change is told of, and how large it must be.
_EDGE = 0.2
_SLOWER = 1.5
_WORSE = 0.05

_TITLES = {
    "accuracy": "Accuracy",
    "latency": "Answer time, median",
    "volume": "Answers per minute",
    "error_rate": "Errors",
    "confidence": "Confidence",
    "drift": "Drift",
}
_UNITS = {
    "accuracy": "Accuracy",
    "latency": "Milliseconds",
    "volume": "Per minute",
    "error_rate": "Errors",
    "confidence": "Confidence",
    "drift": "Multiple of its threshold",
}
Trends = Mapping[str, Sequence[Day]]
"""Days by the name of the number; days without it are left out."""


def page(platform: Platform, model: str, *, days: str = "") -> TrendsPage:
    """The context of the Trends page.

    Args:
        platform: What everything is read from.
        model: Registered model.
        days: Length of the period as the address has it; empty: the usual one.
    """
    length, problem = chosen(days)
    end = now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end += timedelta(days=1)
    start = end - timedelta(days=length)
    found = watching_reading.trends(platform, model, start, end)
    marks = watching_reading.marks(platform, model, start, end)
    return TrendsPage(
        shell=reading.shell(
            platform,
            page="trends",
            title="Trends",
            model=model,
            lamp=state.judge(state.look(platform, model)),
            names=platform.db.models.names(),
        ),
        verdict=verdict(found, length),
        periods=tuple(
            Choice(
                text=text,
                href=address("/trends", {"model": model, "days": str(key)}),
                current=key == length,
            )
            for key, text in PERIODS.items()
        ),
        words=_words(length),
        problem=problem,
        marks=tuple((mark.text, mark.when) for mark in reversed(marks)),
        figures=figures(found, marks, start, end),
        columns=tuple(_TITLES[name] for name in _TITLES if found.get(name)),
        days=lines(found),
        drawable=drawable(),
    )


def chosen(text: str) -> tuple[int, str]:
    """The length an address asks for, days, and what is wrong with it where something is."""
    if not text:
        return USUAL, ""
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) in PERIODS:
        return int(text), ""
    offered = ", ".join(str(one) for one in PERIODS)
    return USUAL, (
        f"There is no period of {text[:40]} days, only {offered}. What you see is {_words(USUAL)}."
    )


def _words(length: int) -> str:
    return "the last year" if length == 365 else f"the last {length} days"


def told(name: str, value: float) -> str:
    """One number of a day with its unit."""
    if name in {"accuracy", "error_rate"}:
        return share(value)
    if name == "latency":
        return millis(value)
    return decimal(value) if name == "volume" else score(value)


def _cell(name: str, day: Day | None) -> str:
    if day is None:
        return "–"
    text = told(name, day.value)
    return f"{text} estimated" if day.estimated else text


def figures(
    found: Trends, marks: Sequence[Mark], start: datetime, end: datetime
) -> tuple[Figure, ...]:
    """One chart per number that there is."""
    made = []
    for name, title in _TITLES.items():
        days = found.get(name)
        if not days:
            continue
        spans = any(one.low is not None for one in days)
        bounds = ("At least", "At most") if spans else ()
        made.append(
            Figure(
                id=f"trend-{name}",
                title=title,
                spec=trend_charts.trend(
                    days,
                    marks,
                    start,
                    end,
                    _UNITS[name],
                    top=_top(name, days),
                    percent=name in {"accuracy", "error_rate"},
                    bars=name == "volume",
                    limit=1.0 if name == "drift" else None,
                ),
                height=trend_charts.TREND_HEIGHT,
                summary=_summary(name, days),
                columns=("Day (UTC)", title, *bounds, "Version"),
                rows=tuple(
                    (
                        f"{one.start:%-d %b %Y}",
                        _cell(name, one),
                        *(_bounds(name, one) if spans else ()),
                        f"v{one.version}" if one.version else "–",
                    )
                    for one in days
                ),
            )
        )
    return tuple(made)


def _top(name: str, days: Sequence[Day]) -> float:
    """Where a scale ends: room above for the versions' names, and no drama in a quiet month."""
    if name in {"accuracy", "confidence"}:
        return 1.0
    least = {"error_rate": 0.05, "drift": 1.3}.get(name, 1.0)
    return max(least, 1.2 * max(one.value for one in days))


def _bounds(name: str, one: Day) -> tuple[str, str]:
    if one.low is None or one.high is None:
        return "–", "–"
    return told(name, one.low), told(name, one.high)


def _summary(name: str, days: Sequence[Day]) -> str:
    low, high = min(one.value for one in days), max(one.value for one in days)
    span = f"{told(name, low)} to {told(name, high)}"
    if low == high:
        span = told(name, low)
    guessed = sum(one.estimated for one in days)
    if name == "accuracy" and guessed:
        if guessed == len(days):
            return f"{span}, estimated without labels on every day."
        return f"{span}; hollow points are estimated without labels."
    if name == "volume":
        return f"{span}, while there were any."
    if name == "drift":
        return f"{span}; from 1 it counts as drift."
    return f"{span}."


def verdict(found: Trends, length: int) -> Verdict:
    """What became better or worse, first days against last days."""
    volume = found.get("volume") or ()
    if not volume:
        return Verdict(tone="none", text="There is nothing to tell yet")
    answered = f"There were answers on {plural(len(volume), 'day')}."
    if len(volume) < 4:
        return Verdict(tone="none", text="Too few days to tell a trend", detail=answered)
    changes = []
    pair = _ends(found.get("latency") or ())
    if pair and pair[0] > 0 and pair[1] > pair[0] * _SLOWER:
        changes.append(f"answers take {times(pair[1] / pair[0])} as long as at the beginning")
    days = found.get("accuracy") or ()
    # An estimate and a measurement are not compared with each other.
    for kind in (False, True):
        pair = _ends([one for one in days if one.estimated is kind])
        if pair and pair[1] < pair[0] - _WORSE:
            guess = "estimated " if kind else ""
            changes.append(f"{guess}accuracy fell from {share(pair[0])} to {share(pair[1])}")
            break
    pair = _ends(found.get("error_rate") or ())
    if pair and pair[1] > pair[0] + _WORSE:
        changes.append(f"errors rose from {share(pair[0])} to {share(pair[1])}")
    pair = _ends(found.get("confidence") or ())
    if pair and pair[1] < pair[0] - 2 * _WORSE:
        changes.append(f"confidence fell from {score(pair[0])} to {score(pair[1])}")
    if changes:
        text = changes[0][:1].upper() + changes[0][1:]
        rest = "".join(f" {one[:1].upper()}{one[1:]}." for one in changes[1:])
        return Verdict(tone="look", text=text, detail=f"{answered}{rest}")
    return Verdict(
        tone="good",
        text=f"Steady over {PERIODS.get(length, f'{length} days')}",
        detail=f"{answered} The first days and the last ones are alike.",
    )


def _ends(days: Sequence[Day]) -> tuple[float, float] | None:
    """Mean of the first days and of the last ones; None where there are too few."""
    if len(days) < 4:
        return None
    size = max(2, round(len(days) * _EDGE))
    first, last = days[:size], days[-size:]
    return sum(one.value for one in first) / size, sum(one.value for one in last) / size


def lines(found: Trends) -> tuple[DayLine, ...]:
    """Every day in numbers, the newest first."""
    names = [name for name in _TITLES if found.get(name)]
    by_day: dict[datetime, dict[str, Day]] = {}
    for name in names:
        for one in found[name]:
            by_day.setdefault(one.start, {})[name] = one
    made = []
    for start in sorted(by_day, reverse=True):
        numbers = by_day[start]
        versions = sorted({one.version for one in numbers.values() if one.version})
        made.append(
            DayLine(
                day=f"{start:%-d %b %Y}",
                versions=", ".join(f"v{version}" for version in versions),
                cells=tuple(_cell(name, numbers.get(name)) for name in names),
            )
        )
    return tuple(made)
