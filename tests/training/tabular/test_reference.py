"""Statistics of the training rows, as drift will be measured against them."""

import msgspec
import numpy as np
from tests.training.tabular import builders

from andon.runtimes.rows import Feature, RowSchema
from andon.training.tabular import reference


def test_every_feature_is_described_by_its_kind() -> None:
    """Numbers by moments, quantiles and bins, categories by counts; all of it is JSON."""
    data = builders.made_up(rows=1000)
    p = np.tile([0.25, 0.75], (1000, 1))
    found = msgspec.json.decode(msgspec.json.encode(reference.describe(data.schema, data.x, p)))
    assert found["rows"] == 1000
    width, colour = found["features"]["width"], found["features"]["colour"]
    known = data.x[~np.isnan(data.x[:, 0]), 0]
    assert width["kind"] == "number"
    assert width["missing"] == 1000 - len(known)
    assert abs(width["mean"] - known.mean()) < 1e-5
    assert abs(width["quantiles"]["0.5"] - np.median(known)) < 1e-5
    assert len(width["edges"]) == 11
    assert sum(width["counts"]) == len(known)
    assert max(width["counts"]) - min(width["counts"]) < 5
    assert list(colour["counts"]) == ["red", "green", "blue"]
    assert sum(colour["counts"].values()) + colour["missing"] == 1000


def test_the_predictions_are_counted_by_tenths_and_by_class() -> None:
    """The probability of the positive class, and what the threshold makes of it."""
    data = builders.made_up(rows=4)
    yes = np.array([0.05, 0.55, 0.95, 1.0])
    schema = msgspec.structs.replace(data.schema, threshold=0.6)
    found = reference.describe(schema, data.x, np.stack([1 - yes, yes], axis=1))["prediction"]
    assert found["edges"] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert found["counts"] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert found["classes"] == {"0": 2, "1": 2}


def test_three_classes_are_counted_by_the_answered_one() -> None:
    """Its probability, and its name."""
    data = builders.made_up(rows=2, classes=3)
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = reference.describe(data.schema, data.x, p)["prediction"]
    assert found["classes"] == {"a": 1, "b": 0, "c": 1}
    assert sum(found["counts"]) == 2


def test_a_constant_and_an_empty_column_are_described_too() -> None:
    """One value makes one bin; nothing makes no figures."""
    schema = RowSchema(
        (Feature("same", "integer"), Feature("nothing", "number"), Feature("two", "number")),
        target="y",
        classes=(False, True),
        positive=1,
    )
    x = np.array([[7.0, np.nan, 0.0], [7.0, np.nan, 1.0]])
    found = reference.describe(schema, x, np.array([[0.4, 0.6], [0.6, 0.4]]))
    assert found["features"]["same"]["edges"] == [7.0, 7.0]
    assert found["features"]["same"]["counts"] == [2]
    assert found["features"]["nothing"] == {"kind": "number", "missing": 2}
    assert sum(found["features"]["two"]["counts"]) == 2
    assert found["prediction"]["classes"] == {"false": 1, "true": 1}
