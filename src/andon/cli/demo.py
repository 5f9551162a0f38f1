"""``andon demo``: a detector that serves and boards it has inspected, in one command."""

import io
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import opened
from andon.cli.options import Home
from andon.cli.serve import SAMPLES

if TYPE_CHECKING:
    from andon.platform import Platform

# Every fourth board is a good one: a line that finds only faults would look broken.
_GOOD_EVERY = 4


def demo(
    home: Home = None,
    boards: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="Boards to inspect.")
    ] = 24,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Which boards; the same seed, the same boards.")
    ] = 1,
    if_empty: Annotated[
        bool, typer.Option("--if-empty", help="Do nothing where predictions are logged already.")
    ] = False,
) -> None:
    """Register the starter detector and inspect generated sample boards with it.

    A model that serves already is left alone and inspects the boards. The boards are left in
    HOME/samples, to try things with.
    """
    with opened(home) as platform:
        settings = platform.settings
        if if_empty and platform.db.predictions.page(limit=1)[0]:
            return
        # The starter is package data; proving it loads ONNX Runtime.
        from andon.serving.starter import install_starter  # noqa: PLC0415

        installed = install_starter(platform.deployments)
        if installed is not None:
            output.say(
                f"Registered {installed.model} v{installed.version}: a detector for bare boards "
                f"({installed.filename}), active."
            )
        found, good = _inspect(platform, boards, seed)
    output.say(
        f"Inspected {boards} generated boards: {found} defects on {boards - good} of them, "
        f"{good} good."
    )
    output.say(f"They lie in {settings.home / SAMPLES}, to drop on the Inspect page.")
    output.say(f"Next: andon serve, then open http://{settings.host}:{settings.port}")


def _inspect(platform: "Platform", boards: int, seed: int) -> tuple[int, int]:
    """Defects found on all boards, and the boards without one."""
    found = good = 0
    samples = platform.settings.home / SAMPLES
    samples.mkdir(exist_ok=True)
    with output.progress("Inspecting sample boards", boards) as step:
        for number in range(boards):
            is_good = number % _GOOD_EVERY == _GOOD_EVERY - 1
            picture = _board(seed * 1000 + number, good=is_good)
            path = samples / f"sample-board-{number + 1:03}.png"
            path.write_bytes(picture)
            answer = platform.engine.answer_sync(picture, image_name=path.name, source="demo")
            found += len(answer.detections)
            good += not answer.detections
            step()
    return found, good


def _board(seed: int, *, good: bool) -> bytes:
    """A generated board as a PNG file."""
    # NumPy and Pillow come with the generator.
    from PIL import Image  # noqa: PLC0415

    from andon.training.pcb.boards import generate_board  # noqa: PLC0415

    board = generate_board(seed, defects=0 if good else None)
    file = io.BytesIO()
    Image.fromarray(board.image).save(file, "PNG")
    return file.getvalue()
