"""A drawing surface for copper, and the occupancy map that keeps shapes apart.

Everything a layout draws goes through `Canvas`: it draws at twice the final resolution, so that the
scan step can average down to grey edges, and remembers on a coarse grid what is taken, so that two
unrelated nets do not touch by accident (an accidental contact would look like a short circuit and
would teach a detector the wrong thing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point: TypeAlias = tuple[float, float]
Points: TypeAlias = Sequence[Point]

OVERSAMPLING = 2
_CELL = 4  # pixels of the board per cell of the occupancy map


class Canvas:
    """Copper of one board, drawn in board pixels (floats), x to the right and y down.

    `side` is the width and height in board pixels. Copper is 0 and bare laminate 255, as in the
    scans of DeepPCB.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self._image = Image.new("L", (side * OVERSAMPLING, side * OVERSAMPLING), 255)
        self._draw = ImageDraw.Draw(self._image)
        cells = side // _CELL + 1
        self._taken = Image.new("L", (cells, cells), 0)
        self._taken_draw = ImageDraw.Draw(self._taken)

    @property
    def image(self) -> Image.Image:
        """The drawing at `OVERSAMPLING` times the board's resolution (mode L)."""
        return self._image

    def fill(self, copper: bool) -> None:
        """Cover the whole board with copper, or with none."""
        self._image.paste(_ink(copper), (0, 0, *self._image.size))

    def polygon(self, points: Points, *, copper: bool = True) -> None:
        """Draw a filled polygon."""
        self._draw.polygon(
            [(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points], fill=_ink(copper)
        )

    def disc(
        self, x: float, y: float, radius: float, *, stretch: float = 1.0, copper: bool = True
    ) -> None:
        """Draw a filled circle, or an ellipse whose vertical half axis is `stretch` * radius."""
        k = OVERSAMPLING
        box = (
            (x - radius) * k,
            (y - radius * stretch) * k,
            (x + radius) * k,
            (y + radius * stretch) * k,
        )
        self._draw.ellipse(box, fill=_ink(copper))

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        round_by: float = 0.0,
        copper: bool = True,
    ) -> None:
        """Draw a filled rectangle centred at (x, y), its corners rounded by `round_by` pixels."""
        k = OVERSAMPLING
        corners = (
            (x - width / 2) * k,
            (y - height / 2) * k,
            (x + width / 2) * k,
            (y + height / 2) * k,
        )
        radius = min(round_by, width / 2, height / 2) * k
        self._draw.rounded_rectangle(corners, radius=radius, fill=_ink(copper))

    def track(
        self, points: Points, width: float, *, copper: bool = True, round_ends: bool = True
    ) -> None:
        """Draw a polyline of constant width with round corners."""
        k = OVERSAMPLING
        half = width / 2
        for index in range(len(points) - 1):
            (x0, y0), (x1, y1) = points[index], points[index + 1]
            length = math.hypot(x1 - x0, y1 - y0)
            if length < 1e-6:
                continue
            nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
            self._draw.polygon(
                [
                    ((x0 + nx) * k, (y0 + ny) * k),
                    ((x1 + nx) * k, (y1 + ny) * k),
                    ((x1 - nx) * k, (y1 - ny) * k),
                    ((x0 - nx) * k, (y0 - ny) * k),
                ],
                fill=_ink(copper),
            )
        joints = points if round_ends else points[1:-1]
        for x, y in joints:
            self.disc(x, y, half, copper=copper)

    def free(self, points: Points, width: float) -> bool:
        """Whether the band of `width` around a polyline (or one point) is still unclaimed."""
        probe = Image.new("L", self._taken.size, 0)
        _band(ImageDraw.Draw(probe), points, width)
        overlap: NDArray[np.bool_] = (np.asarray(probe) > 0) & (np.asarray(self._taken) > 0)
        return not bool(overlap.any())

    def claim(self, points: Points, width: float) -> None:
        """Mark the band of `width` around a polyline (or around one point) as taken."""
        _band(self._taken_draw, points, width)

    def claim_box(self, x: float, y: float, width: float, height: float) -> None:
        """Mark a rectangle centred at (x, y) as taken."""
        self._taken_draw.rectangle(_cells(x, y, width, height), fill=255)

    def free_box(self, x: float, y: float, width: float, height: float) -> bool:
        """Whether a rectangle centred at (x, y) is still unclaimed."""
        x0, y0, x1, y1 = _cells(x, y, width, height)
        taken = np.asarray(self._taken)[
            max(0, int(y0)) : int(y1) + 1, max(0, int(x0)) : int(x1) + 1
        ]
        return not bool(taken.any())


def _ink(copper: bool) -> int:
    return 0 if copper else 255


def _cells(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return (
        (x - width / 2) / _CELL,
        (y - height / 2) / _CELL,
        (x + width / 2) / _CELL,
        (y + height / 2) / _CELL,
    )


def _band(draw: ImageDraw.ImageDraw, points: Points, width: float) -> None:
    scaled = [(x / _CELL, y / _CELL) for x, y in points]
    if len(scaled) > 1:
        draw.line(scaled, fill=255, width=max(1, math.ceil(width / _CELL)))
    half = width / 2 / _CELL
    for x, y in scaled:
        draw.ellipse((x - half, y - half, x + half, y + half), fill=255)
