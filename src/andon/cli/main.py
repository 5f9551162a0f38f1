"""The program ``andon``: which commands there are, and how failures leave it.

Exit codes: 0 done, 1 an error a person can act on (one line on standard error), 2 a wrong
command line, 130 interrupted. A traceback is shown with ``--debug`` or ``ANDON_DEBUG=1`` only.
"""

import os
import sys
from typing import Annotated

import typer

from andon import __version__
from andon.cli import (
    agent,
    alerts,
    approvals,
    batch,
    compare,
    demo,
    doctor,
    drift,
    drill,
    evaluate,
    feedback,
    mlflow,
    models,
    output,
    performance,
    predict,
    replay,
    send,
    serve,
    simulate,
    traffic,
    train,
    train_starter,
)
from andon.errors import AndonError

_WIDTH = 100

app = typer.Typer(
    name="andon",
    help="Serves models on the production line, watches them, and pulls the cord when they go "
    "wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help is faster, and the same in a pipe and in docs/cli.md
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH},
)

# One line each for the list of commands; `andon COMMAND --help` tells the rest.
app.command("serve", short_help="Start the server.")(serve.serve)
app.command("demo", short_help="Bring a detector and sample boards.")(demo.demo)
app.add_typer(models.app, name="models", short_help="List, add, activate, roll back, delete.")
app.command("predict", short_help="Inspect pictures.")(predict.predict)
app.command("batch", short_help="Inspect every picture of a folder.")(batch.batch)
app.command("compare", short_help="Inspect one picture with two versions.")(compare.compare)
app.command("evaluate", short_help="Measure a detector on labelled pictures.")(evaluate.evaluate)
app.command("train", short_help="Train a model of rows, and register it.")(train.train)
app.add_typer(train.runs, name="runs", short_help="Trainings: list, show, cancel.")
app.command("feedback", short_help="Say what answers should have been.")(feedback.feedback)
app.command("performance", short_help="How well versions do.")(performance.performance)
app.add_typer(drift.app, name="drift", short_help="Whether the data have changed.")
app.add_typer(alerts.app, name="alerts", short_help="What a person should know: list, resolve.")
app.add_typer(approvals.app, name="approvals", short_help="What waits for a person.")
app.add_typer(agent.app, name="agent", short_help="What Andon does by itself, and its policy.")
app.add_typer(traffic.app, name="traffic", short_help="Try a candidate on some of the traffic.")
app.command("replay", short_help="Ask a candidate what was asked before.")(replay.replay)
app.command("drill", short_help="Break things on purpose; see the alarms.")(drill.drill)
app.add_typer(mlflow.app, name="mlflow", short_help="Look at MLflow, send what it lacks.")
app.command("train-starter", short_help="Train the starter detector anew.")(
    train_starter.train_starter
)
app.add_typer(send.app, name="send", short_help="Send events, buffered on disk.")
app.add_typer(simulate.app, name="simulate", short_help="Make up a shift, or drivers.")
app.command("doctor", short_help="Find out what is wrong here, and how to mend it.")(doctor.doctor)


@app.command()
def version() -> None:
    """Print the version of Andon."""
    print(f"andon {__version__}")


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
