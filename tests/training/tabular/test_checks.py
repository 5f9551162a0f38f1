"""What is found in data before training, and that errors stop it."""

from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from andon.runtimes.rows import Feature
from andon.training.messages import DataReport, Finding
from andon.training.tabular import checks, schema
from andon.training.tabular.recipe import Recipe
from andon.training.tabular.table import Table

N = 200
RANDOM = np.random.default_rng(1)
Y = RANDOM.integers(0, 2, N)
NOISE = RANDOM.normal(0, 1, N)


def recipe(**changes: Any) -> Recipe:
    return Recipe(**({"name": "test", "title": "Test", "target": "y"} | changes))


def report(frame: pl.DataFrame, **changes: Any) -> DataReport:
    table = Table(frame=frame, origin="t.csv", digest="ab" * 32)
    asked = recipe(**changes)
    return checks.check(asked, table, schema.infer(asked, table))


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"y": Y, "noise": NOISE, **columns})


def found(result: DataReport, check: str) -> Finding:
    (finding,) = [finding for finding in result.findings if finding.check == check]
    return finding


def test_good_data_have_nothing_to_say() -> None:
    """No finding, and the classes counted."""
    result = report(frame())
    assert result.ok
    assert result.findings == ()
    assert result.classes == {"0": int((Y == 0).sum()), "1": int(Y.sum())}


def test_a_missing_target_lists_the_columns() -> None:
    """So that the right one can be named."""
    result = report(frame(), target="label")
    assert not result.ok
    assert "y, noise" in found(result, "target").hint


def test_amounts_are_refused_as_regression() -> None:
    """Andon trains classifiers, and says what to do."""
    result = report(frame().with_columns(y=pl.Series(NOISE * 100)))
    assert "looks like regression; Andon trains classifiers" in found(result, "regression").detail
    assert not result.ok


def test_texts_of_every_kind_are_no_classes() -> None:
    """The wrong column was named."""
    names = pl.Series([f"name {n}" for n in range(N)])
    assert found(report(frame().with_columns(y=names)), "classes").severity == "error"


@pytest.mark.parametrize("value", [1, None])
def test_one_class_or_none_is_an_error(value: int | None) -> None:
    """There is nothing to tell apart."""
    only = pl.Series([value] * N, dtype=pl.Int64)
    assert found(report(frame().with_columns(y=only)), "one-class").severity == "error"


def test_too_few_rows_are_an_error() -> None:
    """All in all, and of each class."""
    result = report(frame().head(12))
    assert not result.ok
    assert found(result, "rows").rows == 12
    few = frame().with_columns(y=pl.Series([1] * 3 + [0] * (N - 3)))
    assert found(report(few), "rows-per-class").rows == 3


def test_rows_without_a_target_are_left_out_with_a_warning() -> None:
    """The others can be trained on."""
    result = report(frame().with_columns(y=pl.Series([None, *Y[1:].tolist()])))
    assert result.ok
    assert found(result, "target-missing").rows == 1
    assert sum(result.classes.values()) == N - 1


def test_repeated_rows_are_told() -> None:
    """Counted again, or once where the recipe says so."""
    twice = pl.concat([frame(), frame().head(5)])
    assert found(report(twice), "duplicates").severity == "warning"
    once = report(twice, drop_duplicates=True)
    assert found(once, "duplicates").severity == "info"
    assert sum(once.classes.values()) == N


