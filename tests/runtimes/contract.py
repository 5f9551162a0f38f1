"""What every runtime must do, whatever the format. Used by the tests of each one."""

import time

import numpy as np
import pytest

from andon.errors import RuntimeFailed
from andon.runtimes.base import Inference, LoadedModel, ModelDescription, Picture, Resize, Task

FAR = 30.0


def picture(width=256, height=256, spots=(), colour=(255, 255, 255)) -> Picture:
    """A black picture with bright squares: (x, y, width, height), pixels."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for x, y, spot_width, spot_height in spots:
        pixels[y : y + spot_height, x : x + spot_width] = colour
    return Picture(pixels, width, height, "PNG")


def gray(source: Picture) -> Picture:
    """The same picture with one channel."""
    return Picture(source.pixels[:, :, 0].copy(), source.width, source.height, source.format)


def soon(seconds: float = FAR) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def check_description(description: ModelDescription, expected_format: str) -> None:
    """A description is complete and fit to be shown."""
    assert description.format == expected_format
    assert description.name
    assert isinstance(description.task, Task)
    assert isinstance(description.resize, Resize)
    assert description.width > 0
    assert description.height > 0
    assert description.channels in {1, 3}
    assert len(set(description.labels)) == len(description.labels)
    assert description.head
    texts = [description.name, *description.labels, *description.warnings]
    texts += [*description.metadata.keys(), *description.metadata.values()]
    assert all(text.isprintable() for text in texts)
    assert all(warning.endswith((".", "!")) for warning in description.warnings)


def check_answer(inference: Inference, shown: Picture, task: Task) -> None:
    """An answer obeys the promises of `base.Inference`."""
    assert min(inference.preprocess_ms, inference.inference_ms, inference.postprocess_ms) >= 0
    assert list(inference.scores) == sorted(inference.scores, reverse=True)
    assert len(inference.scores) <= 100
    confidences = [found.confidence for found in inference.detections]
    assert confidences == sorted(confidences, reverse=True)
    assert all(type(value) is float for value in (*confidences, *inference.scores))
    for found in inference.detections:
        x, y, width, height = found.bbox
        assert all(type(value) is int for value in found.bbox)
        assert x >= 0
        assert y >= 0
        assert width >= 1
        assert height >= 1
        assert x + width <= shown.width
        assert y + height <= shown.height
        if task is not Task.ANOMALY:
            assert 0 <= found.confidence <= 1
    if task is Task.CLASSIFICATION:
        assert inference.classes
        assert not inference.detections
    else:
        assert not inference.classes


def check_runtime(model: LoadedModel, expected_format: str) -> None:
    """A freshly loaded model keeps the whole contract; it is closed afterwards."""
    check_description(model.description, expected_format)
    assert isinstance(model, LoadedModel)
    assert model.capacity >= 1
    task = model.description.task
    for shown in (
        picture(),
        picture(spots=[(64, 64, 64, 64)]),
        picture(1, 1),
        picture(7, 300, spots=[(0, 0, 7, 300)]),
        picture(300, 7),
        picture(model.description.width, model.description.height),
        gray(picture(100, 80, spots=[(10, 10, 50, 50)])),
    ):
        before = shown.pixels.copy()
        check_answer(model.infer(shown, deadline=soon()), shown, task)
        assert np.array_equal(shown.pixels, before)
    model.close()
    model.close()
    with pytest.raises(RuntimeFailed):
        model.infer(picture(), deadline=soon())
