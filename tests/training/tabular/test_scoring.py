"""Metrics beside scikit-learn's own, intervals, slices, importance and curves."""

import numpy as np
import pytest
from sklearn import metrics as theirs

from andon.training.tabular import scoring


def answers(rows: int = 200, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes, and probabilities that know something of them, with ties."""
    generator = np.random.default_rng(seed)
    y = generator.integers(classes, size=rows)
    p = generator.random((rows, classes)) + np.eye(classes)[y] * 0.5
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)
    p[:, -1] = 1 - p[:, :-1].sum(axis=1)
    return y, p


def test_the_metrics_of_two_classes_are_scikit_learns() -> None:
    """Each of them, with ties among the probabilities."""
    y, p = answers()
    said = (p[:, 1] >= 0.5).astype(int)
    assert scoring.metrics(y, p, 1, 0.5) == pytest.approx(
        {
            "accuracy": theirs.accuracy_score(y, said),
            "precision": theirs.precision_score(y, said),
            "recall": theirs.recall_score(y, said),
            "f1": theirs.f1_score(y, said),
            "roc_auc": theirs.roc_auc_score(y, p[:, 1]),
            "pr_auc": theirs.average_precision_score(y, p[:, 1]),
            "brier": theirs.brier_score_loss(y, p[:, 1]),
            "log_loss": theirs.log_loss(y, p),
            "ece": scoring.metrics(y, p, 1, 0.5)["ece"],
        }
    )


def test_the_metrics_of_several_classes_are_scikit_learns() -> None:
    """Unweighted means over the classes, one against the rest."""
    y, p = answers(classes=4)
    said = p.argmax(axis=1)
    found = scoring.metrics(y, p, None, 0.5)
    assert found["f1"] == pytest.approx(theirs.f1_score(y, said, average="macro"))
    assert found["precision"] == pytest.approx(theirs.precision_score(y, said, average="macro"))
    assert found["recall"] == pytest.approx(theirs.recall_score(y, said, average="macro"))
    assert found["roc_auc"] == pytest.approx(
        theirs.roc_auc_score(y, p, multi_class="ovr", average="macro")
    )
    assert found["pr_auc"] == pytest.approx(theirs.average_precision_score(np.eye(4)[y], p))
    assert found["brier"] == pytest.approx(theirs.brier_score_loss(y, p))
    assert found["log_loss"] == pytest.approx(theirs.log_loss(y, p))


def test_weights_are_what_copies_of_rows_would_be() -> None:
    """A resample counted by weights has the metrics of the rows it stands for."""
    y, p = answers(rows=60)
    drawn = np.random.default_rng(3).integers(60, size=60)
    weights = np.bincount(drawn, minlength=60)[None, :].astype(float)
    found = {name: value[0] for name, value in scoring.Scorer(y, p, 1)(weights).items()}
    assert found == pytest.approx(scoring.metrics(y[drawn], p[drawn], 1, 0.5))


def test_the_positive_class_may_be_the_first() -> None:
    """Looking for class 0 is looking for class 1 with the columns turned."""
    y, p = answers()
    turned = scoring.metrics(1 - y, p[:, ::-1], 1, 0.3)
    assert scoring.metrics(y, p, 0, 0.3) == pytest.approx(turned)


def test_perfect_calibration_has_no_error_and_boasting_has() -> None:
    """Said 0.8 and right four times of five, against said 1 and right half the time."""
    y = np.array([1, 1, 1, 1, 0])
    honest = np.tile([0.2, 0.8], (5, 1))
    assert scoring.metrics(y, honest, 1, 0.5)["ece"] == pytest.approx(0)
    boasting = np.tile([0.0, 1.0], (4, 1))
    assert scoring.metrics(np.array([1, 0, 1, 0]), boasting, 1, 0.5)["ece"] == pytest.approx(0.5)


def test_one_class_leaves_out_what_is_not_defined() -> None:
    """Without a positive row there is no recall and no area; nothing is made up."""
    _, p = answers(rows=20)
    found = scoring.metrics(np.zeros(20, dtype=np.int64), p, 1, 0.5)
    assert {"accuracy", "brier", "log_loss", "ece"} <= set(found)
    assert not {"f1", "recall", "roc_auc", "pr_auc"} & set(found)
    assert scoring.curves(np.zeros(20, dtype=np.int64), p, 1) == ((), ())


def test_a_model_that_never_says_yes_has_no_precision_to_boast_of() -> None:
    """Its precision and F1 are 0, as scikit-learn has them too."""
    y, p = answers()
    found = scoring.metrics(y, p, 1, 1.1)
    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)


def test_intervals_hold_their_figure_and_come_again() -> None:
    """The same seed draws the same resamples; more rows make narrower intervals."""
    y, p = answers(rows=100)
    found = scoring.intervals(scoring.Scorer(y, p, 1), None, seed=7)
    assert found == scoring.intervals(scoring.Scorer(y, p, 1), None, seed=7)
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "brier"):
        one = found[name]
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high
    many = scoring.intervals(scoring.Scorer(*answers(rows=2000), 1), None, seed=7)
    assert many["f1"].high - many["f1"].low < (found["f1"].high - found["f1"].low) / 2


def test_intervals_of_groups_are_those_of_whole_groups() -> None:
    """Ten rows of one subject, all alike, are one observation."""
    y, p = answers(rows=30)
    groups = np.repeat(np.arange(30), 10)
    copies = scoring.Scorer(np.repeat(y, 10), np.repeat(p, 10, axis=0), 1)
    by_rows = scoring.intervals(copies, None, 1)["accuracy"]
    by_groups = scoring.intervals(copies, groups, 1)["accuracy"]
    assert by_groups.high - by_groups.low > 2 * (by_rows.high - by_rows.low)


def test_very_many_rows_are_resampled_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of the weights is bounded; the resamples are the same."""
    y, p = answers(rows=100)
    whole = scoring.intervals(scoring.Scorer(y, p, 1), None, 0)
    monkeypatch.setattr(scoring, "_CELLS", 3000)
    assert scoring.intervals(scoring.Scorer(y, p, 1), None, 0) == whole


def test_a_model_does_not_differ_from_itself() -> None:
    """Paired resamples: the interval of the difference is nothing but 0."""
    y, p = answers()
    same = scoring.differences(scoring.Scorer(y, p, 1), scoring.Scorer(y, p, 1), None, 0)
    assert {(one.value, one.low, one.high) for one in same.values()} == {(0, 0, 0)}


def test_a_slice_of_few_rows_or_one_class_has_no_made_up_figures() -> None:
    """It is listed with its rows, and None where nothing can be measured."""
    y, p = answers(rows=60)
    y[:20] = 0
    places = np.array(["one class"] * 20 + ["few"] * 5 + ["enough"] * 35)
    found = {one.value: one for one in scoring.slices(y, p, 1, 0.5, {"place": places}, 0)}
    assert (found["few"].rows, found["few"].accuracy, found["few"].f1) == (5, None, None)
    assert found["one class"].accuracy is not None
    assert found["one class"].positives == 0
    assert (found["one class"].f1, found["one class"].roc_auc) == (None, None)
    whole = scoring.metrics(y[25:], p[25:], 1, 0.5)
    assert found["enough"].f1 == pytest.approx(whole["f1"])
    assert found["enough"].f1_low <= found["enough"].f1 <= found["enough"].f1_high


def test_a_slice_of_many_values_shows_those_with_the_most_rows() -> None:
    """A hundred hospitals make no table that anybody reads."""
    y, p = answers(rows=300)
    places = np.array([str(n % 30 if n < 150 else 0) for n in range(300)])
    found = scoring.slices(y, p, 1, 0.5, {"place": places}, 0)
    assert len(found) == scoring.SLICE_VALUES
    assert "0" in {one.value for one in found}


def test_importance_finds_the_feature_that_tells() -> None:
    """Shuffling it costs ROC-AUC; shuffling noise costs nothing; the order says so."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 2))
    y = (x[:, 1] > 0).astype(np.int64)

    def predict(rows: np.ndarray) -> np.ndarray:
        yes = 1 / (1 + np.exp(-3 * rows[:, 1]))
        return np.stack([1 - yes, yes], axis=1)

    first, second = scoring.importance(predict, x, y, 1, ["noise", "signal"], 0)
    assert (first.feature, second.feature) == ("signal", "noise")
    assert first.mean == pytest.approx(0.5, abs=0.1)
    assert second.mean == 0
    assert scoring.importance(predict, x, np.zeros_like(y), 1, ["noise", "signal"], 0) == ()


def test_the_curves_enclose_the_areas() -> None:
    """The trapezoids under the ROC points are the area; both curves end where they must."""
    y, p = answers(rows=150)
    roc, pr = scoring.curves(y, p, 1)
    x, height = np.array(roc).T
    assert np.trapezoid(height, x) == pytest.approx(theirs.roc_auc_score(y, p[:, 1]))
    assert (roc[0], roc[-1]) == ((0, 0), (1, 1))
    assert pr[-1] == pytest.approx((1, y.mean()))
    many = scoring.curves(*answers(rows=5000), 1)[0]
    assert len(many) <= 201


def test_the_best_threshold_is_where_f1_is_highest() -> None:
    """Rare positives with probabilities below one half are found with a lower threshold."""
    y = np.array([0] * 80 + [1] * 20)
    yes = np.concatenate([np.full(80, 0.1), np.full(20, 0.4)])
    p = np.stack([1 - yes, yes], axis=1)
    best = scoring.best_threshold(y, p, 1, "f1")
    assert scoring.metrics(y, p, 1, best)["f1"] == 1
    assert scoring.metrics(y, p, 1, 0.5)["f1"] == 0
    assert scoring.best_threshold(y, p, 1, "roc_auc") == 0.5
