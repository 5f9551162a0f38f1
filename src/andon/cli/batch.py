"""``andon batch``: every picture of a folder, with a report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import opened
from andon.cli.options import Home, Json, Model, Threshold

if TYPE_CHECKING:
    from andon.serving.answers import Answer

REPORT = "report.json"


def batch(
    image_dir: Annotated[
        Path,
        typer.Argument(
            metavar="IN", exists=True, file_okay=False, help="Folder with JPEG, PNG and BMP files."
        ),
    ],
    output_dir: Annotated[
        Path, typer.Argument(metavar="OUT", file_okay=False, help="Folder for the results.")
    ],
    home: Home = None,
    model: Model = None,
    threshold: Threshold = None,
    as_json: Json = False,
) -> None:
    """Inspect every picture of a folder.

    OUT gets each picture with its boxes drawn (result_<name>) and report.json. A picture that
    cannot be inspected is reported and skipped; the exit code is then 1.
    """
    failed: list[str] = []
    with opened(home) as platform:
        # ONNX Runtime comes with it.
        from andon.serving.batch import batch_inference, pictures_in  # noqa: PLC0415

        with output.progress("Inspecting", len(pictures_in(image_dir))) as step:

            def done(path: Path, answer: "Answer | None") -> None:
                if answer is None:
                    failed.append(path.name)
                step()

            results, report = batch_inference(
                image_dir,
                output_dir,
                platform.engine,
                model=model,
                threshold=threshold,
                progress=done,
            )
    document = {"report": report, "failed": failed, "results": output.plain(results)}
    if results or failed:
        output_dir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (output_dir / REPORT).write_text(text + "\n", encoding="utf-8")
    if as_json:
        output.print_json(document)
    elif not results and not failed:
        output.say(f"There are no JPEG, PNG or BMP files in {image_dir}.")
    else:
        output.fields(
            {
                "pictures": str(report["total_images"]),
                "failed": ", ".join(failed),
                "detections": str(report["total_detections"]),
                "mean confidence": f"{report['avg_confidence']:.2f}",
                "mean inference": output.milliseconds(report["avg_inference_time"]),
                "results in": output_dir,
            }
        )
    if failed:
        raise typer.Exit(1)
