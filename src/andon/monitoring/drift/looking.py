"""One look at a window: every feature against the reference, and a sentence about it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from andon.monitoring.drift import distances, measuring, reference, report, tabular, vision
from andon.monitoring.drift.reference import Known, Learning
from andon.monitoring.drift.report import FeatureDrift, Findings, Side, Variance, Verdict
from andon.store.records import ModelVersion

VARIANCE = 0.15
"""Variance of the scores that is drift by the rule of the replaced system."""

_USUAL_VARIANCE = 1.25
_MOST_NAMED = 3

LIGHT = ("created_at", "camera_state")
"""Columns by which answers are counted before they are read."""

Kind = Literal["rows", "pictures"]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Answers to look at.

    Attributes:
        kind: "rows" or "pictures".
        rows: Those that count, oldest first.
        left_out: Pictures of sick cameras, by what is wrong.
        needed: Answers that a look takes.
        counted: Whether the rows hold no more than `LIGHT`.
    """

    kind: Kind
    rows: list[Any]
    left_out: dict[str, int] = {}
    needed: int
    counted: bool = False

    @property
    def things(self) -> str:
        """What an answer is about."""
        return self.kind

    def side(self) -> Side:
        """Of a report."""
        if not self.rows:
            return Side(source="answers", count=0)
        first, last = self.rows[0], self.rows[-1]
        times = sorted((first.created_at, last.created_at))
        return Side(
            source="answers", count=len(self.rows), since=times[0], until=times[1],
            first=first.id, last=last.id,
        )  # fmt: skip


def columns(kind: str) -> tuple[str, ...]:
    """What is read of the log."""
    return ("created_at", *(tabular.COLUMNS if kind == "rows" else vision.COLUMNS))


def window(kind: Kind, rows: Sequence[Any], size: int) -> Window:
    """The newest answers that count.

    Args:
        kind: "rows" or "pictures".
        rows: Newest first.
        size: Answers that a look takes.
    """
    if kind == "rows":
        return Window(kind=kind, rows=list(rows[:size])[::-1], needed=size)
    healthy, sick = vision.healthy(rows)
    return Window(kind=kind, rows=healthy[:size][::-1], left_out=sick, needed=size)


def unknown(
    version: ModelVersion,
    seen: Window,
    moment: datetime,
    known: Known | Learning | None,
    *,
    on_demand: bool = False,
) -> Findings:
    """The verdict where there is not enough data, with the numbers."""
    side = known.side if isinstance(known, Known) else None
    if isinstance(known, Learning):
        summary = known.sentence(seen.things)
    elif side is not None and not known_features(known):
        summary = "The reference says nothing of any feature, so drift cannot be told."
    else:
        summary = f"{len(seen.rows)} of {seen.needed} {seen.things} for the next look."
        if seen.left_out:
            sick = ", ".join(f"{count} {state}" for state, count in sorted(seen.left_out.items()))
            summary += f" Left out because the camera is sick: {sick}."
    return Findings(
        kind=seen.kind, model=version.model, version=version.version, verdict="unknown",
        summary=summary, looked_at=moment, window=seen.side(), reference=side, needed=seen.needed,
        left_out=seen.left_out, variance=variance(seen, known), on_demand=on_demand,
    )  # fmt: skip


def known_features(known: Known | Learning | None) -> bool:
    """Whether there is anything to compare with."""
    return isinstance(known, Known) and any(map(measuring.usable, known.features.values()))


def look(
    version: ModelVersion,
    seen: Window,
    known: Known,
    moment: datetime,
    *,
    before: Collection[str] = (),
    on_demand: bool = False,
) -> Findings:
    """Every feature of a window against the reference.

    Args:
        version: That answered.
        seen: The window; not empty.
        known: The reference.
        moment: Now.
        before: Features that the window before had under suspicion.
        on_demand: This window alone decides: what is significant is drift.
    """
    notes = []
    if seen.kind == "rows":
        found = tabular.columns(seen.rows, known.features)
    else:
        found = vision.Pictures(seen.rows).columns(known.more)
    features = measuring.compare(known.features, found)
    compared = {feature.name for feature in features}
    lacking = [name for name in known.features if name not in compared]
    if lacking:
        notes.append(f"Not compared, for lack of statistics: {', '.join(sorted(lacking))}.")
    features = [_decided(feature, before, on_demand=on_demand) for feature in features]
    features.sort(key=lambda one: (not one.drifted, not one.suspected, -one.score, one.name))
    drifted = [feature.name for feature in features if feature.drifted]
    suspected = [feature.name for feature in features if feature.suspected]
    scores = [feature.score for feature in features]
    verdict: Verdict = "drift" if drifted else "none"
    return Findings(
        kind=seen.kind,
        model=version.model,
        version=version.version,
        verdict=verdict if features else "unknown",
        summary=_sentence(seen, known, features),
        looked_at=moment,
        score=distances.finite(max(scores)) if scores else None,
        drifted=drifted,
        suspected=suspected,
        features=features,
        window=seen.side(),
        reference=known.side,
        needed=seen.needed,
        left_out=seen.left_out,
        variance=variance(seen, known),
        notes=notes,
        on_demand=on_demand,
    )


def variance(seen: Window, known: Known | Learning | None) -> Variance | None:
    """The rule of the replaced system, on all scores; None of rows.

    Where the scores of the reference vary that much already, it says nothing of drift, and the
    rule begins a quarter above what is usual.
    """
    if seen.kind == "rows":
        return None
    scores = vision.all_scores([] if seen.counted else seen.rows)
    baseline = known.more.get("variance") if isinstance(known, Known) else None
    return Variance(
        value=distances.finite(distances.population_variance(scores)),
        threshold=distances.finite(max(VARIANCE, _USUAL_VARIANCE * (baseline or 0.0))) or VARIANCE,
        baseline=baseline,
        count=len(scores),
    )


def _decided(feature: FeatureDrift, before: Collection[str], *, on_demand: bool) -> FeatureDrift:
    certain = feature.adjusted_p is not None and feature.adjusted_p <= measuring.STRONG
    drifted = feature.suspected and (on_demand or certain or feature.name in before)
    return msgspec.structs.replace(feature, drifted=drifted)


def _sentence(seen: Window, known: Known, features: Sequence[FeatureDrift]) -> str:
    against = reference.describe_side(known.side, seen.things)
    newest = f"{len(seen.rows):,} {seen.things}"
    drifted = [feature for feature in features if feature.drifted]
    suspected = [feature for feature in features if feature.suspected and not feature.drifted]
    if drifted:
        count = len(drifted)
        said = f"Drift in {newest} against {against}: "
        said += "; ".join(report.moved(feature) for feature in drifted[:_MOST_NAMED])
        if count > _MOST_NAMED:
            said += f"; and {count - _MOST_NAMED} more"
        return said + "."
    if suspected:
        names = ", ".join(feature.title for feature in suspected[:_MOST_NAMED])
        return (
            f"No drift yet in {newest} against {against}. {names} may have moved: the next window "
            "will tell."
        )
    if not features:
        return "The reference says nothing of any feature, so drift cannot be told."
    first = max(features, key=lambda feature: feature.score)
    return (
        f"No drift in {newest} against {against}; what moved most is {first.title}, at "
        f"{report.shown(first.score)} of its threshold."
    )
