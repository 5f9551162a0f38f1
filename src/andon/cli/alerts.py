"""``andon alerts``: what a person should know of, and what was done about it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import actor, opened
from andon.cli.options import Home, Json, OneModel
from andon.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from andon.platform import Platform
    from andon.store.records import Alert

app = typer.Typer(
    help="List, show, acknowledge and resolve alerts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_MOST_NAME = 64


class Severity(StrEnum):
    """From the least to the worst."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


Which = Annotated[
    str, typer.Argument(metavar="ALERT", help="Id of the alert; the end of it is enough.")
]
By = Annotated[
    str,
    typer.Option("--by", metavar="NAME", help="Who does it. Default: the login name."),
]


@app.command("list", short_help="List open alerts.")
def list_alerts(
    home: Home = None,
    model: OneModel = None,
    severity: Annotated[
        Severity | None, typer.Option(help="Of this severity only.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, metavar="N", help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List alerts that are open, or with --all every one, newest first."""
    with opened(home) as platform:
        alerts, more = platform.db.alerts.page(
            status=None if everything else "open",
            severity=None if severity is None else str(severity),
            model=model,
            limit=limit,
        )
    if as_json:
        output.print_json(alerts)
        return
    if not alerts:
        output.say("No alert was ever raised." if everything else "No alert is open.")
        return
    output.table(
        ["alert", "severity", "status", "since", "seen", "what"],
        [
            [
                alert.alert_id[-8:],
                alert.severity,
                alert.status,
                output.moment(alert.created_at),
                alert.occurrences,
                alert.title,
            ]
            for alert in alerts
        ],
        numbers="seen",
    )
    if more is not None:
        output.note(f"There are more; --limit N shows up to 500 (now {limit}).")


@app.command(short_help="Show one alert.")
def show(which: Which, home: Home = None, as_json: Json = False) -> None:
    """Show one alert with everything that led to it."""
    with opened(home) as platform:
        alert = _find(platform, which)
    if as_json:
        output.print_json(alert)
        return
    output.fields(
        {
            "alert": alert.alert_id,
            "what": alert.title,
            "severity": alert.severity,
            "status": alert.status,
            "model": alert.model,
            "version": None if alert.model_version is None else f"v{alert.model_version}",
            "since": output.moment(alert.created_at),
            "last seen": f"{output.moment(alert.seen_at)} (at {alert.occurrences} looks)",
            "evidence": alert.evidence.get("href"),
            "acknowledged": _who(alert.acknowledged_by, output.moment(alert.acknowledged_at)),
            "resolved": _who(alert.resolved_by, output.moment(alert.resolved_at)),
            "notes": alert.resolution_notes,
        }
    )
    output.say()
    output.say(alert.message)


@app.command(short_help="Take an alert on.")
def ack(which: Which, home: Home = None, by: By = "", as_json: Json = False) -> None:
    """Say that somebody looks after an alert."""
    with opened(home) as platform:
        alert = platform.db.alerts.acknowledge(_find(platform, which).alert_id, _person(by))
    _done(alert, f"{alert.acknowledged_by} looks after it: {alert.title}", as_json=as_json)


@app.command(short_help="Say that an alert is over.")
def resolve(
    which: Which,
    home: Home = None,
    by: By = "",
    notes: Annotated[
        str, typer.Option("--notes", metavar="TEXT", help="What was done; kept with it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Close an alert by hand; those who are told of alerts are told.

    While its cause is still there, no new one is raised for an hour, unless it gets worse.
    """
    with opened(home) as platform:
        alerting = platform.watch.alerting
        alert = alerting.resolve(_find(platform, which).alert_id, _person(by), notes)
    _done(alert, f"Resolved: {alert.title}", as_json=as_json)


def _find(platform: "Platform", which: str) -> "Alert":
    """The alert that an id, or the end of one, names.

    Raises:
        NotFound: There is none.
        InvalidRequest: Several end like this.
    """
    wanted = which.strip().lower()
    try:
        return platform.db.alerts.get(wanted)
    except NotFound:
        found = platform.db.alerts.ending(wanted) if len(wanted) >= 4 else []
        if not found:
            raise
    if len(found) > 1:
        raise InvalidRequest(f"More than one alert ends in {wanted}.", hint="Give more of the id.")
    return found[0]


def _person(by: str) -> str:
    name = by.strip() or actor()
    if len(name) > _MOST_NAME or not name.isprintable():
        raise InvalidRequest(
            f"A name has at most {_MOST_NAME} characters, all of which can be printed.",
            hint="Give another: --by NAME.",
        )
    return name


def _who(name: str, at: str | None) -> str:
    return f"by {name} at {at}" if name else ""


def _done(alert: "Alert", text: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(alert)
    else:
        output.say(text)
