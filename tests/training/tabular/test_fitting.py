"""Cross-validation, calibration, search and choice."""

import math

import numpy as np
import pytest
from tests.training.tabular import builders

from andon.training.messages import Spread
from andon.training.tabular import calibration, fitting, scoring, splitting
from andon.training.tabular.candidates import BASELINE, CANDIDATES, Candidate, find
from andon.training.tabular.fitting import Measured, Plan

EACH = pytest.mark.parametrize("candidate", CANDIDATES.values(), ids=list(CANDIDATES))


@EACH
@pytest.mark.slow
def test_the_aims_are_reached_on_the_rows_of_cleveland(candidate: Candidate) -> None:
    """ROC-AUC and F1 of every candidate, five folds twice, seeds fixed in advance, no search."""
    data = builders.cleveland()
    found = fitting.cross_validate(candidate, builders.rows_of(data), Plan(data.schema, seed=42))
    assert len(found.spreads["f1"].folds) == 10
    assert found.spreads["roc_auc"].mean >= 0.90
    assert found.spreads["f1"].mean >= 0.80


def test_rows_that_are_checked_are_never_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a fit does inside, it gets the rows of its own side alone."""
    data = builders.made_up(rows=120)
    rows = builders.rows_of(data)
    plan = Plan(data.schema, folds=4, repeats=1)
    seen: list[set[bytes]] = []
    fit = fitting.fit

    def watched(candidate: Candidate, given: fitting.Rows, *rest: object) -> fitting.Fitted:
        seen.append({row.tobytes() for row in given.x})
        return fit(candidate, given, *rest)

    monkeypatch.setattr(fitting, "fit", watched)
    fitting.cross_validate(find("logistic-regression"), rows, plan)
    for learned, (_, checked) in zip(
        seen, splitting.folds(data.y, None, 4, plan.seed), strict=True
    ):
        assert not learned & {row.tobytes() for row in data.x[checked]}


def test_noise_teaches_nothing() -> None:
    """With the classes drawn by lot no candidate is told to be better than chance."""
    data = builders.made_up()
    y = np.random.default_rng(5).permutation(data.y)
    rows = fitting.Rows(data.x, y)
    few = {"random-forest": {"n_estimators": 20}}
    for candidate in CANDIDATES.values():
        plan = Plan(data.schema, folds=3, repeats=1, parameters=few)
        found = fitting.cross_validate(candidate, rows, plan)
        assert 0.38 < found.spreads["roc_auc"].mean < 0.62


def test_calibration_mends_probabilities_that_boast() -> None:
    """Margins three times too large and shifted: the log loss falls to that of the true ones."""
    generator = np.random.default_rng(0)
    odds = generator.normal(scale=1.5, size=4000)
    y = (generator.random(4000) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    true = np.stack([np.zeros(4000), odds], axis=1)
    boasting = 3 * true + [0.0, 1.5]
    found = calibration.fit(boasting[:2000], y[:2000])

    def loss(how: calibration.Calibration, margins: np.ndarray) -> float:
        return scoring.metrics(y[2000:], how.probabilities(margins[2000:]), 1, 0.5)["log_loss"]

    plain = calibration.none(2)
    assert loss(found, boasting) < loss(plain, boasting) - 0.1
    assert loss(found, boasting) == pytest.approx(loss(plain, true), abs=0.01)
    assert found.scale == pytest.approx(1 / 3, rel=0.15)


def test_a_temperature_mends_three_classes() -> None:
    """And leaves the answered class as it was."""
    generator = np.random.default_rng(0)
    margins = generator.normal(size=(2000, 3))
    p = calibration.softmax(margins)
    y = (p.cumsum(axis=1) < generator.random((2000, 1))).sum(axis=1).clip(0, 2).astype(np.int64)
    found = calibration.fit(5 * margins, y)
    assert found.scale == pytest.approx(0.2, rel=0.15)
    assert (found.probabilities(5 * margins).argmax(axis=1) == margins.argmax(axis=1)).all()


def test_one_class_out_of_fold_leaves_the_margins_alone() -> None:
    """There is nothing to calibrate by."""
    margins = np.zeros((5, 2))
    assert calibration.fit(margins, np.zeros(5, dtype=np.int64)) == calibration.none(2)


def test_the_baseline_says_yes_where_that_scores_better() -> None:
    """The hardest dummy to beat by F1 answers yes to all, not no to all."""
    data = builders.made_up()
    rows = builders.rows_of(data)
    fitted = fitting.fit(BASELINE, rows, Plan(data.schema))
    found = scoring.metrics(rows.y, fitted.probabilities(rows.x), 1, fitted.threshold)
    assert found["recall"] == 1
    by_accuracy = fitting.fit(BASELINE, rows, Plan(data.schema, metric="accuracy"))
    found = scoring.metrics(rows.y, by_accuracy.probabilities(rows.x), 1, by_accuracy.threshold)
    assert found["accuracy"] == max(rows.y.mean(), 1 - rows.y.mean())


def test_the_threshold_moves_only_where_that_was_shown_to_help() -> None:
    """Rare positives: out of fold another threshold than 0.5 has the clearly better F1."""
    data = builders.made_up(rows=1500, missing=0)
    rare = data.y.copy()
    rare[np.random.default_rng(1).random(1500) < 0.75] = 0
    linear = find("logistic-regression")
    found = fitting.cross_validate(linear, fitting.Rows(data.x, rare), Plan(data.schema))
    assert found.moves_threshold
    moved = fitting.fit(linear, fitting.Rows(data.x, rare), Plan(data.schema), moves_threshold=True)
    assert moved.threshold < 0.45
    balanced = fitting.cross_validate(linear, builders.rows_of(data), Plan(data.schema))
    assert not balanced.moves_threshold
    assert fitting.fit(linear, builders.rows_of(data), Plan(data.schema)).threshold == 0.5


def test_a_search_comes_again_and_is_reported() -> None:
    """The same seed tries the same parameters; fixed ones stay as they are fixed."""
    data = builders.made_up(rows=120)
    plan = Plan(data.schema, trials=3, parameters={"logistic-regression": {"max_iter": 500}})
    linear = find("logistic-regression")
    first = fitting.fit(linear, builders.rows_of(data), plan)
    again = fitting.fit(linear, builders.rows_of(data), plan)
    assert first.tuned == again.tuned
    assert set(first.tuned) == {"C"}
    assert first.model.described() == {"C": first.tuned["C"], "max_iter": 500}


def test_groups_stay_whole_inside_a_fit() -> None:
    """Rows of one subject do not calibrate a model that knows the subject."""
    data = builders.made_up(groups=12)
    fitted = fitting.fit(find("xgboost"), builders.rows_of(data), Plan(data.schema))
    assert np.isfinite(fitted.probabilities(data.x)).all()


def measured(mean: float, metric: str = "f1") -> Measured:
    """A candidate with this mean."""
    return Measured({metric: Spread(mean, 0.0)} if not math.isnan(mean) else {}, False, 1.0)


def test_the_best_mean_is_chosen_and_the_simpler_of_equals() -> None:
    """What could not be measured comes last; a loss is better when it is lower."""
    contest = {
        "xgboost": (find("xgboost"), measured(0.8)),
        "logistic-regression": (find("logistic-regression"), measured(0.80001)),
        "random-forest": (find("random-forest"), measured(0.9)),
        "lightgbm": (find("lightgbm"), measured(math.nan)),
    }
    order = ["random-forest", "logistic-regression", "xgboost", "lightgbm"]
    assert fitting.ranked(contest, "f1") == order
    losses = {
        "xgboost": (find("xgboost"), measured(0.3, "log_loss")),
        "lightgbm": (find("lightgbm"), measured(0.4, "log_loss")),
    }
    assert fitting.ranked(losses, "log_loss") == ["xgboost", "lightgbm"]


def test_many_rows_take_one_inner_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is bounded; the fit is calibrated all the same."""
    monkeypatch.setattr(fitting, "ONE_SPLIT", 100)
    data = builders.made_up()
    fitted = fitting.fit(find("lightgbm"), builders.rows_of(data), Plan(data.schema))
    found = scoring.metrics(data.y, fitted.probabilities(data.x), 1, 0.5)
    assert found["roc_auc"] > 0.85
