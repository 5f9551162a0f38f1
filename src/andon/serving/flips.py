"""Whether two versions said the same of one input."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from andon import typed

Flip = Literal["verdict", "labels", "boxes", "class", "failed"]
"""How two answers differ: one finds defects and the other none; they find others; at other places;
they name another class; the candidate has no answer."""

SAME_PLACE = 0.5
"""Overlap (intersection over union) from which two boxes are one place."""

MOVED = 0.1
"""A probability that changed by more than this has moved."""

_NEARLY = 1e-9


class Found(msgspec.Struct, frozen=True):
    """One detection as the log has it; `bbox` is x, y, width, height in pixels."""

    label: str
    confidence: float
    bbox: Sequence[float]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What one version said of one input.

    Attributes:
        detections: Of a picture, at or above the threshold.
        prediction: Class, of a row or a classified picture.
        probability: As the log has it: of the class looked for, or of the class answered.
        threshold: That it was answered with.
        error: Why there is no answer.
    """

    detections: tuple[Found, ...] = ()
    prediction: str | None = None
    probability: float | None = None
    threshold: float | None = None
    error: str = ""


def flip(before: Said, after: Said) -> Flip | None:
    """How the second answer differs from the first; None where it says the same.

    The verdict goes before the labels, those before the places.
    """
    if after.error:
        return "failed"
    if before.prediction != after.prediction:
        return "class"
    if bool(before.detections) != bool(after.detections):
        return "verdict"
    if labels(before.detections) != labels(after.detections):
        return "labels"
    return None if _same_places(before.detections, after.detections) else "boxes"


def moved(before: Said, after: Said) -> bool:
    """Whether the probability of the same answer changed by more than `MOVED`."""
    if before.probability is None or after.probability is None or after.error:
        return False
    return abs(before.probability - after.probability) > MOVED + _NEARLY


def labels(found: Sequence[Found]) -> Counter[str]:
    """How many of each label."""
    return Counter(one.label for one in found)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height), 0 to 1.

    Of boxes without area it is 1 where they are the same, else 0.
    """
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    union = one[2] * one[3] + other[2] * other[3] - shared
    if union <= 0:
        return float(list(one) == list(other))
    return shared / union


def _same_places(before: Sequence[Found], after: Sequence[Found]) -> bool:
    """Whether each box of the one can have a box of the other, label by label, for itself.

    The labels are the same. Boxes are handed out along alternating paths (Kuhn 1955), so that no
    choice of an earlier box takes a later one's only place.
    """
    near = [
        [
            place
            for place, other in enumerate(after)
            if other.label == one.label and overlap(one.bbox, other.bbox) >= SAME_PLACE
        ]
        for one in before
    ]
    owner: dict[int, int] = {}

    def placed(box: int, tried: set[int]) -> bool:
        for place in near[box]:
            if place in tried:
                continue
            tried.add(place)
            if place not in owner or placed(owner[place], tried):
                owner[place] = box
                return True
        return False

    return all(placed(box, set()) for box in range(len(before)))


def said_of(row: Any) -> Said:
    """What a logged answer said.

    Args:
        row: Has `detections` (decoded), `prediction`, `probability`, `threshold`.
    """
    return Said(
        detections=tuple(typed.convert(row.detections or [], list[Found])),
        prediction=row.prediction,
        probability=row.probability,
        threshold=row.threshold,
    )
