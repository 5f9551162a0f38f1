"""The algorithms behind one interface: fit rows, answer margins.

Rows are float64 [n, features] with float32 values, NaN where something is missing, categories as
codes. Margins are float64 [n, classes]; their softmax are probabilities. The linear model encodes
rows first (see `encoding`); trees take codes and NaN as they are.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import lightgbm
import numpy as np
import xgboost
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from andon.errors import UnusableUpload
from andon.runtimes.rows import RowSchema
from andon.training.tabular import encoding

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Watched = tuple[Array, Labels]

FLOOR = 1e-4
"""Smallest probability a forest or the baseline says: log(0) is none."""

PATIENCE = 30
"""Boosting stops after so many rounds that did not help."""

MOST_ROUNDS = 500

FOREST_ROWS = 50_000
"""Most rows that one tree of a forest is grown on."""


class Algorithm(ABC):
    """One algorithm with its parameters; fitted once.

    Args:
        schema: Of the rows and classes.
        parameters: As `Candidate.parameters` names them.
        seed: Of everything that draws.
        threads: To use. The same number gives the same model.
    """

    stops_early: ClassVar[bool] = False

    def __init__(
        self, schema: RowSchema, parameters: dict[str, Any], *, seed: int, threads: int = 1
    ) -> None:
        self.schema = schema
        self.parameters = parameters
        self.seed = seed
        self.threads = threads
        self.present: Labels = np.empty(0, dtype=np.int64)
        """Classes that were among the rows it was fitted on."""

    def fit(self, x: Array, y: Labels, watch: Watched | None = None) -> None:
        """Fit; boosters stop early on the rows of `watch` where they are given.

        Raises:
            UnusableUpload: All rows are of one class.
        """
        self.present = np.unique(y)
        if self.present.size < 2:
            raise UnusableUpload(
                "The rows to learn from hold a single class, so there is nothing to tell apart.",
                hint="Collect rows of the other classes.",
            )
        if watch is not None:
            known = np.isin(watch[1], self.present)
            watch = (watch[0][known], self._codes(watch[1][known]))
        self._fit(x, self._codes(y), watch)

    def margins(self, x: Array) -> Array:
        """Margins [n, classes] of rows [n, features]."""
        found = self._margins(x)
        if self.present.size == len(self.schema.classes):
            return found
        # A small fold may lack a class: it gets next to nothing.
        lowest = found.min(axis=1, keepdims=True) + math.log(FLOOR)
        all_of_them = np.repeat(lowest, len(self.schema.classes), axis=1)
        all_of_them[:, self.present] = found
        return all_of_them

    def described(self) -> dict[str, Any]:
        """The parameters a reader wants to know, with what early stopping found."""
        return {"random_state": self.seed} | self.parameters

    def _codes(self, y: Labels) -> Labels:
        return np.searchsorted(self.present, y).astype(np.int64)

    @abstractmethod
    def _fit(self, x: Array, y: Labels, watch: Watched | None) -> None: ...

    @abstractmethod
    def _margins(self, x: Array) -> Array: ...


class Baseline(Algorithm):
    """Answers the share of every class, whatever the row."""

    def _fit(self, x: Array, y: Labels, watch: Watched | None) -> None:  # noqa: ARG002
        self.shares = np.bincount(y, minlength=self.present.size) / y.size

    def _margins(self, x: Array) -> Array:
        return np.tile(np.log(np.maximum(self.shares, FLOOR)), (len(x), 1))

    def described(self) -> dict[str, Any]:
        """None."""
        return {}


class Linear(Algorithm):
    """Logistic regression (multinomial with three or more classes) of encoded rows."""

    def _fit(self, x: Array, y: Labels, watch: Watched | None) -> None:  # noqa: ARG002
        self.encoder = encoding.learn(x, self.schema)
        self.model = LogisticRegression(**self.parameters)
        self.model.fit(self.encoder.encode(x), y)

    def weights(self) -> tuple[Array, Array]:
        """Coefficients [columns, classes] and intercepts [classes]."""
        coefficients, intercepts = self.model.coef_.T, self.model.intercept_
        if coefficients.shape[1] == 1:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients], axis=1)
            intercepts = np.concatenate([[0.0], intercepts])
        return coefficients, intercepts

    def _margins(self, x: Array) -> Array:
        coefficients, intercepts = self.weights()
        return np.asarray(self.encoder.encode(x) @ coefficients + intercepts)

    def described(self) -> dict[str, Any]:
        """Nothing of it is random."""
        return dict(self.parameters)


class Forest(Algorithm):
    """Random forest; its margins are the logarithms of the trees' mean probabilities."""

    def _fit(self, x: Array, y: Labels, watch: Watched | None) -> None:  # noqa: ARG002
        some = {"max_samples": FOREST_ROWS} if len(x) > FOREST_ROWS else {}
        seeded: dict[str, Any] = {"random_state": self.seed, **some, **self.parameters}
        self.model = RandomForestClassifier(**seeded | {"n_jobs": self.threads})
        self.model.fit(x, y)
        # Threads add the trees' answers in any order, which moves the last digit.
        self.model.n_jobs = 1

    def _margins(self, x: Array) -> Array:
        return np.asarray(np.log(np.maximum(self.model.predict_proba(x), FLOOR)))


