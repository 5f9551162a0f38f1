"""Marks: strokes proposed for a place on a board, across something, at an edge, or anywhere.

What a mark becomes is decided in `defects`, by what it touches. The mixture of shapes and the
spread of their sizes follow what tested images of DeepPCB differ by from their templates, with
room to both sides.
"""

from __future__ import annotations

import math

import numpy as np

from andon.training.pcb import strokes
from andon.training.pcb.canvas import Point
from andon.training.pcb.strokes import Dab, Stroke


def crossing_stroke(
    at: Point, direction: Point, span: float, rng: np.random.Generator
) -> Stroke | None:
    """A stroke right through a track or across a gap of width `span`, and a little beyond."""
    dx, dy = direction
    before, after = float(rng.uniform(1, 6)), float(rng.uniform(1, 6))
    a = (at[0] - dx * before, at[1] - dy * before)
    b = (at[0] + dx * (span + after), at[1] + dy * (span + after))
    look = rng.random()
    width = float(np.clip(rng.lognormal(math.log(5.0), 0.4), 2.2, 14))
    if look < 0.35:
        sag = float(rng.normal(0, 0.12)) * span if rng.random() < 0.6 else 0.0
        ratio = float(rng.uniform(0.5, 1.0))
        return strokes.render(
            strokes.polyline(strokes.bowed(a, b, sag), width, width * ratio), [], rng
        )
    if look < 0.6:  # a band with straight sides
        half = float(rng.uniform(2, 8)) if rng.random() < 0.85 else float(rng.uniform(7, 12))
        skew = float(rng.normal(0, 0.25)) * half
        wedge = [
            (a[0] - dy * half, a[1] + dx * half),
            (b[0] - dy * (half + skew), b[1] + dx * half),
            (b[0] + dy * half, b[1] - dx * half),
            (a[0] + dy * half, a[1] - dx * (half + skew)),
        ]
        return strokes.render([], wedge, rng)
    if look < 0.82:  # a bundle of thin lines, of which at least one goes all the way
        spread = float(rng.uniform(1.5, 7))
        dabs: list[Dab] = []
        for index in range(int(rng.integers(1, 7))):
            o1, o2 = float(rng.normal(0, spread / 2)), float(rng.normal(0, spread / 2))
            cut = 1.0 if index == 0 else float(rng.uniform(0.5, 1.0))
            c = (a[0] - dy * o1, a[1] + dx * o1)
            d = (c[0] + (b[0] - a[0]) * cut - dy * o2, c[1] + (b[1] - a[1]) * cut + dx * o2)
            line = float(rng.uniform(1.6, 3.2))
            dabs += strokes.polyline(
                strokes.bowed(c, d, float(rng.normal(0, 0.1)) * span),
                line,
                line * float(rng.uniform(0.7, 1.2)),
            )
        return strokes.render(dabs, [], rng)
    if look < 0.93:
        points = strokes.zigzag(a, b, float(rng.uniform(2, 7)), int(rng.integers(1, 5)), rng)
        return strokes.render(strokes.polyline(points, width * 0.6, width * 0.5), [], rng)
    if span > 26:
        return None
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    radius = span / 2 + float(rng.uniform(1.5, 4))
    return strokes.render([Dab(middle, middle, radius * 2, radius * 2)], [], rng)


