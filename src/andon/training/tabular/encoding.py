"""Rows as a linear model wants them: nothing missing, comparable scales, a column a category.

Numbers: the median stands in for what is missing, a further column says that it was missing
(where the training rows ever missed it), and all are standardised. Categories: a column each, 1
where the row holds it; a missing or unknown one is 0 in all of them, a category of its own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.runtimes.rows import RowSchema

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Encoder:
    """What was learned of the training rows. Every constant is a float32 value: the exported graph
    computes with the same ones.

    Attributes:
        numbers: Columns that hold numbers.
        median: Of each of them.
        mean: After the medians were put in.
        scale: Standard deviation; 1 where it is 0.
        watched: Columns of numbers that get a column "was missing".
        one_hot: Column of each category, repeated for each of its categories.
        codes: The category's code, as many as `one_hot`.
    """

    numbers: NDArray[np.int64]
    median: Array
    mean: Array
    scale: Array
    watched: NDArray[np.int64]
    one_hot: NDArray[np.int64]
    codes: Array

    def encode(self, x: Array) -> Array:
        """Rows [n, features] as [n, columns] without NaN."""
        values = x[:, self.numbers]
        values = np.where(np.isnan(values), self.median, values)
        return np.concatenate(
            [
                (values - self.mean) / self.scale,
                np.isnan(x[:, self.watched]).astype(np.float64),
                (x[:, self.one_hot] == self.codes).astype(np.float64),
            ],
            axis=1,
        )


def learn(x: Array, schema: RowSchema) -> Encoder:
    """The encoder of the training rows `x` [n, features]."""
    kinds = [feature.kind for feature in schema.features]
    numbers = np.array([i for i, kind in enumerate(kinds) if kind != "category"], dtype=np.int64)
    values = x[:, numbers]
    missing = np.isnan(values)
    median = _single(np.array([_median(column) for column in values.T], dtype=np.float64))
    filled = np.where(missing, median, values)
    mean = _single(filled.mean(axis=0)) if numbers.size else median
    deviation = _single(filled.std(axis=0)) if numbers.size else median
    pairs = [
        (i, code)
        for i, feature in enumerate(schema.features)
        if feature.kind == "category"
        for code in range(len(feature.categories))
    ]
    return Encoder(
        numbers=numbers,
        median=median,
        mean=mean,
        scale=np.where(deviation > 0, deviation, 1.0),
        watched=numbers[missing.any(axis=0) & ~missing.all(axis=0)],
        one_hot=np.array([i for i, _ in pairs], dtype=np.int64),
        codes=np.array([code for _, code in pairs], dtype=np.float64),
    )


def _median(column: Array) -> float:
    known = column[~np.isnan(column)]
    return float(np.median(known)) if known.size else 0.0


def _single(values: Any) -> Array:
    """Rounded to float32, so that the graph's constants are these very numbers."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)
