"""Builds the parts from the settings, starts and stops them in order.

The only module that knows every room. A server starts everything; other commands open the
same installation without threads of its own, beside a running server or without one.
"""

import fcntl
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Gauge

from andon.agent import files
from andon.agent.agent import Agent
from andon.agent.means import Means
from andon.agent.policy import PolicyFile
from andon.agent.watch import LEASE, Watch
from andon.errors import AndonError, ConfigurationError
from andon.events.counting import EventMetrics
from andon.events.floor_gauges import FloorGauges
from andon.events.intake import EventIntake
from andon.events.mqtt import MqttIntake
from andon.jobs.lease import Lease
from andon.jobs.queue import JobQueue, Lane
from andon.jobs.schedule import Schedule
from andon.logs import logging_setup
from andon.monitoring import history, quality
from andon.monitoring.drift import detector as drift
from andon.monitoring.gauges import MonitoringGauges
from andon.monitoring.judging import Judge
from andon.monitoring.monitor import Monitor
from andon.monitoring.shared import Shared
from andon.notify.notifier import Notifier
from andon.notify.watch_metrics import WatchMetrics
from andon.registry.registry import ModelRegistry
from andon.runtimes.base import plain
from andon.serving import housekeeping, predict_jobs, replay
from andon.serving.deployment import Deployments
from andon.serving.engine import InferenceEngine
from andon.serving.metrics import ServingMetrics
from andon.serving.periodic import Periodic
from andon.serving.predict_jobs import PredictJobs
from andon.serving.replay import Replays
from andon.serving.watcher import DeploymentWatcher
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.pictures import Pictures
from andon.store.records import DriftReport, Job, ModelVersion
from andon.store.training_runs import TrainingRun
from andon.training import mlflow_mirror, retraining
from andon.training.catalog import RecipeInfo
from andon.training.mlflow_mirror import MirrorJobs, MirrorWatch
from andon.training.retraining import Retraining
from andon.training.runs import Trainings

log = structlog.get_logger("andon.platform")

REFRESH_SECONDS = 1.0
"""How soon a server notices what another process activated, seconds."""

TENDING_SECONDS = 5.0
"""How soon a server notices that nobody runs a training any more, that a schedule is due, or that
MLflow lacks something, seconds."""


_LOCK = "andon.lock"


