"""What was measured of a version, as its own file tells it."""

import platform
from typing import Any

import lightgbm
import msgspec
import numpy as np
import onnx
import onnxruntime
import sklearn
import xgboost

import andon
from andon.training.messages import TrainReport
from andon.training.tabular.schema import text


def of(report: TrainReport, limits: tuple[float, ...]) -> dict[str, Any]:
    """The part of a report that follows from the data and the seed alone.

    Left out are times, the comparison with the version that happened to be active, and the gate,
    which depends on it: the same data and seed give the same file, byte for byte.

    Args:
        report: Of the training.
        limits: Up to where in hash space the rows of each class were held out.
    """
    found: dict[str, Any] = msgspec.to_builtins(report)
    for name in ("seconds", "onnx_bytes", "comparison", "gate", "promote", "model"):
        found.pop(name)
    for candidate in found["candidates"]:
        candidate.pop("seconds", None)
    found["hold_out"] = dict(zip(map(text, report.classes), limits, strict=True))
    return found


def versions() -> dict[str, str]:
    """Of the libraries that took part, by name."""
    return {
        "andon": andon.__version__,
        "python": platform.python_version(),
        "lightgbm": lightgbm.__version__,
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "scikit-learn": sklearn.__version__,
        "xgboost": xgboost.__version__,
    }
