"""``andon demo``: a detector, boards it has inspected, and a day on the floor, in one command."""

import io
import itertools
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from andon.cli import output
from andon.cli.opening import opened
from andon.cli.options import Home
from andon.cli.serve import SAMPLES
from andon.errors import Conflict

if TYPE_CHECKING:
    from andon.events.reading import Kind
    from andon.platform import Platform
    from andon.store.roster import Roster

# Every fourth board is a good one: a line that finds only faults would look broken.
_GOOD_EVERY = 4
_SHIFT_HOURS = 8.0
_DRIVE_HOURS = 1.0
_MEASUREMENTS_PER_SECOND = 2.0
_AT_ONCE = 1000


def demo(
    home: Home = None,
    boards: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="Boards to inspect.")
    ] = 24,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Which boards; the same seed, the same boards.")
    ] = 1,
    if_empty: Annotated[
        bool,
        typer.Option(
            "--if-empty", help="Leave each part alone, without a word, where there is one already."
        ),
    ] = False,
) -> None:
    """Register the starter detector and inspect sample boards; bring a floor with a shift.

    A model that serves already is left alone and inspects the boards. The boards are left in
    HOME/samples, to try things with. Workers W1 to W6 and stations S1 to S6 are registered. A
    made-up shift of the last eight hours and an hour of three drivers are stored, each only where
    no such events are yet: what really happened is never mixed with what did not.
    """
    with opened(home) as platform:
        settings = platform.settings
        done = _boards(platform, boards, seed, if_empty=if_empty)
        done |= _floor(platform, seed, quiet=if_empty)
        done |= _drivers(platform, seed, quiet=if_empty)
    if done:
        output.say(f"Next: andon serve, then open http://{settings.host}:{settings.port}")


def _boards(platform: "Platform", boards: int, seed: int, *, if_empty: bool) -> bool:
    """A detector and inspected boards; whether anything was done."""
    if if_empty and platform.db.predictions.page(limit=1)[0]:
        return False
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
    output.say(f"They lie in {platform.settings.home / SAMPLES}, to drop on the Inspect page.")
    return True


def _floor(platform: "Platform", seed: int, *, quiet: bool) -> bool:
    """Workers, stations and a shift up to now; whether anything was done."""
    if platform.db.factory.first() is not None:
        if not quiet:
            output.say("The floor has events already: no shift was made up.")
        return False
    from andon.events.simulation import Shift, delivered, roster  # noqa: PLC0415 - not for --help
    from andon.store.clock import now  # noqa: PLC0415 - the same

    present = now()
    # It goes on for another hour, so that somebody is at work when the pages are opened.
    shift = Shift(present - timedelta(hours=_SHIFT_HOURS), hours=_SHIFT_HOURS + 1, seed=seed)
    workers, stations = roster(shift)
    _register(platform.db.workers, workers)
    _register(platform.db.workstations, stations)
    events = (event for delivery in delivered(shift) for event in delivery.events)
    past = (event for event in events if event["timestamp"] <= present)
    stored = _store(platform, "factory", past)
    output.say(
        f"Registered workers W1 to W{len(workers)} and stations S1 to S{len(stations)}, and made "
        f"up a shift of the last {_SHIFT_HOURS:g} hours: {stored} events."
    )
    return True


def _drivers(platform: "Platform", seed: int, *, quiet: bool) -> bool:
    """Telemetry of drivers up to now; whether anything was done."""
    if platform.db.telemetry.page(limit=1)[0]:
        if not quiet:
            output.say("There is eye telemetry already: no drivers were made up.")
        return False
    from andon.events.drives import Drive, measurements  # noqa: PLC0415 - not for --help
    from andon.store.clock import now  # noqa: PLC0415 - the same

    drive = Drive(
        now() - timedelta(hours=_DRIVE_HOURS),
        hours=_DRIVE_HOURS,
        rate=_MEASUREMENTS_PER_SECOND,
        seed=seed,
    )
    stored = _store(platform, "telemetry", measurements(drive))
    output.say(
        f"Made up {_DRIVE_HOURS:g} hour of {drive.drivers} drivers: {stored} measurements of "
        "their eyes."
    )
    return True


def _register(roster: "Roster", entries: dict[str, str]) -> None:
    """Those that are there already keep their names."""
    for entry, name in entries.items():
        try:
            roster.add(entry, name)
        except Conflict:
            continue


def _store(platform: "Platform", kind: "Kind", events: Iterable[dict[str, Any]]) -> int:
    """Through the same door as everybody's events; how many were new."""
    stored = 0
    waiting = iter(events)
    while group := list(itertools.islice(waiting, _AT_ONCE)):
        report = platform.events.take_sync(kind, msgspec.json.encode(group), source="demo")
        stored += report.ingested
    return stored


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
