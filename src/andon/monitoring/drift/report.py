"""What one look at a window found: the JSON that is kept with every drift report."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from andon import typed

Verdict = Literal["drift", "none", "unknown"]

MISSING = "missing values"
UNSEEN = "new categories"
SHAPE = "distribution"


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Two distributions side by side, as shares of the answers.

    Attributes:
        edges: Of the bins of a number; None of a category. There is one share more on either side
            than bins: what lies under the first edge and over the last.
        categories: Names, as many as shares; None of a number.
        reference: Shares before.
        window: Shares now.
    """

    edges: list[float] | None = None
    categories: list[str] | None = None
    reference: list[float]
    window: list[float]


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one feature.

    Attributes:
        name: As rows spell it; of pictures as `image_stats` does.
        title: For people.
        group: "input" (what the model is given) or "output" (what it answers).
        kind: "number" or "category".
        test: What `distance` is of: "distribution", "missing values" or "new categories"; the one
            that moved most.
        distance: Share of the answers, 0 to 1; see `measure`. None where it cannot be said.
        measure: Name of the distance.
        effect: Of numbers: how far they moved on the whole (Wasserstein-1), in standard deviations
            of the reference. Of categories: Jensen-Shannon distance. None where neither applies.
        tolerated: True distance that is no drift.
        threshold: Distance from which it is one: tolerated, and what chance can add.
        p_value: Of this test alone, at most.
        adjusted_p: With regard to all features (Holm).
        drifted: Whether it counts as drift: certain at once, or seen in two windows in a row.
        suspected: Whether it is significant in this window; the next will tell.
        missing_before: Share without a value, 0 to 1.
        missing_after: The same, in the window.
        new_categories: Values that the reference does not know, at most ten.
        before: Mean of a number, most frequent category, in the reference.
        after: The same, in the window.
        count: Answers of the window with a value.
        histogram: None where there was nothing to draw.
    """

    name: str
    title: str
    group: str
    kind: str
    test: str = SHAPE
    distance: float | None = None
    measure: str = ""
    effect: float | None = None
    tolerated: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    adjusted_p: float | None = None
    drifted: bool = False
    suspected: bool = False
    missing_before: float = 0.0
    missing_after: float = 0.0
    new_categories: list[str] = []
    before: float | str | None = None
    after: float | str | None = None
    count: int = 0
    histogram: Histogram | None = None

    @property
    def score(self) -> float:
        """The distance as a multiple of its threshold; 0 where there is none."""
        if self.distance is None or not self.threshold:
            return 0.0
        return self.distance / self.threshold


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two that are compared.

    Attributes:
        source: "training", "learned", "pinned"; of the window "answers".
        count: Answers.
        since: None of training data.
        until: None of training data.
        first: Id of the first answer.
        last: Id of the last answer.
        actor: Who pinned it.
    """

    source: str
    count: int
    since: datetime | None = None
    until: datetime | None = None
    first: str | None = None
    last: str | None = None
    actor: str = ""


class Variance(msgspec.Struct, frozen=True, kw_only=True):
    """The variance of all scores of the window, also those that were not answered.

    Attributes:
        value: Σ(x - mean)² / n; None without scores.
        threshold: Where it is drift.
        baseline: Of the reference; None where unknown.
        count: Scores.
    """

    value: float | None
    threshold: float
    baseline: float | None = None
    count: int = 0

    @property
    def exceeded(self) -> bool:
        """Whether it is drift by this rule."""
        return self.value is not None and self.value > self.threshold


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one look found.

    Attributes:
        kind: "rows" or "pictures".
        verdict: Of the look; see `DriftReport.verdict`.
        summary: One sentence or two.
        score: Of the feature that moved most; None where unknown.
        drifted: Names, the one that moved most first.
        suspected: Names of those that the next window must confirm.
        features: All, the one that moved most first.
        window: What was looked at.
        reference: What it was compared with; None while there is none.
        needed: Answers that a look takes.
        left_out: Pictures of sick cameras, by what is wrong with them; they never count.
        variance: Of pictures.
        notes: Sentences about what could not be compared.
        on_demand: Whether a person asked for it: one window alone decided.
    """

    kind: Literal["rows", "pictures"]
    model: str
    version: int
    verdict: Verdict
    summary: str
    looked_at: datetime
    score: float | None = None
    drifted: list[str] = []
    suspected: list[str] = []
    features: list[FeatureDrift] = []
    window: Side
    reference: Side | None = None
    needed: int = 0
    left_out: dict[str, int] = {}
    variance: Variance | None = None
    notes: list[str] = []
    on_demand: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def findings(report: dict[str, Any]) -> Findings:
    """A stored report, read.

    Raises:
        msgspec.ValidationError: Another version of Andon wrote it, in a shape unknown here.
    """
    return typed.convert(report, Findings)


def moved(feature: FeatureDrift) -> str:
    """What became of a feature, as a part of a sentence."""
    if feature.test == MISSING:
        return (
            f"{feature.title} is missing in {_percent(feature.missing_after)} "
            f"instead of {_percent(feature.missing_before)}"
        )
    if feature.test == UNSEEN:
        return f"{feature.title} has values never seen before ({', '.join(feature.new_categories)})"
    change = ""
    if feature.before is not None and feature.after is not None:
        same = feature.before == feature.after
        if feature.kind == "number":
            change = f", mean {shown(feature.before)} → {shown(feature.after)}"
        elif not same:
            change = f", mostly {feature.after} instead of {feature.before}"
    return (
        f"{feature.title} moved by {shown(feature.distance)} of 1 "
        f"(drift from {shown(feature.threshold)}{change})"
    )


def shown(value: float | str | None) -> str:
    """A number for people."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
