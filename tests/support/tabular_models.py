"""Tiny real tabular ONNX models: logistic functions of a few fields, built node by node.

`heart` looks like the file that a training leaves: schema, card and reference inside. Its
probability of disease grows with age and oldpeak, falls with thalach, and a missing ca counts
as 0. `variant` moves it, so that two files are two versions.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from andon.runtimes.rows import CARD_KEY, REFERENCE_KEY, SCHEMA_KEY, Feature, RowSchema

ROW = {"age": 54, "sex": 1, "thalach": 150, "oldpeak": 1.0, "ca": 0, "thal": "normal"}
"""A row that `heart` takes."""

HEART = RowSchema(
    features=(
        Feature("age", "integer", 18, 110, typical=55, unit="years"),
        Feature("sex", "category", categories=(0, 1), labels=("female", "male"), typical=1),
        Feature("thalach", "number", 50, 250, typical=150),
        Feature("oldpeak", "number", 0, 10, typical=0.8),
        Feature("ca", "integer", 0, 3, nullable=True, typical=0),
        Feature("thal", "category", categories=("normal", "fixed", "reversible"), typical="normal"),
    ),
    target="num",
    classes=(0, 1),
    class_labels=("no disease", "disease"),
    positive=1,
    threshold=0.4,
)
CARD = {"algorithm": "logistic-regression", "held_out": {"metrics": {"f1": {"value": 0.83}}}}
REFERENCE = {"rows": 303, "features": {}, "prediction": {}}

_WEIGHTS = (0.05, 0.7, -0.03, 0.6, 0.9, 0.8)
_BIAS = 0.2


def probability(*values: float, variant: float = 0.0) -> float:
    """What `heart` answers to encoded values (missing: NaN): of disease."""
    found = sum(w * (0.0 if v != v else v) for w, v in zip(_WEIGHTS, values, strict=True))  # noqa: PLR0124
    return float(1 / (1 + np.exp(-(found + _BIAS + variant))))


def heart(path: Path, *, variant: float = 0.0, schema: RowSchema = HEART, **given: Any) -> Path:
    """A yes-or-no model of six fields, with everything that a training writes into it."""
    metadata = {
        "andon.name": "heart",
        SCHEMA_KEY: msgspec.json.encode(schema).decode(),
        CARD_KEY: msgspec.json.encode(CARD).decode(),
        REFERENCE_KEY: msgspec.json.encode(REFERENCE).decode(),
    }
    weights = np.array(_WEIGHTS, np.float32)[:, None]
    return logistic(
        path,
        **{"weights": weights, "bias": _BIAS + variant, "metadata": metadata, **given},
    )


def logistic(
    path: Path,
    *,
    weights: Any,
    bias: float = 0.0,
    metadata: dict[str, str] | None = None,
    output: str = "probabilities",
    rows: int | None = None,
    scale: float = 1.0,
    clean: bool = True,
    loops: int = 0,
    label: bool = False,
) -> Path:
    """A logistic function of the columns; answers ``[1 - p, p]`` per row.

    Args:
        path: Where to write it.
        weights: (features, 1).
        bias: Added before the function.
        metadata: Entries of the file.
        output: Name of the probabilities.
        rows: A fixed number of rows, or None for any.
        scale: Multiplies the probabilities; not 1: they are none.
        clean: Take a missing value (NaN) for 0; else it is answered.
        loops: Busy work, so that a run takes long.
        label: Answer the class as well, first, as skl2onnx does.
    """
    weights = np.asarray(weights, np.float32)
    constants = {
        "weights": weights,
        "bias": np.array([bias], np.float32),
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.float32),
        "scale": np.array(scale, np.float32),
    }
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["whole"]),
        helper.make_node("MatMul", ["whole" if clean else "features", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["busy0"]),
    ]
    for index in range(loops):
        nodes.append(helper.make_node("Sin", [f"busy{index}"], [f"wave{index}"]))
        nodes.append(helper.make_node("Asin", [f"wave{index}"], [f"busy{index + 1}"]))
    nodes += [
        helper.make_node("Sigmoid", [f"busy{loops}"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["both"], axis=1),
        helper.make_node("Mul", ["both", "scale"], [output]),
    ]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [rows, 2])]
    if label:
        nodes.append(helper.make_node("ArgMax", ["both"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [rows]))
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [rows, len(weights)])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return save(path, graph, metadata)


def save(path: Path, graph: onnx.GraphProto, metadata: dict[str, str] | None = None) -> Path:
    """Write a graph as a file."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, metadata or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
