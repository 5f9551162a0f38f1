"""``andon send``: deliver events from files and pipes, through a spool that outlives an outage."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from andon.cli import output, sending
from andon.cli.opening import load_settings
from andon.cli.options import Json
from andon.cli.sending import SERVER, Key, Site, Speed, SpoolDir, Start, Url, Wait

if TYPE_CHECKING:
    from andon.client.files import Unreadable
    from andon.client.sender import Kind

app = typer.Typer(
    help="Send events to a server: buffered on disk, repeated until it has them.",
    no_args_is_help=True,
)

File = Annotated[
    str, typer.Argument(metavar="[FILE]", help="NDJSON or CSV; - reads standard input.")
]


@app.command(short_help="Factory events from a file or pipe.")
def factory(
    file: File = "-",
    url: Url = SERVER,
    api_key: Key = None,
    site: Site = "",
    spool: SpoolDir = None,
    wait: Wait = 10.0,
    as_json: Json = False,
) -> None:
    """Send factory events: timestamp, worker_id, workstation_id, event_type, confidence, count.

    One JSON object per line, or CSV with these columns. Sending a file again does no harm: what
    the server has already is counted once. The exit code is 1 when something was refused,
    could not be read, or still waits.
    """
    _send("factory", file, url, api_key, site, spool, wait, as_json=as_json)


@app.command(short_help="Eye telemetry from a file or pipe.")
def telemetry(
    file: File = "-",
    url: Url = SERVER,
    api_key: Key = None,
    site: Site = "",
    spool: SpoolDir = None,
    wait: Wait = 10.0,
    as_json: Json = False,
) -> None:
    """Send measurements of drivers' eyes: ear_value, is_drowsy, duration_ms.

    One JSON object per line, or CSV with these columns; timestamp, driver_id, device_id and
    site_id may be there. What carries no time gets the time at which it is read. The exit code
    is 1 when something was refused, could not be read, or still waits.
    """
    _send("telemetry", file, url, api_key, site, spool, wait, as_json=as_json)


@app.command(short_help="Replay a trace of eye aspect ratios.")
def drowsiness(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="CSV with the columns Frame, EAR_r and EAR_l, or EAR.",
        ),
    ],
    fps: Annotated[
        float,
        typer.Option(metavar="N", min=0.1, max=1000, help="Frames per second of the recording."),
    ] = 30.0,
    driver: Annotated[
        str, typer.Option(metavar="NAME", help="driver_id of the telemetry.", show_default=False)
    ] = "",
    start: Start = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            "-t",
            metavar="EAR",
            min=0.0,
            max=1.0,
            help="An eye is closed below this. Default: ANDON_EAR_THRESHOLD, else 0.2.",
            show_default=False,
        ),
    ] = None,
    drowsy_after: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.0, help="Closed for so long is drowsy."),
    ] = 0.5,
    speed: Speed = 1.0,
    url: Url = SERVER,
    api_key: Key = None,
    site: Site = "",
    spool: SpoolDir = None,
    wait: Wait = 10.0,
    as_json: Json = False,
) -> None:
    """Send a recorded trace as the device in the car would have: one measurement per frame.

    duration_ms is how long the eyes have been closed, this frame included; is_drowsy says that
    they have been closed for --drowsy-after or longer. Frames without a value are left out. With
    the same --start, sending it again does no harm.
    """
    from andon.events.drives import read_trace, replay  # noqa: PLC0415 - see cli/__init__.py

    with file.open(encoding="utf-8-sig", newline="") as lines:
        frames = list(read_trace(lines))
    seconds = (frames[-1].number + 1) / fps if frames else 0.0
    begin = sending.beginning(start, seconds, speed)
    output.note(
        f"{len(frames)} frames at {fps:g} per second: {seconds:.1f} s from {output.moment(begin)}."
    )
    played = replay(
        frames,
        fps=fps,
        start=begin,
        threshold=load_settings().ear_threshold if threshold is None else threshold,
        drowsy_after=drowsy_after,
        further={"driver_id": driver} if driver else None,
    )
    pace = sending.Pace(begin, speed)
    with sending.sender(url, api_key, site, spool) as sender:
        if speed:
            for item in played:
                pace.until(item["timestamp"])
                sending.record(sender, "telemetry", [item])
        else:
            sending.record(sender, "telemetry", played)
        outcome = sending.finish(sender, wait)
    sending.tell(outcome, as_json=as_json)


@app.command(short_help="What was refused, and why.")
def rejected(
    retry: Annotated[
        bool, typer.Option("--retry", help="Send it again: the reason is mended.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many, newest first.")] = 20,
    url: Url = SERVER,
    api_key: Key = None,
    spool: SpoolDir = None,
    wait: Wait = 10.0,
    as_json: Json = False,
) -> None:
    """Show what the server refused; the spool keeps the newest 10,000 with the reasons."""
    with sending.sender(url, api_key, "", spool) as sender:
        if retry:
            sender.retry_rejected()
            outcome = sending.finish(sender, wait)
            sending.tell(outcome, as_json=as_json)
            return
        found = sender.rejected(limit)
    if as_json:
        output.print_json(found)
    elif not found:
        output.say("Nothing was refused.")
    else:
        rows = [(output.moment(one.at), one.kind, one.reason, str(one.item)) for one in found]
        output.table(("when", "kind", "reason", "event"), rows)


def _send(
    kind: "Kind",
    file: str,
    url: str,
    api_key: str | None,
    site: str,
    spool: Path | None,
    wait: float,
    *,
    as_json: bool,
) -> None:
    from andon.client.files import read_pieces  # noqa: PLC0415 - see cli/__init__.py

    unreadable: list[Unreadable] = []
    with _opened(file) as stream, sending.sender(url, api_key, site, spool) as sender:
        for piece in read_pieces(stream):
            sending.record(sender, kind, piece.items)
            unreadable += piece.unreadable
        outcome = sending.finish(sender, wait, unreadable=unreadable)
    sending.tell(outcome, as_json=as_json)


@contextmanager
def _opened(file: str) -> Iterator[BufferedReader]:
    if file == "-":
        # Closed by whoever opened it.
        yield cast("BufferedReader", sys.stdin.buffer)
        return
    with Path(file).open("rb") as stream:
        yield stream
