"""Trainings that are not: a fake process with a small model, in an otherwise real installation."""

import sys
from pathlib import Path

import msgspec
from tests.support import fake_training, tabular_models

from andon.training.messages import Agreement, DataUsed, GateResult, HeldOut, Interval, TrainReport


def command(how: str, outcome: Path) -> list[str]:
    """Starts the fake; see `fake_training` for what it can do."""
    return [sys.executable, "-I", "-S", fake_training.__file__, how, str(outcome)]


def prepare(
    outcome: Path, variant: float = 0.0, *, passed: bool = True, promote: str = "approve"
) -> None:
    """What the next good training leaves: another variant is another model."""
    outcome.mkdir(exist_ok=True)
    model = tabular_models.heart(outcome / "model.onnx", variant=variant)
    report = TrainReport(
        recipe="heart-disease",
        title="Heart disease",
        model="heart-disease",
        promote=promote,
        data=DataUsed(origin="memory", digest="00", rows=10, held_out=2),
        seed=42,
        candidates=(),
        chosen="random-forest",
        algorithm="Random forest",
        held_out=HeldOut(metrics={"f1": Interval(0.9, 0.8, 0.95)}),
        gate=GateResult(passed, () if passed else ("F1 is 0.6, below 0.75.",)),
        agreement=Agreement(2, 0.0, 1e-5),
        onnx_bytes=model.stat().st_size,
    )
    (outcome / "report.json").write_bytes(msgspec.json.encode(report))
