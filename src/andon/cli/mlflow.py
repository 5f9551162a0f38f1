"""``andon mlflow``: look at what MLflow has of the trainings, and send what it does not have."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import load_settings, opened
from andon.cli.options import Home, Json
from andon.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from andon.training.mlflow_tasks import Store

app = typer.Typer(
    help="Look at what MLflow has of the trainings, and send what it does not have.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_POLL = 0.5
_END_SECONDS = 5.0
_COMMAND = [sys.executable, "-m", "mlflow", "server"]


@app.command(short_help="Open MLflow's pages on the local store.")
def ui(
    home: Home = None,
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Port.")] = 5000,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on. MLflow asks nobody for a password."
        ),
    ] = "127.0.0.1",
) -> None:
    """Start MLflow's own server on the local store, until Ctrl+C.

    It takes ten seconds or more to start. Where a server of MLflow is set already, its address is
    printed instead.
    """
    from andon.training import mlflow_mirror  # noqa: PLC0415 - SQLAlchemy comes with it
    from andon.training.mlflow_tasks import shown  # noqa: PLC0415

    where = mlflow_mirror.required(load_settings(home))
    if where.uri.startswith(("http://", "https://")):
        output.say(f"MLflow runs already. Open {shown(where.uri)}")
        return
    _require_free(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if host not in _LOOPBACK:
        output.note(f"Everybody who reaches {address} can change and delete what is there.")
    output.say(f"MLflow starts on {shown(where.uri)}; this takes ten seconds or more.")
    _serve(where, host, port, lambda: output.say(f"Open {address}\nStop: Ctrl+C"))


@app.command(short_help="Say what MLflow has.")
def status(home: Home = None, as_json: Json = False) -> None:
    """Say whether MLflow is on, where it is, and what it has of the trainings."""
    from andon.training import mlflow_mirror  # noqa: PLC0415 - see ui()
    from andon.training.mlflow_tasks import shown  # noqa: PLC0415

    settings = load_settings(home)
    off = mlflow_mirror.why_off(settings)
    if off:
        if as_json:
            output.print_json({"on": False, "why": off})
        else:
            output.say(f"Off: {off}")
        return
    address = shown(mlflow_mirror.required(settings).uri)
    there = mlflow_mirror.look(settings)
    if as_json:
        output.print_json({"on": True, "address": address, **there})
        return
    output.say(f"On: {address}\n")
    output.table(
        ["experiment", "trainings"], list(there["experiments"].items()), numbers="trainings"
    )
    output.say()
    rows = [
        [
            name,
            model["versions"],
            ", ".join(f"{alias} v{number}" for alias, number in sorted(model["aliases"].items())),
        ]
        for name, model in there["models"].items()
    ]
    output.table(["registered model", "versions", "aliases"], rows, numbers="versions")


@app.command(short_help="Send what MLflow does not have.")
def sync(home: Home = None, as_json: Json = False) -> None:
    """Send the trainings, versions, aliases and telemetry that MLflow does not have.

    A training can be sent as long as its folder is kept (ANDON_KEEP_TRAINING_DAYS). Sending twice
    changes nothing.
    """
    from andon.training.mlflow_mirror import Mirror  # noqa: PLC0415 - see ui()

    with opened(home) as platform:
        sent = Mirror(platform.settings, platform.db).send()
    if as_json:
        output.print_json(sent)
        return
    for text in sent["unusable"]:
        output.note(f"Not sent: {text}")
    versions = sum(len(model["added"]) for model in sent["models"].values())
    output.say(
        f"Sent: {len(sent['trainings'])} trainings, {versions} versions, "
        f"{len(sent['days'])} days of telemetry."
    )
    for name, model in sent["models"].items():
        aliases = ", ".join(f"{alias} v{number}" for alias, number in model["aliases"].items())
        output.say(f"{name}: {aliases or 'no alias'}")


def _require_free(host: str, port: int) -> None:
    """Find out before MLflow has been started for nothing.

    Raises:
        ConfigurationError: Nobody can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"MLflow cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="Choose another port: andon mlflow ui --port 5001",
        ) from error


def _serve(where: "Store", host: str, port: int, ready: "Callable[[], None]") -> None:
    """Run MLflow's server until this process is told to end.

    Raises:
        Unavailable: The server ended by itself.
    """
    from andon.training.mlflow_tasks import surroundings  # noqa: PLC0415 - see ui()

    environment = {
        **surroundings(where),
        # Not on the command line, which everybody on this machine can read.
        "MLFLOW_BACKEND_STORE_URI": where.uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": where.artifacts,
        # Its workers for language models: seven processes that have nothing to do here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Of one library about another.
        "PYTHONWARNINGS": "ignore",
    }
    if where.artifacts:
        # Nothing may have been trained yet, and MLflow makes neither this nor what is above it.
        Path(where.artifacts).mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(
        [*_COMMAND, "--host", host, "--port", str(port), "--workers", "1"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # It starts processes of its own; all of them end with the group.
        start_new_session=True,
    )
    threading.Thread(target=_announce, args=(server, host, port, ready), daemon=True).start()
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        code = server.wait()
    except KeyboardInterrupt:
        return
    finally:
        _end(server)
        signal.signal(signal.SIGTERM, before)
    raise Unavailable(
        f"MLflow's server ended by itself, with code {code}.", hint="What it said stands above."
    )


def _announce(
    server: "subprocess.Popen[bytes]", host: str, port: int, ready: "Callable[[], None]"
) -> None:
    """Call `ready` once the server answers."""
    import urllib.request  # noqa: PLC0415 - the other commands do without

    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    address = f"http://{f'[{name}]' if ':' in name else name}:{port}/health"
    while server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            ready()
            return
        time.sleep(_POLL)


def _stop(_number: int, _frame: "FrameType | None") -> None:
    raise KeyboardInterrupt


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server and all that it started."""
    # MLflow leaves children behind when it is asked: so the group is asked, then killed.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(_END_SECONDS)
