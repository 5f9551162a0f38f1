"""Average precision and its relatives, against hand-made examples and general properties."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.training.evaluation import (
    Box,
    Prediction,
    Truth,
    average_precision,
    evaluate_detections,
    overlap,
)

CLASSES = ("open", "short")

boxes = st.tuples(
    st.integers(0, 90), st.integers(0, 90), st.integers(1, 40), st.integers(1, 40)
).map(lambda b: (float(b[0]), float(b[1]), float(b[2]), float(b[3])))
truths = st.dictionaries(
    st.sampled_from(["a.png", "b.png", "c.png"]),
    st.lists(st.tuples(st.sampled_from(CLASSES), boxes), max_size=6),
    min_size=1,
)
scores = st.sampled_from([0.1, 0.3, 0.5, 0.5, 0.8, 0.9])


@st.composite
def measured(draw: st.DrawFn) -> tuple[dict[str, list[Prediction]], dict[str, list[Truth]]]:
    """Truths of a few images and any detections in them."""
    known = draw(truths)
    found = {
        image: draw(st.lists(st.tuples(st.sampled_from(CLASSES), scores, boxes), max_size=8))
        for image in known
    }
    return found, known


def test_overlap_of_a_box_with_its_half_is_one_half() -> None:
    """The definition, by hand: 50 shared of 100 in all."""
    assert overlap((0, 0, 10, 10), (0, 0, 10, 5)) == pytest.approx(0.5)


def test_overlap_of_touching_boxes_is_zero() -> None:
    """A common edge is no common area."""
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0.0


@given(boxes, boxes)
def test_overlap_does_not_care_which_box_comes_first(first: Box, second: Box) -> None:
    """IoU is symmetric, between 0 and 1, and 1 for equal boxes."""
    assert overlap(first, second) == overlap(second, first)
    assert 0.0 <= overlap(first, second) <= 1.0
    assert overlap(first, first) == 1.0


def test_average_precision_by_hand() -> None:
    """Right, wrong, right of two truths: half at precision 1, half at 2/3."""
    assert average_precision([True, False, True], 2) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_average_precision_takes_the_best_precision_at_or_beyond_a_recall() -> None:
    """Wrong, right, right: the dip before the second right one is filled up from behind."""
    assert average_precision([False, True, True], 2) == pytest.approx(2 / 3)


def test_average_precision_counts_what_was_never_found() -> None:
    """One of four found at once is a quarter."""
    assert average_precision([True], 4) == pytest.approx(0.25)


def test_average_precision_of_nothing_to_find_is_unknown() -> None:
    """Without truths there is no recall, hence no number, rather than a zero."""
    assert average_precision([False], 0) is None


def test_average_precision_refuses_more_hits_than_truths() -> None:
    """That would mean a truth was matched twice."""
    with pytest.raises(ValueError, match="matched twice"):
        average_precision([True, True], 1)


@given(truths)
def test_perfect_predictions_score_one(known: dict[str, list[Truth]]) -> None:
    """The truths themselves, as detections, give AP 1 for every class that occurs."""
    distinct = {image: sorted(set(found)) for image, found in known.items()}
    report = evaluate_detections(
        {i: [(label, 0.9, box) for label, box in found] for i, found in distinct.items()},
        distinct,
        CLASSES,
        iou=1.0,
    )
    for score in report.classes:
        assert score.average_precision == (1.0 if score.truths else None)
        assert score.false_alarms == 0
        assert score.missed == 0


@given(measured(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_detections_and_images_does_not_matter(
    data: tuple[dict[str, list[Prediction]], dict[str, list[Truth]]], dice: random.Random
) -> None:
    """A shuffled input gives the same report."""
    found, known = data
    images = list(known)
    dice.shuffle(images)
    shuffled = {i: dice.sample(found[i], len(found[i])) for i in images}
    moved = {i: dice.sample(known[i], len(known[i])) for i in images}
    assert evaluate_detections(shuffled, moved, CLASSES) == evaluate_detections(
        found, known, CLASSES
    )


@given(measured(), st.floats(0.05, 1.0))
@settings(max_examples=60)
def test_every_number_stays_within_its_bounds(
    data: tuple[dict[str, list[Prediction]], dict[str, list[Truth]]], iou: float
) -> None:
    """Ratios lie in 0..1 and the counts add up."""
    found, known = data
    report = evaluate_detections(found, known, CLASSES, iou=iou)
    for score in (*report.classes, report.overall):
        assert score.right + score.missed == score.truths
        for value in (score.average_precision, score.precision, score.recall, score.f1):
            assert value is None or 0.0 <= value <= 1.0


def test_a_second_detection_of_one_defect_is_a_false_alarm() -> None:
    """Each truth is matched once, by the detection with the higher score."""
    box = (10.0, 10.0, 30.0, 30.0)
    report = evaluate_detections(
        {"a": [("open", 0.9, box), ("open", 0.8, box)]}, {"a": [("open", box)]}, CLASSES
    )
    assert (report.classes[0].right, report.classes[0].false_alarms) == (1, 1)
    assert report.classes[0].average_precision == 1.0


def test_the_right_place_with_the_wrong_class_is_wrong() -> None:
    """It misses one class and is a false alarm of the other."""
    box = (10.0, 10.0, 30.0, 30.0)
    report = evaluate_detections({"a": [("short", 0.9, box)]}, {"a": [("open", box)]}, CLASSES)
    assert report.classes[0].missed == 1
    assert report.classes[1].false_alarms == 1
    assert report.mean_average_precision == 0.0


def test_a_detection_counts_for_its_own_image_only() -> None:
    """The same place in another image is not the same defect."""
    box = (10.0, 10.0, 30.0, 30.0)
    report = evaluate_detections(
        {"a": [("open", 0.9, box)], "b": []}, {"a": [], "b": [("open", box)]}, CLASSES
    )
    assert report.overall.right == 0


def test_the_threshold_decides_about_counts_but_not_about_average_precision() -> None:
    """AP walks through all scores; precision and recall are those at one of them."""
    box = (10.0, 10.0, 30.0, 30.0)
    report = evaluate_detections(
        {"a": [("open", 0.4, box)]}, {"a": [("open", box)]}, CLASSES, threshold=0.5
    )
    assert report.classes[0].average_precision == 1.0
    assert report.classes[0].recall == 0.0
    assert report.classes[0].precision is None
    assert report.balanced_threshold == 0.4


def test_a_detection_of_an_unknown_class_is_refused() -> None:
    """A typing error in a class name would otherwise just lower the numbers."""
    with pytest.raises(ValueError, match="unknown class 'hole'"):
        evaluate_detections({"a": [("hole", 0.9, (0, 0, 1, 1))]}, {"a": []}, CLASSES)


def test_a_detection_in_an_unknown_image_is_refused() -> None:
    """Nothing could be said about it."""
    with pytest.raises(ValueError, match="'b'"):
        evaluate_detections({"b": []}, {"a": []}, CLASSES)


def test_the_table_names_every_class_and_the_mean() -> None:
    """What the command line prints."""
    box = (10.0, 10.0, 30.0, 30.0)
    report = evaluate_detections({"a": [("open", 0.9, box)]}, {"a": [("open", box)]}, CLASSES)
    assert "open" in report.table()
    assert "mAP 1.000 at IoU >= 0.33 over 1 images" in report.table()
    assert report.to_dict()["mean_average_precision"] == 1.0
