"""Layouts of good boards, in the styles real bare boards come in.

A layout is drawn by one of five styles: fine signal tracks among vias; thick tracks, ring pads and
pours; broad parallel stripes; a pour cut by channels and windows; large polygons with few tracks.
What each contains is random within wide ranges, wider than any one real board shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from andon.training.pcb import parts, routes
from andon.training.pcb.canvas import Canvas, Point
from andon.training.pcb.channels import draw_channels
from andon.training.pcb.parts import spot_in

Style: TypeAlias = Callable[[Canvas, np.random.Generator], None]


def draw_layout(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw one good board on an empty canvas."""
    index = int(rng.choice(len(_STYLES), p=[share for _, share in _STYLES]))
    _STYLES[index][0](canvas, rng)
    if rng.random() < 0.08:  # the board's border: a blank band
        depth = float(rng.uniform(0.2, 0.7)) * canvas.side
        canvas.polygon([(0, 0), (canvas.side, 0), (canvas.side, depth), (0, depth)], copper=False)


def _fine(canvas: Canvas, rng: np.random.Generator) -> None:
    width = float(rng.uniform(4.5, 9.5))
    stretch = float(rng.uniform(1.0, 1.25))
    small = float(rng.uniform(5.5, 9))
    big = small * float(rng.uniform(1.2, 2.2))
    if rng.random() < 0.4:
        _crescents(canvas, rng)
    if rng.random() < 0.15:
        _bar(canvas, rng)
    for _ in range(int(rng.integers(0, 5))):
        parts.bus(
            canvas,
            rng,
            tracks=int(rng.integers(2, 9)),
            width=width,
            gap=float(rng.uniform(9, 24)),
            bends=int(rng.integers(0, 4)),
            ends=float(rng.choice([0.0, 0.3, 0.7])),
        )
    if rng.random() < 0.35:
        parts.pad_row(canvas, rng, fine=True)
    if rng.random() < 0.2:
        _meander(canvas, rng, width)
    for _ in range(int(rng.integers(6, 60))):
        _net(canvas, rng, width * _some(rng, 1.0, 2.2, 0.15), big, stretch)
    if rng.random() < 0.35:
        _grid(canvas, rng, small, stretch)
    for _ in range(int(rng.integers(0, 30))):
        spot = spot_in(canvas, rng)
        radius = small if rng.random() < 0.7 else big
        if canvas.free([spot], radius * 2 + 6):
            parts.via(canvas, rng, spot, radius * float(rng.uniform(0.93, 1.07)), stretch)
    if rng.random() < 0.15:
        radius = float(rng.uniform(20, 45))
        spot = spot_in(canvas, rng)
        if canvas.free([spot], radius * 2):
            canvas.disc(*spot, radius)


def _thick(canvas: Canvas, rng: np.random.Generator) -> None:
    width = float(rng.uniform(9, 22))
    for _ in range(int(rng.integers(0, 5))):
        parts.bus(
            canvas,
            rng,
            tracks=int(rng.integers(2, 12)),
            width=width * _some(rng, 0.5, 1.5, 0.5),
            gap=float(rng.uniform(5.5, 20)),
            bends=int(rng.integers(0, 4)),
            ends=float(rng.choice([0.0, 0.2, 0.5])),
        )
    for _ in range(int(rng.integers(0, 4))):
        w, h = float(rng.uniform(60, 260)), float(rng.uniform(60, 260))
        spot = spot_in(canvas, rng)
        if canvas.free_box(*spot, w + 10, h + 10):
            parts.pour(canvas, rng, spot, w, h)
    for _ in range(int(rng.integers(0, 3))):
        if rng.random() < 0.5:
            parts.pad_row(canvas, rng, fine=rng.random() < 0.3)
    if rng.random() < 0.4:
        _rings(canvas, rng, float(rng.uniform(24, 46)))
    for _ in range(int(rng.integers(8, 50))):
        _net(canvas, rng, width * _some(rng, 0.4, 1.6, 0.5), width * 1.5, 1.0)
    for _ in range(int(rng.integers(0, 8))):
        spot = spot_in(canvas, rng)
        w, h = float(rng.uniform(20, 55)), float(rng.uniform(20, 55))
        if canvas.free_box(*spot, w + 12, h + 12):
            parts.pad(canvas, rng, spot, w, h)


