"""`monitoring.intervals`: the figures are scikit-learn's, and the bounds hold what they should."""

from typing import Any

import numpy as np
import pytest
from tests.support.policy import absent

from andon.monitoring import intervals

try:
    from sklearn import metrics
except ImportError:  # pragma: no cover - without the extra `train`
    metrics = None


@pytest.fixture
def sklearn_metrics() -> Any:
    """scikit-learn's definitions."""
    if metrics is None:
        absent("scikit-learn is not installed: pip install 'andon[train]'.")
    return metrics


def drawn(rows: int, classes: int, seed: int) -> tuple[Any, Any, Any]:
    """True classes, answered classes and probabilities with many ties."""
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=rows)
    raw = np.round(random.random((rows, classes)), 1) + 0.05
    raw[np.arange(rows), truth] += np.round(random.random(rows), 1)
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return truth, probabilities.argmax(axis=1), probabilities


@pytest.mark.parametrize("seed", range(6))
def test_binary_figures_are_those_of_scikit_learn(sklearn_metrics: Any, seed: int) -> None:
    """Accuracy, precision, recall, F1, both areas and Brier, on scores with ties."""
    truth, said, probabilities = drawn(60, 2, seed)
    counts = intervals.confusion(truth, said, 2)
    assert counts.tolist() == sklearn_metrics.confusion_matrix(truth, said).tolist()
    found = intervals.from_counts(counts, 1)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, said))
    assert found["precision"] == pytest.approx(sklearn_metrics.precision_score(truth, said))
    assert found["recall"] == pytest.approx(sklearn_metrics.recall_score(truth, said))
    assert found["f1"] == pytest.approx(sklearn_metrics.f1_score(truth, said))
    area, average, brier = intervals.ranked(probabilities, truth, 1)(None)
    scores = probabilities[:, 1]
    assert area == pytest.approx(sklearn_metrics.roc_auc_score(truth, scores))
    assert average == pytest.approx(sklearn_metrics.average_precision_score(truth, scores))
    assert brier == pytest.approx(sklearn_metrics.brier_score_loss(truth, scores))


@pytest.mark.parametrize("classes", [3, 5])
def test_figures_of_many_classes_are_macro_means(sklearn_metrics: Any, classes: int) -> None:
    """Of the classes that occur, like scikit-learn's `macro` and one against the rest."""
    truth, said, probabilities = drawn(80, classes, classes)
    found = intervals.from_counts(intervals.confusion(truth, said, classes), None)
    for name in ("precision", "recall", "f1"):
        wanted = getattr(sklearn_metrics, f"{name}_score")(
            truth, said, average="macro", zero_division=0
        )
        assert found[name] == pytest.approx(wanted)
    area, _, brier = intervals.ranked(probabilities, truth, None)(None)
    assert area == pytest.approx(
        sklearn_metrics.roc_auc_score(truth, probabilities, multi_class="ovr")
    )
    known = np.eye(classes)[truth]
    assert brier == pytest.approx(float(((probabilities - known) ** 2).sum(axis=1).mean()))


def test_a_resample_is_measured_like_its_rows(sklearn_metrics: Any) -> None:
    """Rows that are drawn twice count twice, and those left out do not."""
    truth, _, probabilities = drawn(50, 2, 3)
    rows = next(iter(intervals.resampled_rows(50)))
    area, average, brier = intervals.ranked(probabilities, truth, 1)(rows)
    scores = probabilities[rows, 1]
    assert area == pytest.approx(sklearn_metrics.roc_auc_score(truth[rows], scores))
    assert average == pytest.approx(sklearn_metrics.average_precision_score(truth[rows], scores))
    assert brier == pytest.approx(sklearn_metrics.brier_score_loss(truth[rows], scores))


def test_wilson_is_the_published_interval() -> None:
    """8 of 10: 0.490 to 0.943; the ends stay inside 0 to 1."""
    assert intervals.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert intervals.wilson(0, 10)[0] == 0.0
    assert intervals.wilson(10, 10)[1] == 1.0


def test_nothing_is_no_division() -> None:
    """A share of nothing is 0, and an area without both classes is not a number."""
    empty = intervals.from_counts(np.zeros((2, 2), np.int64), 1)
    assert {float(value) for value in empty.values()} == {0.0}
    alone = intervals.ranked(np.array([[0.2, 0.8]]), np.array([1]), 1)(None)
    assert np.isnan(alone[:2]).all()


def test_the_same_rows_give_the_same_bounds() -> None:
    """The bootstrap is seeded; two equal models never differ in it."""
    truth, said, _ = drawn(80, 3, 1)
    first, second = intervals.resampled(truth, [said, said], 3, None)
    (again,) = intervals.resampled(truth, [said], 3, None)
    for name, values in first.items():
        assert (values == second[name]).all()
        assert (values == again[name]).all()
        assert len(values) == intervals.RESAMPLES


@pytest.mark.parametrize(("classes", "positive"), [(2, 1), (4, None)])
def test_resampled_figures_are_a_bootstrap_of_the_rows(classes: int, positive: int | None) -> None:
    """Bounds agree with those of rows that are really drawn again."""
    truth, said, _ = drawn(150, classes, 2)
    (found,) = intervals.resampled(truth, [said], classes, positive)
    random = np.random.default_rng(5)
    samples = []
    for _ in range(1_000):
        rows = random.integers(150, size=150)
        table = intervals.confusion(truth[rows], said[rows], classes)
        samples.append(intervals.from_counts(table, positive))
    for name, values in found.items():
        wanted = np.percentile([float(one[name]) for one in samples], (2.5, 97.5))
        assert intervals.percentiles(values) == pytest.approx(tuple(wanted), abs=0.02)


def test_a_thousand_classes_take_little_memory() -> None:
    """Samples are counted by what occurs, not by what could."""
    random = np.random.default_rng(1)
    truth, said = (random.integers(1_000, size=500) for _ in range(2))
    (found,) = intervals.resampled(truth, [said], 1_000, None)
    assert found["accuracy"].max() < 0.1
    assert len(list(intervals.resampled_rows(10, 1_000))) == 50
