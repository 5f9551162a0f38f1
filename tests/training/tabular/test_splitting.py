"""Which rows are held out, and folds."""

import numpy as np
import pytest
from tests.training.tabular import builders

from andon.errors import UnusableUpload
from andon.training.tabular import splitting


def test_the_share_is_held_out_of_every_class() -> None:
    """A rare class gives its part too."""
    y = np.array([0] * 200 + [1] * 20)
    held = splitting.hold_out([builders.key(n) for n in range(220)], y, 0.2)
    assert held.mask[:200].sum() == 40
    assert held.mask[200:].sum() == 4


def test_the_same_rows_are_held_out_in_any_order() -> None:
    """What counts is the key."""
    keys = [builders.key(n) for n in range(100)]
    y = np.arange(100) % 2
    held = splitting.hold_out(keys, y, 0.2).mask
    turned = splitting.hold_out(keys[::-1], y[::-1], 0.2).mask
    assert (held == turned[::-1]).all()


def test_new_rows_hardly_move_who_is_held_out() -> None:
    """The limit in hash space stays near the share, so next week's rows are the same ones."""
    keys = [builders.key(n) for n in range(2000)]
    y = np.arange(2000) % 2
    before = splitting.hold_out(keys[:1000], y[:1000], 0.2)
    after = splitting.hold_out(keys, y, 0.2)
    assert (before.mask != after.mask[:1000]).sum() < 50
    # And which ones moved can be told from the limits that were kept.
    both = (before.position <= np.minimum(before.limits, after.limits)[y[:1000]]).sum()
    assert both == (before.mask & after.mask[:1000]).sum()


def test_rows_that_are_alike_stay_on_one_side() -> None:
    """A copy of a row among the held-out ones would be known already."""
    keys = [builders.key(n // 2) for n in range(200)]
    held = splitting.hold_out(keys, np.arange(200) // 2 % 2, 0.2).mask
    assert (held[::2] == held[1::2]).all()


def test_a_group_is_held_out_as_a_whole() -> None:
    """The rows of one subject never stand on both sides."""
    data = builders.made_up(groups=20)
    held = splitting.hold_out(data.keys, data.y, 0.2, grouped=True).mask
    assert data.groups is not None
    assert not set(data.groups[held]) & set(data.groups[~held])
    assert 0.1 < held.mean() < 0.35
    for learned, checked in splitting.folds(data.y, data.groups, 5, 0):
        assert not set(data.groups[learned]) & set(data.groups[checked])


def test_both_sides_know_every_class_of_few_rows() -> None:
    """With two rows of a class one is learned and one is checked."""
    y = np.array([0] * 40 + [1, 1])
    held = splitting.hold_out([builders.key(n) for n in range(42)], y, 0.2).mask
    assert held[40:].sum() == 1


@pytest.mark.parametrize("keys", [["a"] * 10 + ["b"], ["a"] * 5 + ["b"] * 6])
def test_a_class_that_cannot_be_divided_is_refused(keys: list[str]) -> None:
    """A single row cannot be both learned and checked, and says so."""
    with pytest.raises(UnusableUpload, match="both learned and checked"):
        splitting.hold_out(keys, np.array([0] * 10 + [1]), 0.2)


def test_a_rare_class_makes_fewer_folds() -> None:
    """Three rows of a class make three folds, a single one none."""
    y = np.array([0] * 30 + [1] * 3)
    assert len(splitting.folds(y, None, 5, 0)) == 3
    with pytest.raises(UnusableUpload, match="cross-validate"):
        splitting.folds(y[:31], None, 5, 0)


def test_a_sample_keeps_the_shares_of_the_classes() -> None:
    """A tenth of the rows has a tenth of each class; few rows are all taken."""
    y = np.array([0] * 900 + [1] * 100)
    chosen = splitting.sample(y, 100, 0)
    assert len(chosen) == 100
    assert y[chosen].sum() == 10
    assert len(splitting.sample(y, 5000, 0)) == 1000
