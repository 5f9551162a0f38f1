"""Probabilities that mean what they say: margins scaled and shifted before the softmax.

Two classes: Platt's scaling, a slope and an offset of the log-odds. Three or more: one
temperature. Both are fitted on margins of rows the model has not learned from, and both are two
constants in the exported graph.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

_SLOPES = (0.05, 20.0)
_OFFSETS = (-10.0, 10.0)


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(scale · margins + offset).

    Attributes:
        scale: Above 0, a float32 value.
        offset: One for each class, float32 values.
    """

    scale: float
    offset: tuple[float, ...]

    def probabilities(self, margins: Array) -> Array:
        """Probabilities [n, classes] of margins [n, classes]."""
        return softmax(self.scale * margins + np.array(self.offset))


def none(classes: int) -> Calibration:
    """Leaves the margins as they are."""
    return Calibration(1.0, (0.0,) * classes)


def fit(margins: Array, y: Labels) -> Calibration:
    """The calibration of out-of-fold margins [n, classes] for the classes `y` [n]."""
    classes = margins.shape[1]
    if len(np.unique(y)) < 2:
        return none(classes)
    if classes == 2:
        return _platt(margins[:, 1] - margins[:, 0], y)
    rows = np.arange(len(y))

    def loss(parameters: Array) -> float:
        scaled = parameters[0] * margins
        highest = scaled.max(axis=1)
        total = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
        return float(np.mean(total - scaled[rows, y]))

    found = minimize(loss, [1.0], method="L-BFGS-B", bounds=[_SLOPES])
    return Calibration(_single(found.x[0]), (0.0,) * classes)


def _platt(odds: Array, y: Labels) -> Calibration:
    """Slope and offset of log-odds [n]; Platt (1999), with his targets not quite 0 and 1."""
    positives = int(y.sum())
    negatives = len(y) - positives
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters: Array) -> tuple[float, Array]:
        z = parameters[0] * odds + parameters[1]
        error = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - target
        value = np.logaddexp(0, z) - target * z
        return float(value.mean()), np.array([(error * odds).mean(), error.mean()])

    found = minimize(loss, [1.0, 0.0], method="L-BFGS-B", jac=True, bounds=[_SLOPES, _OFFSETS])
    slope, offset = found.x
    return Calibration(_single(slope), (0.0, _single(offset)))


def softmax(values: Array) -> Array:
    """Of each row of [n, classes]."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _single(value: float) -> float:
    """Rounded to float32: the exported graph holds this very number."""
    return float(np.float32(value))