def touching_stroke(at: Point, normal: Point, rng: np.random.Generator) -> Stroke | None:
    """A stroke that starts at an edge and reaches along `normal`, more or less."""
    nx, ny = normal
    depth = float(np.clip(rng.lognormal(math.log(9.0), 0.45), 3.5, 36))
    look = rng.random()
    if look < 0.26:  # round
        radius = float(np.clip(rng.normal(5.2, 1.6), 2.8, 11))
        inset = float(rng.uniform(-0.5, 0.7)) * radius
        centre = (at[0] + nx * inset, at[1] + ny * inset)
        dabs = [Dab(centre, centre, radius * 2, radius * 2)]
        if rng.random() < 0.35:
            other = (
                centre[0] - ny * radius * float(rng.normal(0, 0.8)),
                centre[1] + nx * radius * float(rng.normal(0, 0.8)),
            )
            dabs.append(Dab(centre, other, radius * 2, radius * float(rng.uniform(1, 2))))
        return strokes.render(dabs, [], rng)
    tilt = float(rng.normal(0, 0.6))
    dx, dy = nx * math.cos(tilt) - ny * math.sin(tilt), nx * math.sin(tilt) + ny * math.cos(tilt)
    before = float(rng.uniform(-1.5, 5))
    a = (at[0] - dx * before, at[1] - dy * before)
    b = (at[0] + dx * depth, at[1] + dy * depth)
    width = float(np.clip(rng.lognormal(math.log(4.2), 0.35), 2.0, 10))
    if look < 0.62:
        taper = float(rng.uniform(0.35, 1.2))
        sag = float(rng.normal(0, 0.15)) * depth
        return strokes.render(
            strokes.polyline(strokes.bowed(a, b, sag), width, width * taper), [], rng
        )
    if look < 0.74:
        base = float(rng.uniform(2.5, 8))
        wedge = [(a[0] - ny * base, a[1] + nx * base), b, (a[0] + ny * base, a[1] - nx * base)]
        return strokes.render([], wedge, rng)
    if look < 0.82:  # a hook
        turn = float(rng.uniform(0.6, 1.8)) * (1 if rng.random() < 0.5 else -1)
        reach = depth * float(rng.uniform(0.3, 0.9))
        ex = dx * math.cos(turn) - dy * math.sin(turn)
        ey = dx * math.sin(turn) + dy * math.cos(turn)
        c = (b[0] + ex * reach, b[1] + ey * reach)
        return strokes.render(strokes.polyline([a, b, c], width, width * 0.7), [], rng)
    if look < 0.91:  # several thin lines, sometimes deep
        dabs = []
        if rng.random() < 0.5:
            more = depth * float(rng.uniform(0.3, 2.0))
            b = (b[0] + dx * more, b[1] + dy * more)
        for _ in range(int(rng.integers(2, 6))):
            s, t = float(rng.normal(0, 2.5)), float(rng.normal(0, 2.5))
            cut = float(rng.uniform(0.5, 1.0))
            line = float(rng.uniform(1.6, 3))
            dabs.append(
                Dab(
                    (a[0] - ny * s, a[1] + nx * s),
                    (a[0] + (b[0] - a[0]) * cut - ny * t, a[1] + (b[1] - a[1]) * cut + nx * t),
                    line,
                    line,
                )
            )
        return strokes.render(dabs, [], rng)
    if look < 0.96:
        inset = float(rng.uniform(1, 6))
        reach = float(rng.uniform(3, 8))
        dabs = strokes.tangle((at[0] + nx * inset, at[1] + ny * inset), reach, rng)
        return strokes.render(dabs, [], rng)
    # along the edge rather than into it
    reach = float(rng.uniform(8, 24 if rng.random() < 0.8 else 60))
    c, d = (
        (at[0] - ny * reach / 2, at[1] + nx * reach / 2),
        (at[0] + ny * reach / 2, at[1] - nx * reach / 2),
    )
    points = strokes.zigzag(c, d, float(rng.uniform(1.5, 5)), int(rng.integers(1, 6)), rng)
    return strokes.render(strokes.polyline(points, width, width), [], rng)


def free_stroke(at: Point, rng: np.random.Generator) -> Stroke | None:
    """A stroke anywhere, of any direction."""
    angle = float(rng.uniform(0, 2 * math.pi))
    dx, dy = math.cos(angle), math.sin(angle)
    look = rng.random()
    if look < 0.07:  # round
        radius = float(np.clip(rng.normal(5.5, 2.2), 2.8, 12))
        return strokes.render([Dab(at, at, radius * 2, radius * 2)], [], rng)
    if look < 0.30:
        return strokes.render(strokes.lump(at, rng), [], rng)
    if look < 0.42:
        reach = float(rng.uniform(4, 14))
        return strokes.render(strokes.tangle(at, reach, rng), [], rng)
    length = float(np.clip(rng.lognormal(math.log(11), 0.5), 3, 48))
    width = float(np.clip(rng.lognormal(math.log(5.6), 0.4), 2.4, 14))
    b = (at[0] + dx * length, at[1] + dy * length)
    taper = float(rng.uniform(0.4, 1.1))
    if look < 0.66:
        sag = float(rng.normal(0, 0.15)) * length
        return strokes.render(
            strokes.polyline(strokes.bowed(at, b, sag), width, width * taper), [], rng
        )
    if look < 0.84:  # a hook
        turn = float(rng.uniform(0.5, 2.2)) * (1 if rng.random() < 0.5 else -1)
        reach = length * float(rng.uniform(0.3, 1.0))
        c = (b[0] + math.cos(angle + turn) * reach, b[1] + math.sin(angle + turn) * reach)
        return strokes.render(strokes.polyline([at, b, c], width * 0.8, width * taper), [], rng)
    if look < 0.92:
        points = strokes.zigzag(at, b, float(rng.uniform(3, 9)), int(rng.integers(2, 6)), rng)
        line = float(rng.uniform(1.7, 4))
        return strokes.render(strokes.polyline(points, line, line), [], rng)
    dabs: list[Dab] = []
    if rng.random() < 0.5:  # a fan of thin lines
        for _ in range(int(rng.integers(2, 7))):
            o1, o2 = rng.normal(0, 2, 2), rng.normal(0, 4, 2)
            line = float(rng.uniform(1.5, 2.8))
            dabs.append(
                Dab(
                    (at[0] + float(o1[0]), at[1] + float(o1[1])),
                    (b[0] + float(o2[0]), b[1] + float(o2[1])),
                    line,
                    line,
                )
            )
        return strokes.render(dabs, [], rng)
    for _ in range(int(rng.integers(2, 5))):  # crumbs
        c = (at[0] + float(rng.normal(0, 5)), at[1] + float(rng.normal(0, 5)))
        d = (c[0] + float(rng.normal(0, 4)), c[1] + float(rng.normal(0, 4)))
        line = float(rng.uniform(2, 5))
        dabs.append(Dab(c, d, line, line))
    return strokes.render(dabs, [], rng)
