"""Which head output shapes mean, at the sizes people really export."""

import numpy as np
import pytest

from andon.errors import ModelRejected
from andon.runtimes.recognition import Clues, Output, recognise


def output(shape, *, name="output0", boxes=640.0, scores=(0.0, 1.0), declared=None, at=None):
    """An output whose trial answers look like a network's: boxes up to `boxes`, scores within.

    Args:
        shape: Of the answer.
        name: Of the output.
        boxes: Largest coordinate.
        scores: Range of everything that is no coordinate.
        declared: Shape as declared, where it differs.
        at: Axis along which the first 4 numbers are coordinates; None: no coordinates.
    """
    rng = np.random.default_rng(0)
    values = rng.uniform(*scores, size=shape).astype(np.float32)
    if at is not None:
        part = np.moveaxis(values, at, -1)
        part[..., :4] = rng.uniform(0, boxes, size=part[..., :4].shape)
    return Output(name, tuple(declared or shape), (values, values))


def name_of(*outputs, **clues) -> str:
    """The head that is recognised."""
    return recognise(outputs, Clues(**{"width": 640, "height": 640, **clues})).name


@pytest.mark.parametrize(
    ("shape", "axis", "expected", "classes"),
    [
        ((1, 84, 8400), 1, "yolov8", 80),
        ((1, 10, 6400), 1, "yolov8", 6),
        ((1, 5, 8400), 1, "yolov8", 1),
        ((1, 8400, 84), 2, "yolov8", 80),
        ((1, 84, 34000), 1, "yolov8", 80),
        ((1, 84, 8500), 1, "yolov8", 80),
        ((1, 25200, 85), 2, "yolov5", 80),
        ((1, 25200, 6), 2, "yolov5", 1),
        ((1, 25500, 85), 2, "yolov5", 80),
    ],
)
def test_the_number_of_places_tells_the_layout(shape, axis, expected, classes):
    """Strides make 8400 places of 640x640 pixels, three anchors make 25200."""
    clues = Clues(width=640, height=640, labels=classes)
    head = recognise([output(shape, at=axis)], clues)
    assert (head.name, head.classes, head.warnings) == (expected, classes, ())


def test_rows_with_objectness_are_told_by_the_number_of_labels():
    """One row per place with 85 numbers and 80 labels has objectness; with 81 it has none."""
    with_objectness = output((1, 8400, 85), at=2)
    assert name_of(with_objectness, labels=80) == "yolov5"
    assert name_of(with_objectness, labels=81) == "yolov8"


def test_rows_without_labels_are_a_guess_that_is_admitted():
    """The warning names the option that settles it."""
    head = recognise([output((1, 8400, 85), at=2)], Clues(width=640, height=640))
    assert any("'head'" in warning for warning in head.warnings)


def test_an_unknown_number_of_places_is_a_guess_that_is_admitted():
    """The shorter axis holds the numbers of a place."""
    head = recognise([output((1, 84, 7777), at=1)], Clues(width=640, height=640))
    assert (head.name, head.classes) == ("yolov8", 80)
    assert head.warnings
    head = recognise([output((1, 7777, 85), at=2)], Clues(width=640, height=640))
    assert (head.name, head.classes) == ("yolov5", 80)
    assert head.warnings


def final_rows(count=300, unit=False) -> Output:
    """Rows of corners, score, class."""
    rows = np.zeros((1, count, 6), np.float32)
    rng = np.random.default_rng(1)
    rows[..., :4] = rng.uniform(0, 1 if unit else 640, (1, count, 4))
    rows[..., 4] = rng.uniform(0, 1, (1, count))
    rows[..., 5] = rng.integers(0, 80, (1, count))
    return Output("output0", (1, count, 6), (rows, rows))


def test_final_rows_are_told_by_whole_class_numbers():
    """Six numbers, the last one whole: also where nothing was found and all are zero."""
    assert name_of(final_rows()) == "end2end"
    empty = np.zeros((1, 300, 6), np.float32)
    assert name_of(Output("output0", (1, 300, 6), (empty, empty))) == "end2end"
    none = empty[:, :0]
    assert name_of(Output("output0", (1, "found", 6), (none, none))) == "end2end"


def test_final_rows_are_told_from_rtdetr_of_two_classes():
    """Both have six numbers per row; RT-DETR's scores are fractions and its boxes shares."""
    assert name_of(output((1, 300, 6), at=2, boxes=1.0)) == "rtdetr"
    assert name_of(output((1, 300, 84), at=2, boxes=1.0)) == "rtdetr"


