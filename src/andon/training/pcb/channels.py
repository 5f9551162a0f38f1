"""The inverse style of board: one large pour, cut by bare channels, windows and holes."""

from __future__ import annotations

import itertools
import math

import numpy as np

from andon.training.pcb import routes
from andon.training.pcb.canvas import Canvas
from andon.training.pcb.parts import spot_in


def draw_channels(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw such a board on an empty canvas."""
    side = float(canvas.side)
    canvas.fill(copper=True)
    if rng.random() < 0.6:  # the pour's outer border, straight or round
        if rng.random() < 0.5:
            radius = side * float(rng.uniform(0.5, 1.5))
            angle = float(rng.uniform(0, 2 * math.pi))
            canvas.fill(copper=False)
            off = radius * float(rng.uniform(0.5, 1.0))
            centre = (side / 2 + math.cos(angle) * off, side / 2 + math.sin(angle) * off)
            canvas.disc(*centre, radius, stretch=float(rng.uniform(0.8, 1.3)))
        else:
            edge = side * float(rng.uniform(0.05, 0.5))
            canvas.box(side / 2, edge - side, side * 2, side * 2, copper=False)
    narrow = float(rng.uniform(4, 10))
    broad = narrow * float(rng.uniform(1.2, 3.5))
    _windows(canvas, rng)
    _straight_channels(canvas, rng, narrow, broad)
    _bent_channels(canvas, rng, narrow, broad)
    for _ in range(int(rng.integers(0, 5))):  # holes, and islands in the bare part
        spot = spot_in(canvas, rng)
        radius = float(rng.uniform(8, 40))
        if canvas.free([spot], radius * 2 + 10):
            canvas.disc(*spot, radius, copper=False)
            if rng.random() < 0.4:
                canvas.disc(*spot, radius * float(rng.uniform(0.4, 0.75)))
            canvas.claim([spot], radius * 2 + 10)


def _windows(canvas: Canvas, rng: np.random.Generator) -> None:
    """Openings in a pour: round ones, and rounded boxes with a tongue or an island inside."""
    for _ in range(int(rng.integers(0, 4))):
        w, h = float(rng.uniform(30, 220)), float(rng.uniform(30, 220))
        spot = spot_in(canvas, rng)
        if canvas.free_box(*spot, w + 24, h + 24):
            if rng.random() < 0.4:
                canvas.disc(*spot, min(w, h) / 2, copper=False)
            else:
                canvas.box(*spot, w, h, round_by=float(rng.uniform(0, 40)), copper=False)
                if rng.random() < 0.4:
                    canvas.box(spot[0], spot[1] - h / 2, w * 0.15 + 6, h * 0.3)
                elif rng.random() < 0.4:
                    inner = float(rng.uniform(0.5, 0.8))
                    canvas.box(*spot, w * inner, h * inner, round_by=12)
            canvas.claim_box(*spot, w + 16, h + 16)


def _straight_channels(
    canvas: Canvas, rng: np.random.Generator, narrow: float, broad: float
) -> None:
    """Bare channels through the whole pour."""
    for _ in range(int(rng.integers(1, 7))):
        spine = routes.across(rng, float(canvas.side), bends=int(rng.integers(0, 3)))
        if rng.random() < 0.5:
            spine = [(y, x) for x, y in spine]
        if canvas.free(spine, broad + 20):
            canvas.track(spine, float(rng.choice([narrow, broad])), copper=False)
            canvas.claim(spine, broad + 14)


def _bent_channels(canvas: Canvas, rng: np.random.Generator, narrow: float, broad: float) -> None:
    """Bare channels that meander and change their width on the way."""
    for _ in range(int(rng.integers(1, 8))):
        path = routes.octilinear(
            rng,
            spot_in(canvas, rng),
            heading=2 * int(rng.integers(4)),
            segments=int(rng.integers(2, 8)),
            shortest=25,
            longest=130,
        )
        square = rng.random() < 0.5
        if square:
            path = [
                p for (ax, ay), (bx, by) in itertools.pairwise(path) for p in ((ax, ay), (bx, ay))
            ]
        if not canvas.free(path, broad + 20):
            continue
        for a, b in itertools.pairwise(path):
            canvas.track([a, b], narrow if rng.random() < 0.4 else broad, copper=False)
        canvas.claim(path, broad + 14)
