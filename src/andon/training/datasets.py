"""Folders of images with boxes: DeepPCB's layout, YOLO's and COCO's.

`load_boxes` reads the annotations only; images are opened by whoever looks at them (YOLO's boxes
are relative to the image's size, so there the header of every image is read). Every malformed row
is refused with its file and line, and no annotation can name a file outside the folder.

The layouts:

* DeepPCB: `index.csv` with the columns image, annotation and maybe group, or, without it, folders
  `GROUP/NNNNN/NAME_test.jpg` with `GROUP/NNNNN_not/NAME.txt`. A line of an annotation is
  `x1 y1 x2 y2 type`, separated by spaces or commas. Only tested images are listed.
* YOLO: `images/` and `labels/` of the same inner structure, a line being
  `class cx cy width height` relative to the image's size; names in `data.yaml` or `classes.txt`.
* COCO: a JSON file with `images`, `annotations` and `categories` (in the folder or in
  `annotations/`), images beside it, in `images/` or where `file_name` says.
"""

from __future__ import annotations

import ast
import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image

from andon.errors import UnusableUpload

Format: TypeAlias = Literal["deeppcb", "yolo", "coco"]
FORMATS: tuple[Format, ...] = ("deeppcb", "yolo", "coco")
DEEPPCB_CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class DatasetError(UnusableUpload):
    """A data set that cannot be used as it is; the message names the file and line."""


@dataclass(frozen=True)
class TruthBox:
    """A box somebody drew: class, top left corner and size in pixels."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class LabelledImage:
    """An image file and the boxes drawn in it (none for a good part).

    `group` says which images belong together (one board, say), where the data set tells.
    """

    path: Path
    boxes: tuple[TruthBox, ...]
    group: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Images with boxes, in the order of the annotation files, and the classes' names by id."""

    root: Path
    format: Format
    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]


