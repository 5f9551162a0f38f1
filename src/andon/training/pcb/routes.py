"""Routes of tracks: random paths along the eight compass directions, and their parallels."""

from __future__ import annotations

import math

import numpy as np

from andon.training.pcb.canvas import Point

_DIRECTIONS: tuple[Point, ...] = tuple(
    (round(math.cos(k * math.pi / 4), 12), round(math.sin(k * math.pi / 4), 12)) for k in range(8)
)


def octilinear(
    rng: np.random.Generator,
    start: Point,
    *,
    heading: int,
    segments: int,
    shortest: float,
    longest: float,
) -> list[Point]:
    """A path that turns by 45 degrees (seldom by 90) at every corner, as routed tracks do.

    `heading` counts eighths of a turn from "to the right", clockwise on the screen.
    """
    points = [start]
    x, y = start
    for _ in range(segments):
        length = float(rng.uniform(shortest, longest))
        dx, dy = _DIRECTIONS[heading % 8]
        x, y = x + dx * length, y + dy * length
        points.append((x, y))
        turn = 1 if rng.random() < 0.85 else 2
        heading += turn if rng.random() < 0.5 else -turn
    return points


def across(rng: np.random.Generator, side: float, *, bends: int) -> list[Point]:
    """A path from the left border to the right one, with 45 degree jogs between level runs."""
    y = float(rng.uniform(0.05, 0.95)) * side
    x = -20.0
    points = [(x, y)]
    step = (side + 40) / (bends + 1)
    for _ in range(bends):
        run = step * float(rng.uniform(0.35, 0.8))
        jog = float(rng.uniform(0.1, 1.0)) * step * (1 if rng.random() < 0.5 else -1)
        points.append((x + run, y))
        x, y = x + run + abs(jog), y + jog
        points.append((x, y))
    points.append((max(x + 30.0, side + 20.0), y))
    return points


def parallel(points: list[Point], offset: float) -> list[Point]:
    """The polyline shifted sideways by `offset`, its corners mitred."""
    count = len(points)
    shifted: list[Point] = []
    for index, (x, y) in enumerate(points):
        before = _normal(points[max(index - 1, 0)], points[max(index, 1)])
        after = _normal(points[min(index, count - 2)], points[min(index + 1, count - 1)])
        mx, my = before[0] + after[0], before[1] + after[1]
        # The mitre's length grows with the corner's sharpness: offset / cos(half the turn).
        scale = 2.0 / max(mx * mx + my * my, 0.6)
        shifted.append((x + mx * scale * offset, y + my * scale * offset))
    return shifted


def serpentine(
    start: Point, *, loops: int, pitch: float, height: float, upright: bool
) -> list[Point]:
    """A meander of square loops, as drawn to match the lengths of tracks."""
    points: list[Point] = []
    for loop in range(loops):
        along = loop * pitch * 2
        points += [(along, 0.0), (along, height), (along + pitch, height), (along + pitch, 0.0)]
    points.append((loops * pitch * 2, 0.0))
    x, y = start
    return [(x + v, y + u) if upright else (x + u, y + v) for u, v in points]


def _normal(a: Point, b: Point) -> Point:
    length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
    return (-(b[1] - a[1]) / length, (b[0] - a[0]) / length)
