"""What a line-scan camera and a threshold make of a drawn board.

A scan is never quite straight (a slight rotation, shift and stretch), its edges wander where the
board or the belt shook, and after the threshold edges that run almost along the pixel grid are
ragged, because noise decides which side of the threshold each of their pixels falls.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from andon.training.pcb.canvas import OVERSAMPLING, Canvas

MARGIN = 20  # board pixels around the visible part, so that rotation never shows an empty border
_NOISE_SIDE = 1024


def scan(
    canvas: Canvas, rng: np.random.Generator, size: int, zoom: tuple[float, float]
) -> NDArray[np.bool_]:
    """Copper as the scanner sees it: bool array [size, size], True for copper.

    `zoom` is the horizontal and vertical stretch of the board, at least 1.
    """
    source = canvas.image
    if rng.random() < 0.4:
        source = _shaken(source, rng)
    grey = _placed(source, rng, size, zoom)
    grey = grey.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.3))))
    values = np.asarray(grey, dtype=np.float32)
    strength = rng.uniform(1, 12) if rng.random() < 0.7 else rng.uniform(10, 24)
    values = values + _noise(rng, size) * float(strength)
    threshold = 127.0 + float(np.clip(rng.normal(0, 22), -60, 60))
    return _specks(values < threshold, rng)


def _placed(
    source: Image.Image, rng: np.random.Generator, size: int, zoom: tuple[float, float]
) -> Image.Image:
    angle = math.radians(float(np.clip(rng.normal(0, 0.35), -1.2, 1.2)))
    shift_x, shift_y = float(rng.normal(0, 1.2)), float(rng.normal(0, 1.2))
    k = OVERSAMPLING
    ax, ay = k / zoom[0], k / zoom[1]
    a, b = ax * math.cos(angle), -ay * math.sin(angle)
    d, e = ax * math.sin(angle), ay * math.cos(angle)
    middle_in, middle_out = source.size[0] / 2, size / 2
    c = middle_in - a * middle_out - b * middle_out + shift_x
    f = middle_in - d * middle_out - e * middle_out + shift_y
    return source.transform(
        (size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )


def _shaken(source: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shift every row (or column) by a slowly wandering amount."""
    pixels = np.asarray(source)
    side = pixels.shape[0]
    upright = rng.random() < 0.5
    if upright:
        pixels = pixels.T
    knots = max(4, int(side / float(rng.uniform(20, 120))))
    wander = rng.normal(0, float(rng.uniform(0.3, 1.6)), knots)
    shift = np.interp(np.linspace(0, knots - 1, side), np.arange(knots), wander)
    if rng.random() < 0.5:
        shift = shift + rng.normal(0, 0.4, side)
    columns = np.arange(side)[None, :] + np.rint(shift).astype(np.int64)[:, None]
    moved = np.take_along_axis(pixels, np.clip(columns, 0, side - 1), axis=1)
    return Image.fromarray(np.ascontiguousarray(moved.T if upright else moved))


@functools.cache
def _noise_tile() -> NDArray[np.float32]:
    rng = np.random.default_rng(20)
    white = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE)).astype(np.float32)
    soft = sum(np.roll(white, (dy, dx), (0, 1)) for dy in (0, 1) for dx in (0, 1))
    return np.asarray((white + soft) / np.sqrt(np.float32(8.0)), dtype=np.float32)


def _noise(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Noise of unit variance: a random window of one fixed field, as drawing it anew is slow."""
    tile = _noise_tile()
    rows = np.arange(size) + int(rng.integers(_NOISE_SIDE))
    columns = np.arange(size) + int(rng.integers(_NOISE_SIDE))
    return tile[(rows % _NOISE_SIDE)[:, None], (columns % _NOISE_SIDE)[None, :]]


def _specks(copper: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Flip a few tiny dots, the dust of a scan: too small to be a defect."""
    if rng.random() < 0.7:
        return copper
    side = copper.shape[0]
    for _ in range(int(rng.integers(1, 12))):
        x, y = int(rng.integers(side - 2)), int(rng.integers(side - 2))
        patch = copper[y : y + int(rng.integers(1, 3)), x : x + int(rng.integers(1, 3))]
        patch[...] = ~patch[0, 0]
    return copper
