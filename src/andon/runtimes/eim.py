"""Runs Edge Impulse Linux models (`.eim`): programs that answer over a Unix socket.

The protocol is spoken directly (see `eim_protocol`); nothing of Edge Impulse is used.
"""

import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed
from andon.runtimes import elf
from andon.runtimes.base import (
    Detection,
    Inference,
    ModelDescription,
    ModelOptions,
    Picture,
    Resize,
    RuntimeConfig,
    Task,
)
from andon.runtimes.eim_pool import Pool, RestartPolicy
from andon.runtimes.eim_process import EimProcess
from andon.runtimes.eim_protocol import ErrorReply, Hello, boxes_of, features_of, number
from andon.runtimes.eim_workspace import sweep
from andon.runtimes.geometry import MAX_DETECTIONS, Mapping, blind_warning, mapping
from andon.runtimes.images import to_input
from andon.runtimes.onnx_metadata import unique

_TASKS = {
    "object_detection": Task.DETECTION,
    "fomo": Task.DETECTION,
    "classification": Task.CLASSIFICATION,
    "visual-anomaly": Task.ANOMALY,
}
# Error replies leave a program usable; this many in a row mean that it is not.
_REFUSALS = 3


class EimRuntime:
    """The `.eim` format.

    Args:
        policy: When processes are restarted.
    """

    format: ClassVar[str] = "eim"
    suffix: ClassVar[str] = ".eim"

    def __init__(self, policy: RestartPolicy | None = None) -> None:
        self._policy = policy or RestartPolicy()

    def check(self, path: Path) -> None:
        """Whether the file is a complete program for this machine, without running it.

        Raises:
            ModelRejected: It is not; names both architectures, or says what is missing.
        """
        elf.check(path)

    def load(self, path: Path, options: ModelOptions, config: RuntimeConfig) -> "EimModel":
        """Start the model's processes, ask them what they are, and let each answer once.

        Raises:
            ModelRejected: It does not start, is no image model, or an option contradicts it.
        """
        self.check(path)
        sweep()
        pool = Pool(path, config, self._policy)
        try:
            hello = pool.open()
        except (RuntimeFailed, DeadlineExceeded) as error:
            raise ModelRejected(
                f"The model could not be started. {error.detail}",
                hint="Check that it was built for this system, and that it runs by hand.",
            ) from None
        try:
            description = describe(hello, options, held_back=pool.held_back)
        except ModelRejected:
            pool.close()
            raise
        return EimModel(pool, hello, description, config)


class EimModel:
    """A loaded `.eim` model. Made by `EimRuntime.load`."""

    def __init__(
        self, pool: Pool, hello: Hello, description: ModelDescription, config: RuntimeConfig
    ) -> None:
        self._pool = pool
        self._hello = hello
        self._description = description
        self._config = config
        self._names = dict(zip(hello.labels, description.labels, strict=False))

    @property
    def description(self) -> ModelDescription:
        """What the model says of itself."""
        return self._description

    @property
    def capacity(self) -> int:
        """Calls that can make progress at a time: one per process."""
        return self._config.workers

    def infer(self, picture: Picture, *, deadline: float) -> Inference:
        """Answer one picture.

        Args:
            picture: Colour or grayscale; resized and converted as the model wants.
            deadline: `time.monotonic()` value; waiting for an idle process counts.

        Raises:
            DeadlineExceeded: No answer in time. The process gets a little longer, then is
                replaced.
            RuntimeFailed: The program ended, refused or talked nonsense. It is replaced
                where that is needed.
        """
        started = time.perf_counter()
        hello = self._hello
        place = mapping(
            self._description.resize, picture.width, picture.height, hello.width, hello.height
        )
        features = features_of(to_input(picture, place, channels=hello.channels))
        packed = time.perf_counter()
        process = self._pool.borrow(deadline)
        asked = time.perf_counter()
        result = self._ask(process, features, deadline)
        answered = time.perf_counter()
        detections, classes, anomaly, scores = self._read(result, place)
        ended = time.perf_counter()
        return Inference(
            detections=detections,
            classes=classes,
            anomaly=anomaly,
            scores=scores,
            preprocess_ms=(packed - started) * 1e3,
            inference_ms=(answered - asked) * 1e3,
            postprocess_ms=(ended - answered) * 1e3,
        )

    def close(self) -> None:
        """End every process and wait for it; callers that wait get `RuntimeFailed`."""
        self._pool.close()

    def _ask(
        self, process: EimProcess, features: NDArray[np.float32], deadline: float
    ) -> dict[str, Any]:
        """One message to a borrowed process, which goes back or is replaced."""
        name = self._description.name
        now = time.monotonic()
        limit = now + self._config.message_timeout
        try:
            result = process.classify(features, min(deadline, limit))
        except DeadlineExceeded as error:
            # Its answer may be under way; wait some multiple of what is usual for it.
            self._pool.await_late(process, min(limit, now + 1.0 + 4 * process.usual))
            raise DeadlineExceeded(
                f"Model '{name}': {error.detail}",
                hint="Try again; a process that hangs is restarted.",
            ) from None
        except ErrorReply as error:
            process.refusals += 1
            if process.refusals >= _REFUSALS:
                self._pool.retire(process, str(error))
            else:
                self._pool.give_back(process)
            raise RuntimeFailed(f"Model '{name}' refused the picture: {error}.") from None
        except RuntimeFailed as error:
            self._pool.retire(process, error.detail)
            raise RuntimeFailed(
                f"Model '{name}': {error.detail}", hint="It is being restarted; try again."
            ) from None
        except BaseException:
            self._pool.retire(process, "interrupted")
            raise
        process.refusals = 0
        self._pool.give_back(process)
        return result

    def _read(
        self, result: dict[str, Any], place: Mapping
    ) -> tuple[tuple[Detection, ...], dict[str, float], float | None, tuple[float, ...]]:
        """A result object as detections, classes, anomaly and scores."""
        kind = self._hello.kind
        if kind == "classification":
            said = result.get("classification", {})
            if not isinstance(said, dict) or (self._hello.labels and not said):
                raise RuntimeFailed("The model's answer holds no classification.")
            classes = {
                self._names.get(str(key), str(key)): number(value) for key, value in said.items()
            }
            anomaly = number(result.get("anomaly")) if self._hello.scored else None
            values = list(classes.values()) or ([] if anomaly is None else [anomaly])
            return (), classes, anomaly, ((max(values),) if values else ())
        if kind == "visual-anomaly":
            detections = self._boxes(result.get("visual_anomaly_grid"), place, floor=None)
            highest = number(result.get("visual_anomaly_max"))
            return detections, {}, highest, (highest,)
        detections = self._boxes(
            result.get("bounding_boxes"), place, floor=self._config.score_floor
        )
        return detections, {}, None, tuple(found.confidence for found in detections)

    def _boxes(self, value: Any, place: Mapping, *, floor: float | None) -> tuple[Detection, ...]:
        labels, scores, corners = boxes_of(value)
        whole, keep = place.to_picture(corners)
        found = [
            Detection(self._names.get(label, label), score, (x, y, width, height))
            for label, score, (x, y, width, height), kept in zip(
                labels, scores, whole.tolist(), keep.tolist(), strict=True
            )
            if kept and (floor is None or score >= floor)
        ]
        found.sort(key=lambda detection: -detection.confidence)
        return tuple(found[:MAX_DETECTIONS])


