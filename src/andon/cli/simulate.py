"""``andon simulate``: a floor and drivers that do not exist, sent like those that do."""

import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from andon.cli import output, sending
from andon.cli.options import Json
from andon.cli.sending import SERVER, Key, Site, Speed, Start, Url, Wait

if TYPE_CHECKING:
    from andon.client import Sender
    from andon.client.sender import Kind

app = typer.Typer(
    help="Make up a shift or drivers, for demonstrations, load and documentation.",
    no_args_is_help=True,
)

Seed = Annotated[int, typer.Option(metavar="N", min=0, help="The same seed, the same events.")]

To = Annotated[
    str,
    typer.Option("--to", metavar="-", help="- prints NDJSON instead of sending anything."),
]


@app.command(short_help="A shift on the floor.")
def factory(
    workers: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="W1, W2, …")] = 6,
    stations: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="S1, S2, …")] = 6,
    hours: Annotated[float, typer.Option(metavar="H", min=0.1, max=24 * 366)] = 8.0,
    start: Start = None,
    speed: Speed = 0.0,
    seed: Seed = 1,
    late: Annotated[
        float,
        typer.Option(
            metavar="0..1", min=0, max=1, help="Share that arrives minutes to hours late."
        ),
    ] = 0.02,
    duplicates: Annotated[
        float, typer.Option(metavar="0..1", min=0, max=1, help="Share that arrives twice.")
    ] = 0.02,
    outages: Annotated[
        float,
        typer.Option(metavar="N", min=0, max=100, help="Outages of a camera in eight hours."),
    ] = 0.5,
    url: Url = SERVER,
    api_key: Key = None,
    site: Site = "",
    wait: Wait = 60.0,
    to: To = "",
    as_json: Json = False,
) -> None:
    """Make up a shift: work, micro stops, breaks, changes of station, units, outages, repeats.

    Its workers and stations are registered first. The same seed, start and size give the same
    events, so that sending them again changes nothing.
    """
    from andon.events.simulation import Shift, delivered, roster  # noqa: PLC0415 - see cli/__init__.py

    shift = Shift(
        start=sending.beginning(start, hours * 3600, speed),
        workers=workers,
        stations=stations,
        hours=hours,
        seed=seed,
        outages=outages,
        late=late,
        duplicates=duplicates,
        site=site,
    )
    deliveries = ((delivery.at, delivery.events) for delivery in delivered(shift))
    if _printed(to, deliveries, sending.Pace(shift.start, speed)):
        return
    sending.refuse_future(shift.start, hours * 3600, speed)
    people, places = roster(shift)
    _play("factory", deliveries, shift.start, speed, url, api_key, wait, (people, places), as_json)


@app.command(short_help="Drivers and their eyes.")
def drowsiness(
    drivers: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="D1, D2, …")] = 3,
    hours: Annotated[float, typer.Option(metavar="H", min=0.01, max=24 * 366)] = 1.0,
    rate: Annotated[
        float, typer.Option(metavar="N", min=0.1, max=120, help="Measurements per second.")
    ] = 10.0,
    start: Start = None,
    speed: Speed = 0.0,
    seed: Seed = 1,
    url: Url = SERVER,
    api_key: Key = None,
    site: Site = "",
    wait: Wait = 60.0,
    to: To = "",
    as_json: Json = False,
) -> None:
    """Make up drives: blinks, fatigue that grows in the small hours, microsleeps.

    The same seed, start and size give the same telemetry, so that sending it again changes
    nothing.
    """
    from andon.events.drives import Drive, measurements  # noqa: PLC0415 - see cli/__init__.py

    begin = sending.beginning(start, hours * 3600, speed)
    drive = Drive(begin, drivers=drivers, hours=hours, rate=rate, seed=seed, site=site)
    deliveries = _gathered(measurements(drive), speed)
    if _printed(to, deliveries, sending.Pace(begin, speed)):
        return
    sending.refuse_future(begin, hours * 3600, speed)
    _play("telemetry", deliveries, begin, speed, url, api_key, wait, ({}, {}), as_json)


_Deliveries = Iterable[tuple[datetime, list[dict[str, Any]]]]


def _gathered(
    items: Iterable[dict[str, Any]], speed: float
) -> Iterator[tuple[datetime, list[Any]]]:
    """What a device sends together: about a second of real time."""
    group: list[dict[str, Any]] = []
    long = timedelta(seconds=max(1.0, speed))
    for item in items:
        if group and item["timestamp"] - group[0]["timestamp"] >= long:
            yield item["timestamp"], group
            group = []
        group.append(item)
    if group:
        yield group[-1]["timestamp"], group


def _printed(to: str, deliveries: _Deliveries, pace: sending.Pace) -> bool:
    """Print instead of sending, where that was asked for."""
    if not to:
        return False
    if to != "-":
        raise typer.BadParameter("Only - is known: NDJSON on standard output.", param_hint="--to")
    for at, events in deliveries:
        pace.until(at)
        output.say("\n".join(msgspec.json.encode(event).decode() for event in events))
    return True


def _play(
    kind: "Kind",
    deliveries: _Deliveries,
    start: datetime,
    speed: float,
    url: str,
    api_key: str | None,
    wait: float,
    named: tuple[dict[str, str], dict[str, str]],
    as_json: bool,
) -> None:
    """Deliver at the chosen speed. What is made up is not worth keeping: its spool goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="andon-simulate-") as folder,
        sending.sender(url, api_key, "", Path(folder)) as sender,
    ):
        for noun, entries in zip(("worker", "workstation"), named, strict=True):
            sending.register(url, api_key, noun, entries)
        pace = sending.Pace(start, speed)
        _record(sender, kind, deliveries, pace, speed)
        outcome = sending.finish(sender, wait)
    sending.tell(outcome, as_json=as_json)


def _record(
    sender: "Sender", kind: "Kind", deliveries: _Deliveries, pace: sending.Pace, speed: float
) -> None:
    if not speed:
        # No pauses, so nothing to gain from a sync for each delivery.
        sending.record(sender, kind, (event for _, events in deliveries for event in events))
        return
    for at, events in deliveries:
        pace.until(at)
        sending.record(sender, kind, events)
