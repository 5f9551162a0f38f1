"""What a model's file says of its training data: of the right shape and size, or refused."""

import json
from importlib import resources

import onnxruntime
import pytest

from andon.errors import ModelRejected
from andon.runtimes.row_card import read_reference
from andon.runtimes.rows import REFERENCE_KEY

NUMBER = {"kind": "number", "counts": [1, 2], "edges": [0.0, 1.0, 2.0], "missing": 0}


def read(reference):
    """As the file of a model says it."""
    return read_reference({"r": json.dumps(reference)}, "r")


def test_what_andon_writes_is_read_as_it_is():
    """Of the model that is shipped; a file that says nothing has none."""
    shipped = resources.files("andon.starter").joinpath("drill.onnx").read_bytes()
    entries = onnxruntime.InferenceSession(shipped).get_modelmeta().custom_metadata_map
    assert read_reference(entries, REFERENCE_KEY) == json.loads(entries[REFERENCE_KEY])
    assert read_reference({}, REFERENCE_KEY) is None
    assert read({"features": {"a": {"kind": "number", "missing": 9}}, "more": [1]})


def test_whole_numbers_are_a_kind_of_their_own():
    """As the recipe for heart disease writes them."""
    assert read({"features": {"age": NUMBER | {"kind": "integer"}}})


@pytest.mark.parametrize(
    "feature",
    [
        None, 1, [], "x",
        {"kind": "together"},
        NUMBER | {"counts": {"a": 1}},
        NUMBER | {"counts": [1, -1]},
        NUMBER | {"counts": [1, "2"]},
        NUMBER | {"counts": [1]},
        NUMBER | {"edges": [2.0, 1.0, 0.0]},
        NUMBER | {"edges": None},
        NUMBER | {"edges": [0, 1, 1e308]},
        NUMBER | {"std": -1.0},
        NUMBER | {"mean": [0]},
        NUMBER | {"missing": 10**400},
        NUMBER | {"missing": None},
        NUMBER | {"quantiles": {"0.5": {}}},
        NUMBER | {"counts": [1] * 1001, "edges": list(range(1002))},
        {"kind": "category", "counts": [1, 2]},
        {"kind": "category", "counts": {"a": 1e308}},
        {"kind": "category", "counts": {str(n): 1 for n in range(10_001)}},
    ],
)  # fmt: skip
def test_another_shape_is_refused(feature):
    """Drift is looked for in it every minute, and every look would fail."""
    with pytest.raises(ModelRejected, match=r"reference for drift|no JSON"):
        read({"rows": 9, "features": {"a": feature}})


@pytest.mark.parametrize(
    "reference",
    [
        {"rows": "x"},
        {"rows": -1},
        {"features": [NUMBER]},
        {"features": {str(number): NUMBER for number in range(2001)}},
        {"prediction": {"counts": [1], "edges": [0]}},
        {"prediction": {"classes": {"a": None}}},
        {"more": "x" * 5_000_000},
    ],
)
def test_so_is_one_that_is_too_much(reference):
    """The whole of it, as the features."""
    with pytest.raises(ModelRejected):
        read(reference)
