"""``andon drill``: break everything on purpose, in a sandbox, and see whether the alarms work."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import load_settings, opened
from andon.cli.options import Home
from andon.errors import ConfigurationError, Conflict, InvalidRequest

if TYPE_CHECKING:
    from andon.drill.exercises import Exercise

FOLDER = "drills"
MARK = "SANDBOX.txt"
"""In every folder that may be deleted."""


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
    running server goes on. Takes about a minute. The report stays in HOME/reports; exit code 1
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
    for sentence in exercises.notes_on(settings):
        output.note(sentence)
    with _place(settings.home / FOLDER, keep=keep) as folder:
        done = exercises.drill(settings, folder, chosen, lambda _: None if as_json else _say(_))
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


@contextmanager
def _place(folder: Path, *, keep: bool) -> Iterator[Path]:
    """The folder of the sandboxes, for this drill alone; cleared before and after.

    Only what is marked as a sandbox is ever deleted: the folder may be somebody's own, or a link.

    Raises:
        ConfigurationError: It is no folder, or a link to one.
        Conflict: Another drill is under way.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigurationError(
            f"{folder} is no folder of its own.", hint="Move it away: a drill makes one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("Another drill is under way here.", hint="Wait for its end.") from None
        # A drill that was killed may have left some.
        _clear(folder)
        try:
            yield folder
        finally:
            if not keep:
                _clear(folder)
                # What else is in it stays, and the folder with it.
                with suppress(OSError):
                    folder.rmdir()
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if not path.is_symlink() and (path / MARK).is_file():
            shutil.rmtree(path, ignore_errors=True)


def _say(done: "Exercise") -> None:
    output.say(f"{'ok' if done.passed else 'NO'}  {done.title}")
    for step in done.steps:
        when = "" if step.seconds is None else f"{step.seconds:6.1f} s"
        output.say(f"    {'yes' if step.ok else 'NO ':3} {when:>8}  {step.text}")
    if done.note:
        output.say(f"    {done.note}")
    output.say(f"    {done.answers} sent after the fault, {done.failed} without an answer.")


def _tell(home: Path | None, passed: bool, page: Path) -> None:
    """Send the outcome through the installation's own notifier."""
    with opened(home) as platform:
        platform.notifier.tell("drill", {"passed": passed, "report": page.name})
        if not platform.settings.webhook_url.get_secret_value():
            output.note("Nobody was told: ANDON_WEBHOOK_URL names no receiver.")
        elif platform.notifier.deliver_once():
            output.note("The webhook was told.")
        else:
            output.note("The webhook was not told yet; a running server tries again.")