def _stripes(canvas: Canvas, rng: np.random.Generator) -> None:
    side = float(canvas.side)
    upright = rng.random() < 0.5
    u = float(rng.uniform(-60, 20))
    widths = [float(rng.uniform(25, 110)) for _ in range(int(rng.integers(1, 4)))]
    gaps = [float(rng.uniform(8 if rng.random() < 0.3 else 30, 75)) for _ in range(2)]
    round_by = float(rng.uniform(0, 14))
    cuts = [float(rng.uniform(0, side)) for _ in range(int(rng.integers(0, 3)))]

    def place(p: Point) -> Point:
        return (p[1], p[0]) if upright else p

    while u < side:
        width = widths[int(rng.integers(len(widths)))] * float(rng.uniform(0.95, 1.05))
        stops = sorted(c + float(rng.uniform(-60, 60)) for c in cuts if rng.random() < 0.6)
        begin = -40.0
        for stop in [*stops, side + 40]:
            centre, length = (begin + stop) / 2, stop - begin
            if length > 30:
                wide, high = (width, length) if upright else (length, width)
                spot = place((centre, u + width / 2))
                canvas.box(*spot, wide, high, round_by=round_by)
                if rng.random() < 0.3:
                    _stripe_end(canvas, rng, place, stop, u, width)
            begin = stop + gaps[-1] * float(rng.uniform(0.4, 1.2))
        if rng.random() < 0.2:  # a jog: the stripe widens over part of its length
            a = float(rng.uniform(0, side))
            b = a + float(rng.uniform(40, 200))
            more = gaps[0] * 0.4
            canvas.polygon(
                [
                    place((a, u + width / 2)),
                    place((a + more, u + width + more)),
                    place((b, u + width + more)),
                    place((b + more, u + width / 2)),
                ]
            )
        u += width + gaps[int(rng.integers(len(gaps)))]


def _stripe_end(
    canvas: Canvas,
    rng: np.random.Generator,
    place: Callable[[Point], Point],
    stop: float,
    u: float,
    width: float,
) -> None:
    at = place((stop - width * 0.6, u + width * float(rng.uniform(0.3, 0.7))))
    if rng.random() < 0.5:
        canvas.disc(*at, width * float(rng.uniform(0.4, 0.7)))
    canvas.disc(*at, float(rng.uniform(4, max(5.0, min(12.0, width * 0.2)))), copper=False)


def _polygons(canvas: Canvas, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(2, 9))):
        w, h = float(rng.uniform(70, 330)), float(rng.uniform(50, 330))
        spot = spot_in(canvas, rng)
        if canvas.free_box(*spot, w + 16, h + 16):
            parts.pour(canvas, rng, spot, w, h)
    width = float(rng.uniform(9, 20))
    for _ in range(int(rng.integers(6, 32))):
        _net(canvas, rng, width, width * 1.6, 1.0)
    for _ in range(int(rng.integers(0, 10))):
        spot = spot_in(canvas, rng)
        size = float(rng.uniform(35, 60))
        if canvas.free_box(*spot, size + 14, size + 14):
            parts.pad(canvas, rng, spot, size, size * float(rng.uniform(0.7, 1.4)))


_STYLES: tuple[tuple[Style, float], ...] = (
    (_fine, 0.33),
    (_thick, 0.33),
    (_stripes, 0.1),
    (draw_channels, 0.12),
    (_polygons, 0.12),
)


def _some(rng: np.random.Generator, low: float, high: float, share: float) -> float:
    """1, or for a `share` of the calls a factor between low and high."""
    return float(rng.uniform(low, high)) if rng.random() < share else 1.0


def _net(
    canvas: Canvas, rng: np.random.Generator, width: float, radius: float, stretch: float
) -> None:
    """A track from pad to pad, if there is room for it."""
    path = routes.octilinear(
        rng,
        spot_in(canvas, rng),
        heading=int(rng.integers(8)),
        segments=int(rng.integers(1, 5)),
        shortest=float(rng.choice([40, 60])),
        longest=160 if rng.random() < 0.7 else 320,
    )
    clearance = width + 2 * float(rng.uniform(5.5, 14))
    for length in range(len(path), 1, -1):
        if canvas.free(path[:length], clearance):
            break
    else:
        return
    path = path[:length]
    canvas.track(path, width)
    canvas.claim(path, width + 10)
    for end, inner in ((path[0], path[1]), (path[-1], path[-2])):
        kind = rng.random()
        size = radius * float(rng.uniform(0.85, 1.15))
        if kind < 0.4:
            parts.via(canvas, rng, end, max(size, width * 0.6), stretch)
            if rng.random() < 0.3:
                parts.teardrop(canvas, end, inner, max(size, width * 0.6), width, size)
        elif kind < 0.55:
            parts.ring(canvas, rng, end, max(size * 1.5, width), float(rng.choice([0, 0, 0.15])))
        elif kind < 0.8:
            w, h = size * float(rng.uniform(1.5, 3)), size * float(rng.uniform(1.5, 3))
            parts.pad(canvas, rng, end, w, h)
        elif kind < 0.88:  # two joined dots, as small two-pin footprints have
            other = (end[0] + size * 1.7, end[1])
            canvas.disc(*other, size * 0.9)
            canvas.disc(*end, size)
            canvas.track([end, other], size)
    if len(path) > 2 and rng.random() < 0.15:  # a test point on the way
        canvas.disc(*path[1], max(width, radius) * float(rng.uniform(0.9, 1.4)))
    if rng.random() < 0.12:  # a branch
        a, b = path[0], path[1]
        mid = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        tip = (mid[0] - (b[1] - a[1]) * 0.4, mid[1] + (b[0] - a[0]) * 0.4)
        if canvas.free([tip], radius * 2 + 8):
            canvas.track([mid, tip], width)
            if rng.random() < 0.7:
                parts.via(canvas, rng, tip, radius, stretch)


