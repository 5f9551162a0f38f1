"""Generated boards: the same for the same seed, good or with defects that are what they say."""

import hashlib

import numpy as np
import pytest

from andon.training.pcb.boards import CLASSES, Board, generate_board


def same(first: Board, second: Board) -> bool:
    return bool((first.image == second.image).all()) and first.boxes == second.boxes


def test_a_board_follows_from_its_seed() -> None:
    """Twice the same seed, twice the same pixels and boxes."""
    assert same(generate_board(7), generate_board(7))


def test_another_seed_gives_another_board() -> None:
    """Seeds are not ignored."""
    digests = {hashlib.sha256(generate_board(s, size=320).image).hexdigest() for s in range(6)}
    assert len(digests) == 6


def test_a_board_looks_like_a_binarised_scan() -> None:
    """640 x 640 bytes, black and white only."""
    board = generate_board(3)
    assert board.image.shape == (640, 640)
    assert board.image.dtype == np.uint8
    assert set(np.unique(board.image)) <= {0, 255}


def test_boards_have_copper_and_room() -> None:
    """No style leaves the average board empty or full."""
    shares = [float((generate_board(seed, defects=0).image == 0).mean()) for seed in range(20)]
    assert 0.1 < float(np.mean(shares)) < 0.7


def test_a_good_board_has_no_boxes() -> None:
    """Zero defects asked for, zero made."""
    assert generate_board(5, defects=0).boxes == []


def test_the_good_board_of_a_seed_has_the_same_layout() -> None:
    """It can serve as the template: beyond defects only edges differ, as in real pairs."""
    differing = [
        float((generate_board(seed, defects=0).image != generate_board(seed).image).mean())
        for seed in range(8)
    ]
    assert 0.0 < float(np.mean(differing)) < 0.06


def test_every_box_lies_inside_the_board_and_holds_a_change() -> None:
    """Boxes have room around the defect, but never reach over the border."""
    for seed in range(12):
        board = generate_board(seed)
        for box in board.boxes:
            assert box.label in CLASSES
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= 640
            assert box.y + box.height <= 640
            part = board.image[
                int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)
            ]
            assert 0 in part
            assert 255 in part


def test_every_class_occurs() -> None:
    """A few boards together show all six defects."""
    seen = {box.label for seed in range(12) for box in generate_board(seed).boxes}
    assert seen == set(CLASSES)


def test_real_boards_number_of_defects_is_met_on_average() -> None:
    """1 to 15, about 7, as on the boards of DeepPCB."""
    counts = [len(generate_board(seed).boxes) for seed in range(25)]
    assert max(counts) <= 15
    assert 4.5 < float(np.mean(counts)) < 8.5


def test_asking_for_many_defects_gives_at_most_that_many() -> None:
    """A board without room gets fewer, never more."""
    assert 0 < len(generate_board(2, size=320, defects=8).boxes) <= 8


@pytest.mark.parametrize(
    "arguments", [{"seed": -1}, {"seed": 1, "size": 10}, {"seed": 1, "defects": -1}]
)
def test_impossible_boards_are_refused(arguments: dict[str, int]) -> None:
    """With a sentence that names the argument's value."""
    with pytest.raises(ValueError, match=r"must"):
        generate_board(**arguments)