def test_pairs_of_boxes_and_scores_are_the_detr_family():
    """In either order, logits or probabilities, with or without a class for nothing."""
    boxes = output((1, 300, 4), name="pred_boxes", scores=(0, 1))
    logits = output((1, 300, 81), name="logits", scores=(-9, 9))
    assert name_of(logits, boxes) == "rtdetr"
    head = recognise([boxes, logits], Clues(width=640, height=640, labels=80))
    assert head.classes == 80
    assert head.outputs == (0, 1)


def test_pairs_with_boxes_in_pixels_need_the_option():
    """Nobody can know their order."""
    boxes = output((1, 300, 4), name="boxes", scores=(0, 640))
    scores = output((1, 300, 80), name="scores")
    with pytest.raises(ModelRejected, match="'boxes' float32"):
        name_of(boxes, scores)
    assert name_of(boxes, scores, head="rtdetr") == "rtdetr"


def test_final_boxes_apart_need_pixels():
    """Exporters that answer shares disagree on the order of corners."""
    found = [
        output((1, 100, 4), name="detection_boxes", scores=(0, 1)),
        output((1, 100), name="detection_scores"),
        output((1, 100), name="detection_classes"),
    ]
    with pytest.raises(ModelRejected, match="detection_boxes"):
        name_of(*found)
    found[0] = output((1, 100, 4), name="detection_boxes", scores=(0, 640))
    assert name_of(*found) == "end2end"
    assert name_of(final_rows(unit=True)) == "end2end"


@pytest.mark.parametrize(
    ("shape", "cells"),
    [((1, 12, 12, 3), 2), ((1, 3, 12, 12), 2), ((1, 12, 12, 13), 12), ((1, 20, 12, 2), 1)],
)
def test_maps_that_tile_the_input_are_heat_maps(shape, cells):
    """Channels first or last; also where the input is not square."""
    height = 160 if shape[1] == 20 else 96
    head = recognise([output(shape)], Clues(width=96, height=height))
    assert (head.name, head.classes) == ("fomo", cells)


def test_masks_of_the_input_size_are_no_heat_map():
    """Segmentation of every pixel is not served."""
    with pytest.raises(ModelRejected, match="not understood"):
        name_of(output((1, 21, 640, 640)))


def test_yolov5_with_its_raw_maps_beside_is_read_by_its_first_output():
    """Some exporters leave the feature maps in."""
    maps = [output((1, 3, side, side, 85), name=str(side)) for side in (80, 40, 20)]
    head = recognise([output((1, 25200, 85), at=2), *maps], Clues(width=640, height=640, labels=80))
    assert (head.name, head.outputs) == ("yolov5", (0,))


@pytest.mark.parametrize("shape", [(1, 1000), (1000,), (1, 7), (1, 1000, 1, 1)])
def test_one_number_per_class_is_a_classification(shape):
    """In whatever rank."""
    assert name_of(output(shape, scores=(-5, 5))) == "classification"


def test_a_variable_number_of_rows_is_not_a_classification():
    """Six numbers per row, the number of rows being open."""
    rows = output((4, 7), declared=("rows", 7), scores=(0, 1))
    assert name_of(rows) == "end2end"
    assert name_of(output((1, 7), declared=("batch_size", 7))) == "classification"


def test_rotated_boxes_are_refused():
    """They cannot be drawn as what they are."""
    with pytest.raises(ModelRejected, match="rotated"):
        name_of(output((1, 20, 8400), at=1), kind="obb")


def test_a_named_head_that_does_not_fit_is_refused():
    """Naming the shapes seen."""
    with pytest.raises(ModelRejected, match=r"as 'fomo'.*1, 84, 8400"):
        name_of(output((1, 84, 8400), at=1), head="fomo")
    with pytest.raises(ModelRejected, match="as 'yolov8'"):
        name_of(output((1, 1000)), head="yolov8")


def test_a_named_head_wins_over_the_rules():
    """The person knows the network."""
    assert name_of(output((1, 8400, 85), at=2), head="yolov5") == "yolov5"
    assert name_of(final_rows(), head="end2end") == "end2end"


@pytest.mark.parametrize(
    "shapes", [[(1, 3)] * 2, [(3,)] * 5, [(1, 2, 3, 4, 5)], [(1, 2, 8400)], [()]]
)
def test_whatever_else_comes_is_refused_and_nothing_crashes(shapes):
    """With the shapes in the message."""
    outputs = [output(shape, name=f"out{index}") for index, shape in enumerate(shapes)]
    with pytest.raises(ModelRejected, match="'out0'"):
        recognise(outputs, Clues(width=640, height=640))
