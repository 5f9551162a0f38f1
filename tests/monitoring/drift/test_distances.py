"""Distances and bounds, against what books and libraries say of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from andon.monitoring.drift import distances

stats = pytest.importorskip("scipy.stats")

COUNTS = arrays(np.float64, 6, elements=st.integers(0, 50).map(float))


def test_the_distance_of_numbers_is_that_of_kolmogorov_and_smirnov():
    """From 200 bins it is SciPy's statistic of the raw values within 0.01."""
    random = np.random.default_rng(1)
    x, y = random.normal(0, 1, 4_000), random.normal(0.5, 1, 4_000)
    edges = np.quantile(x, np.linspace(0, 1, 200))
    found = distances.kolmogorov(distances.binned(x, edges), distances.binned(y, edges))
    assert found == pytest.approx(stats.ks_2samp(x, y).statistic, abs=0.01)


def test_the_effect_is_the_wasserstein_distance():
    """From 200 bins it is SciPy's distance of the raw values within 2 %."""
    random = np.random.default_rng(2)
    x, y = random.normal(0, 1, 4_000), random.normal(1.5, 2, 4_000)
    edges = np.linspace(x.min(), x.max(), 200)
    before, after = distances.binned(x, edges), distances.binned(y, edges)
    found = distances.wasserstein(before, after, edges, y)
    assert found == pytest.approx(stats.wasserstein_distance(x, y), rel=0.02)


def test_the_energy_distance_is_the_one_of_szekely_and_rizzo():
    """In one dimension SciPy gives its root."""
    random = np.random.default_rng(3)
    x, y = random.normal(0, 1, 300), random.normal(1, 1, 200)
    found, _ = distances.energy(x[:, None], y[:, None])
    assert math.sqrt(found) == pytest.approx(stats.energy_distance(x, y))


def test_chance_makes_of_the_energy_distance_what_is_said():
    """One in a hundred samples of the same distribution is beyond the one per cent level."""
    random = np.random.default_rng(4)
    pool = random.normal(size=(300, 5))
    scale, freedom = distances.energy_noise(pool)
    factor = scale * (1 / 100 + 1 / 300)
    beyond = 0
    for _ in range(300):
        energy, _ = distances.energy(random.normal(size=(100, 5)), random.normal(size=(300, 5)))
        beyond += distances.p_chi_square(energy / factor, freedom) < 0.01
    assert beyond <= 9


@pytest.mark.parametrize("freedom", [1.5, 4.0, 30.0])
def test_the_tail_of_chi_square_is_near_the_exact_one(freedom: float):
    """Within 35 % of SciPy's, and the least statistic is the inverse of the tail."""
    for value in (freedom, 1.5 * freedom, 2 * freedom):
        exact = stats.chi2.sf(value, freedom)
        assert distances.p_chi_square(value, freedom) == pytest.approx(exact, rel=0.35)
    least = distances.least_chi_square(0.001, freedom)
    assert distances.p_chi_square(least, freedom) == pytest.approx(0.001, rel=1e-6)


def test_the_bounds_hold_for_samples_of_the_reference():
    """Of 2,000 windows no more than the level are beyond it, for numbers and categories."""
    random = np.random.default_rng(5)
    edges = np.linspace(0, 1, 11)
    flat = np.concatenate([[0.0], np.full(10, 1e6), [0.0]])
    numbers = categories = 0
    for _ in range(2_000):
        window = distances.binned(random.random(100), edges)
        distance = distances.kolmogorov(flat, window)
        numbers += distances.p_distance(distance, 0.0, 100) <= 0.05
        distance = distances.total_variation(flat[1:5], random.multinomial(100, [0.25] * 4))
        sets = distances.sets_of(4)
        categories += distances.p_distance(distance, 0.0, 100, sets) <= 0.05
    assert numbers <= 100
    assert categories <= 100


def test_what_is_tolerated_is_no_drift():
    """However many values there are; just above it, many values are certain."""
    assert distances.p_distance(0.1, 0.1, 1e9) == 1.0
    assert distances.p_distance(0.11, 0.1, 1e9) < 1e-9
    assert distances.p_share(0.05, 0.05, 1e9) == 1.0


@given(
    st.floats(1e-9, 0.5), st.floats(0, 0.9), st.floats(1, 1e5), st.sampled_from([1.0, 2.0, 62.0])
)
def test_a_threshold_is_where_the_p_value_meets_its_level(
    alpha: float, tolerated: float, n: float, sets: float
):
    """For numbers and for shares, at any level, tolerance and count."""
    least = distances.least_distance(alpha, tolerated, n, sets)
    assert distances.p_distance(least + 1e-9, tolerated, n, sets) <= alpha * 1.001
    share = distances.least_share(alpha, tolerated, n)
    if math.isfinite(share):
        assert distances.p_share(share, tolerated, n) <= alpha * 1.001


def test_holm_is_as_in_the_paper():
    """Adjusted p-values and the level of each rank; no tests, no levels."""
    adjusted, levels = distances.holm([0.01, 0.04, 0.03, 0.005], 0.05)
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert levels == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])
    assert distances.holm([], 0.05) == ([], [])


@given(COUNTS, COUNTS)
def test_every_distance_is_between_nought_and_one(p: np.ndarray, q: np.ndarray):
    """And nought between a distribution and itself."""
    for distance in (distances.kolmogorov, distances.total_variation, distances.jensen_shannon):
        assert 0 <= distance(p, q) <= 1
        assert distance(p, p) == pytest.approx(0)


def test_neighbours_that_resemble_each_other_count_for_less():
    """A walk that stands still for four steps counts as a quarter of its values."""
    random = np.random.default_rng(6)
    walk = np.repeat(random.normal(size=50), 4)
    assert distances.independent(random.normal(size=200)) == pytest.approx(200, rel=0.35)
    assert 40 <= distances.independent(walk) <= 60
    assert distances.independent(np.zeros(20)) == 20


def test_values_at_the_ends_survive_the_rounding_of_the_reference():
    """A constant of ten digits is the same constant in a reference of six."""
    edges = np.array([0.123457, 0.123457])
    assert distances.binned(np.full(5, 0.1234567890), edges).tolist() == [0, 5, 0]
    assert distances.binned(np.array([0.1, 0.2]), edges).tolist() == [1, 0, 1]
