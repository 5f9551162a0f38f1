"""The six classic defects of bare boards, put into a scanned board.

What a stroke is called follows from what it touches. Painted with copper on bare laminate it is
spurious copper where it touches no copper, a spur where it touches copper along one stretch, and a
short where it touches copper along two or more; painted bare on copper it is by the same count a
pin-hole, a mouse bite or an open. Every proposed stroke is judged by this rule before it is drawn,
so a label never contradicts its picture.

A box spans the whole stroke, also the part of it that shows no difference (bare on bare), plus
`BOX_MARGIN` pixels on every side: this is how DeepPCB's authors drew theirs, as a comparison of
their boxes with the difference between tested image and template shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andon.training.pcb import marks, strokes
from andon.training.pcb.canvas import Point
from andon.training.pcb.strokes import Stroke

OPEN, SHORT, MOUSEBITE, SPUR, COPPER, PIN_HOLE = range(6)
CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
BOX_MARGIN = 10

_SHARES = (0.17, 0.15, 0.18, 0.16, 0.14, 0.20)  # what does not fit is drawn again
_ADDS_COPPER = (False, True, False, True, True, False)
_TOUCHES = (2, 2, 1, 1, 0, 0)  # 2 means two or more
_LEAST_PIXELS = (20, 20, 16, 18, 22, 18)
_BORDER = 4  # pixels from the image's border within which no defect is put
_TRIES = 60

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """One drawn defect: its class, and its box x0, y0, x1, y1 (pixels, the end exclusive)."""

    kind: int
    box: tuple[int, int, int, int]


def add_defects(copper: Mask, rng: np.random.Generator, count: int) -> list[Placed]:
    """Draw `count` defects into `copper` (changed in place), apart from each other.

    Fewer are drawn where the board has no room for them, such as an open on a board without copper.
    """
    edge = _edge_points(copper)
    placed: list[Placed] = []
    cores: list[tuple[int, int, int, int]] = []
    for _ in range(count):
        for _ in range(3):  # another class may fit where this one does not
            kind = int(rng.choice(6, p=_SHARES))
            stroke = _place(kind, copper, edge, cores, rng)
            if stroke is not None:
                cores.append(_bounds(stroke))
                placed.append(Placed(kind, _with_margin(cores[-1], copper.shape)))
                break
    return placed


def _place(
    kind: int,
    copper: Mask,
    edge: NDArray[np.int64],
    cores: list[tuple[int, int, int, int]],
    rng: np.random.Generator,
) -> Stroke | None:
    adds = _ADDS_COPPER[kind]
    for _ in range(_TRIES):
        solid = _propose(kind, copper, edge, rng)
        if solid is None or not _inside(solid, copper.shape):
            continue
        x0, y0, x1, y1 = _bounds(solid)
        if any(x0 < d + 5 and c < x1 + 5 and y0 < f + 5 and e < y1 + 5 for c, e, d, f in cores):
            continue
        if not _fits(kind, solid, copper):
            continue
        final: Stroke | None = solid
        look = rng.random()
        if look < (0.22 if int(solid.mask.sum()) < 160 else 0.08):
            final = strokes.dotted(solid, rng)
        elif look > 0.95:
            final = strokes.hollow(solid)
        if final is None:
            continue
        window = copper[
            final.top : final.top + final.mask.shape[0],
            final.left : final.left + final.mask.shape[1],
        ]
        if int((final.mask & (window != adds)).sum()) < _LEAST_PIXELS[kind]:
            continue
        window[final.mask] = adds
        return final
    return None


def _propose(
    kind: int, copper: Mask, edge: NDArray[np.int64], rng: np.random.Generator
) -> Stroke | None:
    """A stroke that may turn out to be a defect of this kind."""
    if _TOUCHES[kind] == 0:
        side = copper.shape[0]
        for _ in range(8):
            at = (float(rng.uniform(_BORDER, side)), float(rng.uniform(_BORDER, side)))
            if bool(copper[int(at[1]), int(at[0])]) != _ADDS_COPPER[kind]:
                return marks.free_stroke(at, rng)
        return None
    if not len(edge):
        return None
    row, column = edge[int(rng.integers(len(edge)))]
    outward = _normal(copper, int(row), int(column))
    if outward is None:
        return None
    nx, ny = outward if _ADDS_COPPER[kind] else (-outward[0], -outward[1])
    at = (float(column) + 0.5, float(row) + 0.5)
    if _TOUCHES[kind] == 1:
        return marks.touching_stroke(at, (nx, ny), rng)
    tilt = float(rng.normal(0, 0.35))
    direction = (
        nx * math.cos(tilt) - ny * math.sin(tilt),
        nx * math.sin(tilt) + ny * math.cos(tilt),
    )
    span = _thickness(copper, at, direction, _ADDS_COPPER[kind])
    # Narrow tracks and gaps are where boards break and bridge; wide ones are rare but do occur.
    if span is None or rng.random() > math.exp(-span / 40):
        return None
    if kind == SHORT and _is_hole(copper, at, direction, span):
        return None
    return marks.crossing_stroke(at, direction, span, rng)


def _fits(kind: int, stroke: Stroke, copper: Mask) -> bool:
    """Whether the stroke touches what a defect of this kind touches, with two pixels to spare."""
    pad = 5
    height, width = stroke.mask.shape
    top, left = stroke.top - pad, stroke.left - pad
    if top < 0 or left < 0:
        return False
    window = copper[top : top + height + 2 * pad, left : left + width + 2 * pad]
    mask = np.pad(stroke.mask, pad)
    if window.shape != mask.shape:
        return False
    target = window if _ADDS_COPPER[kind] else ~window  # what the stroke has the colour of
    touches = _TOUCHES[kind]
    if touches == 2:
        return _arcs(mask, target) >= 2
    wide = _grown(_grown(mask))
    if touches == 0:
        return not bool((_grown(wide) & target).any())
    # A mark that all but reaches the edge still counts as one that does.
    return _arcs(mask, target) <= 1 and _arcs(wide, target) == 1


def _arcs(mask: Mask, target: Mask) -> int:
    """Along how many separate stretches the visible stroke touches the target: 0, 1, or 2."""
    contact = _grown(mask & ~target) & target
    if not contact.any():
        return 0
    reach = _grown(contact)
    seed = np.zeros_like(reach)
    rows, columns = np.nonzero(contact)
    seed[rows[0], columns[0]] = True
    size = 1
    while True:
        seed = _grown(seed) & reach
        grown = int(seed.sum())
        if grown == size:
            break
        size = grown
    # A crumb of contact next to the main stretch is roughness of an edge, not a second net.
    return 2 if int((contact & ~seed).sum()) >= 3 else 1


def _grown(mask: Mask) -> Mask:
    """The mask and its eight neighbours."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide


