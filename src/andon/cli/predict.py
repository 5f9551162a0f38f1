"""``andon predict``: inspect pictures with the active version, or another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import opened
from andon.cli.options import Home, Json, Model, Threshold, Version
from andon.errors import AndonError

if TYPE_CHECKING:
    from andon.platform import Platform
    from andon.serving.answers import Answer

Images = Annotated[
    list[Path],
    typer.Argument(
        exists=True, dir_okay=False, readable=True, metavar="IMAGE", help="JPEG, PNG or BMP."
    ),
]


def predict(
    images: Images,
    home: Home = None,
    model: Model = None,
    version: Version = None,
    threshold: Threshold = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Also write each picture there with its boxes drawn, as result_<name>.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Inspect pictures; every answer is logged like one over HTTP.

    A picture that cannot be inspected is reported and skipped; the exit code is then 1.
    """
    answers: list[Answer] = []
    failed = False
    with opened(home) as platform:
        for path in images:
            try:
                data = path.read_bytes()
                answer = platform.engine.answer_sync(
                    data,
                    image_name=path.name,
                    model=model,
                    version=version,
                    threshold=threshold,
                    source="cli",
                )
                if annotate is not None:
                    draw(platform, path, answer, annotate)
            except (AndonError, OSError) as error:
                failed = True
                output.note(f"Failed on {path.name}: {error}")
                continue
            answers.append(answer)
            if not as_json:
                _show(path, answer)
    if as_json:
        output.print_json(answers)
    if failed:
        raise typer.Exit(1)


def draw(platform: "Platform", path: Path, answer: "Answer", folder: Path) -> Path:
    """Write the picture with its boxes as ``result_<name>`` into the folder.

    Raises:
        StorageFull: The disk cannot take it.
    """
    from andon.serving.answers import InferenceResult  # noqa: PLC0415 - comes with the engine

    result = InferenceResult.of(answer)
    return platform.engine.visualize_detections(path, result, folder / f"result_{path.name}")


def _show(path: Path, answer: "Answer") -> None:
    """One line for the picture, one per thing found."""
    output.say(f"{path}: {summary(answer)}")
    for found in answer.detections:
        x, y, width, height = found.bbox
        output.say(f"  {found.confidence:.2f}  {found.label:<16} x {x} y {y} w {width} h {height}")


def summary(answer: "Answer") -> str:
    """An answer in a few words: what was found, by which version, how fast."""
    if answer.classes:
        label = max(answer.classes, key=answer.classes.__getitem__)
        found = f"{label} ({answer.classes[label]:.2f})"
    elif answer.anomaly is not None:
        found = f"anomaly score {answer.anomaly:.2f}"
    else:
        count = len(answer.detections)
        found = f"{count} found" if count else "nothing found"
    took = output.milliseconds(answer.inference_time)
    return f"{found} ({answer.model} v{answer.model_version}, {took})"
