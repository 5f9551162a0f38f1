"""Strokes: the small marks that defects are made of, before anyone decides what they do to copper.

A stroke is a pixel mask somewhere on the board. Painted with copper it may become a spur, a short
or spurious copper; painted with bare laminate a mouse bite, an open or a pin-hole. The shapes copy
what etching, dust and scratches leave (and what people draw who edit defects into scans): straight
and bent lines of varying width, bundles of hairlines, scribbles, round and wedge-shaped bites, and
dotted traces of something that the threshold has half swallowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from andon.training.pcb.canvas import Point

_SCALE = 2  # strokes are drawn at twice the resolution and then averaged, as the board is


@dataclass(frozen=True)
class Dab:
    """A tapered line: from `start` of width `first` to `end` of width `last` (board pixels)."""

    start: Point
    end: Point
    first: float
    last: float


@dataclass(frozen=True)
class Stroke:
    """A mask [h, w] whose first pixel is at column `left` and row `top` of the board."""

    mask: NDArray[np.bool_]
    left: int
    top: int


def render(dabs: list[Dab], wedge: list[Point], rng: np.random.Generator) -> Stroke | None:
    """Draw tapered lines and one optional polygon into a mask with a slightly uneven outline.

    None where nothing is left after the threshold.
    """
    xs = [p[0] for p in wedge] + [d.start[0] for d in dabs] + [d.end[0] for d in dabs]
    ys = [p[1] for p in wedge] + [d.start[1] for d in dabs] + [d.end[1] for d in dabs]
    pad = 3 + max([0.0, *(max(d.first, d.last) / 2 for d in dabs)])
    left, top = math.floor(min(xs) - pad), math.floor(min(ys) - pad)
    width, height = math.ceil(max(xs) + pad) - left, math.ceil(max(ys) + pad) - top
    image = Image.new("L", (width * _SCALE, height * _SCALE), 0)
    draw = ImageDraw.Draw(image)
    for dab in dabs:
        _draw_dab(draw, dab, left, top)
    if wedge:
        draw.polygon([((x - left) * _SCALE, (y - top) * _SCALE) for x, y in wedge], fill=255)
    grey = np.asarray(image.reduce(_SCALE), dtype=np.float32) / 255
    noise = rng.standard_normal(grey.shape, dtype=np.float32) * np.float32(rng.uniform(0.02, 0.22))
    return _trimmed(grey + noise * (grey > 0) > np.float32(0.5), left, top)


def dotted(stroke: Stroke, rng: np.random.Generator) -> Stroke | None:
    """Let the threshold swallow part of the stroke, in grains or along thin lines."""
    keep = float(rng.uniform(0.45, 0.85))
    grain = rng.random(stroke.mask.shape) < keep
    if rng.random() < 0.5:  # grains of two pixels rather than one
        coarse = rng.random(((grain.shape[0] + 1) // 2, (grain.shape[1] + 1) // 2)) < keep
        grain &= np.repeat(np.repeat(coarse, 2, 0), 2, 1)[: grain.shape[0], : grain.shape[1]]
        grain |= rng.random(grain.shape) < 0.25
    return _trimmed(stroke.mask & grain, stroke.left, stroke.top)


def hollow(stroke: Stroke) -> Stroke:
    """Keep only the outline, as of a blob drawn with a pen."""
    m = np.pad(stroke.mask, 1)
    inner = m[1:-1, 1:-1] & m[:-2, 1:-1] & m[2:, 1:-1] & m[1:-1, :-2] & m[1:-1, 2:]
    m = np.pad(inner, 1)
    core = m[1:-1, 1:-1] & m[:-2, 1:-1] & m[2:, 1:-1] & m[1:-1, :-2] & m[1:-1, 2:]
    return Stroke(stroke.mask & ~core, stroke.left, stroke.top)


def polyline(points: list[Point], first: float, last: float) -> list[Dab]:
    """A tapered line through several points."""
    count = len(points) - 1
    widths = [first + (last - first) * i / count for i in range(count + 1)]
    return [Dab(points[i], points[i + 1], widths[i], widths[i + 1]) for i in range(count)]


def bowed(a: Point, b: Point, sag: float) -> list[Point]:
    """Points along an arc-like curve from a to b that strays sideways by `sag` in the middle."""
    length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
    nx, ny = -(b[1] - a[1]) / length, (b[0] - a[0]) / length
    points: list[Point] = []
    for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        off = 4 * t * (1 - t) * sag
        points.append((a[0] + (b[0] - a[0]) * t + nx * off, a[1] + (b[1] - a[1]) * t + ny * off))
    return points


def zigzag(a: Point, b: Point, swing: float, turns: int, rng: np.random.Generator) -> list[Point]:
    """Points of a scribble from a to b that swings to both sides."""
    length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
    nx, ny = -(b[1] - a[1]) / length, (b[0] - a[0]) / length
    points = [a]
    for turn in range(1, turns + 1):
        t = turn / (turns + 1) + float(rng.normal(0, 0.08))
        off = swing * float(rng.uniform(0.3, 1.0)) * (1 if turn % 2 else -1)
        points.append((a[0] + (b[0] - a[0]) * t + nx * off, a[1] + (b[1] - a[1]) * t + ny * off))
    points.append(b)
    return points


def lump(at: Point, rng: np.random.Generator) -> list[Dab]:
    """An irregular blob: a few discs of different sizes grown together."""
    dabs: list[Dab] = []
    radius = float(np.clip(rng.normal(5.5, 1.8), 2.8, 12))
    x, y = at
    for _ in range(int(rng.integers(2, 5))):
        angle = float(rng.uniform(0, 2 * math.pi))
        step = radius * float(rng.uniform(0.4, 1.1))
        near = (x + math.cos(angle) * step, y + math.sin(angle) * step)
        last = radius * float(rng.uniform(0.5, 1.0))
        dabs.append(Dab((x, y), near, radius * 2, last * 2))
        if rng.random() < 0.5:
            x, y = near
            radius = max(last, 2.0)
    return dabs


def tangle(at: Point, reach: float, rng: np.random.Generator) -> list[Dab]:
    """A dense scribble that leaves crumbs uncovered: short lines to and fro within `reach`."""
    stretch = float(rng.uniform(0.5, 1.0))
    turn = float(rng.uniform(0, math.pi))
    cos, sin = math.cos(turn), math.sin(turn)
    points: list[Point] = []
    for _ in range(int(rng.integers(5, 14))):
        u, v = np.clip(rng.normal(0, 0.6, 2), -1, 1) * reach
        points.append((at[0] + u * cos - v * stretch * sin, at[1] + u * sin + v * stretch * cos))
    line = float(rng.uniform(1.4, 3.2))
    return polyline(points, line, line)


def _draw_dab(draw: ImageDraw.ImageDraw, dab: Dab, left: int, top: int) -> None:
    (x0, y0), (x1, y1) = dab.start, dab.end
    length = math.hypot(x1 - x0, y1 - y0)
    steps = max(1, math.ceil(length * 1.5))
    for step in range(steps + 1):
        t = step / steps
        radius = (dab.first + (dab.last - dab.first) * t) / 2 * _SCALE
        x = (x0 + (x1 - x0) * t - left) * _SCALE
        y = (y0 + (y1 - y0) * t - top) * _SCALE
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def _trimmed(mask: NDArray[np.bool_], left: int, top: int) -> Stroke | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Stroke(part, left + int(columns[0]), top + int(rows[0]))