def _grid(canvas: Canvas, rng: np.random.Generator, radius: float, stretch: float) -> None:
    pitch = radius * float(rng.uniform(3.2, 6))
    x0, y0 = spot_in(canvas, rng)
    columns, rows = int(rng.integers(2, 9)), int(rng.integers(1, 9))
    for column in range(columns):
        for row in range(rows):
            spot = (x0 + column * pitch, y0 + row * pitch)
            if rng.random() < 0.85 and canvas.free([spot], radius * 2 + 6):
                parts.via(canvas, rng, spot, radius, stretch)


def _rings(canvas: Canvas, rng: np.random.Generator, radius: float) -> None:
    x0, y0 = spot_in(canvas, rng)
    pitch = radius * float(rng.uniform(2.3, 4))
    upright = rng.random() < 0.5
    for index in range(int(rng.integers(1, 8))):
        spot = (x0, y0 + index * pitch) if upright else (x0 + index * pitch, y0)
        if canvas.free([spot], radius * 2 + 8):
            parts.ring(canvas, rng, spot, radius, 0.05)


def _crescents(canvas: Canvas, rng: np.random.Generator) -> None:
    """Rings whose holes are so far off that they just break out, or nearly do."""
    radius = float(rng.uniform(22, 45))
    hole = radius * float(rng.uniform(0.6, 0.85))
    slip = radius * float(rng.normal(1.03, 0.07)) - hole
    angle = float(rng.uniform(0, 2 * math.pi))
    if rng.random() < 0.5:  # most boards slip along one axis
        angle = round(angle / (math.pi / 2)) * math.pi / 2
    dx, dy = math.cos(angle) * slip, math.sin(angle) * slip
    stretch = float(rng.uniform(1.0, 1.3))
    hole_stretch = float(rng.uniform(1.0, stretch))
    pitch = radius * float(rng.uniform(2.6, 4.5))
    x0, y0 = spot_in(canvas, rng)
    for column in range(int(rng.integers(1, 6))):
        for row in range(int(rng.integers(1, 5))):
            x, y = x0 + column * pitch, y0 + row * pitch
            if not canvas.free([(x, y)], radius * 2.6):
                continue
            canvas.disc(x, y, radius, stretch=stretch)
            if rng.random() < 0.3:  # a track leaves on the broad side
                away = (x - dx / (slip + 1e-6) * radius * 3, y - dy / (slip + 1e-6) * radius * 3)
                if canvas.free([away], 20):
                    canvas.track([(x, y), away], float(rng.uniform(5, 10)))
                    canvas.claim([(x, y), away], 24)
            jitter = rng.normal(0, 0.03, 2) * radius
            canvas.disc(
                x + dx + float(jitter[0]),
                y + dy + float(jitter[1]),
                hole,
                stretch=hole_stretch,
                copper=False,
            )
            canvas.claim([(x, y)], radius * 2 * stretch + 10)


def _bar(canvas: Canvas, rng: np.random.Generator) -> None:
    side = float(canvas.side)
    width = float(rng.uniform(40, 220))
    spot = (float(rng.uniform(0, side)), side / 2)
    size = (width, side * 2)
    if rng.random() < 0.5:
        spot, size = (spot[1], spot[0]), (size[1], size[0])
    canvas.box(*spot, *size)
    canvas.claim_box(*spot, size[0] + 14, size[1] + 14)


def _meander(canvas: Canvas, rng: np.random.Generator, width: float) -> None:
    pitch = width + float(rng.uniform(7, 16))
    path = routes.serpentine(
        spot_in(canvas, rng),
        loops=int(rng.integers(1, 5)),
        pitch=pitch,
        height=float(rng.uniform(20, 60)),
        upright=rng.random() < 0.5,
    )
    if canvas.free(path, pitch):
        canvas.track(path, width)
        canvas.claim(path, pitch)
