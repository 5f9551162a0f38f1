"""What counts as another answer to the same input."""

from hypothesis import given
from hypothesis import strategies as st

from andon.serving.flips import SAME_PLACE, Found, Said, flip, labels, moved, overlap

boxes = st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(0, 40)] * 2)
found = st.builds(
    Found,
    st.sampled_from(["short", "open", "spur"]),
    st.floats(0.05, 1).map(lambda score: round(score, 4)),
    boxes,
)
pictures = st.builds(lambda some: Said(detections=tuple(some)), st.lists(found, max_size=6))


def one(label: str = "short", x: int = 0, size: int = 10) -> Found:
    """A detection."""
    return Found(label, 0.9, (x, 0, size, size))


@given(pictures)
def test_an_answer_is_the_same_as_itself(said: Said):
    """In any order of its detections, and however sure."""
    other = tuple(
        Found(one.label, one.confidence / 2, one.bbox) for one in reversed(said.detections)
    )
    assert flip(said, Said(detections=other)) is None


@given(pictures, pictures)
def test_it_does_not_matter_which_came_first(before: Said, after: Said):
    """The kind of a flip is the same in both directions."""
    assert flip(before, after) == flip(after, before)


@given(pictures, pictures)
def test_the_kind_says_what_differs(before: Said, after: Said):
    """The verdict goes before the labels, those before the places."""
    kind = flip(before, after)
    if bool(before.detections) != bool(after.detections):
        assert kind == "verdict"
    elif labels(before.detections) != labels(after.detections):
        assert kind == "labels"
    else:
        assert kind in {None, "boxes"}


@given(boxes, boxes)
def test_overlap_is_a_share_and_symmetric(first: tuple[int, ...], second: tuple[int, ...]):
    """1 with itself, 0 apart, never outside."""
    assert 0 <= overlap(first, second) <= 1
    assert overlap(first, second) == overlap(second, first)
    assert overlap(first, first) == 1


@given(st.lists(found, min_size=1, max_size=5))
def test_far_boxes_are_other_places(some: list[Found]):
    """The same labels elsewhere are a flip."""
    far = tuple(
        Found(one.label, one.confidence, (one.bbox[0] + 500, *one.bbox[1:])) for one in some
    )
    assert flip(Said(detections=tuple(some)), Said(detections=far)) == "boxes"


def test_a_box_is_given_to_whom_nothing_else_is_left():
    """The first box could have either place, the second only the one: both have one."""
    before = Said(detections=(one(x=10, size=20), one(x=16, size=20)))
    after = Said(detections=(one(x=15, size=20), one(x=5, size=20)))
    assert overlap((16, 0, 20, 20), (5, 0, 20, 20)) < SAME_PLACE
    assert flip(before, after) is None


def test_a_failure_is_a_flip_of_its_own():
    """Whatever was said before."""
    assert flip(Said(), Said(error="It crashed.")) == "failed"


def test_rows_flip_by_their_class_and_move_by_their_probability():
    """A move of more than 0.1 is listed apart; 0.1 itself is none."""
    before = Said(prediction="1", probability=0.6)
    assert flip(before, Said(prediction="0", probability=0.39)) == "class"
    assert flip(before, Said(prediction="1", probability=0.9)) is None
    assert moved(before, Said(prediction="1", probability=0.71))
    assert not moved(before, Said(prediction="1", probability=0.7))
    assert not moved(before, Said(prediction="1"))
