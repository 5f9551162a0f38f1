"""Runs one training: in a process of its own, to a registered version or a sentence why not.

The server's jobs and ``andon train`` use the same class. A training holds the row of its run,
and nothing is registered before its process has ended well and its files are complete: a crash
anywhere leaves no half of a version, and a run that is taken up again registers the same bytes
as the same version.
"""

import contextlib
import os
import shlex
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from andon import typed
from andon.errors import (
    AndonError,
    Conflict,
    InvalidRequest,
    NotFound,
    RuntimeFailed,
)
from andon.registry.names import clean_model_name
from andon.registry.registry import ModelRegistry
from andon.serving.deployment import Deployed, Deployments
from andon.settings import Settings
from andon.store.database import Database
from andon.store.jobs import JobInterrupted
from andon.store.training_runs import TrainingRun
from andon.training import catalog, messages, mlflow_mirror, run_folder
from andon.training.child_process import ChildProcess, Ended, Log, environment
from andon.training.messages import ActiveModel, DataReport, TrainReport, TrainRequest
from andon.training.watch import Watch, is_dead

log = structlog.get_logger("andon.training")

COMMAND = (sys.executable, "-P", "-m", "andon.training.tabular.child")
"""Starts a training; the folder of its run follows."""

INSTALL = "pip install 'andon[train]'"

_CHUNK = 1 << 20

