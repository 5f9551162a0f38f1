"""The shipped starter detector: what its file promises, and that it finds defects."""

import ast
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from andon.cli.evaluate import _SCORE_FLOOR
from andon.runtimes.geometry import IOU
from andon.training.datasets import load_boxes
from andon.training.evaluation import (
    Box,
    Prediction,
    evaluate_dataset,
    evaluate_detections,
    overlap,
)
from andon.training.pcb.boards import CLASSES, generate_board

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "deeppcb"
FRESH = 424_242_000  # seeds of boards that were neither trained nor calibrated on


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    """The shipped model in a plain ONNX Runtime session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    with resources.as_file(resources.files("andon.starter") / "pcb.onnx") as path:
        return onnxruntime.InferenceSession(str(path), options)


def detect(
    session: onnxruntime.InferenceSession, image: NDArray[np.uint8], floor: float = 0.02
) -> Sequence[Prediction]:
    """Boxes by class and falling score, without those that overlap a better one."""
    (output,) = session.run(None, {"images": image[None, None].astype(np.float32) / 255})
    found: list[Prediction] = []
    for kind, label in enumerate(CLASSES):
        scores = output[0, 4 + kind]
        kept: list[Box] = []
        for cell in np.argsort(-scores):
            if scores[cell] < floor:
                break
            cx, cy, w, h = (float(v) for v in output[0, :4, cell])
            box = (cx - w / 2, cy - h / 2, w, h)
            if all(overlap(box, other) <= 0.45 for other in kept):
                kept.append(box)
                found.append((label, float(scores[cell]), box))
    return found


def test_the_file_is_small() -> None:
    """At most 3 MB, so that the package stays light."""
    assert 0 < len((resources.files("andon.starter") / "pcb.onnx").read_bytes()) <= 3 * 1024 * 1024


def test_the_model_card_lies_beside_the_model() -> None:
    """And says what it is for, what it was measured on and how it may be used."""
    card = (resources.files("andon.starter") / "pcb.md").read_text(encoding="utf-8")
    for word in ("mAP", "DeepPCB", "MIT", "generated", "Limits", *CLASSES):
        assert word in card


def test_the_metadata_names_the_classes_in_deeppcbs_order(
    session: onnxruntime.InferenceSession,
) -> None:
    """Written as Ultralytics writes it, so that every runtime for YOLO models reads it."""
    metadata = session.get_modelmeta().custom_metadata_map
    assert tuple(ast.literal_eval(metadata["names"]).values()) == CLASSES
    assert metadata["task"] == "detect"
    assert metadata["stride"] == "8"
    assert metadata["imgsz"] == "[640, 640]"
    assert metadata["channels"] == "1"
    assert metadata["license"] == "MIT"
    assert 0.0 < float(metadata["andon.threshold"]) < 1.0


def test_boards_can_be_judged_in_batches(session: onnxruntime.InferenceSession) -> None:
    """The batch axis is free, and a board's result does not depend on its neighbours."""
    images = np.stack([generate_board(FRESH + i).image for i in range(3)])[:, None]
    batch = images.astype(np.float32) / 255
    (together,) = session.run(None, {"images": batch})
    assert together.shape == (3, 4 + len(CLASSES), 6400)
    for index in range(3):
        (alone,) = session.run(None, {"images": batch[index : index + 1]})
        assert np.abs(alone[0] - together[index]).max() < 1e-3


def test_scores_are_probabilities(session: onnxruntime.InferenceSession) -> None:
    """After the sigmoid: between 0 and 1, and near 0 on an empty board."""
    empty = np.ones((1, 1, 640, 640), dtype=np.float32)
    (output,) = session.run(None, {"images": empty})
    assert output[:, 4:].min() >= 0.0
    assert output[:, 4:].max() < 0.5


def test_defects_of_fresh_generated_boards_are_found(
    session: onnxruntime.InferenceSession,
) -> None:
    """Boards of the kind it was trained on, but never seen."""
    boards = {str(i): generate_board(FRESH + i) for i in range(20)}
    report = evaluate_detections(
        {name: detect(session, board.image) for name, board in boards.items()},
        {
            name: [(b.label, (b.x, b.y, b.width, b.height)) for b in board.boxes]
            for name, board in boards.items()
        },
        CLASSES,
    )
    assert report.mean_average_precision is not None
    assert report.mean_average_precision >= 0.8


@pytest.mark.skipif(not SHARED.is_dir(), reason="the DeepPCB images are not beside the checkout")
def test_defects_of_real_boards_are_found(session: onnxruntime.InferenceSession) -> None:
    """Every fifteenth real board: the model card's number holds, with room for so small a part."""
    dataset = load_boxes(SHARED)
    part = type(dataset)(dataset.root, dataset.format, dataset.classes, dataset.images[::15])

    def look(path: Path) -> Sequence[Prediction]:
        with Image.open(path) as image:
            return detect(session, np.asarray(image.convert("L")))

    report = evaluate_dataset(part, look)
    assert report.mean_average_precision is not None
    assert report.mean_average_precision >= 0.8


def test_the_card_is_measured_with_what_the_product_does() -> None:
    """The suppression and the score floor of the card are those of serving and `andon evaluate`."""
    card = (resources.files("andon.starter") / "pcb.md").read_text("utf-8")
    assert f"suppression at IoU {IOU:g}" in card
    assert f"Detections down to a score of {_SCORE_FLOOR:g} count" in " ".join(card.split())
