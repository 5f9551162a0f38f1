"""What the outputs of vision networks mean: decoders from arrays to candidates.

Each decoder is a plain function of the output arrays of one picture. Boxes come out as
corners ``x1, y1, x2, y2`` in model pixels, unsuppressed unless the network did it. Which
decoder a network needs is decided in `recognition`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon.errors import RuntimeFailed
from andon.runtimes.base import Task

Array = NDArray[Any]
Floats = NDArray[np.float32]
Ints = NDArray[np.intp]


class Candidates(NamedTuple):
    """Boxes at or above the floor, in no order.

    Attributes:
        boxes: Corners in model pixels, (n, 4).
        scores: 0 to 1, (n,).
        classes: Class numbers, (n,).
    """

    boxes: Floats
    scores: Floats
    classes: Ints


Decoder = Callable[[Sequence[Array], float], Candidates]
Scorer = Callable[[Sequence[Array]], Floats]


class Head(msgspec.Struct, frozen=True):
    """How to read a network.

    Attributes:
        name: One of the names of `ModelOptions.head`.
        task: What the network answers.
        classes: Number of classes; 0 where the outputs do not tell.
        outputs: Which outputs to fetch, in the order the decoder wants them.
        decode: Detection: arrays and score floor to candidates.
        classify: Classification: arrays to one score per class.
        suppress: Whether candidates overlap and need suppression.
        padded: Usual way to bring pictures in is letterboxing; otherwise stretching.
        warnings: Sentences on what was guessed.
    """

    name: str
    task: Task
    classes: int
    outputs: tuple[int, ...]
    decode: Decoder | None = None
    classify: Scorer | None = None
    suppress: bool = False
    padded: bool = False
    warnings: tuple[str, ...] = ()


def finite(values: Array) -> None:
    """Refuse an answer with NaN or infinity in it.

    Raises:
        RuntimeFailed: There is one.
    """
    if not np.isfinite(values).all():
        raise RuntimeFailed(
            "The model answered NaN or infinity.",
            hint="Check the picture and the export of the model; float16 exports overflow easily.",
        )


def sigmoid(values: Floats) -> Floats:
    """Logistic function without overflow."""
    result: Floats = 0.5 * (np.tanh(0.5 * values) + 1.0)
    return result


def softmax(values: Floats, axis: int = -1) -> Floats:
    """Normalised exponentials along one axis."""
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    result: Floats = powers / powers.sum(axis=axis, keepdims=True)
    return result


def corners(boxes: Floats, scale: tuple[float, float] | None) -> Floats:
    """Centres and sizes (n, 4) as corners, times (width, height) where normalised."""
    centre = boxes[:, :2]
    half = boxes[:, 2:4] * 0.5
    out = np.empty((boxes.shape[0], 4), np.float32)
    np.subtract(centre, half, out=out[:, :2])
    np.add(centre, half, out=out[:, 2:])
    if scale is not None:
        out *= np.array(scale * 2, np.float32)
    return out


def dense(
    *,
    transposed: bool,
    objectness: bool,
    classes: int,
    logits: bool,
    scale: tuple[float, float] | None,
) -> Decoder:
    """Decoder of one output with a row (or column) of numbers per place.

    Covers YOLOv8/11 ``[N, 4+nc, places]``, YOLOv5/v7 ``[N, places, 5+nc]`` and RT-DETR's
    joined ``[N, queries, 4+nc]``. Boxes are centre and size.

    Args:
        transposed: Whether the numbers of a place run along axis 1 (YOLOv8).
        objectness: Whether number 4 says that there is anything at all (YOLOv5).
        classes: nc. Further numbers (mask coefficients, key points) are ignored.
        logits: Whether scores still need the logistic function.
        scale: Input width and height where boxes are 0 to 1, else None.
    """
    first = 5 if objectness else 4

    def decode(arrays: Sequence[Array], floor: float) -> Candidates:
        table = np.asarray(arrays[0][0], np.float32)
        if not transposed:
            table = table.T
        # From here: (numbers, places). Nearly all places fall at the first comparison, so
        # little is computed before it; a maximum carries NaN along.
        if objectness:
            presence = sigmoid(table[4]) if logits else table[4]
            finite(presence)
            # Class scores are at most 1: no weaker place can reach the floor.
            likely = np.flatnonzero(presence >= floor)
            table, presence = table[:, likely], presence[likely]
        best = table[first : first + classes].max(axis=0)
        if logits:
            best = sigmoid(best)
        if objectness:
            best = best * presence
        finite(best)
        picked = np.flatnonzero(best >= floor)
        chosen = table[:, picked]
        boxes = chosen[:4].T
        finite(boxes)
        winners = chosen[first : first + classes].argmax(axis=0)
        return Candidates(corners(boxes, scale), best[picked], winners)

    return decode


def queries(*, logits: bool, softmaxed: bool, scale: tuple[float, float] | None) -> Decoder:
    """Decoder of DETR-like pairs: boxes ``[N, Q, 4]`` and scores ``[N, Q, nc]``.

    Args:
        logits: Whether scores still need the logistic function.
        softmaxed: Whether scores are logits of nc+1 classes, the last being "nothing".
        scale: Input width and height where boxes are 0 to 1, else None.
    """

    def decode(arrays: Sequence[Array], floor: float) -> Candidates:
        boxes = np.asarray(arrays[0][0], np.float32)
        scores = np.asarray(arrays[1][0], np.float32)
        finite(scores)
        if softmaxed:
            scores = softmax(scores)[:, :-1]
        elif logits:
            scores = sigmoid(scores)
        best = scores.max(axis=1)
        picked = np.flatnonzero(best >= floor)
        finite(boxes[picked])
        return Candidates(
            corners(boxes[picked], scale), best[picked], scores[picked].argmax(axis=1)
        )

    return decode


def finished(*, columns: tuple[int, int, int], scale: tuple[float, float] | None) -> Decoder:
    """Decoder of rows that are final boxes: ``[N, K, 6]`` or ``[K, 7]``.

    Args:
        columns: Where the box's first corner, the score and the class are in a row.
        scale: Input width and height where boxes are 0 to 1, else None.
    """
    box, score, kind = columns

    def decode(arrays: Sequence[Array], floor: float) -> Candidates:
        rows = np.asarray(arrays[0], np.float32)
        rows = rows.reshape(-1, rows.shape[-1])
        finite(rows)
        return _final(rows[:, box : box + 4], rows[:, score], rows[:, kind], floor, scale)

    return decode


def finished_apart(*, scale: tuple[float, float] | None, counted: bool) -> Decoder:
    """Decoder of final boxes in separate outputs: boxes, scores, classes (and a count).

    Args:
        scale: Input width and height where boxes are 0 to 1, else None.
        counted: Whether a fourth output says how many rows count.
    """

    def decode(arrays: Sequence[Array], floor: float) -> Candidates:
        boxes = np.asarray(arrays[0], np.float32).reshape(-1, 4)
        scores = np.asarray(arrays[1], np.float32).reshape(-1)
        kinds = np.asarray(arrays[2]).reshape(-1)
        if counted:
            count = int(np.asarray(arrays[3]).reshape(-1)[0])
            boxes, scores, kinds = boxes[:count], scores[:count], kinds[:count]
        finite(boxes)
        finite(scores)
        return _final(boxes, scores, kinds, floor, scale)

    return decode


def _final(
    boxes: Floats, scores: Floats, kinds: Array, floor: float, scale: tuple[float, float] | None
) -> Candidates:
    # Unused rows are zeros, or carry class -1.
    picked = np.flatnonzero((scores >= floor) & (kinds >= 0))
    inner = boxes[picked]
    if scale is not None:
        inner = inner * np.array(scale * 2, np.float32)
    return Candidates(inner, scores[picked], kinds[picked].astype(np.intp))


def heat_map(
    *, channels_first: bool, logits: bool, threshold: float, size: tuple[int, int]
) -> Decoder:
    """Decoder of FOMO maps: a class distribution per cell, class 0 being background.

    Cells of one class that touch, corners included, become one box with the best cell's
    score. Cells count from `threshold` on, not from the score floor: a lower bar would
    merge neighbours through weak cells, which changes what is found.

    Args:
        channels_first: ``[N, C, H, W]`` instead of ``[N, H, W, C]``.
        logits: Whether the softmax over classes is still to be taken.
        threshold: Lowest score of a cell.
        size: Input width and height, pixels.
    """

    def decode(arrays: Sequence[Array], floor: float) -> Candidates:
        cells = np.asarray(arrays[0][0], np.float32)
        if channels_first:
            cells = cells.transpose(1, 2, 0)
        finite(cells)
        if logits:
            cells = softmax(cells)
        rows, columns, _ = cells.shape
        things = cells[:, :, 1:]
        kinds = things.argmax(axis=2)
        best = things.max(axis=2)
        ys, xs = np.nonzero(best >= max(threshold, floor))
        lit = {
            (int(y), int(x)): (int(kinds[y, x]), float(best[y, x]))
            for y, x in zip(ys, xs, strict=True)
        }
        step = np.array([size[0] / columns, size[1] / rows] * 2, np.float32)
        found = _islands(lit)
        return Candidates(
            np.array([box for box, _, _ in found], np.float32).reshape(-1, 4) * step,
            np.array([score for _, score, _ in found], np.float32),
            np.array([kind for _, _, kind in found], np.intp),
        )

    return decode


def _islands(
    lit: dict[tuple[int, int], tuple[int, float]],
) -> list[tuple[tuple[int, int, int, int], float, int]]:
    """Connected cells of one class: corners in cells, best score, class."""
    found: list[tuple[tuple[int, int, int, int], float, int]] = []
    while lit:
        place, (kind, score) = lit.popitem()
        top, left = bottom, right = place
        border = [place]
        while border:
            y, x = border.pop()
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                cell = lit.get(near)
                if cell is None or cell[0] != kind:
                    continue
                del lit[near]
                border.append(near)
                score = max(score, cell[1])
                top, bottom = min(top, near[0]), max(bottom, near[0])
                left, right = min(left, near[1]), max(right, near[1])
        found.append(((left, top, right + 1, bottom + 1), score, kind))
    return found


def class_scores(*, rule: str) -> Scorer:
    """Scorer of ``[N, C]``.

    Args:
        rule: "probabilities" and "independent" are taken as they are, "softmax" and
            "sigmoid" are applied, and "binary" or "binary-logit" make two classes of one
            number, the second class being the one it speaks of.
    """

    def classify(arrays: Sequence[Array]) -> Floats:
        scores = np.asarray(arrays[0], np.float32).reshape(-1)
        finite(scores)
        if rule == "softmax":
            return softmax(scores)
        if rule in {"sigmoid", "binary-logit"}:
            scores = sigmoid(scores)
        if rule.startswith("binary"):
            scores = np.array([1.0 - scores[0], scores[0]], np.float32)
        return scores

    return classify