class Platform:
    """An installation, opened.

    Args:
        settings: Where it is and how it behaves.

    Raises:
        ConfigurationError: A folder cannot be made or written.
        DatabaseDamaged: The database file is not usable; it is left as it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        _make_folders(settings)
        # Each counter would come with a second series that says when it was made.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.collector = CollectorRegistry()
        self.metrics = ServingMetrics(settings.default_model, self.collector)
        self.db = Database(
            settings.url,
            default_model=settings.default_model,
            commit_linger=settings.commit_linger,
            max_gap=settings.factory_max_gap,
        )
        self.registry = ModelRegistry(
            self.db, settings.models, default_model=settings.default_model
        )
        self.pictures = Pictures(settings.uploads, min_free_bytes=settings.min_free_bytes)
        self.engine = InferenceEngine(
            self.db, self.registry, settings, metrics=self.metrics, pictures=self.pictures
        )
        self.deployments = Deployments(self.db, self.registry, self.engine, settings)
        self.watcher = DeploymentWatcher(self.deployments, settings)
        self.event_metrics = EventMetrics(self.collector)
        self.event_metrics.wait_with(lambda: self.db.event_writer.waiting)
        FloorGauges(self.db, self.collector)
        self.events = EventIntake(self.db, settings, self.event_metrics)
        self.mqtt: MqttIntake | None = None
        self._predict_jobs = PredictJobs(self.engine)
        self.trainings = Trainings(self.db, self.deployments, self.registry, settings)
        self._retraining = Retraining(self.db, self.trainings, settings)
        self.replays = Replays(self.db, self.engine, self.pictures, settings)
        self.jobs = JobQueue(
            self.db,
            settings,
            {
                predict_jobs.KIND: self._predict_jobs.run,
                retraining.KIND: self._retraining.run,
                mlflow_mirror.KIND: MirrorJobs(settings, self.db).run,
                replay.KIND: self.replays.run,
            },
            # The home lock keeps other servers away, and only servers run jobs.
            alone=self.db.dialect == "sqlite",
            lanes={
                retraining.KIND: Lane(workers=1, attempts=retraining.ATTEMPTS),
                mlflow_mirror.KIND: Lane(workers=1, attempts=3),
                replay.KIND: Lane(workers=1, attempts=3),
            },
        )
        self.schedule = Schedule(
            self.db,
            retraining.SCHEDULE,
            settings.retrain_cron,
            self._retrain_on_schedule,
            setting="ANDON_RETRAIN_CRON",
        )
        self._telemetry_days = Schedule(
            self.db,
            "mlflow-telemetry",
            mlflow_mirror.TELEMETRY_CRON,
            lambda due: mlflow_mirror.telemetry_later(self.jobs.enqueue, self.db, settings, due),
            setting="TELEMETRY_CRON",
        )
        self._watching()
        self._rows = housekeeping.RowSweep(
            self.db, settings, lambda: self._lease.held() and not self._stopped, self.collector
        )
        self._periodic = [
            Periodic("refresh", REFRESH_SECONDS, self.engine.refresh),
            Periodic(
                "housekeeping",
                housekeeping.INTERVAL,
                self._sweep,
                at_once=True,
            ),
            # One thread for all of them: each costs a box memory.
            Periodic(
                "tending",
                TENDING_SECONDS,
                self._follow_folder,
                self._learn_cameras,
                *map(
                    self._leading,
                    (
                        self.trainings.fail_dead,
                        self.schedule.tick,
                        self._telemetry_days.tick,
                        MirrorWatch(self.jobs.enqueue, self.db, settings).look,
                    ),
                ),
                at_once=True,
            ),
        ]
        queued = Gauge("andon_jobs_queued", "Jobs that wait.", registry=self.collector)
        queued.set_function(self._jobs_queued)
        self.metrics.queue_size.set_function(self._jobs_queued)
        self._lock: IO[str] | None = None
        self._serving = False
        self._folder_watched = False
        self._stopping = threading.Lock()
        self._stopped = False

    def _watching(self) -> None:
        """Build what watches the models and acts, see `agent.watch`."""
        settings = self.settings
        self.policy = PolicyFile(settings.policy, settings)
        counted = WatchMetrics(self.db, self.collector)
        self.notifier = Notifier(self.db, settings, observe=counted.tried)
        self._reference_span = timedelta(hours=settings.drift_reference_hours)
        self.drift = drift.DriftDetector(self.db, settings, span=self._reference_span)
        alone = self.db.dialect == "sqlite"
        learned = self.engine.cameras.set_limits
        self._shared = None if alone else Shared(self.db, settings.monitor_interval, learned)
        self.monitor = Monitor(
            self.db,
            settings,
            self.drift,
            publish=learned if self._shared is None else self._shared.camera_learned,
            shared=self._shared,
        )
        self.gauges = MonitoringGauges(self.collector, self.metrics)
        self.agent = Agent(
            Means(
                db=self.db,
                settings=settings,
                deployments=self.deployments,
                engine=self.engine,
                policy=self.policy,
                notifier=self.notifier,
                retrain=self.retrain,
                drift_report=self.look_for_drift,
                validate=lambda version: quality.validate(self.db, version, settings.drift_window),
                signals=self.monitor.signals,
                metrics=lambda: prometheus_client.generate_latest(self.collector),
                health=lambda: plain(
                    {"serving": self.engine.states(), "watch": self.watch.status()}
                ),
                windows=lambda: plain(self.monitor.windows()),
            )
        )
        self._lease = Lease(self.db, LEASE, settings.lease_seconds, alone=alone)
        self.watch = Watch(
            self.db,
            settings,
            monitor=self.monitor,
            agent=self.agent,
            policy=self.policy,
            notifier=self.notifier,
            lease=self._lease,
            tripwire=self.engine.tripwire,
            judge=Judge(self.db, settings),
            gauges=self.gauges,
            metrics=counted,
        )

    def start(self, serve: bool = True) -> None:
        """Begin.

        Args:
            serve: Whether to be the server: mend what a crash left, load the active
                versions, run jobs, watch the deploy folder. Without, versions are loaded
                when they are first asked for.

        Raises:
            ConfigurationError: Another server runs on this installation, or the settings say
                nothing that can be done.
        """
        logging_setup(self.settings, serve=serve)
        if not serve:
            return
        self.schedule.check()
        self._lock_home()
        try:
            for mended in self.registry.reconcile():
                log.warning(f"Mended at start: {mended}")
            self._serving = True
            self.db.factory_totals.ensure_basis(round(self.settings.factory_max_gap * 1_000_000))
            self.engine.start()
            self.jobs.start()
            self._listen()
            self._follow_folder()
            self.notifier.start()
            self.watch.start()
            for periodic in self._periodic:
                periodic.start()
        except BaseException:
            self.stop()
            raise
        log.info("Started", home=self.settings.home)

    def stop(self) -> None:
        """End in order: take nothing new, finish what runs, write what waits. Repeatable."""
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
            if self._serving:
                self.watch.stop()
                self.agent.stop()
                self.watcher.stop()
                for periodic in self._periodic:
                    periodic.stop()
                if self.mqtt is not None:
                    self.mqtt.stop()
                self.trainings.stop()
                self.replays.stop()
                self.jobs.stop()
                self.notifier.stop()
            self.engine.stop()
            self.db.close()
            if self._serving:
                log.info("Stopped")
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def predict_later(self, data: bytes, **asked: Any) -> Job:
        """Queue a picture; the job is durable when this returns.

        Args:
            data: JPEG, PNG or BMP file.
            asked: `image_name`, and `model`, `version`, `threshold`, `subject`,
                `request_id` as for `InferenceEngine.answer`.

        Raises:
            Saturated: Too many jobs are waiting.
            AndonError: As `PredictJobs.payload`.
        """
        self.jobs.require_room()
        return self.jobs.enqueue(predict_jobs.KIND, self._predict_jobs.payload(data, **asked))

    def retrain(self, **asked: Any) -> TrainingRun:
        """Queue a training; the run is durable when this returns.

        Args:
            asked: As `Retraining.ask`: `recipe`, `model`, `seed`, `tuning_trials`, `promote`,
                `reason`, `source`, `actor`.

        Raises:
            AndonError: As `Retraining.ask`.
        """
        run = self._retraining.ask(**asked)
        self.jobs.wake()
        return run

    def scheduled_recipes(self) -> list[RecipeInfo]:
        """The recipes that the schedule trains again."""
        return self._retraining.scheduled()

    def rollback(self, model: str, reason: str, actor: str) -> tuple[int, ModelVersion]:
        """Go back to the version that served before, as a person wants it, and tell it.

        Args:
            model: Registered model's name.
            reason: For people.
            actor: Who does it.

        Returns:
            The number of the version that was left, and the version that serves now.

        Raises:
            Conflict: There is nothing to go back to.
        """
        before = self.db.models.active(model)
        after = self.deployments.rollback(model, reason, actor)
        left = after.version if before is None else before.version
        self.notifier.tell(
            "rollback",
            {
                "model": model,
                "from_version": left,
                "to_version": after.version,
                "reason": reason,
                "severity": "warning",
                "title": f"{model} was rolled back from v{left} to v{after.version}",
                "message": f"By {actor}: {reason}",
            },
        )
        return left, after

    def look_for_drift(self, version: ModelVersion, limit: int | None = None) -> DriftReport:
        """Look at a version's newest answers now, and keep the report.

        Args:
            version: With its reference.
            limit: Answers to look at; None is `drift_window`.

        Raises:
            InvalidRequest: `limit` is out of range.
        """
        return drift.run(self.db, self.settings, version, limit, span=self._reference_span)

    def _leading(self, work: Callable[[], object]) -> Callable[[], None]:
        """Work that one of several servers on a database does."""

        def lead() -> None:
            if self._lease.held():
                work()

        lead.__name__ = getattr(work, "__name__", "work")
        return lead

    def _follow_folder(self) -> None:
        """Watch the deploy folder, unless another server on the same home does."""
        if self.settings.watch and not self._folder_watched and self._holds_home():
            self._folder_watched = True
            self.watcher.start()

    def _learn_cameras(self) -> None:
        """Take over what the server that watches has learned of each model's pictures."""
        if self._shared is not None:
            self._shared.learn()

    def _retrain_on_schedule(self, due: datetime) -> None:
        if self._retraining.due(due):
            self.jobs.wake()

    def _sweep(self) -> None:
        housekeeping.sweep(self.pictures, self.settings)
        self.trainings.sweep()
        if self._lease.held():
            settings = self.settings
            history.prune(self.db, settings.keep_metrics_days)
            self.db.drift_reports.prune(now() - timedelta(days=settings.keep_reports_days))
            files.sweep(settings.reports, now() - timedelta(days=settings.keep_reports_days))
            self.notifier.prune()
        self._rows.run()

    def _listen(self) -> None:
        """Take events from the broker, where one is set.

        Raises:
            ConfigurationError: What the settings say of it cannot be used.
        """
        if self.settings.mqtt_url.get_secret_value():
            self.mqtt = MqttIntake(self.settings, self.events, self.db, self.event_metrics)
            self.mqtt.start()

    def _jobs_queued(self) -> float:
        """For Prometheus: a scrape must not fail because the database does."""
        try:
            return float(self.jobs.size())
        except AndonError:
            return float("nan")

    def _lock_home(self) -> None:
        """Refuse a second server on the same SQLite installation.

        Raises:
            ConfigurationError: Another server runs on it.
        """
        if self.db.dialect != "sqlite" or self._holds_home():
            return
        with (self.settings.home / _LOCK).open(encoding="ascii") as file:
            other = file.read(20).strip()
        raise ConfigurationError(
            f"Another Andon server (process {other or 'unknown'}) runs on {self.settings.home}.",
            hint="Stop it, or give this one another ANDON_HOME.",
        )

    def _holds_home(self) -> bool:
        """Whether this is the one server of the home; takes the lock if nobody has it.

        The lock is the kernel's, so a killed server leaves none behind.
        """
        if self._lock is not None:
            return True
        file = (self.settings.home / _LOCK).open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._lock = file
        return True


def _make_folders(settings: Settings) -> None:
    """Make the installation's folders, writable.

    Raises:
        ConfigurationError: One cannot be made or written.
    """
    folders = (
        settings.home,
        settings.models,
        settings.deploy,
        settings.uploads,
        settings.output,
        settings.training,
        settings.log.parent,
    )
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(folder, error.strerror or str(error)) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unusable(folder, "permission denied")


def _unusable(folder: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The folder {folder} cannot be used: {why}.",
        hint="Give it to the user Andon runs as (chown), or set ANDON_HOME to another folder.",
    )
