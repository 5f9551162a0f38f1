"""``andon drill``: break everything on purpose, in a sandbox, and see whether the alarms work."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import load_settings, opened
from andon.cli.options import Home
from andon.errors import InvalidRequest

if TYPE_CHECKING:
    from andon.drill.exercises import Exercise

FOLDER = "drills"


def drill(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[EXERCISE]...", help="These alone.")
    ] = None,
    home: Home = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the sandboxes, to look into them.")
    ] = False,
    tell: Annotated[
        bool, typer.Option("--tell", help="Send the outcome to the webhook, to try that as well.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for a script instead of text.")
    ] = False,
) -> None:
    """Break things on purpose in a sandbox, and prove that alarm, approval and rollback fire.

    A version that finds nothing, one that is slow, runtimes that are killed or hang, blurred
    pictures, drifting rows, and a rollback that waits for two people. Your policy is what is
    tried. It happens in HOME/drills, in installations of their own: nothing real is touched, and a
    running server goes on. Takes about two minutes. The report stays in HOME/reports; exit code 1
    where something did not work.
    """
    settings = load_settings(home)
    # The exercises bring ONNX Runtime and the generator of boards.
    from andon.drill import exercises, report  # noqa: PLC0415

    chosen = names or list(exercises.EXERCISES)
    if unknown := [name for name in chosen if name not in exercises.EXERCISES]:
        raise InvalidRequest(
            f"There is no exercise {unknown[0]}.",
            hint=f"There are {', '.join(exercises.EXERCISES)}.",
        )
    folder = settings.home / FOLDER
    # A drill that was killed may have left one.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        done = exercises.drill(settings, folder, chosen, lambda _: None if as_json else _say(_))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    page = report.write(done, settings.reports)
    if tell:
        _tell(home, done.passed, page)
    if as_json:
        output.print_json(done)
    else:
        output.say()
        output.say(
            "Every alarm, approval and rollback worked."
            if done.passed
            else "Something did not work: read the steps marked NO."
        )
        output.say(f"Report: {page}")
        if keep:
            output.say(f"The sandboxes are in {folder}.")
    if not done.passed:
        raise typer.Exit(1)


def _say(done: "Exercise") -> None:
    output.say(f"{'ok' if done.passed else 'NO'}  {done.title}")
    for step in done.steps:
        when = "" if step.seconds is None else f"{step.seconds:6.1f} s"
        output.say(f"    {'yes' if step.ok else 'NO ':3} {when:>8}  {step.text}")
    output.say(f"    {done.answers} sent after the fault, {done.failed} without an answer.")


def _tell(home: Path | None, passed: bool, page: Path) -> None:
    """Send the outcome through the installation's own notifier."""
    with opened(home) as platform:
        platform.notifier.tell("drill", {"passed": passed, "report": page.name})
        platform.notifier.deliver_once()
