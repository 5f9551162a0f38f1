"""Accuracy without labels, and how confidence is calibrated by the labels there are."""

import random

import numpy as np
import pytest
from tests.monitoring.simulated import (
    label,
    picture_answer,
    picture_version,
    row_answer,
    rows_version,
    store,
)

from andon.monitoring import estimate
from andon.store.database import Database
from andon.store.windows import Windows

COLUMNS = ("confidence_scores", "raw_scores", "detection_count", "prediction")


def drawn(version, count: int, seed: int, flattered: float = 0.0) -> tuple[list, list[int]]:
    """Answers and truths; the confidence is right, or `flattered` too high."""
    draw = random.Random(seed)
    rows, truths = [], []
    for _ in range(count):
        p = draw.random()
        truths.append(int(draw.random() < p))
        shown = min(0.99, p + flattered) if p >= 0.5 else max(0.01, p - flattered)
        rows.append(row_answer(version, shown))
    return rows, truths


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_calibrated_version_is_estimated_within_the_interval(
    sqlite_db: Database, seed: int
) -> None:
    """By the mean of its confidence."""
    version = rows_version(sqlite_db)
    rows, truths = drawn(version, 300, seed)
    right = np.mean(
        [int(row["prediction"]) == truth for row, truth in zip(rows, truths, strict=True)]
    )
    store(sqlite_db, rows)
    windows = Windows(sqlite_db)
    known = estimate.calibration(windows, version)
    assert (known.labels, known.checked) == (0, True)
    found = estimate.estimate(version, windows.newest(version.id, 300, columns=COLUMNS), known)
    assert found is not None
    assert found.low <= right <= found.high
    assert found.high - found.low < 0.25


def test_labels_mend_a_confidence_that_is_too_high(sqlite_db: Database) -> None:
    """After fifty of them."""
    version = rows_version(sqlite_db)
    rows, truths = drawn(version, 400, 4, flattered=0.3)
    right = np.mean(
        [int(row["prediction"]) == truth for row, truth in zip(rows, truths, strict=True)]
    )
    keys = store(sqlite_db, rows)
    windows = Windows(sqlite_db)
    answers = windows.newest(version.id, 400, columns=COLUMNS)
    before = estimate.estimate(version, answers, estimate.calibration(windows, version))
    label(sqlite_db, keys[:49], truths[:49])
    assert estimate.calibration(windows, version).labels == 0
    label(sqlite_db, keys, truths)
    known = estimate.calibration(windows, version)
    after = estimate.estimate(version, answers, known)
    assert known.labels >= estimate.LABELS_NEEDED
    assert before is not None
    assert after is not None
    assert before.value - right > 0.1
    assert abs(after.value - right) < 0.05
    assert after.calibrated


def test_a_picture_without_detections_is_as_sure_as_its_best_score_is_low(
    sqlite_db: Database,
) -> None:
    """And one with detections as sure as the best of them."""
    version = picture_version(sqlite_db)
    store(
        sqlite_db,
        [picture_answer(version, raw_scores=[0.3, 0.1]), picture_answer(version, ("open",), 0.8)],
    )
    rows = Windows(sqlite_db).newest(version.id, 9, columns=COLUMNS)
    assert estimate.chances(version, rows) == pytest.approx([0.8, 0.7])


def test_too_few_answers_are_not_estimated(sqlite_db: Database) -> None:
    """29 are not enough."""
    version = rows_version(sqlite_db)
    store(sqlite_db, drawn(version, 29, 5)[0])
    rows = Windows(sqlite_db).newest(version.id, 99, columns=COLUMNS)
    assert estimate.estimate(version, rows, estimate.Calibration()) is None


def test_a_fit_of_answers_that_are_all_right_stays_sober() -> None:
    """Its weak prior keeps it finite."""
    known = estimate.fit(np.full(60, 0.7), np.ones(60))
    assert 0.7 < known.apply(np.array([0.7]))[0] < 1
    assert known.error > 0.01
