"""Columns of a window against the statistics of a reference, feature by feature.

The statistics have the shape that a training writes into a model file (docs/model-card.md): by
name `kind`, `missing`, and `counts` by value of a category, or `mean`, `std`, `edges` and `counts`
of a number. Those learned from answers add `tolerated`: how far the feature wanders by itself.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from andon.monitoring.drift import distances
from andon.monitoring.drift.distances import Floats, finite
from andon.monitoring.drift.report import MISSING, SHAPE, UNSEEN, FeatureDrift, Histogram

ORDINARY = 0.01
"""Chance that quiet data make any feature of a look suspect, at most. Two looks at different
answers in a row must agree, so a false alarm has this chance squared."""

STRONG = 1e-4
"""Chance that quiet data do so at once."""

NUMBER_FLOOR = 0.1
CATEGORY_FLOOR = 0.1
MISSING_FLOOR = 0.05
UNSEEN_FLOOR = 0.02
"""True distances that are never drift, as shares of the answers: 0.1 of a bell curve is a shift of
a quarter of its standard deviation."""

BINS = 20
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_CATEGORIES = 60
_MOST_NEW = 10
_LONGEST_CATEGORY = 64
OTHERS = "(others)"
_KS = "Kolmogorov-Smirnov"
_TV = "total variation"
_SHARE = "share"


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of the answers at once, against those of the reference.

    Attributes:
        energy: The energy distance.
        across: Mean distance between an answer of the window and one of the reference.
        tolerated: Energy distance by which the reference is away from its own parts.
        scale: See `distances.energy_noise`, for the sizes of these two.
        freedom: The same.
    """

    energy: float
    across: float
    tolerated: float
    scale: float
    freedom: float


class Column(msgspec.Struct, kw_only=True):
    """One feature of the answers of a window.

    Attributes:
        title: For people; empty: the name.
        group: "input" or "output".
        values: Of a number, in the order they came, without those missing; None of a category.
        weights: Of a category: answers by value. An answer that has several counts as one in all.
        together: Of all numbers at once; then the others are empty.
        total: Answers, those without a value included.
        greater: Whether only growing is drift.
        optional: Whether a missing value says nothing.
    """

    name: str
    title: str = ""
    group: str = "input"
    values: Floats | None = None
    weights: dict[str, float] | None = None
    together: Together | None = None
    total: int = 0
    greater: bool = False
    optional: bool = False

    @property
    def known(self) -> float:
        """Answers with a value."""
        if self.values is not None:
            return float(len(self.values))
        return float(sum((self.weights or {}).values()))

    @property
    def missing(self) -> float:
        """Share of the answers without a value."""
        return max(0.0, 1 - self.known / self.total) if self.total else 0.0


