"""What the rest of Andon knows of MLflow: whether it is on, what to send it, and when.

MLflow is a copy for people who work with it: nothing here is needed by anything, and a server
of it that is down delays nothing. All that is sent is read from the database and the folders of
the trainings when it is sent, so doing it twice, late or in another order gives the same.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, select

from andon import typed
from andon.errors import ConfigurationError, Unavailable
from andon.settings import Settings
from andon.store.clock import micros, moment, now
from andon.store.database import Database
from andon.store.drowsiness_totals import sums
from andon.store.model_files import ModelFiles
from andon.store.records import Job, ModelVersion
from andon.store.tables import deployment_events, model_versions
from andon.store.training_runs import TrainingRun
from andon.training.messages import MODEL, REPORT
from andon.training.mlflow_tasks import (
    COMMAND,
    START_SECONDS,
    Answer,
    Day,
    Folder,
    Look,
    Registered,
    Send,
    Store,
    Task,
    Training,
    Version,
    local_uri,
    names,
    shown,
    store_at,
    surroundings,
)

Enqueue = Callable[[str, dict[str, Any]], Job]
"""`JobQueue.enqueue`."""

KIND = "mlflow"
"""Kind of the jobs."""
TELEMETRY_CRON = "15 0 * * *"
"""When the telemetry of the days before is sent, UTC."""
INSTALL = "pip install 'andon[mlflow]'"
MOST_DAYS = 30
"""Days of telemetry that are made up for."""

_OFF = "off"
_TRAINED = "training"
_PER_TRAINING = 20.0  # seconds that sending one may take
_TRY_AGAIN = timedelta(minutes=10)
_DAY_SECONDS = 86_400
_MINUTE = 60_000_000


# -- Whether and where ------------------------------------------------------------------


def why_off(settings: Settings) -> str:
    """Why nothing is sent to MLflow, a sentence; empty where something is."""
    given = settings.mlflow_tracking_uri.get_secret_value()
    if given == _OFF:
        return "ANDON_MLFLOW_TRACKING_URI is off."
    if find_spec("mlflow") is not None:
        return ""
    if given:
        return f"ANDON_MLFLOW_TRACKING_URI is set, but MLflow is not installed: {INSTALL}"
    return f"MLflow is not installed ({INSTALL})."


def store(settings: Settings) -> Store | None:
    """Where MLflow keeps things, or None where it is off.

    It is what the settings name, else a database in the home where MLflow is installed.
    """
    if why_off(settings):
        return None
    return store_at(uri(settings), settings.home, settings.mlflow_timeout)


def uri(settings: Settings) -> str:
    """For `TrainRequest.mlflow_uri`: the address that is set, the local store's, or "" for none."""
    given = settings.mlflow_tracking_uri.get_secret_value()
    if given:
        return "" if given == _OFF else given
    return "" if why_off(settings) else local_uri(settings.home)


def required(settings: Settings) -> Store:
    """As `store`.

    Raises:
        ConfigurationError: MLflow is off; the hint says how it comes on.
    """
    found = store(settings)
    if found is None:
        raise ConfigurationError(
            f"Nothing is sent to MLflow: {why_off(settings)}",
            hint=f"Install it ({INSTALL}), and set ANDON_MLFLOW_TRACKING_URI where a server of "
            "MLflow is to be used.",
        )
    return found


# -- Asking -----------------------------------------------------------------------------


def ask(task: Send | Look) -> dict[str, Any]:
    """Have a process of its own do a task; what it did.

    Raises:
        Unavailable: MLflow cannot be reached, refuses, or takes too long.
    """
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=surroundings(task.store),
        # MLflow starts processes of its own, which must end with it.
        start_new_session=True,
    )
    where = shown(task.store.uri)
    try:
        written, _ = process.communicate(_line(task), timeout=task.seconds)
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"MLflow at {where} was not done within {task.seconds:.0f} seconds.",
            hint="Look whether it runs; what was not sent is sent later.",
            retry_after=60.0,
        ) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    answers = [typed.decode(line, Answer) for line in written.splitlines()]
    if answers and answers[-1].done:
        return answers[-1].result
    why = answers[-1].error if answers else f"its process ended with code {process.returncode}"
    raise Unavailable(
        f"MLflow at {where} could not be used: {why}",
        hint="Look at ANDON_MLFLOW_TRACKING_URI and at MLflow's own log.",
        retry_after=60.0,
    )


