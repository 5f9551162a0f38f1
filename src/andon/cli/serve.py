"""``andon serve``: the API, the dashboard and everything behind them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon import __version__
from andon.cli import output
from andon.cli.opening import load_settings
from andon.cli.options import Home

if TYPE_CHECKING:
    from andon.platform import Platform

SAMPLES = "samples"
"""Folder in the home where `andon demo` leaves pictures to try."""


def serve(
    home: Home = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on. Default: ANDON_HOST, else 127.0.0.1."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=65535,
            help="Port. Default: ANDON_PORT, else 8080; 0: a free one.",
        ),
    ] = None,
) -> None:
    """Start the server: the API, the dashboard, the watch folder and the jobs.

    It stops on Ctrl+C or SIGTERM, after the requests in flight. On any address but loopback it
    needs ANDON_API_KEY.
    """
    settings = load_settings(home, host=host, port=port)
    output.say(f"Andon {__version__} starts on {settings.host}:{settings.port}.")
    # Everything heavy comes with these.
    from andon.web.memory import without  # noqa: PLC0415

    # structlog would load it for coloured tracebacks, 5 MB that the log's plain lines do not use.
    with without("rich"):
        from andon.platform import Platform  # noqa: PLC0415
        from andon.web.server import run  # noqa: PLC0415

    platform = Platform(settings)
    run(platform, lambda address: _announce(platform, address))


def _announce(platform: "Platform", address: str) -> None:
    """What to open, what to try, where things are."""
    settings = platform.settings
    active = [f"{one.model} v{one.version}" for one in platform.db.models.all_active()]
    serving = ", ".join(active) or "none yet (andon demo brings one)"
    samples = sorted((settings.home / SAMPLES).glob("*.png"))
    picture = samples[0] if samples else Path("board.jpg")
    key = '-H "X-API-Key: $ANDON_API_KEY" ' if settings.credentials_required else ""
    output.say()
    output.fields(
        {
            "  Open": address,
            "  Try": f"curl {key}-F image=@{picture} {address}/api/predict",
            "  Deploy": f"cp MODEL.onnx {settings.deploy}/",
            "  Models" if len(active) > 1 else "  Model": serving,
            "  Home": str(settings.home),
            "  API": f"{address}/docs",
            "  Stop": "Ctrl+C",
        }
    )
    output.say()
