"""The pieces bare boards are made of: vias, pads, rings, buses, pad rows, pours.

Every function draws on a `Canvas` and claims the room it takes. The variety is deliberate: a thing
that is legitimate in one place (a hole in a pad, an isolated dot, a gap in a pour) looks much like
a defect in another, and only plenty of legitimate examples teach the difference.
"""

from __future__ import annotations

import math

import numpy as np

from andon.training.pcb import routes
from andon.training.pcb.canvas import Canvas, Point


def spot_in(canvas: Canvas, rng: np.random.Generator) -> Point:
    """A random point of the board."""
    return (float(rng.uniform(0, canvas.side)), float(rng.uniform(0, canvas.side)))


def via(canvas: Canvas, rng: np.random.Generator, at: Point, radius: float, stretch: float) -> None:
    """A solid dot; sometimes with a drilled hole, off its centre by misregistration."""
    x, y = at
    canvas.disc(x, y, radius, stretch=stretch)
    if radius > 8 and rng.random() < 0.1:
        hole = radius * float(rng.uniform(0.3, 0.6))
        slip = radius * 0.15
        canvas.disc(
            x + float(rng.uniform(-slip, slip)),
            y + float(rng.uniform(-slip, slip)),
            hole,
            copper=False,
        )
    canvas.claim([at], radius * 2 + 6)


def ring(canvas: Canvas, rng: np.random.Generator, at: Point, radius: float, slip: float) -> None:
    """A pad with a hole; with much slip the hole breaks out and leaves a crescent."""
    x, y = at
    stretch = float(rng.uniform(1.0, 1.2)) if rng.random() < 0.4 else 1.0
    canvas.disc(x, y, radius, stretch=stretch)
    hole = radius * float(rng.uniform(0.3, 0.8 if slip > 0.1 else 0.55))
    angle = float(rng.uniform(0, 2 * math.pi))
    hx, hy = x + math.cos(angle) * slip * radius, y + math.sin(angle) * slip * radius
    canvas.disc(hx, hy, hole, copper=False)
    if rng.random() < 0.1:  # a slot instead of a round hole
        canvas.track([(hx - hole * 0.5, hy), (hx + hole * 0.5, hy)], hole * 1.6, copper=False)
    canvas.claim([at], radius * 2 * stretch + 8)


def pad(canvas: Canvas, rng: np.random.Generator, at: Point, width: float, height: float) -> None:
    """A pad for soldering: rectangle, rounded, chamfered, notched, or with a drilled hole."""
    x, y = at
    kind = rng.random()
    if kind < 0.4:
        canvas.box(x, y, width, height, round_by=float(rng.uniform(0, 4)))
    elif kind < 0.65:
        canvas.box(x, y, width, height, round_by=min(width, height) * float(rng.uniform(0.2, 0.5)))
    elif kind < 0.9:
        canvas.polygon(chamfered(rng, x, y, width, height))
    else:
        canvas.box(x, y, width, height)
        bite = min(width, height) * float(rng.uniform(0.12, 0.25))
        canvas.disc(x + width / 2, y, bite, copper=False)
        if rng.random() < 0.6:
            canvas.disc(x - width / 2, y, bite, copper=False)
    smaller = min(width, height)
    if smaller > 24 and rng.random() < 0.45:
        hole = float(np.clip(rng.normal(9.5, 2), 6, smaller * 0.35))
        off = (smaller / 2 - hole) * 0.4
        canvas.disc(
            x + float(rng.uniform(-off, off)),
            y + float(rng.uniform(-off, off)),
            hole,
            copper=False,
        )
    canvas.claim_box(x, y, width + 10, height + 10)


def chamfered(
    rng: np.random.Generator, x: float, y: float, width: float, height: float
) -> list[Point]:
    """The outline of a box whose corners are cut off at 45 degrees, each by its own amount."""
    w, h = width / 2, height / 2
    most = min(w, h)
    cut = [most * float(rng.uniform(0.15, 0.9)) if rng.random() < 0.6 else 0.0 for _ in range(4)]
    outline: list[Point] = []
    corners = ((-w, -h), (w, -h), (w, h), (-w, h))
    for (cx, cy), c in zip(corners, cut, strict=True):
        sx, sy = (1 if cx < 0 else -1), (1 if cy < 0 else -1)
        first, second = (x + cx, y + cy + sy * c), (x + cx + sx * c, y + cy)
        outline += [first, second] if cx * cy > 0 else [second, first]
    return outline