class Booster(Algorithm):
    """Boosted trees: `rounds` is set beforehand, or found by early stopping.

    The parameter `n_estimators` is the most of them.
    """

    stops_early = True

    def __init__(
        self, schema: RowSchema, parameters: dict[str, Any], *, seed: int, threads: int = 1
    ) -> None:
        known = {name: value for name, value in parameters.items() if name != "n_estimators"}
        super().__init__(schema, known, seed=seed, threads=threads)
        self.rounds = int(parameters.get("n_estimators", MOST_ROUNDS))

    def described(self) -> dict[str, Any]:
        """With the rounds."""
        return super().described() | {"n_estimators": self.rounds}

    def _columns(self, raw: Any) -> Array:
        """Margins as a library answers them, a column a class."""
        margins = np.asarray(raw, dtype=np.float64)
        if margins.ndim == 1:
            margins = np.stack([np.zeros_like(margins), margins], axis=1)
        return margins


class XGBoost(Booster):
    """XGBoost with histograms."""

    def _fit(self, x: Array, y: Labels, watch: Watched | None) -> None:
        several = self.present.size > 2
        parameters = self.parameters | {
            "objective": "multi:softprob" if several else "binary:logistic",
            "base_score": 0.5,
            "tree_method": "hist",
            "seed": self.seed,
            "nthread": self.threads,
            "verbosity": 0,
        }
        if several:
            parameters["num_class"] = int(self.present.size)
        self.model = xgboost.train(
            parameters,
            self._matrix(x, y),
            num_boost_round=self.rounds,
            evals=[(self._matrix(*watch), "watch")] if watch else [],
            early_stopping_rounds=PATIENCE if watch else None,
            verbose_eval=False,
        )
        if watch:
            self.rounds = int(self.model.best_iteration) + 1

    def _matrix(self, x: Array, y: Labels | None = None) -> Any:
        return xgboost.DMatrix(x.astype(np.float32), label=y, nthread=self.threads)

    def _margins(self, x: Array) -> Array:
        raw = self.model.predict(
            self._matrix(x), output_margin=True, iteration_range=(0, self.rounds)
        )
        return self._columns(raw)


class LightGBM(Booster):
    """LightGBM."""

    def _fit(self, x: Array, y: Labels, watch: Watched | None) -> None:
        several = self.present.size > 2
        parameters = self.parameters | {
            "objective": "multiclass" if several else "binary",
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "verbosity": -1,
        }
        if several:
            parameters["num_class"] = int(self.present.size)
        rows = lightgbm.Dataset(x, label=y)
        stop: list[Any] = [lightgbm.early_stopping(PATIENCE, verbose=False)] if watch else []
        self.model = lightgbm.train(
            parameters,
            rows,
            num_boost_round=self.rounds,
            valid_sets=[rows.create_valid(watch[0], label=watch[1])] if watch else [],
            callbacks=stop,
        )
        if watch:
            self.rounds = int(self.model.best_iteration)

    def _margins(self, x: Array) -> Array:
        return self._columns(self.model.predict(x, raw_score=True, num_iteration=self.rounds))
