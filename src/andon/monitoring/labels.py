"""How well a version does by what people said was true, and how sure that is.

Figures are computed when somebody asks, from the newest labelled answers. Where there are too
few labels there is no figure, and it is said how many there are and how many it takes.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from andon.errors import InvalidRequest
from andon.monitoring import intervals
from andon.monitoring.classes import Classes
from andon.monitoring.intervals import Floats, Ints
from andon.store.clock import now
from andon.store.database import Database
from andon.store.feedback import Labelled
from andon.store.records import ModelVersion

NEEDED = 30
"""Labels before anything is measured."""

NEEDED_OF_A_CLASS = 10
"""Labels of the class that a figure is about."""

WINDOW = "1000"
"""The newest labelled answers that are looked at where nobody says otherwise."""

_MOST = 10_000
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST_DAYS = 3_660


class Figure(msgspec.Struct, frozen=True):
    """One measured figure."""

    value: Annotated[float | None, Meta(description="null while there are too few labels.")]
    low: Annotated[float | None, Meta(description="Bounds of the 95 % interval.")]
    high: float | None
    labels: Annotated[int, Meta(description="Labels that it rests on.")]
    needed: Annotated[int, Meta(description="Labels it takes.")]


class LabelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the labels say about one version."""

    labelled: Annotated[int, Meta(description="Labelled answers in the window.")]
    needed: Annotated[int, Meta(description="Labels before anything is measured.")]
    enough: bool
    answers: Annotated[int, Meta(description="Answers in the log over the same time.")]
    coverage: Annotated[
        float | None, Meta(description="Share of them that have a label; null without answers.")
    ]
    classes: Annotated[list[str], Meta(description="In the order of the confusion table.")]
    positive: Annotated[
        str | None, Meta(description="Class that precision, recall and F1 are about.")
    ]
    confusion: Annotated[
        list[list[int]],
        Meta(description="Answers by true class and answered class; empty beyond 50 classes."),
    ]
    metrics: Annotated[
        dict[str, Figure],
        Meta(description="accuracy, precision, recall, f1; roc_auc, pr_auc, brier of rows."),
    ]


class Window(msgspec.Struct, frozen=True):
    """Which labelled answers are looked at: at most `limit`, since `since`."""

    limit: int = int(WINDOW)
    since: datetime | None = None

    @classmethod
    def parse(cls, words: str) -> "Window":
        """Read "500" (the newest 500 labels), or "90m", "24h", "7d" (answers of that time).

        Raises:
            InvalidRequest: It is neither.
        """
        plain = words.strip().lower()
        number, unit = plain.rstrip("mhd"), plain[len(plain.rstrip("mhd")) :]
        if number.isascii() and number.isdigit() and len(number) < 8 and int(number) > 0:
            if not unit and int(number) <= _MOST:
                return cls(int(number))
            span = timedelta(**{_UNITS[unit]: int(number)}) if unit in _UNITS else None
            if span is not None and span <= timedelta(days=_LONGEST_DAYS):
                return cls(_MOST, now() - span)
        detail = f"must be how many, up to {_MOST}, or a time such as 90m, 24h or 7d"
        raise InvalidRequest(
            f"The request is not valid: window {detail}.",
            errors=[{"field": "window", "detail": detail}],
        )


def measure(db: Database, version: ModelVersion, window: Window | None = None) -> LabelFigures:
    """The figures of a version from its labelled answers.

    Args:
        db: Answers and labels.
        version: Whose.
        window: Which of them; default the newest 1,000 labels.
    """
    window = window or Window()
    classes = Classes.of(version)
    rows = db.feedback.labelled(version.id, since=window.since, limit=window.limit)
    # Over the time that the labels are from: with the oldest one, where they were cut off.
    cut = len(rows) == window.limit or window.since is None
    since = rows[-1].id if cut and rows else window.since
    answers = db.feedback.answered(version.id, since=since)
    known = list(_indexed(classes, rows))
    truth: Ints = np.array([true for true, _, _ in known], np.int64)
    said: Ints = np.array([said for _, said, _ in known], np.int64)
    probabilities = None
    size = len(classes.values)
    few = size <= intervals.RANKED_CLASSES
    if classes.kind == "rows" and few and all(len(row.raw_scores) == size for _, _, row in known):
        probabilities = np.array([row.raw_scores for _, _, row in known], np.float64)
    counts = intervals.confusion(truth, said, size)
    return LabelFigures(
        labelled=len(known),
        needed=NEEDED,
        enough=len(known) >= NEEDED,
        answers=answers,
        coverage=len(known) / answers if answers else None,
        classes=list(classes.names),
        positive=None if classes.positive is None else classes.names[classes.positive],
        confusion=counts.tolist() if few else [],
        metrics=figures(truth, said, probabilities, size, classes.positive),
    )


