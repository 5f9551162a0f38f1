"""Shares of yes-or-no answers, with bounds that hold however often one looks.

A 95 % interval that is computed again after every answer misses the truth sooner or later. A
*confidence sequence* does not: with probability 1 - alpha it holds the truth at every look, so one
may look always and stop when one has seen enough.

For answers x in [0, 1] with running mean p of their true rates, and any fixed tilt t,
exp(t·sum(x) - n·log(1 - p + p·e^t)) is a supermartingale that starts at 1, because
e^(tx) <= 1 - x + x·e^t and the logarithm is concave (the sub-Bernoulli process of Howard, Ramdas,
McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of
Statistics 2021; it is a bet against p with a fixed stake, as in Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS-B 2024). So is a mixture of them
over a fixed grid of tilts. By Ville's inequality it reaches 1/alpha with probability at most alpha:
the p at which it has not are a confidence sequence. It rests on two numbers, n and the sum, in
whatever order they came, and on no rate that stays the same: nights may differ from days.

Of two versions that answer side by side the product of both is such a process again, whichever
answered which request. Its level set is convex; its shadow is the interval of the difference. The
tables here bound the level sets from outside, so rounding never makes an interval too short.
"""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SIDE = np.geomspace(0.006, 6.0, 18)
# With the tilt 0 a part of the stake is never bet, so no share's evidence falls below its weight.
_TILTS: Final[Floats] = np.concatenate([-_SIDE[::-1], [0.0], _SIDE])
_GROWTH: Final[Floats] = np.expm1(_TILTS)
_LOG_WEIGHT: Final = -math.log(len(_TILTS))

# Points of a table on each side of the observed share.
_POINTS = 192
_STEPS = np.linspace(0.0, 1.0, _POINTS)
_HALVINGS = 0.5 ** np.arange(32)


class Count(msgspec.Struct, frozen=True):
    """Yes-or-no answers.

    Attributes:
        total: How many.
        hits: How many of them were "yes".
    """

    total: int = 0
    hits: int = 0

    @property
    def share(self) -> float | None:
        """Observed share, or None without answers."""
        return self.hits / self.total if self.total else None

    def __add__(self, other: "Count") -> "Count":
        return Count(self.total + other.total, self.hits + other.hits)

    def times(self, factor: float) -> "Count":
        """So many more answers of the same kind, for looking ahead."""
        total = round(self.total * factor)
        return Count(total, min(total, round(self.hits * factor)))


def evidence(count: Count, shares: Floats) -> Floats:
    """Logarithm of what a bet against each share has won. Convex in the share.

    Args:
        count: What was seen.
        shares: 0 to 1.

    Returns:
        As many numbers. The true share's exceeds log(1/alpha) at any time with probability at most
        alpha.
    """
    won = count.hits * _TILTS - count.total * np.log1p(np.multiply.outer(shares, _GROWTH))
    top = won.max(axis=-1)
    found: Floats = top + np.log(np.exp(won - top[..., None]).sum(axis=-1)) + _LOG_WEIGHT
    return found


def share_bounds(count: Count, alpha: float) -> tuple[float, float]:
    """A confidence sequence of a share.

    Args:
        count: What was seen.
        alpha: Chance of ever being wrong.

    Returns:
        Low and high, 0 to 1; the whole range without answers.
    """
    shares, won, middle = _table(count, math.log(1 / alpha))
    inside = won < math.log(1 / alpha)
    # The first points outside.
    low = int(np.argmax(inside[: middle + 1]))
    high = len(shares) - 1 - int(np.argmax(inside[middle:][::-1]))
    return float(shares[max(0, low - 1)]), float(shares[min(len(shares) - 1, high + 1)])


def difference_bounds(base: Count, other: Count, alpha: float) -> tuple[float, float]:
    """A confidence sequence of how much greater the share of `other` is than that of `base`.

    Args:
        base: What was seen of the one.
        other: What was seen of the other one.
        alpha: Chance of ever being wrong.

    Returns:
        Low and high, -1 to 1; the whole range where both have no answers.
    """
    limit = math.log(1 / alpha)
    # No evidence is less than the weight of what is never bet: neither table need reach further.
    slack = limit - _LOG_WEIGHT
    base_shares, base_won, _ = _table(base, slack)
    shares, won, middle = _table(other, slack)
    # To the next point of the base's table, on each side.
    down = np.diff(base_shares, prepend=base_shares[0])
    up = np.diff(base_shares, append=base_shares[-1])
    room = limit - base_won
    # Between two points the least evidence may be less than at any: by so much, as it is convex.
    beside = won[max(0, middle - 1) : middle + 2]
    possible = room > 2 * won[middle] - beside.max()
    room, base_shares, down, up = (
        room[possible],
        base_shares[possible],
        down[possible],
        up[possible],
    )
    # The evidence falls to the middle and rises behind it: the first point beyond the room.
    right = middle + np.maximum(1, np.searchsorted(won[middle:], room))
    left = middle - np.maximum(1, np.searchsorted(won[: middle + 1][::-1], room))
    high = shares[np.minimum(right, len(shares) - 1)] - base_shares + down
    low = shares[np.maximum(left, 0)] - base_shares - up
    return max(-1.0, float(low.min())), min(1.0, float(high.max()))


def _table(count: Count, limit: float) -> tuple[Floats, Floats, int]:
    """Shares around the observed one, as far as the evidence stays below `limit`.

    Returns:
        Shares (rising), the evidence against each, and the place where that is least.
    """
    centre = count.share if count.total else 0.5
    assert centre is not None
    reach = []
    for room, sign in ((centre, -1.0), (1 - centre, 1.0)):
        distances = room * _HALVINGS
        beyond = evidence(count, np.clip(centre + sign * distances, 0.0, 1.0)) > limit
        # From far to near: the nearest one that is beyond.
        reach.append(float(distances[np.flatnonzero(beyond)[-1]]) if beyond.any() else room)
    shares = np.concatenate(
        [centre - reach[0] * _STEPS[::-1], (centre + reach[1] * _STEPS)[1:]]
    ).clip(0.0, 1.0)
    won = evidence(count, shares)
    return shares, won, int(won.argmin())
