"""Distances between a reference and a window, and what chance alone can make of them.

Every distance that decides is a share of the answers, 0 to 1, and so can be read: a distance of
0.3 means that three in ten answers would have to change places for the two to look alike.

A distance is tested against what is tolerated, not against zero: with many answers even a
difference that nobody would care about is certain. If the true distance is at most `tolerated`,
then by the triangle inequality the measured one exceeds it by no more than the two samples are
off, which these bounds hold for any distribution and any number of answers:

- numbers, Kolmogorov-Smirnov distance: Dvoretzky, Kiefer and Wolfowitz (1956) with the constant of
  Massart (1990), "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality";
- categories, total variation: Weissman, Ordentlich, Seroussi, Verdú and Weinberger (2003),
  "Inequalities for the L1 deviation of the empirical distribution";
- shares (missing, unseen): Hoeffding (1963), "Probability inequalities for sums of bounded random
  variables", theorem 1 (the bound of Chernoff).

For two samples of n and m they are used with n·m / (n + m), the size of one sample that varies as
much as their difference does.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KS_NOISE = math.sqrt(math.pi / 2) * math.log(2)
"""Mean of the limit distribution of √n times the Kolmogorov-Smirnov distance, 0.8687: what chance
makes of it (Kolmogorov 1933; Marsaglia, Tsang and Wang 2003)."""

# Reference statistics have six significant digits: a value this close to an end is the end.
_ROUNDING = 2e-6
_STEPS = 50


def effective(n: float, m: float) -> float:
    """Answers that one sample would need to be as exact as the difference of two, n·m / (n + m)."""
    return n * m / (n + m) if n > 0 and m > 0 else 0.0


def independent(values: Floats) -> float:
    """How many independent values these are worth, in the order they came, at least a fifth.

    Neighbours that resemble each other tell less: n·(1 - r) / (1 + r) with the correlation r of
    neighbours, for a process that forgets at a constant rate (Bayley and Hammersley, 1946). A
    correlation that chance explains (2 / √n) counts as none.

    Args:
        values: No NaN.
    """
    n = len(values)
    if n < 8:
        return float(n)
    centred = values - values.mean()
    power = float(centred @ centred)
    if not power > 0:
        return float(n)
    r = float(centred[:-1] @ centred[1:]) / power
    if not r > 2 / math.sqrt(n):
        return float(n)
    return n * max(0.2, (1 - r) / (1 + r))


def binned(values: Floats, edges: Floats) -> Floats:
    """How many values lie under the first edge, in each bin, and over the last edge.

    Args:
        values: No NaN.
        edges: Ascending, two at least; the last bin is closed, as in `numpy.histogram`. Two equal
            ones (a constant) have a bin for that one value.

    Returns:
        Counts of length ``len(edges) + 1``.
    """
    low, high = float(edges[0]), float(edges[-1])
    values = np.where(np.abs(values - low) <= _ROUNDING * abs(low), low, values)
    values = np.where(np.abs(values - high) <= _ROUNDING * abs(high), high, values)
    if low == high:
        counts = np.zeros(len(edges) + 1)
        counts[0], counts[1], counts[-1] = (
            (values < low).sum(),
            (values == low).sum(),
            (values > low).sum(),
        )
        return counts
    places = np.searchsorted(edges, values, side="right")
    # The last edge belongs to the last bin.
    places[values == high] = len(edges) - 1
    return np.bincount(places, minlength=len(edges) + 1).astype(np.float64)


def kolmogorov(reference: Floats, window: Floats) -> float:
    """The Kolmogorov-Smirnov distance of two histograms with the same bins, 0 to 1.

    Seen at the edges only, so never more than that of the values themselves.
    """
    return min(1.0, float(np.abs(np.cumsum(shares(reference) - shares(window))).max()))


def wasserstein(reference: Floats, window: Floats, edges: Floats, values: Floats) -> float:
    """How far values moved on the whole, in their own unit: the Wasserstein-1 distance.

    The area between the two distribution functions (Vallender, 1974): linear within a bin, exact
    beyond the ends.

    Args:
        reference: Counts of the reference, as `binned` gives them.
        window: Counts of the window.
        edges: Of the bins.
        values: Those of the window.
    """
    if not len(values):
        return 0.0
    apart = np.abs(np.cumsum(shares(reference) - shares(window)))[:-1]
    inside = float(((apart[:-1] + apart[1:]) / 2 * np.diff(edges)).sum()) if len(edges) > 1 else 0.0
    below = float(np.maximum(edges[0] - values, 0).mean())
    above = float(np.maximum(values - edges[-1], 0).mean())
    return inside + below + above


def total_variation(p: Floats, q: Floats) -> float:
    """Half the sum of the differences of two lists of shares, 0 to 1."""
    return min(1.0, float(np.abs(shares(p) - shares(q)).sum()) / 2)


def jensen_shannon(p: Floats, q: Floats) -> float:
    """The Jensen-Shannon distance, 0 to 1: root of the divergence in bits (Lin, 1991)."""
    p, q = shares(p), shares(q)
    middle = (p + q) / 2
    found = 0.0
    for one in (p, q):
        there = one > 0
        found += float((one[there] * np.log2(one[there] / middle[there])).sum()) / 2
    return math.sqrt(min(1.0, max(0.0, found)))


def shares(counts: Floats) -> Floats:
    """Counts as shares of their sum; of nothing, zeros."""
    total = float(counts.sum())
    found: Floats = counts / total if total > 0 else np.zeros_like(counts, dtype=np.float64)
    return found


def p_distance(distance: float, tolerated: float, n: float, sets: float = 2.0) -> float:
    """How likely chance makes a distance this large where the true one is tolerated, at most.

    Args:
        distance: Measured.
        tolerated: The greatest true distance that is no drift.
        n: Answers, as `effective` says.
        sets: 2 for Kolmogorov-Smirnov; 2^K - 2 for total variation of K categories.
    """
    beyond = distance - tolerated
    if beyond <= 0 or n <= 0:
        return 1.0
    return float(min(1.0, math.exp(min(0.0, math.log(sets) - 2 * n * beyond**2))))


def least_distance(alpha: float, tolerated: float, n: float, sets: float = 2.0) -> float:
    """The distance from which `p_distance` is at most `alpha`; over 1 where none is."""
    if n <= 0:
        return math.inf
    return tolerated + math.sqrt(max(0.0, math.log(sets / alpha)) / (2 * n))


def sets_of(categories: int) -> float:
    """The constant of Weissman et al. for so many categories: subsets that differ."""
    return float(2 ** min(categories, 60) - 2) if categories > 1 else 1.0


def p_share(share: float, tolerated: float, n: float) -> float:
    """How likely chance makes a share this large where the true one is tolerated, at most."""
    if share <= tolerated or n <= 0:
        return 1.0
    if tolerated <= 0:
        return 0.0
    return math.exp(-n * _divergence(min(1.0, share), tolerated))


def least_share(alpha: float, tolerated: float, n: float) -> float:
    """The share from which `p_share` is at most `alpha`; over 1 where none is."""
    if n <= 0 or tolerated >= 1 or p_share(1.0, tolerated, n) > alpha:
        return math.inf
    low, high = tolerated, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if p_share(middle, tolerated, n) > alpha:
            low = middle
        else:
            high = middle
    return high


def energy(x: Floats, y: Floats) -> tuple[float, float]:
    """The energy distance of two samples of vectors, and the mean distance between them.

    Twice the mean distance across less the mean distances within, each vector with itself included
    (Székely and Rizzo, 2013, "Energy statistics: a class of statistics based on distances"). Zero
    only where the two have the same distribution; over twice the mean distance across it is 0 to 1.

    Args:
        x: Shape (n, numbers), n > 0.
        y: Shape (m, numbers), m > 0.
    """
    across = float(apart(x, y).mean())
    within = float(apart(x, x).mean()) + float(apart(y, y).mean())
    return max(0.0, 2 * across - within), across


def apart(x: Floats, y: Floats) -> Floats:
    """Euclidean distance of each vector of `x` to each of `y`."""
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T
    found: Floats = np.sqrt(np.maximum(squares, 0.0))
    return found


def energy_noise(x: Floats) -> tuple[float, float]:
    """What chance makes of the energy distance of two samples out of the same distribution.

    (1/n + 1/m) times a sum of weighted chi-squares of one degree, whose weights are the eigenvalues
    of the centred distances. As Box (1954) a sum of that kind is a single scaled chi-square with
    the same mean and variance.

    Args:
        x: Vectors of that distribution, shape (n, numbers), n > 1.

    Returns:
        The scale of that chi-square, to be multiplied by (1/n + 1/m), and its degrees of freedom.
    """
    between = -apart(x, x)
    means = between.mean(axis=0)
    centred = between - means[None, :] - means[:, None] + means.mean()
    total = float(np.trace(centred)) / len(x)
    squares = float((centred**2).sum()) / len(x) ** 2
    if total <= 0 or squares <= 0:
        return 0.0, 1.0
    return squares / total, total**2 / squares


def p_chi_square(value: float, freedom: float) -> float:
    """How likely a chi-square is greater than this (Wilson and Hilferty, 1931)."""
    if value <= 0:
        return 1.0
    spread = 2 / (9 * freedom)
    z = ((value / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(z / math.sqrt(2)) / 2


def least_chi_square(alpha: float, freedom: float) -> float:
    """The value from which `p_chi_square` is at most `alpha`."""
    low, high = 0.0, freedom + 60 * math.sqrt(freedom) + 2_000
    for _ in range(2 * _STEPS):
        middle = (low + high) / 2
        if p_chi_square(middle, freedom) > alpha:
            low = middle
        else:
            high = middle
    return high


def holm(p_values: Sequence[float], alpha: float) -> tuple[list[float], list[float]]:
    """Adjusted p-values and the level each is held against (Holm, 1979).

    The chance that any of them is wrongly called is at most `alpha`, whatever their dependence.

    Returns:
        Adjusted p-values, to be compared with `alpha`, and levels, to be compared with the
        p-values as they are; both in the order given.
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index])
    adjusted, levels = [1.0] * count, [alpha] * count
    greatest, level, going = 0.0, alpha, True
    for rank, index in enumerate(order):
        greatest = max(greatest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = greatest
        if going:
            level = alpha / (count - rank)
            going = p_values[index] <= level
        levels[index] = level
    return adjusted, levels


def population_variance(values: Floats) -> float | None:
    """Σ(x - mean)² / n; None of nothing."""
    return float(values.var()) if len(values) else None


def finite(value: Any) -> float | None:
    """A number as JSON can hold it, to six significant digits; None where it is none."""
    if value is None:
        return None
    found = float(value)
    return float(f"{found:.6g}") if math.isfinite(found) else None


def _divergence(a: float, p: float) -> float:
    """Kullback-Leibler divergence of two shares, in nats."""
    found = 0.0
    if a > 0:
        found += a * math.log(a / p)
    if a < 1:
        found += (1 - a) * math.log((1 - a) / (1 - p)) if p < 1 else math.inf
    return found