Tell = Callable[[messages.Line], None]


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody wants trained; kept with the run.

    Attributes:
        recipe: Name of a recipe, or path of a recipe or table.
        target: Column to learn; "" leaves it to the recipe.
        data: Files or folders instead of the recipe's own source.
        drop: Columns that are no features, besides those of the recipe.
        seed: None leaves it to the recipe.
        tuning_trials: None leaves it to the recipe.
        candidates: Names of the algorithms to try; None leaves it to the recipe.
        promote: Whether the version serves at once if it passes the gate; None leaves it to
            the recipe.
        telemetry: Whether the recipe may read this installation's database.
    """

    recipe: str
    target: str = ""
    data: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    seed: int | None = None
    tuning_trials: int | None = None
    candidates: tuple[str, ...] | None = None
    promote: bool | None = None
    telemetry: bool = False


def require_libraries() -> None:
    """Refuse where the extra is not installed.

    Raises:
        Conflict: It is not; the hint installs it.
    """
    if missing := catalog.missing_packages():
        named = ", ".join(missing[:3]) + " and more" * (len(missing) > 3)
        raise Conflict(
            f"Training needs {named}, which the core does not bring.",
            hint=f"Install the extra: {INSTALL}",
        )


class Trainings:
    """Runs trainings of one installation.

    Args:
        db: Their rows.
        deployments: Registers what comes of them.
        registry: Knows where the active version's file lies.
        settings: Folders and limits.

    Attributes:
        command: Starts the process of a training.
    """

    def __init__(
        self, db: Database, deployments: Deployments, registry: ModelRegistry, settings: Settings
    ) -> None:
        self._db = db
        self._deployments = deployments
        self._registry = registry
        self._settings = settings
        self._stopping = threading.Event()
        self.command: Sequence[str] = COMMAND

    def create(
        self,
        asked: Asked,
        *,
        model: str,
        source: str,
        actor: str = "",
        reason: str = "",
        worker: str = "",
        run_id: str | None = None,
    ) -> TrainingRun:
        """A new run; a dead one of the same model is failed for it.

        Raises:
            Conflict: Another training of this model is under way; the member `run_id` names it.
            InvalidRequest: The model's name cannot be used.
        """
        values: dict[str, Any] = {
            "model": clean_model_name(model),
            "recipe": _short(asked.recipe),
            "options": msgspec.to_builtins(asked),
            "source": source,
            "actor": actor,
            "reason": reason,
            "run_id": run_id,
            "worker": worker,
        }
        try:
            return self._db.training.create(**values)
        except Conflict:
            if not self._db.training.fail_dead(is_dead, model=values["model"]):
                raise
        return self._db.training.create(**values)

    def run(self, run: TrainingRun, tell: Tell | None = None) -> TrainingRun:
        """Train, and register what comes of it.

        Args:
            run: Held by this process: made or started with a `worker`.
            tell: Called with everything that the training says.

        Returns:
            The run as it has ended: it tells why where no version came of it.

        Raises:
            JobInterrupted: This process stops; the run waits for the next one.
            AndonError: The end could not be written down.
        """
        try:
            self._run(run, tell or (lambda _: None))
        except (JobInterrupted, AndonError):
            raise
        except Exception as error:
            self._db.training.fail(run.id, run.worker, f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            # Ctrl-C: somebody at a terminal does not want it any more.
            self._db.training.stopped(run.id, run.worker)
            raise
        return self._db.training.get(run.id)

    def check(self, asked: Asked, *, model: str, tell: Tell | None = None) -> DataReport | None:
        """Read and check the data only; no run is made.

        Raises:
            InvalidRequest: The training would refuse them.
            RuntimeFailed: The check itself broke down.
        """
        found: list[messages.Line] = []

        def keep(message: messages.Line) -> None:
            found.append(message)
            if tell is not None:
                tell(message)

        with tempfile.TemporaryDirectory(
            dir=self._settings.training, prefix=run_folder.CHECK
        ) as place:
            folder = Path(place)
            request = self._request("", clean_model_name(model), asked, check_only=True)
            ended = self._listen(folder, request, keep, lambda: "")
        for message in found:
            if isinstance(message, messages.Refused):
                raise InvalidRequest(message.error, hint=message.hint)
        if ended.code:
            raise RuntimeFailed(_crash(ended))
        reports = [one.report for one in found if isinstance(one, messages.Checked)]
        return reports[-1] if reports else None

    def stop(self) -> None:
        """End what runs; it waits for the next start of a server."""
        self._stopping.set()

    def folder(self, run_id: str) -> Path:
        """What a run left, or will: its log, report and model."""
        return self._settings.training / run_id

    def data_report(self, run_id: str) -> DataReport | None:
        """What the checks of a run found; None where there is nothing."""
        try:
            content = (self.folder(run_id) / messages.DATA_REPORT).read_bytes()
            return typed.decode(content, DataReport)
        except (OSError, msgspec.DecodeError):
            return None

    def fail_dead(self) -> list[str]:
        """Fail the runs whose process is gone and that no job takes up again; their ids."""
        failed = self._db.training.fail_dead(is_dead)
        for run_id in failed:
            log.warning("A training was left by a process that is gone", run=run_id)
        return failed

    def sweep(self) -> int:
        """Delete the folders of trainings past their days; how many.

        Those of unfinished ones stay, and of each model the newest that succeeded.
        """
        kept = {run.id for run in self._db.training.unfinished()}
        kept |= set(self._db.training.newest_succeeded().values())
        return run_folder.sweep(self._settings.training, kept, self._settings.keep_training_days)

    # -- Inside -------------------------------------------------------------------------

    def _run(self, run: TrainingRun, tell: Tell) -> None:
        asked = typed.convert(run.options, Asked)
        folder = self.folder(run.id)
        watch = Watch(self._db, run, self._settings.training_timeout, self._stopping)
        refused: list[messages.Refused] = []

        def heard(message: messages.Line) -> None:
            watch.heard(message)
            if isinstance(message, messages.Refused):
                refused.append(message)
            tell(message)

        try:
            report = run_folder.left_before(folder)
            if report is None:
                _require_files(asked, run.model)
                request = self._request(run.id, run.model, asked)
                ended = self._listen(folder, request, heard, watch.look)
                if ended.stopped:
                    self._stopped(run, ended.stopped)
                    return
                if ended.code == messages.REFUSED and refused:
                    raise InvalidRequest(refused[-1].error, hint=refused[-1].hint)
                if ended.code:
                    raise RuntimeFailed(_crash(ended))
                report = run_folder.complete(folder)
            if not self._db.training.beat(run.id, run.worker, stage="Registering.", progress=0.98):
                return
            self._register(run, asked, report, folder / messages.MODEL)
        except AndonError as error:
            # Whoever ran it tells it, as a job or at a terminal.
            log.info(f"Training failed: {error}", model=run.model, run=run.id)
            self._db.training.fail(run.id, run.worker, str(error))

    def _request(
        self, run_id: str, model: str, asked: Asked, *, check_only: bool = False
    ) -> TrainRequest:
        settings = self._settings
        active = self._db.models.active(model)
        return TrainRequest(
            run_id=run_id,
            recipe=asked.recipe,
            model=model,
            target=asked.target,
            data=asked.data,
            drop=asked.drop,
            seed=asked.seed,
            tuning_trials=asked.tuning_trials,
            candidates=asked.candidates,
            threads=self._threads(),
            active=ActiveModel(active.version, str(self._registry.path_of(active)))
            if active is not None and active.format == "onnx"
            else None,
            check_only=check_only,
            recipes=str(settings.recipes),
            data_folder=str(settings.data),
            home=str(settings.home),
            # Its password is for those alone who read from it.
            database_url=settings.url if asked.telemetry else "",
            mlflow_uri=mlflow_mirror.uri(settings),
            mlflow_timeout=settings.mlflow_timeout,
        )

    def _listen(
        self, folder: Path, request: TrainRequest, tell: Tell, look: Callable[[], str]
    ) -> Ended:
        """Start the process in its folder and hear it out."""
        require_libraries()
        path = folder / messages.REQUEST
        written = Log(folder / messages.LOG)
        try:
            with run_folder.writing(folder):
                run_folder.write_private(path, msgspec.json.encode(request))
            extra = ("MLFLOW_",) if request.mlflow_uri else ()
            with ChildProcess(
                [*self.command, str(folder)],
                folder=folder,
                env=environment(request.threads, extra),
                memory_bytes=self._settings.training_memory_bytes,
            ) as child:
                return child.listen(tell, written, look)
        finally:
            written.close()
            # What was asked stays, without the passwords.
            known = msgspec.structs.replace(request, database_url="", mlflow_uri="")
            with contextlib.suppress(OSError):
                run_folder.write_private(path, msgspec.json.encode(known))

    def _stopped(self, run: TrainingRun, why: str) -> None:
        """Record why we ended it.

        Raises:
            JobInterrupted: It waits for the next start.
            RuntimeFailed: It took too long.
        """
        if why == "cancel":
            self._db.training.stopped(run.id, run.worker)
            log.info("Training cancelled", model=run.model, run=run.id)
        elif why == "stop":
            self._db.training.requeue(run.id, run.worker)
            raise JobInterrupted
        elif why == "timeout":
            raise RuntimeFailed(
                f"It took longer than {self._settings.training_timeout / 60:.3g} minutes.",
                hint="Raise ANDON_TRAINING_TIMEOUT, or train on less: fewer rows, candidates or "
                "tuning trials.",
            )
        else:
            log.warning("A training was taken over by another process", run=run.id)

    def _register(self, run: TrainingRun, asked: Asked, report: TrainReport, model: Path) -> None:
        """Make a version of the model file, by the rules of the gate, and end the run."""
        passed = report.gate.passed
        serves_none = self._db.models.active(run.model) is None
        wanted = (
            (report.promote == "auto" or serves_none) if asked.promote is None else asked.promote
        )
        f1 = report.held_out.metrics.get("f1")
        notes = f"Trained: {report.title}, {report.algorithm or report.chosen}"
        notes += f", F1 {f1.value:.3f} on {report.data.held_out} held-out rows." if f1 else "."
        with self._deployments.receive() as incoming:
            with run_folder.writing(model.parent), run_folder.opened(model) as file:
                while chunk := os.read(file, _CHUNK):
                    incoming.write(chunk)
            received = incoming.finish()
        deployed = self._deployments.deploy(
            received,
            filename=f"{run.model}.onnx",
            model=run.model,
            notes=f"{notes} Reason: {run.reason}" if run.reason else notes,
            source="training",
            actor=run.actor or run.source,
            activate=passed and wanted,
            status="staging" if passed else "training",
        )
        self._db.training.finish(
            run.id,
            run.worker,
            report=msgspec.to_builtins(report),
            version_id=deployed.version.id,
            stage=_told(deployed, report),
        )
        log.info(
            f"Training done: v{deployed.version.version}",
            model=run.model,
            run=run.id,
            gate="passed" if passed else "failed",
        )

    def _threads(self) -> int:
        return self._settings.training_threads or max(1, len(os.sched_getaffinity(0)) - 1)


def _require_files(asked: Asked, model: str) -> None:
    """Refuse where a file is gone that was named in the terminal.

    Raises:
        NotFound: It is named, and the command that names another.
    """
    options = ["-m", model]
    if asked.target:
        options += ["--target", asked.target]
    for column in asked.drop:
        options += ["--drop", column]
    if asked.tuning_trials is not None:
        options += ["--tune", str(asked.tuning_trials)]
    if os.path.isabs(asked.recipe) and not _is_there(asked.recipe):  # noqa: PTH117 - or a name
        raise _gone(asked.recipe, shlex.join(["FILE", *options]))
    for path in asked.data:
        if not _is_there(path):
            raise _gone(path, shlex.join([asked.recipe, "--data", "PATH", *options]))


def _is_there(path: str) -> bool:
    # Where it may not be looked at, it is not there either.
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises there


def _gone(path: str, command: str) -> NotFound:
    return NotFound(
        f"{path}, which this model is trained on, is not there any more.",
        hint="Bring it back; or train once in the terminal on what there is now, and later "
        f"trainings read the same: andon train {command}",
    )


def _told(deployed: Deployed, report: TrainReport) -> str:
    """What became of a model, and the next step."""
    version = deployed.version
    what = (
        f"v{version.version} was there already"
        if deployed.duplicate
        else f"Registered v{version.version}"
    )
    if version.is_active:
        return f"{what}; it serves."
    if not report.gate.passed:
        return f"{what}; it did not pass the gate and does not serve."
    return f"{what}; it waits: andon models promote {version.version} -m {version.model}"


def _crash(ended: Ended) -> str:
    """Why a process ended badly, as far as it can be told."""
    tail = "\n".join(ended.tail)
    if "MemoryError" in tail or "bad_alloc" in tail or "Cannot allocate memory" in tail:
        why = "It ran out of memory. Raise ANDON_TRAINING_MEMORY_BYTES, or train on fewer rows."
    elif ended.code == -9:
        why = "The system killed it, most likely for want of memory."
    elif ended.code < 0:
        why = f"It was ended by signal {-ended.code}."
    else:
        why = f"It crashed with exit code {ended.code}."
    return f"{why}\n{tail}".strip()


def _short(recipe: str) -> str:
    """A recipe's name; of a file's path, the name of the file."""
    return recipe.rpartition("/")[2][:64]
