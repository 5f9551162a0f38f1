"""Pictures with white squares, and models that find them."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tests.support import onnx_models


def board(x: int = 16, y: int = 24, *, size: int = 64, kind: str = "PNG", seed: int = 0) -> bytes:
    """A black board with one white spot, 8x8 of 64x64; `seed` makes other bytes of it."""
    pixels = np.zeros((size, size, 3), np.uint8)
    side = size // 8
    pixels[y : y + side, x : x + side] = 255
    if seed:
        # Dark enough that the model does not see it.
        pixels[0, 0] = [1 + seed % 7, 1 + seed // 7 % 50, 1 + seed // 350]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def spot_model(path: Path, *, name: str = "PCB Detection", labels=("spot",), **net) -> Path:
    """A detector of white 8x8 spots; another name is another content."""
    metadata = onnx_models.andon(labels, name=name)
    return onnx_models.yolov8_spot(path, labels=labels, metadata=metadata, **net)


def until(what: Callable[[], object], seconds: float = 40.0) -> None:
    """Wait until something is true, and fail if it does not become so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
