"""Which head a network has: read from output shapes, values and what the file says.

The rules, first match wins; every guess adds a sentence to the head's warnings:

1. `ModelOptions.head` (or the file's own `andon.head`) names the head; the rest only
   finds out the orientation.
2. Rank 4 with cells that divide the input evenly: a FOMO heat map. ``[1, C, 1, 1]`` and
   rank 2 with one row: classification.
3. Rank 3, where the longer axis has as many entries as consecutive strides (from 4 or 8 on)
   make places of the input (6400, 8400, ... at 640x640): along the last axis it is YOLOv8
   ``[1, 4+nc, places]``; along axis 1 it is the same transposed, or with objectness where
   the labels say so. Three times as many: YOLOv5/v7 ``[1, 3*places, 5+nc]``.
4. Rank 3 or 2 with 6 numbers per row, the last one whole in every trial run, or 7 numbers:
   final boxes.
5. Rank 3 with boxes between 0 and 1 in every trial run and 10 to 1000 rows: RT-DETR.
6. Rank 3 otherwise: the shorter axis holds the numbers of a place; axis 1 means YOLOv8,
   the last axis YOLOv5. A guess.
7. Two outputs ``[1, Q, 4]`` and ``[1, Q, nc]``: DETR family. Three or four outputs of boxes,
   scores, classes (and a count): final boxes. One output of rank 3 beside feature maps or
   masks: that one.

Scores that leave 0..1 in a trial run are logits.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import msgspec
import numpy as np

from andon.errors import ModelRejected
from andon.runtimes import heads
from andon.runtimes.base import Task
from andon.runtimes.heads import Array, Head

HEADS = ("yolov8", "yolov5", "end2end", "rtdetr", "fomo", "classification")
"""Values of `ModelOptions.head`."""

_STRIDES = (4, 8, 16, 32, 64)
_SHARES = "Boxes are between 0 and 1 and are read as shares of the input."


class Output(msgspec.Struct, frozen=True):
    """One output of a network.

    Attributes:
        name: Its name.
        shape: As declared; entries are int, str or None.
        trials: What it answered in each trial run; never empty.
    """

    name: str
    shape: tuple[int | str | None, ...]
    trials: tuple[Array, ...]

    @property
    def seen(self) -> tuple[int, ...]:
        """The shape of the first trial's answer."""
        return tuple(int(size) for size in self.trials[0].shape)

    @property
    def single(self) -> bool:
        """Whether axis 0 is the batch, fixed at one or named like one, not a number of boxes."""
        first = self.shape[0] if self.shape else None
        return first == 1 or (self.seen[:1] == (1,) and "batch" in str(first).lower())

    def __str__(self) -> str:
        sizes = ", ".join(str(size) for size in self.seen)
        return f"'{self.name}' {self.trials[0].dtype} [{sizes}]"


class Clues(msgspec.Struct, frozen=True):
    """What is known of a network besides its outputs.

    Attributes:
        width: Input width, pixels.
        height: Input height, pixels.
        labels: Number of class names known, or 0.
        head: Head that was named, or "".
        kind: What the exporter calls the task: "detect", "segment", "pose", "obb", "classify".
        finished: Whether the exporter says that suppression is inside.
        threshold: Lowest score of a heat-map cell.
    """

    width: int
    height: int
    labels: int = 0
    head: str = ""
    kind: str = ""
    finished: bool = False
    threshold: float = 0.5


def recognise(outputs: Sequence[Output], clues: Clues) -> Head:
    """The head of a network.

    Args:
        outputs: All of them, with trial answers.
        clues: What else is known.

    Raises:
        ModelRejected: Not understood, naming the shapes seen and the override to give.
    """
    if clues.head and clues.head not in HEADS:
        raise ModelRejected(
            f"There is no head called '{clues.head}'.", hint=f"Use one of {', '.join(HEADS)}."
        )
    if clues.kind == "obb":
        raise ModelRejected(
            "The model answers rotated boxes, which Andon does not draw.",
            hint="Train and export a detection model.",
        )
    head = _several(outputs, clues) if len(outputs) > 1 else _one(outputs[0], 0, clues)
    if head is None or (clues.head and head.name != clues.head):
        seen = "; ".join(str(output) for output in outputs)
        wanted = f" as '{clues.head}'" if clues.head else ""
        raise ModelRejected(
            f"The model's outputs are not understood{wanted}: {seen}, for an input of "
            f"{clues.width}x{clues.height} pixels.",
            hint="Export it with decoded boxes (not raw feature maps), or set the option 'head' "
            f"to one of {', '.join(HEADS)}.",
        )
    return head


