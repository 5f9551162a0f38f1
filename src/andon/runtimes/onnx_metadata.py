"""What an ONNX file says of itself besides the network.

Two dialects are read from its metadata entries: Andon's own keys, which win, and those of
Ultralytics exports (`task`, `names`, `imgsz`, `channels`, `end2end`, `args`). Andon's keys:

- ``andon.name``: model name; ``andon.labels``: JSON list of class names.
- ``andon.resize``: "stretch", "letterbox" or "crop"; ``andon.pad``: padding value, 0 to 255.
- ``andon.scale``, ``andon.head``: as in `ModelOptions`; ``andon.threshold``: 0 to 1.
"""

import ast
import contextlib
from typing import Any

import msgspec

from andon import typed
from andon.runtimes.base import Resize
from andon.runtimes.onnx_input import FileFacts
from andon.runtimes.text import clean

ULTRALYTICS_PAD = 114
"""The grey that YOLO training pads with."""

_LONGEST = 200_000
_LONGEST_SHOWN = 300
_MOST_SHOWN = 40
_MOST_LABELS = 100_000
# Names that exporters invent.
_NAMELESS = frozenset({"", "main_graph", "torch_jit", "torch-jit-export", "graph", "main", "model"})


class Metadata(msgspec.Struct, frozen=True):
    """Facts from the metadata entries; empty where the file is silent.

    Attributes:
        name: Model name, or "".
        labels: Class names, or ().
        resize: How pictures were brought in during training.
        pad: Padding value of letterboxing, 0 to 255.
        head: Head named by the file, or "".
        kind: Ultralytics' task: "detect", "classify", "segment", "pose", "obb", or "".
        finished: Whether suppression is inside the network.
        threshold: Recommended confidence threshold.
        facts: What concerns the input.
        shown: Entries to show to people.
    """

    name: str
    labels: tuple[str, ...]
    resize: Resize | None
    pad: int
    head: str
    kind: str
    finished: bool
    threshold: float | None
    facts: FileFacts
    shown: dict[str, str]


def read(entries: dict[str, str], graph_name: str, producer: str) -> Metadata:
    """Facts from a model's metadata entries. Unusable entries count as absent."""
    entries = {key: value for key, value in entries.items() if len(value) <= _LONGEST}
    kind = entries.get("task", "") if "names" in entries or "stride" in entries else ""
    arguments = _literal(entries.get("args", ""))
    inside = isinstance(arguments, dict) and arguments.get("nms") is True
    own = any(key.startswith("andon.") for key in entries)
    rtdetr = "rtdetr" in entries.get("description", "").lower().replace("-", "")
    resize: Resize | None = None
    if kind:
        resize = Resize.CROP if kind == "classify" else Resize.LETTERBOX
        if rtdetr:
            resize = Resize.STRETCH
    with contextlib.suppress(ValueError):
        resize = Resize(entries.get("andon.resize", ""))
    threshold = _number(entries.get("andon.threshold"), 0.0, 1.0)
    pad = _number(entries.get("andon.pad"), 0, 255)
    channels = _number(entries.get("channels"), 1, 3)
    shown = {
        clean(key): clean(value, _LONGEST_SHOWN)
        for key, value in list(entries.items())[:_MOST_SHOWN]
        if key not in {"names", "andon.labels"}
    }
    if producer:
        shown.setdefault("producer", clean(producer))
    description = entries.get("description", "") if kind else ""
    graph = "" if graph_name.lower() in _NAMELESS else graph_name
    return Metadata(
        name=clean(entries.get("andon.name", "") or description or graph),
        labels=_labels(entries),
        resize=resize,
        pad=ULTRALYTICS_PAD if pad is None else int(pad),
        head=entries.get("andon.head", ""),
        kind=kind,
        finished=inside or entries.get("end2end") == "True",
        threshold=threshold,
        facts=FileFacts(
            size=_image_size(entries.get("imgsz", "")),
            channels=None if channels is None else int(channels),
            scale=entries.get("andon.scale", ""),
            classifier=kind == "classify",
            silent=not (own or kind),
        ),
        shown=shown,
    )


def unique(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels, the later of equal ones numbered: scores are kept by label."""
    seen: set[str] = set()
    result: list[str] = []
    for index, label in enumerate(labels):
        name = label or f"class_{index}"
        if name in seen:
            name = f"{name} #{index}"
        seen.add(name)
        result.append(name)
    return tuple(result)


def _labels(entries: dict[str, str]) -> tuple[str, ...]:
    with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
        own = typed.decode(entries.get("andon.labels", ""), tuple[str, ...])
        return tuple(clean(label) for label in own[:_MOST_LABELS])
    names = _literal(entries.get("names", ""))
    if isinstance(names, dict):
        numbers = [key for key in names if isinstance(key, int) and 0 <= key < _MOST_LABELS]
        if numbers:
            return tuple(
                clean(str(names.get(number, f"class_{number}")))
                for number in range(max(numbers) + 1)
            )
    if isinstance(names, (list, tuple)):
        return tuple(clean(str(name)) for name in names[:_MOST_LABELS])
    return ()


def _image_size(text: str) -> tuple[int, int] | None:
    """Ultralytics' "[height, width]" or "size" as width, height."""
    value = _literal(text)
    if isinstance(value, int):
        return value, value
    if (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(side, int) for side in value)
    ):
        return value[1], value[0]
    return None


def _literal(text: str) -> Any:
    """A Python literal, as Ultralytics writes its metadata; None if it is none."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _number(text: str | None, low: float, high: float) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and low <= value <= high else None
