"""Training: what is installed, the schedule, and how the last trainings ended."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from andon.cli.checkup import rows
from andon.cli.checkup.finding import Finding, fail, ok, warn
from andon.errors import AndonError, ConfigurationError
from andon.jobs import schedule
from andon.training import catalog

if TYPE_CHECKING:
    from andon.settings import Settings

_INSTALL = "pip install 'andon[train]'"


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks of training."""
    missing = catalog.missing_packages()
    ended = list(_last(settings))
    if not missing:
        yield ok("training", "Everything is installed that training needs.")
    elif ended:
        yield warn(
            "training",
            f"Models were trained here, and training lacks {', '.join(missing)} now.",
            f"Install it: {_INSTALL}",
        )
    else:
        yield ok("training", f"This installation does not train ({_INSTALL} would change that).")
    yield from _schedule(settings)
    yield from ended


def _schedule(settings: "Settings") -> Iterator[Finding]:
    try:
        schedule.check(settings.retrain_cron, "ANDON_RETRAIN_CRON")
    except ConfigurationError as error:
        yield fail("schedule", f"{error.detail} The server will not start.", error.hint)


def _last(settings: "Settings") -> Iterator[Finding]:
    """How the newest training of each model ended."""
    if not settings.database_url and not (settings.home / "andon.db").exists():
        return
    try:
        with rows.reading(settings) as database:
            newest = database.newest_trainings()
    except AndonError:
        # Said elsewhere.
        return
    for model, run_id, status, error in newest:
        if status == "failed":
            yield warn(
                "training",
                f"The newest training of {model} failed: {error.partition(chr(10))[0][:200]}",
                f"andon runs show {run_id[-8:]} --log",
            )
        else:
            yield ok("training", f"The newest training of {model}: {status}.")