def test_values_outside_what_is_declared_are_errors() -> None:
    """Range, category, fractions and texts, each with the values and how many rows."""
    grade = ["a", "b"] * (N // 2 - 1) + ["c", "c"]
    declared = (
        Feature("size", "number", minimum=0, maximum=10, unit="mm"),
        Feature("grade", "category", categories=("a", "b")),
        Feature("count", "integer"),
        Feature("weight", "number"),
        Feature("level", "category", categories=(1, 2)),
    )
    result = report(
        frame(
            size=[5.0] * (N - 2) + [-3.0, 11.0],
            grade=grade,
            count=[1.0, 2.0] * (N // 2 - 1) + [1.5, 2.0],
            weight=["1.5"] * (N - 1) + ["heavy"],
            level=[1, 2] * (N // 2 - 1) + [3, 1],
        ),
        features=declared,
    )
    by_column = {finding.column: finding for finding in result.findings if finding.rows}
    assert "0 to 10 mm" in by_column["size"].detail
    assert {name: (finding.check, finding.severity) for name, finding in by_column.items()} == {
        "size": ("range", "error"),
        "grade": ("category", "error"),
        "count": ("type", "error"),
        "weight": ("type", "error"),
        "level": ("category", "error"),
    }
    assert by_column["grade"].rows == 2
    assert "'heavy'" in by_column["weight"].detail


def test_a_declared_column_that_is_not_there_is_an_error() -> None:
    """So is a group; a slice is a warning."""
    result = report(
        frame(),
        features=(Feature("size", "number"),),
        group="batch",
        slices={"shift": "shift"},
    )
    missing = {f.column: f.severity for f in result.findings if f.check == "missing-column"}
    assert missing == {"size": "error", "batch": "error", "shift": "warning"}


@pytest.mark.parametrize(
    "leak",
    [
        Y.tolist(),
        (-3.0 * Y).tolist(),
        (Y + 0.3 * np.tanh(NOISE)).tolist(),
        [f"grade {value}" for value in Y],
        [["good", "fine"][n % 2] if value == 0 else "bad" for n, value in enumerate(Y)],
        [None if value else 0.5 for value in Y],
    ],
    ids=["copy", "scaled", "close", "text", "determined", "missing"],
)
def test_a_column_that_gives_the_answer_away_is_an_error(leak: list[Any]) -> None:
    """A copy, anything that orders or determines the classes, or is missing with one of them."""
    result = report(frame(code=leak))
    assert not result.ok
    assert found(result, "leakage").column == "code"
    trusted = report(frame(code=leak), trusted=("code",))
    assert trusted.ok
    assert found(trusted, "leakage").severity == "warning"
    assert report(frame(code=leak), drop=("code",)).ok


def test_a_leak_of_three_classes_is_found() -> None:
    """By the share of rows that the column decides."""
    three = RANDOM.integers(0, 3, N)
    data = pl.DataFrame({"y": three, "noise": NOISE, "code": three * 2.0 + 1})
    assert found(report(data), "leakage").column == "code"
    assert report(data.drop("code")).ok


def test_a_strong_feature_is_no_leak() -> None:
    """Good columns are what training is about."""
    strong = Y + RANDOM.normal(0, 0.5, N)
    assert report(frame(strong=strong)).findings == ()


def test_a_rare_class_alone_is_no_leak() -> None:
    """Where nearly all rows are of one class, every column decides nearly all of them."""
    rare = pl.Series([1] * 10 + [0] * 4990)
    data = pl.DataFrame(
        {
            "y": rare,
            "noise": RANDOM.normal(0, 1, 5000),
            "word": RANDOM.choice(["a", "b", "c"], 5000),
        }
    )
    assert report(data).findings == ()


def test_a_column_called_like_the_target_is_a_warning() -> None:
    """It may be made from it."""
    data = frame(outcome_code=NOISE + 1).rename({"y": "outcome"})
    assert found(report(data, target="outcome"), "target-name").column == "outcome_code"


def test_missing_and_constant_columns_are_told() -> None:
    """A few are worth a word, most a warning."""
    some = pl.Series([None] * 3 + NOISE[3:].tolist())
    most = pl.Series([None] * 150 + NOISE[150:].tolist())
    result = report(
        frame(some=some, most=most, same=[1.0] * N), features=(Feature("same", "number"),)
    )
    assert {(f.check, f.severity, f.column) for f in result.findings} == {
        ("missing", "info", "some"),
        ("missing", "warning", "most"),
        ("constant", "warning", "same"),
    }


def test_a_slice_of_too_many_parts_is_left_out() -> None:
    """Nobody would look at two hundred figures."""
    result = report(frame(), slices={"noise": "noise"})
    assert result.ok
    assert "edges" in found(result, "parts").hint


def test_nothing_to_learn_from_is_an_error() -> None:
    """Every column was left out."""
    result = report(pl.DataFrame({"y": Y, "row": range(N)}))
    assert found(result, "features").severity == "error"


def test_the_report_can_be_read_and_sent() -> None:
    """Errors first, each with its hint; and as JSON there and back."""
    result = report(frame(code=Y.tolist(), same=[1] * N))
    text = checks.render(result)
    assert text.index("error   leakage") < text.index("warning constant")
    assert "Classes: 0: " in text
    assert "Leave it out: --drop code, or `drop` in a recipe" in text
    assert text.endswith("1 error, 1 warning: cannot be trained on.")
    assert msgspec.json.decode(msgspec.json.encode(result), type=DataReport) == result
