"""``andon train-starter``: train the starter detector anew on generated boards."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from andon.cli import output
from andon.errors import ConfigurationError

_INSTALL = "pip install 'andon[vision]'"


def train_starter(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="The ONNX file to write.")
    ] = Path("pcb.onnx"),
    work: Annotated[
        Path,
        typer.Option(
            "--work",
            metavar="DIR",
            file_okay=False,
            help="Folder for generated boards and checkpoints.",
        ),
    ] = Path("runs/pcb"),
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Decides boards, crops and weights.")
    ] = 7,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Batches to train for.")] = 6000,
    boards: Annotated[int, typer.Option(metavar="N", min=1, help="Boards to generate.")] = 8000,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Processor cores to use.")] = 2,
) -> None:
    """Train the starter PCB detector on generated boards alone.

    Seeded and resumable: the same command carries on from the last checkpoint in --work. Needs the
    extra `vision` (PyTorch).
    """
    missing = [name for name in ("torch", "onnx") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Training needs {' and '.join(missing)}, which the core does not bring.",
            hint=f"Install the extra: {_INSTALL}",
        )
    # PyTorch is an extra and takes seconds to import.
    from andon.training.pcb.train import train  # noqa: PLC0415

    train(
        out=out, work=work, seed=seed, steps=steps, boards=boards, threads=threads, say=output.say
    )
    output.say(f"Written: {out}. Measure it: andon evaluate {out} FOLDER")
    output.say(f"Let it serve: andon models add {out} --notes 'trained here, seed {seed}'")
