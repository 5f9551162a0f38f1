"""The program ``andon``: which commands there are, and how failures leave it.

Exit codes: 0 done, 1 an error a person can act on (one line on standard error), 2 a wrong
command line, 130 interrupted. A traceback is shown with ``--debug`` or ``ANDON_DEBUG=1`` only.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from andon.cli import output
from andon.errors import AndonError

_WIDTH = 100

# In the order of `andon --help`: where each command is (a function, or a Typer app of several),
# and its line in the list of commands; `andon COMMAND --help` tells the rest.
_COMMANDS = {
    "serve": ("serve:serve", "Start the server."),
    "demo": ("demo:demo", "Bring a detector and sample boards."),
    "predict": ("predict:predict", "Inspect pictures."),
    "batch": ("batch:batch", "Inspect every picture of a folder."),
    "compare": ("compare:compare", "Inspect one picture with two versions."),
    "evaluate": ("evaluate:evaluate", "Measure a detector on labelled pictures."),
    "train": ("train:train", "Train a model of rows, and register it."),
    "feedback": ("feedback:feedback", "Say what answers should have been."),
    "performance": ("performance:performance", "How well versions do."),
    "replay": ("replay:replay", "Ask a candidate what was asked before."),
    "drill": ("drill:drill", "Break things on purpose; see the alarms."),
    "train-starter": ("train_starter:train_starter", "Train the starter detector anew."),
    "doctor": ("doctor:doctor", "Find out what is wrong here, and how to mend it."),
    "version": ("version:version", "Print the version of Andon."),
    "models": ("models:app", "List, add, activate, roll back, delete."),
    "runs": ("train:runs", "Trainings: list, show, cancel."),
    "drift": ("drift:app", "Whether the data have changed."),
    "alerts": ("alerts:app", "What a person should know: list, resolve."),
    "approvals": ("approvals:app", "What waits for a person."),
    "agent": ("agent:app", "What Andon does by itself, and its policy."),
    "traffic": ("traffic:app", "Try a candidate on some of the traffic."),
    "mlflow": ("mlflow:app", "Look at MLflow, send what it lacks."),
    "send": ("send:app", "Send events, buffered on disk."),
    "simulate": ("simulate:app", "Make up a shift, or drivers."),
}


class _Commands(Mapping[str, Any]):
    """Every command by name, imported and built when it is looked up.

    All of them together are a third of the start of `andon --help`, and 2 MB that the server would
    keep for as long as it runs.
    """

    def __getitem__(self, name: str) -> Any:
        place, line = _COMMANDS[name]
        module, _, attribute = place.partition(":")
        command = getattr(import_module(f"andon.cli.{module}"), attribute)
        alone = typer.Typer(rich_markup_mode=None)
        if isinstance(command, typer.Typer):
            alone.add_typer(command, name=name, short_help=line)
        else:
            alone.command(name, short_help=line)(command)
        return get_group(alone).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Group(TyperGroup):
    """The program: it loads the one command that runs, and lists the others from the table."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        # Asked of the table: a KeyError of the command's module is a bug, not a wrong name.
        return self.commands[cmd_name] if cmd_name in _COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


app = typer.Typer(
    name="andon",
    cls=_Group,
    help="Serves models on the production line, watches them, and pulls the cord when they go "
    "wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help is faster, and the same in a pipe and in docs/cli.md
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH},
)


@app.callback()
def _common(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Also: ANDON_DEBUG=1.")
    ] = False,
) -> None:
    """Options that stand before a command."""
    if debug:
        os.environ["ANDON_DEBUG"] = "1"


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app(prog_name="andon")
    except AndonError as error:
        _complain(error.detail, error.hint)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has gone (andon … | head): nothing is left to say, to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        what = error.strerror or str(error)
        _complain(f"{error.filename}: {what}." if error.filename else f"{what}.")
    except Exception as error:
        if _debugging():
            raise
        _complain(
            f"{type(error).__name__}: {error}",
            "This is a bug in Andon. Run again with `andon --debug …` and report what it prints.",
        )


def _complain(detail: str, hint: str = "") -> None:
    """One red line, the next step under it, and the way out."""
    if _debugging():
        raise  # noqa: PLE0704 - called from except blocks only
    red, normal = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}Error: {output.shown(detail)}{normal}", file=sys.stderr)
    if hint:
        print(output.shown(hint), file=sys.stderr)
    sys.exit(1)


def _debugging() -> bool:
    return os.environ.get("ANDON_DEBUG", "").lower() in {"1", "true", "yes", "on"}


if __name__ == "__main__":
    main()