def _one(output: Output, index: int, clues: Clues) -> Head | None:
    """A head in a single output."""
    seen = output.seen
    rank = len(seen)
    if rank == 4 and seen[2:] != (1, 1):
        return _fomo(output, index, clues)
    if rank == 3 and seen[0] == 1:
        return _rows(output, index, clues)
    if rank == 2 and seen[1] in {6, 7} and not output.single:
        return _finished(output, index, clues)
    if rank in {1, 2, 4} and 0 < output.trials[0].size == max(seen):
        return _classification(output, index, clues)
    return None


def _several(outputs: Sequence[Output], clues: Clues) -> Head | None:
    """A head spread over several outputs."""
    rows = [place for place, output in enumerate(outputs) if len(output.seen) == 3]
    rest = [place for place in range(len(outputs)) if place not in rows]
    if len(rows) == 1 and all(len(outputs[place].seen) >= 4 for place in rest):
        head = _one(outputs[rows[0]], rows[0], clues)
        if head is None:
            return None
        ignored = ", ".join(f"'{outputs[place].name}'" for place in rest)
        return msgspec.structs.replace(
            head, warnings=(*head.warnings, f"Outputs {ignored} (masks, feature maps) are ignored.")
        )
    boxes = [place for place, output in enumerate(outputs) if output.seen[-1:] == (4,)]
    if not boxes:
        return None
    named = [place for place in boxes if "box" in outputs[place].name.lower()]
    first = (named or boxes)[0]
    others = [place for place in range(len(outputs)) if place != first]
    if len(others) == 1:
        return _pair(outputs, first, others[0], clues)
    return _apart(outputs, first, others)


def _pair(outputs: Sequence[Output], first: int, second: int, clues: Clues) -> Head | None:
    """Boxes and scores per query."""
    boxes, scores = outputs[first], outputs[second]
    if len(boxes.seen) != 3 or len(scores.seen) != 3 or boxes.seen[1] != scores.seen[1]:
        return None
    warnings: list[str] = []
    unit = _within(boxes, lambda array: array, -0.5, 1.5)
    if not unit:
        if clues.head != "rtdetr":
            return None
        warnings.append("Boxes are read as centre and size in input pixels.")
    classes = scores.seen[2]
    logits = not _within(scores, lambda array: array, 0.0, 1.0)
    nothing = logits and clues.labels > 0 and classes == clues.labels + 1
    return Head(
        "rtdetr",
        Task.DETECTION,
        classes - 1 if nothing else classes,
        (first, second),
        decode=heads.queries(logits=logits, softmaxed=nothing, scale=_scale(unit, clues)),
        warnings=tuple(warnings),
    )


def _apart(outputs: Sequence[Output], first: int, others: list[int]) -> Head | None:
    """Boxes, scores, classes and perhaps a count, suppressed inside."""
    counts = [place for place in others if max(outputs[place].seen, default=1) == 1]
    counted = len(others) == 3 and len(counts) >= 1
    if counted:
        named = [place for place in counts if "num" in outputs[place].name.lower()]
        count = (named or counts)[0]
        others = [place for place in others if place != count]
    if len(others) != 2 or any(
        outputs[place].trials[0].size * 4 != outputs[first].trials[0].size for place in others
    ):
        return None
    if _shares(outputs[first]):
        # Exporters that answer shares of the picture disagree on the order of corners.
        return None

    def like_a_class(place: int) -> tuple[bool, bool]:
        name = outputs[place].name.lower()
        whole = outputs[place].trials[0].dtype.kind in "iu"
        return whole, ("class" in name or "label" in name) and "score" not in name

    scores, classes = sorted(others, key=like_a_class)
    if like_a_class(scores) == like_a_class(classes):
        return None
    wanted = (first, scores, classes, *((count,) if counted else ()))
    return Head(
        "end2end",
        Task.DETECTION,
        0,
        wanted,
        decode=heads.finished_apart(scale=None, counted=counted),
    )


