"""What the commands that send have in common: where to, from which spool, and what came of it."""

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import typer

from andon.cli import output
from andon.cli.opening import load_settings
from andon.errors import InvalidRequest, StorageFull, Unavailable

if TYPE_CHECKING:
    from andon.client import Sender, Status
    from andon.client.files import Unreadable
    from andon.client.sender import Kind

SERVER = "http://127.0.0.1:8080"
_REASONS = 10
_AT_ONCE = 1000
# In a reason: a quoted text, or a number, time or numbered name.
_VALUE = re.compile(r"""'[^']*'…?|"[^"]*"…?|[\w.:+-]*\d[\w.:+-]*""")

Url = Annotated[str, typer.Option("--url", metavar="URL", help="Address of the server to send to.")]

Key = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        help="Key of that server. Default: ANDON_API_KEY, which nobody sees in the process list.",
        show_default=False,
    ),
]

Site = Annotated[
    str,
    typer.Option(
        "--site",
        metavar="NAME",
        help="Site of events that name none. Default: the server's.",
        show_default=False,
    ),
]

SpoolDir = Annotated[
    Path | None,
    typer.Option(
        "--spool",
        metavar="DIR",
        file_okay=False,
        help="Folder that keeps events until they are delivered. Default: HOME/spool.",
        show_default=False,
    ),
]

Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        help="How long to go on trying at the end; what is not delivered then waits in the spool.",
    ),
]

Speed = Annotated[
    float,
    typer.Option(
        metavar="X",
        min=0,
        help="How fast time goes: 1 is real time, 60 an hour a minute, 0 as fast as possible.",
    ),
]

Start = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M%z"],
        metavar="TIME",
        help="Time of the beginning, such as 2026-11-21T06:00:00Z. Default: so that the end is "
        "now.",
        show_default=False,
    ),
]


class Outcome(NamedTuple):
    """What came of a command that sends."""

    status: "Status"
    unreadable: "list[Unreadable]"
    reasons: "Counter[str]"

    @property
    def code(self) -> int:
        """1 when something was refused, unreadable or still waits."""
        return int(bool(self.status.refused or self.status.waiting or self.unreadable))


@contextmanager
def sender(url: str, api_key: str | None, site: str, spool: Path | None) -> Iterator["Sender"]:
    """A sender with the spool of this server; what earlier commands left there is sent as well.

    Raises:
        ConfigurationError: The address cannot be used, or another process has the spool.
    """
    # sqlite3 and http.client come with it.
    from andon.client import Sender  # noqa: PLC0415
    from andon.client.link import Link  # noqa: PLC0415

    settings = load_settings()
    # The commands say it themselves.
    logging.getLogger("andon.client").setLevel(logging.ERROR)
    path = (spool or settings.home / "spool") / f"{Link(url).name}.db"
    opened = Sender(url, spool=path, api_key=_key(api_key), site=site)
    if opened.pending():
        output.note(f"{opened.pending()} events of earlier wait in {path} and are sent first.")
    try:
        yield opened
    finally:
        # What waits has had its time in flush().
        opened.close(timeout=0)


def record(sender: "Sender", kind: "Kind", items: Iterable[dict[str, Any]]) -> None:
    """Record any number of items; where the spool is full, wait until there is room again."""
    group: list[dict[str, Any]] = []
    for item in items:
        group.append(item)
        if len(group) == _AT_ONCE:
            _record_group(sender, kind, group)
            group = []
    _record_group(sender, kind, group)


def register(url: str, api_key: str | None, noun: str, entries: dict[str, str]) -> None:
    """Make sure that workers or workstations are there: `POST` each, those there are stay.

    Args:
        url: Address of the server.
        api_key: Its key; None: the settings'.
        noun: ``worker`` or ``workstation``.
        entries: Names by id.

    Raises:
        Unavailable: The server cannot be reached, or does not register them.
    """
    from andon.client.link import Link, Unreachable  # noqa: PLC0415 - see sender()

    link = Link(url, api_key=_key(api_key))
    try:
        for entry, name in entries.items():
            body = msgspec.json.encode({f"{noun}_id": entry, "name": name})
            reply = link.post(f"/{noun}s", body)
            if reply.status not in {200, 201, 409}:
                raise Unavailable(
                    f"{url} did not register the {noun} {entry} ({reply.status}).",
                    hint="Check the address and the API key (ANDON_API_KEY).",
                )
    except Unreachable as error:
        raise Unavailable(
            f"{url} cannot be reached: {error}.", hint="Start it: andon serve"
        ) from error
    finally:
        link.close()