def look(settings: Settings) -> dict[str, Any]:
    """What is there: `experiments` with their numbers of trainings, `models` with aliases.

    Raises:
        ConfigurationError: MLflow is off.
        Unavailable: It cannot be asked.
    """
    where = required(settings)
    return ask(Look(where, START_SECONDS + 2 * where.timeout))


class Mirror:
    """Sends what Andon knows.

    Args:
        settings: Where MLflow is, and where the trainings' folders and the models are.
        db: Says what there is.
    """

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._files = ModelFiles(settings.models)

    def send(
        self, *, trainings: bool = True, models: bool = True, telemetry: bool = True
    ) -> dict[str, Any]:
        """Send what MLflow does not have.

        Args:
            trainings: Those that have ended well and whose folder is there.
            models: The versions of trained models, and their aliases.
            telemetry: Of the eyes: the days that are over, of the last `MOST_DAYS`.

        Returns:
            `trainings` (ids that were sent), `unusable` (sentences), `models` (by name), `days`.

        Raises:
            ConfigurationError: MLflow is off.
            Unavailable: It cannot be reached, or somebody else is sending just now.
        """
        where = required(self._settings)
        folders = tuple(self._folders()) if trainings else ()
        registered = tuple(self._registered()) if models else ()
        days = tuple(self._days()) if telemetry else ()
        if not (folders or registered or days):
            return {"trainings": [], "unusable": [], "models": {}, "days": []}
        heavy = len(folders) + sum(len(one.versions) for one in registered) + len(days)
        seconds = START_SECONDS + 2 * where.timeout + heavy * _PER_TRAINING
        with _alone(self._settings.home / "mlflow.lock", seconds):
            return ask(Send(where, seconds, folders, registered, days))

    def _folders(self) -> Iterator[Folder]:
        """The trainings that can be sent, oldest first."""
        for run in reversed(list(self._succeeded())):
            folder = self._folder(run)
            if folder is not None:
                yield folder

    def _registered(self) -> Iterator[Registered]:
        for model in _trained(self._db):
            folders: dict[int | None, Folder] = {}
            for run in self._succeeded(model):
                folder = self._folder(run)
                if folder is not None:
                    # Newest first: the one that made the version comes last and stays.
                    folders[run.version] = folder
            versions = reversed(self._db.models.list(model))
            yield Registered(
                model,
                names(model),
                tuple(self._version(one, folders.get(one.version)) for one in versions),
            )

    def _version(self, version: ModelVersion, folder: Folder | None) -> Version:
        path = self._files.path(version.model, version.version, f".{version.format}")
        return Version(
            version=version.version,
            sha256=version.file_hash,
            status=version.status,
            path=str(path),
            notes=version.notes,
            folder=folder,
        )

    def _succeeded(self, model: str | None = None) -> Iterator[TrainingRun]:
        """The trainings that ended well, newest first."""
        before: str | None = None
        while True:
            page, before = self._db.training.page(
                model=model, status="succeeded", before=before, limit=100
            )
            yield from page
            if before is None:
                return

    def _folder(self, run: TrainingRun) -> Folder | None:
        path = self._settings.training / run.id
        if not all((path / name).is_file() for name in (REPORT, MODEL)):
            return None
        started = run.started_at or run.created_at
        return Folder(
            training=Training(
                run_id=run.id, model=run.model, recipe=run.recipe, names=names(run.model)
            ),
            path=str(path),
            started=started.timestamp(),
            ended=(run.finished_at or started).timestamp(),
        )

    def _days(self) -> Iterator[Day]:
        """The days of telemetry that are over, oldest first."""
        today = now().replace(hour=0, minute=0, second=0, microsecond=0)
        since, until = micros(today - timedelta(days=MOST_DAYS)), micros(today)
        for whole in sums(self._db, since, until, width=_DAY_SECONDS):
            end = whole.start + _DAY_SECONDS * 1_000_000
            minutes = tuple(
                (
                    (one.start - whole.start) // _MINUTE,
                    one.events,
                    one.drowsy,
                    one.ear_sum,
                    one.duration_sum,
                )
                for one in sums(self._db, whole.start, end, width=60)
            )
            start = moment(whole.start)
            yield Day(start.strftime("%Y-%m-%d"), int(start.timestamp()), minutes)


