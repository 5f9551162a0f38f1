"""``andon feedback``: say what answers should have been."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import actor, opened
from andon.cli.options import Home, Json
from andon.errors import InvalidRequest

if TYPE_CHECKING:
    from andon.monitoring.feedback import Form

_FORMS: "dict[str, Form]" = {
    ".csv": "csv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_MOST_SHOWN = 10


def feedback(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|ID", help="A .csv, .json or .ndjson file, or the id of a prediction."
        ),
    ],
    actual: Annotated[
        str | None,
        typer.Argument(
            metavar="ACTUAL",
            help="With an id: what was true. A class, its label; of a detector ok, defect or "
            "labels (short;open).",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="With an id: for people.")] = "",
    as_json: Json = False,
) -> None:
    """Say what answers should have been: one, or a file with a row for each.

    A CSV has the columns prediction_id (or request_id) and actual, and if you like timestamp
    and note. Of several labels for one answer the latest by its timestamp stands; sending a
    file again is safe.
    """
    if actual is None:
        _take_file(Path(what), home, as_json=as_json)
        return
    with opened(home) as platform:
        # Comes with NumPy.
        from andon.monitoring.feedback import FeedbackIntake, SentFeedback  # noqa: PLC0415

        intake = FeedbackIntake(platform.db, max_ahead=platform.settings.event_max_ahead)
        sent = SentFeedback(prediction_id=what, actual=actual, note=note)
        done = intake.take_one(sent, source="cli", actor=actor())
    if as_json:
        output.print_json(done)
        return
    judged = {True: "right", False: "wrong", None: "not to be judged"}[done.correct]
    said = f"{done.model} v{done.model_version} said {done.prediction}"
    output.say(f"{said}; true is {done.actual}: {judged}.")


def _take_file(path: Path, home: Path | None, *, as_json: bool) -> None:
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise InvalidRequest(
            f"{path} is no file of feedback.",
            hint="Give a .csv, .json or .ndjson file, or an id and what was true: "
            "andon feedback ID ACTUAL.",
        )
    data = path.read_bytes()
    with opened(home) as platform:
        from andon.monitoring.feedback import FeedbackIntake, read  # noqa: PLC0415 - see above

        intake = FeedbackIntake(platform.db, max_ahead=platform.settings.event_max_ahead)
        report = intake.take(read(data, form), source="cli", actor=actor())
    if as_json:
        output.print_json(report)
    else:
        output.say(
            f"{report.total} labels: {report.stored} stored, {report.duplicates} there already, "
            f"{report.superseded} older than what stands, {report.rejected} rejected."
        )
        for error in report.errors[:_MOST_SHOWN]:
            output.note(f"Label {error.index + 1}: {error.detail}")
    if report.rejected == report.total:
        raise typer.Exit(1)