def finish(
    sender: "Sender", wait: float, *, unreadable: "list[Unreadable] | None" = None
) -> Outcome:
    """Deliver what waits, and count."""
    sender.flush(wait)
    status = sender.status()
    reasons = Counter(one.reason for one in sender.rejected(status.refused))
    return Outcome(status, unreadable or [], reasons)


def tell(outcome: Outcome, *, as_json: bool) -> None:
    """The outcome for people or for a script, and the exit code."""
    status = outcome.status
    if as_json:
        output.print_json(
            {
                **msgspec.structs.asdict(status),
                "unreadable": [one._asdict() for one in outcome.unreadable],
                "reasons": dict(outcome.reasons),
            }
        )
    else:
        _tell_people(outcome)
    if outcome.code:
        raise typer.Exit(outcome.code)


def beginning(start: datetime | None, seconds: float, speed: float) -> datetime:
    """The time at which something of that length begins, if its end shall be now when sent."""
    if start is not None:
        return start.astimezone(UTC)
    ahead = seconds / speed if speed else 0.0
    return datetime.fromtimestamp(time.time() + ahead - seconds, UTC)


def refuse_future(begin: datetime, seconds: float, speed: float) -> None:
    """Say at once what the server would say of every event: that it has not happened yet.

    Args:
        begin: When it begins.
        seconds: How long it lasts.
        speed: Its seconds per second; 0: all is sent now.

    Raises:
        InvalidRequest: Something of it would be sent before its time.
    """
    early = begin.timestamp() - time.time()
    # What is played slower than real time is earliest at its beginning, else at its end.
    early += max(0.0, seconds - (seconds / speed if speed else 0.0))
    if early > load_settings().event_max_ahead:
        end = begin + timedelta(seconds=seconds)
        raise InvalidRequest(
            f"From {output.moment(begin)} to {output.moment(end)} lies in the future: "
            "a server refuses what has not happened yet.",
            hint="Choose an earlier --start, or leave it out; --speed 1 from now on goes with "
            "the clock, and --to - prints without sending.",
        )


class Pace:
    """Lets things happen when it is their time.

    Args:
        start: The time at which the clock of what is played begins.
        speed: Its seconds per second; 0: never waits.
    """

    def __init__(self, start: datetime, speed: float) -> None:
        self._start = start
        self._speed = speed
        self._began = time.monotonic()

    def until(self, moment: datetime) -> None:
        """Wait until that moment of what is played."""
        if self._speed:
            due = self._began + (moment - self._start).total_seconds() / self._speed
            time.sleep(max(0.0, due - time.monotonic()))


def _key(given: str | None) -> str:
    return load_settings().api_key.get_secret_value() if given is None else given


def _record_group(sender: "Sender", kind: "Kind", group: list[dict[str, Any]]) -> None:
    try:
        sender.add_all(kind, group)
    except StorageFull:
        # Full of what waits: deliver, then try once more. A full disk fails again, and says so.
        sender.flush(60)
        sender.add_all(kind, group)


def _tell_people(outcome: Outcome) -> None:
    status = outcome.status
    output.fields(
        {
            "sent": str(status.sent),
            "stored": str(status.stored),
            "duplicates": str(status.duplicates or ""),
            "refused": str(status.refused or ""),
            "unreadable": str(len(outcome.unreadable) or ""),
            "waiting": str(status.waiting or ""),
        }
    )
    kinds = _by_kind(outcome.reasons)
    for reason, count, others in kinds[:_REASONS]:
        alike = f" (and {others} like it)" if others else ""
        output.note(f"Refused {count}: {reason}{alike}")
    if len(kinds) > _REASONS:
        output.note(f"and {len(kinds) - _REASONS} other reasons: andon send rejected")
    for line, why in outcome.unreadable[:_REASONS]:
        output.note(f"Line {line}: {why}.")
    if len(outcome.unreadable) > _REASONS:
        output.note(f"and {len(outcome.unreadable) - _REASONS} more lines.")
    if status.waiting:
        output.note(f"{status.problem or 'There was not enough time.'}")
        output.note("What waits is kept and goes with the next `andon send` to that server.")


def _by_kind(reasons: "Counter[str]") -> list[tuple[str, int, int]]:
    """Reasons that differ only in what was sent, as one: an example, how often, how many more."""
    kinds: dict[str, list[tuple[str, int]]] = {}
    for reason, count in reasons.most_common():
        kinds.setdefault(_VALUE.sub("…", reason), []).append((reason, count))
    found = [(of[0][0], sum(count for _, count in of), len(of) - 1) for of in kinds.values()]
    return sorted(found, key=lambda kind: -kind[1])
