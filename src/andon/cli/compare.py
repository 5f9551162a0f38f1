"""``andon compare``: two versions on one picture."""

from pathlib import Path
from typing import Annotated

import typer

from andon.cli import output
from andon.cli.models import Number
from andon.cli.opening import opened
from andon.cli.options import Home, Json, Model, Threshold


def compare(
    version_a: Number,
    version_b: Number,
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", exists=True, dir_okay=False, help="JPEG, PNG or BMP.")
    ],
    home: Home = None,
    model: Model = None,
    threshold: Threshold = None,
    as_json: Json = False,
) -> None:
    """Inspect one picture with two versions and show what differs."""
    with opened(home) as platform:
        # Comes with the engine.
        from andon.serving.compare import compare as run  # noqa: PLC0415

        result = run(
            platform.engine,
            image.read_bytes(),
            image.name,
            model,
            version_a,
            version_b,
            threshold,
        )
    if as_json:
        output.print_json(result)
        return
    sides = result["comparison"]
    output.table(
        ["version", "found", "mean confidence", "inference"],
        [
            [
                f"v{side['version']}",
                side["detections"],
                f"{side['avg_confidence']:.2f}",
                output.milliseconds(side["inference_time"]),
            ]
            for side in (sides["model_a"], sides["model_b"])
        ],
        numbers="found, mean confidence, inference",
    )
