"""Draws what was found on a picture, when somebody wants to see it.

Never on the prediction path: the picture with boxes is made from the kept picture and the
log when it is first asked for, and cached as a file.
"""

import uuid
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from andon.errors import NotFound, StorageFull, UnusableUpload
from andon.runtimes.base import Picture
from andon.runtimes.images import decode
from andon.store.pictures import Pictures
from andon.store.records import Prediction

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

# Readable against each other, on copper, on black and on white (with the dark seam beside
# them): Okabe and Ito's colours for all kinds of sight, then others of like strength.
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (255, 99, 97),
    (126, 217, 87),
    (178, 132, 255),
    (0, 212, 212),
    (255, 170, 200),
)
_SEAM = (16, 16, 16)
# Chosen so that the classic board defects get six different colours.
_SALT = 41
_JPEG_QUALITY = 90
_NO_LIMIT = 1 << 62


def colour(label: str) -> tuple[int, int, int]:
    """The colour of a label: the same in every picture, process and release."""
    return _COLOURS[zlib.crc32(label.encode(), _SALT) % len(_COLOURS)]


def draw(picture: Picture, detections: Iterable[dict[str, Any]]) -> "Image.Image":
    """The picture in colour with a box and a label for every detection.

    Args:
        picture: Upright; is not changed.
        detections: `{"label", "confidence", "bbox": [x, y, width, height]}` in pixels.
    """
    # Drawing and fonts take 3 MB that a server only needs once somebody looks.
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    image = Image.fromarray(picture.pixels).convert("RGB")
    pen = ImageDraw.Draw(image)
    # Lines and letters grow with the picture: it will be looked at as a whole.
    line = max(1, round(max(image.size) / 400))
    font = ImageFont.load_default(max(10, round(max(image.size) / 50)))
    found = sorted(detections, key=lambda one: float(one["confidence"]))
    # The most certain are drawn last, on top; labels after all boxes.
    for one in found:
        _box(pen, one, line)
    for one in found:
        _label(pen, image.size, one, line, font)
    return image


def save(image: "Image.Image", path: Path, picture_format: str | None = None) -> Path:
    """Write an image whole or not at all.

    Args:
        image: RGB.
        path: Where to; missing folders are made.
        picture_format: "JPEG" or "PNG"; None goes by the suffix, with PNG for others.

    Raises:
        StorageFull: The disk cannot take it.
    """
    jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
    kind = picture_format or ("JPEG" if jpeg else "BMP" if path.suffix.lower() == ".bmp" else "PNG")
    half = path.with_name(f".{uuid.uuid4().hex}.part")
    extra: dict[str, Any] = (
        {"quality": _JPEG_QUALITY, "subsampling": 0} if kind == "JPEG" else {"compress_level": 1}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            image.save(file, kind, **(extra if kind != "BMP" else {}))
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StorageFull(
            f"The picture {path} cannot be written: {error.strerror or error}.",
            hint="Free some space, or choose another folder.",
        ) from error
    return path


def annotated(prediction: Prediction, pictures: Pictures, output_dir: Path) -> Path:
    """The file of a prediction's picture with its boxes drawn; made if it is not there.

    Args:
        prediction: From the log.
        pictures: Where received pictures are kept.
        output_dir: The cache.

    Returns:
        A JPEG for a JPEG, else a PNG.

    Raises:
        NotFound: The picture is not kept (any more), or the request had no answer.
        StorageFull: The disk cannot take the drawn picture.
    """
    jpeg = prediction.image_format == "JPEG"
    target = output_dir / f"{prediction.id}.{'jpg' if jpeg else 'png'}"
    if target.exists():
        return target
    kept = None
    if prediction.image_hash and prediction.image_format:
        kept = pictures.get(prediction.image_hash, prediction.image_format)
    if kept is None:
        raise NotFound(
            f"The picture of prediction {prediction.id} is not kept.",
            hint="Pictures are deleted after ANDON_KEEP_UPLOADS_DAYS; the answer stays in the log.",
        )
    try:
        # It was within the limits when it was answered.
        picture = decode(kept.read_bytes(), max_pixels=_NO_LIMIT)
    except (OSError, UnusableUpload) as error:
        raise NotFound(
            f"The kept picture of prediction {prediction.id} cannot be read: {error}",
            hint="It was damaged on disk; the answer itself is in the log.",
        ) from error
    return save(draw(picture, prediction.detections), target, "JPEG" if jpeg else "PNG")


def _box(pen: "ImageDraw.ImageDraw", one: dict[str, Any], line: int) -> None:
    x, y, width, height = (int(value) for value in one["bbox"])
    right, bottom = x + max(1, width) - 1, y + max(1, height) - 1
    # The coloured line lies outside the box, so that a small defect stays visible; dark
    # seams on both sides keep it apart from any ground.
    for grow, ink, thick in ((line + 2, _SEAM, line + 2), (line + 1, colour(one["label"]), line)):
        pen.rectangle((x - grow, y - grow, right + grow, bottom + grow), outline=ink, width=thick)


def _label(
    pen: "ImageDraw.ImageDraw",
    size: tuple[int, int],
    one: dict[str, Any],
    line: int,
    font: "ImageFont.FreeTypeFont | ImageFont.ImageFont",
) -> None:
    x, y, _, height = (int(value) for value in one["bbox"])
    text = f"{one['label']} {float(one['confidence']):.0%}"
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = line + 1
    width, tall = round(right - left) + 2 * pad, round(bottom - top) + 2 * pad
    # Above the box where there is room, else below it, else inside; never off the picture.
    at_y = y - line - 2 - tall
    if at_y < 0:
        at_y = y + height + line + 2
    if at_y + tall > size[1]:
        at_y = max(0, min(y, size[1] - tall))
    at_x = max(0, min(x - line, size[0] - width))
    ground = colour(one["label"])
    pen.rectangle(
        (at_x, at_y, at_x + width - 1, at_y + tall - 1), fill=ground, outline=_SEAM, width=1
    )
    bright = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2] > 110
    ink = _SEAM if bright else (255, 255, 255)
    pen.text((at_x + pad - left, at_y + pad - top), text, font=font, fill=ink)