def bus(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    tracks: int,
    width: float,
    gap: float,
    bends: int,
    ends: float,
) -> None:
    """Parallel tracks across the board; a share `ends` of them stops at a via on the way.

    Nothing is drawn where the band meets something else.
    """
    side = float(canvas.side)
    spine = routes.across(rng, side, bends=bends)
    if rng.random() < 0.5:
        spine = [(y, x) for x, y in spine]
    pitch = width + gap
    if not canvas.free(spine, tracks * pitch + gap):
        return
    thick = [
        width * float(rng.uniform(1.2, 2.5)) if rng.random() < 0.08 else width
        for _ in range(tracks)
    ]
    offset = -(tracks - 1) * pitch / 2
    for line_width in thick:
        line = routes.parallel(spine, offset + (line_width - width) / 2)
        offset += pitch + (line_width - width)
        if rng.random() < ends and len(line) > 2:
            keep = int(rng.integers(2, len(line)))
            line = line[:keep]
            (ax, ay), (bx, by) = line[-2], line[-1]
            part = float(rng.uniform(0.3, 1.0))
            line[-1] = (ax + (bx - ax) * part, ay + (by - ay) * part)
            kind = rng.random()
            if kind < 0.4:
                canvas.disc(*line[-1], min(line_width * 0.9 + 1, width / 2 + gap * 0.6))
            elif kind < 0.55:
                canvas.box(*line[-1], width + gap * 0.7, width + gap * 0.7, round_by=2)
        canvas.track(line, line_width)
    canvas.claim(spine, tracks * pitch + gap * 0.5)


def pad_row(canvas: Canvas, rng: np.random.Generator, *, fine: bool) -> None:
    """One or two rows of elongated pads, as under an integrated circuit, some with tracks."""
    side = canvas.side
    count = int(rng.integers(4, 13))
    pitch = float(rng.uniform(22, 34) if fine else rng.uniform(30, 60))
    pad_width = pitch * float(rng.uniform(0.3, 0.6))
    length = pitch * float(rng.uniform(1.2, 2.8))
    upright = rng.random() < 0.5
    span = count * pitch
    x0, y0 = float(rng.uniform(-span / 2, side - span / 3)), float(rng.uniform(0, side))
    rows = 2 if rng.random() < 0.6 else 1
    apart = length + float(rng.uniform(40, 160))
    round_by = pad_width / 2 if rng.random() < 0.7 else float(rng.uniform(0, 4))
    height = length * 2 + (rows - 1) * apart
    centre = (x0 + span / 2, y0 + (rows - 1) * apart / 2)
    if upright:
        if not canvas.free_box(centre[1], centre[0], height, span):
            return
        canvas.claim_box(centre[1], centre[0], height, span)
    else:
        if not canvas.free_box(*centre, span, height):
            return
        canvas.claim_box(*centre, span, height)
    escape = float(rng.uniform(0.2, 0.8))
    line_width = pad_width * float(rng.uniform(0.35, 0.9))

    def place(u: float, v: float) -> Point:
        return (v, u) if upright else (u, v)

    for row in range(rows):
        outward = -1 if row == 0 else 1
        v = y0 + row * apart
        for k in range(count):
            u = x0 + (k + 0.5) * pitch
            wide, high = (length, pad_width) if upright else (pad_width, length)
            canvas.box(*place(u, v), wide, high, round_by=round_by)
            if rng.random() < escape:
                way = outward if rng.random() < 0.8 else -outward
                tip = v + way * (length / 2 + float(rng.uniform(0.1, 0.5)) * length)
                canvas.track([place(u, v), place(u, tip)], line_width)
                if rng.random() < 0.4:
                    canvas.disc(*place(u, tip), pad_width * float(rng.uniform(0.5, 0.8)))
            if k and rng.random() < 0.03:  # neighbours joined on purpose
                canvas.track([place(u - pitch, v), place(u, v)], max(line_width, pad_width))


def pour(canvas: Canvas, rng: np.random.Generator, at: Point, width: float, height: float) -> None:
    """A large copper area with drilled holes in rows or here and there."""
    x, y = at
    if rng.random() < 0.7:
        canvas.polygon(chamfered(rng, x, y, width, height))
    else:
        canvas.box(x, y, width, height, round_by=float(rng.uniform(0, 30)))
    canvas.claim_box(x, y, width + 14, height + 14)
    if rng.random() < 0.5:
        radius = float(rng.uniform(7, 17))
        for _ in range(int(rng.integers(1, 5))):
            hx = x + float(rng.uniform(-0.4, 0.4)) * width
            hy = y + float(rng.uniform(-0.4, 0.4)) * height
            canvas.disc(hx, hy, radius, copper=False)
            if rng.random() < 0.15:
                canvas.disc(hx, hy, radius * float(rng.uniform(1.6, 3)), copper=False)


def teardrop(
    canvas: Canvas, at: Point, toward: Point, radius: float, width: float, length: float
) -> None:
    """Widen a track where it leaves a round pad of `radius` at `at` in the direction `toward`."""
    dx, dy = toward[0] - at[0], toward[1] - at[1]
    distance = math.hypot(dx, dy) or 1.0
    ux, uy = dx / distance, dy / distance
    tip = (at[0] + ux * (radius + length), at[1] + uy * (radius + length))
    wide, half = radius * 0.95, width / 2
    canvas.polygon(
        [
            (at[0] - uy * wide, at[1] + ux * wide),
            (tip[0] - uy * half, tip[1] + ux * half),
            (tip[0] + uy * half, tip[1] - ux * half),
            (at[0] + uy * wide, at[1] - ux * wide),
        ]
    )
