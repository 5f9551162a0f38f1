"""What a runtime is: the interface every model format implements, and its data.

A *runtime* turns one kind of model file into a `LoadedModel`. A loaded model answers
pictures until it is closed. `tests/runtimes/contract.py` holds the checks every runtime
must pass.
"""

from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray


class Task(StrEnum):
    """What a model answers."""

    DETECTION = "object-detection"
    CLASSIFICATION = "image-classification"
    ANOMALY = "anomaly-detection"
    TABULAR = "tabular-classification"


class Resize(StrEnum):
    """How a picture is brought to the model's input size.

    `STRETCH` ignores the aspect ratio, `LETTERBOX` keeps it and pads, `CROP` keeps it and
    cuts the longer side (the cut strips are a blind area).
    """

    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    CROP = "crop"


class Picture(msgspec.Struct, frozen=True):
    """A decoded picture, upright (EXIF orientation applied).

    Attributes:
        pixels: uint8, shape (height, width, 3) RGB or (height, width) grayscale.
        width: Pixels.
        height: Pixels.
        format: What the bytes were: "JPEG", "PNG" or "BMP".
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str


class Detection(msgspec.Struct, frozen=True):
    """One thing found.

    Attributes:
        label: Class name.
        confidence: Score, 0 to 1 (an anomaly cell's score may exceed 1).
        bbox: x, y, width, height in whole pixels of the uploaded picture, inside it.
    """

    label: str
    confidence: float
    bbox: tuple[int, int, int, int]


class Inference(msgspec.Struct, frozen=True):
    """A model's raw answer to one picture, before anybody's threshold.

    Attributes:
        detections: Everything at or above the score floor, highest confidence first.
        classes: Score by class name (classification), else empty.
        anomaly: Highest cell score of a visual-anomaly model, else None.
        scores: Unfiltered scores, highest first, at most 100: one per candidate box after
            suppression, or the top class score. What drift detection looks at.
        preprocess_ms: Resizing and packing, milliseconds.
        inference_ms: The model itself, milliseconds.
        postprocess_ms: Decoding the head, suppression, mapping back, milliseconds.
    """

    detections: tuple[Detection, ...]
    classes: dict[str, float]
    anomaly: float | None
    scores: tuple[float, ...]
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float


class ModelOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person may override at upload; absent means: recognise it.

    Attributes:
        task: What the model answers.
        head: Output layout: "yolov5", "yolov8", "end2end", "rtdetr", "fomo", "classification".
        labels: Class names, in class order.
        resize: How pictures are brought to the input size.
        width: Input width, pixels, where the file leaves it open.
        height: Input height, pixels, where the file leaves it open.
        layout: "nchw" or "nhwc".
        scale: "unit" (0 to 1), "byte" (0 to 255), "signed" (-1 to 1) or "imagenet".
        threshold: Recommended confidence threshold, 0 to 1.
        features: Names of a row's fields, in input order, where the file names none.
    """

    task: Task | None = None
    head: str | None = None
    labels: tuple[str, ...] | None = None
    resize: Resize | None = None
    width: int | None = None
    height: int | None = None
    layout: str | None = None
    scale: str | None = None
    threshold: float | None = None
    features: tuple[str, ...] | None = None


class ModelDescription(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a loaded model says of itself; stored with the version and shown to people.

    Of a tabular model, what concerns pictures is zero or empty.

    Attributes:
        format: "onnx" or "eim".
        name: The model's own name or project, e.g. "PCB Detection"; never empty.
        task: What it answers.
        labels: Class names in class order; may be empty (anomaly models).
        width: Input width, pixels.
        height: Input height, pixels.
        channels: 1 or 3.
        resize: How pictures reach the input size.
        head: Output layout that was recognised.
        threshold: Threshold the file recommends, or None.
        metadata: What else the file says (strings), for people.
        warnings: Sentences a person should read before trusting it (a guess was made, …).
        rows: The `RowSchema` of a tabular model as plain JSON; empty for pictures.
    """

    format: str
    name: str
    task: Task
    labels: tuple[str, ...]
    width: int
    height: int
    channels: int
    resize: Resize
    head: str
    threshold: float | None
    metadata: dict[str, str]
    warnings: tuple[str, ...]
    rows: dict[str, Any] = {}


class RuntimeConfig(msgspec.Struct, frozen=True):
    """How much of the machine a loaded model may use.

    Attributes:
        workers: Inferences that may run at a time (threads, or processes of an `.eim`).
        threads: Threads inside one ONNX Runtime inference.
        score_floor: Candidates below this score are dropped, 0 to 1.
        message_timeout: Deadline of one message to an `.eim` process, seconds.
        start_timeout: Time an `.eim` has to start and answer first, seconds.
        memory_bytes: Address-space limit of an `.eim` process; 0 means none.
    """

    workers: int = 1
    threads: int = 1
    score_floor: float = 0.05
    message_timeout: float = 10.0
    start_timeout: float = 30.0
    memory_bytes: int = 2 * 1024**3


@runtime_checkable
class LoadedModel(Protocol):
    """A model ready to answer. Thread-safe: `config.workers` calls may run at a time."""

    @property
    def description(self) -> ModelDescription:
        """What the model says of itself."""

    @property
    def capacity(self) -> int:
        """Calls to `infer` that can make progress at a time."""

    def infer(self, picture: Picture, *, deadline: float) -> Inference:
        """Answer one picture.

        Args:
            picture: Colour or grayscale; converted to what the model wants.
            deadline: `time.monotonic()` value by which an answer must be there.

        Raises:
            DeadlineExceeded: No answer in time; the runtime has recovered or is recovering.
            RuntimeFailed: It crashed or answered garbage; the next call may succeed.
        """

    def close(self) -> None:
        """Free everything; waits for processes to end. Safe to call twice."""


class Runtime(Protocol):
    """One model format."""

    format: ClassVar[str]
    suffix: ClassVar[str]

    def check(self, path: Path) -> None:
        """Cheap look at a file that claims to be this format, without running any of it.

        Raises:
            ModelRejected: It is not, or not for this machine, with the reason.
        """

    def load(self, path: Path, options: ModelOptions, config: RuntimeConfig) -> LoadedModel:
        """Load and warm a model file.

        Raises:
            ModelRejected: It cannot be loaded or its outputs are not understood.
        """


def plain(value: Any) -> Any:
    """A msgspec struct as dicts, lists and scalars, ready for a JSON column."""
    return msgspec.to_builtins(value)
