"""What columns are: kinds, categories, classes, and what is left out."""

import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.runtimes.rows import Feature
from andon.training.tabular import prepared, schema
from andon.training.tabular.recipe import Recipe
from andon.training.tabular.table import Table

N = 40


def table(**columns: Any) -> Table:
    frame = pl.DataFrame({"y": [0, 1] * (N // 2), **columns})
    return Table(frame=frame, origin="test", digest="0" * 64)


def recipe(**changes: Any) -> Recipe:
    return Recipe(**({"name": "test", "title": "Test", "target": "y"} | changes))


def test_kinds_are_found_in_the_data() -> None:
    """Numbers, whole numbers, texts and booleans, with what a typical row holds."""
    found = schema.infer(
        recipe(),
        table(
            size=[0.5 * (n % 7) for n in range(N)],
            count=[n % 5 for n in range(N)],
            colour=["red", "blue", "red", None] * (N // 4),
            new=[True, False, True, True] * (N // 4),
        ),
    )
    size, count, colour, new = found.features
    assert (size.kind, size.nullable, size.typical) == ("number", False, 1.5)
    assert (count.kind, count.typical) == ("integer", 2)
    assert (colour.kind, colour.categories) == ("category", ("blue", "red"))
    assert (colour.nullable, colour.typical) == (True, "red")
    assert (new.kind, new.categories, new.typical) == ("category", (False, True), True)
    assert (found.classes, found.positive) == ((0, 1), 1)


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ([None] * N, "all-missing"),
        ([3] * N, "constant"),
        (list(range(N)), "identifier"),
        ([f"P-{n:04}" for n in range(N)], "identifier"),
        ([f"A long story about case {n}, of which there is a lot to tell, {n}." for n in range(N)],
         "free-text"),
        ([f"2024-03-{n % 28 + 1:02}" for n in range(N)], "date"),
        ([f"{n % 28 + 1}.3.2024" for n in range(N)], "date"),
    ],
)  # fmt: skip
def test_what_can_teach_nothing_is_left_out(values: list[Any], check: str) -> None:
    """And the reason is told."""
    (column,) = schema.examine(recipe(), table(x=values))
    assert column.feature is None
    assert column.finding is not None
    assert (column.finding.check, column.finding.column) == (check, "x")


def test_too_many_texts_are_no_category_unless_declared() -> None:
    """A hundred towns are left out; declared, they are a feature."""
    towns = table().frame.clear()
    many = [f"town {n % 70}" for n in range(280)]
    towns = pl.DataFrame({"y": [0, 1] * 140, "town": many})
    data = Table(frame=towns, origin="test", digest="")
    (left,) = schema.examine(recipe(), data)
    assert left.finding is not None
    assert left.finding.check == "free-text"
    declared = recipe(features=(Feature("town", "category"),))
    (feature,) = schema.infer(declared, data).features
    assert len(feature.categories) == 70


def test_a_declaration_stands_before_the_data() -> None:
    """Kind, range, unit and order are the recipe's; what is missing is seen."""
    declared = Feature("level", "category", categories=(1, 2, 3), labels=("low", "mid", "high"))
    found = schema.infer(
        recipe(features=(declared,), drop=("secret",), group="who"),
        table(
            size=[0.5 * n for n in range(N)],
            secret=[n % 2 for n in range(N)],
            who=[f"p{n % 4}" for n in range(N)],
            level=[1, 2, 2, None] * (N // 4),
        ),
    )
    assert [feature.name for feature in found.features] == ["level", "size"]
    level = found.features[0]
    assert (level.categories, level.nullable, level.typical) == ((1, 2, 3), True, 2)


@pytest.mark.parametrize(
    ("values", "classes", "positive"),
    [
        ([0.0, 1.0], (0, 1), 1),
        ([1, 2], (1, 2), 0),
        ([False, True], (False, True), 1),
        (["no", "yes"], ("no", "yes"), 1),
        (["a", "b", "c"], ("a", "b", "c"), None),
    ],
)
def test_classes_keep_their_values(
    values: list[Any], classes: tuple[Any, ...], positive: int | None
) -> None:
    """In order; the positive one is 1 or true, else the last."""
    frame = pl.DataFrame({"y": values * 4, "x": [0.5, 1.5] * (2 * len(values))})
    found = schema.infer(recipe(), Table(frame=frame, origin="", digest=""))
    assert found.classes == classes
    assert [type(value) for value in found.classes] == [type(value) for value in classes]
    assert found.positive == positive


def test_the_positive_class_may_be_named() -> None:
    """By its value, or by its text."""
    frame = pl.DataFrame({"y": ["sick", "well"] * 5, "x": [0.5, 1.5] * 5})
    data = Table(frame=frame, origin="", digest="")
    assert schema.infer(recipe(positive="sick"), data).positive == 0
    assert schema.infer(recipe(positive="ill"), data).positive is None


def test_class_labels_stand_in_the_order_of_the_classes() -> None:
    """A class without a label is its own text."""
    found = schema.infer(recipe(class_labels={"1": "sick"}), table())
    assert found.class_labels == ("0", "sick")


_VALUE = st.none() | st.sampled_from(["a", "b", "c d", "ä"])
_ROWS = st.lists(
    st.tuples(
        st.integers(0, 1), st.none() | st.integers(-9, 9), st.none() | st.floats(-5, 5), _VALUE
    ),
    min_size=4,
    max_size=40,
)


def _frame(rows: list[tuple[Any, ...]]) -> Table:
    kinds = {"y": pl.Int64, "whole": pl.Int64, "number": pl.Float64, "word": pl.String}
    return Table(frame=pl.DataFrame(rows, schema=kinds, orient="row"), origin="", digest="")


@settings(max_examples=60, deadline=None)
@given(rows=_ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_changes_nothing(rows: list[tuple[Any, ...]], seed: int) -> None:
    """The same schema, and the same key for the same row."""
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    one, other = _frame(rows), _frame(shuffled)
    first, second = schema.infer(recipe(), one), schema.infer(recipe(), other)
    assert first == second
    if first.classes != (0, 1):
        return
    a, b = (prepared.prepare(recipe(), data, first) for data in (one, other))
    assert dict(zip(rows, a.keys, strict=True)) == dict(zip(shuffled, b.keys, strict=True))


@settings(max_examples=60, deadline=None)
@given(rows=_ROWS)
def test_values_survive_being_codes(rows: list[tuple[Any, ...]]) -> None:
    """Every code leads back to the value that stood in the row; missing is NaN."""
    data = _frame(rows)
    found = schema.infer(recipe(), data)
    if found.classes != (0, 1):
        return
    ready = prepared.prepare(recipe(), data, found)
    for column, feature in enumerate(found.features):
        for code, value in zip(ready.x[:, column], data.frame[feature.name], strict=True):
            if value is None:
                assert code != code  # noqa: PLR0124 - NaN is not itself
            elif feature.kind == "category":
                assert feature.categories[int(code)] == value
            else:
                assert code == pytest.approx(value, rel=1e-6, abs=1e-30)
    assert [found.classes[index] for index in ready.y] == data.frame["y"].to_list()
