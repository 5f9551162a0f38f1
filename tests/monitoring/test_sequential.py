"""Confidence sequences: right whatever is counted, and right at all looks at once."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.monitoring import sequential
from andon.monitoring.sequential import Count, difference_bounds, evidence, share_bounds

ALPHA = 0.0125


@st.composite
def counts(draw: st.DrawFn) -> Count:
    """Any count, small ones and extreme ones among them."""
    total = draw(st.one_of(st.integers(0, 40), st.integers(0, 200_000)))
    return Count(total, draw(st.one_of(st.integers(0, total), st.sampled_from([0, total]))))


@given(counts())
def test_the_bounds_of_a_share_enclose_what_was_seen(count: Count):
    """And never leave the range of a share."""
    low, high = share_bounds(count, ALPHA)
    assert 0 <= low <= (count.share if count.total else 0.5) <= high <= 1


@given(counts())
def test_no_share_inside_its_evidence_is_cut_off(count: Count):
    """The bounds lie outside of the level set: rounding never makes them too short."""
    low, high = share_bounds(count, ALPHA)
    shares = np.linspace(0, 1, 501)
    inside = shares[evidence(count, shares) < math.log(1 / ALPHA)]
    if len(inside):
        assert low <= inside[0]
        assert inside[-1] <= high


@given(counts(), counts())
def test_no_difference_inside_its_evidence_is_cut_off(base: Count, other: Count):
    """The same for two shares: every pair that was not bet away has its difference inside."""
    low, high = difference_bounds(base, other, ALPHA)
    shares = np.linspace(0, 1, 201)
    won = evidence(base, shares)[:, None] + evidence(other, shares)[None, :]
    left, right = np.nonzero(won < math.log(1 / ALPHA))
    assert -1 <= low <= high <= 1
    if len(left):
        differences = shares[right] - shares[left]
        assert low <= differences.min() + 1e-9
        assert differences.max() - 1e-9 <= high


@given(counts(), counts())
def test_the_difference_turns_round_with_its_sides(base: Count, other: Count):
    """Which side is called the base makes no difference beyond the tables' grid."""
    low, high = difference_bounds(base, other, ALPHA)
    turned = difference_bounds(other, base, ALPHA)
    width = high - low
    assert turned[0] == pytest.approx(-high, abs=0.03 * width + 1e-9)
    assert turned[1] == pytest.approx(-low, abs=0.03 * width + 1e-9)


def test_without_answers_everything_is_possible():
    """Silence says nothing."""
    assert difference_bounds(Count(), Count(), ALPHA) == (-1.0, 1.0)
    assert share_bounds(Count(), ALPHA) == (0.0, 1.0)


def test_twice_the_answers_say_more():
    """Bounds shrink with evidence."""
    one = difference_bounds(Count(1000, 100), Count(1000, 110), ALPHA)
    two = difference_bounds(Count(4000, 400), Count(4000, 440), ALPHA)
    assert two[1] - two[0] < 0.7 * (one[1] - one[0])


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_the_truth_is_hardly_ever_left_out_at_any_of_a_thousand_looks(share: float):
    """Two versions that are alike, 400 times, looked at after every 10 of 10,000 answers.

    The true pair is out at any look in fewer runs than promised.
    """
    random = np.random.default_rng(20)
    runs, looks = 400, 1000
    candidate = random.random((runs, looks * 10)) < 0.1
    hits = random.random((runs, looks * 10)) < share
    missed = 0
    for run in range(runs):
        mine, theirs = ~candidate[run], candidate[run]
        won = np.zeros(looks)
        for side in (mine, theirs):
            totals = side.cumsum()[9::10]
            yes = (side & hits[run]).cumsum()[9::10]
            won += _evidence_at(totals, yes, share)
        missed += bool((won >= math.log(1 / ALPHA)).any())
    assert missed / runs <= ALPHA


def test_nor_where_the_share_goes_up_and_down_with_the_day():
    """What is bounded is the mean of the shares so far; they need not stand still."""
    random = np.random.default_rng(21)
    rates = 0.15 + 0.14 * np.sin(np.arange(6000) / 300)
    means = rates.cumsum() / np.arange(1, 6001)
    missed = 0
    for _ in range(300):
        yes = (random.random(6000) < rates).cumsum()[9::10]
        won = _evidence_at(np.arange(10, 6001, 10), yes, means[9::10])
        missed += bool((won >= math.log(1 / ALPHA)).any())
    assert missed / 300 <= ALPHA


def _evidence_at(totals: np.ndarray, yes: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """`evidence` of many counts at once, each at its own share."""
    shares = np.broadcast_to(share, totals.shape)
    won = yes[:, None] * sequential._TILTS - totals[:, None] * np.log1p(
        shares[:, None] * sequential._GROWTH
    )
    top = won.max(axis=1)
    return top + np.log(np.exp(won - top[:, None]).sum(axis=1)) + sequential._LOG_WEIGHT