def _edge_points(copper: Mask) -> NDArray[np.int64]:
    """Rows and columns of the copper pixels next to bare laminate, away from the border."""
    inner = copper[1:-1, 1:-1]
    bare = ~(copper[:-2, 1:-1] & copper[2:, 1:-1] & copper[1:-1, :-2] & copper[1:-1, 2:])
    points = np.argwhere(inner & bare) + 1
    side = copper.shape[0]
    keep = (points >= _BORDER).all(1) & (points < side - _BORDER).all(1)
    return np.asarray(points[keep], dtype=np.int64)


def _normal(copper: Mask, row: int, column: int) -> Point | None:
    """The direction (dx, dy) from copper to bare laminate at an edge pixel."""
    reach = 4
    if min(row, column) < reach or max(row, column) + reach >= copper.shape[0]:
        return None
    window = copper[row - reach : row + reach + 1, column - reach : column + reach + 1]
    steps = np.arange(-reach, reach + 1)
    dx, dy = -float((window * steps[None, :]).sum()), -float((window * steps[:, None]).sum())
    length = math.hypot(dx, dy)
    return None if length < 8 else (dx / length, dy / length)


def _thickness(copper: Mask, at: Point, direction: Point, adds: bool) -> float | None:
    """How far it is through what the stroke has to cross; None beyond 80 pixels or the border.

    A stroke of copper crosses a bare gap, a bare one crosses copper.
    """
    steps = np.arange(3, 80)
    columns = np.rint(at[0] - 0.5 + direction[0] * steps).astype(np.int64)
    rows = np.rint(at[1] - 0.5 + direction[1] * steps).astype(np.int64)
    side = copper.shape[0]
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    count = len(steps) if inside.all() else int(np.argmin(inside))
    reached = copper[rows[:count], columns[:count]] == adds
    if not reached.any():
        return None
    return float(steps[int(np.argmax(reached))])


def _is_hole(copper: Mask, at: Point, direction: Point, span: float) -> bool:
    """Whether a gap is about as short as it is wide: a drilled hole, not room between nets."""
    dx, dy = direction
    middle = (at[0] + dx * span / 2, at[1] + dy * span / 2)
    left = _thickness(copper, middle, (-dy, dx), adds=True)
    right = _thickness(copper, middle, (dy, -dx), adds=True)
    return left is not None and right is not None and left + right < 1.6 * span + 4


def _bounds(stroke: Stroke) -> tuple[int, int, int, int]:
    height, width = stroke.mask.shape
    return (stroke.left, stroke.top, stroke.left + width, stroke.top + height)


def _inside(stroke: Stroke, shape: tuple[int, ...]) -> bool:
    x0, y0, x1, y1 = _bounds(stroke)
    return min(x0, y0) >= _BORDER and max(x1, y1) <= shape[0] - _BORDER


def _with_margin(
    box: tuple[int, int, int, int], shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    m = BOX_MARGIN
    return (max(0, x0 - m), max(0, y0 - m), min(shape[1], x1 + m), min(shape[0], y1 + m))
