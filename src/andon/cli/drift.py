"""``andon drift``: whether what a version is given, or answers, has changed."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon.cli import output
from andon.cli.opening import actor, opened
from andon.cli.options import Home, Json, Model, OneModel
from andon.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from andon.platform import Platform
    from andon.store.records import DriftReport, ModelVersion

app = typer.Typer(
    help="Look for drift, show and list reports, pin what versions are compared with.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_MOST_SHOWN = 20

Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        "-v",
        metavar="N",
        min=1,
        help="Version. Default: the active one.",
        show_default=False,
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write the report as a page, too.", show_default=False
    ),
]
ReportId = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="Of a report. Default: the newest.", show_default=False),
]


@app.command(short_help="Show a report.")
def show(
    report_id: ReportId = None,
    home: Home = None,
    model: Model = None,
    version: Version = None,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """Show the newest report of a model, or the one with an id."""
    with opened(home) as platform:
        from andon.monitoring.drift import detector  # noqa: PLC0415 - comes with NumPy

        reports = detector.reports_of(platform.db)
        if report_id is not None:
            found = reports.get(report_id)
        else:
            name = model or platform.settings.default_model
            newest = reports.newest(name, version)
            if newest is None:
                # Where there is no such model or version, that is what is wrong.
                _version(platform, model, version)
                raise NotFound(
                    f"There is no drift report of model {name}.",
                    hint="Look now: andon drift run.",
                )
            found = newest
        _show(found, page, as_json=as_json)


@app.command(short_help="Look for drift now.")
def run(
    home: Home = None,
    model: Model = None,
    version: Version = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="Newest answers to look at. Default: ANDON_DRIFT_WINDOW.",
            show_default=False,
        ),
    ] = None,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """Compare the newest answers of a version with its reference, and keep the report.

    One window alone decides, so about one look in a hundred finds drift where there is none; the
    server's watch wants a second window to agree.
    """
    with opened(home) as platform:
        from andon.monitoring.drift import detector  # noqa: PLC0415 - comes with NumPy

        found = detector.run(
            platform.db, platform.settings, _version(platform, model, version), limit
        )
        _show(found, page, as_json=as_json)


@app.command(short_help="Pin what a version is compared with.")
def pin(
    since: Annotated[
        str, typer.Argument(metavar="SINCE", help="Begin, such as 2026-11-19T00:00:00Z.")
    ],
    until: Annotated[str, typer.Argument(metavar="UNTIL", help="End; not included.")],
    home: Home = None,
    model: Model = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Compare a version from now on with what it answered in a time you know was good."""
    begin, end = _moment(since), _moment(until)
    with opened(home) as platform:
        from andon.monitoring.drift import reference  # noqa: PLC0415 - comes with NumPy

        found = _version(platform, model, version)
        stored = reference.pin(platform.db, found, begin, end, actor(), settings=platform.settings)
        if as_json:
            output.print_json({"source": stored.source, "actor": stored.actor, **stored.span})
            return
        output.say(
            f"{found.model} v{found.version} is compared with {stored.span['count']} answers "
            f"from {since} to {until} from now on."
        )


@app.command(short_help="Forget a pinned or learned reference.")
def unpin(
    home: Home = None, model: Model = None, version: Version = None, as_json: Json = False
) -> None:
    """Forget a pinned or learned reference.

    A version with statistics of its training is compared with these again, another learns anew.
    """
    with opened(home) as platform:
        from andon.monitoring.drift import reference  # noqa: PLC0415 - comes with NumPy

        found = _version(platform, model, version)
        gone = reference.references_of(platform.db).delete(found.id)
    if as_json:
        output.print_json({"model": found.model, "version": found.version, "forgotten": gone})
    elif gone:
        output.say(f"The reference of {found.model} v{found.version} is forgotten.")
    else:
        output.say(f"{found.model} v{found.version} has no pinned or learned reference.")