def describe(hello: Hello, options: ModelOptions, *, held_back: bool) -> ModelDescription:
    """The description of a model that said hello.

    Args:
        hello: What it said.
        options: What a person says.
        held_back: Whether it refused to answer boxes below its own threshold.

    Raises:
        ModelRejected: An option contradicts the file.
    """
    labels = hello.labels
    task = Task.ANOMALY if hello.scored and not labels else _TASKS[hello.kind]
    _agree(hello, options, task)
    if options.labels is not None:
        labels = options.labels
    warnings: list[str] = []
    resize = options.resize or hello.resize
    if resize is None:
        resize = Resize.STRETCH
        warnings.append(
            "The file does not say how pictures reach the input size; they are stretched. Set "
            "the option 'resize' to what the impulse uses."
        )
    warnings += blind_warning(resize, hello.width, hello.height)
    if hello.kind == "fomo":
        # Its threshold stays as it is: below it, weak cells would join neighbours into one
        # box, which changes what is found and not only how much is shown.
        warnings.append("FOMO marks where things are; the size of a box says nothing.")
    if hello.tracking:
        warnings.append("Object tracking is ignored; every picture is answered by itself.")
    if held_back:
        warnings.append(f"The model keeps its own threshold of {hello.min_score}.")
    return ModelDescription(
        format=EimRuntime.format,
        name=hello.name,
        task=task,
        labels=unique(labels),
        width=hello.width,
        height=hello.height,
        channels=hello.channels,
        resize=resize,
        head=hello.kind,
        threshold=hello.min_score if options.threshold is None else options.threshold,
        metadata=hello.metadata,
        warnings=tuple(warnings),
    )


def _agree(hello: Hello, options: ModelOptions, task: Task) -> None:
    """Refuse options that an `.eim` file answers itself, differently."""
    given = {
        "task": (options.task, task),
        "head": (options.head, hello.kind),
        "width": (options.width, hello.width),
        "height": (options.height, hello.height),
        "layout": (options.layout, None),
        "scale": (options.scale, None),
    }
    for name, (wanted, said) in given.items():
        if wanted is not None and wanted != said:
            raise ModelRejected(
                f"The option '{name}' is '{wanted}', but an .eim file brings its own"
                f"{'' if said is None else f', {said}'}.",
                hint=f"Leave the option '{name}' out.",
            )
    if options.labels is not None and len(options.labels) != len(hello.labels):
        raise ModelRejected(
            f"{len(options.labels)} labels were given, the model has {len(hello.labels)}.",
            hint="Give one label per class, in class order.",
        )
