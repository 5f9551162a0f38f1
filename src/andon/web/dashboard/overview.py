"""The Overview page: is the line running, and how."""

from datetime import datetime

from andon.errors import AndonError
from andon.platform import Platform
from andon.web.dashboard import reading, state
from andon.web.dashboard.contexts import Bar, Lamp, OverviewPage, Strip
from andon.web.dashboard.minutes import HOUR, Minute, last_hour
from andon.web.dashboard.wording import clock, plural

LATEST = 12
EVENTS = 6
# Mean confidence is told of so many inspections: what the model does now, not since ever.
CONFIDENCE_OF = 100
_WIDTH, _HEIGHT = 600.0, 100.0


def page(platform: Platform, model: str) -> OverviewPage:
    """The context of the Overview for one model."""
    facts = state.look(platform, model)
    lamp = state.judge(facts)
    try:
        return _page(platform, model, facts, lamp)
    except AndonError:
        # The lamp says what is wrong with the database; the numbers wait for it.
        if not facts.database:
            raise
        return OverviewPage(
            shell=reading.shell(
                platform, page="overview", title="Overview", model=model, lamp=lamp, names=[]
            ),
            lamp=lamp,
            active=None,
            strip=strip([]),
            inspections=0,
            detections=0,
            confidence=None,
            latency_p50=None,
            latency_p95=None,
            waiting=facts.waiting,
            queue_size=platform.settings.queue_size,
            jobs=0,
            latest=(),
            events=(),
        )


def _page(platform: Platform, model: str, facts: state.Facts, lamp: Lamp) -> OverviewPage:
    db = platform.db
    totals = db.predictions.stats(model)
    latency = db.predictions.latency_percentiles(model)
    recent, _ = db.predictions.page(model=model, limit=CONFIDENCE_OF)
    scores = [float(one["confidence"]) for row in recent for one in row.detections]
    record = next((one for one in facts.versions if one.is_active), None)
    active = reading.version(platform, record) if record else None
    labels = active.labels if active else ()
    measured = latency["count"] > 0
    return OverviewPage(
        shell=reading.shell(
            platform,
            page="overview",
            title="Overview",
            model=model,
            lamp=lamp,
            names=db.models.names(),
        ),
        lamp=lamp,
        active=active,
        strip=strip(last_hour(platform, model)),
        inspections=totals["total_inferences"],
        detections=totals["total_detections"],
        confidence=sum(scores) / len(scores) if scores else None,
        latency_p50=latency["p50"] if measured else None,
        latency_p95=latency["p95"] if measured else None,
        waiting=facts.waiting,
        queue_size=platform.settings.queue_size,
        jobs=platform.jobs.size(),
        latest=tuple(reading.inspection(platform, row, labels) for row in recent[:LATEST]),
        events=tuple(reading.event(one) for one in facts.events[:EVENTS]),
    )


def strip(minutes: list[Minute], noun: str = "inspection") -> Strip:
    """The bar strip of a list of minutes, oldest first; `noun` is what is counted.

    The scale ends at a round number, so that it stands still while the peak wanders.
    """
    peak = max((count for _, count, _, _ in minutes), default=0)
    top = _round_up(peak)
    step = _WIDTH / HOUR
    bars = []
    for place, (minute, count, latency, failed) in enumerate(minutes):
        good = _HEIGHT * (count - failed) / top
        bad = _HEIGHT * failed / top
        bars.append(
            Bar(
                x=round(place * step, 2),
                y=round(_HEIGHT - good, 2),
                height=round(good, 2),
                failed_y=round(_HEIGHT - good - bad, 2),
                failed_height=round(bad, 2),
                minute=minute,
                count=count,
                failed=failed,
                latency_ms=latency,
            )
        )
    total = sum(count for _, count, _, _ in minutes)
    failed = sum(errors for _, _, _, errors in minutes)
    peak_minute = next((minute for minute, count, _, _ in minutes if count == peak and peak), None)
    return Strip(
        bars=tuple(bars),
        total=total,
        failed=failed,
        peak=peak,
        peak_minute=peak_minute,
        top=top,
        summary=_summary(total, failed, peak, peak_minute, noun),
    )


def _round_up(value: int) -> int:
    """The next of 5, 10, 20, 50, 100, 200, …"""
    top = 5
    for factor in (2, 2, 2.5) * 10:
        if top >= value:
            break
        top = int(top * factor)
    return top


def _summary(total: int, failed: int, peak: int, peak_minute: datetime | None, noun: str) -> str:
    if peak_minute is None:
        return f"No {noun}s in the last hour."
    words = f"{plural(total, noun)} in the last hour, at most {peak} in one minute"
    words += f", at {clock(peak_minute)} UTC"
    return f"{words}; {failed} failed." if failed else f"{words}."
