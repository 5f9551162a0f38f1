"""Generated bare boards with known defects: what the starter detector learns from.

    >>> board = generate_board(7)
    >>> board.image.shape
    (640, 640)

Needs NumPy and Pillow only, and yields the same board for the same seed on every machine with the
same versions of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andon.training.pcb.canvas import Canvas
from andon.training.pcb.defects import CLASSES, add_defects
from andon.training.pcb.layout import draw_layout
from andon.training.pcb.scan import MARGIN, scan

__all__ = ["CLASSES", "Board", "LabelledBox", "generate_board"]


@dataclass(frozen=True)
class LabelledBox:
    """A defect's class, and the top left corner and size of its box in pixels."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Board:
    """A scanned board: uint8 image [size, size], 0 copper and 255 bare, and its defects' boxes."""

    image: NDArray[np.uint8]
    boxes: list[LabelledBox]


def generate_board(seed: int, *, size: int = 640, defects: int | None = None) -> Board:
    """Draw and scan one board.

    `seed` (not negative) decides everything. `defects` is how many to try to put in: 0 gives the
    good board of the same layout, scanned a second time (so slightly shifted and with other edges,
    as the templates of real pairs are); None gives 1 to 15, about 7 on average, as on real boards.
    """
    if seed < 0:
        raise ValueError(f"a board's seed must not be negative, got {seed}")
    if size < 64:
        raise ValueError(f"a board must be at least 64 pixels wide, got {size}")
    if defects is not None and defects < 0:
        raise ValueError(f"the number of defects must not be negative, got {defects}")
    layout_rng = np.random.default_rng([seed, 0])
    scan_rng = np.random.default_rng([seed, 1 if defects == 0 else 2])
    defect_rng = np.random.default_rng([seed, 3])

    canvas = Canvas(size + 2 * MARGIN)
    draw_layout(canvas, layout_rng)
    zoom = (1.0, 1.0)
    if layout_rng.random() < 0.5:
        zoom = (float(layout_rng.uniform(1.0, 1.2)), float(layout_rng.uniform(1.0, 1.2)))
    turns, mirrored = int(layout_rng.integers(4)), layout_rng.random() < 0.5
    copper = np.rot90(scan(canvas, scan_rng, size, zoom), turns)
    copper = np.ascontiguousarray(copper[:, ::-1] if mirrored else copper)

    count = defects
    if count is None:
        count = int(np.clip(round(defect_rng.normal(6.8, 2.6)), 1, 15))
    placed = add_defects(copper, defect_rng, count)
    boxes = [
        LabelledBox(
            CLASSES[p.kind],
            float(p.box[0]),
            float(p.box[1]),
            float(p.box[2] - p.box[0]),
            float(p.box[3] - p.box[1]),
        )
        for p in placed
    ]
    return Board(np.where(copper, np.uint8(0), np.uint8(255)), boxes)
