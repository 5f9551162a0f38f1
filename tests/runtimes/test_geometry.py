"""Boxes between picture and model, and suppression."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.runtimes.base import Resize
from andon.runtimes.geometry import IOU, blind_warning, mapping, suppress

sides = st.integers(1, 5000)
model_sides = st.integers(8, 1024)


@st.composite
def places(draw):
    """A mapping of any mode and aspect, and a whole-pixel box the model can see entirely."""
    place = mapping(
        draw(st.sampled_from(list(Resize))),
        draw(sides),
        draw(sides),
        draw(model_sides),
        draw(model_sides),
    )
    left, top, right, bottom = place.seen
    low_x, high_x = int(np.ceil(left)), int(right)
    low_y, high_y = int(np.ceil(top)), int(bottom)
    if high_x - low_x < 1 or high_y - low_y < 1:
        return place, None
    x = draw(st.integers(low_x, high_x - 1))
    y = draw(st.integers(low_y, high_y - 1))
    width = draw(st.integers(1, high_x - x))
    height = draw(st.integers(1, high_y - y))
    return place, (x, y, width, height)


@settings(deadline=None)
@given(places())
def test_a_box_that_goes_to_the_model_and_back_is_the_same_box(case):
    """Within one pixel, for every mode and aspect."""
    place, box = case
    if box is None:
        return
    x, y, width, height = box
    corners = np.array([[x, y, x + width, y + height]], np.float32)
    back, keep = place.to_picture(place.to_model(corners))
    assert keep.all()
    assert np.abs(back[0] - np.array(box)).max() <= 1


@settings(deadline=None)
@given(places(), st.lists(st.tuples(*[st.floats(-2000, 3000, width=32)] * 4), max_size=8))
def test_whatever_a_model_answers_the_box_lies_in_the_picture(case, rows):
    """Boxes turned inside out, far away or without size included."""
    place, _ = case
    back, _ = place.to_picture(np.array(rows, np.float32).reshape(-1, 4))
    assert (back[:, :2] >= 0).all()
    assert (back[:, 2:] >= 1).all()
    assert (back[:, 0] + back[:, 2] <= place.width).all()
    assert (back[:, 1] + back[:, 3] <= place.height).all()


@settings(deadline=None)
@given(places())
def test_the_seen_part_and_the_content_are_the_same_area(case):
    """What is drawn on the input is what the mapping says, within a rounded pixel."""
    place, _ = case
    left, top, right, bottom = place.content
    assert 0 <= left < right <= place.model_width
    assert 0 <= top < bottom <= place.model_height
    seen = place.to_model(np.array([place.seen], np.float32))[0]
    assert np.abs(seen - np.array(place.content)).max() <= 1.01


def test_a_box_that_sticks_out_is_cut_and_not_moved():
    """Corners are clamped, then the size is computed."""
    place = mapping(Resize.STRETCH, 100, 100, 100, 100)
    back, keep = place.to_picture(np.array([[-20, 10, 40, 30], [60, 60, 130, 110]], np.float32))
    assert back.tolist() == [[0, 10, 40, 20], [60, 60, 40, 40]]
    assert keep.all()


def test_a_box_whose_centre_lies_in_padding_is_dropped():
    """Models see things at the edge of padding."""
    place = mapping(Resize.LETTERBOX, 200, 100, 100, 100)
    assert place.content == (0, 25, 100, 75)
    boxes = np.array([[10, 0, 30, 20], [10, 20, 30, 40], [10, 80, 30, 90]], np.float32)
    _, keep = place.to_picture(boxes)
    assert keep.tolist() == [False, True, False]


def test_cropping_hides_the_ends_of_the_longer_side():
    """A 4:3 picture on a square input loses a quarter."""
    place = mapping(Resize.CROP, 640, 480, 96, 96)
    assert place.blind_share == pytest.approx(0.25)
    assert place.seen == pytest.approx((80, 0, 560, 480))
    assert mapping(Resize.STRETCH, 640, 480, 96, 96).blind_share == 0
    assert mapping(Resize.LETTERBOX, 640, 480, 96, 96).blind_share == 0


def test_only_cropping_warns_of_a_blind_area():
    """With the share that usual cameras lose."""
    (warning,) = blind_warning(Resize.CROP, 96, 96)
    assert "25% of a 4:3 picture" in warning
    assert blind_warning(Resize.STRETCH, 96, 96) == ()
    (narrow,) = blind_warning(Resize.CROP, 640, 480)
    assert "4:3" not in narrow


def boxes_of(*rows) -> np.ndarray:
    """Corners."""
    return np.array(rows, np.float32).reshape(-1, 4)


def test_the_stronger_of_two_overlapping_boxes_stays():
    """And the weaker goes, where they are of one class."""
    boxes = boxes_of((0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60))
    scores = np.array([0.6, 0.9, 0.5], np.float32)
    assert suppress(boxes, scores, np.array([0, 0, 0])).tolist() == [1, 2]
    assert suppress(boxes, scores, np.array([0, 1, 0])).tolist() == [1, 0, 2]


def test_a_suppressed_box_suppresses_nothing():
    """Of a chain the first and the third stay."""
    boxes = boxes_of((0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10))
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert suppress(boxes, scores, np.zeros(3, np.intp)).tolist() == [0, 2]


def test_suppression_of_nothing_and_of_one_is_simple():
    """No candidates, no boxes."""
    assert suppress(boxes_of(), np.empty(0, np.float32), np.empty(0, np.intp)).tolist() == []
    one = np.array([0.3], np.float32)
    assert suppress(boxes_of((0, 0, 1, 1)), one, np.zeros(1, np.intp)).tolist() == [0]


def test_boxes_without_area_silence_nobody():
    """Some models answer sizes below nothing; such a box has no overlap with any."""
    boxes = boxes_of((10, 10, 0, 0), (0, 0, 10, 10), (8, 2, 2, 8), (5, 5, 5, 5), (5, 5, 5, 5))
    scores = np.linspace(0.9, 0.1, 5).astype(np.float32)
    assert suppress(boxes, scores, np.zeros(5, np.intp)).tolist() == [0, 1, 2, 3, 4]


def test_only_the_best_candidates_take_part_and_only_so_many_leave():
    """A model gone mad costs bounded time."""
    count = 5000
    corners = np.arange(count, dtype=np.float32)[:, None] * 20 + np.array([0, 0, 10, 10])
    scores = np.linspace(0.1, 0.9, count).astype(np.float32)
    kept = suppress(corners.astype(np.float32), scores, np.zeros(count, np.intp))
    assert kept.tolist() == list(range(count - 1, count - 101, -1))


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 60)] * 4, st.integers(0, 2)), max_size=30))
def test_suppression_equals_the_textbook(rows):
    """The plain loop: take the best, drop what overlaps it, repeat."""
    boxes = boxes_of(*[(x, y, x + w, y + h) for x, y, w, h, _ in rows])
    classes = np.array([kind for *_, kind in rows], np.intp)
    scores = np.linspace(0.9, 0.1, len(rows)).astype(np.float32)
    expected: list[int] = []
    for index in range(len(rows)):
        if all(
            classes[index] != classes[other] or overlap(boxes[index], boxes[other]) <= IOU
            for other in expected
        ):
            expected.append(index)
    assert suppress(boxes, scores, classes).tolist() == expected


def overlap(one, two) -> float:
    """Intersection over union."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(width, 0) * max(height, 0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)) - shared
    return float(shared / union) if union else 0.0
