"""What is measured of probabilities, with bootstrap intervals.

One implementation serves the figure and its interval: every metric is computed from weights of
rows, all resamples at once; a weight of one for each row is the figure itself.

Two classes: precision, recall, F1, ROC-AUC, PR-AUC (average precision), Brier and the calibration
error are those of the positive class. Three or more: unweighted means over the classes (AUCs one
class against the rest), and the calibration of the answered class. A metric that is not defined
(one class only) is left out, never made up.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.training.messages import Bin, Importance, Interval, SliceScore

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

METRICS = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "pr_auc",
    "brier",
    "log_loss",
    "ece",
)
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece"})
RESAMPLES = 1000
BINS = 10
SLICE_ROWS = 10
"""A slice with fewer rows has no figures."""

SLICE_VALUES = 12
"""Most values of a slice that are reported, those with the most rows."""

_CELLS = 4_000_000
"""Weights in memory at once."""

_DRAWS = 40_000_000
"""Weights drawn for one interval; above it there are fewer resamples, at least 200."""

_SHUFFLED_ROWS = 5_000
_CURVE_POINTS = 200
_TINY = 1e-15


@dataclass(frozen=True)
class _Ranking:
    """One class against the rest, rows sorted by falling probability."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    positive: Array


class Scorer:
    """Metrics of fixed answers under any weights of the rows.

    Args:
        y: Class index [n].
        p: Probabilities [n, classes].
        positive: Index of the class looked for; None with three or more classes.
        threshold: Probability from which it is answered.
    """

    def __init__(self, y: Labels, p: Array, positive: int | None, threshold: float = 0.5) -> None:
        self.y = y
        self.positive = positive
        self.classes = p.shape[1]
        self.answered = answers(p, positive, threshold)
        rows = np.arange(len(y))
        one_hot = np.eye(self.classes)[y]
        self._true = one_hot
        self._said = np.eye(self.classes)[self.answered]
        self._log_loss = -np.log(np.clip(p[rows, y], _TINY, 1.0))
        squares = ((p - one_hot) ** 2).sum(axis=1)
        # As is usual: of the positive class with two classes, of all with more.
        self._brier = squares / 2 if self.classes == 2 else squares
        self.said, self.right = _confidence(y, p, self.answered, positive)
        self._bins = np.eye(BINS)[np.minimum((self.said * BINS).astype(int), BINS - 1)]
        looked_for = range(self.classes) if positive is None else (positive,)
        self._rankings = [_ranking(y == label, p[:, label]) for label in looked_for]

    def __call__(self, weights: Array) -> dict[str, Array]:
        """Every metric [resamples] for weights [resamples, n]; NaN where it is not defined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            total = weights.sum(axis=1)
            hit = weights @ (self._true * self._said)
            true, said = weights @ self._true, weights @ self._said
            precision = np.where((said == 0) & (true > 0), 0.0, hit / said)
            recall = hit / true
            f1 = 2 * hit / (true + said)
            areas = [_areas(weights, ranking) for ranking in self._rankings]
            inside = weights @ self._bins
            gap = np.abs((weights * self.right) @ self._bins - (weights * self.said) @ self._bins)
            return {
                "accuracy": hit.sum(axis=1) / total,
                "precision": self._of_classes(precision),
                "recall": self._of_classes(recall),
                "f1": np.where(self._lacks_positive(true), np.nan, self._of_classes(f1)),
                "roc_auc": _mean([roc for roc, _ in areas]),
                "pr_auc": _mean([pr for _, pr in areas]),
                "brier": weights @ self._brier / total,
                "log_loss": weights @ self._log_loss / total,
                "ece": np.where(inside > 0, gap, 0.0).sum(axis=1) / total,
            }

    def figures(self) -> dict[str, float]:
        """The metrics of the rows as they are; undefined ones left out."""
        found = self(np.ones((1, len(self.y))))
        return {name: float(v[0]) for name, v in found.items() if math.isfinite(v[0])}

    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Rows by true class (outer) and answered class (inner)."""
        counts = (self._true.T @ self._said).astype(int)
        return tuple(tuple(int(n) for n in row) for row in counts)

    def bins(self) -> tuple[Bin, ...]:
        """Ten of equal width, from low to high probability; those without rows left out."""
        rows = self._bins.sum(axis=0)
        said, right = self.said @ self._bins, self.right @ self._bins
        return tuple(
            Bin(mean_predicted=float(s / n), observed=float(r / n), rows=int(n))
            for s, r, n in zip(said, right, rows, strict=True)
            if n
        )

    def _of_classes(self, values: Array) -> Array:
        """The positive class's column of [resamples, classes], or the mean of all."""
        if self.positive is not None:
            return np.asarray(values[:, self.positive])
        return _mean(list(values.T))

    def _lacks_positive(self, true: Array) -> NDArray[np.bool_]:
        if self.positive is None:
            return np.zeros(len(true), dtype=bool)
        return np.asarray(true[:, self.positive] == 0)


