"""The Drift page: is what is asked still what the model was made for."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import msgspec

from andon import watching_charts
from andon.monitoring.cameras import NEEDED, PICTURES, SHARE
from andon.monitoring.drift.report import FeatureDrift, Findings, Side, findings
from andon.platform import Platform
from andon.store.clock import now
from andon.store.drift_reports import Reference
from andon.store.records import DriftReport, ModelVersion
from andon.web.dashboard import reading, rows, state, watching_reading
from andon.web.dashboard.contexts import Figure
from andon.web.dashboard.periods import address
from andon.web.dashboard.rendering import drawable
from andon.web.dashboard.watching_contexts import (
    CameraLine,
    DriftPage,
    FeatureLine,
    ReferenceState,
    ReportLine,
    Tone,
    Verdict,
)
from andon.web.dashboard.watching_reading import share
from andon.web.dashboard.wording import count, plural, score, short

# Features drawn with their distributions side by side, and reports on a page.
DRAWN = 4
PAGE = 12
# Reports looked back through for the moment since when the verdict stands.
_BACK = 50
# Answers looked through for the latest pictures of every camera.
CAMERA_ANSWERS = 1_000
_CATEGORIES = 12
_REST = "(others)"
_VERDICTS: dict[str, tuple[Tone, str]] = {
    "drift": ("look", "Drift"),
    "none": ("good", "No drift"),
    "unknown": ("none", "Too few"),
}
_PROBLEMS = {
    "dark": "too dark",
    "bright": "too bright",
    "blurred": "blurred",
    "frozen": "the same again",
    "size": "of another size",
}
_SOURCES = {
    "training": "The data it was trained on",
    "learned": "Its first answers",
    "pinned": "A pinned window",
    "answers": "Answers",
}


def page(platform: Platform, model: str, *, before: str = "") -> DriftPage:
    """The context of the Drift page.

    Args:
        platform: What everything is read from.
        model: Registered model.
        before: Report that the list of reports starts behind; empty: the newest.
    """
    facts = state.look(platform, model)
    record = next((one for one in facts.versions if one.is_active), None)
    frame = reading.shell(
        platform,
        page="drift",
        title="Drift",
        model=model,
        lamp=state.judge(facts),
        names=platform.db.models.names(),
    )
    if record is None:
        return DriftPage(
            shell=frame,
            version=None,
            rows=False,
            verdict=Verdict(tone="none", text="No version serves yet"),
            compared=(),
            report=None,
            figures=(),
            features=(),
            cameras=(),
            reference=None,
            reports=(),
            older="",
            newer="",
            drawable=drawable(),
        )
    reports, following = platform.db.drift_reports.page(
        model=model, before=before or None, limit=PAGE
    )
    latest, _ = platform.db.drift_reports.page(model=model, version=record.version, limit=_BACK)
    newest = latest[0] if latest else None
    found = told(newest)
    of_rows = rows.is_rows(platform, model)
    return DriftPage(
        shell=frame,
        version=record.version,
        rows=of_rows,
        verdict=verdict(record, found, since(latest)),
        compared=compared(found),
        report=None if newest is None else report_line(newest),
        figures=tuple(figures(found)) if found else (),
        features=tuple(feature_line(one) for one in found.features) if found else (),
        cameras=() if of_rows else cameras(platform, record),
        reference=reference(platform, record, found),
        reports=tuple(report_line(one) for one in reports),
        older=urlencode({"model": model, "before": following}) if following else "",
        newer=address("/drift", {"model": model}) if before else "",
        drawable=drawable(),
    )


def told(report: DriftReport | None) -> Findings | None:
    """What a stored report says; None where there is none, or in a shape unknown here."""
    if report is None:
        return None
    try:
        return findings(report.report)
    except msgspec.ValidationError:
        # Another version of Andon wrote it. The list still leads to it.
        return None


def since(reports: Sequence[DriftReport]) -> datetime | None:
    """Since when the newest verdict stands, of reports from the newest on."""
    moment = None
    for one in reports:
        if one.verdict != reports[0].verdict:
            break
        moment = one.created_at
    return moment


def verdict(record: ModelVersion, found: Findings | None, moment: datetime | None) -> Verdict:
    """What the newest report says, in one sentence."""
    name = f"v{record.version}"
    if found is None:
        return Verdict(
            tone="none",
            text=f"Nobody has looked at {name} yet",
            detail="Drift is measured when it has answered for a while: the first report is "
            "written by itself.",
        )
    if found.verdict == "unknown":
        lacking = ""
        if found.needed and found.window.count < found.needed:
            lacking = f": {count(found.window.count)} of {count(found.needed)}"
        text = f"Too few answers to say{lacking}" if lacking else "It cannot be told yet"
        return Verdict(tone="none", text=text, detail=found.summary)
    if found.verdict == "drift":
        moved = [one for one in found.features if one.drifted]
        what = moved[0].title if moved else "What is asked"
        others = len(moved) - 1
        more = f" and {plural(others, 'other')}" if others > 0 else ""
        verb = "have" if others > 0 else "has"
        text = f"{what}{more} {verb} moved away from what {name} knows"
        if moved and moved[0].title != moved[0].name:
            # The name of a column stays as its rows spell it.
            text = text[:1].upper() + text[1:]
        return Verdict(tone="look", text=text, detail=found.summary, since=moment)
    return Verdict(
        tone="good",
        text=f"{name} is asked what it was made for",
        detail=found.summary,
        since=moment,
    )


def compared(found: Findings | None) -> tuple[tuple[str, str], ...]:
    """What was compared with what."""
    if found is None:
        return ()
    pairs = [("Now", side(found.window))]
    if found.reference is not None:
        pairs.append(("Before", side(found.reference)))
    else:
        pairs.append(("Before", "nothing yet: there is no reference"))
    if found.left_out:
        # Pictures of sick cameras say nothing of the model.
        parts = (
            f"{count(number)} {_PROBLEMS.get(name, name)}"
            for name, number in found.left_out.items()
        )
        total = plural(sum(found.left_out.values()), "picture")
        pairs.append(("Left out", f"{total} of sick cameras: {', '.join(parts)}"))
    if found.variance is not None and found.variance.value is not None:
        spread = found.variance
        pairs.append(
            (
                "Variance of all scores",
                f"{spread.value:.3f}, drift above {spread.threshold:g}",
            )
        )
    pairs += [("Note", note) for note in found.notes]
    return tuple(pairs)


def side(one: Side) -> str:
    """One side of the comparison in words."""
    words = _SOURCES.get(one.source, one.source)
    amount = "rows" if one.source == "training" else "answers"
    text = f"{count(one.count)} {amount}" if one.source == "answers" else words
    if one.source != "answers" and one.count:
        text += f", {count(one.count)} {amount}"
    if one.since is not None and one.until is not None:
        text += f", {short(one.since)} to {short(one.until)}"
    if one.actor:
        text += f", by {one.actor}"
    return text


def figures(found: Findings) -> Iterable[Figure]:
    """What moved most, before and now side by side."""
    drawn = [one for one in found.features if one.histogram is not None][:DRAWN]
    for place, one in enumerate(drawn):
        histogram = one.histogram
        if histogram is None:
            continue
        if histogram.edges is not None:
            spec = watching_charts.shape(histogram.edges, histogram.reference, histogram.window)
            height = watching_charts.SHAPE_HEIGHT
            names = _ranges(histogram.edges)
        else:
            known = histogram.categories or []
            names, before, after = shortened(known, histogram.reference, histogram.window)
            spec = watching_charts.categories(names, before, after)
            height = watching_charts.categories_height(len(names))
            names = known
        yield Figure(
            id=f"feature-{place + 1}",
            title=one.title,
            spec=spec,
            height=height,
            summary=_moved(one),
            columns=("Between" if histogram.edges is not None else "Category", "Before", "Now"),
            rows=tuple(
                (name, share(old), share(new))
                for name, old, new in zip(
                    names, histogram.reference, histogram.window, strict=False
                )
            ),
        )


def shortened(
    names: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> tuple[list[str], list[float], list[float]]:
    """The most frequent categories, and the others together."""
    if len(names) <= _CATEGORIES:
        return list(names), list(before), list(after)
    ranked = sorted(zip(names, before, after, strict=True), key=lambda one: -max(one[1], one[2]))
    kept, rest = ranked[: _CATEGORIES - 1], ranked[_CATEGORIES - 1 :]
    kept.append((_REST, sum(one[1] for one in rest), sum(one[2] for one in rest)))
    return [one[0] for one in kept], [one[1] for one in kept], [one[2] for one in kept]


def _ranges(edges: Sequence[float]) -> list[str]:
    texts = [f"{edge:.4g}" for edge in edges]
    middle = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"below {texts[0]}", *middle, f"above {texts[-1]}"]


def _moved(one: FeatureDrift) -> str:
    """``moved by 0.42, drift from 0.17; mean 54 before, 61 now``."""
    if one.distance is None:
        return "It cannot be told yet."
    verb = "Moved" if one.drifted else "Within what is normal"
    text = f"{verb}: {score(one.distance)}"
    if one.threshold is not None:
        text += f", drift from {score(one.threshold)}"
    if one.before is not None and one.after is not None and one.before != one.after:
        what = "mean" if one.kind == "number" else "mostly"
        text += f"; {what} {_value(one.before)} before, {_value(one.after)} now"
    return f"{text}."


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def feature_line(one: FeatureDrift) -> FeatureLine:
    """One feature as a row of the table."""
    tone: Tone = "good"
    word = "As before"
    if one.drifted:
        tone, word = "look", "Drift"
    elif one.suspected:
        word = "Watched closely"
    elif one.distance is None:
        tone, word = "none", "Cannot tell"
    effect = _plain(one.effect)
    if one.effect is not None and one.kind == "number":
        effect = f"{effect} sd"
    p_value = one.p_value if one.adjusted_p is None else one.adjusted_p
    gone = max(one.missing_before, one.missing_after)
    kind = "answer" if one.group == "output" else one.kind
    return FeatureLine(
        name=one.title,
        kind=kind,
        tone=tone,
        word=word,
        distance=_plain(one.distance),
        threshold=_plain(one.threshold),
        effect=effect,
        p_value=_chance(p_value),
        missing=f"{share(one.missing_before)}, {share(one.missing_after)}" if gone else "–",
        novel=", ".join(one.new_categories),
    )


def _plain(value: float | None) -> str:
    return score(value)


def _chance(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def report_line(report: DriftReport) -> ReportLine:
    """One stored report as a row of the list."""
    tone, word = _VERDICTS.get(report.verdict, ("none", report.verdict))
    found = told(report)
    titles = {one.name: one.title for one in found.features} if found else {}
    names = [titles.get(name, name) for name in report.drifted_features]
    drifted = ", ".join(names[:3])
    if len(names) > 3:
        drifted += f" and {len(names) - 3} more"
    return ReportLine(
        id=report.report_id,
        when=report.created_at,
        version=report.version,
        tone=tone,
        word=word,
        score="–" if report.drift_score is None else f"{report.drift_score:.2f}",
        drifted=drifted,
        href=f"/drift/reports/{report.report_id}",
    )


def reference(platform: Platform, record: ModelVersion, found: Findings | None) -> ReferenceState:
    """What answers are compared with, and what could be pinned instead."""
    kept = platform.db.drift_references.get(record.id)
    end = now().replace(second=0, microsecond=0)
    start = max(record.deployed_date or end - timedelta(days=1), end - timedelta(days=1))
    start = min(start.replace(second=0, microsecond=0), end - timedelta(minutes=1))
    words, facts, moment = _reference_words(kept, record, found)
    return ReferenceState(
        pinned=kept is not None and kept.source == "pinned",
        words=words,
        facts=facts,
        set_at=moment,
        start=start.strftime("%Y-%m-%dT%H:%M"),
        end=end.strftime("%Y-%m-%dT%H:%M"),
    )


def _reference_words(
    kept: Reference | None, record: ModelVersion, found: Findings | None
) -> tuple[str, tuple[tuple[str, str], ...], datetime | None]:
    if kept is not None:
        by = f" by {kept.actor}" if kept.actor else ""
        words = (
            f"A window of answers that was pinned{by}."
            if kept.source == "pinned"
            else f"The first answers of v{record.version}, learned by itself."
        )
        span = kept.span
        pairs = []
        if span.get("count"):
            pairs.append(("Answers", count(int(span["count"]))))
        pairs += [
            (name, _moment(span[key]))
            for key, name in (("since", "From"), ("until", "To"))
            if span.get(key)
        ]
        return words, tuple(pairs), kept.created_at
    if record.reference:
        pairs = []
        if found is not None and found.reference is not None and found.reference.count:
            pairs.append(("Rows", count(found.reference.count)))
        return "The data it was trained on, as its file tells them.", tuple(pairs), None
    return (
        "There is none yet: it is learned from the first answers, as soon as there are enough.",
        (),
        None,
    )


def _moment(value: Any) -> str:
    try:
        return short(datetime.fromisoformat(str(value)))
    except ValueError:
        return str(value)


def cameras(platform: Platform, record: ModelVersion) -> tuple[CameraLine, ...]:
    """Each camera over its latest pictures, the sickest first."""
    groups: dict[str, list[Any]] = {}
    for row in watching_reading.pictures(platform, record, CAMERA_ANSWERS):
        group = groups.setdefault(row.camera or "", [])
        if len(group) < PICTURES:
            group.append(row)
    lines = [camera_line(platform, name, group) for name, group in groups.items()]
    return tuple(sorted(lines, key=lambda one: (-one.sick, one.name)))


def camera_line(platform: Platform, name: str, pictures: Sequence[Any]) -> CameraLine:
    """One camera as a card.

    Args:
        platform: Tells whether a picture is kept.
        name: Camera; empty where the sender did not say.
        pictures: Answers to its pictures, newest first.
    """
    sick = [row.camera_state for row in pictures if row.camera_state != "ok"]
    part = len(sick) / len(pictures)
    last = pictures[0]
    # As `monitoring.cameras` judges it.
    tone: Tone = "good" if len(pictures) >= NEEDED else "none"
    if len(sick) >= NEEDED and part >= SHARE:
        tone = "stop"
    word = {"good": "Fine", "stop": "Sick"}.get(tone, "Too few")
    parts = [f"{count(sick.count(key))} {_PROBLEMS.get(key, key)}" for key in dict.fromkeys(sick)]
    kept = bool(last.image_hash and last.image_format) and platform.pictures.get(
        last.image_hash, last.image_format
    )
    return CameraLine(
        name=name or "No camera named",
        tone=tone,
        word=word,
        pictures=len(pictures),
        sick=part,
        problems=", ".join(parts),
        last=last.created_at,
        href=f"/inspect?id={last.id}",
        picture=f"/api/predictions/{last.id}/image" if kept else "",
    )