def _indexed(classes: Classes, rows: list[Labelled]) -> Iterator[tuple[int, int, Labelled]]:
    """True and answered class of each answer; others than these classes are left out."""
    # Few different values in many answers: each is looked up once.
    truths: dict[Any, int | None] = {}
    saids: dict[Any, int | None] = {}
    for row in rows:
        actual = tuple(row.actual) if isinstance(row.actual, list) else row.actual
        if actual not in truths:
            truths[actual] = classes.truth(row.actual)
        answer = (row.prediction, row.detections > 0)
        if answer not in saids:
            saids[answer] = classes.answered(row)
        true, said = truths[actual], saids[answer]
        if true is not None and said is not None:
            yield true, said, row


def figures(
    truth: Ints, said: Ints, probabilities: Floats | None, classes: int, positive: int | None
) -> dict[str, Figure]:
    """Every figure with its interval, or without a value where there are too few labels.

    Args:
        truth: True class of each answer, shape (n,).
        said: Answered class.
        probabilities: Shape (n, classes), or None where there are none.
        classes: How many there are.
        positive: The class looked for, or None.
    """
    counts = intervals.confusion(truth, said, classes)
    support = supports(counts, positive, ranked=probabilities is not None)
    enough = {name: enough_labels(name, support, positive) for name in support}
    found: dict[str, Figure] = {}
    values: dict[str, tuple[float, float, float]] = {}
    if enough["accuracy"]:
        values = _counted(truth, said, counts, positive)
        if probabilities is not None:
            values |= _ranked(probabilities, truth, positive)
    for name, labels in support.items():
        value = values.get(name) if enough[name] else None
        if value is None or not np.isfinite(value[0]):
            found[name] = Figure(None, None, None, labels, needed(name, positive))
        else:
            found[name] = Figure(*value, labels, needed(name, positive))
    return found


def supports(counts: Ints, positive: int | None, *, ranked: bool) -> dict[str, int]:
    """The labels that each figure rests on, by its name."""
    total = int(counts.sum())
    actual, answered = counts.sum(1), counts.sum(0)
    if positive is None:
        # Each class counts as much as any other, so the rarest decides.
        precision = recall = ranks = int(actual.min())
    else:
        recall, precision = int(actual[positive]), int(answered[positive])
        ranks = min(recall, total - recall)
    found = {"accuracy": total, "precision": precision, "recall": recall, "f1": recall}
    return found | ({"roc_auc": ranks, "pr_auc": ranks, "brier": total} if ranked else {})


def needed(name: str, positive: int | None) -> int:
    """How many labels a figure takes."""
    by_total = name in {"accuracy", "brier"} or (positive is None and name not in _RANKED)
    return NEEDED if by_total else NEEDED_OF_A_CLASS


def enough_labels(name: str, support: dict[str, int], positive: int | None) -> bool:
    """Whether a figure would mean anything."""
    rests_on = support[name] if positive is not None or name in _RANKED else support["accuracy"]
    return support["accuracy"] >= NEEDED and rests_on >= needed(name, positive)


_RANKED = frozenset({"roc_auc", "pr_auc"})


def _counted(
    truth: Ints, said: Ints, counts: Ints, positive: int | None
) -> dict[str, tuple[float, float, float]]:
    """The figures that come from the confusion table, with bounds."""
    (drawn,) = intervals.resampled(truth, [said], len(counts), positive)
    found = {}
    for name, value in intervals.from_counts(counts, positive).items():
        found[name] = (float(value), *intervals.percentiles(drawn[name]))
    total, right = counts.sum(), np.trace(counts)
    found["accuracy"] = (found["accuracy"][0], *intervals.wilson(right, total))
    if positive is not None:
        hits = counts[positive, positive]
        for name, whole in (
            ("recall", counts[positive].sum()),
            ("precision", counts[:, positive].sum()),
        ):
            if whole:
                found[name] = (found[name][0], *intervals.wilson(hits, whole))
    return found


def _ranked(
    probabilities: Floats, truth: Ints, positive: int | None
) -> dict[str, tuple[float, float, float]]:
    """The figures that come from the probabilities, with bounds."""
    measured = intervals.ranked(probabilities, truth, positive)
    values = measured(None)
    rankings = probabilities.shape[1] if positive is None else 1
    samples = intervals.resampled_rows(len(truth), rankings)
    draws = np.array([measured(rows) for rows in samples])
    return {
        name: (float(values[place]), *intervals.percentiles(draws[:, place]))
        for place, name in enumerate(("roc_auc", "pr_auc", "brier"))
        # A class that does not occur among the labels has no ranking.
        if np.isfinite(values[place])
    }
