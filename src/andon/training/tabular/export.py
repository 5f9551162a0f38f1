"""A fitted candidate as one ONNX file that answers the same probabilities.

The graph is written node by node: the linear model's encoding and weights, or the trees of a
forest or booster, then calibration and softmax. So every constant is the one the model computes
with, missing values and unknown categories go the same ways, and the same model gives the same
bytes. `measure` runs the file and the model on the same rows and refuses a difference.
"""

from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import andon
from andon.errors import AndonError
from andon.runtimes.rows import (
    CARD_KEY,
    INPUT,
    OUTPUT,
    REFERENCE_KEY,
    SCHEMA_KEY,
    RowSchema,
)
from andon.training.messages import Agreement
from andon.training.tabular import algorithms, trees
from andon.training.tabular.fitting import Fitted

Array = NDArray[np.float64]

NAME_KEY = "andon.name"
LIMIT = 1e-5
"""Largest difference of a probability between the model and its file."""

# Read by ONNX Runtime 1.20 and all that followed.
_OPSET, _ML_OPSET, _IR = 17, 3, 8
_FEW = 2_000


class ExportDisagrees(AndonError):
    """The exported file answers other probabilities than the model it was made from."""


class _Graph:
    """Nodes and constants, collected in order."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, kind: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output


def build(fitted: Fitted) -> bytes:
    """The ONNX file of a fitted candidate, without metadata.

    Raises:
        ExportDisagrees: There is no way to write this kind of model.
    """
    graph = _Graph()
    margins = _margins(graph, fitted.model)
    scaled = graph.add("Mul", margins, graph.constant(fitted.calibration.scale))
    moved = graph.add("Add", scaled, graph.constant(list(fitted.calibration.offset)))
    graph.add("Softmax", moved, output=OUTPUT, axis=1)
    schema = fitted.model.schema
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "rows",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(schema.features)])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, len(schema.classes)])],
            graph.constants,
        ),
        opset_imports=[
            helper.make_opsetid("", _OPSET),
            helper.make_opsetid("ai.onnx.ml", _ML_OPSET),
        ],
        ir_version=_IR,
        producer_name="andon",
        producer_version=andon.__version__,
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def describe(
    content: bytes,
    *,
    name: str,
    schema: RowSchema,
    card: dict[str, Any],
    reference: dict[str, Any],
) -> bytes:
    """The file with its metadata: what it takes, what was measured, what it has seen."""
    model = onnx.load_model_from_string(content)
    helper.set_model_props(
        model,
        {
            NAME_KEY: name,
            SCHEMA_KEY: _json(schema),
            CARD_KEY: _json(card),
            REFERENCE_KEY: _json(reference),
        },
    )
    return bytes(model.SerializeToString(deterministic=True))


def measure(content: bytes, fitted: Fitted, x: Array) -> Agreement:
    """Compare the file with the model on rows [n, features] and on damaged copies of some.

    In the copies values are missing or unknown categories, a fifth of all.

    Raises:
        ExportDisagrees: A probability differs by more than `LIMIT`.
    """
    rows = np.concatenate([x, _damaged(x[:_FEW], fitted.model.schema)])
    difference = np.abs(fitted.probabilities(rows) - run(content, rows))
    # NaN is a difference too.
    largest = float(np.max(np.nan_to_num(difference, nan=1.0)))
    if largest > LIMIT:
        raise ExportDisagrees(
            f"The exported {fitted.candidate.title} answers probabilities that differ by "
            f"{largest:.1e} from the model's own; {LIMIT:.0e} is the limit.",
            hint="The next best candidate is taken.",
        )
    return Agreement(rows=len(rows), max_difference=largest, limit=LIMIT)


def run(content: bytes, x: Array) -> Array:
    """Probabilities [n, classes] that a file answers for rows [n, features], on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    answered = session.run([OUTPUT], {INPUT: x.astype(np.float32)})[0]
    return np.asarray(answered, dtype=np.float64)


def _margins(graph: _Graph, model: algorithms.Algorithm) -> str:
    """The nodes that compute the margins [n, classes]."""
    classes = len(model.schema.classes)
    if model.present.size != classes:
        raise ExportDisagrees("The model has not learned every class of its schema.")
    if isinstance(model, algorithms.Linear):
        return _linear(graph, model)
    if isinstance(model, algorithms.Forest):
        shares = _ensemble(graph, trees.of_forest(model), classes)
        floor = graph.constant(algorithms.FLOOR)
        return graph.add("Log", graph.add("Max", shares, floor))
    if isinstance(model, algorithms.XGBoost):
        return _ensemble(graph, trees.of_xgboost(model), classes)
    if isinstance(model, algorithms.LightGBM):
        return _ensemble(graph, trees.of_lightgbm(model), classes)
    raise ExportDisagrees("This kind of model cannot be exported.")


def _ensemble(graph: _Graph, found: trees.Trees, classes: int) -> str:
    attributes = asdict(found)
    attributes.pop("mode")
    return graph.add(
        "TreeEnsembleRegressor",
        INPUT,
        domain="ai.onnx.ml",
        n_targets=classes,
        aggregate_function="SUM",
        post_transform="NONE",
        **attributes,
    )


def _linear(graph: _Graph, model: algorithms.Linear) -> str:
    encoder = model.encoder
    parts: list[str] = []
    if encoder.numbers.size:
        values = graph.add("Gather", INPUT, graph.constant(encoder.numbers, np.int64), axis=1)
        known = graph.add(
            "Where", graph.add("IsNaN", values), graph.constant(encoder.median), values
        )
        centred = graph.add("Sub", known, graph.constant(encoder.mean))
        parts.append(graph.add("Div", centred, graph.constant(encoder.scale)))
    if encoder.watched.size:
        values = graph.add("Gather", INPUT, graph.constant(encoder.watched, np.int64), axis=1)
        parts.append(graph.add("Cast", graph.add("IsNaN", values), to=TensorProto.FLOAT))
    if encoder.one_hot.size:
        values = graph.add("Gather", INPUT, graph.constant(encoder.one_hot, np.int64), axis=1)
        same = graph.add("Equal", values, graph.constant(encoder.codes))
        parts.append(graph.add("Cast", same, to=TensorProto.FLOAT))
    encoded = graph.add("Concat", *parts, axis=1)
    coefficients, intercepts = model.weights()
    return graph.add("Gemm", encoded, graph.constant(coefficients), graph.constant(intercepts))


def _damaged(x: Array, schema: RowSchema) -> Array:
    """Rows of which a fifth of the values are missing, or categories nobody knows."""
    generator = np.random.default_rng(0)
    damaged = x.copy()
    damaged[generator.random(x.shape) < 0.2] = np.nan
    for column, feature in enumerate(schema.features):
        if feature.kind == "category":
            unknown = generator.random(len(x)) < 0.1
            damaged[unknown, column] = len(feature.categories)
    return damaged


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
