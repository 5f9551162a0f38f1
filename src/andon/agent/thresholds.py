"""Whether another threshold would have been better, by the labels there are.

A step up and a step down are tried on the newest labelled answers, on the scores that were
logged before any threshold. Only labels say that a threshold helps; without them none is moved.
"""

from collections.abc import Sequence

import msgspec

from andon.agent.policy import ModelPolicy
from andon.monitoring.classes import Classes
from andon.settings import Settings
from andon.store.database import Database
from andon.store.feedback import Labelled
from andon.store.records import ModelVersion

NEEDED = 30
"""Labels before a threshold is judged."""

BETTER = 0.01
"""F1 that a step must gain."""

_ANSWERS = 1_000


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold that would be better.

    Attributes:
        before: The one in force.
        after: One step away, within the policy's bounds.
        f1_before: By the labels.
        f1_after: The same with the other threshold.
        labels: They rest on.
    """

    before: float
    after: float
    f1_before: float
    f1_after: float
    labels: int

    @property
    def summary(self) -> str:
        """One sentence."""
        return (
            f"With the threshold {self.after:g} instead of {self.before:g} the F1 over the newest "
            f"{self.labels} labelled answers would be {self.f1_after:.3f}, not "
            f"{self.f1_before:.3f}."
        )


def in_force(version: ModelVersion, settings: Settings) -> float | None:
    """The threshold a version answers with; None where it has none.

    It is the one set since, else the model's own, else (of pictures) the settings'.
    """
    if version.threshold is not None:
        return version.threshold
    rows = version.description.get("rows")
    if rows is not None:
        if rows.get("positive") is None:
            return None
        own = rows.get("threshold")
        return 0.5 if own is None else float(own)
    if "confidence_threshold" not in settings.model_fields_set:
        own = version.description.get("threshold")
        if own:
            return float(own)
    return settings.confidence_threshold


def better_step(
    db: Database, version: ModelVersion, policy: ModelPolicy, settings: Settings
) -> Step | None:
    """The better of a step up and a step down, or None where neither is.

    Args:
        db: Labelled answers.
        version: Whose threshold.
        policy: Bounds and step.
        settings: For the threshold in force.
    """
    now = in_force(version, settings)
    if now is None:
        return None
    pairs = _pairs(version, db.feedback.labelled(version.id, limit=_ANSWERS))
    if len(pairs) < NEEDED or len({truth for _, truth in pairs}) < 2:
        return None
    here = _f1(pairs, now)
    best: Step | None = None
    for direction in (-1, 1):
        there = round(now + direction * policy.threshold_step, 4)
        there = min(max(there, policy.threshold_min), policy.threshold_max)
        # Outside of the bounds it may only come nearer.
        if there == now or (there - now) * direction < 0:
            continue
        gained = _f1(pairs, there)
        if gained >= here + BETTER and (best is None or gained > best.f1_after):
            best = Step(before=now, after=there, f1_before=here, f1_after=gained, labels=len(pairs))
    return best


def _pairs(version: ModelVersion, rows: Sequence[Labelled]) -> list[tuple[float, bool]]:
    """Score and truth of each answer: of rows the positive class, of pictures any defect."""
    classes = Classes.of(version)
    found = []
    for row in rows:
        truth = classes.truth(row.actual)
        if truth is None:
            continue
        if classes.kind == "rows":
            if classes.positive is None or len(row.raw_scores) != len(classes.values):
                continue
            found.append((row.raw_scores[classes.positive], truth == classes.positive))
        elif classes.positive is not None:
            found.append((max(row.raw_scores, default=0.0), truth == classes.positive))
    return found


def _f1(pairs: Sequence[tuple[float, bool]], threshold: float) -> float:
    """F1 = 2 TP / (2 TP + FP + FN)."""
    right = sum(truth and score >= threshold for score, truth in pairs)
    wrong = sum(truth != (score >= threshold) for score, truth in pairs)
    return 2 * right / (2 * right + wrong) if right or wrong else 0.0