@app.command(short_help="List reports.")
def reports(
    home: Home = None,
    model: OneModel = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000)] = _MOST_SHOWN,
    as_json: Json = False,
) -> None:
    """List drift reports, newest first."""
    with opened(home) as platform:
        from andon.monitoring.drift import detector  # noqa: PLC0415 - comes with NumPy

        found, _ = detector.reports_of(platform.db).page(model=model, limit=limit)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.say("No reports yet. Look now: andon drift run.")
        return
    output.table(
        ["id", "model", "version", "verdict", "score", "drifted", "looked at"],
        [
            [
                one.report_id,
                one.model,
                f"v{one.version}",
                one.verdict,
                None if one.drift_score is None else f"{one.drift_score:.2f}",
                ", ".join(one.drifted_features) or None,
                output.moment(one.created_at),
            ]
            for one in found
        ],
        numbers="score",
    )


@app.command(short_help="Make a full Evidently page.")
def full(
    report_id: ReportId = None,
    home: Home = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Make a full Evidently page of a report and keep it with the reports.

    Needs the extra `report`. Takes a minute or so.
    """
    with opened(home) as platform:
        from andon.monitoring.drift.evidently import evidently_report  # noqa: PLC0415 - as above

        stored = platform.db.drift_reports
        if report_id is None:
            name = model or platform.settings.default_model
            newest = stored.newest(name)
            if newest is None:
                raise NotFound(
                    f"Model {name} has no drift report yet.", hint="Look now: andon drift run."
                )
            report_id = newest.report_id
        made = evidently_report(stored, report_id, platform.settings.reports)
        page = platform.settings.reports / str(made.report_path)
    if as_json:
        output.print_json({"report_id": made.report_id, "page": page})
    else:
        output.say(f"Page: {page}")


def _show(found: "DriftReport", page: Path | None, *, as_json: bool) -> None:
    from andon.monitoring.drift import html, report  # noqa: PLC0415 - comes with NumPy

    if page is not None:
        page.write_text(html.page(found), encoding="utf-8")
    if as_json:
        output.print_json(found)
        return
    told = report.findings(found.report)
    output.say(told.summary)
    output.say()
    if told.features:
        output.table(
            ["feature", "verdict", "distance", "drift from", "p", "before", "now", "missing"],
            [_row(feature) for feature in told.features],
            numbers="distance, drift from, p",
        )
        output.say()
    output.fields(
        {
            "model": f"{found.model} v{found.version}",
            "window": f"{told.window.count} {told.kind}",
            "left out": ", ".join(f"{n} {state}" for state, n in told.left_out.items()),
            "variance of scores": None if told.variance is None else told.variance.value,
            "looked at": output.moment(found.created_at),
            "report": found.report_id,
            "page": page,
        }
    )


def _row(feature: Any) -> list[object]:
    from andon.monitoring.drift.report import shown  # noqa: PLC0415 - comes with NumPy

    verdict = "drift" if feature.drifted else "perhaps" if feature.suspected else "none"
    return [
        feature.name,
        verdict if feature.distance is not None else None,
        shown(feature.distance),
        shown(feature.threshold),
        shown(feature.adjusted_p),
        shown(feature.before),
        shown(feature.after),
        f"{100 * feature.missing_after:.0f} %" if feature.missing_after else None,
    ]


def _version(platform: "Platform", model: str | None, version: int | None) -> "ModelVersion":
    name = model or platform.settings.default_model
    if version is not None:
        return platform.db.models.get(name, version)
    active = platform.db.models.active(name)
    if active is None:
        hint = (
            "Name one: --version N."
            if platform.db.models.list(name)
            else "`andon models list` shows the models there are; --model names one."
        )
        raise NotFound(f"No version of model {name} is active.", hint=hint)
    return platform.db.models.get(name, active.version)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidRequest(
            f"{text[:64]!r} is no time with a zone.", hint="Write it as 2026-11-19T00:00:00Z."
        )
    return found
