"""The share of right answers: measured by labels where there are enough, else estimated."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from andon.monitoring import estimate, labels
from andon.monitoring.classes import Classes
from andon.monitoring.intervals import Ints
from andon.monitoring.labels import Figure
from andon.store.records import ModelVersion


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Share of right answers: measured by labels, or estimated without."""

    name: Annotated[str, Meta(description='"accuracy" or "estimated_accuracy".')]
    value: Annotated[float | None, Meta(description="0 to 1; null with too little to say.")]
    low: Annotated[float | None, Meta(description="Bounds of the 95 % interval.")]
    high: float | None
    labels: Annotated[int, Meta(description="Labels that it rests on.")]
    answers: Annotated[int, Meta(description="Answers that it rests on.")] = 0
    estimated: Annotated[bool, Meta(description="From confidence, without labels.")]
    calibrated: Annotated[
        bool, Meta(description="Whether the confidence was checked against truth.")
    ]
    needed: Annotated[int, Meta(description="Labels, or answers of an estimate, it takes.")]
    precision: Figure | None = None
    recall: Figure | None = None
    f1: Figure | None = None


def measured_accuracy(version: ModelVersion, rows: Sequence[Any]) -> Accuracy:
    """Accuracy of labelled answers (`Labelled`); without a value where they are too few."""
    classes = Classes.of(version)
    truth, said = _indexes(classes, rows)
    found = labels.figures(truth, said, None, len(classes.values), classes.positive)
    main = found["accuracy"]
    others = {name: found[name] for name in ("precision", "recall", "f1")}
    return Accuracy(
        name="accuracy",
        value=main.value,
        low=main.low,
        high=main.high,
        labels=main.labels,
        answers=main.labels,
        estimated=False,
        calibrated=True,
        needed=main.needed,
        **{name: one if one.value is not None else None for name, one in others.items()},
    )


def _indexes(classes: Classes, rows: Sequence[Any]) -> tuple[Ints, Ints]:
    """True and answered class of each labelled answer that has both."""
    known: dict[Any, tuple[int | None, int | None]] = {}
    pairs = []
    for row in rows:
        actual = tuple(row.actual) if isinstance(row.actual, list) else row.actual
        # 1 and true are equal keys, and mean the same class.
        key = (actual, row.prediction, row.detections > 0)
        if key not in known:
            known[key] = classes.truth(row.actual), classes.answered(row)
        truth, said = known[key]
        if truth is not None and said is not None:
            pairs.append((truth, said))
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def estimated_accuracy(found: estimate.Estimate | None, answers: int) -> Accuracy:
    """An estimate over so many answers; None is one that could not be made."""
    return Accuracy(
        name="estimated_accuracy",
        value=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        labels=0 if found is None else found.labels,
        answers=answers,
        estimated=True,
        calibrated=found is not None and found.calibrated,
        needed=estimate.NEEDED,
    )