def _fomo(output: Output, index: int, clues: Clues) -> Head | None:
    """A heat map; cells must tile the input."""
    _, one, two, three = output.seen
    if _tiles(one, two, clues):
        channels_first, channels = False, three
    elif _tiles(two, three, clues):
        channels_first, channels = True, one
    else:
        return None
    if channels < 2:
        return None
    warnings: tuple[str, ...] = ()
    if clues.labels and clues.labels != channels - 1:
        warnings = (_mismatch(clues.labels, channels - 1),)
    axis = 1 if channels_first else 3
    spread = [np.asarray(trial, np.float32).sum(axis=axis) for trial in output.trials]
    shares = _within(output, lambda array: array, 0.0, 1.0)
    logits = not shares or any(np.abs(total - 1).max() > 0.05 for total in spread)
    return Head(
        "fomo",
        Task.DETECTION,
        channels - 1,
        (index,),
        decode=heads.heat_map(
            channels_first=channels_first,
            logits=logits,
            threshold=clues.threshold,
            size=(clues.width, clues.height),
        ),
        warnings=warnings,
    )


def _tiles(rows: int, columns: int, clues: Clues) -> bool:
    return (
        1 <= rows < clues.height
        and 1 <= columns < clues.width
        and clues.height % rows == 0
        and clues.width % columns == 0
        and clues.height // rows == clues.width // columns
    )


def _classification(output: Output, index: int, clues: Clues) -> Head | None:
    """One number per class."""
    if clues.head not in {"", "classification"}:
        return None
    size = output.trials[0].size
    warnings: list[str] = []
    unit = _within(output, lambda array: array, 0.0, 1.0)
    totals = [float(np.asarray(trial, np.float32).sum()) for trial in output.trials]
    if size == 1:
        rule = "binary" if unit else "binary-logit"
        size = 2
    elif unit and all(abs(total - 1) < 1e-2 for total in totals):
        rule = "probabilities"
    elif unit:
        rule = "independent"
        warnings.append("Class scores do not sum to 1; they are taken as independent.")
    else:
        rule = "softmax"
    if clues.labels and clues.labels != size:
        warnings.append(_mismatch(clues.labels, size))
    return Head(
        "classification",
        Task.CLASSIFICATION,
        size,
        (index,),
        classify=heads.class_scores(rule=rule),
        warnings=tuple(warnings),
    )


def _rows(output: Output, index: int, clues: Clues) -> Head | None:
    """Rank 3: the YOLO family, final boxes or RT-DETR's joined output (rules 3 to 6)."""
    _, one, two = output.seen
    places = _places(clues.width, clues.height)
    triples = {3 * count for count in _places(clues.width, clues.height, first=3)}
    last_is_place = two >= one
    long = max(one, two)
    short = min(one, two)
    if clues.head:
        choice = clues.head
        if choice not in {"yolov8", "yolov5", "end2end", "rtdetr"}:
            return None
    elif clues.finished and two == 6:
        choice = "end2end"
    elif last_is_place and long in places and short >= 5:
        choice = "yolov8"
    elif not last_is_place and (long in triples or long in places) and short >= 5:
        choice = "yolov5" if long in triples else "rows"
    elif two in {6, 7} and _whole_classes(output, two):
        choice = "end2end"
    elif (
        10 <= one <= 1000 and two >= 5 and _within(output, lambda array: array[..., :4], -0.5, 1.5)
    ):
        choice = "rtdetr"
    else:
        choice = "guess"
    if choice == "end2end":
        return _finished(output, index, clues)
    if choice == "rtdetr":
        return _dense("rtdetr", output, index, clues, transposed=False, objectness=False)
    if choice == "yolov8":
        return _dense("yolov8", output, index, clues, transposed=last_is_place, objectness=False)
    if choice == "yolov5":
        return _dense("yolov5", output, index, clues, transposed=False, objectness=True)
    if short < 5 or (short == 5 and not last_is_place and clues.labels != 1):
        return None
    # One row per place: the labels tell whether number 4 is objectness.
    objectness = not last_is_place and (choice == "guess" or short == clues.labels + 5)
    if clues.labels and short in {clues.labels + 4, clues.labels + 5}:
        objectness = short == clues.labels + 5
    certain = choice == "rows" and clues.labels > 0
    name = "yolov5" if objectness else "yolov8"
    head = _dense(name, output, index, clues, transposed=last_is_place, objectness=objectness)
    if head is None or certain:
        return head
    guess = (
        f"The output {output} fits several layouts and is read as {name}; if boxes look wrong, "
        "set the option 'head'."
    )
    return msgspec.structs.replace(head, warnings=(*head.warnings, guess))


