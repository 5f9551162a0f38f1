"""How good a detector is: average precision, precision and recall against boxes drawn by people.

Definitions, for one class:

* The overlap of two boxes is the area of their intersection over the area of their union (IoU).
* Detections of all images are taken by falling score. Each is compared with the truths of its class
  in its image that are still unmatched; the one with the greatest IoU is matched, if that IoU is at
  least the threshold, and the detection is right; otherwise it is a false alarm. So of two
  detections of one defect, the second is a false alarm.
* After each detection, precision = right / detections so far and recall = right / truths.
* Average precision (AP) is the area under the curve of precision over recall, after precision at
  every recall has been raised to the highest precision at that recall or beyond (all-point
  interpolation, as in the Pascal VOC development kit from 2010 on; Everingham et al., "The Pascal
  Visual Object Classes Challenge: A Retrospective", IJCV 2015).
* mAP is the plain mean of the AP of the classes that occur in the truths.

Detections of the same score are taken in an order that depends on the images' names and the boxes
only, so a shuffled input gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from andon.training.datasets import Dataset

Box: TypeAlias = tuple[float, float, float, float]
"""x and y of the top left corner, width, height; in pixels."""
Prediction: TypeAlias = tuple[str, float, Box]
"""Class, score from 0 to 1, box."""
Truth: TypeAlias = tuple[str, Box]
"""Class, box."""
Detect: TypeAlias = Callable[[Path], Sequence[Prediction]]
"""Finds the defects in one image file; give it a low score floor, or the tail of AP is lost."""

DEFAULT_IOU = 0.33
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ClassScore:
    """The numbers of one class; those marked * count detections at or above the threshold only.

    A ratio without a denominator (the precision of no detections) is None.
    """

    label: str
    truths: int
    detections: int
    average_precision: float | None
    right: int
    """* true positives"""
    false_alarms: int
    """* false positives"""
    missed: int
    """* false negatives"""
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class DetectionReport:
    """The numbers of a detector on a set of images.

    `balanced_threshold` is the score at which F1 over all classes together is highest (None without
    detections): what to decide at, where right and wrong weigh the same.
    """

    images: int
    truths: int
    iou: float
    threshold: float
    mean_average_precision: float | None
    classes: tuple[ClassScore, ...]
    overall: ClassScore
    balanced_threshold: float | None

    def to_dict(self) -> dict[str, object]:
        """The report as plain JSON-ready types."""
        return asdict(self)

    def table(self) -> str:
        """The report as lines of text for a terminal."""
        head = f"{'class':<14}{'truths':>8}{'AP':>8}{'precision':>11}{'recall':>8}{'F1':>8}"
        rows = [head]
        rows.extend(
            f"{score.label:<14}{score.truths:>8}{_number(score.average_precision):>8}"
            f"{_number(score.precision):>11}{_number(score.recall):>8}{_number(score.f1):>8}"
            for score in (*self.classes, self.overall)
        )
        rows.append(
            f"mAP {_number(self.mean_average_precision)} at IoU >= {self.iou:g} over "
            f"{self.images} images; precision, recall and F1 at score >= {self.threshold:g}"
        )
        return "\n".join(rows)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes: 0 (apart, or both without area) to 1 (equal)."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    union = first[2] * first[3] + second[2] * second[3] - shared
    return min(1.0, shared / union) if union > 0 else 0.0


def average_precision(right: Sequence[bool] | NDArray[np.bool_], truths: int) -> float | None:
    """Area under the interpolated curve of precision over recall, 0 to 1.

    `right` says for each detection, by falling score, whether it is right; `truths` is how many
    there were to find. None where there was nothing to find.
    """
    if truths <= 0:
        return None
    hits = np.asarray(right, dtype=bool)
    if not hits.any():
        return 0.0
    found = np.cumsum(hits)
    if found[-1] > truths:
        raise ValueError(f"{int(found[-1])} right detections of {truths} truths: matched twice")
    precision = found / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall rises by 1 / truths at every right detection and nowhere else.
    return float(best[hits].sum() / truths)


def evaluate_detections(
    predictions: Mapping[str, Sequence[Prediction]],
    truths: Mapping[str, Sequence[Truth]],
    classes: Sequence[str],
    *,
    iou: float = DEFAULT_IOU,
    threshold: float = DEFAULT_THRESHOLD,
) -> DetectionReport:
    """Compare detections with truths; both are keyed by the image's name.

    Every image of `truths` counts, also one without boxes (where every detection is a false alarm)
    and one the predictions do not mention. Raises ValueError for a prediction for an unknown image,
    a class that is not among `classes`, or an `iou` outside (0, 1].
    """
    if not 0.0 < iou <= 1.0:
        raise ValueError(f"the IoU threshold must be above 0 and at most 1, got {iou}")
    _check(predictions, truths, classes)
    scores: list[ClassScore] = []
    everything: list[tuple[float, bool]] = []
    for label in classes:
        marked = _matched(predictions, truths, label, iou)
        everything += marked
        count = sum(1 for boxes in truths.values() for name, _ in boxes if name == label)
        scores.append(_class_score(label, marked, count, threshold))
    total = sum(score.truths for score in scores)
    everything.sort(key=lambda item: -item[0])
    overall = _class_score("all", everything, total, threshold)
    values = [s.average_precision for s in scores if s.average_precision is not None]
    return DetectionReport(
        images=len(truths),
        truths=total,
        iou=iou,
        threshold=threshold,
        mean_average_precision=sum(values) / len(values) if values else None,
        classes=tuple(scores),
        overall=overall,
        balanced_threshold=_balanced(everything, total),
    )


def evaluate_dataset(
    dataset: Dataset,
    detect: Detect,
    *,
    iou: float = DEFAULT_IOU,
    threshold: float = DEFAULT_THRESHOLD,
) -> DetectionReport:
    """Run a detector over every image of a data set and compare it with the boxes there.

    Detections of classes that the data set does not know are left out: it cannot judge them.
    """
    known = set(dataset.classes)
    predictions = {
        str(image.path): [p for p in detect(image.path) if p[0] in known]
        for image in dataset.images
    }
    truths = {
        str(image.path): [(box.label, (box.x, box.y, box.width, box.height)) for box in image.boxes]
        for image in dataset.images
    }
    return evaluate_detections(predictions, truths, dataset.classes, iou=iou, threshold=threshold)


def _check(
    predictions: Mapping[str, Sequence[Prediction]],
    truths: Mapping[str, Sequence[Truth]],
    classes: Sequence[str],
) -> None:
    known = set(classes)
    for image, found in predictions.items():
        if image not in truths:
            raise ValueError(f"there are detections for {image!r}, but no truth")
        for label, _, _ in found:
            if label not in known:
                raise ValueError(f"a detection in {image!r} has the unknown class {label!r}")
    for image, boxes in truths.items():
        for label, _ in boxes:
            if label not in known:
                raise ValueError(f"a truth in {image!r} has the unknown class {label!r}")


def _matched(
    predictions: Mapping[str, Sequence[Prediction]],
    truths: Mapping[str, Sequence[Truth]],
    label: str,
    iou: float,
) -> list[tuple[float, bool]]:
    """Score and rightness of every detection of a class, by falling score."""
    open_truths = {
        image: sorted(box for name, box in boxes if name == label)
        for image, boxes in truths.items()
    }
    ordered = sorted(
        (-score, image, box)
        for image, found in predictions.items()
        for name, score, box in found
        if name == label
    )
    marked: list[tuple[float, bool]] = []
    for negated, image, box in ordered:
        candidates = open_truths[image]
        overlaps = [overlap(box, truth) for truth in candidates]
        best = max(range(len(overlaps)), key=overlaps.__getitem__, default=None)
        hit = best is not None and overlaps[best] >= iou
        if hit and best is not None:
            del candidates[best]
        marked.append((-negated, hit))
    return marked


def _class_score(
    label: str, marked: Sequence[tuple[float, bool]], truths: int, threshold: float
) -> ClassScore:
    kept = [hit for score, hit in marked if score >= threshold]
    right = sum(kept)
    false_alarms = len(kept) - right
    return ClassScore(
        label=label,
        truths=truths,
        detections=len(marked),
        average_precision=average_precision([hit for _, hit in marked], truths),
        right=right,
        false_alarms=false_alarms,
        missed=truths - right,
        precision=right / len(kept) if kept else None,
        recall=right / truths if truths else None,
        f1=2 * right / (len(kept) + truths) if kept or truths else None,
    )


def _balanced(marked: Sequence[tuple[float, bool]], truths: int) -> float | None:
    if not marked or not truths:
        return None
    found = np.cumsum([hit for _, hit in marked])
    scores = np.asarray([score for score, _ in marked])
    f1 = 2 * found / (np.arange(1, len(marked) + 1) + truths)
    # Detections of one score are accepted or refused together: judge at the last of each run.
    last = np.append(scores[1:] != scores[:-1], True)
    return float(scores[int(np.argmax(np.where(last, f1, -1.0)))])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