def answers(p: Array, positive: int | None, threshold: float) -> Labels:
    """The class answered for each row of probabilities [n, classes]."""
    if positive is None:
        answered = p.argmax(axis=1)
    else:
        answered = np.where(p[:, positive] >= threshold, positive, 1 - positive)
    return np.asarray(answered, dtype=np.int64)


def better(metric: str, one: float, other: float) -> bool:
    """Whether `one` is a better value of the metric than `other`."""
    return one < other if metric in LOWER_IS_BETTER else one > other


def metrics(y: Labels, p: Array, positive: int | None, threshold: float) -> dict[str, float]:
    """Every metric of these rows; undefined ones left out."""
    return Scorer(y, p, positive, threshold).figures()


def best_threshold(y: Labels, p: Array, positive: int, metric: str) -> float:
    """The threshold with the best F1 or accuracy among the percent steps from 0.05 to 0.95.

    The one in the middle of equals; 0.5 for every other metric: it depends on no threshold, or is
    best at an extreme one.
    """
    if metric not in {"f1", "accuracy"}:
        return 0.5
    limits = np.round(np.arange(0.05, 0.951, 0.01), 2)
    said = p[:, positive] >= limits[:, None]
    true = y == positive
    hits = (said & true).sum(axis=1)
    found = (said == true).mean(axis=1)
    if metric == "f1":
        found = 2 * hits / np.maximum(said.sum(axis=1) + true.sum(), 1)
    best = limits[found == found.max()]
    return float(best[len(best) // 2])


def intervals(scorer: Scorer, groups: NDArray[np.int64] | None, seed: int) -> dict[str, Interval]:
    """Every defined metric with its 95 % percentile interval over 1000 resamples of the rows.

    Whole groups are drawn where rows have groups. Fewer resamples where there are very many rows.
    """
    draws = [scorer(weights) for weights in _resamples(len(scorer.y), groups, seed)]
    return {
        name: Interval(value, *_bounds(np.concatenate([draw[name] for draw in draws])))
        for name, value in scorer.figures().items()
    }


def differences(
    new: Scorer, old: Scorer, groups: NDArray[np.int64] | None, seed: int
) -> dict[str, Interval]:
    """New minus old on the same rows, both measured on the same resamples."""
    draws: list[dict[str, Array]] = []
    for weights in _resamples(len(new.y), groups, seed):
        first, second = new(weights), old(weights)
        draws.append({name: first[name] - second[name] for name in METRICS})
    one, other = new.figures(), old.figures()
    return {
        name: Interval(
            one[name] - other[name],
            *_bounds(np.concatenate([draw[name] for draw in draws])),
        )
        for name in METRICS
        if name in one and name in other
    }


def slices(
    y: Labels,
    p: Array,
    positive: int | None,
    threshold: float,
    named: dict[str, NDArray[Any]],
    seed: int,
) -> tuple[SliceScore, ...]:
    """The metrics of the rows of each value of each slice; None where one is not defined."""
    found: list[SliceScore] = []
    for name, values in named.items():
        texts, counts = np.unique(values.astype(str), return_counts=True)
        kept = sorted(np.argsort(-counts, kind="stable")[:SLICE_VALUES])
        for text in texts[kept]:
            mine = values.astype(str) == text
            found.append(_slice(name, str(text), y[mine], p[mine], positive, threshold, seed))
    return tuple(found)


def importance(
    predict: Callable[[Array], Array],
    x: Array,
    y: Labels,
    positive: int | None,
    names: list[str],
    seed: int,
    beat: Callable[[float], None] = lambda _: None,
) -> tuple[Importance, ...]:
    """How much ROC-AUC falls when a feature is shuffled among the rows, most important first.

    The mean and standard deviation of ten shuffles, on at most 5,000 rows; empty where there is a
    single class.
    """
    generator = np.random.default_rng(seed)
    if len(y) > _SHUFFLED_ROWS:
        chosen = np.sort(generator.choice(len(y), _SHUFFLED_ROWS, replace=False))
        x, y = x[chosen], y[chosen]
    untouched = metrics(y, predict(x), positive, 0.5).get("roc_auc")
    if untouched is None:
        return ()
    found: list[Importance] = []
    for column, name in enumerate(names):
        drops: list[float] = []
        for _ in range(10):
            shuffled = x.copy()
            shuffled[:, column] = generator.permutation(shuffled[:, column])
            drops.append(untouched - metrics(y, predict(shuffled), positive, 0.5)["roc_auc"])
        found.append(Importance(name, float(np.mean(drops)), float(np.std(drops))))
        beat((column + 1) / len(names))
    return tuple(sorted(found, key=lambda one: -one.mean))


def curves(
    y: Labels, p: Array, positive: int | None
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """Points of the ROC and of the precision-recall curve, at most 200 each.

    Empty with three or more classes, and where there is a single class.
    """
    if positive is None or len(np.unique(y)) < 2:
        return (), ()
    ranking = _ranking(y == positive, p[:, positive])
    hits, misses = _sums(np.ones((1, len(y))), ranking)
    true, false = np.cumsum(hits[0]), np.cumsum(misses[0])
    steps = np.unique(np.linspace(0, len(true) - 1, min(len(true), _CURVE_POINTS)).astype(int))
    roc = [(0.0, 0.0)] + [(float(false[i] / false[-1]), float(true[i] / true[-1])) for i in steps]
    pr = [(float(true[i] / true[-1]), float(true[i] / (true[i] + false[i]))) for i in steps]
    return tuple(roc), tuple(pr)


def _slice(
    name: str,
    value: str,
    y: Labels,
    p: Array,
    positive: int | None,
    threshold: float,
    seed: int,
) -> SliceScore:
    positives = 0 if positive is None else int((y == positive).sum())
    if len(y) < SLICE_ROWS:
        return SliceScore(slice=name, value=value, rows=len(y), positives=positives)
    scorer = Scorer(y, p, positive, threshold)
    figures = scorer.figures()
    f1 = intervals(scorer, None, seed).get("f1")
    return SliceScore(
        slice=name,
        value=value,
        rows=len(y),
        positives=positives,
        **{key: figures.get(key) for key in ("accuracy", "precision", "recall", "f1", "roc_auc")},
        f1_low=f1.low if f1 else None,
        f1_high=f1.high if f1 else None,
    )


def _resamples(count: int, groups: NDArray[np.int64] | None, seed: int) -> Iterator[Array]:
    """How often each row was drawn, [some resamples, rows], until there are enough."""
    generator = np.random.default_rng(seed)
    resamples = min(RESAMPLES, max(200, _DRAWS // max(count, 1)))
    if groups is None:
        units, of_row = count, None
    else:
        _, of_row = np.unique(groups, return_inverse=True)
        units = int(of_row.max()) + 1
    at_once = max(1, _CELLS // max(count, 1))
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        drawn = generator.integers(units, size=(some, units))
        drawn += np.arange(some)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=some * units).reshape(some, units)
        yield (counts if of_row is None else counts[:, of_row]).astype(np.float64)


def _bounds(values: Array) -> tuple[float | None, float | None]:
    known = values[np.isfinite(values)]
    if not known.size:
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _confidence(y: Labels, p: Array, answered: Labels, positive: int | None) -> tuple[Array, Array]:
    """Probability said for each row, and whether it came true."""
    if positive is not None:
        return p[:, positive], (y == positive).astype(np.float64)
    return p[np.arange(len(y)), answered], (y == answered).astype(np.float64)


def _ranking(positive: NDArray[np.bool_], score: Array) -> _Ranking:
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    return _Ranking(order, starts, positive[order].astype(np.float64))


def _sums(weights: Array, ranking: _Ranking) -> tuple[Array, Array]:
    """Weight of positive and of other rows at each distinct probability, the highest first."""
    ordered = weights[:, ranking.order]
    hits = np.add.reduceat(ordered * ranking.positive, ranking.starts, axis=1)
    return hits, np.add.reduceat(ordered, ranking.starts, axis=1) - hits


def _areas(weights: Array, ranking: _Ranking) -> tuple[Array, Array]:
    """ROC-AUC and average precision [resamples]; NaN with a single class."""
    hits, misses = _sums(weights, ranking)
    true, false = np.cumsum(hits, axis=1), np.cumsum(misses, axis=1)
    positives, negatives = true[:, -1], false[:, -1]
    # A pair is ordered rightly when the positive row stands above; half where both are equal.
    pairs = (misses * (true - hits / 2)).sum(axis=1)
    roc = pairs / (positives * negatives)
    seen = true + false
    precision = np.divide(true, seen, out=np.zeros_like(true), where=seen > 0)
    average = np.where(negatives > 0, (hits * precision).sum(axis=1) / positives, np.nan)
    return roc, average


def _mean(columns: list[Array]) -> Array:
    """The mean of those that are defined, at each resample."""
    stacked = np.stack(columns)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.asarray(np.where(known.any(axis=0), total / known.sum(axis=0), np.nan))
