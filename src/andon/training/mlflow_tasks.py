"""What the process that talks to MLflow is asked and answers, and what things are called there.

Importing MLflow takes seconds and a hundred megabytes, and a server of it may hang: so a process
of its own does it (`andon.training.mlflow_child`), and is ended when it takes too long. Its first
line on standard input is a `Task`; a task `Live` is followed by lines of type `LiveLine`. It
prints `Answer` lines. Standard input keeps passwords out of files and process lists.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from andon.training.messages import Candidate, TrainReport

COMMAND = [sys.executable, "-m", "andon.training.mlflow_child"]
"""Starts the process."""

START_SECONDS = 60.0
"""Time to import MLflow and to make a new store, on a slow machine."""


class Store(msgspec.Struct, frozen=True):
    """Where MLflow keeps things.

    Attributes:
        uri: Of its server or database. May hold a password.
        artifacts: Folder for files, where `uri` is a database; "" leaves it to the server.
        timeout: Longest wait for one answer, seconds.
    """

    uri: str
    artifacts: str = ""
    timeout: float = 20.0

    def __repr__(self) -> str:
        return f"Store({shown(self.uri)})"


class Names(msgspec.Struct, frozen=True):
    """What a training's things are called in MLflow.

    Attributes:
        experiment: Holds the runs.
        registered: The registered model.
        runs: Run names of candidates that are not called as in Andon.
    """

    experiment: str
    registered: str
    runs: dict[str, str] = {}

    def of_run(self, candidate: str) -> str:
        """The run name of a candidate: ``logistic_regression``."""
        return self.runs.get(candidate, candidate.replace("-", "_"))


TELEMETRY_EXPERIMENT = "drowsiness_detection"

# The names that the replaced drowsiness system used: its notebooks find what they look for.
_KNOWN = {
    "drowsiness": Names(
        TELEMETRY_EXPERIMENT, "drowsiness_detector", {"random-forest": "random_forest_baseline"}
    )
}


def names(model: str) -> Names:
    """The names of a registered model's things, where its recipe cannot be asked."""
    return _KNOWN.get(model) or Names(model, model)


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """Which training a run of MLflow mirrors.

    Attributes:
        run_id: Andon's id of it.
        model: Registered model it trains.
        recipe: Name of its recipe.
        title: Of the recipe, for people.
        data_digest: SHA-256 of its data, hexadecimal; "" while unknown.
        names: What its things are called.
    """

    run_id: str
    model: str
    recipe: str = ""
    title: str = ""
    data_digest: str = ""
    names: Names


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A training that has ended, in its folder.

    Attributes:
        training: Which one.
        path: Of the folder, with report.json and model.onnx.
        started: Seconds since 1970.
        ended: Seconds since 1970.
    """

    training: Training
    path: str
    started: float
    ended: float


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version in Andon's registry, as it is now.

    Attributes:
        version: Its number.
        sha256: Of its file, hexadecimal: the same content is the same version.
        status: training, staging, production or archived.
        path: Of its file.
        notes: For people.
        folder: The training it came of; None where that is gone or there was none.
    """

    version: int
    sha256: str
    status: str
    path: str
    notes: str = ""
    folder: Folder | None = None


class Registered(msgspec.Struct, frozen=True):
    """A registered model with all its versions, oldest first."""

    model: str
    names: Names
    versions: tuple[Version, ...]


class Day(msgspec.Struct, frozen=True):
    """The eye telemetry of one day.

    Attributes:
        day: "2026-11-21", UTC.
        start: Its begin, seconds since 1970.
        minutes: Per minute with measurements: minute of the day, events, drowsy, sum of the EAR in
            millionths, sum of the durations in microseconds.
    """

    day: str
    start: int
    minutes: tuple[tuple[int, int, int, int, int], ...]


# -- Tasks ------------------------------------------------------------------------------


class Live(msgspec.Struct, frozen=True, tag_field="task", tag="live"):
    """Mirror a training while it runs."""

    store: Store
    training: Training


class Send(msgspec.Struct, frozen=True, tag_field="task", tag="send"):
    """Send what Andon knows and MLflow does not; what is there already is left as it is.

    Attributes:
        store: Where to.
        seconds: After these the process ends itself, done or not.
        folders: Trainings that have ended.
        models: Registered models, whose versions and aliases are brought in step.
        days: Of telemetry.
    """

    store: Store
    seconds: float
    folders: tuple[Folder, ...] = ()
    models: tuple[Registered, ...] = ()
    days: tuple[Day, ...] = ()


class Look(msgspec.Struct, frozen=True, tag_field="task", tag="look"):
    """Say what is there. `seconds` as in `Send`."""

    store: Store
    seconds: float


Task = Live | Send | Look


class Done(msgspec.Struct, frozen=True, kw_only=True, tag_field="live", tag="done"):
    """The training has ended well.

    Attributes:
        report: All of it.
        model: Path of the ONNX file.
    """

    report: TrainReport
    model: str


class Broken(msgspec.Struct, frozen=True, tag_field="live", tag="broken"):
    """The training has failed, and why."""

    error: str


class Tried(msgspec.Struct, frozen=True, tag_field="live", tag="tried"):
    """A candidate is done."""

    candidate: Candidate


LiveLine = Tried | Done | Broken


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the process prints.

    Attributes:
        tracking_id: MLflow's id of the training's run.
        error: Why it gave up; nothing comes after it.
        done: Whether all is done.
        result: What was done, by name.
    """

    tracking_id: str = ""
    error: str = ""
    done: bool = False
    result: dict[str, Any] = {}


_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql")


def local_uri(home: Path) -> str:
    """The address of the store in a home."""
    return f"{_SQLITE}{home / 'mlflow' / 'mlflow.db'}"


def store_at(uri: str, home: Path, timeout: float) -> Store:
    """A store with its folder for files: beside an SQLite file, else in the home."""
    artifacts = ""
    if uri.startswith(_SQLITE):
        artifacts = str(Path(uri.removeprefix(_SQLITE)).absolute().parent / "artifacts")
    elif uri.startswith(_DATABASES):
        artifacts = str(home / "mlflow" / "artifacts")
    return Store(uri, artifacts, timeout)


# -- Secrets and surroundings -----------------------------------------------------------

_CREDENTIALS = re.compile(r"(\w+://)[^\s/@]+@")
_HIDDEN = "***"


def shown(text: str, uri: str = "") -> str:
    """Text without the credentials of any address in it.

    Args:
        text: For people.
        uri: Whose password must not appear, wherever it stands.
    """
    text = _CREDENTIALS.sub(rf"\1{_HIDDEN}@", text)
    password = _password(uri)
    for secret in {password, unquote(password)} - {""}:
        text = text.replace(secret, _HIDDEN)
    return text


def _password(uri: str) -> str:
    try:
        return urlsplit(uri).password or ""
    except ValueError:  # no address at all: MLflow will say so
        return ""


def surroundings(store: Store) -> dict[str, str]:
    """The environment of the process that talks to MLflow.

    MLflow's own retries would take ten minutes, and it reports home unless it is told not to.
    """
    ours = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(store.timeout))),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        # Without these it asks git, and writes to its console about runs.
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MPLBACKEND": "Agg",
    }
    return {**os.environ, **ours}
