"""Rows as arrays: codes, missing values, groups, slices and keys."""

from typing import Any

import numpy as np
import polars as pl

from andon.runtimes.rows import Feature
from andon.training.tabular import prepared, schema
from andon.training.tabular.prepared import Prepared
from andon.training.tabular.recipe import Recipe, SliceRule
from andon.training.tabular.table import Table

FEATURES = (
    Feature("size", "number"),
    Feature("level", "category", categories=(1, 2, 3), labels=("low", "mid", "high")),
    Feature("new", "category", categories=(False, True)),
)
FRAME = pl.DataFrame(
    {
        "y": ["no", "yes", "no", "yes", None],
        "size": [0.1, None, 3.0, 1e300, 5.0],
        "level": [1.0, 3.0, None, 2.0, 1.0],
        "new": [True, False, None, True, True],
        "who": ["b", "a", "b", None, "c"],
        "age": [20, 45, 70, None, 30],
    }
)


def prepare(frame: pl.DataFrame = FRAME, **changes: Any) -> Prepared:
    given: dict[str, Any] = {
        "name": "test",
        "title": "Test",
        "target": "y",
        "features": FEATURES,
        "drop": ("who", "age"),
    }
    recipe = Recipe(**(given | changes))
    table = Table(frame=frame, origin="t.csv", digest="ab", synthetic=True, notes=("made up",))
    return prepared.prepare(recipe, table, schema.infer(recipe, table))


def test_rows_become_numbers() -> None:
    """Categories are codes, missing is NaN, and so is what float32 cannot hold."""
    ready = prepare()
    nan = np.nan
    expected = [[np.float32(0.1), 0, 1], [nan, 2, 0], [3, nan, nan], [nan, 1, 1]]
    np.testing.assert_array_equal(ready.x, expected)
    assert ready.x.dtype == np.float64
    np.testing.assert_array_equal(ready.x.astype(np.float32).astype(np.float64), ready.x)
    assert ready.y.tolist() == [0, 1, 0, 1]
    assert ready.y.dtype == np.int64


def test_where_rows_came_from_stays_with_them() -> None:
    """For the report and the card."""
    ready = prepare()
    assert (ready.origin, ready.digest, ready.synthetic, ready.notes) == (
        "t.csv",
        "ab",
        True,
        ("made up",),
    )
    assert ready.groups is None


def test_rows_of_one_group_share_their_number_and_key() -> None:
    """So they stand on one side of every split; those of nobody are one group too."""
    ready = prepare(group="who")
    assert ready.groups is not None
    assert ready.groups[0] == ready.groups[2]
    assert len(set(ready.groups.tolist())) == 3
    assert ready.keys[0] == ready.keys[2]
    assert len(set(ready.keys)) == 3


def test_slices_have_names_for_people() -> None:
    """Labels of categories, ranges of numbers, and a part for what is not known."""
    ready = prepare(
        slices={"level": "level", "who": "who", "age": SliceRule("age", (40, 65)), "no": "gone"}
    )
    assert {name: values.tolist() for name, values in ready.slices.items()} == {
        "level": ["low", "high", "unknown", "mid"],
        "who": ["b", "a", "b", "unknown"],
        "age": ["under 40", "40 to 65", "65 and over", "unknown"],
    }


def test_keys_are_of_content_alone() -> None:
    """More rows, other columns' order, new categories, whole numbers or not: the same keys."""
    keys = prepare().keys
    assert len(set(keys)) == 4
    more = FRAME.vstack(FRAME.with_columns(size=pl.lit(9.5)))
    assert prepare(more).keys[:4] == keys
    assert prepare(FRAME.select(reversed(FRAME.columns))).keys == keys
    wider = (*FEATURES[:1], Feature("level", "category", categories=(0, 1, 2, 3)), *FEATURES[2:])
    assert prepare(features=wider).keys == keys
    assert prepare(FRAME.with_columns(pl.col("level").cast(pl.Int64))).keys == keys


def test_another_recipe_has_other_keys() -> None:
    """Two models are not held out on the same rows by accident."""
    assert not set(prepare().keys) & set(prepare(name="other").keys)


def test_a_repeated_row_counts_once_where_the_recipe_says_so() -> None:
    """Otherwise it has the same key, and so stands on the same side."""
    twice = FRAME.vstack(FRAME)
    assert len(prepare(twice).keys) == 8
    assert len(set(prepare(twice).keys)) == 4
    assert len(prepare(twice, drop_duplicates=True).keys) == 4