# -- Jobs -------------------------------------------------------------------------------


class MirrorJobs:
    """Runs jobs of kind "mlflow". Each sends what is not there yet: a repeat changes nothing.

    Args:
        settings: As of `Mirror`.
        db: As of `Mirror`.
    """

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._mirror = Mirror(settings, db)

    def run(self, job: Job) -> dict[str, Any]:
        """Send the telemetry, or the trained models.

        Raises:
            Unavailable: MLflow cannot be reached now.
        """
        if off := why_off(self._settings):
            return {"off": off}
        telemetry = job.payload.get("task") == "telemetry"
        return self._mirror.send(trainings=False, models=not telemetry, telemetry=telemetry)


class MirrorWatch:
    """Notices that the registry has moved, whichever process moved it, and queues a job.

    Args:
        enqueue: Takes the job.
        db: Says what has moved.
        settings: Whether MLflow is on.
    """

    def __init__(self, enqueue: Enqueue, db: Database, settings: Settings) -> None:
        self._enqueue = enqueue
        self._db = db
        self._on = store(settings) is not None
        self._known = ""

    def look(self) -> Job | None:
        """Queue a job if something has moved since the newest one; call it every few seconds.

        Raises:
            AndonError: The database cannot be asked, or the queue is full.
        """
        state = self._state() if self._on else ""
        if state in {"", self._known}:
            return None
        newest = self._newest()
        if newest is not None and newest.payload.get("state") == state:
            if newest.status != "failed":
                self._known = state
                return None
            # MLflow was down for all of its attempts. It may be up again.
            if now() < (newest.finished_at or newest.created_at) + _TRY_AGAIN:
                return None
        job = self._enqueue(KIND, {"task": "models", "state": state})
        self._known = state
        return job

    def _state(self) -> str:
        """Something that changes whenever the registry of trained models does; "" without any."""
        with self._db.read() as connection:
            newest = connection.scalar(
                select(func.max(model_versions.c.id)).where(model_versions.c.source == _TRAINED)
            )
            moved = connection.scalar(select(func.max(deployment_events.c.id)))
        return "" if newest is None else f"{newest}-{moved or 0}"

    def _newest(self) -> Job | None:
        page, _ = self._db.jobs.page(kind=KIND, limit=20)
        return next((job for job in page if job.payload.get("task") == "models"), None)


def telemetry_later(
    enqueue: Enqueue, db: Database, settings: Settings, due: datetime | None = None
) -> Job | None:
    """Queue the sending of the telemetry, where there is any and MLflow is on.

    Raises:
        AndonError: The database cannot be asked, or the queue is full.
    """
    if store(settings) is None:
        return None
    until = due or now()
    since = until - timedelta(days=MOST_DAYS + 1)
    if not sums(db, micros(since), micros(until)):
        return None
    return enqueue(KIND, {"task": "telemetry"})


def _trained(db: Database) -> list[str]:
    """The models that have a version which was trained here."""
    query = (
        select(model_versions.c.model_name)
        .where(model_versions.c.source == _TRAINED, model_versions.c.deleted_at.is_(None))
        .distinct()
        .order_by(model_versions.c.model_name)
    )
    with db.read() as connection:
        return list(connection.scalars(query))


@contextmanager
def _alone(path: Path, seconds: float) -> Iterator[None]:
    """One sender at a time: two would both find a run missing and write it twice.

    Raises:
        Unavailable: Somebody else is still sending after `seconds`.
    """
    until = time.monotonic() + seconds
    with path.open("a", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Unavailable(
                        "Another process of Andon is sending to MLflow.",
                        hint="Try again when it is done.",
                        retry_after=60.0,
                    ) from None
                time.sleep(0.2)
            else:
                break
        yield


def _line(task: Task) -> bytes:
    return msgspec.json.encode(task) + b"\n"
