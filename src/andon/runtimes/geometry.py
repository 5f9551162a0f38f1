"""Where a model's boxes lie in the picture, and which of them say the same thing.

A `Mapping` is the affine relation between picture pixels and model pixels of one resize
mode: ``model = picture * scale + offset`` for each axis. `images.fit` draws exactly what
a mapping says, so a box mapped back lies where the model saw it.

Boxes are float arrays of shape (n, 4) with corners ``x1, y1, x2, y2`` until they leave
this module as whole pixels.
"""

from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon.runtimes.base import Resize

MAX_CANDIDATES = 300
"""Candidates that take part in suppression, best first. Lines show tens of parts at most."""

MAX_DETECTIONS = 100
"""Boxes that may leave a model."""

IOU = 0.45
"""Overlap (intersection over union) above which two boxes of one class are one thing.

The starter's model card was measured with it; YOLO exports are usually run with it too.
"""

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]


class Mapping(msgspec.Struct, frozen=True):
    """How one picture lies on one model input.

    Attributes:
        width: Picture width, pixels.
        height: Picture height, pixels.
        model_width: Model input width, pixels.
        model_height: Model input height, pixels.
        scale_x: Model pixels per picture pixel.
        scale_y: The same, vertically.
        offset_x: Model column of the picture's left edge; negative when it is cut off.
        offset_y: Model row of the picture's top edge; negative when it is cut off.
    """

    width: int
    height: int
    model_width: int
    model_height: int
    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    @property
    def identity(self) -> bool:
        """Whether the picture already has the input size, so that nothing is resized."""
        return self.width == self.model_width and self.height == self.model_height

    @property
    def content(self) -> tuple[int, int, int, int]:
        """The part of the input that shows picture: left, top, right, bottom, model pixels."""
        left = max(0, round(self.offset_x))
        top = max(0, round(self.offset_y))
        right = min(self.model_width, round(self.offset_x + self.width * self.scale_x))
        bottom = min(self.model_height, round(self.offset_y + self.height * self.scale_y))
        return left, top, right, bottom

    @property
    def seen(self) -> tuple[float, float, float, float]:
        """The part of the picture the model sees: left, top, right, bottom, picture pixels."""
        return (
            max(0.0, -self.offset_x / self.scale_x),
            max(0.0, -self.offset_y / self.scale_y),
            min(float(self.width), (self.model_width - self.offset_x) / self.scale_x),
            min(float(self.height), (self.model_height - self.offset_y) / self.scale_y),
        )

    @property
    def blind_share(self) -> float:
        """Share of the picture the model never sees, 0 to 1 (cropping only)."""
        left, top, right, bottom = self.seen
        share = 1.0 - (right - left) * (bottom - top) / (self.width * self.height)
        return max(0.0, share)

    def to_model(self, boxes: Floats) -> Floats:
        """Corners in picture pixels as corners in model pixels; shape (n, 4) both."""
        scale, offset = self._vectors()
        return boxes * scale + offset

    def to_picture(self, boxes: Floats) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Corners in model pixels as whole-pixel boxes of the picture.

        Corners are clamped to the picture first and the size computed from the clamped
        corners, so a box that sticks out is cut and not moved.

        Args:
            boxes: Corners in model pixels, shape (n, 4).

        Returns:
            ``x, y, width, height`` (n, 4), each box inside the picture and at least one
            pixel wide and high; and a mask (n,) of the boxes to keep. A box whose centre
            lies outside the picture's content, in padding or beyond the input, is not kept:
            padding has an edge, and models see things there.
        """
        if self.identity:
            inner = boxes
        else:
            scale, offset = self._vectors()
            inner = (boxes - offset) / scale
        limits = np.array([self.width, self.height], np.float32)
        low = inner[:, :2]
        high = inner[:, 2:]
        centre = (low + high) * 0.5
        inside = (centre >= 0) & (centre <= limits)
        keep = inside[:, 0] & inside[:, 1]
        start = np.clip(np.rint(low), 0, limits - 1)
        end = np.clip(np.rint(high), start + 1, limits)
        out = np.empty((boxes.shape[0], 4), np.int32)
        out[:, :2] = start
        out[:, 2:] = end - start
        return out, keep

    def _vectors(self) -> tuple[Floats, Floats]:
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        offset = np.array([self.offset_x, self.offset_y] * 2, np.float32)
        return scale, offset


@lru_cache(maxsize=256)
def mapping(
    resize: Resize, width: int, height: int, model_width: int, model_height: int
) -> Mapping:
    """The mapping of a picture of this size onto an input of that size.

    Stretching scales the axes apart. Letterboxing scales both by the smaller ratio and
    centres the picture; the drawn size and offsets are whole pixels, and the mapping
    carries those. Cropping scales both by the larger ratio and cuts the longer side
    evenly, to fractions of a pixel.
    """
    ratio_x = model_width / width
    ratio_y = model_height / height
    if resize is Resize.STRETCH:
        return Mapping(width, height, model_width, model_height, ratio_x, ratio_y, 0.0, 0.0)
    if resize is Resize.CROP:
        scale = max(ratio_x, ratio_y)
        return Mapping(
            width,
            height,
            model_width,
            model_height,
            scale,
            scale,
            (model_width - width * scale) / 2,
            (model_height - height * scale) / 2,
        )
    scale = min(ratio_x, ratio_y)
    drawn_width = max(1, min(model_width, round(width * scale)))
    drawn_height = max(1, min(model_height, round(height * scale)))
    return Mapping(
        width,
        height,
        model_width,
        model_height,
        drawn_width / width,
        drawn_height / height,
        float((model_width - drawn_width) // 2),
        float((model_height - drawn_height) // 2),
    )


def suppress(
    boxes: Floats,
    scores: Floats,
    classes: Ints,
    *,
    iou: float = IOU,
    candidates: int = MAX_CANDIDATES,
    limit: int = MAX_DETECTIONS,
) -> Ints:
    """Class-wise non-maximum suppression.

    Args:
        boxes: Corners, shape (n, 4).
        scores: Shape (n,).
        classes: Class numbers, shape (n,).
        iou: Overlap above which the weaker of two boxes of one class goes.
        candidates: Only this many of the best take part.
        limit: At most this many are returned.

    Returns:
        Indices into the input, best score first.
    """
    count = scores.shape[0]
    if count == 0:
        return np.empty(0, np.intp)
    if count == 1:
        return np.zeros(1, np.intp)
    if count > candidates:
        best = np.argpartition(scores, count - candidates)[count - candidates :]
        order = best[np.argsort(-scores[best], kind="stable")]
    else:
        order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    # Plain numbers: after an inference nothing is in the processor's caches, and a few dozen
    # calls into numpy take longer there than this loop over what boxes of one class are kept.
    share = iou / (1 + iou)
    stronger: dict[int, list[tuple[float, float, float, float, float]]] = {}
    ordered = boxes[order]
    # A box turned inside out has no area.
    np.maximum(ordered[:, 2:], ordered[:, :2], out=ordered[:, 2:])
    rows = zip(ordered.tolist(), classes[order].tolist(), strict=True)
    for index, ((x1, y1, x2, y2), kind) in enumerate(rows):
        rivals = stronger.setdefault(kind, [])
        area = (x2 - x1) * (y2 - y1)
        for left, top, right, bottom, other in rivals:
            # Most boxes lie apart, which the first comparisons tell.
            if left < x2 and x1 < right and top < y2 and y1 < bottom:
                # `min` and `max` would take half as long again for all.
                width = (x2 if x2 < right else right) - (x1 if x1 > left else left)  # noqa: FURB136
                height = (y2 if y2 < bottom else bottom) - (y1 if y1 > top else top)  # noqa: FURB136
                # shared / (area + other - shared) > iou, without dividing.
                if width * height > share * (area + other):
                    break
        else:
            kept.append(index)
            if len(kept) == limit:
                break
            rivals.append((x1, y1, x2, y2, area))
    return order[kept]


def blind_warning(resize: Resize, model_width: int, model_height: int) -> tuple[str, ...]:
    """A sentence on what cropping hides of the usual camera pictures; empty if nothing."""
    if resize is not Resize.CROP:
        return ()
    shares = {
        name: mapping(resize, width, height, model_width, model_height).blind_share
        for name, width, height in (("4:3", 640, 480), ("16:9", 1280, 720))
    }
    hidden = [f"{share:.0%} of a {name} picture" for name, share in shares.items() if share >= 0.01]
    if not hidden:
        return ()
    text = " and ".join(hidden)
    size = f"{model_width}x{model_height}"
    return (f"Pictures are cropped to {size}: a blind area of {text} is never looked at.",)
