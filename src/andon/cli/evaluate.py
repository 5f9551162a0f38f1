"""``andon evaluate``: how good a detector is on pictures with boxes drawn by people."""

import dataclasses
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon.cli import output
from andon.cli.opening import load_settings, opened
from andon.cli.options import Home, Json, Model
from andon.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from andon.runtimes.base import LoadedModel
    from andon.settings import Settings
    from andon.training.evaluation import Prediction

# Below the floor that serving uses: the tail of the precision-recall curve counts.
_SCORE_FLOOR = 0.005


def evaluate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model file, a version (3 or v3), or `active`.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Pictures with boxes."),
    ],
    home: Home = None,
    model: Model = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format", metavar="LAYOUT", help="Layout of FOLDER: auto, deeppcb, yolo or coco."
        ),
    ] = "auto",
    iou: Annotated[
        float,
        typer.Option(
            metavar="0..1", min=0.01, max=1, help="Overlap from which a box counts as found."
        ),
    ] = 0.33,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            "-t",
            metavar="0..1",
            min=0,
            max=1,
            show_default=False,
            help="Confidence at which precision and recall are given. Default: the model's own.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Evaluate the first N pictures only.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a detector on a folder of pictures with boxes.

    Average precision per class and their mean (mAP), precision and recall, and the speed.
    DeepPCB, YOLO and COCO layouts are recognised. Nothing is logged, nothing is changed.
    """
    # NumPy and ONNX Runtime come with these.
    from andon.training.datasets import load_boxes  # noqa: PLC0415
    from andon.training.evaluation import DEFAULT_THRESHOLD, evaluate_dataset  # noqa: PLC0415

    settings = load_settings(home)
    path, options = _find(what, model, home)
    dataset = load_boxes(folder, format_)
    if limit is not None:
        dataset = dataclasses.replace(dataset, images=dataset.images[:limit])
    loaded = _load(path, options, settings)
    try:
        chosen = threshold
        if chosen is None:
            chosen = loaded.description.threshold or DEFAULT_THRESHOLD
        times: list[float] = []
        with output.progress("Evaluating", len(dataset.images)) as step:

            def detect(image: Path) -> "list[Prediction]":
                found = _detect(loaded, image, settings, times)
                step()
                return found

            report = evaluate_dataset(dataset, detect, iou=iou, threshold=chosen)
        name = loaded.description.name
    finally:
        loaded.close()
    mean = sum(times) / len(times)
    if as_json:
        document = {"model": str(path), "folder": str(folder), "format": dataset.format}
        output.print_json({**document, "mean_ms": round(mean * 1000, 3), **report.to_dict()})
        return
    output.say(f"{name} ({path.name}) on {folder} ({dataset.format} layout)\n")
    output.say(report.table())
    if report.balanced_threshold is not None:
        output.say(
            f"Precision and recall balance best at a score of {report.balanced_threshold:.2f}."
        )
    output.say(f"{output.milliseconds(mean)} per picture, decoding included.")


def _find(what: str, model: str | None, home: Path | None) -> tuple[Path, dict[str, Any]]:
    """The model file that was meant, and what its person overrode at upload."""
    path = Path(what)
    if path.is_file():
        return path, {}
    if what != "active" and not re.fullmatch(r"v?[1-9]\d*", what):
        raise NotFound(
            f"{what} is neither a file nor a version.", hint="Write a path, 3, v3 or active."
        )
    with opened(home) as platform:
        name = model or platform.settings.default_model
        if what == "active":
            version = platform.db.models.active(name)
            if version is None:
                raise NotFound(f"Model {name} has no active version.", hint="andon models list")
        else:
            version = platform.db.models.get(name, int(what.removeprefix("v")))
        return platform.registry.verify(version), version.options


def _load(path: Path, options: dict[str, Any], settings: "Settings") -> "LoadedModel":
    """The model, one inference at a time, every score kept."""
    import msgspec  # noqa: PLC0415 - see evaluate()

    from andon.runtimes import formats  # noqa: PLC0415
    from andon.runtimes.base import Task  # noqa: PLC0415
    from andon.serving import proving  # noqa: PLC0415

    runtime = formats.recognise(path)
    config = proving.runtime_config(settings, runtime.format)
    config = msgspec.structs.replace(config, workers=1, score_floor=_SCORE_FLOOR)
    loaded = formats.load(path, proving.model_options(options), config)
    if loaded.description.task is not Task.DETECTION:
        loaded.close()
        raise InvalidRequest(
            f"{path.name} answers {loaded.description.task.value}; only detectors have boxes.",
            hint="Give an object detection model.",
        )
    return loaded


def _detect(
    loaded: "LoadedModel", image: Path, settings: "Settings", times: list[float]
) -> "list[Prediction]":
    """What the model finds in one file; the time goes to `times`, seconds."""
    from andon.runtimes.images import decode  # noqa: PLC0415 - see evaluate()

    data = image.read_bytes()
    begin = time.perf_counter()
    picture = decode(data, max_pixels=settings.max_image_pixels)
    inference = loaded.infer(picture, deadline=time.monotonic() + settings.request_timeout)
    times.append(time.perf_counter() - begin)
    found: list[Prediction] = []
    for detection in inference.detections:
        x, y, width, height = detection.bbox
        found.append((detection.label, detection.confidence, (x, y, width, height)))
    return found
