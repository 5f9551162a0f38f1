"""Runs ONNX models with ONNX Runtime on the CPU: vision models here, rows in `tabular`."""

import collections
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed
from andon.runtimes import onnx_file, onnx_metadata, tabular
from andon.runtimes.base import (
    Detection,
    Inference,
    ModelDescription,
    ModelOptions,
    Picture,
    Resize,
    RuntimeConfig,
)
from andon.runtimes.geometry import (
    MAX_DETECTIONS,
    Mapping,
    blind_warning,
    mapping,
    suppress,
)
from andon.runtimes.heads import Head
from andon.runtimes.images import noise_pixels
from andon.runtimes.onnx_input import InputSpec, Packer, describe
from andon.runtimes.onnx_sessions import FATAL_ONLY, Sessions, reason
from andon.runtimes.recognition import Clues, Output, recognise
from andon.runtimes.watchdog import WATCHDOG


class OnnxRuntime:
    """The `.onnx` format."""

    format: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"

    def check(self, path: Path) -> None:
        """Whether the file is an ONNX model complete in itself, without running it.

        Raises:
            ModelRejected: It is not; among others, weights lie in another file.
        """
        onnx_file.check(path)

    def load(
        self, path: Path, options: ModelOptions, config: RuntimeConfig
    ) -> "OnnxModel | tabular.TabularModel":
        """Load a model, find out what it answers, and warm it up.

        Raises:
            ModelRejected: ONNX Runtime cannot run it, or its inputs or outputs are not
                understood; says which option to set.
        """
        self.check(path)
        sessions = Sessions(path, config)
        if tabular.is_tabular(sessions.wide):
            sessions.close()
            return tabular.load(path, options, config)
        try:
            return self._understand(sessions, path, options, config)
        except BaseException:
            sessions.close()
            raise

    def _understand(
        self, sessions: Sessions, path: Path, options: ModelOptions, config: RuntimeConfig
    ) -> "OnnxModel":
        session = sessions.wide
        info = session.get_modelmeta()
        facts = onnx_metadata.read(
            dict(info.custom_metadata_map), info.graph_name, info.producer_name
        )
        spec = describe(session.get_inputs(), facts.facts, options)
        threshold = facts.threshold if options.threshold is None else options.threshold
        labels = facts.labels if options.labels is None else options.labels
        clues = Clues(
            width=spec.width,
            height=spec.height,
            labels=len(labels),
            head=options.head or facts.head,
            kind=facts.kind,
            finished=facts.finished,
            threshold=0.5 if threshold is None else threshold,
        )
        head = recognise(_trials(session, spec, path), clues)
        if options.task is not None and options.task is not head.task:
            raise ModelRejected(
                f"The model was declared as {options.task}, but it answers {head.task}.",
                hint="Leave the option 'task' out.",
            )
        warnings = [*spec.warnings, *head.warnings]
        labels = _complete(labels, head, warnings)
        resize = options.resize or facts.resize
        if resize is None:
            resize = Resize.LETTERBOX if head.padded else Resize.STRETCH
            if not head.padded:
                warnings.append(
                    "The file does not say how pictures reach the input size; they are "
                    "stretched. Set the option 'resize' to how it was trained."
                )
        warnings += blind_warning(resize, spec.width, spec.height)
        description = ModelDescription(
            format=self.format,
            name=facts.name or path.stem,
            task=head.task,
            labels=labels,
            width=spec.width,
            height=spec.height,
            channels=spec.channels,
            resize=resize,
            head=head.name,
            threshold=threshold,
            metadata=facts.shown,
            warnings=tuple(warnings),
        )
        pad = facts.pad if resize is Resize.LETTERBOX else 0
        model = OnnxModel(sessions, Packer(spec, pad=pad), head, description, config)
        _warm(model, config)
        return model