class _Test(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may have moved."""

    feature: int
    kind: str
    measure: str
    distance: float
    tolerated: float
    p: float
    least: Callable[[float], float]


def numbers(values: Sequence[Any]) -> Floats:
    """Those of the values that are finite numbers, in their order."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array([_number(value) for value in values], dtype=np.float64)
    if found.ndim != 1:
        found = np.array([_number(value) for value in values], dtype=np.float64)
    # Squares of greater ones would not be numbers any more.
    known: Floats = found[np.abs(found) < 1e150]
    return known


def category(value: Any) -> str:
    """A category as statistics name it, short enough for a report."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:_LONGEST_CATEGORY]


def describe(column: Column) -> dict[str, Any]:
    """Statistics of a column, in the shape that a training writes."""
    if column.weights is not None:
        weights = {key: finite(count) for key, count in _most(column.weights).items()}
        return {"kind": "category", "missing": _missing(column), "counts": weights}
    known = column.values if column.values is not None else np.zeros(0)
    begin = {"kind": "number", "missing": _missing(column)}
    if not known.size:
        return begin
    short = [finite(q) for q in np.quantile(known, np.linspace(0, 1, BINS + 1))]
    edges = np.unique(np.array(short, dtype=np.float64))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    counts = distances.binned(np.clip(known, edges[0], edges[-1]), edges)[1:-1]
    quantiles = zip(_QUANTILES, np.quantile(known, _QUANTILES), strict=True)
    return begin | {
        "mean": finite(known.mean()),
        "std": finite(known.std()),
        "min": finite(known.min()),
        "max": finite(known.max()),
        "quantiles": {str(at): finite(value) for at, value in quantiles},
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def usable(statistics: Any) -> bool:
    """Whether there is anything in a feature's statistics to compare with."""
    if not isinstance(statistics, Mapping):
        return False
    if statistics.get("kind") == "together":
        return True
    counts = statistics.get("counts")
    if statistics.get("kind") == "category":
        return isinstance(counts, Mapping)
    if counts is None:
        return bool(statistics.get("missing"))
    edges = statistics.get("edges")
    return (
        isinstance(edges, Sequence)
        and isinstance(counts, Sequence)
        and len(edges) == len(counts) + 1
        and len(counts) > 0
    )


def compare(reference: Mapping[str, Any], columns: Sequence[Column]) -> list[FeatureDrift]:
    """Every column against its statistics, with p-values for all of them together.

    Args:
        reference: Statistics by name. Columns that it does not know are left out.
        columns: Of the window.

    Returns:
        The one that moved most first; `suspected` says which are significant at `ORDINARY`.
    """
    there = [column for column in columns if usable(reference.get(column.name))]
    tests: list[_Test] = []
    features = []
    for index, column in enumerate(there):
        drift, found = _feature(index, column, reference[column.name])
        features.append(drift)
        tests += found
    adjusted, levels = distances.holm([test.p for test in tests], ORDINARY)
    worst: dict[int, tuple[tuple[float, float], float, float, _Test]] = {}
    for test, p, level in zip(tests, adjusted, levels, strict=True):
        threshold = test.least(level)
        score = test.distance / threshold if 0 < threshold < math.inf else 0.0
        # A significant test says more than one whose distance is relatively greater.
        rank = (-p if p <= ORDINARY else -1.0, score)
        if test.feature not in worst or rank > worst[test.feature][0]:
            worst[test.feature] = (rank, p, threshold, test)
    for index, (_, p, threshold, test) in worst.items():
        features[index] = msgspec.structs.replace(
            features[index],
            test=test.kind,
            measure=test.measure,
            distance=finite(test.distance),
            tolerated=finite(test.tolerated),
            threshold=finite(threshold),
            p_value=finite(test.p),
            adjusted_p=finite(p),
            suspected=p <= ORDINARY,
        )
    return sorted(features, key=lambda one: (not one.suspected, -one.score, one.name))


def wandering(column: Column, rest: Column) -> float:
    """How far a block of the reference is from the rest of it, less what chance makes of that."""
    statistics = describe(rest)
    if not usable(statistics) or not column.known or not rest.known:
        return 0.0
    n = distances.effective(column.known, rest.known)
    if column.values is not None:
        if "edges" not in statistics:
            return 0.0
        before, after, _ = _binned(statistics, column.values)
        distance = _kolmogorov(before, after, greater=column.greater)
        return max(0.0, distance - distances.KS_NOISE / math.sqrt(n))
    _, before, after = _weighed(statistics, column.weights or {})
    p = distances.shares(before)
    # Mean of the absolute difference of two shares, if only chance makes it.
    noise = float(np.sqrt(2 * p * (1 - p) / (math.pi * n)).sum()) / 2
    return max(0.0, distances.total_variation(before, after) - noise)


def _feature(
    index: int, column: Column, statistics: Mapping[str, Any]
) -> tuple[FeatureDrift, list[_Test]]:
    kind = str(statistics.get("kind"))
    kind = kind if kind in {"category", "together"} else "number"
    gone = float(statistics.get("missing") or 0)
    counts = statistics.get("counts") or {}
    there = float(sum(counts.values() if isinstance(counts, Mapping) else counts))
    missing_before = gone / (gone + there) if gone + there else 0.0
    drift = FeatureDrift(
        name=column.name,
        title=column.title or column.name,
        group=column.group,
        kind=kind,
        missing_before=finite(missing_before) or 0.0,
        missing_after=finite(column.missing) or 0.0,
        count=round(column.known),
    )
    if column.together is not None:
        return msgspec.structs.replace(drift, count=column.total), [
            _together_test(index, column.together)
        ]
    tests = []
    if not column.optional and column.total:
        n = distances.effective(column.total, gone + there)
        tests.append(_missing_test(index, missing_before, column.missing, n))
    if not column.known or not there:
        return drift, tests
    if kind == "number" and column.values is not None:
        drift, shape = _number_test(index, drift, column, statistics, there)
        return drift, [*tests, shape]
    if kind == "category" and column.weights is not None:
        drift, shapes = _category_tests(index, drift, column, statistics, there)
        return drift, [*tests, *shapes]
    return drift, tests


def _together_test(index: int, found: Together) -> _Test:
    """Distances and thresholds over twice the mean distance across: 0 to 1."""
    unit = 2 * found.across if found.across > 0 else 1.0
    beyond = found.energy - found.tolerated
    scale = found.scale

    def least(alpha: float) -> float:
        return (found.tolerated + scale * distances.least_chi_square(alpha, found.freedom)) / unit

    p = 1.0
    if beyond > 0:
        p = distances.p_chi_square(beyond / scale, found.freedom) if scale > 0 else 0.0
    return _Test(
        feature=index, kind=SHAPE, measure="energy", distance=found.energy / unit,
        tolerated=found.tolerated / unit, p=p, least=least,
    )  # fmt: skip


def _missing_test(index: int, before: float, after: float, n: float) -> _Test:
    """More values missing than before, or fewer."""
    tolerated = MISSING_FLOOR
    base = before if after >= before else 1 - before
    now = after if after >= before else 1 - after

    def least(alpha: float) -> float:
        # Two sides.
        return distances.least_share(alpha / 2, min(1.0, base + tolerated), n) - base

    p = min(1.0, 2 * distances.p_share(now, min(1.0, base + tolerated), n))
    return _Test(
        feature=index, kind=MISSING, measure=_SHARE, distance=abs(after - before),
        tolerated=tolerated, p=p, least=least,
    )  # fmt: skip


def _number_test(
    index: int, drift: FeatureDrift, column: Column, statistics: Mapping[str, Any], there: float
) -> tuple[FeatureDrift, _Test]:
    values = column.values if column.values is not None else np.zeros(0)
    before, after, edges = _binned(statistics, values)
    distance = _kolmogorov(before, after, greater=column.greater)
    tolerated = max(NUMBER_FLOOR, _tolerated(statistics))
    n = distances.effective(distances.independent(values), there)
    spread = _spread(statistics, before, edges)
    moved = distances.wasserstein(before, after, edges, values)
    mean = statistics.get("mean")
    drift = msgspec.structs.replace(
        drift,
        effect=finite(moved / spread) if spread > 0 else None,
        before=finite(mean if mean is not None else _middle(before, edges)),
        after=finite(values.mean()),
        histogram=Histogram(
            edges=[float(edge) for edge in edges],
            reference=_rounded(before),
            window=_rounded(after),
        ),
    )
    return drift, _Test(
        feature=index, kind=SHAPE, measure=_KS, distance=distance, tolerated=tolerated,
        p=distances.p_distance(distance, tolerated, n),
        least=lambda alpha: distances.least_distance(alpha, tolerated, n),
    )  # fmt: skip


def _category_tests(
    index: int, drift: FeatureDrift, column: Column, statistics: Mapping[str, Any], there: float
) -> tuple[FeatureDrift, list[_Test]]:
    weights = column.weights or {}
    counts = statistics["counts"]
    names, before, after = _weighed(statistics, weights)
    tolerated = max(CATEGORY_FLOOR, _tolerated(statistics))
    n = distances.effective(column.known, there)
    sets = distances.sets_of(len(names))
    distance = distances.total_variation(before, after)
    new = [key for key in weights if not counts.get(key) and weights[key] > 0]
    if OTHERS in counts:
        new = []
    drift = msgspec.structs.replace(
        drift,
        effect=finite(distances.jensen_shannon(before, after)),
        before=names[int(np.argmax(before))],
        after=names[int(np.argmax(after))],
        new_categories=sorted(new, key=lambda key: -weights[key])[:_MOST_NEW],
        histogram=Histogram(categories=names, reference=_rounded(before), window=_rounded(after)),
    )
    tests = [
        _Test(
            feature=index, kind=SHAPE, measure=_TV, distance=distance, tolerated=tolerated,
            p=distances.p_distance(distance, tolerated, n, sets),
            least=lambda alpha: distances.least_distance(alpha, tolerated, n, sets),
        )
    ]  # fmt: skip
    if new:
        share = sum(weights[key] for key in new) / column.known
        floor = max(UNSEEN_FLOOR, _tolerated(statistics))
        tests.append(
            _Test(
                feature=index, kind=UNSEEN, measure=_SHARE, distance=share, tolerated=floor,
                p=distances.p_share(share, floor, n),
                least=lambda alpha: distances.least_share(alpha, floor, n),
            )
        )  # fmt: skip
    return drift, tests


def _binned(statistics: Mapping[str, Any], values: Floats) -> tuple[Floats, Floats, Floats]:
    edges = np.array(statistics["edges"], dtype=np.float64)
    before = np.concatenate([[0.0], np.array(statistics["counts"], dtype=np.float64), [0.0]])
    return before, distances.binned(values, edges), edges


def _kolmogorov(before: Floats, after: Floats, *, greater: bool) -> float:
    if not greater:
        return distances.kolmogorov(before, after)
    apart = np.cumsum(distances.shares(before) - distances.shares(after))
    return float(min(1.0, max(0.0, apart.max())))


def _weighed(
    statistics: Mapping[str, Any], weights: Mapping[str, float]
) -> tuple[list[str], Floats, Floats]:
    """Names of both sides, and what falls to each; of very many the rarest are one."""
    counts: Mapping[str, float] = statistics["counts"]
    names = list(dict.fromkeys([*counts, *weights]))
    before = {key: float(counts.get(key) or 0) for key in names}
    after = {key: float(weights.get(key) or 0) for key in names}
    if len(names) > _MOST_CATEGORIES:
        names.sort(key=lambda key: -before[key] - after[key])
        kept = [key for key in names if key != OTHERS][: _MOST_CATEGORIES - 1]
        rest = set(names).difference(kept)
        names = [*kept, OTHERS]
        before[OTHERS] = sum(before[key] for key in rest)
        after[OTHERS] = sum(after[key] for key in rest)
    return names, np.array([before[key] for key in names]), np.array([after[key] for key in names])


def _most(weights: Mapping[str, float]) -> dict[str, float]:
    if len(weights) <= _MOST_CATEGORIES:
        return dict(weights)
    names = sorted(weights, key=lambda key: -weights[key])
    kept = {key: weights[key] for key in names[: _MOST_CATEGORIES - 1]}
    return kept | {OTHERS: sum(weights[key] for key in names[_MOST_CATEGORIES - 1 :])}


def _spread(statistics: Mapping[str, Any], counts: Floats, edges: Floats) -> float:
    """Standard deviation of the reference."""
    known = statistics.get("std")
    if known is not None:
        return float(known)
    middle = (edges[1:] + edges[:-1]) / 2
    share = distances.shares(counts[1:-1])
    return math.sqrt(max(0.0, float(share @ middle**2) - float(share @ middle) ** 2))


def _middle(counts: Floats, edges: Floats) -> float:
    return float(distances.shares(counts[1:-1]) @ ((edges[1:] + edges[:-1]) / 2))


def _tolerated(statistics: Mapping[str, Any]) -> float:
    return float(statistics.get("tolerated") or 0.0)


def _missing(column: Column) -> int:
    return round(column.missing * column.total)


def _rounded(counts: Floats) -> list[float]:
    return [round(float(share), 5) for share in distances.shares(counts)]


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan
