"""Which algorithms a training tries, with which parameters, and where a search may look."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from andon.errors import UnusableUpload
from andon.runtimes.rows import RowSchema
from andon.training.tabular import algorithms
from andon.training.tabular.algorithms import Algorithm


@dataclass(frozen=True)
class Candidate:
    """An algorithm that may become the model.

    Attributes:
        name: As recipes name it.
        title: For people.
        simplicity: The lower of two equally good ones is taken.
        algorithm: Its class.
        parameters: Modest ones, for hundreds to thousands of rows.
        space: Draws parameters for a trial of the search.
    """

    name: str
    title: str
    simplicity: int
    algorithm: type[Algorithm]
    parameters: dict[str, Any]
    space: Callable[[Any], dict[str, Any]]

    def make(
        self,
        schema: RowSchema,
        tuned: dict[str, Any] | None = None,
        *,
        seed: int,
        threads: int = 1,
    ) -> Algorithm:
        """A fresh one, not fitted; `tuned` parameters stand before the candidate's own."""
        return self.algorithm(schema, self.parameters | (tuned or {}), seed=seed, threads=threads)


def _linear(trial: Any) -> dict[str, Any]:
    return {"C": trial.suggest_float("C", 0.01, 10.0, log=True)}


def _forest(trial: Any) -> dict[str, Any]:
    return {
        "max_depth": trial.suggest_int("max_depth", 3, 16),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 20),
        "max_features": trial.suggest_float("max_features", 0.1, 1.0),
    }


def _xgboost(trial: Any) -> dict[str, Any]:
    return {
        "eta": trial.suggest_float("eta", 0.02, 0.2, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 6),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 10.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.4, 1.0),
        "lambda": trial.suggest_float("lambda", 0.1, 10.0, log=True),
    }


def _lightgbm(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 3, 31),
        "min_child_samples": trial.suggest_int("min_child_samples", 5, 50),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 10.0, log=True),
    }


BASELINE = Candidate("baseline", "Baseline", 0, algorithms.Baseline, {}, lambda _: {})
"""What every other candidate must beat."""

CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate(
            "logistic-regression",
            "Logistic Regression",
            1,
            algorithms.Linear,
            {"C": 0.3, "max_iter": 1000},
            _linear,
        ),
        Candidate(
            "random-forest",
            "Random Forest",
            2,
            algorithms.Forest,
            {"n_estimators": 100, "max_depth": 10, "min_samples_leaf": 3},
            _forest,
        ),
        Candidate(
            "lightgbm",
            "LightGBM",
            3,
            algorithms.LightGBM,
            {
                "learning_rate": 0.05,
                "num_leaves": 7,
                "min_child_samples": 20,
                "bagging_fraction": 0.8,
                "bagging_freq": 1,
                "feature_fraction": 0.6,
                "lambda_l2": 1.0,
            },
            _lightgbm,
        ),
        Candidate(
            "xgboost",
            "XGBoost",
            4,
            algorithms.XGBoost,
            {
                "eta": 0.05,
                "max_depth": 3,
                "min_child_weight": 3.0,
                "subsample": 0.8,
                "colsample_bytree": 0.6,
                "lambda": 1.0,
            },
            _xgboost,
        ),
    )
}


def find(name: str) -> Candidate:
    """The candidate of this name.

    Raises:
        UnusableUpload: There is none.
    """
    try:
        return CANDIDATES[name]
    except KeyError:
        known = ", ".join(CANDIDATES)
        raise UnusableUpload(
            f"There is no candidate {name!r}.", hint=f"Known ones are {known}."
        ) from None
