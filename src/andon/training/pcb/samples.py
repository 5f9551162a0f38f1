"""Training samples: a pool of generated boards, and random crops of them.

Boards are packed to one bit a pixel, so that thousands fit into memory, and drawn once; every
training step then cuts its own crops, mirrored, turned and stretched.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from andon.training.pcb.boards import CLASSES, generate_board
from andon.training.pcb.defects import BOX_MARGIN

CROP = 320
BOARD = 640
_CUT_OFF = -1.0  # class of a box of which a crop shows too little to be judged


@dataclass(frozen=True)
class Pool:
    """Generated boards: `bits` uint8 [boards, 640, 80], and `boxes` float32 [all, 5].

    A box is class, x0, y0, x1, y1; those of board i are boxes[first[i]:first[i + 1]].
    """

    bits: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bits)


def build_pool(seed: int, boards: int, *, processes: int, cache: Path | None = None) -> Pool:
    """Generate the boards of a seed; every sixth is good, the others have many defects.

    With `cache`, a file, the pool is read from there if it exists and written there otherwise.
    """
    if cache is not None and cache.exists():
        with np.load(cache) as stored:
            return Pool(stored["bits"], stored["boxes"], stored["first"])
    jobs = [(seed * 1_000_000 + index, index) for index in range(boards)]
    if processes > 1:
        with multiprocessing.get_context("spawn").Pool(processes) as workers:
            made = workers.map(_make, jobs, chunksize=16)
    else:
        made = [_make(job) for job in jobs]
    bits = np.stack([board for board, _ in made])
    counts = [len(boxes) for _, boxes in made]
    boxes = np.concatenate([boxes for _, boxes in made]).astype(np.float32)
    pool = Pool(bits, boxes, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, bits=pool.bits, boxes=pool.boxes, first=pool.first)
    return pool


def _make(job: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    seed, index = job
    # More defects than real boards have: every crop should teach something.
    count = 0 if index % 6 == 5 else 6 + index % 12
    board = generate_board(seed, size=BOARD, defects=count)
    boxes = np.asarray(
        [(CLASSES.index(b.label), b.x, b.y, b.x + b.width, b.y + b.height) for b in board.boxes],
        dtype=np.float32,
    ).reshape(-1, 5)
    return np.packbits(board.image > 0, axis=1), boxes


def draw_batch(
    pool: Pool, rng: np.random.Generator, size: int
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Random crops: images [size, 1, CROP, CROP] from 0 to 1, and each one's boxes [n, 5].

    A box's class is -1 where the crop cuts it so far that it can count neither as a defect nor as
    none.
    """
    images = np.empty((size, 1, CROP, CROP), dtype=np.float32)
    truths: list[NDArray[np.float32]] = []
    for index in range(size):
        board = int(rng.integers(len(pool)))
        boxes = pool.boxes[pool.first[board] : pool.first[board + 1]]
        images[index, 0], kept = _crop(pool.bits[board], boxes, rng)
        truths.append(kept)
    return images, truths


def _crop(
    bits: NDArray[np.uint8], boxes: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scale = float(rng.uniform(0.8, 1.25)) if rng.random() < 0.4 else 1.0
    side = round(CROP / scale)
    left, top = int(rng.integers(BOARD - side + 1)), int(rng.integers(BOARD - side + 1))
    rows = np.unpackbits(bits[top : top + side], axis=1)
    pixels = rows[:, left : left + side]
    boxes = boxes.copy()
    boxes[:, 1:] -= np.asarray([left, top, left, top], dtype=np.float32)
    if side != CROP:
        pixels, boxes = _stretched(pixels, boxes, CROP / side, rng)
    boxes = _clipped(boxes)
    if rng.random() < 0.5:
        pixels, boxes = pixels[:, ::-1], _mirrored(boxes)
    for _ in range(int(rng.integers(4))):
        pixels, boxes = np.rot90(pixels), _turned(boxes)
    image = pixels.astype(np.float32)
    if rng.random() < 0.5:  # compression leaves a little grey around the edges
        image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.03)
        np.clip(image, 0.0, 1.0, out=image)
    return image, boxes


def _stretched(
    pixels: NDArray[np.uint8], boxes: NDArray[np.float32], scale: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    grey = Image.fromarray(pixels * np.uint8(255)).resize((CROP, CROP), Image.Resampling.BILINEAR)
    threshold = float(rng.uniform(90, 165))
    # The margin around a defect is the same at every scale, only the defect itself grows.
    margin = np.asarray([BOX_MARGIN, BOX_MARGIN, -BOX_MARGIN, -BOX_MARGIN], dtype=np.float32)
    boxes[:, 1:] = (boxes[:, 1:] + margin) * np.float32(scale) - margin
    return (np.asarray(grey) > threshold).astype(np.uint8), boxes


def _clipped(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    corners = np.clip(boxes[:, 1:], 0, CROP)
    sides = corners[:, 2:] - corners[:, :2]
    visible = sides.prod(1)
    whole = (boxes[:, 3:] - boxes[:, 1:3]).prod(1)
    share = visible / np.maximum(whole, 1)
    labels = np.where(share >= 0.6, boxes[:, 0], np.float32(_CUT_OFF))
    kept = np.concatenate([labels[:, None], corners], axis=1)[(sides > 1).all(1)]
    return np.asarray(kept, dtype=np.float32)


def _mirrored(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack(
        [boxes[:, 0], CROP - boxes[:, 3], boxes[:, 2], CROP - boxes[:, 1], boxes[:, 4]], axis=1
    )


def _turned(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes after numpy.rot90: a quarter turn against the clock."""
    return np.stack(
        [boxes[:, 0], boxes[:, 2], CROP - boxes[:, 3], boxes[:, 4], CROP - boxes[:, 1]], axis=1
    )
