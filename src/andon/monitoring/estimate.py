"""Accuracy without labels: what the version's own confidence says of it.

A calibrated probability of being right, averaged over answers, is the expected share of right
ones (Guillory et al. 2021, "Predicting with Confidence on Unseen Distributions", as average
confidence). How far that can be trusted depends on the calibration: by the labels seen so far
where there are enough, else by the rows that the version's training had held out, else by
nothing. A model that is confidently wrong on inputs unlike any before fools every such estimate;
it is called estimated everywhere.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from andon.monitoring.classes import Classes
from andon.monitoring.intervals import Floats
from andon.store.feedback import Labelled
from andon.store.records import ModelVersion
from andon.store.windows import Windows

NEEDED = 30
"""Answers before anything is estimated."""

LABELS_NEEDED = 50
"""Labels from which the confidence is calibrated by them."""

_MOST_LABELS = 300
_Z = 1.959963984540054
# Nobody is surer than this of one answer.
_SUREST = 0.995
# Standard error of an estimate whose calibration nobody has checked.
_UNCHECKED = 0.05
_STEPS = 25
_PRIOR = 1.0
_NEAR = 1e-6
_SHORTEST = 1e-4


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated accuracy of a window of answers.

    Attributes:
        value: 0 to 1.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        answers: It rests on.
        labels: That its calibration rests on; 0 where it rests on none.
        calibrated: Whether the confidence was checked against truth at all.
    """

    value: float
    low: float
    high: float
    answers: int
    labels: int
    calibrated: bool


class Calibration(msgspec.Struct, frozen=True):
    """Log-odds of being right are `offset + slope · log-odds of the confidence` (Platt 1999).

    Attributes:
        error: Standard error of the mean that comes out.
    """

    offset: float = 0.0
    slope: float = 1.0
    labels: int = 0
    error: float = _UNCHECKED
    checked: bool = False

    def apply(self, chances: Floats) -> Floats:
        """Confidence as probability of being right."""
        if self.offset == 0.0 and self.slope == 1.0:
            return chances
        odds = self.offset + self.slope * _log_odds(chances)
        calibrated: Floats = 1 / (1 + np.exp(-odds))
        return calibrated


def chances(version: ModelVersion, rows: Sequence[Any]) -> Floats:
    """How sure the version is that each of its answers is right, 0 to 1, shape (n,).

    Of a row or a classified picture the probability of the answered class. Of a detector's
    picture: with detections the confidence of the best (is there a defect at all); without any,
    how far the best score below the threshold is from 1.

    Args:
        version: Whose answers.
        rows: With `confidence_scores`, of a detector also `raw_scores` and `detection_count`.
    """
    if Classes.of(version).kind == "verdict":
        found = [
            max(row.confidence_scores, default=0.5)
            if row.detection_count
            else 1.0 - max(row.raw_scores or (), default=0.0)
            for row in rows
        ]
    else:
        found = [max(scores) if (scores := row.confidence_scores) else 0.5 for row in rows]
    return np.clip(np.array(found, np.float64), 1 - _SUREST, _SUREST)


def calibration(
    windows: Windows, version: ModelVersion, *, since: Any = None, limit: int = _MOST_LABELS
) -> Calibration:
    """How the confidence of a version relates to being right, as far as anything says so.

    Args:
        windows: The log.
        version: With card.
        since: Labels of answers before this are left out.
        limit: Labels at most, those of the newest answers.
    """
    columns = ["confidence_scores"]
    if Classes.of(version).kind == "verdict":
        columns.append("raw_scores")
    rows = windows.labelled(version.id, limit, columns=columns, since=since)
    right = rightness(version, rows)
    known = ~np.isnan(right)
    if known.sum() >= LABELS_NEEDED:
        sure = chances(version, [row for row, one in zip(rows, known, strict=True) if one])
        return fit(sure, right[known])
    checked, spread = held_out(version)
    if checked is None or version.description.get("rows") is None:
        return Calibration()
    return Calibration(error=max(spread, 0.01), checked=True)


def fit(sure: Floats, right: Floats) -> Calibration:
    """Platt's scaling by Newton's method, with a weak prior on changing nothing.

    Args:
        sure: Confidence of each answer, shape (n,).
        right: 1 where it was right, else 0.
    """
    odds = _log_odds(sure)
    design = np.stack([np.ones_like(odds), odds], axis=1)
    start = np.array([0.0, 1.0])

    def loss(weights: Floats) -> float:
        log_odds = design @ weights
        likelihood = right * log_odds - np.logaddexp(0, log_odds)
        return float(_PRIOR * ((weights - start) ** 2).sum() / 2 - likelihood.sum())

    weights = start.copy()
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (p - right) + _PRIOR * (weights - start)
        curve = (design * (p * (1 - p))[:, None]).T @ design + _PRIOR * np.eye(2)
        step = np.linalg.solve(curve, slope)
        # Far from the answer the curve is flat and the step too long.
        length = 1.0
        while loss(weights - length * step) > loss(weights) and length > _SHORTEST:
            length /= 2
        weights = weights - length * step
        if np.abs(step).max() < _NEAR:
            break
    share = float(right.mean())
    # Never sure of a share that happened to be 0 or 1.
    spread = math.sqrt((share * (1 - share) + 1 / len(right)) / len(right))
    return Calibration(float(weights[0]), float(weights[1]), len(right), spread, checked=True)


def estimate(version: ModelVersion, rows: Sequence[Any], known: Calibration) -> Estimate | None:
    """The estimated accuracy of a window; None with too few answers.

    Args:
        version: Whose answers.
        rows: Successful ones, as `chances` takes them.
        known: Of the version.
    """
    if len(rows) < NEEDED or version.description.get("task") == "anomaly-detection":
        return None
    p = known.apply(chances(version, rows))
    value = float(p.mean())
    spread = _Z * math.hypot(math.sqrt(float((p * (1 - p)).mean()) / len(p)), known.error)
    return Estimate(
        value=value,
        low=max(0.0, value - spread),
        high=min(1.0, value + spread),
        answers=len(rows),
        labels=known.labels,
        calibrated=known.checked,
    )


def rightness(version: ModelVersion, rows: Sequence[Any]) -> Floats:
    """1 where an answer agrees with its label, 0 where not, NaN where that cannot be said."""
    classes = Classes.of(version)
    seen: dict[Any, float] = {}
    found = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        actual = tuple(row.actual) if isinstance(row.actual, list) else row.actual
        key = (type(actual), actual, row.prediction, row.detection_count > 0)
        if key not in seen:
            truth = classes.truth(row.actual)
            said = classes.answered(
                Labelled(row.id, row.prediction, row.detection_count, [], row.actual)
            )
            seen[key] = math.nan if truth is None or said is None else float(truth == said)
        found[place] = seen[key]
    return found


def held_out(version: ModelVersion) -> tuple[float | None, float]:
    """Accuracy on the rows that the training had held out, and its standard error.

    (None, 0) where the version's file says nothing of it.
    """
    metrics = ((version.card or {}).get("held_out") or {}).get("metrics") or {}
    found = metrics.get("accuracy") or {}
    value, low, high = (found.get(name) for name in ("value", "low", "high"))
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        return None, 0.0
    if isinstance(low, int | float) and isinstance(high, int | float) and high > low:
        return float(value), float(high - low) / (2 * _Z)
    return float(value), _UNCHECKED


def _log_odds(p: Floats) -> Floats:
    odds: Floats = np.log(p / (1 - p))
    return odds
