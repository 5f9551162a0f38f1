"""The arguments that several commands share, so that they read and behave alike."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="Folder of the installation. Default: ANDON_HOME, else ~/.andon.",
        show_default=False,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of text.")]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Registered model. Default: ANDON_DEFAULT_MODEL, else pcb.",
        show_default=False,
    ),
]

OneModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="This registered model only. Default: all.",
        show_default=False,
    ),
]

Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        "-v",
        metavar="N",
        min=1,
        help="Version to ask instead of the active one.",
        show_default=False,
    ),
]

Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        "-t",
        metavar="0..1",
        min=0.0,
        max=1.0,
        help="Lowest confidence shown. Default: what the model or the settings say.",
        show_default=False,
    ),
]

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the deployment events.")
]
