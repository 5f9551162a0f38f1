"""A training that has ended, small and made up: its report, its model, its folder."""

from pathlib import Path

import msgspec
import onnx
from onnx import TensorProto, helper

from andon.runtimes.rows import INPUT, OUTPUT, SCHEMA_KEY, Feature, RowSchema
from andon.training.messages import (
    MODEL,
    REPORT,
    Agreement,
    Bin,
    Candidate,
    DataReport,
    DataUsed,
    Finding,
    GateResult,
    HeldOut,
    Importance,
    Interval,
    SliceScore,
    Spread,
    TrainReport,
)

FEATURES = (
    Feature("ear", "number", minimum=0, maximum=1, typical=0.3),
    Feature("lit", "category", categories=("day", "night"), typical="night"),
)
SCHEMA = RowSchema(FEATURES, "drowsy", (0, 1), ("awake", "drowsy"), positive=1)
DIGEST = "ab" * 32
CHECKED = DataReport("made up", DIGEST, rows=100, columns=3, classes={"0": 60, "1": 40})


def model(path: Path, *, seed: int = 0) -> Path:
    """A tabular model; another seed gives another file."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 0.5, 0.25, float(seed)])
    nodes = [
        helper.make_node("MatMul", [INPUT, "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [OUTPUT], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", 2])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {SCHEMA_KEY: msgspec.json.encode(SCHEMA).decode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(made, path)
    return path


def candidates() -> tuple[Candidate, ...]:
    """One that was chosen, a baseline, one that could not be fitted."""
    return (
        Candidate(
            name="random-forest",
            algorithm="Random forest",
            cross_validation={"f1": Spread(0.91, 0.02, (0.9, 0.92))},
            held_out={"accuracy": 0.95, "f1": 0.93},
            seconds=1.5,
            parameters={"n_estimators": 100, "max_depth": 10, "random_state": 42},
            tuned={"max_depth": 10},
            chosen=True,
        ),
        Candidate(name="baseline", baseline=True, cross_validation={"f1": Spread(0.0, 0.0)}),
        Candidate(name="lightgbm", algorithm="LightGBM", error="It could not be fitted."),
    )


def report(model: str = "drowsiness", **changes: object) -> TrainReport:
    """What such a training measured."""
    held_out = HeldOut(
        metrics={"accuracy": Interval(0.95, 0.9, 0.99), "f1": Interval(0.93, 0.88, 0.97)},
        classes=("0", "1"),
        confusion=((11, 1), (1, 7)),
        roc=((0.0, 0.0), (0.1, 0.9), (1.0, 1.0)),
        pr=((0.0, 1.0), (0.9, 0.9), (1.0, 0.4)),
        calibration=(Bin(0.1, 0.05, 12), Bin(0.9, 0.95, 8)),
    )
    given = TrainReport(
        recipe=model,
        title="Drowsy drivers <made up>",
        model=model,
        data=DataUsed(
            origin="made up",
            digest=DIGEST,
            rows=100,
            held_out=20,
            synthetic=True,
            findings=(Finding("duplicates", "warning", "", "Two rows are the same."),),
            classes={"0": 60, "1": 40},
        ),
        seed=42,
        candidates=candidates(),
        chosen="random-forest",
        algorithm="Random forest",
        held_out=held_out,
        slices=(SliceScore(slice="light", value="day", rows=9, f1=0.9),),
        importance=(Importance("ear", 0.3, 0.02), Importance("lit", 0.1)),
        gate=GateResult(passed=True),
        agreement=Agreement(20, 1e-7, 1e-5),
        hyperparameters={"n_estimators": 100, "max_depth": 10, "random_state": 42},
        features=FEATURES,
        classes=(0, 1),
        seconds=3.0,
        onnx_bytes=300,
    )
    return msgspec.structs.replace(given, **changes)


def folder(path: Path, *, seed: int = 0, name: str = "drowsiness") -> Path:
    """The folder of such a training."""
    model(path / MODEL, seed=seed)
    (path / REPORT).write_bytes(msgspec.json.encode(report(name)))
    return path
