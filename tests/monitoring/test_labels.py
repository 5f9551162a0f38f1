"""`monitoring.labels`: figures from feedback, or how many labels they still take."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tests.monitoring.conftest import NOON, answered, heart_version
from tests.store.builders import add_version, log

from andon.errors import InvalidRequest
from andon.monitoring.labels import NEEDED, NEEDED_OF_A_CLASS, Window, measure
from andon.store.database import Database
from andon.store.feedback import Label


def answers(rows: int, seed: int = 1) -> list[tuple[float, int]]:
    """Probabilities of disease with truths that follow them."""
    random = np.random.default_rng(seed)
    found = np.round(random.random(rows), 3)
    return [(float(p), int(random.random() < p)) for p in found]


def test_figures_come_with_their_intervals(db: Database) -> None:
    """Everything is measured, and each value lies within its bounds."""
    version = heart_version(db)
    pairs = answers(200)
    answered(db, version, [*pairs, *[(0.5, None)] * 50])
    found = measure(db, version)
    assert (found.labelled, found.answers, found.enough) == (200, 250, True)
    assert found.coverage == pytest.approx(200 / 250)
    assert found.positive == "disease"
    assert found.classes == ["no disease", "disease"]
    right = sum((p >= 0.4) == bool(truth) for p, truth in pairs)
    assert found.metrics["accuracy"].value == pytest.approx(right / 200)
    assert np.array(found.confusion).sum() == 200
    assert set(found.metrics) == {
        "accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "brier",
    }  # fmt: skip
    for figure in found.metrics.values():
        assert figure.value is not None
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    assert measure(db, version) == found


def test_too_few_labels_give_no_figure(sqlite_db: Database) -> None:
    """It is said how many there are and how many it takes."""
    version = heart_version(sqlite_db)
    empty = measure(sqlite_db, version)
    assert (empty.labelled, empty.answers, empty.coverage) == (0, 0, None)
    assert empty.metrics["accuracy"].value is None
    answered(sqlite_db, version, answers(NEEDED - 1))
    few = measure(sqlite_db, version)
    assert not few.enough
    assert {figure.value for figure in few.metrics.values()} == {None}
    accuracy = few.metrics["accuracy"]
    assert (accuracy.labels, accuracy.needed) == (NEEDED - 1, NEEDED)


def test_a_class_without_labels_has_no_recall(sqlite_db: Database) -> None:
    """Accuracy is there; what is about the rare class waits for it."""
    version = heart_version(sqlite_db)
    answered(sqlite_db, version, [*[(0.1, 0)] * 60, *[(0.9, 1)] * (NEEDED_OF_A_CLASS - 1)])
    found = measure(sqlite_db, version).metrics
    assert found["accuracy"].value == 1.0
    for name in ("precision", "recall", "f1", "roc_auc", "pr_auc"):
        assert found[name].value is None
        assert (found[name].labels, found[name].needed) == (9, NEEDED_OF_A_CLASS)
    assert found["brier"].value is not None


def test_the_window_is_the_newest_labels(sqlite_db: Database) -> None:
    """Older answers do not count, neither as labels nor as answers."""
    version = heart_version(sqlite_db)
    answered(sqlite_db, version, [(0.9, 0)] * 40)
    answered(sqlite_db, version, [(0.9, 1), (0.9, None)] * 35)
    found = measure(sqlite_db, version, Window.parse("35"))
    assert found.metrics["accuracy"].value == 1.0
    assert (found.labelled, found.answers) == (35, 70)
    hour = measure(sqlite_db, version, Window.parse("1h"))
    assert (hour.labelled, hour.answers) == (75, 110)


def test_a_window_is_a_number_or_a_time() -> None:
    """So "500", "24h" and "7d" are one; words, nothing and too much are not."""
    assert Window.parse("500") == Window(500)
    since = Window.parse(" 24H ").since
    assert since is not None
    assert abs(datetime.now(UTC) - timedelta(hours=24) - since) < timedelta(minutes=1)
    for words in ("", "0", "d", "10001", "-5", "1w", "1.5h", "99999999d", "9999d", "٣"):
        with pytest.raises(InvalidRequest, match="window must be"):
            Window.parse(words)


def test_a_detector_is_judged_by_its_verdict(db: Database) -> None:
    """Anything found is "defect"; a list of labels is one too, unless it is empty."""
    version = add_version(db, description={"task": "object-detection", "labels": ["hole", "short"]})
    found = log(db, version, 30)
    clean = log(db, version, 15, detections=[], detection_count=0)
    said = ["defect"] * 20 + [["hole"]] * 5 + ["ok"] * 5 + [[]] * 10 + ["defect"] * 5
    db.feedback.store(
        [Label(key, actual, NOON) for key, actual in zip([*found, *clean], said, strict=True)]
    )
    figures = measure(db, version)
    assert figures.classes == ["ok", "defect"]
    assert figures.confusion == [[10, 5], [5, 25]]
    assert figures.metrics["precision"].value == pytest.approx(25 / 30)
    assert "roc_auc" not in figures.metrics


def test_a_picture_class_is_compared_with_the_answered_one(sqlite_db: Database) -> None:
    """Three classes: precision, recall and F1 are means over them."""
    about = {"task": "image-classification", "labels": ["a", "b", "c"]}
    version = add_version(sqlite_db, description=about)
    keys = [key for name in "abc" for key in log(sqlite_db, version, 12, prediction=name)]
    sqlite_db.feedback.store([Label(key, "a", NOON) for key in keys])
    found = measure(sqlite_db, version)
    assert found.positive is None
    assert found.metrics["accuracy"].value == pytest.approx(1 / 3)
    assert found.metrics["recall"].value == pytest.approx((1 / 3) / 3)