class OnnxModel:
    """A loaded ONNX model. Made by `OnnxRuntime.load`."""

    def __init__(
        self,
        sessions: Sessions,
        packer: Packer,
        head: Head,
        description: ModelDescription,
        config: RuntimeConfig,
    ) -> None:
        self._sessions: Sessions | None = sessions
        self._packer = packer
        self._head = head
        self._description = description
        self._config = config
        names = [node.name for node in sessions.wide.get_outputs()]
        self._outputs = [names[index] for index in head.outputs]
        self._sizes = np.array([[packer.spec.width, packer.spec.height]], np.int64)
        # Input tensors at rest, each with the area it shows; append and pop are atomic.
        self._tensors: collections.deque[tuple[NDArray[Any], tuple[int, int, int, int] | None]] = (
            collections.deque()
        )

    @property
    def description(self) -> ModelDescription:
        """What the model says of itself."""
        return self._description

    @property
    def capacity(self) -> int:
        """Calls that can make progress at a time: `RuntimeConfig.workers`."""
        return self._config.workers

    def infer(self, picture: Picture, *, deadline: float) -> Inference:
        """Answer one picture.

        Args:
            picture: Colour or grayscale; resized and converted as the model wants.
            deadline: `time.monotonic()` value. A run that passes it is stopped between
                two of its operations.

        Raises:
            DeadlineExceeded: No answer in time.
            RuntimeFailed: It failed or answered NaN; or the model is closed.
        """
        sessions = self._sessions
        if sessions is None:
            raise RuntimeFailed("The model is closed.", hint="Ask again for the active version.")
        started = time.perf_counter()
        spec = self._packer.spec
        place = mapping(
            self._description.resize, picture.width, picture.height, spec.width, spec.height
        )
        try:
            tensor, shown = self._tensors.pop()
        except IndexError:
            tensor, shown = self._packer.tensor(), None
        content = place.content
        self._packer.pack(picture, place, tensor, clean=shown is None or shown == content)
        packed = time.perf_counter()
        with sessions.hold() as session:
            arrays = self._run(session, self._feed(tensor), deadline)
        self._tensors.append((tensor, content))
        answered = time.perf_counter()
        if self._head.classify is not None:
            detections, classes, scores = self._classes(arrays)
        else:
            detections, classes, scores = self._boxes(arrays, place)
        ended = time.perf_counter()
        return Inference(
            detections=detections,
            classes=classes,
            anomaly=None,
            scores=scores,
            preprocess_ms=(packed - started) * 1e3,
            inference_ms=(answered - packed) * 1e3,
            postprocess_ms=(ended - answered) * 1e3,
        )

    def rest(self) -> None:
        """Give back what the trial runs needed at their peak: an idle model stays small."""
        if self._sessions is not None:
            options = onnxruntime.RunOptions()
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            self._sessions.wide.run(self._outputs, self._feed(self._packer.tensor()), options)
        self._tensors.clear()

    def close(self) -> None:
        """Free the sessions; calls that run finish first, later ones fail."""
        sessions, self._sessions = self._sessions, None
        if sessions is not None:
            sessions.close()
        self._tensors.clear()

    def _feed(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The model's inputs by name: the picture, and its size where the model asks for it."""
        spec = self._packer.spec
        return {spec.name: tensor} | ({spec.sizes: self._sizes} if spec.sizes else {})

    def _run(
        self, session: onnxruntime.InferenceSession, feed: dict[str, Any], deadline: float
    ) -> Sequence[NDArray[Any]]:
        if time.monotonic() >= deadline:
            raise _late(self._description.name)
        options = onnxruntime.RunOptions()
        options.log_severity_level = FATAL_ONLY
        ticket = WATCHDOG.enter(options, deadline)
        try:
            arrays: Sequence[NDArray[Any]] = session.run(self._outputs, feed, options)
        except Exception as error:
            # ONNX Runtime's exceptions have no common ancestor of their own.
            if options.terminate:
                raise _late(self._description.name) from None
            raise RuntimeFailed(
                f"The model '{self._description.name}' failed: {reason(error)}.",
                hint="Try again; if it stays, upload a new export.",
            ) from None
        finally:
            WATCHDOG.leave(ticket)
        return arrays

    def _boxes(
        self, arrays: Sequence[NDArray[Any]], place: Mapping
    ) -> tuple[tuple[Detection, ...], dict[str, float], tuple[float, ...]]:
        assert self._head.decode is not None
        boxes, scores, classes = self._head.decode(arrays, self._config.score_floor)
        if self._head.suppress:
            order = suppress(boxes, scores, classes)
        else:
            order = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
        if order.shape[0] == 0:
            return (), {}, ()
        whole, keep = place.to_picture(boxes[order])
        order = order[keep]
        confidences = np.minimum(scores[order], 1.0).tolist()
        detections = tuple(
            Detection(self._label(kind), confidence, (x, y, width, height))
            for kind, confidence, (x, y, width, height) in zip(
                classes[order].tolist(), confidences, whole[keep].tolist(), strict=True
            )
        )
        return detections, {}, tuple(confidences)

    def _classes(
        self, arrays: Sequence[NDArray[Any]]
    ) -> tuple[tuple[Detection, ...], dict[str, float], tuple[float, ...]]:
        assert self._head.classify is not None
        scores = self._head.classify(arrays).tolist()
        classes = dict(zip(self._description.labels, scores, strict=False))
        return (), classes, (max(scores),)

    def _label(self, kind: int) -> str:
        labels = self._description.labels
        return labels[kind] if kind < len(labels) else f"class_{kind}"


def _trials(session: onnxruntime.InferenceSession, spec: InputSpec, path: Path) -> list[Output]:
    """The outputs, with answers to a flat grey and a noisy picture."""
    packer = Packer(spec, pad=114)
    flat = packer.tensor()
    size = (spec.height, spec.width) if spec.channels == 1 else (spec.height, spec.width, 3)
    noise = noise_pixels(size)
    noisy = packer.tensor()
    place = mapping(Resize.STRETCH, spec.width, spec.height, spec.width, spec.height)
    packer.pack(Picture(noise, spec.width, spec.height, "PNG"), place, noisy, clean=True)
    answers: list[list[Any]] = []
    for tensor in (flat, noisy):
        feed = {spec.name: tensor}
        if spec.sizes:
            feed[spec.sizes] = np.array([[spec.width, spec.height]], np.int64)
        try:
            answers.append(session.run(None, feed))
        except Exception as error:
            raise ModelRejected(
                f"The model fails on a trial picture of {spec.width}x{spec.height} pixels: "
                f"{reason(error, path)}.",
                hint="Set the options 'width' and 'height' to the training size, or export again.",
            ) from None
    outputs: list[Output] = []
    for index, node in enumerate(session.get_outputs()):
        trials = tuple(answer[index] for answer in answers)
        if not all(isinstance(trial, np.ndarray) for trial in trials):
            raise ModelRejected(
                f"The output '{node.name}' is no tensor but {node.type}.",
                hint="Export a vision model whose outputs are tensors.",
            )
        outputs.append(Output(node.name, tuple(node.shape), trials))
    return outputs


def _complete(labels: Sequence[str], head: Head, warnings: list[str]) -> tuple[str, ...]:
    """One label per class, invented where none is known."""
    if not labels:
        warnings.append(
            "The file names no classes; they are called class_0, class_1 and so on. Set the "
            "option 'labels'."
        )
    missing = range(len(labels), head.classes)
    named = (*labels, *(f"class_{index}" for index in missing))
    return onnx_metadata.unique(named[: head.classes] if head.classes else named)


def _warm(model: OnnxModel, config: RuntimeConfig) -> None:
    """One full pass, so that the first picture finds everything in place."""
    spec = model.description
    size = (spec.height, spec.width) if spec.channels == 1 else (spec.height, spec.width, 3)
    picture = Picture(np.zeros(size, np.uint8), spec.width, spec.height, "PNG")
    try:
        model.infer(picture, deadline=time.monotonic() + config.start_timeout)
        model.rest()
    except (RuntimeFailed, DeadlineExceeded) as error:
        raise ModelRejected(
            f"The model fails on a black trial picture: {error.detail}", hint=error.hint
        ) from None


def _late(name: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The model '{name}' did not answer before the deadline.",
        hint="Try again, send fewer pictures at a time, or raise ANDON_REQUEST_TIMEOUT.",
    )
