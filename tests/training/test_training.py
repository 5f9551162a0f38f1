"""The training of the starter detector: crops, targets, resuming, export. Needs PyTorch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the vision extra)")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (the vision extra)")

import onnxruntime  # noqa: E402  # after the skips

from andon.training.pcb import samples  # noqa: E402
from andon.training.pcb.boards import generate_board  # noqa: E402
from andon.training.pcb.export import export  # noqa: E402
from andon.training.pcb.loss import detection_loss, make_targets  # noqa: E402
from andon.training.pcb.network import Detector, Exported, decode_boxes  # noqa: E402
from andon.training.pcb.train import train  # noqa: E402


@pytest.fixture(scope="module")
def pool() -> samples.Pool:
    """Six boards, one of them good."""
    return samples.build_pool(3, 6, processes=1)


def small(out: Path, work: Path, steps: int, say: Callable[[str], object] = str) -> None:
    train(
        out=out,
        work=work,
        seed=3,
        steps=steps,
        boards=4,
        batch=2,
        width=8,
        threads=1,
        save_every=2,
        calibration_boards=4,
        say=say,
    )


def test_a_batch_follows_from_its_generator(pool: samples.Pool) -> None:
    """The same state of the generator, the same crops: what makes training resumable."""
    first, boxes = samples.draw_batch(pool, np.random.default_rng(5), 3)
    second, again = samples.draw_batch(pool, np.random.default_rng(5), 3)
    assert (first == second).all()
    assert all((a == b).all() for a, b in zip(boxes, again, strict=True))
    assert first.shape == (3, 1, samples.CROP, samples.CROP)


def test_boxes_move_with_the_picture_when_a_crop_is_turned_or_mirrored() -> None:
    """A black block stays in its box through every symmetry."""
    image = np.ones((samples.CROP, samples.CROP), dtype=np.float32)
    image[40:60, 100:150] = 0
    boxes = np.asarray([[2, 100, 40, 150, 60]], dtype=np.float32)
    for turned, moved in (
        (image[:, ::-1], samples._mirrored(boxes)),
        (np.rot90(image), samples._turned(boxes)),
    ):
        _, x0, y0, x1, y1 = moved[0].astype(int)
        assert (turned[y0:y1, x0:x1] == 0).all()
        assert (turned == 0).sum() == (y1 - y0) * (x1 - x0)


def test_a_pool_is_read_back_from_its_cache(tmp_path: Path) -> None:
    """Boards are drawn once."""
    cache = tmp_path / "pool.npz"
    made = samples.build_pool(3, 2, processes=1, cache=cache)
    read = samples.build_pool(3, 2, processes=1, cache=cache)
    assert (made.bits == read.bits).all()
    assert (made.boxes == read.boxes).all()


def test_the_cells_in_the_middle_of_a_box_are_its_targets() -> None:
    """They carry its class and its corners, and the rim around them is not judged."""
    targets = make_targets([np.asarray([[4, 96, 96, 136, 136]], dtype=np.float32)], 320)
    rows, columns = torch.nonzero(targets.positive[0], as_tuple=True)
    assert set(rows.tolist()) == set(columns.tolist()) == {13, 14, 15}
    assert targets.classes[0, 4].sum() == 9
    assert targets.classes.sum() == 9
    assert targets.boxes[0, :, 14, 14].tolist() == [96, 96, 136, 136]
    assert targets.judged[0, 0, 12, 14] == 0
    assert targets.judged[0, 0, 5, 5] == 1


def test_a_box_that_is_cut_off_is_not_judged() -> None:
    """Neither found nor missed: its cells may say anything."""
    targets = make_targets([np.asarray([[-1, 0, 100, 12, 132]], dtype=np.float32)], 320)
    assert not targets.positive.any()
    assert (targets.judged == 0).any()


def test_the_right_boxes_cost_nothing() -> None:
    """The box loss of a map that says exactly what the targets say is zero."""
    targets = make_targets([np.asarray([[0, 96, 96, 136, 128]], dtype=np.float32)], 320)
    raw = torch.zeros(1, 10, 40, 40)
    centres = decode_boxes(torch.full((1, 4, 40, 40), -40.0))
    middle = (centres[:, :2] + centres[:, 2:]) / 2
    raw[:, :2] = ((middle - targets.boxes[:, :2]) / 8).clamp(min=0.02).log()
    raw[:, 2:4] = ((targets.boxes[:, 2:] - middle) / 8).clamp(min=0.02).log()
    _, boxes = detection_loss(raw, targets)
    assert float(boxes) == pytest.approx(0.0, abs=1e-4)


def test_a_training_that_was_killed_carries_on(tmp_path: Path) -> None:
    """Killed after the first checkpoint and started again, it reaches the same file."""

    def kill(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="step 2/4"):
        small(tmp_path / "a.onnx", tmp_path / "a", 4, kill)
    small(tmp_path / "a.onnx", tmp_path / "a", 4)
    small(tmp_path / "b.onnx", tmp_path / "b", 4)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_exported_file_says_the_same_as_the_network(tmp_path: Path) -> None:
    """ONNX Runtime and PyTorch agree, for one image and for two, and the metadata is there."""
    torch.manual_seed(1)
    detector = Detector(8).eval()
    path = tmp_path / "small.onnx"
    thresholds = (0.5, -0.5, 0.0, 0.0, 1.0, 0.0)
    export(detector, thresholds, path, version="3", date="2026-01-01", description="a test")
    images = np.stack([generate_board(seed).image for seed in (1, 2)])[:, None] / np.float32(255)
    session = onnxruntime.InferenceSession(str(path))
    expected = Exported(detector, torch.ones(6), -torch.tensor(thresholds)).eval()
    with torch.no_grad():
        by_torch = expected(torch.from_numpy(images)).numpy()
    for count in (1, 2):
        (found,) = session.run(["output0"], {"images": images[:count]})
        assert found.shape == (count, 10, 6400)
        assert np.abs(found - by_torch[:count]).max() < 1e-3
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["task"] == "detect"
    assert metadata["names"].startswith("{0: 'open'")
    assert metadata["version"] == "3"
