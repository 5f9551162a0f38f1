"""``andon train`` and ``andon runs``: train a model of rows, and look at trainings."""

import difflib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon import typed
from andon.cli import output
from andon.cli.opening import actor, load_settings, opened
from andon.cli.options import Home, Json
from andon.errors import AndonError, InvalidRequest, NotFound, RuntimeFailed

if TYPE_CHECKING:
    from andon.platform import Platform
    from andon.settings import Settings
    from andon.store.training_runs import TrainingRun
    from andon.training.messages import DataReport, Line, TrainReport
    from andon.training.runs import Asked

runs = typer.Typer(
    help="Look at trainings, and cancel them.", no_args_is_help=True, rich_markup_mode=None
)

RunId = Annotated[str, typer.Argument(metavar="ID", help="Id of a training; its end is enough.")]


def train(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[RECIPE|FILE]",
            show_default=False,
            help="A recipe by name (andon train --list), a CSV, Parquet or recipe file, or a "
            "folder/ of tables.",
        ),
    ] = "",
    home: Home = None,
    target: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column to learn, of a file of your own.")
    ] = "",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="File or folder to train on, instead of the recipe's own. Repeatable.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column that is no feature, besides the recipe's: one that is made from the "
            "target. Repeatable.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="Registered model to make.")
    ] = "",
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The same data and seed, the same model.")
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=1000, help="Settings to try for each candidate."),
    ] = None,
    promote: Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote",
            show_default=False,
            help="Let it serve at once if it passes the gate. Default: what the recipe says.",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; kept with the run and the version.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the data, and train nothing.")
    ] = False,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="List the recipes there are.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model of rows, measure it, and register it.

    Works with or without a server. The first version of a model that passes the gate of its
    recipe serves at once; later ones wait for `andon models promote`, unless the recipe or
    --promote says otherwise. Ctrl-C cancels. Needs the extra `train`.
    """
    if list_recipes:
        _list(load_settings(home), as_json=as_json)
        return
    if not what:
        raise typer.BadParameter("Name a recipe or a file; --list shows the recipes.")
    with opened(home) as platform:
        paths = [path.absolute() for path in data or []]
        asked, name = _asked(what, platform.settings, paths, model)
        asked = _with(
            asked,
            target=target,
            drop=tuple(drop or ()),
            seed=seed,
            tuning_trials=tune,
            promote=promote,
        )
        if dry_run:
            _check(platform, asked, name, as_json=as_json)
            return
        run = _train(platform, asked, name, reason, as_json=as_json)
    if as_json:
        output.print_json(run)
    _require_success(run)
    if not as_json:
        _show_result(run)


# -- What is meant ----------------------------------------------------------------------


def _asked(
    what: str, settings: "Settings", data: list[Path], model: str | None
) -> tuple["Asked", str]:
    """What the words on the command line mean, and the model it makes."""
    from andon.training import catalog  # noqa: PLC0415 - see cli/__init__.py
    from andon.training.retraining import asked_of  # noqa: PLC0415
    from andon.training.runs import Asked, require_libraries  # noqa: PLC0415

    require_libraries()
    for path in data:
        if not path.exists():
            raise _no_file(path)
    given = tuple(map(str, data))
    path = Path(what).expanduser()
    unknown = catalog.known(what, settings) is None
    if path.suffix or "/" in what or (unknown and path.is_dir()):
        if not path.exists():
            raise _no_file(path)
        return Asked(recipe=str(path.absolute()), data=given), model or _model_name(path)
    known = catalog.find(what, settings)
    return _with(asked_of(known), data=given), model or known.name


def _with(asked: "Asked", **values: Any) -> "Asked":
    import msgspec  # noqa: PLC0415 - see cli/__init__.py

    return msgspec.structs.replace(asked, **values)


def _model_name(path: Path) -> str:
    """A file's name as a model's; the person may give another."""
    from andon.registry.names import clean_model_name  # noqa: PLC0415 - see cli/__init__.py

    try:
        return clean_model_name(path.stem.lower().replace(" ", "-"))
    except InvalidRequest as error:
        raise InvalidRequest(
            f"The file name {path.name} cannot be a model's name.",
            hint="Give one with --model NAME.",
        ) from error


def _no_file(path: Path) -> NotFound:
    """The error for a file that is not there, with the nearest one that is."""
    try:
        names = [entry.name for entry in path.absolute().parent.iterdir()]
    except OSError:
        return NotFound(f"There is no file {path}.", hint=f"{path.parent} is no folder either.")
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"Did you mean {path.with_name(near[0])}?" if near else "Look at the path."
    return NotFound(f"There is no file {path}.", hint=hint)


def _list(settings: "Settings", *, as_json: bool) -> None:
    from andon.training import catalog  # noqa: PLC0415 - see cli/__init__.py

    found = catalog.recipes(settings)
    if as_json:
        output.print_json(found)
        return
    output.table(["recipe", "title", "from"], [[one.name, one.title, one.source] for one in found])
    output.say("Or bring a table: andon train FILE.csv --target COLUMN")


# -- Training ---------------------------------------------------------------------------


def _train(
    platform: "Platform", asked: "Asked", model: str, reason: str, *, as_json: bool
) -> "TrainingRun":
    """The run, when it has ended."""
    from andon.training.watch import worker_name  # noqa: PLC0415 - see cli/__init__.py

    run = platform.trainings.create(
        asked, model=model, source="cli", actor=actor(), reason=reason, worker=worker_name()
    )
    try:
        with _telling(as_json=as_json) as tell:
            return platform.trainings.run(run, tell)
    except KeyboardInterrupt:
        output.note(f"\nCancelled: the training {run.id}.")
        raise


def _check(platform: "Platform", asked: "Asked", model: str, *, as_json: bool) -> None:
    """Only the checks of the data."""
    with _telling(as_json=as_json) as tell:
        report = platform.trainings.check(asked, model=model, tell=tell)
    if as_json:
        output.print_json(report)
    elif report is not None:
        output.say(f"The data can be trained on: {report.rows} rows, {report.columns} columns.")


@contextmanager
def _telling(*, as_json: bool) -> Iterator[Callable[["Line"], None]]:
    """What shows a training's messages: its words on stdout, its progress on stderr."""
    from andon.training import messages  # noqa: PLC0415 - see cli/__init__.py

    with _bar() as advance:

        def tell(message: "Line") -> None:
            # Where nobody reads on (`| head`), the training goes on all the same.
            with suppress(BrokenPipeError):
                match message:
                    case messages.Stage(stage, progress):
                        advance(stage, progress)
                    case messages.Say(text) if not as_json:
                        output.say(text)
                    case messages.Checked(report) if not as_json:
                        _show_findings(report)

        yield tell


@contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    """A line that tells what is being done, on a terminal; silent otherwise."""
    if not sys.stderr.isatty():
        yield lambda _stage, _progress: None
        return
    from rich.markup import escape  # noqa: PLC0415 - see output.console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    bar = Progress(
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        console=output.console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("Starting", total=1.0)
        yield lambda stage, progress: bar.update(
            task, description=escape(stage), completed=progress
        )


def _show_findings(report: "DataReport") -> None:
    """What the checks found, on standard error: it is about the work, not its result."""
    output.note(f"Data: {report.rows} rows from {report.origin}")
    for finding in report.findings:
        where = f"{finding.column}: " if finding.column else ""
        output.note(f"  {finding.severity}: {where}{finding.detail} {finding.hint}".rstrip())


def _require_success(run: "TrainingRun") -> None:
    """Leave the command where no version came of it, with the reason."""
    if run.status == "cancelled":
        output.note(f"Cancelled: the training {run.id}.")
        raise typer.Exit(130)
    if run.status != "succeeded":
        raise RuntimeFailed(
            run.error or f"The training {run.id} was taken over by another process.",
            hint=f"Its log: andon runs show {run.id[-8:]} --log",
        )


def _show_result(run: "TrainingRun") -> None:
    """Candidates, the chosen one on held-out rows, the gate, and what comes next."""
    from andon.training.messages import TrainReport  # noqa: PLC0415

    report = typed.convert(run.report, TrainReport)
    output.say()
    _show_candidates(report)
    output.table(
        ["metric", "value", "95 % from", "to"],
        [
            [name, f"{one.value:.4f}", _number(one.low), _number(one.high)]
            for name, one in report.held_out.metrics.items()
        ],
        numbers="value, 95 % from, to",
    )
    output.say(f"Measured on {report.data.held_out} held-out rows of {report.data.rows}.")
    for note in report.data.notes:
        output.say(note)
    output.say("Gate: passed." if report.gate.passed else "Gate: not passed.")
    for reason in report.gate.reasons:
        output.say(f"  {reason}")
    output.say(f"{run.model}: {run.stage}")