def _dense(
    name: str, output: Output, index: int, clues: Clues, *, transposed: bool, objectness: bool
) -> Head | None:
    """A head with one set of numbers per place or query."""
    first = 5 if objectness else 4
    numbers = output.seen[1 if transposed else 2]
    classes = numbers - first
    if classes < 1:
        return None
    warnings: list[str] = []
    if clues.kind in {"segment", "pose"} and 0 < clues.labels < classes:
        classes = clues.labels
        warnings.append(f"Only the boxes of this {clues.kind} model are used.")
    elif clues.labels and clues.labels != classes:
        warnings.append(_mismatch(clues.labels, classes))

    def part(start: int, stop: int) -> Callable[[Array], Array]:
        if transposed:
            return lambda array: array[:, start:stop]
        return lambda array: array[:, :, start:stop]

    logits = not _within(output, part(4, first + classes), 0.0, 1.0)
    unit = _within(output, part(0, 4), -2.0, 2.0)
    if unit and name != "rtdetr":
        warnings.append(_SHARES)
    return Head(
        name,
        Task.DETECTION,
        classes,
        (index,),
        decode=heads.dense(
            transposed=transposed,
            objectness=objectness,
            classes=classes,
            logits=logits,
            scale=_scale(unit, clues),
        ),
        suppress=name != "rtdetr",
        padded=name != "rtdetr",
        warnings=tuple(warnings),
    )


def _finished(output: Output, index: int, clues: Clues) -> Head | None:
    """Rows of final boxes: corners, score, class; or batch, corners, class, score."""
    width = output.seen[-1]
    if width not in {6, 7} or clues.head not in {"", "end2end"}:
        return None
    columns = (0, 4, 5) if width == 6 else (1, 6, 5)
    box = columns[0]
    unit = _shares(output, box)
    return Head(
        "end2end",
        Task.DETECTION,
        0,
        (index,),
        decode=heads.finished(columns=columns, scale=_scale(unit, clues)),
        padded=True,
        warnings=(_SHARES,) if unit else (),
    )


def _shares(output: Output, first: int = 0) -> bool:
    """Whether boxes, where there were any, all lay between 0 and 1."""
    filled = any(np.any(trial[..., first : first + 4]) for trial in output.trials)
    return filled and _within(output, lambda array: array[..., first : first + 4], -0.5, 1.5)


def _places(width: int, height: int, first: int = 2) -> set[int]:
    """How many places consecutive strides make of an input, the first being 4, 8 (or 16)."""
    counts = [-(-width // stride) * -(-height // stride) for stride in _STRIDES]
    return {total for start in range(first) for total in accumulate(counts[start:])}


def _within(output: Output, part: Callable[[Array], Array], low: float, high: float) -> bool:
    """Whether a part of every trial's answer stays inside bounds (with float16 slack)."""
    for trial in output.trials:
        values = part(trial)
        if values.size and (values.min() < low - 1e-3 or values.max() > high + 1e-3):
            return False
    return True


def _whole_classes(output: Output, width: int) -> bool:
    """Whether the class column holds whole numbers and the score column 0 to 1, always."""
    kind, score = (5, 4) if width == 6 else (5, 6)
    return _within(output, lambda array: array[..., score], 0.0, 1.0) and all(
        bool(np.all(trial[..., kind] == np.rint(trial[..., kind]))) for trial in output.trials
    )


def _scale(unit: bool, clues: Clues) -> tuple[float, float] | None:
    return (float(clues.width), float(clues.height)) if unit else None


def _mismatch(labels: int, classes: int) -> str:
    return (
        f"{labels} labels are known but the output has {classes} classes; check the labels, "
        "names may be wrong."
    )
