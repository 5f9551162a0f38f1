"""Figures of answers with known truth, and how far they can be trusted.

Shares get Wilson's interval; everything else gets the percentiles of a seeded bootstrap, so the
same rows always give the same bounds. Definitions are those of scikit-learn.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 1_000
"""Of figures that come from counts: all of them are computed at once."""

RANK_RESAMPLES = 200
"""Of figures that need the order of the scores: each takes a pass over the rows."""

RANKED_CLASSES = 50
"""With more classes than this, one ranking for each would take too long."""

_LEAST_RESAMPLES = 50
_NUMBERS_AT_ONCE = 2_000_000
_SEED = 20_26
_Z = 1.959963984540054
_TAILS = (2.5, 97.5)


def wilson(hits: float, total: float) -> tuple[float, float]:
    """The 95 % interval of a share; `total` must be positive."""
    hits, total = float(hits), float(total)
    share = hits / total
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    centre = share + _Z**2 / (2 * total)
    scale = 1 + _Z**2 / total
    # At the ends rounding could leave the share itself outside.
    low, high = min(share, (centre - spread) / scale), max(share, (centre + spread) / scale)
    return max(0.0, low), min(1.0, high)


def percentiles(values: Floats) -> tuple[float, float]:
    """The 95 % interval of resampled figures; NaN where a resample had none is left out."""
    low, high = np.nanpercentile(values, _TAILS)
    return float(low), float(high)


def generator() -> "np.random.Generator":
    """Random numbers, the same each time."""
    return np.random.default_rng(_SEED)


def confusion(truth: Ints, answered: Ints, classes: int) -> Ints:
    """How many rows of each class (first axis) were answered as each class (second axis)."""
    cells = np.bincount(truth * classes + answered, minlength=classes * classes)
    return cells.reshape(classes, classes)


def from_counts(counts: NDArray[Any], positive: int | None) -> dict[str, Floats]:
    """Accuracy, precision, recall and F1 of a confusion table.

    Args:
        counts: Shape (classes, classes), true class first.
        positive: Class that precision, recall and F1 are about; None: the mean over the
            classes that occur.

    Returns:
        By name, without axes. A share of nothing is 0.
    """
    return _figures(np.diagonal(counts), counts.sum(1), counts.sum(0), positive)


def resampled(
    truth: Ints, answers: Sequence[Ints], classes: int, positive: int | None
) -> list[dict[str, Floats]]:
    """The same figures of `RESAMPLES` bootstrap samples of the rows.

    Args:
        truth: True class of each row, shape (n,), n > 0.
        answers: Answered class of each row, by one model or by several: the samples are the
            same for all of them.
        classes: How many there are.
        positive: As above.

    Returns:
        For each model, by name, shape (RESAMPLES,).
    """
    # Rows with the same classes are alike: drawing rows is drawing how many of each kind.
    kinds, counts = np.unique(np.stack([truth, *answers]), axis=1, return_counts=True)
    shares = counts / counts.sum()
    random = generator()
    parts: list[list[dict[str, Floats]]] = [[] for _ in answers]
    step = max(1, _NUMBERS_AT_ONCE // max(len(counts), classes))
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        drawn = random.multinomial(len(truth), shares, size=size)
        actual = _by_class(drawn, kinds[0], classes)
        for part, said in zip(parts, kinds[1:], strict=True):
            right = _by_class(drawn * (said == kinds[0]), said, classes)
            part.append(_figures(right, actual, _by_class(drawn, said, classes), positive))
    return [
        {name: np.concatenate([one[name] for one in part]) for name in part[0]} for part in parts
    ]


def _by_class(drawn: Ints, kind: Ints, classes: int) -> NDArray[Any]:
    """How many rows of each class each sample has: shape (samples, classes)."""
    places = np.arange(len(drawn))[:, None] * classes + kind
    sums: NDArray[Any] = np.bincount(places.ravel(), drawn.ravel(), len(drawn) * classes)
    return sums.reshape(len(drawn), classes)


def _figures(
    right: NDArray[Any], actual: NDArray[Any], answered: NDArray[Any], positive: int | None
) -> dict[str, Floats]:
    """From rows by class: answered rightly, truly of it, answered as it; shape (..., classes)."""
    found = {
        "accuracy": _share(right.sum(-1), actual.sum(-1)),
        "precision": _share(right, answered),
        "recall": _share(right, actual),
        "f1": _share(2 * right, actual + answered),
    }
    for name in ("precision", "recall", "f1"):
        each = found[name]
        if positive is not None:
            found[name] = each[..., positive]
        else:
            occurs = (actual + answered) > 0
            found[name] = _share((each * occurs).sum(-1), occurs.sum(-1))
    return found


class Ranking:
    """ROC-AUC and average precision of scores, quick to compute again for rows drawn anew.

    Args:
        scores: Shape (n,); greater is more positive.
        positive: Shape (n,), bool.
    """

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        # Groups of equal scores, highest first, each with a cell for misses and one for hits.
        groups, group = np.unique(-scores, return_inverse=True)
        self._size = 2 * len(groups)
        self._cells = 2 * group + positive

    def measure(self, rows: Ints | None = None) -> tuple[float, float]:
        """ROC-AUC and average precision of some rows (default: all); NaN without both classes."""
        cells = self._cells if rows is None else self._cells[rows]
        counts = np.bincount(cells, minlength=self._size).reshape(-1, 2)
        misses, hits = counts.T
        above, below = np.cumsum(hits), np.cumsum(misses)
        positives, negatives = above[-1], below[-1]
        if positives == 0 or negatives == 0:
            return math.nan, math.nan
        area = (misses @ (above - hits / 2)) / (positives * negatives)
        average = (hits @ (above / np.maximum(above + below, 1))) / positives
        return float(area), float(average)


def ranked(
    probabilities: Floats, truth: Ints, positive: int | None
) -> Callable[[Ints | None], Floats]:
    """A function from rows (None: all) to their ROC-AUC, average precision and Brier score.

    Args:
        probabilities: Shape (n, classes).
        truth: Shape (n,).
        positive: Class that is looked for; None: the mean of one class against the rest,
            and the Brier score summed over the classes.
    """
    classes = range(probabilities.shape[1]) if positive is None else [positive]
    rankings = [Ranking(probabilities[:, one], truth == one) for one in classes]
    squares: Floats = np.zeros(len(truth))
    for one in classes:
        squares += (probabilities[:, one] - (truth == one)) ** 2

    def measure(rows: Ints | None = None) -> Floats:
        areas = np.array([ranking.measure(rows) for ranking in rankings])
        brier = (squares if rows is None else squares[rows]).mean()
        return np.array([*areas.mean(axis=0), brier])

    return measure


def resampled_rows(rows: int, rankings: int = 1) -> Iterator[Ints]:
    """Which rows are drawn, for each of the samples of a bootstrap.

    Args:
        rows: How many there are.
        rankings: How many classes are ranked for each: with many, there are fewer samples.
    """
    random = generator()
    for _ in range(max(_LEAST_RESAMPLES, RANK_RESAMPLES // rankings)):
        yield random.integers(rows, size=rows)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    shares: Floats = np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
    return shares