def _show_candidates(report: "TrainReport") -> None:
    metric = report.metric
    rows = []
    for one in report.candidates:
        spread = one.cross_validation.get(metric)
        rows.append(
            [
                ("* " if one.chosen else "  ") + one.name,
                one.error or (f"{spread.mean:.4f} ± {spread.std:.4f}" if spread else None),
                _number(one.held_out.get(metric)),
                f"{one.seconds:.1f} s",
            ]
        )
    if rows:
        columns = ["candidate", f"{metric} cross-validated", f"{metric} held out", "took"]
        output.table(columns, rows, numbers=", ".join(columns[1:]))


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


# -- Runs -------------------------------------------------------------------------------


@runs.command("list", short_help="List trainings.")
def list_runs(
    home: Home = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Of this model only.", show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """List trainings, newest first."""
    with opened(home) as platform:
        found, _ = platform.db.training.page(model=model, limit=limit)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.say("No trainings yet. Begin with one: andon train --list")
        return
    output.table(
        ["id", "model", "status", "version", "asked", "by", "what"],
        [
            [
                run.id[-8:],
                run.model,
                run.status,
                f"v{run.version}" if run.version else None,
                output.moment(run.created_at),
                run.source,
                (run.error.partition("\n")[0] or run.stage)[:80],
            ]
            for run in found
        ],
    )


@runs.command(short_help="Show one training.")
def show(
    run_id: RunId,
    home: Home = None,
    log: Annotated[bool, typer.Option("--log", help="Print its log instead.")] = False,
    as_json: Json = False,
) -> None:
    """Show one training: how far it is, or what came of it."""
    with opened(home) as platform:
        run = _found(platform, run_id)
        path = platform.trainings.folder(run.id) / "log.txt"
    if log:
        if not path.is_file():
            raise NotFound(f"The training {run.id} has no log (any more).")
        output.say(path.read_text("utf-8", "replace").rstrip())
        return
    if as_json:
        output.print_json(run)
        return
    output.fields(
        {
            "training": run.id,
            "model": run.model,
            "recipe": run.recipe,
            "status": run.status,
            "stage": run.stage,
            "progress": "" if run.finished else f"{run.progress:.0%}",
            "version": f"v{run.version}" if run.version else "",
            "asked": f"{output.moment(run.created_at)} UTC by {run.actor or run.source}",
            "reason": run.reason,
            "ended": output.moment(run.finished_at),
            "error": run.error,
        }
    )
    if run.report:
        _show_result(run)


@runs.command(short_help="Cancel a training that waits or runs.")
def cancel(run_id: RunId, home: Home = None, as_json: Json = False) -> None:
    """Cancel a training; nothing of it is registered. One that runs stops within seconds."""
    with opened(home) as platform:
        run = platform.db.training.cancel(_found(platform, run_id).id)
    if as_json:
        output.print_json(run)
    elif run.status == "cancelled":
        output.say(f"Cancelled: the training {run.id} of {run.model}.")
    else:
        output.say(f"The training {run.id} of {run.model} stops within seconds.")


def _found(platform: "Platform", given: str) -> "TrainingRun":
    """A run by its id or the end of it, as lists show it."""
    wanted = given.strip().lower()
    try:
        return platform.db.training.get(wanted)
    except AndonError:
        newest, _ = platform.db.training.page(limit=500)
    found = [run for run in newest if len(wanted) >= 4 and run.id.endswith(wanted)]
    if len(found) != 1:
        what = "several trainings end" if found else "no training ends"
        raise NotFound(f"There is no training {given}: {what} so.", hint="andon runs list")
    return platform.db.training.get(found[0].id)