def load_boxes(
    folder: Path | str,
    format: str = "auto",  # noqa: A002  # the word callers and the command line use
) -> Dataset:
    """Read a folder of images with boxes; `format` is deeppcb, yolo, coco, or auto to find out.

    Raises DatasetError where the folder is none of these, is empty, lacks a file its annotations
    name, or has a malformed row.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder")
    root = root.resolve()
    kind = _detected(root) if format == "auto" else format
    if kind == "deeppcb":
        dataset = _load_deeppcb(root)
    elif kind == "yolo":
        dataset = _load_yolo(root)
    elif kind == "coco":
        dataset = _load_coco(root)
    else:
        raise DatasetError(f"unknown format {kind!r}: use auto, {', '.join(FORMATS)}")
    if not dataset.images:
        raise DatasetError(f"{root} holds no images in {dataset.format} layout")
    return dataset


def _detected(root: Path) -> Format:
    if (root / "index.csv").is_file() or next(_deeppcb_pairs(root), None) is not None:
        return "deeppcb"
    if (root / "labels").is_dir():
        return "yolo"
    if _coco_file(root) is not None:
        return "coco"
    raise DatasetError(
        f"{root} is neither DeepPCB (index.csv, or GROUP/NNNNN_not folders), nor YOLO (images and "
        "labels folders), nor COCO (a JSON file with images and annotations)"
    )


def _inside(root: Path, name: str, where: str) -> Path:
    """The file an annotation names, which must exist and lie in the folder."""
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise DatasetError(f"{where}: {name!r} leads out of the folder")
    if not path.is_file():
        raise DatasetError(f"{where}: there is no file {name!r}")
    return path


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not blank, each with "FILE, line N" for messages."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text ({error})") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {number}", line.strip()


def _numbers(fields: list[str], where: str) -> list[float]:
    try:
        values = [float(field) for field in fields]
    except ValueError as error:
        raise DatasetError(f"{where}: expected numbers, got {' '.join(fields)!r}") from error
    if not all(math.isfinite(value) for value in values):
        raise DatasetError(f"{where}: a number is not finite in {' '.join(fields)!r}")
    return values


def _load_deeppcb(root: Path) -> Dataset:
    index = root / "index.csv"
    images = (
        _deeppcb_index(root, index)
        if index.is_file()
        else [
            LabelledImage(image, _deeppcb_boxes(annotation), group)
            for image, annotation, group in _deeppcb_pairs(root)
        ]
    )
    return Dataset(root, "deeppcb", DEEPPCB_CLASSES, tuple(images))


def _deeppcb_index(root: Path, index: Path) -> list[LabelledImage]:
    with index.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"image", "annotation"} - set(reader.fieldnames or ())
        if missing:
            raise DatasetError(f"{index}, line 1: no column {' and '.join(sorted(missing))}")
        images: list[LabelledImage] = []
        for row in reader:
            where = f"{index}, line {reader.line_num}"
            if not row["image"] or not row["annotation"]:
                raise DatasetError(f"{where}: image or annotation is empty")
            annotation = _inside(root, row["annotation"], where)
            images.append(
                LabelledImage(
                    _inside(root, row["image"], where),
                    _deeppcb_boxes(annotation),
                    row.get("group") or None,
                )
            )
    return images


def _deeppcb_pairs(root: Path) -> Iterator[tuple[Path, Path, str]]:
    """Tested images with their annotations where there is no index: GROUP/NNNNN_not/NAME.txt."""
    for folder in sorted(root.glob("*/*_not")):
        if not folder.is_dir():
            continue
        for annotation in sorted(folder.glob("*.txt")):
            stem = folder.with_name(folder.name.removesuffix("_not")) / annotation.stem
            for name in (f"{stem}_test.jpg", f"{stem}_test.png"):
                if Path(name).is_file() and Path(name).resolve().is_relative_to(root):
                    yield Path(name), annotation, folder.parent.name
                    break
            else:
                raise DatasetError(f"{annotation}: there is no tested image {stem}_test.jpg")


def _deeppcb_boxes(annotation: Path) -> tuple[TruthBox, ...]:
    boxes: list[TruthBox] = []
    for where, line in _lines(annotation):
        fields = line.replace(",", " ").split()
        if len(fields) != 5:
            raise DatasetError(f"{where}: expected x1 y1 x2 y2 type, got {line!r}")
        x1, y1, x2, y2, kind = _numbers(fields, where)
        if kind not in range(1, len(DEEPPCB_CLASSES) + 1):
            raise DatasetError(f"{where}: the type must be 1 to 6, got {fields[4]!r}")
        if x2 <= x1 or y2 <= y1:
            raise DatasetError(f"{where}: the box {line!r} has no area")
        boxes.append(TruthBox(DEEPPCB_CLASSES[int(kind) - 1], x1, y1, x2 - x1, y2 - y1))
    return tuple(boxes)


def _load_yolo(root: Path) -> Dataset:
    labels, pictures = root / "labels", root / "images"
    if not labels.is_dir() or not pictures.is_dir():
        raise DatasetError(f"{root}: YOLO's layout needs the folders images and labels")
    names = _yolo_names(root)
    found: list[tuple[Path, list[tuple[int, float, float, float, float]]]] = []
    highest = -1
    for path in sorted(p for p in pictures.rglob("*") if p.suffix.lower() in _IMAGES):
        name = str(path.relative_to(root))
        image = _inside(root, name, str(pictures))
        label = (labels / path.relative_to(pictures)).with_suffix(".txt")
        rows = list(_yolo_rows(label)) if label.is_file() else []  # no file: a good part
        highest = max([highest, *(row[0] for row in rows)])
        if names is not None and highest >= len(names):
            raise DatasetError(f"{label}: class {highest} has no name, there are {len(names)}")
        found.append((image, rows))
    classes = names if names is not None else tuple(str(i) for i in range(highest + 1))
    return Dataset(
        root,
        "yolo",
        classes,
        tuple(LabelledImage(image, _yolo_boxes(image, rows, classes)) for image, rows in found),
    )


def _yolo_rows(label: Path) -> Iterator[tuple[int, float, float, float, float]]:
    for where, line in _lines(label):
        fields = line.split()
        if len(fields) != 5:
            raise DatasetError(f"{where}: expected class cx cy width height, got {line!r}")
        kind, cx, cy, w, h = _numbers(fields, where)
        if kind < 0 or kind != int(kind) or kind > 10_000:
            raise DatasetError(f"{where}: the class must be a whole number, got {fields[0]!r}")
        if w <= 0 or h <= 0 or not (-0.5 <= cx <= 1.5 and -0.5 <= cy <= 1.5 and w <= 2 and h <= 2):
            raise DatasetError(f"{where}: not a box relative to the image's size: {line!r}")
        yield int(kind), cx, cy, w, h


def _yolo_boxes(
    image: Path, rows: list[tuple[int, float, float, float, float]], classes: tuple[str, ...]
) -> tuple[TruthBox, ...]:
    if not rows:
        return ()
    try:
        with Image.open(image) as opened:
            width, height = opened.size
    except OSError as error:
        raise DatasetError(f"{image}: cannot be read as an image ({error})") from error
    return tuple(
        TruthBox(classes[k], (cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
        for k, cx, cy, w, h in rows
    )


def _yolo_names(root: Path) -> tuple[str, ...] | None:
    """Class names from data.yaml (its `names`, as a list or by id), or classes.txt, else None."""
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (root / name).is_file():
            return _yaml_names(root / name)
    for name in ("classes.txt", "labels/classes.txt"):
        if (root / name).is_file():
            return tuple(line for _, line in _lines(root / name))
    return None


def _yaml_names(path: Path) -> tuple[str, ...]:
    """The `names` of a data.yaml, for the three ways it is written; this is no YAML reader.

    `names: [a, b]` or `names: {0: a, 1: b}` on one line, or a block below of `- a` or `0: a`.
    """
    lines = [(where, line) for where, line in _lines(path) if not line.startswith("#")]
    start = next((i for i, (_, line) in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        raise DatasetError(f"{path}: there is no line 'names:'")
    where, line = lines[start]
    inline = line.removeprefix("names:").split(" #")[0].strip()
    if inline:
        return _flow_names(inline, where)
    named: dict[int, str] = {}
    for _, line in lines[start + 1 :]:
        entry = line.split(" #")[0].strip()
        if entry.startswith("-"):
            named[len(named)] = _unquoted(entry[1:])
        elif entry.split(":", 1)[0].strip().isdigit() and ":" in entry:
            key, value = entry.split(":", 1)
            named[int(key)] = _unquoted(value)
        else:
            break
    return _by_id(named, where)


def _flow_names(text: str, where: str) -> tuple[str, ...]:
    inner = text[1:-1].strip()
    if text[0] + text[-1] == "[]":
        try:
            parsed = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            parsed = [_unquoted(part) for part in inner.split(",")]
        return _by_id(dict(enumerate(str(name) for name in parsed)), where)
    if text[0] + text[-1] == "{}":
        named: dict[int, str] = {}
        for part in inner.split(","):
            key, _, value = part.partition(":")
            if not key.strip().isdigit() or not value.strip():
                raise DatasetError(f"{where}: expected 'id: name', got {part.strip()!r}")
            named[int(key)] = _unquoted(value)
        return _by_id(named, where)
    raise DatasetError(f"{where}: names must be a list or a mapping, got {text!r}")


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _by_id(named: dict[int, str], where: str) -> tuple[str, ...]:
    if not named or sorted(named) != list(range(len(named))):
        raise DatasetError(f"{where}: the ids of names must run from 0 without a gap")
    return tuple(named[i] for i in range(len(named)))


def _coco_file(root: Path) -> Path | None:
    for path in [*sorted(root.glob("*.json")), *sorted(root.glob("annotations/*.json"))]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
            return path
    return None


def _load_coco(root: Path) -> Dataset:
    path = _coco_file(root)
    if path is None:
        raise DatasetError(f"{root}: no JSON file with images, annotations and categories")
    content: Any = json.loads(path.read_text(encoding="utf-8"))
    names: dict[int, str] = {}
    for number, category in enumerate(_items(content, "categories", path)):
        where = f"{path}, categories[{number}]"
        names[_whole(category, "id", where)] = _text(category, "name", where)
    files: dict[int, Path] = {}
    for number, image in enumerate(_items(content, "images", path)):
        where = f"{path}, images[{number}]"
        files[_whole(image, "id", where)] = _coco_image(
            root, _text(image, "file_name", where), where
        )
    boxes: dict[int, list[TruthBox]] = {key: [] for key in files}
    for number, row in enumerate(_items(content, "annotations", path)):
        where = f"{path}, annotations[{number}]"
        image_id, category_id = _whole(row, "image_id", where), _whole(row, "category_id", where)
        if image_id not in files:
            raise DatasetError(f"{where}: there is no image with id {image_id}")
        if category_id not in names:
            raise DatasetError(f"{where}: there is no category with id {category_id}")
        box = row.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise DatasetError(f"{where}: bbox must be [x, y, width, height]")
        x, y, w, h = _numbers([str(value) for value in box], where)
        if w <= 0 or h <= 0:
            raise DatasetError(f"{where}: the box {box} has no area")
        boxes[image_id].append(TruthBox(names[category_id], x, y, w, h))
    return Dataset(
        root,
        "coco",
        tuple(names[key] for key in sorted(names)),
        tuple(LabelledImage(file, tuple(boxes[key])) for key, file in files.items()),
    )


def _coco_image(root: Path, name: str, where: str) -> Path:
    for candidate in (name, f"images/{name}"):
        if (root / candidate).is_file():
            return _inside(root, candidate, where)
    return _inside(root, name, where)


def _items(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    items = content[key]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DatasetError(f"{path}: {key} must be a list of objects")
    return items


def _whole(item: dict[str, Any], key: str, where: str) -> int:
    value = item.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DatasetError(f"{where}: {key} must be a whole number, got {value!r}")
    return value


def _text(item: dict[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value:
        raise DatasetError(f"{where}: {key} must be a text, got {value!r}")
    return value
