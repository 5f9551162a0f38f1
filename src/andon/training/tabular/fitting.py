"""Fitting a candidate, measuring it by cross-validation, choosing among them.

What a fit needs to know beside the parameters (the rounds of a booster, the calibration, the
threshold) is found inside the rows it is given, by an inner cross-validation. So the outer folds
measure all of it, and the rows they check have had no part in any of it.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.runtimes.rows import RowSchema
from andon.training.messages import Spread
from andon.training.tabular import calibration, scoring, splitting
from andon.training.tabular.algorithms import Algorithm, Booster
from andon.training.tabular.calibration import Calibration
from andon.training.tabular.candidates import BASELINE, Candidate

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Beat = Callable[[float], None]

INNER = 3
"""Folds inside the rows of a fit."""

ONE_SPLIT = 20_000
"""With more rows than this one inner fold is enough."""

MOST_ROWS = 250_000
"""The final fit learns from at most so many rows."""

CROSS_VALIDATED = 20_000
"""Candidates are compared on at most so many rows."""


@dataclass(frozen=True)
class Rows:
    """Rows to learn from.

    Attributes:
        x: float64 [n, features]; see `algorithms`.
        y: Class index [n].
        groups: Rows of one group stay on one side of every split; None: every row alone.
    """

    x: Array
    y: Labels
    groups: NDArray[np.int64] | None = None

    def take(self, chosen: NDArray[Any]) -> "Rows":
        """Some of them, by index or mask."""
        groups = None if self.groups is None else self.groups[chosen]
        return Rows(self.x[chosen], self.y[chosen], groups)

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Fitted:
    """A fitted candidate with calibrated probabilities.

    Attributes:
        candidate: What it is.
        model: The fitted algorithm.
        calibration: Of its margins.
        threshold: Probability of the positive class from which it is answered (two classes).
        best_threshold: The one that out-of-fold probabilities preferred, whether used or not.
        tuned: Parameters that the search chose.
    """

    candidate: Candidate
    model: Algorithm
    calibration: Calibration
    threshold: float
    best_threshold: float
    tuned: dict[str, Any]

    def probabilities(self, x: Array) -> Array:
        """Probabilities [n, classes]."""
        return self.calibration.probabilities(self.model.margins(x))


@dataclass(frozen=True)
class Measured:
    """A candidate over the outer folds.

    Attributes:
        spreads: By metric; one that no fold could measure is left out.
        moves_threshold: Whether a threshold chosen inside each fold was clearly better than 0.5.
        seconds: It took.
    """

    spreads: dict[str, Spread]
    moves_threshold: bool
    seconds: float


@dataclass(frozen=True)
class Plan:
    """How candidates are fitted and measured.

    Attributes:
        schema: Of the rows.
        metric: Chooses among the candidates.
        folds: Of the outer cross-validation.
        repeats: Of it, each with other folds.
        trials: Of the search for parameters, in every outer fold; 0: none.
        seed: Of everything that draws.
        threads: To use.
        parameters: Fixed ones of the candidates, by name; they stand before all others.
    """

    schema: RowSchema
    metric: str = "f1"
    folds: int = 5
    repeats: int = 2
    trials: int = 0
    seed: int = 42
    threads: int = 1
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)

    def make(self, candidate: Candidate, tuned: dict[str, Any] | None = None) -> Algorithm:
        """A fresh algorithm of the candidate."""
        fixed = self.parameters.get(candidate.name, {})
        chosen = (tuned or {}) | fixed
        return candidate.make(self.schema, chosen, seed=self.seed, threads=self.threads)


def fit(candidate: Candidate, rows: Rows, plan: Plan, *, moves_threshold: bool = False) -> Fitted:
    """A candidate fitted on `rows`, calibrated on their out-of-fold margins.

    Args:
        candidate: What to fit.
        rows: To learn from.
        plan: How.
        moves_threshold: Answer with the threshold that is best out of fold, not with 0.5.
    """
    if candidate is BASELINE:
        return _baseline(rows, plan)
    tuned = _search(candidate, rows, plan) if plan.trials else {}
    margins, chosen, rounds = _out_of_fold(candidate, rows, plan, tuned)
    model = plan.make(candidate, tuned)
    if isinstance(model, Booster):
        model.rounds = rounds
    model.fit(rows.x, rows.y)
    calibrated = calibration.fit(margins, rows.y[chosen])
    best = 0.5
    if plan.schema.positive is not None:
        best = scoring.best_threshold(
            rows.y[chosen], calibrated.probabilities(margins), plan.schema.positive, plan.metric
        )
    return Fitted(candidate, model, calibrated, best if moves_threshold else 0.5, best, tuned)


def cross_validate(
    candidate: Candidate, rows: Rows, plan: Plan, beat: Beat = lambda _: None
) -> Measured:
    """Fit and check a candidate on every outer fold.

    Args:
        candidate: What to measure.
        rows: No held-out row among them.
        plan: How.
        beat: Told the share that is done, after each fold.
    """
    started = time.perf_counter()
    figures: list[dict[str, float]] = []
    gains: list[float] = []
    outer = list(_outer(rows, plan))
    for number, (learned, checked) in enumerate(outer):
        fitted = fit(candidate, rows.take(learned), plan)
        y, p = rows.y[checked], fitted.probabilities(rows.x[checked])
        figures.append(scoring.metrics(y, p, plan.schema.positive, fitted.threshold))
        if plan.schema.positive is not None and candidate is not BASELINE:
            moved = scoring.metrics(y, p, plan.schema.positive, fitted.best_threshold)
            gains.append(moved.get(plan.metric, 0.0) - figures[-1].get(plan.metric, 0.0))
        beat((number + 1) / len(outer))
    return Measured(
        spreads={name: _spread(figures, name) for name in scoring.METRICS if _any(figures, name)},
        moves_threshold=_clearly_above_zero(gains),
        seconds=time.perf_counter() - started,
    )


def ranked(measured: dict[str, tuple[Candidate, Measured]], metric: str) -> list[str]:
    """Names from the best to the worst mean; the simpler one of two equals first.

    Candidates that the metric could not be measured of come last.
    """

    def order(name: str) -> tuple[float, int]:
        candidate, found = measured[name]
        spread = found.spreads.get(metric)
        if spread is None:
            return math.inf, candidate.simplicity
        mean = round(spread.mean, 4)
        return (mean if metric in scoring.LOWER_IS_BETTER else -mean, candidate.simplicity)

    return sorted(measured, key=order)


def _baseline(rows: Rows, plan: Plan) -> Fitted:
    """Always the same answer: the most frequent class, or always yes where that scores better."""
    model = plan.make(BASELINE)
    model.fit(rows.x, rows.y)
    untouched = calibration.none(len(plan.schema.classes))
    threshold = 0.5
    if plan.schema.positive is not None:
        p = untouched.probabilities(model.margins(rows.x))
        scores = {
            limit: scoring.metrics(rows.y, p, plan.schema.positive, limit).get(plan.metric, 0.0)
            for limit in (0.5, 0.0)
        }
        threshold = max(scores, key=lambda limit: scores[limit])
    return Fitted(BASELINE, model, untouched, threshold, threshold, {})


def _out_of_fold(
    candidate: Candidate, rows: Rows, plan: Plan, tuned: dict[str, Any]
) -> tuple[Array, NDArray[np.intp], int]:
    """Margins of rows by models that have not learned from them, the rows' indices, and rounds.

    A booster stops early in each inner fold; its rounds are their mean, in all of them.
    """
    inner = splitting.folds(rows.y, rows.groups, INNER, plan.seed)
    if len(rows) > ONE_SPLIT:
        inner = inner[:1]
    models: list[tuple[Algorithm, NDArray[np.intp]]] = []
    for learned, checked in inner:
        model = plan.make(candidate, tuned)
        watch = (rows.x[checked], rows.y[checked]) if model.stops_early else None
        model.fit(rows.x[learned], rows.y[learned], watch)
        models.append((model, checked))
    rounds = 0
    boosters = [model for model, _ in models if isinstance(model, Booster)]
    if boosters:
        rounds = max(1, round(sum(model.rounds for model in boosters) / len(boosters)))
    for model in boosters:
        model.rounds = min(model.rounds, rounds)
    chosen = np.concatenate([checked for _, checked in models])
    margins = np.concatenate([model.margins(rows.x[checked]) for model, checked in models])
    return margins, chosen, rounds


def _search(candidate: Candidate, rows: Rows, plan: Plan) -> dict[str, Any]:
    """Parameters of the smallest out-of-fold log loss among `plan.trials` drawn ones."""
    import optuna  # noqa: PLC0415 - a second to import, and most trainings do not search

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    few = rows.take(splitting.sample(rows.y, CROSS_VALIDATED, plan.seed))

    def loss(trial: Any) -> float:
        margins, chosen, _ = _out_of_fold(candidate, few, plan, candidate.space(trial))
        found = calibration.fit(margins, few.y[chosen]).probabilities(margins)
        return scoring.metrics(few.y[chosen], found, plan.schema.positive, 0.5)["log_loss"]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=plan.seed))
    # The candidate's own parameters are the first trial, as far as the space holds them.
    study.enqueue_trial(candidate.parameters, skip_if_exists=True)
    study.optimize(loss, n_trials=plan.trials)
    return dict(study.best_params)


def _outer(rows: Rows, plan: Plan) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    for repeat in range(plan.repeats):
        yield from splitting.folds(rows.y, rows.groups, plan.folds, plan.seed + repeat)


def _any(figures: list[dict[str, float]], name: str) -> bool:
    return any(name in figure for figure in figures)


def _spread(figures: list[dict[str, float]], name: str) -> Spread:
    values = [figure[name] for figure in figures if name in figure]
    return Spread(float(np.mean(values)), float(np.std(values)), tuple(values))


def _clearly_above_zero(gains: list[float]) -> bool:
    """Whether the mean is more than two standard errors above 0."""
    if len(gains) < 4:
        return False
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return float(np.mean(gains)) > 2 * error and float(np.mean(gains)) > 0.005
